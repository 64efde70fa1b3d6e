"""DefaultService."""

import grpc

from clearing.engine import Engine
from clearing.model.ids import DefaultId
from clearing.model.outcomes import Reason
from clearing.server.calls import caller_of, founded
from clearing.server.errors import Refused
from clearing.server.pages import page_of
from clearing.server.wire import defaults as wire
from clearing.server.wire import names
from clearing.server.wire.violations import require_valid
from clearinghouse.v1 import default_service_pb2 as pb
from clearinghouse.v1.default_service_pb2_grpc import DefaultServiceServicer


class Defaults(DefaultServiceServicer):
    """Shows what failed, what it cost and who paid, as far as the caller may see."""

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
