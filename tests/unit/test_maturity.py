"""A dated future ends: the last settlement, and the positions with it (rulebook §5)."""

from dataclasses import replace

import pytest

from clearing import chart
from clearing.decide.prices import feeds_of
from clearing.margin.snapshot import array_of
from clearing.model.commands import AdmitMember, ListInstrument, NewTrade, SubmitTrades
from clearing.model.ids import AccountKey, FeedId, InstrumentId, MemberId, SetId
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason
from clearing.model.values import AccountStatus, Instrument, Stage
from ledger.entry import credit, debit
from tests.builders import (
    ALICE,
    BOB,
    BTC,
    BTC_MAR,
    BTC_PERP,
    DESK,
    INSTRUMENTS,
    START_MS,
    USD,
    USDC,
    World,
    empty_house,
    fund,
    kinds_of,
    provide,
    two_traders,
)

EXPIRES_MS = INSTRUMENTS[2].expires_ms or 0
LONG, SHORT = AccountKey("dex/long"), AccountKey("dex/short")


def at_expiry(world: World, before_ms: int = 0) -> World:
    """The next snapshot is accepted ``before_ms`` before the future expires, after an outage that lasted until then."""
    world.now_ms = EXPIRES_MS - before_ms - 1_000 - world.state.parameters.resume_after_ms
    return world


def holding(lots: int = 10) -> World:
    """Alice is long the future and short the perpetual, bob the reverse."""
    world = two_traders()
    assert world.trade(ALICE, BOB, lots, 80_000, BTC_MAR).accepted
    assert world.trade(BOB, ALICE, lots, 80_000, BTC_PERP).accepted
    return world


def settled(world: World) -> Instrument:
    return world.state.instruments[BTC_MAR]


def test_the_last_settlement_and_the_end_of_the_positions_are_one_entry() -> None:
    world = at_expiry(holding())
    outcome = world.prices(BTC=80_100, ETH=2_000)
    (entry,) = [e for e in world.entries if e.kind == Kind.FUTURE_SETTLED]
    middle = chart.novation(BTC_MAR)
    assert entry.legs == (
        credit(chart.cash(ALICE, USDC), 10 * 100 * 100),
        credit(chart.cash(BOB, USDC), -10 * 100 * 100),
        debit(chart.position(ALICE, BTC_MAR), 10),
        credit(middle, 10),
        debit(chart.position(BOB, BTC_MAR), -10),
        credit(middle, -10),
    )
    assert entry.references == (BTC_MAR,)
    assert [e.subject for e in outcome.events if e.kind == "FUTURE_SETTLED"] == [BTC_MAR]
    assert settled(world).final_ticks == 80_100


def test_the_final_price_is_settled_once_and_other_instruments_go_on() -> None:
    world = holding()
    cash = {key: world.state.cash(key) for key in (ALICE, BOB)}
    at_expiry(world).prices(BTC=80_100, ETH=2_000)
    assert {key: world.state.cash(key) for key in (ALICE, BOB)} == cash, "the hedge made up for it"
    assert dict(world.state.positions(ALICE)) == {BTC_PERP: -10}
    world.prices(BTC=81_100, ETH=2_000)
    assert world.state.cash(ALICE) == cash[ALICE] - 10 * 1_000 * 100
    assert len([e for e in world.entries if e.kind == Kind.FUTURE_SETTLED]) == 1
    assert settled(world).final_ticks == 80_100


@pytest.mark.parametrize(("before_ms", "is_settled"), [(1, False), (0, True), (-3_600_000, True)])
def test_a_future_is_settled_by_the_first_snapshot_at_or_after_its_expiry(
    before_ms: int, is_settled: bool
) -> None:
    world = at_expiry(holding(), before_ms)
    world.prices(BTC=80_000, ETH=2_000)
    assert (settled(world).final_ticks is not None) is is_settled
    assert (world.state.position(ALICE, BTC_MAR) == 0) is is_settled


def test_time_alone_settles_nothing() -> None:
    world = holding()
    world.wait(EXPIRES_MS - world.now_ms + 1)
    assert settled(world).final_ticks is None
    assert world.state.position(ALICE, BTC_MAR) == 10


def test_a_future_that_nobody_holds_ends_without_legs() -> None:
    world = at_expiry(two_traders())
    world.prices(BTC=80_000, ETH=2_000)
    (entry,) = [e for e in world.entries if e.kind == Kind.FUTURE_SETTLED]
    assert entry.legs == ()
    assert settled(world).final_ticks == 80_000


def test_margin_treats_it_as_gone() -> None:
    world = two_traders()
    world.trade(ALICE, BOB, 10, 80_000, BTC_MAR)
    assert world.measured(ALICE).requirement_minor > 0
    at_expiry(world).prices(BTC=80_000, ETH=2_000)
    assert world.measured(ALICE).requirement_minor == 0
    assert BTC_MAR not in {row.instrument for row in array_of(world.state).instruments}
    world.prices(BTC=80_000, ETH=2_000)
    assert BTC_MAR not in {row.instrument for row in array_of(world.state).instruments}


@pytest.mark.parametrize("is_settled", [False, True])
def test_it_is_not_traded_from_its_expiry_on(is_settled: bool) -> None:
    world = holding()
    if is_settled:
        at_expiry(world).prices(BTC=80_000, ETH=2_000)
    world.now_ms = max(world.now_ms, EXPIRES_MS)
    result = world.trade(BOB, ALICE, 10, 80_000, BTC_MAR).results[0]
    assert (result.reason, result.detail) == (Reason.INSTRUMENT_NOT_ACTIVE.name, "expired")


def test_a_half_that_waits_for_an_expired_future_is_not_met() -> None:
    world = two_traders()
    world.ok(AdmitMember(member=MemberId("other"), name="Other"))
    zoe = world.account("other", "zoe")
    half = NewTrade(
        trade_id="half",
        instrument=BTC_MAR,
        buyer=ALICE,
        seller=zoe,
        lots=1,
        price_ticks=80_000,
        executed_ms=START_MS,
        trade_ref="deal",
    )
    at_expiry(world, 1_000).prices(BTC=80_000, ETH=2_000)
    world.do(SubmitTrades(member=MemberId("dex"), trades=(half,)))
    world.prices(BTC=80_000, ETH=2_000)
    met = world.do(SubmitTrades(member=MemberId("other"), trades=(half,)))
    assert met.results[0].reason == Reason.INSTRUMENT_NOT_ACTIVE.name


def test_an_instrument_is_not_listed_as_settled() -> None:
    dead = replace(INSTRUMENTS[2], id=InstrumentId("DEAD"), final_ticks=1)
    assert two_traders().reason(ListInstrument(instrument=dead)) == Reason.TERM_OUT_OF_RANGE.name


# ------------------------------------------------------------------------------------------------------ feeds


def own_feed() -> World:
    """A future with a feed of its own beside the usual instruments."""
    world = empty_house()
    alone = replace(INSTRUMENTS[2], id=InstrumentId("ALONE"), feed=FeedId("BTC-JUN"))
    world.ok(ListInstrument(instrument=alone))
    world.prices(**{"BTC": 80_000, "ETH": 2_000, "BTC-JUN": 80_500})
    return world


def test_the_feed_of_an_expired_future_is_not_needed_any_more_and_may_still_be_published() -> None:
    world = at_expiry(own_feed())
    world.prices(**{"BTC": 80_000, "ETH": 2_000, "BTC-JUN": 80_500})
    assert feeds_of(world.state, world.now_ms) == ("BTC", "ETH")
    world.prices(BTC=80_100, ETH=2_000)
    cycle = world.state.newest_cycle.number
    world.prices(**{"BTC": 80_000, "ETH": 2_000, "BTC-JUN": 80_500})
    assert world.state.newest_cycle.number == cycle + 1
    assert [mark.feed for mark in world.state.newest_cycle.marks] == ["BTC", "ETH"]


def test_where_everything_has_expired_cycles_go_on_with_the_feeds_that_were_needed() -> None:
    world = at_expiry(own_feed())
    world.prices(**{"BTC": 80_000, "ETH": 2_000, "BTC-JUN": 80_500})
    state = world.state
    dead = {key: replace(row, final_ticks=1) for key, row in state.instruments.items()}
    assets = state.assets.delete(next(a for a in state.assets if state.assets[a].feed))
    world.state = replace(state, instruments=state.instruments.update(dead), assets=assets)
    assert feeds_of(world.state, world.now_ms) == ("BTC", "BTC-JUN", "ETH")


# ----------------------------------------------------------------------------------- what is open over the end


def leveraged(long_usd: int, short_usd: int = 100_000, capacity_usd: int = 0) -> World:
    """``dex/long`` has 1,000 lots of the future (8,000 each at 80,000) against ``dex/short``; M is 1,040."""
    world = empty_house()
    fund(world, capital=10_000 * USD)
    for member in ("dex", "desk"):
        world.ok(AdmitMember(member=MemberId(member), name=member))
    for name, usd in (("long", long_usd), ("short", short_usd)):
        world.deposit(world.account("dex", name), usd * USD)
    world.deposit(world.account("desk", "provider"), 100_000 * USD)
    if capacity_usd:
        provide(world, DESK, capacity_usd * USD)
    world.prices(BTC=80_000, ETH=2_000)
    assert world.trade(LONG, SHORT, 1_000, 80_000, BTC_MAR).accepted
    return world


def test_an_open_liquidation_ends_when_its_positions_do() -> None:
    world = at_expiry(leveraged(1_400, capacity_usd=10**6), 61_000)
    assert "LIQUIDATION_STEPPED" in kinds_of(world.prices(BTC=75_000, ETH=2_000))
    assert SetId(LONG) in world.state.liquidations
    assert world.state.position(LONG, BTC_MAR) > 0
    world.now_ms = EXPIRES_MS - 500
    outcome = world.prices(BTC=75_000, ETH=2_000)
    assert "FUTURE_SETTLED" in kinds_of(outcome)
    world.wait(60_000)
    assert SetId(LONG) not in world.state.liquidations
    assert world.state.cash(LONG) > 0
    assert world.state.accounts[LONG].status is AccountStatus.ACTIVE


def test_a_loss_of_the_last_settlement_is_a_default_without_positions() -> None:
    world = at_expiry(leveraged(1_400))
    outcome = world.prices(BTC=60_000, ETH=2_000)
    assert kinds_of(outcome)[1:4] == ["SNAPSHOT_ACCEPTED", "FUTURE_SETTLED", "DEFAULT_DECLARED"]
    (default,) = world.state.defaults.values()
    assert default.stage is Stage.ANSWERING
    assert [(gain.netting_set, gain.gain_minor) for gain in default.gains] == [(SetId(SHORT), 2_000 * USD)]
    assert "POSITIONS_TORN_UP" not in kinds_of(outcome)
    assert world.state.pnl[LONG].window_minor == -2_000 * USD


def test_a_call_over_the_end_is_met_by_it() -> None:
    world = at_expiry(leveraged(1_400), 2_000)
    world.prices(BTC=78_000, ETH=2_000)
    assert f"margin/{LONG}" in world.state.calls
    world.prices(BTC=78_000, ETH=2_000)
    world.now_ms = EXPIRES_MS
    assert "CALL_MET" in kinds_of(world.prices(BTC=78_000, ETH=2_000))
    assert not world.state.calls


def test_the_feed_marks_the_perpetual_as_before() -> None:
    world = at_expiry(holding())
    world.prices(BTC=80_000, ETH=2_000)
    assert {i.id for i in world.state.instruments.values() if i.feed == BTC} == {BTC_PERP, BTC_MAR}
    assert world.trade(ALICE, BOB, 10, 80_000).accepted
