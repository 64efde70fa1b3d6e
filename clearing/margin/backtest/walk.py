"""Walks forward over real prices: at each time every book is margined by the very functions that margin the house,
with what was known then, and held against what it gained or lost afterwards.

Windows do not overlap: of a horizon of one day each begins where the one before ended; of two days there are two
*phases*, one that begins on even days and one on odd ones, each counted by itself. A model states the requirement
of one day; that of ``h`` days is √h times as much, rounded up.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isqrt

import numpy as np

from clearing.margin.backtest.books import Book, Family, Scene
from clearing.margin.backtest.series import NO_RETURN, Flags, Floats, Series, day_ended_by
from clearing.margin.factors import MISSING, History, Path, path_of, states_of
from clearing.margin.model import Column, Market, Positions, States
from clearing.margin.table import Model
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import Instrument, Parameters
from ledger.require import require


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Walked:
    """What the books of a family did. Every array has the shape (times, books), NaN where a book was not there or an
    outcome is not known. ``requirement``: by run, of one day.
    """

    books: Sequence[Book]
    times: Column
    gross: Floats
    end: Mapping[int, Floats]
    low: Mapping[int, Floats]
    requirement: Mapping[str, Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A model with the parameters that it is tried with. ``name``: what its results are called."""

    name: str
    model: Model
    parameters: Parameters


class Past:
    """What the market had done by any time: the daily returns of every series, and the variances that follow. A day on
    which no series has a return, as between two sources, is no day of the history.
    """

    def __init__(self, series: Iterable[Series]) -> None:
        known = sorted(series, key=lambda one: one.asset)
        first, last = min(int(one.days[0]) for one in known), max(int(one.days[-1]) for one in known)
        moves = np.full((last - first + 1, len(known)), MISSING, np.int64)
        for column, one in enumerate(known):
            ppm = one.returns_ppm
            moves[one.days - first, column] = np.where(ppm == NO_RETURN, MISSING, ppm)
        seen = (moves != MISSING).any(axis=1)
        self._days: Column = np.flatnonzero(seen) + first
        self._path: Path = path_of(History(tuple(FeedId(one.asset) for one in known), moves[seen]))

    def days_by(self, at_ms: int) -> int:
        """How many days of the history have ended by a time."""
        return int(np.searchsorted(self._days, day_ended_by(at_ms), side="right"))

    def market(
        self, run: Run, instruments: Iterable[Instrument], prices: Mapping[FeedId, int], at_ms: int
    ) -> Market:
        """What is known at a time, for a model: prices, and states if it looks back."""
        wanted = {one.underlying for one in instruments}
        states = States()
        if run.model.looks_back:
            ranges = {r.underlying: r.move_bp for r in run.parameters.scan_ranges if r.underlying in wanted}
            states = states_of(self._path, day=self.days_by(at_ms), today_ppm={}, ranges_bp=ranges)
        return Market(prices=prices, at_ms=at_ms, states=states)


def over_days(requirement_minor: int, days: int) -> int:
    """√days times the requirement of one day, rounded up."""
    square = requirement_minor * requirement_minor * days
    root = isqrt(square)
    return root if root * root == square else root + 1


def walk(
    families: Sequence[Family],
    past: Past,
    runs: Sequence[Run],
    is_wanted: Callable[[int], bool] = lambda _at_ms: True,
    stepped: Callable[[int, int], None] = lambda _done, _of: None,
) -> list[Walked]:
    """Every book of every family in every run, a time after the other, those that are wanted. ``stepped`` hears how
    many are done, of how many.
    """
    times = sorted(filter(is_wanted, {at_ms for family in families for at_ms in family.times}))
    rows = [{at_ms: row for row, at_ms in enumerate(family.times)} for family in families]
    notes = [_Notes(family, runs) for family in families]
    for done, at_ms in enumerate(times):
        there = [n for n, own in enumerate(rows) if at_ms in own]
        scenes = [families[n].scene(at_ms) for n in there]
        asked = {run.name: _requirements(scenes, past, run, at_ms) for run in runs}
        for place, (number, scene) in enumerate(zip(there, scenes, strict=True)):
            notes[number].note(
                rows[number][at_ms], scene, {name: each[place] for name, each in asked.items()}
            )
        stepped(done + 1, len(times))
    return [one.walked() for one in notes]


def _requirements(scenes: Sequence[Scene], past: Past, run: Run, at_ms: int) -> list[Column]:
    """The amount of each book of each scene, from one risk array."""
    instruments, prices = _together(scenes)
    market = past.market(run, instruments.values(), prices, at_ms)
    array = run.model.risk_array(instruments.values(), market, run.parameters)
    row_of = {row.instrument: n for n, row in enumerate(array.instruments)}
    amounts = np.array(run.model.amounts(_positions(scenes, row_of), array, run.parameters), np.int64)
    return np.split(amounts, np.cumsum([len(scene.lots) for scene in scenes])[:-1])


def _together(scenes: Sequence[Scene]) -> tuple[Mapping[InstrumentId, Instrument], Mapping[FeedId, int]]:
    instruments = {one.id: one for scene in scenes for one in scene.instruments}
    prices: dict[FeedId, int] = {}
    for scene in scenes:
        for feed, price in scene.prices.items():
            require(prices.setdefault(feed, price) == price, f"{feed} has one price at a time")
    return {each: instruments[each] for each in sorted(instruments)}, prices


def _positions(scenes: Sequence[Scene], row_of: Mapping[InstrumentId, int]) -> Positions:
    owners, rows, lots = [], [], []
    first = 0
    for scene in scenes:
        held_by, held = np.nonzero(scene.lots)
        own_rows = np.array([row_of[one.id] for one in scene.instruments], np.int64)
        owners.append(held_by + first)
        rows.append(own_rows[held] if len(held) else np.zeros(0, np.int64))
        lots.append(scene.lots[held_by, held])
        first += len(scene.lots)
    return Positions(
        portfolios=first, owners=np.concatenate(owners), rows=np.concatenate(rows), lots=np.concatenate(lots)
    )


class _Notes:
    """Takes down a family's scenes."""

    def __init__(self, family: Family, runs: Sequence[Run]) -> None:
        self._family, shape = family, (len(family.times), len(family.books))
        self._gross = np.full(shape, np.nan)
        self._end: dict[int, Floats] = {}
        self._low: dict[int, Floats] = {}
        self._requirement = {run.name: np.full(shape, np.nan) for run in runs}

    def note(self, row: int, scene: Scene, amounts: Mapping[str, Column]) -> None:
        is_there: Flags = (scene.lots != 0).any(axis=1)
        self._gross[row, is_there] = scene.gross_minor[is_there]
        for kept, given in ((self._end, scene.end_minor), (self._low, scene.low_minor)):
            for horizon, gained in given.items():
                wide = kept.setdefault(horizon, np.full(self._gross.shape, np.nan))
                wide[row, is_there] = gained[is_there]
        for name, column in amounts.items():
            self._requirement[name][row, is_there] = column[is_there]

    def walked(self) -> Walked:
        return Walked(
            books=tuple(self._family.books),
            times=np.array(self._family.times, np.int64),
            gross=self._gross,
            end=self._end,
            low=self._low,
            requirement=self._requirement,
        )
