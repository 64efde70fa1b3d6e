"""Haircuts that grow with concentration, and tokens of members that stand in the set (rulebook §8)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.default.placement import take_collateral
from clearing.margin.assess import assess_alone, collateral_value
from clearing.model.commands import AdmitMember, ListAsset, RequestWithdrawal
from clearing.model.ids import AccountKey, AssetId, MemberId, account_key, house_account
from tests.builders import (
    ALICE,
    BOB,
    DESK,
    ETHER,
    USD,
    USDC,
    World,
    copy_of,
    link,
    two_traders,
    with_provider,
)

DEX, OTHER = MemberId("dex"), MemberId("other")
WHOLE = 10**18
THERE = account_key(OTHER, "alice")
CROWDED = AssetId("CRWD")
"""Like ether: 200.0 a piece. The first ten have 20 % off, the others 50 %."""
LIMIT = 10 * WHOLE
ASSET = replace(ETHER, id=CROWDED, concentration_minor=LIMIT, concentration_haircut_bp=5_000)


def crowded() -> World:
    """Alice has accounts at dex and at other; bob is a client of dex."""
    world = two_traders()
    world.ok(ListAsset(asset=ASSET))
    world.ok(AdmitMember(member=OTHER, name="Other"))
    world.account("other", "alice")
    return world


CROWDED_HOUSE = crowded()


def value(world: World, *keys: AccountKey) -> int:
    return sum(collateral_value(world.state, (key,)) for key in keys)


@pytest.mark.parametrize(
    ("whole", "counted"), [(10, 1_600 * USD), (11, 1_700 * USD), (20, 2_600 * USD), (100, 10_600 * USD)]
)
def test_what_is_posted_above_the_limit_has_the_higher_haircut(whole: int, counted: int) -> None:
    world = crowded()
    world.deposit(ALICE, whole * WHOLE, CROWDED)
    assert value(world, ALICE) == counted


def test_the_limit_is_exact_and_the_value_is_rounded_down() -> None:
    """A millionth of a dollar is 5 × 10^9 smallest units here; a haircut of one unit costs a part of it."""
    world = crowded()
    world.deposit(ALICE, LIMIT, CROWDED)
    world.deposit(ALICE, 10**10 - 1, CROWDED)
    assert value(world, ALICE) == 1_600 * USD
    world.deposit(ALICE, 1, CROWDED)
    assert value(world, ALICE) == 1_600 * USD + 1


def test_without_a_limit_nothing_is_concentrated() -> None:
    world = crowded()
    world.ok(ListAsset(asset=replace(ETHER, id=AssetId("FREE"))))
    world.deposit(ALICE, 10**6 * WHOLE, AssetId("FREE"))
    assert value(world, ALICE) == 160 * 10**6 * USD


@pytest.mark.parametrize("is_linked", [False, True])
def test_the_limit_is_the_participants_wherever_its_accounts_are(is_linked: bool) -> None:
    """Six here, six there: one each is above the limit."""
    world = crowded()
    if is_linked:
        link(world, "alice", ALICE, THERE)
    for key in (ALICE, THERE):
        world.deposit(key, 6 * WHOLE, CROWDED)
    assert (value(world, ALICE), value(world, THERE)) == (900 * USD, 900 * USD)
    assert assess_alone(world.state, ALICE).collateral_minor == 900 * USD
    if is_linked:
        assert world.measured("link/alice").collateral_minor == 1_800 * USD


def test_another_participant_has_a_limit_of_its_own() -> None:
    world = crowded()
    for key in (ALICE, BOB):
        world.deposit(key, LIMIT, CROWDED)
    assert (value(world, ALICE), value(world, BOB)) == (1_600 * USD, 1_600 * USD)


def test_a_members_house_account_has_a_limit_of_its_own() -> None:
    """Even if a client is called as the member."""
    world = crowded()
    namesake = world.account("other", "client", "dex")
    for key in (house_account(DEX), house_account(OTHER), namesake):
        world.deposit(key, LIMIT, CROWDED)
        assert value(world, key) == 1_600 * USD


@given(parts=st.lists(st.integers(1, 30 * WHOLE) | st.integers(1, 10**11), min_size=2, max_size=4))
def test_splitting_never_raises_the_value(parts: list[int]) -> None:
    """Over accounts at one member or at two, in one netting set or apart."""
    together, apart = copy_of(CROWDED_HOUSE), copy_of(CROWDED_HOUSE)
    together.deposit(ALICE, sum(parts), CROWDED)
    keys = [ALICE, THERE, *(apart.account("dex", f"a{n}", "alice") for n in range(len(parts) - 2))]
    for key, part in zip(keys, parts, strict=True):
        apart.deposit(key, part, CROWDED)
    assert value(apart, *keys) <= value(together, ALICE)
    assert collateral_value(apart.state, tuple(keys)) == value(apart, *keys)


@given(before=st.integers(1, 30 * WHOLE), more=st.integers(1, 30 * WHOLE))
def test_more_collateral_is_never_worth_less(before: int, more: int) -> None:
    world = copy_of(CROWDED_HOUSE)
    world.deposit(ALICE, before, CROWDED)
    was = value(world, ALICE)
    foreseen = collateral_value(world.state, (ALICE,), {(ALICE, CROWDED): more})
    world.deposit(ALICE, more, CROWDED)
    assert was <= value(world, ALICE) == foreseen


# ------------------------------------------------------------------------------------------------ who buys it


def test_a_provider_that_buys_collateral_counts_it_after_the_higher_haircut() -> None:
    """The desk pays 198.00 each and must keep R. Above the limit one is worth 100.00 to it, not 160.00."""
    taken = {}
    for asset in (replace(ETHER, id=CROWDED), ASSET):
        world = with_provider(two_traders(), cash_minor=100_000 * USD)
        world.ok(ListAsset(asset=asset))
        carol = world.account("dex", "carol")
        world.deposit(BOB, 10_000 * USD)
        world.deposit(carol, 20 * WHOLE, CROWDED)
        world.deposit(carol, 10 * USD)
        assert world.trade(carol, BOB, 1_000, 80_000).accepted
        world.prices(BTC=45_000, ETH=2_000)
        taken[asset.concentration_minor] = world.measured(DESK).collateral_minor
    assert taken == {0: 3_200 * USD, LIMIT: 2_600 * USD}


@pytest.mark.parametrize("there", [1, 4_999_999_999, 16_315_695_187_165_743, 12 * WHOLE + 4_444_444_444])
def test_no_purchase_is_free_to_a_provider_that_just_meets_its_requirement(there: int) -> None:
    """Else a sale would go on for ever, a unit at a time, where rounding favours the taker."""
    world = with_provider(two_traders())
    world.ok(ListAsset(asset=ASSET))
    rich = world.account("desk", "rich")
    world.deposit(rich, 100_000 * USD)
    world.deposit(DESK, there, CROWDED)
    assert world.trade(DESK, rich, 10_000, 80_000).accepted
    world.prices(BTC=80_000, ETH=1_122)
    stands = world.measured(DESK)
    free = stands.equity_minor - stands.requirement_minor
    world.ok(RequestWithdrawal(withdrawal="w1", account=DESK, asset=USDC, amount_minor=free))
    for size in (10**9, 10**11, 10**13):
        taking = take_collateral(world.state, world.state.providers[DESK], ASSET, size)
        assert taking.notional_minor == 0


# ---------------------------------------------------------------------------------------------------- own tokens


def test_a_token_counts_zero_in_a_set_that_has_an_account_at_its_issuer() -> None:
    """Alice's set falls when dex does, so a token of dex is no margin for it, wherever it is posted."""
    world = crowded()
    token = AssetId("DEXT")
    world.ok(ListAsset(asset=replace(ETHER, id=token, issuer=DEX)))
    world.deposit(THERE, WHOLE, token)
    assert world.measured(THERE).collateral_minor == 160 * USD
    link(world, "alice", ALICE, THERE)
    assert world.measured("link/alice").collateral_minor == 0
    assert assess_alone(world.state, THERE).collateral_minor == 160 * USD
