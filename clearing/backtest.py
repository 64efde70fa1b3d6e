"""``clearing backtest``: reads a folder of market data, walks every model over it and says what was found.

Which series are underlyings, which two are hedges and from when on there is enough history is decided here, from the
data alone: underlyings are all that are no stablecoins, hedges the two with the largest turnover, and the first window
begins when the longest series has a year of returns.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np

from clearing.backtest_markets import markets, ruin_forecasts
from clearing.margin.backtest.books import HORIZONS, Family, Linear, hedged, outright, random_books
from clearing.margin.backtest.markets import Markets
from clearing.margin.backtest.report import (
    OUTRIGHT,
    PROMISING,
    Report,
    compared,
    coverage_of,
    crash_days,
    note,
    pooled,
    rate_for,
    remedies,
    verdicts,
)
from clearing.margin.backtest.results import PROMISE, book_results, date_of, portfolio_results
from clearing.margin.backtest.series import Series
from clearing.margin.backtest.walk import Past, Run, Walked, walk
from clearing.margin.table import MODELS
from clearing.market_data import MarketData, read_market
from clearing.model.ids import FeedId
from clearing.model.values import BP, DAY_MS, Parameters, ScanRange

LEAST_HISTORY_DAYS = 365
LEAST_DAYS = LEAST_HISTORY_DAYS + 2
"""Closes that the first window takes: returns begin with the second, and the last one ends it."""
LEAST_ASSET_DAYS = 90
"""A book holds an asset once so many of its returns are known, as many as a beta takes."""
RANDOM_BOOKS = 60
LISTED_RANGE_BP = 5_000
"""What an administrator who knows nothing holds possible in a day; models that look back need it for what is new."""
FLOOR = "stress alone"

Stepped = Callable[[str, int, int], None]


class NothingToTest(Exception):
    """No window is left to test: which, and what to ask for instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What to validate. ``assets`` empty: all that there are. ``first`` and ``last``: days on which windows begin."""

    folder: Path
    assets: tuple[str, ...] = ()
    first: date = date.min
    last: date = date.max
    models: tuple[str, ...] = tuple(sorted(MODELS))
    horizons: tuple[int, ...] = HORIZONS
    seed: int = 7
    more: bool = False
    """Whether to look at options, the basis, real accounts and the probability of ruin too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """The report, and what it was made of."""

    report: Report
    walked: Sequence[Walked]
    markets: Markets | None = None


def validate(asked: Asked, stepped: Stepped = lambda _what, _done, _of: None) -> Validation:
    """Read, walk and judge."""
    data = read_market(asked.folder)
    underlyings = [one for one in data.daily.values() if not one.is_stable]
    chosen = _chosen(data, underlyings, asked.assets)
    families: list[Family] = [_linear(chosen, asked.seed)]
    past = Past(underlyings)
    is_wanted = _wanted(past, asked)
    if not any(is_wanted(at_ms) for family in families for at_ms in family.times):
        raise NothingToTest(_why_nothing(asked, underlyings, past, families))

    def walk_with(what: str, runs: Sequence[Run]) -> list[Walked]:
        return walk(families, past, runs, is_wanted, lambda done, of: stepped(what, done, of))

    walked, rate_bp = _walk_all(asked.models, underlyings, walk_with)
    found = None
    if asked.more:
        feeds = [FeedId(one.asset) for one in underlyings]
        run = Run(name=PROMISING, model=MODELS[PROMISING], parameters=_parameters(feeds, LISTED_RANGE_BP))
        made = ruin_forecasts(families, past, run, is_wanted, stepped)
        found = markets(asked.folder, data, made, stepped)
    return Validation(report=_report(asked, data, walked, rate_bp), walked=walked, markets=found)


def _why_nothing(asked: Asked, underlyings: Sequence[Series], past: Past, families: Sequence[Family]) -> str:
    """Too little history, or other days than those that can be tested."""
    days = np.unique(np.concatenate([one.days for one in underlyings]))
    begins = [
        at_ms for family in families for at_ms in family.times if past.days_by(at_ms) >= LEAST_HISTORY_DAYS
    ]
    if not begins and len(days) >= LEAST_DAYS:
        return (
            f"no book of these assets can be tested: it takes {LEAST_ASSET_DAYS} returns of each asset, a day after "
            f"{LEAST_HISTORY_DAYS} days of history, without gaps"
        )
    if not begins:
        first, last = (date_of(int(day) * DAY_MS) for day in days[[0, -1]])
        return (
            f"too short a history: the backtest needs {LEAST_DAYS} days, the folder has {len(days)} "
            f"({first} to {last})"
        )
    return (
        f"no window begins {_between(asked)} of which {LEAST_HISTORY_DAYS} days of history are known: with these "
        f"assets windows begin from {date_of(min(begins))} to {date_of(max(begins))}"
    )


def _between(asked: Asked) -> str:
    first = [] if asked.first == date.min else [f"from {asked.first}"]
    last = [] if asked.last == date.max else [f"to {asked.last}"]
    return " ".join([*first, *last])


def _chosen(data: MarketData, underlyings: Sequence[Series], assets: Sequence[str]) -> Sequence[Series]:
    known = {one.asset: one for one in underlyings}
    for asset in assets:
        if asset not in known:
            why = "is a stablecoin" if asset in data.daily else "is not there"
            raise NothingToTest(f"{asset} {why}; the folder has {', '.join(known)}")
    return [known[asset] for asset in assets] or underlyings


def _linear(series: Sequence[Series], seed: int) -> Linear:
    recipes = outright(series)
    if len(series) > 1:
        recipes += hedged(series, [one.asset for one in sorted(series, key=_turnover)[:2]])
    if len(series) > 2:
        recipes += random_books(series, count=RANDOM_BOOKS, seed=seed)
    return Linear(series, recipes, least_days=LEAST_ASSET_DAYS)


def _turnover(series: Series) -> tuple[float, int, str]:
    """Sorts the most traded first, then the longest known."""
    known = series.volume_quote[~np.isnan(series.volume_quote)]
    return (-float(known.sum()), -len(series.days), series.asset)


def _wanted(past: Past, asked: Asked) -> Callable[[int], bool]:
    def is_wanted(at_ms: int) -> bool:
        begins = date_of(at_ms)
        is_between = asked.first.isoformat() <= begins <= asked.last.isoformat()
        return is_between and past.days_by(at_ms) >= LEAST_HISTORY_DAYS

    return is_wanted


def _walk_all(
    models: Sequence[str],
    underlyings: Iterable[Series],
    walk_with: Callable[[str, Sequence[Run]], list[Walked]],
) -> tuple[list[Walked], int]:
    """First the models that look back; then those with a fixed rate, at the rate that would have covered as much."""
    feeds = [FeedId(one.asset) for one in underlyings]
    looking = [name for name in models if MODELS[name].looks_back]
    fixed = [name for name in models if not MODELS[name].looks_back]
    runs = [
        Run(name=name, model=MODELS[name], parameters=_parameters(feeds, LISTED_RANGE_BP)) for name in looking
    ]
    if PROMISING in looking:
        parameters = replace(_parameters(feeds, LISTED_RANGE_BP), stress_weight_bp=BP)
        runs.append(Run(name=FLOOR, model=MODELS[PROMISING], parameters=parameters))
    walked = walk_with(" and ".join(looking) or "books", runs)
    coverage = coverage_of(pooled(walked, PROMISING, OUTRIGHT)) if PROMISING in looking else PROMISE
    rate_bp = rate_for(walked, coverage)
    if fixed:
        at_rate = [
            Run(name=name, model=MODELS[name], parameters=_parameters(feeds, rate_bp)) for name in fixed
        ]
        more = walk_with(" and ".join(fixed), at_rate)
        walked = [
            replace(one, requirement={**one.requirement, **other.requirement})
            for one, other in zip(walked, more, strict=True)
        ]
    return walked, rate_bp


def _parameters(feeds: Iterable[FeedId], range_bp: int) -> Parameters:
    ranges = tuple(ScanRange(underlying=feed, move_bp=range_bp) for feed in sorted(feeds))
    return Parameters(scan_ranges=ranges)


def _report(asked: Asked, data: MarketData, walked: Sequence[Walked], rate_bp: int) -> Report:
    books, portfolios = [], []
    for one in walked:
        for model in asked.models:
            for horizon in asked.horizons:
                found = book_results(one, model, horizon)
                books += found
                portfolios += portfolio_results(one, found, model, horizon, asked.seed)
    has_floor = PROMISING in asked.models
    fixed = [name for name in asked.models if not MODELS[name].looks_back]
    comparisons = compared(walked, PROMISING, fixed, rate_bp) if has_floor else []
    times = [int(at_ms) for one in walked for at_ms in one.times[~np.isnan(one.gross).all(axis=1)]]
    return Report(
        folder=data.folder,
        first_day=date_of(min(times)),
        last_day=date_of(max(times)),
        seed=asked.seed,
        models=asked.models,
        horizons_days=asked.horizons,
        series=tuple(note(one) for one in data.daily.values()),
        missing=data.missing,
        findings=data.findings,
        verdicts=tuple(verdicts(portfolios, comparisons)),
        portfolios=tuple(portfolios),
        books=tuple(books),
        comparisons=tuple(comparisons),
        crash_days=tuple(crash_days(walked, PROMISING, FLOOR)) if has_floor else (),
        remedies=tuple(remedies(walked, PROMISING, FLOOR)) if has_floor else (),
    )
