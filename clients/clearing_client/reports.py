"""A report, whole or not at all: resumed where it broke off, and its digest checked before anybody reads it."""

import hashlib
from dataclasses import dataclass, field

from clearinghouse.v1 import report_service_pb2 as report_pb

DOWNLOAD_TRIES_MAX = 10
"""Times in a row that a download is begun again and nothing comes."""


class ReportBroken(Exception):
    """What came is not the report that its header promised."""


@dataclass
class Download:
    """The bytes that have come of one report, over any number of connections.

    The first answer fixes what the report is: later ones go on with the same, ``as_of`` the same entry.
    """

    request: report_pb.DownloadReportRequest
    header: report_pb.ReportHeader | None = None
    data: bytearray = field(default_factory=bytearray)

    def next_request(self) -> report_pb.DownloadReportRequest:
        """Asks for what has not come yet."""
        rest = report_pb.DownloadReportRequest()
        rest.CopyFrom(self.request)
        if self.header is not None:
            rest.as_of, rest.offset = self.header.as_of, len(self.data)
        return rest

    def take(self, part: report_pb.DownloadReportResponse) -> None:
        """Take the next part. Raises :class:`ReportBroken` if it does not fit what came before."""
        if part.WhichOneof("part") == "header":
            if self.header is not None and part.header != self.header:
                raise ReportBroken(f"{self.header.name} became another report while it was downloaded")
            self.header = part.header
        elif self.header is None or part.chunk.offset != len(self.data):
            raise ReportBroken(f"bytes from {part.chunk.offset} came where {len(self.data)} were due")
        else:
            self.data += part.chunk.data

    @property
    def progress(self) -> tuple[int, int]:
        """How many bytes have come, of how many."""
        return len(self.data), 0 if self.header is None else self.header.size

    def checked(self) -> tuple[report_pb.ReportHeader, bytes]:
        """The report. Raises :class:`ReportBroken` if size or digest are not those of its header."""
        if self.header is None:
            raise ReportBroken("no header came")
        digest = hashlib.sha256(self.data).hexdigest()
        if (len(self.data), digest) != (self.header.size, self.header.sha256):
            raise ReportBroken(f"{self.header.name}: what came is not what its header promised")
        return self.header, bytes(self.data)
