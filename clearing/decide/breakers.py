"""Circuit breakers (rulebook §13): set by administrators, tripped and reopened by rule.

One administrator tightens at once; to loosen, a second one sends the same. Rules only ever reduce, and never halt:
a halt would also stop the liquidations that a crash makes necessary, so it is a decision of people, and people end
it. A rule reopens what a rule shut, after its pause and once its condition is over.

Price moves and the pool's drawdown are looked at when a cycle is closed, liquidation volume after whatever closes a
position. Volume is counted in lots: both sides of the comparison at one price give the same share of the notional.
"""

from dataclasses import replace

from clearing.decide.administrators import administrator_refusal, reason_refusal, same_administrator_refusal
from clearing.market.breakers import (
    EVERYTHING,
    STRICTNESS,
    closed_beyond,
    extended,
    moved_beyond,
    open_lots,
    pool_drawn_since,
    pool_short_minor,
)
from clearing.model.commands import SetBreaker
from clearing.model.draft import Draft
from clearing.model.house import Drop, House, Put, ordered
from clearing.model.ids import InstrumentId
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import (
    Breaker,
    BreakerState,
    BreakerTrigger,
    Trail,
    TrailPoint,
    VolumePoint,
    VolumeTrail,
)


def set_breaker(draft: Draft, command: SetBreaker) -> Rejected | None:
    """Tighten at once, or ask for a loosening, or confirm one that another administrator asked for."""
    standing = _standing(draft.house, command.scope)
    rejected = administrator_refusal(draft.actor) or _refusal(draft, command, standing)
    if rejected is not None:
        return rejected
    if _loosens(standing, command.state) and not _is_asked(draft, standing, command.state):
        asked = replace(
            standing,
            asked=command.state,
            asked_by=draft.actor,
            asked_reason=command.reason,
            asked_ms=draft.now_ms,
        )
        draft.record(Kind.BREAKER_ASKED, Put("breakers", asked.scope, asked))
        draft.tell(Kind.BREAKER_ASKED, f"{asked.scope} {command.state.value}")
        return None
    after = Breaker(
        scope=command.scope,
        state=command.state,
        trigger=BreakerTrigger.ADMINISTRATORS,
        reason=command.reason,
        since_ms=draft.now_ms,
        set_by=draft.actor,
    )
    draft.record(Kind.BREAKER_SET, Put("breakers", after.scope, after), *_forgotten(draft.house, after))
    draft.tell(Kind.BREAKER_SET, f"{after.scope} {after.state.value}")
    return None


def _standing(house: House, scope: str) -> Breaker:
    return house.breakers.get(scope) or Breaker(
        scope=scope,
        state=BreakerState.OPEN,
        trigger=BreakerTrigger.ADMINISTRATORS,
        reason="",
        since_ms=0,
    )


def _refusal(draft: Draft, command: SetBreaker, standing: Breaker) -> Rejected | None:
    if command.scope != EVERYTHING and command.scope not in draft.house.instruments:
        return Rejected(Reason.INSTRUMENT_UNKNOWN, command.scope)
    if (rejected := reason_refusal(command.reason)) is not None:
        return rejected
    is_ruled = standing.trigger is not BreakerTrigger.ADMINISTRATORS
    if command.state is standing.state and (command.state is BreakerState.OPEN or not is_ruled):
        return Rejected(Reason.ALREADY_EXISTS, f"{command.scope} is {standing.state.value}")
    if _is_asked(draft, standing, command.state):
        return same_administrator_refusal(standing.asked_by, draft.actor)
    return None


def _loosens(standing: Breaker, state: BreakerState) -> bool:
    return STRICTNESS.index(state) < STRICTNESS.index(standing.state)


def _is_asked(draft: Draft, standing: Breaker, state: BreakerState) -> bool:
    """Whether this was asked for, not so long ago that a proposal would have expired."""
    validity = draft.house.parameters.proposal_validity_ms
    return standing.asked is state and draft.now_ms < standing.asked_ms + validity


def _forgotten(house: House, after: Breaker) -> list[Drop]:
    """What people open is measured from now on, or the rule would shut it in the next cycle again."""
    if after.state is not BreakerState.OPEN or after.scope == EVERYTHING:
        return []
    instrument = InstrumentId(after.scope)
    feed = house.instruments[instrument].feed
    drops = [Drop("trails", feed)] if feed in house.trails else []
    return drops + ([Drop("volume_trails", instrument)] if instrument in house.volume_trails else [])


def trails_after(house: House) -> list[Put | Drop]:
    """The trails that the newest cycle makes longer; those of a limit that was taken away, or of an instrument that
    is margined no more, end.
    """
    return [*_mark_trails(house), *_volume_trails(house)]


def _mark_trails(house: House) -> list[Put | Drop]:
    parameters, cycle = house.parameters, house.newest_cycle
    if not parameters.breaker_move_bp:
        return [Drop("trails", feed) for feed in sorted(house.trails)]
    feeds = {instrument.feed for instrument in ordered(house.instruments)}
    longer: list[Put | Drop] = []
    for mark in cycle.marks:
        known = house.trails.get(mark.feed)
        now = TrailPoint(at_ms=cycle.accepted_ms, price_ticks=mark.price_ticks)
        points = extended(() if known is None else known.points, now, parameters.breaker_window_ms)
        if mark.feed in feeds and (known is None or known.points != points):
            longer.append(Put("trails", mark.feed, Trail(feed=mark.feed, points=points)))
    return longer


def _volume_trails(house: House) -> list[Put | Drop]:
    parameters, at_ms = house.parameters, house.newest_cycle.accepted_ms
    kept = house.margined if parameters.breaker_liquidation_bp else frozenset[InstrumentId]()
    ended = [Drop("volume_trails", instrument) for instrument in sorted(set(house.volume_trails) - kept)]
    lots, longer = open_lots(house) if kept else {}, list[Put]()
    for instrument in sorted(kept):
        known, closed = house.volume_trails.get(instrument), house.closed_lots.get(instrument, 0)
        now = VolumePoint(at_ms=at_ms, open_lots=lots.get(instrument, 0), closed_lots=closed)
        points = extended(() if known is None else known.points, now, parameters.breaker_window_ms)
        longer.append(Put("volume_trails", instrument, VolumeTrail(instrument=instrument, points=points)))
    return [*ended, *longer]


def trip_breakers(draft: Draft) -> None:
    """Shut the open breakers whose limit the cycle that was closed has passed."""
    house, now_ms = draft.house, draft.now_ms
    for instrument in sorted(house.instruments):
        before = moved_beyond(house, instrument)
        if before is not None and _standing(house, instrument).state is BreakerState.OPEN:
            limit = house.parameters.breaker_move_bp
            ago = house.newest_cycle.accepted_ms - before.at_ms
            reason = f"more than {limit} bp from {before.price_ticks} ticks {ago} ms ago"
            _trip(draft, instrument, BreakerTrigger.PRICE_MOVE, reason, now_ms)
    short, everything = pool_short_minor(house), _standing(house, EVERYTHING)
    if everything.state is BreakerState.OPEN and short and pool_drawn_since(house, everything.since_ms):
        _trip(
            draft,
            EVERYTHING,
            BreakerTrigger.POOL_DRAWDOWN,
            f"the pool was drawn on and lacks {short}",
            now_ms,
        )


def passed_by_volume(house: House, now_ms: int) -> list[tuple[InstrumentId, str]]:
    """The instruments with an open breaker of which more was closed than the limit allows, and what to say of it."""
    passed: list[tuple[InstrumentId, str]] = []
    for instrument in sorted(house.volume_trails):
        before = closed_beyond(house, instrument, now_ms)
        if before is not None and _standing(house, instrument).state is BreakerState.OPEN:
            closed = house.closed_lots[instrument] - before.closed_lots
            limit, ago = house.parameters.breaker_liquidation_bp, now_ms - before.at_ms
            reason = f"{closed} lots closed, more than {limit} bp of the {before.open_lots} open {ago} ms ago"
            passed.append((instrument, reason))
    return passed


def trip_by_volume(draft: Draft, passed: tuple[InstrumentId, str]) -> None:
    """Shut the breaker of an instrument of which too much was closed."""
    instrument, reason = passed
    _trip(draft, instrument, BreakerTrigger.LIQUIDATION_VOLUME, reason, draft.now_ms)


def _trip(draft: Draft, scope: str, trigger: BreakerTrigger, reason: str, now_ms: int) -> None:
    tripped = Breaker(
        scope=scope,
        state=BreakerState.REDUCE_ONLY,
        trigger=trigger,
        reason=reason,
        since_ms=now_ms,
        reopens_ms=now_ms + draft.house.parameters.breaker_pause_ms,
    )
    draft.record(Kind.BREAKER_TRIPPED, Put("breakers", scope, tripped))
    draft.tell(Kind.BREAKER_TRIPPED, f"{scope} {trigger.value}")


def reopens(house: House, breaker: Breaker, now_ms: int) -> bool:
    """Whether a rule reopens a breaker now: its pause and its condition are over."""
    if breaker.state is BreakerState.OPEN or now_ms < breaker.reopens_ms:
        return False
    if breaker.trigger is BreakerTrigger.PRICE_MOVE:
        return moved_beyond(house, InstrumentId(breaker.scope)) is None
    if breaker.trigger is BreakerTrigger.LIQUIDATION_VOLUME:
        return closed_beyond(house, InstrumentId(breaker.scope), now_ms) is None
    return breaker.trigger is BreakerTrigger.POOL_DRAWDOWN and not pool_short_minor(house)


def reopen(draft: Draft, scope: str) -> None:
    """Reopen what a rule has shut."""
    tripped = draft.house.breakers[scope]
    opened = replace(
        tripped,
        state=BreakerState.OPEN,
        reason=f"reopened after: {tripped.reason}",
        since_ms=draft.now_ms,
        reopens_ms=0,
        asked=None,
        asked_by="",
        asked_reason="",
        asked_ms=0,
    )
    draft.record(Kind.BREAKER_REOPENED, Put("breakers", scope, opened))
    draft.tell(Kind.BREAKER_REOPENED, scope)


def next_reopening_ms(house: House) -> list[int]:
    """When the pauses of the breakers that rules have shut are over."""
    return [
        one.reopens_ms
        for one in ordered(house.breakers)
        if one.state is not BreakerState.OPEN and one.trigger is not BreakerTrigger.ADMINISTRATORS
    ]
