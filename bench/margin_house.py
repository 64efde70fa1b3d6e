"""A market of 400 instruments and books of about twelve positions, as the sweep is measured with."""

from functools import cache

import numpy as np

from clearing.margin.factors import History, Path, path_of, states_of
from clearing.margin.model import Market, Positions, States
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import (
    DAY_MS,
    Instrument,
    InstrumentKind,
    OptionTerms,
    Parameters,
    Right,
    ScanRange,
)

UNDERLYINGS = tuple(FeedId(f"U{number:02d}") for number in range(16))
DAYS = 3_000
EXPIRIES, PER_EXPIRY = (7, 35), 11
HELD = 12
FORWARD, VOLATILITY_BP = 6_000_000, 6_000
PARAMETERS = Parameters(
    margin_model="expected_shortfall",
    scan_ranges=tuple(ScanRange(underlying=u, move_bp=2_000, volatility_bp=3_000) for u in UNDERLYINGS),
)


def instruments() -> list[Instrument]:
    """For each of 16 underlyings a perpetual, two futures on one feed, and 22 options in two expiries."""
    return [one for underlying in UNDERLYINGS for one in _of(underlying)]


def _of(underlying: FeedId) -> list[Instrument]:
    future, volatility = FeedId(f"{underlying}F"), FeedId(f"{underlying}V")
    options = [
        OptionTerms(
            right=Right.CALL if number % 2 else Right.PUT,
            strike_ticks=FORWARD * (95 + number // 2 * 2) // 100,
            volatility_feed=volatility,
        )
        for number in range(PER_EXPIRY)
    ]
    listed: list[tuple[FeedId, int | None, OptionTerms | None]] = [
        (underlying, None, None),
        (future, None, None),
        (future, None, None),
    ]
    listed += [(future, days * DAY_MS, terms) for days in EXPIRIES for terms in options]
    return [
        Instrument(
            id=InstrumentId(f"{underlying}-{number}"),
            kind=InstrumentKind.PERPETUAL if terms is None else InstrumentKind.OPTION,
            underlying=underlying,
            feed=feed,
            tick_value_minor=100,
            price_decimals=2,
            lot_decimals=3,
            expires_ms=expires_ms,
            option=terms,
        )
        for number, (feed, expires_ms, terms) in enumerate(listed)
    ]


@cache
def path() -> Path:
    """Daily returns of all underlyings, partly in common, over eight years."""
    dice = np.random.default_rng(7)
    own, common = dice.standard_t(4, (DAYS, len(UNDERLYINGS))), dice.standard_t(4, (DAYS, 1))
    return path_of(History(UNDERLYINGS, (own * 25_000 + common * 20_000).astype(np.int64)))


def states() -> States:
    """What might happen on the day after: 1,250 scenarios."""
    ranges = {one.underlying: one.move_bp for one in PARAMETERS.scan_ranges}
    return states_of(path(), day=DAYS, today_ppm={}, ranges_bp=ranges)


def market(now: States, moved_ticks: int, moved: tuple[FeedId, ...] = UNDERLYINGS) -> Market:
    """The market after the forwards of some underlyings moved."""
    prices: dict[FeedId, int] = {}
    for underlying in UNDERLYINGS:
        price = FORWARD + (moved_ticks if underlying in moved else 0)
        prices |= {underlying: price, FeedId(f"{underlying}F"): price + 10_000}
        prices[FeedId(f"{underlying}V")] = VOLATILITY_BP
    return Market(prices=prices, at_ms=0, states=now)


def book(portfolios: int) -> Positions:
    """Twelve positions each, long or short, anywhere among the instruments; some fall on the same one."""
    dice, count = np.random.default_rng(11), len(instruments())
    keys = np.unique(
        np.repeat(np.arange(portfolios), HELD) * count + dice.integers(0, count, portfolios * HELD)
    )
    lots = dice.integers(1, 500, len(keys)) * dice.choice([-1, 1], len(keys))
    return Positions(portfolios=portfolios, owners=keys // count, rows=keys % count, lots=lots)
