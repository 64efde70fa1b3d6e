"""What one caller may take of the house, whatever it asks: how often, how much, how much at once.

Rules kept here: a caller is an identity, however many connections it has. Its allowance refills evenly and holds a
burst at most. A call costs ``CALL_COST`` and brings ``ELEMENTS_FREE`` elements of a batch; each further one costs 1.
A call that is denied costs as much as another, so that guessing is not free. A unary call beyond the allowance is
refused and told when to come back; a stream is read more slowly instead. Time is an argument, in nanoseconds that
never go back.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from clearing.server.errors import Fault, Refused
from clearing.server.identity import Identity, Role

CALL_COST = 10
ELEMENTS_FREE = 10
FURTHER_MAX = 2_000
"""No service takes so many elements: what costs more is refused for its length, not told to come back."""
CALLERS_MAX = 10_000
"""Callers that are remembered; of more, those are forgotten that were seen longest ago and have nothing open."""
LONG_AT_ONCE = 2
"""Of one caller's calls those that go through the journal or preview: each may keep the processor busy for a second."""
NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What a caller of one role may take."""

    per_second: int
    """Cost that is refilled in a second."""
    burst: int
    """Cost that a caller may spend at once after a pause; no single call may cost more."""
    calls: int
    """Calls at once. Half of the threads, so that one caller never has them all."""
    streams: int
    """Streams at once. Each keeps a thread."""


_READER = Allowance(per_second=2_000, burst=5_000, calls=16, streams=8)
ALLOWANCES: Mapping[Role, Allowance] = {
    Role.MEMBER: Allowance(per_second=10_000, burst=40_000, calls=32, streams=16),
    Role.LIQUIDITY_PROVIDER: _READER,
    Role.PRICE_SOURCE: _READER,
    Role.CUSTODIAN: Allowance(per_second=5_000, burst=10_000, calls=16, streams=8),
    Role.REGULATOR: _READER,
    Role.ADMINISTRATOR: _READER,
}
"""A member may make 1,000 calls a second or send 10,000 trades in batches; a source may publish 200 times a second."""


class RateLimited(Refused):
    """The caller has used its allowance; ``retry_ms`` says when this call has a place in it."""

    def __init__(self, wait_ns: int) -> None:
        super().__init__(Fault.RATE_LIMITED)
        self.wait_ns = wait_ns
        self.retry_ms = -(-wait_ns // 1_000_000)


@dataclass(slots=True)
class _Account:
    """What a caller has taken. ``paid_ns`` is when its allowance is or was full again."""

    paid_ns: int = 0
    calls: int = 0
    long: int = 0
    streams: int = 0

    @property
    def has_open(self) -> bool:
        return self.calls + self.streams > 0


class Limits:
    """The limits of one server; ``scale`` multiplies all of them."""

    def __init__(self, scale: int = 1) -> None:
        self._scale = scale
        self._lock = threading.Lock()
        self._accounts: OrderedDict[str, _Account] = OrderedDict()

    @property
    def callers(self) -> int:
        """How many callers are remembered."""
        return len(self._accounts)

    def charge(self, caller: Identity, cost: int, now_ns: int) -> None:
        """Take ``cost`` from the caller's allowance. Raises :class:`RateLimited`, and then takes nothing."""
        allowed = ALLOWANCES[caller.role]
        per_second = allowed.per_second * self._scale
        full_ns = allowed.burst * self._scale * NS // per_second
        with self._lock:
            account = self._account(caller)
            paid_ns = max(account.paid_ns, now_ns) + cost * NS // per_second
            wait_ns = paid_ns - now_ns - full_ns
            if wait_ns > 0:
                raise RateLimited(wait_ns)
            account.paid_ns = paid_ns

    @contextmanager
    def call(self, caller: Identity) -> Iterator[None]:
        """One of the caller's places for calls. Raises :class:`Refused`."""
        most = ALLOWANCES[caller.role].calls * self._scale
        with self._lock:
            account = self._account(caller)
            if account.calls >= most:
                raise Refused(Fault.CALLS_TAKEN, f"{most} of yours are running")
            account.calls += 1
        try:
            yield
        finally:
            with self._lock:
                account.calls -= 1

    @contextmanager
    def long(self, caller: Identity) -> Iterator[None]:
        """One of the caller's places for calls that take long. Raises :class:`Refused`."""
        most = LONG_AT_ONCE * self._scale
        with self._lock:
            account = self._account(caller)
            if account.long >= most:
                raise Refused(Fault.CALLS_TAKEN, f"{most} of yours go through the journal or preview")
            account.long += 1
        try:
            yield
        finally:
            with self._lock:
                account.long -= 1

    @contextmanager
    def stream(self, caller: Identity) -> Iterator[None]:
        """One of the caller's places for streams. Raises :class:`Refused`."""
        most = ALLOWANCES[caller.role].streams * self._scale
        with self._lock:
            account = self._account(caller)
            if account.streams >= most:
                raise Refused(Fault.STREAMS_TAKEN, f"{most} of yours are open")
            account.streams += 1
        try:
            yield
        finally:
            with self._lock:
                account.streams -= 1

    def _account(self, caller: Identity) -> _Account:
        """The caller's account, now the newest. The lock is held."""
        account = self._accounts.get(caller.actor)
        if account is None:
            if len(self._accounts) >= CALLERS_MAX:
                self._forget_one()
            account = self._accounts[caller.actor] = _Account()
        self._accounts.move_to_end(caller.actor)
        return account

    def _forget_one(self) -> None:
        """Forget who was seen longest ago; few have something open, so the search is short."""
        found = next((actor for actor, account in self._accounts.items() if not account.has_open), None)
        if found is not None:
            del self._accounts[found]


def further_cost(elements: int) -> int:
    """What a batch costs beside its call."""
    return min(max(elements - ELEMENTS_FREE, 0), FURTHER_MAX)
