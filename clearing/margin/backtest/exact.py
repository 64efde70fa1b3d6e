"""Tests of a margin promise in decimal arithmetic: the same digits on every machine, so that a report can state them.

They are those of ``statistics``, which has them in floating point from a library: Kupiec's question one-sided and
exact, the Basel zone, the power, and Christoffersen's independence. Sums and products are rounded to ``DIGITS``
digits, logarithms correctly; the normal distribution is that of ``reproducible``. What is given out is rounded to four
decimals, half to even.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from functools import lru_cache
from itertools import islice

import numpy as np

from clearing.margin.reproducible import ndtr

DIGITS = 50
DECIMALS = Decimal("0.0001")
SIZE = Decimal("0.05")
YELLOW, RED = Decimal("0.95"), Decimal("0.9999")
TAIL, SUSPECTED_TAIL = Decimal("0.01"), Decimal("0.02")
"""The promise is 99 %; the power of a test is its chance to find out a model that covers 98 % only."""
TESTED = 500
"""With fewer windows no promise is tested: the power would be next to nothing."""
TESTABLE = 3
"""With fewer exceptions, whether they follow each other is not testable."""
_ARITHMETIC = Context(prec=DIGITS, rounding=ROUND_HALF_EVEN)


def more_than_promised(exceptions: int, observations: int, tail: Decimal = TAIL) -> Decimal:
    """The probability of so many exceptions or more if the promise holds."""
    return _rounded(_at_least(exceptions, observations, tail))


def basel_zone(exceptions: int, observations: int, tail: Decimal = TAIL) -> str:
    """Green, yellow or red by the cumulative probability of what was seen."""
    with localcontext(_ARITHMETIC):
        reached = 1 - _at_least(exceptions + 1, observations, tail)
    return "green" if reached < YELLOW else "yellow" if reached < RED else "red"


@lru_cache(maxsize=1024)
def power(observations: int, tail: Decimal = TAIL, actual_tail: Decimal = SUSPECTED_TAIL) -> Decimal:
    """The probability that the test finds out a model whose exceptions are ``actual_tail``."""
    return _rounded(_at_least(_least_rejected(observations, tail), observations, actual_tail))


@dataclass(slots=True)
class Transitions:
    """How often a window with or without an exception followed one with or without."""

    calm_calm: int = 0
    calm_hit: int = 0
    hit_calm: int = 0
    hit_hit: int = 0

    def add(self, before: bool, after: bool) -> None:
        """One window that followed another directly."""
        name = f"{'hit' if before else 'calm'}_{'hit' if after else 'calm'}"
        setattr(self, name, getattr(self, name) + 1)


def independence(seen: Transitions) -> Decimal:
    """Christoffersen's likelihood ratio of independence against a first-order chain, as a probability."""
    calm, hit = seen.calm_calm + seen.calm_hit, seen.hit_calm + seen.hit_hit
    after_any = seen.calm_hit + seen.hit_hit
    with localcontext(_ARITHMETIC):
        one = _likelihood(after_any, calm + hit)
        two = _likelihood(seen.calm_hit, calm) + _likelihood(seen.hit_hit, hit)
        root = max(Decimal(0), 2 * (two - one)).sqrt()
    return _rounded(Decimal(2 * float(ndtr(np.array([-float(root)]))[0])))


def _likelihood(hits: int, count: int) -> Decimal:
    """The logarithm of the likelihood of so many hits under their own frequency."""
    return sum(
        (part * (Decimal(part) / count).ln() for part in (hits, count - hits) if part), start=Decimal(0)
    )


def _least_rejected(observations: int, tail: Decimal) -> int:
    """The least number of exceptions that is too many."""
    with localcontext(_ARITHMETIC):
        left = Decimal(1)
        for exceptions, probability in enumerate(_probabilities(observations, tail)):
            if left <= SIZE:
                return exceptions
            left -= probability
    return observations + 1


def _at_least(exceptions: int, observations: int, tail: Decimal) -> Decimal:
    with localcontext(_ARITHMETIC):
        left = 1 - sum(islice(_probabilities(observations, tail), exceptions), start=Decimal(0))
    return max(Decimal(0), left)


def _probabilities(observations: int, tail: Decimal) -> Iterator[Decimal]:
    """Of no exception, of one, and so on to all. Read inside of ``_ARITHMETIC``."""
    probability, odds = _power(1 - tail, observations), tail / (1 - tail)
    for exceptions in range(observations + 1):
        yield probability
        probability = probability * (observations - exceptions) / (exceptions + 1) * odds


def _power(base: Decimal, exponent: int) -> Decimal:
    """By squaring: what the library's own power rounds to differs between its versions in C and in Python."""
    found = Decimal(1)
    while exponent:
        if exponent % 2:
            found *= base
        base, exponent = base * base, exponent // 2
    return found


def _rounded(probability: Decimal) -> Decimal:
    return probability.quantize(DECIMALS, ROUND_HALF_EVEN)
