"""What becomes of every call, told once to all who keep something of it: the log, the metrics, the traces.

Rules kept here: of a request nothing is kept but its id, and that only if it is well formed; so no amount, key or body
reaches a log. A mutation and every refusal is a line at `info` (a denial at `warning`), a read at `debug`. Of refusals
for lack of room one line a second is written for each caller and reason, which says how many there were: a flood of
calls is not a flood of lines.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc
import structlog

from clearing.model.ids import REQUEST_PATTERN
from clearing.server.errors import refusal_of, to_status
from clearing.server.identity import Identity

DENIALS = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})
SILENT_S = 1.0
TOLD_MAX = 1_000
"""Pairs of caller and reason of which is remembered when they were last told."""


@dataclass(slots=True)
class Call:
    """A call, and what became of it when it is over."""

    method: str
    """The path under which it was called; one that is served."""
    is_stream: bool = False
    caller: Identity | None = None
    request_id: str = ""
    code: grpc.StatusCode = grpc.StatusCode.OK
    reason: str = ""
    began_ns: int = field(default_factory=time.time_ns)
    seconds: float = 0.0

    @property
    def actor(self) -> str:
        """The caller's name, empty for one that is nobody."""
        return "" if self.caller is None else self.caller.actor

    @property
    def role(self) -> str:
        """The caller's role, empty for one that is nobody."""
        return "" if self.caller is None else self.caller.role.value

    def asks(self, request: Any) -> None:
        """Keep the id of ``request``, if it has a good one."""
        own: str = getattr(request, "request_id", "")
        if own and REQUEST_PATTERN.fullmatch(own):
            self.request_id = own


Told: TypeAlias = Callable[[Call], None]


@contextmanager
def watched(call: Call, context: grpc.ServicerContext, told: Sequence[Told]) -> Iterator[None]:
    """Answer with the status of whatever is raised inside, and tell of ``call`` when it is over."""
    began = time.perf_counter()
    status: grpc.Status | None = None
    try:
        yield
    except (grpc.RpcError, GeneratorExit):
        call.code = grpc.StatusCode.CANCELLED  # by the caller; grpcio wants its own error back
        raise
    except Exception as error:  # noqa: BLE001  # the last door: `refusal_of` names what it was, or logs it
        refusal = refusal_of(error)
        call.code, call.reason, status = refusal.code, refusal.reason, to_status(refusal)
    finally:
        call.seconds = time.perf_counter() - began
        for tell in told:
            tell(call)
    if status is not None:
        context.abort_with_status(status)


class Log:
    """Writes a line for a call."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._silent: dict[tuple[str, str], tuple[float, int]] = {}
        self._log = structlog.get_logger()

    def __call__(self, call: Call) -> None:
        """Tell of ``call``."""
        if call.code is grpc.StatusCode.OK:
            level = logging.INFO if call.request_id else logging.DEBUG
            if self._log.is_enabled_for(level):
                self._log.log(level, "call", **_words(call))
        elif call.code in DENIALS:
            self._log.warning("denied", **_words(call))
        elif call.code is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            self._log.info("refused", **_words(call))
        elif (times := self._times(call)) > 0:
            self._log.info("refused", **_words(call), times=times)

    def _times(self, call: Call) -> int:
        """Refusals like this one since the last line, if one is due; else 0."""
        about, now = (call.actor, call.reason), self._clock()
        with self._lock:
            last, left_out = self._silent.get(about, (now - SILENT_S, 0))
            if now - last < SILENT_S:
                self._silent[about] = last, left_out + 1
                return 0
            if len(self._silent) >= TOLD_MAX:
                self._silent.clear()
            self._silent[about] = now, 0
        return left_out + 1


def _words(call: Call) -> dict[str, object]:
    words: dict[str, object] = {
        "method": call.method,
        "caller": call.actor,
        "code": call.code.name,
        "ms": round(call.seconds * 1_000, 1),
    }
    if call.request_id:
        words["request_id"] = call.request_id
    if call.reason:
        words["reason"] = call.reason
    return words
