"""Volatility surfaces as they were quoted: at the money and at 25 delta, by expiry, some times a day.

A snapshot of one currency has a forward and three volatilities for each expiry. Between and beyond the three the
volatility of a strike is a parabola in the logarithm of strike over forward, flat beyond one and a half times the
25-delta strikes, where nothing was quoted. It is a way to read what was quoted, not a model of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from clearing.margin.pricing import YEAR_MS
from clearing.model.values import DAY_MS

QUARTER_DEVIATIONS = 0.6744897501960817
"""N(x) = ¾: where the delta of a call is a quarter, d₁ is minus this."""
BEYOND = 1.5
VOLATILITY_LEAST, VOLATILITY_MOST = 0.01, 10.0
TOLERANCE_MS = 90 * 60_000
"""A step is a day if it is no more than this longer or shorter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """One expiry in a snapshot. Volatilities are shares a year, prices in money."""

    at_ms: int
    currency: str
    expires_ms: int
    forward: float
    index: float
    at_the_money: float
    put_25: float
    call_25: float

    @property
    def years(self) -> float:
        """Until it expires."""
        return (self.expires_ms - self.at_ms) / YEAR_MS

    @property
    def days(self) -> float:
        """Until it expires."""
        return (self.expires_ms - self.at_ms) / DAY_MS

    def wing(self, side: int) -> float:
        """ln(strike / forward) of the 25-delta call (``side`` 1) or put (−1)."""
        volatility = self.call_25 if side > 0 else self.put_25
        deviation = volatility * np.sqrt(self.years)
        return float(side * QUARTER_DEVIATIONS * deviation + deviation * deviation / 2)

    def volatility(self, strike: float) -> float:
        """Of an option with this strike."""
        low, high = self.wing(-1), self.wing(1)
        at = min(max(np.log(strike / self.forward), BEYOND * low), BEYOND * high)
        to_low, to_high = (self.put_25 - self.at_the_money) / low, (self.call_25 - self.at_the_money) / high
        bend = (to_high - to_low) / (high - low)
        found = self.at_the_money + at * (to_low + bend * (at - low))
        return float(min(max(found, VOLATILITY_LEAST), VOLATILITY_MOST))


Snapshot = Mapping[str, Sequence[Quote]]
"""By currency the quotes of one time, the nearest expiry first."""


def snapshots(quotes: Iterable[Quote]) -> dict[int, Snapshot]:
    """By time, oldest first. A quote without a forward or a volatility in its range is not one."""
    found: dict[int, dict[str, list[Quote]]] = {}
    for quote in sorted(quotes, key=lambda one: (one.at_ms, one.currency, one.expires_ms)):
        volatilities = (quote.at_the_money, quote.put_25, quote.call_25)
        is_sane = all(VOLATILITY_LEAST <= one <= VOLATILITY_MOST for one in volatilities)
        if is_sane and quote.forward > 0 and quote.index > 0 and quote.expires_ms > quote.at_ms:
            found.setdefault(quote.at_ms, {}).setdefault(quote.currency, []).append(quote)
    return {**found}


def daily(times: Sequence[int], after_midnight_ms: int = 0) -> list[tuple[int, int]]:
    """Steps of a day that do not overlap, as pairs of times: from the snapshot nearest to each midnight of UTC, or so
    much later, to that of the next. A day that would be longer or shorter than the tolerance allows is none.
    """
    nearest: dict[int, int] = {}
    for at_ms in sorted(times):
        midnight = (at_ms - after_midnight_ms + DAY_MS // 2) // DAY_MS * DAY_MS + after_midnight_ms
        best = nearest.setdefault(midnight, at_ms)
        if abs(at_ms - midnight) < abs(best - midnight):
            nearest[midnight] = at_ms
    return [
        (one, other) for one, other in pairwise(nearest.values()) if abs(other - one - DAY_MS) <= TOLERANCE_MS
    ]
