"""TradeService."""

import grpc

from clearing.engine import Engine
from clearing.server.calls import caller_of, founded, shown, write
from clearing.server.errors import Fault, Refused
from clearing.server.pages import page_of
from clearing.server.wire import names
from clearing.server.wire import trades as wire
from clearing.server.wire.violations import require_valid
from clearinghouse.v1 import trade_service_pb2 as pb
from clearinghouse.v1.trade_service_pb2_grpc import TradeServiceServicer


class Trades(TradeServiceServicer):
    """Takes trades to novate, and shows those that were."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def SubmitTrades(  # named by the proto
        self, request: pb.SubmitTradesRequest, context: grpc.ServicerContext
    ) -> pb.SubmitTradesResponse:
        """Novate what passes the checks, each trade by itself."""
        command = wire.parse(request, founded(self._engine.view))
        outcome = write(self._engine, command, request, context)
        return wire.answer(command.member, outcome)

    def GetTrade(self, request: pb.GetTradeRequest, context: grpc.ServicerContext) -> pb.GetTradeResponse:
        """One trade by its name."""
        require_valid(request)
        view = self._engine.view
        house = founded(view)
        trade = house.trades.get(names.trade_key(request.name))
        if trade is None:
            raise Refused(Fault.TRADE_UNKNOWN, request.name)
        return pb.GetTradeResponse(trade=wire.message(trade, house), journal_size=view.size)

    def ListTrades(
        self, request: pb.ListTradesRequest, context: grpc.ServicerContext
    ) -> pb.ListTradesResponse:
        """Trades of one member, or of all that the caller sees."""
        require_valid(request)
        view, caller = self._engine.view, caller_of(context)
        house = founded(view)
        keys = filter(shown(request.parent, caller), house.trades)
        page = page_of(keys, request, "trades", request.parent, caller.actor)
        return pb.ListTradesResponse(
            trades=[wire.message(house.trades[key], house) for key in page.keys],
            next_page_token=page.next_token,
            journal_size=view.size,
        )
