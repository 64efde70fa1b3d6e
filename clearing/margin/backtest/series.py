"""Long series of daily prices, by asset: what a backtest walks over, and what margin models learn from.

A day is a UTC day, numbered since 1970; its close is known when it ends, at 00:00 of the next. The step from one bar
to the next is a return only if the bars are of consecutive days and of one source: a step over a gap, or from one
quote to another, is none.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from clearing.margin.model import Column
from clearing.model.values import DAY_MS, PPM

Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]

NO_RETURN = np.iinfo(np.int64).min
"""Stands where there is no return."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """Daily bars of one asset, days ascending, every close above zero.

    ``low`` and ``high``: what was traded, NaN where only closes are known. ``volume_quote``: turnover in money, NaN
    where it is not known. ``breaks``: the step that leads to this bar is no return. ``is_stable``: it is meant to
    be worth one, so it is no underlying of outright books.
    """

    asset: str
    days: Column
    close: Floats
    low: Floats
    high: Floats
    volume_quote: Floats
    breaks: Flags
    is_stable: bool = False

    @property
    def returns(self) -> Floats:
        """Simple returns that end with each bar; NaN where the step is none."""
        steps = np.full(len(self.close), np.nan)
        steps[1:] = self.close[1:] / self.close[:-1] - 1
        steps[self.breaks] = np.nan
        return steps

    @property
    def returns_ppm(self) -> Column:
        """The same to the nearest part per million; :data:`NO_RETURN` where the step is none."""
        steps = self.returns
        known = ~np.isnan(steps)
        ppm = np.full(len(steps), NO_RETURN, np.int64)
        ppm[known] = np.rint(steps[known] * PPM).astype(np.int64)
        return ppm

    def between(self, first_day: int, last_day: int) -> "Series":
        """The bars of these days, both included."""
        kept = (self.days >= first_day) & (self.days <= last_day)
        breaks = self.breaks[kept]
        breaks[:1] = True
        return Series(
            asset=self.asset,
            days=self.days[kept],
            close=self.close[kept],
            low=self.low[kept],
            high=self.high[kept],
            volume_quote=self.volume_quote[kept],
            breaks=breaks,
            is_stable=self.is_stable,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something about the data that a reader should know: in which file, what, how often, and what was done."""

    file: str
    kind: str
    subject: str
    count: int
    done: str


def end_ms(day: int) -> int:
    """When the close of a day is known."""
    return (day + 1) * DAY_MS


def day_ended_by(at_ms: int) -> int:
    """The last day whose close is known at a time."""
    return at_ms // DAY_MS - 1
