"""A house that wishes its clients ill: what it sends as a report does not become more than a report."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import pytest

from clearctl.nouns.report import _file_name
from clearing.attest.report import MEMBERS, ReportStatement, build
from clearing.attest.statement import format_time
from clearing_client.reports import Download, ReportBroken, pull_request
from clearing_client.sealed import verify_report
from clearinghouse.v1 import report_service_pb2 as pb
from tests.unit.test_offline_verifier import POLICY, sealed

PULL = pull_request("reports/trial-balance", form="csv")


def parts(header: pb.ReportHeader, *chunks: bytes) -> Sequence[pb.DownloadReportResponse]:
    found, offset = [pb.DownloadReportResponse(header=header)], 0
    for data in chunks:
        found.append(pb.DownloadReportResponse(chunk=pb.ReportChunk(offset=offset, data=data)))
        offset += len(data)
    return found


def test_no_more_is_written_than_the_header_promised() -> None:
    header = pb.ReportHeader(name="reports/journal", size=4, sha256=hashlib.sha256(b"four").hexdigest())
    file = io.BytesIO()
    download = Download("pull", file)
    for part in parts(header, b"fo", b"ur"):
        download.take(part)
    assert download.checked() == header
    with pytest.raises(ReportBroken, match="header promised"):
        download.take(pb.DownloadReportResponse(chunk=pb.ReportChunk(offset=4, data=b"!")))
    assert file.getvalue() == b"four"


@pytest.mark.parametrize("form", ["json", "csv", "xlsx", "html", "txt"])
def test_a_file_is_called_as_the_report(form: str) -> None:
    name = f"trial-balance-25.{form}"
    assert _file_name(pb.ReportHeader(file_name=name, as_of=25), PULL) == name


@pytest.mark.parametrize(
    "name",
    [
        *("policy.txt", "client.key", ".bashrc", "..", "", "/etc/passwd", "../trial-balance-25.csv"),
        *("trial-balance-24.csv", "journal-25.csv", "trial-balance-25.csv.dsse.json", "trial-balance-25"),
        *("x/trial-balance-25.csv", "trial-balance-25.csv\x00", "trial-balance-25.csv\x1b[2J"),
    ],
)
def test_a_house_does_not_choose_which_file_of_yours_is_written_over(name: str) -> None:
    with pytest.raises(ReportBroken, match="calls the file"):
        _file_name(pb.ReportHeader(file_name=name, as_of=25), PULL)


@pytest.mark.parametrize(("signed_ms", "holds"), [(999, False), (1_000, True)])
def test_nobody_signs_a_report_of_what_had_not_happened_yet(
    tmp_path: Path, signed_ms: int, holds: bool
) -> None:
    """Keys of officers who are gone would sign with a time at which they were there."""
    file = tmp_path / "report.xlsx"
    file.write_bytes(b"cells")
    sha256 = hashlib.sha256(b"cells").hexdigest()
    said = dict.fromkeys(MEMBERS, "x") | {
        "origin": POLICY.origin,
        "as_of": "25",
        "root": "00" * 32,
        "form": "xlsx",
        "as_of_time": format_time(1_000),
        "signed_time": format_time(signed_ms),
    }
    (envelope,) = sealed(build(ReportStatement(file_name=file.name, sha256=sha256, said=said)))
    found = verify_report(POLICY, file, envelope)
    assert [check.name for check in found.checks if not check.passed] == ([] if holds else ["report time"])
