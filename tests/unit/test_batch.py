"""What callers ask of a ledger that stands alone: one story for every refusal, and what a retry gets."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from ledger.account import Account, Limit
from ledger.amount import AMOUNT_MAX
from ledger.batch import (
    BATCH_BODIES_MAX,
    BATCH_LEGS_MAX,
    BATCH_MAX,
    BODY_BYTES_MAX,
    EXPIRED_KIND,
    EXPIRED_MAX,
    Batch,
    Item,
    PlaceHold,
    PostHold,
    ReleaseHold,
    Result,
    Reverse,
    Transfer,
    digest,
    read_results,
)
from ledger.book import Book, Hold, hold_legs, holds_account, post
from ledger.entry import TIME_MAX_MS, Entry, Leg, Refusal, Step, Verb, credit, debit, transfer
from ledger.leaf import FACT_DEPTH_MAX, body_text
from ledger.transfers import Transfers, amount_column, key_column
from tests.ledgers import (
    ALICE,
    BOB,
    BTC_ALICE,
    BTC_MINT,
    KIND,
    MINT,
    NOW_MS,
    OF_ONE_ENTRY,
    OPENING,
    TILL,
    Desk,
    book_of,
    entry,
    numbered,
)

HELD = holds_account("USD")
LATER_MS = NOW_MS + 1_000
DEEP = Account("deep", "USD")
SHALLOW = Account("shallow", "USD")
STRANGER = Account("stranger", "USD")


def pay(number: int, debited: Account, credited: Account, amount: int, **fields: Any) -> Transfer:
    usual = {"entry_id": numbered(number), "kind": KIND, "debited": debited.id, "credited": credited.id}
    return Transfer(**{**usual, "amount": amount, **fields})


def hold(number: int, amount: int, **fields: Any) -> PlaceHold:
    """A hold on Alice for Bob."""
    usual = {"entry_id": numbered(number), "kind": KIND, "source": ALICE, "target": BOB, "amount": amount}
    return PlaceHold(**{**usual, **fields})


def post_hold(number: int, held: int, amount: int | None = None, **fields: Any) -> PostHold:
    usual = {"entry_id": numbered(number), "kind": KIND, "hold_id": numbered(held), "amount": amount}
    return PostHold(**{**usual, **fields})


def release(number: int, held: int, **fields: Any) -> ReleaseHold:
    return ReleaseHold(
        **{"entry_id": numbered(number), "kind": KIND, "hold_id": numbered(held), **fields},
    )


def reverse(number: int, reversed_number: int, **fields: Any) -> Reverse:
    usual = {"entry_id": numbered(number), "kind": KIND, "reversed_id": numbered(reversed_number)}
    return Reverse(**{**usual, **fields})


def column(*rows: Transfer, **fields: Any) -> Transfers:
    """The same transfers as a column."""
    return Transfers(
        ids=key_column([row.entry_id for row in rows]),
        debits=key_column([row.debited for row in rows]),
        credits=key_column([row.credited for row in rows]),
        amounts=amount_column([row.amount for row in rows]),
        **{"kind": KIND, **fields},
    )


def at_work() -> Desk:
    """Alice has 1,000 USD; two accounts stand at the two ends of what an amount can be."""
    desk = Desk()
    opened = entry(1, opens=(DEEP, SHALLOW))
    words = desk.send(OPENING, opened, pay(2, DEEP, SHALLOW, AMOUNT_MAX), pay(3, MINT, ALICE, 1_000))
    assert words == ["POSTED"] * 4
    return desk


def named(*ladders: tuple[tuple[Refusal, Item], ...]) -> list[str]:
    """Short names for the rungs; the items themselves may be long."""
    rungs = [rung for ladder in ladders for rung in ladder]
    return [f"{type(item).__name__}-{n}-{refusal.value}" for n, (refusal, item) in enumerate(rungs)]


@pytest.fixture
def desk() -> Desk:
    return at_work()


# ------------------------------------------------------------------------------------------- every refusal


@dataclass(frozen=True, kw_only=True)
class Story:
    """What was sent before, and what is refused then."""

    before: tuple[Item, ...] = ()
    sent: tuple[Item, ...]
    linked: frozenset[int] = frozenset()


STORIES: Mapping[Refusal, Story] = {
    Refusal.BATCH_TOO_LONG: Story(sent=(pay(9, ALICE, BOB, 1),) * (BATCH_MAX + 1)),
    Refusal.CHAIN_OPEN: Story(sent=(pay(9, ALICE, BOB, 1),), linked=frozenset({0})),
    Refusal.LINKED_REFUSED: Story(
        sent=(pay(9, ALICE, BOB, 1), pay(10, ALICE, BOB, 1), pay(11, BOB, ALICE, 10**9)),
        linked=frozenset({0, 1}),
    ),
    Refusal.ENTRY_ID_REUSED: Story(sent=(pay(3, MINT, ALICE, 1_001),)),
    Refusal.AMOUNT_NEGATIVE: Story(sent=(pay(9, ALICE, BOB, -1),)),
    Refusal.ACCOUNT_RESERVED: Story(before=(hold(5, 1),), sent=(pay(9, MINT, HELD, 1),)),
    Refusal.HOLD_NOT_OPEN: Story(sent=(post_hold(9, 3),)),
    Refusal.HOLD_EXCEEDED: Story(before=(hold(5, 10),), sent=(post_hold(9, 5, 11),)),
    Refusal.REVERSED_UNKNOWN: Story(sent=(reverse(9, 8),)),
    Refusal.NOT_REVERSIBLE: Story(sent=(reverse(9, 0),)),
    Refusal.ALREADY_REVERSED: Story(before=(reverse(5, 3),), sent=(reverse(9, 3),)),
}
"""Each refusal that an entry alone cannot meet; those that it can are in ``test_book``."""


@pytest.mark.parametrize("refusal", STORIES, ids=[refusal.value for refusal in STORIES])
def test_each_refusal_of_a_batch_has_a_story_in_which_nothing_is_written(refusal: Refusal) -> None:
    desk, story = at_work(), STORIES[refusal]
    assert set(desk.send(*story.before)) <= {"POSTED"}
    before = desk.book
    decision = desk.apply(Batch(items=story.sent, linked=story.linked))
    results = read_results(decision.answer)
    assert results[0] == Result(refusal=refusal)
    assert len(results) == len(story.sent) == decision.refusals
    assert (decision.entries, decision.state) == ((), before)


def test_no_refusal_is_without_a_test_here_or_in_the_tests_of_the_book() -> None:
    assert {*OF_ONE_ENTRY, *STORIES} == set(Refusal)
    assert not set(OF_ONE_ENTRY) & set(STORIES)


LONG = ("x" * BODY_BYTES_MAX,)
OF_TRANSFERS: tuple[tuple[Refusal, Transfer], ...] = (
    (Refusal.ENTRY_ID_REUSED, pay(3, STRANGER, BTC_ALICE, 0, kind=0, references=LONG)),
    (Refusal.ENTRY_MALFORMED, pay(9, STRANGER, BTC_ALICE, 0, kind=0, references=LONG)),
    (Refusal.AMOUNT_ZERO, pay(9, STRANGER, BTC_ALICE, 0, references=LONG)),
    (Refusal.AMOUNT_NEGATIVE, pay(9, STRANGER, BTC_ALICE, -AMOUNT_MAX - 1, references=LONG)),
    (Refusal.AMOUNT_OUT_OF_RANGE, pay(9, STRANGER, BTC_ALICE, AMOUNT_MAX + 1, references=LONG)),
    (Refusal.ACCOUNT_UNKNOWN, pay(9, STRANGER, BTC_ALICE, AMOUNT_MAX, references=LONG)),
    (Refusal.ENTRY_TOO_LONG, pay(9, HELD, BTC_ALICE, AMOUNT_MAX, references=LONG)),
    (Refusal.ENTRY_UNBALANCED, pay(9, HELD, BTC_ALICE, AMOUNT_MAX)),
    (Refusal.ACCOUNT_RESERVED, pay(9, HELD, SHALLOW, AMOUNT_MAX)),
    (Refusal.BALANCE_OUT_OF_RANGE, pay(9, BOB, SHALLOW, AMOUNT_MAX)),
    (Refusal.LIMIT_EXCEEDED, pay(9, BOB, MINT, 1)),
)
OF_HOLDS: tuple[tuple[Refusal, PlaceHold], ...] = (
    (Refusal.ENTRY_ID_REUSED, hold(3, 0, target=BTC_ALICE, kind=0, references=LONG)),
    (Refusal.AMOUNT_ZERO, hold(9, 0, target=BTC_ALICE, kind=0, references=LONG)),
    (Refusal.AMOUNT_NEGATIVE, hold(9, -AMOUNT_MAX - 1, target=BTC_ALICE, kind=0, references=LONG)),
    (Refusal.ENTRY_UNBALANCED, hold(9, AMOUNT_MAX + 1, target=BTC_ALICE, kind=0, references=LONG)),
    (Refusal.ACCOUNT_DIFFERS, hold(9, AMOUNT_MAX + 1, target=Account(BOB.path, BOB.unit), kind=0)),
    (Refusal.ENTRY_TOO_LONG, hold(9, AMOUNT_MAX + 1, kind=0, references=LONG)),
    (Refusal.ENTRY_MALFORMED, hold(9, AMOUNT_MAX + 1, kind=0)),
    (Refusal.ENTRY_MALFORMED, hold(9, AMOUNT_MAX + 1, expires_ms=-1)),
    (Refusal.ENTRY_MALFORMED, hold(9, AMOUNT_MAX + 1, expires_ms=TIME_MAX_MS + 1)),
    (Refusal.AMOUNT_OUT_OF_RANGE, hold(9, AMOUNT_MAX + 1, source=STRANGER)),
    (Refusal.ACCOUNT_UNKNOWN, hold(9, AMOUNT_MAX, source=STRANGER, target=HELD)),
    (Refusal.ACCOUNT_DIFFERS, hold(9, AMOUNT_MAX, source=replace(ALICE, limit=Limit.NONE), target=HELD)),
    (Refusal.ACCOUNT_UNKNOWN, hold(9, AMOUNT_MAX, target=STRANGER)),
    (Refusal.ACCOUNT_RESERVED, hold(9, AMOUNT_MAX, target=HELD)),
    (Refusal.ACCOUNT_RESERVED, hold(9, AMOUNT_MAX, source=HELD)),
    (Refusal.BALANCE_OUT_OF_RANGE, hold(9, AMOUNT_MAX)),
    (Refusal.LIMIT_EXCEEDED, hold(9, 1_000)),
)
OF_ENDS: tuple[tuple[Refusal, Item], ...] = (
    (Refusal.ENTRY_ID_REUSED, post_hold(3, 8, 0, kind=0, references=LONG)),
    (Refusal.HOLD_NOT_OPEN, post_hold(9, 8, 0, kind=0, references=LONG)),
    (Refusal.HOLD_NOT_OPEN, release(9, 8, kind=0, references=LONG)),
    (Refusal.AMOUNT_ZERO, post_hold(9, 5, 0, kind=0, references=LONG)),
    (Refusal.AMOUNT_NEGATIVE, post_hold(9, 5, -1, kind=0, references=LONG)),
    (Refusal.HOLD_EXCEEDED, post_hold(9, 5, AMOUNT_MAX + 1, kind=0, references=LONG)),
    (Refusal.ENTRY_TOO_LONG, post_hold(9, 5, kind=0, references=LONG)),
    (Refusal.ENTRY_MALFORMED, post_hold(9, 5, kind=0)),
    (Refusal.ENTRY_TOO_LONG, release(9, 5, kind=2**16, references=LONG)),
    (Refusal.ENTRY_MALFORMED, release(9, 5, kind=2**16)),
    (Refusal.REVERSED_UNKNOWN, reverse(9, 8, kind=0, references=LONG)),
    (Refusal.NOT_REVERSIBLE, reverse(9, 1, kind=0, references=LONG)),
    (Refusal.ENTRY_TOO_LONG, reverse(9, 6, kind=0, references=LONG)),
    (Refusal.ENTRY_MALFORMED, reverse(9, 6, kind=0)),
    (Refusal.ALREADY_REVERSED, reverse(9, 6)),
    (Refusal.LIMIT_EXCEEDED, reverse(9, 3)),
)
"""Each item breaks the rule beside it and, as far as that can be, the rules below it as well."""


@pytest.mark.parametrize(
    ("refusal", "broken"), [*OF_TRANSFERS, *OF_HOLDS, *OF_ENDS], ids=named(OF_TRANSFERS, OF_HOLDS, OF_ENDS)
)
def test_the_first_broken_rule_is_the_answer(desk: Desk, refusal: Refusal, broken: Item) -> None:
    assert desk.send(hold(5, 400), pay(6, ALICE, MINT, 7), reverse(7, 6)) == ["POSTED"] * 3
    before = desk.book
    assert desk.send(broken) == [refusal.value]
    assert desk.book == before


@pytest.mark.parametrize(("refusal", "broken"), OF_TRANSFERS, ids=named(OF_TRANSFERS))
def test_a_row_of_a_column_is_refused_for_the_same_rule(refusal: Refusal, broken: Transfer) -> None:
    desk = at_work()
    assert desk.send(hold(5, 400)) == ["POSTED"]
    before = desk.book
    sent = column(replace(broken, references=()), kind=broken.kind, references=broken.references)
    assert desk.apply(sent).answer == refusal.value
    assert desk.book == before


# ---------------------------------------------------------------------------------------------------- limits


def test_a_batch_has_as_many_items_as_it_may_and_not_one_more(desk: Desk) -> None:
    many = tuple(pay(number, ALICE, BOB, 1, kind=0) for number in range(10, 11 + BATCH_MAX))
    assert desk.send(*many[1:]) == ["ENTRY_MALFORMED"] * BATCH_MAX
    assert desk.send(*many) == ["BATCH_TOO_LONG"] * (BATCH_MAX + 1)


def test_a_column_has_as_many_rows_as_a_batch_has_items(desk: Desk) -> None:
    rows = column(*[pay(number, ALICE, BOB, 1) for number in range(10, 11 + BATCH_MAX)])
    assert desk.apply(rows).answer == f"BATCH_TOO_LONG*{BATCH_MAX + 1}"
    assert (
        desk.apply(rows.take(slice(0, BATCH_MAX))).answer
        == f"POSTED@4*1000 LIMIT_EXCEEDED*{BATCH_MAX - 1000}"
    )


def test_a_batch_has_as_many_legs_as_it_may_and_not_one_more(desk: Desk) -> None:
    half: tuple[Leg, ...] = (debit(MINT, 0),) * (BATCH_LEGS_MAX // 2)
    assert desk.send(entry(8, *half), entry(9, *half)) == ["AMOUNT_ZERO"] * 2
    assert desk.send(entry(8, *half), entry(9, *half, debit(MINT, 0))) == ["BATCH_TOO_LONG"] * 2


def test_a_body_has_as_many_bytes_as_it_may_and_not_one_more(desk: Desk) -> None:
    room = BODY_BYTES_MAX - len(body_text(entry(9, references=("",))))
    full, over = ("x" * room,), ("x" * (room + 1),)
    assert desk.send(pay(9, MINT, BOB, 1, references=over)) == ["ENTRY_TOO_LONG"]
    assert desk.apply(column(pay(9, MINT, BOB, 1), references=over)).answer == "ENTRY_TOO_LONG"
    assert desk.send(pay(9, MINT, BOB, 1, references=full)) == ["POSTED"]
    assert desk.apply(column(pay(10, MINT, BOB, 1), references=full)).answer == "POSTED@5"


@pytest.mark.parametrize("where", ["actor", "request_id"])
def test_a_text_that_every_entry_of_the_batch_has_counts_in_its_body(desk: Desk, where: str) -> None:
    origin: dict[str, Any] = {where: LONG[0]}
    assert desk.send(pay(9, MINT, BOB, 1), **origin) == ["ENTRY_TOO_LONG"]
    assert desk.send(entry(9, fact="one"), **origin) == ["ENTRY_TOO_LONG"]
    assert desk.apply(column(pay(9, MINT, BOB, 1), **origin)).answer == "ENTRY_TOO_LONG"


@pytest.mark.parametrize("where", ["actor", "request_id", "references"])
def test_what_all_entries_of_a_batch_say_alike_has_a_limit_together(desk: Desk, where: str) -> None:
    rows = [pay(number, MINT, BOB, 1) for number in range(10, 10 + 2**10)]
    room = BATCH_BODIES_MAX // len(rows) - len(body_text(entry(9, references=("",))))
    for size, words in ((room, {"POSTED"}), (room + 4, {"BATCH_TOO_LONG"})):
        text = "x" * size
        said: dict[str, Any] = {where: (text,) if where == "references" else text}
        results = read_results(Desk(book=desk.book).apply(column(*rows, **said)).answer)
        assert {result.word for result in results} == words
        if where != "references":  # those of a batch come with each item
            assert set(Desk(book=desk.book).send(*rows, **said)) == words


NESTED: Any = "inside"
for _ in range(FACT_DEPTH_MAX + 1):
    NESTED = [NESTED]
DEEP_DOWN: Any = []
for _ in range(100_000):
    DEEP_DOWN = [DEEP_DOWN]
NO_FACTS: Mapping[str, Any] = {
    "nested without an end in sight": DEEP_DOWN,
    "keys of two kinds": {1: "a", "b": "c"},
    "number": 1,
    "fraction": 1.5,
    "tuple": ("a",),
    "number as key": {1: "a"},
    "bytes": b"a",
    "number inside": {"a": [0]},
    "object": object(),
    "nested": NESTED,
}


@pytest.mark.parametrize("fact", NO_FACTS.values(), ids=NO_FACTS)
def test_a_fact_that_is_none_is_refused(desk: Desk, fact: Any) -> None:
    assert desk.send(entry(9, fact=fact), pay(10, ALICE, BOB, 1)) == ["ENTRY_MALFORMED", "POSTED"]


@pytest.mark.parametrize("fact", NO_FACTS.values(), ids=NO_FACTS)
def test_a_fact_that_is_none_has_a_digest_for_all_that(fact: Any) -> None:
    without = Batch(items=(entry(9, fact=None),))
    assert digest(Batch(items=(entry(9, fact=fact),))) != digest(without)


def test_a_text_of_any_characters_is_recorded(desk: Desk) -> None:
    text = '\ud800 \x00 "\\ é 😀'
    assert desk.send(entry(9, fact={text: text}), actor=text) == ["POSTED"]
    assert (desk.journal[-1].actor, desk.journal[-1].fact) == (text, {text: text})


@pytest.mark.parametrize("size", [0, 15, 17])
def test_an_id_of_another_length_is_no_id(desk: Desk, size: int) -> None:
    broken = bytes(size)
    items: tuple[Item, ...] = (
        entry(9, fact="one", entry_id=broken),
        pay(9, ALICE, BOB, 1, entry_id=broken),
        hold(9, 1, entry_id=broken),
        post_hold(9, 3, entry_id=broken),
        release(9, 3, entry_id=broken),
        reverse(9, 3, entry_id=broken),
    )
    assert desk.send(*items) == ["ENTRY_MALFORMED"] * len(items)
    assert desk.send(
        replace(pay(10, ALICE, BOB, 1), debited=broken),
        replace(pay(10, ALICE, BOB, 1), credited=broken),
        post_hold(10, 3, hold_id=broken),
        release(10, 3, hold_id=broken),
        reverse(10, 3, reversed_id=broken),
    ) == ["ACCOUNT_UNKNOWN"] * 2 + ["HOLD_NOT_OPEN"] * 2 + ["REVERSED_UNKNOWN"]


def test_an_id_of_the_ledgers_own_is_nobody_elses(desk: Desk) -> None:
    own, least = b"\xff" * 8 + bytes(7) + b"\x05", b"\xff" * 7 + b"\xfe" + b"\xff" * 8
    desk.send(hold(5, 1, expires_ms=LATER_MS))
    sent = (pay(9, ALICE, BOB, 0, entry_id=own), entry(9, fact="one", entry_id=own), hold(9, 1, entry_id=own))
    assert desk.send(*sent) == ["ENTRY_MALFORMED"] * len(sent)
    rows = column(pay(9, ALICE, BOB, 0, entry_id=own), pay(10, ALICE, BOB, 1, entry_id=least))
    assert desk.apply(rows).answer == "ENTRY_MALFORMED POSTED@5"
    assert desk.send(pay(11, ALICE, BOB, 1, entry_id=own), now_ms=LATER_MS) == ["ENTRY_MALFORMED"]
    assert desk.journal[-1].entry_id == b"\xff" * 8 + (6).to_bytes(8, "big")
    assert desk.send(pay(11, ALICE, BOB, 1, entry_id=desk.journal[-1].entry_id)) == ["ENTRY_MALFORMED"]


def test_an_entry_that_nobody_sent_has_an_id_that_nobody_can_send(desk: Desk) -> None:
    desk.send(hold(5, 1, expires_ms=LATER_MS))
    desk.send(now_ms=LATER_MS)
    before, expired = book_of(*desk.journal[:-1]), desk.journal[-1]
    assert isinstance(post(before, expired), Book)
    assert post(before, replace(expired, entry_id=numbered(9))) is Refusal.ENTRY_MALFORMED
    assert post(before, replace(expired, entry_id=expired.entry_id[:-1])) is Refusal.ENTRY_MALFORMED


def test_a_step_comes_of_a_hold_or_a_reversal_and_not_by_hand(desk: Desk) -> None:
    steps = [Step(Verb.HOLD, BOB.id), *(Step(verb, numbered(3)) for verb in (Verb.REVERSE, Verb.POST))]
    sent = [entry(9, *hold_legs(ALICE, 1), opens=(HELD,), step=step) for step in steps]
    assert desk.send(*sent) == ["ENTRY_MALFORMED"] * 3


# ------------------------------------------------------------------------------------------ results and origin


def test_an_empty_batch_has_no_results(desk: Desk) -> None:
    decision = desk.apply(Batch(items=()))
    assert (decision.answer, decision.entries, read_results(decision.answer)) == ("", (), ())
    assert desk.apply(column()).answer == ""


def test_results_come_in_the_order_of_the_items_with_the_place_of_each_entry(desk: Desk) -> None:
    items = (pay(9, ALICE, BOB, 1), pay(10, BOB, MINT, 99), pay(11, BOB, MINT, 1), pay(3, MINT, ALICE, 1_000))
    decision = desk.apply(Batch(items=items))
    assert decision.answer == "POSTED@4 LIMIT_EXCEEDED POSTED@5 EXISTS@3"
    assert decision.refusals == 1
    assert [result.sequence for result in read_results(decision.answer)] == [4, -1, 5, 3]


def test_an_entry_has_the_time_the_request_and_the_actor_of_its_batch(desk: Desk) -> None:
    pretended = entry(9, fact="one", effective_ms=5, actor="somebody", request_id="another")
    assert desk.send(pretended, now_ms=LATER_MS, actor="admin", request_id="r1") == ["POSTED"]
    written = desk.journal[-1]
    assert (written.effective_ms, written.actor, written.request_id) == (LATER_MS, "admin", "r1")


def test_a_long_answer_is_short_where_results_are_alike(desk: Desk) -> None:
    rows = [pay(number, MINT, BOB, 1) for number in range(10, 110)]
    assert desk.apply(Batch(items=tuple(rows))).answer == "POSTED@4*100"
    assert desk.apply(Batch(items=tuple(reversed(rows)))).answer.split()[:2] == ["EXISTS@103", "EXISTS@102"]
    assert desk.apply(Batch(items=tuple(rows))).answer == "EXISTS@4*100"


# --------------------------------------------------------------------------- the edges of what a column may do

HUGE = 2**64 + 1


@pytest.mark.parametrize("more", [0, HUGE], ids=["64 bits", "more than 64 bits"])
def test_a_column_spends_what_an_account_has_and_not_one_more(desk: Desk, more: int) -> None:
    assert desk.send(pay(9, MINT, ALICE, more + 1), pay(10, TILL, MINT, 1_000 + more)) == ["POSTED"] * 2
    assert desk.send(pay(11, ALICE, MINT, 1)) == ["POSTED"]
    spent = column(pay(20, ALICE, MINT, 1_000 + more - 2), pay(21, ALICE, MINT, 1), pay(22, ALICE, MINT, 1))
    drawn = column(pay(30, MINT, TILL, 1_000 + more - 2), pay(31, MINT, TILL, 1), pay(32, MINT, TILL, 1))
    over = column(pay(23, ALICE, MINT, 1_000 + more), pay(24, ALICE, MINT, 1))
    under = column(pay(33, MINT, TILL, 1_000 + more), pay(34, MINT, TILL, 1))
    before = desk.book
    for rows, answer in (
        (spent, "POSTED@7*3"),
        (drawn, "POSTED@7*3"),
        (over, "POSTED@7 LIMIT_EXCEEDED"),
        (under, "POSTED@7 LIMIT_EXCEEDED"),
    ):
        assert Desk(book=before).apply(rows).answer == answer


@pytest.mark.parametrize("amount", [2**59, 2**60, 2**61 - 1, 2**61, 2**62, 2**63 - 1, 2**63, 2**70])
@pytest.mark.parametrize("times", [1, 2, 3, 4, 5])
def test_a_column_adds_up_exactly_where_64_bits_end(desk: Desk, amount: int, times: int) -> None:
    for first in (20, 40):
        rows = column(*[pay(first + row, BTC_MINT, BTC_ALICE, amount) for row in range(times)])
        assert {result.word for result in read_results(desk.apply(rows).answer)} == {"POSTED"}
    assert desk.book.balance(BTC_MINT) == desk.book.balance(BTC_ALICE) == 2 * times * amount
    back = column(*[pay(60 + row, BTC_ALICE, BTC_MINT, amount) for row in range(times)])
    desk.apply(back)
    assert desk.book.balance(BTC_MINT) == times * amount


def test_a_column_reaches_the_end_of_the_range_and_not_one_beyond(desk: Desk) -> None:
    rows = column(
        pay(20, BTC_MINT, BTC_ALICE, AMOUNT_MAX - 1),
        pay(21, BTC_MINT, BTC_ALICE, 2),
        pay(22, BTC_MINT, BTC_ALICE, 1),
        pay(23, BTC_MINT, BTC_ALICE, 1),
    )
    assert desk.apply(rows).answer == "POSTED@4 BALANCE_OUT_OF_RANGE POSTED@5 BALANCE_OUT_OF_RANGE"
    assert desk.book.balance(BTC_MINT) == desk.book.balance(BTC_ALICE) == AMOUNT_MAX


# ---------------------------------------------------------------------------------------------------- chains


def test_a_chain_that_posts_stands_beside_items_that_do_not(desk: Desk) -> None:
    sent = (pay(9, BOB, ALICE, 1), pay(10, ALICE, BOB, 5), pay(11, BOB, ALICE, 5), pay(12, BOB, ALICE, 1))
    assert desk.send(*sent, linked={1}) == ["LIMIT_EXCEEDED", "POSTED", "POSTED", "LIMIT_EXCEEDED"]


def test_a_chain_falls_as_a_whole_and_what_stands_around_it_does_not(desk: Desk) -> None:
    sent = (
        pay(9, ALICE, BOB, 10),
        pay(10, ALICE, BOB, 20),
        pay(11, BOB, ALICE, 31),
        pay(12, ALICE, BOB, 40),
        pay(13, BOB, ALICE, 10),
    )
    words = ["POSTED", "LINKED_REFUSED", "LIMIT_EXCEEDED", "LINKED_REFUSED", "POSTED"]
    assert desk.send(*sent, linked={1, 2}) == words
    assert (desk.book.balance(ALICE), desk.book.balance(BOB), desk.book.size) == (1_000, 0, 6)
    assert [one.entry_id[-1] for one in desk.journal[4:]] == [9, 13]


def test_the_ids_of_a_chain_that_fell_are_free(desk: Desk) -> None:
    fallen = (pay(9, ALICE, BOB, 20), pay(10, BOB, ALICE, 21), pay(9, ALICE, BOB, 3))
    assert desk.send(*fallen, linked={0}) == ["LINKED_REFUSED", "LIMIT_EXCEEDED", "POSTED"]
    assert desk.send(pay(10, BOB, ALICE, 3)) == ["POSTED"]


def test_a_chain_that_is_open_at_the_end_of_the_batch_is_not_tried(desk: Desk) -> None:
    sent = (pay(9, ALICE, BOB, 1), pay(10, ALICE, BOB, 1), pay(3, MINT, ALICE, 1_000))
    assert desk.send(*sent, linked={1, 2}) == ["POSTED", "CHAIN_OPEN", "CHAIN_OPEN"]


def test_a_chain_all_of_which_was_recorded_exists(desk: Desk) -> None:
    chain = (pay(9, ALICE, BOB, 1), hold(10, 5), reverse(11, 9))
    assert desk.send(*chain, linked={0, 1}) == ["POSTED"] * 3
    again = desk.results(*chain, linked={0, 1})
    assert [(result.word, result.sequence) for result in again] == [("EXISTS", at) for at in (4, 5, 6)]


def test_a_chain_of_which_a_part_was_recorded_falls(desk: Desk) -> None:
    assert desk.send(pay(9, ALICE, BOB, 1)) == ["POSTED"]
    chain = (pay(9, ALICE, BOB, 1), pay(10, ALICE, BOB, 1))
    assert desk.send(*chain, linked={0}) == ["ENTRY_ID_REUSED", "LINKED_REFUSED"]
    assert desk.send(*reversed(chain), linked={0}) == ["LINKED_REFUSED", "ENTRY_ID_REUSED"]
    assert desk.send(*chain) == ["EXISTS", "POSTED"]


def test_an_id_that_stands_twice_in_a_chain_fells_it(desk: Desk) -> None:
    chain = (pay(9, ALICE, BOB, 1), pay(9, ALICE, BOB, 1))
    assert desk.send(*chain, linked={0}) == ["LINKED_REFUSED", "ENTRY_ID_REUSED"]
    assert desk.send(chain[0]) == ["POSTED"]


def test_a_hold_and_the_account_that_it_opened_fall_with_their_chain(desk: Desk) -> None:
    before = desk.book
    assert desk.send(hold(9, 5), pay(10, BOB, MINT, 1), linked={0}) == ["LINKED_REFUSED", "LIMIT_EXCEEDED"]
    assert desk.book == before
    assert not desk.book.knows(HELD)
    assert desk.send(hold(9, 5), post_hold(10, 9), linked={0}) == ["POSTED", "POSTED"]
    assert desk.book.balance(BOB) == 5


@pytest.mark.parametrize("amounts", [[1, 2.0], [1, None], [1, True], [1, np.int64(2)], [1, "2"]])
def test_an_amount_of_a_column_is_an_integer(amounts: list[Any]) -> None:
    rows = column(pay(9, ALICE, BOB, 1), pay(10, ALICE, BOB, 1))
    packed = np.empty(2, object)
    packed[:] = amounts
    with pytest.raises(ValueError, match="integer"):
        replace(rows, amounts=packed)
    assert replace(rows, amounts=np.array([1, 2**70], object)).amounts[1] == 2**70


@pytest.mark.parametrize("column_of", ["ids", "debits", "credits"])
def test_columns_are_of_one_length_and_of_16_bytes(column_of: str) -> None:
    rows = column(pay(9, ALICE, BOB, 1), pay(10, ALICE, BOB, 1))
    fine: np.ndarray[Any, Any] = getattr(rows, column_of)
    for broken in (fine[:1], fine[:, :15], fine.astype(np.int8), fine.reshape(-1)):
        changed: dict[str, Any] = {column_of: broken}
        with pytest.raises(ValueError, match="16 bytes"):
            replace(rows, **changed)
    for amounts in (
        rows.amounts.astype(np.float64),
        rows.amounts.astype(">i8"),
        rows.amounts.astype(np.uint64),
    ):
        with pytest.raises(ValueError, match="amounts"):
            replace(rows, amounts=amounts)


def test_links_of_a_column_are_those_of_a_batch(desk: Desk) -> None:
    rows = (pay(9, ALICE, BOB, 20), pay(10, BOB, ALICE, 21), pay(11, ALICE, BOB, 3), pay(12, ALICE, BOB, 3))
    decision = desk.apply(column(*rows, linked=frozenset({0, 3})))
    assert decision.answer == "LINKED_REFUSED LIMIT_EXCEEDED POSTED@4 CHAIN_OPEN"


# ----------------------------------------------------------------------------------------------- idempotency

EVERY_TYPE: tuple[Item, ...] = (
    entry(20, *transfer(MINT, ALICE, 5), fact={"note": "é"}, references=("a",)),
    pay(21, ALICE, BOB, 5, references=("a",)),
    hold(22, 5, references=("a",)),
    post_hold(23, 22, 4, references=("a",)),
    hold(24, 5, expires_ms=LATER_MS),
    release(25, 24, references=("a",)),
    reverse(26, 21, references=("a",)),
)
OTHER_BODIES: tuple[Item, ...] = (
    *(replace(item, kind=KIND + 1) for item in EVERY_TYPE),
    *(replace(item, references=("b",)) for item in EVERY_TYPE),
    entry(20, *transfer(MINT, ALICE, 6), fact={"note": "é"}, references=("a",)),
    entry(20, *transfer(MINT, ALICE, 5), fact={"note": "e"}, references=("a",)),
    entry(20, *transfer(MINT, ALICE, 5), fact={"note": "é"}, references=("a",), opens=(STRANGER,)),
    pay(20, MINT, ALICE, 5, references=("a",)),
    pay(21, ALICE, BOB, 6, references=("a",)),
    pay(21, ALICE, MINT, 5, references=("a",)),
    pay(21, MINT, BOB, 5, references=("a",)),
    entry(21, *transfer(ALICE, BOB, 5), fact="more", references=("a",)),
    hold(22, 6, references=("a",)),
    hold(22, 5, references=("a",), target=MINT),
    hold(22, 5, references=("a",), source=BOB),
    hold(22, 5, references=("a",), expires_ms=LATER_MS),
    post_hold(22, 22, references=("a",)),
    post_hold(23, 22, 5, references=("a",)),
    post_hold(23, 22, references=("a",)),
    post_hold(23, 24, 4, references=("a",)),
    release(23, 22, references=("a",)),
    hold(24, 5, expires_ms=LATER_MS + 1),
    release(25, 22, references=("a",)),
    reverse(26, 20, references=("a",)),
)


def test_every_type_of_item_is_answered_as_before_when_it_comes_again(desk: Desk) -> None:
    first = desk.results(*EVERY_TYPE, request_id="r1", actor="admin")
    assert [result.word for result in first] == ["POSTED"] * len(EVERY_TYPE)
    before = desk.book
    again = desk.results(*EVERY_TYPE, request_id="r2", actor="admin")
    assert again == tuple(replace(result, existed=True) for result in first)
    assert desk.results(*EVERY_TYPE[::-1], actor="admin") == again[::-1]
    assert desk.book == before


@pytest.mark.parametrize("other", OTHER_BODIES, ids=range(len(OTHER_BODIES)))
def test_a_recorded_id_with_another_body_is_refused(desk: Desk, other: Item) -> None:
    desk.send(*EVERY_TYPE)
    before = desk.book
    assert desk.send(other) == ["ENTRY_ID_REUSED"]
    assert desk.book == before


NO_LEGS: tuple[Item, ...] = (
    pay(0, MINT, ALICE, 1),
    hold(0, 1),
    post_hold(0, 3),
    release(0, 3),
    reverse(0, 3),
)


@pytest.mark.parametrize("other", NO_LEGS, ids=lambda item: type(item).__name__)
def test_the_id_of_an_entry_without_legs_is_as_taken_as_any(desk: Desk, other: Item) -> None:
    assert desk.send(other) == ["ENTRY_ID_REUSED"]


def test_a_recorded_id_of_another_actor_is_refused(desk: Desk) -> None:
    desk.send(*EVERY_TYPE, actor="admin")
    assert desk.send(*EVERY_TYPE, actor="somebody") == ["ENTRY_ID_REUSED"] * len(EVERY_TYPE)


def test_an_id_counts_from_the_item_that_posts_with_it(desk: Desk) -> None:
    sent = (pay(9, BOB, MINT, 1), pay(9, ALICE, BOB, 1), pay(9, ALICE, BOB, 1), pay(9, BOB, MINT, 1))
    assert desk.send(*sent) == ["LIMIT_EXCEEDED", "POSTED", "EXISTS", "ENTRY_ID_REUSED"]
    assert desk.send(*sent[::-1]) == ["ENTRY_ID_REUSED", "EXISTS", "EXISTS", "ENTRY_ID_REUSED"]


def test_an_id_counts_in_columns_as_it_does_in_batches(desk: Desk) -> None:
    rows = (pay(9, BOB, MINT, 1), pay(9, ALICE, BOB, 1), pay(9, ALICE, BOB, 1), pay(10, ALICE, BOB, 1))
    assert desk.apply(column(*rows)).answer == "LIMIT_EXCEEDED POSTED@4 EXISTS@4 POSTED@5"
    assert desk.send(*rows[1:]) == ["EXISTS"] * 3
    assert desk.apply(column(rows[3], pay(11, ALICE, BOB, 1))).answer == "EXISTS@5 POSTED@6"
    assert desk.apply(column(pay(9, ALICE, BOB, 2))).answer == "ENTRY_ID_REUSED"


def test_a_transfer_is_the_entry_that_it_makes(desk: Desk) -> None:
    assert desk.send(pay(9, ALICE, BOB, 1), entry(10, *transfer(ALICE, BOB, 1))) == ["POSTED"] * 2
    assert desk.send(entry(9, *transfer(ALICE, BOB, 1)), pay(10, ALICE, BOB, 1)) == ["EXISTS"] * 2


def test_what_a_request_says_is_all_that_its_digest_depends_on() -> None:
    batch = Batch(items=EVERY_TYPE, linked=frozenset({1, 2}), request_id="r1", actor="admin")
    assert digest(batch) == digest(replace(batch, request_id="r2"))
    others = [
        replace(batch, actor="somebody"),
        replace(batch, linked=frozenset({1})),
        *(replace(batch, items=(other, *EVERY_TYPE[1:])) for other in OTHER_BODIES),
    ]
    assert len({digest(other) for other in (batch, *others)}) == len(others) + 1
    rows = column(pay(9, ALICE, BOB, 1), pay(10, ALICE, BOB, 2**70))
    turned = column(pay(9, BOB, ALICE, 1), pay(10, ALICE, BOB, 2**70))
    changed = [
        turned,
        column(pay(9, ALICE, BOB, 1), pay(10, ALICE, BOB, 2**70 + 1)),
        column(pay(9, ALICE, BOB, 1), pay(11, ALICE, BOB, 2**70)),
        replace(rows, kind=7),
        replace(rows, linked=frozenset({0})),
        replace(rows, actor="admin"),
        replace(rows, references=("a",)),
    ]
    assert digest(rows) == digest(rows.dated(7)) == digest(replace(rows, request_id="r2"))
    assert len({digest(other) for other in (rows, *changed)}) == len(changed) + 1


# ----------------------------------------------------------------------------------------------------- holds


def test_a_hold_sets_aside_and_the_first_one_of_a_unit_opens_the_account_for_it(desk: Desk) -> None:
    assert not desk.book.knows(HELD)
    assert desk.send(hold(9, 400), hold(10, 300), hold(11, 301)) == ["POSTED", "POSTED", "LIMIT_EXCEEDED"]
    assert [one.opens for one in desk.journal[4:]] == [(HELD,), ()]
    assert (desk.book.balance(ALICE), desk.book.balance(HELD), desk.book.balance(BOB)) == (300, 700, 0)
    assert desk.book.holds[numbered(9)] == Hold(ALICE, BOB, 400, 0)
    assert desk.book.due_ms is None
    assert desk.send(hold(12, 1, source=BTC_MINT, target=BTC_ALICE)) == ["POSTED"]
    assert desk.book.balance(holds_account("BTC")) == 1


@pytest.mark.parametrize(("amount", "paid_amount"), [(None, 400), (400, 400), (399, 399), (1, 1)])
def test_a_hold_is_posted_and_what_is_not_paid_goes_back(
    desk: Desk, amount: int | None, paid_amount: int
) -> None:
    assert desk.send(hold(9, 400), post_hold(10, 9, amount)) == ["POSTED", "POSTED"]
    left = {account: desk.book.balance(account) for account in (ALICE, HELD, BOB)}
    assert left == {ALICE: 1_000 - paid_amount, HELD: 0, BOB: paid_amount}
    assert not desk.book.holds


def test_a_hold_that_is_released_goes_back(desk: Desk) -> None:
    assert desk.send(hold(9, 400), release(10, 9)) == ["POSTED", "POSTED"]
    assert [desk.book.balance(account) for account in (ALICE, HELD, BOB)] == [1_000, 0, 0]


def test_a_hold_ends_once(desk: Desk) -> None:
    assert desk.send(hold(9, 400), post_hold(10, 9, 1)) == ["POSTED", "POSTED"]
    assert desk.send(post_hold(11, 9, 1), release(12, 9)) == ["HOLD_NOT_OPEN"] * 2
    assert desk.send(hold(13, 400), release(14, 13)) == ["POSTED", "POSTED"]
    assert desk.send(release(15, 13), post_hold(16, 13)) == ["HOLD_NOT_OPEN"] * 2


def test_a_hold_expires_at_its_time_and_not_before(desk: Desk) -> None:
    assert desk.send(hold(9, 400, expires_ms=LATER_MS), hold(10, 1)) == ["POSTED", "POSTED"]
    assert desk.apply(Batch(items=()), LATER_MS - 1).entries == ()
    assert desk.send(post_hold(11, 9), now_ms=LATER_MS) == ["HOLD_NOT_OPEN"]
    expired = desk.journal[-1]
    assert (expired.kind, expired.effective_ms, expired.actor) == (EXPIRED_KIND, LATER_MS, "")
    assert expired.step == Step(Verb.EXPIRE, numbered(9))
    assert [desk.book.balance(account) for account in (ALICE, HELD, BOB)] == [999, 1, 0]
    assert desk.apply(Batch(items=()), LATER_MS).entries == ()


def test_a_hold_can_be_posted_to_the_last_millisecond(desk: Desk) -> None:
    assert desk.send(hold(9, 400, expires_ms=LATER_MS)) == ["POSTED"]
    assert desk.send(post_hold(10, 9), now_ms=LATER_MS - 1) == ["POSTED"]
    assert desk.apply(Batch(items=()), LATER_MS).entries == ()


def test_a_command_gives_back_no_more_than_so_many_holds_and_the_next_one_goes_on(desk: Desk) -> None:
    desk.send(pay(8, MINT, ALICE, 1))
    desk.send(*(hold(100 + n, 1, expires_ms=LATER_MS) for n in range(EXPIRED_MAX - 300)))
    desk.send(*(hold(5_000 + n, 1, expires_ms=LATER_MS + 1) for n in range(301)))
    assert desk.send(post_hold(9, 5_300), now_ms=LATER_MS + 1) == ["HOLD_NOT_OPEN"]
    assert list(desk.book.holds) == [numbered(5_300)], "what was not given back yet cannot be posted either"
    desk.send(now_ms=LATER_MS + 1)
    assert not desk.book.holds


def test_nothing_expires_before_its_time(desk: Desk) -> None:
    desk.send(hold(5, 1, expires_ms=LATER_MS))
    desk.send(now_ms=LATER_MS)
    before, expired = book_of(*desk.journal[:-1]), desk.journal[-1]
    assert post(before, replace(expired, effective_ms=LATER_MS - 1)) is Refusal.ENTRY_MALFORMED


def test_holds_expire_in_the_order_of_their_times_before_a_batch_or_a_column(desk: Desk) -> None:
    times = {9: LATER_MS + 2, 10: LATER_MS, 11: LATER_MS + 1, 12: LATER_MS + 3, 13: 0}
    desk.send(*(hold(number, 100, expires_ms=at) for number, at in times.items()))
    decision = desk.apply(column(pay(20, ALICE, BOB, 800)), LATER_MS + 2)
    assert decision.answer == "POSTED@12"
    steps = [one.step for one in desk.journal[9:12]]
    assert [step.names[-1] for step in steps if step is not None] == [10, 11, 9]
    assert decision.state.due_ms == LATER_MS + 3
    assert set(desk.book.holds) == {numbered(12), numbered(13)}


def test_holds_expire_even_when_all_of_the_command_is_refused(desk: Desk) -> None:
    desk.send(hold(9, 400, expires_ms=LATER_MS))
    decision = desk.apply(Batch(items=(pay(10, BOB, MINT, 1),)), LATER_MS)
    assert (decision.answer, decision.refusals, len(decision.entries)) == ("LIMIT_EXCEEDED", 1, 1)
    assert not decision.state.holds


def test_the_limit_of_the_target_is_judged_when_the_hold_is_posted(desk: Desk) -> None:
    on_till = hold(9, 5, target=TILL)
    assert desk.send(on_till, post_hold(10, 9, 5)) == ["POSTED", "LIMIT_EXCEEDED"]
    assert numbered(9) in desk.book.holds
    desk.send(pay(11, TILL, MINT, 4))
    assert desk.send(post_hold(12, 9, 5), post_hold(13, 9, 4)) == ["LIMIT_EXCEEDED", "POSTED"]
    assert [desk.book.balance(account) for account in (ALICE, HELD, TILL)] == [996, 0, 0]


def test_a_hold_lends_its_source_no_room_and_so_can_always_be_given_back(desk: Desk) -> None:
    on_till = hold(9, 100, source=TILL, expires_ms=LATER_MS)
    drawn = pay(10, MINT, TILL, 51)
    assert desk.send(pay(8, TILL, MINT, 50), on_till, drawn) == ["POSTED", "POSTED", "LIMIT_EXCEEDED"]
    assert desk.apply(column(drawn, pay(11, MINT, TILL, 50))).answer == "LIMIT_EXCEEDED POSTED@6"
    assert desk.send(pay(12, ALICE, BOB, 1), now_ms=LATER_MS) == ["POSTED"]
    assert (desk.book.balance(TILL), set(desk.book.held)) == (0, {0})


def test_a_hold_can_be_given_back_even_at_the_end_of_the_range(desk: Desk) -> None:
    at_the_end = hold(9, 100, source=SHALLOW, target=MINT, expires_ms=LATER_MS)
    drawn = pay(10, MINT, SHALLOW, 1)
    assert desk.send(at_the_end, drawn) == ["POSTED", "BALANCE_OUT_OF_RANGE"]
    rows = column(drawn, pay(11, SHALLOW, MINT, 1), pay(12, MINT, SHALLOW, 1))
    assert desk.apply(rows).answer == "BALANCE_OUT_OF_RANGE POSTED@5*2"
    assert desk.send(now_ms=LATER_MS) == []
    assert desk.book.debit_balance(SHALLOW.id) == -AMOUNT_MAX


def test_what_is_not_paid_of_a_hold_finds_room_where_it_came_from(desk: Desk) -> None:
    assert desk.send(hold(9, 100, source=TILL), pay(10, MINT, TILL, 1)) == ["POSTED", "LIMIT_EXCEEDED"]
    assert desk.send(post_hold(11, 9, 30), pay(12, MINT, TILL, 30)) == ["POSTED", "POSTED"]
    assert desk.book.balance(TILL) == 0


def test_what_is_held_moves_by_steps_alone(desk: Desk) -> None:
    desk.send(hold(9, 400))
    plain = (
        entry(10, *transfer(HELD, ALICE, 1)),
        entry(10, *transfer(MINT, HELD, 1)),
        entry(10, debit(HELD, 1), credit(HELD, 1)),
        pay(10, HELD, ALICE, 1),
        pay(10, MINT, HELD, 1),
    )
    assert desk.send(*plain) == ["ACCOUNT_RESERVED"] * len(plain)
    rows = column(*[pay(number, HELD, ALICE, 1) for number in (10, 11)], pay(12, MINT, HELD, 1))
    assert desk.apply(rows).answer == "ACCOUNT_RESERVED*3"


@pytest.mark.parametrize("pretended", [HELD, Account("holds", "USD"), Account("holds", "XAU")])
def test_the_account_for_what_is_held_is_opened_by_the_first_hold_alone(
    desk: Desk, pretended: Account
) -> None:
    assert desk.send(entry(9, opens=(pretended,)), hold(10, 1)) == ["ACCOUNT_RESERVED", "POSTED"]


def forged(verb: Verb, names: bytes, *legs: Leg, opens: tuple[Account, ...] = ()) -> Entry:
    return entry(90, *legs, step=Step(verb, names), opens=opens)


FORGED = {
    "a hold that opens more": forged(
        Verb.HOLD, BTC_ALICE.id, *hold_legs(BTC_MINT, 1), opens=(holds_account("BTC"), STRANGER)
    ),
    "a hold in an account that is not the right one": forged(
        Verb.HOLD,
        BTC_ALICE.id,
        *transfer(BTC_MINT, Account("holds", "BTC"), 1),
        opens=(Account("holds", "BTC"),),
    ),
    "a hold of less than nothing": forged(Verb.HOLD, BOB.id, debit(ALICE, -1), credit(HELD, -1)),
    "a hold across units": forged(Verb.HOLD, BTC_ALICE.id, *hold_legs(ALICE, 1)),
    "a hold without legs": forged(Verb.HOLD, BOB.id, opens=(STRANGER,)),
    "a hold that moves more": forged(Verb.HOLD, BOB.id, *hold_legs(ALICE, 1), *transfer(ALICE, BOB, 1)),
    "a post that pays the source": forged(
        Verb.POST, numbered(5), debit(HELD, 400), debit(BOB, 1), credit(ALICE, 401)
    ),
    "a post of nothing": forged(Verb.POST, numbered(5), debit(HELD, 400), credit(ALICE, 400)),
    "a post without legs": forged(Verb.POST, numbered(5), opens=(STRANGER,)),
    "a post that opens": forged(
        Verb.POST, numbered(5), debit(HELD, 400), credit(BOB, 400), opens=(Account("holds", "BTC"),)
    ),
    "a post that goes elsewhere": forged(Verb.POST, numbered(5), debit(HELD, 400), credit(MINT, 400)),
    "a release that pays": forged(Verb.RELEASE, numbered(5), debit(HELD, 400), credit(BOB, 400)),
    "a release of a part": forged(Verb.RELEASE, numbered(5), debit(HELD, 399), credit(ALICE, 399)),
    "a reversal out of what is held": forged(Verb.REVERSE, numbered(3), *transfer(HELD, ALICE, 1)),
    "a reversal that opens": forged(
        Verb.REVERSE, numbered(3), *transfer(MINT, BOB, 1), opens=(Account("holds", "BTC"),)
    ),
}


@pytest.mark.parametrize("step", FORGED.values(), ids=FORGED)
def test_a_step_that_no_item_makes_does_not_post_even_if_it_stood_in_a_journal(
    desk: Desk, step: Entry
) -> None:
    assert desk.send(hold(5, 400), pay(6, MINT, BOB, 500)) == ["POSTED", "POSTED"]
    assert post(desk.book, step) in {Refusal.ENTRY_MALFORMED, Refusal.NOT_REVERSIBLE}


def test_an_amount_that_is_held_may_need_more_than_64_bits(desk: Desk) -> None:
    assert desk.send(pay(9, MINT, BOB, 2**90), hold(10, 2**80, source=BOB, target=ALICE)) == ["POSTED"] * 2
    assert desk.send(post_hold(11, 10, 2**70)) == ["POSTED"]
    assert desk.book.balance(ALICE) == 1_000 + 2**70


# -------------------------------------------------------------------------------------------------- reversal


def test_a_reversal_posts_the_legs_once_more_with_sides_exchanged(desk: Desk) -> None:
    legs = (debit(MINT, 7), credit(BOB, 4), credit(ALICE, 3))
    assert desk.send(entry(9, *legs), reverse(10, 9)) == ["POSTED", "POSTED"]
    assert desk.journal[-1].legs == (credit(MINT, 7), debit(BOB, 4), debit(ALICE, 3))
    assert desk.book.balance(BOB) == 0


def test_an_entry_is_reversed_once_by_whatever_id(desk: Desk) -> None:
    assert desk.send(reverse(9, 3), reverse(10, 3), reverse(9, 3)) == ["POSTED", "ALREADY_REVERSED", "EXISTS"]
    assert desk.send(reverse(11, 3)) == ["ALREADY_REVERSED"]


def test_a_row_of_a_column_can_be_reversed(desk: Desk) -> None:
    desk.apply(column(*[pay(number, ALICE, BOB, number) for number in (9, 10, 11)]))
    assert desk.send(reverse(20, 10)) == ["POSTED"]
    assert desk.book.balance(BOB) == 20


def test_what_has_no_legs_or_is_a_step_is_not_reversed(desk: Desk) -> None:
    desk.send(hold(5, 4, expires_ms=LATER_MS), hold(6, 4), hold(7, 4))
    assert desk.send(post_hold(8, 6), release(9, 7), entry(11, fact="one")) == ["POSTED"] * 3
    assert desk.send(pay(12, MINT, BOB, 1), reverse(10, 12)) == ["POSTED"] * 2
    steps = [reverse(30 + number, number) for number in (0, 5, 6, 7, 8, 9, 10, 11)]
    assert desk.send(*steps, now_ms=NOW_MS) == ["NOT_REVERSIBLE"] * len(steps)
    assert desk.send(now_ms=LATER_MS) == []
    expired = desk.journal[-1].entry_id
    assert desk.send(reverse(40, 0, reversed_id=expired), now_ms=LATER_MS) == ["NOT_REVERSIBLE"]


def test_a_reversal_keeps_the_limits(desk: Desk) -> None:
    desk.send(pay(9, ALICE, BOB, 5))
    assert desk.send(reverse(10, 3), reverse(11, 9), reverse(10, 3)) == ["LIMIT_EXCEEDED", "POSTED", "POSTED"]
    assert desk.book.balance(ALICE) == 0


@pytest.mark.parametrize("fields", [{"references": (None,)}, {"references": ("a", 1)}])
def test_what_could_not_be_read_back_is_never_written(desk: Desk, fields: dict[str, Any]) -> None:
    before = desk.book
    assert desk.send(entry(9, *transfer(MINT, ALICE, 1), **fields)) == ["ENTRY_MALFORMED"]
    assert desk.send(pay(10, MINT, ALICE, 1, **fields)) == ["ENTRY_MALFORMED"]
    assert desk.book == before


def test_a_long_column_that_could_not_be_read_back_is_refused_row_by_row(desk: Desk) -> None:
    rows = Transfers(
        ids=key_column([numbered(1_000 + n) for n in range(100)]),
        debits=key_column([MINT.id] * 100),
        credits=key_column([ALICE.id] * 100),
        amounts=amount_column([1] * 100),
        kind=KIND,
        references=(None,),  # type: ignore[arg-type]  # what a caller without types may send
    )
    results = read_results(desk.apply(rows).answer)
    assert [one.word for one in results] == ["ENTRY_MALFORMED"] * 100
