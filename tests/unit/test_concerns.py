"""Whose a fact is: every table of the state says it, and what says nothing is shown to nobody."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from clearing.model.house import ROW_TYPES, Drop, Put
from clearing.model.ids import AccountKey, AssetId, MemberId, ParticipantId, SetId, linked_set
from clearing.model.kinds import Kind
from clearing.model.values import NettingSet, Porting, Withdrawal, WithdrawalState
from clearing.server.identity import parse_spiffe
from clearing.server.tail import Happening, happening
from clearing.server.wire.concerns import (
    CONCERNS,
    CUSTODY,
    NOBODY,
    Concern,
    of_change,
    owner_of_account,
    owners_of,
)
from clearing.server.wire.events import SAID
from ledger.entry import Entry

PAT = linked_set(ParticipantId("pat"))
ALPHA, BETA = "members/alpha", "members/beta"


def members(set_id: SetId) -> Iterable[MemberId]:
    """Pat is linked at alpha and beta."""
    return (MemberId("alpha"), MemberId("beta")) if set_id == PAT else (MemberId(set_id.split("/")[0]),)


def dropped(table: str, key: str) -> Concern:
    return of_change(Drop(table, key), members)


def test_every_table_of_the_state_says_whose_its_rows_are() -> None:
    assert CONCERNS.keys() == ROW_TYPES.keys()
    assert SAID.keys() <= ROW_TYPES.keys()


def test_a_table_that_nobody_listed_concerns_nobody() -> None:
    assert dropped("secrets", "alpha/one") == NOBODY == Concern("", frozenset(), False)
    told = Happening(1, Entry(entry_id=bytes(16), kind=100, effective_ms=0), (), frozenset(), False)
    assert not told.is_for(frozenset({ALPHA}))
    assert not told.is_for(frozenset())
    assert told.is_for(None)


@pytest.mark.parametrize(
    ("table", "key", "name", "owners"),
    [
        ("accounts", "alpha/one", "members/alpha/accounts/one", {ALPHA}),
        ("trades", "beta/t-1", "members/beta/trades/t-1", {BETA}),
        ("halves", "beta/t-1", "members/beta/trades/t-1", {BETA}),
        ("members", "alpha", ALPHA, {ALPHA}),
        ("providers", "beta/one", "members/beta/accounts/one", {BETA}),
        ("calls", "margin/alpha/one", "nettingSets/alpha~one", {ALPHA}),
        ("calls", "cash/link/pat", "nettingSets/link~pat", {ALPHA, BETA}),
        ("liquidations", "link/pat", "nettingSets/link~pat", {ALPHA, BETA}),
        ("assessments", "d1/beta", "defaults/d1", {BETA}),
        ("replenishments", "d1/beta", "defaults/d1", {BETA}),
        ("bids", "a17/beta/one", "auctions/a17", {BETA}),
        ("sources", "s1", "sources/s1", {"sources/s1"}),
        ("observations", "BTC/s1", "sources/s1", {"sources/s1"}),
        ("grants", "rita", "regulators/rita", {"regulators/rita"}),
        ("half_refs", "ref", "", set()),
        ("change_proposals", "p1", "", set()),
        ("withdrawals", "w1", "", set()),
    ],
)
def test_what_is_about_one_is_told_to_that_one(table: str, key: str, name: str, owners: set[str]) -> None:
    assert dropped(table, key) == Concern(name, frozenset(owners), is_public=False)


@pytest.mark.parametrize(
    ("table", "key", "name"),
    [
        ("cycle", "", ""),
        ("charter", "", ""),
        ("outage", "", ""),
        ("breakers", "*", ""),
        ("breakers", "BTC-PERP", "instruments/BTC-PERP"),
        ("defaults", "d1", "defaults/d1"),
        ("auctions", "a17", "auctions/a17"),
        ("non_default_losses", "ETH", "assets/ETH"),
    ],
)
def test_what_everybody_is_told_names_no_member(table: str, key: str, name: str) -> None:
    assert dropped(table, key) == Concern(name, frozenset(), is_public=True)


def test_a_withdrawal_is_its_members_and_the_custodians() -> None:
    row = Withdrawal(
        id="w1",
        account=AccountKey("alpha/one"),
        asset=AssetId("USDC"),
        amount_minor=5,
        state=WithdrawalState.SENT,
    )
    found = of_change(Put("withdrawals", "w1", row), members)
    assert found == Concern("members/alpha/accounts/one/withdrawals/w1", frozenset({ALPHA, CUSTODY}))


def test_accounts_and_members_that_a_row_of_a_set_names_are_concerned_too() -> None:
    accounts = (AccountKey("alpha/one"), AccountKey("gamma/one"))
    linked = NettingSet(id=PAT, participant=ParticipantId("pat"), accounts=accounts)
    assert of_change(Put("netting_sets", PAT, linked), members).owners == {ALPHA, BETA, "members/gamma"}
    porting = Porting(netting_set=SetId("alpha/one"), members=(MemberId("gamma"),), opened_ms=0, due_ms=1)
    assert of_change(Put("portings", "alpha/one", porting), members).owners == {ALPHA, "members/gamma"}


@pytest.mark.parametrize(
    ("who", "owners"),
    [
        ("member/alpha", {ALPHA}),
        ("liquidity-provider/alpha", {ALPHA}),
        ("price-source/s1", {"sources/s1"}),
        ("custodian/alpha", {CUSTODY}),
        ("regulator/alpha", None),
        ("administrator/alpha", None),
    ],
)
def test_a_caller_owns_what_stands_under_its_name_in_its_role(who: str, owners: set[str] | None) -> None:
    assert owners_of(parse_spiffe(f"spiffe://h/{who}")) == owners


def test_a_regulator_with_a_grant_stands_for_its_members_and_is_told_of_its_grant() -> None:
    rita = parse_spiffe("spiffe://h/regulator/rita")
    assert owners_of(replace(rita, granted=frozenset())) == frozenset({"regulators/rita"})
    some = replace(rita, granted=frozenset({MemberId("alpha"), MemberId("beta")}))
    assert owners_of(some) == frozenset({ALPHA, BETA, "regulators/rita"})


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("members/alpha/accounts/one/cash", ALPHA),
        ("members/alpha/pool", ALPHA),
        ("members", ""),
        ("custody", CUSTODY),
        ("withdrawals/w1", ""),
        ("house/capital", ""),
        ("defaults/d1/members/alpha/loss", ""),
    ],
)
def test_an_account_of_the_ledger_is_the_members_under_which_it_stands(path: str, owner: str) -> None:
    assert owner_of_account(path) == owner


def test_an_entry_without_facts_and_legs_of_anyone_concerns_nobody() -> None:
    told = happening(1, Entry(entry_id=bytes(16), kind=Kind.HOUSE_FUNDED, effective_ms=0), members)
    assert (told.owners, told.is_public) == (frozenset(), False)
