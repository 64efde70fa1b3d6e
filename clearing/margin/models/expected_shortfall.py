"""``expected_shortfall``: filtered historical simulation with a stressed part (rulebook §9.1), the default model.

Assumptions: tomorrow is like one of the last thousand days, scaled to today's volatility, or like one of the wildest
days ever (``factors``); all instruments on one underlying move together but for the basis; volatilities move with
prices as they did on the surfaces that were looked at.

1. Each scenario moves every underlying at once. An instrument that is marked by another feed than its underlying moves
   apart from it by the basis floor, up or down, independently of all other feeds.
2. Options are valued anew in each scenario, with the volatility that goes with the move; for who is long a day has
   passed, for who is short none has.
3. The loss in each half of the set is the mean of its worst [2.5 %]: the expected shortfall. The requirement weighs the
   filtered half with [75 %] and the half of stress with [25 %].
4. Never less than what the offset cap leaves of the sum of each position alone, nor than a minimum for each option
   that is held short.

Every term is a sum of worst cases of the same scenarios, so the model keeps laws that no test has to hope for: to
merge portfolios never raises the sum of their amounts, twice the book asks for twice as much (but for the one rounding
up), and it is never negative. Positions are integers and so are the rows of the array, rounded against the holder; the
amount is an exact fraction of them, rounded up once.
"""

from array import array as packed
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import gcd
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from clearing.margin.attribution import attributed
from clearing.margin.factors import Floats, coins
from clearing.margin.model import Column, Margin, Market, Positions, UnderlyingRisk
from clearing.margin.pricing import FINE, delta, terms_of, value, value_ticks, years_to_expiry
from clearing.margin.reproducible import exp
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import BP, DAY_MS, PPM, Instrument, InstrumentRisk, Parameters, RiskArray
from ledger.amount import divide_down, divide_up
from ledger.require import require

PPM_IN_BP = PPM // BP
VOLATILITY_SHIFT, VOLATILITY_SLOPE, VOLATILITY_CURVE = 0.002, -0.764, 0.116
"""d ln(volatility) × √(T / 30 days) = shift + slope × r + curve × |r|, fitted on surfaces of BTC and ETH, December 2025
to March 2026.
"""
VOLATILITY_RESIDUAL = 0.035
"""Standard deviation of what that leaves unexplained."""
REFERENCE_YEARS = 30 / 365
SHOCKED_YEARS_MIN = 2 / 365
"""The shock of a volatility grows with 1/√T: no further than for two days."""
VOLATILITY_MIN, VOLATILITY_MAX = 0.01, 10.0
SAFE = 2**62
Integers: TypeAlias = NDArray[Any]
"""Integers of 64 bits where these hold every sum, else Python's."""
CHUNK = 256
"""Portfolios whose losses are held at once: what fits the processor's cache."""


def scenario_names(array: RiskArray) -> tuple[str, ...]:
    """What each scenario is, in the order of the array."""
    filtered = array.filtered
    count = len(array.instruments[0].long_minor) if array.instruments else filtered
    recent = (f"{filtered - n} days ago, scaled to today's volatility" for n in range(filtered))
    return (*recent, *(f"stress day {n + 1}" for n in range(count - filtered)))


# the array ----------------------------------------------------------------------------------------


def risk_array(instruments: Iterable[Instrument], market: Market, parameters: Parameters) -> RiskArray:
    """Scenario P&L of one lot of each instrument that has a mark, long and short, rounded down."""
    rows = [_row(one, market, parameters) for one in instruments if one.feeds <= market.prices.keys()]
    return RiskArray(model="expected_shortfall", instruments=tuple(rows), filtered=market.states.filtered)


def _row(instrument: Instrument, market: Market, parameters: Parameters) -> InstrumentRisk:
    moves = market.states.of(instrument.underlying)
    if instrument.feed != instrument.underlying:
        basis = parameters.basis_floor_bp * PPM_IN_BP
        moves = moves + (2 * coins(f"basis {instrument.feed}", len(moves)) - 1) * basis
    if instrument.option is not None:
        return _option_row(instrument, market, moves)
    notional = market.prices[instrument.feed] * instrument.tick_value_minor
    return InstrumentRisk(
        instrument=instrument.id,
        underlying=instrument.underlying,
        notional_minor=notional,
        long_minor=_millionths(notional, moves),
        short_minor=_millionths(notional, -moves),
    )


def _millionths(notional_minor: int, moves_ppm: Column) -> Sequence[int]:
    """Parts per million of an amount, each rounded down."""
    whole, rest = divmod(notional_minor, PPM)
    if (whole + 1) * int(np.abs(moves_ppm).max(initial=0)) < SAFE:
        return packed("q", (whole * moves_ppm + rest * moves_ppm // PPM).tobytes())
    return tuple(notional_minor * move // PPM for move in moves_ppm.tolist())


def _option_row(option: Instrument, market: Market, moves_ppm: Column) -> InstrumentRisk:
    terms, years = terms_of(option), years_to_expiry(option, market.at_ms)
    forward, volatility_bp = market.prices[option.feed], market.prices[terms.volatility_feed]
    returns = moves_ppm / PPM
    forwards = forward * np.maximum(1 + returns, 0.01)
    volatilities = _shocked(volatility_bp / BP, returns, years)
    later = max(0.0, years - DAY_MS / (365 * DAY_MS))
    held = value(terms.right, forwards, terms.strike_ticks, volatilities, later)
    owed = value(terms.right, forwards, terms.strike_ticks, volatilities, years)
    mark = value_ticks(option, forward, volatility_bp, market.at_ms)
    notional = forward * option.tick_value_minor
    share = delta(terms.right, forward, terms.strike_ticks, volatility_bp / BP, years)
    return InstrumentRisk(
        instrument=option.id,
        underlying=option.underlying,
        notional_minor=notional,
        long_minor=_gained(np.minimum(held, owed) - mark, option.tick_value_minor),
        short_minor=_gained(mark - np.maximum(held, owed), option.tick_value_minor),
        delta_minor=divide_down(notional * round(share * FINE), FINE),
    )


def _shocked(volatility: float, returns: Floats, years: float) -> Floats:
    """The volatility that goes with each return. In a rally it falls in one half of the scenarios and rises in the
    other as it would in a fall: both were seen.
    """
    count = len(returns)
    slope = np.where((returns > 0) & (coins("volatility", count) == 1), -VOLATILITY_SLOPE, VOLATILITY_SLOPE)
    noise = sum((coins(f"residual {n}", count) for n in range(16)), np.zeros(count, np.int64)) - 8
    moved = VOLATILITY_SHIFT + slope * returns + VOLATILITY_CURVE * np.abs(returns)
    moved = (moved + VOLATILITY_RESIDUAL / 2 * noise) / np.sqrt(
        max(years, SHOCKED_YEARS_MIN) / REFERENCE_YEARS
    )
    shocked: Floats = np.clip(volatility * exp(moved), VOLATILITY_MIN, VOLATILITY_MAX)
    return shocked


def _gained(ticks: Floats, tick_value_minor: int) -> Sequence[int]:
    """What so many ticks are worth, rounded down to a millionth of a tick and then to a smallest unit."""
    fine = np.floor(ticks * FINE)
    if float(np.abs(fine).max(initial=0.0)) * tick_value_minor < SAFE:
        return packed("q", (fine.astype(np.int64) * tick_value_minor // FINE).tobytes())
    return tuple(int(one) * tick_value_minor // FINE for one in fine.tolist())


# the requirement ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """A risk array as losses: row ``n`` of one lot held long, row ``n + instruments`` of one held short; Python's
    integers where 64 bits do not hold the largest. ``widest``: for each instrument the most that one lot brings into
    any sum.

    An amount is ``(recent × R + stress × S) / whole`` for the sums R and S of the worst losses of each half. ``alone``
    is that numerator for one lot of each row, ``minimum`` what an option held short asks for at least.
    """

    losses: Integers
    widest: tuple[int, ...]
    filtered: int
    recent_tail: int
    stress_tail: int
    recent: int
    stress: int
    whole: int
    alone: tuple[int, ...] = ()
    minimum: tuple[int, ...] = ()

    def tails(self, losses: Integers) -> tuple[Integers, Integers]:
        """The sums of the worst losses of each half: of each row of ``losses``."""
        return (
            _worst(losses[:, : self.filtered], self.recent_tail),
            _worst(losses[:, self.filtered :], self.stress_tail),
        )

    def numerators(self, losses: Integers) -> list[int]:
        """``whole`` times what each row of losses asks for, never negative."""
        recent, stress = self.tails(losses)
        blended = zip(recent.tolist(), stress.tolist(), strict=True)
        return [max(0, self.recent * one + self.stress * other) for one, other in blended]


def _worst(losses: Integers, count: int) -> Integers:
    """The sum of the ``count`` largest of each row."""
    at = losses.shape[1] - count
    sums: Integers = np.partition(losses, at, axis=1)[:, at:].sum(axis=1)
    return sums


@lru_cache(maxsize=4)
def _table(array: RiskArray, parameters: Parameters) -> _Table:
    """Made once a cycle."""
    rows, sides = array.instruments, ("long_minor", "short_minor")
    require(0 < array.filtered < len(rows[0].long_minor), "an array has recent scenarios and such of stress")
    columns = [getattr(row, side) for side in sides for row in rows]
    recent_tail = _tail(array.filtered, parameters)
    stress_tail = _tail(len(columns[0]) - array.filtered, parameters)
    extremes = [max(1, abs(min(column)), abs(max(column))) for column in columns]
    both = zip(extremes[: len(rows)], extremes[len(rows) :], strict=True)
    widest = tuple(max(recent_tail, stress_tail) * max(long, short) for long, short in both)
    losses = -np.array(columns, np.int64 if max(widest) < SAFE else object)
    weight = parameters.stress_weight_bp
    recent, stress, whole = (BP - weight) * stress_tail, weight * recent_tail, BP * recent_tail * stress_tail
    common = gcd(recent, stress, whole)
    table = _Table(
        losses=losses,
        widest=widest,
        filtered=array.filtered,
        recent_tail=recent_tail,
        stress_tail=stress_tail,
        recent=recent // common,
        stress=stress // common,
        whole=whole // common,
    )
    minimum = [
        0 if row.delta_minor is None else divide_up(row.notional_minor * parameters.short_option_bp, BP)
        for row in rows
    ]
    return replace(table, alone=tuple(table.numerators(losses)), minimum=(*((0,) * len(rows)), *minimum))


def _tail(count: int, parameters: Parameters) -> int:
    """How many scenarios the mean is of: rounded down, so that it is of the worse ones."""
    return max(1, count * parameters.tail_bp // BP)


def margin(lots: Mapping[InstrumentId, int], array: RiskArray, parameters: Parameters) -> Margin:
    """Maintenance margin of one portfolio, with its explanation. ``lots``: long is positive."""
    held = [
        (number, row, lots[row.instrument])
        for number, row in enumerate(array.instruments)
        if lots.get(row.instrument)
    ]
    require(len(held) == sum(1 for q in lots.values() if q), "every position has a row in the risk array")
    if not held:
        return Margin(amount_minor=0)
    table = _table(array, parameters)
    sides = [number if q > 0 else number + len(array.instruments) for number, _, q in held]
    sizes = [abs(q) for *_, q in held]
    largest = sum(q * table.widest[number] for (number, *_), q in zip(held, sizes, strict=True))
    legs = _legs(table, sides, sizes, largest)
    losses = legs.sum(axis=0)
    (numerator,) = table.numerators(losses[None, :])
    risk = divide_up(numerator, table.whole)
    floor = _floor(sum(q * table.alone[s] for q, s in zip(sizes, sides, strict=True)), table, parameters)
    minimum = sum(q * table.minimum[s] for q, s in zip(sizes, sides, strict=True))
    amount = max(risk, floor, minimum)
    if amount == risk:
        weights = _contributions(table, legs, losses)
    else:
        each = table.alone if amount == floor else table.minimum
        weights = [q * each[s] for q, s in zip(sizes, sides, strict=True)]
    return Margin(
        amount_minor=amount,
        floor_minor=max(floor, minimum),
        contributions=attributed(
            amount, {row.instrument: w for (_, row, _), w in zip(held, weights, strict=True)}
        ),
        underlyings=_underlyings(held, legs, int(losses.argmax())),
    )


def _legs(table: _Table, sides: Sequence[int], sizes: Sequence[int], largest: int) -> Integers:
    """The loss of each position in each scenario; no sum of them is beyond ``largest``."""
    kind = np.int64 if largest < SAFE else object
    found: Integers = table.losses[list(sides)].astype(kind) * np.array(sizes, kind)[:, None]
    return found


def _contributions(table: _Table, legs: Integers, losses: Integers) -> list[int]:
    """Euler's: what each position loses in the scenarios that count, weighed as they are; the first of equal ones
    count. They sum to the numerator exactly.
    """
    recent = np.argsort(-losses[: table.filtered], kind="stable")[: table.recent_tail]
    stress = np.argsort(-losses[table.filtered :], kind="stable")[: table.stress_tail] + table.filtered
    recent_sums, stress_sums = legs[:, recent].sum(axis=1), legs[:, stress].sum(axis=1)
    return [
        table.recent * int(one) + table.stress * int(other)
        for one, other in zip(recent_sums, stress_sums, strict=True)
    ]


def _floor(numerator: int, table: _Table, parameters: Parameters) -> int:
    return divide_up(numerator * (BP - parameters.offset_cap_bp), table.whole * BP)


def _underlyings(
    held: Sequence[tuple[int, InstrumentRisk, int]], legs: Integers, scenario: int
) -> tuple[UnderlyingRisk, ...]:
    """What each underlying loses in the worst scenario of all."""
    lost: dict[FeedId, int] = {}
    for (_, row, _), loss in zip(held, legs[:, scenario].tolist(), strict=True):
        lost[row.underlying] = lost.get(row.underlying, 0) + loss
    return tuple(
        UnderlyingRisk(underlying=u, risk_minor=lost[u], scenario=scenario, exposure_minor=-lost[u])
        for u in sorted(lost)
    )


def rises(array: RiskArray, parameters: Parameters) -> dict[InstrumentId, int]:
    """By how much a lot more of an instrument, bought or sold, can raise the amount of any portfolio at most: by what
    that lot asks for alone, for merging never raises the sum.
    """
    if not array.instruments:
        return {}
    table, count = _table(array, parameters), len(array.instruments)
    asked = [
        max(divide_up(numerator, table.whole), minimum)
        for numerator, minimum in zip(table.alone, table.minimum, strict=True)
    ]
    return {row.instrument: max(asked[n], asked[n + count]) for n, row in enumerate(array.instruments)}


# all portfolios at once ---------------------------------------------------------------------------


def amounts(book: Positions, array: RiskArray, parameters: Parameters) -> list[int]:
    """The amount that :func:`margin` gives for each portfolio, many at a time where 64 bits hold every sum."""
    if not len(book.lots):
        return [0] * book.portfolios
    table = _table(array, parameters)
    order = np.argsort(book.owners, kind="stable")
    owners, lots = book.owners[order], book.lots[order]
    rows = np.where(lots > 0, book.rows[order], book.rows[order] + len(array.instruments))
    sizes = np.abs(lots)
    starts = np.searchsorted(owners, np.arange(book.portfolios + 1))
    count = len(array.instruments)
    asked = [max(table.alone[n::count]) for n in range(count)]
    least = [max(table.minimum[n::count]) for n in range(count)]
    largest = book.largest([max(lot) for lot in zip(table.widest, asked, least, strict=True)])
    if largest >= SAFE or table.losses.dtype == object:
        return [margin(lots, array, parameters).amount_minor for lots in book.apart(array)]
    numerators = [
        one
        for first in range(0, book.portfolios, CHUNK)
        for one in _chunk(table, rows, sizes, starts[first : first + CHUNK + 1])
    ]
    alone = _per_portfolio(_column(table.alone)[rows] * sizes, starts)
    minimum = _per_portfolio(_column(table.minimum)[rows] * sizes, starts)
    return [
        max(divide_up(one, table.whole), _floor(each, table, parameters), least)
        for one, each, least in zip(numerators, alone, minimum, strict=True)
    ]


def _chunk(table: _Table, rows: Column, sizes: Column, starts: Column) -> list[int]:
    """The numerators of the portfolios between ``starts``."""
    first, last = int(starts[0]), int(starts[-1])
    shape = (len(starts) - 1, len(table.losses))
    held = csr_matrix((sizes[first:last], rows[first:last], starts - first), shape=shape)
    return table.numerators(held @ table.losses)


def _column(of_lot: Sequence[int]) -> Column:
    """What a lot of each row asks for; what 64 bits do not hold is held by no book that is measured in columns."""
    return np.array([min(one, SAFE) for one in of_lot], np.int64)


def _per_portfolio(column: Column, starts: Column) -> list[int]:
    """Sums of 64 bits, which may run over on the way but fit in the end."""
    sums = np.concatenate([[0], np.cumsum(column)])
    found: list[int] = (sums[starts[1:]] - sums[starts[:-1]]).tolist()
    return found
