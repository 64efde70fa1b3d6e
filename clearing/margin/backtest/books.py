"""What a backtest margins: families of books, made without knowing the future.

A family says when it has a *scene*: the instruments, their prices at that time, the lots of each of its books, and
what each book then gained or lost, at the end of each horizon and at the worst price traded on the way. Books of
linear instruments are here: outright, hedged and random; they are set anew to a constant gross notional at each
time, from prices, betas and draws that were known then.

Lots and prices are integers and so is every outcome: what a book gained is exact. An outcome is kept as float64,
which holds integers below 2^53 exactly, so that NaN can say "not known".
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from clearing.margin.backtest.series import Floats, Series, day_ended_by, end_ms
from clearing.margin.model import Column
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import Instrument, InstrumentKind

GROSS_MINOR = 10**14
"""The gross notional of every linear book."""
FIRST_TICKS = 10**8
"""Ticks of an asset are so small that its first price is about this many."""
BETA_DAYS = 90
BETA_LEAST = 30
HORIZONS = (1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """One book of a family. ``assets``: what it is about; an outright book is about one."""

    name: str
    portfolio: str
    assets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """The books of a family at one time. ``lots``: shape (books, instruments), zero where nothing is held; a book
    that is not there at this time has zeros only. ``end_minor`` and ``low_minor``: by horizon in days, the P&L of
    each book at its end, and at the worst prices traded before; NaN: not known.
    """

    at_ms: int
    instruments: tuple[Instrument, ...]
    prices: Mapping[FeedId, int]
    lots: Column
    gross_minor: Column
    end_minor: Mapping[int, Floats]
    low_minor: Mapping[int, Floats]


class Family(Protocol):
    """Books that share instruments and times; ``times`` ascends."""

    @property
    def books(self) -> Sequence[Book]:
        """Every book, in the order of a scene's rows."""

    @property
    def times(self) -> Sequence[int]:
        """When there is a scene, in milliseconds since 1970."""

    def scene(self, at_ms: int) -> Scene:
        """The books at one of the times."""


def perpetual(asset: str) -> Instrument:
    """A linear instrument on an asset, worth one smallest unit a tick and lot."""
    return Instrument(
        id=InstrumentId(f"{asset}-PERP"),
        kind=InstrumentKind.PERPETUAL,
        underlying=FeedId(asset),
        feed=FeedId(asset),
        tick_value_minor=1,
        price_decimals=0,
        lot_decimals=0,
    )


def ticks_per_unit(series: Series) -> int:
    """The power of ten that turns prices of an asset into ticks; of the first price alone, so that nothing that came
    later is in it.
    """
    scale: int = 10 ** max(0, int(np.floor(np.log10(FIRST_TICKS / series.close[0]))))
    return scale


Weights = Callable[["Linear", int], Floats]
"""The weight of each asset in a book on a day, known then; NaN where it cannot be: the book is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A book and how its weights come about; their absolute values are scaled to a sum of one."""

    book: Book
    weights: Weights


class Linear:
    """Books of perpetuals on assets with daily closes. ``least_days``: how long an asset must be known before a book
    holds it.
    """

    def __init__(self, series: Iterable[Series], recipes: Sequence[Recipe], *, least_days: int) -> None:
        self._series = tuple(series)
        self._recipes = tuple(recipes)
        self._least_days = least_days
        self.assets = tuple(one.asset for one in self._series)
        self._instruments = tuple(perpetual(asset) for asset in self.assets)

    @property
    def books(self) -> Sequence[Book]:
        """As the recipes name them."""
        return [recipe.book for recipe in self._recipes]

    @cached_property
    def times(self) -> Sequence[int]:
        """The end of each day of which some asset is known long enough and has a next close."""
        held = ~np.isnan(self._entry).all(axis=1)
        return [end_ms(int(day)) for day in self._days[held]]

    @cached_property
    def _days(self) -> Column:
        first = min(int(one.days[0]) for one in self._series)
        last = max(int(one.days[-1]) for one in self._series)
        return np.arange(first, last + 1)

    def _wide(self, values: Callable[[Series], Floats]) -> Floats:
        """One column an asset, one row a day, NaN where there is no bar."""
        wide = np.full((len(self._days), len(self._series)), np.nan)
        for column, one in enumerate(self._series):
            wide[one.days - self._days[0], column] = values(one)
        return wide

    @cached_property
    def _ticks(self) -> Floats:
        return self._wide(lambda one: np.rint(one.close * ticks_per_unit(one)))

    @cached_property
    def returns(self) -> Floats:
        """Daily returns that end with each day."""
        return self._wide(lambda one: one.returns)

    @cached_property
    def _entry(self) -> Floats:
        """Ticks at which a book can be entered: the asset is known long enough and its next step is a return."""
        entry = self._ticks.copy()
        known = (~np.isnan(self.returns)).cumsum(axis=0)
        entry[known < self._least_days] = np.nan
        entry[:-1][np.isnan(self.returns[1:])] = np.nan
        entry[-1] = np.nan
        entry[entry < 1] = np.nan
        return entry

    def row(self, day: int) -> int:
        """The row of a day."""
        return day - int(self._days[0])

    def is_there(self, asset: int, row: int) -> bool:
        """Whether a book can hold an asset on a day."""
        return not np.isnan(self._entry[row, asset])

    def beta(self, asset: int, hedge: int, row: int) -> float:
        """Of the last days' returns, by least squares through zero; NaN with too few of them."""
        last = self.returns[max(0, row - BETA_DAYS + 1) : row + 1, [asset, hedge]]
        both = last[~np.isnan(last).any(axis=1)]
        if len(both) < BETA_LEAST:
            return float("nan")
        return float((both[:, 0] * both[:, 1]).sum() / (both[:, 1] ** 2).sum())

    def scene(self, at_ms: int) -> Scene:
        """Lots from the weights, rounded towards nothing."""
        row = self.row(day_ended_by(at_ms))
        entry = self._entry[row]
        weights = np.array([recipe.weights(self, row) for recipe in self._recipes])
        gross = np.nansum(np.abs(weights), axis=1, keepdims=True)
        needs = np.nan_to_num(weights) != 0
        missing = (needs & np.isnan(entry)).any(axis=1) | np.isnan(weights).any(axis=1) | (gross[:, 0] == 0)
        wanted = np.where(needs & ~missing[:, None], weights / np.where(gross, gross, 1), 0) * GROSS_MINOR
        lots = np.trunc(wanted / np.where(np.isnan(entry), 1, entry)).astype(np.int64)
        prices = np.nan_to_num(entry).astype(np.int64)
        return Scene(
            at_ms=at_ms,
            instruments=tuple(
                one for one, is_held in zip(self._instruments, ~np.isnan(entry), strict=True) if is_held
            ),
            prices={
                one.feed: int(price) for one, price in zip(self._instruments, prices, strict=True) if price
            },
            lots=lots[:, ~np.isnan(entry)],
            gross_minor=(np.abs(lots) * prices).sum(axis=1),
            end_minor={h: self._gained(lots, row, self._close_after(row, h)) for h in HORIZONS},
            low_minor={h: self._worst(lots, row, h) for h in HORIZONS},
        )

    def _close_after(self, row: int, days: int) -> Floats:
        """Ticks after so many days; NaN if a step on the way is no return."""
        after: Floats = (
            self._ticks[row + days].copy() if row + days < len(self._ticks) else self._ticks[row] * np.nan
        )
        after[np.isnan(self.returns[row + 1 : row + 1 + days]).any(axis=0)] = np.nan
        return after

    def _gained(self, lots: Column, row: int, after: Floats) -> Floats:
        change = after - self._ticks[row]
        unknown = ((lots != 0) & np.isnan(change)).any(axis=1)
        gained: Floats = (lots * np.nan_to_num(change).astype(np.int64)).sum(axis=1).astype(np.float64)
        gained[unknown] = np.nan
        return gained

    @cached_property
    def _low(self) -> Floats:
        return self._wide(lambda one: np.rint(one.low * ticks_per_unit(one)))

    @cached_property
    def _high(self) -> Floats:
        return self._wide(lambda one: np.rint(one.high * ticks_per_unit(one)))

    def _worst(self, lots: Column, row: int, days: int) -> Floats:
        """Books of one asset at its lowest (long) or highest (short) traded price; others have no such time."""
        on_way = slice(row + 1, row + 1 + days)
        if row + days >= len(self._ticks):
            return np.full(len(lots), np.nan)
        known = ~np.isnan(self._close_after(row, days))
        low = np.where(known, self._low[on_way].min(axis=0), np.nan)
        high = np.where(known, self._high[on_way].max(axis=0), np.nan)
        worst: Floats = self._gained(np.maximum(lots, 0), row, low) + self._gained(
            np.minimum(lots, 0), row, high
        )
        worst[(lots != 0).sum(axis=1) != 1] = np.nan
        return worst


def outright(series: Sequence[Series]) -> list[Recipe]:
    """Each asset held long, and held short."""
    found = []
    for number, one in enumerate(series):
        for side, word in ((1.0, "long"), (-1.0, "short")):
            book = Book(name=f"{one.asset} {word}", portfolio="outright", assets=(one.asset,))
            found.append(Recipe(book=book, weights=_constant(len(series), {number: side})))
    return found


def _constant(assets: int, weights: Mapping[int, float]) -> Weights:
    fixed = np.zeros(assets)
    for number, weight in weights.items():
        fixed[number] = weight
    return lambda _family, _row: fixed


def hedged(series: Sequence[Series], hedges: Sequence[str]) -> list[Recipe]:
    """Each asset against each hedge, both ways round: for the same money, and for the beta of the last days."""
    numbers = {one.asset: n for n, one in enumerate(series)}
    found = []
    for place, hedge in enumerate(hedges):
        for asset, number in numbers.items():
            if asset == hedge or asset in hedges[:place]:
                continue
            for sign, name in ((1.0, f"{asset} - {hedge}"), (-1.0, f"{hedge} - {asset}")):
                pair = {number: sign, numbers[hedge]: -sign}
                for way, weights in (
                    ("dollar", _constant(len(series), pair)),
                    ("beta", _by_beta(number, numbers[hedge], sign)),
                ):
                    book = Book(name=f"{name} {way}", portfolio="hedged", assets=(asset, hedge))
                    found.append(Recipe(book=book, weights=weights))
    return found


def _by_beta(asset: int, hedge: int, sign: float) -> Weights:
    def weights(family: Linear, row: int) -> Floats:
        found = np.zeros(len(family.assets))
        found[asset], found[hedge] = sign, -sign * family.beta(asset, hedge, row)
        return found

    return weights


def random_books(series: Sequence[Series], *, count: int, seed: int) -> list[Recipe]:
    """Long and short in up to eight assets; which, and how much, is drawn before any price is read."""
    chance = np.random.default_rng(seed)
    found = []
    for number in range(count):
        size = min(len(series), int(chance.integers(3, 9)))
        chosen = chance.choice(len(series), size=size, replace=False)
        signs = np.where(np.arange(size) % 2 == 0, 1.0, -1.0) * chance.choice([-1.0, 1.0])
        weights = signs * chance.uniform(0.5, 1.5, size)
        found.append(
            Recipe(
                book=Book(
                    name=f"random {number + 1:03d}",
                    portfolio="random",
                    assets=tuple(series[int(n)].asset for n in sorted(chosen)),
                ),
                weights=_of_those_there(dict(zip(map(int, chosen), map(float, weights), strict=True))),
            )
        )
    return found


def _of_those_there(weights: Mapping[int, float]) -> Weights:
    """A random book holds those of its assets that there are; fewer than two, or one side only, are no such book."""

    def present(family: Linear, row: int) -> Floats:
        found = np.zeros(len(family.assets))
        for number, weight in weights.items():
            if family.is_there(number, row):
                found[number] = weight
        return found if (found > 0).any() and (found < 0).any() else found * np.nan

    return present
