"""The one door. Every write is a command that goes through :meth:`Engine.execute`.

The engine adds nothing to what the deciders decide: it hands them to the ledger's writer, waits for
the commit, and reads the answer that was recorded.
"""

import hashlib
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass

from clearing.decide.administrators import actor_id
from clearing.decide.table import Request, decide
from clearing.model.codec import from_text, to_text
from clearing.model.commands import Command
from clearing.model.house import House, fold
from clearing.model.ids import REQUEST_PATTERN
from clearing.model.outcomes import Outcome
from ledger.leaf import ByteSource
from ledger.store.connect import Database, Lease, OutcomeUnknown
from ledger.store.queries import Answered
from ledger.store.writer import Published, StoreUnavailable, Writer


class HouseStopped(Exception):
    """The house takes no more commands: its writer met a bug, or another process took the lease. Restart it."""


class DeadlinePassed(Exception):
    """The caller's time was over before the command was decided. Nothing was recorded; it may be sent again."""


class RequestIdMalformed(ValueError):
    """A request id has 1 to 128 characters of A–Z a–z 0–9 . _ : / - and begins with a letter or digit."""


class Engine:
    """The clearing house on one database, as long as it holds the lease.

    ``clock`` gives UTC milliseconds, ``salts`` is the byte source of the journal's salts. Raises
    ``LeaseHeld`` if another process is the writer. The journal is replayed before it returns.
    """

    def __init__(self, database: Database, *, clock: Callable[[], int], salts: ByteSource) -> None:
        self._clock = clock
        self._lease = Lease.acquire(database)
        try:
            self._writer: Writer[House, Request] = Writer(
                database, self._lease, apply=decide, fold=fold, empty=House(), clock=clock, salts=salts
            )
        except BaseException:
            self._lease.release()
            raise

    @property
    def view(self) -> Published[House]:
        """The newest committed state, and the size of the journal that led to it."""
        return self._writer.view

    @property
    def stopped(self) -> Exception | None:
        """Why the house stopped, or None while it works."""
        return self._writer.stopped

    @property
    def fault(self) -> Exception | None:
        """Why nothing can be recorded at the moment, or None as far as is known. It passes by itself."""
        return self._writer.fault

    @property
    def waiting(self) -> int:
        """About how many commands wait to be decided."""
        return self._writer.waiting

    def now_ms(self) -> int:
        """What the house's clock shows."""
        return self._clock()

    def heed(self, lag_ms: Callable[[], int]) -> None:
        """From now on, refuse commands while a history that is ``lag_ms()`` behind is too far behind."""
        self._writer.heed(lag_ms)

    def hold(self, why_not: Callable[[], str]) -> None:
        """From now on, refuse commands while ``why_not()`` gives a reason."""
        self._writer.hold(why_not)

    def execute(
        self,
        command: Command,
        *,
        request_id: str,
        actor: str,
        body: bytes | None = None,
        timeout_s: float | None = None,
    ) -> Outcome:
        """Decide ``command``, make it durable, and answer: :meth:`submit` and then the wait for its answer."""
        return self.submit(command, request_id=request_id, actor=actor, body=body).outcome(timeout_s)

    def submit(
        self, command: Command, *, request_id: str, actor: str, body: bytes | None = None
    ) -> "Pending":
        """Queue ``command``. The same request gets the same answer.

        ``body`` is what "the same request" means: the request as it came, or the command where none is given.
        Raises ``Overloaded``; what else can go wrong, the answer says.
        """
        if not REQUEST_PATTERN.fullmatch(request_id):
            raise RequestIdMalformed(request_id)
        request = Request(request_id=request_id, actor=actor, command=command)
        return Pending(self._writer, self._writer.submit(request_id, body_hash(request, body), request))

    def preview(self, command: Command, *, actor: str) -> tuple[Outcome, House]:
        """What ``command`` would be answered now, and the state that it would lead to. Nothing is recorded."""
        request = Request(request_id="preview", actor=actor, command=command)
        decision = decide(self.view.state, request, max(self._clock(), self.view.time_ms))
        return from_text(Outcome, decision.answer), decision.state

    def close(self) -> None:
        """Finish what waits, then give the lease back."""
        self._writer.close()
        self._lease.release()


@dataclass(frozen=True, slots=True)
class Pending:
    """A command on its way."""

    _writer: Writer[House, Request]
    _future: "Future[Answered]"

    def outcome(self, timeout_s: float | None = None) -> Outcome:
        """Wait until the command is durable, and answer.

        After ``timeout_s`` a command that is not being decided yet is taken back; one that is, is waited for.

        Raises ``RequestReused`` (same id, other body or actor), ``ClockWentBack``, ``StoreUnavailable`` and
        :class:`DeadlinePassed` (not recorded: may be sent again), ``OutcomeUnknown`` (sent again, it is answered what
        became of it) and :class:`HouseStopped`.
        """
        try:
            return from_text(Outcome, _in_time(self._future, timeout_s).answer)
        except (StoreUnavailable, OutcomeUnknown, DeadlinePassed):
            raise
        except Exception as error:
            if self._writer.stopped is not None:
                raise HouseStopped(str(error)) from error
            raise

    def decided(self, timeout_s: float) -> None:
        """Wait until the command is decided, whatever becomes of it."""
        wait([self._future], timeout_s)


def body_hash(request: Request, body: bytes | None = None) -> bytes:
    """SHA-256 over what "the same request" means: who asks, by whatever key, and the command.

    A ``body`` that is given comes with ids of one caller only.
    """
    if body is None:
        text = f"{actor_id(request.actor)}\n{type(request.command).__name__}\n{to_text(request.command)}"
        body = text.encode("ascii")
    return hashlib.sha256(body).digest()


def _in_time(future: "Future[Answered]", timeout_s: float | None) -> Answered:
    try:
        return future.result(timeout_s)
    except TimeoutError:
        if future.cancel():
            raise DeadlinePassed from None
    return future.result()
