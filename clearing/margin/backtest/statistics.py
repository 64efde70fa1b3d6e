"""Tests of a margin promise, each by itself (rulebook §9, "Validation").

An *exception* is a window whose loss is larger than the requirement. With the promise 99 % its probability is at
most ``tail`` = 1 %. A prudent model has fewer, so the question is one-sided: are there more than promised?

Kupiec (1995): proportion of failures. Christoffersen (1998): do exceptions follow each other? Basel Committee (1996):
zones by the cumulative probability of what was seen, green below 95 %, red from 99.99 %, here for any number of
observations. Clopper and Pearson (1934): the exact interval. Künsch (1989): blocks of days, moved, keep what hangs
together. Nothing here is an amount of money.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy
from scipy.stats import beta, binom, chi2, norm

from clearing.margin.backtest.series import Flags, Floats
from clearing.margin.model import Column

TESTABLE = 3
"""With fewer exceptions, whether they follow each other is not testable."""
SIZE = 0.05
YELLOW, RED = 0.95, 0.9999


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A coverage and how far it may be off."""

    low: float
    high: float


def more_than_promised(exceptions: int, observations: int, tail: float) -> float:
    """The probability of so many exceptions or more if the promise holds: the exact one-sided test of Kupiec's."""
    return float(binom.sf(exceptions - 1, observations, tail))


def kupiec_ratio(exceptions: int, observations: int, tail: float) -> float:
    """Kupiec's likelihood ratio; chi-square with one degree of freedom if the promise is met exactly."""
    seen = exceptions / observations
    survived = observations - exceptions
    promised = xlogy(exceptions, tail) + xlogy(survived, 1 - tail)
    found = xlogy(exceptions, seen) + xlogy(survived, 1 - seen)
    return max(0.0, float(2 * (found - promised)))


def kupiec_two_sided(exceptions: int, observations: int, tail: float) -> float:
    """Whether there are as many as promised, neither more nor fewer: for an unfloored quantile only."""
    return float(chi2.sf(kupiec_ratio(exceptions, observations, tail), 1))


def kupiec_one_sided(exceptions: int, observations: int, tail: float) -> float:
    """The same question as :func:`more_than_promised` by the signed root of the ratio, which is an approximation."""
    root = kupiec_ratio(exceptions, observations, tail) ** 0.5
    return float(norm.sf(root if exceptions >= tail * observations else -root))


@dataclass(frozen=True, slots=True, kw_only=True)
class Transitions:
    """How often a window with or without an exception followed one with or without."""

    calm_calm: int
    calm_hit: int
    hit_calm: int
    hit_hit: int


def transitions(hits: Flags, follows: Flags) -> Transitions:
    """Counts over windows that follow directly; ``follows[i]``: window ``i`` begins where the one before ended."""
    before, after = hits[:-1][follows[1:]], hits[1:][follows[1:]]
    return Transitions(
        calm_calm=int((~before & ~after).sum()),
        calm_hit=int((~before & after).sum()),
        hit_calm=int((before & ~after).sum()),
        hit_hit=int((before & after).sum()),
    )


def independence_ratio(seen: Transitions) -> float:
    """Christoffersen's likelihood ratio of independence against a first-order chain."""
    calm, hit = seen.calm_calm + seen.calm_hit, seen.hit_calm + seen.hit_hit
    again = (seen.calm_hit + seen.hit_hit) / max(1, calm + hit)
    after_calm, after_hit = seen.calm_hit / max(1, calm), seen.hit_hit / max(1, hit)
    one = xlogy(seen.calm_calm + seen.hit_calm, 1 - again) + xlogy(seen.calm_hit + seen.hit_hit, again)
    two = (
        xlogy(seen.calm_calm, 1 - after_calm)
        + xlogy(seen.calm_hit, after_calm)
        + xlogy(seen.hit_calm, 1 - after_hit)
        + xlogy(seen.hit_hit, after_hit)
    )
    return max(0.0, float(2 * (two - one)))


def independence(hits: Flags, follows: Flags) -> float | None:
    """Christoffersen's test of independence by itself; None: too few exceptions to test."""
    if int(hits.sum()) < TESTABLE:
        return None
    return float(chi2.sf(independence_ratio(transitions(hits, follows)), 1))


def basel_zone(exceptions: int, observations: int, tail: float) -> str:
    """Green, yellow or red, as the Basel traffic light for any number of observations."""
    reached = float(binom.cdf(exceptions, observations, tail))
    return "green" if reached < YELLOW else "yellow" if reached < RED else "red"


def power(observations: int, tail: float, actual_tail: float, size: float = SIZE) -> float:
    """The probability that the exact one-sided test finds out a model whose exceptions are ``actual_tail``."""
    least = int(binom.isf(size, observations, tail)) + 1
    return float(binom.sf(least - 1, observations, actual_tail))


def coverage_interval(exceptions: int, observations: int, confidence: float = 0.95) -> Interval:
    """Clopper-Pearson: an interval of the true coverage, if exceptions come independently."""
    rest = (1 - confidence) / 2
    covered = observations - exceptions
    low = float(beta.ppf(rest, covered, exceptions + 1)) if covered else 0.0
    high = float(beta.isf(rest, covered + 1, exceptions)) if exceptions else 1.0
    return Interval(low=low, high=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstBook:
    """The book with the lowest coverage, and how far that may be off: of this book, and of whichever is worst."""

    book: int
    coverage: float
    of_book: Interval
    of_worst: Interval


def worst_book(
    hits: Flags, observed: Flags, *, seed: int, block: int = 20, draws: int = 2_000, confidence: float = 0.95
) -> WorstBook:
    """Moving-block bootstrap over time of all books together. Shapes (windows, books); ``observed``: counts."""
    windows = len(hits)
    exceptions, counts = _in_blocks(hits & observed, block), _in_blocks(observed, block)
    chance = np.random.default_rng(seed)
    starts = chance.integers(0, len(counts), size=(draws, -(-windows // block)))
    drawn = np.zeros((draws, hits.shape[1]))
    for n, one in enumerate(starts):
        drawn[n] = 1 - exceptions[one].sum(axis=0) / np.maximum(1, counts[one].sum(axis=0))
    coverages = 1 - (hits & observed).sum(axis=0) / np.maximum(1, observed.sum(axis=0))
    worst = int(np.argmin(coverages))
    rest = (1 - confidence) / 2

    def spread(values: Floats) -> Interval:
        low, high = np.quantile(values, (rest, 1 - rest))
        return Interval(low=float(low), high=float(high))

    return WorstBook(
        book=worst,
        coverage=float(coverages[worst]),
        of_book=spread(drawn[:, worst]),
        of_worst=spread(drawn.min(axis=1)),
    )


def _in_blocks(flags: Flags, block: int) -> Column:
    """How many are set in each block of consecutive windows, one block beginning at each window."""
    sums = np.concatenate([np.zeros((1, flags.shape[1]), np.int64), flags.cumsum(axis=0, dtype=np.int64)])
    length = min(block, len(flags))
    counted: Column = sums[length:] - sums[:-length]
    return counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Procyclicality:
    """How much a requirement swings: its peak by its trough, and its largest rise in 1, 5 and 20 days (0.2: by a
    fifth).
    """

    peak_to_trough: float
    rise_1: float
    rise_5: float
    rise_20: float


def procyclicality(requirement: Floats) -> Procyclicality | None:
    """Of a requirement day by day as a share of the gross notional; None without one. NaN: not known that day."""
    known = requirement[~np.isnan(requirement)]
    if not len(known) or float(known.min()) <= 0:
        return None
    return Procyclicality(
        peak_to_trough=float(known.max() / known.min()),
        rise_1=_largest_rise(requirement, 1),
        rise_5=_largest_rise(requirement, 5),
        rise_20=_largest_rise(requirement, 20),
    )


def _largest_rise(requirement: Floats, days: int) -> float:
    if len(requirement) <= days:
        return 0.0
    rises = requirement[days:] / requirement[:-days] - 1
    known = rises[~np.isnan(rises)]
    return max(0.0, float(known.max())) if len(known) else 0.0
