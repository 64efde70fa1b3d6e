"""How every call of a client is made, whatever it calls; the same for threads and for asyncio.

1. A request that changes something gets a request id, made once: the same goes out at every try, so nothing
   happens twice.
2. A call that names no deadline gets :data:`DEADLINE_S`; a stream may stay open for ever.
3. UNAVAILABLE is tried again by the channel, as the published service config says. A call that comes at a full
   house, which then names a time, is sent again after that time, :data:`FULL_TRIES_MAX` times at most and
   never beyond the deadline.
4. What fails raises :class:`clearing_client.errors.ClearingError`.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import grpc

from clearing_client.errors import ClearingError, of_call
from clearing_client.requests import identified, request_id_of

DEADLINE_S = 30.0
FULL_TRIES_MAX = 5
"""Times that a call is sent again to a full house."""

Metadata: TypeAlias = tuple[tuple[str, str], ...]


class Details(NamedTuple):
    """What gRPC wants to know of a call."""

    method: Any
    timeout: float | None
    metadata: Any
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None = None


@dataclass
class Tries:
    """How much time and how many tries a call has left."""

    end_s: float
    full_tries: int = 0

    @classmethod
    def within(cls, timeout_s: float | None) -> "Tries":
        """Of a call that may take so long; without a number, as long as calls do."""
        return cls(time.monotonic() + (DEADLINE_S if timeout_s is None else timeout_s))

    @property
    def left_s(self) -> float:
        """The time that is left."""
        return max(0.0, self.end_s - time.monotonic())

    def wait_s(self, error: ClearingError) -> float:
        """How long to wait before the next try. Raises ``error`` if there is none."""
        self.full_tries += 1
        wait_s = full_wait_s(error)
        if wait_s is None or self.full_tries > FULL_TRIES_MAX or wait_s >= self.left_s:
            raise error
        return wait_s


def full_wait_s(error: ClearingError) -> float | None:
    """The delay that a full house named, and up to a quarter more: not all come back at once. Else None."""
    if error.code is not grpc.StatusCode.RESOURCE_EXHAUSTED or error.retry_delay_s is None:
        return None
    return error.retry_delay_s * (1 + secrets.randbelow(251) / 1_000)


class Calls(
    grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamUnaryClientInterceptor
):
    """Makes the calls of threads. ``.future()`` of a method waits like the call itself: use threads, or asyncio."""

    def __init__(self, metadata: Metadata = ()) -> None:
        self._metadata = metadata

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        """One request, one answer."""
        identified_request = identified(request)
        tries = Tries.within(client_call_details.timeout)
        while True:
            details = _details(client_call_details, tries.left_s, self._metadata)
            call = continuation(details, identified_request)
            error = _failure(call.exception(), request_id_of(identified_request))
            if error is None:
                return call
            time.sleep(tries.wait_s(error))

    def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        """One request, many answers."""
        details = _details(client_call_details, client_call_details.timeout, self._metadata)
        return Answers(continuation(details, identified(request)))

    def intercept_stream_unary(
        self,
        continuation: Callable[..., Any],
        client_call_details: grpc.ClientCallDetails,
        request_iterator: Iterator[Any],
    ) -> Any:
        """Many requests, one answer."""
        details = _details(client_call_details, client_call_details.timeout, self._metadata)
        call = continuation(details, map(identified, request_iterator))
        error = _failure(call.exception(), "")
        if error is not None:
            raise error
        return call


class Answers(Iterator[Any]):
    """The answers of a stream; everything else that a gRPC call can do is handed on to it."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __next__(self) -> Any:
        try:
            return next(self._call)
        except grpc.RpcError as error:
            raise of_call(error) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


class _AsyncUnary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    async def intercept_unary_unary(
        self,
        continuation: Callable[..., Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        identified_request = identified(request)
        tries = Tries.within(client_call_details.timeout)
        while True:
            details = _aio_details(client_call_details, tries.left_s, self._metadata)
            call = await continuation(details, identified_request)
            try:
                await call
            except grpc.RpcError as failed:
                error = of_call(failed, request_id_of(identified_request))
            else:
                return call
            await asyncio.sleep(tries.wait_s(error))


class _AsyncStream(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    async def intercept_unary_stream(
        self,
        continuation: Callable[..., Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        details = _aio_details(client_call_details, client_call_details.timeout, self._metadata)
        return _answers(await continuation(details, identified(request)))


class _AsyncBulk(grpc.aio.StreamUnaryClientInterceptor):
    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    async def intercept_stream_unary(
        self,
        continuation: Callable[..., Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request_iterator: AsyncIterable[Any] | Iterable[Any],
    ) -> Any:
        details = _aio_details(client_call_details, client_call_details.timeout, self._metadata)
        call = await continuation(details, _each_identified(request_iterator))
        try:
            await call
        except grpc.RpcError as failed:
            raise of_call(failed) from None
        return call


def async_calls(metadata: Metadata = ()) -> tuple[grpc.aio.ClientInterceptor, ...]:
    """What makes the calls of asyncio: grpcio wants one interceptor for each kind of call."""
    return _AsyncUnary(metadata), _AsyncStream(metadata), _AsyncBulk(metadata)


async def _answers(call: Any) -> AsyncIterator[Any]:
    try:
        async for answer in call:
            yield answer
    except grpc.RpcError as error:
        raise of_call(error) from None
    finally:
        call.cancel()


async def _each_identified(requests: AsyncIterable[Any] | Iterable[Any]) -> AsyncIterator[Any]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield identified(request)
        return
    for request in requests:
        yield identified(request)


def _failure(raised: BaseException | None, request_id: str) -> ClearingError | None:
    if raised is None:
        return None
    if isinstance(raised, grpc.RpcError):
        return of_call(raised, request_id)
    raise raised


def _details(given: Any, timeout_s: float | None, metadata: Metadata) -> Any:
    more = (*(given.metadata or ()), *metadata)
    return Details(given.method, timeout_s, more, given.credentials, given.wait_for_ready, given.compression)


def _aio_details(given: Any, timeout_s: float | None, metadata: Metadata) -> grpc.aio.ClientCallDetails:
    more = grpc.aio.Metadata(*(given.metadata or ()), *metadata)
    return grpc.aio.ClientCallDetails(given.method, timeout_s, more, given.credentials, given.wait_for_ready)
