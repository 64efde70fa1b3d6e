"""TradeService."""

import time
from collections import deque
from collections.abc import Iterator

import grpc

from clearing.decide.halves import awaited, submitter
from clearing.engine import Engine, Pending
from clearing.model.commands import SubmitTrades
from clearing.model.house import House
from clearing.model.ids import MemberId, TradeKey
from clearing.server.calls import answered, caller_of, founded, shown, submit, write
from clearing.server.errors import Fault, Refused
from clearing.server.identity import Identity
from clearing.server.pages import page_of
from clearing.server.wire import names
from clearing.server.wire import trades as wire
from clearing.server.wire.violations import RequestInvalid, require_valid
from clearinghouse.v1 import trade_service_pb2 as pb
from clearinghouse.v1.trade_service_pb2_grpc import TradeServiceServicer
from ledger.store.writer import Overloaded

IN_FLIGHT_MAX = 8
"""Batches of a stream that are on their way at once: the next is read while those before it are decided."""
STREAM_BATCHES_MAX = 1_000
"""Batches that one stream takes."""
STREAM_RESULTS_MAX = 10_000
"""Results that the answer to a stream has before the stream ends: an answer must fit a message."""
REST_MAX_S = 10.0
"""How long a stream that failed waits for each batch that is on its way."""
PAUSE_S = 0.02
"""After which a stream tries again at a house that is full."""


class Trades(TradeServiceServicer):
    """Takes trades to novate, and shows those that were and those that wait."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def SubmitTrades(  # named by the proto
        self, request: pb.SubmitTradesRequest, context: grpc.ServicerContext
    ) -> pb.SubmitTradesResponse:
        """Novate what passes the checks, each trade by itself."""
        command = wire.parse(request, founded(self._engine.view))
        outcome = write(self._engine, command, request, context)
        return wire.answer(command.member, outcome)

    def StreamTrades(
        self, requests: Iterator[pb.StreamTradesRequest], context: grpc.ServicerContext
    ) -> pb.StreamTradesResponse:
        """Novate the trades of batch after batch."""
        stream = _Stream(self._engine, context)
        try:
            for request in requests:
                stream.take(request)
                if stream.is_full:
                    break
            return stream.answer()
        finally:
            stream.come_to_rest()

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

    def ListHalves(
        self, request: pb.ListHalvesRequest, context: grpc.ServicerContext
    ) -> pb.ListHalvesResponse:
        """Halves of one member or for it, or of all that the caller sees."""
        require_valid(request)
        view, caller = self._engine.view, caller_of(context)
        house = founded(view)
        keys = (key for key in house.halves if _concerns(house, key, request.parent, caller))
        page = page_of(keys, request, "halves", request.parent, caller.actor)
        return pb.ListHalvesResponse(
            halves=[wire.half(house.halves[key], house) for key in page.keys],
            next_page_token=page.next_token,
            journal_size=view.size,
        )


def _concerns(house: House, key: TradeKey, parent: str, caller: Identity) -> bool:
    """Whether a half is of a member, or for one, that ``parent`` names and the caller sees."""
    members = {submitter(key), awaited(house.halves[key])}
    wanted = members if parent == names.ALL_MEMBERS else members & {names.member_id(parent)}
    return any(caller.sees(member) for member in wanted)


class _Stream:
    """The batches of one stream: a few are on their way at once, and answered in their order."""

    def __init__(self, engine: Engine, context: grpc.ServicerContext) -> None:
        self._engine, self._context = engine, context
        self._waiting: deque[tuple[str, MemberId, Pending]] = deque()
        self._parent = ""
        self._taken = self._results = 0
        self._answer = pb.StreamTradesResponse()

    @property
    def is_full(self) -> bool:
        """Whether no further batch is taken."""
        return self._taken >= STREAM_BATCHES_MAX or self._results >= STREAM_RESULTS_MAX

    def take(self, request: pb.StreamTradesRequest) -> None:
        """Queue a batch; wait for the oldest if there are enough on their way."""
        self._parent = self._parent or request.parent
        batch = _as_unary(request)
        command = self._parsed(batch)
        self._waiting.append((batch.request_id, command.member, self._submitted(command, batch)))
        self._taken += 1
        if len(self._waiting) >= IN_FLIGHT_MAX:
            self._settle()

    def _parsed(self, batch: pb.SubmitTradesRequest) -> SubmitTrades:
        """The command of a batch; what is wrong is said of this batch of the stream."""
        place = f"batches[{self._taken}]"
        if batch.parent != self._parent:
            said = f"all batches of a stream are of one member, here {self._parent}"
            raise RequestInvalid({f"{place}.parent": said})
        try:
            return wire.parse(batch, founded(self._engine.view))
        except RequestInvalid as invalid:
            wrong = {f"{place}.{name}": said for name, said in invalid.fields.items()}
            raise RequestInvalid(wrong) from None

    def answer(self) -> pb.StreamTradesResponse:
        """What became of the batches, once all are decided."""
        while self._waiting:
            self._settle()
        self._answer.batches_taken = self._taken
        return self._answer

    def come_to_rest(self) -> None:
        """Nothing of a stream that failed is on its way any more when its caller learns of it."""
        for _, _, pending in self._waiting:
            pending.decided(REST_MAX_S)

    def _submitted(self, command: SubmitTrades, batch: pb.SubmitTradesRequest) -> Pending:
        """A house that is full holds the stream up; the caller sees no more of it than that it is slow."""
        while True:
            try:
                return submit(self._engine, command, batch, self._context)
            except Overloaded:
                if not self._context.is_active():
                    raise
                time.sleep(PAUSE_S)

    def _settle(self) -> None:
        request_id, member, pending = self._waiting.popleft()
        found = wire.batch_result(request_id, member, answered(pending, self._context))
        self._results += len(found.results)
        self._answer.batches.append(found)


def _as_unary(request: pb.StreamTradesRequest) -> pb.SubmitTradesRequest:
    """The same batch as SubmitTrades takes it, so that its request id means the same either way."""
    batch = pb.SubmitTradesRequest.FromString(request.SerializeToString())
    batch.validate_only = False
    return batch
