"""Walks forward over real prices: at each time every book is margined by the very functions that margin the house,
with what was known then, and held against what it gained or lost afterwards.

Windows do not overlap: of a horizon of one day each begins where the one before ended; of two days there are two
*phases*, one that begins on even days and one on odd ones, each counted by itself. A model states the requirement
of one day; that of ``h`` days is √h times as much, rounded up.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isqrt

import numpy as np

from clearing.margin.backtest.books import Book, Family, Scene
from clearing.margin.backtest.series import Flags, Floats
from clearing.margin.model import Column, Positions
from clearing.margin.table import Model
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import Instrument, Parameters
from ledger.require import require


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Walked:
    """What the books of a family did. Every array has the shape (times, books), NaN where a book was not there or an
    outcome is not known. ``requirement``: by model, of one day.
    """

    books: Sequence[Book]
    times: Column
    gross: Floats
    end: Mapping[int, Floats]
    low: Mapping[int, Floats]
    requirement: Mapping[str, Floats]


def over_days(requirement_minor: int, days: int) -> int:
    """√days times the requirement of one day, rounded up."""
    square = requirement_minor * requirement_minor * days
    root = isqrt(square)
    return root if root * root == square else root + 1


def walk(
    families: Sequence[Family],
    models: Sequence[Model],
    parameters: Parameters,
    stepped: Callable[[int, int], None] = lambda _done, _of: None,
) -> list[Walked]:
    """Every book of every family by every model, a time after the other. ``stepped`` hears of the progress."""
    times = sorted({at_ms for family in families for at_ms in family.times})
    rows = [{at_ms: row for row, at_ms in enumerate(family.times)} for family in families]
    notes = [_Notes(family, models) for family in families]
    for done, at_ms in enumerate(times):
        there = [n for n, own in enumerate(rows) if at_ms in own]
        scenes = [families[n].scene(at_ms) for n in there]
        asked = {model.name: _requirements(scenes, model, parameters, at_ms) for model in models}
        for place, (number, scene) in enumerate(zip(there, scenes, strict=True)):
            notes[number].note(
                rows[number][at_ms], scene, {name: each[place] for name, each in asked.items()}
            )
        stepped(done + 1, len(times))
    return [one.walked() for one in notes]


def _requirements(scenes: Sequence[Scene], model: Model, parameters: Parameters, at_ms: int) -> list[Column]:
    """The amount of each book of each scene, from one risk array."""
    instruments, prices = _together(scenes)
    array = model.risk_array(instruments.values(), prices, parameters, at_ms)
    row_of = {row.instrument: n for n, row in enumerate(array.instruments)}
    amounts = np.array(model.amounts(_positions(scenes, row_of), array, parameters), np.int64)
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

    def __init__(self, family: Family, models: Sequence[Model]) -> None:
        self._family, shape = family, (len(family.times), len(family.books))
        self._gross = np.full(shape, np.nan)
        self._end: dict[int, Floats] = {}
        self._low: dict[int, Floats] = {}
        self._requirement = {model.name: np.full(shape, np.nan) for model in models}

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
