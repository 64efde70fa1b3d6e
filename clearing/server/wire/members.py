"""Members on the wire, cut down to what the caller may see."""

from collections.abc import Mapping

from clearing.default.dues import dues
from clearing.model import units
from clearing.model.commands import ApplyForMembership, LeaveHouse
from clearing.model.house import House
from clearing.model.values import Member, MemberStatus
from clearing.server.identity import Identity
from clearing.server.wire import collateral, names, terms
from clearing.server.wire.violations import require_valid
from clearinghouse.v1 import membership_service_pb2 as pb

STATUSES: "Mapping[MemberStatus, pb.MemberStatus.ValueType]" = {
    MemberStatus.APPLIED: pb.MEMBER_STATUS_APPLIED,
    MemberStatus.ACTIVE: pb.MEMBER_STATUS_ACTIVE,
    MemberStatus.SUSPENDED: pb.MEMBER_STATUS_SUSPENDED,
    MemberStatus.DEFAULTED: pb.MEMBER_STATUS_DEFAULTED,
    MemberStatus.LEFT: pb.MEMBER_STATUS_LEFT,
}


def apply(request: pb.ApplyForMembershipRequest) -> ApplyForMembership:
    """The command. Raises ``RequestInvalid`` with every field that is wrong."""
    require_valid(request)
    return ApplyForMembership(member=names.member_id(request.member), name=request.display_name)


def leave(request: pb.LeaveHouseRequest) -> LeaveHouse:
    """The command. Raises ``RequestInvalid`` with every field that is wrong."""
    require_valid(request)
    return LeaveHouse(member=names.member_id(request.member))


def message(member: Member, house: House, caller: Identity) -> pb.Member:
    """A member as ``caller`` may see it."""
    found = pb.Member(
        name=names.member(member.id),
        display_name=member.name,
        status=STATUSES[member.status],
        leave_time=terms.time(member.left_ms),
        jurisdiction=member.jurisdiction,
    )
    if caller.sees(member.id):
        found.stake.CopyFrom(_stake(member, house))
    return found


def _stake(member: Member, house: House) -> pb.MemberStake:
    unit = units.of_settlement(house)
    return pb.MemberStake(
        required_contribution=unit.render(member.required_contribution_minor),
        held_contribution=unit.render(house.pool(member.id)),
        dues=[collateral.due(owed, unit) for owed in dues(house) if owed.member == member.id],
        suspend_reason=member.suspended_for,
        group=member.group,
    )
