"""MembershipService."""

import grpc

from clearing.engine import Engine
from clearing.model.outcomes import Reason
from clearing.server.calls import caller_of, founded, write
from clearing.server.errors import Refused
from clearing.server.pages import page_of
from clearing.server.wire import members as wire
from clearing.server.wire import names
from clearing.server.wire.violations import require_valid
from clearinghouse.v1 import membership_service_pb2 as pb
from clearinghouse.v1.membership_service_pb2_grpc import MembershipServiceServicer


class Members(MembershipServiceServicer):
    """Takes applications and resignations, and shows who is a member."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def ApplyForMembership(  # named by the proto
        self, request: pb.ApplyForMembershipRequest, context: grpc.ServicerContext
    ) -> pb.ApplyForMembershipResponse:
        """Put the caller on record as an applicant."""
        write(self._engine, wire.apply(request), request, context)
        return pb.ApplyForMembershipResponse(member=request.member, status=pb.MEMBER_STATUS_APPLIED)

    def LeaveHouse(
        self, request: pb.LeaveHouseRequest, context: grpc.ServicerContext
    ) -> pb.LeaveHouseResponse:
        """Let the caller go."""
        write(self._engine, wire.leave(request), request, context)
        return pb.LeaveHouseResponse(member=request.member, status=pb.MEMBER_STATUS_LEFT)

    def GetMember(self, request: pb.GetMemberRequest, context: grpc.ServicerContext) -> pb.GetMemberResponse:
        """One member by its name."""
        require_valid(request)
        view = self._engine.view
        house = founded(view)
        member = house.members.get(names.member_id(request.name))
        if member is None:
            raise Refused(Reason.MEMBER_UNKNOWN, request.name)
        found = wire.message(member, house, caller_of(context))
        return pb.GetMemberResponse(member=found, journal_size=view.size)

    def ListMembers(
        self, request: pb.ListMembersRequest, context: grpc.ServicerContext
    ) -> pb.ListMembersResponse:
        """All members."""
        require_valid(request)
        view, caller = self._engine.view, caller_of(context)
        house = founded(view)
        page = page_of(house.members, request, "members")
        return pb.ListMembersResponse(
            members=[wire.message(house.members[key], house, caller) for key in page.keys],
            next_page_token=page.next_token,
            journal_size=view.size,
        )
