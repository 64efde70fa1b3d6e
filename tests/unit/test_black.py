"""Black (1976): values, Greeks and implied volatility against QuantLib, lets_be_rational, and mpmath with 40 digits.

QuantLib is the less exact one far out of the money and for small deviations: there mpmath is the judge.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import pytest
import QuantLib
from lets_be_rational import implied_volatility_from_a_transformed_rational_guess as rational_guess
from mpmath import mp, mpf

from clearing.margin import reproducible
from clearing.margin.black import greeks, implied_volatility, values
from clearing.margin.reproducible import Floats
from tests.bits import digest_without_wide_vectors

DIGEST = "5966baf12055bee7730c2954bb233ac8f9cbdf8ae708157b3be119c3ce3c6364"
"""Of the bytes of ``a_table``: what the house values today it values on every machine, and tomorrow."""

HOURS = 1 / 8_760
STRIKE = 100.0
VOLATILITIES = (0.01, 0.05, 0.2, 0.6, 1.5, 4.0, 10.0)
YEARS = (HOURS, 8 * HOURS, 1 / 365, 7 / 365, 30 / 365, 0.5, 1.0, 3.0)


@pytest.fixture(autouse=True)
def forty_digits() -> Iterator[None]:
    with mp.workdps(40):
        yield


def forwards(volatility: float, years: float) -> Floats:
    """Moneyness e^±3, and between as far as is not hopeless: twelve deviations."""
    reach = min(3.0, 12 * volatility * math.sqrt(years))
    wide, near = np.linspace(-3, 3, 25), np.linspace(-reach, reach, 25)
    found: Floats = STRIKE * np.exp(np.concatenate([wide, near]))
    return found


def grid() -> Iterator[tuple[float, float, float, Floats]]:
    """Sign, volatility, years and forwards; 5,600 options in all."""
    for sign in (1.0, -1.0):
        for volatility in VOLATILITIES:
            for years in YEARS:
                yield sign, volatility, years, forwards(volatility, years)


def valued(sign: float, forward: Floats, volatility: float, years: float) -> Floats:
    row = values([sign], forward[None, :], [STRIKE], np.full_like(forward, volatility)[None, :], [years])
    found: Floats = row[0]
    return found


def true_value(sign: float, forward: object, volatility: object, years: object) -> mpf:
    f, k, s = mpf(forward), mpf(STRIKE), mpf(volatility) * mp.sqrt(mpf(years))
    near = mp.log(f / k) / s + s / 2
    return sign * (f * _normal(sign * near) - k * _normal(sign * (near - s)))


def _normal(x: mpf) -> mpf:
    return mp.erfc(-x / mp.sqrt(2)) / 2


def test_values_agree_with_quantlib() -> None:
    """To 1e-12 of the forward everywhere; to 1e-10 of the value where that is over 1e-3 of the forward."""
    for sign, volatility, years, forward in grid():
        kind = QuantLib.Option.Call if sign > 0 else QuantLib.Option.Put
        deviation = volatility * math.sqrt(years)
        judged = np.array([QuantLib.blackFormula(kind, STRIKE, float(f), deviation) for f in forward])
        off = np.abs(valued(sign, forward, volatility, years) - judged)
        assert np.all(off <= 1e-12 * forward)
        counts = judged > 1e-3 * forward
        assert np.all(off[counts] <= 1e-10 * judged[counts])


def test_far_out_of_the_money_values_are_exact_to_twelve_digits() -> None:
    """By mpmath, down to 1e-280 of the forward. ``pytest -s`` shows the worst, by how much of the forward it is."""
    worst = dict.fromkeys((1e-3, 1e-6, 1e-30, 1e-280), 0.0)
    for sign, volatility, years, forward in grid():
        found = valued(sign, forward, volatility, years)
        for f, one in zip(forward.tolist(), found.tolist(), strict=True):
            true = true_value(sign, f, volatility, years)
            if sign * (f - STRIKE) < 0 and true > 1e-280 * f:
                off = float(abs(mpf(one) / true - 1))
                worst |= {share: max(most, off) for share, most in worst.items() if true > share * f}
    print(worst)
    assert worst[1e-3] < 1e-13
    assert worst[1e-30] < 1e-12
    assert worst[1e-280] < 3e-12


def test_greeks_are_the_derivatives_of_the_value() -> None:
    """mpmath differentiates the value itself; a Greek may be off by 1e-10 of it and 1e-12 of its scale."""
    names = ("delta", "gamma", "vega", "theta", "vanna", "volga")
    orders = ((1, 0, 0), (2, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 2, 0))
    for sign in (1.0, -1.0):
        for volatility, years in ((0.05, HOURS), (0.6, 8 * HOURS), (0.6, 0.1), (1.5, 1.0), (4.0, 3.0)):
            forward = STRIKE * np.exp(np.linspace(-3, 3, 7) * volatility * math.sqrt(years))
            table = np.full((1, 7), volatility)
            found = greeks([sign], forward[None, :], [STRIKE], table, [years])
            for name, order in zip(names, orders, strict=True):
                way = -1 if name == "theta" else 1
                for f, one in zip(forward, asdict(found)[name][0], strict=True):
                    at = (mpf(float(f)), mpf(volatility), mpf(years))
                    true = way * mp.diff(lambda f, v, t: true_value(sign, f, v, t), at, order)  # noqa: B023
                    assert one == pytest.approx(float(true), rel=1e-9, abs=1e-13 * STRIKE), (name, f)


def test_greeks_agree_with_quantlib() -> None:
    for sign, volatility, years, forward in grid():
        deviation = volatility * math.sqrt(years)
        if deviation < 1e-3:
            continue  # the judge loses its digits there
        kind = QuantLib.Option.Call if sign > 0 else QuantLib.Option.Put
        found = greeks([sign], forward[None, :], [STRIKE], np.full((1, len(forward)), volatility), [years])
        for place, f in enumerate(forward.tolist()):
            judge = QuantLib.BlackCalculator(QuantLib.PlainVanillaPayoff(kind, STRIKE), f, deviation)
            assert found.delta[0, place] == pytest.approx(judge.deltaForward(), abs=1e-12)
            assert found.gamma[0, place] == pytest.approx(judge.gammaForward(), rel=1e-9, abs=1e-12)
            assert found.vega[0, place] == pytest.approx(judge.vega(years), rel=1e-9, abs=1e-10)
            assert found.theta[0, place] == pytest.approx(judge.theta(f, years), rel=1e-9, abs=1e-8)


def test_black_scholes_is_black_on_the_forward() -> None:
    spot, rate, carried, volatility = 95.0, 0.04, 0.01, 0.7
    today = QuantLib.Date(1, 1, 2026)
    QuantLib.Settings.instance().evaluationDate = today
    curves = [
        QuantLib.YieldTermStructureHandle(QuantLib.FlatForward(today, one, QuantLib.Actual365Fixed()))
        for one in (carried, rate)
    ]
    surface = QuantLib.BlackVolTermStructureHandle(
        QuantLib.BlackConstantVol(today, QuantLib.NullCalendar(), volatility, QuantLib.Actual365Fixed())
    )
    process = QuantLib.BlackScholesMertonProcess(
        QuantLib.QuoteHandle(QuantLib.SimpleQuote(spot)), *curves, surface
    )
    years = 274 / 365
    option = QuantLib.VanillaOption(
        QuantLib.PlainVanillaPayoff(QuantLib.Option.Put, STRIKE), QuantLib.EuropeanExercise(today + 274)
    )
    option.setPricingEngine(QuantLib.AnalyticEuropeanEngine(process))
    forward = np.array([spot * math.exp((rate - carried) * years)])
    found = math.exp(-rate * years) * valued(-1.0, forward, volatility, years)[0]
    assert found == pytest.approx(option.NPV(), rel=1e-13)


def test_call_less_put_is_forward_less_strike_everywhere() -> None:
    for _, volatility, years, forward in grid():
        call, put = (valued(sign, forward, volatility, years) for sign in (1.0, -1.0))
        assert np.all(np.abs(call - put - (forward - STRIKE)) <= 4e-16 * np.maximum(forward, STRIKE))


def test_without_time_or_volatility_only_the_intrinsic_value_and_delta_are_left() -> None:
    forward, signs = np.array([[0.5, 100.0, 130.0]] * 2), [1, -1]
    for volatility, years in ((0.6, 0.0), (0.0, 1.0), (0.0, 0.0)):
        table = np.full((2, 3), volatility)
        assert values(signs, forward, [STRIKE] * 2, table, [years] * 2).tolist() == [[0, 0, 30], [99.5, 0, 0]]
        left = asdict(greeks(signs, forward, [STRIKE] * 2, table, [years] * 2))
        assert left.pop("delta").tolist() == [[0, 0.5, 1], [-1, -0.5, 0]]
        assert all(np.all(one == 0) for one in left.values())


def test_a_forward_of_zero_leaves_a_put_its_strike() -> None:
    table = np.array([[0.0]])
    for volatility in (0.01, 10.0):
        assert values([-1], table, [STRIKE], table + volatility, [3.0]).tolist() == [[STRIKE]]
        assert values([1], table, [STRIKE], table + volatility, [3.0]).tolist() == [[0]]


# implied volatility -------------------------------------------------------------------------------


def test_a_volatility_is_found_again_as_well_as_its_price_says_it() -> None:
    """Off by 2e-12, or by what a few roundings of the price would move it."""
    for sign, volatility, years, forward in grid():
        price = valued(sign, forward, volatility, years)
        out = sign * (forward - STRIKE) <= 0
        tiny = price < 1e-280 * forward
        used = out & ~tiny & (price < np.minimum(forward, STRIKE) * (1 - 1e-9))
        found = implied_volatility(sign, price[used], forward[used], STRIKE, years)
        assert not np.isnan(found).any()
        table = np.full((1, int(used.sum())), volatility)
        vega = greeks([sign], forward[None, used], [STRIKE], table, [years]).vega[0]
        told = 4e-16 * np.minimum(forward, STRIKE)[used] / np.maximum(vega * volatility, 1e-300)
        off = np.abs(found / volatility - 1)
        assert np.all(off <= np.maximum(2e-12, 4 * told))


def test_implied_volatilities_agree_with_lets_be_rational() -> None:
    for sign, volatility, years, forward in grid():
        price = valued(sign, forward, volatility, years)
        found = implied_volatility(sign, price, forward, STRIKE, years)
        for f, p, one in zip(forward.tolist(), price.tolist(), found.tolist(), strict=True):
            value = p - max(sign * (f - STRIKE), 0)
            if not 1e-9 * min(f, STRIKE) < value < (1 - 1e-6) * min(f, STRIKE):
                continue
            assert one == pytest.approx(rational_guess(p, f, STRIKE, years, sign), rel=1e-9)


def test_a_price_that_no_volatility_gives_has_none() -> None:
    none = [
        (1, 0.0, 100.0, 1.0),  # worth nothing
        (1, -1.0, 100.0, 1.0),
        (1, 20.0, 120.0, 1.0),  # the intrinsic value
        (1, 19.0, 120.0, 1.0),
        (1, 120.0, 120.0, 1.0),  # the forward
        (-1, 100.0, 80.0, 1.0),  # the strike
        (-1, 130.0, 80.0, 1.0),
        (1, 8.0, 100.0, 0.0),  # no time is left
        (1, math.nan, 100.0, 1.0),
    ]
    signs, prices, at, years = (np.array(column, np.float64) for column in zip(*none, strict=True))
    assert np.isnan(implied_volatility(signs, prices, at, STRIKE, years)).all()
    edges = implied_volatility([1, 1], [20 + 1e-12, 120 - 1e-12], 120.0, STRIKE, 1.0)
    assert not np.isnan(edges).any()


@pytest.mark.parametrize("forward", [math.exp(-3) * 100, 99.9999, 100.0, 2_000.0])
def test_every_price_within_the_bounds_is_met(forward: float) -> None:
    """Prices from 1e-200 of the bound to all but 1e-12 of it, whatever volatility that takes."""
    shares = np.concatenate(
        [10.0 ** -np.arange(1, 200, 3.0), np.linspace(0.02, 0.98, 49), 1 - 10.0 ** -np.arange(2, 12)]
    )
    price, sign = shares * min(forward, STRIKE), 1.0 if forward <= STRIKE else -1.0
    found = implied_volatility(sign, price, forward, STRIKE, 1.0)
    again = values([sign], np.full((1, len(price)), forward), [STRIKE], found[None, :], [1.0])[0]
    assert again == pytest.approx(price, rel=2e-11, abs=2e-16 * STRIKE * (shares > 0.5).max())


# the same bits ------------------------------------------------------------------------------------


def a_table() -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Signs, forwards, strikes, volatilities and years of 61 options in 700 scenarios, by exact operations."""
    option, scenario = np.arange(61.0)[:, None], np.arange(700.0)[None, :]
    forward = 64_000 * (0.25 + (option * 7 + scenario * 3) % 101 / 64)
    volatility = 0.01 + (option * 5 + scenario) % 97 / 16
    years = (1 + option[:, 0] * option[:, 0]) / 4_096
    return (
        np.where(option[:, 0] % 2 > 0, 1.0, -1.0),
        forward,
        64_000 + 512 * (option[:, 0] - 30),
        volatility,
        years,
    )


def everything() -> Floats:
    """Values, Greeks and implied volatilities of the table."""
    table = a_table()
    found = values(*table)
    implied = implied_volatility(table[0][:, None], found, table[1], table[2][:, None], table[4][:, None])
    return np.concatenate([found, *asdict(greeks(*table)).values(), np.nan_to_num(implied)])


def digest() -> str:
    return hashlib.sha256((everything() + 0.0).astype("<f8").tobytes()).hexdigest()


def test_the_bits_are_those_that_were_written_down() -> None:
    assert digest() == DIGEST


@pytest.mark.parametrize("chunk", [1_000, 3_333, 10**7])
def test_chunks_change_no_bit(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reproducible, "CHUNK", chunk)
    assert digest() == DIGEST


def test_order_and_company_change_no_bit() -> None:
    signs, forward, strikes, volatility, years = a_table()
    whole = values(signs, forward, strikes, volatility, years)
    order = np.argsort(strikes % 4_999)
    mixed = values(
        signs[order], forward[order][:, ::-1], strikes[order], volatility[order][:, ::-1], years[order]
    )
    assert mixed[:, ::-1].tobytes() == whole[order].tobytes()
    for i in range(0, 61, 7):
        row = values(
            signs[i : i + 1], forward[i : i + 1], strikes[i : i + 1], volatility[i : i + 1], years[i : i + 1]
        )
        assert row.tobytes() == whole[i].tobytes()
        one = values(
            signs[i : i + 1],
            forward[i : i + 1, 5:6],
            strikes[i : i + 1],
            volatility[i : i + 1, 5:6],
            years[i : i + 1],
        )
        assert one.tobytes() == whole[i, 5:6].tobytes()


@pytest.mark.parametrize("kept", [0, 1])
def test_a_processor_without_wide_vectors_says_the_same(kept: int) -> None:
    """numpy chooses its loops by what the processor can do; here it is told to do without."""
    assert digest_without_wide_vectors("tests.unit.test_black", kept) == DIGEST
