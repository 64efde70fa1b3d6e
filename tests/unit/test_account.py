"""Accounts: which paths and units there are, where the id comes from, what a limit allows."""

import dataclasses

import pytest

from ledger.account import Account, Limit, Side, account_id
from tests.ledgers import ACCOUNTS, ALICE


def test_an_id_is_the_head_of_the_hash_of_path_and_unit() -> None:
    # printf 'clients/alice\nUSD' | sha256sum | cut -c1-32
    assert ALICE.id.hex() == "8dfdfc47a51af48d1f296dcdc71f3f2d"
    assert account_id("clients/alice", "USD") == ALICE.id


def test_every_account_of_the_tests_has_its_own_id() -> None:
    assert len({account.id for account in ACCOUNTS}) == len(ACCOUNTS)


def test_side_and_limit_make_another_account_under_the_same_id() -> None:
    other = Account(ALICE.path, ALICE.unit, ALICE.side, Limit.NONE)
    assert other != ALICE
    assert other.id == ALICE.id


def test_an_account_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(ALICE, "limit", Limit.NONE)  # noqa: B010  # mypy would see the plain assignment


@pytest.mark.parametrize(
    "path",
    ["a", "0", "_", "a/b", "clients/alice_2/cash-usd", "v1.2", "a-", "a.", "a" * 200, "a/" * 99 + "aa"],
)
def test_a_path_is_made_of_lower_case_steps(path: str) -> None:
    assert Account(path, "USD").path == path


@pytest.mark.parametrize(
    "path",
    ["", "/", "/a", "a/", "a//b", "a/../b", ".", "-a", "a/-b", "A", "a b", "a\n", "a\nUSD", "ä", "a" * 201],
)
def test_a_path_of_another_form_is_no_account(path: str) -> None:
    with pytest.raises(ValueError, match="not an account path and unit"):
        Account(path, "USD")


@pytest.mark.parametrize("unit", ["U", "0", "USD", "BTC-PERP", "A.B_C-1", "U" * 64])
def test_a_unit_is_an_upper_case_code(unit: str) -> None:
    assert Account("a", unit).unit == unit


@pytest.mark.parametrize("unit", ["", "usd", "-U", ".U", "U/V", "U V", "USD\n", "€", "U" * 65])
def test_a_unit_of_another_form_is_no_account(unit: str) -> None:
    with pytest.raises(ValueError, match="not an account path and unit"):
        Account("a", unit)


@pytest.mark.parametrize(
    ("limit", "allowed"),
    [
        (Limit.NONE, {-1, 0, 1}),
        (Limit.DEBITS_MUST_NOT_EXCEED_CREDITS, {-1, 0}),
        (Limit.CREDITS_MUST_NOT_EXCEED_DEBITS, {0, 1}),
    ],
)
def test_a_limit_allows_zero_and_what_is_on_its_side(limit: Limit, allowed: set[int]) -> None:
    assert {balance for balance in (-1, 0, 1) if limit.allows(balance)} == allowed


def test_a_balance_reads_positive_on_the_normal_side() -> None:
    assert Account("a", "USD", Side.DEBIT).on_normal_side(7) == 7
    assert Account("a", "USD", Side.CREDIT).on_normal_side(7) == -7
