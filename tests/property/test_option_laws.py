"""Laws of options in the ``scan`` model alone, in any market (rulebook §1, §8, §9.2)."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.margin.model import Market as Snapshot
from clearing.margin.models.scan import SCAN
from clearing.margin.pricing import YEAR_MS
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import (
    BP,
    Instrument,
    InstrumentKind,
    OptionTerms,
    Parameters,
    Right,
    RiskArray,
    ScanRange,
)

pytestmark = pytest.mark.slow

margin, risk_array = SCAN.margin, SCAN.risk_array

GOLD, VOL = FeedId("GOLD"), FeedId("GOLD-VOL")
TICK_VALUE = 7
NAMES = tuple(InstrumentId(f"GOLD-{n}") for n in range(4))

Lots = Mapping[InstrumentId, int]
Market = tuple[RiskArray, Parameters]

books = st.fixed_dictionaries({name: st.just(0) | st.integers(-(10**6), 10**6) for name in NAMES})


PERPETUAL = Instrument(
    id=NAMES[0],
    kind=InstrumentKind.PERPETUAL,
    underlying=GOLD,
    feed=GOLD,
    tick_value_minor=TICK_VALUE,
    price_decimals=0,
    lot_decimals=0,
)


@st.composite
def contracts(draw: st.DrawFn, name: InstrumentId, strike_max: int) -> Instrument:
    """An option on gold with any right, strike and time."""
    terms = OptionTerms(
        right=draw(st.sampled_from(Right)),
        strike_ticks=draw(st.integers(1, strike_max)),
        volatility_feed=VOL,
    )
    expires_ms = draw(st.integers(1, 2 * YEAR_MS))
    return replace(PERPETUAL, id=name, kind=InstrumentKind.OPTION, expires_ms=expires_ms, option=terms)


@st.composite
def markets(draw: st.DrawFn) -> Market:
    """A perpetual and three options on gold, at any price, volatility and time, without basis charge or credit."""
    price = draw(st.integers(1, 10**6))
    parameters = Parameters(
        margin_model="scan",
        scan_ranges=(
            ScanRange(
                underlying=GOLD,
                move_bp=draw(st.integers(1, 2 * BP)),
                volatility_bp=draw(st.integers(1, BP - 1)),
            ),
        ),
        basis_floor_bp=0,
        short_option_bp=draw(st.integers(0, 1_000)),
        offset_cap_bp=draw(st.integers(0, BP)),
    )
    options = [draw(contracts(name, 3 * price)) for name in NAMES[1:]]
    marks = {GOLD: price, VOL: draw(st.integers(1, 50_000))}
    array = risk_array([PERPETUAL, *options], Snapshot(prices=marks, at_ms=0), parameters)
    return array, parameters


def amount(book: Lots, market: Market) -> int:
    return margin(book, market[0], market[1]).amount_minor


@given(book=books, market=markets())
def test_who_has_sold_an_option_requires_at_least_the_minimum(book: Lots, market: Market) -> None:
    array, parameters = market
    sold = {name: -abs(book[name]) for name in NAMES[1:]}
    least = sum(abs(lots) for lots in sold.values()) * array.instruments[0].notional_minor
    assert amount(sold, market) * BP >= least * parameters.short_option_bp


@given(book=books, market=markets())
def test_what_one_holder_gains_in_a_scenario_the_other_loses_but_for_rounding(
    book: Lots, market: Market
) -> None:
    for row in market[0].instruments:
        for long, short in zip(row.long_minor, row.short_minor, strict=True):
            assert -2 <= long + short <= 0


@given(book=books, market=markets())
def test_credit_is_never_earned_by_more_than_what_can_be_lost(book: Lots, market: Market) -> None:
    for risk in margin(book, market[0], market[1]).underlyings:
        assert abs(risk.exposure_minor) <= risk.risk_minor
