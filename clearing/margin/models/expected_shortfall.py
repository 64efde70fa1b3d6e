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
4. Never less than what the offset cap leaves of the sum of what scenarios ask of each position alone, nor than the sum
   of a minimum for each position: the short-option minimum for an option held short, none for one held long, and the
   basis floor for anything else, on either side. A price that has not moved for a thousand days is no proof that it
   never will.

Every term is a sum of worst cases of the same scenarios, so the model keeps laws that no test has to hope for: to
merge portfolios never raises the sum of their amounts, twice the book asks for twice as much (but for the one rounding
up), and it is never negative. Positions are integers and so are the rows of the array, rounded against the holder; the
amount is an exact fraction of them, rounded up once.
"""

from array import array as packed
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import gcd
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from clearing.margin.attribution import attributed
from clearing.margin.black import intrinsic, time_values
from clearing.margin.columns import share
from clearing.margin.factors import Floats, coins
from clearing.margin.model import Column, Margin, Market, Positions, Tail, UnderlyingRisk
from clearing.margin.pricing import FINE, deltas_of, sign_of, terms_of, values_ticks, years_to_expiry
from clearing.margin.reproducible import exp
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import BP, PPM, Instrument, InstrumentRisk, Parameters, RiskArray
from ledger.amount import divide_down, divide_up
from ledger.require import require

PPM_IN_BP = PPM // BP
VOLATILITY_SHIFT, VOLATILITY_SLOPE, VOLATILITY_CURVE = 0.002, -0.764, 0.116
"""d ln(volatility) × √(T / 30 days) = shift + slope × r + curve × |r|, fitted on surfaces of BTC and ETH, December 2025
to March 2026.
"""
VOLATILITY_RESIDUALS_PPM = np.array(
    (
        *(1_491, 4_488, 7_529, 10_646, 13_876, 17_263, 20_862, 24_743),
        *(29_006, 33_793, 39_323, 45_959, 54_374, 66_019, 85_027, 134_474),
    )
)
"""What that leaves unexplained, by size: the upper half of 32 quantiles of Student's t with three degrees of freedom,
scaled to a standard deviation of 5 %; down as often as up. Daily steps left 3.7 % common to all expiries of a day and
2.6 % of each, with such tails: this is more.
"""
REFERENCE_YEARS = 30 / 365
SHOCKED_YEARS_MIN = 2 / 365
"""The shock of a volatility grows with 1/√T: no further than for two days."""
VOLATILITY_MIN, VOLATILITY_MAX = 0.01, 10.0
SAFE = 2**62
"""What 64 bits hold, with room to spare."""
EXACT = 2**52
"""What floating point holds exactly, with room to spare."""
Integers: TypeAlias = NDArray[Any]
"""Integers of 64 bits, or in floating point, where these hold every sum; else Python's."""
CHUNK = 256
"""Portfolios whose losses are held at once: what fits the processor's cache."""


def scenario_names(array: RiskArray) -> tuple[str, ...]:
    """What each scenario is, in the order of the array: by number, the newest day last, for days that nobody saw are
    made of scan ranges.
    """
    filtered = array.filtered
    count = len(array.instruments[0].long_minor) if array.instruments else filtered
    recent = (f"recent {n + 1} of {filtered}, scaled to today's volatility" for n in range(filtered))
    return (*recent, *(f"stress {n + 1} of {count - filtered}" for n in range(count - filtered)))


# the array ----------------------------------------------------------------------------------------


def risk_array(instruments: Iterable[Instrument], market: Market, parameters: Parameters) -> RiskArray:
    """Scenario P&L of one lot of each instrument that has a mark, long and short, rounded down."""
    listed = [one for one in instruments if one.feeds <= market.prices.keys()]
    options = _option_rows([one for one in listed if one.option is not None], market, parameters)
    rows = [options.get(one.id) or _linear_row(one, market, parameters) for one in listed]
    return RiskArray(model="expected_shortfall", instruments=tuple(rows), filtered=market.states.filtered)


def _moves(underlying: FeedId, feed: FeedId, market: Market, parameters: Parameters) -> Column:
    """How far the mark of ``feed`` moves in each scenario."""
    moves = market.states.of(underlying)
    if feed == underlying:
        return moves
    basis = parameters.basis_floor_bp * PPM_IN_BP
    return moves + (2 * coins(f"basis {feed}", len(moves)) - 1) * basis


def _linear_row(instrument: Instrument, market: Market, parameters: Parameters) -> InstrumentRisk:
    moves = _moves(instrument.underlying, instrument.feed, market, parameters)
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


Expiry: TypeAlias = tuple[FeedId, FeedId, FeedId, int | None]
"""Underlying, forward, volatility and time: options that share these share their scenarios."""


def _option_rows(
    options: Sequence[Instrument], market: Market, parameters: Parameters
) -> dict[InstrumentId, InstrumentRisk]:
    """The mark and the delta of all at once, the scenarios an expiry at a time."""
    forwards = [market.prices[one.feed] for one in options]
    volatilities = [market.prices[terms_of(one).volatility_feed] for one in options]
    marks = values_ticks(options, forwards, volatilities, market.at_ms)
    shares = deltas_of(options, forwards, volatilities, market.at_ms)
    chains: dict[Expiry, list[tuple[Instrument, int, float]]] = {}
    for one, mark, by_forward in zip(options, marks, shares, strict=True):
        key = (one.underlying, one.feed, terms_of(one).volatility_feed, one.expires_ms)
        chains.setdefault(key, []).append((one, mark, by_forward))
    return {row.instrument: row for chain in chains.values() for row in _chain(chain, market, parameters)}


def _chain(
    chain: Sequence[tuple[Instrument, int, float]], market: Market, parameters: Parameters
) -> Iterator[InstrumentRisk]:
    """The rows of options of one expiry, from their marks and deltas."""
    options, marks, shares = zip(*chain, strict=True)
    held, owed = _valued(options, _Scenarios.of(options[0], market, parameters))
    mark, tick_values = np.array(marks, np.float64)[:, None], [one.tick_value_minor for one in options]
    longs = _gained(np.minimum(held, owed) - mark, tick_values)
    shorts = _gained(mark - np.maximum(held, owed), tick_values)
    for one, by_forward, long, short in zip(options, shares, longs, shorts, strict=True):
        notional = market.prices[one.feed] * one.tick_value_minor
        yield InstrumentRisk(
            instrument=one.id,
            underlying=one.underlying,
            notional_minor=notional,
            long_minor=long,
            short_minor=short,
            delta_minor=divide_down(notional * round(by_forward * FINE), FINE),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Scenarios:
    """What options of one expiry are valued with: a forward and a volatility for each scenario."""

    forwards: Floats
    volatilities: Floats
    years: float

    @classmethod
    def of(cls, option: Instrument, market: Market, parameters: Parameters) -> "_Scenarios":
        """Those of the expiry of ``option``."""
        years = years_to_expiry(option, market.at_ms)
        returns = _moves(option.underlying, option.feed, market, parameters) / PPM
        volatility = market.prices[terms_of(option).volatility_feed] / BP
        forwards = market.prices[option.feed] * np.maximum(1 + returns, 0.01)
        shocked = _shocked(volatility, returns, years, option.feed)
        return cls(forwards[None, :], shocked[None, :], years)


def _valued(options: Sequence[Instrument], scenarios: _Scenarios) -> tuple[Floats, Floats]:
    """Values in a day and at once. A call and a put at one strike share their time value."""
    signs = [sign_of(terms_of(one).right) for one in options]
    strikes = [terms_of(one).strike_ticks for one in options]
    levels = sorted(set(strikes))
    at = [levels.index(strike) for strike in strikes]
    years = [max(0.0, scenarios.years - 1 / 365)] * len(levels) + [scenarios.years] * len(levels)
    found = time_values(scenarios.forwards, levels * 2, scenarios.volatilities, years)
    paid = intrinsic(signs, scenarios.forwards, strikes)
    return found[at] + paid, found[[len(levels) + n for n in at]] + paid


def _shocked(volatility: float, returns: Floats, years: float, feed: FeedId) -> Floats:
    """The volatility that goes with each return. In a rally it falls in one half of the scenarios and rises in the
    other as it would in a fall: both were seen. What is unexplained has a part that all options share, and one of
    those on one forward: volatilities of two expiries do not move as one.
    """
    count = len(returns)
    slope = np.where((returns > 0) & (coins("volatility", count) == 1), -VOLATILITY_SLOPE, VOLATILITY_SLOPE)
    moved = VOLATILITY_SHIFT + slope * returns + VOLATILITY_CURVE * np.abs(returns)
    moved = moved + (_residuals("residual", count) + _residuals(f"residual {feed}", count)) / PPM
    moved = moved / np.sqrt(max(years, SHOCKED_YEARS_MIN) / REFERENCE_YEARS)
    shocked: Floats = np.clip(volatility * exp(moved), VOLATILITY_MIN, VOLATILITY_MAX)
    return shocked


@lru_cache(maxsize=256)
def _residuals(name: str, count: int) -> Column:
    """One residual a scenario, each as likely as any other, that only ``name`` decides."""
    place = sum((coins(f"{name} {n}", count) << n for n in range(4)), np.zeros(count, np.int64))
    drawn: Column = VOLATILITY_RESIDUALS_PPM[place] * (2 * coins(f"{name} up", count) - 1)
    return drawn


def _gained(ticks: Floats, tick_values_minor: Sequence[int]) -> list[Sequence[int]]:
    """What so many ticks are worth, rounded down to a millionth of a tick and then to a smallest unit."""
    fine = np.floor(ticks * FINE)
    if float(np.abs(fine).max(initial=0.0)) * max(tick_values_minor) < SAFE:
        worth = fine.astype(np.int64) * np.array(tick_values_minor, np.int64)[:, None] // FINE
        return [packed("q", row.tobytes()) for row in worth]
    return [
        tuple(int(one) * tick_value // FINE for one in row)
        for row, tick_value in zip(fine.tolist(), tick_values_minor, strict=True)
    ]


# the requirement ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """A risk array as losses: row ``n`` of one lot held long, row ``n + instruments`` of one held short. Integers, in
    floating point as long as it is exact; Python's where 64 bits do not hold them.

    An amount is ``(recent × R + stress × S) / whole`` for the sums R and S of the worst losses of each half. ``alone``
    is that numerator for one lot of each row, ``minimum`` what the lot asks for at least, ``widest`` the largest number
    of the row.
    """

    losses: Integers
    widest: tuple[int, ...]
    filtered: int
    recent_tail: int
    stress_tail: int
    recent: int
    stress: int
    whole: int
    minimum: tuple[int, ...]
    alone: tuple[int, ...]

    def tails(self, losses: Integers) -> tuple[Integers, Integers]:
        """The sums of the worst losses of each half: of each row of ``losses``, which is reordered."""
        return (
            _worst(losses[:, : self.filtered], self.recent_tail),
            _worst(losses[:, self.filtered :], self.stress_tail),
        )

    def numerators(self, losses: Integers) -> Integers:
        """``whole`` times what each row of losses asks for, never negative. Reorders the rows."""
        recent, stress = self.tails(losses)
        blended: Integers = np.maximum(0, self.recent * recent + self.stress * stress)
        return blended

    @property
    def exact_below(self) -> int:
        """A portfolio whose rows sum up to less is computed exactly in 53 bits, and its numerator in 63."""
        if self.losses.dtype != np.float64:
            return 0
        return min(EXACT, SAFE // max(self.whole, self.recent_tail, self.stress_tail))


def _worst(losses: Integers, count: int) -> Integers:
    """The sum of the ``count`` largest of each row. Reorders the rows: a copy would take as long as the rest."""
    at = losses.shape[1] - count
    losses.partition(at, axis=1)
    sums: Integers = _whole(losses[:, at:]).sum(axis=1)
    return sums


@lru_cache(maxsize=4)
def _table(array: RiskArray, parameters: Parameters) -> _Table:
    """Made once a cycle."""
    rows, weight = array.instruments, parameters.stress_weight_bp
    require(0 < array.filtered < len(rows[0].long_minor), "an array has recent scenarios and such of stress")
    losses, extremes = _lost([row.long_minor for row in rows] + [row.short_minor for row in rows])
    least = [_minimum(row, parameters) for row in rows]
    minimum = (*(long for long, _ in least), *(short for _, short in least))
    recent_tail = _tail(array.filtered, parameters)
    stress_tail = _tail(losses.shape[1] - array.filtered, parameters)
    recent, stress, whole = (BP - weight) * stress_tail, weight * recent_tail, BP * recent_tail * stress_tail
    common = gcd(recent, stress, whole)
    table = _Table(
        losses=losses,
        widest=tuple(map(max, minimum, extremes)),
        minimum=minimum,
        alone=(),
        filtered=array.filtered,
        recent_tail=recent_tail,
        stress_tail=stress_tail,
        recent=recent // common,
        stress=stress // common,
        whole=whole // common,
    )
    kind = np.copy if max(extremes) < table.exact_below else _in_python
    parts = (losses[first : first + CHUNK] for first in range(0, len(losses), CHUNK))
    return replace(table, alone=tuple(one for part in parts for one in table.numerators(kind(part)).tolist()))


def _minimum(row: InstrumentRisk, parameters: Parameters) -> tuple[int, int]:
    """What a lot asks for at least, held long and held short."""
    if row.delta_minor is not None:
        return 0, divide_up(row.notional_minor * parameters.short_option_bp, BP)
    least = divide_up(row.notional_minor * parameters.basis_floor_bp, BP)
    return least, least


def _lost(columns: Sequence[Sequence[int]]) -> tuple[Integers, list[int]]:
    """Gains as losses, a row for each of ``columns``, and the largest number of each row: in floating point if that
    holds all of them exactly.
    """
    blocks = [column for column in columns if isinstance(column, packed)]
    if len(blocks) == len(columns):
        losses = np.empty((len(blocks), len(blocks[0])))
        for row, block in zip(losses, blocks, strict=True):
            np.negative(np.frombuffer(block, np.int64), out=row)
        extremes = np.maximum(losses.max(axis=1), -losses.min(axis=1))
        if extremes.max() < EXACT:
            return losses, [int(one) for one in extremes.tolist()]
    numbers = np.array(columns, object)
    return -numbers, np.abs(numbers).max(axis=1).tolist()


def _whole(losses: Integers) -> Integers:
    """The same as integers: what comes of them may be wider than they are."""
    return losses if losses.dtype == object else losses.astype(np.int64)


def _in_python(losses: Integers) -> Integers:
    """A copy in Python's integers."""
    return _whole(losses).astype(object)


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
    legs = _legs(table, sides, sizes)
    losses = legs.sum(axis=0)
    (numerator,) = table.numerators(losses[None, :].copy()).tolist()
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
        risk_minor=risk,
        tails=_explained(table, losses, parameters),
        floor_minor=max(floor, minimum),
        contributions=attributed(
            amount, {row.instrument: w for (_, row, _), w in zip(held, weights, strict=True)}
        ),
        underlyings=_underlyings(held, legs, int(losses.argmax())),
    )


def _explained(table: _Table, losses: Integers, parameters: Parameters) -> tuple[Tail, ...]:
    """The two means that the risk is made of."""
    recent, stress = table.tails(losses[None, :].copy())
    weight = parameters.stress_weight_bp
    return (
        Tail(
            title="recent scenarios",
            scenarios=table.recent_tail,
            mean_minor=divide_up(int(recent[0]), table.recent_tail),
            weight_bp=BP - weight,
        ),
        Tail(
            title="scenarios of stress",
            scenarios=table.stress_tail,
            mean_minor=divide_up(int(stress[0]), table.stress_tail),
            weight_bp=weight,
        ),
    )


def _legs(table: _Table, sides: Sequence[int], sizes: Sequence[int]) -> Integers:
    """The loss of each position in each scenario."""
    widest = sum(size * table.widest[side] for size, side in zip(sizes, sides, strict=True))
    kind = np.int64 if widest < table.exact_below and max(sizes) < SAFE else object
    found: Integers = _whole(table.losses[list(sides)]).astype(kind) * np.array(sizes, kind)[:, None]
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


def climbs(
    before: RiskArray, after: RiskArray, rows: Sequence[int], parameters: Parameters
) -> list[tuple[int, int]]:
    """By how much more one lot of each of ``rows``, held long and held short, loses at most in any scenario ``after``,
    or asks for at least; never negative.
    """
    found: list[tuple[int, int]] = []
    for old, new in ((before.instruments[row], after.instruments[row]) for row in rows):
        (long_before, short_before), (long_least, short_least) = (
            _minimum(row, parameters) for row in (old, new)
        )
        long, short = _climb(old.long_minor, new.long_minor), _climb(old.short_minor, new.short_minor)
        found.append((max(0, long, long_least - long_before), max(0, short, short_least - short_before)))
    return found


def _climb(before: Sequence[int], after: Sequence[int]) -> int:
    """The largest rise of a loss, from gains."""
    pair = [np.array(gains) for gains in (before, after)]
    if any(one.dtype == object or np.abs(one).max() >= EXACT for one in pair):
        pair = [np.array(gains, object) for gains in (before, after)]
    return int((pair[0] - pair[1]).max())


# all portfolios at once ---------------------------------------------------------------------------


def amounts(book: Positions, array: RiskArray, parameters: Parameters) -> list[int]:
    """The amount that :func:`margin` gives for each portfolio: many at a time, one by one only those whose sums
    floating point might not hold exactly.
    """
    if not len(book.lots):
        return [0] * book.portfolios
    table = _table(array, parameters)
    held = _Held.of(book, table)
    is_wide = held.widest(table) >= table.exact_below
    found = [0] * book.portfolios if is_wide.all() else _at_once(held.without(is_wide), table, parameters)
    for portfolio in np.flatnonzero(is_wide).tolist():
        is_own = book.owners == portfolio
        lots = zip(book.rows[is_own].tolist(), book.lots[is_own].tolist(), strict=True)
        alone = {array.instruments[row].instrument: count for row, count in lots}
        found[portfolio] = margin(alone, array, parameters).amount_minor
    return found


@lru_cache(maxsize=16)
def _column(numbers: tuple[int, ...]) -> Column:
    """Numbers of the table in a column. Who holds a row that does not fit is not asked for in columns."""
    return np.array([min(number, SAFE) for number in numbers], np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """Positions by portfolio: those of number ``n`` stand from ``starts[n]`` to ``starts[n + 1]``, each with its row of
    the table and how many lots of it.
    """

    rows: Column
    sizes: Column
    starts: Column

    @classmethod
    def of(cls, book: Positions, table: _Table) -> "_Held":
        """The positions of ``book``."""
        order = np.argsort(book.owners, kind="stable")
        lots, rows = book.lots[order], book.rows[order]
        return cls(
            rows=np.where(lots > 0, rows, rows + len(table.losses) // 2),
            sizes=np.abs(lots),
            starts=np.searchsorted(book.owners[order], np.arange(book.portfolios + 1)),
        )

    @property
    def owners(self) -> Column:
        """Whose each position is."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    def widest(self, table: _Table) -> Floats:
        """No portfolio sums up to more in any scenario."""
        most = _column(table.widest)[self.rows].astype(np.float64) * self.sizes
        sums: Floats = np.bincount(self.owners, most, len(self.starts) - 1).astype(np.float64)
        return sums

    def without(self, portfolios: NDArray[np.bool_]) -> "_Held":
        """As if these held nothing."""
        return replace(self, sizes=np.where(portfolios[self.owners], 0, self.sizes))

    def summed(self, each: tuple[int, ...]) -> Column:
        """What each lot counts, summed up by portfolio: what runs over on the way fits in the end."""
        sums = np.concatenate([[0], np.cumsum(_column(each)[self.rows] * self.sizes)])
        found: Column = sums[self.starts[1:]] - sums[self.starts[:-1]]
        return found

    def losses(self, table: _Table, first: int) -> Floats:
        """What the next portfolios lose in each scenario."""
        starts = self.starts[first : first + CHUNK + 1]
        own = slice(starts[0], starts[-1])
        shape = (len(starts) - 1, len(table.losses))
        held = csr_matrix(
            (self.sizes[own].astype(np.float64), self.rows[own], starts - starts[0]), shape=shape
        )
        found: Floats = held @ table.losses
        return found


def _at_once(held: _Held, table: _Table, parameters: Parameters) -> list[int]:
    """As :func:`margin` does, for all portfolios."""
    firsts = range(0, len(held.starts) - 1, CHUNK)
    numerators = np.concatenate([table.numerators(held.losses(table, first)) for first in firsts])
    alone = held.summed(table.alone)
    floor = -(share(-alone, BP - parameters.offset_cap_bp) // table.whole)
    minimum = held.summed(table.minimum)
    found: list[int] = np.maximum(np.maximum(-(-numerators // table.whole), floor), minimum).tolist()
    return found
