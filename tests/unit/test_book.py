"""The book: every reason to refuse an entry, in the order in which the reasons are looked for."""

from itertools import pairwise

import pytest

from ledger.account import Account, Side
from ledger.amount import AMOUNT_MAX
from ledger.book import Book, post
from ledger.columns import fold
from ledger.entry import LEGS_MAX, Entry, Refusal, credit, debit
from ledger.require import InvariantViolated
from tests.ledgers import (
    ALICE,
    BOB,
    BTC_ALICE,
    BTC_MINT,
    MINT,
    NOW_MS,
    OF_ONE_ENTRY,
    OPENING,
    TILL,
    apply,
    book_of,
    entry,
    paid,
)

STRANGER = Account("stranger", "USD")
ALICE_UNLIMITED = Account(ALICE.path, ALICE.unit)
ALICE_TURNED = Account(ALICE.path, ALICE.unit, Side.DEBIT, ALICE.limit)
DEEP = Account("deep", "USD")
SHALLOW = Account("shallow", "USD")
RICH = book_of(
    OPENING,
    entry(1, opens=(DEEP, SHALLOW)),
    paid(2, DEEP, SHALLOW, AMOUNT_MAX),
    paid(3, MINT, ALICE, 100),
)
"""Alice has 100 USD, and two accounts stand at the two ends of what an amount can be."""

OVERFLOW = (debit(DEEP, 1), credit(SHALLOW, 1))
OVERDRAFT = (debit(BOB, 1), credit(MINT, 1))

LADDER = (
    (Refusal.ENTRY_MALFORMED, entry(9, debit(MINT, 1), kind=0)),
    (Refusal.ENTRY_EMPTY, entry(9)),
    (Refusal.ENTRY_ONE_LEGGED, entry(9, debit(MINT, 0), opens=(ALICE,))),
    (Refusal.ENTRY_TOO_LONG, entry(9, *[debit(STRANGER, 0)] * (LEGS_MAX + 1), opens=(ALICE,))),
    (Refusal.AMOUNT_ZERO, entry(9, debit(STRANGER, 0), debit(MINT, AMOUNT_MAX + 1), opens=(ALICE,))),
    (Refusal.AMOUNT_OUT_OF_RANGE, entry(9, debit(STRANGER, AMOUNT_MAX + 1), *OVERDRAFT, opens=(ALICE,))),
    (Refusal.ENTRY_UNBALANCED, entry(9, debit(STRANGER, 1), *OVERDRAFT, opens=(ALICE,))),
    (Refusal.ACCOUNT_EXISTS, entry(9, debit(STRANGER, 1), credit(MINT, 1), *OVERDRAFT, opens=(ALICE,))),
    (Refusal.ACCOUNT_UNKNOWN, entry(9, *OVERDRAFT, *OVERFLOW, debit(STRANGER, 1), credit(ALICE_TURNED, 1))),
    (Refusal.ACCOUNT_DIFFERS, entry(9, *OVERDRAFT, *OVERFLOW, debit(ALICE_TURNED, 1), credit(MINT, 1))),
    (Refusal.BALANCE_OUT_OF_RANGE, entry(9, *OVERDRAFT, *OVERFLOW)),
    (Refusal.LIMIT_EXCEEDED, entry(9, *OVERDRAFT)),
)
"""Each entry breaks the rule beside it and, as far as that can be, the rules below it as well."""


@pytest.mark.parametrize(("refusal", "broken"), LADDER, ids=[refusal.value for refusal, _ in LADDER])
def test_the_first_broken_rule_is_the_answer(refusal: Refusal, broken: Entry) -> None:
    assert post(RICH, broken) is refusal


def test_no_reason_is_untested_and_the_ladder_follows_the_public_order() -> None:
    assert [refusal for refusal, _ in LADDER] == [one for one in Refusal if one in OF_ONE_ENTRY]


def test_the_order_of_legs_does_not_change_the_answer_between_range_and_limit() -> None:
    assert post(RICH, entry(9, *OVERFLOW, *OVERDRAFT)) is Refusal.BALANCE_OUT_OF_RANGE
    assert post(RICH, entry(9, *OVERDRAFT, *OVERFLOW)) is Refusal.BALANCE_OUT_OF_RANGE


def test_a_refused_entry_opens_nothing_and_moves_nothing() -> None:
    before = RICH
    for _, broken in LADDER:
        post(before, broken)
    assert before == RICH
    assert not RICH.knows(STRANGER)
    assert post(RICH, entry(9, *OVERDRAFT, opens=(STRANGER,))) is Refusal.LIMIT_EXCEEDED
    assert not RICH.knows(STRANGER)


# --------------------------------------------------------------------------------------------------- accounts


def test_an_account_is_opened_once() -> None:
    assert post(RICH, entry(9, opens=(ALICE,))) is Refusal.ACCOUNT_EXISTS
    assert post(RICH, entry(9, opens=(STRANGER, STRANGER))) is Refusal.ACCOUNT_EXISTS


def test_an_account_cannot_be_opened_again_with_another_limit() -> None:
    assert post(RICH, entry(9, opens=(ALICE_UNLIMITED,))) is Refusal.ACCOUNT_EXISTS


def test_the_entry_that_opens_an_account_can_use_it() -> None:
    after = post(RICH, paid(9, MINT, STRANGER, 7, opens=(STRANGER,)))
    assert isinstance(after, Book)
    assert after.balance(STRANGER) == 7


@pytest.mark.parametrize("pretended", [ALICE_UNLIMITED, ALICE_TURNED])
def test_a_leg_cannot_shed_the_limit_or_the_side_of_its_account(pretended: Account) -> None:
    assert post(RICH, paid(9, pretended, BOB, 1)) is Refusal.ACCOUNT_DIFFERS


def test_an_account_in_another_unit_is_another_account() -> None:
    assert post(RICH, paid(9, Account("clients/bob", "BTC"), BTC_ALICE, 1)) is Refusal.ACCOUNT_UNKNOWN


# -------------------------------------------------------------------------------------------- range and limit


def test_a_balance_reaches_the_last_amount_and_not_one_more() -> None:
    near = book_of(OPENING, paid(1, MINT, BOB, AMOUNT_MAX - 1))
    full = post(near, paid(2, MINT, BOB, 1))
    assert isinstance(full, Book)
    assert full.balance(BOB) == full.balance(MINT) == AMOUNT_MAX
    assert post(full, paid(3, MINT, BOB, 1)) is Refusal.BALANCE_OUT_OF_RANGE


def test_legs_of_one_account_count_together_before_its_balance_is_judged() -> None:
    through = entry(9, debit(ALICE, 150), credit(MINT, 150), debit(MINT, 50), credit(ALICE, 50))
    after = post(RICH, through)
    assert isinstance(after, Book)
    assert after.balance(ALICE) == 0


def test_a_credit_account_spends_what_it_has_and_not_one_more() -> None:
    assert isinstance(post(RICH, paid(9, ALICE, BOB, 100)), Book)
    assert post(RICH, paid(9, ALICE, BOB, 101)) is Refusal.LIMIT_EXCEEDED


def test_a_debit_account_gives_what_it_has_and_not_one_more() -> None:
    book = book_of(OPENING, paid(1, TILL, ALICE, 100))
    assert post(book, paid(2, MINT, TILL, 101)) is Refusal.LIMIT_EXCEEDED
    after = post(book, paid(2, MINT, TILL, 100))
    assert isinstance(after, Book)
    assert after.balance(TILL) == 0


def test_an_account_without_a_limit_may_stand_on_either_side() -> None:
    after = post(RICH, paid(9, ALICE, MINT, 100))
    assert isinstance(after, Book)
    beyond = post(after, paid(10, BTC_ALICE, BTC_MINT, 5))
    assert isinstance(beyond, Book)
    assert (beyond.balance(BTC_ALICE), beyond.balance(BTC_MINT)) == (-5, -5)


# ---------------------------------------------------------------------------------------------------- reading


def test_the_trial_balance_has_every_unit_with_equal_sides() -> None:
    book = book_of(OPENING, paid(1, MINT, ALICE, 100), paid(2, BTC_MINT, BTC_ALICE, 3))
    assert book.trial_balance() == {"USD": (100, 100), "BTC": (3, 3)}


def test_the_list_of_accounts_is_in_the_order_of_their_paths() -> None:
    listed = [(account.path, account.unit) for account, _ in RICH.listed()]
    assert all(before < after for before, after in pairwise(listed))
    assert dict(RICH.listed())[ALICE] == 100


def test_an_account_that_was_never_opened_has_no_balance() -> None:
    assert RICH.balance(STRANGER) == 0


# ----------------------------------------------------------------------------------------- batches and replay


def test_a_batch_gives_one_result_per_entry_and_goes_on_after_a_refusal() -> None:
    batch = (
        paid(9, ALICE, BOB, 60),
        paid(10, ALICE, BOB, 60),
        paid(11, BOB, ALICE, 20),
        paid(12, ALICE, BOB, 60),
    )
    decision = apply(RICH, batch, NOW_MS)
    assert decision.answer == "POSTED LIMIT_EXCEEDED POSTED POSTED"
    assert decision.refusals == 1
    assert [one.entry_id[-1] for one in decision.entries if isinstance(one, Entry)] == [9, 11, 12]
    assert (decision.state.balance(ALICE), decision.state.balance(BOB)) == (0, 100)


def test_a_batch_is_dated_by_the_clock_and_not_by_its_sender() -> None:
    decision = apply(RICH, (paid(9, ALICE, BOB, 1, effective_ms=-1),), NOW_MS + 1)
    assert [one.effective_ms for one in decision.entries] == [NOW_MS + 1]


def test_an_empty_batch_changes_nothing() -> None:
    decision = apply(RICH, (), NOW_MS)
    assert (decision.state, decision.entries, decision.answer, decision.refusals) == (RICH, (), "", 0)


def test_replay_of_what_cannot_have_been_recorded_is_a_broken_law() -> None:
    with pytest.raises(InvariantViolated, match="LIMIT_EXCEEDED"):
        fold(RICH, entry(9, *OVERDRAFT))
