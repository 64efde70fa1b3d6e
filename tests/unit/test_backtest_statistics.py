"""Every statistic against what was published, and against a count by hand."""

import numpy as np
import pytest
from scipy.stats import binom

from clearing.margin.backtest.series import Flags
from clearing.margin.backtest.statistics import (
    Transitions,
    basel_zone,
    coverage_interval,
    independence,
    independence_ratio,
    kupiec_one_sided,
    kupiec_ratio,
    kupiec_two_sided,
    more_than_promised,
    power,
    procyclicality,
    transitions,
    worst_book,
)


def flags(text: str) -> Flags:
    return np.array([one == "x" for one in text])


@pytest.mark.parametrize(
    ("observations", "tail", "kept"),
    [
        (255, 0.01, (1, 6)),
        (510, 0.01, (2, 10)),
        (1000, 0.01, (5, 16)),
        (255, 0.05, (7, 20)),
        (1000, 0.05, (38, 64)),
    ],
)
def test_kupiecs_regions_of_1995(observations: int, tail: float, kept: tuple[int, int]) -> None:
    inside = [x for x in range(80) if kupiec_two_sided(x, observations, tail) >= 0.05]
    assert (inside[0], inside[-1]) == kept


def test_the_exact_one_sided_test_is_the_binomial_tail() -> None:
    assert more_than_promised(5, 250, 0.01) == pytest.approx(1 - binom.cdf(4, 250, 0.01))
    assert more_than_promised(0, 250, 0.01) == 1


def test_a_model_that_over_covers_fails_two_sided_and_not_one_sided() -> None:
    assert kupiec_two_sided(0, 1_000, 0.01) < 0.001
    assert kupiec_one_sided(0, 1_000, 0.01) > 0.999
    assert more_than_promised(0, 1_000, 0.01) == 1


def test_one_and_two_sided_kupiec_agree_where_there_are_too_many() -> None:
    assert 2 * kupiec_one_sided(20, 1_000, 0.01) == pytest.approx(kupiec_two_sided(20, 1_000, 0.01))


def test_kupiecs_ratio_is_zero_where_as_many_were_seen_as_promised() -> None:
    assert kupiec_ratio(10, 1_000, 0.01) == 0


def test_christoffersens_ratio_of_jorions_example() -> None:
    """Value at Risk (2007), chapter 6: 20 exceptions in 252 days, six of them after another; 9.53."""
    seen = Transitions(calm_calm=218, calm_hit=14, hit_calm=14, hit_hit=6)
    assert independence_ratio(seen) == pytest.approx(9.53, abs=0.005)


def test_transitions_are_counted_between_windows_that_follow_directly() -> None:
    hits, follows = flags("..xx.x"), np.array([False, True, True, True, True, False])
    assert transitions(hits, follows) == Transitions(calm_calm=1, calm_hit=1, hit_calm=1, hit_hit=1)


def test_independence_is_not_testable_below_three_exceptions() -> None:
    follows = np.array([False] + [True] * 99)
    assert independence(flags("xx" + "." * 98), follows) is None
    three = independence(flags("xxx" + "." * 97), follows)
    assert three is not None
    assert three < 0.001


def test_exceptions_far_apart_are_independent() -> None:
    hits = flags(("x" + "." * 99) * 5)
    found = independence(hits, np.array([False] + [True] * 499))
    assert found is not None
    assert found > 0.5


@pytest.mark.parametrize(
    ("exceptions", "zone"),
    [(0, "green"), (4, "green"), (5, "yellow"), (9, "yellow"), (10, "red"), (20, "red")],
)
def test_the_zones_are_basels_of_250_days(exceptions: int, zone: str) -> None:
    assert basel_zone(exceptions, 250, 0.01) == zone


def test_the_zones_grow_with_the_observations() -> None:
    assert basel_zone(10, 1_000, 0.01) == "green"
    assert basel_zone(20, 1_000, 0.01) == "yellow"
    assert basel_zone(30, 1_000, 0.01) == "red"


def test_power_is_what_basels_table_leaves() -> None:
    """At 5 % the exact test of 250 days rejects from six; Basel's table has 61.6 % for five or fewer at 98 %."""
    assert power(250, 0.01, 0.02) == pytest.approx(1 - 0.616, abs=0.0005)
    assert power(2_000, 0.01, 0.02) > power(500, 0.01, 0.02)


def test_the_power_against_a_model_that_keeps_its_promise_is_at_most_the_size() -> None:
    assert all(power(n, 0.01, 0.01) <= 0.05 for n in range(10, 1_500, 7))


def test_clopper_and_pearson() -> None:
    within = coverage_interval(10, 100)
    assert (within.low, within.high) == pytest.approx((0.8238, 0.9510), abs=0.0001)
    assert coverage_interval(0, 100).high == 1
    assert coverage_interval(100, 100).low == 0


def test_the_bootstrap_finds_the_worst_book_and_is_drawn_by_its_seed() -> None:
    hits = np.zeros((1_000, 3), np.bool_)
    hits[::50, 1] = True
    observed = np.ones_like(hits)
    found = worst_book(hits, observed, seed=1)
    assert found.book == 1
    assert found.coverage == pytest.approx(0.98)
    assert found.of_book.low <= found.coverage <= found.of_book.high
    assert worst_book(hits, observed, seed=1) == found
    assert worst_book(hits[::1], observed, seed=1, draws=500) != found


def test_the_bootstrap_is_wider_where_exceptions_stand_together() -> None:
    apart, together = np.zeros((1_000, 1), np.bool_), np.zeros((1_000, 1), np.bool_)
    apart[::50], together[400:420] = True, True
    observed = np.ones_like(apart)
    narrow, wide = (worst_book(hits, observed, seed=3).of_book for hits in (apart, together))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_the_bootstrap_does_not_count_what_was_not_observed() -> None:
    hits, observed = np.ones((100, 2), np.bool_), np.ones((100, 2), np.bool_)
    observed[50:, 0], hits[:50] = False, False
    found = worst_book(hits, observed, seed=1)
    assert (found.book, found.coverage) == (1, 0.5)


def test_procyclicality_by_hand() -> None:
    found = procyclicality(np.array([0.10, 0.15, 0.12, 0.12, 0.12, 0.30, 0.20]))
    assert found is not None
    assert found.peak_to_trough == pytest.approx(3)
    assert found.rise_1 == pytest.approx(1.5)
    assert found.rise_5 == pytest.approx(2.0)
    assert found.rise_20 == 0


def test_a_rise_is_not_measured_over_days_that_are_not_known() -> None:
    found = procyclicality(np.array([0.1, np.nan, 0.2, 0.2]))
    assert found is not None
    assert found.rise_1 == 0


def test_nothing_swings_where_nothing_is_known() -> None:
    assert procyclicality(np.array([np.nan, np.nan])) is None
    assert procyclicality(np.array([0.0, 0.1])) is None
