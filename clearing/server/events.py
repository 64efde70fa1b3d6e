"""EventService."""

import time
from collections.abc import Iterator

import grpc

from clearing.engine import Engine
from clearing.server.calls import caller_of, founded, require_good, scoped
from clearing.server.errors import Fault, Refused
from clearing.server.identity import Identity
from clearing.server.pages import size_of
from clearing.server.tail import Follower, Happening, Tail
from clearing.server.wire import events as wire
from clearing.server.wire.concerns import owners_of
from clearing.server.wire.ledger import Kinds, kinds
from clearinghouse.v1 import event_service_pb2 as pb
from clearinghouse.v1.event_service_pb2_grpc import EventServiceServicer

HEARTBEAT_S = 10.0
SCANNED_MAX = 10_000
"""Entries that one ListEvents looks at, about; then it says how far it came."""


class Events(EventServiceServicer):
    """Tells callers what happened to them."""

    def __init__(self, engine: Engine, tail: Tail) -> None:
        self._engine, self._tail = engine, tail

    def StreamEvents(  # named by the proto
        self, request: pb.StreamEventsRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.StreamEventsResponse]:
        """What is there behind a sequence, then what comes, until somebody ends it."""
        wanted = kinds(request)
        founded(self._engine.view)
        size = self._tail.journal.size
        position = request.after_sequence + 1 if request.HasField("after_sequence") else size
        _require_reached(position, size)
        with self._tail.following(caller_of(context), position) as follower:
            context.add_callback(follower.wake.set)
            yield _heartbeat(position)
            yield from self._follow(follower, wanted, _interval_s(request), context)

    def ListEvents(
        self, request: pb.ListEventsRequest, context: grpc.ServicerContext
    ) -> pb.ListEventsResponse:
        """A page of what is there."""
        wanted = kinds(request)
        caller, house = caller_of(context), founded(self._engine.view)
        size, most = self._tail.journal.size, size_of(request.page_size)
        start = request.after_sequence + 1
        _require_reached(start, size)
        answer = pb.ListEventsResponse(last_sequence=request.after_sequence, journal_size=size)
        while answer.last_sequence < size - 1 and answer.last_sequence - start < SCANNED_MAX:
            page = self._tail.page(answer.last_sequence + 1)
            for one in page.happened:
                answer.last_sequence = one.sequence
                if _is_for(one, caller, wanted):
                    answer.events.append(wire.message(one, house, caller))
                if len(answer.events) == most:
                    return answer
        return answer

    def _follow(
        self, follower: Follower, wanted: Kinds, interval_s: float, context: grpc.ServicerContext
    ) -> Iterator[pb.StreamEventsResponse]:
        """Events as they come; a heartbeat when nothing was said for ``interval_s``."""
        silence, admitted = _Pause(interval_s), _Pause(interval_s)
        caller = caller_of(context)
        while context.is_active():
            if self._tail.is_draining:
                raise Refused(Fault.HOUSE_STOPPING)
            if admitted.is_over:
                require_good(caller, self._engine.view.state, self._engine.now_ms())
                admitted.begin()
            taken = self._tail.take(follower)
            caller = scoped(caller, self._engine.view.state)  # not before: what was taken is not newer
            for one in taken:
                if _is_for(one, caller, wanted):
                    yield pb.StreamEventsResponse(event=wire.message(one, self._engine.view.state, caller))
                    silence.begin()
                elif silence.is_over:  # far behind, and nothing of it concerns the caller
                    yield _heartbeat(one.sequence + 1)
                    silence.begin()
            if silence.is_over:
                yield _heartbeat(follower.position)
                silence.begin()
            if self._tail.is_caught_up(follower):
                follower.wake.wait(silence.left_s)


class _Pause:
    """Time since something began, against an interval."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._until_s = 0.0
        self.begin()

    def begin(self) -> None:
        """Count from now on."""
        self._until_s = time.monotonic() + self._interval_s

    @property
    def left_s(self) -> float:
        """What is left of the interval."""
        return max(self._until_s - time.monotonic(), 0.0)

    @property
    def is_over(self) -> bool:
        """Whether the interval is over."""
        return time.monotonic() >= self._until_s


def _interval_s(request: pb.StreamEventsRequest) -> float:
    if not request.HasField("heartbeat_interval"):
        return HEARTBEAT_S
    return request.heartbeat_interval.seconds + request.heartbeat_interval.nanos / 1e9


def _require_reached(position: int, size: int) -> None:
    if position > size:
        raise Refused(Fault.SEQUENCE_AHEAD, f"its newest entry is {size - 1}")


def _is_for(one: Happening, caller: Identity, wanted: Kinds) -> bool:
    is_wanted = not wanted or one.entry.kind in wanted
    return is_wanted and one.is_for(owners_of(caller))


def _heartbeat(position: int) -> pb.StreamEventsResponse:
    return pb.StreamEventsResponse(heartbeat=pb.Heartbeat(sequence=position - 1))
