"""Required pool contributions (rulebook §12): by exposure, with a floor.

    contribution(m) = max(floor, rate × Σ requirement of m's parts of all netting sets), rounded up

A linked set's requirement is divided among its members by what their accounts would need alone, so
a member's contribution falls with the netting that its clients earned.

The formula is the house's rule. Whether it makes the pool large enough is seen by ``coverage``: prefunded against
cover-2, and the contributions that would make the two equal, by the same key and with the same floor.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from clearing.default.stress import Stress, stress_of
from clearing.margin.assess import maintenance_of_all, standings
from clearing.model.apportion import apportion
from clearing.model.house import House, ordered
from clearing.model.ids import MemberId, member_of
from clearing.model.values import BP, Member, MemberStatus
from ledger.amount import divide_up


def exposures(house: House) -> dict[MemberId, int]:
    """Each member's part of the requirements of all netting sets."""
    sums = dict.fromkeys(sorted(house.members), 0)
    sets = sorted(house.netting_sets)
    keys = [key for set_id in sets for key in house.netting_sets[set_id].accounts]
    amounts = maintenance_of_all(house, [house.positions(key) for key in keys])
    alone = dict(zip(keys, amounts, strict=True))
    for one in standings(house, sets):
        weights: dict[str, int] = {}
        for key in house.netting_sets[one.netting_set].accounts:
            weights[member_of(key)] = weights.get(member_of(key), 0) + alone[key]
        for member, part in apportion(one.requirement_minor, weights, one.netting_set).items():
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


# how large a pool would have to be ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberCoverage:
    """What a member's contribution is required to be, what it is, and what it would be at full coverage."""

    member: MemberId
    group: str
    required_minor: int
    held_minor: int
    needed_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How the pool stands against cover-2. ``coverage_bp``: prefunded as a share of cover-2, rounded down; None where
    nothing would be lost. ``members``: who would contribute.
    """

    stress: Stress
    shortfall_minor: int
    coverage_bp: int | None
    members: tuple[MemberCoverage, ...]


def coverage(house: House) -> Coverage:
    """The figures at the newest cycle's marks."""
    stress = stress_of(house)
    needed = needed_contributions(house, stress)
    lacking = stress.cover2_minor - stress.prefunded_minor
    return Coverage(
        stress=stress,
        shortfall_minor=max(0, lacking),
        coverage_bp=stress.prefunded_minor * BP // stress.cover2_minor if stress.cover2_minor else None,
        members=tuple(
            MemberCoverage(
                member=member,
                group=house.members[member].group,
                required_minor=house.members[member].required_contribution_minor,
                held_minor=house.pool(member),
                needed_minor=amount,
            )
            for member, amount in needed.items()
        ),
    )


def needed_contributions(house: House, stress: Stress) -> dict[MemberId, int]:
    """What each member would contribute if prefunded were cover-2 exactly: by exposure, with the floor.

    The house's tranches, the fund and the contributions of who left stay as they are. Prefunded is more than cover-2
    only where these and the floors alone are.
    """
    belonging = [member.id for member in ordered(house.members) if member.belongs]
    besides = stress.prefunded_minor - sum(house.pool(member) for member in belonging)
    exposed = exposures(house)
    parts = apportion_above(
        max(0, stress.cover2_minor - besides),
        {str(member): exposed[member] for member in belonging},
        house.parameters.pool_floor_minor,
    )
    return {MemberId(member): amount for member, amount in parts.items()}


def apportion_above(total: int, weights: Mapping[str, int], floor: int) -> dict[str, int]:
    """Split ``total`` by ``weights``, no part below ``floor``; without any weight equally. The parts sum to ``total``,
    or to the floors where these are more.
    """
    active = dict(weights) if any(weights.values()) else dict.fromkeys(weights, 1)
    parts = dict.fromkeys(weights, floor)
    left, whole = total, sum(active.values())
    while below := [party for party, weight in active.items() if left * weight < floor * whole]:
        for party in below:
            del active[party]
        left, whole = left - floor * len(below), sum(active.values())
    return parts | apportion(max(0, left), active, "pool") if active else parts
