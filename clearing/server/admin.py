"""AdminService."""

import grpc

from clearing.decide.proposals import proposal_of, proposals_of
from clearing.default.gate import gates
from clearing.engine import Engine
from clearing.market.outage import outage_of
from clearing.model import units
from clearing.model.ids import RegulatorId
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason
from clearing.server.calls import caller_of, founded, write
from clearing.server.errors import Refused
from clearing.server.pages import page_of
from clearing.server.wire import admin as wire
from clearing.server.wire import house as house_wire
from clearing.server.wire import names, parameters
from clearing.server.wire.violations import require_valid
from clearinghouse.v1 import admin_service_pb2 as pb
from clearinghouse.v1.admin_service_pb2_grpc import AdminServiceServicer


class Administration(AdminServiceServicer):
    """Runs the house: set-up, parameters, proposals, breakers, the standing of members."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # what one administrator does -------------------------------------------------------------------------

    def FoundHouse(  # named by the proto
        self, request: pb.FoundHouseRequest, context: grpc.ServicerContext
    ) -> pb.FoundHouseResponse:
        """Write the charter."""
        write(self._engine, wire.found(request, caller_of(context)), request, context)
        return pb.FoundHouseResponse(house=request.house)

    def MakeChange(
        self, request: pb.MakeChangeRequest, context: grpc.ServicerContext
    ) -> pb.MakeChangeResponse:
        """Change the house while it is set up."""
        house = founded(self._engine.view)
        command = wire.make_change(request, house, caller_of(context))
        outcome = write(self._engine, command, request, context)
        return pb.MakeChangeResponse(effects=wire.effects(outcome, units.of_settlement(house)))

    def SetBreaker(
        self, request: pb.SetBreakerRequest, context: grpc.ServicerContext
    ) -> pb.SetBreakerResponse:
        """Tighten at once, ask for a loosening, or confirm one."""
        unit = units.of_settlement(founded(self._engine.view))
        outcome = write(self._engine, wire.set_breaker(request), request, context)
        is_set = bool(wire.subjects(outcome, Kind.BREAKER_SET))
        return pb.SetBreakerResponse(set=is_set, effects=wire.effects(outcome, unit))

    def SuspendMember(
        self, request: pb.SuspendMemberRequest, context: grpc.ServicerContext
    ) -> pb.SuspendMemberResponse:
        """Let a member only reduce, pay and withdraw."""
        write(self._engine, wire.suspend(request), request, context)
        return pb.SuspendMemberResponse(member=request.member)

    def SizePool(self, request: pb.SizePoolRequest, context: grpc.ServicerContext) -> pb.SizePoolResponse:
        """Set the required contributions."""
        unit = units.of_settlement(founded(self._engine.view))
        outcome = write(self._engine, wire.size_pool(request, caller_of(context)), request, context)
        return wire.sized(outcome, unit)

    def CloseInOutage(
        self, request: pb.CloseInOutageRequest, context: grpc.ServicerContext
    ) -> pb.CloseInOutageResponse:
        """Ask for a default to be closed at the last good price, or confirm it."""
        unit = units.of_settlement(founded(self._engine.view))
        outcome = write(self._engine, wire.close_in_outage(request), request, context)
        is_let = bool(wire.subjects(outcome, Kind.OUTAGE_CLOSING_LET))
        return pb.CloseInOutageResponse(let=is_let, effects=wire.effects(outcome, unit))

    def RevokeCertificate(
        self, request: pb.RevokeCertificateRequest, context: grpc.ServicerContext
    ) -> pb.RevokeCertificateResponse:
        """Take a certificate for nothing from now on."""
        write(self._engine, wire.revoke(request), request, context)
        return pb.RevokeCertificateResponse(serial=request.serial)

    # what takes two --------------------------------------------------------------------------------------

    def ProposeParameters(
        self, request: pb.ProposeParametersRequest, context: grpc.ServicerContext
    ) -> pb.ProposeParametersResponse:
        """Record a proposal of parameters, with what they would do."""
        house = founded(self._engine.view)
        outcome = write(self._engine, wire.propose_parameters(request, house), request, context)
        return pb.ProposeParametersResponse(
            proposal=names.proposal(request.proposal_id),
            impact=wire.impact_told(outcome, request.proposal_id, units.of_settlement(house)),
        )

    def ProposeChange(
        self, request: pb.ProposeChangeRequest, context: grpc.ServicerContext
    ) -> pb.ProposeChangeResponse:
        """Record a proposal of any other change, if it could be done now."""
        house = founded(self._engine.view)
        write(self._engine, wire.propose_change(request, house), request, context)
        return pb.ProposeChangeResponse(proposal=names.proposal(request.proposal_id))

    def ApproveProposal(
        self, request: pb.ApproveProposalRequest, context: grpc.ServicerContext
    ) -> pb.ApproveProposalResponse:
        """Approve what another administrator proposed."""
        unit = units.of_settlement(founded(self._engine.view))
        command = wire.approve(request)
        outcome = write(self._engine, command, request, context)
        return wire.approved(outcome, command.proposal, unit)

    def RejectProposal(
        self, request: pb.RejectProposalRequest, context: grpc.ServicerContext
    ) -> pb.RejectProposalResponse:
        """End a proposal."""
        command = wire.reject(request)
        outcome = write(self._engine, command, request, context)
        return wire.rejected(outcome, command.proposal)

    # how the house stands --------------------------------------------------------------------------------

    def GetParameters(
        self, request: pb.GetParametersRequest, context: grpc.ServicerContext
    ) -> pb.GetParametersResponse:
        """The parameters in force."""
        view = self._engine.view
        house = founded(view)
        return pb.GetParametersResponse(
            parameters=parameters.message(house.parameters, units.of_settlement(house)),
            version=house.founded.parameters_version,
            journal_size=view.size,
        )

    def GetProposal(
        self, request: pb.GetProposalRequest, context: grpc.ServicerContext
    ) -> pb.GetProposalResponse:
        """One proposal by its name."""
        require_valid(request)
        view = self._engine.view
        house = founded(view)
        caller, row = caller_of(context), proposal_of(house, names.own_id(request.name))
        if row is None or not wire.sees_proposal(row, caller):
            raise Refused(Reason.PROPOSAL_UNKNOWN, request.name)
        return pb.GetProposalResponse(proposal=wire.proposal(row, house, caller), journal_size=view.size)

    def ListProposals(
        self, request: pb.ListProposalsRequest, context: grpc.ServicerContext
    ) -> pb.ListProposalsResponse:
        """All proposals there ever were, as far as the caller sees whom they are about."""
        require_valid(request)
        view, caller = self._engine.view, caller_of(context)
        house = founded(view)
        rows = {row.id: row for row in proposals_of(house) if wire.sees_proposal(row, caller)}
        page = page_of(rows, request, "proposals", caller.actor)
        return pb.ListProposalsResponse(
            proposals=[wire.proposal(rows[key], house, caller) for key in page.keys],
            next_page_token=page.next_token,
            journal_size=view.size,
        )

    def ListBreakers(
        self, request: pb.ListBreakersRequest, context: grpc.ServicerContext
    ) -> pb.ListBreakersResponse:
        """Every breaker that was ever set or tripped."""
        require_valid(request)
        view = self._engine.view
        breakers = founded(view).breakers
        page = page_of(breakers, request, "breakers")
        return pb.ListBreakersResponse(
            breakers=[wire.breaker(breakers[key]) for key in page.keys],
            next_page_token=page.next_token,
            journal_size=view.size,
        )

    def ListGates(self, request: pb.ListGatesRequest, context: grpc.ServicerContext) -> pb.ListGatesResponse:
        """Why outflows are refused now."""
        require_valid(request)
        view = self._engine.view
        shut = {gate.reason: gate for gate in gates(founded(view), self._engine.now_ms())}
        page = page_of(shut, request, "gates")
        return pb.ListGatesResponse(
            gates=[house_wire.gate(shut[key]) for key in page.keys],
            next_page_token=page.next_token,
            journal_size=view.size,
        )

    def ListSources(
        self, request: pb.ListSourcesRequest, context: grpc.ServicerContext
    ) -> pb.ListSourcesResponse:
        """The price sources."""
        require_valid(request)
        view = self._engine.view
        sources = founded(view).sources
        page = page_of(sources, request, "sources")
        return pb.ListSourcesResponse(
            sources=[wire.source(sources[key]) for key in page.keys],
            next_page_token=page.next_token,
            journal_size=view.size,
        )

    def ListRevocations(
        self, request: pb.ListRevocationsRequest, context: grpc.ServicerContext
    ) -> pb.ListRevocationsResponse:
        """The certificates that were revoked."""
        require_valid(request)
        view = self._engine.view
        rows = founded(view).revocations
        page = page_of(rows, request, "revocations")
        return pb.ListRevocationsResponse(
            revocations=[wire.revocation(rows[key]) for key in page.keys],
            next_page_token=page.next_token,
            journal_size=view.size,
        )

    def ListGrants(
        self, request: pb.ListGrantsRequest, context: grpc.ServicerContext
    ) -> pb.ListGrantsResponse:
        """The regulators that see some jurisdictions only."""
        require_valid(request)
        view = self._engine.view
        rows = founded(view).grants
        page = page_of(rows, request, "grants")
        return pb.ListGrantsResponse(
            grants=[wire.grant(rows[RegulatorId(key)]) for key in page.keys],
            next_page_token=page.next_token,
            journal_size=view.size,
        )

    def GetOutage(self, request: pb.GetOutageRequest, context: grpc.ServicerContext) -> pb.GetOutageResponse:
        """The outage that lasts, if there is one."""
        view = self._engine.view
        row = outage_of(founded(view), self._engine.now_ms())
        found = None if row is None else wire.outage(row)
        return pb.GetOutageResponse(outage=found, journal_size=view.size)
