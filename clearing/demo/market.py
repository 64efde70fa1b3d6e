"""What the market did in a scenario, hour by hour, and what the house could know before: scan ranges, volatility.

1. A bar's close is known one hour after its label.
2. Scan ranges are what an administrator would have set on the eve, each a 99th percentile over the twelve months
   before (EMIR RTS 153/2013 art. 24 and 25), rounded up to a hundredth of a percent: of daily moves of the price, and
   of daily moves of the modelled volatility.
3. Volatility is modelled, not observed: there are no quotes of options for these dates. What is published with a
   close is a trailing EWMA of the hourly returns before it, of closes in ticks, without the one that it makes itself:

       V ← 0.99 V + 0.01 × r² × 8,760 hours        volatility = √V a year

   Half of it is the last three days, as suits options of two to six weeks. With 0.97, half is the last day: then it
   more than doubles overnight on one day in a hundred, and no scan range of volatility (below 100 %) covers that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from math import isqrt

from clearing.model.ids import FeedId
from clearing.model.values import BP, HOUR_MS, ScanRange

BTC = FeedId("BTC")
ETH = FeedId("ETH")
UNDERLYINGS = (BTC, ETH)
EWMA_PERCENT = 99
HOURS_A_YEAR = 8_760
DAY_HOURS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One hour. ``known_ms``: when its close was known. ``volatility_bp``: modelled from the hours before it."""

    label: str
    known_ms: int
    ticks: dict[FeedId, int]
    volatility_bp: dict[FeedId, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """A scenario's hours and the scan ranges of its eve."""

    key: str
    title: str
    bars: tuple[Bar, ...]
    scan_ranges: tuple[ScanRange, ...]

    def scan_range(self, underlying: FeedId) -> ScanRange:
        """The scan range of an underlying."""
        return next(one for one in self.scan_ranges if one.underlying == underlying)

    def low(self, hours: int) -> int:
        """The number of the lowest BTC close among the first ``hours``."""
        return min(range(hours), key=lambda number: self.bars[number].ticks[BTC])

    def worst(self, underlying: FeedId, hours: int) -> int:
        """The largest fall from one close to one at most ``hours`` later, in basis points, rounded down."""
        closes = [bar.ticks[underlying] for bar in self.bars]
        return min(
            BP * (after - before) // before
            for at, before in enumerate(closes)
            for after in closes[at + 1 : at + 1 + hours]
        )


def trailing_volatility(closes: Sequence[int], opening_bp: int) -> list[int]:
    """The volatility published with each of ``closes`` but the first, in basis points a year; integers, so that it is
    the same everywhere. ``opening_bp`` is that of the second: what was known when the first was.
    """
    variance, found = opening_bp**2, [opening_bp]
    for before, after in pairwise(closes[:-1]):
        variance = next_variance(variance, before, after)
        found.append(isqrt(variance))
    return found


def next_variance(variance: int, before: int, after: int) -> int:
    """The EWMA of squared returns a year, in squared basis points, after one more hour."""
    squared = HOURS_A_YEAR * (BP * (after - before)) ** 2 // before**2
    return (EWMA_PERCENT * variance + (100 - EWMA_PERCENT) * squared) // 100


def bars_of(
    first_ms: int, closes: Mapping[FeedId, Sequence[int]], opening_bp: Mapping[FeedId, int]
) -> tuple[Bar, ...]:
    """The bars whose labels begin at ``first_ms``. ``closes`` begin one hour before."""
    volatility = {u: trailing_volatility(closes[u], opening_bp[u]) for u in UNDERLYINGS}
    return tuple(
        Bar(
            label=label(first_ms + hour * HOUR_MS),
            known_ms=first_ms + (hour + 1) * HOUR_MS,
            ticks={u: closes[u][hour + 1] for u in UNDERLYINGS},
            volatility_bp={u: volatility[u][hour] for u in UNDERLYINGS},
        )
        for hour in range(len(closes[BTC]) - 1)
    )


def label(at_ms: int) -> str:
    """Day of the month and hour, UTC."""
    return datetime.fromtimestamp(at_ms // 1_000, UTC).strftime("%dT%H")
