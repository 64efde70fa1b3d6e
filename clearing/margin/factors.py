"""From daily returns to scenario moves: what the market did, scaled to what it is like now (rulebook §9.1).

1. A history has the return of each underlying for each UTC day, in parts per million. Its volatility is an
   exponentially weighted mean of squared returns (EWMA), known before the day that it is held against: nothing looks
   ahead.
2. Filtered scenarios are the joint returns of the last days, each scaled by (volatility now / volatility then)^½: with
   ½ instead of 1 a requirement swings less, with 0 it would sleep through a crisis. Volatility now is no less than a
   share of its mean over the whole history, so that no calm lets a requirement fall far (anti-procyclicality). A day
   before any volatility was known, or without any return, is no scenario.
3. Stress scenarios are raw joint returns of the most volatile days of the whole history. They have a fixed weight in
   the requirement, in calm times too (EMIR delegated regulation 153/2013, art. 28(1)(b)).
4. The day in progress counts into today's volatility if it raises it, never if it lowers it.
5. Where an underlying has no return of its own, that of a proxy stands in, scaled by the ratio of their volatilities,
   never below one; and until it has a history of its own all its moves are larger. Where there is no proxy either, it
   moves by its scan range, independently of all others: what nobody has seen offsets nothing.

Everything is computed from integers by operations that every machine rounds alike (+ − × ÷ √), one element after the
other, so that the scenario moves are the same everywhere.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, nan, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from clearing.margin.model import Column, States
from clearing.model.ids import FeedId
from clearing.model.values import BP, PPM
from ledger.amount import divide_up

MISSING: Final = np.iinfo(np.int64).min
"""Stands where an underlying has no return."""
DECAY = 0.98
"""Weight of yesterday's variance (RiskMetrics, 1996, has 0.94 for daily returns, which swings more)."""
FLOOR_PERCENT = 70
"""Volatility now counts as no less than this share of its mean so far."""
WARM_UP_DAYS = 20
"""The first variance is the mean of so many squared returns; before that there is none."""
FILTERED_DAYS = 1_000
STRESSED_PERCENT = 10
STRESSED_DAYS_MAX = 250
HISTORY_DAYS_MIN = 250
"""A history shorter than this has no scenarios; with all of it an underlying is no longer a new one."""
NEW_SURCHARGE = 0.25
"""By how much the moves of an underlying are larger that has no day of its own; less with each day."""
RANGE_VOLATILITIES = 3
"""How many volatilities the range of an underlying is taken to be that nobody has seen move."""
RANGE_SHARE_MIN = 10
"""Today's volatility is no less than a tenth of what the range says: a price that stands still can still move."""
MOVE_PPM_MIN = -990_000
"""A forward stays positive in every scenario."""
MOVE_PPM_MAX = 100 * PPM

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """Daily returns in parts per million of the price before, shape (days, underlyings), the oldest first;
    ``MISSING`` where there is none.
    """

    underlyings: tuple[FeedId, ...]
    moves_ppm: Column

    @property
    def days(self) -> int:
        """How many days it spans."""
        return len(self.moves_ppm)


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """A history with the variance of each underlying before each day and, as the last row, after all of them: shape
    (days + 1, underlyings), of daily returns as shares; NaN before there is one. ``known`` counts the returns of each
    underlying before each day, in the same shape.
    """

    history: History
    variance: Floats
    known: Column


def path_of(history: History) -> Path:
    """The volatility of each underlying over time."""
    days, width = history.moves_ppm.shape
    variance = np.full((days + 1, width), np.nan)
    known = np.zeros((days + 1, width), np.int64)
    squares, held = np.zeros(width), np.full(width, np.nan)
    has = history.moves_ppm != MISSING
    returns = np.where(has, history.moves_ppm, 0) / PPM
    for day in range(days):
        variance[day] = held
        square = returns[day] * returns[day]
        count = known[day] + has[day]
        squares = squares + np.where(has[day] & (count <= WARM_UP_DAYS), square, 0.0)
        held = np.where(has[day], DECAY * held + (1 - DECAY) * square, held)
        held = np.where(has[day] & (count == WARM_UP_DAYS), squares / WARM_UP_DAYS, held)
        known[day + 1] = count
    variance[days] = held
    return Path(history, variance, known)


def states_of(
    path: Path, *, day: int, today_ppm: Mapping[FeedId, int], ranges_bp: Mapping[FeedId, int]
) -> States:
    """The scenario moves at the beginning of ``day``, counted from the first of the history, or later on that day.

    ``today_ppm``: how far each underlying has moved since. ``ranges_bp``: for each underlying that is wanted the move
    that an administrator holds possible in a day; only where history and proxy have nothing to say does it count.
    """
    wanted = tuple(sorted(ranges_bp))
    usable = _usable(path, day)
    if len(usable) < HISTORY_DAYS_MIN:
        return _unseen(wanted, ranges_bp)
    column_of = {underlying: n for n, underlying in enumerate(path.history.underlyings)}
    now = _variance_now(path, day, today_ppm)
    proxies = _proxies(path, day)
    days = _Days.chosen(path, day, usable)
    columns = [
        _moves(path, days, now, column_of.get(underlying), proxies, ranges_bp[underlying], underlying, day)
        for underlying in wanted
    ]
    return States(
        underlyings=wanted,
        moves_ppm=np.column_stack(columns) if columns else np.zeros((len(days.all), 0), np.int64),
        filtered=days.filtered,
    )


def volatilities_ppm(
    path: Path, *, day: int, today_ppm: Mapping[FeedId, int], ranges_bp: Mapping[FeedId, int]
) -> dict[FeedId, int]:
    """Today's volatility of a daily return of each underlying, rounded up, and no less than a share of what its range
    says; of one without a history a third of its range.
    """
    now = dict(zip(path.history.underlyings, _variance_now(path, day, today_ppm).tolist(), strict=True))
    parts = BP * RANGE_VOLATILITIES
    return {
        underlying: max(ceil(sqrt(variance) * PPM), divide_up(range_bp * PPM, parts * RANGE_SHARE_MIN))
        if (variance := now.get(underlying, nan)) >= 0
        else divide_up(range_bp * PPM, parts)
        for underlying, range_bp in sorted(ranges_bp.items())
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a history knows of one underlying at its end: on which of its days it has a return, its variance a day if
    it has one yet, and what its scenarios are made of: its own returns, those of a ``proxy`` where it has none, or with
    neither (``unseen``) its scan range. A ``short`` history makes its moves larger.
    """

    days: Column
    variance: float | None
    unseen: bool
    proxy: FeedId | None
    short: bool


def known_of(path: Path, underlying: FeedId) -> Known:
    """What is known of one underlying, known to the history or not."""
    day, names = path.history.days, path.history.underlyings
    own = names.index(underlying) if underlying in names else None
    has = np.zeros(day, np.bool_) if own is None else path.history.moves_ppm[:, own] != MISSING
    variance = np.nan if own is None else path.variance[day][own]
    usable = _usable(path, day)
    is_too_short = len(usable) < HISTORY_DAYS_MIN
    chosen = np.zeros(0, np.int64) if is_too_short else _Days.chosen(path, day, usable).all
    missing = np.ones(len(chosen), np.bool_) if own is None else ~_has(path, chosen, own)
    proxies = [] if is_too_short else [one for one in _proxies(path, day) if one != own]
    proxy = next((one for one in proxies if (missing & _has(path, chosen, one)).any()), None)
    return Known(
        days=np.flatnonzero(has),
        variance=None if np.isnan(variance) else float(variance),
        unseen=proxy is None and bool(missing.all()),
        proxy=None if proxy is None else names[proxy],
        short=int(has.sum()) < HISTORY_DAYS_MIN,
    )


def _has(path: Path, days: Column, column: int) -> NDArray[np.bool_]:
    """On which of ``days`` an underlying has a return and a variance to scale it by."""
    found: NDArray[np.bool_] = (path.history.moves_ppm[days, column] != MISSING) & ~np.isnan(
        path.variance[days, column]
    )
    return found


def _variance_now(path: Path, day: int, today_ppm: Mapping[FeedId, int]) -> Floats:
    """Today's variance, no less than its floor, with the day in progress where that raises it."""
    mean, count = _mean_variance(path, day)
    floor = np.where(count >= HISTORY_DAYS_MIN, mean * (FLOOR_PERCENT * FLOOR_PERCENT / 10_000), np.nan)
    held = np.fmax(path.variance[day], floor)
    today = np.array([today_ppm.get(u, 0) for u in path.history.underlyings], np.int64) / PPM
    raised: Floats = np.fmax(held, DECAY * held + (1 - DECAY) * (today * today))
    return raised


@dataclass(frozen=True, slots=True, eq=False)
class _Days:
    """The days whose returns are scenarios: the filtered ones, then those of stress."""

    all: Column
    filtered: int

    @classmethod
    def chosen(cls, path: Path, day: int, usable: Column) -> "_Days":
        """The last days, and those before which the market was most volatile against its own mean."""
        recent = usable[-FILTERED_DAYS:]
        level = _market_level(path, day)[usable]
        wanted = max(1, min(STRESSED_DAYS_MAX, len(usable) * STRESSED_PERCENT // 100))
        wildest = np.sort(usable[np.argsort(-level, kind="stable")[:wanted]])
        return cls(np.concatenate([recent, wildest]), len(recent))


def _usable(path: Path, day: int) -> Column:
    """The days before ``day`` on which some underlying has a return, and had a variance before."""
    has = (path.history.moves_ppm[:day] != MISSING) & ~np.isnan(path.variance[:day])
    return np.flatnonzero(has.any(axis=1))


def _mean_variance(path: Path, day: int) -> tuple[Floats, Column]:
    """Of each underlying, the mean of its variances after each day before ``day``, and of how many."""
    after = path.variance[1 : day + 1]
    is_known = ~np.isnan(after)
    count = is_known.sum(axis=0)
    if not day:
        return np.full(len(count), np.nan), count
    mean: Floats = np.add.accumulate(np.where(is_known, after, 0.0), axis=0)[-1] / np.maximum(1, count)
    return mean, count


def _market_level(path: Path, day: int) -> Floats:
    """How volatile the market was on each day before ``day``: the mean over underlyings of today's squared return in
    the variance that follows it, each against its own mean so far.
    """
    after = path.variance[1 : day + 1]
    is_known = ~np.isnan(after)
    mean, _ = _mean_variance(path, day)
    share = np.where(is_known, after, 0.0) / np.where(mean > 0, mean, 1.0)
    summed = np.zeros(day)
    for column in share.T:
        summed = summed + column
    level: Floats = summed / np.maximum(1, is_known.sum(axis=1))
    return level


def _proxies(path: Path, day: int) -> Sequence[int]:
    """The columns that stand in for others: those that have all their days, the longest history first. A price that
    does not move says nothing about another.
    """
    known, variance = path.known[day], path.variance[day]
    grown = [n for n in range(len(known)) if known[n] >= HISTORY_DAYS_MIN and variance[n] > 0]
    return sorted(grown, key=lambda n: (-int(known[n]), path.history.underlyings[n]))


def _moves(  # noqa: PLR0913, PLR0917  # the market on a day, and which underlying of it
    path: Path,
    days: _Days,
    now: Floats,
    own: int | None,
    proxies: Sequence[int],
    range_bp: int,
    underlying: FeedId,
    day: int,
) -> Column:
    """The moves of one underlying: its own, else a proxy's, else its range with signs like nobody else's."""
    known = 0 if own is None else int(path.known[day][own])
    moves = np.full(len(days.all), np.nan) if own is None else _scaled(path, days, own, now)
    for proxy in proxies:
        if not np.isnan(moves).any():
            break
        if proxy == own:
            continue
        # The larger of this morning's and now's: that its proxy moves today must not make an underlying look calmer.
        ratio = max(_ratio(at, own, proxy, range_bp) for at in (path.variance[day], now))
        moves = np.where(np.isnan(moves), _scaled(path, days, proxy, now) * ratio, moves)
    new = max(0, HISTORY_DAYS_MIN - known) / HISTORY_DAYS_MIN
    moves = moves * (1 + NEW_SURCHARGE * new)
    moves = np.where(np.isnan(moves), _signs(underlying, len(moves)) * (range_bp * PPM // BP), moves)
    away = np.where(moves < 0, np.floor(moves), np.ceil(moves))
    clipped: Column = np.clip(away, MOVE_PPM_MIN, MOVE_PPM_MAX).astype(np.int64)
    return clipped


def _ratio(variance: Floats, own: int | None, proxy: int, range_bp: int) -> float:
    """How much more volatile an underlying is than its proxy, never less than one; by a third of its range while nobody
    knows its own volatility.
    """
    guess = range_bp / BP / 3
    square = guess * guess if own is None or np.isnan(variance[own]) else float(variance[own])
    return max(1.0, float(np.sqrt(square / variance[proxy])))


def _scaled(path: Path, days: _Days, column: int, now: Floats) -> Floats:
    """The returns of one underlying on the scenario days in parts per million, filtered ones scaled to its variance
    now; NaN if unknown.
    """
    moves = path.history.moves_ppm[days.all, column]
    then = path.variance[days.all, column]
    with np.errstate(invalid="ignore", divide="ignore"):
        root = np.sqrt(np.sqrt(now[column] / then))
    scale = np.where(then > 0, root, 1.0)
    scale = np.where(np.arange(len(moves)) < days.filtered, scale, 1.0)
    has = _has(path, days.all, column)
    scaled: Floats = np.where(has, np.where(has, moves, 0) * scale, np.nan)
    return scaled


def _unseen(wanted: tuple[FeedId, ...], ranges_bp: Mapping[FeedId, int]) -> States:
    """Scenarios of a house without a history: every underlying moves by its range, none with another."""
    count = FILTERED_DAYS + STRESSED_DAYS_MAX
    columns = [
        (_signs(underlying, count) * (ranges_bp[underlying] * (PPM // BP))).astype(np.int64)
        for underlying in wanted
    ]
    moves = np.column_stack(columns) if columns else np.zeros((count, 0), np.int64)
    return States(underlyings=wanted, moves_ppm=np.maximum(moves, MOVE_PPM_MIN), filtered=FILTERED_DAYS)


def _signs(underlying: FeedId, count: int) -> Floats:
    """Plus and minus one as a fair coin falls, for each underlying another coin, whatever else is listed."""
    signs: Floats = (2 * coins(f"underlying {underlying}", count) - 1).astype(np.float64)
    return signs


def coins(name: str, count: int) -> Column:
    """``count`` tosses of a fair coin, zero or one, that only ``name`` decides."""
    needed = -(-count // 8)
    data = hashlib.shake_128(name.encode()).digest(needed)
    tossed: Column = np.unpackbits(np.frombuffer(data, np.uint8))[:count].astype(np.int64)
    return tossed
