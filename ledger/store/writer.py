"""The single writer: queue, group commit, publication. It exists once, for whatever state it is given.

1. Commands wait in a queue. The writer's thread takes all that wait (up to ``GROUP_MAX``).
2. A command whose request id was answered before gets that answer again (same body) or a refusal
   (another body). It is never decided twice.
3. The others are decided one after the other, each on the state that the one before left.
4. One transaction writes the segment, checks the epoch, and writes the answers. A group in which
   everything was refused writes answers and no segment.
5. After the commit the new state is published, and only then are callers answered.
6. If the store fails, the decided state is dropped. If the COMMIT itself failed, the store is read to
   learn whether it happened, and the answer follows what is on disk. If that cannot be read either, callers
   are told that it is not known, and nothing is decided until it is.
7. A writer that lost the lock, or the outcome of a commit, goes on by itself when the store is back: it takes
   the lease again, reads what became of that commit, and sees that the journal ends where it should.
   It stops for good if somebody else had the lease meanwhile, or if the journal is another one.
8. If a decider breaks an invariant, the writer stops for good: nothing after a bug is written.
9. Every command that was taken is answered, whatever happens. Until its own decision begins its caller may
   cancel it: then it leaves no trace, and may be sent again with the same id.
"""

import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import Generic, TypeAlias, TypeVar

from sqlalchemy import Connection, Engine, insert
from sqlalchemy.exc import SQLAlchemyError

from ledger.decision import Decision
from ledger.leaf import ByteSource, RecordMalformed
from ledger.merkle import EMPTY_ROOT, Frontier
from ledger.require import InvariantViolated, require
from ledger.seal import salts_used, seal
from ledger.store.connect import (
    Lease,
    LeaseHeld,
    LeaseLost,
    LockLost,
    OutcomeUnknown,
    first_line,
    transaction,
)
from ledger.store.differs import Differs, JournalDiffers
from ledger.store.queries import (
    Answered,
    Directory,
    Segment,
    answered_size,
    find_answers,
    last_segment,
    read_segments,
)
from ledger.store.tables import requests, segments
from ledger.transfers import Record, count

GROUP_MAX = 1_000
"""Commands in one commit."""
LAG_MAX_MS = 2_000
"""How far the history may be behind (performance.md)."""
WAITING_MAX = 10_000
"""Commands in the queue; one more is refused."""
GROUP_ENTRIES = 8_192
"""A group that has so many entries takes no further command: callers of small ones wait for each other."""
LOOK_S = 1.0
"""How often a writer to which no command comes looks whether it still holds the lease."""
RETRY_S = 0.5
"""How often it looks whether a store that failed is back."""
REQUEST_ID_PATTERN = re.compile(r"[!-~]{1,128}", re.ASCII)
BODY_HASH_BYTES = 32

S = TypeVar("S")
C = TypeVar("C")
Apply: TypeAlias = "Callable[[S, C, int], Decision[S]]"
Fold: TypeAlias = "Callable[[S, Record], S]"


class StoreUnavailable(Exception):
    """The command was not recorded. It may be sent again with the same request id."""


class RequestReused(Exception):
    """The request id was used before with another body."""


class Overloaded(Exception):
    """Too much waits already. The command was not recorded; send it again in a moment, with the same id."""


class ClockWentBack(Exception):
    """The clock shows a time before the last recorded entry. Nothing is written until it has caught up."""


@dataclass(frozen=True, slots=True)
class Published(Generic[S]):
    """What readers see: a state and how far the journal reached when it was published."""

    state: S
    frontier: Frontier
    salts: int
    time_ms: int

    @property
    def size(self) -> int:
        """How many entries led to this state."""
        return self.frontier.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting(Generic[C]):
    """A command on its way: ``body_hash`` is the SHA-256 of the command as it came."""

    request_id: str
    body_hash: bytes
    command: C
    future: "Future[Answered]" = field(default_factory=Future)

    def begin(self) -> bool:
        """From now on nobody can cancel it. False if somebody has, or if it is answered."""
        future = self.future
        return not future.done() and (future.running() or future.set_running_or_notify_cancel())


@dataclass(slots=True)
class _Group(Generic[S, C]):
    """What one commit will make true."""

    view: Published[S]
    entries: list[Record] = field(default_factory=list)
    count: int = 0
    answers: dict[str, Answered] = field(default_factory=dict)
    fresh: dict[str, Waiting[C]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Attempt(Generic[S, C]):
    """A commit as it was tried."""

    segment: Segment | None
    group: _Group[S, C]


class _Rehearsed(Exception):
    """The store would take it: roll it back."""


class Writer(Generic[S, C]):
    """Decides commands in one thread and makes them durable in groups.

    ``apply`` is the pure decider, ``fold`` replays one recorded entry, ``empty`` is the state before
    the first. ``clock`` gives UTC milliseconds; ``salts`` is the byte source of the legs' salts. The journal in
    ``engine`` is replayed before the constructor returns.
    """

    def __init__(
        self,
        engine: Engine,
        lease: Lease,
        *,
        apply: "Apply[S, C]",
        fold: "Fold[S]",
        empty: S,
        clock: Callable[[], int],
        salts: ByteSource,
    ) -> None:
        self._engine, self._lease = engine, lease
        self._apply, self._fold, self._empty = apply, fold, empty
        self._clock, self._salts = clock, salts
        self._lag_ms: Callable[[], int] = lambda: 0
        self._why_not: Callable[[], str] = lambda: ""
        self._stopped: Exception | None = None
        self._fault: Exception | None = None
        self._is_blocked = False
        self._open: _Attempt[S, C] | None = None
        self._refused: _Attempt[S, C] | None = None
        self._queue: SimpleQueue[Waiting[C] | None] = SimpleQueue()
        self._door, self._closed = threading.Lock(), False
        self._view = self._replay()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    @property
    def view(self) -> Published[S]:
        """The newest published state; immutable, so it may be read at leisure."""
        return self._view

    @property
    def stopped(self) -> Exception | None:
        """Why the writer takes no more commands, or None while it does."""
        return self._stopped

    @property
    def fault(self) -> Exception | None:
        """Why nothing can be written at the moment, or None as far as is known. It passes by itself."""
        return self._fault

    @property
    def waiting(self) -> int:
        """About how many commands are in the queue."""
        return self._queue.qsize()

    def heed(self, lag_ms: Callable[[], int]) -> None:
        """From now on, take no command while ``lag_ms()``, how far a reader is behind, is past ``LAG_MAX_MS``."""
        self._lag_ms = lag_ms

    def hold(self, why_not: Callable[[], str]) -> None:
        """From now on, take no command while ``why_not()`` gives a reason."""
        self._why_not = why_not

    def submit(self, request_id: str, body_hash: bytes, command: C) -> "Future[Answered]":
        """Queue a command. The future fails with the exceptions of this module or gives the answer.

        A caller that will not wait any longer cancels it: if it could, nothing was decided and nothing will be;
        if it could not, the answer follows with the commit. Raises :class:`Overloaded`,
        :class:`StoreUnavailable` (see :meth:`hold`), and ``ValueError`` unless the request id has 1 to 128
        printable ASCII characters and the hash 32 bytes.
        """
        if not REQUEST_ID_PATTERN.fullmatch(request_id):
            raise ValueError(f"not a request id: {request_id!r}")
        if len(body_hash) != BODY_HASH_BYTES:
            raise ValueError(f"a body hash has {BODY_HASH_BYTES} bytes, not {len(body_hash)}")
        self._require_room()
        waiting: Waiting[C] = Waiting(request_id=request_id, body_hash=body_hash, command=command)
        with self._door:
            if self._closed:
                waiting.future.set_exception(StoreUnavailable("the writer is closed"))
            else:
                self._queue.put(waiting)
        return waiting.future

    def _require_room(self) -> None:
        lag_ms = self._lag_ms()
        if lag_ms > LAG_MAX_MS:
            raise Overloaded(f"the history is {lag_ms} ms behind the journal")
        if why_not := self._why_not():
            raise StoreUnavailable(why_not)
        if self._queue.qsize() >= WAITING_MAX:
            raise Overloaded(f"{WAITING_MAX} commands wait already")

    def close(self) -> None:
        """Finish what is queued and stop. A second call does nothing."""
        with self._door:
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    # the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while (group := self._take()) is not None:
            try:
                if self._stopped is None and group:
                    self._write(group)
                elif self._stopped is None:
                    self._look()
            except BaseException as error:  # noqa: BLE001  # the writer stops for good: nothing goes on
                # Anything unforeseen is a bug: no command is decided on a state that may be wrong.
                self._stopped = error if isinstance(error, Exception) else InvariantViolated(repr(error))
            if self._stopped is not None:
                _fail(group, self._stopped)

    def _take(self) -> list[Waiting[C]] | None:
        """Wait for a command, then take all that wait with it.

        Empty if it is time to look after the store, None once closed and drained.
        """
        try:
            first = self._queue.get(timeout=LOOK_S if self._fault is None else RETRY_S)
        except Empty:
            return []
        if first is None:
            return None
        group = [first]
        while len(group) < GROUP_MAX and not self._queue.empty():
            waiting = self._queue.get()
            if waiting is None:
                self._queue.put(None)
                break
            group.append(waiting)
        return group

    def _write(self, waiting: list[Waiting[C]]) -> None:
        """Decide and commit all of ``waiting``, in as many groups as their entries need."""
        while waiting and self._stopped is None:
            try:
                if self._is_blocked:
                    self._recover()
                with self._engine.connect() as connection:
                    known = find_answers(connection, [w.request_id for w in waiting])
                group, taken = self._decide(waiting, known)
            except (LockLost, SQLAlchemyError, OutcomeUnknown, LeaseHeld) as error:
                self._fault = StoreUnavailable(f"the store cannot be read: {first_line(error)}")
                _fail(waiting, self._fault)
                return
            segment = self._seal(group)
            failure = self._commit(_Attempt(segment, group))
            if failure is None:
                self._view = group.view
            for item in waiting[:taken]:
                _settle(item, group, failure)
            waiting = waiting[taken:]

    def _decide(self, waiting: list[Waiting[C]], known: dict[str, Answered]) -> tuple[_Group[S, C], int]:
        """A group, and how many of ``waiting`` are in it or were cancelled."""
        group: _Group[S, C] = _Group(self._view, answers=dict(known))
        taken = 0
        while taken < len(waiting) and group.count < GROUP_ENTRIES:
            item = waiting[taken]
            if item.begin() and item.request_id not in group.answers:
                self._decide_one(item, group)
            taken += 1
        return group, taken

    def _decide_one(self, item: Waiting[C], group: _Group[S, C]) -> None:
        now_ms = self._clock()
        if now_ms < group.view.time_ms:
            item.future.set_exception(ClockWentBack(f"clock {now_ms} is before {group.view.time_ms}"))
            return
        decision = self._apply(group.view.state, item.command, now_ms)
        dated = all(record.effective_ms == now_ms for record in decision.entries)
        require(dated, "an entry has the time at which it was decided")
        entries = count(decision.entries)
        group.answers[item.request_id] = Answered(
            body_hash=item.body_hash,
            first_sequence=self._view.size + group.count,
            count=entries,
            refusals=decision.refusals,
            answer=decision.answer,
            replayed=False,
        )
        group.fresh[item.request_id] = item
        group.entries += decision.entries
        group.count += entries
        group.view = replace(group.view, state=decision.state, time_ms=now_ms)

    def _seal(self, group: _Group[S, C]) -> Segment | None:
        if not group.entries:
            return None
        first_salt = self._view.salts
        sealed = seal(
            group.entries, first_sequence=self._view.size, first_salt=first_salt, source=self._salts
        )
        frontier = self._view.frontier.extend(sealed.leaf_hashes)
        salts = first_salt + salts_used(group.entries)
        group.view = replace(group.view, frontier=frontier, salts=salts)
        return Segment(
            first_sequence=self._view.size,
            count=group.count,
            first_salt=first_salt,
            epoch=self._lease.epoch,
            leaves=sealed.leaves,
            legs=sealed.legs,
            bodies=sealed.bodies,
            root=frontier.root(),
        )

    # the store --------------------------------------------------------------------------------

    def _commit(self, attempt: _Attempt[S, C]) -> Exception | None:
        """Make the group durable. None, or why it is not known to be on disk."""
        if not attempt.group.fresh:
            return None
        try:
            self._transact(attempt)
        except OutcomeUnknown as error:
            return self._settle_commit(attempt, error)
        except LeaseLost as error:
            return self._lose(error)
        except SQLAlchemyError as error:
            self._refused = attempt
            self._fault = StoreUnavailable(f"the store refused the commit: {first_line(error)}")
            return self._fault
        self._fault = self._refused = None
        return None

    def _lose(self, error: LeaseLost) -> Exception:
        """Nothing was written. Without the lock nothing is until it is there again; without the lease, never."""
        if not isinstance(error, LockLost):
            self._stopped = error
            return error
        self._is_blocked, self._fault = True, StoreUnavailable(str(error))
        return self._fault

    def _settle_commit(self, attempt: _Attempt[S, C], error: OutcomeUnknown) -> Exception | None:
        """What became of a COMMIT that failed. If that cannot be learned now, nothing is decided before it is."""
        self._is_blocked, self._open, self._fault = True, attempt, error
        try:
            is_on_disk = self._on_disk(attempt)
        except (LockLost, SQLAlchemyError, OutcomeUnknown):
            return OutcomeUnknown(f"whether it was recorded is not known yet: {error}")
        except LeaseLost as lost:
            self._stopped = lost
            return lost
        self._is_blocked, self._open = False, None
        if is_on_disk:
            self._fault = self._refused = None
            return None
        self._refused, self._fault = attempt, StoreUnavailable(f"the commit failed: {error}")
        return self._fault

    def _transact(self, attempt: _Attempt[S, C]) -> None:
        with transaction(self._engine) as connection:
            self._lease.check(connection)
            _put(connection, attempt)

    def _on_disk(self, attempt: _Attempt[S, C]) -> bool:
        """Whether a commit of unknown outcome happened: the last segment, or else an answer, is ours.

        The check of the lease waits until that commit is over. This transaction is committed as well, since
        what it has read is as durable as itself only then (a replica may have been awaited in vain). What is
        raised here leaves the outcome unknown.
        """
        with transaction(self._engine) as connection:
            self._lease.check(connection)
            if attempt.segment is not None:
                return last_segment(connection) == attempt.segment
            return bool(find_answers(connection, list(attempt.group.fresh)))

    # faults -----------------------------------------------------------------------------------

    def _look(self) -> None:
        """While no command comes: whether the lease is still held and, after a fault, the store is back.

        It is back when it takes a commit, and would take what it refused last.
        """
        try:
            if self._fault is None:
                with self._engine.connect() as connection:
                    self._lease.look(connection)
                return
            self._recover()
            self._rehearse()
        except LockLost as error:
            self._lose(error)
        except (SQLAlchemyError, OutcomeUnknown, LeaseHeld) as error:
            self._fault = StoreUnavailable(f"the store is not back: {first_line(error)}")
        else:
            self._fault = self._refused = None

    def _recover(self) -> None:
        """Take the lease again, settle the commit whose outcome is open, and see that the journal is the same.

        Until it has returned nothing may be decided: the epoch may have been raised. Raises ``LeaseLost`` and
        ``InvariantViolated``, which are for good, and what the store raises: it is tried again then.
        """
        self._is_blocked = True
        self._lease.renew(self._engine)
        if self._open is not None:
            if self._on_disk(self._open):
                self._view = self._open.group.view
            self._open = None
        with self._engine.connect() as connection:
            last = last_segment(connection)
        ends = (0, EMPTY_ROOT) if last is None else (last.first_sequence + last.count, last.root)
        is_same = ends == (self._view.size, self._view.frontier.root())
        require(is_same, "the journal ends where it ended when the store was lost")
        self._is_blocked = False
        if self._refused is None:
            self._fault = None

    def _rehearse(self) -> None:
        """Write once more what was refused last, and take it back: whoever sent it was told that it is not there."""
        with suppress(_Rehearsed), transaction(self._engine) as connection:
            self._lease.check(connection)
            find_answers(connection, [])
            if self._refused is not None:
                _put(connection, self._refused)
            raise _Rehearsed

    def _replay(self) -> Published[S]:
        view: Published[S] = Published(self._empty, Frontier(), 0, 0)
        directory = Directory()
        with self._engine.connect() as connection:
            for segment in read_segments(connection):
                view = self._replayed(view, segment, directory)
            if answered_size(connection) > view.size:
                raise JournalDiffers(Differs(view.size, "answers speak of more entries than the journal has"))
        return view

    def _replayed(self, view: Published[S], segment: Segment, directory: Directory) -> Published[S]:
        """``view`` after ``segment``. Raises ``JournalDiffers``, which names the first entry that suffers."""
        state, salts, time_ms, sequence = view.state, view.salts, view.time_ms, view.size
        if (segment.first_sequence, segment.first_salt) != (sequence, salts):
            raise JournalDiffers(
                Differs(sequence, f"the next segment claims to start at {segment.first_sequence}")
            )
        try:
            for record in directory.records(segment):
                state, salts = self._fold(state, record), salts + salts_used((record,))
                time_ms, sequence = record.effective_ms, sequence + count((record,))
        except (RecordMalformed, InvariantViolated) as error:
            raise JournalDiffers(Differs(sequence, str(error))) from error
        frontier = view.frontier.extend(segment.leaf_hashes())
        if frontier.root() != segment.root:
            raise JournalDiffers(
                Differs(view.size, "the leaves of the segment do not hash to its stored root")
            )
        return Published(state, frontier, salts, time_ms)


def _put(connection: Connection, attempt: "_Attempt[S, C]") -> None:
    group = attempt.group
    if attempt.segment is not None:
        connection.execute(insert(segments).values(_row(attempt.segment)))
    connection.execute(insert(requests), [_answer_row(i, group.answers[i]) for i in group.fresh])


def _row(segment: Segment) -> dict[str, object]:
    return {column.name: getattr(segment, column.name) for column in segments.columns}


def _answer_row(request_id: str, answered: Answered) -> dict[str, object]:
    fields = ("body_hash", "first_sequence", "count", "refusals", "answer")
    return {"id": request_id} | {name: getattr(answered, name) for name in fields}


def _settle(item: "Waiting[C]", group: "_Group[S, C]", failure: Exception | None) -> None:
    if item.future.done():
        return
    answered, decided = group.answers[item.request_id], group.fresh.get(item.request_id)
    if failure is not None and decided is not None:
        item.future.set_exception(failure)
    elif answered.body_hash != item.body_hash:
        item.future.set_exception(RequestReused(f"request id {item.request_id} was used with another body"))
    else:
        item.future.set_result(answered if decided is item else replace(answered, replayed=True))


def _fail(group: "list[Waiting[C]]", error: Exception) -> None:
    for item in group:
        if item.begin():
            item.future.set_exception(error)
