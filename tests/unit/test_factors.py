"""From daily returns to scenario moves (rulebook §9.1): nothing looks ahead, nothing new looks safe, and no calm lasts
long enough to make moves small.
"""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest

from clearing.margin.factors import (
    DECAY,
    FILTERED_DAYS,
    FLOOR_PERCENT,
    HISTORY_DAYS_MIN,
    MISSING,
    MOVE_PPM_MAX,
    MOVE_PPM_MIN,
    NEW_SURCHARGE,
    STRESSED_DAYS_MAX,
    STRESSED_PERCENT,
    WARM_UP_DAYS,
    Floats,
    History,
    Path,
    coins,
    path_of,
    states_of,
    volatilities_ppm,
)
from clearing.margin.model import Column, States
from clearing.model.ids import FeedId
from clearing.model.values import BP, PPM

GOLD, SILVER, TIN = FeedId("GOLD"), FeedId("SILVER"), FeedId("TIN")
RANGES = {GOLD: 1_000, SILVER: 1_500, TIN: 2_000}
DAYS = 400
USABLE = DAYS - WARM_UP_DAYS
"""So many of them have a volatility before them, and so are scenarios."""


def returns(days: int = DAYS, seed: int = 1) -> Column:
    """Gold and silver fall and rise together; tin has moves of its own; all are wilder in the middle."""
    dice = np.random.default_rng(seed)
    common = dice.standard_t(3, days) * np.where(abs(np.arange(days) - days // 2) < 20, 3, 1)
    own = dice.standard_t(3, (days, 3))
    return np.rint((common[:, None] * [1, 1.2, 0] + own * [0.3, 0.5, 2]) * 15_000).astype(np.int64)


def path_to(moves: Column) -> Path:
    return path_of(History((GOLD, SILVER, TIN)[: moves.shape[1]], moves))


def states(
    moves: Column, day: int | None = None, today: dict[FeedId, int] | None = None, **ranges: int
) -> States:
    wanted = {FeedId(name): move for name, move in ranges.items()} or RANGES
    at = len(moves) if day is None else day
    return states_of(path_to(moves), day=at, today_ppm=today or {}, ranges_bp=wanted)


def variance_now(path: Path, column: int) -> float:
    """The last variance, but no less than the floor that its own history sets once it is long enough."""
    known = path.variance[1:, column]
    known = known[~np.isnan(known)]
    floor = (FLOOR_PERCENT / 100) ** 2 * float(known.mean()) if len(known) >= HISTORY_DAYS_MIN else 0.0
    return max(float(known[-1]), floor)


def scales(path: Path, column: int, days: slice) -> Floats:
    """The root of the volatility now over the volatility before each of ``days``."""
    found: Floats = np.sqrt(np.sqrt(variance_now(path, column) / path.variance[days, column]))
    return found


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
    variance = path_to(moves).variance[:, 0]
    assert np.isnan(variance[:WARM_UP_DAYS]).all()
    assert variance[WARM_UP_DAYS] == pytest.approx(0.02**2)
    assert variance[WARM_UP_DAYS + 1] == pytest.approx(DECAY * 0.02**2 + (1 - DECAY) * 0.1**2)


def test_a_day_without_a_return_leaves_the_variance_as_it_was() -> None:
    moves = returns(60)
    gap = moves.copy()
    gap[40, 0] = MISSING
    path = path_to(gap)
    assert path.variance[41, 0] == path.variance[40, 0]
    assert path.known[60].tolist() == [59, 60, 60]
    without = path_to(np.delete(moves[:, :1], 40, axis=0))
    assert path.variance[60, 0] == without.variance[59, 0]


# ------------------------------------------------------------------------------------------- the scenarios


def test_filtered_scenarios_are_the_last_days_scaled_and_stress_the_wildest_as_they_were() -> None:
    moves = returns()
    found, path = states(moves), path_to(moves)
    assert found.underlyings == (GOLD, SILVER, TIN)
    assert found.filtered == USABLE
    assert len(found.moves_ppm) == USABLE + USABLE * STRESSED_PERCENT // 100
    days = slice(WARM_UP_DAYS, DAYS)
    for column in range(3):
        scaled = moves[days, column] * scales(path, column, days)
        assert found.moves_ppm[:USABLE, column] == pytest.approx(scaled, abs=1)
    raw = {tuple(row) for row in moves[days].tolist()}
    stress = [tuple(row) for row in found.moves_ppm[USABLE:].tolist()]
    assert set(stress) <= raw, "joint returns of days that were"
    assert len(set(stress)) == len(stress)


@pytest.mark.parametrize(
    "days", [HISTORY_DAYS_MIN + WARM_UP_DAYS, 600, FILTERED_DAYS + WARM_UP_DAYS, FILTERED_DAYS + 300]
)
def test_a_day_before_any_volatility_was_known_is_no_scenario(days: int) -> None:
    """It has no return of the underlying's own, and to take its range instead would ask for far too much."""
    found = states(returns(days), GOLD=50_000)
    assert found.filtered == min(FILTERED_DAYS, days - WARM_UP_DAYS)
    assert np.abs(found.of(GOLD)).max() < 50_000 * 100 / 2


def test_a_day_without_any_return_is_no_scenario() -> None:
    moves = returns()
    moves[300:310] = MISSING
    found = states(moves, GOLD=50_000)
    assert found.filtered == USABLE - 10
    assert np.abs(found.of(GOLD)).max() < 50_000 * 100 / 2


def test_moves_grow_with_the_root_of_what_volatility_does() -> None:
    moves = returns(800)
    wild = moves.copy()
    wild[500:] *= 4
    first = slice(0, 300)
    grown = np.abs(states(wild).of(GOLD)[first]) / np.maximum(1, np.abs(states(moves).of(GOLD)[first]))
    assert np.median(grown) == pytest.approx(2, rel=0.1)


def test_no_calm_lets_moves_fall_below_the_floor() -> None:
    """However deep the calm, volatility counts as the floor's share of its mean so far."""
    moves = returns(1_500)
    calm, deeper = moves.copy(), moves.copy()
    calm[700:] //= 20
    deeper[700:] //= 100
    before = slice(1_500 - FILTERED_DAYS, 700)
    for one in (calm, deeper):
        path = path_to(one)
        mean = path.variance[WARM_UP_DAYS:, 0].mean()
        floored = np.sqrt(FLOOR_PERCENT / 100) * np.sqrt(np.sqrt(mean / path.variance[before, 0]))
        found = states(one).of(GOLD)[: before.stop - before.start]
        assert found == pytest.approx(moves[before, 0] * floored, abs=1)


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
    assert calm.moves_ppm[USABLE:, :2].tobytes() == now.moves_ppm[USABLE:, :2].tobytes(), (
        "stress is as it was"
    )


def test_a_large_move_today_raises_the_filtered_moves_at_once() -> None:
    moves = returns()
    calm, now = states(moves), states(moves, today={GOLD: -400_000})
    held = variance_now(path_to(moves), 0)
    raised = DECAY * held + (1 - DECAY) * 0.4**2
    assert raised > 2 * held
    grown = sqrt(sqrt(raised / held))
    assert now.of(GOLD)[:USABLE] == pytest.approx(calm.of(GOLD)[:USABLE] * grown, abs=grown + 1)
    assert now.of(SILVER).tobytes() == calm.of(SILVER).tobytes()


# -------------------------------------------------------------------------------------------- new listings


def test_without_a_history_every_underlying_moves_by_its_range_and_none_with_another() -> None:
    moves = returns(WARM_UP_DAYS + HISTORY_DAYS_MIN)
    found = states(moves[:-1])
    assert (found.filtered, len(found.moves_ppm)) == (FILTERED_DAYS, FILTERED_DAYS + STRESSED_DAYS_MAX)
    for underlying, move_bp in RANGES.items():
        assert set(found.of(underlying).tolist()) == {move_bp * 100, -move_bp * 100}
    signs = np.sign(found.moves_ppm)
    assert abs(np.corrcoef(signs.T) - np.eye(3)).max() < 0.1
    assert states(moves).filtered == HISTORY_DAYS_MIN, "one day more is a history"
    moves[100] = MISSING
    assert same(states(moves), found), "but not if nobody has a return on it"


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
    ratio = 0.3 / sqrt(path_to(moves).variance[DAYS, 0]) * (1 + NEW_SURCHARGE)
    assert ratio > 2
    assert tin == pytest.approx(np.maximum(gold * ratio, MOVE_PPM_MIN), abs=ratio + 1)


def test_an_underlying_that_is_calmer_than_its_proxy_moves_as_its_proxy_does() -> None:
    moves = returns()
    moves[:, 2] //= 100
    moves[: DAYS - 100, 2] = MISSING
    found = states(moves)
    proxied = slice(0, USABLE - 100)
    surcharge = 1 + NEW_SURCHARGE * (HISTORY_DAYS_MIN - 100) / HISTORY_DAYS_MIN
    assert found.of(TIN)[proxied] == pytest.approx(found.of(GOLD)[proxied] * surcharge, abs=3)


@pytest.mark.parametrize(
    ("own_days", "part"),
    [
        (0, 1.0),
        (HISTORY_DAYS_MIN // 2, 0.5),
        (HISTORY_DAYS_MIN - 1, 1 / HISTORY_DAYS_MIN),
        (HISTORY_DAYS_MIN, 0.0),
        (DAYS - 1, 0.0),
    ],
)
def test_the_surcharge_of_a_new_listing_falls_with_each_of_its_days(own_days: int, part: float) -> None:
    """Both have the same moves and no more range than a proxy needs, so that only the surcharge adds to them."""
    moves = np.repeat(returns()[:, :1], 2, axis=1)
    moves[: DAYS - own_days, 1] = MISSING
    found, path = states(moves, GOLD=1, SILVER=1), path_to(moves)
    silver, expected = found.of(SILVER), found.of(GOLD).astype(float)
    if own_days:
        own = slice(DAYS - own_days + WARM_UP_DAYS, DAYS)
        silver = silver[own.start - WARM_UP_DAYS : USABLE]
        expected = moves[own, 1] * scales(path, 1, own)
    assert silver == pytest.approx(expected * (1 + NEW_SURCHARGE * part), abs=2)


def test_where_even_the_proxy_has_no_return_the_range_stands_in() -> None:
    """Only silver moved on those days, and it has too few of its own to stand in for others."""
    moves = returns()
    moves[:200, 1] = MISSING
    moves[300:310, 0] = MISSING
    moves[:, 2] = MISSING
    found = states(moves)
    gap = slice(300 - WARM_UP_DAYS, 310 - WARM_UP_DAYS)
    assert found.filtered == USABLE
    for underlying in (GOLD, TIN):
        ranged = np.abs(found.of(underlying)) == RANGES[underlying] * 100
        assert ranged[gap].all()
        assert not ranged[: gap.start].any()
    assert len(set(np.abs(found.of(SILVER)[gap]).tolist())) == 10


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
    assert not found.of(GOLD).any()
    assert found.of(SILVER).any()


@pytest.mark.parametrize(("range_bp", "least_ppm"), [(1_500, 5_000), (1_501, 5_004), (1, 4)])
def test_the_volatility_of_a_price_that_never_moved_is_a_tenth_of_what_its_range_says(
    range_bp: int, least_ppm: int
) -> None:
    """The range is three volatilities; rounded up."""
    moves = returns()
    moves[:, 0] = 0
    ranges = {GOLD: range_bp, SILVER: 1, FeedId("NEW"): range_bp}
    found = volatilities_ppm(path_to(moves), day=len(moves), today_ppm={}, ranges_bp=ranges)
    assert found[GOLD] == least_ppm
    assert found[FeedId("NEW")] == -(-range_bp * PPM // (3 * BP)), (
        "of one without a history a third of its range"
    )
    as_is = volatilities_ppm(path_to(moves), day=len(moves), today_ppm={}, ranges_bp={SILVER: 1_500})
    assert found[SILVER] == as_is[SILVER] > 5_000, "one that moves is not held up by its range"


def test_a_price_that_never_moved_stands_in_for_no_other() -> None:
    """An unknown underlying would look as if it could not move either; its range stands in."""
    moves = returns()
    moves[:, 0] = 0
    alone = states(moves[:, :1], GOLD=100, TIN=5_000)
    assert alone.filtered == USABLE
    assert not alone.of(GOLD).any()
    assert (np.abs(alone.of(TIN)) == 500_000).all()
    moves[:50, 1] = MISSING
    tin = np.abs(states(moves[:, :2], TIN=5_000).of(TIN)[:USABLE])
    assert (tin[:50] == 500_000).all()
    assert (tin[50:] != 500_000).all(), "silver does, once it has a volatility"


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
    moves, days = returns(), slice(WARM_UP_DAYS, DAYS)
    exact = moves[days, 0] * scales(path_to(moves), 0, days)
    beyond = np.abs(states(moves).of(GOLD)[:USABLE]) - np.abs(exact)
    assert ((beyond > -1e-6) & (beyond < 1 + 1e-6)).all()


def test_nobody_who_is_wanted_has_scenarios_of_no_columns() -> None:
    moves = returns()
    path = path_to(moves)
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
