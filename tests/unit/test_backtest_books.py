"""Linear books: what they hold, what they gain, and that they know nothing of the future."""

from dataclasses import replace

import numpy as np
import pytest

from clearing.margin.backtest.books import (
    GROSS_MINOR,
    Linear,
    Scene,
    hedged,
    outright,
    random_books,
    ticks_per_unit,
)
from clearing.margin.backtest.series import Floats, Series, end_ms

FIRST_DAY = 20_000


def series(asset: str, closes: list[float], *, low: float = 0.9, high: float = 1.1) -> Series:
    close = np.array(closes, np.float64)
    breaks = np.zeros(len(close), np.bool_)
    breaks[:1] = True
    return Series(
        asset=asset,
        days=np.arange(FIRST_DAY, FIRST_DAY + len(close)),
        close=close,
        low=close * low,
        high=close * high,
        volume_quote=close,
        breaks=breaks,
    )


def walk(seed: int, days: int = 200) -> list[float]:
    steps = np.random.default_rng(seed).normal(0, 0.04, days)
    return [float(one) for one in 50 * np.exp(np.cumsum(steps))]


def scene(family: Linear, day: int) -> Scene:
    return family.scene(end_ms(FIRST_DAY + day))


def share(scene: Scene, gained: Floats) -> list[float]:
    return [float(one) for one in gained / np.where(scene.gross_minor, scene.gross_minor, 1)]


def test_an_outright_book_gains_what_the_price_does() -> None:
    one = series("ORE", [100, 100, 110, 121, 60.5])
    at = scene(Linear([one], outright([one]), least_days=1), 1)
    assert share(at, at.end_minor[1]) == pytest.approx([0.1, -0.1])
    assert share(at, at.end_minor[2]) == pytest.approx([0.21, -0.21])


def test_the_gain_is_exact_in_smallest_units() -> None:
    one = series("ORE", [100, 100, 110.07])
    at = scene(Linear([one], outright([one]), least_days=1), 1)
    lots, scale = at.lots[0, 0], ticks_per_unit(one)
    assert at.end_minor[1][0] == int(lots) * (round(110.07 * scale) - 100 * scale)


def test_at_the_worst_traded_price_a_long_book_is_at_the_low_and_a_short_one_at_the_high() -> None:
    one = series("ORE", [100, 100, 110, 100], low=0.5, high=1.2)
    at = scene(Linear([one], outright([one]), least_days=1), 1)
    assert share(at, at.low_minor[1]) == pytest.approx([110 * 0.5 / 100 - 1, 1 - 110 * 1.2 / 100])
    assert share(at, at.low_minor[2]) == pytest.approx([100 * 0.5 / 100 - 1, 1 - 110 * 1.2 / 100])


def test_a_low_that_is_not_known_is_not_guessed() -> None:
    one = series("ORE", [100, 100, 110, 100])
    unknown = replace(one, low=one.low * np.nan, high=one.high * np.nan)
    at = scene(Linear([unknown], outright([unknown]), least_days=1), 1)
    assert np.isnan(at.low_minor[1]).all()
    assert not np.isnan(at.end_minor[1]).any()


def test_every_book_has_the_same_gross_notional() -> None:
    every = [series(f"S{n}", walk(n)) for n in range(5)]
    family = Linear(every, outright(every) + hedged(every, ["S0", "S1"]), least_days=30)
    at = scene(family, 150)
    assert at.gross_minor / GROSS_MINOR == pytest.approx(1, abs=1e-4)


def test_a_dollar_hedge_is_worth_nothing_and_a_beta_hedge_has_no_beta() -> None:
    market = series("M", walk(1))
    noise = np.random.default_rng(5).normal(0, 1e-6, 200)
    twice = series("T", [float(one) for one in 10 * np.cumprod(1 + 2 * market.returns[1:] + noise[1:])])
    market = replace(
        market, days=market.days[1:], close=market.close[1:], low=market.low[1:], high=market.high[1:]
    )
    market = replace(market, volume_quote=market.volume_quote[1:], breaks=twice.breaks)
    twice = replace(twice, days=market.days)
    family = Linear([market, twice], hedged([market, twice], ["M"]), least_days=30)
    at = scene(family, 150)
    by_name = dict(zip((book.name for book in family.books), at.lots, strict=True))
    prices = np.array([at.prices[one.feed] for one in at.instruments])
    dollar, beta = by_name["T - M dollar"] * prices, by_name["T - M beta"] * prices
    assert dollar.sum() / GROSS_MINOR == pytest.approx(0, abs=1e-4)
    assert -beta[0] / beta[1] == pytest.approx(2, abs=1e-3)


def test_each_hedge_is_there_once_and_both_ways_round() -> None:
    every = [series(asset, walk(n)) for n, asset in enumerate("ABC")]
    names = [recipe.book.name for recipe in hedged(every, ["A", "B"])]
    assert len(names) == len(set(names)) == 12
    assert {"B - A dollar", "A - B dollar", "C - A beta", "B - C beta"} <= set(names)


def test_random_books_are_long_and_short_and_drawn_by_their_seed() -> None:
    every = [series(f"S{n}", walk(n)) for n in range(10)]
    one, same, other = (
        scene(Linear(every, random_books(every, count=20, seed=seed), least_days=1), 100).lots
        for seed in (1, 1, 2)
    )
    assert (one == same).all()
    assert (one != other).any()
    assert (one > 0).any(axis=1).all()
    assert (one < 0).any(axis=1).all()


def test_an_asset_is_held_once_it_is_known_long_enough() -> None:
    old, young = series("OLD", walk(1)), series("YOUNG", walk(2, 100))
    young = replace(young, days=young.days + 100)
    family = Linear([old, young], outright([old, young]), least_days=30)
    assert [len(scene(family, day).instruments) for day in (29, 30, 129, 130)] == [0, 1, 1, 2]


def test_nothing_is_held_over_a_step_that_is_no_return() -> None:
    one = series("ORE", walk(3))
    broken = one.breaks.copy()
    broken[100] = True
    family = Linear([replace(one, breaks=broken)], outright([one]), least_days=1)
    assert [bool(scene(family, day).lots.any()) for day in (98, 99, 100)] == [True, False, True]
    assert np.isnan(scene(family, 98).end_minor[2]).all()


def test_the_last_close_begins_no_window() -> None:
    one = series("ORE", walk(3, 50))
    family = Linear([one], outright([one]), least_days=1)
    assert max(family.times) == end_ms(FIRST_DAY + 48)
    assert np.isnan(scene(family, 48).end_minor[2]).all()


def test_what_a_book_holds_is_the_same_whatever_comes_later() -> None:
    every = [series(f"S{n}", walk(n)) for n in range(6)]
    changed = []
    for one in every:
        close = one.close.copy()
        close[121:] *= 37.5
        changed.append(replace(one, close=close))
    for day in (60, 100, 119):
        before, after = (
            scene(
                Linear(
                    each,
                    outright(each) + hedged(each, ["S0", "S1"]) + random_books(each, count=9, seed=1),
                    least_days=9,
                ),
                day,
            )
            for each in (every, changed)
        )
        assert (before.lots == after.lots).all()
        assert before.prices == after.prices
