"""Books that are long one price of an underlying and short another: calendar spreads and cash-and-carry.

Each holds the same money of both legs at each snapshot of a surface, the index (as a perpetual that tracks it
exactly) or the future of an expiry near a tenor, and is marked again on the next day's quotes. All that it can lose is
what the basis moved by: scenarios move an underlying as one, only the basis floor sets its prices apart.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from clearing.margin.backtest.books import Book, Scene
from clearing.margin.backtest.option_books import (
    LEAST_DAYS,
    LOTS_PER_COIN,
    TICK_VALUE_MINOR,
    TICKS_PER_UNIT,
)
from clearing.margin.backtest.surface import Quote, Snapshot
from clearing.margin.factors import Path
from clearing.margin.model import Column
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import Instrument, InstrumentKind

INDEX = 0
TENORS_DAYS = (INDEX, 7, 30, 90, 180)
"""What stands against what: each pair of these."""
COINS = 10


class Basis:
    """Every pair of tenors on every currency, both ways round. ``days`` and ``path`` are those of the options that
    are made of the same snapshots.
    """

    def __init__(
        self,
        snapshots: Mapping[int, Snapshot],
        steps: Sequence[tuple[int, int]],
        *,
        path: Path,
        earlier_days: int,
    ) -> None:
        self._snapshots, self._ends = snapshots, dict(steps)
        self.path, self._earlier_days = path, earlier_days
        self._pairs = [
            (str(currency), one, other)
            for currency in path.history.underlyings
            for one in TENORS_DAYS
            for other in TENORS_DAYS
            if one != other
        ]

    @cached_property
    def books(self) -> Sequence[Book]:
        """Named by what is held long and what short."""
        return [
            Book(
                name=f"{currency} {_word(one)} - {_word(other)}",
                portfolio="cash and carry" if INDEX in (one, other) else "calendar futures",
                assets=(currency,),
            )
            for currency, one, other in self._pairs
        ]

    @property
    def times(self) -> Sequence[int]:
        """When a step begins."""
        return sorted(self._ends)

    def day(self, at_ms: int) -> int:
        """The long history and the steps that have ended."""
        return self._earlier_days + sum(1 for end in self._ends.values() if end <= at_ms)

    def scene(self, at_ms: int) -> Scene:
        """The same money long and short, to the nearest lot."""
        now, end = self._snapshots[at_ms], self._snapshots[self._ends[at_ms]]
        shelf: dict[InstrumentId, tuple[Instrument, int, int]] = {}
        books: list[dict[InstrumentId, int]] = []
        for currency, one, other in self._pairs:
            long, short = (_leg(now, end, currency, tenor) for tenor in (one, other))
            if long is None or short is None or long[0].id == short[0].id:
                books.append({})
                continue
            shelf |= {leg[0].id: leg for leg in (long, short)}
            lots = COINS * LOTS_PER_COIN
            books.append({long[0].id: lots, short[0].id: -round(lots * long[1] / short[1])})
        return _scene(at_ms, [shelf[name] for name in sorted(shelf)], books)


def _word(tenor_days: int) -> str:
    return "index" if tenor_days == INDEX else f"{tenor_days} d"


def _leg(now: Snapshot, end: Snapshot, currency: str, tenor_days: int) -> tuple[Instrument, int, int] | None:
    """An instrument and its prices at both ends; none where it is not quoted at both."""
    after = {one.expires_ms: one for one in end.get(currency, ())}
    usable = [one for one in now.get(currency, ()) if one.days >= LEAST_DAYS and one.expires_ms in after]
    if not usable:
        return None
    if tenor_days == INDEX:
        return _instrument(currency, None), _ticks(usable[0].index), _ticks(next(iter(after.values())).index)
    nearest = min(usable, key=lambda one: abs(one.days - tenor_days))
    return _instrument(currency, nearest), _ticks(nearest.forward), _ticks(after[nearest.expires_ms].forward)


def _ticks(price: float) -> int:
    return round(price * TICKS_PER_UNIT)


def _instrument(currency: str, quote: Quote | None) -> Instrument:
    expires_ms = None if quote is None else quote.expires_ms
    name = (
        currency
        if quote is None
        else f"{currency}-{np.datetime64(quote.expires_ms, 'ms').astype('datetime64[D]')}"
    )
    return Instrument(
        id=InstrumentId(name),
        kind=InstrumentKind.PERPETUAL if quote is None else InstrumentKind.FUTURE,
        underlying=FeedId(currency),
        feed=FeedId(name),
        tick_value_minor=TICK_VALUE_MINOR,
        price_decimals=2,
        lot_decimals=3,
        expires_ms=expires_ms,
    )


def _scene(
    at_ms: int, shelf: Sequence[tuple[Instrument, int, int]], books: Sequence[Mapping[InstrumentId, int]]
) -> Scene:
    lots: Column = np.array([[book.get(one.id, 0) for one, *_ in shelf] for book in books], np.int64)
    lots = lots.reshape(len(books), len(shelf))
    before = np.array([now for _, now, _ in shelf], np.int64) * TICK_VALUE_MINOR
    after = np.array([end for *_, end in shelf], np.int64) * TICK_VALUE_MINOR
    return Scene(
        at_ms=at_ms,
        instruments=tuple(one for one, *_ in shelf),
        prices={one.feed: now for one, now, _ in shelf},
        lots=lots,
        gross_minor=(np.abs(lots) * before).sum(axis=1),
        end_minor={1: (lots * (after - before)).sum(axis=1).astype(np.float64)},
        low_minor={1: np.full(len(books), np.nan)},
    )
