"""The tests of a margin promise in decimal arithmetic, against those of a library in floating point."""

import itertools
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.margin.backtest import exact, statistics

COUNTS = [
    (0, 500),
    (4, 500),
    (5, 500),
    (12, 500),
    (30, 1_500),
    (0, 1),
    (1, 1),
    (130, 10_000),
    (9_900, 1_000_000),
]


@pytest.mark.parametrize(("exceptions", "observations"), COUNTS)
def test_the_exact_test_of_kupiec_is_the_librarys_to_four_decimals(
    exceptions: int, observations: int
) -> None:
    found = exact.more_than_promised(exceptions, observations)
    assert float(found) == pytest.approx(
        statistics.more_than_promised(exceptions, observations, 0.01), abs=5.1e-5
    )
    assert found.as_tuple().exponent == -4
    assert exact.basel_zone(exceptions, observations) == statistics.basel_zone(exceptions, observations, 0.01)


@pytest.mark.parametrize("observations", [1, 250, 500, 1_000, 5_000])
def test_the_power_is_the_librarys(observations: int) -> None:
    found = float(exact.power(observations))
    assert found == pytest.approx(statistics.power(observations, 0.01, 0.02), abs=5.1e-5)


@given(st.integers(0, 40), st.integers(1, 800))
def test_more_exceptions_are_never_more_probable_and_none_is_certain(
    exceptions: int, observations: int
) -> None:
    some = exact.more_than_promised(exceptions, observations)
    assert Decimal(0) <= exact.more_than_promised(exceptions + 1, observations) <= some <= Decimal(1)
    assert exact.more_than_promised(0, observations) == 1


def test_the_zones_begin_where_the_cumulative_probability_says() -> None:
    zones = [exact.basel_zone(exceptions, 250) for exceptions in range(11)]
    assert zones == ["green"] * 5 + ["yellow"] * 5 + ["red"], "as Basel has it for 250 days"


def transitions(hits: list[bool]) -> exact.Transitions:
    seen = exact.Transitions()
    for before, after in itertools.pairwise(hits):
        seen.add(before, after)
    return seen


@given(st.lists(st.booleans(), min_size=2, max_size=60).filter(lambda hits: sum(hits) >= exact.TESTABLE))
def test_independence_is_the_librarys(hits: list[bool]) -> None:
    follows = np.array([False] + [True] * (len(hits) - 1))
    expected = statistics.independence(np.array(hits), follows)
    assert expected is not None
    assert float(exact.independence(transitions(hits))) == pytest.approx(expected, abs=5.1e-5)


def test_exceptions_that_follow_each_other_are_seen() -> None:
    together = [True] * 4 + [False] * 60
    apart = ([True] + [False] * 15) * 4
    assert exact.independence(transitions(together)) < Decimal("0.01")
    assert exact.independence(transitions(apart)) > Decimal("0.1")


def test_what_is_rounded_is_rounded_half_to_even_and_a_frequency_of_one_has_no_logarithm() -> None:
    assert exact.more_than_promised(1, 2) == Decimal("0.0199")
    assert exact.independence(exact.Transitions(hit_hit=3)) == 1
