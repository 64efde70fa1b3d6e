"""The end of the journal, as those who follow it see it.

Rules kept here:

1. One thread reads what was committed, once for all who follow, and decodes each entry once. It keeps the newest
   in a ring that has a limit of entries and of bytes. While nobody follows it reads nothing.
2. Who is further behind than the ring reads pages from the store itself.
3. There is no queue for anybody: who reads slowly is waited for by nobody, and who is idle is not woken by what does
   not concern it.
4. What is told of an entry follows from the journal up to it and from nothing else. To whom, that does too, but for a
   regulator with a grant: it is told what its grant covers when it is told.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from types import TracebackType
from typing import Self

from clearing.model.house import Change, House, decode_changes
from clearing.server.calls import scoped
from clearing.server.identity import Identity
from clearing.server.wire.concerns import Concern, Members, of_change, owner_of_account, owners_of
from clearing.store.links import Links
from ledger.account import Account, AccountId
from ledger.entry import Entry
from ledger.store.connect import Database, StoreUnreachable, reading
from ledger.store.queries import Directory, Segment, read_at, segments_with
from ledger.store.writer import Published

POLL_S = 0.02
RETRY_S = 1.0
RING_ENTRIES = 10_000
RING_BYTES = 4 * 2**20
PAGE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Happening:
    """An entry, what it changed, and whom it concerns."""

    sequence: int
    entry: Entry
    facts: tuple[tuple[Change, Concern], ...]
    owners: frozenset[str]
    is_public: bool

    def is_for(self, owners: frozenset[str] | None) -> bool:
        """Whether it concerns one of ``owners``, as ``concerns.owners_of`` gives them."""
        return owners is None or self.is_public or not self.owners.isdisjoint(owners)


def happening(sequence: int, entry: Entry, members: Members) -> Happening:
    """What there is to tell of ``entry``."""
    changes = decode_changes(entry.fact)
    facts = tuple((change, of_change(change, members)) for change in changes)
    owners = {owner for _, concern in facts for owner in concern.owners}
    owners |= {owner_of_account(leg.account.path) for leg in entry.legs} - {""}
    is_public = any(concern.is_public for _, concern in facts)
    return Happening(sequence, entry, facts, frozenset(owners), is_public)


class Journal:
    """Entries by their number, as far as they are published. Any thread may read."""

    def __init__(self, database: Database, view: Callable[[], Published[House]]) -> None:
        self._database, self._view = database, view

    @property
    def size(self) -> int:
        """How many entries are published."""
        return self._view().size

    def segments(self, start: int) -> list[Segment]:
        """The segment with the entry ``start``, and some after it; none beyond the end. Raises ``StoreUnreachable``."""
        if start >= self.size:
            return []
        with reading(self._database) as connection:
            return segments_with(connection, start, PAGE_BYTES)

    def decoded(self, segments: Iterable[Segment], start: int) -> Iterator[tuple[int, Entry]]:
        """The entries of ``segments`` from ``start`` on, with their numbers."""
        directory, size = Directory(self._find), self.size
        for segment in segments:
            numbered = enumerate(directory.decode(segment), segment.first_sequence)
            yield from ((n, entry) for n, entry in numbered if start <= n < size)

    def entry(self, sequence: int) -> Entry | None:
        """One entry, None beyond the end. Raises ``StoreUnreachable``."""
        if sequence >= self.size:
            return None
        with reading(self._database) as connection:
            return read_at(connection, (sequence,), self._find).get(sequence)

    def _find(self, account: AccountId) -> Account | None:
        return self._view().state.book.find(account)


@dataclass(slots=True)
class Follower:
    """Somebody who follows the journal: as whom, from which entry on, and what wakes it.

    ``owners`` gives what stands for it now: what a regulator sees changes with its grant.
    """

    owners: Callable[[], frozenset[str] | None]
    position: int
    wake: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class _Batch:
    start: int
    end: int
    size_bytes: int
    happened: tuple[Happening, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """Some of what happened, in order, and the entry at which the next page begins."""

    happened: Iterable[Happening]
    end: int


class Tail:
    """The thread and the ring, from entering to leaving. ``view`` gives what is published."""

    def __init__(self, database: Database, view: Callable[[], Published[House]]) -> None:
        self.journal = Journal(database, view)
        self._view = view
        self._links = Links(database)
        self._lock = threading.Lock()
        self._followers: list[Follower] = []
        self._ring: deque[_Batch] = deque()
        self._end = 0
        self._failed: Exception | None = None
        self._draining = False
        self._wanted, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="tail", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drain()
        self._closing.set()
        self._wanted.set()
        self._thread.join()

    @property
    def is_draining(self) -> bool:
        """Whether those who follow are asked to end."""
        return self._draining

    def drain(self) -> None:
        """Wake everybody who follows: it is over."""
        with self._lock:
            self._draining = True
            self._wake_all()

    @contextmanager
    def following(self, caller: Identity, position: int) -> Iterator[Follower]:
        """Follow from the entry ``position`` on while the block runs."""
        follower = Follower(lambda: owners_of(scoped(caller, self._view().state)), position)
        with self._lock:
            if not self._followers:
                self._ring.clear()
                self._end = self.journal.size
            self._followers.append(follower)
            self._wanted.set()
        try:
            yield follower
        finally:
            with self._lock:
                self._followers.remove(follower)
                if not self._followers:
                    self._ring.clear()
                    if not self._closing.is_set():
                        self._wanted.clear()

    def take(self, follower: Follower) -> Sequence[Happening] | Iterator[Happening]:
        """What comes next for ``follower``, which is behind it then; nothing if it has everything.

        Raises ``StoreUnreachable``, and what ended the thread.
        """
        with self._lock:
            if self._failed is not None:
                raise self._failed
            follower.wake.clear()
            if follower.position >= self._start():
                found = [one for batch in self._behind(follower.position) for one in batch.happened]
                position, follower.position = follower.position, max(follower.position, self._end)
                return [one for one in found if one.sequence >= position]
        page = self.page(follower.position)
        with self._lock:
            follower.position = page.end
        return iter(page.happened)

    def is_caught_up(self, follower: Follower) -> bool:
        """Whether there is nothing for ``follower`` to take; what comes from now on wakes it if it concerns it."""
        with self._lock:
            return follower.position >= self._end

    def page(self, position: int) -> Page:
        """What happened from the entry ``position`` on, from the store. Raises ``StoreUnreachable``."""
        segments = self.journal.segments(position)
        if not segments:
            return Page((), position)
        end = min(segments[-1].first_sequence + segments[-1].count, self.journal.size)
        self._links.read_to(end)
        return Page(self._told(segments, position, end), end)

    def _told(self, segments: Sequence[Segment], start: int, end: int) -> Iterator[Happening]:
        for sequence, entry in self.journal.decoded(segments, start):
            if sequence < end:
                yield happening(sequence, entry, self._members(sequence))

    def _members(self, sequence: int) -> Members:
        return partial(self._links.members, sequence=sequence)

    def _start(self) -> int:
        return self._ring[0].start if self._ring else self._end

    def _behind(self, position: int) -> list[_Batch]:
        """The newest batches, from the one that has ``position`` on."""
        return list(takewhile(lambda batch: batch.end > position, reversed(self._ring)))[::-1]

    # the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wanted.wait()
            try:
                pause = 0.0 if self._step() else POLL_S
            except StoreUnreachable:
                pause = RETRY_S  # the journal does not run away
            except Exception as error:  # noqa: BLE001  # ends the thread, and is shown to whoever follows
                with self._lock:
                    self._failed = error
                    self._wake_all()
                return
            self._closing.wait(pause)

    def _step(self) -> bool:
        """Read on; whether there was anything."""
        start = self._end
        segments = self.journal.segments(start)
        if not segments:
            return False
        end = min(segments[-1].first_sequence + segments[-1].count, self.journal.size)
        self._links.read_to(end)
        happened = tuple(self._told(segments, start, end))
        size_bytes = sum(len(one.leaves) + len(one.legs) + len(one.bodies) for one in segments)
        with self._lock:
            if self._end == start and self._followers:
                self._append(_Batch(start, end, size_bytes, happened))
        return True

    def _append(self, batch: _Batch) -> None:
        self._ring.append(batch)
        self._end = batch.end
        while len(self._ring) > 1 and self._is_full():
            self._ring.popleft()
        for follower in self._followers:
            owners = follower.owners()
            if any(one.is_for(owners) for one in batch.happened):
                follower.wake.set()
            elif follower.position == batch.start:
                follower.position = batch.end

    def _is_full(self) -> bool:
        entries = self._ring[-1].end - self._ring[0].start
        return entries > RING_ENTRIES or sum(batch.size_bytes for batch in self._ring) > RING_BYTES

    def _wake_all(self) -> None:
        for follower in self._followers:
            follower.wake.set()
