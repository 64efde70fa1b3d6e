"""A report, whole or not at all: resumed where it broke off, and its digest checked before anybody relies on it."""

import hashlib
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from clearinghouse.v1 import report_service_pb2 as report_pb

DOWNLOAD_TRIES_MAX = 10
"""Times in a row that a download is begun again and nothing comes."""
READ_BYTES = 1 << 20


class ReportBroken(Exception):
    """What came is not the report that its header promised."""


@dataclass
class Download:
    """The bytes of one pull as they come, over any number of connections, into ``file``; they are not kept in memory.

    A ``file`` that has bytes, of which a download before this one ended, is gone on with: it is read for that, and
    written at its end.
    """

    pull: str
    file: BinaryIO
    header: report_pb.ReportHeader | None = None
    size: int = 0
    making: int = 0
    _digest: Any = field(default_factory=hashlib.sha256)

    def __post_init__(self) -> None:
        self.file.seek(0)
        while data := self.file.read(READ_BYTES):
            self._take(data)

    def next_request(self) -> report_pb.DownloadReportRequest:
        """Asks for what has not come yet."""
        return report_pb.DownloadReportRequest(name=self.pull, offset=self.size)

    def take(self, part: report_pb.DownloadReportResponse) -> None:
        """Take the next part. Raises :class:`ReportBroken` if it does not fit what came before."""
        match part.WhichOneof("part"):
            case "progress":
                self.making = part.progress.size
            case "header":
                if self.header is not None and part.header != self.header:
                    raise ReportBroken(f"{self.header.name} became another report while it was downloaded")
                self.header = part.header
            case _:
                if self.header is None or part.chunk.offset != self.size:
                    raise ReportBroken(f"bytes from {part.chunk.offset} came where {self.size} were due")
                if self.size + len(part.chunk.data) > self.header.size:
                    raise ReportBroken(f"{self.header.name}: what came is not what its header promised")
                self.file.write(part.chunk.data)
                self._take(part.chunk.data)

    @property
    def progress(self) -> tuple[int, int]:
        """How many bytes have come, of how many; while the report is made, how many there are, of 0."""
        return (self.making, 0) if self.header is None else (self.size, self.header.size)

    def checked(self) -> report_pb.ReportHeader:
        """What the report is. Raises :class:`ReportBroken` if size or digest are not those of its header."""
        if self.header is None:
            raise ReportBroken("no header came")
        if (self.size, self._digest.hexdigest()) != (self.header.size, self.header.sha256):
            raise ReportBroken(f"{self.header.name}: what came is not what its header promised")
        return self.header

    def _take(self, data: bytes) -> None:
        self._digest.update(data)
        self.size += len(data)


def pull_request(name: str, **asked: Any) -> report_pb.PullReportRequest:
    """Asks for the report ``name``, with ``parameters``, ``as_of``, ``form`` (``json`` …) and ``request_id``."""
    form = asked.pop("form", "")
    return report_pb.PullReportRequest(
        name=name,
        form=getattr(report_pb, f"REPORT_FORM_{form.upper()}" if form else "REPORT_FORM_UNSPECIFIED"),
        **asked,
    )
