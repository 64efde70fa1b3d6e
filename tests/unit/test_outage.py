"""Price outages: what each use asks of a mark, when an outage begins and ends, and what goes on in it (rulebook §6)."""

from dataclasses import replace
from pathlib import Path
from re import findall
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearing import chart
from clearing.decide import outage as procedure
from clearing.default.gate import gates
from clearing.market.outage import outage_of
from clearing.market.validity import Use, age_max_ms, usable, why_not
from clearing.model.commands import (
    AdmitMember,
    CloseInOutage,
    RequestWithdrawal,
    SetBreaker,
    Tick,
)
from clearing.model.house import House, Put, decode_changes
from clearing.model.ids import DefaultId, FeedId, MemberId, SetId, house_account
from clearing.model.kinds import Kind
from clearing.model.outcomes import Outcome, Reason
from clearing.model.values import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    AccountStatus,
    BreakerState,
    Call,
    MemberStatus,
    Outage,
    OutageClosing,
    Stage,
)
from tests.builders import (
    ALICE,
    BOB,
    BTC_PERP,
    DESK,
    ETH,
    PARAMETERS,
    SOURCES,
    START_MS,
    USD,
    USDC,
    World,
    empty_house,
    kinds_of,
    publication,
    with_provider,
)

ANNA, BERT = "administrator/anna", "administrator/bert"
D1 = DefaultId("d1")
AFTER_MS = 30 * MINUTE_MS
CALL = f"margin/{ALICE}"
CALLED = {"BTC": 71_500, "ETH": 2_000}
RUINED = {"BTC": 50_000, "ETH": 2_000}
GOOD_PRICE = {"BTC": 80_000, "ETH": 2_000}


def traders(cash_minor: int = 2_000 * USD, ether: int = 0, **parameters: Any) -> World:
    """Alice is long 1,000 lots on 80,000 ticks against bob, with a provider at desk. Half an hour without a
    snapshot is an outage.
    """
    world = empty_house(replace(PARAMETERS, outage_after_ms=AFTER_MS, **parameters))
    world.ok(AdmitMember(member=MemberId("dex"), name="Dex"))
    for name, cash in (("alice", cash_minor), ("bob", 20_000 * USD)):
        world.deposit(world.account("dex", name), cash)
    if ether:
        world.deposit(ALICE, ether * 10**18, ETH)
    with_provider(world)
    world.prices(**GOOD_PRICE)
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    return world


def called(**parameters: Any) -> World:
    """Alice has an open margin call of an hour."""
    world = traders(**parameters)
    world.prices(**CALLED)
    assert CALL in world.state.calls
    return world


def accepted_ms(world: World) -> int:
    return world.state.newest_cycle.accepted_ms


def call_of(world: World) -> Call:
    return world.state.calls[CALL]


def lasting(world: World) -> Outage:
    assert world.state.outage is not None
    return world.state.outage


def fall_into_outage(world: World, length_ms: int = 1) -> World:
    """Let so much time pass that there is an outage since ``length_ms``."""
    world.now_ms = accepted_ms(world) + AFTER_MS + length_ms
    world.ok(Tick())
    assert world.state.outage is not None
    return world


def breaker(world: World, state: BreakerState, *administrators: str, scope: str = "*") -> None:
    for administrator in administrators:
        world.ok(SetBreaker(scope=scope, state=state, reason="why"), administrator)


def said_by(world: World, number: int, **ticks: int) -> Outcome:
    """One source publishes now."""
    world.sequence += 1
    name = world.state.founded.house
    prices = {FeedId(feed): price for feed, price in ticks.items()}
    return world.ok(publication(name, SOURCES[number], world.now_ms, world.sequence, prices))


# ------------------------------------------------------------------------------------------------ validity per use


@pytest.mark.parametrize(
    ("use", "parameter"),
    [
        (Use.SETTLE, "observation_validity_ms"),
        (Use.TRADE, "trade_validity_ms"),
        (Use.WITHDRAW, "withdraw_validity_ms"),
        (Use.LIQUIDATE, "mark_validity_ms"),
        (Use.ATTEST, "attest_validity_ms"),
    ],
)
def test_every_use_has_its_own_age_and_is_served_to_its_last_millisecond(use: Use, parameter: str) -> None:
    world = traders(**{parameter: 12_345})
    at = accepted_ms(world)
    assert age_max_ms(world.state.parameters, use) == 12_345
    assert [usable(world.state, use, at + age) for age in (12_344, 12_345, 12_346)] == [True, True, False]
    rejected = why_not(world.state, use, at + 12_346)
    assert rejected is not None
    assert (rejected.reason, rejected.detail) == (
        Reason.MARK_STALE,
        f"12346 ms old, at most 12345 to {use.value}",
    )


def test_what_cannot_be_taken_back_asks_for_the_freshest_price() -> None:
    ages = [age_max_ms(PARAMETERS, use) for use in (Use.SETTLE, Use.WITHDRAW, Use.TRADE, Use.LIQUIDATE)]
    assert ages == sorted(ages) == [MINUTE_MS, 5 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS]
    assert ages[-1] <= PARAMETERS.outage_after_ms


@pytest.mark.parametrize("use", Use)
def test_before_the_first_snapshot_no_use_is_served(use: Use) -> None:
    rejected = why_not(empty_house().state, use, START_MS)
    assert rejected is not None
    assert rejected.reason is Reason.MARK_STALE


@pytest.mark.parametrize("use", Use)
def test_in_an_outage_a_snapshot_of_now_serves_only_to_be_attested(use: Use) -> None:
    world = traders()
    breaker(world, BreakerState.HALTED, ANNA)
    breaker(world, BreakerState.OPEN, ANNA, BERT)
    rejected = why_not(world.state, use, world.now_ms)
    assert (None if rejected is None else rejected.reason) == (None if use is Use.ATTEST else Reason.OUTAGE)


def test_new_risk_and_outflows_stop_one_after_the_other_and_reducing_never() -> None:
    world = traders()
    at = accepted_ms(world)
    world.now_ms = at + 5 * MINUTE_MS
    world.ok(RequestWithdrawal(withdrawal="w1", account=BOB, asset=USDC, amount_minor=1))
    world.now_ms += 1
    late = RequestWithdrawal(withdrawal="w2", account=BOB, asset=USDC, amount_minor=1)
    assert world.reason(late) == Reason.GATE_SHUT.name
    world.now_ms = at + 15 * MINUTE_MS
    assert world.trade(ALICE, BOB, 1, 80_000).accepted
    world.now_ms += 1
    assert world.trade(ALICE, BOB, 1, 80_000).results[0].reason == Reason.MARK_STALE.name
    assert world.trade(BOB, ALICE, 1, 80_000).accepted
    fall_into_outage(world)
    assert world.trade(ALICE, BOB, 1, 80_000).results[0].reason == Reason.OUTAGE.name
    assert world.trade(BOB, ALICE, 1, 80_000).accepted


# ---------------------------------------------------------------------------------------------- how it begins


@pytest.mark.parametrize(("late_ms", "is_outage"), [(-1, False), (0, False), (1, True)])
def test_an_outage_begins_when_the_newest_snapshot_is_too_old(late_ms: int, is_outage: bool) -> None:
    world = traders()
    began = accepted_ms(world) + AFTER_MS
    world.now_ms = began + late_ms
    outcome = world.ok(Tick())
    assert kinds_of(outcome) == (["OUTAGE_BEGAN"] if is_outage else [])
    assert world.state.outage == (Outage(began_ms=began) if is_outage else None)


def test_it_began_when_the_marks_became_too_old_however_late_it_is_written_down() -> None:
    world = traders()
    began = accepted_ms(world) + AFTER_MS
    world.now_ms = began + 7 * HOUR_MS
    assert outage_of(world.state, world.now_ms) == Outage(began_ms=began)
    assert world.trade(ALICE, BOB, 1, 80_000).results[0].reason == Reason.OUTAGE.name
    assert lasting(world).began_ms == began
    assert kinds_of(world.wait(HOUR_MS)) == []


def test_a_publication_after_a_long_silence_meets_the_outage_before_anybody_wrote_it_down() -> None:
    world = traders()
    cash, number = world.state.cash(ALICE), world.state.newest_cycle.number
    world.now_ms += HOUR_MS
    outcome = world.publish(BTC=79_000, ETH=2_000)
    assert kinds_of(outcome) == ["OUTAGE_BEGAN"]
    assert (world.state.cash(ALICE), world.state.newest_cycle.number) == (cash, number)
    assert lasting(world).fresh_since_ms == world.now_ms


def test_a_halt_of_everything_is_an_outage_from_its_first_moment_and_outlasts_the_halt() -> None:
    world = traders()
    breaker(world, BreakerState.HALTED, ANNA)
    assert lasting(world).began_ms == world.now_ms
    assert [gate.reason for gate in gates(world.state, world.now_ms)] == ["HALTED"]
    halted = world.now_ms
    world.wait(MINUTE_MS)
    breaker(world, BreakerState.OPEN, ANNA, BERT)
    (gate,) = gates(world.state, world.now_ms)
    assert (gate.reason, gate.since_ms) == ("OUTAGE", halted)
    assert gate.release == "a quorum of every feed that is fresh for 60 s"


def test_a_halt_of_one_instrument_is_no_outage() -> None:
    world = traders()
    breaker(world, BreakerState.HALTED, ANNA, scope=BTC_PERP)
    assert world.state.outage is None


def test_of_an_old_snapshot_and_a_halt_the_first_began_the_outage() -> None:
    world = traders()
    began = accepted_ms(world) + AFTER_MS
    world.now_ms = began + MINUTE_MS
    breaker(world, BreakerState.HALTED, ANNA)
    assert lasting(world).began_ms == began


def test_before_the_first_snapshot_there_is_no_outage() -> None:
    world = empty_house()
    assert kinds_of(world.wait(DAY_MS)) == []
    world.prices(**GOOD_PRICE)
    assert world.state.newest_cycle.number == 1


# ------------------------------------------------------------------------------------------- while it lasts


def test_a_call_that_would_have_expired_does_not_and_has_all_its_time_afterwards() -> None:
    world = called()
    issued, due = call_of(world).issued_ms, call_of(world).due_ms
    began = accepted_ms(world) + AFTER_MS
    assert due == issued + HOUR_MS
    world.now_ms = due + 5 * HOUR_MS
    assert kinds_of(world.ok(Tick())) == ["OUTAGE_BEGAN"]
    back = world.prices(**CALLED)
    assert kinds_of(back) == ["CALL_MOVED", "OUTAGE_ENDED", "SNAPSHOT_ACCEPTED", "CYCLE_CLOSED"]
    ended = world.now_ms
    assert (call_of(world).issued_ms, call_of(world).due_ms) == (issued, due + ended - began)
    assert call_of(world).due_ms == ended + AFTER_MS, "half of its hour was left"
    assert world.state.outage is None
    assert kinds_of(world.wait(AFTER_MS - 1)) == []
    assert "CALL_EXPIRED" in kinds_of(world.wait(1))


def test_what_an_outage_stops_is_not_due_by_the_clock() -> None:
    world = called()
    assert world.ok(Tick()).next_due_ms == call_of(world).due_ms
    fall_into_outage(world)
    assert world.ok(Tick()).next_due_ms is None
    assert world.prices(**CALLED).next_due_ms == call_of(world).due_ms


def test_the_entry_shows_by_how_much_a_call_was_moved() -> None:
    world = called()
    before = call_of(world)
    fall_into_outage(world, 7 * MINUTE_MS)
    world.prices(**CALLED)
    (entry,) = [one for one in world.entries if one.kind == Kind.CALL_MOVED]
    (change,) = decode_changes(entry.fact)
    moved = replace(before, due_ms=before.due_ms + 8 * MINUTE_MS + 1_000)
    assert change == Put("calls", CALL, moved)


def test_a_call_whose_hour_was_over_before_the_outage_expires_when_it_ends() -> None:
    world = called(call_ms=AFTER_MS)
    due = call_of(world).due_ms
    assert due == accepted_ms(world) + AFTER_MS
    world.now_ms = due + HOUR_MS
    assert kinds_of(world.ok(Tick())) == ["OUTAGE_BEGAN"]
    assert kinds_of(world.prices(**CALLED))[:5] == [
        *("CALL_MOVED", "OUTAGE_ENDED", "SNAPSHOT_ACCEPTED", "CYCLE_CLOSED", "CALL_EXPIRED"),
    ]


def test_calls_stand_still_in_each_of_two_outages() -> None:
    """Half of its hour runs before the first, and half before the second: it expires as that ends."""
    world = called()
    for left_ms in (AFTER_MS, 0):
        before, began = call_of(world).due_ms, accepted_ms(world) + AFTER_MS
        fall_into_outage(world, HOUR_MS)
        outcome = world.prices(**CALLED)
        assert before + world.now_ms - began == world.now_ms + left_ms
        assert ("CALL_EXPIRED" in kinds_of(outcome)) is (left_ms == 0)


def test_a_call_that_is_paid_in_an_outage_is_met() -> None:
    world = fall_into_outage(called())
    assert "CALL_MET" in kinds_of(world.deposit(ALICE, 2_000 * USD))
    assert "CALL_MOVED" not in kinds_of(world.prices(**CALLED))


def test_a_liquidation_waits_and_goes_on_with_the_next_snapshot() -> None:
    world = traders()
    world.prices(BTC=68_000, ETH=2_000)
    steps = world.state.liquidations[SetId(ALICE)].steps
    breaker(world, BreakerState.HALTED, ANNA)
    breaker(world, BreakerState.OPEN, ANNA, BERT)
    assert kinds_of(world.wait(10 * MINUTE_MS)) == []
    assert world.state.liquidations[SetId(ALICE)].steps == steps
    assert "LIQUIDATION_STEPPED" in kinds_of(world.prices(BTC=68_000, ETH=2_000))


def test_no_withdrawal_is_held() -> None:
    world = fall_into_outage(traders(withdraw_validity_ms=DAY_MS))
    assert [gate.reason for gate in gates(world.state, world.now_ms)] == ["OUTAGE"]
    late = RequestWithdrawal(withdrawal="w", account=BOB, asset=USDC, amount_minor=1)
    assert world.reason(late) == Reason.GATE_SHUT.name


def in_answering(collateral: int = 0) -> World:
    """Alice left a hole for which dex is called within the hour; its house account has ``collateral`` ether."""
    world = traders()
    if collateral:
        world.deposit(house_account(MemberId("dex")), collateral, ETH)
    world.prices(**RUINED)
    assert [d.stage for d in world.state.defaults.values()] == [Stage.ANSWERING]
    return world


def test_a_cash_duty_keeps_its_own_clock() -> None:
    world = in_answering()
    assert "MEMBER_DEFAULTED" in kinds_of(world.wait(HOUR_MS))
    assert world.state.outage is not None


def test_a_member_whose_collateral_would_be_sold_does_not_fail_before_there_is_a_price() -> None:
    world = in_answering(10**15)
    assert kinds_of(world.wait(2 * HOUR_MS)) == ["OUTAGE_BEGAN"]
    assert "MEMBER_DEFAULTED" in kinds_of(world.prices(**RUINED))
    assert world.state.members[MemberId("dex")].status is MemberStatus.DEFAULTED


def test_a_price_jump_over_an_outage_is_settled_at_once() -> None:
    world = fall_into_outage(traders(), 3 * HOUR_MS)
    cash = world.state.cash(ALICE)
    world.prices(BTC=78_000, ETH=2_000)
    assert world.state.cash(ALICE) == cash - 1_000 * 2_000 * 100
    assert len([one for one in world.entries if one.kind == Kind.VARIATION_MARGIN]) == 1


# --------------------------------------------------------------------------------------------- how it ends


def silent(**parameters: Any) -> World:
    """In an outage since a minute; nobody has published yet."""
    return fall_into_outage(traders(**parameters), MINUTE_MS)


@pytest.mark.parametrize(("waited_ms", "is_over"), [(59_999, False), (60_000, True), (60_001, True)])
def test_work_resumes_when_the_quorum_was_fresh_for_a_minute(waited_ms: int, is_over: bool) -> None:
    world = silent()
    world.publish(**GOOD_PRICE)
    first = world.now_ms
    for at in (30_000, 59_000, waited_ms):
        assert world.state.outage is not None
        world.now_ms = first + at
        world.publish(**GOOD_PRICE)
    assert (world.state.outage is None) is is_over
    assert world.state.newest_cycle.number == (2 if is_over else 1)
    assert lasting_since(world) == (0 if is_over else first)


def lasting_since(world: World) -> int:
    return 0 if world.state.outage is None else world.state.outage.fresh_since_ms


def test_time_alone_ends_nothing() -> None:
    world = silent()
    world.publish(**GOOD_PRICE)
    assert kinds_of(world.wait(MINUTE_MS)) == []
    assert world.state.outage is not None


def test_a_quorum_that_runs_out_between_two_publications_starts_the_minute_again() -> None:
    world = silent()
    world.publish(**GOOD_PRICE)
    world.now_ms += MINUTE_MS + 1
    said_by(world, 0, **GOOD_PRICE)
    assert lasting_since(world) == 0
    said_by(world, 1, **GOOD_PRICE)
    said_by(world, 2, **GOOD_PRICE)
    again = world.now_ms
    assert lasting_since(world) == again
    world.now_ms = again + MINUTE_MS - 1
    world.publish(**GOOD_PRICE)
    assert (lasting_since(world), world.state.newest_cycle.number) == (again, 1)
    world.now_ms += 1
    world.publish(**GOOD_PRICE)
    assert (world.state.outage, world.state.newest_cycle.number) == (None, 2)


def test_a_quorum_that_is_still_valid_at_the_next_publication_has_held() -> None:
    world = silent()
    world.publish(**GOOD_PRICE)
    world.now_ms += MINUTE_MS
    said_by(world, 0, **GOOD_PRICE)
    assert (world.state.outage, world.state.newest_cycle.number) == (None, 2)


def test_a_quorum_that_falls_apart_starts_the_minute_again() -> None:
    world = silent()
    world.publish(**GOOD_PRICE)
    world.now_ms += 30_000
    said_by(world, 0, BTC=60_000, ETH=2_000)
    assert lasting_since(world) == 0
    world.now_ms += 1_000
    said_by(world, 0, **GOOD_PRICE)
    assert lasting_since(world) == world.now_ms
    kinds = [Kind(one.kind).name for one in world.entries if one.kind == Kind.OUTAGE_WATCHED]
    assert len(kinds) == 3


def test_one_feed_without_a_quorum_is_enough_to_wait() -> None:
    world = silent()
    world.publish(BTC=80_000)
    assert lasting_since(world) == 0
    world.publish(ETH=2_000)
    assert lasting_since(world) == world.now_ms


def test_the_quorum_is_watched_under_a_halt_and_the_next_snapshot_waits_for_its_end() -> None:
    world = traders()
    breaker(world, BreakerState.HALTED, ANNA)
    for _ in range(4):
        world.now_ms += 30_000
        world.publish(**GOOD_PRICE)
    assert world.state.newest_cycle.number == 1
    breaker(world, BreakerState.OPEN, ANNA, BERT)
    assert world.state.outage is not None
    assert "OUTAGE_ENDED" in kinds_of(world.publish(**GOOD_PRICE))


def test_without_a_time_to_wait_the_first_quorum_ends_it() -> None:
    world = silent(resume_after_ms=0)
    assert "OUTAGE_ENDED" in kinds_of(world.publish(**GOOD_PRICE))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 3 * HOUR_MS), min_size=1, max_size=6))
def test_the_clock_of_a_call_runs_for_its_hour_outside_outages(gaps_ms: list[int]) -> None:
    """Snapshots come after the given silences, some of which are outages; the running time adds up to the hour."""
    world = called()
    issued, ran, last = call_of(world).issued_ms, 0, accepted_ms(world)
    for gap in gaps_ms:
        world.now_ms = last + gap
        world.prices(**CALLED)
        if CALL not in world.state.calls:
            break
        ran += min(world.now_ms - last, AFTER_MS)
        last = accepted_ms(world)
        assert call_of(world).issued_ms == issued
        assert call_of(world).due_ms - last == HOUR_MS - ran
        assert ran < HOUR_MS


# --------------------------------------------------------------------------- closing at the last good price


def declared(ether: int = 0, **parameters: Any) -> World:
    """Alice is in default and could not be closed out, since her instrument was halted; then prices fail. The
    halt is over.
    """
    world = traders(ether=ether, **parameters)
    breaker(world, BreakerState.HALTED, ANNA, scope=BTC_PERP)
    world.prices(BTC=40_000, ETH=100)
    assert world.state.defaults[D1].stage is Stage.DECLARED
    fall_into_outage(world)
    breaker(world, BreakerState.OPEN, ANNA, BERT, scope=BTC_PERP)
    assert world.state.defaults[D1].stage is Stage.DECLARED, "an outage stops a close-out"
    world.now_ms = lasting(world).began_ms + 15 * MINUTE_MS
    return world


def closing(default: str = D1, reason: str = "no source will be back today") -> CloseInOutage:
    return CloseInOutage(default=DefaultId(default), reason=reason)


def test_two_administrators_let_a_default_close_at_the_last_good_price() -> None:
    world = declared(ether=1)
    bob, alice = world.state.cash(BOB), world.state.cash(ALICE)
    assert kinds_of(world.ok(closing(), ANNA)) == ["OUTAGE_CLOSING_ASKED"]
    assert lasting(world).closings == (
        OutageClosing(
            default=D1, asked_by=ANNA, asked_ms=world.now_ms, asked_reason="no source will be back today"
        ),
    )
    assert world.state.defaults[D1].stage is Stage.DECLARED
    outcome = world.ok(closing(reason="I agree"), BERT)
    assert kinds_of(outcome) == [
        *("OUTAGE_CLOSING_LET", "POSITION_ASSIGNED", "COLLATERAL_SOLD", "CLOSED_OUT", "LOSS_FIXED"),
        "ANSWER_CALLED",
    ]
    (let,) = lasting(world).closings
    assert (let.let_by, let.let_reason) == (BERT, "I agree")
    assert world.state.position(DESK, BTC_PERP) == 1_000
    assert world.state.accounts[ALICE].status is AccountStatus.CLOSED_OUT
    # An ether is worth 100 ticks x 100,000 = 10; the provider pays that less 1 % less 10 %, rounded up.
    assert world.state.balance(chart.collateral(DESK, ETH)) == 10**18
    sold = [one for one in world.entries if one.kind == Kind.COLLATERAL_SOLD]
    (price,) = {leg.amount for leg in sold[0].legs if leg.account == chart.cash(DESK, USDC)}
    assert price == 8_910_000
    # She gives up 1,000 lots at 40,000 ticks less 1 %: 400 ticks x 100 each.
    assert world.state.cash(BOB) == bob
    hole = -(alice - 1_000 * 400 * 100 + 8_910_000)
    assert world.state.balance(chart.loss(D1, MemberId("dex"), USDC)) == hole


@pytest.mark.parametrize(("haircut_bp", "price"), [(0, 9_900_000), (1, 9_899_010), (9_999, 990)])
def test_the_outage_haircut_comes_off_what_the_discount_leaves(haircut_bp: int, price: int) -> None:
    world = declared(ether=1, outage_haircut_bp=haircut_bp)
    before = world.state.cash(DESK)
    world.ok(closing(), ANNA)
    world.ok(closing(), BERT)
    assigned_gain = 1_000 * 400 * 100
    legs = [leg for one in world.entries if one.kind == Kind.POSITION_ASSIGNED for leg in one.legs]
    assert sum(-leg.amount for leg in legs if leg.account == chart.cash(DESK, USDC)) == assigned_gain
    assert world.state.cash(DESK) == before + assigned_gain - price


def test_outside_an_outage_no_extra_haircut_is_taken() -> None:
    world = traders(ether=1)
    world.prices(BTC=40_000, ETH=100)
    sold = [one for one in world.entries if one.kind == Kind.COLLATERAL_SOLD]
    (price,) = {leg.amount for leg in sold[0].legs if leg.account == chart.cash(DESK, USDC)}
    assert price == 9_900_000


def test_under_a_halt_of_everything_they_may_as_well() -> None:
    world = traders()
    breaker(world, BreakerState.HALTED, ANNA, scope=BTC_PERP)
    world.prices(**RUINED)
    breaker(world, BreakerState.HALTED, ANNA)
    breaker(world, BreakerState.OPEN, ANNA, BERT, scope=BTC_PERP)
    world.now_ms += 15 * MINUTE_MS
    world.ok(closing(), ANNA)
    assert "CLOSED_OUT" in kinds_of(world.ok(closing(), BERT))


def test_an_instrument_that_is_halted_by_itself_stays_so() -> None:
    world = traders()
    breaker(world, BreakerState.HALTED, ANNA, scope=BTC_PERP)
    world.prices(**RUINED)
    fall_into_outage(world, 15 * MINUTE_MS)
    world.ok(closing(), ANNA)
    assert kinds_of(world.ok(closing(), BERT)) == ["OUTAGE_CLOSING_LET"]
    breaker(world, BreakerState.REDUCE_ONLY, ANNA)
    breaker(world, BreakerState.OPEN, ANNA, scope=BTC_PERP)
    assert world.state.defaults[D1].stage is Stage.DECLARED
    world.ok(SetBreaker(scope=BTC_PERP, state=BreakerState.OPEN, reason="why"), BERT)
    assert world.state.defaults[D1].stage is not Stage.DECLARED


def test_without_their_leave_a_default_waits_for_the_next_snapshot() -> None:
    world = declared()
    assert kinds_of(world.wait(DAY_MS)) == []
    assert "CLOSED_OUT" in kinds_of(world.prices(BTC=40_000, ETH=100))


@pytest.mark.parametrize(("early_ms", "is_taken"), [(1, False), (0, True), (-1, True)])
def test_nobody_is_let_close_in_the_first_quarter_of_an_hour(early_ms: int, is_taken: bool) -> None:
    world = declared()
    world.now_ms -= early_ms
    if is_taken:
        world.ok(closing(), ANNA)
    else:
        assert world.reason(closing(), ANNA) == Reason.OUTAGE_TOO_SHORT.name


@pytest.mark.parametrize(
    ("command", "actor", "reason"),
    [
        (closing(), "member/dex", Reason.NOT_AN_ADMINISTRATOR),
        (closing(), "administrator/", Reason.NOT_AN_ADMINISTRATOR),
        (closing(reason=" "), ANNA, Reason.REASON_MALFORMED),
        (closing("d2"), ANNA, Reason.DEFAULT_UNKNOWN),
    ],
    ids=str,
)
def test_a_closing_is_refused(command: CloseInOutage, actor: str, reason: Reason) -> None:
    assert declared().reason(command, actor) == reason.name


def test_one_administrator_is_not_two() -> None:
    world = declared()
    world.ok(closing(), ANNA)
    assert world.reason(closing(), ANNA) == Reason.SAME_ADMINISTRATOR.name
    world.ok(closing(), BERT)


def test_what_was_asked_for_expires_like_a_proposal() -> None:
    world = declared()
    world.ok(closing(), ANNA)
    world.now_ms += PARAMETERS.proposal_validity_ms
    assert kinds_of(world.ok(closing(), BERT)) == ["OUTAGE_CLOSING_ASKED"]
    assert [one.asked_by for one in lasting(world).closings] == [BERT]


def test_without_an_outage_there_is_nothing_to_close() -> None:
    world = traders()
    assert world.reason(closing(), ANNA) == Reason.NO_OUTAGE.name


def test_only_a_default_that_waits_for_its_close_out_is_closed() -> None:
    world = declared()
    for administrator in (ANNA, BERT):
        world.ok(closing(), administrator)
    assert world.state.defaults[D1].stage is Stage.ANSWERING
    assert world.reason(closing(), ANNA) == Reason.DEFAULT_NOT_DECLARED.name


def test_a_closing_is_let_once() -> None:
    world = traders()
    breaker(world, BreakerState.HALTED, ANNA, scope=BTC_PERP)
    world.prices(**RUINED)
    fall_into_outage(world, 15 * MINUTE_MS)
    for administrator in (ANNA, BERT):
        world.ok(closing(), administrator)
    assert world.reason(closing(), ANNA) == Reason.ALREADY_EXISTS.name


def test_the_leave_ends_with_the_outage() -> None:
    world = declared()
    world.ok(closing(), ANNA)
    breaker(world, BreakerState.HALTED, ANNA, scope=BTC_PERP)
    world.prices(BTC=40_000, ETH=100)
    assert world.state.outage is None
    fall_into_outage(world, 15 * MINUTE_MS)
    assert kinds_of(world.ok(closing(), BERT)) == ["OUTAGE_CLOSING_ASKED"]


def test_every_reason_that_the_decider_can_give_is_tested_here() -> None:
    given_ = findall(r"Reason\.([A-Z_]+)", Path(procedure.__file__).read_text(encoding="utf-8"))
    tested = findall(r"Reason\.([A-Z_]+)", Path(__file__).read_text(encoding="utf-8"))
    assert set(given_) <= set(tested)


def test_a_house_without_a_row_was_in_no_outage() -> None:
    assert House().outage is None
