"""What a walk found, in numbers that stand by themselves: by book, by portfolio, on the days of crash, and against the
promises.

Shares are fractions (0.01 is one percent): requirements and shortfalls of the gross notional, exceedances of the
requirement. None: not known, or not testable. A book that was seen fewer than ``TESTED`` times has its coverage with
an interval and counts for no promise about single books.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clearing.margin.backtest import statistics
from clearing.margin.backtest.series import Flags, Floats
from clearing.margin.backtest.walk import Walked, over_days
from clearing.margin.model import Column
from clearing.model.values import DAY_MS

PROMISE = 0.99
TAIL = 0.01
TESTED = 500
SUSPECTED_TAIL = 0.02
"""The power of a test is its chance to find out a model that covers 98 % only."""
REJECTED_BELOW = statistics.SIZE
UNFLOORED = frozenset[str]()
"""Models that ask for the quantile of the promise itself, with no floor: Kupiec's test is two-sided for them alone.
None of the house's does; a prudent requirement fails that test by covering more.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookResult:
    """One book under one model, over the windows of one horizon and phase (``phase``: the remainder of the number of
    the window's first day by the horizon). ``low_…``: at the worst traded price instead of the end.
    """

    model: str
    portfolio: str
    book: str
    assets: tuple[str, ...]
    horizon_days: int
    phase: int
    observations: int
    exceptions: int
    coverage: float
    coverage_low: float
    coverage_high: float
    kupiec_more_p: float
    kupiec_two_sided_p: float | None
    independence_p: float | None
    basel_zone: str
    power: float
    mean_requirement: float
    mean_shortfall: float | None
    largest_shortfall: float | None
    worst_exceedance: float
    worst_day: str
    low_observations: int
    low_exceptions: int
    low_coverage: float | None
    low_worst_exceedance: float | None
    peak_to_trough: float | None = None
    rise_1_day: float | None = None
    rise_5_days: float | None = None
    rise_20_days: float | None = None

    @property
    def is_tested(self) -> bool:
        """Whether there are enough windows to hold the book to a promise."""
        return self.observations >= TESTED


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioResult:
    """All books of a kind under one model and horizon. ``worst_…`` and the bootstrap are of tested books, all phases
    together; ``kupiec_rejected`` and independence count books by phase. ``mean_requirement`` is the mean of all
    windows, and not of the books' means: a book that was seen longer counts for more.
    """

    model: str
    portfolio: str
    horizon_days: int
    books: int
    observations: int
    exceptions: int
    coverage: float
    mean_requirement: float
    worst_exceedance: float
    tested_books: int
    worst_book: str | None
    worst_coverage: float | None
    worst_coverage_low: float | None
    worst_coverage_high: float | None
    any_worst_low: float | None
    any_worst_high: float | None
    kupiec_tested: int
    kupiec_rejected: tuple[str, ...]
    independence_testable: int
    independence_kept: int
    low_observations: int
    low_coverage: float | None
    median_peak_to_trough: float | None
    median_rise_1_day: float | None
    median_rise_5_days: float | None
    median_rise_20_days: float | None


def date_of(at_ms: int) -> str:
    """The UTC date of a time: 2020-03-12."""
    return str(np.datetime64(at_ms // DAY_MS, "D"))


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """The windows of one book, model and horizon. Shapes (windows,); ``loss`` at the end and ``low`` at the worst
    traded price are positive where money was lost.
    """

    at_ms: Column
    requirement: Floats
    loss: Floats
    low: Floats
    gross: Floats

    @property
    def hits(self) -> Flags:
        """Where the loss is larger than the requirement."""
        exceeded: Flags = self.loss > self.requirement
        return exceeded

    def only(self, kept: Flags) -> "Windows":
        """Some of them."""
        return Windows(
            self.at_ms[kept], self.requirement[kept], self.loss[kept], self.low[kept], self.gross[kept]
        )


def windows(walked: Walked, model: str, book: int, horizon: int) -> Windows:
    """Every window of which requirement and outcome are known."""
    requirement = walked.requirement[model][:, book]
    loss = -walked.end[horizon][:, book]
    known = ~np.isnan(requirement) & ~np.isnan(loss)
    asked = np.array([over_days(int(amount), horizon) for amount in requirement[known]], np.float64)
    return Windows(
        walked.times[known], asked, loss[known], -walked.low[horizon][known, book], walked.gross[known, book]
    )


def book_results(walked: Walked, model: str, horizon: int) -> list[BookResult]:
    """Of every book that has windows, phase by phase."""
    found = []
    for number, book in enumerate(walked.books):
        seen = windows(walked, model, number, horizon)
        for phase in range(horizon):
            own = seen.only(seen.at_ms // DAY_MS % horizon == phase)
            if len(own.loss):
                one = BookResult(
                    model=model,
                    portfolio=book.portfolio,
                    book=book.name,
                    assets=book.assets,
                    horizon_days=horizon,
                    phase=phase,
                    **_of_windows(own, model, horizon),
                )
                found.append(with_swings(one, own) if horizon == 1 else one)
    return found


def _of_windows(seen: Windows, model: str, horizon: int) -> dict[str, Any]:
    hits, count = seen.hits, len(seen.loss)
    exceptions = int(hits.sum())
    follows = np.diff(seen.at_ms, prepend=-1) == horizon * DAY_MS
    within = statistics.coverage_interval(exceptions, count)
    shortfall = ((seen.loss - seen.requirement) / seen.gross)[hits]
    exceedance = seen.loss / seen.requirement
    worst = int(np.argmax(exceedance))
    return {
        "observations": count,
        "exceptions": exceptions,
        "coverage": 1 - exceptions / count,
        "coverage_low": within.low,
        "coverage_high": within.high,
        "kupiec_more_p": statistics.more_than_promised(exceptions, count, TAIL),
        "kupiec_two_sided_p": statistics.kupiec_two_sided(exceptions, count, TAIL)
        if model in UNFLOORED
        else None,
        "independence_p": statistics.independence(hits, follows),
        "basel_zone": statistics.basel_zone(exceptions, count, TAIL),
        "power": statistics.power(count, TAIL, SUSPECTED_TAIL),
        "mean_requirement": float((seen.requirement / seen.gross).mean()),
        "mean_shortfall": float(shortfall.mean()) if exceptions else None,
        "largest_shortfall": float(shortfall.max()) if exceptions else None,
        "worst_exceedance": float(exceedance[worst]),
        "worst_day": date_of(int(seen.at_ms[worst])),
        **_on_the_way(seen),
    }


def _on_the_way(seen: Windows) -> dict[str, Any]:
    known = seen.only(~np.isnan(seen.low))
    if not len(known.low):
        return {
            "low_observations": 0,
            "low_exceptions": 0,
            "low_coverage": None,
            "low_worst_exceedance": None,
        }
    exceptions = int((known.low > known.requirement).sum())
    return {
        "low_observations": len(known.low),
        "low_exceptions": exceptions,
        "low_coverage": 1 - exceptions / len(known.low),
        "low_worst_exceedance": float((known.low / known.requirement).max()),
    }


SETTLED_AFTER = 250
"""Swings of a requirement are measured from a book's 250th window on: until then an underlying is new, and what falls
with its age is no cycle.
"""


def with_swings(result: BookResult, seen: Windows) -> BookResult:
    """With the procyclicality of a book's requirement of one day."""
    settled = seen.only(np.arange(len(seen.loss)) >= SETTLED_AFTER)
    if len(settled.loss) < SETTLED_AFTER:
        return result
    days = settled.at_ms // DAY_MS
    by_day = np.full(int(days[-1] - days[0]) + 1, np.nan)
    by_day[days - days[0]] = settled.requirement / settled.gross
    swings = statistics.procyclicality(by_day)
    if swings is None:
        return result
    return replace(
        result,
        peak_to_trough=swings.peak_to_trough,
        rise_1_day=swings.rise_1,
        rise_5_days=swings.rise_5,
        rise_20_days=swings.rise_20,
    )


def portfolio_results(
    walked: Walked, results: Sequence[BookResult], model: str, horizon: int, seed: int
) -> list[PortfolioResult]:
    """Of each kind of books among those of a family."""
    own = [one for one in results if one.model == model and one.horizon_days == horizon]
    kinds = sorted({one.portfolio for one in own})
    return [
        _of_portfolio(walked, [one for one in own if one.portfolio == kind], horizon, seed) for kind in kinds
    ]


def _of_portfolio(walked: Walked, own: Sequence[BookResult], horizon: int, seed: int) -> PortfolioResult:
    observations, exceptions = (
        sum(getattr(one, name) for one in own) for name in ("observations", "exceptions")
    )
    seen_low, missed_low = (
        sum(getattr(one, name) for one in own) for name in ("low_observations", "low_exceptions")
    )
    tested = [one for one in own if one.is_tested]
    testable = [one.independence_p for one in tested if one.independence_p is not None]
    return PortfolioResult(
        model=own[0].model,
        portfolio=own[0].portfolio,
        horizon_days=horizon,
        books=len({one.book for one in own}),
        observations=observations,
        exceptions=exceptions,
        coverage=1 - exceptions / observations,
        mean_requirement=sum(one.mean_requirement * one.observations for one in own) / observations,
        worst_exceedance=max(one.worst_exceedance for one in own),
        tested_books=len({one.book for one in tested}),
        **_worst_of(walked, tested, horizon, seed),
        kupiec_tested=len(tested),
        kupiec_rejected=tuple(
            f"{one.book} (phase {one.phase})" for one in tested if one.kupiec_more_p < REJECTED_BELOW
        ),
        independence_testable=len(testable),
        independence_kept=sum(1 for p in testable if p >= REJECTED_BELOW),
        low_observations=seen_low,
        low_coverage=1 - missed_low / seen_low if seen_low else None,
        median_peak_to_trough=_median(one.peak_to_trough for one in own),
        median_rise_1_day=_median(one.rise_1_day for one in own),
        median_rise_5_days=_median(one.rise_5_days for one in own),
        median_rise_20_days=_median(one.rise_20_days for one in own),
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def _worst_of(walked: Walked, tested: Sequence[BookResult], horizon: int, seed: int) -> dict[str, Any]:
    """The tested book with the lowest coverage over all phases, and the bootstrap."""
    names = sorted({one.book for one in tested})
    if not names:
        keys = ("worst_book", "worst_coverage", "worst_coverage_low", "worst_coverage_high")
        return dict.fromkeys((*keys, "any_worst_low", "any_worst_high"))
    columns = [number for number, book in enumerate(walked.books) if book.name in set(names)]
    asked = np.sqrt(horizon) * walked.requirement[tested[0].model][:, columns]
    loss = -walked.end[horizon][:, columns]
    observed = ~np.isnan(asked) & ~np.isnan(loss)
    found = statistics.worst_book(loss > asked, observed, seed=seed)
    return {
        "worst_book": walked.books[columns[found.book]].name,
        "worst_coverage": found.coverage,
        "worst_coverage_low": found.of_book.low,
        "worst_coverage_high": found.of_book.high,
        "any_worst_low": found.of_worst.low,
        "any_worst_high": found.of_worst.high,
    }
