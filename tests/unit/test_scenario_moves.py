"""From daily returns to scenario moves: nothing looks ahead, nothing new looks safe (rulebook §9.1)."""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest

from clearing.margin.factors import (
    DECAY,
    FILTERED_DAYS,
    HISTORY_DAYS_MIN,
    MISSING,
    MOVE_PPM_MAX,
    MOVE_PPM_MIN,
    NEW_SURCHARGE,
    STRESSED_DAYS_MAX,
    STRESSED_PERCENT,
    WARM_UP_DAYS,
    History,
    coins,
    path_of,
    states_of,
)
from clearing.margin.model import Column, States
from clearing.model.ids import FeedId
from clearing.model.values import BP, PPM

GOLD, SILVER, TIN = FeedId("GOLD"), FeedId("SILVER"), FeedId("TIN")
RANGES = {GOLD: 1_000, SILVER: 1_500, TIN: 2_000}
DAYS = 400


def returns(days: int = DAYS, seed: int = 1) -> Column:
    """Gold and silver fall and rise together; tin has moves of its own; all are wilder in the middle."""
    dice = np.random.default_rng(seed)
    common = dice.standard_t(3, days) * np.where(abs(np.arange(days) - days // 2) < 20, 3, 1)
    own = dice.standard_t(3, (days, 3))
    return np.rint((common[:, None] * [1, 1.2, 0] + own * [0.3, 0.5, 2]) * 15_000).astype(np.int64)


def states(
    moves: Column, day: int | None = None, today: dict[FeedId, int] | None = None, **ranges: int
) -> States:
    history = History((GOLD, SILVER, TIN)[: moves.shape[1]], moves)
    wanted = {FeedId(name): move for name, move in ranges.items()} or RANGES
    at = len(moves) if day is None else day
    return states_of(path_of(history), day=at, today_ppm=today or {}, ranges_bp=wanted)


def same(one: States, other: States) -> bool:
    return (
        (one.underlyings, one.filtered) == (other.underlyings, other.filtered)
        and one.moves_ppm.dtype == other.moves_ppm.dtype
        and one.moves_ppm.tobytes() == other.moves_ppm.tobytes()
    )


# ---------------------------------------------------------------------------------------------- volatility


def test_the_first_variance_is_a_mean_and_then_each_day_has_its_weight() -> None:
    moves = np.full((WARM_UP_DAYS + 1, 1), 20_000)
    moves[-1] = 100_000
    variance = path_of(History((GOLD,), moves)).variance[:, 0]
    assert np.isnan(variance[:WARM_UP_DAYS]).all()
    assert variance[WARM_UP_DAYS] == pytest.approx(0.02**2)
    assert variance[WARM_UP_DAYS + 1] == pytest.approx(DECAY * 0.02**2 + (1 - DECAY) * 0.1**2)


def test_a_day_without_a_return_leaves_the_variance_as_it_was() -> None:
    moves = returns(60)
    gap = moves.copy()
    gap[40, 0] = MISSING
    path = path_of(History((GOLD, SILVER, TIN), gap))
    assert path.variance[41, 0] == path.variance[40, 0]
    assert path.known[60].tolist() == [59, 60, 60]
    without = path_of(History((GOLD,), np.delete(moves[:, :1], 40, axis=0)))
    assert path.variance[60, 0] == without.variance[59, 0]


# ------------------------------------------------------------------------------------------- the scenarios


def test_filtered_scenarios_are_the_last_days_scaled_and_stress_the_wildest_as_they_were() -> None:
    moves = returns()
    found, variance = states(moves), path_of(History((GOLD, SILVER, TIN), moves)).variance
    assert found.underlyings == (GOLD, SILVER, TIN)
    assert found.filtered == DAYS
    assert len(found.moves_ppm) == DAYS + DAYS * STRESSED_PERCENT // 100
    day = 333
    scale = sqrt(variance[DAYS, 0] / variance[day, 0]) ** 0.75
    assert found.moves_ppm[day, 0] == pytest.approx(moves[day, 0] * scale, abs=2)
    raw = {tuple(row) for row in moves.tolist()}
    stress = [tuple(row) for row in found.moves_ppm[DAYS:].tolist()]
    assert set(stress) <= raw, "joint returns of days that were"
    assert len(set(stress)) == len(stress)


def test_no_more_days_count_than_are_wanted() -> None:
    found = states(returns(3_000))
    assert (found.filtered, len(found.moves_ppm)) == (FILTERED_DAYS, FILTERED_DAYS + STRESSED_DAYS_MAX)


def test_the_wildest_days_come_from_the_whole_history() -> None:
    moves = returns(3_000)
    moves[100:140] *= 20
    stress = {tuple(row) for row in states(moves).moves_ppm[FILTERED_DAYS:].tolist()}
    shaken = [tuple(row) for row in np.maximum(moves[110:140], MOVE_PPM_MIN).tolist()]
    assert stress.issuperset(shaken)


def test_nothing_looks_ahead() -> None:
    """What comes after a day changes none of its scenarios, be it there or not."""
    moves, day = returns(), 300
    later = moves.copy()
    later[day:] = MISSING
    wilder = moves.copy()
    wilder[day:] *= 50
    for other in (later, wilder, moves[:day]):
        assert same(states(moves, day), states(other, day))


def test_the_same_history_gives_the_same_bits_in_any_memory_order_and_with_others_beside_it() -> None:
    moves = returns()
    assert same(states(moves), states(np.asfortranarray(moves)))
    assert same(states(moves), states(moves.copy()))
    all_of_them, one = states(moves), states(moves, TIN=2_000)
    assert one.moves_ppm[:, 0].tobytes() == all_of_them.of(TIN).tobytes()


# ---------------------------------------------------------------------------------------------- this day


@pytest.mark.parametrize("today", [-300_000, -10_000, 0, 10_000, 900_000])
@pytest.mark.parametrize("new", [0, DAYS - 100, DAYS])
@pytest.mark.parametrize("moved", [GOLD, SILVER, TIN])
def test_the_day_in_progress_never_makes_a_move_smaller(today: int, new: int, moved: FeedId) -> None:
    """Nor if it is the proxy of a new listing that moves, and the listing has not yet."""
    moves = returns()
    moves[:new, 2] = MISSING
    calm, now = states(moves), states(moves, today={moved: today})
    assert (np.abs(now.moves_ppm) >= np.abs(calm.moves_ppm)).all()
    assert calm.moves_ppm[DAYS:, :2].tobytes() == now.moves_ppm[DAYS:, :2].tobytes(), "stress is as it was"


def test_a_large_move_today_raises_the_filtered_moves_at_once() -> None:
    moves = returns()
    calm, now = states(moves), states(moves, today={GOLD: -400_000})
    assert np.abs(now.of(GOLD)).sum() > 1.5 * np.abs(calm.of(GOLD)).sum()
    assert now.of(SILVER).tobytes() == calm.of(SILVER).tobytes()


# -------------------------------------------------------------------------------------------- new listings


def test_without_a_history_every_underlying_moves_by_its_range_and_none_with_another() -> None:
    moves = returns(HISTORY_DAYS_MIN)
    found = states(moves[: HISTORY_DAYS_MIN - 1])
    assert (found.filtered, len(found.moves_ppm)) == (FILTERED_DAYS, FILTERED_DAYS + STRESSED_DAYS_MAX)
    for underlying, move_bp in RANGES.items():
        assert set(found.of(underlying).tolist()) == {move_bp * 100, -move_bp * 100}
    signs = np.sign(found.moves_ppm)
    assert abs(np.corrcoef(signs.T) - np.eye(3)).max() < 0.1
    assert states(moves).filtered == HISTORY_DAYS_MIN, "one day more is a history"


def test_a_listing_beside_it_does_not_change_how_an_unseen_underlying_moves() -> None:
    nothing = np.zeros((0, 1), np.int64)
    alone, beside = states(nothing, TIN=2_000), states(nothing, GOLD=500, SILVER=500, TIN=2_000)
    assert alone.of(TIN).tobytes() == beside.of(TIN).tobytes()


def test_an_unknown_underlying_moves_with_the_longest_history_but_further() -> None:
    """Nothing is known of its volatility: a third of its range, against gold's own, and a quarter more."""
    moves = returns()[:, :2]
    moves[:50, 1] = MISSING
    found = states(moves, GOLD=1_000, TIN=9_000)
    gold, tin = found.of(GOLD), found.of(TIN)
    last = path_of(History((GOLD, SILVER), moves)).variance[DAYS, 0]
    ratio = 0.3 / sqrt(last) * (1 + NEW_SURCHARGE)
    has = np.arange(len(gold)) >= WARM_UP_DAYS
    has[DAYS:] = np.abs(tin[DAYS:]) != 900_000
    assert tin[has] == pytest.approx(np.maximum(gold[has] * ratio, MOVE_PPM_MIN), abs=ratio + 1)


def test_an_underlying_that_is_calmer_than_its_proxy_moves_as_its_proxy_does() -> None:
    moves = returns()
    moves[:, 2] //= 100
    moves[: DAYS - 100, 2] = MISSING
    found = states(moves)
    proxied = slice(WARM_UP_DAYS, DAYS - 100)
    surcharge = 1 + NEW_SURCHARGE * (HISTORY_DAYS_MIN - 100) / HISTORY_DAYS_MIN
    assert found.of(TIN)[proxied] == pytest.approx(found.of(GOLD)[proxied] * surcharge, abs=3)


@pytest.mark.parametrize(("own_days", "part"), [(0, 1.0), (125, 0.5), (249, 0.004), (250, 0.0), (399, 0.0)])
def test_the_surcharge_of_a_new_listing_falls_with_each_of_its_days(own_days: int, part: float) -> None:
    """All have the same moves, so that only the surcharge tells them apart."""
    moves = np.repeat(returns()[:, :1], 2, axis=1)
    moves[: DAYS - own_days, 1] = MISSING
    history = History((GOLD, SILVER), moves)
    variance = path_of(history).variance
    found = states_of(path_of(history), day=DAYS, today_ppm={}, ranges_bp={GOLD: 1, SILVER: 1})
    own = (
        slice(DAYS - own_days + WARM_UP_DAYS, DAYS) if own_days > WARM_UP_DAYS else slice(WARM_UP_DAYS, DAYS)
    )
    gold, silver = found.of(GOLD)[own], found.of(SILVER)[own]
    if own_days:
        scale = (variance[DAYS, 1] / variance[own, 1]) ** 0.375
        assert silver == pytest.approx(moves[own, 1] * scale * (1 + NEW_SURCHARGE * part), abs=2)
    else:
        assert silver == pytest.approx(gold * (1 + NEW_SURCHARGE), abs=2)


def test_where_even_the_proxy_has_no_return_the_range_stands_in() -> None:
    moves = returns(HISTORY_DAYS_MIN + 30)
    moves[:, 1:] = MISSING
    found = states(moves)
    assert set(found.of(TIN)[:WARM_UP_DAYS].tolist()) == {RANGES[TIN] * 100, -RANGES[TIN] * 100}
    assert set(np.abs(found.of(SILVER)[:WARM_UP_DAYS]).tolist()) == {RANGES[SILVER] * 100}


def test_if_nobody_has_a_history_of_its_own_all_move_by_their_ranges() -> None:
    moves = np.full((HISTORY_DAYS_MIN, 3), MISSING)
    assert set(np.abs(states(moves).moves_ppm).ravel().tolist()) == {move * 100 for move in RANGES.values()}
    nobody = History((), np.zeros((HISTORY_DAYS_MIN, 0), np.int64))
    found = states_of(path_of(nobody), day=HISTORY_DAYS_MIN, today_ppm={}, ranges_bp=RANGES)
    assert set(np.abs(found.moves_ppm).ravel().tolist()) == {move * 100 for move in RANGES.values()}


# --------------------------------------------------------------------------------------------------- edges


def test_a_price_that_never_moved_has_scenarios_in_which_it_does_not() -> None:
    moves = returns()
    moves[:, 0] = 0
    found = states(moves)
    assert not found.of(GOLD)[WARM_UP_DAYS:DAYS].any()
    assert found.of(SILVER)[WARM_UP_DAYS:DAYS].any()


def test_a_price_that_never_moved_is_a_proxy_that_does_not_move_either_and_divides_nothing() -> None:
    moves = np.zeros((DAYS, 1), np.int64)
    found = states(moves, GOLD=100, TIN=5_000)
    assert set(found.of(TIN).tolist()) <= {0, 500_000, -500_000}


def test_no_move_reaches_the_whole_price() -> None:
    moves = returns()
    moves[200] = [-1_000_000, -999_999, 10**9]
    moves[-1] = [-950_000, 10**7, -990_001]
    found = states(moves, today={GOLD: -980_000, TIN: 10**8})
    assert found.moves_ppm.min() == MOVE_PPM_MIN > -PPM
    assert found.moves_ppm.max() <= MOVE_PPM_MAX
    huge = states(np.zeros((0, 1), np.int64), GOLD=10 * BP)
    assert huge.moves_ppm.min() == MOVE_PPM_MIN


def test_a_move_is_rounded_away_from_zero() -> None:
    moves = returns()
    found = states(moves)
    variance = path_of(History((GOLD, SILVER, TIN), moves)).variance
    scale = np.sqrt(np.sqrt(np.sqrt(variance[DAYS, 0] / variance[WARM_UP_DAYS:DAYS, 0]))) ** 3
    exact = moves[WARM_UP_DAYS:, 0] * scale
    beyond = np.abs(found.of(GOLD)[WARM_UP_DAYS:DAYS]) - np.abs(exact)
    assert ((beyond > -1e-6) & (beyond < 1 + 1e-6)).all()


def test_nobody_who_is_wanted_has_scenarios_of_no_columns() -> None:
    moves = returns()
    path = path_of(History((GOLD, SILVER, TIN), moves))
    for day in (0, DAYS):
        found = states_of(path, day=day, today_ppm={}, ranges_bp={})
        assert found.moves_ppm.shape == (len(states(moves, day).moves_ppm), 0)


def test_the_moves_of_an_underlying_without_a_range_are_a_bug() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        replace(states(returns()), underlyings=(GOLD, SILVER)).of(TIN)


def test_a_coin_is_fair_and_falls_the_same_way_every_time() -> None:
    tossed = coins("a name", 1_000)
    assert set(tossed.tolist()) == {0, 1}
    assert 450 < tossed.sum() < 550
    assert coins("a name", 7).tolist() == tossed[:7].tolist() == [0, 0, 1, 1, 0, 0, 0]
    assert coins("another name", 1_000).tolist() != tossed.tolist()
    assert len(coins("a name", 0)) == 0
