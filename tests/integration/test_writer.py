"""The single writer on a real database: groups, ids, faults of the store, and what stops it."""

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from ledger.book import Book
from ledger.decision import Decision
from ledger.entry import Entry, debit
from ledger.merkle import tree_root
from ledger.require import InvariantViolated
from ledger.seal import seal
from ledger.store import connect
from ledger.store.connect import Database, Lease, LeaseHeld, LeaseLost, open_store, without_password
from ledger.store.kinds import kind_of
from ledger.store.queries import Answered
from ledger.store.tables import metadata
from ledger.store.verify import Verified
from ledger.store.writer import GROUP_MAX, ClockWentBack, RequestReused, StoreUnavailable
from tests.ledgers import (
    ACCOUNTS,
    ALICE,
    BOB,
    MINT,
    NOW_MS,
    OPENING,
    PATIENCE_S,
    SALTS,
    Batch,
    Gate,
    Ledger,
    apply,
    behind_its_back,
    connected,
    entry,
    journal_of,
    ledger_at,
    open_database,
    paid,
    refusing_inserts,
    rows,
    verified,
)
from tests.stores import file_of

ROOT = Path(__file__).parents[2]
only_on_sqlite = pytest.mark.parametrize("store_kind", ["sqlite"], indirect=True)
only_on_postgresql = pytest.mark.parametrize("store_kind", ["postgresql"], indirect=True)
FUNDING = (OPENING, paid(1, MINT, ALICE, 1_000))
OVERDRAFT = paid(99, BOB, MINT, 10**9)


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    """Alice has 1,000 USD; two entries are recorded."""
    with ledger_at(url) as opened:
        opened.post("funding", *FUNDING)
        yield opened


def payment(number: int, amount: int = 1) -> Entry:
    return paid(number, ALICE, BOB, amount)


# ---------------------------------------------------------------------------------------------------- answers


def test_an_answer_says_what_was_posted_and_where(ledger: Ledger) -> None:
    answered = ledger.post("r1", payment(2), OVERDRAFT, payment(3))
    assert answered.answer == "POSTED LIMIT_EXCEEDED POSTED"
    assert (answered.first_sequence, answered.count, answered.refusals) == (2, 2, 1)
    assert not answered.replayed
    assert ledger.writer.view.size == 4
    assert ledger.writer.view.state.balance(BOB) == 2


def test_a_view_that_a_reader_holds_does_not_move(ledger: Ledger) -> None:
    held = ledger.writer.view
    ledger.post("r1", payment(2))
    assert (held.size, held.state.balance(BOB)) == (2, 0)
    assert ledger.writer.view.size == 3


def test_the_same_request_gets_the_first_answer_and_is_written_once(ledger: Ledger, url: str) -> None:
    first = ledger.post("r1", payment(2))
    again = ledger.post("r1", payment(2))
    assert again.replayed
    assert not first.replayed
    assert (again.answer, again.first_sequence, again.count) == (first.answer, 2, 1)
    assert [one.entry_id[-1] for one in journal_of(url)] == [0, 1, 2]


def test_the_same_request_gets_the_first_answer_after_a_restart(url: str) -> None:
    with ledger_at(url) as ledger:
        ledger.post("funding", *FUNDING)
        ledger.post("r1", payment(2), OVERDRAFT)
    with ledger_at(url) as ledger:
        again = ledger.post("r1", payment(2), OVERDRAFT)
        assert (again.replayed, again.answer, again.first_sequence) == (True, "POSTED LIMIT_EXCEEDED", 2)
        with pytest.raises(RequestReused, match="r1"):
            ledger.post("r1", payment(2))
    assert len(journal_of(url)) == 3


def test_the_same_request_twice_in_one_group_is_decided_once(url: str) -> None:
    gate = Gate()
    with ledger_at(url, decide=gate.decide) as ledger:
        ledger.post("funding", *FUNDING)
        futures = gate.in_one_group(ledger, ("r1", payment(2)), ("r1", payment(2)), ("r1", payment(3)))
        first, again = (future.result(PATIENCE_S) for future in futures[:2])
        with pytest.raises(RequestReused):
            futures[2].result(PATIENCE_S)
        assert (first.replayed, again.replayed) == (False, True)
        assert first.first_sequence == again.first_sequence == 2
        assert ledger.writer.view.size == 3
    assert len(rows(url, "segments")) == 2


def test_another_body_under_a_used_id_is_an_error_and_writes_nothing(ledger: Ledger, url: str) -> None:
    ledger.post("r1", payment(2))
    before = rows(url, "segments"), rows(url, "requests")
    with pytest.raises(RequestReused):
        ledger.post("r1", payment(2, amount=2))
    assert (rows(url, "segments"), rows(url, "requests")) == before


def test_a_refusal_is_an_answer_and_is_kept_too(ledger: Ledger, url: str) -> None:
    first = ledger.post("r1", OVERDRAFT)
    ledger.post("r2", paid(2, MINT, BOB, 10**9))
    again = ledger.post("r1", OVERDRAFT)
    assert (first.answer, again.answer) == ("LIMIT_EXCEEDED", "LIMIT_EXCEEDED")
    assert (first.count, first.refusals, again.replayed) == (0, 1, True)
    assert ledger.post("r3", OVERDRAFT).answer == "POSTED"
    assert len(journal_of(url)) == 4


@pytest.mark.parametrize("request_id", ["", "a b", "a\n", "é", "\ud800", "\x00", "r" * 129])
def test_a_malformed_request_id_is_refused_at_the_door_and_harms_nobody(
    ledger: Ledger, request_id: str
) -> None:
    with pytest.raises(ValueError, match="request id"):
        ledger.submit(request_id, payment(2))
    assert ledger.post("r1", payment(2)).answer == "POSTED"
    assert ledger.post("r" * 128, payment(3)).answer == "POSTED"


@pytest.mark.parametrize("body_hash", [b"", bytes(31), bytes(33)])
def test_a_body_hash_has_32_bytes(ledger: Ledger, body_hash: bytes) -> None:
    with pytest.raises(ValueError, match="body hash"):
        ledger.writer.submit("r1", body_hash, ())


# ----------------------------------------------------------------------------------------------------- groups


def test_commands_that_wait_share_one_commit(url: str) -> None:
    gate = Gate()
    with ledger_at(url, decide=gate.decide) as ledger:
        ledger.post("funding", *FUNDING)
        requests = [(f"r{n}", payment(n)) for n in range(2, 42)]
        futures = gate.in_one_group(ledger, *requests)
        answers = [future.result(PATIENCE_S) for future in futures]
    assert [answered.first_sequence for answered in answers] == list(range(2, 42))
    assert [row[:2] for row in rows(url, "segments")] == [(0, 2), (2, 40)]


def test_a_group_has_a_limit_and_the_rest_waits_for_the_next(url: str) -> None:
    gate = Gate()
    with ledger_at(url, decide=gate.decide) as ledger:
        ledger.post("funding", *FUNDING)
        requests = [(f"r{n}", paid(n, MINT, BOB, 1)) for n in range(GROUP_MAX + 1)]
        futures = gate.in_one_group(ledger, *requests)
        assert all(future.result(PATIENCE_S).count == 1 for future in futures)
    assert [row[1] for row in rows(url, "segments")] == [2, GROUP_MAX, 1]


def test_each_command_is_decided_on_what_the_one_before_left(url: str) -> None:
    gate = Gate()
    with ledger_at(url, decide=gate.decide) as ledger:
        ledger.post("funding", *FUNDING)
        futures = gate.in_one_group(
            ledger, ("r1", payment(2, 600)), ("r2", payment(3, 600)), ("r3", payment(4, 400))
        )
        answers = [future.result(PATIENCE_S).answer for future in futures]
    assert answers == ["POSTED", "LIMIT_EXCEEDED", "POSTED"]


def test_a_group_in_which_all_is_refused_writes_answers_and_no_segment(url: str) -> None:
    gate = Gate()
    with ledger_at(url, decide=gate.decide) as ledger:
        ledger.post("funding", *FUNDING)
        futures = gate.in_one_group(ledger, ("r1", OVERDRAFT), ("r2", OVERDRAFT), ("r3",))
        assert [future.result(PATIENCE_S).refusals for future in futures] == [1, 1, 0]
        assert len(rows(url, "segments")) == 1
        assert len(rows(url, "requests")) == 5
        assert ledger.post("r4", payment(2)).first_sequence == 2
    assert isinstance(verified(url), Verified)


@pytest.mark.parametrize("sizes", [(12,), (1,) * 12, (5, 1, 6), (2, 0, 10)])
def test_grouping_and_restarts_change_neither_root_nor_bytes(url: str, sizes: tuple[int, ...]) -> None:
    numbers = iter(range(2, 14))
    for restart, size in enumerate(sizes):
        gate = Gate()
        with ledger_at(url, decide=gate.decide) as ledger:
            if restart == 0:
                ledger.post("funding", *FUNDING)
            requests = [(f"r{n}", payment(n)) for n in islice(numbers, size)]
            futures = gate.in_one_group(ledger, *requests)
            assert all(future.result(PATIENCE_S).count == 1 for future in futures)
    found = verified(url)
    whole = [*FUNDING, *(payment(n) for n in range(2, 14))]
    sealed = seal(whole, first_sequence=0, first_salt=0, source=SALTS)
    assert isinstance(found, Verified)
    assert found.root == tree_root(sealed.leaf_hashes)
    stored = rows(url, "segments")
    assert b"".join(row[4] for row in stored) == sealed.leaves
    assert b"".join(row[5] for row in stored) == sealed.legs
    assert b"".join(row[6] for row in stored) == sealed.bodies


def test_many_callers_at_once_get_each_its_own_answer(ledger: Ledger, url: str) -> None:
    def call(number: int) -> list[Answered]:
        ids = [number * 100 + turn for turn in range(5)]
        return [ledger.post(f"r{n}", paid(n, MINT, BOB, n + 1)) for n in ids]

    with ThreadPoolExecutor(64) as callers:
        answers = dict(enumerate(callers.map(call, range(64))))
    journal = journal_of(url)
    for number, answered in answers.items():
        for turn, one in enumerate(answered):
            assert int.from_bytes(journal[one.first_sequence].entry_id, "big") == number * 100 + turn
    sequences = sorted(one.first_sequence for answered in answers.values() for one in answered)
    assert sequences == list(range(2, 322))
    assert len(rows(url, "segments")) < 321, "some shared a commit"


# -------------------------------------------------------------------------------------- what stops the writer


class Bug(Exception):
    """A decider's mistake."""


def buggy(book: Book, batch: Batch, now_ms: int) -> Decision[Book]:
    if OVERDRAFT in batch:
        raise Bug("the decider is wrong")
    return apply(book, batch, now_ms)


def resigning(book: Book, batch: Batch, now_ms: int) -> Decision[Book]:
    if OVERDRAFT in batch:
        raise SystemExit("the decider ends the process")
    return apply(book, batch, now_ms)


def test_a_decider_that_raises_stops_the_writer_for_good(url: str) -> None:
    with ledger_at(url, decide=buggy) as ledger:
        ledger.post("funding", *FUNDING)
        before, view = rows(url, "requests"), ledger.writer.view
        for request in (("r1", OVERDRAFT), ("r2", payment(2)), ("funding", *FUNDING)):
            with pytest.raises(Bug):
                ledger.post(*request)
        assert isinstance(ledger.writer.stopped, Bug)
        assert ledger.writer.view is view
        assert rows(url, "requests") == before
    with ledger_at(url) as ledger:
        assert ledger.post("r2", payment(2)).first_sequence == 2


def test_a_decider_that_wants_to_end_the_process_leaves_nobody_waiting(url: str) -> None:
    with ledger_at(url, decide=resigning) as ledger:
        for request in (("r1", OVERDRAFT), ("r2", OPENING)):
            with pytest.raises(InvariantViolated, match="SystemExit"):
                ledger.post(*request)
    assert rows(url, "requests") == []


def test_nothing_of_a_group_is_written_when_one_of_its_deciders_raises(url: str) -> None:
    gate = Gate()

    def decide(book: Book, batch: Batch, now_ms: int) -> Decision[Book]:
        return gate.decide(book, batch, now_ms) if not batch else buggy(book, batch, now_ms)

    with ledger_at(url, decide=decide) as ledger:
        ledger.post("funding", *FUNDING)
        for future in gate.in_one_group(ledger, ("r1", payment(2)), ("r2", OVERDRAFT), ("r3", payment(3))):
            with pytest.raises(Bug):
                future.result(PATIENCE_S)
    assert len(journal_of(url)) == 2


def unscrupulous(entries: Batch) -> Callable[[Book, Batch, int], Decision[Book]]:
    """A decider that hands over ``entries`` whether or not the book would have them."""
    return lambda book, _, __: Decision(state=book, entries=entries, answer="")


@pytest.mark.parametrize(
    "broken",
    [
        paid(1, MINT, ALICE, 5, entry_id=bytes(15)),
        entry(1, debit(MINT, 5)),
        paid(1, MINT, ALICE, 5, kind=0),
        paid(1, MINT, ALICE, 2**127),
        paid(1, MINT, ALICE, 5, effective_ms=NOW_MS + 1),
        paid(1, MINT, ALICE, 5, effective_ms=NOW_MS - 1),
        entry(1, fact={"amount": 5}),
    ],
)
def test_an_entry_that_could_not_be_replayed_is_not_written(url: str, broken: Entry) -> None:
    with ledger_at(url, decide=unscrupulous((broken,))) as ledger:
        with pytest.raises((InvariantViolated, ValueError)):
            ledger.post("r1")
        assert ledger.writer.stopped is not None
    assert (rows(url, "segments"), rows(url, "requests")) == ([], [])


def test_a_clock_that_went_back_stops_writing_until_it_has_caught_up(url: str) -> None:
    clock = iter([NOW_MS, NOW_MS - 1, NOW_MS - 1, NOW_MS, NOW_MS + 5])
    with ledger_at(url, clock=lambda: next(clock)) as ledger:
        ledger.post("funding", *FUNDING)
        for _ in range(2):
            with pytest.raises(ClockWentBack, match=str(NOW_MS)):
                ledger.post("r1", payment(2))
        assert ledger.post("r1", payment(2)).first_sequence == 2
        assert ledger.post("r2", payment(3)).first_sequence == 3
    assert [one.effective_ms - NOW_MS for one in journal_of(url)] == [0, 0, 0, 5]


def test_the_clock_is_held_against_the_journal_after_a_restart(url: str) -> None:
    with ledger_at(url) as ledger:
        ledger.post("funding", *FUNDING)
    with ledger_at(url, clock=lambda: NOW_MS - 1) as ledger:
        assert ledger.writer.view.time_ms == NOW_MS
        with pytest.raises(ClockWentBack):
            ledger.post("r1", payment(2))
        assert ledger.post("funding", *FUNDING).replayed, "an old answer needs no clock"


# ------------------------------------------------------------------------------------------- closing, waiting


def test_closing_finishes_what_waits(url: str) -> None:
    gate = Gate()
    with ledger_at(url, decide=gate.decide) as ledger:
        ledger.post("funding", *FUNDING)
        ledger.submit("gate")
        assert gate.reached.wait(PATIENCE_S)
        futures = [ledger.submit(f"r{n}", payment(n)) for n in range(2, 5)]
        closing_thread = threading.Thread(target=ledger.writer.close)
        closing_thread.start()
        gate.opened.set()
        closing_thread.join(PATIENCE_S)
        assert not closing_thread.is_alive()
        assert [future.result(0).first_sequence for future in futures] == [2, 3, 4]


def test_a_command_after_the_end_is_told_so_at_once(ledger: Ledger, url: str) -> None:
    ledger.writer.close()
    ledger.writer.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        ledger.submit("r1", payment(2)).result(0)
    assert len(rows(url, "requests")) == 1


def test_no_caller_is_left_waiting_when_the_writer_closes_among_them(url: str) -> None:
    for _ in range(5):
        with ledger_at(url) as ledger:
            start = threading.Barrier(9)

            def call(number: int, ledger: Ledger = ledger, start: threading.Barrier = start) -> list[Any]:
                start.wait(PATIENCE_S)
                return [ledger.submit(f"{number}-{n}", OVERDRAFT) for n in range(50)]

            with ThreadPoolExecutor(8) as callers:
                calls = [callers.submit(call, number) for number in range(8)]
                start.wait(PATIENCE_S)
                ledger.writer.close()
                for future in [one for made in calls for one in made.result(PATIENCE_S)]:
                    assert future.exception(PATIENCE_S) is None or isinstance(
                        future.exception(), StoreUnavailable
                    )


def test_a_command_that_its_caller_cancelled_is_not_decided_and_stops_nobody(url: str) -> None:
    gate = Gate()
    clock = iter([NOW_MS, NOW_MS, NOW_MS, NOW_MS])
    with ledger_at(url, decide=gate.decide, clock=lambda: next(clock)) as ledger:
        ledger.post("funding", *FUNDING)
        ledger.submit("gate")
        assert gate.reached.wait(PATIENCE_S)
        cancelled = ledger.submit("r1", payment(2))
        wanted = ledger.submit("r2", payment(3))
        assert cancelled.cancel()
        gate.opened.set()
        assert wanted.result(PATIENCE_S).first_sequence == 2
        assert not wanted.cancel()
        assert ledger.post("r1", payment(2)).first_sequence == 3
        assert ledger.writer.stopped is None


def test_a_group_of_cancelled_commands_writes_nothing(url: str) -> None:
    gate = Gate()
    with ledger_at(url, decide=gate.decide) as ledger:
        ledger.submit("gate")
        assert gate.reached.wait(PATIENCE_S)
        assert all(ledger.submit(f"r{n}", OPENING).cancel() for n in range(3))
        gate.opened.set()
        assert ledger.post("r9", OPENING).first_sequence == 0
    assert len(journal_of(url)) == 1


# -------------------------------------------------------------------------------------------------- the lease


def test_a_lease_that_was_given_back_can_be_taken_at_once(url: str) -> None:
    database = open_database(url)
    for number in range(1, 101):
        with Lease.acquire(database) as lease:
            assert lease.epoch == number
    database.dispose()


def test_a_second_engine_in_the_process_is_refused(ledger: Ledger, url: str) -> None:
    with pytest.raises(LeaseHeld), ledger_at(url):
        pass
    assert ledger.post("r1", payment(2)).count == 1


def asked_by_another_process(url: str) -> str:
    program = (
        "import sys\n"
        "from ledger.store.connect import Lease, LeaseHeld, open_store\n"
        "try:\n    Lease.acquire(open_store(sys.argv[1]))\n"
        "except LeaseHeld as held:\n    print('held:', held)\n"
    )
    command = [sys.executable, "-c", program, url]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout


def test_a_second_process_is_refused_at_once(ledger: Ledger, url: str) -> None:
    assert asked_by_another_process(url).startswith("held: another process")
    assert ledger.post("r1", payment(2)).count == 1


@only_on_sqlite
def test_a_second_process_is_refused_by_whatever_name_it_calls_the_file(ledger: Ledger, url: str) -> None:
    path = file_of(url)
    alias = path.with_name("alias.db")
    alias.symlink_to(path)
    for name in (alias, path.parent / "." / path.name):
        assert asked_by_another_process(f"sqlite:///{name}").startswith("held: another process")
    alias.unlink()


def test_each_writer_has_an_epoch_of_its_own(url: str) -> None:
    epochs = []
    for number in range(3):
        with ledger_at(url) as ledger:
            epochs.append(ledger.lease.epoch)
            ledger.post(f"r{number}", *(FUNDING if number == 0 else (payment(number),)))
    assert epochs == [1, 2, 3]
    assert [row[3] for row in rows(url, "segments")] == [1, 2, 3]


@pytest.mark.parametrize("change", ["UPDATE lease SET epoch = epoch + 1", "DELETE FROM lease"])
def test_a_writer_whose_lease_was_taken_commits_nothing_more(ledger: Ledger, url: str, change: str) -> None:
    before, view = (rows(url, "segments"), rows(url, "requests")), ledger.writer.view
    with behind_its_back(url) as connection:
        connection.execute(text(change))
    for request in (("r1", payment(2)), ("r2", OVERDRAFT), ("r3", payment(3))):
        with pytest.raises(LeaseLost):
            ledger.post(*request)
    assert isinstance(ledger.writer.stopped, LeaseLost)
    assert (rows(url, "segments"), rows(url, "requests")) == before
    assert ledger.writer.view is view


@only_on_sqlite
def test_a_deleted_lock_file_lets_a_second_writer_in_and_the_first_one_out(ledger: Ledger, url: str) -> None:
    Path(f"{file_of(url)}.lease").unlink()
    with ledger_at(url) as second:
        assert second.post("r1", payment(2)).first_sequence == 2
        with pytest.raises(LeaseLost):
            ledger.post("r2", payment(3))
        assert second.post("r2", payment(3)).first_sequence == 3
    assert isinstance(verified(url), Verified)


def test_a_lease_that_could_not_be_entered_in_the_database_is_not_kept(url: str) -> None:
    database = open_store(url)
    try:
        with pytest.raises(DBAPIError, match="lease"):
            Lease.acquire(database)
    finally:
        database.dispose()
    with ledger_at(url) as ledger:
        assert ledger.post("r1", OPENING).count == 1


class NoLock:
    """A lock that lets everybody in."""

    def is_held(self) -> bool:
        return True

    def release(self) -> None:
        pass


def test_two_writers_never_get_the_same_epoch_even_without_the_lock(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_database(url)
    monkeypatch.setattr(type(kind_of(database)), "lock", lambda *_: NoLock())

    def acquire(_: int) -> int:
        with Lease.acquire(database) as lease:
            return lease.epoch

    with ThreadPoolExecutor(8) as threads:
        acquire(0)
        epochs = list(threads.map(acquire, range(100)))
    database.dispose()
    assert sorted(epochs) == list(range(2, 102))


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("sqlite://", "sqlite:///FILE"),
        ("sqlite:///", "sqlite:///FILE"),
        ("sqlite:///:memory:", "sqlite:///FILE"),
        ("sqlite://host/file", "sqlite:///FILE"),
        ("sqlite+pysqlcipher:///file", "sqlite:///FILE"),
        ("postgresql://", "postgresql://USER@HOST/DATABASE"),
        ("postgresql://host/", "postgresql://USER@HOST/DATABASE"),
        ("postgresql+psycopg2://host/db", "postgresql://USER@HOST/DATABASE"),
        ("mysql://host/db", "sqlite:///FILE or postgresql://USER@HOST/DATABASE"),
        ("postgresql://user:secret@host:port/db", "sqlite:///FILE or postgresql://USER@HOST/DATABASE"),
        ("journal.db", "sqlite:///FILE or postgresql://USER@HOST/DATABASE"),
    ],
)
def test_a_store_is_a_file_or_a_database_of_a_server(address: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as refused:
        open_store(address)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+psycopg"])
def test_a_password_is_not_shown(driver: str) -> None:
    address = f"{driver}://user:secret@host/db"
    assert "secret" not in repr(open_store(address))
    assert without_password(address) == f"{driver}://user:***@host/db"


# ---------------------------------------------------------------------------------------- faults of the store


@contextmanager
def session(database: Database, on: str, off: str) -> Iterator[None]:
    """Every connection that is taken from the pool gets ``on``, and later ``off``."""
    now = [on]

    def checkout(connection: Any, *_: object) -> None:
        connection.execute(now[0])

    event.listen(database, "checkout", checkout)
    yield
    now[0] = off


def failing_trigger(ledger: Ledger, table: str) -> AbstractContextManager[None]:
    return refusing_inserts(ledger.database, table)


@contextmanager
def full_disk(ledger: Ledger) -> Iterator[None]:
    with session(ledger.database, "PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000"):
        yield


READ_ONLY = {
    "sqlite": ("PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
    "postgresql": ("SET default_transaction_read_only = on", "SET default_transaction_read_only = off"),
}


@contextmanager
def read_only(ledger: Ledger) -> Iterator[None]:
    with session(ledger.database, *READ_ONLY[ledger.database.dialect.name]):
        yield


IMPATIENT = {"sqlite": "PRAGMA busy_timeout = 20", "postgresql": "SET lock_timeout = 20"}
LOCKED = {
    "sqlite": ("BEGIN IMMEDIATE",),
    "postgresql": ("BEGIN", "LOCK TABLE lease IN ACCESS EXCLUSIVE MODE"),
}


@contextmanager
def locked(ledger: Ledger) -> Iterator[None]:
    kind = ledger.database.dialect.name
    with (
        session(ledger.database, IMPATIENT[kind], IMPATIENT[kind]),
        ledger.database.connect() as other,
    ):
        for statement in LOCKED[kind]:
            other.execute(text(statement))
        yield
        other.execute(text("ROLLBACK"))


@contextmanager
def unreadable(ledger: Ledger) -> Iterator[None]:
    with ledger.database.connect() as connection:
        connection.execute(text("ALTER TABLE requests RENAME TO lost"))
        yield
        connection.execute(text("ALTER TABLE lost RENAME TO requests"))


@contextmanager
def cut_off(ledger: Ledger) -> Iterator[None]:
    """Whoever begins to write loses the connection; the one that holds the lock does nothing and keeps it."""

    def cut(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if is_down and statement == kind_of(connection).begin:
            terminate(connection)

    is_down = True
    event.listen(ledger.database, "before_cursor_execute", cut)
    yield
    is_down = False


def session_of(connection: Connection) -> Any:
    """What psycopg calls a connection."""
    return connection.connection.dbapi_connection


def terminate(connection: Connection) -> None:
    """Let the server end the session behind ``connection``, and wait until it has."""
    pid = session_of(connection).info.backend_pid
    with psycopg.connect(connection.engine.url.set(drivername="postgresql").render_as_string(False)) as other:
        ended = other.execute("SELECT pg_terminate_backend(%s, %s)", (pid, PATIENCE_S * 1_000)).fetchone()
    assert ended == (True,)


FAULTS: dict[str, Callable[[Ledger], Any]] = {
    "segments refused": lambda ledger: failing_trigger(ledger, "segments"),
    "answers refused": lambda ledger: failing_trigger(ledger, "requests"),
    "read only": read_only,
    "locked": locked,
    "unreadable": unreadable,
}
FAULTS_OF = {"sqlite": {**FAULTS, "disk full": full_disk}, "postgresql": {**FAULTS, "cut off": cut_off}}


@pytest.mark.parametrize(
    ("store_kind", "fault"),
    [
        pytest.param(kind, fault, id=f"{kind}-{name}")
        for kind, faults in FAULTS_OF.items()
        for name, fault in faults.items()
    ],
    indirect=["store_kind"],
)
def test_a_fault_of_the_store_changes_nothing_and_passes(
    ledger: Ledger, url: str, fault: Callable[[Ledger], Any]
) -> None:
    view, before = ledger.writer.view, rows(url, "segments")
    large = tuple(paid(number, ALICE, BOB, 1, fact="x" * 100_000) for number in range(2, 6))
    with fault(ledger):
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                ledger.post("r1", *large)
        assert ledger.writer.view is view
        assert rows(url, "segments") == before
    answered = ledger.post("r1", *large)
    assert (answered.first_sequence, answered.count, answered.replayed) == (2, 4, False)
    assert ledger.writer.stopped is None
    found = verified(url)
    assert isinstance(found, Verified)
    assert (found.size, found.root) == (6, ledger.writer.view.frontier.root())


def test_a_refused_command_is_not_told_as_decided_when_the_store_failed(ledger: Ledger) -> None:
    with failing_trigger(ledger, "requests"), pytest.raises(StoreUnavailable):
        ledger.post("r1", OVERDRAFT)
    assert not ledger.post("r1", OVERDRAFT).replayed


def test_an_old_answer_is_given_even_when_the_rest_of_its_group_fails(url: str) -> None:
    gate = Gate()
    with ledger_at(url, decide=gate.decide) as ledger:
        ledger.post("funding", *FUNDING)
        with failing_trigger(ledger, "segments"):
            old, new, other = gate.in_one_group(
                ledger, ("funding", *FUNDING), ("r1", payment(2)), ("r1", payment(3))
            )
            assert old.result(PATIENCE_S).replayed
            for future in (new, other):
                with pytest.raises(StoreUnavailable):
                    future.result(PATIENCE_S)
        assert ledger.post("r1", payment(3)).first_sequence == 2


def test_a_message_of_the_store_shows_nobody_what_was_asked_or_answered(ledger: Ledger) -> None:
    with failing_trigger(ledger, "requests"), pytest.raises(StoreUnavailable) as told:
        ledger.post("secret-id", payment(2))
    assert "broken" in str(told.value)
    assert "secret" not in str(told.value)
    assert "POSTED" not in str(told.value)


# --------------------------------------------------------------------------------- commits of unknown outcome


class Wire:
    """Breaks once at a statement: before the store has heard it, or after, when its answer is lost.

    If ``for_good``, nothing is heard any more until :meth:`mend`.
    """

    def __init__(self, database: Database, at: str, *, heard: bool, for_good: bool = False) -> None:
        self.at, self.heard, self.for_good = at, heard, for_good
        self.has_broken = self.is_mended = False
        event.listen(database, "before_cursor_execute", self.before)
        event.listen(database, "after_cursor_execute", self.after)

    def mend(self) -> None:
        self.is_mended = True

    def before(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        is_down = self.has_broken and self.for_good and not self.is_mended
        if is_down or (statement == self.at and not self.has_broken and not self.heard):
            self.fail(statement)

    def after(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement == self.at and not self.has_broken and self.heard:
            self.fail(statement)

    def fail(self, statement: str) -> None:
        self.has_broken = True
        raise OperationalError(statement, None, ConnectionError("the wire broke"))


@pytest.mark.parametrize(
    "request_",
    [("r1", payment(2)), ("r1", payment(2), OVERDRAFT), ("r1", OVERDRAFT)],
    ids=["posted", "both", "refused"],
)
def test_a_commit_that_happened_is_answered_though_its_answer_was_lost(
    ledger: Ledger, url: str, request_: tuple[str, *tuple[Entry, ...]]
) -> None:
    wire = Wire(ledger.database, "COMMIT", heard=True)
    answered = ledger.post(*request_)
    assert wire.has_broken
    assert answered.answer == apply(ledger_book(url, 2), request_[1:], NOW_MS).answer
    assert ledger.writer.view.size == 2 + answered.count == len(journal_of(url))
    assert ledger.post("r2", payment(3)).first_sequence == ledger.writer.view.size - 1
    assert ledger.post(*request_).replayed
    assert isinstance(verified(url), Verified)


def ledger_book(url: str, size: int) -> Book:
    book = Book()
    for one in journal_of(url)[:size]:
        book = apply(book, (one,), one.effective_ms).state
    return book


@pytest.mark.parametrize("one", [payment(2), OVERDRAFT], ids=["posted", "refused"])
def test_a_commit_that_did_not_happen_is_told_so_and_can_be_sent_again(
    ledger: Ledger, url: str, one: Entry
) -> None:
    Wire(ledger.database, "COMMIT", heard=False)
    with pytest.raises(StoreUnavailable):
        ledger.post("r1", one)
    assert len(journal_of(url)) == ledger.writer.view.size == 2
    again = ledger.post("r1", one)
    assert (again.first_sequence, again.replayed) == (2, False)


@pytest.mark.parametrize("heard", [True, False])
def test_a_store_that_is_lost_before_the_commit_may_come_back(ledger: Ledger, heard: bool) -> None:
    wire = Wire(ledger.database, kind_of(ledger.database).begin, heard=heard, for_good=True)
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            ledger.post("r1", payment(2))
    wire.mend()
    assert ledger.post("r1", payment(2)).first_sequence == 2


# ----------------------------------------------------------------------- a connection that is really cut off


@only_on_postgresql
@pytest.mark.parametrize("heard", [True, False])
def test_a_connection_cut_at_commit_is_settled_by_what_is_on_disk(
    ledger: Ledger, url: str, heard: bool
) -> None:
    cuts: list[str] = []

    def cut(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if statement == "COMMIT" and not cuts:
            cuts.append(statement)
            if heard:
                session_of(connection).execute("COMMIT")
            terminate(connection)

    event.listen(ledger.database, "before_cursor_execute", cut)
    if heard:
        assert ledger.post("r1", payment(2)).first_sequence == 2
    else:
        with pytest.raises(StoreUnavailable, match="the commit failed"):
            ledger.post("r1", payment(2))
    assert cuts
    assert ledger.writer.view.size == len(journal_of(url)) == 2 + heard
    again = ledger.post("r1", payment(2))
    assert (again.first_sequence, again.replayed) == (2, heard)
    assert isinstance(verified(url), Verified)


@only_on_postgresql
def test_a_commit_still_on_its_way_is_waited_for(
    ledger: Ledger, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wire breaks, and the COMMIT gets to the server only when the writer asks what became of it."""
    late: list[Connection] = []

    def delay(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if statement == "COMMIT" and not late:
            connection.detach()
            late.append(connection)
            raise OperationalError(statement, None, ConnectionError("the wire broke"))

    # What the writer does to its end of a broken wire does not get to the server either.
    roll_back, close = connect._roll_back, Connection.close
    monkeypatch.setattr(connect, "_roll_back", lambda c: None if c in late else roll_back(c))
    monkeypatch.setattr(Connection, "close", lambda c: None if c in late else close(c))
    event.listen(ledger.database, "before_cursor_execute", delay)
    future = ledger.submit("r1", payment(2))
    require_that_someone_waits_for_a_lock(url)
    assert not future.done()
    session_of(late[0]).execute("COMMIT")
    assert future.result(PATIENCE_S).first_sequence == 2
    assert ledger.writer.view.size == len(journal_of(url)) == 3
    close(late[0])


def require_that_someone_waits_for_a_lock(url: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    with connected(url) as connection:
        waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        while not connection.execute(waiting).scalar_one():
            assert time.monotonic() < deadline, "nobody waits for a lock"
            time.sleep(0.01)


@only_on_postgresql
def test_nobody_takes_over_between_the_check_and_the_commit(ledger: Ledger, url: str) -> None:
    taken = "UPDATE lease SET epoch = epoch + 1"
    with connect.transaction(ledger.database) as committing, connected(url) as thief:
        ledger.lease.check(committing)
        thief.execute(text("SET lock_timeout = 20"))
        with pytest.raises(OperationalError, match="lock timeout"):
            thief.execute(text(taken))
    with connected(url) as thief:
        thief.execute(text(taken))
    with pytest.raises(LeaseLost, match="epoch 1 was replaced by 2"):
        ledger.post("r1", payment(2))


# ------------------------------------------------------------------------------------------------ append-only


@only_on_sqlite
@pytest.mark.parametrize("table", ["segments", "requests"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {table} SET count = 0",
        "DELETE FROM {table}",
        "INSERT OR REPLACE INTO {table} SELECT * FROM {table}",
        "REPLACE INTO {table} SELECT * FROM {table}",
        "UPDATE OR REPLACE {table} SET count = 0",
        "INSERT INTO {table} SELECT * FROM {table} WHERE true ON CONFLICT DO UPDATE SET count = 0",
    ],
)
def test_what_was_written_cannot_be_changed_with_sql(
    ledger: Ledger, url: str, table: str, statement: str
) -> None:
    before = rows(url, table)
    with closing(sqlite3.connect(file_of(url), isolation_level=None)) as raw:
        with pytest.raises(sqlite3.IntegrityError, match=f"{table} is append-only"):
            raw.execute(statement.format(table=table))
        raw.execute("PRAGMA recursive_triggers = ON")
        with pytest.raises(sqlite3.IntegrityError, match=f"{table} is append-only"):
            raw.execute(statement.format(table=table))
    assert rows(url, table) == before
    assert ledger.post("r1", payment(2)).count == 1


@only_on_postgresql
@pytest.mark.parametrize("table", ["segments", "requests"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {table} SET count = 0",
        "UPDATE {table} SET count = 0 WHERE false",
        "DELETE FROM {table}",
        "TRUNCATE {table}",
        "TRUNCATE {table} CASCADE",
        "INSERT INTO {table} SELECT * FROM {table} ON CONFLICT ({key}) DO UPDATE SET count = 0",
        "MERGE INTO {table} USING lease ON true WHEN MATCHED THEN DELETE",
        "SET session_replication_role = replica; DELETE FROM {table}",
    ],
)
def test_what_was_written_cannot_be_changed_on_a_server(
    ledger: Ledger, url: str, table: str, statement: str
) -> None:
    before, (key,) = rows(url, table), metadata.tables[table].primary_key.columns.keys()
    with connected(url) as connection, pytest.raises(IntegrityError, match=f"{table} is append-only"):
        connection.execute(text(statement.format(table=table, key=key)))
    assert rows(url, table) == before
    assert ledger.post("r1", payment(2)).count == 1


@only_on_sqlite
def test_a_commit_that_returned_is_on_disk(ledger: Ledger) -> None:
    with ledger.database.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 2, "FULL"


@only_on_postgresql
def test_a_commit_that_a_server_returned_is_on_disk_whatever_its_settings_are(url: str) -> None:
    with connected(url) as connection:
        connection.execute(
            text(f'ALTER DATABASE "{connection.engine.url.database}" SET synchronous_commit = off')
        )
    asked = f"{url}{'&' if '?' in url else '?'}options=-c%20synchronous_commit%3Doff%20-c%20work_mem%3D1234"
    for address in (url, asked):
        with connected(address) as connection:
            assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "on"
            assert connection.execute(text("SHOW statement_timeout")).scalar_one() == "0"
    with connected(asked) as connection:
        assert connection.execute(text("SHOW work_mem")).scalar_one() == "1234kB"


def test_replay_leads_to_the_state_that_was_published(url: str) -> None:
    with ledger_at(url) as ledger:
        ledger.post("funding", *FUNDING)
        for number in range(2, 20):
            ledger.post(f"r{number}", payment(number, number * 20), payment(number + 100))
        before = ledger.writer.view
    with ledger_at(url) as ledger:
        after = ledger.writer.view
        assert (after.state, after.frontier, after.salts) == (before.state, before.frontier, before.salts)
        assert (after.size, after.time_ms) == (before.size, before.time_ms)
    assert set(before.state.accounts) == set(ACCOUNTS)
