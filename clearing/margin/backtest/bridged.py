"""Walks families that bring a history of their own: their prices are of years that the long series do not reach.

The history of such a family is the long series as far as it goes and then, without the years between, the steps of
the family's own prices, each known when it ended. Everything else is as in ``walk``.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from clearing.margin.backtest.books import Book, Scene
from clearing.margin.backtest.series import Flags, Floats, Series
from clearing.margin.backtest.walk import Walked
from clearing.margin.factors import MISSING, Path, states_of
from clearing.margin.model import Column, Market, Positions, States
from clearing.margin.table import Model
from clearing.model.ids import FeedId
from clearing.model.values import Parameters, RiskArray, ScanRange

RANGE_BP = 3_000
VOLATILITY_RANGE_BP = 4_000
"""The ranges of ``scan``, and of what has no history and no proxy."""


class Bridged(Protocol):
    """A family with its own history; ``day`` counts the rows of it that were known at a time."""

    @property
    def books(self) -> Sequence[Book]:
        """Every book, in the order of a scene's rows."""

    @property
    def times(self) -> Sequence[int]:
        """When there is a scene, in milliseconds since 1970."""

    @property
    def path(self) -> Path:
        """The whole history."""

    def day(self, at_ms: int) -> int:
        """How many days of the history were known."""

    def scene(self, at_ms: int) -> Scene:
        """The books at one of the times."""


def long_history(series: Sequence[Series]) -> tuple[tuple[FeedId, ...], Column]:
    """The returns of assets by day, from the first day that one of them has to the last."""
    first = min(int(one.days[0]) for one in series)
    last = max(int(one.days[-1]) for one in series)
    moves = np.full((last - first + 1, len(series)), MISSING, np.int64)
    for column, one in enumerate(series):
        moves[one.days - first, column] = one.returns_ppm
    return tuple(FeedId(one.asset) for one in series), moves


def joined(earlier: Column, own: Column) -> Column:
    """A history after another, as if no time had passed between them."""
    return np.concatenate([earlier, own])


def with_ranges(parameters: Parameters, underlyings: Sequence[FeedId]) -> Parameters:
    """Parameters that know these underlyings, and give no credit by list: a model has to find offsets itself."""
    ranges = tuple(
        ScanRange(underlying=one, move_bp=RANGE_BP, volatility_bp=VOLATILITY_RANGE_BP)
        for one in sorted(underlyings)
    )
    return replace(parameters, scan_ranges=ranges, offsets=())


def market_of(family: Bridged, scene: Scene, parameters: Parameters) -> Market:
    """What a model knows at the time of a scene."""
    wanted = {one.underlying for one in scene.instruments}
    ranges = {one.underlying: one.move_bp for one in parameters.scan_ranges if one.underlying in wanted}
    states = States()
    if wanted:
        states = states_of(family.path, day=family.day(scene.at_ms), today_ppm={}, ranges_bp=ranges)
    return Market(prices=scene.prices, at_ms=scene.at_ms, states=states)


def array_of(family: Bridged, scene: Scene, model: Model, parameters: Parameters) -> RiskArray:
    """The risk array of the instruments of a scene."""
    return model.risk_array(scene.instruments, market_of(family, scene, parameters), parameters)


def positions(scene: Scene, array: RiskArray) -> Positions:
    """The books of a scene in columns."""
    row_of = {row.instrument: n for n, row in enumerate(array.instruments)}
    rows = np.array([row_of[one.id] for one in scene.instruments], np.int64)
    owners, held = np.nonzero(scene.lots)
    return Positions(
        portfolios=len(scene.lots), owners=owners, rows=rows[held], lots=scene.lots[owners, held]
    )


def walk_bridged(family: Bridged, models: Sequence[Model], parameters: Parameters) -> Walked:
    """Every book of the family at each of its times, by every model."""
    shape = (len(family.times), len(family.books))
    gross, end = np.full(shape, np.nan), np.full(shape, np.nan)
    requirement = {model.name: np.full(shape, np.nan) for model in models}
    for row, at_ms in enumerate(family.times):
        scene = family.scene(at_ms)
        there: Flags = (scene.lots != 0).any(axis=1)
        gross[row, there], end[row, there] = scene.gross_minor[there], scene.end_minor[1][there]
        for model in models:
            array = array_of(family, scene, model, parameters)
            amounts = np.array(model.amounts(positions(scene, array), array, parameters), np.float64)
            requirement[model.name][row, there] = amounts[there]
    unknown: Floats = np.full(shape, np.nan)
    return Walked(
        books=tuple(family.books),
        times=np.array(family.times, np.int64),
        gross=gross,
        end={1: end},
        low={1: unknown},
        requirement=requirement,
    )
