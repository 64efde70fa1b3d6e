"""Margin calls and cash calls: issued, followed, met, split, expired (rulebook §3, §10.1)."""

from dataclasses import replace

import pytest

from clearing import chart
from clearing.model.commands import AdmitMember, Tick
from clearing.model.house import ordered
from clearing.model.ids import AccountKey, MemberId, SetId, account_key
from clearing.model.outcomes import Outcome
from clearing.model.values import HOUR_MS, MINUTE_MS, Call, CallKind, MemberPart, MemberStatus
from tests.builders import (
    ALICE,
    BOB,
    BTC_PERP,
    DESK,
    ETH,
    ETH_FEED,
    PARAMETERS,
    USD,
    USDC,
    World,
    empty_house,
    kinds_of,
    link,
    two_traders,
    with_provider,
)

DEX, OTHER = MemberId("dex"), MemberId("other")
EVE = account_key(DEX, "eve")
MARGIN_OF_ALICE = f"margin/{ALICE}"
CASH_OF_EVE = f"cash/{EVE}"


def call_events(outcome: Outcome) -> list[tuple[str, str, int]]:
    return [(e.kind, e.subject, e.amount_minor) for e in outcome.events if e.kind.startswith("CALL_")]


def open_calls(world: World) -> list[Call]:
    return ordered(world.state.calls)


def long_alice() -> World:
    """Alice holds 1,500 lots on 1,997.60; R is 1,950 at 80,000 and moves by 24.375 a thousand ticks."""
    world = with_provider(two_traders())
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    return world


SHORT_AT_79_000 = 78_025_000
"""R 1,925.625 − equity 1,847.60."""


# ------------------------------------------------------------------------------------------- the margin call


def test_a_set_that_meets_its_requirement_is_not_called() -> None:
    world = long_alice()
    assert call_events(world.prices(BTC=80_000, ETH=2_000)) == []
    measured = world.measured(ALICE)
    assert measured.requirement_minor == 1_950 * USD
    assert measured.equity_minor == 1_997_600_000


def test_a_set_below_its_requirement_is_called_for_what_it_lacks_within_the_hour() -> None:
    world = long_alice()
    outcome = world.prices(BTC=79_000, ETH=2_000)
    assert call_events(outcome) == [("CALL_ISSUED", MARGIN_OF_ALICE, SHORT_AT_79_000)]
    assert open_calls(world) == [
        Call(
            kind=CallKind.MARGIN,
            netting_set=SetId(ALICE),
            amount_minor=SHORT_AT_79_000,
            parts=(MemberPart(member=DEX, amount_minor=SHORT_AT_79_000),),
            issued_ms=world.now_ms,
            due_ms=world.now_ms + HOUR_MS,
        )
    ]
    assert outcome.next_due_ms == world.now_ms + HOUR_MS


def test_the_amount_follows_the_shortfall_and_the_due_time_never_moves() -> None:
    world = long_alice()
    world.prices(BTC=79_000, ETH=2_000)
    (issued,) = open_calls(world)
    world.now_ms += 10 * MINUTE_MS
    deeper = world.prices(BTC=78_900, ETH=2_000)
    assert call_events(deeper) == [
        ("CALL_CHANGED", MARGIN_OF_ALICE, SHORT_AT_79_000 + 15_000_000 - 2_437_500)
    ]
    world.now_ms += 10 * MINUTE_MS
    better = world.prices(BTC=79_100, ETH=2_000)
    assert call_events(better) == [
        ("CALL_CHANGED", MARGIN_OF_ALICE, SHORT_AT_79_000 - 15_000_000 + 2_437_500)
    ]
    (changed,) = open_calls(world)
    assert (changed.issued_ms, changed.due_ms) == (issued.issued_ms, issued.due_ms)


def test_a_cycle_that_changes_nothing_says_nothing() -> None:
    world = long_alice()
    world.prices(BTC=79_000, ETH=2_000)
    assert call_events(world.prices(BTC=79_000, ETH=2_000)) == []


def test_a_deposit_meets_the_call_at_the_last_unit_and_not_before() -> None:
    world = long_alice()
    world.prices(BTC=79_000, ETH=2_000)
    part = world.deposit(ALICE, SHORT_AT_79_000 - 1)
    assert call_events(part) == [("CALL_CHANGED", MARGIN_OF_ALICE, 1)]
    rest = world.deposit(ALICE, 1)
    assert call_events(rest) == [("CALL_MET", MARGIN_OF_ALICE, 0)]
    assert not open_calls(world)


def test_collateral_meets_a_call_at_its_value_after_haircut() -> None:
    """An ether counts 160; 0.5 of it covers 78.025."""
    world = long_alice()
    world.prices(BTC=79_000, ETH=2_000)
    assert call_events(world.deposit(ALICE, 5 * 10**17, ETH)) == [("CALL_MET", MARGIN_OF_ALICE, 0)]


def test_a_better_price_meets_the_call() -> None:
    world = long_alice()
    world.prices(BTC=79_000, ETH=2_000)
    assert ("CALL_MET", MARGIN_OF_ALICE, 0) in call_events(world.prices(BTC=80_000, ETH=2_000))


def test_a_reducing_trade_lowers_and_meets_the_call() -> None:
    world = long_alice()
    world.prices(BTC=79_000, ETH=2_000)
    sold = world.trade(BOB, ALICE, 10, 79_000)
    # ten lots free 12.8375, and cost a fee of 0.0158
    assert call_events(sold) == [("CALL_CHANGED", MARGIN_OF_ALICE, SHORT_AT_79_000 - 12_837_500 + 15_800)]
    assert call_events(world.trade(BOB, ALICE, 100, 79_000)) == [("CALL_MET", MARGIN_OF_ALICE, 0)]


def test_a_call_that_was_met_leaves_the_next_one_its_own_hour() -> None:
    world = long_alice()
    world.prices(BTC=79_000, ETH=2_000)
    world.prices(BTC=80_000, ETH=2_000)
    world.now_ms += 30 * MINUTE_MS
    world.prices(BTC=79_000, ETH=2_000)
    assert [call.due_ms - world.now_ms for call in open_calls(world)] == [HOUR_MS]


def test_a_price_that_falls_below_maintenance_leaves_the_call_and_opens_a_liquidation() -> None:
    """The call stays open, for its payment still ends the liquidation."""
    world = long_alice()
    world.prices(BTC=79_000, ETH=2_000)
    outcome = world.prices(BTC=76_000, ETH=2_000)
    assert "LIQUIDATION_OPENED" in kinds_of(outcome)
    assert [c.amount_minor for c in open_calls(world)] == [SHORT_AT_79_000]
    world.deposit(ALICE, 2_000 * USD)
    assert not open_calls(world)
    assert "LIQUIDATION_CLOSED" in kinds_of(world.wait(MINUTE_MS))


def test_a_call_that_expires_leads_to_liquidation() -> None:
    world = long_alice()
    world.prices(BTC=79_000, ETH=2_000)
    assert call_events(world.wait(HOUR_MS - 1)) == []
    expired = world.wait(1)
    assert kinds_of(expired)[:3] == ["CALL_EXPIRED", "LIQUIDATION_OPENED", "POSITION_ASSIGNED"]
    assert expired.events[0].amount_minor == SHORT_AT_79_000
    assert not open_calls(world)
    assert world.state.position(DESK, BTC_PERP) == 300


def test_a_call_does_not_expire_on_marks_that_nobody_vouches_for() -> None:
    """In an outage call clocks stop (rulebook §6): the next cycle looks first whether the call is met."""
    world = long_alice()
    world.prices(BTC=79_000, ETH=2_000)
    world.now_ms += HOUR_MS + 1
    assert kinds_of(world.ok(Tick())) == ["OUTAGE_BEGAN"]
    recovered = world.prices(BTC=80_500, ETH=2_000)
    assert [kind for kind, *_ in call_events(recovered)] == ["CALL_MOVED", "CALL_MET"]


def test_what_is_still_short_after_an_outage_expires_with_the_next_cycle() -> None:
    world = long_alice()
    world.prices(BTC=79_000, ETH=2_000)
    world.now_ms += 2 * HOUR_MS
    events = kinds_of(world.prices(BTC=78_990, ETH=2_000))
    assert [kind for kind in events if kind.startswith("CALL")] == [
        "CALL_MOVED",
        "CALL_CHANGED",
        "CALL_EXPIRED",
    ]
    assert "LIQUIDATION_OPENED" in events


# ---------------------------------------------------------------------------------------------- the cash call


def eve_on_ether() -> World:
    """Eve is long 1,000 lots on 100 ether (16,000) and has no cash left."""
    world = with_provider(two_traders())
    world.deposit(world.account("dex", "eve"), 100 * 10**18, ETH)
    world.deposit(EVE, 1_600_000)
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(EVE, BOB, 1_000, 80_000).accepted
    return world


def test_negative_cash_is_called_even_when_the_requirement_is_met() -> None:
    world = eve_on_ether()
    outcome = world.prices(BTC=79_000, ETH=2_000)
    assert call_events(outcome) == [("CALL_ISSUED", CASH_OF_EVE, 100 * USD)]
    (call,) = open_calls(world)
    assert (call.kind, call.due_ms - world.now_ms) == (CallKind.CASH, HOUR_MS)


def test_only_cash_meets_a_cash_call() -> None:
    world = eve_on_ether()
    world.prices(BTC=79_000, ETH=2_000)
    assert call_events(world.deposit(EVE, 10**18, ETH)) == []
    assert call_events(world.deposit(EVE, 60 * USD)) == [("CALL_CHANGED", CASH_OF_EVE, 40 * USD)]
    assert call_events(world.deposit(EVE, 40 * USD)) == [("CALL_MET", CASH_OF_EVE, 0)]


def test_variation_margin_meets_a_cash_call() -> None:
    world = eve_on_ether()
    world.prices(BTC=79_000, ETH=2_000)
    assert ("CALL_MET", CASH_OF_EVE, 0) in call_events(world.prices(BTC=80_000, ETH=2_000))


def test_an_expired_cash_call_sells_as_much_collateral_as_is_missing() -> None:
    """An ether sells for 198 (200 less 1 %): 100 of cash take 0.50505… ether."""
    world = eve_on_ether()
    world.prices(BTC=79_000, ETH=2_000)
    expired = world.wait(HOUR_MS)
    assert kinds_of(expired) == ["CALL_EXPIRED", "COLLATERAL_SOLD"]
    assert 0 <= world.state.cash(EVE) <= 1
    sold = 100 * 10**18 - world.state.balance(chart.collateral(EVE, ETH))
    assert sold == world.state.balance(chart.collateral(DESK, ETH))
    assert abs(sold * 198 - 100 * 10**18) < 198 * 10**12
    assert world.state.cash(DESK) == 100_000 * USD - 100 * USD - world.state.cash(EVE)
    assert not open_calls(world)


def test_no_collateral_is_sold_at_marks_that_are_stale() -> None:
    world = eve_on_ether()
    world.prices(BTC=79_000, ETH=2_000)
    world.now_ms += 4 * HOUR_MS
    assert kinds_of(world.ok(Tick())) == ["OUTAGE_BEGAN"]
    assert kinds_of(world.prices(BTC=79_000, ETH=2_000))[-2:] == ["CALL_EXPIRED", "COLLATERAL_SOLD"]


def test_a_cash_call_that_no_sale_of_collateral_fills_is_a_default() -> None:
    """The house lends nothing (rulebook §3); what finds no buyer stays posted and belongs to the estate."""
    world = two_traders()
    world.deposit(world.account("dex", "eve"), 100 * 10**18, ETH)
    world.deposit(EVE, 1_600_000)
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(EVE, BOB, 1_000, 80_000).accepted
    world.prices(BTC=79_000, ETH=2_000)
    assert kinds_of(world.wait(HOUR_MS))[:2] == ["CALL_EXPIRED", "DEFAULT_DECLARED"]
    assert world.state.balance(chart.collateral(EVE, ETH)) == 100 * 10**18


def test_a_set_may_have_one_call_of_each_kind() -> None:
    """The ether falls by nine tenths: eve lacks cash and margin, but is above maintenance."""
    world = with_provider(two_traders())
    world.deposit(world.account("dex", "eve"), 10 * 10**18, ETH)
    world.deposit(EVE, 1_600_000)
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(EVE, BOB, 1_000, 80_000).accepted
    outcome = world.prices(BTC=79_000, ETH=1_700)
    # equity 1,360 − 100, R 1,283.75, M 1,027
    assert call_events(outcome) == [
        ("CALL_ISSUED", f"margin/{EVE}", 23_750_000),
        ("CALL_ISSUED", CASH_OF_EVE, 100 * USD),
    ]


# ------------------------------------------------------------------------------------- split among the members


def linked_alice(elsewhere_lots: int) -> World:
    """Alice is long 1,000 lots at dex and ``elsewhere_lots`` at other, as one set, on 2,500."""
    world = with_provider(two_traders())
    world.ok(AdmitMember(member=OTHER, name="Other"))
    here, there = ALICE, world.account("other", "alice")
    carol = world.account("other", "carol")
    for key in (BOB, carol):
        world.deposit(key, 10_000 * USD)
    world.deposit(here, 500 * USD)
    link(world, "alice", here, there)
    assert world.trade(here, BOB, 1_000, 80_000).accepted
    assert world.trade(there, carol, elsewhere_lots, 80_000).accepted
    return world


def test_a_call_on_a_linked_set_is_split_by_what_each_members_part_requires_alone() -> None:
    """1,000 lots at one member, 500 at the other: two to one, to the last unit by largest remainder."""
    world = linked_alice(500)
    world.prices(BTC=75_000, ETH=2_000)
    (call,) = open_calls(world)
    assert call.netting_set == "link/alice"
    measured = world.measured("link/alice")
    assert call.amount_minor == measured.requirement_minor - measured.equity_minor
    parts = {part.member: part.amount_minor for part in call.parts}
    assert sum(parts.values()) == call.amount_minor
    assert abs(parts[DEX] - 2 * parts[OTHER]) <= 2


def test_any_account_of_the_set_may_pay_the_call() -> None:
    world = linked_alice(500)
    world.prices(BTC=75_000, ETH=2_000)
    (call,) = open_calls(world)
    paid = world.deposit(account_key(OTHER, "alice"), call.amount_minor)
    assert call_events(paid) == [("CALL_MET", "margin/link/alice", 0)]


def test_a_cash_call_without_any_requirement_is_split_equally() -> None:
    """The set is flat, long here and short there, and its cash is negative by fees alone."""
    world = two_traders()
    world.ok(AdmitMember(member=OTHER, name="Other"))
    here, there = ALICE, world.account("other", "alice")
    carol = world.account("other", "carol")
    for key in (BOB, carol):
        world.deposit(key, 10_000 * USD)
    world.deposit(here, 10 * 10**18, ETH)
    link(world, "alice", here, there)
    assert world.trade(here, BOB, 1_000, 80_000).accepted
    world.prices(BTC=60_000, ETH=2_000)
    assert world.trade(BOB, here, 1_000, 60_000).accepted
    world.prices(BTC=60_000, ETH=2_000)
    (call,) = open_calls(world)
    assert call.kind is CallKind.CASH
    parts = [part.amount_minor for part in call.parts]
    assert sum(parts) == call.amount_minor == -world.measured("link/alice").cash_minor
    assert abs(parts[0] - parts[1]) <= 1


# ------------------------------------------------------------------------------------------------ odd clocks


@pytest.mark.parametrize("call_ms", [0, 1])
def test_a_house_that_gives_no_time_liquidates_at_once(call_ms: int) -> None:
    world = empty_house(replace(PARAMETERS, call_ms=call_ms))
    world.ok(AdmitMember(member=DEX, name="Dex"))
    for name in ("alice", "bob"):
        world.deposit(world.account("dex", name), 2_000 * USD)
    with_provider(world)
    world.prices(BTC=80_000, ETH=2_000)
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    called = world.prices(BTC=79_000, ETH=2_000)
    later = world.wait(call_ms)
    assert not open_calls(world)
    assert [k for k in kinds_of(called) + kinds_of(later) if k.endswith("OPENED")] == ["LIQUIDATION_OPENED"]


def test_calls_of_many_sets_are_issued_in_the_order_of_their_ids() -> None:
    world = with_provider(two_traders())
    world.deposit(BOB, 100_000 * USD)
    for name in ("dora", "anna", "carl"):
        key = world.account("dex", name)
        world.deposit(key, 1_310 * USD)
        assert world.trade(key, BOB, 1_000, 80_000).accepted
    outcome = world.prices(BTC=79_500, ETH=2_000)
    assert [subject for _, subject, _ in call_events(outcome)] == [
        f"margin/dex/{name}" for name in ("anna", "carl", "dora")
    ]


def test_a_call_speaks_of_the_set_and_not_of_its_member() -> None:
    """Alice is called; her member's own account is healthy and active all the while."""
    world = long_alice()
    world.prices(BTC=79_000, ETH=2_000)
    world.wait(HOUR_MS)
    assert world.state.members[DEX].status is MemberStatus.ACTIVE
    assert world.measured(AccountKey("dex/house")).requirement_minor == 0
    assert ETH_FEED in {mark.feed for mark in world.state.newest_cycle.marks}
    assert world.state.balance(chart.custody(USDC)) > 0
