"""From daily returns to scenario moves: what scales them, what floors them, and which days are scenarios."""

import numpy as np
import pytest

from clearing.margin.factors import (
    FILTERED_DAYS,
    HISTORY_DAYS_MIN,
    MISSING,
    WARM_UP_DAYS,
    History,
    path_of,
    states_of,
)
from clearing.margin.model import Column, States
from clearing.model.ids import FeedId

A, B = FeedId("A"), FeedId("B")
RANGE_BP = 5_000


def returns(days: int, *, sigma: float = 0.02, seed: int = 1) -> Column:
    drawn = np.random.default_rng(seed).normal(0, sigma, (days, 2))
    found: Column = np.rint(np.clip(drawn, -0.2, 0.2) * 1e6).astype(np.int64)
    return found


def states(moves_ppm: Column, day: int | None = None) -> States:
    path = path_of(History((A, B), moves_ppm))
    at = len(moves_ppm) if day is None else day
    return states_of(path, day=at, today_ppm={}, ranges_bp={A: RANGE_BP, B: RANGE_BP})


def widest(found: States) -> int:
    return int(np.abs(found.of(A)).max())


def test_no_scenario_knows_what_comes_later() -> None:
    before, later = returns(400), returns(600)
    later[:400] = before
    later[400:] *= 7
    assert (states(later, 400).moves_ppm == states(before).moves_ppm).all()


@pytest.mark.parametrize("days", [HISTORY_DAYS_MIN + WARM_UP_DAYS, 600, FILTERED_DAYS + 300])
def test_a_day_before_any_volatility_was_known_is_no_scenario(days: int) -> None:
    """It has no return of the underlying's own, and to take its range instead would ask for far too much."""
    found = states(returns(days))
    assert found.filtered == min(FILTERED_DAYS, days - WARM_UP_DAYS)
    assert widest(found) < RANGE_BP * 100 / 2


def test_a_day_without_any_return_is_no_scenario() -> None:
    moves = returns(400)
    moves[300:310] = MISSING
    found = states(moves)
    assert found.filtered == 400 - WARM_UP_DAYS - 10
    assert widest(found) < RANGE_BP * 100 / 2


@pytest.mark.parametrize(("days", "is_range"), [(-1, True), (0, False)])
def test_until_there_are_enough_days_an_underlying_moves_by_its_range(days: int, is_range: bool) -> None:
    found = states(returns(HISTORY_DAYS_MIN + WARM_UP_DAYS + days))
    assert (np.abs(found.of(A)) == RANGE_BP * 100).all() == is_range


def test_moves_grow_with_the_root_of_what_volatility_does() -> None:
    moves = returns(800)
    wild = moves.copy()
    wild[500:] *= 4
    calm, now = states(moves), states(wild)
    first = slice(0, 400)
    assert np.median(np.abs(now.of(A)[first]) / np.maximum(1, np.abs(calm.of(A)[first]))) == pytest.approx(
        2, rel=0.1
    )


def test_no_calm_lets_moves_fall_below_the_floor() -> None:
    """Volatility counts as 70 % of its mean so far at least: after a calm of any depth moves are the same."""
    moves = returns(1_500)
    calm, deeper = moves.copy(), moves.copy()
    calm[700:] //= 20
    deeper[700:] //= 100
    first = slice(0, 200)
    then = np.abs(states(calm).of(A)[first]).astype(float)
    assert np.median(np.abs(states(deeper).of(A)[first]) / np.maximum(1, then)) == pytest.approx(1, abs=0.02)
    assert np.median(then / np.maximum(1, np.abs(moves[500:700, 0]))) > 0.5


def test_the_days_of_stress_are_the_most_volatile_and_as_they_were() -> None:
    moves = returns(800)
    moves[600:640] *= 5
    found = states(moves)
    stressed = found.of(A)[found.filtered :]
    assert set(moves[630:640, 0].tolist()) <= set(stressed.tolist())
