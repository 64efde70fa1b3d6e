"""Circuit breakers as they stand (rulebook §13): what they block, how far a mark has moved, how much liquidations and
close-outs have closed, how far the pool is down.

A breaker belongs to an instrument or to everything; the stricter of the two holds.
"""

from collections.abc import Sequence
from typing import TypeVar

from clearing.model.house import House, ordered
from clearing.model.ids import InstrumentId, SetId
from clearing.model.values import BP, Breaker, BreakerState, TrailPoint, VolumePoint

Point = TypeVar("Point", bound=TrailPoint | VolumePoint)

EVERYTHING = "*"
"""The scope of the breaker that stands over all others; no instrument is called so."""
STRICTNESS = (BreakerState.OPEN, BreakerState.REDUCE_ONLY, BreakerState.HALTED)
POINTS_PER_WINDOW = 10
"""How finely a trail is kept: the mark of N ago is exact, or at most a tenth of N older."""


def blocking(house: House, instrument: InstrumentId) -> Breaker | None:
    """The strictest breaker that is not open for an instrument; of two alike the one over everything."""
    known = (house.breakers.get(scope) for scope in (EVERYTHING, instrument))
    shut = [one for one in known if one is not None and one.state is not BreakerState.OPEN]
    return max(shut, key=lambda one: STRICTNESS.index(one.state), default=None)


def everything_halted(house: House) -> Breaker | None:
    """The breaker over everything, if it is halted."""
    breaker = house.breakers.get(EVERYTHING)
    return breaker if breaker is not None and breaker.state is BreakerState.HALTED else None


def is_stuck(house: House, set_id: SetId) -> bool:
    """Whether a set cannot be closed out: everything is halted, or an instrument that it holds is."""
    return everything_halted(house) is not None or holds_halted(house, set_id)


def holds_halted(house: House, set_id: SetId) -> bool:
    """Whether a set holds an instrument that is halted by itself."""
    held = {i for key in house.netting_sets[set_id].accounts for i in house.positions(key)}
    own = (house.breakers.get(instrument) for instrument in sorted(held))
    return any(one is not None and one.state is BreakerState.HALTED for one in own)


def extended(points: tuple[Point, ...], now: Point, window_ms: int) -> tuple[Point, ...]:
    """A trail after one more point, back to the newest one that is as old as the window.

    The last point goes if its neighbours are within a tenth of the window; so a trail has some twenty.
    """
    if len(points) > 1 and now.at_ms - points[-2].at_ms <= window_ms // POINTS_PER_WINDOW:
        points = points[:-1]
    points = (*points, now)
    while len(points) > 1 and points[1].at_ms <= now.at_ms - window_ms:
        points = points[1:]
    return points


def at_beginning(points: Sequence[Point], now_ms: int, window_ms: int) -> Point:
    """The point of ``window_ms`` ago; of a shorter trail the first."""
    old = [point for point in points if point.at_ms <= now_ms - window_ms]
    return old[-1] if old else points[0]


def moved_beyond(house: House, instrument: InstrumentId) -> TrailPoint | None:
    """The earlier mark from which the newest one has moved beyond the limit, or None."""
    parameters, cycle = house.parameters, house.newest_cycle
    trail = house.trails.get(house.instruments[instrument].feed)
    mark = next((m.price_ticks for m in cycle.marks if trail is not None and m.feed == trail.feed), None)
    if trail is None or mark is None or parameters.breaker_move_bp == 0:
        return None
    before = at_beginning(trail.points, cycle.accepted_ms, parameters.breaker_window_ms)
    moved = abs(mark - before.price_ticks) * BP > parameters.breaker_move_bp * before.price_ticks
    return before if moved else None


def open_lots(house: House) -> dict[InstrumentId, int]:
    """The open interest of every instrument that somebody holds."""
    lots: dict[InstrumentId, int] = {}
    for positions in house.held.values():
        for instrument, held in positions.items():
            lots[instrument] = lots.get(instrument, 0) + max(0, held)
    return lots


def closed_beyond(house: House, instrument: InstrumentId, now_ms: int) -> VolumePoint | None:
    """The earlier point since which more was closed than the limit's share of what was open then, or None."""
    parameters, trail = house.parameters, house.volume_trails.get(instrument)
    if trail is None or parameters.breaker_liquidation_bp == 0:
        return None
    before = at_beginning(trail.points, now_ms, parameters.breaker_window_ms)
    closed = house.closed_lots.get(instrument, 0) - before.closed_lots
    return before if closed * BP > parameters.breaker_liquidation_bp * before.open_lots else None


def pool_short_minor(house: House) -> int:
    """What the members' contributions lack, if that is as much of what is required as trips; else zero."""
    members = [one for one in ordered(house.members) if one.belongs]
    required = sum(one.required_contribution_minor for one in members)
    short = sum(max(0, one.required_contribution_minor - house.pool(one.id)) for one in members)
    limit_bp = house.parameters.breaker_drawdown_bp
    return short if limit_bp and short * BP >= limit_bp * required else 0


def pool_drawn_since(house: House, since_ms: int) -> bool:
    """Whether an event declared since then took from the mutualised pool."""
    events = [one for one in ordered(house.defaults) if one.declared_ms >= since_ms]
    return any(draw.tier == 5 and draw.amount_minor for event in events for draw in event.draws)
