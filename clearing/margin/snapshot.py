"""The risk array of the newest cycle, made of what the journal says (rulebook §9).

The journal has no array: it has the marks, the instruments, the parameters and the daily moves, and the arithmetic
between them gives the same integers on every machine (``reproducible``). So an array is made when somebody asks, kept
while nothing that it is made of changes, and made again by whoever recomputes an attestation.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from immutables import Map

from clearing.margin import factors
from clearing.margin.factors import MISSING, History, Path, path_of, states_of
from clearing.margin.model import Market, States
from clearing.margin.table import MODELS
from clearing.model.house import House, ordered
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import PPM, Cycle, DailyMoves, Instrument, Parameters, RiskArray, UnderlyingMove
from ledger.amount import divide_down


def array_of(house: House) -> RiskArray:
    """The risk array of the newest cycle under the parameters in force; empty before the first."""
    if house.cycle is None:
        return RiskArray(model="", instruments=())
    return array_by(house, house.parameters.margin_model)


def array_by(house: House, model: str) -> RiskArray:
    """The array that a model makes of the newest cycle, in force or not."""
    sources = _Sources(house.newest_cycle, house.instruments, house.parameters, house.daily_moves)
    return _made(sources, model)


@dataclass(frozen=True, slots=True, eq=False)
class _Sources:
    """What an array is made of. The same if all are the same objects: to compare them takes longer than to use them."""

    cycle: Cycle
    instruments: Map[InstrumentId, Instrument]
    parameters: Parameters
    daily_moves: Map[str, DailyMoves]

    def __hash__(self) -> int:
        return hash((self.cycle.number, id(self.cycle.marks), id(self.instruments), id(self.parameters)))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Sources)
            and self.cycle.marks is other.cycle.marks
            and self.cycle.margined is other.cycle.margined
            and self.instruments is other.instruments
            and self.parameters is other.parameters
            and self.daily_moves is other.daily_moves
        )


@lru_cache(maxsize=8)
def _made(sources: _Sources, name: str) -> RiskArray:
    model, parameters = MODELS[name], sources.parameters
    listed = [sources.instruments[one.instrument] for one in sources.cycle.margined]
    market = market_of(sources.cycle, listed, parameters, sources.daily_moves, looks_back=model.looks_back)
    return model.risk_array(listed, market, parameters)


def market_of(
    cycle: Cycle,
    listed: Iterable[Instrument],
    parameters: Parameters,
    daily_moves: Map[str, DailyMoves],
    *,
    looks_back: bool,
) -> Market:
    """What the snapshot of a cycle says of the market; states only for a model that ``looks_back``."""
    states = States()
    if looks_back:
        wanted, path = {one.underlying for one in listed}, past_of(daily_moves)
        ranges = {r.underlying: r.move_bp for r in parameters.scan_ranges if r.underlying in wanted}
        today = _today_ppm(cycle, daily_moves)
        states = states_of(path, day=path.history.days, today_ppm=today, ranges_bp=ranges)
    return Market(
        prices={mark.feed: mark.price_ticks for mark in cycle.marks},
        at_ms=cycle.accepted_ms,
        states=states,
        open_lots={one.instrument: one.lots for one in cycle.margined},
    )


def volatilities_ppm(house: House) -> Mapping[FeedId, int]:
    """Today's volatility of a daily return of each underlying that has a scan range, in parts per million."""
    cycle = house.newest_cycle
    return _volatilities(_Sources(cycle, house.instruments, house.parameters, house.daily_moves))


@lru_cache(maxsize=8)
def _volatilities(sources: _Sources) -> Mapping[FeedId, int]:
    path, ranges = past_of(sources.daily_moves), sources.parameters.scan_ranges
    return factors.volatilities_ppm(
        path,
        day=path.history.days,
        today_ppm=_today_ppm(sources.cycle, sources.daily_moves),
        ranges_bp={one.underlying: one.move_bp for one in ranges},
    )


def _today_ppm(cycle: Cycle, daily_moves: Map[str, DailyMoves]) -> dict[FeedId, int]:
    """How far each underlying is from where it closed last."""
    prices = {mark.feed: mark.price_ticks for mark in cycle.marks}
    moves = {u: move_since(close, prices) for u, close in last_closes(daily_moves).items()}
    return {underlying: move for underlying, move in moves.items() if move is not None}


def move_since(close: UnderlyingMove | None, prices: Mapping[FeedId, int]) -> int | None:
    """The return since a close, by the feed of that close. Rounded down, so that a fall looks no smaller than it was,
    and bounded, so that it fits a column whatever a feed says.
    """
    if close is None or close.feed is None or close.feed not in prices:
        return None
    rise = (prices[close.feed] - close.close_ticks) * PPM
    return min(factors.MOVE_PPM_MAX, divide_down(rise, close.close_ticks))


@lru_cache(maxsize=4)
def last_closes(daily_moves: Map[str, DailyMoves]) -> Mapping[FeedId, UnderlyingMove]:
    """Where each underlying closed last, of those that have closed under the house's own marks."""
    found: dict[FeedId, UnderlyingMove] = {}
    for row in reversed(ordered(daily_moves)):
        for move in row.moves:
            if move.close_ticks and move.underlying not in found:
                found[move.underlying] = move
    return found


@lru_cache(maxsize=4)
def past_of(daily_moves: Map[str, DailyMoves]) -> Path:
    """The history of every underlying that was ever seen, day after day."""
    rows = ordered(daily_moves)
    underlyings = tuple(sorted({move.underlying for row in rows for move in row.moves}))
    column_of = {underlying: n for n, underlying in enumerate(underlyings)}
    moves = np.full((len(rows), len(underlyings)), MISSING, np.int64)
    for number, row in enumerate(rows):
        for move in row.moves:
            if move.move_ppm is not None:
                moves[number, column_of[move.underlying]] = move.move_ppm
    return path_of(History(underlyings, moves))
