"""The books of real accounts, rebuilt from their trades.

An account's position in a coin is the sum of its signed sizes. At each 00:00 UTC its book is margined and held
against what it gained by the next, had it not been touched: at the last price traded on each of the two days. A
position in a coin that did not trade on both days has no such price: it is left out, and counted. What an account
could lose besides is what it paid in, and what its trades made: ``equity_minor``; funding is not in the data.

Coins without a history of their own are margined by the proxy, as a new listing is.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from clearing.margin.backtest.books import Book, Scene
from clearing.margin.backtest.series import end_ms
from clearing.margin.factors import MISSING, History, Path, path_of
from clearing.margin.model import Column
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import DAY_MS, PPM, Instrument, InstrumentKind

TICKS_PER_UNIT = 10**6
LOTS_PER_COIN = 10**5
MINOR_PER_UNIT = TICKS_PER_UNIT * LOTS_PER_COIN
"""A tick is a millionth of a dollar, a lot a hundred-thousandth of a coin, and one of the other is a smallest unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """An account bought (or sold, with ``lots`` below zero) a coin."""

    at_ms: int
    user: str
    coin: str
    ticks: int
    lots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """An account paid in, or took out (below zero)."""

    at_ms: int
    user: str
    minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What was not margined: positions at the end of a day, and their notional, in a coin without both prices."""

    positions: int
    notional_minor: int
    of_positions: int
    of_notional_minor: int


def coin_instrument(coin: str) -> Instrument:
    """The perpetual on a coin."""
    return Instrument(
        id=InstrumentId(f"{coin}-PERP"),
        kind=InstrumentKind.PERPETUAL,
        underlying=FeedId(coin),
        feed=FeedId(coin),
        tick_value_minor=1,
        price_decimals=6,
        lot_decimals=5,
    )


class Accounts:
    """Every account of the trades. ``earlier``: the long history of ``underlyings``, of which ``last_day`` is the
    last day; what the trades themselves say of later days follows it, without the days between.
    """

    def __init__(
        self,
        trades: Iterable[Trade],
        payments: Iterable[Payment],
        *,
        underlyings: Sequence[FeedId],
        earlier: Column,
    ) -> None:
        self.trades = sorted(trades, key=lambda one: one.at_ms)
        self.payments = sorted(payments, key=lambda one: one.at_ms)
        self.users = sorted({one.user for one in self.trades})
        self.coins = sorted({one.coin for one in self.trades})
        self._underlyings, self._earlier = tuple(underlyings), earlier

    @property
    def books(self) -> Sequence[Book]:
        """One an account."""
        return [Book(name=user, portfolio="accounts", assets=()) for user in self.users]

    @cached_property
    def days(self) -> range:
        """The days of the trades."""
        return range(self.trades[0].at_ms // DAY_MS, self.trades[-1].at_ms // DAY_MS + 1)

    @cached_property
    def times(self) -> Sequence[int]:
        """The end of each day but the last."""
        return [end_ms(day) for day in self.days[:-1]]

    @cached_property
    def closes(self) -> Mapping[int, Mapping[str, int]]:
        """By day the last price of each coin that traded on it, in ticks."""
        found: dict[int, dict[str, int]] = {day: {} for day in self.days}
        for one in self.trades:
            found[one.at_ms // DAY_MS][one.coin] = one.ticks
        return found

    @cached_property
    def path(self) -> Path:
        """The long history, then the days of the trades; a day's return needs a price on it and on the day before."""
        names = (*self._underlyings, *(FeedId(coin) for coin in self.coins if coin not in self._underlyings))
        column_of = {name: n for n, name in enumerate(names)}
        moves = np.full((len(self._earlier) + len(self.days), len(names)), MISSING, np.int64)
        moves[: len(self._earlier), : len(self._underlyings)] = self._earlier
        for row, (before, day) in enumerate(pairwise(self.days), len(self._earlier) + 1):
            for coin in sorted(self.closes[day].keys() & self.closes[before].keys()):
                was = self.closes[before][coin]
                moves[row, column_of[FeedId(coin)]] = (self.closes[day][coin] - was) * PPM // was
        return path_of(History(names, moves))

    def day(self, at_ms: int) -> int:
        """The long history and the days that have ended."""
        return len(self._earlier) + at_ms // DAY_MS - self.days[0]

    def lots(self, at_ms: int) -> dict[str, Counter[str]]:
        """By account what it holds of each coin, at a time."""
        held: dict[str, Counter[str]] = {user: Counter() for user in self.users}
        for one in self.trades:
            if one.at_ms >= at_ms:
                break
            held[one.user][one.coin] += one.lots
        return held

    def prices(self, at_ms: int) -> dict[str, int]:
        """The last price of each coin before a time, however old."""
        found: dict[str, int] = {}
        for one in self.trades:
            if one.at_ms >= at_ms:
                break
            found[one.coin] = one.ticks
        return found

    def equity_minor(self, user: str, at_ms: int) -> int:
        """What the account paid in and made by then, at the last prices."""
        prices = self.prices(at_ms)
        paid = sum(one.minor for one in self.payments if one.user == user and one.at_ms < at_ms)
        traded = [one for one in self.trades if one.user == user and one.at_ms < at_ms]
        return paid + sum(one.lots * (prices[one.coin] - one.ticks) for one in traded)

    def scene(self, at_ms: int) -> Scene:
        """The books at the end of a day."""
        day = at_ms // DAY_MS - 1
        now, after = self.closes[day], self.closes[day + 1]
        coins = sorted(now.keys() & after.keys())
        held = self.lots(at_ms)
        lots = np.array([[held[user][coin] for coin in coins] for user in self.users], np.int64)
        lots = lots.reshape(len(self.users), len(coins))
        before = np.array([now[coin] for coin in coins], np.int64)
        change = np.array([after[coin] - now[coin] for coin in coins], np.int64)
        return Scene(
            at_ms=at_ms,
            instruments=tuple(coin_instrument(coin) for coin in coins),
            prices={FeedId(coin): now[coin] for coin in coins},
            lots=lots,
            gross_minor=(np.abs(lots) * before).sum(axis=1),
            end_minor={1: (lots * change).sum(axis=1).astype(np.float64)},
            low_minor={1: np.full(len(lots), np.nan)},
        )

    def left_out(self) -> LeftOut:
        """How much of all account-days is not margined."""
        left, left_notional, whole, whole_notional = 0, 0, 0, 0
        for at_ms in self.times:
            day = at_ms // DAY_MS - 1
            priced = self.closes[day].keys() & self.closes[day + 1].keys()
            prices = self.prices(at_ms)
            for book in self.lots(at_ms).values():
                for coin, size in book.items():
                    notional = abs(size) * prices[coin]
                    whole, whole_notional = whole + (size != 0), whole_notional + notional
                    if coin not in priced:
                        left, left_notional = left + (size != 0), left_notional + notional
        return LeftOut(
            positions=left, notional_minor=left_notional, of_positions=whole, of_notional_minor=whole_notional
        )
