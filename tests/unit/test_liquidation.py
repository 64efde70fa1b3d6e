"""Partial liquidation: steps, assignment to providers, the penalty, and what happens when it fails (rulebook §10.2)."""

from dataclasses import replace
from typing import Any

import pytest

from clearing import chart
from clearing.default.placement import assignment_price
from clearing.model.commands import AdmitMember, ListAsset, Tick
from clearing.model.ids import AccountKey, AssetId, InstrumentId, MemberId, SetId
from clearing.model.kinds import Kind
from clearing.model.outcomes import Outcome
from clearing.model.values import HOUR_MS, MINUTE_MS, AccountStatus, Liquidation, MemberStatus, Stage
from ledger.entry import Leg, credit, debit
from tests.builders import (
    ALICE,
    BOB,
    BTC_MAR,
    BTC_PERP,
    DESK,
    ETH,
    ETHER,
    PARAMETERS,
    USD,
    USDC,
    World,
    contribute,
    empty_house,
    kinds_of,
    link,
    provide,
    with_provider,
)

DEX = MemberId("dex")
OF_ALICE = SetId(ALICE)
STEP_MS = MINUTE_MS


def traders(alice: int = 2_000 * USD, bob: int = 20_000 * USD, **parameters: Any) -> World:
    """Alice and bob at dex, without a provider; BTC at 80,000 and ETH at 2,000 ticks."""
    world = empty_house(replace(PARAMETERS, **parameters))
    world.ok(AdmitMember(member=DEX, name="Dex"))
    for name, cash in (("alice", alice), ("bob", bob)):
        world.deposit(world.account("dex", name), cash)
    world.prices(BTC=80_000, ETH=2_000)
    return world


def long_alice(**parameters: Any) -> World:
    """Alice holds 1,500 lots on 1,997.60; below 76,400 she does not meet M."""
    world = with_provider(traders(**parameters))
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    return world


def positions(world: World, key: AccountKey = ALICE) -> dict[str, int]:
    return {str(instrument): lots for instrument, lots in world.state.positions(key).items()}


def assignments(world: World) -> list[tuple[Leg, ...]]:
    return [entry.legs for entry in world.entries if entry.kind == Kind.POSITION_ASSIGNED]


def amount_of(outcome: Outcome, kind: str) -> int:
    return sum(event.amount_minor for event in outcome.events if event.kind == kind)


# ------------------------------------------------------------------------------------------------- the steps


def test_below_maintenance_a_fifth_is_closed_at_once_and_a_fifth_of_the_rest_every_minute() -> None:
    """At 76,000: equity 1,397.60, M 1,482. 300 lots go, then 240; then 1,356.56 is more than 1.02 × 1,185.60."""
    world = long_alice()
    first = world.prices(BTC=76_000, ETH=2_000)
    assert kinds_of(first)[1:] == [
        "LIQUIDATION_OPENED",
        "CYCLE_CLOSED",
        "POSITION_ASSIGNED",
        "LIQUIDATION_STEPPED",
    ]
    assert amount_of(first, "LIQUIDATION_OPENED") == (1_482 * USD) - 1_397_600_000
    assert (positions(world), positions(world, DESK)) == ({BTC_PERP: 1_200}, {BTC_PERP: 300})
    assert world.state.liquidations[OF_ALICE] == Liquidation(
        netting_set=OF_ALICE,
        opened_ms=world.now_ms,
        next_step_ms=world.now_ms + STEP_MS,
        steps=1,
        requirement_at_open_minor=1_852_500_000,
        notional_closed_minor=300 * 7_600_000,
    )
    assert first.next_due_ms == world.now_ms + STEP_MS
    assert kinds_of(world.wait(STEP_MS - 1)) == []
    second = world.wait(1)
    assert kinds_of(second) == ["POSITION_ASSIGNED", "LIQUIDATION_STEPPED", "LIQUIDATION_CLOSED"]
    assert positions(world) == {BTC_PERP: 960}
    assert not world.state.liquidations


def test_a_liquidation_goes_on_until_equity_is_102_percent_of_the_requirement() -> None:
    """Meeting R alone does not end it: a deposit that makes equity = 1.02 R does, one unit less does not."""
    for missing in (0, 1):
        world = long_alice()
        world.prices(BTC=76_000, ETH=2_000)
        measured = world.measured(ALICE)
        stop = -(-measured.requirement_minor * 102 // 100)
        world.deposit(ALICE, stop - measured.equity_minor - missing)
        later = kinds_of(world.wait(STEP_MS))
        assert later[0] == ("POSITION_ASSIGNED" if missing else "LIQUIDATION_CLOSED")


def test_a_price_that_recovers_ends_the_liquidation_at_its_next_step() -> None:
    world = long_alice()
    world.prices(BTC=76_000, ETH=2_000)
    world.prices(BTC=80_000, ETH=2_000)
    assert kinds_of(world.wait(STEP_MS)) == ["LIQUIDATION_CLOSED"]
    assert positions(world) == {BTC_PERP: 1_200}


def test_a_slice_is_rounded_up_so_that_a_small_position_ends() -> None:
    world = with_provider(traders(alice=10_000_000))
    assert world.trade(ALICE, BOB, 7, 80_000).accepted
    world.prices(BTC=75_000, ETH=2_000)
    assert positions(world) == {BTC_PERP: 5}, "a fifth of 7 is 1.4"


@pytest.mark.parametrize(("extra", "left"), [(0, 1_200), (-1, 0)])
def test_the_whole_is_closed_when_equity_is_below_half_of_maintenance(extra: int, left: int) -> None:
    """At 71,000 half of M is 692.25. Equity stands at it, or one unit below."""
    world = long_alice()
    equity = 1_997_600_000 - 9_000 * 1_500 * 100
    world.deposit(ALICE, 692_250_000 - equity + extra)
    world.prices(BTC=71_000, ETH=2_000)
    assert positions(world).get(BTC_PERP, 0) == left


@pytest.mark.parametrize(("minimum", "left"), [(11_400 * USD - 1, 1_200), (11_400 * USD, 0)])
def test_a_position_at_or_below_the_minimum_is_closed_whole(minimum: int, left: int) -> None:
    """At 76,000 the 1,500 lots are worth 11,400."""
    world = long_alice(liquidation_minimum_minor=minimum)
    world.prices(BTC=76_000, ETH=2_000)
    assert positions(world).get(BTC_PERP, 0) == left


def test_a_short_position_is_bought_back() -> None:
    world = with_provider(traders(alice=20_000 * USD, bob=2_000 * USD))
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    world.prices(BTC=84_000, ETH=2_000)
    assert (positions(world, BOB), positions(world, DESK)) == ({BTC_PERP: -1_200}, {BTC_PERP: -300})


def test_no_step_is_taken_on_stale_marks() -> None:
    world = long_alice(mark_validity_ms=STEP_MS - 1)
    world.prices(BTC=76_000, ETH=2_000)
    assert kinds_of(world.wait(STEP_MS)) == []
    assert kinds_of(world.wait(HOUR_MS)) == ["OUTAGE_BEGAN"]
    fresh = world.prices(BTC=76_000, ETH=2_000)
    assert "LIQUIDATION_STEPPED" in kinds_of(fresh)


def test_a_set_whose_equity_falls_below_zero_between_two_steps_is_in_default() -> None:
    world = long_alice()
    world.prices(BTC=76_000, ETH=2_000)
    outcome = world.prices(BTC=60_000, ETH=2_000)
    assert "DEFAULT_DECLARED" in kinds_of(outcome)
    assert not world.state.liquidations
    assert world.state.accounts[ALICE].status is AccountStatus.CLOSED_OUT


# ------------------------------------------------------------------------------------------------ the hedge


def hedged_alice(desk: int = 100_000 * USD, capacity: int = 10**6 * USD) -> World:
    """Long 1,000 perpetuals, short 500 futures on 697.60; at 76,000 equity 497.60 is below M = 513."""
    world = with_provider(traders(alice=700 * USD), desk, capacity)
    assert world.trade(ALICE, BOB, 500, 80_000).accepted
    assert world.trade(BOB, ALICE, 500, 80_000, BTC_MAR).accepted
    assert world.trade(ALICE, BOB, 500, 80_000).accepted
    return world


def test_a_hedged_set_is_closed_in_slices_that_keep_its_hedge() -> None:
    world = hedged_alice()
    world.prices(BTC=76_000, ETH=2_000)
    assert positions(world) == {BTC_PERP: 800, BTC_MAR: -400}
    assert positions(world, DESK) == {BTC_PERP: 200, BTC_MAR: -100}


@pytest.mark.parametrize(("minimum", "whole"), [(11_400 * USD - 1, False), (11_400 * USD, True)])
def test_the_minimum_is_of_all_that_a_set_holds_so_a_hedge_is_closed_on_both_sides_or_on_none(
    minimum: int, whole: bool
) -> None:
    """The short leg alone, 3,800, is below either minimum."""
    world = with_provider(traders(alice=700 * USD, liquidation_minimum_minor=minimum))
    assert world.trade(ALICE, BOB, 500, 80_000).accepted
    assert world.trade(BOB, ALICE, 500, 80_000, BTC_MAR).accepted
    assert world.trade(ALICE, BOB, 500, 80_000).accepted
    world.prices(BTC=76_000, ETH=2_000)
    assert positions(world) == ({} if whole else {BTC_PERP: 800, BTC_MAR: -400})


def test_a_hedge_is_not_left_behind_when_providers_can_take_only_one_leg_of_the_slice() -> None:
    """Capacity for 150 lots: the short leg of 100 alone would raise the requirement, 2 : 1 of both lowers it."""
    world = hedged_alice(capacity=150 * 7_600_000)
    before = world.measured(ALICE).requirement_minor
    world.prices(BTC=76_000, ETH=2_000)
    assert positions(world) == {BTC_PERP: 900, BTC_MAR: -450}
    assert world.measured(ALICE).requirement_minor < before


def test_a_slice_of_independent_positions_is_placed_as_far_as_it_goes() -> None:
    """Long in two underlyings: a leg that goes alone lowers the requirement, so it goes."""
    world = with_provider(traders(alice=1_300 * USD), capacity_minor=50 * 7_400_000)
    assert world.trade(ALICE, BOB, 500, 80_000).accepted
    assert world.trade(ALICE, BOB, 1_000, 2_000, InstrumentId("ETH-PERP")).accepted
    world.prices(BTC=74_000, ETH=1_750)
    assert positions(world) == {BTC_PERP: 450, "ETH-PERP": 1_000}
    assert world.state.liquidations


def test_opposite_positions_inside_a_linked_set_are_netted_before_anything_is_sold() -> None:
    world = with_provider(traders(bob=50_000 * USD))
    world.ok(AdmitMember(member=MemberId("other"), name="Other"))
    there = world.account("other", "alice")
    carol = world.account("other", "carol")
    world.deposit(carol, 20_000 * USD)
    link(world, "alice", ALICE, there)
    assert world.trade(ALICE, BOB, 2_500, 80_000).accepted is False
    assert world.trade(ALICE, BOB, 1_400, 80_000).accepted
    assert world.trade(carol, there, 400, 80_000).accepted
    assert world.trade(ALICE, BOB, 450, 80_000).accepted
    outcome = world.prices(BTC=76_000, ETH=2_000)
    assert "LIQUIDATION_OPENED" in kinds_of(outcome)
    (netted,) = [e for e in world.entries if e.kind == Kind.POSITIONS_NETTED]
    assert netted.legs == (
        debit(chart.position(ALICE, BTC_PERP), 400),
        credit(chart.novation(BTC_PERP), 400),
        debit(chart.novation(BTC_PERP), 400),
        credit(chart.position(there, BTC_PERP), 400),
    )
    assert positions(world, there) == {}
    assert positions(world) == {BTC_PERP: 1_450 * 8 // 10}


# ------------------------------------------------------------------------------------------- assignment price


@pytest.mark.parametrize(
    ("mark", "lots", "price"),
    [
        (76_000, 1, 75_240),
        (76_001, 1, 75_240),  # 75,240.99 down
        (76_000, -1, 76_760),
        (76_001, -1, 76_762),  # 76,761.01 up
        (1, 1, 0),
        (1, -1, 2),
    ],
)
def test_the_assignment_price_is_a_hundredth_off_the_mark_rounded_against_the_set(
    mark: int, lots: int, price: int
) -> None:
    assert assignment_price(mark, mark, lots, 100) == price


def test_an_assignment_is_a_novation_at_the_assignment_price() -> None:
    world = long_alice()
    world.prices(BTC=76_001, ETH=2_000)
    (legs,) = assignments(world)
    paid = 300 * 761 * 100
    assert legs == (
        debit(chart.position(ALICE, BTC_PERP), 300),
        credit(chart.novation(BTC_PERP), 300),
        debit(chart.novation(BTC_PERP), 300),
        credit(chart.position(DESK, BTC_PERP), 300),
        debit(chart.cash(DESK, USDC), -paid),
        credit(chart.cash(ALICE, USDC), -paid),
    )
    assert world.state.cash(DESK) == 100_000 * USD + paid


# --------------------------------------------------------------------------------------------------- providers


def small_desk(cash: int = 100_000 * USD, capacity: int = 10**6 * USD) -> World:
    world = with_provider(traders(), cash, capacity)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    world.prices(BTC=76_000, ETH=2_000)
    return world


@pytest.mark.parametrize(("capacity", "taken"), [(100 * 7_600_000, 100), (100 * 7_600_000 - 1, 99)])
def test_a_provider_takes_no_more_than_its_declared_capacity(capacity: int, taken: int) -> None:
    world = small_desk(capacity=capacity)
    assert positions(world, DESK) == {BTC_PERP: taken}
    assert world.state.providers[DESK].taken_minor == taken * 7_600_000


def test_what_a_provider_has_taken_counts_against_its_capacity_for_good() -> None:
    world = small_desk(capacity=350 * 7_600_000)
    world.wait(STEP_MS)
    assert positions(world, DESK) == {BTC_PERP: 350}


@pytest.mark.parametrize(("cash", "taken"), [(115_900_000, 100), (115_899_999, 99)])
def test_a_provider_takes_only_what_leaves_it_with_its_requirement(cash: int, taken: int) -> None:
    """A lot requires 1.235 and comes 0.076 below the mark: a hundred lots need 115.90."""
    assert positions(small_desk(cash=cash), DESK) == {BTC_PERP: taken}


@pytest.mark.parametrize("lacking", [0, 1])
def test_a_provider_takes_nothing_that_leaves_its_cash_negative_however_rich_in_collateral(
    lacking: int,
) -> None:
    """The slice of 300 lots brings 22.80; the desk's cash is just so far below zero, or one unit further."""
    world = with_provider(traders(), cash_minor=1_000 * USD - 22_800_000 - lacking)
    world.deposit(DESK, 100 * 10**18, ETH)
    client = world.account("desk", "client")
    world.deposit(client, 10_000 * USD)
    fee = 4_000_000
    world.deposit(DESK, fee)
    assert world.trade(DESK, client, 2_500, 80_000).accepted
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    outcome = world.prices(BTC=76_000, ETH=2_000)
    assert ("LIQUIDATION_STEPPED" in kinds_of(outcome)) is not bool(lacking)
    assert ("DEFAULT_DECLARED" in kinds_of(outcome)) is bool(lacking)
    if not lacking:
        assert (positions(world, DESK), world.state.cash(DESK)) == ({BTC_PERP: 2_800}, 0)


def test_two_providers_share_a_slice_by_the_capacity_that_is_left() -> None:
    world = with_provider(traders(), capacity_minor=10**6 * USD)
    world.ok(AdmitMember(member=MemberId("bank"), name="Bank"))
    bank = world.account("bank", "provider")
    world.deposit(bank, 100_000 * USD)
    provide(world, bank, 2 * 10**6 * USD)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    world.prices(BTC=76_000, ETH=2_000)
    assert (positions(world, bank), positions(world, DESK)) == ({BTC_PERP: 200}, {BTC_PERP: 100})


def test_what_one_provider_cannot_take_goes_to_the_other() -> None:
    world = with_provider(traders(), cash_minor=11_590_000, capacity_minor=10**6 * USD)
    world.ok(AdmitMember(member=MemberId("bank"), name="Bank"))
    bank = world.account("bank", "provider")
    world.deposit(bank, 100_000 * USD)
    provide(world, bank, 10**6 * USD)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    world.prices(BTC=76_000, ETH=2_000)
    assert (positions(world, bank), positions(world, DESK)) == ({BTC_PERP: 290}, {BTC_PERP: 10})


def test_a_provider_never_takes_its_own_position() -> None:
    world = traders()
    provide(world, ALICE, 10**6 * USD)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    outcome = world.prices(BTC=76_000, ETH=2_000)
    assert "POSITION_ASSIGNED" not in kinds_of(outcome)


def test_a_provider_that_is_itself_being_liquidated_is_not_asked() -> None:
    world = with_provider(traders(alice=2_000 * USD))
    carol = world.account("dex", "carol")
    world.deposit(carol, 2_000 * USD)
    provide(world, carol, 10**6 * USD)
    for key in (ALICE, carol):
        assert world.trade(key, BOB, 1_500, 80_000).accepted
    world.prices(BTC=76_000, ETH=2_000)
    assert positions(world) == positions(world, carol) == {BTC_PERP: 1_200}
    assert positions(world, DESK) == {BTC_PERP: 600}


def test_a_provider_of_a_member_in_default_is_not_asked() -> None:
    world = with_provider(traders())
    loser, winner = (world.account("desk", name) for name in ("loser", "winner"))
    for key, cash in ((loser, 140), (winner, 1_000)):
        world.deposit(key, cash * USD)
    assert world.trade(loser, winner, 100, 80_000).accepted
    world.prices(BTC=60_000, ETH=2_000)
    world.wait(HOUR_MS)
    assert world.state.members[MemberId("desk")].status is MemberStatus.DEFAULTED
    taken = positions(world, DESK)
    world.prices(BTC=80_000, ETH=2_000)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    outcome = world.prices(BTC=76_000, ETH=2_000)
    assert "POSITION_ASSIGNED" not in kinds_of(outcome)
    assert positions(world, DESK) == taken


# ------------------------------------------------------------------------------------------- failure, penalty


def test_a_step_that_places_nothing_has_failed_and_the_set_is_in_default() -> None:
    world = traders()
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    outcome = world.prices(BTC=76_000, ETH=2_000)
    assert kinds_of(outcome)[1:] == [
        "LIQUIDATION_OPENED",
        "CYCLE_CLOSED",
        "DEFAULT_DECLARED",
        "POSITIONS_TORN_UP",
        "CLOSED_OUT",
        "LOSS_FIXED",
    ]
    (default,) = world.state.defaults.values()
    assert (default.stage, default.losses) == (Stage.CLOSED, ()), "what is left covers the close-out"
    assert (positions(world), positions(world, BOB)) == ({}, {})


def test_a_liquidation_fails_when_capacity_has_run_out_between_two_steps() -> None:
    world = small_desk(capacity=300 * 7_600_000)
    outcome = world.wait(STEP_MS)
    assert kinds_of(outcome)[0] == "DEFAULT_DECLARED"
    assert world.state.cash(BOB) == 20_000 * USD - 2_400_000 + 600 * USD


def closed(world: World) -> int:
    """Let the liquidation run to its end; gives the penalty."""
    penalty = 0
    while world.state.liquidations:
        penalty += amount_of(world.wait(STEP_MS), "LIQUIDATION_CLOSED")
    return penalty


def test_the_penalty_is_half_a_percent_of_the_notional_closed() -> None:
    """540 lots at 76,000 are 4,104: 20.52, to the insurance fund, once."""
    world = long_alice()
    world.prices(BTC=76_000, ETH=2_000)
    fund = world.state.balance(chart.insurance_fund(USDC))
    cash = 1_397_600_000 - 540 * 760 * 100
    assert closed(world) == 20_520_000
    assert world.state.balance(chart.insurance_fund(USDC)) == fund + 20_520_000
    assert world.state.cash(ALICE) == cash - 20_520_000


def test_the_penalty_is_at_most_a_fifth_of_the_requirement_released() -> None:
    """R falls by 666.90; with a dearer notional rate the second term is the smaller one: 133.38."""
    world = long_alice(penalty_notional_bp=1_000)
    world.prices(BTC=76_000, ETH=2_000)
    assert closed(world) == 133_380_000


def test_without_a_requirement_released_there_is_no_penalty() -> None:
    """The price fell after a deposit had ended the liquidation: nothing was closed in vain."""
    world = long_alice()
    world.prices(BTC=76_000, ETH=2_000)
    world.deposit(ALICE, 5_000 * USD)
    world.prices(BTC=120_000, ETH=2_000)
    assert world.measured(ALICE).requirement_minor > 1_852_500_000
    assert closed(world) == 0


def test_the_penalty_takes_no_more_than_the_cash_that_is_there() -> None:
    """Eve's margin is ether: of her 1.00 of cash nothing is left after the steps, and nothing is taken."""
    world = with_provider(traders(penalty_notional_bp=1_000))
    eve = world.account("dex", "eve")
    world.deposit(eve, 1_600_000)
    world.deposit(eve, 8_500 * 10**15, ETH)
    assert world.trade(eve, BOB, 1_000, 80_000).accepted
    world.prices(BTC=77_000, ETH=1_900)
    assert SetId(eve) in world.state.liquidations
    assert closed(world) == 0
    assert world.state.cash(eve) < 0
    assert world.measured(eve).equity_minor > 0


def test_the_penalty_is_never_more_than_the_equity_and_feeds_no_deficit() -> None:
    """Closed in whole at 66,900: 29.31 of equity are left; the penalty of 10 % would be 1,003.50."""
    world = long_alice(penalty_notional_bp=1_000, penalty_released_bp=10_000)
    world.prices(BTC=67_500, ETH=2_000)
    assert positions(world) == {}
    outcome = world.state.cash(ALICE)
    assert outcome == 0
    assert world.state.accounts[ALICE].status is AccountStatus.ACTIVE
    assert not world.state.defaults


def test_a_linked_set_pays_its_penalty_from_the_accounts_that_have_cash() -> None:
    world = with_provider(traders(alice=100 * USD))
    world.ok(AdmitMember(member=MemberId("other"), name="Other"))
    there = world.account("other", "alice")
    world.deposit(there, 1_900 * USD)
    link(world, "alice", ALICE, there)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    world.prices(BTC=76_000, ETH=2_000)
    assert world.state.cash(ALICE) < 0
    before = world.state.cash(there)
    assert closed(world) == 20_520_000
    assert world.state.cash(there) == before - 20_520_000


# ---------------------------------------------------------------------------------------------- collateral


def test_collateral_of_a_set_that_is_closed_out_is_sold_the_same_way() -> None:
    """Carol's 10 ether bring 1,980 at a hundredth below the mark; 1,691.60 were missing after the crash."""
    world = with_provider(traders())
    carol = world.account("dex", "carol")
    world.deposit(carol, 10 * 10**18, ETH)
    world.deposit(carol, 10 * USD)
    assert world.trade(carol, BOB, 1_000, 80_000).accepted
    outcome = world.prices(BTC=63_000, ETH=2_000)
    assert "COLLATERAL_SOLD" in kinds_of(outcome)
    (sold,) = [e for e in world.entries if e.kind == Kind.COLLATERAL_SOLD]
    assert sold.legs == (
        debit(chart.collateral(carol, ETH), 10 * 10**18),
        credit(chart.collateral(DESK, ETH), 10 * 10**18),
        debit(chart.cash(DESK, USDC), 1_980 * USD),
        credit(chart.cash(carol, USDC), 1_980 * USD),
    )


def test_a_provider_buys_a_token_of_its_own_member_only_as_something_worthless() -> None:
    world = with_provider(traders())
    token = AssetId("DESKT")
    world.ok(ListAsset(asset=replace(ETHER, id=token, issuer=MemberId("desk"))))
    carol = world.account("dex", "carol")
    world.deposit(carol, 10 * 10**18, token)
    world.deposit(carol, 10 * USD)
    assert world.trade(carol, BOB, 1_000, 80_000).accepted
    world.prices(BTC=63_000, ETH=2_000)
    sold = world.state.balance(chart.collateral(DESK, token))
    measured = world.measured(DESK)
    assert sold == 10 * 10**18
    assert measured.collateral_minor == 0
    assert measured.equity_minor >= measured.requirement_minor


def test_a_contribution_to_the_pool_is_no_collateral_of_a_liquidation() -> None:
    world = long_alice()
    contribute(world, dex=10_000 * USD)
    world.prices(BTC=76_000, ETH=2_000)
    closed(world)
    assert world.state.pool(DEX) == 10_000 * USD
    assert kinds_of(world.ok(Tick())) == []
