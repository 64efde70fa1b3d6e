"""Sealed-bid auctions of liquidation steps, close-outs and collateral (rulebook §10.2, §10.3, §11.5)."""

import hashlib
from dataclasses import replace
from pathlib import Path
from re import findall
from typing import Any

import pytest

from clearing import chart
from clearing.decide import bidding
from clearing.decide.auctions import auctions_of
from clearing.decide.due import due
from clearing.default.gate import withheld
from clearing.default.placement import eligible
from clearing.default.preview import preview
from clearing.default.resources import resources_of
from clearing.model.commands import (
    AdmitMember,
    Deposit,
    FoundHouse,
    ListInstrument,
    NewTrade,
    PlaceBid,
    RegisterSource,
    RequestWithdrawal,
    SetBreaker,
    SubmitTrades,
    Tick,
    WithdrawBid,
)
from clearing.model.ids import AccountKey, DefaultId, FeedId, InstrumentId, MemberId, SetId, house_account
from clearing.model.kinds import Kind
from clearing.model.outcomes import Outcome, Reason
from clearing.model.values import (
    BP,
    HOUR_MS,
    MINUTE_MS,
    AccountStatus,
    Auction,
    AuctionKind,
    Bid,
    BreakerState,
    Instrument,
    InstrumentKind,
    Offered,
    Parameters,
    Provider,
    ScanRange,
    Stage,
)
from tests.builders import (
    ALICE,
    BOB,
    BTC_MAR,
    BTC_PERP,
    DESK,
    ETH,
    PARAMETERS,
    SETTLEMENT,
    SOURCES,
    USD,
    USDC,
    World,
    contribute,
    copy_of,
    empty_house,
    kinds_of,
    perpetual,
    provide,
    public_hex,
    size_pool,
    source_key,
    with_provider,
)

BANK, FIRM = AccountKey("bank/provider"), AccountKey("firm/provider")
OF_ALICE = SetId(ALICE)
WINDOW_MS, LONG_WINDOW_MS = MINUTE_MS // 2, 10 * MINUTE_MS
ANNA, BERT = "administrator/anna", "administrator/bert"


def provider(
    world: World, key: AccountKey, cash_minor: int = 100_000 * USD, capacity: int = 10**6 * USD
) -> None:
    member, name = key.split("/")
    if member not in world.state.members:
        world.ok(AdmitMember(member=MemberId(member), name=member))
    world.deposit(world.account(member, name, f"{member}-{name}"), cash_minor)
    provide(world, key, capacity)


def traders(alice: int = 2_000 * USD, bob: int = 20_000 * USD, **parameters: Any) -> World:
    """Alice and bob at dex, no provider; BTC at 80,000 and ETH at 2,000 ticks; slices are auctioned for 30 s."""
    world = empty_house(replace(PARAMETERS, **{"auction_ms": WINDOW_MS} | parameters))
    world.ok(AdmitMember(member=MemberId("dex"), name="Dex"))
    for name, cash in (("alice", alice), ("bob", bob)):
        world.deposit(world.account("dex", name), cash)
    world.prices(BTC=80_000, ETH=2_000)
    return world


def on_offer(**parameters: Any) -> World:
    """Alice holds 1,500 lots; at 76,000 she is below M, and 300 lots are on offer to desk and bank."""
    world = with_provider(traders(**parameters))
    provider(world, BANK)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    world.prices(BTC=76_000, ETH=2_000)
    return world


def the_auction(world: World, kind: AuctionKind | None = None) -> Auction:
    (auction,) = [one for one in world.state.auctions.values() if kind in (None, one.kind)]
    return auction


def bid(
    world: World, key: AccountKey, discount_bp: int, share_bp: int = BP, kind: AuctionKind | None = None
) -> Outcome:
    auction = the_auction(world, kind)
    return world.ok(PlaceBid(auction=auction.id, account=key, discount_bp=discount_bp, share_bp=share_bp))


def lots(world: World, key: AccountKey) -> int:
    return world.state.position(key, BTC_PERP)


def told(outcome: Outcome, kind: Kind) -> list[str]:
    return [event.subject for event in outcome.events if event.kind == kind.name]


# ----------------------------------------------------------------------------------------------- a step on offer


def test_a_step_opens_an_auction_of_its_slice_and_assigns_nothing_meanwhile() -> None:
    world = with_provider(traders())
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    outcome = world.prices(BTC=76_000, ETH=2_000)
    assert kinds_of(outcome)[1:] == ["LIQUIDATION_OPENED", "CYCLE_CLOSED", "AUCTION_OPENED"]
    auction = the_auction(world)
    assert auction == Auction(
        id=auction.id,
        kind=AuctionKind.LIQUIDATION,
        subject=ALICE,
        offered=(Offered(account=ALICE, unit=BTC_PERP, size=300),),
        opened_ms=world.now_ms,
        closes_ms=world.now_ms + WINDOW_MS,
    )
    assert outcome.next_due_ms == world.now_ms + WINDOW_MS
    assert kinds_of(world.wait(WINDOW_MS - 1)) == []
    assert (lots(world, ALICE), lots(world, DESK)) == (1_500, 0)


def test_without_a_bid_the_whole_slice_is_assigned_when_the_window_is_over() -> None:
    world = on_offer()
    outcome = world.wait(WINDOW_MS)
    assert kinds_of(outcome) == [
        "AUCTION_CLOSED",
        "POSITION_ASSIGNED",
        "POSITION_ASSIGNED",
        "LIQUIDATION_STEPPED",
    ]
    assert lots(world, ALICE) == 1_200
    assert world.state.liquidations[OF_ALICE].next_step_ms == world.now_ms + MINUTE_MS
    assert outcome.next_due_ms == world.now_ms + MINUTE_MS
    assert kinds_of(world.wait(MINUTE_MS)) == ["AUCTION_OPENED"]


def test_bids_are_awarded_by_price_up_to_their_share_each_at_its_own_and_the_rest_is_assigned() -> None:
    """Bank takes a quarter at 20 bp (75,848), desk half at 50 bp (75,620); 75 lots go at 1 % (75,240)."""
    world = on_offer()
    provide(world, BANK, 1)
    bid(world, DESK, 50, 5_000)
    bid(world, BANK, 20, 2_500)
    before = {key: world.state.cash(key) for key in (ALICE, BANK, DESK)}
    outcome = world.wait(WINDOW_MS)
    assert kinds_of(outcome)[:4] == ["AUCTION_CLOSED", "BID_AWARDED", "BID_AWARDED", "POSITION_ASSIGNED"]
    assert [subject.split()[1] for subject in told(outcome, Kind.BID_AWARDED)] == [BANK, DESK]
    assert (lots(world, ALICE), lots(world, BANK), lots(world, DESK)) == (1_200, 75, 150 + 75)
    paid = {BANK: 75 * 152 * 100, DESK: 150 * 380 * 100 + 75 * 760 * 100}
    assert {key: world.state.cash(key) - before[key] for key in paid} == paid
    assert world.state.cash(ALICE) == before[ALICE] - sum(paid.values())
    assert world.state.liquidations[OF_ALICE].notional_closed_minor == 300 * 7_600_000


def test_bids_use_up_no_capacity_and_are_not_bound_by_it() -> None:
    world = on_offer()
    provide(world, BANK, 1)
    bid(world, BANK, 0)
    world.wait(WINDOW_MS)
    assert lots(world, BANK) == 300
    assert world.state.providers[BANK] == Provider(account=BANK, capacity_minor=1)


def test_of_equal_bids_the_smaller_hash_of_auction_and_account_is_first() -> None:
    world = on_offer()
    provider(world, FIRM)
    for key in (BANK, DESK, FIRM):
        bid(world, key, 10)
    auction = the_auction(world).id
    first = min((BANK, DESK, FIRM), key=lambda key: hashlib.sha256(f"{auction}\n{key}".encode()).digest())
    world.wait(WINDOW_MS)
    assert {key: lots(world, key) for key in (BANK, DESK, FIRM)} == dict.fromkeys((BANK, DESK, FIRM), 0) | {
        first: 300
    }


@pytest.mark.parametrize(("discount", "kind"), [(100, "BID_AWARDED"), (101, "POSITION_ASSIGNED")])
def test_a_bid_worse_than_the_assignment_discount_is_not_awarded_in_a_liquidation(
    discount: int, kind: str
) -> None:
    world = on_offer()
    bid(world, DESK, discount)
    outcome = world.wait(WINDOW_MS)
    assert kinds_of(outcome)[1] == kind
    assert ("BID_AWARDED" in kinds_of(outcome)) is (discount == 100)


def test_what_an_award_costs_is_a_loss_of_the_legs_and_no_loss_of_the_window() -> None:
    """300 lots at 50 bp below the mark; members answer by it (rulebook §10.5), winners are not haircut for it."""
    world = on_offer()
    bid(world, DESK, 50)
    before = world.state.pnl[ALICE]
    world.wait(WINDOW_MS)
    after, desk = world.state.pnl[ALICE], world.state.pnl[DESK]
    assert after.since_met_minor - before.since_met_minor == -300 * 380 * 100
    assert after.window_minor == before.window_minor
    assert desk.window_minor == 0


def test_a_negative_discount_pays_more_than_the_mark() -> None:
    world = on_offer()
    bid(world, DESK, -25)
    before = world.state.cash(ALICE)
    world.wait(WINDOW_MS)
    assert world.state.cash(ALICE) == before + 300 * 190 * 100


def test_bids_float_with_the_mark_of_the_award() -> None:
    """At 76,100 a bid of 50 bp pays 75,719 (75,719.5 rounded against the set)."""
    world = on_offer()
    bid(world, DESK, 50)
    world.prices(BTC=76_100, ETH=2_000)
    before = world.state.cash(DESK)
    world.wait(WINDOW_MS - 1_000)
    assert world.state.cash(DESK) == before + 300 * (76_100 - 75_719) * 100


@pytest.mark.parametrize(("short", "taken"), [(0, 100), (1, 99)])
def test_a_bidder_takes_no_more_than_leaves_it_with_its_requirement_on_the_newest_snapshot(
    short: int, taken: int
) -> None:
    """A lot requires 1.235 and comes at the mark: a hundred lots need 123.50."""
    world = with_provider(traders(), capacity_minor=1)
    provider(world, BANK, cash_minor=123_500_000 - short, capacity=1)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    world.prices(BTC=76_000, ETH=2_000)
    bid(world, BANK, 0)
    world.wait(WINDOW_MS)
    assert lots(world, BANK) == taken


def test_a_bidder_that_lost_its_money_in_the_window_is_awarded_nothing() -> None:
    world = on_offer()
    bid(world, BANK, 0)
    world.ok(RequestWithdrawal(withdrawal="w", account=BANK, asset=USDC, amount_minor=100_000 * USD))
    outcome = world.wait(WINDOW_MS)
    assert "BID_AWARDED" not in kinds_of(outcome)
    assert (lots(world, BANK), lots(world, DESK)) == (0, 300)


def test_a_bidder_that_came_into_liquidation_in_the_window_is_awarded_nothing() -> None:
    """At 75,500 bank is below M as well: its bid does not count, and it places no other."""
    world = with_provider(traders())
    provider(world, BANK, cash_minor=2_090 * USD)
    client = world.account("bank", "client")
    world.deposit(client, 20_000 * USD)
    for key, other in ((ALICE, BOB), (BANK, client)):
        assert world.trade(key, other, 1_500, 80_000).accepted
    world.prices(BTC=76_000, ETH=2_000)
    bid(world, BANK, 0)
    world.prices(BTC=75_500, ETH=2_000)
    assert SetId(BANK) in world.state.liquidations
    (auction,) = auctions_of(world.state, OF_ALICE)
    again = PlaceBid(auction=auction.id, account=BANK, discount_bp=0, share_bp=1)
    assert world.reason(again) == Reason.BIDDER_EXCLUDED.name
    world.wait(WINDOW_MS - 1_000)
    assert lots(world, BANK) == 1_500


def test_a_hedged_set_is_sold_in_one_piece_so_that_its_hedge_stays() -> None:
    """Bank can carry only a part of 200 long and 100 short, and takes of both the same share."""
    world = with_provider(traders(alice=700 * USD), capacity_minor=1)
    provider(world, BANK, cash_minor=60 * USD, capacity=1)
    assert world.trade(ALICE, BOB, 500, 80_000).accepted
    assert world.trade(BOB, ALICE, 500, 80_000, BTC_MAR).accepted
    assert world.trade(ALICE, BOB, 500, 80_000).accepted
    world.prices(BTC=76_000, ETH=2_000)
    bid(world, BANK, 0)
    world.wait(WINDOW_MS)
    long, short = lots(world, BANK), world.state.position(BANK, BTC_MAR)
    assert 0 < long < 200
    assert -short in (long // 2, long // 2 + 1)
    assert world.measured(BANK).equity_minor >= world.measured(BANK).requirement_minor


def test_a_short_slice_is_bought_at_the_mark_plus_the_discount() -> None:
    world = with_provider(traders(alice=20_000 * USD, bob=2_000 * USD))
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    world.prices(BTC=84_000, ETH=2_000)
    bid(world, DESK, 50)
    before = world.state.cash(DESK)
    world.wait(WINDOW_MS)
    assert (lots(world, DESK), world.state.cash(DESK) - before) == (-300, 300 * 420 * 100)


# ------------------------------------------------------------------------------------------- no auction, no award


@pytest.mark.parametrize("window", [0, WINDOW_MS])
def test_without_a_window_or_without_a_provider_nothing_is_put_up(window: int) -> None:
    world = traders(auction_ms=window)
    if window == 0:
        with_provider(world)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    outcome = world.prices(BTC=76_000, ETH=2_000)
    assert "AUCTION_OPENED" not in kinds_of(outcome)
    assert ("POSITION_ASSIGNED" in kinds_of(outcome)) is (window == 0)
    assert ("DEFAULT_DECLARED" in kinds_of(outcome)) is (window > 0)


def test_a_set_that_recovers_before_the_award_sells_nothing() -> None:
    world = on_offer()
    bid(world, DESK, 0)
    world.deposit(ALICE, 5_000 * USD)
    outcome = world.wait(WINDOW_MS)
    assert kinds_of(outcome) == ["AUCTION_VOIDED", "LIQUIDATION_CLOSED"]
    assert told(outcome, Kind.AUCTION_VOIDED)[0].endswith("the set has recovered")
    assert lots(world, ALICE) == 1_500
    assert not world.state.auctions
    assert not world.state.bids


def test_a_set_that_is_bankrupt_before_the_award_is_in_default_and_its_slice_is_void() -> None:
    world = on_offer(close_out_auction_ms=LONG_WINDOW_MS)
    bid(world, DESK, 0)
    outcome = world.prices(BTC=60_000, ETH=2_000)
    assert told(outcome, Kind.AUCTION_VOIDED)[0].endswith("the set is in default")
    assert kinds_of(outcome)[-2:] == ["CYCLE_CLOSED", "AUCTION_OPENED"]
    assert the_auction(world).kind is AuctionKind.CLOSE_OUT
    assert not world.state.bids


def test_a_slice_that_its_owner_made_smaller_is_sold_as_far_as_it_is_there() -> None:
    """At 70,000 equity 497.60 is below ½ M, so all 1,500 lots are on offer; alice sells 500 of them herself."""
    world = with_provider(traders())
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    world.prices(BTC=70_000, ETH=2_000)
    assert the_auction(world).offered[0].size == 1_500
    assert world.trade(BOB, ALICE, 500, 70_000).accepted
    bid(world, DESK, 0)
    outcome = world.wait(WINDOW_MS)
    assert kinds_of(outcome)[:3] == ["AUCTION_CLOSED", "BID_AWARDED", "LIQUIDATION_STEPPED"]
    assert (lots(world, ALICE), lots(world, DESK)) == (0, 1_000)


def test_a_future_that_expires_in_the_window_is_not_sold_any_more() -> None:
    """It has a feed of its own, which marks nothing afterwards; the perpetual is sold all the same."""
    world = with_provider(traders())
    dated, feed = InstrumentId("BTC-DAY"), FeedId("BTCDAY")
    world.ok(
        ListInstrument(
            instrument=Instrument(
                id=dated,
                kind=InstrumentKind.FUTURE,
                underlying=FeedId("BTC"),
                feed=feed,
                tick_value_minor=100,
                price_decimals=1,
                lot_decimals=3,
                expires_ms=world.now_ms + MINUTE_MS,
            )
        )
    )
    world.prices(BTC=80_000, ETH=2_000, BTCDAY=80_000)
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    assert world.trade(ALICE, BOB, 500, 80_000, dated).accepted
    world.now_ms += MINUTE_MS - 12_000
    world.prices(BTC=70_000, ETH=2_000, BTCDAY=70_000)
    assert {one.unit: one.size for one in the_auction(world).offered} == {BTC_PERP: 1_000, dated: 500}
    bid(world, DESK, 0)
    world.now_ms += 12_000
    world.prices(BTC=70_000, ETH=2_000, BTCDAY=70_000)
    outcome = world.wait(WINDOW_MS)
    assert "BID_AWARDED" in kinds_of(outcome)
    assert (lots(world, DESK), world.state.position(DESK, dated)) == (1_000, 0)


def test_a_step_that_neither_bids_nor_assignment_place_has_failed() -> None:
    world = with_provider(traders(), cash_minor=1, capacity_minor=10**6 * USD)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    world.prices(BTC=76_000, ETH=2_000)
    bid(world, DESK, 0)
    outcome = world.wait(WINDOW_MS)
    assert kinds_of(outcome)[:3] == ["AUCTION_CLOSED", "DEFAULT_DECLARED", "POSITIONS_TORN_UP"]


def halt(world: World, scope: str = "*") -> Outcome:
    return world.ok(SetBreaker(scope=scope, state=BreakerState.HALTED, reason="a reason"), ANNA)


def reopen(world: World, scope: str = "*") -> Outcome:
    opening = SetBreaker(scope=scope, state=BreakerState.OPEN, reason="a reason")
    world.ok(opening, ANNA)
    return world.ok(opening, BERT)


@pytest.mark.parametrize(
    ("scope", "why"), [("*", "OUTAGE since {now}"), (BTC_PERP, "an instrument is halted")]
)
def test_a_halt_voids_bids_and_the_slice_is_put_up_again_when_it_ends(scope: str, why: str) -> None:
    """The halt of everything is an outage, which ends with the first snapshot after the quorum held for a minute."""
    world = on_offer()
    first = the_auction(world)
    bid(world, DESK, 0)
    outcome = halt(world, scope)
    assert told(outcome, Kind.AUCTION_VOIDED) == [f"{first.id} {why.format(now=world.now_ms)}"]
    assert not world.state.auctions
    assert not world.state.bids
    assert kinds_of(world.wait(WINDOW_MS)) == []
    outcome = reopen(world, scope)
    if scope == "*":
        assert not world.state.auctions
        outcome = world.prices(BTC=76_000, ETH=2_000)
    assert kinds_of(outcome)[-1] == "AUCTION_OPENED"
    again = the_auction(world)
    assert (again.id != first.id, again.closes_ms) == (True, world.now_ms + WINDOW_MS)


def test_stale_marks_void_bids_and_a_new_snapshot_puts_the_slice_up_again() -> None:
    world = on_offer(mark_validity_ms=WINDOW_MS // 2)
    outcome = bid(world, DESK, 0)
    assert outcome.next_due_ms == world.now_ms + WINDOW_MS // 2 + 1
    assert kinds_of(world.wait(WINDOW_MS // 2)) == []
    assert told(world.wait(1), Kind.AUCTION_VOIDED)[0].endswith("15001 ms old, at most 15000 to liquidate")
    assert kinds_of(world.prices(BTC=76_000, ETH=2_000))[-1] == "AUCTION_OPENED"
    assert not world.state.bids


def test_an_award_stands_whatever_is_halted_afterwards() -> None:
    world = on_offer()
    bid(world, DESK, 0)
    world.wait(WINDOW_MS)
    halt(world)
    assert lots(world, DESK) == 300


# --------------------------------------------------------------------------------------------------- the bids


def test_a_later_bid_of_an_account_takes_the_place_of_its_earlier_one() -> None:
    world = on_offer()
    bid(world, DESK, 10, 1_000)
    world.now_ms += 1
    bid(world, DESK, 20, 2_000)
    auction = the_auction(world).id
    (row,) = world.state.bids.values()
    assert row == Bid(auction=auction, account=DESK, discount_bp=20, share_bp=2_000, placed_ms=world.now_ms)


def test_a_bid_is_taken_back_while_the_window_is_open() -> None:
    world = on_offer()
    bid(world, DESK, 0)
    taken_back = WithdrawBid(auction=the_auction(world).id, account=DESK)
    assert kinds_of(world.ok(taken_back)) == ["BID_WITHDRAWN"]
    assert world.reason(taken_back) == Reason.BID_UNKNOWN.name
    assert "BID_AWARDED" not in kinds_of(world.wait(WINDOW_MS))


def test_nothing_that_anybody_is_told_before_the_award_speaks_of_anothers_bid() -> None:
    """The same house with and without desk's bid answers everyone else alike."""
    with_bid = on_offer()
    without = copy_of(with_bid)
    bid(with_bid, DESK, 0)
    without.requests += 1

    def told_bank(world: World) -> list[Outcome]:
        auction = the_auction(world).id
        return [
            world.do(PlaceBid(auction=auction, account=BANK, discount_bp=5, share_bp=1)),
            world.do(WithdrawBid(auction=auction, account=BANK)),
            world.do(PlaceBid(auction=auction, account=BANK, discount_bp=5, share_bp=0)),
            world.do(WithdrawBid(auction=auction, account=BANK)),
            world.do(Deposit(account=BANK, asset=USDC, amount_minor=1)),
            world.wait(1),
        ]

    assert told_bank(with_bid) == told_bank(without)


REFUSED: tuple[tuple[dict[str, Any], Reason], ...] = (
    ({"auction": "a0"}, Reason.AUCTION_UNKNOWN),
    ({"auction": "\ud800"}, Reason.AUCTION_UNKNOWN),
    ({"account": ALICE}, Reason.NOT_A_PROVIDER),
    ({"account": AccountKey("\ud800")}, Reason.NOT_A_PROVIDER),
    ({"discount_bp": BP}, Reason.TERM_OUT_OF_RANGE),
    ({"discount_bp": -BP}, Reason.TERM_OUT_OF_RANGE),
    ({"discount_bp": 10**4_000}, Reason.TERM_OUT_OF_RANGE),
    ({"share_bp": 0}, Reason.TERM_OUT_OF_RANGE),
    ({"share_bp": BP + 1}, Reason.TERM_OUT_OF_RANGE),
)


@pytest.mark.parametrize(("change", "reason"), REFUSED)
def test_a_bid_that_cannot_be_one_is_refused(change: dict[str, Any], reason: Reason) -> None:
    world = on_offer()
    terms: dict[str, Any] = {
        "auction": the_auction(world).id,
        "account": DESK,
        "discount_bp": 0,
        "share_bp": BP,
    }
    assert world.reason(PlaceBid(**terms | change)) == reason.name


@pytest.mark.parametrize("change", [{"discount_bp": BP - 1}, {"discount_bp": 1 - BP}, {"share_bp": 1}])
def test_the_terms_of_a_bid_reach_to_their_limits(change: dict[str, Any]) -> None:
    world = on_offer()
    terms: dict[str, Any] = {
        "auction": the_auction(world).id,
        "account": DESK,
        "discount_bp": 0,
        "share_bp": BP,
    }
    assert world.do(PlaceBid(**terms | change)).accepted


def test_no_bid_is_placed_or_taken_back_after_the_window() -> None:
    world = on_offer()
    auction = the_auction(world).id
    bid(world, DESK, 0)
    late = copy_of(world)
    late.now_ms += WINDOW_MS
    assert late.do(PlaceBid(auction=auction, account=BANK, discount_bp=0, share_bp=1)).results[0].reason == (
        Reason.AUCTION_CLOSED.name
    )
    assert lots(late, DESK) == 300, "what was due was done all the same"
    world.now_ms += WINDOW_MS
    outcome = world.do(WithdrawBid(auction=auction, account=DESK))
    assert outcome.results[0].reason == Reason.AUCTION_CLOSED.name
    again = PlaceBid(auction=auction, account=BANK, discount_bp=0, share_bp=1)
    assert world.reason(again) == world.reason(WithdrawBid(auction=auction, account=BANK))
    assert world.reason(again) == Reason.AUCTION_UNKNOWN.name


def test_no_bid_is_taken_while_everything_is_halted() -> None:
    world = on_offer()
    auction = the_auction(world).id
    halt(world)
    assert (
        world.reason(PlaceBid(auction=auction, account=DESK, discount_bp=0, share_bp=1)) == Reason.HALTED.name
    )


def test_who_is_itself_being_closed_does_not_bid() -> None:
    world = with_provider(traders())
    provide(world, ALICE, 10**6 * USD)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    world.prices(BTC=76_000, ETH=2_000)
    own = PlaceBid(auction=the_auction(world).id, account=ALICE, discount_bp=0, share_bp=1)
    assert world.reason(own) == Reason.BIDDER_EXCLUDED.name


def test_a_provider_in_default_does_not_bid_and_is_not_assigned() -> None:
    world = oil_house()
    provide(world, key("x/long"), 10**6)
    declared(world)
    own = PlaceBid(auction=the_auction(world).id, account=key("x/long"), discount_bp=0, share_bp=1)
    assert world.reason(own) == Reason.BIDDER_EXCLUDED.name
    assert key("x/long") not in {one.account for one in eligible(world.state, frozenset())}


def test_every_reason_of_the_bidding_is_tested_here() -> None:
    given = findall(r"Reason\.([A-Z_]+)", Path(bidding.__file__).read_text(encoding="utf-8"))
    tested = findall(r"Reason\.([A-Z_]+)", Path(__file__).read_text(encoding="utf-8"))
    assert set(given) <= set(tested)


# ------------------------------------------------------------------------------------------------- capacity


def test_a_capacity_that_is_declared_again_counts_anew() -> None:
    world = with_provider(traders(auction_ms=0), capacity_minor=300 * 7_600_000)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    world.prices(BTC=76_000, ETH=2_000)
    assert world.state.providers[DESK].taken_minor == 300 * 7_600_000
    provide(world, DESK, 300 * 7_600_000)
    assert world.state.providers[DESK] == Provider(account=DESK, capacity_minor=300 * 7_600_000)
    world.wait(MINUTE_MS)
    assert lots(world, DESK) == 300 + 240


def test_a_capacity_may_be_declared_smaller() -> None:
    world = with_provider(traders(auction_ms=0))
    provide(world, DESK, 100 * 7_600_000)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    world.prices(BTC=76_000, ETH=2_000)
    assert lots(world, DESK) == 100


# ------------------------------------------------------------------------------------------------ cash calls

EVE = AccountKey("dex/eve")


def eve_owes_cash() -> World:
    """Eve has 100 ether of margin and owes 100 of cash since an hour: 0.505… ether are on offer."""
    world = with_provider(traders())
    provider(world, BANK)
    world.deposit(world.account("dex", "eve"), 100 * 10**18, ETH)
    world.deposit(EVE, 1_600_000)
    assert world.trade(EVE, BOB, 1_000, 80_000).accepted
    world.prices(BTC=79_000, ETH=2_000)
    world.wait(HOUR_MS - 1_000)
    world.prices(BTC=79_000, ETH=2_000)
    return world


def test_collateral_for_a_cash_call_is_sold_to_the_best_bid() -> None:
    """What brings 100 at 1 % off brings a little more at 10 bp: 0.50505… × 199.80."""
    world = eve_owes_cash()
    auction = the_auction(world)
    assert (auction.kind, auction.subject, len(auction.offered)) == (AuctionKind.COLLATERAL, EVE, 1)
    bid(world, BANK, 10)
    bid(world, DESK, 90)
    outcome = world.wait(WINDOW_MS)
    assert kinds_of(outcome) == ["CALL_EXPIRED", "AUCTION_CLOSED", "COLLATERAL_AWARDED"]
    sold = auction.offered[0].size
    assert world.state.balance(chart.collateral(BANK, ETH)) == sold
    assert world.state.cash(EVE) == -(-(sold * 200 * USD // 10**18) * 9_990 // BP) - 100 * USD > 0
    assert not world.state.calls
    assert not world.state.auctions


def test_what_no_bid_buys_for_a_cash_call_goes_to_backstop_providers() -> None:
    world = eve_owes_cash()
    bid(world, BANK, 101)
    bid(world, DESK, 100, 5_000)
    outcome = world.wait(WINDOW_MS)
    assert kinds_of(outcome)[1:4] == ["AUCTION_CLOSED", "COLLATERAL_AWARDED", "COLLATERAL_SOLD"]
    assert 0 <= world.state.cash(EVE) <= 2


def test_a_cash_call_that_is_paid_in_the_window_sells_nothing() -> None:
    world = eve_owes_cash()
    bid(world, BANK, 0)
    outcome = world.deposit(EVE, 100 * USD)
    assert kinds_of(outcome) == ["CALL_MET", "AUCTION_VOIDED"]
    assert kinds_of(world.wait(WINDOW_MS)) == []
    assert world.state.balance(chart.collateral(EVE, ETH)) == 100 * 10**18


def test_a_part_payment_in_the_window_sells_less() -> None:
    world = eve_owes_cash()
    bid(world, BANK, 100)
    world.deposit(EVE, 60 * USD)
    world.wait(WINDOW_MS)
    assert 0 <= world.state.cash(EVE) <= 1


def test_a_halt_voids_an_auction_for_cash_and_the_call_puts_it_up_again() -> None:
    world = eve_owes_cash()
    bid(world, BANK, 0)
    halt(world)
    assert not world.state.auctions
    assert not world.state.bids
    reopen(world)
    assert kinds_of(world.prices(BTC=79_000, ETH=2_000))[-1] == "AUCTION_OPENED"


# ------------------------------------------------------------------------------------------------ close-out

OIL, FEED = InstrumentId("OIL-PERP"), FeedId("OIL")
D1, D2 = DefaultId("d1"), DefaultId("d2")
CLOSE_OUT = AuctionKind.CLOSE_OUT


def key(name: str) -> AccountKey:
    return AccountKey(name)


def oil_house(**parameters: Any) -> World:
    """Members x, y, z, each with a ``long`` and a ``short`` client of 2,000; oil at 1,000; y/desk and z/desk provide.

    Each must contribute 100 to the pool; a tick of oil is worth 1, and nothing costs a fee.
    """
    world = World()
    ranges = (ScanRange(underlying=FEED, move_bp=1_000),)
    given = Parameters(
        margin_model="scan", scan_ranges=ranges, trade_fee_bp=0, pool_rate_bp=0, pool_floor_minor=100
    )
    world.ok(FoundHouse(house="oilhouse", settlement=SETTLEMENT, parameters=replace(given, **parameters)))
    world.ok(ListInstrument(instrument=replace(perpetual(OIL, FEED, 1, 0), price_decimals=0)))
    for source in SOURCES:
        world.ok(RegisterSource(source=source, public_key=public_hex(source_key(source))))
    for member in "xyz":
        world.ok(AdmitMember(member=MemberId(member), name=member))
        for side in ("long", "short"):
            world.deposit(world.account(member, side, f"{member}-{side}"), 2_000)
    for member in "yz":
        provider(world, key(f"{member}/desk"), 20_000, 1)
    size_pool(world)
    world.prices(OIL=1_000)
    return world


def trade(world: World, buyer: str, seller: str, quantity: int, price: int) -> None:
    assert world.trade(key(buyer), key(seller), quantity, price, OIL).accepted


def declared(world: World) -> World:
    """x/long bought 16 from x/short; oil falls to 700, so it owes 2,800 and its 16 are on offer for ten minutes."""
    trade(world, "x/long", "x/short", 16, 1_000)
    world.prices(OIL=700)
    return world


def of(world: World, name: str) -> int:
    return world.state.position(key(name), OIL)


def test_a_default_is_put_up_for_auction_and_stays_declared_until_the_window_is_over() -> None:
    world = declared(oil_house())
    auction = the_auction(world)
    assert (auction.kind, auction.subject) == (CLOSE_OUT, D1)
    assert auction.offered == (Offered(account=key("x/long"), unit=OIL, size=16),)
    assert auction.closes_ms - auction.opened_ms == LONG_WINDOW_MS
    world.wait(LONG_WINDOW_MS - 1)
    assert world.state.defaults[D1].stage is Stage.DECLARED
    outcome = world.wait(1)
    assert kinds_of(outcome)[0] == "AUCTION_CLOSED"
    assert world.state.defaults[D1].stage is Stage.ANSWERING
    assert world.state.accounts[key("x/long")].status is AccountStatus.CLOSED_OUT


def test_bids_no_worse_than_assignment_come_before_backstop_providers_and_dear_bids_after_them() -> None:
    """y bids 2 % off, z 50 bp for a quarter; z backs 5 lots at 1 %, and y takes the 7 that are left."""
    world = declared(oil_house())
    provide(world, key("z/desk"), 5 * 700)
    bid(world, key("y/desk"), 200)
    bid(world, key("z/desk"), 50, 2_500)
    world.wait(LONG_WINDOW_MS)
    assert (of(world, "z/desk"), of(world, "y/desk"), of(world, "x/short")) == (4 + 5, 7, -16)
    assert world.state.cash(key("z/desk")) == 20_000 + 4 * 4 + 5 * 7
    assert world.state.cash(key("y/desk")) == 20_000 + 7 * 14
    assert world.state.defaults[D1].answers[0].amount_minor == 2_800 + 16 + 35 + 98


def test_a_bid_at_a_bad_price_is_awarded_as_far_as_the_tiers_bear_it_and_the_rest_is_torn_up() -> None:
    """Tiers 2 to 8 bear 100 + 200 + 400 + 4,800 = 5,500; 2,800 are lost already, so 7 lots at 350 off, not 8."""
    world = declared(oil_house())
    contribute(world, x=100, y=100, z=100)
    bid(world, key("y/desk"), 5_000)
    outcome = world.wait(LONG_WINDOW_MS)
    assert (of(world, "y/desk"), of(world, "x/short")) == (7, -7)
    assert "POSITIONS_TORN_UP" in kinds_of(outcome)
    assert world.state.defaults[D1].answers[0].amount_minor == 2_800 + 7 * 350
    world.wait(HOUR_MS)
    default = world.state.defaults[D1]
    assert (sum(draw.amount_minor for draw in default.draws), default.uncovered_minor) == (5_250, 0)


def test_a_dear_bid_takes_nothing_from_a_set_that_owes_nothing() -> None:
    """Somebody pays 2,900 in for x/long: at the close it has 100, and a bid of half the price would have cost 5,600."""
    world = declared(oil_house())
    bid(world, key("y/desk"), 5_000)
    world.deposit(key("x/long"), 2_900)
    world.wait(LONG_WINDOW_MS)
    assert (of(world, "y/desk"), of(world, "x/short")) == (0, 0), "torn up at the settlement price"
    assert world.state.cash(key("x/long")) == 100
    assert world.state.defaults[D1].stage is Stage.CLOSED


@pytest.mark.parametrize(("discount", "taken"), [(101, 0), (-100, 1_000)])
def test_a_loss_that_no_tier_bears_is_made_smaller_by_an_award_but_never_larger(
    discount: int, taken: int
) -> None:
    """Eve owes 100 since the cycle before her ether falls to nothing: nobody gains in T0's cycle, no tier has money."""
    world = traders(close_out_auction_ms=LONG_WINDOW_MS)
    provider(world, BANK, capacity=1)
    world.deposit(world.account("dex", "eve"), 100 * 10**18, ETH)
    world.deposit(EVE, 1_600_000)
    assert world.trade(EVE, BOB, 1_000, 80_000).accepted
    world.prices(BTC=79_000, ETH=2_000)
    world.prices(BTC=79_000, ETH=1)
    bid(world, BANK, discount, kind=CLOSE_OUT)
    before = world.state.balance(chart.insurance_fund(USDC))
    assert before < 100 * USD
    world.wait(LONG_WINDOW_MS)
    assert lots(world, BANK) == taken


def test_a_halt_voids_the_auction_of_a_default_and_it_is_held_again() -> None:
    world = declared(oil_house())
    bid(world, key("y/desk"), 0)
    halt(world)
    world.wait(LONG_WINDOW_MS)
    assert world.state.defaults[D1].stage is Stage.DECLARED
    reopen(world)
    world.prices(OIL=700)
    assert the_auction(world).closes_ms == world.now_ms + LONG_WINDOW_MS
    world.wait(LONG_WINDOW_MS)
    assert (of(world, "y/desk"), of(world, "x/short")) == (0, 0), "the bid was void, so all was torn up"


def test_a_default_waits_for_valid_marks() -> None:
    world = declared(oil_house(mark_validity_ms=MINUTE_MS))
    bid(world, key("y/desk"), 0)
    assert kinds_of(world.wait(LONG_WINDOW_MS)) == ["AUCTION_VOIDED"]
    assert world.state.defaults[D1].stage is Stage.DECLARED
    assert kinds_of(world.prices(OIL=700))[-1] == "AUCTION_OPENED"


def test_two_defaults_of_one_cycle_are_offered_together() -> None:
    world = oil_house()
    trade(world, "y/long", "y/short", 4, 1_000)
    trade(world, "x/long", "x/short", 16, 1_000)
    trade(world, "y/long", "y/short", 12, 1_000)
    world.prices(OIL=700)
    assert {one.account for one in the_auction(world).offered} == {"x/long", "y/long"}
    bid(world, key("z/desk"), 0, 5_000)
    world.wait(LONG_WINDOW_MS)
    assert of(world, "z/desk") == 16
    default = world.state.defaults[D1]
    assert {one.netting_set for one in default.sets} == {"x/long", "y/long"}
    assert [(a.member, a.amount_minor) for a in default.answers] == [("x", 2_800), ("y", 2_800)]


def test_a_set_that_fails_later_in_the_cycle_joins_and_all_is_offered_anew() -> None:
    """y/long is in liquidation in the cycle of d1; its slice finds nobody, since no desk may take it."""
    world = oil_house()
    world.deposit(key("y/long"), 2_700)
    trade(world, "x/long", "x/short", 16, 1_000)
    trade(world, "y/long", "y/short", 16, 1_000)
    poor = {key(f"{m}/desk"): world.state.cash(key(f"{m}/desk")) for m in "yz"}
    for desk, cash in poor.items():
        world.ok(
            RequestWithdrawal(withdrawal=desk.replace("/", "-"), account=desk, asset=USDC, amount_minor=cash)
        )
    world.prices(OIL=710)
    first = the_auction(world, CLOSE_OUT)
    assert len(first.offered) == 1
    outcome = world.wait(WINDOW_MS)
    assert "DEFAULT_DECLARED" in kinds_of(outcome)
    assert f"{first.id} another set joins the event" in told(outcome, Kind.AUCTION_VOIDED)
    again = the_auction(world)
    assert {one.account for one in again.offered} == {"x/long", "y/long"}
    assert (again.subject, again.closes_ms) == (D1, world.now_ms + LONG_WINDOW_MS)
    assert list(world.state.defaults) == [D1]


def test_collateral_that_only_a_bad_price_sells_is_sold_at_it() -> None:
    """Carol's ten ether are worth 2,000; bank backs just one unit, and bids half of the mark for half of them."""
    world = traders(close_out_auction_ms=LONG_WINDOW_MS)
    provider(world, BANK, capacity=1)
    carol = world.account("dex", "carol")
    world.deposit(carol, 10 * 10**18, ETH)
    world.deposit(carol, 10 * USD)
    assert world.trade(carol, BOB, 1_000, 80_000).accepted
    world.prices(BTC=63_000, ETH=2_000)
    assert {one.kind for one in world.state.auctions.values()} == {CLOSE_OUT, AuctionKind.COLLATERAL}
    bid(world, BANK, 5_000, 5_000, AuctionKind.COLLATERAL)
    before = world.state.cash(BANK)
    world.wait(LONG_WINDOW_MS)
    assert lots(world, BANK) == 0
    bought = world.state.balance(chart.collateral(BANK, ETH))
    assert 5 * 10**18 <= bought < 5 * 10**18 + 10**10
    assert world.state.cash(BANK) == before - 500 * USD - 1
    left = world.state.balance(chart.collateral(carol, ETH))
    assert left == 10 * 10**18 - bought, "for the rest there was no bidder"


@pytest.mark.parametrize(("share", "taken"), [(BP, 1_000), (1, 89)])
def test_what_collateral_brings_lets_the_tiers_bear_a_dearer_award(share: int, taken: int) -> None:
    """Carol owes 1,691.60 and bob gained 1,700. A lot at 150 bp costs 0.0945: the 8.40 that are left, and the 0.10
    that a basis point of the ether brings, bear 89 lots; with all of it sold at half its value 1,000 are borne.
    """
    world = traders(close_out_auction_ms=LONG_WINDOW_MS, trade_fee_bp=0)
    provider(world, BANK, capacity=1)
    carol = world.account("dex", "carol")
    world.deposit(carol, 10 * 10**18, ETH)
    world.deposit(carol, 8_400_000)
    assert world.trade(carol, BOB, 1_000, 80_000).accepted
    world.prices(BTC=63_000, ETH=2_000)
    bid(world, BANK, 5_000, share, AuctionKind.COLLATERAL)
    bid(world, BANK, 150, kind=CLOSE_OUT)
    world.wait(LONG_WINDOW_MS)
    assert lots(world, BANK) == taken


# ------------------------------------------------------------------------------------------ who bid, and who did not


def five_to_share(world: World) -> World:
    """y and z have 3,000 each in the pool, of which 100 is required."""
    contribute(world, y=3_000, z=3_000)
    return declared(world)


def pool_draws(world: World) -> dict[str, int]:
    return {draw.payer: draw.amount_minor for draw in world.state.defaults[D1].draws if draw.tier == 5}


def after_waterfall(world: World) -> World:
    world.wait(LONG_WINDOW_MS)
    world.wait(HOUR_MS)
    return world


def test_who_did_not_bid_pays_first_from_the_pool() -> None:
    world = five_to_share(oil_house())
    bid(world, key("y/desk"), 0, 5_000)
    after_waterfall(world)
    assert world.state.defaults[D1].bidders == ("y",)
    assert pool_draws(world) == {"z": 2_800}


def test_what_those_who_did_not_bid_cannot_pay_is_paid_by_the_bidders() -> None:
    world = oil_house()
    contribute(world, y=3_000, z=1_000)
    declared(world)
    bid(world, key("y/desk"), 0)
    assert pool_draws(after_waterfall(world)) == {"y": 1_800, "z": 1_000}


def test_without_a_bid_or_if_all_bid_all_pay_alike() -> None:
    for bidders in ((), ("y", "z")):
        world = five_to_share(oil_house())
        for member in bidders:
            bid(world, key(f"{member}/desk"), 0, 5_000)
        assert pool_draws(after_waterfall(world)) == {"y": 1_400, "z": 1_400}


def test_without_an_auction_all_pay_alike() -> None:
    world = five_to_share(oil_house(close_out_auction_ms=0))
    world.wait(HOUR_MS)
    assert (pool_draws(world), world.state.defaults[D1].bidders) == ({"y": 1_400, "z": 1_400}, ())


@pytest.mark.parametrize(("discount", "counts"), [(100, True), (101, False)])
def test_a_bid_that_came_too_late_in_the_order_counts_if_it_was_good_enough(
    discount: int, counts: bool
) -> None:
    """z takes everything at the mark. y would have taken something at 1 % off; at 101 bp that is no bid."""
    world = five_to_share(oil_house())
    bid(world, key("z/desk"), 0)
    bid(world, key("y/desk"), discount)
    world.wait(LONG_WINDOW_MS)
    assert world.state.defaults[D1].bidders == (("y", "z") if counts else ("z",))


def test_a_dear_bid_counts_if_it_was_awarded() -> None:
    world = five_to_share(oil_house())
    bid(world, key("y/desk"), 1_000)
    world.wait(LONG_WINDOW_MS)
    assert (of(world, "y/desk"), world.state.defaults[D1].bidders) == (16, ("y",))


def test_a_bid_that_its_account_could_not_pay_for_does_not_count() -> None:
    world = five_to_share(oil_house())
    provider(world, key("y/empty"), 1, 1)
    bid(world, key("y/empty"), 0)
    world.wait(LONG_WINDOW_MS)
    assert world.state.defaults[D1].bidders == ()


def test_the_preview_knows_no_bidders() -> None:
    world = oil_house()
    contribute(world, y=3_000, z=3_000)
    trade(world, "x/long", "x/short", 16, 1_000)
    seen = preview(world.state, MemberId("x"), -3_000)
    assert {d.payer: d.amount_minor for d in seen.draws if d.tier == 5} == {"y": 1_400, "z": 1_400}


# --------------------------------------------------------------------------------------- gains of the window


def test_what_was_bought_in_an_auction_counts_as_a_gain_from_the_award_and_each_window_from_its_t0() -> None:
    """d1 at 700; d2 (y/long) at 600, five minutes later. z/desk buys d1's 16 at 600; then oil rises to 630."""
    world = oil_house()
    world.deposit(key("y/long"), 4_000)
    trade(world, "y/long", "y/short", 16, 1_000)
    declared(world)
    world.wait(LONG_WINDOW_MS // 2)
    world.prices(OIL=600)
    assert [d.stage for d in world.state.defaults.values()] == [Stage.DECLARED] * 2
    bid_on(world, D1, key("z/desk"))
    world.wait(LONG_WINDOW_MS // 2 - 1_000)
    assert of(world, "z/desk") == 16
    assert gains(world, D1) == {"x/short": 16 * 400, "y/short": 16 * 400}
    world.prices(OIL=630)
    world.wait(LONG_WINDOW_MS // 2)
    assert gains(world, D2) == {"x/short": 16 * 70, "y/short": 16 * 70, "z/desk": 16 * 30}


def bid_on(world: World, event: DefaultId, account: AccountKey) -> None:
    (auction,) = [one for one in world.state.auctions.values() if one.subject == event]
    world.ok(PlaceBid(auction=auction.id, account=account, discount_bp=0, share_bp=BP))


def gains(world: World, event: DefaultId) -> dict[str, int]:
    return {gain.netting_set: gain.gain_minor for gain in world.state.defaults[event].gains}


def test_two_events_with_overlapping_windows_take_a_gain_only_once() -> None:
    """The two windows share the fall from 700 to 600, so what d1 took of the gains is not there for d2."""
    world = oil_house()
    world.deposit(key("y/long"), 4_000)
    trade(world, "y/long", "y/short", 16, 1_000)
    declared(world)
    world.wait(LONG_WINDOW_MS // 2)
    world.prices(OIL=600)
    world.wait(LONG_WINDOW_MS)
    world.wait(2 * HOUR_MS)
    taken: dict[str, int] = {}
    for default in world.state.defaults.values():
        for draw in default.draws:
            if draw.tier == 8:
                taken[draw.payer] = taken.get(draw.payer, 0) + draw.amount_minor
    assert taken["x/short"] <= 16 * 400
    second = world.state.defaults[D2]
    left = {w.netting_set: w.gain_minor for w in resources_of(world.state, second, (MemberId("y"),)).winners}
    first = {d.payer: d.amount_minor for d in world.state.defaults[D1].draws if d.tier == 8}
    assert first
    assert left == {g.netting_set: max(0, g.gain_minor - first.get(g.netting_set, 0)) for g in second.gains}


def test_a_winner_may_not_trade_its_gain_away_while_the_auction_runs() -> None:
    world = declared(oil_house())
    assert withheld(world.state, SetId("x/short")) == 4_800
    away = NewTrade(
        trade_id="away",
        instrument=OIL,
        buyer=key("x/short"),
        seller=house_account(MemberId("x")),
        lots=16,
        price_ticks=707,
        executed_ms=world.now_ms,
    )
    spent = world.do(SubmitTrades(member=MemberId("x"), trades=(away,)))
    assert not spent.accepted


def test_nothing_is_due_while_windows_are_open() -> None:
    world = declared(oil_house())
    assert next(due(world.state, world.now_ms), None) is None
    assert kinds_of(world.ok(Tick())) == []
