"""Laws of measuring many portfolios, on books and moves that nobody chose (rulebook §9.1)."""

from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearing.margin import screen
from clearing.margin.models.expected_shortfall import amounts, margin
from clearing.margin.tick import amounts_after, array_after
from clearing.model.ids import FeedId
from clearing.model.values import RiskArray
from tests.sweeps import UNDERLYINGS, array_in, book, listed, lots_of, market, parameters

pytestmark = pytest.mark.slow

PARAMETERS = parameters()
seeds = st.integers(0, 10**6)
sizes = st.sampled_from([1, 10, 500, 10**6, 10**9, 10**12, 2**60])
moves = st.dictionaries(
    st.sampled_from(UNDERLYINGS), st.integers(-5_000, 20_000) | st.integers(-10, 10), min_size=1, max_size=4
)


@lru_cache(maxsize=2)
def standing(seed: int) -> RiskArray:
    return array_in(market(seed))


@settings(deadline=None)
@given(seed=seeds, most_lots=sizes)
def test_at_once_is_as_alone(seed: int, most_lots: int) -> None:
    array, positions = standing(1), book(seed, 6, most_lots)
    alone = [margin(lots_of(positions, n, array), array, PARAMETERS).amount_minor for n in range(6)]
    assert amounts(positions, array, PARAMETERS) == alone


@settings(deadline=None)
@given(seed=seeds, most_lots=sizes, moved_bp=moves, room=st.integers(-3, 3) | st.integers(-(10**9), 10**9))
def test_the_screen_never_clears_whom_the_model_would_not(
    seed: int, most_lots: int, moved_bp: dict[FeedId, int], room: int
) -> None:
    array, positions, moved = standing(1), book(seed, 8, most_lots), market(1, moved_bp)
    after = array_after(array, moved_bp.keys(), listed(), moved, PARAMETERS)
    assert after == array_in(moved)
    before, exact = amounts(positions, array, PARAMETERS), amounts(positions, after, PARAMETERS)
    assert amounts_after(positions, before, array, after, PARAMETERS) == exact
    limits = [one + room for one in exact]
    wanted = {n: one for n, one in enumerate(exact) if one > limits[n]}
    assert screen.above(positions, before, array, after, PARAMETERS, limits) == wanted


@settings(deadline=None)
@given(seed=seeds, most_lots=sizes, moved_bp=moves)
def test_no_amount_rises_by_more_than_the_bound(
    seed: int, most_lots: int, moved_bp: dict[FeedId, int]
) -> None:
    array, positions = standing(1), book(seed, 8, most_lots)
    after = array_in(market(1, moved_bp))
    rises = screen.rises_at_most(positions, array, after, PARAMETERS)
    if rises is None:
        return
    before, exact = amounts(positions, array, PARAMETERS), amounts(positions, after, PARAMETERS)
    for one, other, rise in zip(before, exact, rises.tolist(), strict=True):
        assert other <= one + rise
