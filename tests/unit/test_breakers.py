"""Circuit breakers: who sets them, what they stop, what trips them, and how they reopen (rulebook §4, §6, §13)."""

from dataclasses import replace
from typing import Any

import pytest

from clearing.default.gate import gates
from clearing.market.breakers import EVERYTHING, at_beginning, extended
from clearing.model.commands import (
    AdmitMember,
    PlaceBid,
    RegisterProvider,
    RequestWithdrawal,
    SetBreaker,
    Tick,
)
from clearing.model.ids import MemberId, SetId
from clearing.model.kinds import Kind
from clearing.model.outcomes import Outcome, Reason
from clearing.model.values import (
    BP,
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    Breaker,
    BreakerState,
    BreakerTrigger,
    Stage,
    TrailPoint,
    VolumePoint,
)
from tests.builders import (
    ALICE,
    BOB,
    BTC_MAR,
    BTC_PERP,
    DESK,
    ETH_PERP,
    INSTRUMENTS,
    PARAMETERS,
    USD,
    USDC,
    World,
    contribute,
    empty_house,
    kinds_of,
    size_pool,
    with_provider,
)

ANNA, BERT = "administrator/anna", "administrator/bert"
OPEN, REDUCE_ONLY, HALTED = BreakerState
SHUT = (REDUCE_ONLY, HALTED)


def setting(scope: str, state: BreakerState) -> SetBreaker:
    return SetBreaker(scope=scope, state=state, reason="a reason")


def put(world: World, scope: str, state: BreakerState) -> Outcome:
    return world.ok(setting(scope, state), ANNA)


def loosen(world: World, scope: str, state: BreakerState) -> Outcome:
    put(world, scope, state)
    return world.ok(setting(scope, state), BERT)


def traders(cash_minor: int = 2_000 * USD, **parameters: Any) -> World:
    """Alice and bob at dex with a provider at desk; alice is long 1,000 lots on 80,000 ticks."""
    world = empty_house(replace(PARAMETERS, **parameters))
    world.ok(AdmitMember(member=MemberId("dex"), name="Dex"))
    for name, cash in (("alice", cash_minor), ("bob", 20_000 * USD)):
        world.deposit(world.account("dex", name), cash)
    with_provider(world)
    world.prices(BTC=80_000, ETH=2_000)
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    return world


def give(world: World, **parameters: Any) -> None:
    """Put other parameters in force, as if by administrators."""
    charter = world.state.founded
    given = replace(charter, parameters=replace(charter.parameters, **parameters))
    world.state = replace(world.state, charter=given)


def breaker(world: World, scope: str = BTC_PERP) -> Breaker:
    return world.state.breakers[scope]


def reason_of(outcome: Outcome) -> str:
    return outcome.results[0].reason


# --------------------------------------------------------------------------------------------------- the setting


@pytest.mark.parametrize("scope", [EVERYTHING, BTC_PERP])
@pytest.mark.parametrize("state", SHUT)
def test_one_administrator_tightens_at_once(scope: str, state: BreakerState) -> None:
    world = traders()
    began = [Kind.OUTAGE_BEGAN.name] if (scope, state) == (EVERYTHING, HALTED) else []
    assert kinds_of(put(world, scope, state)) == [Kind.BREAKER_SET.name, *began]
    shut = breaker(world, scope)
    assert (shut.state, shut.reason, shut.set_by, shut.since_ms) == (state, "a reason", ANNA, world.now_ms)


@pytest.mark.parametrize(("before", "after"), [(HALTED, REDUCE_ONLY), (HALTED, OPEN), (REDUCE_ONLY, OPEN)])
def test_loosening_takes_two_administrators(before: BreakerState, after: BreakerState) -> None:
    world = traders()
    put(world, BTC_PERP, before)
    assert kinds_of(put(world, BTC_PERP, after)) == [Kind.BREAKER_ASKED.name]
    assert breaker(world).state is before
    assert world.reason(setting(BTC_PERP, after), ANNA) == Reason.SAME_ADMINISTRATOR.name
    world.ok(setting(BTC_PERP, after), BERT)
    assert (breaker(world).state, breaker(world).set_by, breaker(world).asked) == (after, BERT, None)


def test_what_was_asked_for_is_confirmed_only_as_it_was_asked() -> None:
    world = traders()
    put(world, BTC_PERP, HALTED)
    put(world, BTC_PERP, OPEN)
    world.ok(setting(BTC_PERP, REDUCE_ONLY), BERT)
    assert (breaker(world).state, breaker(world).asked, breaker(world).asked_by) == (
        HALTED,
        REDUCE_ONLY,
        BERT,
    )


def test_what_was_asked_for_expires_like_a_proposal() -> None:
    world = traders()
    put(world, BTC_PERP, HALTED)
    put(world, BTC_PERP, OPEN)
    world.now_ms += 7 * DAY_MS
    world.ok(setting(BTC_PERP, OPEN), BERT)
    assert (breaker(world).state, breaker(world).asked_by) == (HALTED, BERT)


def test_a_tightening_ends_what_was_asked_for() -> None:
    world = traders()
    put(world, BTC_PERP, REDUCE_ONLY)
    put(world, BTC_PERP, OPEN)
    put(world, BTC_PERP, HALTED)
    world.ok(setting(BTC_PERP, OPEN), BERT)
    assert breaker(world).state is HALTED


@pytest.mark.parametrize(
    ("command", "actor", "reason"),
    [
        (setting(BTC_PERP, HALTED), "member/dex", Reason.NOT_AN_ADMINISTRATOR),
        (setting("BTC", HALTED), ANNA, Reason.INSTRUMENT_UNKNOWN),
        (setting("", HALTED), ANNA, Reason.INSTRUMENT_UNKNOWN),
        (replace(setting(BTC_PERP, HALTED), reason=" "), ANNA, Reason.REASON_MALFORMED),
        (setting(BTC_PERP, OPEN), ANNA, Reason.ALREADY_EXISTS),
        (setting(ETH_PERP, HALTED), ANNA, Reason.ALREADY_EXISTS),
    ],
    ids=str,
)
def test_a_setting_is_refused(command: SetBreaker, actor: str, reason: Reason) -> None:
    world = traders()
    put(world, ETH_PERP, HALTED)
    assert world.reason(command, actor) == reason.name


# ----------------------------------------------------------------------------------------------------- the trades


@pytest.mark.parametrize("scope", [EVERYTHING, BTC_PERP])
def test_reduce_only_takes_what_reduces(scope: str) -> None:
    world = traders()
    put(world, scope, REDUCE_ONLY)
    assert reason_of(world.trade(ALICE, BOB, 1, 80_000)) == Reason.REDUCE_ONLY.name
    assert world.trade(BOB, ALICE, 1, 80_000).accepted


@pytest.mark.parametrize("scope", [EVERYTHING, BTC_PERP])
def test_halted_takes_nothing(scope: str) -> None:
    world = traders()
    put(world, scope, HALTED)
    for buyer, seller in ((ALICE, BOB), (BOB, ALICE)):
        assert reason_of(world.trade(buyer, seller, 1, 80_000)) == Reason.HALTED.name


def test_a_breaker_stops_its_own_instrument_only() -> None:
    world = traders()
    put(world, BTC_PERP, HALTED)
    assert world.trade(ALICE, BOB, 1, 80_000, BTC_MAR).accepted


@pytest.mark.parametrize(("own", "over_all"), [(HALTED, REDUCE_ONLY), (REDUCE_ONLY, HALTED)])
def test_the_stricter_of_two_breakers_holds(own: BreakerState, over_all: BreakerState) -> None:
    world = traders()
    put(world, BTC_PERP, own)
    put(world, EVERYTHING, over_all)
    assert reason_of(world.trade(BOB, ALICE, 1, 80_000)) == Reason.HALTED.name


def test_the_halt_is_checked_after_the_size_and_before_the_price() -> None:
    world = traders()
    put(world, BTC_PERP, HALTED)
    assert reason_of(world.trade(ALICE, BOB, 0, 80_000)) == Reason.LOTS_OUT_OF_RANGE.name
    assert reason_of(world.trade(ALICE, BOB, 1, 8)) == Reason.HALTED.name


# ------------------------------------------------------------------------------------- liquidations and defaults


@pytest.mark.parametrize("scope", [EVERYTHING, BTC_PERP])
def test_who_takes_a_liquidation_is_exempt_from_reduce_only(scope: str) -> None:
    world = traders()
    put(world, scope, REDUCE_ONLY)
    assert Kind.POSITION_ASSIGNED.name in kinds_of(world.prices(BTC=68_000, ETH=2_000))


def test_no_step_is_taken_in_a_halted_instrument_and_it_goes_on_afterwards() -> None:
    world = traders()
    put(world, BTC_PERP, HALTED)
    outcome = world.prices(BTC=68_000, ETH=2_000)
    assert Kind.LIQUIDATION_OPENED.name in kinds_of(outcome)
    assert Kind.POSITION_ASSIGNED.name not in kinds_of(outcome)
    assert kinds_of(world.wait(10 * MINUTE_MS)) == []
    assert world.state.liquidations[SetId(ALICE)].steps == 0
    assert Kind.POSITION_ASSIGNED.name in kinds_of(loosen(world, BTC_PERP, REDUCE_ONLY))


def test_a_default_in_a_halted_instrument_is_declared_and_closed_out_afterwards() -> None:
    world = traders()
    put(world, BTC_PERP, HALTED)
    world.prices(BTC=50_000, ETH=2_000)
    assert [d.stage for d in world.state.defaults.values()] == [Stage.DECLARED]
    assert world.state.position(ALICE, BTC_PERP) == 1_000
    loosen(world, BTC_PERP, OPEN)
    assert [d.stage for d in world.state.defaults.values()] == [Stage.ANSWERING]
    assert world.state.position(ALICE, BTC_PERP) == 0


def test_a_default_that_waits_for_the_end_of_a_halt_is_declared_once_and_takes_no_risk() -> None:
    world = traders()
    put(world, BTC_PERP, HALTED)
    for _ in range(3):
        world.prices(BTC=50_000, ETH=2_000)
    assert [d.stage for d in world.state.defaults.values()] == [Stage.DECLARED]
    world.deposit(ALICE, 50_000 * USD)
    assert reason_of(world.trade(ALICE, BOB, 1, 2_000, ETH_PERP)) == Reason.REDUCE_ONLY.name
    assert not world.state.calls
    assert not world.state.liquidations


def test_a_member_does_not_fail_over_an_answer_while_everything_is_halted() -> None:
    world = traders()
    world.prices(BTC=50_000, ETH=2_000)
    put(world, EVERYTHING, HALTED)
    world.wait(HOUR_MS)
    assert [d.stage for d in world.state.defaults.values()] == [Stage.ANSWERING]
    assert Kind.MEMBER_DEFAULTED.name in kinds_of(loosen(world, EVERYTHING, OPEN))


def test_no_call_expires_while_everything_is_halted() -> None:
    world = traders(mark_validity_ms=DAY_MS, outage_after_ms=DAY_MS)
    world.prices(BTC=71_500, ETH=2_000)
    assert list(world.state.calls)
    put(world, EVERYTHING, HALTED)
    assert kinds_of(world.wait(2 * HOUR_MS)) == []
    loosen(world, EVERYTHING, REDUCE_ONLY)
    assert Kind.CALL_EXPIRED.name not in kinds_of(world.prices(BTC=71_500, ETH=2_000))
    assert Kind.CALL_EXPIRED.name not in kinds_of(world.wait(HOUR_MS - 1))
    assert Kind.CALL_EXPIRED.name in kinds_of(world.wait(1))


def test_no_snapshot_is_accepted_while_everything_is_halted() -> None:
    world = traders()
    number = world.state.newest_cycle.number
    put(world, EVERYTHING, HALTED)
    cash = world.state.cash(ALICE)
    assert kinds_of(world.prices(BTC=79_000, ETH=2_000)) == []
    assert (world.state.newest_cycle.number, world.state.cash(ALICE)) == (number, cash)
    loosen(world, EVERYTHING, OPEN)
    world.prices(BTC=79_000, ETH=2_000)
    assert world.state.newest_cycle.number == number + 1
    assert world.state.cash(ALICE) == cash - 100 * USD


def test_the_gate_is_shut_while_everything_is_halted() -> None:
    world = traders()
    put(world, EVERYTHING, HALTED)
    (gate,) = gates(world.state, world.now_ms)
    assert (gate.reason, gate.since_ms, gate.release) == ("HALTED", world.now_ms, "two administrators")
    withdrawal = RequestWithdrawal(withdrawal="w", account=BOB, asset=USDC, amount_minor=1)
    assert world.reason(withdrawal) == Reason.GATE_SHUT.name
    loosen(world, EVERYTHING, REDUCE_ONLY)
    assert [gate.reason for gate in gates(world.state, world.now_ms)] == ["OUTAGE"]
    world.prices(BTC=80_000, ETH=2_000)
    world.ok(withdrawal)


# ---------------------------------------------------------------------------------------------------- price moves


def tripping(**parameters: Any) -> World:
    """Ten percent within five minutes reduces an instrument."""
    return traders(20_000 * USD, breaker_move_bp=1_000, **parameters)


def test_a_price_move_reduces_every_instrument_that_it_marks() -> None:
    world = tripping()
    assert Kind.BREAKER_TRIPPED.name not in kinds_of(world.prices(BTC=72_000, ETH=2_000))
    outcome = world.prices(BTC=71_999, ETH=2_000)
    assert kinds_of(outcome)[-2:] == [Kind.BREAKER_TRIPPED.name] * 2
    assert set(world.state.breakers) == {BTC_PERP, BTC_MAR}
    tripped = breaker(world)
    assert (tripped.state, tripped.trigger, tripped.set_by) == (REDUCE_ONLY, BreakerTrigger.PRICE_MOVE, "")
    assert tripped.reason == "more than 1000 bp from 80000 ticks 2000 ms ago"
    assert reason_of(world.trade(ALICE, BOB, 1, 71_999)) == Reason.REDUCE_ONLY.name
    assert world.trade(BOB, ALICE, 1, 71_999).accepted


def test_a_rise_trips_as_a_fall_does() -> None:
    world = tripping()
    world.prices(BTC=88_001, ETH=2_000)
    assert breaker(world).state is REDUCE_ONLY


def test_a_slow_move_trips_nothing() -> None:
    world = tripping()
    for step in range(1, 8):
        world.now_ms += 3 * MINUTE_MS
        world.prices(BTC=80_000 - 2_000 * step, ETH=2_000)
    assert not world.state.breakers


def test_without_a_limit_nothing_trips_and_no_trail_is_kept() -> None:
    world = traders(20_000 * USD)
    world.prices(BTC=50_000, ETH=2_000)
    assert not world.state.breakers
    assert not world.state.trails


def test_a_tripped_breaker_reopens_after_its_pause_by_the_clock() -> None:
    world = tripping()
    world.prices(BTC=70_000, ETH=2_000)
    assert world.ok(Tick()).next_due_ms == world.now_ms + 15 * MINUTE_MS
    world.now_ms += 10 * MINUTE_MS
    world.prices(BTC=70_000, ETH=2_000)
    world.wait(5 * MINUTE_MS - 1_001)
    assert breaker(world).state is REDUCE_ONLY
    assert kinds_of(world.wait(1)) == [Kind.BREAKER_REOPENED.name] * 2
    assert breaker(world).state is OPEN
    assert breaker(world).reason.startswith("reopened after: more than 1000 bp")
    assert world.ok(Tick()).next_due_ms is None
    assert world.trade(ALICE, BOB, 1, 70_000).accepted


def test_a_tripped_breaker_waits_until_the_price_is_calm() -> None:
    world = tripping()
    world.prices(BTC=70_000, ETH=2_000)
    world.now_ms += 15 * MINUTE_MS
    world.prices(BTC=60_000, ETH=2_000)
    world.wait(MINUTE_MS)
    assert breaker(world).state is REDUCE_ONLY
    world.now_ms += 5 * MINUTE_MS
    assert Kind.BREAKER_REOPENED.name in kinds_of(world.prices(BTC=60_000, ETH=2_000))


def test_stale_marks_reopen_nothing() -> None:
    world = tripping()
    world.prices(BTC=70_000, ETH=2_000)
    world.now_ms += 10 * MINUTE_MS
    world.prices(BTC=70_000, ETH=2_000)
    world.wait(2 * HOUR_MS)
    assert breaker(world).state is REDUCE_ONLY


def test_a_rule_does_not_reopen_what_people_shut() -> None:
    world = tripping()
    world.prices(BTC=70_000, ETH=2_000)
    put(world, BTC_PERP, REDUCE_ONLY)
    world.now_ms += 30 * MINUTE_MS
    world.prices(BTC=70_000, ETH=2_000)
    assert (breaker(world).state, breaker(world, BTC_MAR).state) == (REDUCE_ONLY, OPEN)


def test_a_rule_does_not_loosen_a_halt() -> None:
    world = tripping()
    put(world, BTC_PERP, HALTED)
    world.prices(BTC=70_000, ETH=2_000)
    assert breaker(world).state is HALTED


def test_what_two_administrators_open_is_measured_from_then_on() -> None:
    world = tripping()
    world.prices(BTC=70_000, ETH=2_000)
    loosen(world, BTC_PERP, OPEN)
    world.prices(BTC=70_000, ETH=2_000)
    assert breaker(world).state is OPEN
    world.prices(BTC=62_999, ETH=2_000)
    assert breaker(world).state is REDUCE_ONLY


def test_opening_before_there_is_a_trail_forgets_nothing() -> None:
    world = traders()
    for scope in (EVERYTHING, BTC_PERP):
        put(world, scope, REDUCE_ONLY)
        loosen(world, scope, OPEN)
        assert breaker(world, scope).state is OPEN


def test_a_limit_that_is_taken_away_reopens_after_the_pause() -> None:
    world = tripping()
    world.prices(BTC=70_000, ETH=2_000)
    give(world, breaker_move_bp=0)
    world.wait(15 * MINUTE_MS)
    assert breaker(world).state is OPEN


@pytest.mark.parametrize("limit", ["breaker_move_bp", "breaker_liquidation_bp"])
def test_a_limit_that_is_set_again_is_measured_from_then_on(limit: str) -> None:
    """What happened while there was none is no reason to trip."""
    world = traders(**{limit: 500})
    world.prices(BTC=80_000, ETH=2_000)
    give(world, **{limit: 0})
    world.prices(BTC=60_000, ETH=2_000)
    assert not world.state.trails
    assert not world.state.volume_trails
    world.prices(BTC=50_000, ETH=2_000)
    assert dict(world.state.closed_lots) == {BTC_PERP: 1_000}
    give(world, **{limit: 500})
    for _ in range(3):
        world.prices(BTC=50_000, ETH=2_000)
    assert not world.state.breakers


def test_a_trail_stays_short_and_reaches_back_over_the_window() -> None:
    points: tuple[TrailPoint, ...] = ()
    for at in range(0, 3_000, 7):
        points = extended(points, TrailPoint(at_ms=at, price_ticks=at + 1), 1_000)
        before = at_beginning(points, at, 1_000)
        assert len(points) <= 24
        assert at < 1_000 or 1_000 <= at - before.at_ms <= 1_110
        assert before.price_ticks == before.at_ms + 1


# ---------------------------------------------------------------------------------------------- liquidation volume


def closing(limit_bp: int = 2_500, **parameters: Any) -> World:
    """Alice is long 1,000 lots that bob is short, and has been for as long as the window."""
    world = traders(breaker_liquidation_bp=limit_bp, **parameters)
    world.prices(BTC=80_000, ETH=2_000)
    world.now_ms += 5 * MINUTE_MS
    world.prices(BTC=80_000, ETH=2_000)
    return world


def fallen(world: World) -> Outcome:
    """At 68,000 alice is below M: a fifth is assigned at once, and a fifth of the rest a minute later."""
    return world.prices(BTC=68_000, ETH=2_000)


@pytest.mark.parametrize(("limit_bp", "trips"), [(1_999, True), (2_000, False)])
def test_what_liquidations_close_beyond_its_share_of_the_open_interest_reduces_the_instrument(
    limit_bp: int, trips: bool
) -> None:
    """200 of 1,000 lots."""
    world = closing(limit_bp)
    outcome = fallen(world)
    assert (Kind.BREAKER_TRIPPED.name in kinds_of(outcome)) is trips
    assert (BTC_PERP in world.state.breakers) is trips
    assert dict(world.state.closed_lots) == {BTC_PERP: 200}


def test_the_breaker_says_what_was_closed_and_takes_reducing_trades_only() -> None:
    world = closing()
    fallen(world)
    outcome = world.wait(MINUTE_MS)
    assert kinds_of(outcome)[0] == Kind.POSITION_ASSIGNED.name
    assert kinds_of(outcome)[-1] == Kind.BREAKER_TRIPPED.name
    tripped = breaker(world)
    assert (tripped.state, tripped.trigger) == (REDUCE_ONLY, BreakerTrigger.LIQUIDATION_VOLUME)
    assert tripped.reason == "360 lots closed, more than 2500 bp of the 1000 open 362000 ms ago"
    assert reason_of(world.trade(ALICE, BOB, 1, 68_000)) == Reason.REDUCE_ONLY.name
    assert set(world.state.breakers) == {BTC_PERP}, "nothing of the future on the same price was closed"


def test_steps_go_on_while_their_volume_has_tripped_the_breaker() -> None:
    world = closing(1_000)
    fallen(world)
    assert breaker(world).state is REDUCE_ONLY
    assert Kind.POSITION_ASSIGNED.name in kinds_of(world.wait(MINUTE_MS))


@pytest.mark.parametrize("provides", [True, False])
def test_assignments_and_tear_ups_of_a_close_out_count(provides: bool) -> None:
    world = closing(9_999)
    if not provides:
        world.ok(RegisterProvider(account=DESK, capacity_minor=1))
    kinds = kinds_of(world.prices(BTC=50_000, ETH=2_000))
    assert (Kind.POSITIONS_TORN_UP.name in kinds) is not provides
    assert breaker(world).trigger is BreakerTrigger.LIQUIDATION_VOLUME
    assert dict(world.state.closed_lots) == {BTC_PERP: 1_000}


def test_a_short_that_is_torn_up_counts_each_lot_once() -> None:
    world = closing(9_999)
    world.ok(RegisterProvider(account=DESK, capacity_minor=1))
    assert Kind.POSITIONS_TORN_UP.name in kinds_of(world.prices(BTC=400_000, ETH=2_000))
    assert dict(world.state.closed_lots) == {BTC_PERP: 1_000}


def test_awards_count_when_the_window_of_their_auction_is_over() -> None:
    world = closing(1_000, auction_ms=MINUTE_MS // 2)
    fallen(world)
    (auction,) = world.state.auctions
    world.ok(PlaceBid(auction=auction, account=DESK, discount_bp=0, share_bp=BP))
    assert not world.state.breakers
    outcome = world.wait(MINUTE_MS // 2)
    assert Kind.BID_AWARDED.name in kinds_of(outcome)
    assert kinds_of(outcome)[-1] == Kind.BREAKER_TRIPPED.name


def test_trades_of_the_holders_own_will_do_not_count() -> None:
    world = closing(1)
    assert world.trade(BOB, ALICE, 1_000, 80_000).accepted
    world.prices(BTC=80_000, ETH=2_000)
    assert not world.state.breakers
    assert not world.state.closed_lots


def test_what_was_closed_before_the_window_counts_no_more() -> None:
    """200 lots of 1,000, and 160 of what is left to alice more than five minutes later."""
    world = closing(liquidation_step_ms=6 * MINUTE_MS)
    fallen(world)
    world.prices(BTC=68_000, ETH=2_000)
    world.now_ms += 5 * MINUTE_MS
    world.prices(BTC=68_000, ETH=2_000)
    world.wait(MINUTE_MS)
    assert dict(world.state.closed_lots) == {BTC_PERP: 360}
    assert not world.state.breakers


def test_a_breaker_tripped_by_volume_reopens_after_its_pause_when_the_window_is_calm() -> None:
    world = closing(1_000)
    fallen(world)
    world.deposit(ALICE, 20_000 * USD)
    for _ in range(2):
        world.now_ms += 7 * MINUTE_MS
        world.prices(BTC=68_000, ETH=2_000)
    assert breaker(world).state is REDUCE_ONLY
    assert Kind.BREAKER_REOPENED.name in kinds_of(world.wait(MINUTE_MS))
    assert breaker(world).state is OPEN
    assert world.trade(BOB, ALICE, 1, 68_000).accepted


def test_a_breaker_waits_while_liquidations_go_on_beyond_its_pause() -> None:
    world = closing(1_000, breaker_pause_ms=30_000)
    fallen(world)
    world.wait(30_000)
    assert breaker(world).state is REDUCE_ONLY


def test_what_administrators_open_after_liquidations_is_measured_from_then_on() -> None:
    world = closing()
    fallen(world)
    world.wait(MINUTE_MS)
    loosen(world, BTC_PERP, OPEN)
    assert breaker(world).state is OPEN
    world.prices(BTC=68_000, ETH=2_000)
    (point,) = world.state.volume_trails[BTC_PERP].points
    assert point == VolumePoint(at_ms=world.now_ms, open_lots=1_000, closed_lots=360)
    assert breaker(world).state is OPEN


def test_a_window_that_began_without_open_interest_trips_with_the_first_lot() -> None:
    """Alice traded after the first cycle: nothing was open when the window began."""
    world = traders(breaker_liquidation_bp=BP)
    world.prices(BTC=68_000, ETH=2_000)
    assert breaker(world).reason == "200 lots closed, more than 10000 bp of the 0 open 1000 ms ago"


def test_a_breaker_of_an_instrument_that_has_expired_reopens() -> None:
    """Its last lots are closed after the last cycle in which it was margined."""
    world = traders(breaker_liquidation_bp=1)
    assert world.trade(BOB, ALICE, 1_000, 80_000).accepted
    assert world.trade(ALICE, BOB, 1_000, 80_000, BTC_MAR).accepted
    world.prices(BTC=68_000, ETH=2_000)
    assert breaker(world, BTC_MAR).trigger is BreakerTrigger.LIQUIDATION_VOLUME
    world.now_ms = INSTRUMENTS[2].expires_ms or 0
    world.deposit(ALICE, 20_000 * USD)
    world.prices(BTC=68_000, ETH=2_000)
    world.prices(BTC=68_000, ETH=2_000)
    assert BTC_MAR not in world.state.margined
    assert breaker(world, BTC_MAR).state is OPEN


def test_without_a_limit_nothing_is_remembered_but_what_the_legs_say() -> None:
    world = closing(0)
    fallen(world)
    assert (len(world.state.volume_trails), dict(world.state.closed_lots)) == (0, {BTC_PERP: 200})


# --------------------------------------------------------------------------------------------- the pool's drawdown


def drawn_on(**parameters: Any) -> World:
    """Alice's loss took what member ``desk`` had paid into the pool."""
    world = traders(pool_floor_minor=300 * USD, breaker_drawdown_bp=5_000, **parameters)
    size_pool(world)
    world.prices(BTC=80_000, ETH=2_000)
    assert not world.state.breakers
    contribute(world, desk=300 * USD)
    world.prices(BTC=50_000, ETH=2_000)
    world.wait(HOUR_MS)
    return world


def test_a_pool_that_was_drawn_on_reduces_everything_until_it_is_full_again() -> None:
    world = drawn_on()
    assert world.state.pool(MemberId("desk")) == 0
    assert Kind.BREAKER_TRIPPED.name in kinds_of(world.prices(BTC=50_000, ETH=2_000))
    tripped = breaker(world, EVERYTHING)
    assert (tripped.state, tripped.trigger) == (REDUCE_ONLY, BreakerTrigger.POOL_DRAWDOWN)
    assert tripped.reason == f"the pool was drawn on and lacks {300 * USD}"
    world.wait(20 * MINUTE_MS)
    assert breaker(world, EVERYTHING).state is REDUCE_ONLY
    contribute(world, desk=150 * USD + 1)
    assert breaker(world, EVERYTHING).state is OPEN


def test_what_administrators_open_trips_again_only_with_a_new_event() -> None:
    world = drawn_on()
    world.prices(BTC=50_000, ETH=2_000)
    loosen(world, EVERYTHING, OPEN)
    world.prices(BTC=50_000, ETH=2_000)
    assert breaker(world, EVERYTHING).state is OPEN
