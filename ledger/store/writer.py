"""The single writer: queue, group commit, publication. It exists once, for whatever state it is given.

1. Commands wait in a queue. The writer's thread takes all that wait (up to ``GROUP_MAX``).
2. A command whose request id was answered before gets that answer again (same body) or a refusal
   (another body). It is never decided twice.
3. The others are decided one after the other, each on the state that the one before left.
4. One transaction writes the segment, checks the epoch, and writes the answers. A group in which
   everything was refused writes answers and no segment.
5. After the commit the new state is published, and only then are callers answered.
6. If the store fails, the decided state is dropped. If the COMMIT itself failed, the store is read to
   learn whether it happened, and the answer follows what is on disk; if that cannot be read, the
   writer stops for good.
7. If a decider breaks an invariant, the writer stops for good: nothing after a bug is written.
8. Every command that was taken is answered, whatever happens; one that its caller cancelled in time is
   not decided.
"""

import re
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import Generic, TypeAlias, TypeVar

from sqlalchemy import Engine, insert
from sqlalchemy.exc import SQLAlchemyError

from ledger.decision import Decision
from ledger.leaf import ByteSource
from ledger.merkle import Frontier
from ledger.require import InvariantViolated, require
from ledger.seal import salts_used, seal
from ledger.store.connect import Lease, LeaseLost, OutcomeUnknown, first_line, transaction
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


@dataclass(slots=True)
class _Group(Generic[S, C]):
    """What one commit will make true."""

    view: Published[S]
    entries: list[Record] = field(default_factory=list)
    count: int = 0
    answers: dict[str, Answered] = field(default_factory=dict)
    fresh: dict[str, Waiting[C]] = field(default_factory=dict)


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
        self._stopped: Exception | None = None
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

    def heed(self, lag_ms: Callable[[], int]) -> None:
        """From now on, take no command while ``lag_ms()``, how far a reader is behind, is past ``LAG_MAX_MS``."""
        self._lag_ms = lag_ms

    def submit(self, request_id: str, body_hash: bytes, command: C) -> "Future[Answered]":
        """Queue a command. The future fails with the exceptions of this module or gives the answer.

        Raises :class:`Overloaded`, and ``ValueError`` unless the request id has 1 to 128 printable ASCII
        characters and the hash 32 bytes.
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
            if self._stopped is not None:
                _fail(group, self._stopped)
                continue
            try:
                self._write(group)
            except BaseException as error:  # noqa: BLE001  # the writer stops for good: nothing goes on
                # Anything unforeseen is a bug: no command is decided on a state that may be wrong.
                self._stopped = error if isinstance(error, Exception) else InvariantViolated(repr(error))
                _fail(group, self._stopped)

    def _take(self) -> list[Waiting[C]] | None:
        """Wait for a command, then take all that wait with it. None once closed and drained."""
        first = self._queue.get()
        if first is None:
            return None
        group = [first]
        while len(group) < GROUP_MAX and not self._queue.empty():
            waiting = self._queue.get()
            if waiting is None:
                self._queue.put(None)
                break
            group.append(waiting)
        return [waiting for waiting in group if waiting.future.set_running_or_notify_cancel()]

    def _write(self, waiting: list[Waiting[C]]) -> None:
        """Decide and commit all of ``waiting``, in as many groups as their entries need."""
        while waiting:
            if self._stopped is not None:
                _fail(waiting, self._stopped)
                return
            try:
                with self._engine.connect() as connection:
                    known = find_answers(connection, [w.request_id for w in waiting])
                group, taken = self._decide(waiting, known)
            except SQLAlchemyError as error:
                _fail(waiting, StoreUnavailable(f"the store cannot be read: {first_line(error)}"))
                return
            segment = self._seal(group)
            failure = self._commit(segment, group)
            if failure is None:
                self._view = group.view
            for item in waiting[:taken]:
                _settle(item, group, failure)
            waiting = waiting[taken:]

    def _decide(self, waiting: list[Waiting[C]], known: dict[str, Answered]) -> tuple[_Group[S, C], int]:
        """A group, and how many of ``waiting`` are in it."""
        group: _Group[S, C] = _Group(self._view, answers=dict(known))
        taken = 0
        while taken < len(waiting) and group.count < GROUP_ENTRIES:
            item = waiting[taken]
            if item.request_id not in group.answers:
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

    def _commit(self, segment: Segment | None, group: _Group[S, C]) -> Exception | None:
        """Make the group durable. None, or why it is not on disk."""
        if not group.fresh:
            return None
        try:
            self._transact(segment, group)
        except LeaseLost as error:
            self._stopped = error
            return error
        except OutcomeUnknown as error:
            return None if self._on_disk(segment, group) else StoreUnavailable(f"the commit failed: {error}")
        except SQLAlchemyError as error:
            return StoreUnavailable(f"the store refused the commit: {first_line(error)}")
        return None

    def _transact(self, segment: Segment | None, group: _Group[S, C]) -> None:
        with transaction(self._engine) as connection:
            self._lease.check(connection)
            if segment is not None:
                connection.execute(insert(segments).values(_row(segment)))
            connection.execute(insert(requests), [_answer_row(i, group.answers[i]) for i in group.fresh])

    def _on_disk(self, segment: Segment | None, group: _Group[S, C]) -> bool:
        """Whether a commit of unknown outcome happened: the last segment, or else an answer, is ours.

        The check of the lease waits until that commit is over. This transaction is committed as well, since
        what it has read is as durable as itself only then (a replica may have been awaited in vain). What is
        raised here, a lost lease too, leaves the outcome unknown and stops the writer.
        """
        with transaction(self._engine) as connection:
            self._lease.check(connection)
            if segment is not None:
                return last_segment(connection) == segment
            return bool(find_answers(connection, list(group.fresh)))

    def _replay(self) -> Published[S]:
        state, frontier, salts, time_ms = self._empty, Frontier(), 0, 0
        directory = Directory()
        with self._engine.connect() as connection:
            for segment in read_segments(connection):
                place = (segment.first_sequence, segment.first_salt)
                require(place == (frontier.size, salts), "segments follow each other without a gap")
                entries = list(directory.records(segment))
                state = _fold_all(self._fold, state, entries)
                frontier = frontier.extend(segment.leaf_hashes())
                require(frontier.root() == segment.root, f"the root at {frontier.size} is the one stored")
                salts += salts_used(entries)
                time_ms = entries[-1].effective_ms
            require(answered_size(connection) <= frontier.size, "every answer has its entries")
        return Published(state, frontier, salts, time_ms)


def _fold_all(fold: "Fold[S]", state: S, entries: Iterable[Record]) -> S:
    for entry in entries:
        state = fold(state, entry)
    return state


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
        if not item.future.done():
            item.future.set_exception(error)
