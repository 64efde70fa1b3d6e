"""Positions by account and instrument, what is open of each instrument, and how much of it the largest hold (§14).

Rules kept here:

1. A position is the balance of its account of the ledger. Its notional is its size at the price of the rulebook: the
   mark, for an option the mark of its forward.
2. What is open is held long, and as much is held short. Who sees a part of the house sees the long and the short
   positions of that part, beside what the newest cycle published as open in all.
3. What others hold, one by one or by a share, is told only to those who see everything.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from clearing import chart
from clearing.margin.assess import exposure_price, mark_ticks, option_value
from clearing.margin.owners import Owner, owner_of
from clearing.market.novation import notional
from clearing.model import units
from clearing.model.house import House, ordered
from clearing.model.ids import AccountKey, InstrumentId, MemberId, member_of
from clearing.model.kinds import Kind
from clearing.model.values import AccountKind
from clearing.reports import figures, sources
from clearing.reports.document import Chart, Column, Drawing, Measure, Row, Table
from clearing.reports.facts import ACCOUNT_KINDS, newest, put_by, seen_members
from clearing.reports.reading import Reading, shows_account

POSITIONS, OPEN_INTEREST, CONCENTRATION = "positions", "open_interest", "concentration"


@dataclass(frozen=True, slots=True)
class Held:
    """A position that is part of the report; long is positive."""

    account: AccountKey
    instrument: InstrumentId
    lots: int


def build(reading: Reading) -> Iterator[Table]:
    """The positions, what is open, and for who sees everything how it is spread over members."""
    house, snapshot = reading.house, sources.entries(newest(reading, Kind.SNAPSHOT_ACCEPTED))
    sees_all, held = reading.members is None, held_of(reading, house)
    yield Table(
        id=POSITIONS,
        title="Positions",
        columns=_position_columns(house),
        rows=_positions(reading, house, held, snapshot),
        note="The field of a position is ACCOUNT:INSTRUMENT.",
    )
    yield Table(
        id=OPEN_INTEREST,
        title="Open interest",
        columns=(*_OPEN, *_LARGEST) if sees_all else _OPEN,
        rows=_open_interest(reading, house, held, snapshot),
        note="Long, short and holders are of the accounts in this report; published is of the whole house when the "
        "newest cycle began. A holder is a participant with all its accounts, or a member with its house account.",
        charts=(_HELD_MOST,) if sees_all else (),
    )
    if sees_all:
        yield Table(
            id=CONCENTRATION,
            title="Notional by member",
            columns=_concentration_columns(house),
            rows=_concentration(house, held),
            note="Long and short positions count alike.",
            charts=(Chart(Drawing.BARS, "Share of the notional of all members", "member", ("share",)),),
        )


def held_of(reading: Reading, house: House) -> list[Held]:
    """The positions in the report, by account and instrument."""
    return [
        Held(key, instrument, lots)
        for key in sorted(house.held)
        if shows_account(reading, key)
        for instrument, lots in sorted(house.positions(key).items())
    ]


def notional_of(house: House, held: Held) -> int:
    """Size × price in the settlement asset, always positive."""
    return notional(house, held.instrument, held.lots, exposure_price(house, held.instrument))


# --- positions -----------------------------------------------------------------------------------------


def _position_columns(house: House) -> tuple[Column, ...]:
    return (
        Column("account", "Account"),
        Column("member", "Member"),
        Column("kind", "House or client"),
        Column("netting_set", "Netting set"),
        Column("instrument", "Instrument"),
        Column("side", "Side"),
        Column("size", "Size in units of the underlying", Measure.AMOUNT),
        Column("mark", "Mark", Measure.AMOUNT),
        figures.in_settlement(house, "notional", "Notional"),
        figures.in_settlement(house, "option_value", "Net option value"),
    )


def _positions(reading: Reading, house: House, held: list[Held], snapshot: str) -> Iterator[Row]:
    opened = put_by(reading, "accounts", *ACCOUNT_KINDS)
    for one in held:
        account, instrument = house.accounts[one.account], house.instruments[one.instrument]
        value = option_value(house, one.instrument, one.lots)
        cells = (
            one.account,
            account.member,
            account.kind.value,
            account.netting_set,
            one.instrument,
            side(one.lots),
            units.of_size(instrument).render(abs(one.lots)),
            mark_text(house, one.instrument),
            figures.money(house, notional_of(house, one)),
            "" if instrument.option is None else figures.money(house, value),
        )
        ledger = chart.position(one.account, one.instrument)
        source = sources.joined(
            sources.account(ledger.path, ledger.unit),
            snapshot,
            sources.about("netting_set", sources.entries(opened[one.account])),
        )
        yield Row(f"{one.account}:{one.instrument}", cells, source)


def side(lots: int) -> str:
    """On which side a position is."""
    return "long" if lots > 0 else "short"


def mark_text(house: House, instrument: InstrumentId) -> str:
    """The newest mark of an instrument; empty if it has none."""
    ticks = mark_ticks(house, instrument)
    return "" if ticks is None else units.of_price(house.instruments[instrument]).render(ticks)


# --- open interest -------------------------------------------------------------------------------------

_OPEN = (
    Column("kind", "Kind"),
    Column("mark", "Mark", Measure.AMOUNT),
    Column("published", "Open interest, published", Measure.AMOUNT),
    Column("long", "Long positions", Measure.AMOUNT),
    Column("short", "Short positions", Measure.AMOUNT),
    Column("holders", "Holders", Measure.COUNT),
)
_LARGEST = (Column("largest_share", "Share of the largest holder", Measure.PERCENT),)
_HELD_MOST = Chart(Drawing.BARS, "Share of the largest holder", "field", ("largest_share",))


def _open_interest(reading: Reading, house: House, held: list[Held], snapshot: str) -> Iterator[Row]:
    sees_all, members = reading.members is None, seen_members(reading)
    published = {} if house.cycle is None else {one.instrument: one.lots for one in house.cycle.margined}
    by_instrument: dict[InstrumentId, list[Held]] = {}
    for one in held:
        by_instrument.setdefault(one.instrument, []).append(one)
    for row in ordered(house.instruments):
        here = by_instrument.get(row.id, [])
        if row.final_ticks is not None and not here:
            continue
        long, short = open_lots(here)
        size, largest = units.of_size(row), _by_owner(house, here)
        cells = (
            row.kind.value,
            mark_text(house, row.id),
            size.render(published[row.id]) if row.id in published else "",
            size.render(long),
            size.render(short),
            str(len(largest)),
        )
        share = (figures.percent(max(largest.values(), default=0), long),) if sees_all else ()
        source = sources.joined(
            *(sources.account(chart.pattern_of(chart.Line.POSITION, member), row.id) for member in members),
            sources.about("mark", snapshot),
            sources.about("published", snapshot),
        )
        yield Row(row.id, (*cells, *share), source)


def open_lots(held: list[Held]) -> tuple[int, int]:
    """How many lots are held long, and how many short."""
    return sum(max(0, one.lots) for one in held), sum(max(0, -one.lots) for one in held)


def _by_owner(house: House, held: list[Held]) -> dict[Owner, int]:
    """How many lots each owner holds, on the side on which it holds more."""
    by_owner: dict[Owner, list[Held]] = {}
    for one in held:
        by_owner.setdefault(owner_of(house.accounts[one.account]), []).append(one)
    return {owner: max(open_lots(rows)) for owner, rows in by_owner.items()}


# --- concentration -------------------------------------------------------------------------------------


def _concentration_columns(house: House) -> tuple[Column, ...]:
    return (
        Column("member", "Member"),
        figures.in_settlement(house, "house", "Notional of its house account"),
        figures.in_settlement(house, "client", "Notional of its clients"),
        figures.in_settlement(house, "total", "Notional"),
        Column("share", "Share of all", Measure.PERCENT),
    )


def _concentration(house: House, held: list[Held]) -> Iterator[Row]:
    sums: dict[MemberId, dict[AccountKind, int]] = {}
    for one in held:
        of_member = sums.setdefault(member_of(one.account), dict.fromkeys(AccountKind, 0))
        of_member[house.accounts[one.account].kind] += notional_of(house, one)
    whole = sum(sum(parts.values()) for parts in sums.values())
    for member in sorted(sums):
        own, clients = (sums[member][kind] for kind in AccountKind)
        cells = (
            member,
            figures.money(house, own),
            figures.money(house, clients),
            figures.money(house, own + clients),
            figures.percent(own + clients, whole),
        )
        yield Row(member, cells, sources.figure(POSITIONS))
