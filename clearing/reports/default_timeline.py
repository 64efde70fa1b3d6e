"""The timeline of the default report: every entry that is part of a default, who it is about, and how much."""

from collections.abc import Callable, Iterator, Mapping

from clearing import chart
from clearing.chart import Line
from clearing.model.house import Change, Put
from clearing.model.ids import DefaultId
from clearing.model.kinds import Kind
from clearing.model.values import Call, Default, Member
from clearing.reports import figures, sources
from clearing.reports.document import Column, Measure, Row, Table
from clearing.reports.events import Belonging, belonging
from clearing.reports.facts import moved
from clearing.reports.reading import Reading
from ledger.entry import Entry

_COLUMNS = (
    Column("default", "Default"),
    Column("entry", "Entry", Measure.COUNT),
    Column("time", "Time", Measure.TIME),
    Column("kind", "Kind"),
    Column("who", "Who it is about"),
    Column("what", "What the amount is"),
    Column("amount", "Amount", Measure.AMOUNT),
    Column("actor", "Who asked"),
)
_DEBITS, _CREDITS = 1, -1
_MOVED: Mapping[Kind, tuple[str, Line, int]] = {
    Kind.LIQUIDATION_CLOSED: ("penalty", Line.INSURANCE_FUND, _CREDITS),
    Kind.POSITION_ASSIGNED: ("cash paid", Line.CASH, _CREDITS),
    Kind.BID_AWARDED: ("cash paid", Line.CASH, _CREDITS),
    Kind.POSITIONS_TORN_UP: ("cash paid", Line.CASH, _CREDITS),
    Kind.COLLATERAL_SOLD: ("cash paid", Line.CASH, _CREDITS),
    Kind.COLLATERAL_AWARDED: ("cash paid", Line.CASH, _CREDITS),
    Kind.LOSS_FIXED: ("deficit", Line.LOSS, _DEBITS),
    Kind.ANSWER_PAID: ("paid", Line.LOSS, _CREDITS),
    Kind.WATERFALL: ("loss", Line.LOSS, _CREDITS),
    Kind.ASSESSMENT_PAID: ("paid", Line.ASSESSMENT, _CREDITS),
    Kind.ASSESSMENT_DEFAULTED: ("unpaid", Line.ASSESSMENT, _CREDITS),
    Kind.REPLENISHMENT_PAID: ("paid", Line.POOL, _CREDITS),
    Kind.POOL_CONTRIBUTED: ("paid", Line.POOL, _CREDITS),
    Kind.SKIN_RESTORED: ("restored", Line.SKIN_IN_THE_GAME, _CREDITS),
    Kind.LOSS_SHARED: ("shared", Line.UNCOVERED, _CREDITS),
    Kind.RECOVERY_RECEIVED: ("received", Line.RECOVERIES, _CREDITS),
    Kind.RECOVERY_DISTRIBUTED: ("distributed", Line.RECOVERIES, _DEBITS),
}
"""Kinds whose amount is what their legs debit to, or credit to, a line of the chart."""


def table(reading: Reading, wanted: DefaultId | None) -> Table:
    """The field of a row is ``DEFAULT:ENTRY``."""
    return Table(
        id="timeline",
        title="Timeline",
        columns=_COLUMNS,
        rows=_rows(reading, wanted),
        note="From the first call or liquidation that led to the default, and the snapshot at which it was declared,"
        " to the last recovery. An entry may be part of two defaults.",
    )


def _rows(reading: Reading, wanted: DefaultId | None) -> Iterator[Row]:
    house = reading.house
    for one in belonging(reading, wanted):
        sequence, entry = one.recorded.sequence, one.recorded.entry
        what, amount = _amount(one)
        for default_id in one.defaults:
            cells = (
                default_id,
                str(sequence),
                figures.time(entry.effective_ms),
                Kind(entry.kind).name,
                _who(one),
                what,
                "" if amount is None else figures.money(house, amount),
                entry.actor,
            )
            yield Row(f"{default_id}:{sequence}", cells, sources.entries([sequence]))


def _amount(one: Belonging) -> tuple[str, int | None]:
    """What the amount of an entry is, and how much; none where it has none."""
    kind = Kind(one.recorded.entry.kind)
    if kind in _MOVED:
        what, line, side = _MOVED[kind]
        return what, moved(one.recorded.entry, line, side)
    for change in one.changes:
        if isinstance(change, Put) and isinstance(change.row, Call):
            return f"{change.row.kind.value} call", change.row.amount_minor
        if kind is Kind.DEFAULT_DECLARED and isinstance(change, Put) and isinstance(change.row, Default):
            return "equity of its sets", sum(row.equity_minor for row in change.row.sets)
    return "", None


def _who(one: Belonging) -> str:
    """The sets, accounts, members or auctions that an entry names, each once."""
    entry = one.recorded.entry
    told = [name for change in one.changes for name in _named(entry, change)]
    told += _references(entry)
    told += [_holder(leg.account.path) for leg in entry.legs if entry.kind in _BY_LEGS]
    return " ".join(dict.fromkeys(name for name in told if name and name not in one.defaults))


_BY_LEGS = (
    Kind.POSITIONS_NETTED,
    Kind.LOSS_FIXED,
    Kind.WATERFALL,
    Kind.RECOVERY_DISTRIBUTED,
    Kind.LOSS_SHARED,
)
"""Kinds that are about those whose accounts they move."""
_BY_REFERENCES = (
    Kind.POSITION_ASSIGNED,
    Kind.COLLATERAL_SOLD,
    Kind.BID_AWARDED,
    Kind.COLLATERAL_AWARDED,
    Kind.AUCTION_CLOSED,
    Kind.AUCTION_VOIDED,
    Kind.POSITIONS_TORN_UP,
    Kind.ANSWER_PAID,
    Kind.PORTED,
)
"""Kinds that are about what they refer to."""
_OF_DUES = (
    Kind.ASSESSMENT_PAID,
    Kind.ASSESSMENT_DEFAULTED,
    Kind.REPLENISHMENT_PAID,
    Kind.REPLENISHMENT_DEFAULTED,
)


def _references(entry: Entry) -> tuple[str, ...]:
    """What an entry is about, where its references say it; of what is owed for a default, who owes it."""
    if entry.kind in _OF_DUES:
        return (entry.references[0].partition("/")[2],)
    return entry.references if entry.kind in _BY_REFERENCES else ()


def _holder(path: str) -> str:
    """The account, or the fund of the house, at a path; nothing for the books of the default itself."""
    line, owner = chart.line_of(path)
    if line in (Line.CLAIMS, Line.RECOVERIES, Line.UNCOVERED, Line.NOVATION):
        return ""
    return path.split("/")[3] if line is Line.LOSS else owner or path


def _named(entry: Entry, change: Change) -> Iterator[str]:
    """What a changed row is about."""
    of = _NAMES.get(change.table)
    if of is not None:
        yield from of(entry, change)


def _of_call(entry: Entry, change: Change) -> Iterator[str]:
    yield change.key.partition("/")[2]


def _of_key(entry: Entry, change: Change) -> Iterator[str]:
    yield change.key


def _of_auction(entry: Entry, change: Change) -> Iterator[str]:
    if isinstance(change, Put):
        yield from (change.row.subject, change.key)


def _of_default(entry: Entry, change: Change) -> Iterator[str]:
    if entry.kind == Kind.DEFAULT_DECLARED and isinstance(change, Put):
        yield from (row.netting_set for row in change.row.sets)


def _of_member(entry: Entry, change: Change) -> Iterator[str]:
    if isinstance(change, Put) and isinstance(change.row, Member):
        yield change.row.id


_NAMES: Mapping[str, Callable[[Entry, Change], Iterator[str]]] = {
    "calls": _of_call,
    "liquidations": _of_key,
    "auctions": _of_auction,
    "bids": _of_key,
    "accounts": _of_key,
    "withdrawals": _of_key,
    "portings": _of_key,
    "defaults": _of_default,
    "members": _of_member,
}
