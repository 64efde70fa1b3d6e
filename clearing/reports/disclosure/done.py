"""What was done, day by day, as the entries of the journal have it."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from clearing import chart
from clearing.attest.envelope import EnvelopeRefused, VerifiedPayload
from clearing.attest.envelope import parse as parse_envelope
from clearing.attest.statement import Statement, StatementRefused
from clearing.attest.statement import parse as parse_statement
from clearing.market.novation import notional
from clearing.model.house import House, decode_changes
from clearing.model.ids import AccountKey, DefaultId, MemberId, member_of
from clearing.model.kinds import Kind
from clearing.model.values import (
    DAY_MS,
    AccountKind,
    AttestationRecord,
    Call,
    CallKind,
    Charter,
    Member,
    Outage,
    Trade,
)
from clearing.reports.disclosure.quarter import (
    CALLS,
    CHARTERED,
    KEPT_DAYS,
    VARIATION,
    Chartered,
    Flow,
    Span,
    Stated,
    Stop,
    add,
    group_of,
)
from clearing.reports.reading import Recorded


class Done:
    """What was done, day by day."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.flows: list[Flow] = []
        self.founded_ms = 0
        self.charters: list[Chartered] = []
        self.failed: dict[DefaultId, list[MemberId]] = {}
        self._firsts: dict[int, int] = {}
        self._paid: dict[AccountKey, int] = {}
        self._calls: dict[str, int] = {}
        self._stops: list[tuple[int, int | None]] = []

    def add(self, recorded: Recorded) -> None:
        """The next entry."""
        flow, entry = self._flow(recorded), recorded.entry
        flow.last, flow.last_ms = recorded.sequence, entry.effective_ms
        if entry.kind in VARIATION:
            self._pay(recorded)
            return
        for change in decode_changes(entry.fact) if entry.kind in _READ else ():
            self._change(flow, recorded, change.table, change.key, getattr(change, "row", None))

    def _flow(self, recorded: Recorded) -> Flow:
        day = recorded.entry.effective_ms // DAY_MS
        if not self.flows:
            self.founded_ms = recorded.entry.effective_ms
        if not self.flows or self.flows[-1].day != day:
            self._end_day()
            self._firsts[day] = recorded.sequence
            self.flows = [one for one in self.flows if one.day > day - KEPT_DAYS]
            self.flows.append(Flow(day, recorded.sequence))
        return self.flows[-1]

    def _pay(self, recorded: Recorded) -> None:
        for leg in recorded.entry.legs:
            owner = chart.holder(leg.account.path)
            if owner is not None and owner[1] == "cash":
                add(self._paid, owner[0], leg.amount)

    def _end_day(self) -> None:
        """Sum up who paid on the day that is over."""
        groups: dict[tuple[str, str], int] = {}
        for key, amount in self._paid.items():
            add(groups, group_of(self._house, member_of(key)), amount)
        if self.flows:
            self.flows[-1].paid_minor = sum(amount for amount in self._paid.values() if amount > 0)
            self.flows[-1].most_paid_minor = max((0, *groups.values()))
        self._paid = {}

    def _change(self, flow: Flow, recorded: Recorded, table: str, key: str, row: object) -> None:
        match row:
            case Trade() if recorded.entry.references[:1] in ((), (key,)):
                self._trade(flow, row)
            case Call():
                raised = row.amount_minor - self._calls.get(key, 0)
                is_new = recorded.entry.kind == Kind.CALL_ISSUED
                self._calls[key] = row.amount_minor
                if row.kind is CallKind.MARGIN:
                    flow.called_minor += row.amount_minor if is_new else max(0, raised)
            case AttestationRecord():
                flow.attested = recorded.sequence, row
            case Charter():
                entry = recorded.entry
                self.charters.append(Chartered(recorded.sequence, entry.effective_ms, row.parameters))
            case Member():
                default = DefaultId(recorded.entry.references[0])
                self.failed.setdefault(default, []).append(row.id)
            case Outage() if recorded.entry.kind == Kind.OUTAGE_BEGAN:
                self._stops.append((row.began_ms, None))
            case None if table == "outage":
                self._stops[-1] = self._stops[-1][0], recorded.entry.effective_ms
            case _:
                pass

    def _trade(self, flow: Flow, trade: Trade) -> None:
        instrument = self._house.instruments[trade.instrument]
        ticks = trade.price_ticks if instrument.option is None else instrument.option.strike_ticks
        worth = notional(self._house, trade.instrument, trade.lots, ticks)
        add(flow.lots, trade.instrument, trade.lots)
        add(flow.notional_minor, trade.instrument, worth)
        for key in (trade.buyer, trade.seller):
            if self._house.accounts[key].kind is AccountKind.CLIENT:
                add(flow.by_clients_minor, member_of(key), worth)

    def spans(self) -> tuple[Span, Span]:
        """The quarter and the 12 months; the last day is over."""
        self._end_day()
        until = self.flows[-1]
        spans = []
        for from_ms in span_starts(until.last_ms):
            first = min(n for day, n in self._firsts.items() if day * DAY_MS >= from_ms)
            spans.append(Span(from_ms, until.last_ms, first, until.last))
        return spans[0], spans[1]

    def stopped(self, span: Span) -> Iterator[Stop]:
        """The outages, as far as they belong to ``span``."""
        for began_ms, ended_ms in self._stops:
            until_ms = span.until_ms if ended_ms is None else ended_ms
            if until_ms > span.from_ms:
                yield Stop(max(began_ms, span.from_ms), until_ms)


_READ = frozenset(
    (
        Kind.TRADE_NOVATED,
        *CALLS,
        Kind.ATTESTED,
        *CHARTERED,
        Kind.MEMBER_DEFAULTED,
        Kind.OUTAGE_BEGAN,
        Kind.OUTAGE_ENDED,
        Kind.HOUSE_WOUND_DOWN,
    )
)
"""Entries whose facts say what is gathered."""


def stated_of(flows: Iterable[Flow]) -> Iterator[Stated]:
    """What was attested last on each of these days, as far as it can be read."""
    for flow in flows:
        if flow.attested is not None:
            sequence, record = flow.attested
            statement = statement_of(record)
            if statement is not None:
                yield Stated(flow.day, sequence, statement)


def statement_of(record: AttestationRecord) -> Statement | None:
    """What was signed; None if the envelope holds no statement, which the journal does not ask for."""
    try:
        return parse_statement(VerifiedPayload(parse_envelope(record.envelope.encode()).payload))
    except (EnvelopeRefused, StatementRefused):
        return None


def span_starts(at_ms: int) -> tuple[int, int]:
    """When the quarter and the 12 months begin that end at a time."""
    at = datetime.fromtimestamp(at_ms // 1_000, UTC)
    quarter = datetime(at.year, (at.month - 1) // 3 * 3 + 1, 1, tzinfo=UTC)
    is_leap_day = (at.month, at.day) == (2, 29)
    day_before = datetime(at.year - 1, at.month, 28 if is_leap_day else at.day, tzinfo=UTC)
    return _ms(quarter), _ms(day_before) + DAY_MS


def _ms(at: datetime) -> int:
    return int(at.timestamp()) * 1_000
