"""Reports on the wire."""

from clearing.model.values import Form
from clearing.reporting import Made
from clearing.reports.render import MEDIA_TYPES
from clearing.reports.table import Report
from clearing.server.wire import names
from clearinghouse.v1 import report_service_pb2 as pb

_FORMS = {form: getattr(pb, f"REPORT_FORM_{form.name}") for form in Form}


def message(report: Report) -> pb.Report:
    """A report that can be pulled."""
    computed, items = report.covers or (0, 0)
    return pb.Report(
        name=names.report(report.id),
        title=report.title,
        media_type=MEDIA_TYPES[report.forms[0]],
        rule=report.rule,
        parameters=[
            pb.ReportParameter(key=one.key, description=one.description, required=one.is_required)
            for one in report.parameters
        ],
        forms=[_FORMS[form] for form in report.forms],
        item_count=items,
        computed_count=computed,
    )


def form_of(request: pb.PullReportRequest, report: Report) -> Form | None:
    """The form that is asked for, None if the report does not have it."""
    if request.form == pb.REPORT_FORM_UNSPECIFIED:
        return report.forms[0]
    return next((form for form in report.forms if _FORMS[form] == request.form), None)


def header(report: str, as_of: int, form: Form, made: Made) -> pb.ReportHeader:
    """What a download is."""
    return pb.ReportHeader(
        name=names.report(report),
        media_type=MEDIA_TYPES[form],
        form=_FORMS[form],
        file_name=made.file_name,
        as_of=as_of,
        size=made.download.spooled.size,
        sha256=made.download.spooled.sha256,
        envelope=made.envelope,
        body=made.body,
    )
