"""What another margin model would require, beside the one in force (rulebook §9: versions run in shadow).

1. The shadow measures the same netting sets at the same marks, with the same equity, as the parameters would if they
   named it: what it says is what its activation brings at those marks.
2. Nothing of the house depends on it. It is no money: it calls nobody and opens nothing.
3. It is bounded: counts and sums are of all sets, and those with the largest differences are named.

A shadow cannot fail by itself. A model is a total function of the positions that a house can hold, as the one in force
has to be: there is no way to go on without a result. One that raises is a bug, and stops the cycle as any other would.
"""

from collections.abc import Sequence
from dataclasses import replace

from clearing.margin.assess import Health, Standing, standings
from clearing.margin.impact import under
from clearing.margin.table import MODELS
from clearing.model.house import House
from clearing.model.values import Shadow, ShadowSet

SHADOW_SETS_MAX = 100
"""Netting sets that one measurement names."""


def shadow_of(house: House, live: Sequence[Standing]) -> Shadow:
    """What the shadow says of the sets that were measured as ``live``."""
    shadow, in_force = MODELS[house.parameters.shadow_model], MODELS[house.parameters.margin_model]
    other = under(house, replace(house.parameters, margin_model=shadow.name, shadow_model=""))
    measured = standings(other, [one.netting_set for one in live])
    found = [_set(before, after) for before, after in zip(live, measured, strict=True)]
    after = [one.after for one in found]
    risen = [one for one in found if _rise_minor(one) > 0]
    return Shadow(
        cycle=house.newest_cycle.number,
        model=shadow.name,
        version=shadow.version,
        live_model=in_force.name,
        live_version=in_force.version,
        live_minor=sum(one.live_minor for one in found),
        shadow_minor=sum(one.shadow_minor for one in found),
        called=after.count(Health.CALL.value),
        liquidated=after.count(Health.LIQUIDATION.value),
        risen=len(risen),
        fallen=sum(_rise_minor(one) < 0 for one in found),
        risen_most=max(risen, key=_rise_minor, default=None),
        sets=tuple(sorted(filter(_rise_minor, found), key=_by_difference)[:SHADOW_SETS_MAX]),
    )


def _set(before: Standing, after: Standing) -> ShadowSet:
    return ShadowSet(
        netting_set=before.netting_set,
        before=before.health.value,
        after=after.health.value,
        live_minor=before.requirement_minor,
        shadow_minor=after.requirement_minor,
    )


def _rise_minor(one: ShadowSet) -> int:
    return one.shadow_minor - one.live_minor


def _by_difference(one: ShadowSet) -> tuple[int, str]:
    return -abs(_rise_minor(one)), one.netting_set
