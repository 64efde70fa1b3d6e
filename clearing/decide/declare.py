"""Declaration of a default: T0 (rulebook §10.3).

All netting sets declared in one cycle and not yet closed out are one event. At T0 the members who
will answer, the survivors, and the size of the journal are written down; whoever leaves later stays
liable.
"""

from dataclasses import replace

from clearing.decide.treasury import release_holds
from clearing.default.exits import survivors_at
from clearing.margin.assess import Assessment, maintenance
from clearing.model.draft import Draft
from clearing.model.house import Drop, House, Put, ordered
from clearing.model.ids import DefaultId, MemberId, SetId, member_of
from clearing.model.kinds import Kind
from clearing.model.values import (
    CallKind,
    Default,
    DefaultedSet,
    MemberPart,
    Stage,
)


def declare(draft: Draft, measured: list[Assessment]) -> None:
    """Put the sets in default: a new event, or more sets of the one that this cycle has declared already."""
    house = draft.house
    sets = tuple(_defaulted(house, one) for one in measured)
    standing = next(
        (d for d in ordered(house.defaults) if d.stage is Stage.DECLARED and d.cycle == _cycle(house)), None
    )
    default = new_default(draft, sets) if standing is None else replace(standing, sets=standing.sets + sets)
    changes: list[Put | Drop] = [Put("defaults", default.id, default)]
    for one in measured:
        changes += dropped(house, one.netting_set)
    draft.record(Kind.DEFAULT_DECLARED, *changes)
    for one in measured:
        draft.tell(Kind.DEFAULT_DECLARED, f"{default.id} {one.netting_set}", one.equity_minor)
        release_holds(draft, house.netting_sets[one.netting_set].accounts)


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
    )


def _cycle(house: House) -> int:
    return 0 if house.cycle is None else house.cycle.number


def _defaulted(house: House, measured: Assessment) -> DefaultedSet:
    weights = answer_weights(house, measured.netting_set)
    return DefaultedSet(
        netting_set=measured.netting_set,
        equity_minor=measured.equity_minor,
        weights=tuple(MemberPart(member=MemberId(m), amount_minor=w) for m, w in sorted(weights.items())),
    )


def answer_weights(house: House, set_id: SetId) -> dict[str, int]:
    """How members answer for a set (rulebook §10.5): by what their legs lost since it last met R; if none
    lost, by what they need alone; if none needs anything, equally.
    """
    lost: dict[str, int] = {}
    alone: dict[str, int] = {}
    for key in house.netting_sets[set_id].accounts:
        member, pnl = member_of(key), house.pnl.get(key)
        loss = 0 if pnl is None else max(0, -pnl.since_met_minor)
        lost[member] = lost.get(member, 0) + loss
        alone[member] = alone.get(member, 0) + maintenance(house, house.positions(key)).amount_minor
    if any(lost.values()):
        return lost
    return alone if any(alone.values()) else dict.fromkeys(alone, 1)


def dropped(house: House, set_id: SetId) -> list[Put | Drop]:
    """What ends when a set is closed out: its open calls, its liquidation, and the notice to unlink it."""
    drops: list[Put | Drop] = [
        Drop("calls", key) for key in (f"{kind.value}/{set_id}" for kind in CallKind) if key in house.calls
    ]
    if set_id in house.liquidations:
        drops.append(Drop("liquidations", set_id))
    if set_id in house.unlinkings:
        drops.append(Drop("unlinkings", set_id))
    return drops
