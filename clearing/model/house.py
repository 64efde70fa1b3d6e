"""The state of the house: one immutable value that the journal alone determines.

Rules kept here:

1. State changes only by :func:`fold`, which takes one entry: its legs move the book, its fact puts
   or drops rows. What a decider did and what a replay does is the same call.
2. A fact says what changed (whole rows), never why or how: replay runs no decider, model or clock.
3. What follows from legs alone is not repeated in facts: positions and profit and loss are folded
   from the legs.
4. Maps have no order. Whoever goes through one sorts it (``ordered``).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from immutables import Map

from clearing import chart
from clearing.model.codec import decode, encode
from clearing.model.ids import (
    AccountKey,
    AssetId,
    DefaultId,
    FeedId,
    InstrumentId,
    MemberId,
    RegulatorId,
    SetId,
    SourceId,
    TradeKey,
)
from clearing.model.kinds import Kind
from clearing.model.values import (
    Arrival,
    Asset,
    AttestationRecord,
    Auction,
    Bid,
    Breaker,
    Call,
    CappedPeriod,
    ChangeProposal,
    Charter,
    ClearingAccount,
    Cycle,
    DailyMoves,
    DataRefusal,
    Default,
    Due,
    Funding,
    Grant,
    Half,
    Instrument,
    LinkProposal,
    Liquidation,
    Member,
    NettingSet,
    NonDefaultLoss,
    Observation,
    Outage,
    Parameters,
    ParametersProposal,
    Porting,
    Provider,
    ReportAsked,
    Revocation,
    Shadow,
    SignedReport,
    Source,
    Stage,
    Trade,
    Trail,
    Unlinking,
    VolumeTrail,
    Withdrawal,
    WoundDown,
)
from ledger.account import Account
from ledger.book import Book, Run
from ledger.entry import Entry, Json
from ledger.require import InvariantViolated, require
from ledger.transfers import Record, entries_of

K = TypeVar("K")
V = TypeVar("V")

SETTLEMENT_KINDS = (Kind.VARIATION_MARGIN, Kind.FUTURE_SETTLED, Kind.FUNDING_PAID)
"""Entries whose cash legs are gains of the window (rulebook §11.8) and losses of the legs (§10.5)."""
PRICE_KINDS = (Kind.TRADE_NOVATED, Kind.POSITION_ASSIGNED, Kind.BID_AWARDED)
"""Entries whose cash legs, what was paid against the settlement price, are losses of the legs only (§10.5): what is
bought in an auction counts as a gain of the window from the next snapshot on. Who pays for an option has lost only
what it was not worth.
"""
CLOSING_KINDS = (Kind.POSITION_ASSIGNED, Kind.BID_AWARDED, Kind.POSITIONS_TORN_UP)
"""Entries by which liquidations and close-outs end positions: each lot has one leg that debits its holder."""


@dataclass(frozen=True, slots=True)
class Pnl:
    """Profit and loss of an account, in the settlement asset.

    ``since_met_minor`` since the last cycle at which its netting set met R (rulebook §10.5);
    ``window_minor`` since this cycle began, or since T0's cycle while a default is being closed out
    (rulebook §11.8); ``cycle_minor`` of it since this cycle began.
    """

    since_met_minor: int = 0
    window_minor: int = 0
    cycle_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Everything the house knows. Rows are documented in ``values``.

    ``held``, ``pnl`` and ``closed_lots``, all that liquidations and close-outs ever closed of an instrument, follow
    from legs; from the cycle follow ``prices`` and ``option_prices``, the newest marks in ticks, and ``margined``, the
    instruments that have a row in the risk array. ``pull`` and ``report`` are the newest of their kind; the journal
    has all of them.
    """

    book: Book = Book()
    size: int = 0
    charter: Charter | None = None
    cycle: Cycle | None = None
    capped_period: CappedPeriod | None = None
    attestation: AttestationRecord | None = None
    outage: Outage | None = None
    wound_down: WoundDown | None = None
    shadow: Shadow | None = None
    pull: ReportAsked | None = None
    report: SignedReport | None = None
    assets: Map[AssetId, Asset] = Map()
    instruments: Map[InstrumentId, Instrument] = Map()
    members: Map[MemberId, Member] = Map()
    accounts: Map[AccountKey, ClearingAccount] = Map()
    netting_sets: Map[SetId, NettingSet] = Map()
    proposals: Map[SetId, LinkProposal] = Map()
    unlinkings: Map[SetId, Unlinking] = Map()
    portings: Map[SetId, Porting] = Map()
    parameter_proposals: Map[str, ParametersProposal] = Map()
    change_proposals: Map[str, ChangeProposal] = Map()
    breakers: Map[str, Breaker] = Map()
    revocations: Map[str, Revocation] = Map()
    grants: Map[RegulatorId, Grant] = Map()
    trails: Map[FeedId, Trail] = Map()
    volume_trails: Map[InstrumentId, VolumeTrail] = Map()
    sources: Map[SourceId, Source] = Map()
    observations: Map[str, Observation] = Map()
    providers: Map[AccountKey, Provider] = Map()
    trades: Map[TradeKey, Trade] = Map()
    halves: Map[TradeKey, Half] = Map()
    half_refs: Map[str, TradeKey] = Map()
    funding: Map[InstrumentId, Funding] = Map()
    arrivals: Map[str, Arrival] = Map()
    withdrawals: Map[str, Withdrawal] = Map()
    calls: Map[str, Call] = Map()
    liquidations: Map[SetId, Liquidation] = Map()
    defaults: Map[DefaultId, Default] = Map()
    assessments: Map[str, Due] = Map()
    replenishments: Map[str, Due] = Map()
    non_default_losses: Map[AssetId, NonDefaultLoss] = Map()
    auctions: Map[str, Auction] = Map()
    bids: Map[str, Bid] = Map()
    daily_moves: Map[str, DailyMoves] = Map()
    data_refusals: Map[SourceId, DataRefusal] = Map()
    held: Map[AccountKey, Map[InstrumentId, int]] = Map()
    pnl: Map[AccountKey, Pnl] = Map()
    closed_lots: Map[InstrumentId, int] = Map()
    prices: Map[FeedId, int] = Map()
    option_prices: Map[InstrumentId, int] = Map()
    margined: frozenset[InstrumentId] = frozenset()

    @property
    def founded(self) -> Charter:
        """The charter; a house without one has decided nothing yet."""
        if self.charter is None:
            raise InvariantViolated("only FoundHouse is decided before the house is founded")
        return self.charter

    @property
    def parameters(self) -> Parameters:
        """The parameters in force."""
        return self.founded.parameters

    @property
    def settlement(self) -> AssetId:
        """The one asset in which the house settles."""
        return self.founded.settlement_asset

    @property
    def newest_cycle(self) -> Cycle:
        """The newest clearing cycle; deciders that need one run only after a snapshot was accepted."""
        if self.cycle is None:
            raise InvariantViolated("a snapshot was accepted before anything is measured by it")
        return self.cycle

    def balance(self, account: Account) -> int:
        """Balance on the account's normal side, smallest units."""
        return self.book.balance(account)

    def cash(self, key: AccountKey) -> int:
        """Cash of an account; negative when it owes."""
        return self.balance(chart.cash(key, self.settlement))

    def positions(self, key: AccountKey) -> "Map[InstrumentId, int]":
        """Non-zero positions of an account in lots; long is positive."""
        return self.held.get(key, Map())

    def position(self, key: AccountKey, instrument: InstrumentId) -> int:
        """Position of an account in lots; long is positive."""
        return self.positions(key).get(instrument, 0)

    def holder(self, key: AccountKey) -> AccountKey:
        """The account that has what ``key`` had: itself, or the one to which it was ported, and so on."""
        account = self.accounts.get(key)
        while account is not None and account.ported_to is not None:
            key = account.ported_to
            account = self.accounts[key]
        return key

    def pool(self, member: MemberId) -> int:
        """A member's contribution that is left in the pool."""
        return self.balance(chart.pool(member, self.settlement))


@dataclass(frozen=True, slots=True)
class Put:
    """Set a row."""

    table: str
    key: str
    row: Any


@dataclass(frozen=True, slots=True)
class Drop:
    """Remove a row."""

    table: str
    key: str


Change = Put | Drop

SINGLE_ROWS: dict[str, type] = {
    "charter": Charter,
    "cycle": Cycle,
    "capped_period": CappedPeriod,
    "attestation": AttestationRecord,
    "outage": Outage,
    "wound_down": WoundDown,
    "shadow": Shadow,
    "pull": ReportAsked,
    "report": SignedReport,
}
TABLES: dict[str, type] = {
    "assets": Asset,
    "instruments": Instrument,
    "members": Member,
    "accounts": ClearingAccount,
    "netting_sets": NettingSet,
    "proposals": LinkProposal,
    "unlinkings": Unlinking,
    "portings": Porting,
    "parameter_proposals": ParametersProposal,
    "change_proposals": ChangeProposal,
    "breakers": Breaker,
    "revocations": Revocation,
    "grants": Grant,
    "trails": Trail,
    "volume_trails": VolumeTrail,
    "sources": Source,
    "observations": Observation,
    "providers": Provider,
    "trades": Trade,
    "halves": Half,
    "half_refs": str,
    "funding": Funding,
    "arrivals": Arrival,
    "withdrawals": Withdrawal,
    "calls": Call,
    "liquidations": Liquidation,
    "defaults": Default,
    "assessments": Due,
    "replenishments": Due,
    "non_default_losses": NonDefaultLoss,
    "auctions": Auction,
    "bids": Bid,
    "daily_moves": DailyMoves,
    "data_refusals": DataRefusal,
}
ROW_TYPES = SINGLE_ROWS | TABLES


def ordered(rows: "Map[Any, V]") -> list[V]:
    """The rows of a table in the order of their keys."""
    return [rows[key] for key in sorted(rows)]


def single(table: str, row: object) -> Put:
    """Set the one row of a table that has just one."""
    return Put(table, "", row)


def encode_changes(changes: Iterable[Change]) -> Json:
    """The fact of an entry: a list of [table, key, row], with a null row for a drop. None without changes."""
    fact: list[Json] = [
        [change.table, change.key, encode(change.row) if isinstance(change, Put) else None]
        for change in changes
    ]
    return fact or None


def decode_changes(fact: Json) -> tuple[Change, ...]:
    """Inverse of :func:`encode_changes`."""
    if fact is None:
        return ()
    if not isinstance(fact, list):
        raise InvariantViolated("a fact is a list of changes")
    return tuple(_decode_change(change) for change in fact)


def _decode_change(change: Json) -> Change:
    match change:
        case [str(table), str(key), None]:
            return Drop(table, key)
        case [str(table), str(key), row] if table in ROW_TYPES:
            return Put(table, key, decode(ROW_TYPES[table], row))
    raise InvariantViolated(f"a change is [table, key, row], not {change}")


def fold(house: House, record: Record) -> House:
    """Replay what was recorded."""
    for entry in entries_of(record, house.book.known):
        house = fold_all(house, ((entry, decode_changes(entry.fact)),))
    return house


WINDOW_KINDS = (Kind.SNAPSHOT_ACCEPTED, Kind.CYCLE_CLOSED)
"""Entries that begin something for everybody; :func:`fold_all` takes them alone."""


def fold_all(house: House, recorded: Sequence[tuple[Entry, tuple[Change, ...]]]) -> House:
    """The state after entries that follow each other; what many of them change is written once."""
    book, rows = Run(house.book), _Rows(house)
    for number, (entry, changes) in enumerate(recorded):
        if (refusal := book.post(entry)) is not None:
            raise InvariantViolated(f"recorded entry {house.size + number} does not post: {refusal.value}")
        for change in changes:
            rows.change(change)
        rows.move(entry)
    updates: dict[str, Any] = {"book": book.book(), "size": house.size + len(recorded), **rows.changed()}
    kinds = {entry.kind for entry, _ in recorded}
    require(len(recorded) == 1 or kinds.isdisjoint(WINDOW_KINDS), "what begins for everybody begins alone")
    if Kind.SNAPSHOT_ACCEPTED in kinds:
        updates["pnl"] = _revalued(house, _begin_window(house), updates["cycle"])
    elif Kind.CYCLE_CLOSED in kinds:
        updates["pnl"] = _met(house, updates["cycle"])
    return replace(house, **updates)


class _Rows:
    """What entries change of the tables, the positions and the profits of ``house``, gathered until it is asked for."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._singles: dict[str, Any] = {}
        self._tables: dict[str, dict[str, Any]] = {}
        self._lots: dict[tuple[AccountKey, InstrumentId], int] = {}
        self._pnl: dict[AccountKey, Pnl | None] = {}
        self._closed: dict[InstrumentId, int] = {}

    def change(self, change: Change) -> None:
        """Put or drop a row."""
        row = change.row if isinstance(change, Put) else None
        if change.table in SINGLE_ROWS:
            self._singles[change.table] = row
            return
        rows = self._tables.setdefault(change.table, {})
        if row is None:
            known = (
                rows[change.key] if change.key in rows else getattr(self._house, change.table).get(change.key)
            )
            require(known is not None, f"{change.table} has the row {change.key} that is dropped")
        rows[change.key] = row
        if isinstance(row, ClearingAccount) and row.ported_to is not None:
            self._port(row.key, row.ported_to)

    def _port(self, key: AccountKey, to: AccountKey) -> None:
        """What an account won in the window goes with its positions. What it lost does not: for that the member
        answered at which it was lost, and a set that is ported meets R (rulebook §10.4, §10.5).
        """
        left, has = self._profit(key), self._profit(to) or Pnl()
        if left is not None:
            self._pnl[key] = None
            self._pnl[to] = Pnl(
                has.since_met_minor,
                has.window_minor + left.window_minor,
                has.cycle_minor + left.cycle_minor,
            )

    def move(self, entry: Entry) -> None:
        """Positions and profits, which follow from the legs."""
        is_pnl, in_window = entry.kind in SETTLEMENT_KINDS + PRICE_KINDS, entry.kind in SETTLEMENT_KINDS
        for leg in entry.legs:
            owner = chart.holder(leg.account.path)
            if owner is None:
                continue
            key, role = owner
            worth = 1
            if role == "position":
                instrument = InstrumentId(leg.account.unit)
                self._lots[key, instrument] = self._position(key, instrument) - leg.amount
                worth = _worth_of_lot(self._house, instrument) if is_pnl else 0
                if entry.kind in CLOSING_KINDS and leg.amount > 0:
                    self._close(instrument, leg.amount)
            if is_pnl and worth and role in ("position", "cash"):
                before = self._profit(key) or Pnl()
                won = -leg.amount if in_window else 0
                self._pnl[key] = Pnl(
                    before.since_met_minor - leg.amount * worth,
                    before.window_minor + won,
                    before.cycle_minor + won,
                )

    def _profit(self, key: AccountKey) -> Pnl | None:
        return self._pnl[key] if key in self._pnl else self._house.pnl.get(key)

    def _close(self, instrument: InstrumentId, lots: int) -> None:
        before = self._closed.get(instrument, self._house.closed_lots.get(instrument, 0))
        self._closed[instrument] = int(before) + lots

    def _position(self, key: AccountKey, instrument: InstrumentId) -> int:
        lots = self._lots.get((key, instrument))
        return self._house.position(key, instrument) if lots is None else lots

    def changed(self) -> dict[str, Any]:
        """The fields of the house that are not as they were."""
        updates = dict(self._singles)
        cycle = self._singles.get("cycle")
        if cycle is not None:
            updates["prices"] = Map({mark.feed: mark.price_ticks for mark in cycle.marks})
            updates["option_prices"] = Map({m.instrument: m.price_ticks for m in cycle.option_marks})
            updates["margined"] = frozenset(row.instrument for row in cycle.margined)
        for table, rows in self._tables.items():
            updates[table] = _with_rows(getattr(self._house, table), rows)
        if self._lots:
            updates["held"] = self._held()
        if self._pnl:
            updates["pnl"] = _with_rows(self._house.pnl, self._pnl)
        if self._closed:
            updates["closed_lots"] = self._house.closed_lots.update(self._closed)
        return updates

    def _held(self) -> "Map[AccountKey, Map[InstrumentId, int]]":
        by_owner: dict[AccountKey, dict[InstrumentId, int | None]] = {}
        for (key, instrument), lots in self._lots.items():
            by_owner.setdefault(key, {})[instrument] = lots or None
        return self._house.held.update(
            {key: _with_rows(self._house.positions(key), changed) for key, changed in by_owner.items()}
        )


def _with_rows(table: "Map[K, V]", rows: Mapping[K, V | None]) -> "Map[K, V]":
    """A table with rows set, or dropped where they are None."""
    changing = table.mutate()
    for key, row in rows.items():
        if row is not None:
            changing[key] = row
        elif key in changing:
            del changing[key]
    return changing.finish()


def _worth_of_lot(house: House, instrument: InstrumentId) -> int:
    """What one lot of an option is worth at its mark; nothing for a linear instrument."""
    return house.option_prices.get(instrument, 0) * house.instruments[instrument].tick_value_minor


def _revalued(house: House, pnl: "Map[AccountKey, Pnl]", cycle: Cycle) -> "Map[AccountKey, Pnl]":
    """What holders of options gained by their new marks, which no cash settles (rulebook §11.8: ΔNOV)."""
    moved = {
        mark.instrument: ticks * house.instruments[mark.instrument].tick_value_minor
        for mark in cycle.option_marks
        if (ticks := mark.price_ticks - house.option_prices.get(mark.instrument, mark.price_ticks))
    }
    if not moved:
        return pnl
    changed: dict[AccountKey, Pnl] = {}
    for key, positions in house.held.items():
        gain = sum(lots * moved[instrument] for instrument, lots in positions.items() if instrument in moved)
        if gain:
            old = pnl.get(key) or Pnl()
            changed[key] = Pnl(old.since_met_minor + gain, old.window_minor + gain, old.cycle_minor + gain)
    return pnl.update(changed)


def _begin_window(house: House) -> "Map[AccountKey, Pnl]":
    """A new cycle starts a new window of gains, unless a default that was declared is not closed out yet."""
    if any(default.stage is Stage.DECLARED for default in house.defaults.values()):
        return Map({key: replace(old, cycle_minor=0) for key, old in house.pnl.items()})
    return Map({key: Pnl(old.since_met_minor) for key, old in house.pnl.items() if old.since_met_minor})


def _met(house: House, cycle: Cycle) -> "Map[AccountKey, Pnl]":
    """Sets that meet R at the end of a cycle start afresh; those in ``short`` carry on."""
    short = {key for set_id in cycle.short for key in house.netting_sets[set_id].accounts}
    return Map(
        {
            key: old if key in short else replace(old, since_met_minor=0)
            for key, old in house.pnl.items()
            if key in short or old.window_minor
        }
    )


def house_of(changes: Iterable[Change], book: Book) -> House:
    """A house that has these rows and balances, and nothing that entries alone would tell (profits, closed lots)."""
    rows = _Rows(House())
    for change in changes:
        rows.change(change)
    held: dict[AccountKey, dict[InstrumentId, int]] = {}
    for account, balance in book.debit_balances():
        owner = chart.holder(account.path)
        if balance and owner is not None and owner[1] == "position":
            held.setdefault(owner[0], {})[InstrumentId(account.unit)] = -balance
    positions = Map({key: Map(lots) for key, lots in held.items()})
    return replace(House(book=book, held=positions), **rows.changed())


def rows_of(house: House) -> dict[str, Json]:
    """The state as plain rows, for comparison: every table, ordered, encoded."""
    tables: dict[str, Json] = {name: encode(getattr(house, name)) for name in SINGLE_ROWS}
    for name in TABLES:
        rows = getattr(house, name)
        tables[name] = {str(key): encode(rows[key]) for key in sorted(rows)}
    return tables
