"""Entries: each rule that an entry keeps by itself, at its limit and one past it."""

import pytest

from ledger.amount import AMOUNT_MAX, divide_down, divide_up, in_range
from ledger.entry import (
    KIND_MAX,
    LEGS_MAX,
    TIME_MAX_MS,
    Entry,
    Leg,
    Refusal,
    check_entry,
    credit,
    debit,
    transfer,
)
from tests.ledgers import ALICE, BOB, BTC_ALICE, BTC_MINT, MINT, entry, paid

PAIR = (debit(MINT, 5), credit(ALICE, 5))


@pytest.mark.parametrize(
    "fine",
    [
        paid(1, MINT, ALICE, 5),
        paid(1, MINT, ALICE, -5),
        paid(1, MINT, MINT, 5),
        entry(1, opens=(ALICE,)),
        entry(1, fact=""),
        entry(1, fact=False),
        entry(1, fact=[]),
        entry(1, *PAIR, entry_id=bytes(16), kind=1, effective_ms=0),
        entry(1, *PAIR, entry_id=b"\xfe" * 16, kind=KIND_MAX, effective_ms=TIME_MAX_MS),
        entry(1, debit(MINT, AMOUNT_MAX), credit(ALICE, AMOUNT_MAX)),
        entry(1, debit(MINT, 3), credit(ALICE, 2), credit(BOB, 1)),
        entry(1, debit(MINT, 3), credit(ALICE, 3), debit(BTC_MINT, 1), credit(BTC_ALICE, 1)),
        entry(1, *PAIR * (LEGS_MAX // 2)),
    ],
)
def test_an_entry_at_the_edge_of_the_rules_keeps_them(fine: Entry) -> None:
    assert check_entry(fine) is None


@pytest.mark.parametrize(
    ("broken", "refusal"),
    [
        (entry(1, *PAIR, entry_id=b""), Refusal.ENTRY_MALFORMED),
        (entry(1, *PAIR, entry_id=bytes(15)), Refusal.ENTRY_MALFORMED),
        (entry(1, *PAIR, entry_id=bytes(17)), Refusal.ENTRY_MALFORMED),
        (entry(1, *PAIR, kind=0), Refusal.ENTRY_MALFORMED),
        (entry(1, *PAIR, kind=KIND_MAX + 1), Refusal.ENTRY_MALFORMED),
        (entry(1, *PAIR, kind=-1), Refusal.ENTRY_MALFORMED),
        (entry(1, *PAIR, effective_ms=-1), Refusal.ENTRY_MALFORMED),
        (entry(1, *PAIR, effective_ms=TIME_MAX_MS + 1), Refusal.ENTRY_MALFORMED),
        (entry(1), Refusal.ENTRY_EMPTY),
        (entry(1, debit(MINT, 5)), Refusal.ENTRY_ONE_LEGGED),
        (entry(1, debit(MINT, 5), opens=(MINT,), fact="x"), Refusal.ENTRY_ONE_LEGGED),
        (entry(1, *PAIR * (LEGS_MAX // 2), debit(MINT, 5)), Refusal.ENTRY_TOO_LONG),
        (entry(1, debit(MINT, 0), credit(ALICE, 0)), Refusal.AMOUNT_ZERO),
        (entry(1, *PAIR, debit(BOB, 0)), Refusal.AMOUNT_ZERO),
        (entry(1, debit(MINT, AMOUNT_MAX + 1), credit(ALICE, AMOUNT_MAX + 1)), Refusal.AMOUNT_OUT_OF_RANGE),
        (entry(1, credit(MINT, AMOUNT_MAX + 1), *PAIR), Refusal.AMOUNT_OUT_OF_RANGE),
        (entry(1, debit(MINT, 5), credit(ALICE, 4)), Refusal.ENTRY_UNBALANCED),
        (entry(1, debit(MINT, 5), debit(ALICE, 5)), Refusal.ENTRY_UNBALANCED),
        (entry(1, debit(MINT, 5), credit(BTC_MINT, 5)), Refusal.ENTRY_UNBALANCED),
        (entry(1, debit(MINT, AMOUNT_MAX), debit(ALICE, AMOUNT_MAX)), Refusal.ENTRY_UNBALANCED),
    ],
)
def test_an_entry_past_the_edge_is_refused_by_name(broken: Entry, refusal: Refusal) -> None:
    assert check_entry(broken) is refusal


def test_the_amounts_of_an_entry_end_at_two_to_the_127_minus_one() -> None:
    assert AMOUNT_MAX == 170141183460469231731687303715884105727
    assert in_range(AMOUNT_MAX)
    assert in_range(-AMOUNT_MAX)
    assert not in_range(AMOUNT_MAX + 1)
    assert not in_range(-AMOUNT_MAX - 1), "its negation would not fit"


def test_a_transfer_of_nothing_has_no_legs_and_a_negative_one_goes_back() -> None:
    assert transfer(MINT, ALICE, 0) == ()
    assert transfer(MINT, ALICE, 5) == (Leg(MINT, 5), Leg(ALICE, -5))
    assert transfer(MINT, ALICE, -5) == (Leg(MINT, -5), Leg(ALICE, 5))


def test_the_value_of_a_refusal_is_its_name_because_it_is_public() -> None:
    assert {refusal.value for refusal in Refusal} == {refusal.name for refusal in Refusal}


@pytest.mark.parametrize(
    ("numerator", "down", "up"), [(7, 3, 4), (6, 3, 3), (-7, -4, -3), (2**127 + 1, 2**126, 2**126 + 1)]
)
def test_a_division_rounds_the_way_that_it_is_called(numerator: int, down: int, up: int) -> None:
    assert divide_down(numerator, 2) == down
    assert divide_up(numerator, 2) == up
