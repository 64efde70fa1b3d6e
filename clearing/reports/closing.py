"""What changed hands when positions and collateral were closed, and at which price against the mark: read off the legs.

Rules kept here (rulebook §10.2, §10.3):

1. What was paid says the price: for a linear instrument what was paid per lot and tick is the distance to S, the
   newest mark, at which positions are carried; for an option it is the price itself. So the price is exact.
2. Collateral is compared as a whole: what was paid with what it was worth at the mark, rounded down as the house does.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from clearing import chart
from clearing.chart import Line
from clearing.margin.assess import value_at
from clearing.model import units
from clearing.model.house import House, decode_changes
from clearing.model.ids import AccountKey, AssetId, FeedId, InstrumentId
from clearing.model.kinds import Kind
from clearing.model.values import Cycle
from clearing.reports import figures, sources
from clearing.reports.facts import rows_put
from clearing.reports.reading import Recorded
from ledger.account import Account
from ledger.entry import Entry
from ledger.require import InvariantViolated, require

HOW = {
    Kind.POSITIONS_NETTED: "netted",
    Kind.BID_AWARDED: "awarded",
    Kind.POSITION_ASSIGNED: "assigned",
    Kind.COLLATERAL_AWARDED: "awarded",
    Kind.COLLATERAL_SOLD: "assigned",
    Kind.POSITIONS_TORN_UP: "torn up",
}
"""How something was closed, by the kind of the entry."""
_LEGS_OF_POSITION, _LEGS_OF_COLLATERAL = 4, 2


@dataclass(frozen=True, slots=True)
class Piece:
    """``size`` (lots, or an asset's smallest units) of ``unit`` that went from one account to another, and what the
    buyer paid the seller; negative, what the seller paid.
    """

    seller: AccountKey
    buyer: AccountKey
    unit: str
    size: int
    paid_minor: int


@dataclass(frozen=True, slots=True)
class Closed:
    """What an account had, signed, until it was closed; ``cash_minor`` is what the account was paid for it."""

    account: AccountKey
    other: AccountKey
    piece: Piece
    size: int
    cash_minor: int


@dataclass
class Marks:
    """The newest marks, as far as snapshots were taken in."""

    prices: dict[FeedId, int] = field(default_factory=dict)
    options: dict[InstrumentId, int] = field(default_factory=dict)
    snapshot: Recorded | None = None

    def take(self, snapshot: Recorded | None) -> None:
        """The marks of a snapshot are the newest. One that was taken already is not read again."""
        if snapshot is None or snapshot is self.snapshot:
            return
        cycle = next(rows_put(decode_changes(snapshot.entry.fact), Cycle))
        self.snapshot = snapshot
        self.prices = {mark.feed: mark.price_ticks for mark in cycle.marks}
        self.options = {mark.instrument: mark.price_ticks for mark in cycle.option_marks}

    def source(self) -> str:
        """Where the marks came from."""
        entries = [] if self.snapshot is None else [self.snapshot.sequence]
        return sources.about("mark", sources.entries(entries))

    def of(self, house: House, instrument: InstrumentId) -> int:
        """The price at which positions of an instrument are carried."""
        row = house.instruments[instrument]
        return self.prices[row.feed] if row.option is None else self.options[instrument]


def pieces(entry: Entry) -> Iterator[Piece]:
    """What one entry moved between accounts: a position through the house, or collateral, then what was paid."""
    legs = list(entry.legs)
    while legs:
        count = _LEGS_OF_POSITION if chart.counts_lots(legs[0].account.path) else _LEGS_OF_COLLATERAL
        moved, legs = legs[:count], legs[count:]
        paid = 0
        if legs and _holder(legs[0].account)[1] == "cash":
            paid, legs = legs[0].amount, legs[2:]
        seller, buyer = _holder(moved[0].account)[0], _holder(moved[-1].account)[0]
        yield Piece(seller, buyer, moved[0].account.unit, moved[0].amount, paid)


def closed(entry: Entry, accounts: "frozenset[AccountKey] | set[AccountKey]") -> Iterator[Closed]:
    """What ``accounts`` had and an entry closed; against each other it stands once, with the seller."""
    if entry.kind == Kind.POSITIONS_TORN_UP:
        yield from _torn_up(entry, accounts)
        return
    for piece in pieces(entry):
        if piece.seller in accounts:
            yield Closed(piece.seller, piece.buyer, piece, piece.size, piece.paid_minor)
        elif piece.buyer in accounts:
            yield Closed(piece.buyer, piece.seller, piece, -piece.size, -piece.paid_minor)


def _torn_up(entry: Entry, accounts: "frozenset[AccountKey] | set[AccountKey]") -> Iterator[Closed]:
    """Positions that nobody took, and what those of options were worth; the other side is everybody opposite."""
    paid: dict[AccountKey, int] = {}
    for leg in entry.legs:
        key, role = _holder(leg.account)
        if role == "cash":
            paid[key] = -leg.amount
    for leg in entry.legs:
        key, role = _holder(leg.account)
        if role == "position" and key in accounts:
            piece = Piece(key, AccountKey(""), leg.account.unit, abs(leg.amount), paid.get(key, 0))
            yield Closed(key, AccountKey(""), piece, leg.amount, paid.get(key, 0))


def _holder(account: Account) -> tuple[AccountKey, str]:
    if account.path == Line.NOVATION.value:
        return AccountKey(""), account.path
    held = chart.holder(account.path)
    if held is None:
        raise InvariantViolated(f"{account.path} is closed out: it is no account of a member")
    return held


PRICED = ("size", "price", "mark", "against_mark", "cash")
"""The columns that :func:`priced` fills."""


def priced(house: House, marks: Marks, one: Closed) -> tuple[str, str, str, str, str]:
    """What was closed, at which price, the mark, how far the price was from it in percent, and what was paid."""
    size = units.called(one.piece.unit, house).render(one.size)
    cash = figures.money(house, one.cash_minor)
    if one.piece.unit not in house.instruments:
        asset = house.assets[AssetId(one.piece.unit)]
        ticks = 0 if asset.feed is None else marks.prices.get(asset.feed, 0)
        worth = value_at(asset, one.piece.size, ticks)
        mark = "" if asset.feed is None else units.of_feeds(house)[asset.feed].render(ticks)
        return size, "", mark, figures.percent(one.piece.paid_minor - worth, worth), cash
    instrument = InstrumentId(one.piece.unit)
    ticks = marks.of(house, instrument)
    price = _price(house, one.piece, ticks)
    tick = units.of_price(house.instruments[instrument])
    return size, tick.render(price), tick.render(ticks), figures.percent(price - ticks, ticks), cash


def _price(house: House, piece: Piece, mark_ticks: int) -> int:
    """The price in ticks that was paid."""
    row = house.instruments[InstrumentId(piece.unit)]
    if not piece.buyer:
        return mark_ticks
    distance, rest = divmod(piece.paid_minor, piece.size * row.tick_value_minor)
    require(rest == 0, "what is paid for a position is a whole number of ticks a lot")
    return distance if row.option is not None else mark_ticks + distance
