"""DefaultService."""

import grpc

from clearing.engine import Engine
from clearing.model.ids import DefaultId
from clearing.model.outcomes import Reason
from clearing.server.calls import caller_of, founded, write
from clearing.server.errors import Refused
from clearing.server.pages import page_of
from clearing.server.wire import defaults as wire
from clearing.server.wire import names, portings
from clearing.server.wire.violations import require_valid
from clearinghouse.v1 import default_service_pb2 as pb
from clearinghouse.v1.default_service_pb2_grpc import DefaultServiceServicer


class Defaults(DefaultServiceServicer):
    """Shows what failed, what it cost and who paid, as far as the caller may see, and hands clients over."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def GetDefault(  # named by the proto
        self, request: pb.GetDefaultRequest, context: grpc.ServicerContext
    ) -> pb.GetDefaultResponse:
        """One default by its name."""
        require_valid(request)
        view = self._engine.view
        house = founded(view)
        default = house.defaults.get(DefaultId(names.own_id(request.name)))
        if default is None:
            raise Refused(Reason.DEFAULT_UNKNOWN, request.name)
        found = wire.message(default, house, caller_of(context))
        return pb.GetDefaultResponse(default=found, journal_size=view.size)

    def ListDefaults(
        self, request: pb.ListDefaultsRequest, context: grpc.ServicerContext
    ) -> pb.ListDefaultsResponse:
        """All defaults."""
        require_valid(request)
        view, caller = self._engine.view, caller_of(context)
        house = founded(view)
        page = page_of(house.defaults, request, "defaults")
        return pb.ListDefaultsResponse(
            defaults=[wire.message(house.defaults[key], house, caller) for key in page.keys],
            next_page_token=page.next_token,
            journal_size=view.size,
        )

    def GetPorting(
        self, request: pb.GetPortingRequest, context: grpc.ServicerContext
    ) -> pb.GetPortingResponse:
        """One porting by its name."""
        require_valid(request)
        view, caller = self._engine.view, caller_of(context)
        house = founded(view)
        porting = portings.visible(house, caller).get(request.name)
        if porting is None:
            raise Refused(Reason.PORTING_UNKNOWN, request.name)
        found = portings.message(porting, house, caller)
        return pb.GetPortingResponse(porting=found, journal_size=view.size)

    def ListPortings(
        self, request: pb.ListPortingsRequest, context: grpc.ServicerContext
    ) -> pb.ListPortingsResponse:
        """The portings that the caller may accept or has a part in."""
        require_valid(request)
        view, caller = self._engine.view, caller_of(context)
        house = founded(view)
        shown = portings.visible(house, caller)
        page = page_of(shown, request, "portings", caller.actor)
        return pb.ListPortingsResponse(
            portings=[portings.message(shown[key], house, caller) for key in page.keys],
            next_page_token=page.next_token,
            journal_size=view.size,
        )

    def AcceptPorting(
        self, request: pb.AcceptPortingRequest, context: grpc.ServicerContext
    ) -> pb.AcceptPortingResponse:
        """Take over what a client has at members in default."""
        command = portings.parse(request, founded(self._engine.view), caller_of(context))
        write(self._engine, command, request, context)
        return pb.AcceptPortingResponse(account=request.account)
