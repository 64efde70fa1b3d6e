"""Liquidation and close-out in the default report: auctions, bids, and what was closed at which price."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from clearing.model import units
from clearing.model.house import House, Put
from clearing.model.ids import AccountKey, DefaultId, SetId, house_account
from clearing.model.kinds import Kind
from clearing.model.values import Auction, Bid, Default, Member
from clearing.reports import closing, figures, sources
from clearing.reports.document import Column, Measure, Row, Table
from clearing.reports.events import Belonging, belonging
from clearing.reports.facts import rows_put
from clearing.reports.reading import Reading, Recorded

_AUCTIONS = (
    Column("default", "Default"),
    Column("kind", "Kind"),
    Column("subject", "Netting set or default"),
    Column("opened", "Opened", Measure.TIME),
    Column("closes", "Was to close", Measure.TIME),
    Column("ended", "Ended", Measure.TIME),
    Column("outcome", "Outcome"),
    Column("lots", "Things on offer", Measure.COUNT),
    Column("bids", "Bids at the end", Measure.COUNT),
    Column("withdrawn", "Bids withdrawn", Measure.COUNT),
    Column("awards", "Awards", Measure.COUNT),
)
_OFFERED = (
    Column("default", "Default"),
    Column("auction", "Auction"),
    Column("account", "Account"),
    Column("unit", "Unit"),
    Column("size", "On offer", Measure.AMOUNT),
    Column("awarded", "Awarded to bids", Measure.AMOUNT),
    Column("left", "Not awarded", Measure.AMOUNT),
)
_BIDS = (
    Column("default", "Default"),
    Column("auction", "Auction"),
    Column("account", "Bidder"),
    Column("placed", "Placed", Measure.TIME),
    Column("discount", "Discount to the mark", Measure.PERCENT),
    Column("share", "Up to this share of all", Measure.PERCENT),
    Column("standing", "What became of it"),
)
_CLOSED = (
    Column("default", "Default"),
    Column("entry", "Entry", Measure.COUNT),
    Column("time", "Time", Measure.TIME),
    Column("phase", "Phase"),
    Column("how", "How"),
    Column("account", "Account"),
    Column("unit", "Unit"),
    Column("size", "Size, long positive", Measure.AMOUNT),
    Column("price", "Price", Measure.AMOUNT),
    Column("mark", "Mark", Measure.AMOUNT),
    Column("against_mark", "Price against the mark", Measure.PERCENT),
    Column("cash", "Paid to the account", Measure.AMOUNT),
    Column("taker", "Taker"),
)


def tables(reading: Reading, wanted: DefaultId | None) -> Iterator[Table]:
    """Auctions, what they offered, the bids, and what was closed."""
    yield Table(
        id="auctions", title="Auctions", columns=_AUCTIONS, rows=map(_auction_row, _auctions(reading, wanted))
    )
    yield Table(
        id="offered", title="What was on offer", columns=_OFFERED, rows=_offered_rows(reading, wanted)
    )
    yield Table(id="bids", title="Bids", columns=_BIDS, rows=_bid_rows(reading, wanted))
    yield Table(
        id="closed",
        title="What was closed, and at which price",
        columns=_CLOSED,
        rows=_closed_rows(reading, wanted),
        note="A price is read off what was paid. Collateral has none: what was paid for it is compared with its worth"
        " at the mark. What is netted or torn up ends at the mark.",
    )


@dataclass
class _Held:
    """An auction while its entries are read."""

    default: DefaultId
    auction: Auction
    entries: list[int]
    bids: dict[AccountKey, tuple[Bid, int]] = field(default_factory=dict)
    withdrawn: list[tuple[Bid, int, int]] = field(default_factory=list)
    winners: dict[AccountKey, list[int]] = field(default_factory=dict)
    awarded: dict[tuple[AccountKey, str], int] = field(default_factory=dict)
    ended: Recorded | None = None


def _auctions(reading: Reading, wanted: DefaultId | None) -> Iterator[_Held]:
    """Each auction of a default, once nothing more will be said of it: what it awards, the next entries do."""
    held: dict[str, _Held] = {}
    for one in belonging(reading, wanted):
        entry, sequence = one.recorded.entry, one.recorded.sequence
        over = [
            name
            for name, known in held.items()
            if known.ended is not None and known.ended.entry.request_id != entry.request_id
        ]
        for name in over:
            yield held.pop(name)
        if entry.kind == Kind.AUCTION_OPENED:
            row = next(rows_put(one.changes, Auction))
            held[row.id] = _Held(one.defaults[0], row, [sequence])
        elif entry.kind in (Kind.BID_PLACED, Kind.BID_WITHDRAWN):
            _bid(held, one)
        elif entry.kind in (Kind.AUCTION_CLOSED, Kind.AUCTION_VOIDED):
            known = held[entry.references[0]]
            known.ended = one.recorded
            known.entries.append(sequence)
        elif entry.kind in (Kind.BID_AWARDED, Kind.COLLATERAL_AWARDED):
            _award(held[entry.references[0]], one.recorded)
    yield from held.values()


def _bid(held: dict[str, _Held], one: Belonging) -> None:
    sequence = one.recorded.sequence
    for change in one.changes:
        name, _, account = change.key.partition("/")
        known, key = held[name], AccountKey(account)
        known.entries.append(sequence)
        if isinstance(change, Put):
            known.bids[key] = (change.row, sequence)
        else:
            bid, placed = known.bids.pop(key)
            known.withdrawn.append((bid, placed, sequence))


def _award(known: _Held, recorded: Recorded) -> None:
    winner = AccountKey(recorded.entry.references[1])
    known.entries.append(recorded.sequence)
    known.winners.setdefault(winner, []).append(recorded.sequence)
    offering = {one.account for one in known.auction.offered}
    for one in closing.closed(recorded.entry, offering):
        thing = one.account, one.piece.unit
        known.awarded[thing] = known.awarded.get(thing, 0) + one.size


def _auction_row(known: _Held) -> Row:
    auction = known.auction
    cells = (
        known.default,
        auction.kind.value,
        auction.subject,
        figures.time(auction.opened_ms),
        figures.time(auction.closes_ms),
        "" if known.ended is None else figures.time(known.ended.entry.effective_ms),
        _outcome(known),
        str(len(auction.offered)),
        str(len(known.bids)),
        str(len(known.withdrawn)),
        str(sum(map(len, known.winners.values()))),
    )
    return Row(auction.id, cells, sources.entries(known.entries))


def _outcome(known: _Held) -> str:
    if known.ended is None:
        return "open"
    if known.ended.entry.kind == Kind.AUCTION_VOIDED:
        return "void"
    return "awarded" if known.winners else "no award"


def _offered_rows(reading: Reading, wanted: DefaultId | None) -> Iterator[Row]:
    house = reading.house
    for known in _auctions(reading, wanted):
        for one in known.auction.offered:
            unit, awarded = units.called(one.unit, house), known.awarded.get((one.account, one.unit), 0)
            cells = (
                known.default,
                known.auction.id,
                one.account,
                one.unit,
                unit.render(one.size),
                unit.render(awarded),
                unit.render(one.size - awarded),
            )
            yield Row(f"{known.auction.id}:{one.account}:{one.unit}", cells, sources.entries(known.entries))


def _bid_rows(reading: Reading, wanted: DefaultId | None) -> Iterator[Row]:
    for known in _auctions(reading, wanted):
        for bid, placed, sequence in known.withdrawn:
            yield _bid_row(known, bid, "withdrawn", [placed, sequence])
        for key in sorted(known.bids):
            bid, placed = known.bids[key]
            awards = known.winners.get(key, [])
            ended = [] if known.ended is None else [known.ended.sequence]
            yield _bid_row(known, bid, _standing(known, awards), [placed, *awards, *ended])


def _standing(known: _Held, awards: list[int]) -> str:
    if awards:
        return "awarded"
    outcome = _outcome(known)
    return outcome if outcome in ("open", "void") else "not awarded"


def _bid_row(known: _Held, bid: Bid, standing: str, entries: list[int]) -> Row:
    cells = (
        known.default,
        bid.auction,
        bid.account,
        figures.time(bid.placed_ms),
        figures.basis_points(bid.discount_bp),
        figures.basis_points(bid.share_bp),
        standing,
    )
    return Row(f"{bid.auction}:{bid.account}:{entries[0]}", cells, sources.entries(entries))


def _closed_rows(reading: Reading, wanted: DefaultId | None) -> Iterator[Row]:
    house, marks = reading.house, closing.Marks()
    declared: set[AccountKey] = set()
    for one in belonging(reading, wanted):
        declared |= _declared(house, one)
        if one.recorded.entry.kind in closing.HOW:
            marks.take(one.snapshot)
            yield from _closed(house, marks, one, declared)


def _declared(house: House, one: Belonging) -> set[AccountKey]:
    """The accounts whose close-out begins with an entry."""
    found: set[AccountKey] = set()
    if one.recorded.entry.kind == Kind.DEFAULT_DECLARED:
        for default in rows_put(one.changes, Default):
            found |= {key for row in default.sets for key in accounts_of(house, row.netting_set)}
    elif one.recorded.entry.kind == Kind.MEMBER_DEFAULTED:
        found |= {house_account(member.id) for member in rows_put(one.changes, Member)}
    return found


def accounts_of(house: House, set_id: SetId) -> tuple[AccountKey, ...]:
    """The accounts of a netting set that was closed out; none if it ended in another way since."""
    known = house.netting_sets.get(set_id)
    return () if known is None else known.accounts


def _closed(house: House, marks: closing.Marks, one: Belonging, declared: set[AccountKey]) -> Iterator[Row]:
    entry, sequence = one.recorded.entry, one.recorded.sequence
    asked = {AccountKey(entry.references[0])} if entry.kind == Kind.COLLATERAL_SOLD else set()
    keys = {key for key, default_id in one.accounts.items() if default_id in one.defaults} | asked
    for number, row in enumerate(closing.closed(entry, keys)):
        default_id = one.accounts.get(row.account, one.defaults[0])
        cells = (
            default_id,
            str(sequence),
            figures.time(entry.effective_ms),
            _phase(one, row.account, declared),
            closing.HOW[Kind(entry.kind)],
            row.account,
            row.piece.unit,
            *closing.priced(house, marks, row),
            row.other,
        )
        source = sources.joined(sources.entries([sequence]), marks.source())
        yield Row(f"{sequence}:{number}", cells, source)


def _phase(one: Belonging, key: AccountKey, declared: set[AccountKey]) -> str:
    if key in declared:
        return "close-out"
    return "liquidation" if key in one.accounts else "answer"
