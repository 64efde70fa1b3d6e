"""What models that move prices by fixed ranges have in common: the worst cell of a matrix (rulebook §9.2, §9.3).

1. A matrix has cells: a move of the price of an underlying in parts of its scan range, a move of its volatility by the
   range of that, and the share of the P&L that counts. Options are valued anew in each, by Black-76 with the time
   that they have left.
2. The risk of an underlying is the worst cell for the whole position in it, and never less than a minimum for each
   option that is held short.
3. Credit for opposite exposures in two listed underlyings, if the model gives any; charge for opposite positions in
   different instruments on one underlying (basis). There an option counts as its delta, and for credit as no more
   than what the cells say it can lose.
4. Never less than what the offset cap leaves of the sum of each instrument's own worst cell.

A portfolio is margined in integer arithmetic: an array row is rounded down for the holder, so requirements are
exact sums, in any order, on any machine. Splitting a portfolio of linear instruments never lowers the sum, but for
rounding: by less than one smallest unit a lot, and not at all where there is neither credit nor basis charge. For
that an underlying stands in one offset at most (``decide/terms``), and a basis charge never makes a hedge dearer
than its legs apart. With options it holds where there is neither credit nor basis charge.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

import numpy as np

from clearing.margin.attribution import attributed
from clearing.margin.columns import share
from clearing.margin.deltas import delta_minor
from clearing.margin.model import Column, Held, Margin, Market, Positions, UnderlyingRisk, held_in
from clearing.margin.pricing import FINE, revaluation, terms_of
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import BP, Instrument, InstrumentRisk, Parameters, RiskArray, ScanRange
from ledger.amount import divide_down, divide_up

FORWARD_LEAST = 0.01
"""No cell moves a forward below this share of itself: it stays positive under any scan range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A move of the price in scan ranges, where volatility goes, and the share of the P&L that counts."""

    name: str
    ranges: Fraction
    volatility: int
    counted: Fraction = Fraction(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """A model made of cells. ``gives_credit``: whether underlyings offset each other. ``adds_minimum``: whether the
    minimum for a short option comes on top of what the cells say, instead of being the least of it.
    """

    model: str
    cells: tuple[Cell, ...]
    gives_credit: bool
    adds_minimum: bool

    @property
    def up(self) -> int:
        """In which cell the price first rises by the whole scan range."""
        return next(number for number, cell in enumerate(self.cells) if cell.ranges == 1)

    @property
    def names(self) -> tuple[str, ...]:
        """What each cell is, in the order of the array."""
        return tuple(cell.name for cell in self.cells)

    def risk_array(
        self, instruments: Iterable[Instrument], market: Market, parameters: Parameters
    ) -> RiskArray:
        """P&L in each cell of one lot of each instrument that has a mark, long and short, rounded down."""
        ranges = {one.underlying: one for one in parameters.scan_ranges}
        rows = [
            self._row(one, ranges[one.underlying], market, parameters)
            for one in instruments
            if one.feeds <= market.prices.keys()
        ]
        return RiskArray(model=self.model, instruments=tuple(rows))

    def _row(
        self, instrument: Instrument, scanned: ScanRange, market: Market, parameters: Parameters
    ) -> InstrumentRisk:
        if instrument.option is None:
            return _linear_row(instrument, market.prices[instrument.feed], scanned.move_bp, self.cells)
        row = _option_row(instrument, market, scanned, self.cells)
        if not self.adds_minimum:
            return row
        minimum = _minimum(row, parameters)
        return replace(row, short_minor=tuple(gained - minimum for gained in row.short_minor))

    def margin(self, lots: Mapping[InstrumentId, int], array: RiskArray, parameters: Parameters) -> Margin:
        """Maintenance margin of one portfolio, with its explanation. ``lots``: long is positive."""
        return _margin(lots, array, self._terms(parameters), self.up)

    def amounts(self, book: Positions, array: RiskArray, parameters: Parameters) -> list[int]:
        """The amount that :meth:`margin` gives for each portfolio, a column at a time where 64 bits hold every sum."""
        if not len(book.lots):
            return [0] * book.portfolios
        terms = self._terms(parameters)
        table = _table(array, terms)
        if book.largest(table.widest) * LARGEST_SHARE < SAFE:
            return _Columns(book, table, terms, self.up).amounts()
        return [self.margin(lots, array, parameters).amount_minor for lots in book.apart(array)]

    def rises(self, array: RiskArray, parameters: Parameters) -> dict[InstrumentId, int]:
        """By how much a lot more of each instrument, bought or sold, can raise the amount of any portfolio at most."""
        terms = self._terms(parameters)
        return {row.instrument: _rise(row, terms) for row in array.instruments}

    def _terms(self, parameters: Parameters) -> Parameters:
        return parameters if self.gives_credit else _without_credit(parameters)


@lru_cache(maxsize=4)
def _without_credit(parameters: Parameters) -> Parameters:
    return replace(parameters, offsets=())


def _option_row(
    option: Instrument, market: Market, scanned: ScanRange, cells: tuple[Cell, ...]
) -> InstrumentRisk:
    """Every cell by full revaluation, against the option's mark."""
    forward, volatility_bp = market.prices[option.feed], market.prices[terms_of(option).volatility_feed]
    moves = [1 + scanned.move_bp * c.ranges.numerator / (c.ranges.denominator * BP) for c in cells]
    shocks = [max(0.0, 1 + scanned.volatility_bp * c.volatility / BP) for c in cells]
    lots = revaluation(
        option,
        forward,
        volatility_bp,
        market.at_ms,
        np.maximum(np.array(moves), FORWARD_LEAST),
        np.array(shocks),
    )
    return InstrumentRisk(
        instrument=option.id,
        underlying=option.underlying,
        notional_minor=forward * option.tick_value_minor,
        long_minor=tuple(_counted(long, FINE, c) for (long, _), c in zip(lots, cells, strict=True)),
        short_minor=tuple(_counted(short, FINE, c) for (_, short), c in zip(lots, cells, strict=True)),
        delta_minor=delta_minor(option, market),
    )


def _linear_row(
    instrument: Instrument, price_ticks: int, move_bp: int, cells: tuple[Cell, ...]
) -> InstrumentRisk:
    notional = price_ticks * instrument.tick_value_minor
    moves = [notional * move_bp * cell.ranges.numerator for cell in cells]
    scales = [BP * cell.ranges.denominator for cell in cells]
    return InstrumentRisk(
        instrument=instrument.id,
        underlying=instrument.underlying,
        notional_minor=notional,
        long_minor=tuple(_counted(m, s, c) for m, s, c in zip(moves, scales, cells, strict=True)),
        short_minor=tuple(_counted(-m, s, c) for m, s, c in zip(moves, scales, cells, strict=True)),
    )


def _counted(gained: int, scale: int, cell: Cell) -> int:
    """The part of ``gained / scale`` that counts, rounded down."""
    return divide_down(gained * cell.counted.numerator, scale * cell.counted.denominator)


def _minimum(row: InstrumentRisk, parameters: Parameters) -> int:
    """The least that one lot of an option held short asks for; nothing for a linear instrument."""
    return 0 if row.delta_minor is None else divide_up(row.notional_minor * parameters.short_option_bp, BP)


def _margin(lots: Mapping[InstrumentId, int], array: RiskArray, parameters: Parameters, up: int) -> Margin:
    held = held_in(lots, array)
    if not held:
        return Margin(amount_minor=0)
    risks = {
        u: _risk(u, [h for h in held if h[0].underlying == u], parameters, up)
        for u in sorted({h[0].underlying for h in held})
    }
    risk = sum(risk.risk_minor for risk in risks.values())
    credit = _credit(risks, parameters)
    basis = sum(_basis([h for h in held if h[0].underlying == u], _basis_bp(u, parameters)) for u in risks)
    alone = sum(_worst(_sum([h])) for h in held)
    floor = divide_up(alone * (BP - parameters.offset_cap_bp), BP)
    amount = max(risk - credit + basis, floor)
    return Margin(
        amount_minor=amount,
        risk_minor=risk,
        contributions=attributed(amount, _weights(held, risks)),
        underlyings=tuple(risks.values()),
        credit_minor=credit,
        basis_minor=basis,
        floor_minor=floor,
    )


def _weights(held: list[Held], risks: Mapping[FeedId, UnderlyingRisk]) -> dict[InstrumentId, int]:
    """What each position loses in the cell that decides for its underlying."""
    return {
        row.instrument: -abs(q)
        * (row.long_minor if q > 0 else row.short_minor)[risks[row.underlying].scenario]
        for row, q in held
    }


def _sum(held: list[Held]) -> list[int]:
    """P&L of the positions per cell."""
    columns = [[abs(q) * v for v in (row.long_minor if q > 0 else row.short_minor)] for row, q in held]
    return [sum(values) for values in zip(*columns, strict=True)]


def _worst(pnl: list[int]) -> int:
    return max(0, -min(pnl))


def _risk(underlying: FeedId, held: list[Held], parameters: Parameters, up: int) -> UnderlyingRisk:
    pnl = _sum(held)
    worst = _worst(pnl)
    minimum = sum(-q * _minimum(row, parameters) for row, q in held if q < 0)
    return UnderlyingRisk(
        underlying=underlying,
        risk_minor=max(worst, minimum),
        scenario=pnl.index(min(pnl)),
        exposure_minor=max(-worst, min(worst, _exposure(underlying, held, parameters, up))),
        minimum_minor=minimum,
    )


def _exposure(underlying: FeedId, held: list[Held], parameters: Parameters, up: int) -> int:
    """P&L if the price rises by the whole scan range, options by their delta, rounded down."""
    move_bp = next(r.move_bp for r in parameters.scan_ranges if r.underlying == underlying)
    linear = [h for h in held if h[0].delta_minor is None]
    by_delta = sum(q * row.delta_minor for row, q in held if row.delta_minor is not None)
    return (_sum(linear)[up] if linear else 0) + divide_down(by_delta * move_bp, BP)


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
    sides = [q * row.weight_minor for row, q in held]
    longs = sum(side for side in sides if side > 0)
    shorts = sum(-side for side in sides if side < 0)
    return divide_up(min(longs, shorts) * basis_bp, BP)


def _rise(row: InstrumentRisk, parameters: Parameters) -> int:
    """By how much a lot more of an instrument, bought or sold, can raise the amount of any portfolio at most.

    The lot's own worst cell; twice what it can move an exposure by, which is what it can cost in credit; its
    basis charge; the minimum of a short option; and one unit for each of three roundings.
    """
    move_bp = next(r.move_bp for r in parameters.scan_ranges if r.underlying == row.underlying)
    widest = max(map(abs, (*row.long_minor, *row.short_minor)))
    weight = abs(row.weight_minor)
    moved = max(widest, divide_up(weight * move_bp, BP))
    is_credited = any(row.underlying in (offset.first, offset.second) for offset in parameters.offsets)
    own = max(widest, _minimum(row, parameters))
    basis = divide_up(weight * parameters.basis_floor_bp, BP)
    return own + (2 * moved if is_credited else 0) + basis + 3


# all portfolios at once ---------------------------------------------------------------------------

SAFE = 2**62
"""What every sum of a column stays below, so that 64 bits hold it exactly."""
LARGEST_SHARE = 20
"""The greatest multiple of a position's P&L in a cell or notional that a step computes: twice a move of ten times."""


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
        minimum=_column(_minimum(row, parameters) for row in rows),
        is_linear=np.array([row.delta_minor is None for row in rows]),
        delta=_column(row.delta_minor or 0 for row in rows),
        weight=_column(row.weight_minor for row in rows),
        move_bp=_column(moves[underlying] for underlying in underlyings),
        basis_bp=_column(_basis_bp(underlying, parameters) for underlying in underlyings),
    )


def _nothing(row: InstrumentRisk) -> InstrumentRisk:
    none = (0,) * len(row.long_minor)
    return replace(row, notional_minor=0, long_minor=none, short_minor=none, delta_minor=0)


class _Columns:
    """The steps of the model, each over all portfolios; ``groups`` are a portfolio's positions in one underlying."""

    def __init__(self, book: Positions, table: _Table, parameters: Parameters, up: int) -> None:
        self._parameters, self._portfolios, self._table, self._up = parameters, book.portfolios, table, up
        underlyings = table.of_row[book.rows]
        order = np.lexsort((underlyings, book.owners))
        self._owners, self._rows, self._lots = book.owners[order], book.rows[order], book.lots[order]
        keys = self._owners * len(table.underlyings) + underlyings[order]
        self._starts = np.flatnonzero(np.diff(keys, prepend=-1))
        self._group_owners = self._owners[self._starts]
        self._group_underlyings = table.of_row[self._rows[self._starts]]

    def amounts(self) -> list[int]:
        """In the order of :func:`_margin`."""
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
        """Shape (positions, cells)."""
        long, short = self._table.long[self._rows], self._table.short[self._rows]
        return np.where((self._lots > 0)[:, None], long, short) * np.abs(self._lots)[:, None]

    def _minimum(self) -> Column:
        return self._per_group(np.maximum(0, -self._lots) * self._table.minimum[self._rows])

    def _exposure(self, pnl: Column) -> Column:
        is_linear = self._table.is_linear[self._rows]
        by_delta = self._per_group(self._lots * self._table.delta[self._rows])
        move = self._table.move_bp[self._group_underlyings]
        return self._per_group(np.where(is_linear, pnl[:, self._up], 0)) + share(by_delta, move)

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
