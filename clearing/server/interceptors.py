"""The one door of the interface: who calls, in which role, and whether it is about what is the caller's own.

Steps of a call, each of which refuses:

1. The certificate that TLS verified says who calls, and for this house. It has not expired and was not revoked,
   which may have happened while its connection was open.
2. The method names the caller's role among those allowed.
3. The method says how far it reaches. If it is about what one caller owns, the field that names it must name
   something of this caller, unless its role sees all.
4. The house is not about to stop: health is still told, all else is refused (``drain``).
5. The service answers; whatever it raises becomes a status in ``errors``.

A method without options and an unknown reach are closed. Of a stream of requests each is admitted by itself, and
streams have threads of their own. Health and reflection say nothing of anyone and are open to every identity of the
house.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from clearing.model.house import House
from clearing.model.ids import AccountKey, member_of
from clearing.server.calls import caller_of, require_good
from clearing.server.drain import Drain
from clearing.server.errors import Fault, Refused, to_status
from clearing.server.identity import Identity, Role
from clearing.server.wire import names
from clearing.server.wire.violations import RequestInvalid, Violations
from clearinghouse.v1 import options_pb2
from ledger.require import InvariantViolated

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Behaviour: TypeAlias = Callable[[Any, grpc.ServicerContext], Any]

STREAMS_MAX = 256
"""Open streams of all callers together. Each keeps a thread of a pool of their own, so none keeps a call waiting."""
REFUSALS_AT_ONCE = 16
"""Threads in which streams that find no place are told so."""

OPEN_SERVICES = ("/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/")
"""Standard services of grpcio: they have no options of ours."""

_ROLES: Mapping[int, Role] = {
    options_pb2.ROLE_MEMBER: Role.MEMBER,
    options_pb2.ROLE_REGULATOR: Role.REGULATOR,
    options_pb2.ROLE_ADMINISTRATOR: Role.ADMINISTRATOR,
    options_pb2.ROLE_PRICE_SOURCE: Role.PRICE_SOURCE,
    options_pb2.ROLE_LIQUIDITY_PROVIDER: Role.LIQUIDITY_PROVIDER,
    options_pb2.ROLE_CUSTODIAN: Role.CUSTODIAN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a method's options say: who may call it, how far it reaches, which field names its owner."""

    allowed: frozenset[Role]
    reach: int
    own: str
    requests: bool = False
    """Whether requests come as a stream, in which each is admitted by itself."""


CLOSED = Access(allowed=frozenset(), reach=options_pb2.REACH_UNSPECIFIED, own="")
ANY_IDENTITY = Access(allowed=frozenset(Role), reach=options_pb2.REACH_EVERYONE, own="")


def access_of(method: MethodDescriptor) -> Access:
    """The access that the options of ``method`` give."""
    options = method.GetOptions()
    return Access(
        allowed=frozenset(_ROLES[role] for role in options.Extensions[options_pb2.allowed] if role in _ROLES),
        reach=options.Extensions[options_pb2.reach],
        own=options.Extensions[options_pb2.own],
        requests=method.client_streaming,
    )


def accesses(services: Iterable[ServiceDescriptor]) -> dict[str, Access]:
    """The access of every method, by the path under which it is called."""
    return {
        f"/{service.full_name}/{method.name}": access_of(method)
        for service in services
        for method in service.methods
    }


class Authority(grpc.ServerInterceptor):
    """Guards every method of a server."""

    def __init__(
        self,
        house: str,
        methods: Mapping[str, Access],
        state: Callable[[], House],
        clock: Callable[[], int],
        drain: Drain,
    ) -> None:
        self._house, self._methods, self._state, self._clock = house, methods, state, clock
        self._drain = drain
        self._streams = threading.BoundedSemaphore(STREAMS_MAX)
        self._pool = ThreadPoolExecutor(STREAMS_MAX + REFUSALS_AT_ONCE, thread_name_prefix="stream")
        self._log = structlog.get_logger()

    def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Handler | None]",
        details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Put the guard in front of the method's handler; grpcio answers UNIMPLEMENTED when there is none."""
        handler = continuation(details)
        if handler is None:
            return None
        path = details.method
        access = ANY_IDENTITY if path.startswith(OPEN_SERVICES) else self._methods.get(path, CLOSED)
        return self._guard(handler, path, access)

    def _guard(self, handler: "Handler", path: str, access: Access) -> "Handler":
        """The same handler with its one behaviour guarded."""
        if handler.request_streaming and handler.response_streaming:
            stream = self._guarded_stream(_there(handler.stream_stream), path, access)
            return _rebuilt(grpc.stream_stream_rpc_method_handler, stream, handler)
        if handler.request_streaming:
            call = self._guarded_call(_there(handler.stream_unary), path, access)
            return _rebuilt(grpc.stream_unary_rpc_method_handler, call, handler)
        if handler.response_streaming:
            stream = self._guarded_stream(_there(handler.unary_stream), path, access)
            return _rebuilt(grpc.unary_stream_rpc_method_handler, stream, handler)
        call = self._guarded_call(_there(handler.unary_unary), path, access)
        return _rebuilt(grpc.unary_unary_rpc_method_handler, call, handler)

    def _guarded_call(self, behaviour: Behaviour, path: str, access: Access) -> Behaviour:
        def call(request: Any, context: grpc.ServicerContext) -> Any:
            with _statuses(context):
                self._admit(request, context, path, access)
                with nullcontext() if access is ANY_IDENTITY else self._drain.inside():
                    return behaviour(request, context)

        def bulk(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
            with _statuses(context):
                self._admit(None, context, path, access)
                with self._stream_place(), self._drain.inside():
                    return behaviour(self._each(requests, context, path, access), context)

        return self._streaming(bulk) if access.requests else call

    def _guarded_stream(self, behaviour: Behaviour, path: str, access: Access) -> Behaviour:
        def call(request: Any, context: grpc.ServicerContext) -> Any:
            with _statuses(context):
                self._admit(request, context, path, access)
                with self._stream_place():
                    yield from behaviour(request, context)

        def talk(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
            with _statuses(context):
                self._admit(None, context, path, access)
                with self._stream_place():
                    yield from behaviour(self._each(requests, context, path, access), context)

        return self._streaming(talk if access.requests else call)

    def _streaming(self, behaviour: Behaviour) -> Behaviour:
        """The same in the pool for streams; grpcio reads this attribute."""
        vars(behaviour)["experimental_thread_pool"] = self._pool
        return behaviour

    def _each(
        self, requests: Iterator[Any], context: grpc.ServicerContext, path: str, access: Access
    ) -> Iterator[Any]:
        """The requests of a stream, each admitted by itself before the service sees it."""
        for request in requests:
            self._admit(request, context, path, access)
            yield request

    @contextmanager
    def _stream_place(self) -> Iterator[None]:
        """One of the places for open streams, each of which keeps a thread. Raises :class:`Refused`."""
        if not self._streams.acquire(blocking=False):
            raise Refused(Fault.STREAMS_TAKEN, f"{STREAMS_MAX} are open")
        try:
            yield
        finally:
            self._streams.release()

    def _admit(self, request: Any, context: grpc.ServicerContext, path: str, access: Access) -> None:
        """Steps 1 to 3. Raises :class:`Refused` or :class:`RequestInvalid`, and logs a denial.

        ``request`` is None when a stream begins: it may send none for long, and the caller is known already.
        """
        caller: Identity | None = None
        try:
            caller = caller_of(context)
            self._require_house(caller)
            require_good(caller, self._state(), self._clock())
            _require_role(caller, access)
            if request is not None:
                self._require_reach(caller, access, request)
        except Refused as refused:
            actor = "" if caller is None else caller.actor
            self._log.warning("denied", method=path, caller=actor, reason=refused.reason)
            raise

    def _require_house(self, caller: Identity) -> None:
        if caller.house != self._house:
            raise Refused(Fault.IDENTITY_REFUSED, f"the certificate is for the house {caller.house}")

    def _require_reach(self, caller: Identity, access: Access, request: Any) -> None:
        if access.reach == options_pb2.REACH_EVERYONE:
            return
        if access.reach not in {options_pb2.REACH_OWN, options_pb2.REACH_FILTERED}:
            raise Refused(Fault.METHOD_CLOSED)
        if caller.sees_all:
            return
        named = getattr(request, access.own) if access.own else names.ALL_MEMBERS
        if access.reach == options_pb2.REACH_FILTERED and named == names.ALL_MEMBERS:
            return
        if not any(caller.owns(name) for name in owners(named, self._state())):
            _require_well_named(request, access.own)
            raise Refused(Fault.NOT_YOURS, f"{access.own} is not under the name of {caller.name}")


def owners(name: str, house: House) -> tuple[str, ...]:
    """The names that own ``name``: for a netting set the members of its accounts, else ``name`` itself."""
    if not names.is_netting_set(name):
        return (name,)
    set_id = names.set_id(name)
    netting_set = house.netting_sets.get(set_id)
    keys = (set_id,) if netting_set is None else netting_set.accounts
    return tuple(names.member(member_of(AccountKey(key))) for key in keys)


@contextmanager
def _statuses(context: grpc.ServicerContext) -> Iterator[None]:
    """End the call with the status of whatever is raised inside."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  # the last door: `to_status` names what it was, or logs it
        status = to_status(error)
    else:
        return
    context.abort_with_status(status)


def _require_role(caller: Identity, access: Access) -> None:
    if not access.allowed:
        raise Refused(Fault.METHOD_CLOSED)
    if caller.role not in access.allowed:
        allowed = ", ".join(sorted(role.value for role in access.allowed))
        raise Refused(Fault.ROLE_NOT_ALLOWED, f"it is for: {allowed}; you are {caller.name}")


def _require_well_named(request: Message, field: str) -> None:
    """A field that names nothing at all is not a foreign thing but a malformed request."""
    violations = Violations(request)
    if field in violations.fields:
        raise RequestInvalid(violations.fields)


def _there(behaviour: Behaviour | None) -> Behaviour:
    if behaviour is None:
        raise InvariantViolated("a handler has the behaviour of its kind")
    return behaviour


def _rebuilt(make: Callable[..., "Handler"], behaviour: Behaviour, handler: "Handler") -> "Handler":
    return make(
        behaviour,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
