"""MarginService."""

from collections.abc import Sequence

import grpc

from clearing.decide.what_if import what_if
from clearing.default.contagion import contagion, shock_of
from clearing.default.preview import preview
from clearing.default.reverse import reverse_stress
from clearing.default.sizing import coverage
from clearing.engine import Engine
from clearing.margin.assess import assess
from clearing.margin.snapshot import array_of
from clearing.model.outcomes import Reason
from clearing.model.values import InstrumentRisk
from clearing.server.calls import caller_of, founded
from clearing.server.errors import Fault, Refused
from clearing.server.pages import page_of
from clearing.server.wire import margin as wire
from clearing.server.wire import names
from clearing.server.wire.defaults import sees_set
from clearing.server.wire.violations import require_valid
from clearinghouse.v1 import margin_service_pb2 as pb
from clearinghouse.v1.margin_service_pb2_grpc import MarginServiceServicer

RISK_NUMBERS_MAX = 60_000
"""So many numbers of one side of the risk array fit into an answer: twice as many, of up to thirty characters each,
stay below the 4 MiB that gRPC accepts unless told otherwise.
"""


class Margins(MarginServiceServicer):
    """Shows what netting sets must hold, who is called, and who would pay."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def GetMargin(  # named by the proto
        self, request: pb.GetMarginRequest, context: grpc.ServicerContext
    ) -> pb.GetMarginResponse:
        """One netting set measured."""
        require_valid(request)
        view = self._engine.view
        house = founded(view)
        set_id = names.set_id(request.netting_set)
        if set_id not in house.netting_sets:
            raise Refused(Fault.NETTING_SET_UNKNOWN, request.netting_set)
        measured = wire.message(assess(house, set_id), house)
        return pb.GetMarginResponse(margin=measured, journal_size=view.size)

    def ListMargins(
        self, request: pb.ListMarginsRequest, context: grpc.ServicerContext
    ) -> pb.ListMarginsResponse:
        """Every netting set that the caller sees, measured."""
        require_valid(request)
        view, caller = self._engine.view, caller_of(context)
        house = founded(view)
        keys = (set_id for set_id in house.netting_sets if sees_set(house, set_id, caller))
        page = page_of(keys, request, "margins", caller.actor)
        return pb.ListMarginsResponse(
            margins=[wire.message(assess(house, set_id), house) for set_id in page.keys],
            next_page_token=page.next_token,
            journal_size=view.size,
        )

    def ListMarginCalls(
        self, request: pb.ListMarginCallsRequest, context: grpc.ServicerContext
    ) -> pb.ListMarginCallsResponse:
        """Open calls on netting sets that the caller sees."""
        require_valid(request)
        view, caller = self._engine.view, caller_of(context)
        house = founded(view)
        keys = (key for key in house.calls if sees_set(house, house.calls[key].netting_set, caller))
        page = page_of(keys, request, "calls", caller.actor)
        return pb.ListMarginCallsResponse(
            margin_calls=[wire.call(house.calls[key], house, caller) for key in page.keys],
            next_page_token=page.next_token,
            journal_size=view.size,
        )

    def PreviewDefault(
        self, request: pb.PreviewDefaultRequest, context: grpc.ServicerContext
    ) -> pb.PreviewDefaultResponse:
        """Who would pay if the member failed now."""
        require_valid(request)
        view = self._engine.view
        house = founded(view)
        member = names.member_id(request.member)
        if member not in house.members:
            raise Refused(Reason.MEMBER_UNKNOWN, request.member)
        found = preview(house, member, request.move_bp if request.HasField("move_bp") else None)
        answer = wire.preview(found, house)
        answer.journal_size = view.size
        return answer

    def GetPoolCoverage(
        self, request: pb.GetPoolCoverageRequest, context: grpc.ServicerContext
    ) -> pb.GetPoolCoverageResponse:
        """How the pool stands against the stress scenarios."""
        view = self._engine.view
        house = founded(view)
        answer = wire.coverage(coverage(house), house)
        answer.journal_size = view.size
        return answer

    def GetReverseStress(
        self, request: pb.GetReverseStressRequest, context: grpc.ServicerContext
    ) -> pb.GetReverseStressResponse:
        """The smallest move that exhausts each tier."""
        view = self._engine.view
        answer = wire.reverse(reverse_stress(founded(view)))
        answer.journal_size = view.size
        return answer

    def GetContagion(
        self, request: pb.GetContagionRequest, context: grpc.ServicerContext
    ) -> pb.GetContagionResponse:
        """What a shock leads to, with and without pauses."""
        require_valid(request)
        view = self._engine.view
        house = founded(view)
        shock = shock_of(house, request.scenario)
        if shock is None:
            raise Refused(Fault.SCENARIO_UNKNOWN, request.scenario)
        running, paused = (contagion(house, shock, pauses=pauses) for pauses in (False, True))
        answer = wire.contagion(shock, running, paused, house)
        answer.journal_size = view.size
        return answer

    def ExplainMargin(
        self, request: pb.ExplainMarginRequest, context: grpc.ServicerContext
    ) -> pb.ExplainMarginResponse:
        """Why one netting set must hold what it must."""
        require_valid(request)
        view = self._engine.view
        house = founded(view)
        set_id = names.set_id(request.netting_set)
        if set_id not in house.netting_sets:
            raise Refused(Fault.NETTING_SET_UNKNOWN, request.netting_set)
        answer = wire.explanation(assess(house, set_id), house, caller_of(context))
        answer.journal_size = view.size
        return answer

    def WhatIf(self, request: pb.WhatIfRequest, context: grpc.ServicerContext) -> pb.WhatIfResponse:
        """What trades would do to an account."""
        view = self._engine.view
        house = founded(view)
        key, trades = wire.parse_what_if(request, house)
        if key not in house.accounts:
            raise Refused(Reason.ACCOUNT_UNKNOWN, request.account)
        answer = wire.what_if(what_if(house, key, trades, max(self._engine.now_ms(), view.time_ms)), house)
        answer.journal_size = view.size
        return answer

    def GetRiskArray(
        self, request: pb.GetRiskArrayRequest, context: grpc.ServicerContext
    ) -> pb.GetRiskArrayResponse:
        """The risk array of the newest cycle."""
        require_valid(request)
        view = self._engine.view
        house = founded(view)
        cycle = 0 if house.cycle is None else house.cycle.number
        rows = array_of(house).instruments
        keys = (row.instrument for row in rows)
        page = page_of(keys, request, "risk", str(cycle), at_most=_rows_at_most(rows))
        answer = wire.risk_array(house, page.keys)
        answer.next_page_token, answer.journal_size = page.next_token, view.size
        return answer

    def GetShadow(self, request: pb.GetShadowRequest, context: grpc.ServicerContext) -> pb.GetShadowResponse:
        """What the model in shadow said last."""
        require_valid(request)
        view = self._engine.view
        answer = wire.shadow(founded(view))
        answer.journal_size = view.size
        return answer


def _rows_at_most(rows: Sequence[InstrumentRisk]) -> int:
    """How many rows of the risk array a page has at most, never none."""
    scenarios = len(rows[0].long_minor) if rows else 0
    return max(1, RISK_NUMBERS_MAX // max(1, scenarios))
