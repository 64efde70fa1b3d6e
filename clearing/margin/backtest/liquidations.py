"""Real liquidations beside what the house would have asked: was the account short of margin before?

Each is looked at twice: at the midnight before, and right after the account's own last trade before it. *Short* is an
account whose equity is below its maintenance requirement M, *called* one between M and R, *healthy* any other;
*flat* one without a position then. A house that asks for R at each trade does not let the short ones come about.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from clearing.margin.backtest.account_books import Accounts, coin_instrument
from clearing.margin.backtest.bridged import RANGE_BP
from clearing.margin.factors import states_of
from clearing.margin.model import Market
from clearing.margin.table import Model
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import BP, DAY_MS, Parameters
from ledger.amount import divide_up

SETTLED_MS = 60_000
"""Trades in the minute before a liquidation may be part of it."""
FLAT, SHORT, CALLED, HEALTHY = "flat", "short", "called", "healthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Liquidated:
    """An account was liquidated."""

    at_ms: int
    user: str
    notional_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An account at a time. ``margin_minor``: M."""

    at_ms: int
    status: str
    equity_minor: int
    margin_minor: int
    notional_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """A liquidation, and where its account stood."""

    liquidated: Liquidated
    at_midnight: Standing
    after_own_trade: Standing


class Standings:
    """What accounts held and had, by one model."""

    def __init__(self, accounts: Accounts, model: Model, parameters: Parameters) -> None:
        self._accounts, self._model, self._parameters = accounts, model, parameters

    def standing(self, user: str, at_ms: int) -> Standing:
        """Of one account, at the last prices, however old."""
        held = {coin: lots for coin, lots in self._accounts.lots(at_ms).get(user, {}).items() if lots}
        equity = self._accounts.equity_minor(user, at_ms)
        if not held:
            return Standing(at_ms=at_ms, status=FLAT, equity_minor=equity, margin_minor=0, notional_minor=0)
        prices = self._accounts.prices(at_ms)
        margin = self._margin(held, prices, at_ms)
        if equity < margin:
            status = SHORT
        else:
            asked = divide_up(margin * self._parameters.requirement_bp, BP)
            status = CALLED if equity < asked else HEALTHY
        return Standing(
            at_ms=at_ms,
            status=status,
            equity_minor=equity,
            margin_minor=margin,
            notional_minor=sum(abs(lots) * prices[coin] for coin, lots in held.items()),
        )

    def _margin(self, held: dict[str, int], prices: dict[str, int], at_ms: int) -> int:
        instruments = [coin_instrument(coin) for coin in sorted(held)]
        ranges = {one.underlying: RANGE_BP for one in instruments}
        day = self._accounts.day(at_ms)
        market = Market(
            prices={FeedId(coin): prices[coin] for coin in held},
            at_ms=at_ms,
            states=states_of(self._accounts.path, day=day, today_ppm={}, ranges_bp=ranges),
        )
        array = self._model.risk_array(instruments, market, self._parameters)
        lots = {InstrumentId(f"{coin}-PERP"): size for coin, size in held.items()}
        return self._model.margin(lots, array, self._parameters).amount_minor

    def before(self, liquidations: Iterable[Liquidated]) -> list[Before]:
        """Of each liquidation of an account that traded."""
        return [
            Before(
                liquidated=one,
                at_midnight=self.standing(one.user, one.at_ms // DAY_MS * DAY_MS),
                after_own_trade=self.standing(one.user, self._last_trade_ms(one) + 1),
            )
            for one in liquidations
            if one.user in self._accounts.users
        ]

    def _last_trade_ms(self, liquidated: Liquidated) -> int:
        own = [one.at_ms for one in self._accounts.trades if one.user == liquidated.user]
        return max((at_ms for at_ms in own if at_ms < liquidated.at_ms - SETTLED_MS), default=0)

    def at_midnights(self) -> list[Standing]:
        """Every account that held something at each midnight."""
        return [
            self.standing(user, at_ms)
            for at_ms in self._accounts.times
            for user, book in sorted(self._accounts.lots(at_ms).items())
            if any(book.values())
        ]


def count(standings: Sequence[Standing]) -> dict[str, int]:
    """How many there are of each status."""
    statuses = np.array([one.status for one in standings])
    return {status: int((statuses == status).sum()) for status in (FLAT, SHORT, CALLED, HEALTHY)}
