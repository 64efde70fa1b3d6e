"""Required pool contributions (rulebook §12): by exposure, with a floor.

    contribution(m) = max(floor, rate × Σ requirement of m's parts of all netting sets), rounded up

A linked set's requirement is divided among its members by what their accounts would need alone, so
a member's contribution falls with the netting that its clients earned.
"""

from clearing.margin.assess import assess, maintenance
from clearing.model.apportion import apportion
from clearing.model.house import House, ordered
from clearing.model.ids import MemberId, member_of
from clearing.model.values import BP, Member, MemberStatus
from ledger.amount import divide_up


def exposures(house: House) -> dict[MemberId, int]:
    """Each member's part of the requirements of all netting sets."""
    sums = dict.fromkeys(sorted(house.members), 0)
    for set_id in sorted(house.netting_sets):
        weights: dict[str, int] = {}
        for key in house.netting_sets[set_id].accounts:
            alone = maintenance(house, house.positions(key)).amount_minor
            weights[member_of(key)] = weights.get(member_of(key), 0) + alone
        for member, part in apportion(assess(house, set_id).requirement_minor, weights, set_id).items():
            sums[MemberId(member)] += part
    return sums


def contributions(house: House) -> list[tuple[Member, int]]:
    """Every member with the contribution that the formula requires of it now; for who left it stays as it was."""
    parameters, exposed = house.parameters, exposures(house)
    return [
        (
            member,
            max(parameters.pool_floor_minor, divide_up(exposed[member.id] * parameters.pool_rate_bp, BP)),
        )
        for member in ordered(house.members)
        if member.status not in (MemberStatus.APPLIED, MemberStatus.LEFT)
    ]
