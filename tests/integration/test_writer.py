"""The single writer on a real SQLite file: groups, ids, faults of the store, and what stops it."""

import fcntl
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from ledger.book import Book, apply
from ledger.decision import Decision
from ledger.entry import Entry, debit
from ledger.leaf import seal
from ledger.merkle import tree_root
from ledger.require import InvariantViolated
from ledger.store.connect import Database, Lease, LeaseHeld, LeaseLost, open_store
from ledger.store.queries import Answered
from ledger.store.tables import append_only_statements
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
    behind_its_back,
    entry,
    journal_of,
    ledger_at,
    open_database,
    paid,
    verified,
)

ROOT = Path(__file__).parents[2]
FUNDING = (OPENING, paid(1, MINT, ALICE, 1_000))
OVERDRAFT = paid(99, BOB, MINT, 10**9)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    """Alice has 1,000 USD; two entries are recorded."""
    with ledger_at(path) as opened:
        opened.post("funding", *FUNDING)
        yield opened


def rows(path: Path, table: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as raw:
        return raw.execute(f"SELECT * FROM {table}").fetchall()


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


def test_the_same_request_gets_the_first_answer_and_is_written_once(ledger: Ledger, path: Path) -> None:
    first = ledger.post("r1", payment(2))
    again = ledger.post("r1", payment(2))
    assert again.replayed
    assert not first.replayed
    assert (again.answer, again.first_sequence, again.count) == (first.answer, 2, 1)
    assert [one.entry_id[-1] for one in journal_of(path)] == [0, 1, 2]


def test_the_same_request_gets_the_first_answer_after_a_restart(path: Path) -> None:
    with ledger_at(path) as ledger:
        ledger.post("funding", *FUNDING)
        ledger.post("r1", payment(2), OVERDRAFT)
    with ledger_at(path) as ledger:
        again = ledger.post("r1", payment(2), OVERDRAFT)
        assert (again.replayed, again.answer, again.first_sequence) == (True, "POSTED LIMIT_EXCEEDED", 2)
        with pytest.raises(RequestReused, match="r1"):
            ledger.post("r1", payment(2))
    assert len(journal_of(path)) == 3


def test_the_same_request_twice_in_one_group_is_decided_once(path: Path) -> None:
    gate = Gate()
    with ledger_at(path, decide=gate.decide) as ledger:
        ledger.post("funding", *FUNDING)
        futures = gate.in_one_group(ledger, ("r1", payment(2)), ("r1", payment(2)), ("r1", payment(3)))
        first, again = (future.result(PATIENCE_S) for future in futures[:2])
        with pytest.raises(RequestReused):
            futures[2].result(PATIENCE_S)
        assert (first.replayed, again.replayed) == (False, True)
        assert first.first_sequence == again.first_sequence == 2
        assert ledger.writer.view.size == 3
    assert len(rows(path, "segments")) == 2


def test_another_body_under_a_used_id_is_an_error_and_writes_nothing(ledger: Ledger, path: Path) -> None:
    ledger.post("r1", payment(2))
    before = rows(path, "segments"), rows(path, "requests")
    with pytest.raises(RequestReused):
        ledger.post("r1", payment(2, amount=2))
    assert (rows(path, "segments"), rows(path, "requests")) == before


def test_a_refusal_is_an_answer_and_is_kept_too(ledger: Ledger, path: Path) -> None:
    first = ledger.post("r1", OVERDRAFT)
    ledger.post("r2", paid(2, MINT, BOB, 10**9))
    again = ledger.post("r1", OVERDRAFT)
    assert (first.answer, again.answer) == ("LIMIT_EXCEEDED", "LIMIT_EXCEEDED")
    assert (first.count, first.refusals, again.replayed) == (0, 1, True)
    assert ledger.post("r3", OVERDRAFT).answer == "POSTED"
    assert len(journal_of(path)) == 4


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


def test_commands_that_wait_share_one_commit(path: Path) -> None:
    gate = Gate()
    with ledger_at(path, decide=gate.decide) as ledger:
        ledger.post("funding", *FUNDING)
        requests = [(f"r{n}", payment(n)) for n in range(2, 42)]
        futures = gate.in_one_group(ledger, *requests)
        answers = [future.result(PATIENCE_S) for future in futures]
    assert [answered.first_sequence for answered in answers] == list(range(2, 42))
    assert [row[:2] for row in rows(path, "segments")] == [(0, 2), (2, 40)]


def test_a_group_has_a_limit_and_the_rest_waits_for_the_next(path: Path) -> None:
    gate = Gate()
    with ledger_at(path, decide=gate.decide) as ledger:
        ledger.post("funding", *FUNDING)
        requests = [(f"r{n}", paid(n, MINT, BOB, 1)) for n in range(GROUP_MAX + 1)]
        futures = gate.in_one_group(ledger, *requests)
        assert all(future.result(PATIENCE_S).count == 1 for future in futures)
    assert [row[1] for row in rows(path, "segments")] == [2, GROUP_MAX, 1]


def test_each_command_is_decided_on_what_the_one_before_left(path: Path) -> None:
    gate = Gate()
    with ledger_at(path, decide=gate.decide) as ledger:
        ledger.post("funding", *FUNDING)
        futures = gate.in_one_group(
            ledger, ("r1", payment(2, 600)), ("r2", payment(3, 600)), ("r3", payment(4, 400))
        )
        answers = [future.result(PATIENCE_S).answer for future in futures]
    assert answers == ["POSTED", "LIMIT_EXCEEDED", "POSTED"]


def test_a_group_in_which_all_is_refused_writes_answers_and_no_segment(path: Path) -> None:
    gate = Gate()
    with ledger_at(path, decide=gate.decide) as ledger:
        ledger.post("funding", *FUNDING)
        futures = gate.in_one_group(ledger, ("r1", OVERDRAFT), ("r2", OVERDRAFT), ("r3",))
        assert [future.result(PATIENCE_S).refusals for future in futures] == [1, 1, 0]
        assert len(rows(path, "segments")) == 1
        assert len(rows(path, "requests")) == 5
        assert ledger.post("r4", payment(2)).first_sequence == 2
    assert isinstance(verified(path), Verified)


@pytest.mark.parametrize("sizes", [(12,), (1,) * 12, (5, 1, 6), (2, 0, 10)])
def test_grouping_and_restarts_change_neither_root_nor_bytes(path: Path, sizes: tuple[int, ...]) -> None:
    numbers = iter(range(2, 14))
    for restart, size in enumerate(sizes):
        gate = Gate()
        with ledger_at(path, decide=gate.decide) as ledger:
            if restart == 0:
                ledger.post("funding", *FUNDING)
            requests = [(f"r{n}", payment(n)) for n in islice(numbers, size)]
            futures = gate.in_one_group(ledger, *requests)
            assert all(future.result(PATIENCE_S).count == 1 for future in futures)
    found = verified(path)
    whole = [*FUNDING, *(payment(n) for n in range(2, 14))]
    sealed = seal(whole, first_sequence=0, first_salt=0, source=SALTS)
    assert isinstance(found, Verified)
    assert found.root == tree_root(sealed.leaf_hashes)
    stored = rows(path, "segments")
    assert b"".join(row[4] for row in stored) == sealed.leaves
    assert b"".join(row[5] for row in stored) == sealed.legs
    assert b"".join(row[6] for row in stored) == sealed.bodies


def test_many_callers_at_once_get_each_its_own_answer(ledger: Ledger, path: Path) -> None:
    def call(number: int) -> list[Answered]:
        ids = [number * 100 + turn for turn in range(5)]
        return [ledger.post(f"r{n}", paid(n, MINT, BOB, n + 1)) for n in ids]

    with ThreadPoolExecutor(64) as callers:
        answers = dict(enumerate(callers.map(call, range(64))))
    journal = journal_of(path)
    for number, answered in answers.items():
        for turn, one in enumerate(answered):
            assert int.from_bytes(journal[one.first_sequence].entry_id, "big") == number * 100 + turn
    sequences = sorted(one.first_sequence for answered in answers.values() for one in answered)
    assert sequences == list(range(2, 322))
    assert len(rows(path, "segments")) < 321, "some shared a commit"


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


def test_a_decider_that_raises_stops_the_writer_for_good(path: Path) -> None:
    with ledger_at(path, decide=buggy) as ledger:
        ledger.post("funding", *FUNDING)
        before, view = rows(path, "requests"), ledger.writer.view
        for request in (("r1", OVERDRAFT), ("r2", payment(2)), ("funding", *FUNDING)):
            with pytest.raises(Bug):
                ledger.post(*request)
        assert isinstance(ledger.writer.stopped, Bug)
        assert ledger.writer.view is view
        assert rows(path, "requests") == before
    with ledger_at(path) as ledger:
        assert ledger.post("r2", payment(2)).first_sequence == 2


def test_a_decider_that_wants_to_end_the_process_leaves_nobody_waiting(path: Path) -> None:
    with ledger_at(path, decide=resigning) as ledger:
        for request in (("r1", OVERDRAFT), ("r2", OPENING)):
            with pytest.raises(InvariantViolated, match="SystemExit"):
                ledger.post(*request)
    assert rows(path, "requests") == []


def test_nothing_of_a_group_is_written_when_one_of_its_deciders_raises(path: Path) -> None:
    gate = Gate()

    def decide(book: Book, batch: Batch, now_ms: int) -> Decision[Book]:
        return gate.decide(book, batch, now_ms) if not batch else buggy(book, batch, now_ms)

    with ledger_at(path, decide=decide) as ledger:
        ledger.post("funding", *FUNDING)
        for future in gate.in_one_group(ledger, ("r1", payment(2)), ("r2", OVERDRAFT), ("r3", payment(3))):
            with pytest.raises(Bug):
                future.result(PATIENCE_S)
    assert len(journal_of(path)) == 2


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
def test_an_entry_that_could_not_be_replayed_is_not_written(path: Path, broken: Entry) -> None:
    with ledger_at(path, decide=unscrupulous((broken,))) as ledger:
        with pytest.raises((InvariantViolated, ValueError)):
            ledger.post("r1")
        assert ledger.writer.stopped is not None
    assert (rows(path, "segments"), rows(path, "requests")) == ([], [])


def test_a_clock_that_went_back_stops_writing_until_it_has_caught_up(path: Path) -> None:
    clock = iter([NOW_MS, NOW_MS - 1, NOW_MS - 1, NOW_MS, NOW_MS + 5])
    with ledger_at(path, clock=lambda: next(clock)) as ledger:
        ledger.post("funding", *FUNDING)
        for _ in range(2):
            with pytest.raises(ClockWentBack, match=str(NOW_MS)):
                ledger.post("r1", payment(2))
        assert ledger.post("r1", payment(2)).first_sequence == 2
        assert ledger.post("r2", payment(3)).first_sequence == 3
    assert [one.effective_ms - NOW_MS for one in journal_of(path)] == [0, 0, 0, 5]


def test_the_clock_is_held_against_the_journal_after_a_restart(path: Path) -> None:
    with ledger_at(path) as ledger:
        ledger.post("funding", *FUNDING)
    with ledger_at(path, clock=lambda: NOW_MS - 1) as ledger:
        assert ledger.writer.view.time_ms == NOW_MS
        with pytest.raises(ClockWentBack):
            ledger.post("r1", payment(2))
        assert ledger.post("funding", *FUNDING).replayed, "an old answer needs no clock"


# ------------------------------------------------------------------------------------------- closing, waiting


def test_closing_finishes_what_waits(path: Path) -> None:
    gate = Gate()
    with ledger_at(path, decide=gate.decide) as ledger:
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


def test_a_command_after_the_end_is_told_so_at_once(ledger: Ledger, path: Path) -> None:
    ledger.writer.close()
    ledger.writer.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        ledger.submit("r1", payment(2)).result(0)
    assert len(rows(path, "requests")) == 1


def test_no_caller_is_left_waiting_when_the_writer_closes_among_them(path: Path) -> None:
    for _ in range(5):
        with ledger_at(path) as ledger:
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


def test_a_command_that_its_caller_cancelled_is_not_decided_and_stops_nobody(path: Path) -> None:
    gate = Gate()
    clock = iter([NOW_MS, NOW_MS, NOW_MS, NOW_MS])
    with ledger_at(path, decide=gate.decide, clock=lambda: next(clock)) as ledger:
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


def test_a_group_of_cancelled_commands_writes_nothing(path: Path) -> None:
    gate = Gate()
    with ledger_at(path, decide=gate.decide) as ledger:
        ledger.submit("gate")
        assert gate.reached.wait(PATIENCE_S)
        assert all(ledger.submit(f"r{n}", OPENING).cancel() for n in range(3))
        gate.opened.set()
        assert ledger.post("r9", OPENING).first_sequence == 0
    assert len(journal_of(path)) == 1


# -------------------------------------------------------------------------------------------------- the lease


def test_a_second_engine_in_the_process_is_refused(ledger: Ledger, path: Path) -> None:
    with pytest.raises(LeaseHeld), ledger_at(path):
        pass
    assert ledger.post("r1", payment(2)).count == 1


def test_a_second_process_is_refused_by_whatever_name_it_calls_the_file(ledger: Ledger, path: Path) -> None:
    alias = path.with_name("alias.db")
    alias.symlink_to(path)
    program = (
        "import sys\n"
        "from ledger.store.connect import Lease, LeaseHeld, open_store\n"
        "try:\n    Lease.acquire(open_store(f'sqlite:///{sys.argv[1]}'))\n"
        "except LeaseHeld as held:\n    print('held:', held)\n"
    )
    for name in (path, alias, path.parent / "." / path.name):
        command = [sys.executable, "-c", program, str(name)]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
        assert run.stdout.startswith("held: another process"), run
    assert ledger.post("r1", payment(2)).count == 1


def test_each_writer_has_an_epoch_of_its_own(path: Path) -> None:
    epochs = []
    for number in range(3):
        with ledger_at(path) as ledger:
            epochs.append(ledger.lease.epoch)
            ledger.post(f"r{number}", *(FUNDING if number == 0 else (payment(number),)))
    assert epochs == [1, 2, 3]
    assert [row[3] for row in rows(path, "segments")] == [1, 2, 3]


@pytest.mark.parametrize("change", ["UPDATE lease SET epoch = epoch + 1", "DELETE FROM lease"])
def test_a_writer_whose_lease_was_taken_commits_nothing_more(ledger: Ledger, path: Path, change: str) -> None:
    before, view = (rows(path, "segments"), rows(path, "requests")), ledger.writer.view
    with behind_its_back(path) as raw:
        raw.execute(change)
    for request in (("r1", payment(2)), ("r2", OVERDRAFT), ("r3", payment(3))):
        with pytest.raises(LeaseLost):
            ledger.post(*request)
    assert isinstance(ledger.writer.stopped, LeaseLost)
    assert (rows(path, "segments"), rows(path, "requests")) == before
    assert ledger.writer.view is view


def test_a_deleted_lock_file_lets_a_second_writer_in_and_the_first_one_out(
    ledger: Ledger, path: Path
) -> None:
    Path(f"{path}.lease").unlink()
    with ledger_at(path) as second:
        assert second.post("r1", payment(2)).first_sequence == 2
        with pytest.raises(LeaseLost):
            ledger.post("r2", payment(3))
        assert second.post("r2", payment(3)).first_sequence == 3
    assert isinstance(verified(path), Verified)


def test_a_lease_that_could_not_be_entered_in_the_database_is_not_kept(path: Path) -> None:
    database = open_store(f"sqlite:///{path}")
    try:
        with pytest.raises(OperationalError, match="no such table"):
            Lease.acquire(database)
    finally:
        database.dispose()
    path.unlink()
    with ledger_at(path) as ledger:
        assert ledger.post("r1", OPENING).count == 1


def test_two_writers_never_get_the_same_epoch_even_without_the_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    database = open_database(path)

    def acquire(_: int) -> int:
        with Lease.acquire(database) as lease:
            return lease.epoch

    with ThreadPoolExecutor(8) as threads:
        acquire(0)
        epochs = list(threads.map(acquire, range(100)))
    database.dispose()
    assert sorted(epochs) == list(range(2, 102))


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///", "postgresql://host/db"])
def test_only_a_file_can_be_a_store(url: str) -> None:
    with pytest.raises(ValueError, match="sqlite:///FILE"):
        open_store(url)


# ---------------------------------------------------------------------------------------- faults of the store


@contextmanager
def pragma(database: Database, on: str, off: str) -> Iterator[None]:
    """Every connection that is taken from the pool gets ``on``, and later ``off``."""
    now = [on]

    def checkout(connection: Any, *_: object) -> None:
        connection.execute(f"PRAGMA {now[0]}")

    event.listen(database, "checkout", checkout)
    yield
    now[0] = off


@contextmanager
def failing_trigger(ledger: Ledger, table: str) -> Iterator[None]:
    with ledger.database.connect() as connection:
        connection.execute(
            text(f"CREATE TRIGGER broken BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'broken'); END")
        )
        yield
        connection.execute(text("DROP TRIGGER broken"))


@contextmanager
def read_only(ledger: Ledger) -> Iterator[None]:
    with pragma(ledger.database, "query_only = ON", "query_only = OFF"):
        yield


@contextmanager
def full_disk(ledger: Ledger) -> Iterator[None]:
    with pragma(ledger.database, "max_page_count = 1", "max_page_count = 1000000"):
        yield


@contextmanager
def locked(ledger: Ledger) -> Iterator[None]:
    with (
        pragma(ledger.database, "busy_timeout = 20", "busy_timeout = 20"),
        closing(sqlite3.connect(ledger.database.url.database or "", isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def unreadable(ledger: Ledger) -> Iterator[None]:
    with ledger.database.connect() as connection:
        connection.execute(text("ALTER TABLE requests RENAME TO lost"))
        yield
        connection.execute(text("ALTER TABLE lost RENAME TO requests"))


FAULTS: dict[str, Callable[[Ledger], Any]] = {
    "segments refused": lambda ledger: failing_trigger(ledger, "segments"),
    "answers refused": lambda ledger: failing_trigger(ledger, "requests"),
    "read only": read_only,
    "disk full": full_disk,
    "locked": locked,
    "unreadable": unreadable,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_of_the_store_changes_nothing_and_passes(
    ledger: Ledger, path: Path, fault: Callable[[Ledger], Any]
) -> None:
    view, before = ledger.writer.view, rows(path, "segments")
    large = tuple(paid(number, ALICE, BOB, 1, fact="x" * 100_000) for number in range(2, 6))
    with fault(ledger):
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                ledger.post("r1", *large)
        assert ledger.writer.view is view
        assert rows(path, "segments") == before
    answered = ledger.post("r1", *large)
    assert (answered.first_sequence, answered.count, answered.replayed) == (2, 4, False)
    assert ledger.writer.stopped is None
    found = verified(path)
    assert isinstance(found, Verified)
    assert (found.size, found.root) == (6, ledger.writer.view.frontier.root())


def test_a_refused_command_is_not_told_as_decided_when_the_store_failed(ledger: Ledger) -> None:
    with failing_trigger(ledger, "requests"), pytest.raises(StoreUnavailable):
        ledger.post("r1", OVERDRAFT)
    assert not ledger.post("r1", OVERDRAFT).replayed


def test_an_old_answer_is_given_even_when_the_rest_of_its_group_fails(path: Path) -> None:
    gate = Gate()
    with ledger_at(path, decide=gate.decide) as ledger:
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
    ledger: Ledger, path: Path, request_: tuple[str, *tuple[Entry, ...]]
) -> None:
    wire = Wire(ledger.database, "COMMIT", heard=True)
    answered = ledger.post(*request_)
    assert wire.has_broken
    assert answered.answer == apply(ledger_book(path, 2), request_[1:], NOW_MS).answer
    assert ledger.writer.view.size == 2 + answered.count == len(journal_of(path))
    assert ledger.post("r2", payment(3)).first_sequence == ledger.writer.view.size - 1
    assert ledger.post(*request_).replayed
    assert isinstance(verified(path), Verified)


def ledger_book(path: Path, size: int) -> Book:
    book = Book()
    for one in journal_of(path)[:size]:
        book = apply(book, (one,), one.effective_ms).state
    return book


@pytest.mark.parametrize("one", [payment(2), OVERDRAFT], ids=["posted", "refused"])
def test_a_commit_that_did_not_happen_is_told_so_and_can_be_sent_again(
    ledger: Ledger, path: Path, one: Entry
) -> None:
    Wire(ledger.database, "COMMIT", heard=False)
    with pytest.raises(StoreUnavailable):
        ledger.post("r1", one)
    assert len(journal_of(path)) == ledger.writer.view.size == 2
    again = ledger.post("r1", one)
    assert (again.first_sequence, again.replayed) == (2, False)


@pytest.mark.parametrize("heard", [True, False])
def test_a_store_that_is_lost_before_the_commit_may_come_back(ledger: Ledger, heard: bool) -> None:
    wire = Wire(ledger.database, "BEGIN IMMEDIATE", heard=heard, for_good=True)
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            ledger.post("r1", payment(2))
    wire.mend()
    assert ledger.post("r1", payment(2)).first_sequence == 2


@pytest.mark.parametrize("heard", [True, False])
def test_a_commit_of_which_nothing_can_be_learned_stops_the_writer(path: Path, heard: bool) -> None:
    with ledger_at(path) as ledger:
        ledger.post("funding", *FUNDING)
        Wire(ledger.database, "COMMIT", heard=heard, for_good=True)
        for request_id in ("r1", "r2"):
            with pytest.raises(OperationalError):
                ledger.post(request_id, payment(2))
        assert isinstance(ledger.writer.stopped, OperationalError)
    with ledger_at(path) as ledger:
        again = ledger.post("r1", payment(2))
        assert (again.first_sequence, again.replayed) == (2, heard)


# ------------------------------------------------------------------------------------------------ append-only


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
    ledger: Ledger, path: Path, table: str, statement: str
) -> None:
    before = rows(path, table)
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        with pytest.raises(sqlite3.IntegrityError, match=f"{table} is append-only"):
            raw.execute(statement.format(table=table))
        raw.execute("PRAGMA recursive_triggers = ON")
        with pytest.raises(sqlite3.IntegrityError, match=f"{table} is append-only"):
            raw.execute(statement.format(table=table))
    assert rows(path, table) == before
    assert ledger.post("r1", payment(2)).count == 1


def test_the_statements_that_protect_a_table_exist_for_both_databases() -> None:
    assert all("segments" in one for one in append_only_statements("segments", "sqlite"))
    assert "TRUNCATE" in "".join(append_only_statements("segments", "postgresql"))


def test_a_commit_that_returned_is_on_disk(ledger: Ledger) -> None:
    with ledger.database.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 2, "FULL"


def test_replay_leads_to_the_state_that_was_published(path: Path) -> None:
    with ledger_at(path) as ledger:
        ledger.post("funding", *FUNDING)
        for number in range(2, 20):
            ledger.post(f"r{number}", payment(number, number * 20), payment(number + 100))
        before = ledger.writer.view
    with ledger_at(path) as ledger:
        after = ledger.writer.view
        assert (after.state, after.frontier, after.salts) == (before.state, before.frontier, before.salts)
        assert (after.size, after.time_ms) == (before.size, before.time_ms)
    assert set(before.state.accounts.values()) == set(ACCOUNTS)
