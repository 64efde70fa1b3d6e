"""Made-up surfaces and walks for tests of the backtest."""

from collections.abc import Sequence

import numpy as np

from clearing.margin.backtest.bridged import with_ranges
from clearing.margin.backtest.option_books import Options
from clearing.margin.backtest.surface import Quote, Snapshot, daily, snapshots
from clearing.margin.model import Column
from clearing.model.ids import FeedId
from clearing.model.values import DAY_MS, Parameters

START_MS = 20_000 * DAY_MS
EXPIRIES_DAYS = (3, 8, 31, 95)
BTC = FeedId("BTC")


def quote(
    day: float = 0,
    *,
    index: float = 50_000.0,
    expires_in: float = 30.0,
    volatility: float = 0.5,
    basis: float = 0.0,
    skew: float = 0.02,
    currency: str = "BTC",
) -> Quote:
    return Quote(
        at_ms=START_MS + int(day * DAY_MS),
        currency=currency,
        expires_ms=START_MS + int((day + expires_in) * DAY_MS),
        forward=index * (1 + basis),
        index=index,
        at_the_money=volatility,
        put_25=volatility + skew,
        call_25=volatility + skew / 2,
    )


def surface(prices: Sequence[float], volatilities: Sequence[float] | None = None) -> dict[int, Snapshot]:
    """One snapshot a day; the expiries stay where they are."""
    made = []
    for day, price in enumerate(prices):
        volatility = 0.5 if volatilities is None else volatilities[day]
        made += [
            quote(day, index=price, expires_in=days + len(prices) - day, volatility=volatility)
            for days in EXPIRIES_DAYS
        ]
    return snapshots(made)


def history(days: int = 600, *, seed: int = 1, size: float = 0.03) -> Column:
    return np.random.default_rng(seed).normal(0, size * 1e6, (days, 1)).astype(np.int64)


def options(
    prices: Sequence[float],
    volatilities: Sequence[float] | None = None,
    *,
    flat: bool = False,
) -> Options:
    made = surface(prices, volatilities)
    return Options(made, daily(list(made)), underlyings=(BTC,), earlier=history(), flat=flat)


def parameters() -> Parameters:
    return with_ranges(Parameters(), [BTC])
