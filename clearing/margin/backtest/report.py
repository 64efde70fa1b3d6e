"""Everything that a validation found, and what becomes of the promises: one value that pages and JSON are made of.

The promises, of the model that makes them, ``PROMISING``: at 99 % and for each horizon the pooled coverage of
outright books is at least 99.3 % and that of every tested one at least 99.0 %, as a point estimate; none has more
exceptions than promised (Kupiec, one-sided, at 5 %); exceptions follow each other in no more than 15 % of the
testable books of all kinds; the requirement of the median outright book swings by no more than twice its trough; and
at equal coverage of outright books hedged and random ones need at most half of what a fixed rate asks.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import numpy as np

from clearing.margin.backtest.markets import Markets
from clearing.margin.backtest.results import (
    TESTED,
    BookResult,
    PortfolioResult,
    Windows,
    date_of,
    windows,
)
from clearing.margin.backtest.series import Finding, Series
from clearing.margin.backtest.walk import Walked
from clearing.model.values import BP

FORMAT = 1
PROMISING = "expected_shortfall"
OUTRIGHT = "outright"
POOLED_LEAST, BOOK_LEAST = 0.993, 0.99
INDEPENDENT_LEAST = 0.85
SWING_MOST = 2.0
HALF = 0.5
PARITY = 1.05
"""At equal coverage an outright book may cost so much of what a fixed rate asks, and is at parity."""
BUFFER = 0.25
CRASH_DAYS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashDay:
    """An outright book on a day on which it lost much: the loss in requirements at the end of the day and at the
    worst traded price, and what would be left with a buffer of a quarter, or a floor at the expected shortfall of
    stress.
    """

    day: str
    book: str
    model: str
    requirement: float
    loss: float
    exceedance: float
    low_exceedance: float | None
    with_buffer: float
    with_floor: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """What would lower the exceedances on days of crash, and what it costs every day: the mean requirement of outright
    books, and how much more that is.
    """

    name: str
    mean_requirement: float
    costs_more: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What two models ask on average, both set to the same coverage of outright books."""

    model: str
    against: str
    portfolio: str
    rate_bp: int
    coverage: float
    against_coverage: float
    mean_requirement: float
    against_mean_requirement: float
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A promise of a model, what was found, and whether it is kept; None: not testable."""

    model: str
    promise: str
    horizon_days: int
    asked: str
    found: str
    kept: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesNote:
    """A series that was read."""

    asset: str
    first_day: str
    last_day: str
    bars: int
    is_stable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole result. :func:`as_json` has the same keys."""

    folder: str
    first_day: str
    last_day: str
    seed: int
    models: tuple[str, ...]
    horizons_days: tuple[int, ...]
    series: tuple[SeriesNote, ...]
    missing: tuple[str, ...]
    findings: tuple[Finding, ...]
    verdicts: tuple[Verdict, ...]
    portfolios: tuple[PortfolioResult, ...]
    books: tuple[BookResult, ...]
    comparisons: tuple[Comparison, ...]
    crash_days: tuple[CrashDay, ...]
    remedies: tuple[Remedy, ...]


def as_json(report: Report, markets: Markets | None = None) -> dict[str, Any]:
    """Plain values, null for what is not a number; ``markets`` only if they were looked at."""
    more = {} if markets is None else {"markets": asdict(markets)}
    found: dict[str, Any] = _plain({"format": FORMAT, **asdict(report), **more})
    return found


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {key: _plain(each) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case float() if not isfinite(value):
            return None
        case _:
            return value


def note(series: Series) -> SeriesNote:
    """What to say of a series."""
    return SeriesNote(
        asset=series.asset,
        first_day=str(np.datetime64(int(series.days[0]), "D")),
        last_day=str(np.datetime64(int(series.days[-1]), "D")),
        bars=len(series.days),
        is_stable=series.is_stable,
    )


# a fixed rate at the same coverage ----------------------------------------------------------------


def pooled(walked: Iterable[Walked], model: str, portfolio: str, horizon: int = 1) -> list[Windows]:
    """The windows of every book of a kind."""
    return [
        windows(each, model, number, horizon)
        for each in walked
        for number, book in enumerate(each.books)
        if book.portfolio == portfolio
    ]


def coverage_of(seen: Sequence[Windows]) -> float:
    """The share of windows whose loss the requirement covered; one without any."""
    count = sum(len(one.loss) for one in seen)
    return 1 - sum(int(one.hits.sum()) for one in seen) / count if count else 1.0


def rate_for(walked: Sequence[Walked], coverage: float) -> int:
    """The rate, in basis points of the notional, that would have covered as much of the outright books: fitted with
    hindsight, which flatters it.
    """
    shares = [
        -(each.end[1] / each.gross)[:, number]
        for each in walked
        for number, book in enumerate(each.books)
        if book.portfolio == OUTRIGHT
    ]
    losses = np.sort(np.concatenate(shares))
    losses = losses[~np.isnan(losses)]
    allowed = int(len(losses) * (1 - coverage) + 1e-9)
    return max(1, int(np.ceil(losses[len(losses) - 1 - allowed] * BP)))


def compared(walked: Sequence[Walked], model: str, fixed: Iterable[str], rate_bp: int) -> list[Comparison]:
    """The model against those with a fixed rate, by kind of book."""
    kinds = sorted({book.portfolio for each in walked for book in each.books})
    found = []
    for other in fixed:
        for kind in kinds:
            own, theirs = pooled(walked, model, kind), pooled(walked, other, kind)
            if not any(len(one.loss) for one in own):
                continue
            asked, against = _mean_requirement(own), _mean_requirement(theirs)
            found.append(
                Comparison(
                    model=model,
                    against=other,
                    portfolio=kind,
                    rate_bp=rate_bp,
                    coverage=coverage_of(own),
                    against_coverage=coverage_of(theirs),
                    mean_requirement=asked,
                    against_mean_requirement=against,
                    ratio=asked / against,
                )
            )
    return found


def _mean_requirement(seen: Sequence[Windows]) -> float:
    return float(np.concatenate([one.requirement / one.gross for one in seen]).mean())


# days of crash ------------------------------------------------------------------------------------


def crash_days(
    walked: Sequence[Walked], model: str, floor: str | None, count: int = CRASH_DAYS
) -> list[CrashDay]:
    """The worst days of outright books in requirements, on each the book that lost most, the worst first."""
    found = []
    for each in walked:
        for number, book in enumerate(each.books):
            if book.portfolio == OUTRIGHT:
                seen = windows(each, model, number, 1)
                at_floor = windows(each, floor, number, 1).requirement if floor else seen.requirement * np.nan
                found += [_crash_day(model, book.name, seen, at_floor, one) for one in _worst(seen, count)]
    ordered = sorted(
        found, key=lambda one: (-max(one.exceedance, one.low_exceedance or 0), one.day, one.book)
    )
    of_day: dict[str, CrashDay] = {}
    for one in ordered:
        of_day.setdefault(one.day, one)
    return list(of_day.values())[:count]


def _worst(seen: Windows, count: int) -> list[int]:
    exceedance = np.fmax(seen.loss, seen.low) / seen.requirement
    return [int(one) for one in np.argsort(-exceedance, kind="stable")[:count]]


def _crash_day(model: str, book: str, seen: Windows, at_floor: Any, one: int) -> CrashDay:
    asked, loss, low = (float(column[one]) for column in (seen.requirement, seen.loss, seen.low))
    floored = max(asked, float(at_floor[one]))
    return CrashDay(
        day=date_of(int(seen.at_ms[one])),
        book=book,
        model=model,
        requirement=asked / float(seen.gross[one]),
        loss=loss / float(seen.gross[one]),
        exceedance=loss / asked,
        low_exceedance=None if np.isnan(low) else low / asked,
        with_buffer=loss / (asked * (1 + BUFFER)),
        with_floor=None if np.isnan(at_floor[one]) else loss / floored,
    )


def remedies(walked: Sequence[Walked], model: str, floor: str | None) -> list[Remedy]:
    """The price of a buffer and of a floor, in the mean requirement of outright books."""
    own = pooled(walked, model, OUTRIGHT)
    as_it_is = _mean_requirement(own)
    found = [
        Remedy(name="as it is", mean_requirement=as_it_is, costs_more=0.0),
        Remedy(name="a buffer of 25 %", mean_requirement=as_it_is * (1 + BUFFER), costs_more=BUFFER),
    ]
    if floor:
        stressed = pooled(walked, floor, OUTRIGHT)
        shares = [
            np.maximum(a.requirement, b.requirement) / a.gross for a, b in zip(own, stressed, strict=True)
        ]
        floored = float(np.concatenate(shares).mean())
        found.append(
            Remedy(
                name="a floor at the expected shortfall of stress",
                mean_requirement=floored,
                costs_more=floored / as_it_is - 1,
            )
        )
    return found


# verdicts -----------------------------------------------------------------------------------------


def verdicts(portfolios: Sequence[PortfolioResult], comparisons: Sequence[Comparison]) -> list[Verdict]:
    """What becomes of each promise."""
    own = [one for one in portfolios if one.model == PROMISING]
    found = []
    for horizon in sorted({one.horizon_days for one in own}):
        there = [one for one in own if one.horizon_days == horizon]
        found += [verdict for one in there if one.portfolio == OUTRIGHT for verdict in _of_outright(one)]
        found.append(_independent(horizon, there))
    return found + [_cheaper(one) for one in comparisons if one.against == "static"]


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _of_outright(one: PortfolioResult) -> list[Verdict]:
    found = [
        Verdict(
            model=one.model,
            promise="pooled coverage of outright books",
            horizon_days=one.horizon_days,
            asked=f"at least {_percent(POOLED_LEAST)}",
            found=f"{_percent(one.coverage)} of {one.observations:,}",
            kept=one.coverage >= POOLED_LEAST,
        ),
        Verdict(
            model=one.model,
            promise="coverage of every outright book",
            horizon_days=one.horizon_days,
            asked=f"at least {_percent(BOOK_LEAST)}",
            found=_worst_book(one),
            kept=None if one.worst_coverage is None else one.worst_coverage >= BOOK_LEAST,
        ),
        Verdict(
            model=one.model,
            promise="no outright book with more exceptions than promised (Kupiec)",
            horizon_days=one.horizon_days,
            asked="none rejected at 5 %",
            found=_rejected(one),
            kept=None if not one.kupiec_tested else not one.kupiec_rejected,
        ),
    ]
    return found if one.horizon_days > 1 else [*found, _swing(one)]


def _swing(one: PortfolioResult) -> Verdict:
    swing = one.median_peak_to_trough
    return Verdict(
        model=one.model,
        promise="peak to trough of the median outright book",
        horizon_days=one.horizon_days,
        asked=f"at most {SWING_MOST:.1f}",
        found="not testable" if swing is None else f"{swing:.2f}",
        kept=None if swing is None else swing <= SWING_MOST,
    )


def _rejected(one: PortfolioResult) -> str:
    return (
        f"{len(one.kupiec_rejected)} of {one.kupiec_tested} rejected" if one.kupiec_tested else "not testable"
    )


def _worst_book(one: PortfolioResult) -> str:
    if one.worst_coverage is None or one.worst_coverage_low is None or one.worst_coverage_high is None:
        return f"not testable: no book was seen {TESTED} times"
    between = f"{_percent(one.worst_coverage_low)} to {_percent(one.worst_coverage_high)}"
    return f"{_percent(one.worst_coverage)} ({one.worst_book}; bootstrap {between})"


def _independent(horizon: int, there: Sequence[PortfolioResult]) -> Verdict:
    testable = sum(one.independence_testable for one in there)
    kept = sum(one.independence_kept for one in there)
    by_kind = ", ".join(
        f"{one.portfolio} {one.independence_kept}/{one.independence_testable}" for one in there
    )
    return Verdict(
        model=PROMISING,
        promise="exceptions do not follow each other (Christoffersen)",
        horizon_days=horizon,
        asked=f"in at least {100 * INDEPENDENT_LEAST:.0f} % of testable books",
        found=f"{100 * kept / testable:.0f} % ({by_kind})" if testable else "not testable",
        kept=kept >= INDEPENDENT_LEAST * testable if testable else None,
    )


def _cheaper(one: Comparison) -> Verdict:
    most = PARITY if one.portfolio == OUTRIGHT else HALF
    return Verdict(
        model=one.model,
        promise=f"mean requirement of {one.portfolio} books against {one.against} at equal outright coverage",
        horizon_days=1,
        asked=f"at most {100 * most:.0f} %",
        found=f"{100 * one.ratio:.0f} % ({_percent(one.mean_requirement)} against "
        f"{_percent(one.against_mean_requirement)} of gross)",
        kept=one.ratio <= most,
    )
