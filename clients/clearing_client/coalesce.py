"""Many callers with one trade each, sent as few batches: while one is on its way, the next collects.

Rules kept here:

1. A lane holds the trades of one member; of each lane one batch is on its way, of :data:`BATCH_MAX` trades at most.
2. Trades go in the order in which they came, so those of one caller keep theirs.
3. Each caller gets the result of its own trade. A batch that is refused or lost fails the callers in it and no others.
4. A batch is one request: it has one request id and is tried again as a whole.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeAlias, TypeVar

from clearinghouse.v1 import trade_service_pb2 as trade_pb

BATCH_MAX = 1_000
"""Trades of one request; TradeService takes no more."""

Results: TypeAlias = Sequence[trade_pb.TradeResult]


class Promise(Protocol):
    """What a caller waits for: a future of a thread or of asyncio."""

    def done(self) -> bool:
        """Whether nobody waits any more."""

    def set_result(self, result: trade_pb.TradeResult, /) -> None:
        """Give the caller its result."""

    def set_exception(self, exception: BaseException, /) -> None:
        """Tell the caller what went wrong."""


P = TypeVar("P", bound=Promise)


@dataclass(frozen=True, slots=True)
class Place(Generic[P]):
    """A trade that waits, and who waits for it."""

    trade: trade_pb.NewTrade
    promise: P

    def resolve(self, result: trade_pb.TradeResult) -> None:
        """Give the caller its result, unless it has gone."""
        if not self.promise.done():
            self.promise.set_result(result)

    def fail(self, error: BaseException) -> None:
        """Tell the caller what went wrong, unless it has gone."""
        if not self.promise.done():
            self.promise.set_exception(error)


@dataclass(slots=True)
class Lane(Generic[P]):
    """What waits of one member, and whether a batch of it is on its way."""

    waiting: deque[Place[P]] = field(default_factory=deque)
    sending: bool = False

    def join(self, place: Place[P]) -> bool:
        """Wait for the next batch; whether somebody must start sending."""
        self.waiting.append(place)
        starts = not self.sending
        self.sending = True
        return starts

    def take(self) -> list[Place[P]]:
        """The next batch, without callers that have gone; empty if sending is over."""
        batch: list[Place[P]] = []
        while self.waiting and len(batch) < BATCH_MAX:
            place = self.waiting.popleft()
            if not place.promise.done():
                batch.append(place)
        self.sending = bool(batch)
        return batch


def settle(batch: Sequence[Place[P]], results: Results) -> None:
    """Give each caller of a batch its own result."""
    for place, result in zip(batch, results, strict=True):
        place.resolve(result)


def fail(batch: Sequence[Place[P]], error: BaseException) -> None:
    """Tell every caller of a batch what went wrong with it."""
    for place in batch:
        place.fail(error)


def require_single(trade: trade_pb.NewTrade) -> trade_pb.NewTrade:
    """A copy of ``trade``, which the caller may change meanwhile. Raises ``ValueError`` for one of a group."""
    if trade.group:
        raise ValueError("trades of a group stand next to each other: send them with submit_trades")
    copied = trade_pb.NewTrade()
    copied.CopyFrom(trade)
    return copied


class Coalescer:
    """For threads. Each lane that sends has a thread of its own."""

    def __init__(self, send: Callable[[str, list[trade_pb.NewTrade]], Results]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._lanes: dict[str, Lane[Future[trade_pb.TradeResult]]] = {}
        self._senders = ThreadPoolExecutor(thread_name_prefix="submit")
        self._closed = False

    def submit(self, parent: str, trade: trade_pb.NewTrade) -> trade_pb.TradeResult:
        """Wait for the result of ``trade``. Raises ``ValueError`` once closed."""
        promise: Future[trade_pb.TradeResult] = Future()
        place = Place(require_single(trade), promise)
        with self._lock:
            if self._closed:
                raise ValueError("this client is closed")
            lane = self._lanes.setdefault(parent, Lane())
            if lane.join(place):
                self._senders.submit(self._run, parent, lane)
        return promise.result()

    def close(self) -> None:
        """Send what waits, then end."""
        with self._lock:
            self._closed = True
        self._senders.shutdown()

    def _run(self, parent: str, lane: Lane[Future[trade_pb.TradeResult]]) -> None:
        while True:
            with self._lock:
                batch = lane.take()
            if not batch:
                return
            try:
                settle(batch, self._send(parent, [place.trade for place in batch]))
            except BaseException as error:  # noqa: BLE001  # whatever it is, the callers get it: none waits for ever
                fail(batch, error)


class AsyncCoalescer:
    """For the tasks of one event loop. A caller that is cancelled before its batch has left takes its trade along."""

    def __init__(self, send: Callable[[str, list[trade_pb.NewTrade]], Awaitable[Results]]) -> None:
        self._send = send
        self._lanes: dict[str, Lane[asyncio.Future[trade_pb.TradeResult]]] = {}
        self._senders: set[asyncio.Task[None]] = set()

    async def submit(self, parent: str, trade: trade_pb.NewTrade) -> trade_pb.TradeResult:
        """Wait for the result of ``trade``."""
        promise: asyncio.Future[trade_pb.TradeResult] = asyncio.get_running_loop().create_future()
        lane = self._lanes.setdefault(parent, Lane())
        if lane.join(Place(require_single(trade), promise)):
            sender = asyncio.create_task(self._run(parent, lane))
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)
        return await promise

    async def close(self) -> None:
        """Send what waits, then end."""
        await asyncio.gather(*self._senders)

    async def _run(self, parent: str, lane: Lane[asyncio.Future[trade_pb.TradeResult]]) -> None:
        while batch := lane.take():
            try:
                settle(batch, await self._send(parent, [place.trade for place in batch]))
            except asyncio.CancelledError as error:
                fail([*batch, *lane.waiting], error)
                raise
            except Exception as error:  # noqa: BLE001  # whatever it is, the callers get it: none waits for ever
                fail(batch, error)
