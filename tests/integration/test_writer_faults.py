"""Promises of the writer under faults: deadlines, a database that goes away and comes back, a lease that is gone."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from sqlalchemy import text

from ledger.book import Book
from ledger.decision import Decision
from ledger.require import InvariantViolated
from ledger.store import writer
from ledger.store.connect import Lease, LeaseHeld, LeaseLost, OutcomeUnknown
from ledger.store.queries import Answered
from ledger.store.verify import Verified
from ledger.store.writer import RequestReused, StoreUnavailable
from tests import postgres
from tests.integration.test_writer import (
    FUNDING,
    OVERDRAFT,
    Wire,
    full_disk,
    only_on_postgresql,
    only_on_sqlite,
    payment,
    terminate,
)
from tests.ledgers import (
    BOB,
    MINT,
    PATIENCE_S,
    Batch,
    Gate,
    Ledger,
    apply,
    behind_its_back,
    journal_of,
    ledger_at,
    open_database,
    paid,
    refusing_inserts,
    rows,
    verified,
)

SEED = 20200312


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "LOOK_S", 0.02)
    monkeypatch.setattr(writer, "RETRY_S", 0.02)


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    """Alice has 1,000 USD; two entries are recorded."""
    with ledger_at(url) as opened:
        opened.post("funding", *FUNDING)
        yield opened


def soon(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def require_whole(ledger: Ledger, url: str) -> None:
    """The journal verifies, and it is what readers see."""
    found, view = verified(url), ledger.writer.view
    assert isinstance(found, Verified)
    assert (found.size, found.root) == (view.size, view.frontier.root())


# -------------------------------------------------------------------------------------------------- deadlines


@contextmanager
def slow_group(url: str) -> Iterator[tuple[Ledger, Gate]]:
    """A ledger whose writer is in the middle of a group until the gate is opened."""
    gate = Gate()
    with ledger_at(url, decide=gate.decide) as ledger:
        ledger.post("funding", *FUNDING)
        ledger.submit("gate")
        assert gate.reached.wait(PATIENCE_S)
        yield ledger, gate
        gate.opened.set()


def test_a_command_that_waits_behind_a_slow_group_can_be_given_up_and_leaves_no_trace(url: str) -> None:
    with slow_group(url) as (ledger, gate):
        given_up, kept = ledger.submit("r1", payment(2)), ledger.submit("r2", payment(3))
        with pytest.raises(TimeoutError):
            given_up.result(0.01)
        assert given_up.cancel()
        gate.opened.set()
        assert kept.result(PATIENCE_S).first_sequence == 2
        assert "r1" not in [row[0] for row in rows(url, "requests")]
        again = ledger.post("r1", payment(2))
        assert (again.first_sequence, again.replayed) == (3, False)


class Halfway:
    """A decider that waits at every ``OVERDRAFT``: those that come after it in its group are not begun."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def decide(self, book: Book, batch: Batch, now_ms: int) -> Decision[Book]:
        if OVERDRAFT in batch:
            self.reached.set()
            assert self.opened.wait(PATIENCE_S)
        return apply(book, batch, now_ms)


@contextmanager
def in_the_middle(url: str, *requests: tuple[Any, ...]) -> Iterator[list["Future[Answered]"]]:
    """One group of ``requests``, held at the one that has ``OVERDRAFT`` until the block is left."""
    gate, halfway = Gate(), Halfway()

    def decide(book: Book, batch: Batch, now_ms: int) -> Decision[Book]:
        return gate.decide(book, batch, now_ms) if not batch else halfway.decide(book, batch, now_ms)

    with ledger_at(url, decide=decide) as ledger:
        ledger.post("funding", *FUNDING)
        futures = gate.in_one_group(ledger, *requests)
        assert halfway.reached.wait(PATIENCE_S)
        yield futures
        halfway.opened.set()


def test_within_a_group_what_is_decided_stays_and_what_is_not_begun_can_be_given_up(url: str) -> None:
    requests = (("r1", payment(2)), ("r2", OVERDRAFT), ("r3", payment(3)), ("r4", payment(4)))
    with in_the_middle(url, *requests) as futures:
        assert [future.cancel() for future in futures] == [False, False, True, True]
    assert [future.result(0).count for future in futures[:2]] == [1, 0]
    assert len(journal_of(url)) == 3
    assert {row[0] for row in rows(url, "requests")} == {"funding", "gate/1", "r1", "r2"}


def test_of_one_id_twice_in_a_group_the_first_may_be_given_up_and_the_second_is_done(url: str) -> None:
    requests = (("r0", OVERDRAFT), ("r1", payment(2)), ("r1", payment(2)), ("r1", payment(3)))
    with in_the_middle(url, *requests) as futures:
        assert futures[1].cancel()
    assert (futures[2].result(0).first_sequence, futures[2].result(0).replayed) == (2, False)
    with pytest.raises(RequestReused):
        futures[3].result(0)
    assert len(journal_of(url)) == 3


def test_of_one_id_twice_in_a_group_the_second_may_be_given_up_and_the_first_is_done(url: str) -> None:
    requests = (("r1", payment(2)), ("r0", OVERDRAFT), ("r1", payment(2)))
    with in_the_middle(url, *requests) as futures:
        assert [future.cancel() for future in futures] == [False, False, True]
    assert futures[0].result(0).first_sequence == 2
    assert len(journal_of(url)) == 3


def test_a_stored_answer_may_be_given_up_too_and_stops_nobody(url: str) -> None:
    requests = (("r0", OVERDRAFT), ("funding", *FUNDING), ("funding", *FUNDING))
    with in_the_middle(url, *requests) as futures:
        assert futures[1].cancel()
    assert futures[2].result(0).replayed
    assert len(journal_of(url)) == 2


def test_what_is_given_up_while_the_store_fails_is_given_up(ledger: Ledger) -> None:
    with refusing_inserts(ledger.database, "segments"):
        for number in range(200):
            future = ledger.submit(f"r{number}", payment(number + 2))
            if not future.cancel():
                with pytest.raises(StoreUnavailable):
                    future.result(PATIENCE_S)
    assert ledger.post("last", payment(2)).count == 1
    assert ledger.writer.stopped is None


@pytest.mark.slow
def test_in_a_storm_of_deadlines_what_was_answered_is_exactly_what_is_in_the_journal(
    ledger: Ledger, url: str
) -> None:
    """1,000 ids from 16 threads, each id by two callers at times, each with a deadline of its own."""

    def call(turn: int) -> tuple[int, str]:
        chance = random.Random(SEED + turn)
        number = 10 + turn % 1_000
        future = ledger.submit(f"r{number}", paid(number, MINT, BOB, 1))
        try:
            future.result(chance.choice((0, 0, 0.001, 0.01, 0.1)))
        except TimeoutError:
            if future.cancel():
                return number, "given up"
        try:
            return number, future.result(PATIENCE_S).answer
        except CancelledError:
            pytest.fail("nobody else cancels")

    with ThreadPoolExecutor(16) as callers:
        told = list(callers.map(call, range(1_500)))
    answered = {number for number, word in told if word == "POSTED"}
    assert {word for _, word in told} == {"POSTED", "given up"}
    recorded = [int.from_bytes(one.entry_id, "big") for one in journal_of(url)[2:]]
    assert sorted(recorded) == sorted(answered)
    assert {row[0] for row in rows(url, "requests")} == {"funding", *(f"r{n}" for n in answered)}
    for number in {number for number, _ in told} - answered:
        assert not ledger.post(f"r{number}", paid(number, MINT, BOB, 1)).replayed
    assert ledger.writer.stopped is None
    require_whole(ledger, url)


# --------------------------------------------------------------------------- a database that goes and comes back


@only_on_postgresql
def test_a_lost_lock_refuses_what_comes_and_the_writer_takes_the_lease_again(
    ledger: Ledger, url: str
) -> None:
    terminate(ledger.lease._lock.connection)  # type: ignore[attr-defined]
    soon(lambda: ledger.lease.epoch == 2 and ledger.writer.fault is None)
    answered = ledger.post("r1", payment(2))
    assert (answered.first_sequence, answered.replayed) == (2, False)
    assert [row[3] for row in rows(url, "segments")] == [1, 2]
    require_whole(ledger, url)


@only_on_postgresql
def test_a_command_that_finds_the_lock_lost_is_refused_and_may_be_sent_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "LOOK_S", PATIENCE_S)
    ledger.post("r0", payment(2))
    terminate(ledger.lease._lock.connection)  # type: ignore[attr-defined]
    with pytest.raises(StoreUnavailable, match="the lock on the database was lost"):
        ledger.post("r1", payment(3))
    assert not ledger.post("r1", payment(3)).replayed


@only_on_postgresql
def test_a_server_that_is_away_is_waited_for_and_nothing_is_lost(ledger: Ledger, url: str) -> None:
    view = ledger.writer.view
    with postgres.away(url):
        soon(lambda: ledger.writer.fault is not None)
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                ledger.post("r1", payment(2))
        assert ledger.writer.stopped is None
        assert ledger.writer.view is view
    soon(lambda: ledger.writer.fault is None)
    assert ledger.post("r1", payment(2)).first_sequence == 2
    assert ledger.post("funding", *FUNDING).replayed
    require_whole(ledger, url)


@only_on_postgresql
@pytest.mark.slow
def test_under_load_a_server_that_goes_again_and_again_loses_nothing_and_doubles_nothing(
    ledger: Ledger, url: str
) -> None:
    over = threading.Event()

    def call(number: int) -> list[int]:
        done: list[int] = []
        while not over.is_set():
            wanted = (number + 1) * 100_000 + len(done)
            try:
                ledger.post(f"r{wanted}", paid(wanted, MINT, BOB, 1))
            except (StoreUnavailable, OutcomeUnknown):
                time.sleep(0.005)
            else:
                done.append(wanted)
        return done

    with ThreadPoolExecutor(8) as callers:
        calls = [callers.submit(call, number) for number in range(8)]
        for _ in range(6):
            before = ledger.writer.view.size
            soon(lambda before=before: ledger.writer.view.size > before + 50)  # type: ignore[misc]
            with postgres.away(url):
                time.sleep(0.1)
        soon(lambda: ledger.writer.fault is None)
        over.set()
        done = [number for made in calls for number in made.result(PATIENCE_S)]
    recorded = [int.from_bytes(one.entry_id, "big") for one in journal_of(url)[2:]]
    assert len(recorded) == len(set(recorded)), "nothing twice"
    assert sorted(recorded) == sorted(done)
    assert ledger.lease.epoch > 1
    require_whole(ledger, url)


@pytest.mark.parametrize("one", [payment(2), OVERDRAFT], ids=["posted", "refused"])
@pytest.mark.parametrize("heard", [True, False])
def test_a_commit_of_which_nothing_can_be_learned_is_settled_when_the_store_is_back(
    ledger: Ledger, url: str, heard: bool, one: Any
) -> None:
    view = ledger.writer.view
    wire = Wire(ledger.database, "COMMIT", heard=heard, for_good=True)
    with pytest.raises(OutcomeUnknown, match="not known yet"):
        ledger.post("r1", one)
    with pytest.raises(StoreUnavailable):
        ledger.post("r2", payment(3))
    assert (ledger.writer.view, ledger.writer.stopped) == (view, None)
    wire.mend()
    soon(lambda: ledger.writer.fault is None)
    assert ledger.writer.view.size == len(journal_of(url)) == 2 + (heard and one is not OVERDRAFT)
    assert ledger.post("r1", one).replayed == heard
    assert not ledger.post("r2", payment(3)).replayed
    require_whole(ledger, url)


@pytest.mark.parametrize("heard", [True, False])
def test_the_next_command_need_not_wait_until_the_writer_looks(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    monkeypatch.setattr(writer, "RETRY_S", PATIENCE_S)
    wire = Wire(ledger.database, "COMMIT", heard=heard, for_good=True)
    with pytest.raises(OutcomeUnknown):
        ledger.post("r1", payment(2))
    wire.mend()
    assert ledger.post("r1", payment(2)).replayed == heard
    assert ledger.writer.fault is None


@pytest.mark.parametrize("heard", [True, False])
def test_a_renewal_whose_commit_got_lost_is_made_again(ledger: Ledger, url: str, heard: bool) -> None:
    """The epoch may have been raised by the lost one: it is still nobody else's."""
    with refusing_inserts(ledger.database, "segments"), pytest.raises(StoreUnavailable):
        ledger.post("r1", payment(2))
    Wire(ledger.database, "COMMIT", heard=heard)
    soon(lambda: ledger.writer.fault is None)
    assert ledger.writer.stopped is None
    assert ledger.post("r1", payment(2)).first_sequence == 2


@only_on_postgresql
def test_a_lock_that_an_old_session_still_has_is_waited_for(
    ledger: Ledger, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wire to the session of the lock is cut, and the server has not noticed: nobody has taken over."""
    lock = ledger.lease._lock
    monkeypatch.setattr(type(lock), "is_held", lambda self: self is not lock)
    soon(lambda: "held by another session" in str(ledger.writer.fault))
    with pytest.raises(StoreUnavailable):
        ledger.post("r1", payment(2))
    assert ledger.writer.stopped is None
    lock.release()
    soon(lambda: ledger.writer.fault is None)
    assert ledger.post("r1", payment(2)).first_sequence == 2


# ------------------------------------------------------------------------------------------- what is for good


@only_on_postgresql
def test_a_writer_whose_lease_somebody_took_meanwhile_stays_stopped_and_says_so(
    ledger: Ledger, url: str
) -> None:
    with ExitStack() as over:
        real = Lease.renew
        over.callback(setattr, Lease, "renew", real)
        Lease.renew = refused_renewal  # type: ignore[method-assign,assignment]  # none may be on its way already
        with postgres.away(url):
            soon(lambda: ledger.writer.fault is not None)
        database = open_database(url)
        over.callback(database.dispose)
        second = over.enter_context(Lease.acquire(database))
        assert second.epoch == 2
        Lease.renew = real  # type: ignore[method-assign]
        soon(lambda: ledger.writer.stopped is not None)
        with pytest.raises(LeaseLost, match="epoch 1 was replaced by 2: another process took the lease"):
            ledger.post("r1", payment(2))
    with pytest.raises(LeaseLost):
        ledger.post("r1", payment(2))
    assert len(journal_of(url)) == 2


def refused_renewal(_self: Lease, _engine: object) -> None:
    raise LeaseHeld("not yet")


def test_a_lease_that_is_taken_while_nothing_comes_is_noticed(ledger: Ledger, url: str) -> None:
    with behind_its_back(url) as connection:
        connection.execute(text("UPDATE lease SET epoch = epoch + 1"))
    soon(lambda: isinstance(ledger.writer.stopped, LeaseLost))


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM segments WHERE first_sequence > 0",
        "DELETE FROM segments",
        "UPDATE segments SET root = leaves WHERE first_sequence > 0",
    ],
)
def test_a_store_that_comes_back_with_another_journal_stops_the_writer(
    ledger: Ledger, url: str, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.post("r1", payment(2))
    with monkeypatch.context() as away:
        away.setattr(Lease, "renew", refused_renewal)
        with refusing_inserts(ledger.database, "segments"), pytest.raises(StoreUnavailable):
            ledger.post("r2", payment(3))
        with behind_its_back(url) as connection:
            connection.execute(text(change))
    soon(lambda: isinstance(ledger.writer.stopped, InvariantViolated))
    assert "ends where it ended" in str(ledger.writer.stopped)


def test_a_bug_stops_for_good_whatever_the_store_does(url: str) -> None:
    def decide(book: Book, batch: Batch, now_ms: int) -> Decision[Book]:
        if OVERDRAFT in batch:
            raise InvariantViolated("a law of the book")
        return apply(book, batch, now_ms)

    with ledger_at(url, decide=decide) as ledger:
        ledger.post("funding", *FUNDING)
        with pytest.raises(InvariantViolated):
            ledger.post("r1", OVERDRAFT)
        time.sleep(0.1)
        with pytest.raises(InvariantViolated):
            ledger.post("r2", payment(2))
    assert len(journal_of(url)) == 2


# --------------------------------------------------------------------------------- what readers are told meanwhile


@only_on_sqlite
def test_a_full_disk_is_a_fault_until_what_was_refused_would_fit(ledger: Ledger, url: str) -> None:
    large = tuple(paid(number, MINT, BOB, 1, fact="x" * 100_000) for number in range(2, 6))
    with full_disk(ledger):
        with pytest.raises(StoreUnavailable, match="full"):
            ledger.post("r1", *large)
        time.sleep(0.2)
        assert "full" in str(ledger.writer.fault), "one small row would fit, and proves nothing"
    soon(lambda: ledger.writer.fault is None)
    assert len(journal_of(url)) == 2, "what was tried once more was taken back"
    assert not ledger.post("r1", *large).replayed
    require_whole(ledger, url)


def test_a_commit_that_succeeds_ends_the_fault(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "RETRY_S", PATIENCE_S)
    with refusing_inserts(ledger.database, "segments"), pytest.raises(StoreUnavailable):
        ledger.post("r1", payment(2))
    assert isinstance(ledger.writer.fault, StoreUnavailable)
    ledger.post("r1", payment(2))
    assert ledger.writer.fault is None


def test_a_writer_that_is_held_refuses_with_the_reason_and_goes_on_when_it_is_gone(ledger: Ledger) -> None:
    why = ["the log cannot be shown"]
    ledger.writer.hold(lambda: why[0])
    with pytest.raises(StoreUnavailable, match="the log cannot be shown"):
        ledger.submit("r1", payment(2))
    why[0] = ""
    assert not ledger.post("r1", payment(2)).replayed


def test_a_writer_to_which_nothing_comes_leaves_the_database_as_it_is(ledger: Ledger, url: str) -> None:
    before = [rows(url, table) for table in ("lease", "segments", "requests")]
    time.sleep(0.2)
    assert [rows(url, table) for table in ("lease", "segments", "requests")] == before
