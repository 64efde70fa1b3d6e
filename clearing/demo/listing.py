"""What is cleared: perpetuals and a small strip of options on BTC and ETH.

For each of two expiries there is a call 10 % above and a put 10 % below the scenario's first price, at round strikes.
Each underlying and expiry has a volatility feed. What is published on it is modelled (``demo/market``), and the model
is flat: the same for both expiries.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from clearing.demo.market import BTC, UNDERLYINGS, Bar, Market
from clearing.margin.pricing import value_ticks
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import DAY_MS, HOUR_MS, Instrument, InstrumentKind, OptionTerms, Right

NEAR, FAR = 0, 1
"""The two expiries."""
USDC = 1_000_000
"""Smallest units in one USDC."""
PRICE_DECIMALS = 1
STRIKE_PERCENT = {Right.CALL: 110, Right.PUT: 90}
STRIKE_DIGITS = 2
_FIRST_FRIDAY = 1
"""Days from 1 January 1970, a Thursday."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All instruments of a scenario: the perpetuals first."""

    instruments: tuple[Instrument, ...]

    @classmethod
    def of(cls, market: Market) -> Self:
        """What is listed before the first price of a scenario."""
        first = market.bars[0]
        perpetuals = tuple(_linear(u) for u in UNDERLYINGS)
        options = tuple(
            _option(u, right, expires_ms, first.ticks[u])
            for u in UNDERLYINGS
            for expires_ms in expiries(first.known_ms)
            for right in Right
        )
        return cls(instruments=perpetuals + options)

    def named(self, name: InstrumentId) -> Instrument:
        """An instrument by its name."""
        return next(one for one in self.instruments if one.id == name)

    def perpetual(self, underlying: FeedId) -> InstrumentId:
        """The perpetual on an underlying."""
        return InstrumentId(f"{underlying}-PERP")

    def option(self, underlying: FeedId, right: Right, expiry: int) -> InstrumentId:
        """The option on an underlying of a right, for the near or the far expiry."""
        found = [
            one.id
            for one in self.instruments
            if one.option is not None and one.underlying == underlying and one.option.right is right
        ]
        return found[expiry]

    @property
    def volatility_feeds(self) -> tuple[FeedId, ...]:
        """The feeds of volatilities, in order; each begins with its underlying."""
        return tuple(
            sorted({one.option.volatility_feed for one in self.instruments if one.option is not None})
        )

    def price(self, name: InstrumentId, bar: Bar) -> int:
        """The mark at a bar: its close, or what an option is worth by it and the volatility published with it."""
        one = self.named(name)
        close = bar.ticks[one.underlying]
        if one.option is None:
            return close
        return value_ticks(one, close, bar.volatility_bp[one.underlying], bar.known_ms)

    def lots(self, name: InstrumentId, notional_minor: int, bar: Bar) -> int:
        """Whole lots of a notional at the price of the underlying, rounded down; at least one."""
        one = self.named(name)
        return max(1, abs(notional_minor) // (bar.ticks[one.underlying] * one.tick_value_minor))


def expiries(at_ms: int) -> tuple[int, int]:
    """08:00 UTC on the Friday two weeks after the coming one, and four weeks later."""
    day = at_ms // DAY_MS
    friday = day + (_FIRST_FRIDAY - day) % 7
    near_ms = DAY_MS * (friday + 14) + 8 * HOUR_MS
    return near_ms, near_ms + 28 * DAY_MS


def underlying_of(name: str) -> FeedId:
    """The underlying by which an instrument or a volatility feed is named."""
    return FeedId(name[: len(BTC)])


def _linear(underlying: FeedId) -> Instrument:
    return Instrument(
        id=InstrumentId(f"{underlying}-PERP"),
        kind=InstrumentKind.PERPETUAL,
        underlying=underlying,
        feed=underlying,
        tick_value_minor=_tick_value(underlying),
        price_decimals=PRICE_DECIMALS,
        lot_decimals=_lot_decimals(underlying),
    )


def _option(underlying: FeedId, right: Right, expires_ms: int, price_ticks: int) -> Instrument:
    day = datetime.fromtimestamp(expires_ms // 1_000, UTC).strftime("%d%b%y").upper()
    strike = _round(price_ticks * STRIKE_PERCENT[right] // (100 * 10**PRICE_DECIMALS))
    return Instrument(
        id=InstrumentId(f"{underlying}-{day}-{strike}-{right.name[0]}"),
        kind=InstrumentKind.OPTION,
        underlying=underlying,
        feed=underlying,
        tick_value_minor=_tick_value(underlying),
        price_decimals=PRICE_DECIMALS,
        lot_decimals=_lot_decimals(underlying),
        expires_ms=expires_ms,
        option=OptionTerms(
            right=right,
            strike_ticks=strike * 10**PRICE_DECIMALS,
            volatility_feed=FeedId(f"{underlying}-{day}-VOL"),
        ),
    )


def _round(dollars: int) -> int:
    """To two digits, the nearest."""
    unit = int("1" + "0" * max(0, len(str(dollars)) - STRIKE_DIGITS))
    return (dollars + unit // 2) // unit * unit


def _lot_decimals(underlying: FeedId) -> int:
    return 3 if underlying == BTC else 2


def _tick_value(underlying: FeedId) -> int:
    """What a lot gains by a tick: their product, in smallest units of the settlement asset."""
    return 100 if underlying == BTC else 1_000
