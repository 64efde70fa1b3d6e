"""What options are worth: Black (1976) against its own laws and against figures from elsewhere."""

import math
from dataclasses import replace

import numpy as np
import pytest

from clearing.margin.pricing import YEAR_MS, delta, intrinsic_ticks, option_marks, value, value_ticks
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import Instrument, InstrumentKind, OptionTerms, Right
from ledger.require import InvariantViolated

CALL = Instrument(
    id=InstrumentId("BTC-C"),
    kind=InstrumentKind.OPTION,
    underlying=FeedId("BTC"),
    feed=FeedId("BTC"),
    tick_value_minor=100,
    price_decimals=1,
    lot_decimals=3,
    expires_ms=YEAR_MS,
    option=OptionTerms(right=Right.CALL, strike_ticks=100, volatility_feed=FeedId("BTC-V")),
)


def one(right: Right, forward: float, strike: int, volatility: float, years: float) -> float:
    return float(value(right, np.array([forward]), strike, np.array([volatility]), years)[0])


def by_integral(right: Right, forward: float, strike: int, volatility: float, years: float) -> float:
    """The expected payout by the trapezium rule over the normal density: no closed form, no table."""
    deviation = volatility * math.sqrt(years)
    z = np.linspace(-12, 12, 400_001)
    prices = forward * np.exp(deviation * z - deviation**2 / 2)
    payout = np.maximum((prices - strike) * (1 if right is Right.CALL else -1), 0)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return float(np.sum(payout * density) * (z[1] - z[0]))


@pytest.mark.parametrize("right", Right)
@pytest.mark.parametrize("forward", [50.0, 95.0, 100.0, 105.0, 300.0])
@pytest.mark.parametrize("volatility", [0.05, 0.6, 2.5])
@pytest.mark.parametrize("years", [1 / 8760, 0.1, 2.0])
def test_a_value_is_the_expected_payout(
    right: Right, forward: float, volatility: float, years: float
) -> None:
    expected = by_integral(right, forward, 100, volatility, years)
    assert one(right, forward, 100, volatility, years) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("right", "priced"),
    [(Right.CALL, 7.965567455405804), (Right.PUT, 7.965567455405804)],
)
def test_the_textbook_figure_at_the_money(right: Right, priced: float) -> None:
    """F = K = 100, σ = 20 %, T = 1: 100 · (2·N(0.1) − 1)."""
    assert one(right, 100.0, 100, 0.2, 1.0) == pytest.approx(priced, rel=1e-13)


def test_call_less_put_is_forward_less_strike() -> None:
    for forward in (1.0, 73.5, 100.0, 5_000.0):
        call, put = (one(right, forward, 100, 0.8, 0.3) for right in Right)
        assert call - put == pytest.approx(forward - 100, abs=1e-11 * forward + 1e-11)


def test_at_expiry_and_without_volatility_a_value_is_the_intrinsic_one() -> None:
    for volatility, years in ((0.5, 0.0), (0.0, 1.0)):
        assert [one(Right.CALL, f, 100, volatility, years) for f in (90.0, 100.0, 130.0)] == [0, 0, 30]
        assert [one(Right.PUT, f, 100, volatility, years) for f in (90.0, 100.0, 130.0)] == [10, 0, 0]


def test_deep_in_and_out_of_the_money_a_value_stays_within_its_bounds() -> None:
    forwards = np.array([1e-3, 1.0, 99.0, 101.0, 1e4, 1e12])
    for years in (1e-9, 1e-3, 1.0, 30.0):
        for volatility in (1e-4, 0.3, 100.0):
            calls = value(Right.CALL, forwards, 100, np.full(6, volatility), years)
            puts = value(Right.PUT, forwards, 100, np.full(6, volatility), years)
            assert np.all((np.maximum(forwards - 100, 0) <= calls) & (calls <= forwards))
            assert np.all((np.maximum(100 - forwards, 0) <= puts) & (puts <= 100))


def test_delta_is_how_a_value_moves_with_its_forward() -> None:
    for right in Right:
        for forward in (60, 100, 170):
            step = 1e-4
            up, down = (one(right, forward + way * step, 100, 0.7, 0.4) for way in (1, -1))
            assert delta(right, forward, 100, 0.7, 0.4) == pytest.approx((up - down) / (2 * step), abs=1e-7)


def test_at_expiry_delta_is_all_or_nothing_and_a_half_at_the_strike() -> None:
    assert [delta(Right.CALL, forward, 100, 0.5, 0.0) for forward in (99, 100, 101)] == [0, 0.5, 1]
    assert [delta(Right.PUT, forward, 100, 0.5, 0.0) for forward in (99, 100, 101)] == [-1, -0.5, 0]


def test_a_mark_is_the_value_to_the_nearest_tick() -> None:
    marks = {FeedId("BTC"): 100, FeedId("BTC-V"): 2_000}
    (mark,) = option_marks([CALL], marks, 0)
    assert (mark.price_ticks, mark.forward_ticks, mark.volatility_bp) == (8, 100, 2_000)
    assert value_ticks(replace(CALL, expires_ms=YEAR_MS // 4), 100, 2_000, 0) == 4  # 3.988
    assert option_marks([CALL], {FeedId("BTC"): 100}, 0) == ()


@pytest.mark.parametrize(
    ("right", "final", "paid"), [(Right.CALL, 107, 7), (Right.PUT, 107, 0), (Right.PUT, 93, 7)]
)
def test_what_an_option_pays_at_expiry_is_exact(right: Right, final: int, paid: int) -> None:
    assert CALL.option is not None
    assert intrinsic_ticks(replace(CALL, option=replace(CALL.option, right=right)), final) == paid


def test_a_linear_instrument_has_no_option_value() -> None:
    with pytest.raises(InvariantViolated, match="BTC-C is an option"):
        value_ticks(replace(CALL, option=None), 100, 2_000, 0)
