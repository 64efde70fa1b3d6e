"""HouseService."""

from collections.abc import Callable

import grpc

from clearing.default.gate import gates
from clearing.engine import Engine
from clearing.market.outage import outage_of
from clearing.server.calls import founded
from clearing.server.wire import house as wire
from clearinghouse.v1 import house_service_pb2 as pb
from clearinghouse.v1.house_service_pb2_grpc import HouseServiceServicer


class Houses(HouseServiceServicer):
    """Shows the house. ``clock`` gives UTC milliseconds, because a gate may shut by time alone."""

    def __init__(self, engine: Engine, clock: Callable[[], int]) -> None:
        self._engine, self._clock = engine, clock

    def GetHouse(  # named by the proto
        self, request: pb.GetHouseRequest, context: grpc.ServicerContext
    ) -> pb.GetHouseResponse:
        """What the house clears, in which units, and whether its gates are open."""
        view = self._engine.view
        house, now_ms = founded(view), self._clock()
        return pb.GetHouseResponse(
            house=wire.message(house, gates(house, now_ms), outage_of(house, now_ms)),
            journal_size=view.size,
            journal_root=view.frontier.root().hex(),
        )
