"""ReportService."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from clearing.attest.liabilities import LiabilityRefused, Proof
from clearing.attest.recompute_bundle import RecomputeBundle
from clearing.engine import Engine
from clearing.model.house import House
from clearing.model.ids import MemberId
from clearing.model.outcomes import Reason
from clearing.reports.rows import Balanced, Moved, Recorded
from clearing.reports.table import ACCOUNT, FROM, REPORTS, UNIT, Report
from clearing.server.calls import caller_of, founded
from clearing.server.errors import Fault, Refused
from clearing.server.history import Books
from clearing.server.identity import Identity, Role
from clearing.server.pages import page_of
from clearing.server.spool import Download, Spool
from clearing.server.wire import ledger as ledger_wire
from clearing.server.wire import names
from clearing.server.wire import reports as wire
from clearing.server.wire.violations import RequestInvalid, Violations, require_valid
from clearing.workings import NothingAttested, NotReproduced, Replaying, Workings
from clearinghouse.v1 import report_service_pb2 as pb
from clearinghouse.v1.report_service_pb2_grpc import ReportServiceServicer
from ledger.account import account_id
from ledger.store import history
from ledger.store.history import AccountUnknown

CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """A report that is asked for: of how many entries, with what, and where its rows come from. ``member``: whose
    cut of it, None for all of it.
    """

    as_of: int
    given: Mapping[str, str]
    house: House
    books: Books
    workings: Workings
    member: MemberId | None
    context: grpc.ServicerContext


class Reports(ReportServiceServicer):
    """Makes reports, and sends them in parts."""

    def __init__(self, engine: Engine, books: Books, workings: Workings, spool: Spool) -> None:
        self._engine, self._books, self._workings, self._spool = engine, books, workings, spool

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

    def DownloadReport(
        self, request: pb.DownloadReportRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.DownloadReportResponse]:
        """A report: what it is, then its bytes from an offset on."""
        require_valid(request)
        caller, house = caller_of(context), founded(self._engine.view)
        report = REPORTS.get(names.own_id(request.name))
        if report is None or not _may(caller, report):
            raise Refused(Fault.REPORT_UNKNOWN, request.name)
        _require_given(report, request, caller)
        as_of = self._books.past.reached(request.as_of, context)
        pull = Pull(
            as_of=as_of,
            given=dict(request.parameters),
            house=house,
            books=self._books,
            workings=self._workings,
            member=MemberId(caller.id) if report.cut and not caller.sees_all else None,
            context=context,
        )
        asked = json.dumps([report.id, self._made_of(report, as_of), sorted(pull.given.items()), pull.member])
        download = self._spool.open(asked, lambda: _wanted(report.render(ROWS[report.id](pull)), context))
        with download.file:
            if request.offset > download.spooled.size:
                raise RequestInvalid({"offset": f"the report has {download.spooled.size} bytes"})
            yield pb.DownloadReportResponse(header=wire.header(report, as_of, download.spooled))
            yield from _chunks(download, request.offset)

    def _made_of(self, report: Report, as_of: int) -> str:
        """What a report of ``as_of`` entries is made of: of one attestation it is the same until the next."""
        if report.id not in OF_ATTESTATIONS:
            return f"{as_of} entries"
        with _attested():
            return f"attestation {self._workings.number(as_of)}"


def _may(caller: Identity, report: Report) -> bool:
    """A cut of a report is of one member: a regulator that sees some has none."""
    return caller.sees_all or (report.for_members and not (report.cut and caller.role is Role.REGULATOR))


def _require_given(report: Report, request: pb.DownloadReportRequest, caller: Identity) -> None:
    """Raise ``RequestInvalid`` for parameters that are not the report's, :class:`Refused` for a foreign account."""
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
    if request.offset and not request.as_of:
        violations.add("as_of", "must say of how many entries the report is that is resumed")
    violations.require_none()
    if ACCOUNT in known and not caller.reads(request.parameters[ACCOUNT]):
        raise Refused(Fault.NOT_YOURS, f"{ACCOUNT} is not under the name of {caller.actor}")


def _wanted(parts: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    """The same while somebody waits for them."""
    for part in parts:
        if not context.is_active():
            raise Refused(Fault.DEADLINE_PASSED)
        yield part


def _chunks(download: Download, offset: int) -> Iterator[pb.DownloadReportResponse]:
    download.file.seek(offset)
    while data := download.file.read(CHUNK_BYTES):
        yield pb.DownloadReportResponse(chunk=pb.ReportChunk(offset=offset, data=data))
        offset += len(data)


# --- where the rows come from -----------------------------------------------------------------------------


def _journal(pull: Pull) -> Iterator[Recorded]:
    at = 0
    while at < pull.as_of:
        for sequence, entry in pull.books.tail.journal.decoded(pull.books.tail.journal.segments(at), at):
            if sequence >= pull.as_of:
                return
            at = sequence + 1
            yield Recorded(sequence, entry)


def _trial_balance(pull: Pull) -> Iterator[Balanced]:
    after = -1
    with pull.books.past.as_of(pull.as_of, 0, pull.context) as (connection, size):
        while page := history.standings(connection, size, after=after):
            after = page[-1].opened.number
            for one in page:
                account = one.opened.account
                text = ledger_wire.unit_of(account.path, account.unit, pull.house).render(abs(one.balance))
                sides = (text, "") if one.balance >= 0 else ("", text)
                yield Balanced(account.path, account.unit, *sides)


def _statement(pull: Pull) -> Iterator[Moved]:
    path, unit = pull.given[ACCOUNT], pull.given[UNIT]
    start = int(pull.given.get(FROM, "0"))
    if start > pull.as_of:
        raise RequestInvalid({f"parameters[{FROM}]": f"must not be behind as_of, {pull.as_of}"})
    with pull.books.past.as_of(pull.as_of, 0, pull.context) as (connection, size):
        try:
            page = history.statement(connection, account_id(path, unit), start, size)
        except AccountUnknown:
            raise Refused(Reason.ACCOUNT_UNKNOWN, f"{path} {unit}") from None
        steps, sided = ledger_wire.unit_of(path, unit, pull.house), page.account.on_normal_side
        yield Moved("opening balance", steps.render(sided(page.opening)))
        while True:
            for line in page.lines:
                yield Moved(
                    what=ledger_wire.kind_name(line.entry.kind),
                    balance=steps.render(sided(line.balance)),
                    sequence=line.entry.sequence,
                    leg=line.leg,
                    time_ms=line.entry.effective_ms,
                    amount=steps.render(sided(line.amount)),
                )
            if page.after is None:
                break
            page = history.statement(connection, account_id(path, unit), start, size, after=page.after)
        yield Moved("closing balance", steps.render(sided(page.closing)))


def _bundle(pull: Pull) -> Iterator[RecomputeBundle]:
    with _attested():
        yield pull.workings.bundle(pull.as_of, pull.member)


def _liability(pull: Pull) -> Iterator[Proof]:
    with _attested():
        yield pull.workings.liability(pull.as_of, pull.given[ACCOUNT])


@contextmanager
def _attested() -> Iterator[None]:
    try:
        yield
    except NothingAttested as error:
        raise Refused(Fault.ATTESTATION_UNKNOWN, str(error)) from None
    except Replaying as error:
        raise Refused(Fault.ATTESTATION_REPLAYED, str(error)) from None
    except NotReproduced as error:
        raise Refused(Fault.ATTESTATION_NOT_REPRODUCED, str(error)) from None
    except LiabilityRefused as error:
        raise Refused(Fault.LIABILITY_UNKNOWN, str(error)) from None


ROWS: Mapping[str, Callable[[Pull], Iterable[Any]]] = {
    "journal": _journal,
    "liability-proof": _liability,
    "recompute-bundle": _bundle,
    "statement": _statement,
    "trial-balance": _trial_balance,
}
"""Where the rows of each report in ``REPORTS`` come from. A test compares the two."""
OF_ATTESTATIONS = frozenset({"liability-proof", "recompute-bundle"})
"""Reports of the newest attestation."""
