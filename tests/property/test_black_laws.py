"""Laws of Black (1976) values, for any option: bounds, order, convexity, and that a volatility is found again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.margin.black import greeks, implied_volatility, values

pytestmark = pytest.mark.slow

signs = st.sampled_from((1.0, -1.0))
prices = st.floats(1e-3, 1e6)
volatilities = st.floats(0.01, 10.0)
years = st.floats(1 / 8_760, 3.0)
ROUNDING = 4e-16


@given(sign=signs, forward=prices, strike=prices, volatility=volatilities, time=years)
def test_a_value_is_within_its_bounds_and_so_is_its_delta(
    sign: float, forward: float, strike: float, volatility: float, time: float
) -> None:
    arguments = [sign], np.array([[forward]]), [strike], np.array([[volatility]]), [time]
    found, derived = values(*arguments)[0, 0], greeks(*arguments)
    assert max(sign * (forward - strike), 0.0) <= found
    assert found <= (forward if sign > 0 else strike) * (1 + ROUNDING)
    assert 0 <= sign * derived.delta[0, 0] <= 1
    assert derived.gamma[0, 0] >= 0
    assert derived.vega[0, 0] >= 0
    assert derived.theta[0, 0] <= 0


@given(
    sign=signs,
    strike=prices,
    volatility=volatilities,
    time=years,
    moneyness=st.lists(st.floats(-3, 3), min_size=3, max_size=3, unique=True),
)
def test_values_rise_or_fall_with_the_forward_and_are_convex_in_it(
    sign: float, strike: float, volatility: float, time: float, moneyness: list[float]
) -> None:
    forward = strike * np.exp(np.sort(np.array(moneyness)))
    low, middle, high = values([sign], forward[None, :], [strike], np.full((1, 3), volatility), [time])[
        0
    ].tolist()
    slack = 8 * ROUNDING * max(float(forward[2]), strike)
    assert sign * (middle - low) >= -slack
    assert sign * (high - middle) >= -slack
    span = forward[2] - forward[0]
    if span > 0:
        weight = float((forward[1] - forward[0]) / span)
        assert middle <= (1 - weight) * low + weight * high + slack


@given(sign=signs, forward=prices, strike=prices, volatility=volatilities, time=years, more=st.floats(0, 1))
def test_more_volatility_or_time_never_lowers_a_value(
    sign: float, forward: float, strike: float, volatility: float, time: float, more: float
) -> None:
    table = np.array([[volatility, volatility * (1 + more)]])
    less, moved = values([sign], np.full((1, 2), forward), [strike], table, [time])[0].tolist()
    later = values([sign], np.array([[forward]]), [strike], table[:, :1], [time * (1 + more)])[0, 0]
    slack = 8 * ROUNDING * max(forward, strike)
    assert moved >= less - slack
    assert later >= less - slack


@given(sign=signs, forward=prices, strike=prices, share=st.floats(1e-12, 1 - 1e-9), time=years)
def test_every_price_within_the_bounds_has_a_volatility_that_gives_it(
    sign: float, forward: float, strike: float, share: float, time: float
) -> None:
    bound = min(forward, strike)
    price = max(sign * (forward - strike), 0.0) + share * bound
    if not max(sign * (forward - strike), 0.0) < price < (forward if sign > 0 else strike):
        return  # rounded away
    found = implied_volatility(sign, price, forward, strike, time)
    again = values([sign], np.array([[forward]]), [strike], np.array([[found]]), [time])[0, 0]
    assert again == pytest.approx(price, rel=1e-11, abs=ROUNDING * max(forward, strike))
