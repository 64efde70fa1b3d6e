"""Novation: the house steps between buyer and seller (rulebook §4).

One balanced entry: four position legs, after which the house is flat, and the cash that brings the
position from the trade price to the last settlement price S, at which every position is carried. An option is not
carried: the buyer pays the premium in full, and what the option is worth counts in equity (§8).
"""

from functools import cache

from clearing import chart
from clearing.model.commands import PRICE_TICKS_MAX
from clearing.model.house import House
from clearing.model.ids import AccountKey, InstrumentId
from clearing.model.values import Instrument
from ledger.amount import AMOUNT_MAX, divide_down, divide_up
from ledger.entry import Leg, credit, debit, transfer

EXPOSURE_MAX = AMOUNT_MAX // 2**20
"""What a position may be worth at the highest price; leaves room for sums of a million of them."""


def novate(
    house: House,
    instrument: InstrumentId,
    *,
    seller: AccountKey,
    buyer: AccountKey,
    lots: int,
    price_ticks: int,
    carried_ticks: int,
) -> tuple[Leg, ...]:
    """Legs that move ``lots`` from seller to buyer at ``price_ticks``, carried at S = ``carried_ticks``, for
    :func:`payment`.
    """
    middle, asset = chart.novation(instrument), house.settlement
    paid = payment(house, instrument, lots, price_ticks, carried_ticks)
    return (
        debit(chart.position(seller, instrument), lots),
        credit(middle, lots),
        debit(middle, lots),
        credit(chart.position(buyer, instrument), lots),
        *transfer(chart.cash(buyer, asset), chart.cash(seller, asset), paid),
    )


def payment(house: House, instrument: InstrumentId, lots: int, price_ticks: int, carried_ticks: int) -> int:
    """What the buyer of ``lots`` pays the seller: lots × (P − S) × tick value, negative when the seller pays; for an
    option lots × P × tick value.
    """
    row = house.instruments[instrument]
    return lots * (price_ticks - (0 if row.option else carried_ticks)) * row.tick_value_minor


def notional(house: House, instrument: InstrumentId, lots: int, price_ticks: int) -> int:
    """Size × price in the settlement asset, always positive."""
    return abs(lots) * price_ticks * house.instruments[instrument].tick_value_minor


def position_lots_max(instrument: Instrument) -> int:
    """The largest position of one account: no price that a source may publish overflows the book with it."""
    return _lots_max(instrument.tick_value_minor)


@cache
def _lots_max(tick_value_minor: int) -> int:
    return divide_down(EXPOSURE_MAX, PRICE_TICKS_MAX * tick_value_minor)


def fee(notional_minor: int, fee_bp: int) -> int:
    """A fee on a notional, rounded up."""
    return divide_up(notional_minor * fee_bp, 10_000)
