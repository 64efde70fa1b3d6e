"""What other parameters would do to the house as it stands (rulebook §13).

:func:`under` is how parameters take effect, and the simulation measures what it gives: what was shown before an
approval is what happens at the same marks.
"""

from dataclasses import replace

from clearing.margin.assess import Assessment, Health, assess, living_sets
from clearing.model.house import House
from clearing.model.values import Impact, Parameters, SetImpact

IMPACT_SETS_MAX = 1_000
"""Netting sets that one simulation names; it counts and sums all."""


def under(house: House, parameters: Parameters) -> House:
    """The house with these parameters in force, as their next version."""
    charter = house.founded
    changed = replace(charter, parameters=parameters, parameters_version=charter.parameters_version + 1)
    return replace(house, charter=changed)


def impact_of(house: House, parameters: Parameters) -> Impact:
    """Who would be called, liquidated or bankrupt under ``parameters`` at the newest marks, and for how much."""
    changed = under(house, parameters)
    before = {set_id: assess(house, set_id) for set_id in living_sets(house)}
    after = {set_id: assess(changed, set_id) for set_id in before}
    hit = [
        _set_impact(before[set_id], one) for set_id, one in after.items() if one.health is not Health.HEALTHY
    ]
    short = {health: [one.short_minor for one in hit if one.after == health.value] for health in Health}
    return Impact(
        requirement_before_minor=sum(one.requirement_minor for one in before.values()),
        requirement_after_minor=sum(one.requirement_minor for one in after.values()),
        called=len(short[Health.CALL]),
        called_minor=sum(short[Health.CALL]),
        liquidated=len(short[Health.LIQUIDATION]),
        liquidated_minor=sum(short[Health.LIQUIDATION]),
        bankrupt=len(short[Health.BANKRUPT]),
        bankrupt_minor=sum(short[Health.BANKRUPT]),
        sets=tuple(sorted(hit, key=lambda one: (-one.short_minor, one.netting_set))[:IMPACT_SETS_MAX]),
    )


def _set_impact(before: Assessment, after: Assessment) -> SetImpact:
    needed = {
        Health.CALL: after.requirement_minor,
        Health.LIQUIDATION: after.maintenance_minor,
        Health.BANKRUPT: 0,
    }
    return SetImpact(
        netting_set=after.netting_set,
        before=before.health.value,
        after=after.health.value,
        equity_minor=after.equity_minor,
        maintenance_minor=after.maintenance_minor,
        requirement_minor=after.requirement_minor,
        short_minor=needed[after.health] - after.equity_minor,
    )
