"""Who leaves stays liable (rulebook §10.3, §11.7).

A member that left bears losses, with its pool contribution and its assessments, like one that stayed:

1. in every event that was open when it left: it is one of the survivors of T0;
2. in every event of the capped period that ran when it left, or that such an event began.

When neither is open any more, and it has paid what it was called for, it is released.
"""

from clearing.default.gate import OPEN_STAGES
from clearing.model.house import House, ordered
from clearing.model.ids import MemberId
from clearing.model.values import CappedPeriod, Member, MemberStatus


def survivors_at(house: House, at_ms: int) -> tuple[MemberId, ...]:
    """Who bears the loss of an event declared at ``at_ms``, in order."""
    return tuple(one.id for one in ordered(house.members) if one.belongs or is_liable(house, one, at_ms))


def is_liable(house: House, member: Member, at_ms: int) -> bool:
    """Whether a member that left would still bear an event declared at ``at_ms``."""
    if member.status is not MemberStatus.LEFT:
        return False
    period = house.capped_period
    if period is not None and at_ms <= period.ends_ms and _left_during(member, period):
        return True
    return any(one.stage in OPEN_STAGES and member.id in one.survivors for one in ordered(house.defaults))


def can_be_released(house: House, member: Member, now_ms: int) -> bool:
    """Whether a member that left, and has something at stake, is liable no longer."""
    if not _has_stake(house, member) or is_liable(house, member, now_ms):
        return False
    return all(one.member != member.id for one in ordered(house.assessments))


def next_release_ms(house: House) -> list[int]:
    """When the clock alone will end the capped period that holds somebody who left."""
    period = house.capped_period
    if period is None:
        return []
    held = [one for one in ordered(house.members) if _has_stake(house, one) and _left_during(one, period)]
    return [period.ends_ms + 1 for _ in held]


def _left_during(member: Member, period: CappedPeriod) -> bool:
    return period.begins_ms <= member.left_ms <= period.ends_ms


def _has_stake(house: House, member: Member) -> bool:
    if member.status is not MemberStatus.LEFT:
        return False
    return house.pool(member.id) > 0 or member.required_contribution_minor > 0
