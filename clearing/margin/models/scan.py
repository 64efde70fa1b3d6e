"""``scan``: the SPAN-type model (rulebook §9.2), for linear instruments.

Assumptions: within a day the price of an underlying stays inside its scan range, all instruments on
it move together but for the basis floor, and two underlyings offset at the listed rate. The model
does not react to volatility; an administrator sets the ranges.

1. Sixteen scenarios an underlying: price 0, ±1/3, ±2/3, ±3/3 of the scan range, each with volatility
   up and down (the same for linear instruments), and two moves of twice the range of which 35 % counts.
2. Scan risk of an underlying: the worst of the sixteen for the whole position in it.
3. Credit for opposite exposures in two listed underlyings; charge for opposite positions in different
   instruments on one underlying (basis).
4. Never less than what the offset cap leaves of the sum of each instrument's own scan risk.

Everything is integer arithmetic: an array row is rounded down for the holder, so requirements are
exact sums, in any order, on any machine. Splitting a portfolio never lowers the sum, but for rounding: by less
than one smallest unit a lot, and not at all where there is neither credit nor basis charge. For that an underlying
stands in one offset at most (``decide/terms``), and a basis charge never makes a hedge dearer than its legs apart.
"""

from collections.abc import Iterable, Mapping

from clearing.margin.model import Margin, UnderlyingRisk
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import BP, Instrument, InstrumentRisk, Parameters, RiskArray
from ledger.amount import divide_down, divide_up
from ledger.require import require

THIRDS = (0, 1, -1, 2, -2, 3, -3)
EXTREME_THIRDS = 6
EXTREME_COVER_PERCENT = 35
FULL_RANGE_UP = 10
"""Index of the scenario in which the price rises by the whole scan range."""

_SHIFTS = (
    *((thirds, 100) for thirds in THIRDS for _ in ("volatility up", "volatility down")),
    (EXTREME_THIRDS, EXTREME_COVER_PERCENT),
    (-EXTREME_THIRDS, EXTREME_COVER_PERCENT),
)
"""Per scenario: the move in thirds of the scan range, and the percentage of its P&L that counts."""


def scenario_names() -> tuple[str, ...]:
    """What each scenario is, in the order of the array."""
    names = [f"price {t:+d}/3, volatility {v}" for t in THIRDS for v in ("up", "down")]
    return (*names, "price +6/3, 35 % counted", "price -6/3, 35 % counted")


def risk_array(
    instruments: Iterable[Instrument], marks: Mapping[FeedId, int], parameters: Parameters
) -> RiskArray:
    """Scenario P&L of one lot of each instrument that has a mark, long and short, rounded down."""
    ranges = {r.underlying: r.move_bp for r in parameters.scan_ranges}
    rows = [_row(i, marks[i.feed], ranges[i.underlying]) for i in instruments if i.feed in marks]
    return RiskArray(model="scan", instruments=tuple(rows))


def _row(instrument: Instrument, price_ticks: int, move_bp: int) -> InstrumentRisk:
    notional = price_ticks * instrument.tick_value_minor
    moves = [notional * move_bp * thirds * percent for thirds, percent in _SHIFTS]
    scale = 3 * BP * 100
    return InstrumentRisk(
        instrument=instrument.id,
        underlying=instrument.underlying,
        notional_minor=notional,
        long_minor=tuple(divide_down(move, scale) for move in moves),
        short_minor=tuple(divide_down(-move, scale) for move in moves),
    )


def margin(lots: Mapping[InstrumentId, int], array: RiskArray, parameters: Parameters) -> Margin:
    """Maintenance margin of one portfolio, with its explanation. ``lots``: long is positive."""
    held = [(row, lots[row.instrument]) for row in array.instruments if lots.get(row.instrument)]
    require(len(held) == sum(1 for q in lots.values() if q), "every position has a row in the risk array")
    if not held:
        return Margin(amount_minor=0)
    risks = {
        u: _scan(u, [h for h in held if h[0].underlying == u])
        for u in sorted({h[0].underlying for h in held})
    }
    scan = sum(risk.risk_minor for risk in risks.values())
    credit = _credit(risks, parameters)
    basis = sum(_basis([h for h in held if h[0].underlying == u], _basis_bp(u, parameters)) for u in risks)
    alone = sum(_worst(_sum([h])) for h in held)
    floor = divide_up(alone * (BP - parameters.offset_cap_bp), BP)
    return Margin(
        amount_minor=max(scan - credit + basis, floor),
        underlyings=tuple(risks.values()),
        credit_minor=credit,
        basis_minor=basis,
        floor_minor=floor,
    )


Held = tuple[InstrumentRisk, int]


def _sum(held: list[Held]) -> list[int]:
    """P&L of the positions per scenario."""
    columns = [[abs(q) * v for v in (row.long_minor if q > 0 else row.short_minor)] for row, q in held]
    return [sum(values) for values in zip(*columns, strict=True)]


def _worst(pnl: list[int]) -> int:
    return max(0, -min(pnl))


def _scan(underlying: FeedId, held: list[Held]) -> UnderlyingRisk:
    pnl = _sum(held)
    return UnderlyingRisk(
        underlying=underlying,
        risk_minor=_worst(pnl),
        scenario=pnl.index(min(pnl)),
        exposure_minor=pnl[FULL_RANGE_UP],
    )


def _credit(risks: Mapping[FeedId, UnderlyingRisk], parameters: Parameters) -> int:
    """Credit for opposite exposures, rounded down; an exposure that one offset used is gone for the next."""
    exposures = {u: risk.exposure_minor for u, risk in risks.items()}
    credit = 0
    for offset in parameters.offsets:
        first, second = exposures.get(offset.first, 0), exposures.get(offset.second, 0)
        if first * second >= 0:
            continue
        matched = min(abs(first), abs(second))
        credit += divide_down(2 * matched * offset.rate_bp, BP)
        exposures[offset.first] -= matched if first > 0 else -matched
        exposures[offset.second] -= matched if second > 0 else -matched
    return credit


def _basis_bp(underlying: FeedId, parameters: Parameters) -> int:
    """The rate of the basis charge: at most what hedging saves, after the credit that an outright might have had."""
    saved = 2 * next(r.move_bp for r in parameters.scan_ranges if r.underlying == underlying)
    credited = sum(o.rate_bp for o in parameters.offsets if underlying in (o.first, o.second))
    return min(parameters.basis_floor_bp, divide_down(saved * (BP - credited), BP))


def _basis(held: list[Held], basis_bp: int) -> int:
    """Charge on the notional of one underlying that stands long against short, rounded up."""
    longs = sum(row.notional_minor * q for row, q in held if q > 0)
    shorts = sum(row.notional_minor * -q for row, q in held if q < 0)
    return divide_up(min(longs, shorts) * basis_bp, BP)
