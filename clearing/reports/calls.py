"""Margin calls, cash calls and liquidations: what was demanded of each netting set, by when, and what came of it.

Rules kept here (rulebook §10.1, §10.2):

1. A member sees the calls and liquidations of the netting sets in which it has an account, and of their parts its own;
   of what was closed, what its own accounts had, and not who took it.
2. A call ends by being met, by expiring, or with the set: in its default, or in the wind-down of the house.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from clearing.chart import Line
from clearing.model.house import Change, House, Put, decode_changes
from clearing.model.ids import AccountKey, MemberId, SetId, member_of
from clearing.model.kinds import Kind
from clearing.model.values import Call, CallKind, Liquidation, NettingSet
from clearing.reports import closing, figures, sources
from clearing.reports.document import Column, Measure, Row, Table
from clearing.reports.facts import moved, rows_put
from clearing.reports.reading import Reading, Recorded, shows, shows_account

_ENDS = {
    Kind.CALL_MET: "met",
    Kind.CALL_EXPIRED: "expired",
    Kind.LIQUIDATION_CLOSED: "recovered",
    Kind.DEFAULT_DECLARED: "default",
    Kind.ACCOUNTS_CLOSED_OUT: "closed out",
    Kind.HOUSE_WOUND_DOWN: "wound down",
}
OPEN = "open"
_CALLED = (Kind.CALL_ISSUED, Kind.CALL_CHANGED, Kind.CALL_MOVED, *_ENDS)
_LIQUIDATED = (Kind.LIQUIDATION_OPENED, Kind.LIQUIDATION_STEPPED, *_ENDS)
_SETS = (Kind.ACCOUNT_OPENED, Kind.NETTING_SET_LINKED, Kind.NETTING_SET_UNLINKED, Kind.PORTED)
_CLOSING = tuple(kind for kind in closing.HOW if kind is not Kind.POSITIONS_TORN_UP)

_TOTALS = (
    Column("issued", "Calls issued", Measure.COUNT),
    Column("amount", "First asked for", Measure.AMOUNT),
    Column("met", "Met", Measure.COUNT),
    Column("expired", "Expired", Measure.COUNT),
    Column("ended", "Ended with the set", Measure.COUNT),
    Column("open", "Open", Measure.COUNT),
    Column("open_amount", "Open amount", Measure.AMOUNT),
)
_CALLS = (
    Column("kind", "Kind"),
    Column("netting_set", "Netting set"),
    Column("parts", "Parts of the members"),
    Column("issued", "Issued", Measure.TIME),
    Column("due", "Due", Measure.TIME),
    Column("first", "First asked for", Measure.AMOUNT),
    Column("most", "At most", Measure.AMOUNT),
    Column("last", "At last", Measure.AMOUNT),
    Column("outcome", "Outcome"),
    Column("ended", "Ended", Measure.TIME),
)
_CHANGES = (
    Column("call", "Call, by the entry that issued it", Measure.COUNT),
    Column("netting_set", "Netting set"),
    Column("time", "Time", Measure.TIME),
    Column("what", "What"),
    Column("amount", "Amount", Measure.AMOUNT),
    Column("due", "Due", Measure.TIME),
)
_LIQUIDATIONS = (
    Column("netting_set", "Netting set"),
    Column("opened", "Opened", Measure.TIME),
    Column("requirement", "Requirement when it was opened", Measure.AMOUNT),
    Column("steps", "Steps that placed something", Measure.COUNT),
    Column("notional", "Notional closed", Measure.AMOUNT),
    Column("penalty", "Penalty", Measure.AMOUNT),
    Column("outcome", "Outcome"),
    Column("ended", "Ended", Measure.TIME),
)
_CLOSED = (
    Column("entry", "Entry", Measure.COUNT),
    Column("time", "Time", Measure.TIME),
    Column("how", "How"),
    Column("account", "Account"),
    Column("unit", "Unit"),
    Column("size", "Size, long positive", Measure.AMOUNT),
    Column("price", "Price", Measure.AMOUNT),
    Column("mark", "Mark", Measure.AMOUNT),
    Column("against_mark", "Price against the mark", Measure.PERCENT),
    Column("cash", "Paid to the account", Measure.AMOUNT),
)


def build(reading: Reading) -> Iterator[Table]:
    """The field of a call and of a liquidation is the entry that began it."""
    yield Table(id="totals", title="Calls by kind", columns=_TOTALS, rows=_totals(reading))
    yield Table(
        id="calls",
        title="Calls",
        columns=_CALLS,
        rows=(_call_row(reading, one) for one in _calls(reading)),
        note="In the order in which they ended; the open ones last.",
    )
    yield Table(id="changes", title="What happened to each call", columns=_CHANGES, rows=_changes(reading))
    yield Table(
        id="liquidations",
        title="Liquidations",
        columns=_LIQUIDATIONS,
        rows=(_liquidation_row(reading.house, one) for one in _liquidations(reading)),
        note="In the order in which they ended; the open ones last.",
    )
    yield Table(
        id="closed",
        title="What liquidations and cash calls closed, and at which price",
        columns=_CLOSED,
        rows=_closed_rows(reading),
    )


# calls -------------------------------------------------------------------------------------------------


@dataclass
class _Called:
    """A call while its entries are read."""

    row: Call
    first: int
    most: int
    entries: list[Recorded]
    end: Recorded | None = None


def _is_shown(reading: Reading, call: Call) -> bool:
    """Each member with an account in the set has a part, if only of nothing."""
    return any(shows(reading, part.member) for part in call.parts)


def _calls(reading: Reading) -> Iterator[_Called]:
    """The calls that are shown, as they end, then the open ones by their keys."""
    known: dict[str, _Called] = {}
    for recorded, change in _of_table(reading, "calls", _CALLED):
        if isinstance(change, Put):
            row, one = change.row, known.get(change.key)
            if one is None:
                if _is_shown(reading, row):
                    known[change.key] = _Called(row, row.amount_minor, row.amount_minor, [recorded])
                continue
            one.row, one.most = row, max(one.most, row.amount_minor)
            one.entries.append(recorded)
        elif change.key in known:
            one = known.pop(change.key)
            one.entries.append(recorded)
            one.end = recorded
            yield one
    yield from (known[key] for key in sorted(known))


def _of_table(reading: Reading, table: str, kinds: tuple[Kind, ...]) -> Iterator[tuple[Recorded, Change]]:
    for recorded in reading.entries(*kinds):
        for change in decode_changes(recorded.entry.fact):
            if change.table == table:
                yield recorded, change


def _outcome(end: Recorded | None) -> str:
    return OPEN if end is None else _ENDS[Kind(end.entry.kind)]


def _totals(reading: Reading) -> Iterator[Row]:
    house = reading.house
    sums = {kind: [0] * 7 for kind in CallKind}
    for one in _calls(reading):
        found, outcome = sums[one.row.kind], _outcome(one.end)
        place = {"met": 2, "expired": 3, OPEN: 5}.get(outcome, 4)
        found[0] += 1
        found[1] += one.first
        found[place] += 1
        found[6] += one.row.amount_minor if outcome == OPEN else 0
    for kind in CallKind:
        counts = [str(number) for number in sums[kind]]
        counts[1], counts[6] = (figures.money(house, sums[kind][place]) for place in (1, 6))
        yield Row(kind.value, tuple(counts), sources.figure("calls"))


def _call_row(reading: Reading, one: _Called) -> Row:
    house, row = reading.house, one.row
    parts = (part for part in row.parts if shows(reading, part.member))
    cells = (
        row.kind.value,
        row.netting_set,
        ", ".join(f"{part.member} {figures.money(house, part.amount_minor)}" for part in parts),
        figures.time(row.issued_ms),
        figures.time(row.due_ms),
        *(figures.money(house, amount) for amount in (one.first, one.most, row.amount_minor)),
        _outcome(one.end),
        "" if one.end is None else figures.time(one.end.entry.effective_ms),
    )
    entries = [recorded.sequence for recorded in one.entries]
    return Row(str(entries[0]), cells, sources.entries(entries))


def _changes(reading: Reading) -> Iterator[Row]:
    """Straight from the entries: of a call that an entry ends, what it was before."""
    house, known = reading.house, dict[str, tuple[int, Call]]()
    for recorded, change in _of_table(reading, "calls", _CALLED):
        sequence, kind = recorded.sequence, Kind(recorded.entry.kind)
        if isinstance(change, Put):
            issued = known[change.key][0] if change.key in known else sequence
            if not (change.key in known or _is_shown(reading, change.row)):
                continue
            known[change.key] = (issued, change.row)
            what = kind.name.partition("_")[2].lower()
        elif change.key in known:
            what = _ENDS[kind]
        else:
            continue
        issued, row = known[change.key] if isinstance(change, Put) else known.pop(change.key)
        cells = (
            str(issued),
            row.netting_set,
            figures.time(recorded.entry.effective_ms),
            what,
            figures.money(house, row.amount_minor),
            figures.time(row.due_ms),
        )
        yield Row(f"{sequence}:{issued}", cells, sources.entries([sequence]))


# liquidations ------------------------------------------------------------------------------------------


@dataclass
class _Liquidated:
    row: Liquidation
    entries: list[Recorded] = field(default_factory=list)
    end: Recorded | None = None


def _liquidations(reading: Reading) -> Iterator[_Liquidated]:
    known: dict[str, _Liquidated] = {}
    members: dict[str, set[MemberId]] = {}
    for recorded in reading.entries(*_LIQUIDATED, *_SETS):
        changes = decode_changes(recorded.entry.fact)
        members |= {row.id: set(map(member_of, row.accounts)) for row in rows_put(changes, NettingSet)}
        for change in changes:
            if change.table != "liquidations":
                continue
            if isinstance(change, Put):
                one = known.get(change.key) or _Liquidated(change.row)
                if not any(shows(reading, member) for member in members[change.key]):
                    continue
                known[change.key] = one
                one.row = change.row
                one.entries.append(recorded)
            elif change.key in known:
                one = known.pop(change.key)
                one.entries.append(recorded)
                one.end = recorded
                yield one
    yield from (known[key] for key in sorted(known))


def _liquidation_row(house: House, one: _Liquidated) -> Row:
    row, ended = one.row, one.end
    is_closed = ended is not None and ended.entry.kind == Kind.LIQUIDATION_CLOSED
    penalty = moved(ended.entry, Line.INSURANCE_FUND, -1) if ended is not None and is_closed else 0
    cells = (
        row.netting_set,
        figures.time(row.opened_ms),
        figures.money(house, row.requirement_at_open_minor),
        str(row.steps),
        figures.money(house, row.notional_closed_minor),
        figures.money(house, penalty),
        _outcome(ended),
        "" if ended is None else figures.time(ended.entry.effective_ms),
    )
    entries = [recorded.sequence for recorded in one.entries]
    return Row(str(entries[0]), cells, sources.entries(entries))


# what was closed ---------------------------------------------------------------------------------------


def _closed_rows(reading: Reading) -> Iterator[Row]:
    """What sets in liquidation, or that owed cash, gave up until they recovered or were declared in default."""
    house, marks, live = reading.house, closing.Marks(), _Live()
    snapshot: Recorded | None = None
    for recorded in reading.entries(*_LIVE, *_CLOSING, Kind.SNAPSHOT_ACCEPTED):
        if recorded.entry.kind == Kind.SNAPSHOT_ACCEPTED:
            snapshot = recorded
            continue
        if recorded.entry.kind not in _CLOSING:
            live.take(recorded)
            continue
        marks.take(snapshot)
        keys = {key for key in live.accounts(recorded) if shows_account(reading, key)}
        for number, one in enumerate(closing.closed(recorded.entry, keys)):
            yield _closed_row(house, marks, recorded, number, one)


_LIVE = (*_SETS, *_LIQUIDATED, Kind.CALL_ISSUED)


class _Live:
    """The netting sets that are being liquidated, or sold up for cash, at the moment."""

    def __init__(self) -> None:
        self._accounts: dict[str, tuple[AccountKey, ...]] = {}
        self._open: set[str] = set()
        self._expired: tuple[str, str] = ("", "")

    def take(self, recorded: Recorded) -> None:
        """Go on by an entry."""
        for change in decode_changes(recorded.entry.fact):
            if change.table == "netting_sets" and isinstance(change, Put):
                self._accounts[change.key] = change.row.accounts
            elif change.table == "liquidations":
                self._open = (
                    self._open | {change.key} if isinstance(change, Put) else self._open - {change.key}
                )
            elif change.table == "calls" and recorded.entry.kind == Kind.CALL_EXPIRED:
                kind, _, set_id = change.key.partition("/")
                is_cash = kind == CallKind.CASH.value
                self._expired = (set_id, recorded.entry.request_id) if is_cash else ("", "")
            elif change.table == "defaults":
                self._expired = ("", "")

    def accounts(self, recorded: Recorded) -> set[AccountKey]:
        """The accounts of those sets; a cash call is followed by its sale in the same request."""
        set_id, request = self._expired
        sold = {set_id} if set_id and request == recorded.entry.request_id else set()
        return {key for one in self._open | sold for key in self._accounts[SetId(one)]}


def _closed_row(
    house: House,
    marks: closing.Marks,
    recorded: Recorded,
    number: int,
    one: closing.Closed,
) -> Row:
    cells = (
        str(recorded.sequence),
        figures.time(recorded.entry.effective_ms),
        closing.HOW[Kind(recorded.entry.kind)],
        one.account,
        one.piece.unit,
        *closing.priced(house, marks, one),
    )
    source = sources.joined(sources.entries([recorded.sequence]), marks.source())
    return Row(f"{recorded.sequence}:{number}", cells, source)
