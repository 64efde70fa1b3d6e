"""The projector on a real database: where it goes on, what it refuses, and how it keeps up with a writer."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete, select, text, update
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from ledger.account import Account
from ledger.amount import AMOUNT_MAX
from ledger.entry import Entry, credit, debit
from ledger.leaf import RecordMalformed
from ledger.store import projector as module
from ledger.store.connect import Database, OutcomeUnknown, StoreUnreachable, transaction
from ledger.store.history import projected
from ledger.store.kinds import KINDS
from ledger.store.projector import (
    STEP_LEGS_MAX,
    STEP_LEGS_MIN,
    STEP_S,
    HistoryBehind,
    HistoryFailed,
    Projecting,
    Projector,
)
from ledger.store.tables import entries, postings, projection
from tests.histories import journal_at, project_all, projected_rows, require_same, write_segments
from tests.ledgers import (
    ALICE,
    BOB,
    BTC_ALICE,
    BTC_MINT,
    MINT,
    OPENING,
    PATIENCE_S,
    behind_its_back,
    entry,
    ledger_at,
    open_database,
    paid,
)

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FUNDING = paid(1, MINT, ALICE, 1_000)
MANY_LEGS = entry(
    2, *[leg for n in range(1, 21) for leg in (debit(ALICE, n), credit(BOB, n))], references=("twenty turns",)
)
JOURNAL: list[Entry] = [
    OPENING,
    FUNDING,
    MANY_LEGS,
    entry(3, fact={"note": "nothing moves"}),
    entry(4, debit(BOB, 5), credit(BOB, 5), debit(BOB, 7), credit(ALICE, 7)),
]


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = journal_at(url, JOURNAL[:2], JOURNAL[2:3], JOURNAL[3:])
    yield opened
    opened.dispose()


# ------------------------------------------------------------------------------------------- what is projected


@pytest.mark.parametrize("legs_max", [1, 2, 3, 7, 40, 1_000])
def test_the_rows_do_not_depend_on_the_size_of_the_steps(database: Database, legs_max: int) -> None:
    project_all(database, legs_max)
    require_same(database, JOURNAL)


@pytest.mark.parametrize("legs_max", [1, 3, 1_000])
def test_every_step_may_be_the_last_of_its_projector(database: Database, legs_max: int) -> None:
    while Projector(database).step(legs_max):
        pass
    require_same(database, JOURNAL)


def test_a_step_is_bounded_in_legs_and_in_entries(database: Database) -> None:
    projector = Projector(database)
    before = 0
    while projector.step(2):
        with database.connect() as connection:
            _, entries_, postings_ = projected_rows(connection)
        assert len(postings_) - before <= 2
        assert projector.position == len(entries_)
        before = len(postings_)
    write_segments(database, [[entry(9 + n, fact="x") for n in range(5)]])
    assert projector.step(2)
    assert projector.position == len(JOURNAL) + 2


def test_an_entry_of_which_legs_are_missing_is_not_there_yet(database: Database) -> None:
    projector = Projector(database)
    projector.step(10)
    assert projector.position == 2
    with database.connect() as connection:
        assert projected(connection) == 2
        assert max(row[1] for row in projected_rows(connection)[2]) == 2


@pytest.mark.parametrize("amount", [2**63 - 1, 2**63, 2**64, AMOUNT_MAX])
def test_amounts_and_balances_are_exact_up_to_the_limit(url: str, amount: int) -> None:
    journal = [
        OPENING,
        paid(1, MINT, ALICE, amount),
        entry(2, debit(BTC_MINT, AMOUNT_MAX), credit(BTC_ALICE, AMOUNT_MAX)),
        paid(3, ALICE, MINT, amount),
        paid(4, MINT, ALICE, 1),
    ]
    database = journal_at(url, journal)
    project_all(database, 2)
    require_same(database, journal)
    with database.connect() as connection:
        column = select(postings.c.balance).where(postings.c.balance == -AMOUNT_MAX)
        assert set(connection.execute(column).scalars()) == {-AMOUNT_MAX}
    database.dispose()


def test_balances_that_outgrow_64_bits_come_back_within_them(url: str) -> None:
    most = 2**63 - 1
    journal = [OPENING, *(paid(1 + n, MINT, ALICE, most) for n in range(3))]
    journal += [paid(9 + n, ALICE, MINT, most) for n in range(3)]
    database = journal_at(url, *[[one] for one in journal])
    project_all(database)
    require_same(database, journal)
    database.dispose()


def test_what_is_projected_already_is_not_projected_again(database: Database) -> None:
    projector = project_all(database)
    assert not projector.step()
    assert not Projector(database).step()
    more = [paid(7, MINT, BOB, 3), entry(8, opens=(Account("late", "USD"),))]
    write_segments(database, [more])
    assert projector.step()
    require_same(database, [*JOURNAL, *more])


# ------------------------------------------------------------------------------------------- who else is there


def test_of_two_projectors_one_applies_a_step_and_the_other_goes_on_behind_it(database: Database) -> None:
    one, other = Projector(database), Projector(database)
    for _ in range(8):
        one.step(3)
        other.step(5)
    while one.step() or other.step():
        pass
    require_same(database, JOURNAL)


def test_two_projectors_at_once_do_the_work_once(database: Database) -> None:
    with ThreadPoolExecutor(3) as threads:
        for projected_ in [threads.submit(project_all, database, 1) for _ in range(3)]:
            projected_.result(PATIENCE_S)
    require_same(database, JOURNAL)


def test_a_history_can_be_made_again(database: Database) -> None:
    projector = project_all(database)
    with transaction(database) as connection:
        connection.execute(update(postings).values(amount=7))
        connection.execute(delete(entries))
    at_work = Projector(database)
    projector.rebuild()
    assert projector.position == 0
    with database.connect() as connection:
        assert projected_rows(connection) == ([], [], [])
    write_segments(database, [[paid(7, MINT, BOB, 3)]])
    assert at_work.step()  # finds itself elsewhere than it thought
    while at_work.step():
        pass
    require_same(database, [*JOURNAL, paid(7, MINT, BOB, 3)])


def test_rows_of_another_version_are_dropped_and_made_again(database: Database) -> None:
    project_all(database)
    with transaction(database) as connection:
        connection.execute(update(projection).values(version=module.VERSION + 1))
        connection.execute(update(postings).values(amount=7))
    assert Projector(database).position == 0
    project_all(database)
    require_same(database, JOURNAL)


# --------------------------------------------------------------------------------------------------- what fails


def steps(projector: Projector, legs_max: int) -> None:
    while projector.step(legs_max):
        pass


@pytest.mark.parametrize("table", [0, 1, 2])
def test_a_step_that_fails_leaves_nothing_and_is_made_again(
    database: Database, monkeypatch: pytest.MonkeyPatch, table: int
) -> None:
    projector = Projector(database)
    projector.step(1)
    kind, loads = KINDS[database.dialect.name], count()

    def load(*given: Any) -> None:
        if next(loads) == table:
            raise OperationalError("load", None, Exception("the disk is full"))
        type(kind).load(kind, *given)

    monkeypatch.setattr(kind, "load", load)
    with database.connect() as connection:
        before = projected_rows(connection)
    with pytest.raises(OperationalError):
        steps(projector, 42)
    monkeypatch.undo()
    if table == 0:
        with database.connect() as connection:
            assert projected_rows(connection) == before
    while projector.step():
        pass
    require_same(database, JOURNAL)


@pytest.mark.parametrize("store_kind", ["postgresql"], indirect=True)
def test_a_connection_that_is_cut_in_the_middle_of_a_step_is_an_error_of_the_store(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, loads = KINDS["postgresql"], count()

    def load(connection: Connection, *given: Any) -> None:
        if next(loads) == 0:
            own = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with database.connect() as other:
                other.execute(text("SELECT pg_terminate_backend(:own)"), {"own": own})
        type(kind).load(kind, connection, *given)

    monkeypatch.setattr(kind, "load", load)
    projector = Projector(database)
    with pytest.raises(SQLAlchemyError):
        steps(projector, 5)
    steps(projector, 5)
    require_same(database, JOURNAL)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE segments SET legs = substr(legs, 1, 96) WHERE first_sequence = 2",
        "UPDATE segments SET leaves = substr(leaves, 2) WHERE first_sequence = 2",
        "DELETE FROM segments WHERE first_sequence = 2",
    ],
)
def test_a_journal_that_makes_no_sense_is_not_projected(url: str, database: Database, statement: str) -> None:
    with behind_its_back(url) as connection:
        connection.execute(text(statement))
    projector = Projector(database)
    with pytest.raises(RecordMalformed):
        steps(projector, 2)
    assert projector.position <= 2


def test_a_killed_projector_leaves_whole_steps(url: str) -> None:
    """It is killed in a process of its own, again and again, and the next one goes on."""
    journal = [OPENING, *(paid(1 + n, MINT, ALICE, 1 + n) for n in range(600))]
    database = journal_at(url, *[journal[at : at + 50] for at in range(0, len(journal), 50)])
    for turn in range(4):
        command = [sys.executable, "-m", "tests.integration.test_projector", url]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.02 * turn)
            process.kill()
        with database.connect() as connection:
            position = projected(connection)
            accounts_, entries_, postings_ = projected_rows(connection)
        assert [row[0] for row in entries_] == list(range(position))
        assert len(accounts_) == len(OPENING.opens)
        whole = {sequence for _, sequence, _, _, _ in postings_ if sequence < position}
        assert whole == set(range(1, position))
    project_all(database)
    require_same(database, journal)
    database.dispose()


def project_until_killed(url: str) -> None:
    projector = Projector(open_database(url))
    while projector.step(3):
        print(projector.position, flush=True)


# --------------------------------------------------------------------------------------------------- the thread


class Clock:
    """Shows what it is told."""

    def __init__(self) -> None:
        self.now_ms = 1_000

    def __call__(self) -> int:
        return self.now_ms


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_thread_follows_a_writer_at_work(url: str) -> None:
    with ledger_at(url) as ledger:
        with Projecting(ledger.database, lambda: ledger.writer.view.size, Clock()) as projecting:
            journal = [OPENING]
            ledger.post("r0", OPENING)
            for number in range(1, 40):
                journal.append(paid(number, MINT, ALICE, number))
                answered = ledger.post(f"r{number}", journal[-1])
                if number % 5 == 0:
                    projecting.wait_for(answered.first_sequence + 1, PATIENCE_S)
                    assert projecting.position == len(journal)
            projecting.wait_for(len(journal), PATIENCE_S)
            assert (projecting.lag_ms, projecting.failed) == (0, None)
            with pytest.raises(HistoryBehind) as behind:
                projecting.wait_for(len(journal) + 1, 0.01)
            assert (behind.value.position, behind.value.wanted) == (len(journal), len(journal) + 1)
        require_same(ledger.database, journal)


def test_the_lag_is_the_age_of_what_waits(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, size = Clock(), [0]
    gate = threading.Event()
    step = Projector.step
    monkeypatch.setattr(Projector, "step", lambda self, legs=None: gate.wait(PATIENCE_S) and step(self, 1))
    with Projecting(database, lambda: size[0], clock) as projecting:
        assert projecting.lag_ms == 0
        size[0] = 2
        assert projecting.lag_ms == 0
        clock.now_ms += 700
        size[0] = len(JOURNAL)
        assert projecting.lag_ms == 700
        clock.now_ms += 300
        assert projecting.lag_ms == 1_000
        gate.set()
        projecting.wait_for(len(JOURNAL), PATIENCE_S)
        assert projecting.lag_ms == 0


def test_lag_is_that_of_the_oldest_entry_that_waits(database: Database) -> None:
    clock, size = Clock(), [2]
    projecting = Projecting(database, lambda: size[0], clock)
    assert projecting.lag_ms == 0
    clock.now_ms += 100
    size[0] = 5
    assert projecting.lag_ms == 100
    projecting._position = 2
    clock.now_ms += 50
    assert projecting.lag_ms == 50
    projecting._position = 5
    assert projecting.lag_ms == 0


@pytest.mark.parametrize(
    "fault",
    [
        OperationalError("load", None, Exception("the disk is full")),
        StoreUnreachable("the store cannot be read"),
        OutcomeUnknown("the commit"),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_a_store_that_fails_is_tried_again_and_it_shows(
    database: Database, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    kind = KINDS[database.dialect.name]

    def load(*_: Any) -> None:
        raise fault

    monkeypatch.setattr(module, "RETRY_S", 0.02)
    monkeypatch.setattr(kind, "load", load)
    with Projecting(database, lambda: len(JOURNAL), Clock()) as projecting:
        until(lambda: projecting.failed is not None)
        with pytest.raises(HistoryFailed):
            projecting.wait_for(1, 0.05)
        monkeypatch.undo()
        projecting.wait_for(len(JOURNAL), PATIENCE_S)
        until(lambda: projecting.failed is None)
    require_same(database, JOURNAL)


def test_a_thread_that_ended_says_why_and_keeps_nobody_waiting(url: str, database: Database) -> None:
    with behind_its_back(url) as connection:
        connection.execute(text("UPDATE segments SET legs = substr(legs, 1, 48) WHERE first_sequence = 0"))
    with Projecting(database, lambda: len(JOURNAL), Clock()) as projecting:
        began = time.monotonic()
        with pytest.raises(HistoryFailed) as failed:
            projecting.wait_for(1, PATIENCE_S)
        assert time.monotonic() - began < PATIENCE_S / 2
        assert isinstance(failed.value.__cause__, RecordMalformed)
        assert projecting.failed is failed.value.__cause__


def test_a_few_entries_wait_for_more_but_no_read_does(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER_S", PATIENCE_S)
    size = [2]
    with Projecting(database, lambda: size[0], Clock()) as projecting:
        until(lambda: projecting.position == len(JOURNAL))
        write_segments(database, [[paid(7, MINT, BOB, 3)]])
        size[0] = len(JOURNAL) + 1
        projecting.wake()
        time.sleep(0.1)
        assert projecting.position == len(JOURNAL)
        began = time.monotonic()
        projecting.wait_for(size[0], PATIENCE_S)
        assert time.monotonic() - began < PATIENCE_S / 2
    assert time.monotonic() - began < PATIENCE_S / 2, "nor does whoever ends it"


def test_an_idle_thread_sleeps(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.01)
    looks = count()
    with Projecting(database, lambda: next(looks) * 0, Clock()):
        time.sleep(0.3)
    assert 3 < next(looks) < 100


def test_a_step_is_halved_when_it_takes_long_and_doubled_when_it_does_not(database: Database) -> None:
    projector = Projector(database)
    for _ in range(9):
        projector._pace(STEP_S / 4)
    assert projector._legs == STEP_LEGS_MAX
    projector._pace(STEP_S / 2)
    assert projector._legs == STEP_LEGS_MAX
    for _ in range(9):
        projector._pace(STEP_S * 2)
    assert projector._legs == STEP_LEGS_MIN


if __name__ == "__main__":
    project_until_killed(sys.argv[1])
