"""Small ledgers for tests: named accounts, numbered entries, and a writer on a real database."""

import hashlib
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from sqlalchemy import Connection, inspect, text

from ledger import batch
from ledger.account import Account, Limit, Side
from ledger.batch import Command, Item, Recorded, Result, read_results
from ledger.book import Book, post
from ledger.columns import fold
from ledger.decision import Decision
from ledger.entry import Entry, Leg, Refusal, transfer
from ledger.leaf import ByteSource
from ledger.merkle import Frontier
from ledger.salt import seeded_salts
from ledger.seal import seal
from ledger.store.connect import Database, Lease, open_store, transaction
from ledger.store.differs import Differs
from ledger.store.kinds import kind_of
from ledger.store.queries import Answered, Segment, read_entries
from ledger.store.tables import APPEND_ONLY, append_only_statements, metadata, segments
from ledger.store.verify import Verified, verify
from ledger.store.writer import Writer
from ledger.transfers import Record, Transfers, count, entries_of
from tests.stores import triggers_off

Batch: TypeAlias = tuple[Entry, ...]

NOW_MS = 1_584_000_000_000
KIND = 0x0102
SALTS = seeded_salts(b"tests")
PATIENCE_S = 20
"""How long a test waits for an answer that must come."""

MINT = Account("mint", "USD", Side.DEBIT)
ALICE = Account("clients/alice", "USD", Side.CREDIT, Limit.DEBITS_MUST_NOT_EXCEED_CREDITS)
BOB = Account("clients/bob", "USD", Side.CREDIT, Limit.DEBITS_MUST_NOT_EXCEED_CREDITS)
TILL = Account("till", "USD", Side.DEBIT, Limit.CREDITS_MUST_NOT_EXCEED_DEBITS)
BTC_MINT = Account("mint", "BTC", Side.DEBIT)
BTC_ALICE = Account("clients/alice", "BTC")
ACCOUNTS = (MINT, ALICE, BOB, TILL, BTC_MINT, BTC_ALICE)


def entry(number: int, *legs: Leg, **fields: Any) -> Entry:
    """An entry whose id is ``number``; a field that is given stands instead of the usual one."""
    usual = {"entry_id": number.to_bytes(16, "big"), "kind": KIND, "effective_ms": NOW_MS, "legs": legs}
    return Entry(**{**usual, **fields})


def paid(number: int, source: Account, target: Account, amount: int, **fields: Any) -> Entry:
    """An entry that debits ``source`` and credits ``target``."""
    return entry(number, *transfer(source, target, amount), **fields)


OF_ONE_ENTRY = (
    Refusal.ENTRY_MALFORMED,
    Refusal.ENTRY_EMPTY,
    Refusal.ENTRY_ONE_LEGGED,
    Refusal.ENTRY_TOO_LONG,
    Refusal.AMOUNT_ZERO,
    Refusal.AMOUNT_OUT_OF_RANGE,
    Refusal.ENTRY_UNBALANCED,
    Refusal.ACCOUNT_EXISTS,
    Refusal.ACCOUNT_UNKNOWN,
    Refusal.ACCOUNT_DIFFERS,
    Refusal.BALANCE_OUT_OF_RANGE,
    Refusal.LIMIT_EXCEEDED,
)
"""What can be wrong with an entry that takes no step; the others are of batches, holds and reversals."""

OPENING = entry(0, opens=ACCOUNTS)


def apply(book: Book, entries: Batch, now_ms: int) -> Decision[Book]:
    """The decider of these tests: posts entries as they are, at the time it is told."""
    words, posted = [], []
    for one in entries:
        dated = replace(one, effective_ms=now_ms)
        after = post(book, dated)
        if isinstance(after, Refusal):
            words.append(after.value)
        else:
            book = after
            posted.append(dated)
            words.append("POSTED")
    refusals = len(entries) - len(posted)
    return Decision(state=book, entries=tuple(posted), answer=" ".join(words), refusals=refusals)


def book_of(*entries: Entry) -> Book:
    """The book after ``entries``, each of which must post."""
    book = Book()
    for one in entries:
        after = post(book, one)
        assert isinstance(after, Book), after
        book = after
    return book


# ------------------------------------------------------------------------------------------- without a database


def numbered(number: int) -> bytes:
    """The id that is ``number``."""
    return number.to_bytes(16, "big")


def segment_of(*records: Record, first_sequence: int = 0, first_salt: int = 0) -> Segment:
    """One segment with all of ``records``, as the writer makes it of one commit group."""
    sealed = seal(records, first_sequence=first_sequence, first_salt=first_salt, source=SALTS)
    return Segment(
        first_sequence=first_sequence,
        count=count(records),
        first_salt=first_salt,
        epoch=1,
        leaves=sealed.leaves,
        legs=sealed.legs,
        bodies=sealed.bodies,
        root=Frontier().extend(sealed.leaf_hashes).root(),
    )


@dataclass
class Desk:
    """A ledger that stands alone, without a store: what is decided is recorded at once."""

    book: Book = field(default_factory=Book)
    journal: list[Entry] = field(default_factory=list)
    known: dict[bytes, Recorded] = field(default_factory=dict)

    def apply(self, command: Command, now_ms: int = NOW_MS) -> Decision[Book]:
        """Decide ``command`` and record what comes of it."""
        names = {row.tobytes() for row in command.ids} if isinstance(command, Transfers) else command.names()
        known = {name: self.known[name] for name in names if name in self.known}
        decision = batch.apply(self.book, command, now_ms, known)
        self.book = decision.state
        for record in decision.entries:
            for one in entries_of(record, self.book.known):
                self.known[one.entry_id] = Recorded(len(self.journal), one)
                self.journal.append(one)
        return decision

    def results(
        self, *items: Item, now_ms: int = NOW_MS, linked: Collection[int] = (), **origin: str
    ) -> tuple[Result, ...]:
        """What comes of ``items``, sent as one batch."""
        command = batch.Batch(items=items, linked=frozenset(linked), **origin)
        return read_results(self.apply(command, now_ms).answer)

    def send(
        self, *items: Item, now_ms: int = NOW_MS, linked: Collection[int] = (), **origin: str
    ) -> list[str]:
        """The same, in words."""
        return [result.word for result in self.results(*items, now_ms=now_ms, linked=linked, **origin)]


# --------------------------------------------------------------------------------------------- on a real database


def open_database(url: str) -> Database:
    """The database at ``url``; an empty one gets the tables and triggers that the migration makes."""
    database = open_store(url)
    if not inspect(database).has_table(segments.name):
        with transaction(database) as connection:
            metadata.create_all(connection)
            for table in APPEND_ONLY:
                for statement in append_only_statements(table, kind_of(connection)):
                    connection.execute(text(statement))
    return database


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A connection to the database at ``url``, and to nothing else in the end."""
    database = open_database(url)
    try:
        with database.connect() as connection:
            yield connection
    finally:
        database.dispose()


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """A ledger at work: its database, its lease and its writer."""

    database: Database
    lease: Lease
    writer: Writer[Book, Batch]

    def submit(self, request_id: str, *entries: Entry) -> "Future[Answered]":
        """Queue a batch; what it says is its body."""
        body_hash = hashlib.sha256(repr(entries).encode()).digest()
        return self.writer.submit(request_id, body_hash, entries)

    def post(self, request_id: str, *entries: Entry) -> Answered:
        """Post a batch and wait for the answer."""
        return self.submit(request_id, *entries).result(PATIENCE_S)


@contextmanager
def ledger_at(
    url: str,
    *,
    decide: Callable[[Book, Batch, int], Decision[Book]] = apply,
    clock: Callable[[], int] = lambda: NOW_MS,
    salts: ByteSource = SALTS,
) -> Iterator[Ledger]:
    """A ledger on the database at ``url``, closed in the end."""
    database = open_database(url)
    try:
        with Lease.acquire(database) as lease:
            writer: Writer[Book, Batch] = Writer(
                database, lease, apply=decide, fold=fold, empty=Book(), clock=clock, salts=salts
            )
            with closing(writer):
                yield Ledger(database=database, lease=lease, writer=writer)
    finally:
        database.dispose()


@dataclass(frozen=True)
class Gate:
    """A decider that waits at an empty batch, so that what is sent meanwhile makes one group."""

    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def decide(self, book: Book, batch: Batch, now_ms: int) -> Decision[Book]:
        """Like ``apply``, when the gate is open."""
        if not batch:
            self.reached.set()
            assert self.opened.wait(PATIENCE_S)
        return apply(book, batch, now_ms)

    def in_one_group(
        self, ledger: Ledger, *requests: tuple[str, *tuple[Entry, ...]]
    ) -> list["Future[Answered]"]:
        """Send all ``requests``, each an id and its entries, so that one commit has them all."""
        ledger.submit(f"gate/{ledger.lease.epoch}")
        assert self.reached.wait(PATIENCE_S)
        futures = [ledger.submit(*request) for request in requests]
        self.opened.set()
        return futures


BROKEN = {
    "sqlite": ("CREATE TRIGGER broken BEFORE INSERT ON {} BEGIN SELECT RAISE(ABORT, 'broken'); END",),
    "postgresql": (
        """CREATE OR REPLACE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN RAISE EXCEPTION 'broken' USING DETAIL = NEW::text; END $$""",
        "CREATE TRIGGER broken BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION broken()",
    ),
}
MENDED = {"sqlite": "DROP TRIGGER broken", "postgresql": "DROP TRIGGER broken ON {}"}


@contextmanager
def refusing_inserts(database: Database, table: str) -> Iterator[None]:
    """As long as it lasts, the store refuses every row of ``table``."""
    kind = database.dialect.name
    with database.connect() as connection:
        for statement in BROKEN[kind]:
            connection.execute(text(statement.format(table)))
        yield
        connection.execute(text(MENDED[kind].format(table)))


# ------------------------------------------------------------------------------------ reading a database back


@contextmanager
def behind_its_back(url: str) -> Iterator[Connection]:
    """A connection of somebody who knows SQL but not the ledger: the triggers are off until it ends."""
    with connected(url) as connection, triggers_off(connection):
        yield connection


def rows(url: str, table: str) -> list[tuple[Any, ...]]:
    """All that stands in ``table``, in the order of its key."""
    with connected(url) as connection:
        return [tuple(row) for row in connection.execute(text(f"SELECT * FROM {table} ORDER BY 1"))]


def verified(url: str) -> Verified | Differs:
    """What verification of the database says."""
    with connected(url) as connection:
        return verify(connection)


def journal_of(url: str) -> list[Entry]:
    """Every entry in the database."""
    with connected(url) as connection:
        return list(read_entries(connection))
