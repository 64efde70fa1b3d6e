"""``static``: a percentage of the notional that rises with the open interest (rulebook §9.4), what decentralised
exchanges do today and the baseline that the other models must beat.

Assumptions: every market falls on every holder at once, long and short; nothing hedges anything; what makes a position
dangerous besides its size is how much of its underlying is open. The model does not react to volatility; an
administrator sets the rates.

1. The rate of an underlying is its scan range. From the lower cap of its open notional on it rises in a straight line,
   to 100 % at the upper one (as dYdX v4 does); a rate above that stays. Open notional is what is held long in all
   instruments on the underlying, an option by its forward. Without caps nothing rises.
2. A position in a linear instrument asks for the rate of its notional. An option held short asks for the rate of its
   forward's notional on top of its value, which equity has subtracted already; one held long for all that it is worth,
   which equity has added: so beyond its premium it asks for nothing.
3. Positions in different instruments offset nothing, and there is no floor beneath a sum that saves nothing.

A row has one scenario, in which every position loses what it asks for. Twice the book asks for exactly twice as much,
and to merge portfolios never raises the sum.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

import numpy as np

from clearing.margin.deltas import delta_minor
from clearing.margin.model import Column, Margin, Market, Positions, UnderlyingRisk, held_in
from clearing.margin.pricing import value_ticks
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import BP, PPM, Instrument, InstrumentRisk, Parameters, RiskArray, ScanRange
from ledger.amount import divide_up

PPM_IN_BP = PPM // BP
SAFE = 2**62
"""What every sum of a column stays below, so that 64 bits hold it exactly."""


def scenario_names(array: RiskArray) -> tuple[str, ...]:  # other models' scenarios depend on it
    """What each scenario is, in the order of the array."""
    return ("every position loses its rate",)


def risk_array(instruments: Iterable[Instrument], market: Market, parameters: Parameters) -> RiskArray:
    """What one lot of each instrument that has a mark loses at its rate, long and short."""
    marked = [one for one in instruments if one.feeds <= market.prices.keys()]
    open_minor: dict[FeedId, int] = {}
    for one in marked:
        notional = market.open_lots.get(one.id, 0) * market.prices[one.feed] * one.tick_value_minor
        open_minor[one.underlying] = open_minor.get(one.underlying, 0) + notional
    rates = {r.underlying: _rate_ppm(r, open_minor.get(r.underlying, 0)) for r in parameters.scan_ranges}
    return RiskArray(
        model="static", instruments=tuple(_row(one, market, rates[one.underlying]) for one in marked)
    )


def _rate_ppm(scanned: ScanRange, open_minor: int) -> int:
    """The share of a notional that is asked for, rounded up."""
    base_ppm, lower = scanned.move_bp * PPM_IN_BP, scanned.open_notional_lower_minor
    span = scanned.open_notional_upper_minor - lower
    if not span or base_ppm >= PPM:
        return base_ppm
    beyond = min(max(0, open_minor - lower), span)
    return base_ppm + divide_up((PPM - base_ppm) * beyond, span)


def _row(instrument: Instrument, market: Market, rate_ppm: int) -> InstrumentRisk:
    price = market.prices[instrument.feed]
    notional = price * instrument.tick_value_minor
    asked = worth = divide_up(notional * rate_ppm, PPM)
    if instrument.option is not None:
        volatility_bp = market.prices[instrument.option.volatility_feed]
        worth = value_ticks(instrument, price, volatility_bp, market.at_ms) * instrument.tick_value_minor
    return InstrumentRisk(
        instrument=instrument.id,
        underlying=instrument.underlying,
        notional_minor=notional,
        long_minor=(-worth,),
        short_minor=(-asked,),
        delta_minor=None if instrument.option is None else delta_minor(instrument, market),
    )


def margin(lots: Mapping[InstrumentId, int], array: RiskArray, parameters: Parameters) -> Margin:
    """Maintenance margin of one portfolio, with its explanation. ``lots``: long is positive."""
    held = held_in(lots, array)
    asked = {row.instrument: -abs(q) * (row.long_minor if q > 0 else row.short_minor)[0] for row, q in held}
    risks: dict[FeedId, int] = {}
    for row, _ in held:
        risks[row.underlying] = risks.get(row.underlying, 0) + asked[row.instrument]
    return Margin(
        amount_minor=sum(asked.values()),
        contributions=asked,
        underlyings=tuple(
            UnderlyingRisk(underlying=u, risk_minor=risks[u], scenario=0, exposure_minor=-risks[u])
            for u in sorted(risks)
        ),
    )


def amounts(book: Positions, array: RiskArray, parameters: Parameters) -> list[int]:
    """The amount that :func:`margin` gives for each portfolio, all at once where 64 bits hold every sum."""
    if not len(book.lots):
        return [0] * book.portfolios
    if book.largest(tuple(rises(array, parameters).values())) >= SAFE:
        return [margin(lots, array, parameters).amount_minor for lots in book.apart(array)]
    long, short = _columns(array)
    asked = np.where(book.lots > 0, long[book.rows], short[book.rows]) * np.abs(book.lots)
    sums = np.zeros(book.portfolios, np.int64)
    np.add.at(sums, book.owners, asked)
    found: list[int] = sums.tolist()
    return found


@lru_cache(maxsize=4)
def _columns(array: RiskArray) -> tuple[Column, Column]:
    """What a lot of each row asks for, long and short; what 64 bits do not hold is in no book that is measured here."""
    long = [min(-row.long_minor[0], SAFE) for row in array.instruments]
    short = [min(-row.short_minor[0], SAFE) for row in array.instruments]
    return np.array(long, np.int64), np.array(short, np.int64)


def rises(array: RiskArray, parameters: Parameters) -> dict[InstrumentId, int]:
    """By how much a lot more of each instrument, bought or sold, can raise the amount of any portfolio: by what it asks
    for alone.
    """
    return {row.instrument: max(-row.long_minor[0], -row.short_minor[0]) for row in array.instruments}
