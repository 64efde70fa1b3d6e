"""Declaration of a default: T0 (rulebook §10.3).

All netting sets declared in one cycle and not yet closed out are one event. At T0 the members who
will answer, the survivors, and the size of the journal are written down; whoever leaves later stays
liable. What a set held for withdrawal was given back before it was found wanting.
"""

from dataclasses import replace

from clearing.decide.auctions import void_all
from clearing.default.answering import answer_weights
from clearing.default.capped_period import extended
from clearing.default.exits import survivors_at
from clearing.default.gate import won, won_in_cycle
from clearing.margin.assess import Assessment, living_sets
from clearing.model.draft import Draft
from clearing.model.house import Drop, House, Put, ordered, single
from clearing.model.ids import AccountKey, DefaultId, MemberId, SetId
from clearing.model.kinds import Kind
from clearing.model.values import (
    CallKind,
    Default,
    DefaultedSet,
    Gain,
    MemberPart,
    Stage,
)


def declare(draft: Draft, measured: list[Assessment]) -> DefaultId:
    """Put the sets in default: a new event, or more sets of the one that this cycle has declared already; gives which.

    What was on offer is void: the sets' slices, and an event's auction that does not offer all of it.
    """
    standing = _declared_in_this_cycle(draft.house)
    for one in measured:
        void_all(draft, one.netting_set, "the set is in default")
    if standing is not None:
        void_all(draft, standing.id, "another set joins the event")
    house = draft.house
    sets = tuple(_defaulted(house, one) for one in measured)
    default = new_default(draft, sets) if standing is None else replace(standing, sets=standing.sets + sets)
    changes: list[Put | Drop] = [
        Put("defaults", default.id, default),
        single("capped_period", extended(house, default.declared_ms)),
    ]
    for one in measured:
        changes += dropped(house, one.netting_set)
    draft.record(Kind.DEFAULT_DECLARED, *changes)
    for one in measured:
        draft.tell(Kind.DEFAULT_DECLARED, f"{default.id} {one.netting_set}", one.equity_minor)
    return default.id


def _declared_in_this_cycle(house: House) -> Default | None:
    """The event of this cycle that is not closed out yet, if there is one."""
    declared = [one for one in ordered(house.defaults) if one.stage is Stage.DECLARED]
    return next((one for one in declared if one.cycle == _cycle(house)), None)


def new_default(draft: Draft, sets: tuple[DefaultedSet, ...]) -> Default:
    """An event as it stands at T0."""
    house = draft.house
    return Default(
        id=DefaultId(f"d{len(house.defaults) + 1}"),
        stage=Stage.DECLARED,
        declared_ms=draft.now_ms,
        cycle=_cycle(house),
        journal_size=house.size,
        survivors=survivors_at(house, draft.now_ms),
        sets=sets,
        won_before=_won_before(house),
    )


def _won_before(house: House) -> tuple[Gain, ...]:
    """What the running window holds from before this cycle; nothing, unless an earlier event keeps it open."""
    before = {set_id: won(house, set_id) - won_in_cycle(house, set_id) for set_id in living_sets(house)}
    return tuple(Gain(netting_set=set_id, gain_minor=gain) for set_id, gain in before.items() if gain)


def _cycle(house: House) -> int:
    return 0 if house.cycle is None else house.cycle.number


def _defaulted(house: House, measured: Assessment) -> DefaultedSet:
    weights = answer_weights(house, measured.netting_set, _won_since_met(house, measured.netting_set))
    return DefaultedSet(
        netting_set=measured.netting_set,
        equity_minor=measured.equity_minor,
        weights=tuple(MemberPart(member=MemberId(m), amount_minor=w) for m, w in sorted(weights.items())),
    )


def _won_since_met(house: House, set_id: SetId) -> dict[AccountKey, int]:
    """What each account won since the set last met R."""
    known = {key: house.pnl.get(key) for key in house.netting_sets[set_id].accounts}
    return {key: pnl.since_met_minor for key, pnl in known.items() if pnl is not None}


def dropped(house: House, set_id: SetId) -> list[Put | Drop]:
    """What ends when a set is closed out: its open calls, its liquidation, the notice to unlink it, its porting."""
    drops: list[Put | Drop] = [
        Drop("calls", key) for key in (f"{kind.value}/{set_id}" for kind in CallKind) if key in house.calls
    ]
    if set_id in house.liquidations:
        drops.append(Drop("liquidations", set_id))
    if set_id in house.unlinkings:
        drops.append(Drop("unlinkings", set_id))
    if set_id in house.portings:
        drops.append(Drop("portings", set_id))
    return drops
