"""A ledger that stands alone, end to end on a real database: what a retry gets, and what survives."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import text

from ledger.batch import (
    Batch,
    Command,
    Item,
    PlaceHold,
    PostHold,
    ReleaseHold,
    Result,
    Reverse,
    Transfer,
    read_results,
)
from ledger.book import holds_account
from ledger.entry import Refusal, Step, Verb, transfer
from ledger.store.connect import Database, LeaseHeld
from ledger.store.ledger import Ledger
from ledger.store.queries import Answered
from ledger.store.verify import Verified
from ledger.store.writer import RequestReused, StoreUnavailable
from ledger.transfers import Transfers, amount_column, key_column
from tests.ledgers import (
    ALICE,
    BOB,
    KIND,
    MINT,
    NOW_MS,
    OPENING,
    PATIENCE_S,
    SALTS,
    entry,
    journal_of,
    numbered,
    open_database,
    refusing_inserts,
    rows,
    verified,
)

LATER_MS = NOW_MS + 1_000


@dataclass
class Clock:
    """Shows what it is told to; when it is shut, whoever looks waits until it is opened."""

    now_ms: int = NOW_MS
    is_shut: bool = False
    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> int:
        if self.is_shut:
            self.reached.set()
            assert self.opened.wait(PATIENCE_S)
        return self.now_ms


@dataclass(frozen=True)
class AtWork:
    """A ledger, its clock and its database."""

    ledger: Ledger
    clock: Clock
    database: Database

    def words(self, request_id: str, *items: Item, **fields: Any) -> list[str]:
        batch = Batch(items=items, request_id=request_id, **fields)
        return [result.word for result in self.ledger.post(batch)]

    def in_one_group(self, *commands: Command) -> list["Future[Answered]"]:
        """Send all ``commands`` so that one commit has them all."""
        self.clock.is_shut = True
        self.ledger.submit(Batch(items=(), request_id=f"gate/{commands[0].request_id}"))
        assert self.clock.reached.wait(PATIENCE_S)
        futures = [self.ledger.submit(command) for command in commands]
        self.clock.is_shut = False
        self.clock.opened.set()
        return futures


@contextmanager
def at_work(url: str, now_ms: int = NOW_MS) -> Iterator[AtWork]:
    database, clock = open_database(url), Clock(now_ms)
    try:
        with Ledger(database, clock=clock, salts=SALTS, secret=bytes(16)) as ledger:
            yield AtWork(ledger, clock, database)
    finally:
        database.dispose()


@pytest.fixture
def work(url: str) -> Iterator[AtWork]:
    """Alice has 1,000 USD; two entries are recorded. In the end the journal is verified."""
    with at_work(url) as opened:
        assert opened.words("funding", OPENING, pay(1, MINT, ALICE, 1_000)) == ["POSTED"] * 2
        yield opened
    _require_verified(url)


def _require_verified(url: str) -> None:
    """The journal holds, no id stands in it twice, and a ledger that starts on it has the same book."""
    found = verified(url)
    assert isinstance(found, Verified), found
    ids = [one.entry_id for one in journal_of(url)]
    assert len(set(ids)) == len(ids) == found.size
    with at_work(url) as again:
        assert again.ledger.view.state == found.book
        assert again.ledger.view.frontier.root() == found.root


def pay(number: int, debited: Any, credited: Any, amount: int = 1, **fields: Any) -> Transfer:
    return Transfer(
        entry_id=numbered(number),
        kind=KIND,
        debited=debited.id,
        credited=credited.id,
        amount=amount,
        **fields,
    )


def hold(number: int, amount: int, expires_ms: int = 0) -> PlaceHold:
    return PlaceHold(
        entry_id=numbered(number), kind=KIND, source=ALICE, target=BOB, amount=amount, expires_ms=expires_ms
    )


def column(request_id: str, numbers: range, amount: int = 1, **fields: Any) -> Transfers:
    """Alice pays Bob ``amount`` under each of ``numbers``."""
    return Transfers(
        ids=key_column([numbered(number) for number in numbers]),
        debits=key_column([bytes(ALICE.id)] * len(numbers)),
        credits=key_column([bytes(BOB.id)] * len(numbers)),
        amounts=amount_column([amount] * len(numbers)),
        kind=KIND,
        request_id=request_id,
        **fields,
    )


def posted(first: int, last: int, *, existed: bool = False) -> tuple[Result, ...]:
    return tuple(Result(sequence, existed) for sequence in range(first, last + 1))


EVERY_TYPE: tuple[Item, ...] = (
    entry(10, *transfer(MINT, ALICE, 5), fact={"note": "é"}, references=("a",)),
    pay(11, ALICE, BOB, 2**0),
    hold(12, 5),
    PostHold(entry_id=numbered(13), kind=KIND, hold_id=numbered(12), amount=4),
    hold(14, 5),
    ReleaseHold(entry_id=numbered(15), kind=KIND, hold_id=numbered(14)),
    Reverse(entry_id=numbered(16), kind=KIND, reversed_id=numbered(11)),
)

# ------------------------------------------------------------------------------------------------ end to end


def test_every_type_of_item_and_a_column_are_posted_and_read_back(work: AtWork, url: str) -> None:
    assert work.words("r1", *EVERY_TYPE) == ["POSTED"] * len(EVERY_TYPE)
    assert work.ledger.post(column("r2", range(100, 300))) == posted(9, 208)
    book = work.ledger.view.state
    assert (book.balance(ALICE), book.balance(BOB), book.balance(holds_account("USD"))) == (801, 204, 0)
    assert [one.entry_id[-1] for one in journal_of(url)][:9] == [0, 1, *range(10, 17)]
    assert verified(url) == Verified(size=209, root=work.ledger.view.frontier.root(), book=book)


def test_nothing_at_all_can_be_posted(work: AtWork, url: str) -> None:
    assert work.ledger.post(Batch(items=(), request_id="r1")) == ()
    assert work.ledger.post(column("r2", range(0))) == ()
    assert work.ledger.view.size == 2
    assert len(rows(url, "segments")) == 1


def test_a_second_ledger_on_one_database_is_refused(work: AtWork, url: str) -> None:
    with pytest.raises(LeaseHeld), at_work(url):
        pass
    assert work.words("r1", pay(10, ALICE, BOB)) == ["POSTED"]


def test_a_fact_that_is_none_is_an_answer_and_stops_nobody(work: AtWork) -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for number, fact in enumerate([1, ("a",), {1: "a", "b": "c"}, object(), deep]):
        assert work.words(f"r{number}", entry(10, fact=fact)) == ["ENTRY_MALFORMED"]
    assert work.words("long", entry(10, fact="x" * 2**21)) == ["ENTRY_TOO_LONG"]
    assert work.ledger.stopped is None
    assert work.words("last", entry(10, fact=["\ud800"])) == ["POSTED"]


# ---------------------------------------------------------------------------------------------------- retries


def test_a_request_that_comes_again_after_a_restart_gets_its_answer(url: str) -> None:
    with at_work(url) as work:
        first = work.words("r1", OPENING, pay(1, MINT, ALICE, 9), pay(2, BOB, ALICE), hold(3, 5))
    with at_work(url, LATER_MS) as work:
        batch = Batch(
            items=(OPENING, pay(1, MINT, ALICE, 9), pay(2, BOB, ALICE), hold(3, 5)), request_id="r1"
        )
        answered = work.ledger.submit(batch).result(PATIENCE_S)
        assert answered.replayed
        assert [result.word for result in read_results(answered.answer)] == first
        with pytest.raises(RequestReused):
            work.ledger.post(Batch(items=batch.items[:2], request_id="r1"))
    _require_verified(url)


def test_entries_that_come_again_under_other_request_ids_exist_before_and_after_a_restart(url: str) -> None:
    with at_work(url) as work:
        work.words("funding", OPENING, pay(1, MINT, ALICE, 1_000))
        first = work.ledger.post(Batch(items=EVERY_TYPE, request_id="r1"))
        assert work.ledger.post(column("r2", range(100, 120))) == posted(9, 28)
        _require_all_exist(work, first, "before")
    with at_work(url, LATER_MS) as work:
        _require_all_exist(work, first, "after")
        assert work.words("r5", pay(11, ALICE, BOB, 2), pay(105, ALICE, BOB, 2)) == ["ENTRY_ID_REUSED"] * 2
        assert work.words("r6", *EVERY_TYPE, actor="somebody") == ["ENTRY_ID_REUSED"] * len(EVERY_TYPE)
    _require_verified(url)


def _require_all_exist(work: AtWork, first: tuple[Result, ...], when: str) -> None:
    again = work.ledger.post(Batch(items=EVERY_TYPE, request_id=f"items/{when}"))
    assert again == tuple(Result(result.sequence, existed=True) for result in first)
    assert work.ledger.post(column(f"column/{when}", range(100, 120))) == posted(9, 28, existed=True)
    rows_alone = tuple(pay(number, ALICE, BOB) for number in range(100, 120))
    found = work.ledger.post(Batch(items=rows_alone, request_id=f"rows/{when}"))
    assert found == posted(9, 28, existed=True)


def test_a_refused_id_can_be_sent_again_when_there_is_money(work: AtWork) -> None:
    assert work.words("r1", pay(10, BOB, ALICE, 5)) == ["LIMIT_EXCEEDED"]
    assert work.words("r2", pay(11, ALICE, BOB, 5), pay(10, BOB, ALICE, 5)) == ["POSTED", "POSTED"]
    assert work.words("r1", pay(10, BOB, ALICE, 5)) == ["LIMIT_EXCEEDED"]  # what that request was answered


# ------------------------------------------------------------------------------------- within one commit group


def results_of(futures: list["Future[Answered]"]) -> list[tuple[Result, ...]]:
    return [read_results(future.result(PATIENCE_S).answer) for future in futures]


def test_an_id_that_two_commands_of_one_group_have_is_posted_once(work: AtWork, url: str) -> None:
    reused = Result(refusal=Refusal.ENTRY_ID_REUSED)
    futures = work.in_one_group(
        Batch(items=(pay(10, ALICE, BOB), pay(11, BOB, MINT, 9)), request_id="r1"),
        Batch(items=(pay(10, ALICE, BOB), pay(11, BOB, MINT, 1)), request_id="r2"),
        column("r3", range(10, 14)),
        Batch(items=(pay(10, ALICE, BOB), pay(10, ALICE, BOB, 2), pay(13, ALICE, BOB)), request_id="r4"),
        column("r5", range(10, 12), amount=2),
    )
    assert results_of(futures) == [
        (Result(2), Result(refusal=Refusal.LIMIT_EXCEEDED)),
        (Result(2, existed=True), Result(3)),
        (Result(2, existed=True), reused, Result(4), Result(5)),
        (Result(2, existed=True), reused, Result(5, existed=True)),
        (reused, reused),
    ]
    assert len(rows(url, "segments")) == 2


def test_a_hold_can_be_posted_and_an_entry_reversed_in_the_group_that_has_it(work: AtWork) -> None:
    futures = work.in_one_group(
        Batch(items=(hold(10, 5),), request_id="r1"),
        column("r2", range(20, 40)),
        Batch(items=(PostHold(entry_id=numbered(11), kind=KIND, hold_id=numbered(10)),), request_id="r3"),
        Batch(items=(Reverse(entry_id=numbered(12), kind=KIND, reversed_id=numbered(30)),), request_id="r4"),
    )
    assert results_of(futures) == [posted(2, 2), posted(3, 22), posted(23, 23), posted(24, 24)]
    assert work.ledger.view.state.balance(BOB) == 24


def test_a_group_of_many_small_commands_knows_all_their_ids(work: AtWork) -> None:
    many = [Batch(items=(pay(10 + n % 300, ALICE, BOB),), request_id=f"r{n}") for n in range(900)]
    results = [result for (result,) in results_of(work.in_one_group(*many))]
    assert results == [Result(2 + n % 300, existed=n >= 300) for n in range(900)]


# ----------------------------------------------------------------------------------------------- a lost group


@pytest.mark.parametrize("table", ["segments", "requests"])
def test_ids_of_a_group_that_the_store_refused_post_when_they_come_again(
    work: AtWork, url: str, table: str
) -> None:
    with refusing_inserts(work.database, table):
        futures = work.in_one_group(
            Batch(items=(pay(10, ALICE, BOB), hold(11, 5)), request_id="r1"),
            Batch(items=(pay(10, ALICE, BOB),), request_id="r2"),
            column("r3", range(20, 40)),
        )
        for future in futures:
            with pytest.raises(StoreUnavailable):
                future.result(PATIENCE_S)
    assert work.ledger.view.size == 2
    assert work.words("r2", pay(10, ALICE, BOB, 3)) == ["POSTED"]
    assert work.words("r4", pay(99, ALICE, BOB), hold(11, 5)) == ["POSTED", "POSTED"]
    assert work.ledger.post(column("r3", range(20, 40))) == posted(5, 24)
    assert work.words("r5", pay(10, ALICE, BOB, 3), pay(10, ALICE, BOB)) == ["EXISTS", "ENTRY_ID_REUSED"]
    assert [one.entry_id[-1] for one in journal_of(url)][2:6] == [10, 99, 11, 20]


def test_ids_that_cannot_be_confirmed_are_no_answer_and_pass(work: AtWork) -> None:
    work.words("r1", pay(10, ALICE, BOB))
    with work.database.connect() as connection:
        connection.execute(text("ALTER TABLE segments RENAME TO lost"))
        with pytest.raises(StoreUnavailable):
            work.ledger.post(Batch(items=(pay(10, ALICE, BOB),), request_id="r2"))
        connection.execute(text("ALTER TABLE lost RENAME TO segments"))
    assert work.ledger.stopped is None
    assert work.words("r2", pay(10, ALICE, BOB)) == ["EXISTS"]


# ------------------------------------------------------------------------------------------- false fingerprints


def test_a_fingerprint_that_points_to_another_id_is_no_hit(work: AtWork) -> None:
    prints = work.ledger._ids._prints
    for sequence in (0, 1, 2, 3, 4, 500):
        prints.add(key_column([numbered(number) for number in (10, 11, 20, 21)]), sequence)
    assert work.words("r1", pay(10, ALICE, BOB)) == ["POSTED"]
    futures = work.in_one_group(
        Batch(items=(pay(11, ALICE, BOB),), request_id="r2"),
        column("r3", range(20, 22)),
        Batch(items=(pay(11, ALICE, BOB), pay(21, ALICE, BOB), pay(10, ALICE, BOB)), request_id="r4"),
    )
    assert results_of(futures) == [
        posted(3, 3),
        posted(4, 5),
        (Result(3, existed=True), Result(5, existed=True), Result(2, existed=True)),
    ]


# ------------------------------------------------------------------------------------------------------- holds


def test_holds_expire_after_a_restart_at_their_time(url: str) -> None:
    with at_work(url) as work:
        work.words("funding", OPENING, pay(1, MINT, ALICE, 1_000))
        work.words("r1", hold(10, 5, LATER_MS), hold(11, 7, LATER_MS + 1), hold(12, 9))
    with at_work(url, LATER_MS - 1) as work:
        assert work.words("r2", pay(20, ALICE, BOB)) == ["POSTED"]
        assert set(work.ledger.view.state.holds) == {numbered(number) for number in (10, 11, 12)}
        work.clock.now_ms = LATER_MS
        post_late = PostHold(entry_id=numbered(21), kind=KIND, hold_id=numbered(10))
        assert work.words("r3", post_late, pay(22, ALICE, BOB)) == ["HOLD_NOT_OPEN", "POSTED"]
    with at_work(url, LATER_MS + 1) as work:
        assert work.ledger.post(column("r4", range(30, 40))) == posted(9, 18)
        assert set(work.ledger.view.state.holds) == {numbered(12)}
        assert work.ledger.view.state.balance(ALICE) == 1_000 - 9 - 12
    expired = [one for one in journal_of(url) if one.step and one.step.verb is Verb.EXPIRE]
    assert [(one.step, one.effective_ms) for one in expired] == [
        (Step(Verb.EXPIRE, numbered(10)), LATER_MS),
        (Step(Verb.EXPIRE, numbered(11)), LATER_MS + 1),
    ]
    _require_verified(url)


def test_a_hold_that_expired_in_a_lost_group_expires_again(work: AtWork) -> None:
    work.words("r1", hold(10, 5, LATER_MS))
    work.clock.now_ms = LATER_MS
    with refusing_inserts(work.database, "segments"), pytest.raises(StoreUnavailable):
        work.ledger.post(Batch(items=(), request_id="r2"))
    assert numbered(10) in work.ledger.view.state.holds
    answered = work.ledger.submit(Batch(items=(), request_id="r2")).result(PATIENCE_S)
    assert (answered.first_sequence, answered.count, answered.answer) == (3, 1, "")
    assert not work.ledger.view.state.holds
