"""The one door of the interface: who calls, in which role, and whether it is about what is the caller's own.

Steps of a call, each of which refuses:

1. There is a place for one more call, or stream. A few threads do nothing but say that there is none.
2. The certificate that TLS verified says who calls, and for this house; it is not over and was not revoked.
3. The caller has not used up its allowance (``limits``), and has not too much open.
4. The method names the caller's role among those allowed.
5. The request comes, in time and well formed. Until here a call has cost next to nothing.
6. The method says how far it reaches. If it is about what one caller owns, the field that names it must name
   something of this caller, unless its role may name all. A regulator with a grant names what is of its members, and
   has no method that is about all members together.
7. The house is not about to stop: health is still told, all else is refused (``drain``).
8. The service answers; whatever it raises becomes a status in ``errors``, and ``watch`` tells of it.

So that steps 2 to 4 come before the request, each method is handed to grpcio as one that takes a stream: on the wire
it is the same. A method without options and an unknown reach are closed. Of a stream of requests each is admitted by
itself, and streams have threads of their own. Health and reflection say nothing of anyone and are open to every
identity of the house.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message

from clearing.model.house import House
from clearing.model.ids import AccountKey, member_of
from clearing.server.calls import admit, certified, require_good, scoped
from clearing.server.drain import Drain
from clearing.server.errors import Fault, Refused
from clearing.server.identity import Identity, Role
from clearing.server.limits import CALL_COST, NS, Limits, RateLimited, further_cost
from clearing.server.pools import Pool
from clearing.server.watch import Call, Log, Told, watched
from clearing.server.wire import names
from clearing.server.wire.violations import RequestInvalid, Violations
from clearinghouse.v1 import options_pb2
from ledger.require import InvariantViolated

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Behaviour: TypeAlias = Callable[[Any, grpc.ServicerContext], Any]
Parse: TypeAlias = Callable[[bytes], Any]

CALLS_AT_ONCE = 64
"""Threads: as many callers may wait for one commit, which they then share."""
CALLS_MAX = 512
"""Calls that run or wait for a thread: at full load the last of them waits for some tenths of a second."""
STREAMS_MAX = 256
"""Open streams of all callers together. Each keeps a thread of a pool of their own, so none keeps a call waiting."""
REFUSALS_AT_ONCE = 4
REFUSALS_MAX = 1_024
"""Calls that are about to be told that there is no place; beyond them grpcio itself refuses, without a reason."""
REQUEST_WAIT_S = 10.0
"""A call whose request has not come by then is ended when others come: it keeps a thread."""

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


CLOSED = Access(allowed=frozenset(), reach=options_pb2.REACH_UNSPECIFIED, own="")
ANY_IDENTITY = Access(allowed=frozenset(Role), reach=options_pb2.REACH_EVERYONE, own="")


def access_of(method: MethodDescriptor) -> Access:
    """The access that the options of ``method`` give."""
    options = method.GetOptions()
    return Access(
        allowed=frozenset(_ROLES[role] for role in options.Extensions[options_pb2.allowed] if role in _ROLES),
        reach=options.Extensions[options_pb2.reach],
        own=options.Extensions[options_pb2.own],
    )


def accesses(services: Iterable[ServiceDescriptor]) -> dict[str, Access]:
    """The access of every method, by the path under which it is called."""
    return {
        f"/{service.full_name}/{method.name}": access_of(method)
        for service in services
        for method in service.methods
    }


LONG = frozenset(
    f"/clearinghouse.v1.{name}"
    for name in (
        *("EventService/ListEvents", "LedgerService/ListEntries", "LedgerService/GetTrialBalance"),
        *("MarginService/WhatIf", "MarginService/PreviewDefault"),
        *("MarginService/GetPoolCoverage", "MarginService/GetReverseStress", "MarginService/GetContagion"),
    )
)
"""Methods that may go through much of the journal to find little, or decide beside the writer. So does every request
that says ``validate_only``.
"""
STANDARD: Mapping[str, Access] = dict.fromkeys(OPEN_SERVICES, ANY_IDENTITY)


class Patience:
    """Ends calls whose request does not come.

    It looks when a call comes: while none does, nobody misses the threads that wait.
    """

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._since: dict[grpc.ServicerContext, int] = {}
        self._looked = clock()

    @contextmanager
    def wait(self, context: grpc.ServicerContext) -> Iterator[None]:
        """The block waits for the request of a call."""
        self._since[context] = self._clock()
        try:
            yield
        finally:
            del self._since[context]

    def look(self) -> None:
        """Once a second, end the calls that have waited too long."""
        now = self._clock()
        if now - self._looked < NS:
            return
        self._looked = now
        for context, since in tuple(self._since.items()):
            if now - since >= REQUEST_WAIT_S * NS:
                context.cancel()


@dataclass(frozen=True, slots=True)
class _Guarded:
    """A method behind the door: its handler, the threads that run it, and what says that they are taken."""

    handler: "Handler"
    pool: Pool
    full: "Handler"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """What the door knows of the house behind it: its name, its state, its clock, and whether it is about to stop."""

    house: str
    state: Callable[[], House]
    clock: Callable[[], int]
    drain: Drain


class Authority(grpc.ServerInterceptor):
    """Guards every method of a server, whose threads are ``calls``; ``told`` hear of every call."""

    def __init__(
        self,
        inside: Inside,
        methods: Mapping[str, Access],
        *,
        limits: Limits | None = None,
        told: Sequence[Told] | None = None,
        standard: Mapping[str, Access] = STANDARD,
    ) -> None:
        self._inside, self._methods, self._standard = inside, methods, standard
        self._limits = Limits() if limits is None else limits
        self._told = (Log(),) if told is None else told
        self._patience = Patience()
        self._guarded: dict[str, _Guarded] = {}
        self.calls = Pool("call", threads=CALLS_AT_ONCE, places=CALLS_MAX)
        self.streams = Pool("stream", threads=STREAMS_MAX, places=STREAMS_MAX)
        self._refusals = Pool("refusal", threads=REFUSALS_AT_ONCE, places=REFUSALS_MAX)

    @property
    def places(self) -> int:
        """Calls of all kinds that may be there at once: the last wall, which grpcio keeps."""
        return self.calls.places + self.streams.places + self._refusals.places

    def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Handler | None]",
        details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Put the guard in front of the method's handler; grpcio answers UNIMPLEMENTED when there is none.

        One thread does this for all calls, so it does as little as it can.
        """
        self._patience.look()
        guarded = self._guarded.get(details.method)
        if guarded is None:
            handler = continuation(details)
            if handler is None:
                return None
            guarded = self._guarded[details.method] = self._guard(handler, details.method)
        return guarded.full if guarded.pool.is_full else guarded.handler  # step 1

    def _guard(self, handler: "Handler", path: str) -> _Guarded:
        """The same handler with its one behaviour guarded."""
        access = next((a for prefix, a in self._standard.items() if path.startswith(prefix)), None)
        access = access or self._methods.get(path, CLOSED)
        behaviour, parse = _behaviour(handler), handler.request_deserializer or bytes
        is_stream = handler.request_streaming or handler.response_streaming
        make: Callable[..., Handler] = grpc.stream_unary_rpc_method_handler
        if handler.response_streaming:
            make = grpc.stream_stream_rpc_method_handler
        if not is_stream:
            guarded = self._guarded_call(behaviour, path, access, parse)
        elif handler.response_streaming:
            guarded = self._guarded_stream(behaviour, path, access, parse, bulk=handler.request_streaming)
        else:
            guarded = self._guarded_bulk(behaviour, path, access, parse)
        pool, fault = (self.streams, Fault.STREAMS_TAKEN) if is_stream else (self.calls, Fault.OVERLOADED)
        return _Guarded(
            make(_in_pool(guarded, pool), None, handler.response_serializer),
            pool,
            grpc.stream_unary_rpc_method_handler(_in_pool(self._full(path, fault), self._refusals)),
        )

    def _guarded_call(self, behaviour: Behaviour, path: str, access: Access, parse: Parse) -> Behaviour:
        def call(requests: Iterator[bytes], context: grpc.ServicerContext) -> Any:
            watching = Call(path)
            with watched(watching, context, self._told):
                caller = self._admit(None, context, watching, access)
                with self._limits.call(caller):
                    request = self._only(requests, context, parse)
                    self._take(caller, watching, access, request)
                    with self._long(caller, path, request), self._staying(access):
                        return behaviour(request, context)

        return call

    def _guarded_bulk(self, behaviour: Behaviour, path: str, access: Access, parse: Parse) -> Behaviour:
        def bulk(requests: Iterator[bytes], context: grpc.ServicerContext) -> Any:
            watching = Call(path, is_stream=True)
            with watched(watching, context, self._told):
                caller = self._admit(None, context, watching, access)
                with self._limits.stream(caller), self._staying(access):
                    return behaviour(self._each(requests, context, watching, access, parse), context)

        return bulk

    def _guarded_stream(
        self, behaviour: Behaviour, path: str, access: Access, parse: Parse, *, bulk: bool
    ) -> Behaviour:
        def stream(requests: Iterator[bytes], context: grpc.ServicerContext) -> Any:
            watching = Call(path, is_stream=True)
            with watched(watching, context, self._told):
                caller = self._admit(None, context, watching, access)
                with self._limits.stream(caller):
                    if bulk:
                        yield from behaviour(self._each(requests, context, watching, access, parse), context)
                        return
                    request = self._only(requests, context, parse)
                    self._take(caller, watching, access, request)
                    yield from behaviour(request, context)

        return stream

    def _full(self, path: str, fault: Fault) -> Behaviour:
        """Says that there is no place, without waiting for the request."""

        def refuse(_requests: Iterator[bytes], context: grpc.ServicerContext) -> None:
            watching = Call(path, is_stream=fault is Fault.STREAMS_TAKEN)
            with watched(watching, context, self._told):
                watching.caller = certified(context)
                raise Refused(fault)

        return refuse

    def _only(self, requests: Iterator[bytes], context: grpc.ServicerContext, parse: Parse) -> Any:
        """The request of a call that sends one. Raises :class:`Refused`."""
        with self._patience.wait(context):
            sent = next(requests, None)
        if sent is None:
            raise Refused(Fault.REQUEST_INVALID, "the call ended without one")
        return _parsed(sent, parse)

    def _each(
        self,
        requests: Iterator[bytes],
        context: grpc.ServicerContext,
        watching: Call,
        access: Access,
        parse: Parse,
    ) -> Iterator[Any]:
        """The requests of a stream, each admitted by itself before the service sees it, none faster than allowed.

        One that the caller cuts off ends here: nobody waits for what the service makes of it.
        """
        while (sent := _next(requests)) is not None:
            request = _parsed(sent, parse)
            caller = self._admit(request, context, watching, access)
            self._pay_in_time(caller, CALL_COST + further_cost(elements_of(request)), context)
            yield request

    def _pay_in_time(self, caller: Identity, cost: int, context: grpc.ServicerContext) -> None:
        """Wait until ``cost`` has a place in the caller's allowance, which ends at the latest with the call."""
        while context.is_active():
            try:
                self._limits.charge(caller, cost, time.monotonic_ns())
            except RateLimited as limited:
                time.sleep(min(limited.wait_ns / NS, 1.0))
            else:
                return

    def _admit(self, request: Any, context: grpc.ServicerContext, watching: Call, access: Access) -> Identity:
        """Steps 2 to 4 when a call begins, with None; of a stream steps 2, 4 and 6 for each ``request``.

        A stream may send none for long, and what is true of the caller may change while it is open. Raises
        :class:`Refused` or :class:`RequestInvalid`.
        """
        house, caller = self._inside.state(), certified(context)
        watching.caller = caller
        self._require_house(caller)
        require_good(caller, house, self._inside.clock())
        caller = scoped(caller, house)
        admit(context, caller)
        if request is None:
            self._limits.charge(caller, CALL_COST, time.monotonic_ns())
        _require_role(caller, access)
        if request is not None:
            self._require_reach(caller, access, request)
        return caller

    def _take(self, caller: Identity, watching: Call, access: Access, request: Any) -> None:
        """Step 6 for the request of a call that sends one; a batch costs more than the call."""
        watching.asks(request)
        further = further_cost(elements_of(request))
        if further:
            self._limits.charge(caller, further, time.monotonic_ns())
        self._require_reach(caller, access, request)

    def _long(self, caller: Identity, path: str, request: Any) -> AbstractContextManager[None]:
        """A call that keeps the processor busy for long takes one of fewer places besides."""
        is_long = path in LONG or getattr(request, "validate_only", False)
        return self._limits.long(caller) if is_long else nullcontext()

    def _staying(self, access: Access) -> AbstractContextManager[None]:
        """Step 7; streams of answers are ended by who stops the server."""
        is_standard = any(access is one for one in self._standard.values())
        return nullcontext() if is_standard else self._inside.drain.inside()

    def _require_house(self, caller: Identity) -> None:
        if caller.house != self._inside.house:
            raise Refused(Fault.IDENTITY_REFUSED, f"the certificate is for the house {caller.house}")

    def _require_reach(self, caller: Identity, access: Access, request: Any) -> None:
        if access.reach == options_pb2.REACH_EVERYONE:
            return
        if access.reach == options_pb2.REACH_HOUSE:
            _require_all(caller)
            return
        if access.reach not in {options_pb2.REACH_OWN, options_pb2.REACH_FILTERED}:
            raise Refused(Fault.METHOD_CLOSED)
        if caller.names_all:
            return
        named = getattr(request, access.own) if access.own else names.ALL_MEMBERS
        if access.reach == options_pb2.REACH_FILTERED and named == names.ALL_MEMBERS:
            return
        if not any(caller.reads(name) for name in owners(named, self._inside.state())):
            _require_well_named(request, access.own)
            raise Refused(Fault.NOT_YOURS, f"{access.own} is not under the name of {caller.actor}")


def owners(name: str, house: House) -> tuple[str, ...]:
    """The names that own ``name``: for a netting set the members of its accounts, else ``name`` itself."""
    if not names.is_netting_set(name):
        return (name,)
    set_id = names.set_id(name)
    netting_set = house.netting_sets.get(set_id)
    keys = (set_id,) if netting_set is None else netting_set.accounts
    return tuple(names.member(member_of(AccountKey(key))) for key in keys)


_REPEATED: dict[type[Message], tuple[str, ...]] = {}


def elements_of(request: Message) -> int:
    """How many elements the lists of ``request`` have."""
    named = _REPEATED.get(type(request))
    if named is None:
        fields = request.DESCRIPTOR.fields
        named = _REPEATED[type(request)] = tuple(field.name for field in fields if field.is_repeated)
    return sum(len(getattr(request, name)) for name in named)


def _next(requests: Iterator[Any]) -> Any:
    """The next request of a stream, or None when there is none; grpcio raises where a caller cut the stream off."""
    try:
        return next(requests, None)
    except grpc.RpcError:
        return None


def _require_role(caller: Identity, access: Access) -> None:
    if not access.allowed:
        raise Refused(Fault.METHOD_CLOSED)
    if caller.role not in access.allowed:
        allowed = ", ".join(sorted(role.value for role in access.allowed))
        raise Refused(Fault.ROLE_NOT_ALLOWED, f"it is for: {allowed}; you are {caller.actor}")


def _require_all(caller: Identity) -> None:
    if not caller.sees_all:
        raise Refused(Fault.GRANT_TOO_NARROW)


def _require_well_named(request: Message, field: str) -> None:
    """A field that names nothing at all is not a foreign thing but a malformed request."""
    violations = Violations(request)
    if field in violations.fields:
        raise RequestInvalid(violations.fields)


def _behaviour(handler: "Handler") -> Behaviour:
    kinds = (handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream)
    found = next((behaviour for behaviour in kinds if behaviour is not None), None)
    if found is None:
        raise InvariantViolated("a handler has the behaviour of its kind")
    return found


def _parsed(sent: bytes, parse: Parse) -> Any:
    try:
        return parse(sent)
    except DecodeError:
        raise Refused(Fault.REQUEST_INVALID, "these bytes are no message of its type") from None


def _in_pool(behaviour: Behaviour, pool: Pool) -> Behaviour:
    """The same in threads of ``pool``; grpcio reads this attribute."""
    vars(behaviour)["experimental_thread_pool"] = pool
    return behaviour
