"""A stream of events that never ends, skips or repeats, over connections that do.

Each message has a sequence; whoever asks again after the last one that it has seen misses nothing.
"""

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import grpc

from clearing_client.calls import full_wait_s
from clearing_client.errors import ClearingError

PAUSE_MIN_S, PAUSE_MAX_S = 0.1, 5.0
PASSING = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
"""The connection was lost, or this client has made another."""

M = TypeVar("M")


@dataclass
class Place:
    """Where a reader stands, and how long it waits before it asks again."""

    sequence: int
    pause_s: float = PAUSE_MIN_S

    def passes(self, sequence: int) -> bool:
        """Whether a message of this sequence is new; then the reader stands behind it."""
        self.pause_s = PAUSE_MIN_S
        if sequence <= self.sequence:
            return False
        self.sequence = sequence
        return True

    def wait_s(self, error: ClearingError | None) -> float:
        """How long to wait once the stream has ended. Raises ``error`` if asking again is of no use."""
        full_s = None if error is None else full_wait_s(error)
        if full_s is not None:
            return full_s
        if error is not None and error.code not in PASSING:
            raise error
        wait_s = self.pause_s
        self.pause_s = min(2 * wait_s, PAUSE_MAX_S)
        return wait_s


def follow(
    opened: Callable[[int], Iterable[M]], sequence_of: Callable[[M], int], after_sequence: int
) -> Iterator[M]:
    """Every message after ``after_sequence``; ``opened`` opens the stream after a sequence."""
    place = Place(after_sequence)
    while True:
        ended: ClearingError | None = None
        try:
            for message in opened(place.sequence):
                if place.passes(sequence_of(message)):
                    yield message
        except ClearingError as error:
            ended = error
        time.sleep(place.wait_s(ended))


async def follow_async(
    opened: Callable[[int], AsyncIterable[M]], sequence_of: Callable[[M], int], after_sequence: int
) -> AsyncIterator[M]:
    """The same for asyncio."""
    place = Place(after_sequence)
    while True:
        ended: ClearingError | None = None
        try:
            async for message in opened(place.sequence):
                if place.passes(sequence_of(message)):
                    yield message
        except ClearingError as error:
            ended = error
        await asyncio.sleep(place.wait_s(ended))
