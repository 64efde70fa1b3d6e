"""Markets and books for what measures many portfolios at once, made from a seed: linear instruments and options."""

from dataclasses import replace
from random import Random

import numpy as np

from clearing.margin.factors import MISSING, History, path_of, states_of
from clearing.margin.model import Market, Positions
from clearing.margin.models.expected_shortfall import risk_array
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import (
    BP,
    DAY_MS,
    Instrument,
    InstrumentKind,
    OptionTerms,
    Parameters,
    Right,
    RiskArray,
    ScanRange,
)

UNDERLYINGS = tuple(FeedId(name) for name in ("GOLD", "SILVER", "TIN", "ZINC"))
PRICES = {UNDERLYINGS[0]: 6_000_000, UNDERLYINGS[1]: 250_000, UNDERLYINGS[2]: 9_000, UNDERLYINGS[3]: 77}
DAYS = 400


def volatility_feed(underlying: FeedId) -> FeedId:
    return FeedId(f"{underlying}-VOL")


def future_feed(underlying: FeedId) -> FeedId:
    return FeedId(f"{underlying}-MAR")


def listed(tick_value_minor: int = 100) -> list[Instrument]:
    """For each underlying a perpetual, a future with a mark of its own, and a call and a put at two strikes."""
    return [one for underlying in UNDERLYINGS for one in _of(underlying, tick_value_minor)]


def _of(underlying: FeedId, tick_value_minor: int) -> list[Instrument]:
    perpetual = Instrument(
        id=InstrumentId(f"{underlying}-PERP"),
        kind=InstrumentKind.PERPETUAL,
        underlying=underlying,
        feed=underlying,
        tick_value_minor=tick_value_minor,
        price_decimals=2,
        lot_decimals=0,
    )
    future = replace(perpetual, id=InstrumentId(f"{underlying}-MAR"), feed=future_feed(underlying))
    options = [
        replace(
            perpetual,
            id=InstrumentId(f"{underlying}-{percent}-{right.value}"),
            kind=InstrumentKind.OPTION,
            expires_ms=DAY_MS * (3 if percent == 100 else 40),
            option=OptionTerms(
                right=right,
                strike_ticks=PRICES[underlying] * percent // 100,
                volatility_feed=volatility_feed(underlying),
            ),
        )
        for percent in (100, 110)
        for right in Right
    ]
    return [perpetual, future, *options]


def parameters() -> Parameters:
    ranges = (ScanRange(underlying=u, move_bp=2_000, volatility_bp=3_000) for u in sorted(UNDERLYINGS))
    return Parameters(scan_ranges=tuple(ranges), margin_model="expected_shortfall")


def market(seed: int = 1, moved_bp: dict[FeedId, int] | None = None) -> Market:
    """A history of some four hundred days, of one underlying only the end; prices ``moved_bp`` from what they were."""
    dice = np.random.default_rng(seed)
    moves = (
        dice.standard_t(4, size=(DAYS, 4)) * 15_000 + dice.standard_t(4, size=(DAYS, 1)) * 20_000
    ).astype(np.int64)
    moves[:350, 3] = MISSING
    prices: dict[FeedId, int] = {}
    for underlying, price in PRICES.items():
        now = price * (BP + (moved_bp or {}).get(underlying, 0)) // BP
        prices |= {underlying: now, future_feed(underlying): now + now // 500}
        prices[volatility_feed(underlying)] = 6_500
    states = states_of(
        path_of(History(UNDERLYINGS, moves)),
        day=DAYS,
        today_ppm={},
        ranges_bp=dict.fromkeys(UNDERLYINGS, 2_000),
    )
    return Market(prices=prices, at_ms=0, states=states)


def array_in(state: Market, tick_value_minor: int = 100) -> RiskArray:
    return risk_array(listed(tick_value_minor), state, parameters())


def book(seed: int, portfolios: int, most_lots: int = 500) -> Positions:
    """Up to eight positions a portfolio, in any order; some hold nothing."""
    dice, held = Random(seed), list[tuple[int, int, int]]()
    count = len(listed())
    for owner in range(portfolios):
        rows = dice.sample(range(count), dice.randrange(9))
        held += [(owner, row, dice.choice([-1, 1]) * dice.randint(1, most_lots)) for row in rows]
    dice.shuffle(held)
    owners, rows_of, lots = np.array(held, np.int64).reshape(-1, 3).T
    return Positions(portfolios=portfolios, owners=owners, rows=rows_of, lots=lots)


def lots_of(positions: Positions, portfolio: int, array: RiskArray) -> dict[InstrumentId, int]:
    own = positions.owners == portfolio
    pairs = zip(positions.rows[own].tolist(), positions.lots[own].tolist(), strict=True)
    return {array.instruments[row].instrument: lots for row, lots in pairs}
