"""Members on the wire, cut down to what the caller may see."""

from collections.abc import Iterator, Mapping

from clearing.model.commands import ApplyForMembership, LeaveHouse
from clearing.model.house import House, ordered
from clearing.model.ids import DefaultId, MemberId
from clearing.model.values import Member, MemberStatus, Stage
from clearing.server.identity import Identity
from clearing.server.wire import names, terms, times, units
from clearing.server.wire.violations import require_valid
from clearinghouse.v1 import membership_service_pb2 as pb

_STATUSES: "Mapping[MemberStatus, pb.MemberStatus.ValueType]" = {
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
        status=_STATUSES[member.status],
        leave_time=terms.time(member.left_ms),
    )
    if caller.sees(member.id):
        found.stake.CopyFrom(_stake(member, house))
    return found


def _stake(member: Member, house: House) -> pb.MemberStake:
    unit = units.of_settlement(house)
    return pb.MemberStake(
        required_contribution=unit.render(member.required_contribution_minor),
        held_contribution=unit.render(house.pool(member.id)),
        dues=_dues(member.id, house),
        suspend_reason=member.suspended_for,
    )


def _dues(member: MemberId, house: House) -> Iterator[pb.MemberDue]:
    """What it owes: answers, assessments, and its contribution back."""
    for default in ordered(house.defaults):
        if default.stage is Stage.ANSWERING:
            for part in default.answers:
                if part.member == member:
                    answer = pb.MEMBER_DUE_KIND_ANSWER
                    yield _due(answer, default.id, part.amount_minor, default.answers_due_ms, house)
    for assessment in ordered(house.assessments):
        if assessment.member == member:
            called = pb.MEMBER_DUE_KIND_ASSESSMENT
            yield _due(called, assessment.default, assessment.amount_minor, assessment.due_ms, house)
    for owed in ordered(house.replenishments):
        if owed.member == member:
            back = pb.MEMBER_DUE_KIND_REPLENISHMENT
            yield _due(back, owed.default, owed.amount_minor, owed.due_ms, house)


def _due(
    kind: "pb.MemberDueKind.ValueType", default: DefaultId, amount_minor: int, due_ms: int, house: House
) -> pb.MemberDue:
    return pb.MemberDue(
        kind=kind,
        default_name=names.default(default),
        amount=units.of_settlement(house).render(amount_minor),
        due_time=times.from_ms(due_ms),
    )
