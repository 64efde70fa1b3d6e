"""Books of options and dated futures, set anew at each snapshot of a surface and marked again on the next day's.

Prices, forwards and volatilities are those that were quoted, at both ends of a step: what a book gained is what it
would have gained, one day of time included. Strikes are at the money and at 25 delta of expiries near two, seven,
thirty and ninety days; a book that is *hedged* holds as much of the future of that expiry as takes its delta away.

The house marks all strikes of an expiry with one volatility. Here each strike has its own, so that books are also
held against the skew that moves; ``flat`` marks them as the house does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from clearing.margin.backtest.books import Book, Scene
from clearing.margin.backtest.bridged import joined
from clearing.margin.backtest.surface import Quote, Snapshot
from clearing.margin.factors import MISSING, History, Path, path_of
from clearing.margin.model import Column
from clearing.margin.pricing import delta, value_ticks
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import BP, PPM, Instrument, InstrumentKind, OptionTerms, Right

TICKS_PER_UNIT = 100
LOTS_PER_COIN = 1_000
TICK_VALUE_MINOR = 10
"""A tick is a hundredth of a dollar, a lot a thousandth of a coin, a smallest unit a millionth of a dollar."""
TENORS_DAYS = (2, 7, 30, 90)
CALENDARS_DAYS = ((2, 30), (7, 30), (30, 90))
LEAST_DAYS = 1.25
"""An expiry nearer than this would pass before the step ends."""
RANDOM_BOOKS = 40
STRIKE_STEPS = 100
"""Strikes are rounded to a hundredth of the power of ten below the forward."""


@dataclass(frozen=True, slots=True)
class Leg:
    """So many coins of an option, or of the future of its expiry if it has no right. ``days`` names the expiry that
    is nearest to it, ``side`` the strike: at the money, or the 25-delta call (1) or put (−1).
    """

    days: float
    coins: float
    right: Right | None = None
    side: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A book and its legs at a time. ``hedged``: the future of the first leg's expiry takes the delta away."""

    book: Book
    legs: Callable[[int], Sequence[Leg]]
    hedged: bool = False


def _straddle(days: float, coins: float, side: int = 0) -> list[Leg]:
    return [Leg(days, coins, Right.CALL, side), Leg(days, coins, Right.PUT, -side)]


def _fixed(legs: Sequence[Leg]) -> Callable[[int], Sequence[Leg]]:
    return lambda _at_ms: legs


def recipes(currency: str, seed: int) -> list[Recipe]:
    """Every kind of book on a currency, long and short."""
    shapes: list[tuple[str, str, list[Leg]]] = []
    for days in TENORS_DAYS:
        shapes += [
            ("straddle", f"{days} d", _straddle(days, 1.0)),
            ("strangle", f"{days} d", _straddle(days, 1.0, 1)),
            ("risk reversal", f"{days} d", [Leg(days, 1.0, Right.CALL, 1), Leg(days, -1.0, Right.PUT, -1)]),
            ("call", f"{days} d", [Leg(days, 1.0, Right.CALL)]),
        ]
    for near, far in CALENDARS_DAYS:
        shapes.append(("calendar", f"{near}/{far} d", _straddle(far, 1.0) + _straddle(near, -1.0)))
    found = [
        Recipe(
            book=Book(
                name=f"{currency} {shape} {tenor}{' hedged' if hedged else ''} {word}",
                portfolio=f"{shape}{' hedged' if hedged else ''} {word}",
                assets=(currency,),
            ),
            legs=_fixed([Leg(leg.days, sign * leg.coins, leg.right, leg.side) for leg in legs]),
            hedged=hedged,
        )
        for shape, tenor, legs in shapes
        for hedged in (False, True)
        for sign, word in ((1.0, "long"), (-1.0, "short"))
    ]
    return found + [_random(currency, seed, number) for number in range(RANDOM_BOOKS)]


def _random(currency: str, seed: int, number: int) -> Recipe:
    """Two to eight options of any expiry; every other book is hedged. What it holds is drawn anew at each time."""

    def legs(at_ms: int) -> list[Leg]:
        chance = np.random.default_rng([seed, number, at_ms // 1000])
        count = int(chance.integers(2, 9))
        return [
            Leg(
                days=float(np.exp(chance.uniform(np.log(1.5), np.log(250.0)))),
                coins=float(chance.integers(1, 6) * chance.choice([-1, 1])),
                right=Right.CALL if chance.random() < 0.5 else Right.PUT,
                side=int(chance.integers(-1, 2)),
            )
            for _ in range(count)
        ]

    hedged = number % 2 == 1
    return Recipe(
        book=Book(
            name=f"{currency} random options {number + 1:02d}",
            portfolio=f"random options{' hedged' if hedged else ''}",
            assets=(currency,),
        ),
        legs=legs,
        hedged=hedged,
    )


class Options:
    """Books on every currency that ``steps`` have in both snapshots. ``earlier``: the long history of the underlyings,
    in the order of ``underlyings``; it may end long before the first step.
    """

    def __init__(
        self,
        snapshots: Mapping[int, Snapshot],
        steps: Sequence[tuple[int, int]],
        *,
        underlyings: tuple[FeedId, ...],
        earlier: Column,
        seed: int = 7,
        flat: bool = False,
    ) -> None:
        self._snapshots, self._ends = snapshots, dict(steps)
        self._underlyings, self._earlier, self._flat = underlyings, earlier, flat
        self._recipes = [recipe for one in underlyings for recipe in recipes(one, seed)]

    @property
    def books(self) -> Sequence[Book]:
        """As the recipes name them."""
        return [recipe.book for recipe in self._recipes]

    @property
    def times(self) -> Sequence[int]:
        """When a step begins."""
        return sorted(self._ends)

    @cached_property
    def path(self) -> Path:
        """The long history, then the steps."""
        own = np.full((len(self._ends), len(self._underlyings)), MISSING, np.int64)
        for row, at_ms in enumerate(self.times):
            for column, currency in enumerate(self._underlyings):
                first = self._snapshots[at_ms].get(currency, ())
                after = self._snapshots[self._ends[at_ms]].get(currency, ())
                if first and after:
                    own[row, column] = round((after[0].index / first[0].index - 1) * PPM)
        return path_of(History(self._underlyings, joined(self._earlier, own)))

    def day(self, at_ms: int) -> int:
        """The long history and the steps that have ended."""
        return len(self._earlier) + sum(1 for end in self._ends.values() if end <= at_ms)

    def scene(self, at_ms: int) -> Scene:
        """The books of all currencies, made of one table of instruments."""
        shelf = _Shelf(self._snapshots[at_ms], self._snapshots[self._ends[at_ms]], at_ms, self._flat)
        for recipe in self._recipes:
            shelf.hold(recipe, at_ms)
        return shelf.scene(self._ends[at_ms])


class _Shelf:
    """The instruments of one time as books ask for them."""

    def __init__(self, now: Snapshot, after: Snapshot, at_ms: int, flat: bool) -> None:
        self._now, self._at_ms, self._flat = now, at_ms, flat
        self._after = {(c, one.expires_ms): one for c, quotes in after.items() for one in quotes}
        self._instruments: dict[InstrumentId, tuple[Instrument, Quote]] = {}
        self._books: list[dict[InstrumentId, int]] = []

    def hold(self, recipe: Recipe, at_ms: int) -> None:
        """One book more; empty where its expiries are not quoted at both ends."""
        (currency,) = recipe.book.assets
        usable = [
            one
            for one in self._now.get(currency, ())
            if one.days >= LEAST_DAYS and (currency, one.expires_ms) in self._after
        ]
        lots: dict[InstrumentId, int] = {}
        legs = recipe.legs(at_ms) if usable else []
        quotes = [_nearest(usable, leg.days) for leg in legs]
        delta_lots = 0.0
        for leg, quote in zip(legs, quotes, strict=True):
            instrument = self._instrument(quote, leg)
            size = round(leg.coins * LOTS_PER_COIN)
            lots[instrument.id] = lots.get(instrument.id, 0) + size
            delta_lots += size * self._delta(instrument, quote)
        if recipe.hedged and legs:
            future = self._instrument(quotes[0], Leg(quotes[0].days, 0.0))
            lots[future.id] = lots.get(future.id, 0) - round(delta_lots)
        is_calendar = len({quote.expires_ms for quote in quotes}) > 1
        self._books.append({} if "calendar" in recipe.book.portfolio and not is_calendar else lots)

    def _instrument(self, quote: Quote, leg: Leg) -> Instrument:
        expiry = str(np.datetime64(quote.expires_ms, "ms").astype("datetime64[D]"))
        feed = FeedId(f"{quote.currency}-{expiry}")
        option = None
        name = str(feed)
        if leg.right is not None:
            strike_ticks = _strike_ticks(quote, leg.side)
            name = f"{feed}-{strike_ticks // TICKS_PER_UNIT}-{leg.right.value}"
            volatility = feed if self._flat else f"{feed}-{strike_ticks // TICKS_PER_UNIT}"
            option = OptionTerms(
                right=leg.right, strike_ticks=strike_ticks, volatility_feed=FeedId(f"{volatility} volatility")
            )
        made = Instrument(
            id=InstrumentId(name),
            kind=InstrumentKind.FUTURE if option is None else InstrumentKind.OPTION,
            underlying=FeedId(quote.currency),
            feed=feed,
            tick_value_minor=TICK_VALUE_MINOR,
            price_decimals=2,
            lot_decimals=3,
            expires_ms=quote.expires_ms,
            option=option,
        )
        return self._instruments.setdefault(made.id, (made, quote))[0]

    def _volatility_bp(self, instrument: Instrument, quote: Quote) -> int:
        if instrument.option is None:
            return 0
        strike = instrument.option.strike_ticks / TICKS_PER_UNIT
        return round((quote.at_the_money if self._flat else quote.volatility(strike)) * BP)

    def _delta(self, instrument: Instrument, quote: Quote) -> float:
        if instrument.option is None:
            return 1.0
        terms = instrument.option
        volatility = self._volatility_bp(instrument, quote) / BP
        return delta(terms.right, _ticks(quote), terms.strike_ticks, volatility, quote.years)

    def scene(self, end_ms: int) -> Scene:
        """What was asked for."""
        shelf = [self._instruments[name] for name in sorted(self._instruments)]
        lots = np.array(
            [[book.get(one.id, 0) for one, _ in shelf] for book in self._books], np.int64
        ).reshape(len(self._books), len(shelf))
        prices: dict[FeedId, int] = {}
        gained, notional = [], []
        for one, quote in shelf:
            prices[one.feed] = _ticks(quote)
            if one.option is not None:
                prices[one.option.volatility_feed] = self._volatility_bp(one, quote)
            after = self._after[quote.currency, quote.expires_ms]
            gained.append(
                (self._worth(one, after, end_ms) - self._worth(one, quote, self._at_ms))
                * one.tick_value_minor
            )
            notional.append(_ticks(quote) * one.tick_value_minor)
        end = (lots * np.array(gained, np.int64)).sum(axis=1).astype(np.float64)
        return Scene(
            at_ms=self._at_ms,
            instruments=tuple(one for one, _ in shelf),
            prices=prices,
            lots=lots,
            gross_minor=(np.abs(lots) * np.array(notional, np.int64)).sum(axis=1),
            end_minor={1: end},
            low_minor={1: np.full(len(lots), np.nan)},
        )

    def _worth(self, instrument: Instrument, quote: Quote, at_ms: int) -> int:
        """The mark in ticks."""
        if instrument.option is None:
            return _ticks(quote)
        return value_ticks(instrument, _ticks(quote), self._volatility_bp(instrument, quote), at_ms)


def _nearest(quotes: Sequence[Quote], days: float) -> Quote:
    return min(quotes, key=lambda one: abs(one.days - days))


def _ticks(quote: Quote) -> int:
    return round(quote.forward * TICKS_PER_UNIT)


def _strike_ticks(quote: Quote, side: int) -> int:
    wanted = quote.forward * float(np.exp(quote.wing(side))) if side else quote.forward
    step_ticks = int(10 ** (len(str(round(quote.forward))) - 1)) * TICKS_PER_UNIT // STRIKE_STEPS
    return max(1, round(wanted * TICKS_PER_UNIT / step_ticks)) * step_ticks
