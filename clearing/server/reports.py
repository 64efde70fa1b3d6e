"""ReportService."""

import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager

import grpc

from clearing.attest.envelope import SignerAway
from clearing.attest.liabilities import LiabilityRefused
from clearing.engine import Engine
from clearing.model.commands import PullReport
from clearing.model.house import House
from clearing.model.ids import MemberId
from clearing.model.kinds import Kind
from clearing.model.outcomes import Outcome, Reason
from clearing.model.values import Form, Given, ReportAsked
from clearing.reporting import Made, NotShown, ReportChanged, Reporting
from clearing.reports.canonical import NotRenderable
from clearing.reports.statement import ACCOUNT, FROM, UNIT
from clearing.reports.table import REPORTS, Audience, Report
from clearing.server.calls import caller_of, founded, write
from clearing.server.errors import Fault, Refused
from clearing.server.history import Books
from clearing.server.identity import Identity
from clearing.server.pages import page_of
from clearing.server.wire import names
from clearing.server.wire import reports as wire
from clearing.server.wire.violations import RequestInvalid, Violations, require_valid
from clearing.spool import Download, NotKept
from clearing.store.queries import pulled
from clearing.workings import NothingAttested, NotReproduced, Replaying
from clearinghouse.v1 import report_service_pb2 as pb
from clearinghouse.v1.report_service_pb2_grpc import ReportServiceServicer
from ledger.account import account_id

CHUNK_BYTES = 64 * 1024
PROGRESS_S = 0.5


class Reports(ReportServiceServicer):
    """Journals who pulls what, has it made, and sends it in parts."""

    def __init__(self, engine: Engine, books: Books, reporting: Reporting) -> None:
        self._engine, self._books, self._reporting = engine, books, reporting
        self._turns: dict[str, threading.Lock] = {}

    def ListReports(  # named by the proto
        self, request: pb.ListReportsRequest, context: grpc.ServicerContext
    ) -> pb.ListReportsResponse:
        """What the caller may pull."""
        require_valid(request)
        caller = caller_of(context)
        page = page_of((key for key in REPORTS if _may(caller, REPORTS[key])), request, "reports")
        return pb.ListReportsResponse(
            reports=[wire.message(REPORTS[key]) for key in page.keys], next_page_token=page.next_token
        )

    def PullReport(
        self, request: pb.PullReportRequest, context: grpc.ServicerContext
    ) -> pb.PullReportResponse:
        """Journal the pull. The state of now is kept: the caller will ask for the file in a moment."""
        require_valid(request)
        caller, view = caller_of(context), self._engine.view
        house = founded(view)
        report = REPORTS.get(names.own_id(request.name))
        if report is None or not _may(caller, report):
            raise Refused(Fault.REPORT_UNKNOWN, request.name)
        if request.as_of > view.size:
            raise Refused(Fault.SEQUENCE_AHEAD, f"it has {view.size} entries")
        asked = ReportAsked(
            report=report.id,
            as_of=self._as_of(request.as_of or view.size, report, caller),
            form=_form(report, request),
            given=_given(report, request),
            members=_part(report, caller),
        )
        _require_account(asked, house, caller)
        outcome = write(self._engine, PullReport(asked=asked), request, context)
        if not request.validate_only:
            self._reporting.keep(house)
        return pb.PullReportResponse(pull=names.pull(report.id, request.request_id), as_of=_as_of(outcome))

    def _as_of(self, as_of: int, report: Report, caller: Identity) -> int:
        if report.audience is not Audience.PUBLIC or caller.sees_all:
            return as_of
        with _refusing():
            return self._reporting.public_size(as_of)

    def DownloadReport(
        self, request: pb.DownloadReportRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.DownloadReportResponse]:
        """A report that the caller pulls: how far it is, what it is, then its bytes from an offset on."""
        require_valid(request)
        caller = caller_of(context)
        report, own_id = names.of_pull(request.name)
        found = pulled(self._books.database, caller.request_id(own_id))
        if found is None or found.report != report or not _may(caller, REPORTS[report]):
            raise Refused(Fault.REPORT_UNKNOWN, request.name)
        _require_still_seen(found, caller)
        self._books.past.reached(found.as_of, context)
        with self._turn(caller):
            if not context.is_active():
                return  # nobody waits for it any more
            with _refusing():
                made = yield from self._made(found, caller)
        with made.download.file:
            if request.offset > made.download.spooled.size:
                raise RequestInvalid({"offset": f"the report has {made.download.spooled.size} bytes"})
            yield pb.DownloadReportResponse(header=wire.header(report, found.as_of, found.form, made))
            yield from _chunks(made.download, request.offset)

    def _turn(self, caller: Identity) -> threading.Lock:
        """A caller has one report made at a time: whoever asks for many keeps none from others."""
        return self._turns.setdefault(caller.name, threading.Lock())

    def _made(self, asked: ReportAsked, caller: Identity) -> Generator[pb.DownloadReportResponse, None, Made]:
        """How far the report is, now and then, until it is made."""
        making, told_s = self._reporting.make(asked, caller.name), time.monotonic()
        while True:
            try:
                size = next(making)
            except StopIteration as done:
                made: Made = done.value
                return made
            if time.monotonic() - told_s >= PROGRESS_S:
                told_s = time.monotonic()
                yield pb.DownloadReportResponse(progress=pb.ReportProgress(size=size))


def _may(caller: Identity, report: Report) -> bool:
    """A bundle is of one member or of all: a regulator that sees some has none of its own."""
    if report.audience is Audience.WHOLE or (report.build is None and report.audience is Audience.CUT):
        return caller.sees_all or (report.audience is Audience.CUT and len(caller.members or ()) == 1)
    return True


def _part(report: Report, caller: Identity) -> tuple[MemberId, ...] | None:
    """Whose part of the report the caller gets; None for all of it."""
    if report.audience is not Audience.CUT or caller.members is None:
        return None
    return tuple(sorted(caller.members))


def _form(report: Report, request: pb.PullReportRequest) -> Form:
    form = wire.form_of(request, report)
    if form is None:
        forms = ", ".join(one.value for one in report.forms)
        raise RequestInvalid({"form": f"this report comes as {forms}"})
    return form


def _given(report: Report, request: pb.PullReportRequest) -> tuple[Given, ...]:
    """What the report is asked for with. Raises ``RequestInvalid`` for what are not its parameters."""
    violations, known = Violations(request), {one.key: one for one in report.parameters}
    for key in request.parameters:
        if key not in known:
            violations.add(f"parameters[{key}]", "is no parameter of this report")
    for key, parameter in known.items():
        text = request.parameters.get(key)
        if text is None and parameter.is_required:
            violations.add(f"parameters[{key}]", f"is missing: {parameter.description}")
        elif text is not None and parameter.pattern.fullmatch(text) is None:
            violations.add(f"parameters[{key}]", f"must be {parameter.description}")
    violations.require_none()
    return tuple(Given(key=key, text=request.parameters[key]) for key in sorted(request.parameters))


def _require_account(asked: ReportAsked, house: House, caller: Identity) -> None:
    """Raise :class:`Refused` for an account that is not there, or not the caller's to ask about."""
    given = {one.key: one.text for one in asked.given}
    if ACCOUNT not in given:
        return
    if not caller.reads(given[ACCOUNT]):
        raise Refused(Fault.NOT_YOURS, f"{ACCOUNT} is not under the name of {caller.actor}")
    if UNIT in given and house.book.find(account_id(given[ACCOUNT], given[UNIT])) is None:
        raise Refused(Reason.ACCOUNT_UNKNOWN, f"{given[ACCOUNT]} {given[UNIT]}")
    if int(given.get(FROM, "0")) > asked.as_of:
        raise RequestInvalid({f"parameters[{FROM}]": f"must not be behind as_of, {asked.as_of}"})


def _require_still_seen(asked: ReportAsked, caller: Identity) -> None:
    """What a caller may see can become less between its pull and the download."""
    account = {one.key: one.text for one in asked.given}.get(ACCOUNT)
    if account is not None and not caller.reads(account):
        raise Refused(Fault.NOT_YOURS, f"{ACCOUNT} is not under the name of {caller.actor}")
    part = _part(REPORTS[asked.report], caller)
    if part is not None and (asked.members is None or not set(asked.members) <= set(part)):
        raise Refused(Fault.REPORT_UNKNOWN, "it shows more than you may see now")


def _as_of(outcome: Outcome) -> int:
    """Of how many entries the report is that a pull was accepted for; a repeated request gets its first answer."""
    (told,) = (event.subject for event in outcome.events if event.kind == Kind.REPORT_PULLED.name)
    return int(told.partition("@")[2])


def _chunks(download: Download, offset: int) -> Iterator[pb.DownloadReportResponse]:
    download.file.seek(offset)
    while data := download.file.read(CHUNK_BYTES):
        yield pb.DownloadReportResponse(chunk=pb.ReportChunk(offset=offset, data=data))
        offset += len(data)


_FAULTS: Mapping[type[Exception], Fault] = {
    NothingAttested: Fault.ATTESTATION_UNKNOWN,
    Replaying: Fault.ATTESTATION_REPLAYED,
    NotReproduced: Fault.ATTESTATION_NOT_REPRODUCED,
    LiabilityRefused: Fault.LIABILITY_UNKNOWN,
    ReportChanged: Fault.REPORT_NOT_REPRODUCED,
    NotRenderable: Fault.REPORT_TOO_LARGE,
    SignerAway: Fault.REPORT_NOT_SIGNED,
    NotKept: Fault.REPORT_NOT_KEPT,
    NotShown: Fault.ENTRY_NOT_SHOWN_YET,
}


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except tuple(_FAULTS) as error:
        raise Refused(_FAULTS[type(error)], str(error)) from None
