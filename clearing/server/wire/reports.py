"""Reports on the wire."""

from clearing.reports.table import SUFFIXES, Report
from clearing.server.spool import Spooled
from clearing.server.wire import names
from clearinghouse.v1 import report_service_pb2 as pb


def message(report: Report) -> pb.Report:
    """A report that can be pulled."""
    return pb.Report(
        name=names.report(report.id),
        title=report.title,
        media_type=report.media_type,
        parameters=[
            pb.ReportParameter(key=one.key, description=one.description, required=one.is_required)
            for one in report.parameters
        ],
    )


def header(report: Report, as_of: int, spooled: Spooled) -> pb.ReportHeader:
    """What a download is."""
    return pb.ReportHeader(
        name=names.report(report.id),
        media_type=report.media_type,
        file_name=f"{report.id}-{as_of}{SUFFIXES[report.media_type]}",
        as_of=as_of,
        size=spooled.size,
        sha256=spooled.sha256,
    )
