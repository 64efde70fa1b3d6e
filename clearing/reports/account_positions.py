"""CCPAccountPositionReport, auth.068.001.01: the positions of each account (rulebook §14).

Rules kept here (of the shape: ``iso20022.py``):

1. A portfolio is an account. It nets in lots: of an instrument it has one position, so gross is the size of it.
2. The requirement is what the position would need alone, as if the account had no other: what it brings of the
   requirement of its netting set can be negative, which the element cannot be (the report ``margin`` has it).
3. Notional is size at the mark, of an option its delta of the forward's notional, as the margin model has it. Market
   value is size at the mark of the instrument itself: of an option its premium.
4. Variation margin is of the UTC day of the newest cycle; plus: paid to the member. Options have none.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from clearing import chart
from clearing.margin.addons import AddOnsOf, rows_by_name
from clearing.margin.assess import maintenance_of_all, required, settlement_price
from clearing.margin.snapshot import array_of
from clearing.market.novation import notional
from clearing.model import decimal
from clearing.model.house import House
from clearing.model.ids import AccountKey, InstrumentId
from clearing.model.kinds import Kind
from clearing.model.values import InstrumentRisk
from clearing.reports import figures, sources
from clearing.reports.daily import begins_ms, cash_path, entries_of_day, flows
from clearing.reports.document import Measure, Row, Table
from clearing.reports.facts import CHARTER_KINDS, newest
from clearing.reports.iso20022 import (
    Missing,
    Scheme,
    amount,
    amount_and_direction,
    block,
    directed,
    element,
    id_of,
    identification,
    named,
    not_computed,
)
from clearing.reports.positions import Held, held_of
from clearing.reports.reading import Reading, shows_account
from ledger.amount import divide_down

ROOT = "CCPAcctPosRpt"
POSITION = "Prtfl/Pos"
REQUIREMENT = "RskRqrmnt/InitlMrgnRqrmnt"
VARIATION = "RskRqrmnt/VartnMrgnRqrmnt"
QUANTITY_DECIMALS = 5
NOTE = (
    "A row is a position; the rows of one account are its portfolio. The field is ACCOUNT:INSTRUMENT. Delta-weighted "
    "quantities are lots, rounded towards zero."
)


@dataclass(frozen=True, slots=True)
class Paid:
    """Variation margin of the day on a position, and the first and the last entry that paid it."""

    amount_minor: int
    first: int
    last: int


def build(reading: Reading) -> Iterator[Table]:
    """The positions in the report, and what this system does not compute of them."""
    house = reading.house
    columns = (
        *identification("../Id"),
        element("PdctId"),
        amount(house, REQUIREMENT),
        *amount_and_direction(house, VARIATION),
        amount(house, "GrssNtnl"),
        *amount_and_direction(house, "NetNtnl"),
        element("GrssDltaEqvtQty", Measure.AMOUNT),
        element("NetDltaEqvtQty", Measure.AMOUNT),
        amount(house, "GrssMktVal"),
    )
    yield block(ROOT, POSITION, columns, _positions(reading, house), note=NOTE)
    index = "the unit of the index by which the authority wants sensitivities counted"
    yield not_computed(
        ROOT,
        (
            Missing("Prtfl/Id/Desc", "the full name of the account's holder"),
            Missing(f"{POSITION}/GrssDltaEqvtVal", index),
            Missing(f"{POSITION}/NetDltaEqvtVal", index),
        ),
    )


def _positions(reading: Reading, house: House) -> Iterator[Row]:
    held = held_of(reading, house)
    if not held:
        return
    paid, rows = paid_in_day(reading, begins_ms(house)), rows_by_name(array_of(house))
    made_of = sources.entries(newest(reading, Kind.SNAPSHOT_ACCEPTED) + newest(reading, *CHARTER_KINDS))
    for one, alone in zip(held, needed_alone(house, held), strict=True):
        of_day = paid.get((one.account, one.instrument))
        yield _position(house, one, alone, of_day, rows[one.instrument], made_of)


def needed_alone(house: House, held: list[Held]) -> list[int]:
    """What each position would need as the only one of its account."""
    alone = [{one.instrument: one.lots} for one in held]
    charged = AddOnsOf(house)
    return [
        required(house, modelled + charged.set((one.account,), lots).amount_minor)
        for one, lots, modelled in zip(held, alone, maintenance_of_all(house, alone), strict=True)
    ]


def paid_in_day(reading: Reading, start_ms: int) -> Mapping[tuple[AccountKey, InstrumentId], Paid]:
    """The variation margin that each position of the report was paid from ``start_ms`` on, less what it paid."""
    found: dict[tuple[AccountKey, InstrumentId], Paid] = {}
    for one in entries_of_day(reading, start_ms, Kind.VARIATION_MARGIN):
        (instrument,) = one.entry.references
        for key, _, received in flows(one.entry):
            if shows_account(reading, key):
                place = key, InstrumentId(instrument)
                before = found.get(place, Paid(0, one.sequence, one.sequence))
                found[place] = Paid(before.amount_minor + received, before.first, one.sequence)
    return found


def _position(
    house: House, held: Held, alone_minor: int, paid: Paid | None, row: InstrumentRisk, made_of: str
) -> Row:
    net = held.lots * row.weight_minor
    worth = notional(house, held.instrument, held.lots, settlement_price(house, held.instrument))
    cells = (
        *named(house, held.account, Scheme.POSITION),
        held.instrument,
        figures.money(house, alone_minor),
        *directed(house, 0 if paid is None else paid.amount_minor),
        figures.money(house, abs(net)),
        *directed(house, net),
        _quantity(abs(held.lots) * abs(row.weight_minor), row.notional_minor),
        _quantity(net, row.notional_minor),
        figures.money(house, worth),
    )
    ledger = chart.position(held.account, held.instrument)
    source = sources.joined(
        sources.account(ledger.path, ledger.unit),
        made_of,
        *(sources.about(id_of(f"{VARIATION}/Amt"), term) for term in _settled(house, held.account, paid)),
    )
    return Row(f"{held.account}:{held.instrument}", cells, source)


def _settled(house: House, key: AccountKey, paid: Paid | None) -> tuple[str, ...]:
    """Where the variation margin of a position comes from."""
    if paid is None:
        return ()
    cash = sources.account(cash_path(key, house), house.settlement)
    return sources.kind(Kind.VARIATION_MARGIN, paid.first, paid.last), cash


def _quantity(weighted_minor: int, lot_minor: int) -> str:
    """Lots by their delta, rounded towards zero; empty if a lot is worth nothing."""
    if not lot_minor:
        return ""
    steps = divide_down(abs(weighted_minor) * 10**QUANTITY_DECIMALS, lot_minor)
    return decimal.render(steps if weighted_minor >= 0 else -steps, QUANTITY_DECIMALS)
