"""Books of options and of the basis on made-up surfaces, and their walk."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from clearing.margin.backtest.basis_books import Basis
from clearing.margin.backtest.bridged import array_of, joined, long_history, positions, walk_bridged
from clearing.margin.backtest.option_books import LOTS_PER_COIN, RANDOM_BOOKS, Options
from clearing.margin.backtest.pooled import by_portfolio, by_size, pooled
from clearing.margin.backtest.series import NO_RETURN, Series
from clearing.margin.backtest.surface import TOLERANCE_MS, daily, snapshots
from clearing.margin.backtest.volatility_fit import by_halves, fit, moves
from clearing.margin.factors import MISSING
from clearing.margin.pricing import delta
from clearing.margin.table import MODELS
from clearing.model.values import DAY_MS, HOUR_MS, Right
from tests.surfaces import BTC, START_MS, history, options, parameters, quote, surface

LOOKING = MODELS["expected_shortfall"]


def test_a_smile_goes_through_the_three_volatilities_that_were_quoted() -> None:
    one = quote(volatility=0.5, skew=0.04)
    assert one.volatility(one.forward) == pytest.approx(0.5)
    assert one.volatility(one.forward * np.exp(one.wing(-1))) == pytest.approx(one.put_25)
    assert one.volatility(one.forward * np.exp(one.wing(1))) == pytest.approx(one.call_25)


def test_beyond_one_and_a_half_times_the_wings_a_smile_is_flat() -> None:
    one = quote()
    far = one.forward * np.exp(1.5 * one.wing(1))
    assert one.volatility(far) == pytest.approx(one.volatility(far * 2))
    assert one.volatility(far) != pytest.approx(one.volatility(far * 0.95))


def test_the_wing_is_where_a_call_has_a_delta_of_a_quarter() -> None:
    one = quote()
    strike = one.forward * np.exp(one.wing(1))
    assert delta(Right.CALL, round(one.forward * 1e6), round(strike * 1e6), one.call_25, one.years) == (
        pytest.approx(0.25, abs=1e-6)
    )


def test_quotes_that_are_none_are_left_out() -> None:
    good = quote()
    bad = [quote(volatility=20.0), quote(index=-1.0), quote(expires_in=0.0), quote(volatility=0.001)]
    assert snapshots([good, *bad]) == {good.at_ms: {"BTC": [good]}}


def test_steps_run_from_the_snapshot_nearest_to_each_midnight() -> None:
    hours = [0, 10, 21.5, 27, 45.5, 51, 69.5]
    times = [START_MS + int(hour * HOUR_MS) for hour in hours]
    # nearest to the midnights are 0 h, 21.5 h, 45.5 h and 69.5 h; from 0 h to 21.5 h is too short for a day
    assert daily(times) == [
        (START_MS + int(one * HOUR_MS), START_MS + int(other * HOUR_MS))
        for one, other in ((21.5, 45.5), (45.5, 69.5))
    ]


@pytest.mark.parametrize(("late_ms", "steps"), [(TOLERANCE_MS, 1), (TOLERANCE_MS + 1, 0)])
def test_a_step_is_a_day_within_the_tolerance(late_ms: int, steps: int) -> None:
    assert len(daily([START_MS, START_MS + DAY_MS + late_ms])) == steps


def test_what_one_book_gains_the_opposite_one_loses() -> None:
    scene = options([50_000, 52_000]).scene(START_MS)
    end = scene.end_minor[1]
    assert np.array_equal(end[0:76:2], -end[1:76:2])
    assert np.array_equal(scene.lots[0:76:2], -scene.lots[1:76:2])
    assert (end[0:76:2] != 0).all()


def test_a_hedged_book_has_no_delta_left() -> None:
    made = options([50_000, 50_000])
    names = [book.name for book in made.books]
    scene = made.scene(START_MS)
    array = array_of(made, scene, LOOKING, parameters())
    deltas = {row.instrument: row for row in array.instruments}
    hedged = names.index("BTC call 30 d hedged long")
    left = 0
    for one, lots in zip(scene.instruments, scene.lots[hedged].tolist(), strict=True):
        row = deltas[one.id]
        left += lots * (row.notional_minor if row.delta_minor is None else row.delta_minor)
    assert abs(left) <= scene.prices[scene.instruments[0].feed] * 10 * 2  # a lot of the future
    assert scene.lots[hedged].any()


def test_on_a_surface_that_stands_still_long_options_lose_time_and_no_more_than_required() -> None:
    made = options([50_000] * 4)
    walked = walk_bridged(made, [LOOKING], parameters())
    names = [book.name for book in made.books]
    straddle = names.index("BTC straddle 7 d long")
    assert (walked.end[1][:, straddle] < 0).all()
    assert (walked.requirement["expected_shortfall"][:, straddle] > -walked.end[1][:, straddle]).all()
    assert (walked.end[1][:, names.index("BTC straddle 7 d short")] > 0).all()


def test_a_crash_and_a_spike_of_volatility_break_short_straddles_and_are_counted() -> None:
    made = options([50_000, 50_000, 20_000], [0.5, 0.5, 2.0])
    walked = walk_bridged(made, [LOOKING], parameters())
    found = {one.name: one for one in by_portfolio(walked, "expected_shortfall")}
    assert found["straddle short"].exceptions == 4
    assert found["straddle short"].worst_ms == START_MS + DAY_MS
    assert found["straddle short"].worst_exceedance > 1
    assert found["straddle long"].exceptions == 0
    assert found["all"].observations == sum(one.observations for name, one in found.items() if name != "all")


def test_no_scene_knows_what_comes_after_it() -> None:
    calm, crash = [50_000, 50_500, 50_200], [50_000, 50_500, 9_000]
    first, second = (walk_bridged(options(prices), [LOOKING], parameters()) for prices in (calm, crash))
    asked = [one.requirement["expected_shortfall"] for one in (first, second)]
    assert np.array_equal(asked[0], asked[1])
    assert not np.array_equal(first.end[1], second.end[1])


def test_a_step_is_history_once_it_has_ended() -> None:
    made = options([50_000, 60_000, 60_000])
    assert made.day(START_MS) == 600
    assert made.day(START_MS + DAY_MS - 1) == 600
    assert made.day(START_MS + DAY_MS) == 601
    assert made.path.history.moves_ppm[600:, 0].tolist() == [200_000, 0]


def test_flat_marks_have_one_volatility_an_expiry() -> None:
    flat, smile = (options([50_000, 50_000], flat=flat).scene(START_MS) for flat in (True, False))
    feeds = {one.option.volatility_feed for one in flat.instruments if one.option}
    assert len(feeds) == 4
    assert {flat.prices[feed] for feed in feeds} == {5_000}
    assert len({smile.prices[one.option.volatility_feed] for one in smile.instruments if one.option}) > 4


def test_random_books_are_the_same_each_time_and_differ_from_each_other() -> None:
    one, other = (options([50_000, 50_000]).scene(START_MS) for _ in range(2))
    assert np.array_equal(one.lots, other.lots)
    drawn = one.lots[-RANDOM_BOOKS:]
    assert len(np.unique(drawn, axis=0)) == RANDOM_BOOKS
    assert np.abs(drawn).max() >= 2 * LOTS_PER_COIN


def test_a_book_whose_expiries_are_not_quoted_at_the_end_is_not_there() -> None:
    made = surface([50_000, 50_000])
    last = max(made)
    made[last] = {"BTC": [one for one in made[last]["BTC"] if one.days > 90]}
    family = Options(made, daily(list(made)), underlyings=(BTC,), earlier=history())
    walked = walk_bridged(family, [LOOKING], parameters())
    names = [book.name for book in family.books]
    calendar = names.index("BTC calendar 30/90 d long")
    assert np.isnan(walked.requirement["expected_shortfall"][0, calendar])
    assert np.isnan(walked.end[1][0, calendar])


def test_books_of_the_basis_gain_exactly_what_the_basis_moved_by() -> None:
    made = snapshots(
        [
            quote(day, index=50_000.0, expires_in=days - day, basis=basis if days > 50 else 0.0)
            for day, basis in ((0, 0.0), (1, 0.01))
            for days in (8, 95)
        ]
    )
    path = options([50_000, 50_000]).path
    family = Basis(made, daily(list(made)), path=path, earlier_days=600)
    scene = family.scene(START_MS)
    names = [book.name for book in family.books]
    gained = dict(zip(names, scene.end_minor[1].tolist(), strict=True))
    assert gained["BTC 90 d - index"] == 10 * 500 * 10**6
    assert gained["BTC index - 90 d"] == -10 * 500 * 10**6
    assert gained["BTC 7 d - index"] == 0
    asked = walk_bridged(family, [LOOKING], parameters()).requirement["expected_shortfall"][0]
    assert asked[names.index("BTC index - 90 d")] > 0


def test_two_tenors_that_mean_the_same_expiry_are_no_book() -> None:
    made = snapshots([quote(day, expires_in=30 - day) for day in (0, 1)])
    family = Basis(made, daily(list(made)), path=options([1.0, 1.0]).path, earlier_days=600)
    names = [book.name for book in family.books]
    lots = family.scene(START_MS).lots
    assert not lots[names.index("BTC 7 d - 30 d")].any()
    assert lots[names.index("BTC index - 30 d")].any()


def test_positions_leave_out_what_is_not_held() -> None:
    made = options([50_000, 50_000])
    scene = made.scene(START_MS)
    held = positions(scene, array_of(made, scene, LOOKING, parameters()))
    assert held.portfolios == len(made.books)
    assert len(held.lots) == int((scene.lots != 0).sum())
    assert (held.lots != 0).all()


def test_a_long_history_spans_all_series_and_is_joined_without_a_gap() -> None:
    def series(asset: str, first: int, prices: Sequence[float]) -> Series:
        closes = np.array(prices, np.float64)
        none = np.full(len(closes), np.nan)
        breaks = np.zeros(len(closes), np.bool_)
        breaks[0] = True
        return Series(
            asset=asset,
            days=np.arange(first, first + len(closes)),
            close=closes,
            low=none,
            high=none,
            volume_quote=none,
            breaks=breaks,
        )

    names, moves_ppm = long_history([series("A", 10, [1, 2, 1]), series("B", 11, [1, 1.5])])
    assert names == ("A", "B")
    assert moves_ppm.tolist() == [[MISSING, MISSING], [10**6, MISSING], [-500_000, 500_000]]
    assert NO_RETURN == MISSING
    assert len(joined(moves_ppm, moves_ppm)) == 6


def test_the_fit_finds_the_relation_that_the_moves_were_made_with() -> None:
    prices = 50_000 * np.exp(np.cumsum(np.random.default_rng(2).normal(0, 0.03, 60)))
    made = surface(list(prices))
    raw = moves(made, daily(list(made)))
    truth = 0.01 - 0.7 * raw.returns + 0.2 * np.abs(raw.returns)
    noise = np.random.default_rng(3).normal(0, 0.03, len(truth))
    found = fit(replace(raw, scaled=truth + noise), replace(raw, scaled=truth))
    assert found.slope == pytest.approx(-0.7, abs=0.15)
    assert found.curve == pytest.approx(0.2, abs=0.3)
    assert found.residual == pytest.approx(0.03, rel=0.15)
    assert found.judged_explained > 0.9


def test_halves_are_judged_by_each_other() -> None:
    prices = 50_000 * np.exp(np.cumsum(np.random.default_rng(2).normal(0, 0.03, 41)))
    made = surface(list(prices), list(np.linspace(0.4, 0.8, 41)))
    whole, first, second = by_halves(moves(made, daily(list(made))))
    assert whole.days == 40
    assert first.days == second.days == 20
    assert first.moves == second.judged_moves


def test_pooled_results_are_none_where_nothing_is_known_and_split_by_size() -> None:
    walked = walk_bridged(options([50_000, 51_000, 50_000]), [LOOKING], parameters())
    assert pooled(walked, "expected_shortfall", "none", np.zeros(walked.gross.shape, np.bool_)) is None
    sizes = by_size(walked, "expected_shortfall", (0, 5e11, 1e30))
    assert sum(one.observations for one in sizes) == int((walked.gross > 0).sum())


def test_without_exceptions_the_interval_is_the_rule_of_three_over_days() -> None:
    walked = walk_bridged(options([50_000.0] * 11), [LOOKING], parameters())
    found = by_portfolio(walked, "expected_shortfall")[-1]
    assert found.exceptions == 0
    assert found.coverage_low == pytest.approx(1 - 3 / 10)
    assert found.coverage_high == 1
