"""Streams that go on over connections that end: what came is kept, and the rest is asked for again."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import grpc

from clearing_client.calls import full_wait_s
from clearing_client.errors import ClearingError
from clearinghouse.v1 import event_service_pb2 as event_pb

PAUSE_MIN_S, PAUSE_MAX_S = 0.1, 5.0
PASSING = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
"""The connection was lost, or this client has made another (``reconnect``)."""


@dataclass
class Pauses:
    """How long to wait before a stream is opened again: longer each time, until something comes."""

    tries_max: int | None = None
    """Times in a row; None for ever."""
    tries: int = 0

    def reset(self) -> None:
        """Something came."""
        self.tries = 0

    def after(self, error: ClearingError | None) -> float:
        """How long to wait once the stream has ended. Raises ``error`` if opening it again is of no use."""
        full_s = None if error is None else full_wait_s(error)
        given_up = self.tries_max is not None and self.tries >= self.tries_max
        if error is not None and (given_up or (full_s is None and error.code not in PASSING)):
            raise error
        wait_s = full_s or min(PAUSE_MIN_S * 2**self.tries, PAUSE_MAX_S)
        self.tries += 1
        return wait_s


@dataclass
class Follower:
    """Where a reader of events stands. Events have growing sequences: behind the last seen nothing is missed."""

    after_sequence: int | None
    """None until the house has said where "from now on" begins."""
    kinds: tuple[str, ...] = ()
    pauses: Pauses = field(default_factory=Pauses)

    @classmethod
    def of(cls, after_sequence: int | None, kinds: Iterable[str]) -> "Follower":
        """A reader who has seen everything up to ``after_sequence``."""
        return cls(after_sequence, tuple(kinds))

    def request(self) -> event_pb.StreamEventsRequest:
        """Asks for what has not been seen."""
        return event_pb.StreamEventsRequest(after_sequence=self.after_sequence, kinds=self.kinds)

    def take(self, message: event_pb.StreamEventsResponse) -> event_pb.Event | None:
        """The event of ``message``, if it is one and new; the reader then stands behind it."""
        self.pauses.reset()
        is_event = message.WhichOneof("message") == "event"
        sequence = message.event.sequence if is_event else message.heartbeat.sequence
        if self.after_sequence is not None and sequence <= self.after_sequence:
            return None
        self.after_sequence = sequence
        return message.event if is_event else None
