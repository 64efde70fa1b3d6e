"""A ledger that stands alone: the book, its journal on a database, and the ids that were recorded.

It is what the clearing house is made of, without the house: for whoever needs double entry and nothing else.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Self

import numpy as np

from ledger.account import Account, AccountId
from ledger.batch import Command, Known, Recorded, Result, apply, digest, read_results
from ledger.book import Book
from ledger.columns import fold
from ledger.decision import Decision
from ledger.entry import ENTRY_ID_BYTES, Entry
from ledger.fingerprints import Fingerprints
from ledger.leaf import ByteSource
from ledger.store.connect import Database, Lease
from ledger.store.queries import Answered, read_at
from ledger.store.writer import Published, Writer
from ledger.transfers import Keys, Record, Transfers, count, entries_of, key_column

FRESH_MAX = 1_024
"""Records whose ids are noted one by one and printed together."""


class Ledger:
    """The ledger on one database, as long as it holds the lease.

    ``clock`` gives UTC milliseconds, ``salts`` is the byte source of the journal's salts, ``secret`` are 16
    random bytes that nobody else knows (no record depends on them). Raises ``LeaseHeld`` if another process is
    the writer. The journal is replayed before it returns.
    """

    def __init__(
        self, database: Database, *, clock: Callable[[], int], salts: ByteSource, secret: bytes
    ) -> None:
        self._lease = Lease.acquire(database)
        try:
            self._ids = _RecordedIds(database, secret)
            self._writer: Writer[Book, Command] = Writer(
                database,
                self._lease,
                apply=self._apply,
                fold=self._fold,
                empty=Book(),
                clock=clock,
                salts=salts,
            )
        except BaseException:
            self._lease.release()
            raise

    @property
    def view(self) -> Published[Book]:
        """The newest committed book, and the size of the journal that led to it."""
        return self._writer.view

    @property
    def stopped(self) -> Exception | None:
        """Why the ledger takes no more commands, or None while it does."""
        return self._writer.stopped

    def heed(self, lag_ms: Callable[[], int]) -> None:
        """From now on, refuse commands while a history that is ``lag_ms()`` behind is too far behind."""
        self._writer.heed(lag_ms)

    def submit(self, command: Command) -> "Future[Answered]":
        """Queue ``command`` under its request id; ``read_results`` reads the answer that the future gives.

        The future fails with the exceptions of ``writer``. Raises ``ValueError`` for a malformed request id.
        """
        own = command.copied() if isinstance(command, Transfers) else command
        return self._writer.submit(own.request_id, digest(own), own)

    def post(self, command: Command) -> tuple[Result, ...]:
        """Post ``command``, wait until it is durable, and return one result per item."""
        return read_results(self.submit(command).result().answer)

    def close(self) -> None:
        """Finish what waits, then give the lease back."""
        self._writer.close()
        self._lease.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # in the writer's thread -------------------------------------------------------------------

    def _apply(self, book: Book, command: Command, now_ms: int) -> Decision[Book]:
        known = self._ids.find(_named(command), book, self._writer.view.size)
        decision = apply(book, command, now_ms, known)
        self._ids.note(book.size, decision.entries)
        return decision

    def _fold(self, book: Book, record: Record) -> Book:
        self._ids.add(book.size, record)
        return fold(book, record)


def _named(command: Command) -> Keys:
    if isinstance(command, Transfers):
        return command.ids
    return key_column([name for name in command.names() if len(name) == ENTRY_ID_BYTES])


class _RecordedIds:
    """Which ids were recorded, and the entries that they stand for."""

    def __init__(self, database: Database, secret: bytes) -> None:
        self._database = database
        self._prints = Fingerprints(secret)
        self._fresh: list[Keys] = []
        self._fresh_first = self._fresh_end = 0
        self._undecided: dict[int, tuple[Record, ...]] = {}

    def add(self, first_sequence: int, record: Record) -> None:
        """Note where the ids of ``record`` stand."""
        if first_sequence != self._fresh_end or len(self._fresh) >= FRESH_MAX:
            self._print()
            self._fresh_first = first_sequence
        self._fresh.append(key_column([record.entry_id]) if isinstance(record, Entry) else record.ids)
        self._fresh_end = first_sequence + count((record,))

    def _print(self) -> None:
        """What was noted since the last time, in one go: a replay notes entry by entry and asks nothing."""
        if self._fresh:
            self._prints.add(np.concatenate(self._fresh), self._fresh_first)
        self._fresh, self._fresh_first = [], self._fresh_end

    def note(self, first_sequence: int, records: tuple[Record, ...]) -> None:
        """The same for what was decided and may be committed: until it is, no journal has it."""
        self._undecided[first_sequence] = records
        for record in records:
            self.add(first_sequence, record)
            first_sequence += count((record,))

    def find(self, ids: Keys, book: Book, committed: int) -> Known:
        """The entries among ``ids`` that lead to ``book``, of which ``committed`` are in the journal.

        Each is confirmed by its whole id. Raises what the store raises when it cannot be read.
        """
        if book.size == committed:  # a new group: the one before is in the journal, or was dropped
            self._undecided.clear()
        self._print()
        hits = self._prints.find(ids)
        if not hits:
            return {}
        places = {sequence for _, sequence in hits if sequence < book.size}
        entries = self._decided(places, book.known) | self._stored(places, committed, book.find)
        known: dict[bytes, Recorded] = {}
        for row, sequence in hits:
            entry, wanted = entries.get(sequence), ids[row].tobytes()
            if entry is not None and entry.entry_id == wanted:
                known.setdefault(wanted, Recorded(sequence, entry))
        return known

    def _stored(
        self, places: set[int], committed: int, find: Callable[[AccountId], Account | None]
    ) -> dict[int, Entry]:
        wanted = [place for place in places if place < committed]
        if not wanted:
            return {}
        with self._database.connect() as connection:
            return read_at(connection, wanted, find)

    def _decided(self, places: set[int], known: Callable[[AccountId], Account]) -> dict[int, Entry]:
        found: dict[int, Entry] = {}
        for first, records in self._undecided.items() if places else ():
            found |= _at(places, first, records, known)
        return found


def _at(
    places: set[int], first: int, records: Sequence[Record], known: Callable[[AccountId], Account]
) -> dict[int, Entry]:
    found: dict[int, Entry] = {}
    for record in records:
        end = first + count((record,))
        if any(first <= place < end for place in places):
            found |= {first + n: entry for n, entry in enumerate(entries_of(record, known))}
        first = end
    return found
