"""Whether the house worked, as its journal knows it: cycles, attestations, outages, halts, refusals, pulls of reports.

Rules kept here (rulebook §6, §7, §13, §14):

1. What lasts is shown from its first entry to its last; what lasts still has no end and no duration.
2. A cycle is attested by the first attestation that speaks of it; later cycles may have been accepted meanwhile.
3. Refused calls are those whose answers the house keeps beside its journal, of requests that were refused before the
   last entry. What never became a request (no certificate, no right, too many at once) it does not keep, nor how long
   anybody waited, nor when which machine was up: such rows name what is missing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from clearing.market.breakers import EVERYTHING
from clearing.model import units
from clearing.model.house import Put, decode_changes
from clearing.model.ids import ADMINISTRATOR
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason
from clearing.model.values import (
    AttestationRecord,
    Breaker,
    BreakerState,
    DataRefusal,
    Outage,
    ReportAsked,
    SignedReport,
)
from clearing.reports import figures, sources
from clearing.reports.document import Chart, Column, Drawing, Measure, Row, Table
from clearing.reports.facts import rows_put
from clearing.reports.reading import Reading, Recorded

_SUMMARY = (
    Column("what", "What"),
    Column("value", "Value", Measure.COUNT),
    Column("unit", "Unit"),
)
_CYCLES = (
    Column("accepted", "Snapshot accepted", Measure.TIME),
    Column("interval", "Since the cycle before", Measure.COUNT, "ms"),
    Column("closed", "Closed by entry", Measure.COUNT),
    Column("attestation", "Attestation", Measure.COUNT),
    Column("attested", "Attested", Measure.TIME),
    Column("delay", "From the snapshot to its attestation", Measure.COUNT, "ms"),
)
_OUTAGES = (
    Column("began", "From", Measure.TIME),
    Column("noted", "Written down", Measure.TIME),
    Column("ended", "To", Measure.TIME),
    Column("duration", "Duration", Measure.COUNT, "ms"),
    Column("cause", "Cause"),
    Column("closings", "Defaults let close meanwhile, and by whom"),
)
_BREAKERS = (
    Column("scope", "Instrument, or * for everything"),
    Column("state", "State"),
    Column("from", "From", Measure.TIME),
    Column("to", "To", Measure.TIME),
    Column("duration", "Duration", Measure.COUNT, "ms"),
    Column("trigger", "Set by"),
    Column("by", "Administrator"),
    Column("reason", "Reason"),
)
_DATA = (
    Column("time", "Time", Measure.TIME),
    Column("publisher", "Price source"),
    Column("feed", "Feed"),
    Column("price", "What it said", Measure.AMOUNT),
    Column("number", "Number of the publication", Measure.COUNT),
    Column("reason", "Reason"),
)
_REASONS = (
    Column("meaning", "Meaning"),
    Column("calls", "Calls", Measure.COUNT),
    Column("times", "Times given", Measure.COUNT),
)
_CALLERS = (
    Column("caller", "Caller"),
    Column("reason", "Reason"),
    Column("calls", "Calls", Measure.COUNT),
    Column("times", "Times given", Measure.COUNT),
    Column("first", "First when the journal had so many entries", Measure.COUNT),
    Column("last", "Last when it had", Measure.COUNT),
)
_ASKED = (
    Column("time", "Time", Measure.TIME),
    Column("report", "Report"),
    Column("as_of", "As of so many entries", Measure.COUNT),
    Column("form", "Form"),
    Column("given", "Asked for with"),
    Column("members", "Whose part"),
)
_PULLS = (Column("actor", "Who pulled it"), *_ASKED)
_SIGNED = (*_ASKED, Column("size", "Bytes", Measure.COUNT), Column("sha256", "SHA-256"))
_OUTSIDE = {
    "uptime": ("Share of time in which the interface answered", "logs of the machines that serve the house"),
    "latency": ("Time from a call to its answer", "measurements of calls, which are not journaled"),
    "denied": (
        "Calls refused before they became requests: no certificate, no right, too many at once",
        "logs of the interface",
    ),
    "custodians": ("Availability of custodians and chains", "reports of the custodians"),
    "incidents": ("Incidents, drills and recovery times", "the incident register of the operator"),
}


def build(reading: Reading) -> Iterator[Table]:
    """The field of a cycle is its number; of what began with an entry, that entry."""
    yield Table(id="summary", title="Summary", columns=_SUMMARY, rows=_summary(reading))
    yield Table(
        id="cycles",
        title="Clearing cycles and their attestations",
        columns=_CYCLES,
        rows=map(_cycle_row, _cycles(reading)),
        note="A cycle without an attestation had none when a later one was attested, or has none yet.",
        charts=(Chart(Drawing.LINES, "Time between cycles in milliseconds", "accepted", ("interval",)),),
    )
    yield Table(
        id="outages", title="Price outages", columns=_OUTAGES, rows=map(_outage_row, _outages(reading))
    )
    yield Table(
        id="breakers",
        title="Halts, and times in which only reducing trades were taken",
        columns=_BREAKERS,
        rows=map(_breaker_row, _spells(reading)),
    )
    yield Table(id="data", title="Prices refused as absurd", columns=_DATA, rows=_data_rows(reading))
    refused = _Refused()
    yield Table(
        id="reasons", title="Refused calls by reason", columns=_REASONS, rows=_reason_rows(reading, refused)
    )
    yield Table(
        id="callers", title="Refused calls by caller", columns=_CALLERS, rows=_caller_rows(reading, refused)
    )
    yield Table(id="pulls", title="Reports pulled", columns=_PULLS, rows=_pull_rows(reading))
    yield Table(id="signed", title="Reports signed", columns=_SIGNED, rows=_signed_rows(reading))


# cycles ------------------------------------------------------------------------------------------------


@dataclass
class _Cycle:
    number: int
    accepted: Recorded
    interval_ms: int | None
    closed: int | None = None
    attested: Recorded | None = None
    attestation: AttestationRecord | None = None

    @property
    def delay_ms(self) -> int | None:
        """How long after its snapshot it was attested."""
        attested = self.attested
        return None if attested is None else attested.entry.effective_ms - self.accepted.entry.effective_ms


def _cycles(reading: Reading) -> Iterator[_Cycle]:
    """Cycles are numbered from one without a gap. One is held until an attestation speaks of it, or of a later one."""
    waiting: list[_Cycle] = []
    last: Recorded | None = None
    number = 0
    for recorded in reading.entries(Kind.SNAPSHOT_ACCEPTED, Kind.CYCLE_CLOSED, Kind.ATTESTED):
        if recorded.entry.kind == Kind.SNAPSHOT_ACCEPTED:
            number += 1
            interval = None if last is None else recorded.entry.effective_ms - last.entry.effective_ms
            waiting.append(_Cycle(number, recorded, interval))
            last = recorded
        elif recorded.entry.kind == Kind.CYCLE_CLOSED:
            waiting[-1].closed = recorded.sequence
        else:
            record = _attestation(recorded)
            while waiting and waiting[0].number <= record.cycle:
                one = waiting.pop(0)
                if one.number == record.cycle:
                    one.attested, one.attestation = recorded, record
                yield one
    yield from waiting


def _attestation(recorded: Recorded) -> AttestationRecord:
    return next(rows_put(decode_changes(recorded.entry.fact), AttestationRecord))


def _cycle_row(one: _Cycle) -> Row:
    attested = one.attested
    cells = (
        figures.time(one.accepted.entry.effective_ms),
        _text(one.interval_ms),
        _text(one.closed),
        "" if one.attestation is None else str(one.attestation.sequence),
        "" if attested is None else figures.time(attested.entry.effective_ms),
        _text(one.delay_ms),
    )
    found = [one.accepted.sequence, one.closed, None if attested is None else attested.sequence]
    entries = sources.entries(sequence for sequence in found if sequence is not None)
    before = (
        ""
        if one.interval_ms is None
        else sources.about("interval", sources.figure("cycles", str(one.number - 1)))
    )
    return Row(str(one.number), cells, sources.joined(entries, before))


def _text(number: int | None) -> str:
    return "" if number is None else str(number)


# outages and halts -------------------------------------------------------------------------------------


@dataclass
class _Outage:
    row: Outage
    noted: Recorded
    entries: list[int]
    is_halt: bool
    ended: Recorded | None = None

    @property
    def duration_ms(self) -> int | None:
        """How long it lasted; None while it does."""
        return None if self.ended is None else self.ended.entry.effective_ms - self.row.began_ms


_BREAKER_KINDS = (Kind.BREAKER_SET, Kind.BREAKER_TRIPPED, Kind.BREAKER_REOPENED)
_OUTAGE_KINDS = (
    Kind.OUTAGE_BEGAN,
    Kind.OUTAGE_WATCHED,
    Kind.OUTAGE_CLOSING_ASKED,
    Kind.OUTAGE_CLOSING_LET,
    Kind.OUTAGE_ENDED,
    Kind.HOUSE_WOUND_DOWN,
)


def _outages(reading: Reading) -> Iterator[_Outage]:
    known: _Outage | None = None
    halted_ms: int | None = None
    for recorded in reading.entries(*_OUTAGE_KINDS, *_BREAKER_KINDS):
        for change in decode_changes(recorded.entry.fact):
            row = change.row if isinstance(change, Put) else None
            if isinstance(row, Breaker) and row.scope == EVERYTHING:
                halted_ms = row.since_ms if row.state is BreakerState.HALTED else None
            if isinstance(row, Outage):
                if known is None:
                    known = _Outage(row, recorded, [], row.began_ms == halted_ms)
                known.row = row
                known.entries.append(recorded.sequence)
            elif change.table == "outage" and known is not None:
                known.ended = recorded
                known.entries.append(recorded.sequence)
                yield known
                known = None
    if known is not None:
        yield known


def _outage_row(one: _Outage) -> Row:
    closings = (
        f"{closing.default} {closing.asked_by}" + (f" and {closing.let_by}" if closing.let_by else "")
        for closing in one.row.closings
    )
    cells = (
        figures.time(one.row.began_ms),
        figures.time(one.noted.entry.effective_ms),
        "" if one.ended is None else figures.time(one.ended.entry.effective_ms),
        _text(one.duration_ms),
        "everything was halted" if one.is_halt else "no quorum of fresh prices",
        ", ".join(closings),
    )
    return Row(str(one.noted.sequence), cells, sources.entries(one.entries))


@dataclass
class _Spell:
    """A time in which a breaker was not open."""

    row: Breaker
    begun: Recorded
    ended: Recorded | None = None

    @property
    def duration_ms(self) -> int | None:
        """How long it lasted; None while it does."""
        return None if self.ended is None else self.ended.entry.effective_ms - self.row.since_ms


def _spells(reading: Reading) -> Iterator[_Spell]:
    """As they end, then those that last, by scope. One state after another is another spell."""
    known: dict[str, _Spell] = {}
    for recorded in reading.entries(*_BREAKER_KINDS):
        for row in rows_put(decode_changes(recorded.entry.fact), Breaker):
            before = known.pop(row.scope, None)
            if before is not None:
                before.ended = recorded
                yield before
            if row.state is not BreakerState.OPEN:
                known[row.scope] = _Spell(row, recorded)
    yield from (known[scope] for scope in sorted(known))


def _breaker_row(one: _Spell) -> Row:
    cells = (
        one.row.scope,
        one.row.state.value,
        figures.time(one.row.since_ms),
        "" if one.ended is None else figures.time(one.ended.entry.effective_ms),
        _text(one.duration_ms),
        one.row.trigger.value,
        one.row.set_by,
        one.row.reason,
    )
    found = [one.begun.sequence, *([] if one.ended is None else [one.ended.sequence])]
    return Row(str(one.begun.sequence), cells, sources.entries(found))


# refusals ----------------------------------------------------------------------------------------------


def _data_rows(reading: Reading) -> Iterator[Row]:
    ticks = units.of_feeds(reading.house) if reading.house.charter is not None else {}
    for recorded in reading.entries(Kind.DATA_REFUSED):
        row = next(rows_put(decode_changes(recorded.entry.fact), DataRefusal))
        cells = (
            figures.time(row.refused_ms),
            row.source,
            row.feed,
            ticks[row.feed].render(row.price_ticks),
            str(row.sequence),
            row.reason,
        )
        yield Row(str(recorded.sequence), cells, sources.entries([recorded.sequence]))


@dataclass
class _Tally:
    calls: int = 0
    times: int = 0
    first: int = 0
    last: int = 0

    def add(self, at: int, times: int) -> None:
        """One more call, to which a reason was given so often."""
        self.first = min(self.first, at) if self.calls else at
        self.last = max(self.last, at)
        self.calls += 1
        self.times += times


@dataclass
class _Refused:
    """Refused calls counted by caller and reason, read once for all tables; their order does not matter."""

    tallies: dict[tuple[str, str], _Tally] = field(default_factory=dict)
    calls: int = 0
    is_read: bool = False

    def read(self, reading: Reading) -> None:
        """Count them, unless they are counted."""
        if self.is_read:
            return
        for call in reading.refused():
            self.calls += 1
            for reason, times in call.reasons.items():
                self.tallies.setdefault((_caller(call.actor), reason), _Tally()).add(call.at, times)
        self.is_read = True


def _caller(actor: str) -> str:
    """An actor without its key: the same before and after its certificate was renewed."""
    if not actor.startswith(ADMINISTRATOR):
        return actor
    return ADMINISTRATOR + actor.removeprefix(ADMINISTRATOR).partition("/")[0]


def _reason_rows(reading: Reading, refused: _Refused) -> Iterator[Row]:
    refused.read(reading)
    found: dict[str, _Tally] = {}
    for (_, reason), tally in refused.tallies.items():
        one = found.setdefault(reason, _Tally())
        one.calls, one.times = one.calls + tally.calls, one.times + tally.times
    for reason in sorted(found):
        meaning = Reason[reason].value if reason in Reason.__members__ else ""
        cells = (meaning, str(found[reason].calls), str(found[reason].times))
        yield Row(reason, cells, sources.figure("callers"))


def _caller_rows(reading: Reading, refused: _Refused) -> Iterator[Row]:
    refused.read(reading)
    for caller, reason in sorted(refused.tallies):
        one = refused.tallies[caller, reason]
        cells = (caller, reason, *map(str, (one.calls, one.times, one.first, one.last)))
        yield Row(f"{caller}:{reason}", cells, sources.answers(one.first, one.last))


# reports -----------------------------------------------------------------------------------------------


def _pull_rows(reading: Reading) -> Iterator[Row]:
    for recorded in reading.entries(Kind.REPORT_PULLED):
        asked = next(rows_put(decode_changes(recorded.entry.fact), ReportAsked))
        cells = (recorded.entry.actor, *_asked(recorded, asked))
        yield Row(str(recorded.sequence), cells, sources.entries([recorded.sequence]))


def _signed_rows(reading: Reading) -> Iterator[Row]:
    for recorded in reading.entries(Kind.REPORT_SIGNED):
        signed = next(rows_put(decode_changes(recorded.entry.fact), SignedReport))
        cells = (*_asked(recorded, signed.asked), str(signed.size), signed.sha256)
        yield Row(str(recorded.sequence), cells, sources.entries([recorded.sequence]))


def _asked(recorded: Recorded, asked: ReportAsked) -> tuple[str, ...]:
    return (
        figures.time(recorded.entry.effective_ms),
        asked.report,
        str(asked.as_of),
        asked.form.value,
        " ".join(f"{one.key}={one.text}" for one in asked.given),
        "all" if asked.members is None else " ".join(asked.members),
    )


# the summary -------------------------------------------------------------------------------------------


@dataclass
class _Sum:
    """How many, how long in all and at most, of what has a duration."""

    count: int = 0
    total_ms: int = 0
    most_ms: int = 0

    def add(self, duration_ms: int | None) -> None:
        """One more; without a duration it only counts."""
        self.count += 1
        self.total_ms += duration_ms or 0
        self.most_ms = max(self.most_ms, duration_ms or 0)


def _summary(reading: Reading) -> Iterator[Row]:
    cycles, delays, unattested = _Sum(), _Sum(), 0
    for one in _cycles(reading):
        cycles.add(one.interval_ms)
        if one.delay_ms is None:
            unattested += 1
        else:
            delays.add(one.delay_ms)
    yield _count("cycles", "Clearing cycles begun", cycles.count, "cycles")
    yield _ms("cycles_longest", "Longest time between two cycles", cycles.most_ms, "cycles", cycles.count > 1)
    yield _count("unattested", "Cycles without an attestation", unattested, "cycles")
    yield _ms(
        "attestation_longest", "Longest time to an attestation", delays.most_ms, "cycles", delays.count > 0
    )
    yield from _durations(
        "outages", "Price outages", (one.duration_ms for one in _outages(reading)), "outages"
    )
    for state, name, title in (
        (BreakerState.HALTED, "halts", "Halts"),
        (BreakerState.REDUCE_ONLY, "reduce_only", "Times of reduce only"),
    ):
        spells = (one.duration_ms for one in _spells(reading) if one.row.state is state)
        yield from _durations(name, title, spells, "breakers")
    yield from _numbers(reading)
    for key, (what, missing) in _OUTSIDE.items():
        yield Row(key, (what, "", ""), sources.outside(missing))


def _numbers(reading: Reading) -> Iterator[Row]:
    refused = _Refused()
    refused.read(reading)
    data = sum(1 for _ in reading.entries(Kind.DATA_REFUSED))
    yield _count("data_refused", "Publications of prices refused as absurd", data, "data")
    yield _count("calls_refused", "Calls of which something was refused", refused.calls, "callers")
    pulls = sum(1 for _ in reading.entries(Kind.REPORT_PULLED))
    yield _count("pulls", "Reports pulled", pulls, "pulls")
    signed = sum(1 for _ in reading.entries(Kind.REPORT_SIGNED))
    yield _count("signed", "Reports signed", signed, "signed")


def _durations(name: str, title: str, found: Iterator[int | None], table: str) -> Iterator[Row]:
    """How many there were, and how long those lasted in all that are over."""
    sums = _Sum()
    for one in found:
        sums.add(one)
    yield _count(name, title, sums.count, table)
    yield _ms(
        f"{name}_total", f"{title}: duration of those that are over", sums.total_ms, table, is_known=True
    )


def _count(field_of: str, what: str, number: int, table: str) -> Row:
    return Row(field_of, (what, str(number), ""), sources.figure(table))


def _ms(field_of: str, what: str, number: int, table: str, is_known: bool) -> Row:
    return Row(field_of, (what, str(number) if is_known else "", "ms"), sources.figure(table))
