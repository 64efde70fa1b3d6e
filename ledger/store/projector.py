"""Projects the journal: segments become rows of accounts, entries and postings with running balances.

1. Entries are projected in the order of the journal, each once. ``projection`` says how far: all entries
   before ``sequence``, and the first ``leg`` legs of the one that stands there.
2. A step is one transaction of at most so many legs, and of at most as many entries. It moves that row from
   where the projector was, and fails if it is not there any more: of two projectors, one applies a step.
3. Nothing is kept but the row: whatever ends a projector, the next one goes on behind the last commit.
4. Rows made by code of another ``VERSION`` are dropped, and all is projected again.
5. Reads never see an entry of which legs are missing: they ask for entries before a sequence.

Balances are summed in memory, on what the last posting of each account says.
"""

import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from sqlalchemy import Connection, delete, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from ledger.account import AccountId
from ledger.leaf import RecordMalformed
from ledger.require import InvariantViolated
from ledger.store.columns import Amounts, Run, Unfolding
from ledger.store.connect import Database, OutcomeUnknown, StoreUnreachable, snapshot, transaction
from ledger.store.kinds import Columns, kind_of
from ledger.store.queries import Segment, read_segments
from ledger.store.tables import PROJECTED, accounts, entries, postings, projection, segments

NAME = "history"
VERSION = 1
"""Of what this code makes of a journal. Raise it when the same journal would give other rows."""

RUN_BYTES = 4 * 2**20
"""Of segments that are decoded at once, or one segment that has more."""

STEP_LEGS_MIN = 4_096
STEP_LEGS_MAX = 16_384
STEP_S = 0.03
"""How long a step should take: on SQLite a commit of the writer waits for one. Legs are doubled and halved, but
smaller steps than the least take hardly less time: what counts is how many accounts they touch.
"""

POLL_S = 0.05
"""How long nobody notices that the journal grew, if nobody says so."""

LINGER_S = 0.05
"""How long a few entries may wait for more, if no read waits for them: each step costs the writer a turn."""

RETRY_S = 0.5
"""How long a store that failed is left alone."""

MARK_MS = 10


class HistoryBehind(Exception):
    """The history does not go as far as was asked for. Both are numbers of entries."""

    def __init__(self, position: int, wanted: int) -> None:
        super().__init__(f"the history has {position} entries, not {wanted}")
        self.position, self.wanted = position, wanted


class HistoryFailed(Exception):
    """The history does not follow the journal; the cause says why."""


class _Moved(Exception):
    """Another projector was faster, or the history is made again."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the projection stands: before this leg of this entry."""

    sequence: int
    leg: int


@dataclass(frozen=True, slots=True)
class _Cut:
    """What one step takes of a run: its entries ``[entry, entry_end)`` and its legs ``[leg, leg_end)``.

    The last legs may be the first of an entry that a later step completes, and the first ones the last.
    """

    run: Run
    entry: int
    entry_end: int
    leg: int
    leg_end: int
    start: _Place
    end: _Place

    @classmethod
    def of(cls, run: Run, start: _Place, leg: int, most: int) -> "_Cut":
        """From ``start`` on, where ``leg`` legs of the run are done: ``most`` legs, and ``most`` entries."""
        entry, leg_end = start.sequence - run.first, min(leg + most, len(run.account))
        entry_end = int(np.searchsorted(run.leg_ends, leg_end, side="right"))
        if entry_end > entry + most:
            entry_end = entry + most
            leg_end = int(run.leg_ends[entry_end - 1])
        begun = start.leg + leg_end - leg
        if entry_end > entry:
            begun = leg_end - int(run.leg_ends[entry_end - 1])
        return cls(run, entry, entry_end, leg, leg_end, start, _Place(run.first + entry_end, begun))

    def accounts(self) -> Columns:
        """Accounts opened by the entries that begin here."""
        low, high = (
            bisect_left(self.run.opened, place.sequence + (place.leg > 0), key=lambda one: one[0])
            for place in (self.start, self.end)
        )
        opened = self.run.opened[low:high]
        return (
            range(self.run.first_account + low, self.run.first_account + high),
            [one.id for _, one in opened],
            [one.path for _, one in opened],
            [one.unit for _, one in opened],
            [one.side.value for _, one in opened],
            [one.limit.value for _, one in opened],
            [sequence for sequence, _ in opened],
        )

    def entries(self) -> Columns:
        """Entries that are complete here."""
        taken, first = slice(self.entry, self.entry_end), self.run.first
        return (
            range(first + self.entry, first + self.entry_end),
            self.run.kinds[taken],
            self.run.effective_ms[taken],
            self.run.entry_ids[taken],
        )

    def postings(self) -> Columns:
        """Legs, in the order of the key: an index likes to be filled in its own order."""
        taken, run = slice(self.leg, self.leg_end), self.run
        order = np.argsort(run.account[taken], kind="stable")
        account, sequence, leg = (column[taken][order] for column in (run.account, run.sequence, run.leg))
        amount, balance = (written(column[taken][order]) for column in (run.amount, run.balance))
        return account.tolist(), sequence.tolist(), leg.tolist(), amount, balance


def written(amounts: Amounts) -> list[int] | list[str]:
    """As both databases take them without a loss: a driver knows integers of 64 bits only."""
    listed: list[int] = amounts.tolist()
    return list(map(str, listed)) if amounts.dtype == object else listed


class Projector:
    """Projects the journal of one database, step by step.

    The constructor reads the accounts and their balances. Raises ``SQLAlchemyError``.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._legs, self._done_legs = STEP_LEGS_MIN, 0
        self._pending: Run | None = None
        self._load()

    @property
    def position(self) -> int:
        """How many entries are projected."""
        return self._place.sequence

    def step(self, legs_max: int | None = None) -> bool:
        """Project the next entries, ``legs_max`` legs at most, or as many as take ``STEP_S``.

        False if there are none. If somebody else has moved the projection, nothing is written, and the next
        step goes on from there. Raises ``SQLAlchemyError``, ``OutcomeUnknown``, and ``RecordMalformed`` for a
        journal that makes no sense; after each of them the next step tries again.
        """
        try:
            if self._pending is None:
                self._pending = self._read()
            if self._pending is None:
                return False
            self._write(self._pending, legs_max or self._legs)
        except _Moved:
            self._stale, self._pending = True, None
        except BaseException:
            self._stale, self._pending = True, None
            raise
        return True

    def rebuild(self) -> None:
        """Drop all that is projected, by whomever; the next step begins at the first entry."""
        with transaction(self._database) as connection:
            _empty(connection)
        self._load()

    def _load(self) -> None:
        """Take up what is projected."""
        with snapshot(self._database) as connection:
            place = _place_of(connection)
            numbers, balances = _numbers(connection), _last_balances(connection)
        if place is None:
            self.rebuild()
            return
        if len(balances) != len(numbers) or list(numbers.values()) != list(range(len(numbers))):
            raise RecordMalformed("accounts are not numbered one after the other: rebuild the history")
        self._place, self._unfolding = place, Unfolding(numbers=numbers, balances=balances)
        self._pending, self._stale = None, False

    def _read(self) -> Run | None:
        """The next entries, decoded. None if there are none."""
        if self._stale:
            self._load()
        self._done_legs = 0
        sequence, leg = self._place.sequence, self._place.leg
        with self._database.connect() as connection:
            found = segments_from(connection, sequence)
        return self._unfolding.unfold(found, sequence=sequence, leg=leg)

    def _write(self, run: Run, legs_max: int) -> None:
        cut = _Cut.of(run, self._place, self._done_legs, legs_max)
        loads = ((accounts, cut.accounts()), (entries, cut.entries()), (postings, cut.postings()))
        with transaction(self._database) as connection:
            began = time.monotonic()
            if not _move(connection, cut.start, cut.end):
                raise _Moved
            for table, columns in loads:
                if columns[0]:
                    kind_of(connection).load(connection, table, columns)
        self._pace(time.monotonic() - began)
        self._place, self._done_legs = cut.end, cut.leg_end
        if cut.end.sequence == run.end:
            self._pending = None

    def _pace(self, took_s: float) -> None:
        if took_s > STEP_S:
            self._legs = max(self._legs // 2, STEP_LEGS_MIN)
        elif took_s < STEP_S / 3:
            self._legs = min(self._legs * 2, STEP_LEGS_MAX)


def _place_of(connection: Connection) -> _Place | None:
    """Where the projection stands; None if there is none that this code has made."""
    row = connection.execute(
        select(projection).where(projection.c.name == NAME, projection.c.version == VERSION)
    ).first()
    return None if row is None else _Place(row.sequence, row.leg)


def _empty(connection: Connection) -> None:
    """Begin anew. The row first: a projector that is in the middle of a step is waited for."""
    connection.execute(
        text(
            "INSERT INTO projection (name, version, sequence, leg) VALUES (:name, :version, 0, 0) "
            "ON CONFLICT (name) DO UPDATE SET version = :version, sequence = 0, leg = 0"
        ),
        {"name": NAME, "version": VERSION},
    )
    for table in PROJECTED:
        connection.execute(delete(table))


def _move(connection: Connection, start: _Place, end: _Place) -> bool:
    """Whether the projection stood at ``start``; it stands at ``end`` now."""
    moved = (
        update(projection)
        .where(projection.c.name == NAME, projection.c.version == VERSION)
        .where(projection.c.sequence == start.sequence, projection.c.leg == start.leg)
        .values(sequence=end.sequence, leg=end.leg)
    )
    return connection.execute(moved).rowcount == 1


def _numbers(connection: Connection) -> dict[AccountId, int]:
    query = select(accounts.c.id, accounts.c.number).order_by(accounts.c.number)
    return {AccountId(bytes(key)): number for key, number in connection.execute(query)}


def _last_balances(connection: Connection) -> list[int]:
    """By account number: what its last posting says, or 0."""
    last = (
        select(postings.c.balance)
        .where(postings.c.account == accounts.c.number)
        .order_by(postings.c.sequence.desc(), postings.c.leg.desc())
        .limit(1)
        .correlate(accounts)
        .scalar_subquery()
    )
    return [
        balance or 0
        for balance in connection.execute(
            select(last).select_from(accounts).order_by(accounts.c.number)
        ).scalars()
    ]


def segments_from(connection: Connection, sequence: int) -> list[Segment]:
    """The segment that has the entry ``sequence``, and some that follow it; none if it is not there yet."""
    column = segments.c.first_sequence
    last = select(column, segments.c.count).where(column <= sequence).order_by(column.desc()).limit(1)
    row = connection.execute(last).first()
    has_it = row is not None and row.first_sequence + row.count > sequence
    found: list[Segment] = []
    held = 0
    for segment in read_segments(connection, row.first_sequence if row is not None and has_it else sequence):
        found.append(segment)
        held += len(segment.leaves) + len(segment.legs)
        if held >= RUN_BYTES:
            break
    return found


class Projecting:
    """A thread that projects while the journal grows.

    ``view_size`` gives the number of entries that the writer has published, ``clock`` milliseconds that never
    go back. Entering raises ``SQLAlchemyError`` if the store does not answer. If the store fails later, the
    thread tries again and again; anything else ends it, and :attr:`failed` says what.
    """

    def __init__(self, database: Database, view_size: Callable[[], int], clock: Callable[[], int]) -> None:
        self._database, self._view_size, self._clock = database, view_size, clock
        self._changed, self._awake = threading.Condition(), threading.Event()
        self._position = 0
        self._failed: Exception | None = None
        self._closing = self._ended = False
        self._readers = 0
        self._marks: deque[tuple[int, int]] = deque()
        self._thread = threading.Thread(target=self._run, name="projector", daemon=True)

    def __enter__(self) -> Self:
        self._projector = Projector(self._database)
        self._position = self._projector.position
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._awake.set()
        self._thread.join()

    @property
    def position(self) -> int:
        """How many entries are projected."""
        return self._position

    @property
    def failed(self) -> Exception | None:
        """Why the history does not follow the journal, or None while it does."""
        return self._failed

    @property
    def lag_ms(self) -> int:
        """How long ago the oldest entry that is not projected was noticed, 0 if there is none.

        An entry is noticed when this is read, at each step, and every ``POLL_S``.
        """
        with self._changed:
            return self._lag_ms()

    def wake(self) -> None:
        """The journal has grown."""
        self._awake.set()

    def wait_for(self, sequence: int, timeout_s: float) -> None:
        """Return when ``sequence`` entries are projected.

        Raises :class:`HistoryBehind` if that takes longer, and :class:`HistoryFailed` if it cannot be expected.
        """
        self.wake()
        with self._changed:
            self._readers += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._position >= sequence or self._ended, timeout_s)
            self._readers -= 1
            if self._position >= sequence:
                return
            if self._failed is not None:
                raise HistoryFailed(f"the history stopped at {self._position} entries") from self._failed
            raise HistoryBehind(self._position, sequence)

    # the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            try:
                moved = self._projector.step() if self._view_size() > self._projector.position else False
            except (SQLAlchemyError, StoreUnreachable, OutcomeUnknown) as error:
                self._publish(error)
                self._awake.wait(RETRY_S)  # whoever wakes it may know that the store is back
            except BaseException as error:  # noqa: BLE001  # ends the thread, and is shown to whoever looks
                self._ended = True
                self._publish(error if isinstance(error, Exception) else InvariantViolated(repr(error)))
                return
            else:
                self._publish(None)
                self._pause(moved)
            self._awake.clear()

    def _pause(self, moved: bool) -> None:
        """Sleep until there is something to do, or until a few entries have become more."""
        if not moved:
            self._awake.wait(POLL_S)
        elif self._view_size() - self._projector.position < STEP_LEGS_MIN:
            with self._changed:
                self._changed.wait_for(lambda: self._readers > 0 or self._closing, LINGER_S)

    def _publish(self, failed: Exception | None) -> None:
        with self._changed:
            self._position, self._failed = self._projector.position, failed
            self._lag_ms()
            self._changed.notify_all()

    def _lag_ms(self) -> int:
        """Marks say when a size was noticed first. What comes within ``MARK_MS`` counts as noticed with it."""
        size, now_ms, marks = self._view_size(), self._clock(), self._marks
        while marks and marks[0][0] <= self._position:
            marks.popleft()
        if size > (marks[-1][0] if marks else self._position):
            is_new = not marks or now_ms - marks[-1][1] >= MARK_MS
            marks.append((size, now_ms if is_new else marks.pop()[1]))
        return now_ms - marks[0][1] if marks else 0
