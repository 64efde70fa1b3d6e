"""``scan``: the SPAN-type model (rulebook §9.2).

Assumptions: within a day the price of an underlying and its volatility stay inside their scan ranges, all
instruments on it move together but for the basis floor, and two underlyings offset at the listed rate. The model
does not react to volatility; an administrator sets the ranges.

1. Sixteen scenarios an underlying: price 0, ±1/3, ±2/3, ±3/3 of the scan range, each with volatility up and down
   (the same for linear instruments), and two moves of twice the range of which 35 % counts. Options are valued
   anew in each, by Black-76 with the time that they have left.
2. Scan risk of an underlying: the worst of the sixteen for the whole position in it, and never less than a
   minimum for each option that is held short.
3. Credit for opposite exposures in two listed underlyings; charge for opposite positions in different
   instruments on one underlying (basis). There an option counts as its delta, and for credit as no more than
   what the scenarios say it can lose.
4. Never less than what the offset cap leaves of the sum of each instrument's own scan risk.

A portfolio is margined in integer arithmetic: an array row is rounded down for the holder, so requirements are
exact sums, in any order, on any machine. Splitting a portfolio of linear instruments never lowers the sum, but for
rounding: by less than one smallest unit a lot, and not at all where there is neither credit nor basis charge. For
that an underlying stands in one offset at most (``decide/terms``), and a basis charge never makes a hedge dearer
than its legs apart. With options it holds where there is neither credit nor basis charge.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from clearing.margin.attribution import attributed
from clearing.margin.columns import share
from clearing.margin.model import Column, Margin, Market, Positions, UnderlyingRisk
from clearing.margin.pricing import FINE, delta, revaluation, terms_of, years_to_expiry
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import BP, Instrument, InstrumentRisk, Parameters, RiskArray, ScanRange
from ledger.amount import divide_down, divide_up
from ledger.require import require

THIRDS = (0, 1, -1, 2, -2, 3, -3)
EXTREME_THIRDS = 6
EXTREME_COVER_PERCENT = 35
FULL_RANGE_UP = 10
"""Index of the scenario in which the price rises by the whole scan range."""

_SHIFTS = (
    *((thirds, volatility, 100) for thirds in THIRDS for volatility in (1, -1)),
    (EXTREME_THIRDS, 0, EXTREME_COVER_PERCENT),
    (-EXTREME_THIRDS, 0, EXTREME_COVER_PERCENT),
)
"""Per scenario: the move in thirds of the scan range, where volatility goes, and the percentage of the P&L that
counts.
"""
FORWARD_LEAST = 0.01
"""No scenario moves a forward below this share of itself: it stays positive under any scan range."""


def scenario_names(array: RiskArray) -> tuple[str, ...]:  # other models' scenarios depend on it
    """What each scenario is, in the order of the array."""
    names = [f"price {t:+d}/3, volatility {v}" for t in THIRDS for v in ("up", "down")]
    return (*names, "price +6/3, 35 % counted", "price -6/3, 35 % counted")


def risk_array(instruments: Iterable[Instrument], market: Market, parameters: Parameters) -> RiskArray:
    """Scenario P&L of one lot of each instrument that has a mark, long and short, rounded down."""
    ranges, marks = {r.underlying: r for r in parameters.scan_ranges}, market.prices
    rows: list[InstrumentRisk] = []
    for one in instruments:
        if one.option is None and one.feed in marks:
            rows.append(_linear_row(one, marks[one.feed], ranges[one.underlying].move_bp))
        elif one.option is not None and {one.feed, one.option.volatility_feed} <= marks.keys():
            forward, volatility = marks[one.feed], marks[one.option.volatility_feed]
            rows.append(_option_row(one, forward, volatility, ranges[one.underlying], market.at_ms))
    return RiskArray(model="scan", instruments=tuple(rows))


def _option_row(
    option: Instrument, forward_ticks: int, volatility_bp: int, scanned: ScanRange, at_ms: int
) -> InstrumentRisk:
    """Every scenario by full revaluation, against the option's mark."""
    moves = np.array([max(FORWARD_LEAST, 1 + scanned.move_bp * t / (3 * BP)) for t, _, _ in _SHIFTS])
    shocks = np.array([max(0.0, 1 + scanned.volatility_bp * v / BP) for _, v, _ in _SHIFTS])
    lots = revaluation(option, forward_ticks, volatility_bp, at_ms, moves, shocks)
    percents = [percent for _, _, percent in _SHIFTS]
    terms, years = terms_of(option), years_to_expiry(option, at_ms)
    notional = forward_ticks * option.tick_value_minor
    share = delta(terms.right, forward_ticks, terms.strike_ticks, volatility_bp / BP, years)
    return InstrumentRisk(
        instrument=option.id,
        underlying=option.underlying,
        notional_minor=notional,
        long_minor=tuple(
            divide_down(long * percent, FINE * 100) for (long, _), percent in zip(lots, percents, strict=True)
        ),
        short_minor=tuple(
            divide_down(short * percent, FINE * 100)
            for (_, short), percent in zip(lots, percents, strict=True)
        ),
        delta_minor=divide_down(notional * round(share * FINE), FINE),
    )


def _linear_row(instrument: Instrument, price_ticks: int, move_bp: int) -> InstrumentRisk:
    notional = price_ticks * instrument.tick_value_minor
    moves = [notional * move_bp * thirds * percent for thirds, _, percent in _SHIFTS]
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
        u: _scan(u, [h for h in held if h[0].underlying == u], parameters)
        for u in sorted({h[0].underlying for h in held})
    }
    scan = sum(risk.risk_minor for risk in risks.values())
    credit = _credit(risks, parameters)
    basis = sum(_basis([h for h in held if h[0].underlying == u], _basis_bp(u, parameters)) for u in risks)
    alone = sum(_worst(_sum([h])) for h in held)
    floor = divide_up(alone * (BP - parameters.offset_cap_bp), BP)
    amount = max(scan - credit + basis, floor)
    return Margin(
        amount_minor=amount,
        risk_minor=scan,
        contributions=attributed(amount, _weights(held, risks)),
        underlyings=tuple(risks.values()),
        credit_minor=credit,
        basis_minor=basis,
        floor_minor=floor,
    )


Held = tuple[InstrumentRisk, int]


def _weights(held: list[Held], risks: Mapping[FeedId, UnderlyingRisk]) -> dict[InstrumentId, int]:
    """What each position loses in the scenario that decides for its underlying."""
    return {
        row.instrument: -abs(q)
        * (row.long_minor if q > 0 else row.short_minor)[risks[row.underlying].scenario]
        for row, q in held
    }


def _sum(held: list[Held]) -> list[int]:
    """P&L of the positions per scenario."""
    columns = [[abs(q) * v for v in (row.long_minor if q > 0 else row.short_minor)] for row, q in held]
    return [sum(values) for values in zip(*columns, strict=True)]


def _worst(pnl: list[int]) -> int:
    return max(0, -min(pnl))


def _scan(underlying: FeedId, held: list[Held], parameters: Parameters) -> UnderlyingRisk:
    pnl = _sum(held)
    worst = _worst(pnl)
    minimum = sum(
        -q * divide_up(row.notional_minor * parameters.short_option_bp, BP)
        for row, q in held
        if row.delta_minor is not None and q < 0
    )
    return UnderlyingRisk(
        underlying=underlying,
        risk_minor=max(worst, minimum),
        scenario=pnl.index(min(pnl)),
        exposure_minor=max(-worst, min(worst, _exposure(underlying, held, parameters))),
        minimum_minor=minimum,
    )


def _exposure(underlying: FeedId, held: list[Held], parameters: Parameters) -> int:
    """P&L if the price rises by the whole scan range, options by their delta, rounded down."""
    move_bp = next(r.move_bp for r in parameters.scan_ranges if r.underlying == underlying)
    linear = [h for h in held if h[0].delta_minor is None]
    by_delta = sum(q * row.delta_minor for row, q in held if row.delta_minor is not None)
    return (_sum(linear)[FULL_RANGE_UP] if linear else 0) + divide_down(by_delta * move_bp, BP)


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
    sides = [q * (row.notional_minor if row.delta_minor is None else row.delta_minor) for row, q in held]
    longs = sum(side for side in sides if side > 0)
    shorts = sum(-side for side in sides if side < 0)
    return divide_up(min(longs, shorts) * basis_bp, BP)


def rises(array: RiskArray, parameters: Parameters) -> dict[InstrumentId, int]:
    """:func:`rise` of each row."""
    return {row.instrument: rise(row, parameters) for row in array.instruments}


def rise(row: InstrumentRisk, parameters: Parameters) -> int:
    """By how much a lot more of an instrument, bought or sold, can raise the amount of any portfolio at most.

    The lot's own worst scenario; twice what it can move an exposure by, which is what it can cost in credit; its
    basis charge; the minimum of a short option; and one unit for each of three roundings.
    """
    move_bp = next(r.move_bp for r in parameters.scan_ranges if r.underlying == row.underlying)
    widest = max(map(abs, (*row.long_minor, *row.short_minor)))
    weight = row.notional_minor if row.delta_minor is None else abs(row.delta_minor)
    moved = max(widest, divide_up(weight * move_bp, BP))
    is_credited = any(row.underlying in (offset.first, offset.second) for offset in parameters.offsets)
    minimum = divide_up(row.notional_minor * parameters.short_option_bp, BP)
    own = widest if row.delta_minor is None else max(widest, minimum)
    basis = divide_up(weight * parameters.basis_floor_bp, BP)
    return own + (2 * moved if is_credited else 0) + basis + 3


# all portfolios at once ---------------------------------------------------------------------------

SAFE = 2**62
"""What every sum of a column stays below, so that 64 bits hold it exactly."""
LARGEST_SHARE = 20
"""The greatest multiple of a position's scenario P&L or notional that a step computes: twice a move of ten times."""


def amounts(book: Positions, array: RiskArray, parameters: Parameters) -> list[int]:
    """The amount that :func:`margin` gives for each portfolio, a column at a time where 64 bits hold every sum."""
    if not len(book.lots):
        return [0] * book.portfolios
    table = _table(array, parameters)
    if _largest_sum(book, table) * LARGEST_SHARE < SAFE:
        return _Columns(book, table, parameters).amounts()
    return _one_by_one(book, array, parameters)


def _largest_sum(book: Positions, table: "_Table") -> int:
    """No portfolio's positions sum up to more than this in any scenario, nor do their notionals."""
    most_lots = np.zeros(len(table.widest), np.int64)
    np.maximum.at(most_lots, book.rows, np.abs(book.lots))
    held = np.flatnonzero(most_lots)
    widest: int = max(
        lots * table.widest[row] for row, lots in zip(held.tolist(), most_lots[held].tolist(), strict=True)
    )
    return widest * int(np.bincount(book.owners).max())


def _one_by_one(book: Positions, array: RiskArray, parameters: Parameters) -> list[int]:
    portfolios: list[dict[InstrumentId, int]] = [{} for _ in range(book.portfolios)]
    for owner, row, lots in zip(book.owners.tolist(), book.rows.tolist(), book.lots.tolist(), strict=True):
        portfolios[owner][array.instruments[row].instrument] = lots
    return [margin(lots, array, parameters).amount_minor for lots in portfolios]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """A risk array in columns, which every book of a cycle is measured with.

    ``widest`` is the largest number of a row. A row whose numbers do not fit 64 bits is zero in all other columns:
    ``widest`` keeps a book that holds it away from them.
    """

    widest: tuple[int, ...]
    underlyings: tuple[FeedId, ...]
    of_row: Column
    long: Column
    short: Column
    minimum: Column
    is_linear: Column
    delta: Column
    weight: Column
    move_bp: Column
    basis_bp: Column


@lru_cache(maxsize=4)
def _table(array: RiskArray, parameters: Parameters) -> _Table:
    """Made once a cycle: a book of two accounts takes less time than this."""
    widest = tuple(
        max(map(abs, (row.notional_minor, row.delta_minor or 0, *row.long_minor, *row.short_minor)))
        for row in array.instruments
    )
    rows = [
        row if width < SAFE else _nothing(row) for row, width in zip(array.instruments, widest, strict=True)
    ]
    underlyings = tuple(sorted({row.underlying for row in rows}))
    numbers = {underlying: n for n, underlying in enumerate(underlyings)}
    moves = {r.underlying: r.move_bp for r in parameters.scan_ranges}
    return _Table(
        widest=widest,
        underlyings=underlyings,
        of_row=_column(numbers[row.underlying] for row in rows),
        long=np.array([row.long_minor for row in rows], np.int64),
        short=np.array([row.short_minor for row in rows], np.int64),
        minimum=_column(
            0 if r.delta_minor is None else divide_up(r.notional_minor * parameters.short_option_bp, BP)
            for r in rows
        ),
        is_linear=np.array([row.delta_minor is None for row in rows]),
        delta=_column(row.delta_minor or 0 for row in rows),
        weight=_column(r.notional_minor if r.delta_minor is None else r.delta_minor for r in rows),
        move_bp=_column(moves[underlying] for underlying in underlyings),
        basis_bp=_column(_basis_bp(underlying, parameters) for underlying in underlyings),
    )


def _nothing(row: InstrumentRisk) -> InstrumentRisk:
    none = (0,) * len(row.long_minor)
    return replace(row, notional_minor=0, long_minor=none, short_minor=none, delta_minor=0)


class _Columns:
    """The steps of the model, each over all portfolios; ``groups`` are a portfolio's positions in one underlying."""

    def __init__(self, book: Positions, table: _Table, parameters: Parameters) -> None:
        self._parameters, self._portfolios, self._table = parameters, book.portfolios, table
        underlyings = table.of_row[book.rows]
        order = np.lexsort((underlyings, book.owners))
        self._owners, self._rows, self._lots = book.owners[order], book.rows[order], book.lots[order]
        keys = self._owners * len(table.underlyings) + underlyings[order]
        self._starts = np.flatnonzero(np.diff(keys, prepend=-1))
        self._group_owners = self._owners[self._starts]
        self._group_underlyings = table.of_row[self._rows[self._starts]]

    def amounts(self) -> list[int]:
        """Rulebook §9.2, in the order of :func:`margin`."""
        pnl = self._pnl()
        worst = np.maximum(0, -np.add.reduceat(pnl, self._starts, axis=0).min(axis=1))
        risk = np.maximum(worst, self._minimum())
        exposure = np.clip(self._exposure(pnl), -worst, worst)
        alone = self._per_portfolio(self._owners, np.maximum(0, -pnl.min(axis=1)))
        floor = -share(-alone, BP - self._parameters.offset_cap_bp)
        asked = self._per_portfolio(self._group_owners, risk + self._basis()) - self._credit(exposure)
        found: list[int] = np.maximum(asked, floor).tolist()
        return found

    def _pnl(self) -> Column:
        """Shape (positions, scenarios)."""
        long, short = self._table.long[self._rows], self._table.short[self._rows]
        return np.where((self._lots > 0)[:, None], long, short) * np.abs(self._lots)[:, None]

    def _minimum(self) -> Column:
        return self._per_group(np.maximum(0, -self._lots) * self._table.minimum[self._rows])

    def _exposure(self, pnl: Column) -> Column:
        is_linear = self._table.is_linear[self._rows]
        by_delta = self._per_group(self._lots * self._table.delta[self._rows])
        move = self._table.move_bp[self._group_underlyings]
        return self._per_group(np.where(is_linear, pnl[:, FULL_RANGE_UP], 0)) + share(by_delta, move)

    def _basis(self) -> Column:
        sides = self._lots * self._table.weight[self._rows]
        longs, shorts = self._per_group(np.maximum(0, sides)), self._per_group(np.maximum(0, -sides))
        return -share(-np.minimum(longs, shorts), self._table.basis_bp[self._group_underlyings])

    def _credit(self, exposure: Column) -> Column:
        credit = np.zeros(self._portfolios, np.int64)
        left = {
            underlying: self._per_portfolio(
                self._group_owners, np.where(self._group_underlyings == number, exposure, 0)
            )
            for number, underlying in enumerate(self._table.underlyings)
            if any(underlying in (o.first, o.second) for o in self._parameters.offsets)
        }
        for offset in self._parameters.offsets:
            if not {offset.first, offset.second} <= left.keys():
                continue
            first, second = left[offset.first], left[offset.second]
            opposite = np.sign(first) * np.sign(second) < 0
            matched = np.where(opposite, np.minimum(np.abs(first), np.abs(second)), 0)
            credit += share(2 * matched, offset.rate_bp)
            left[offset.first] = first - np.sign(first) * matched
            left[offset.second] = second - np.sign(second) * matched
        return credit

    def _per_group(self, column: Column) -> Column:
        sums: Column = np.add.reduceat(column, self._starts)
        return sums

    def _per_portfolio(self, owners: Column, column: Column) -> Column:
        sums = np.zeros(self._portfolios, np.int64)
        np.add.at(sums, owners, column)
        return sums


def _column(values: Iterable[int]) -> Column:
    """Integers of 64 bits; one that does not fit is a bug, never a float."""
    return np.array(list(values), np.int64)
