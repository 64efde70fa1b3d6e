"""Nobody is liquidated or declared whom its own money, held for withdrawal, would have saved (rulebook §8)."""

from dataclasses import replace

import pytest

from clearing import chart
from clearing.margin.assess import Health
from clearing.model.commands import AdmitMember, RequestWithdrawal, SendWithdrawal, UnlinkAccounts
from clearing.model.ids import AccountKey, AssetId, MemberId, ParticipantId, SetId, house_account, single_set
from clearing.model.values import DAY_MS, HOUR_MS, AccountStatus, MemberStatus, Stage, WithdrawalState
from tests.builders import (
    ALICE,
    BOB,
    ETH,
    ETH_PERP,
    PARAMETERS,
    USD,
    USDC,
    World,
    empty_house,
    kinds_of,
    link,
    pay_out,
    size_pool,
    two_traders,
    with_provider,
)

DEX = MemberId("dex")
DEX_HOUSE = house_account(DEX)
HELD, SENT, RELEASED = WithdrawalState.HELD, WithdrawalState.SENT, WithdrawalState.RELEASED


def hold(world: World, key: AccountKey, amount_minor: int, asset: AssetId = USDC, name: str = "w1") -> None:
    world.ok(RequestWithdrawal(withdrawal=name, account=key, asset=asset, amount_minor=amount_minor))


def state_of(world: World, name: str = "w1") -> WithdrawalState:
    return world.state.withdrawals[name].state


def long_with_hold(held: int = 600 * USD) -> World:
    """Alice is long 1,000 lots at 8,000.0: M is 13 % of the notional, and 2,000 less the hold is there."""
    world = with_provider(two_traders())
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    hold(world, ALICE, held)
    return world


@pytest.mark.parametrize(("missing", "state", "called"), [(0, HELD, True), (1, RELEASED, False)])
def test_below_maintenance_a_hold_is_given_back_and_nothing_is_liquidated(
    missing: int, state: WithdrawalState, called: bool
) -> None:
    """At 7,600.0 equity is 998.40 and M 988.00; the fees were 1.60."""
    world = long_with_hold(600 * USD)
    hold(world, ALICE, 10_400_000 + missing, name="w2")
    outcome = world.prices(BTC=76_000, ETH=2_000)
    assert [state_of(world, name) for name in ("w1", "w2")] == [state, state]
    assert bool(world.state.calls) is called
    assert world.state.newest_cycle.short == ((ALICE,) if called else ())
    assert not world.state.liquidations
    assert kinds_of(outcome).count("WITHDRAWAL_RELEASED") == 2 * missing


def test_a_set_that_would_be_bankrupt_without_its_hold_is_not_declared() -> None:
    world = long_with_hold()
    world.prices(BTC=65_000, ETH=2_000)
    assert state_of(world) is RELEASED
    assert not world.state.defaults
    assert SetId(ALICE) in world.state.liquidations, "498.40 are left, and 845.00 would be M"


def test_a_set_that_its_hold_does_not_save_is_declared_as_it_stands_with_it() -> None:
    world = long_with_hold()
    world.prices(BTC=60_000, ETH=2_000)
    (default,) = world.state.defaults.values()
    assert state_of(world) is RELEASED
    assert default.sets[0].equity_minor == -1_600_000


def test_what_was_sent_saves_nobody() -> None:
    world = long_with_hold()
    world.ok(SendWithdrawal(withdrawal="w1"))
    world.prices(BTC=75_000, ETH=2_000)
    assert state_of(world) is SENT
    assert SetId(ALICE) in world.state.liquidations


def test_collateral_that_is_held_counts_as_well() -> None:
    world = with_provider(two_traders(1_400 * USD))
    world.deposit(ALICE, 10**19, ETH)
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    hold(world, ALICE, 10**19, ETH)
    world.prices(BTC=75_000, ETH=2_000)
    assert state_of(world) is RELEASED
    assert not world.state.liquidations


# ----------------------------------------------------------------------------------------------- expired calls


@pytest.mark.parametrize(("deposited", "is_met"), [(142_850_000 - 1, False), (142_850_000, True)])
def test_a_margin_call_that_the_sets_own_hold_meets_does_not_expire(deposited: int, is_met: bool) -> None:
    """At 7,700.0 R is 1,251.25, and equity with the hold of 100.00 is 1,108.40 before the deposit."""
    world = long_with_hold(590 * USD)
    pay_out(world, "w1")
    hold(world, ALICE, 100 * USD, name="w2")
    world.prices(BTC=77_000, ETH=2_000)
    world.deposit(ALICE, deposited)
    assert world.state.calls
    outcome = world.wait(HOUR_MS)
    assert state_of(world, "w2") is RELEASED
    assert ("CALL_MET" in kinds_of(outcome)) is is_met
    assert ("CALL_EXPIRED" in kinds_of(outcome)) is not is_met
    assert ("LIQUIDATION_OPENED" in kinds_of(outcome)) is not is_met


def test_a_margin_call_that_a_tear_up_has_met_does_not_expire() -> None:
    """Alice's end halves what carol, short in bitcoin and ether, requires: after the cycle that called her."""
    world = two_traders(1_310 * USD)
    carol = world.account("dex", "carol")
    world.deposit(carol, 5_500 * USD)
    world.deposit(BOB, 20_000 * USD)
    assert world.trade(ALICE, carol, 1_000, 80_000).accepted
    assert world.trade(BOB, carol, 10_000, 2_000, ETH_PERP).accepted
    world.prices(BTC=60_000, ETH=2_300)
    assert f"margin/{carol}" in world.state.calls
    assert world.measured(carol).health is Health.HEALTHY
    world.deposit(DEX_HOUSE, 5_000 * USD)
    outcome = world.wait(HOUR_MS)
    assert "CALL_MET" in kinds_of(outcome)
    assert not world.state.liquidations


def eve_owes(held: int) -> World:
    """Eve margins with ether; 100.00 of variation margin are more than the cash that she has left."""
    world = two_traders()
    eve = world.account("dex", "eve")
    world.deposit(eve, 100 * 10**18, ETH)
    world.deposit(eve, 1_600_000 + held)
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(eve, BOB, 1_000, 80_000).accepted
    hold(world, eve, held)
    world.prices(BTC=79_000, ETH=2_000)
    assert list(world.state.calls) == [f"cash/{eve}"]
    return world


@pytest.mark.parametrize(("held", "is_met"), [(100 * USD - 1, False), (100 * USD, True)])
def test_a_cash_call_is_met_by_cash_that_is_held(held: int, is_met: bool) -> None:
    """With a unit less it expires, nobody buys ether here, and the house lends nothing."""
    world = eve_owes(held)
    outcome = world.wait(HOUR_MS)
    assert state_of(world) is RELEASED
    assert ("CALL_MET" in kinds_of(outcome)) is is_met
    assert bool(world.state.defaults) is not is_met


# ------------------------------------------------------------------------------- between steps, and for members


def test_a_hold_taken_while_a_liquidation_runs_is_given_back_at_its_next_step() -> None:
    """Between R and 1.02 R a set in liquidation may withdraw; what it holds then ends the liquidation."""
    world = long_with_hold(1)
    world.prices(BTC=70_000, ETH=2_000)
    assert SetId(ALICE) not in world.state.liquidations
    world.prices(BTC=68_000, ETH=2_000)
    assert SetId(ALICE) in world.state.liquidations
    stands = world.measured(ALICE)
    world.deposit(ALICE, stands.requirement_minor - stands.equity_minor + 100)
    hold(world, ALICE, 100, name="w2")
    world.wait(60_000)
    assert state_of(world, "w2") is RELEASED


def in_answering(held: int) -> World:
    """Alice is bankrupt by 1,692.40 less what she had; dex is called, and holds something for withdrawal."""
    world = with_provider(two_traders())
    world.deposit(DEX_HOUSE, held)
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    hold(world, DEX_HOUSE, held)
    world.prices(BTC=60_000, ETH=2_000)
    assert [d.stage for d in world.state.defaults.values()] == [Stage.ANSWERING]
    return world


@pytest.mark.parametrize(
    ("held", "status"),
    [(1_092_400_000 - 1, MemberStatus.DEFAULTED), (1_092_400_000, MemberStatus.ACTIVE)],
)
def test_a_member_that_its_own_hold_saves_is_not_in_default(held: int, status: MemberStatus) -> None:
    world = in_answering(held)
    assert state_of(world) is HELD
    world.wait(HOUR_MS)
    assert state_of(world) is RELEASED
    assert world.state.members[DEX].status is status


@pytest.mark.parametrize(
    ("held", "status"), [(200 * USD - 1, MemberStatus.DEFAULTED), (200 * USD, MemberStatus.ACTIVE)]
)
def test_an_assessment_is_paid_from_what_is_held(held: int, status: MemberStatus) -> None:
    """The desk must contribute 100 and is assessed 200; its house account has just the hold."""
    world = with_provider(empty_house(replace(PARAMETERS, pool_floor_minor=100 * USD)))
    desk = MemberId("desk")
    world.ok(AdmitMember(member=DEX, name="Dex"))
    for name in ("alice", "bob"):
        world.deposit(world.account("dex", name), 2_000 * USD)
    world.prices(BTC=80_000, ETH=2_000)
    size_pool(world)
    world.deposit(house_account(desk), held)
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    hold(world, house_account(desk), held)
    world.prices(BTC=60_000, ETH=2_000)
    world.wait(HOUR_MS)
    assert world.state.balance(chart.assessment(desk, USDC)) == 200 * USD
    world.wait(DAY_MS)
    assert state_of(world) is RELEASED
    assert world.state.members[desk].status is status


def test_a_part_whose_link_is_undone_keeps_what_it_held_if_it_needs_it() -> None:
    """Linked, carol's position at dex was carried by her margin at the desk."""
    world = with_provider(
        empty_house(replace(PARAMETERS, mark_validity_ms=30 * DAY_MS, outage_after_ms=30 * DAY_MS))
    )
    world.ok(AdmitMember(member=DEX, name="Dex"))
    bob, here = world.account("dex", "bob"), world.account("dex", "carol")
    there = world.account("desk", "carol")
    for key, cash in ((bob, 10_000), (here, 1_500), (there, 3_000)):
        world.deposit(key, cash * USD)
    world.prices(BTC=80_000, ETH=2_000)
    link(world, "carol", here, there)
    assert world.trade(here, bob, 1_000, 80_000).accepted
    hold(world, here, 600 * USD)
    world.ok(UnlinkAccounts(member=DEX, participant=ParticipantId("carol")))
    world.wait(7 * DAY_MS)
    assert world.state.accounts[here].netting_set == single_set(here)
    assert state_of(world) is RELEASED
    assert not world.state.liquidations
    assert world.state.accounts[here].status is AccountStatus.ACTIVE
