"""Halves: a trade between two members is novated when both said the same (rulebook §4)."""

from dataclasses import replace
from typing import Any

import pytest

from clearing import chart
from clearing.decide import halves
from clearing.decide.due import next_due_ms
from clearing.model.commands import PRICE_TICKS_MAX, AdmitMember, NewTrade, SubmitTrades, Tick
from clearing.model.house import rows_of
from clearing.model.ids import AccountKey, MemberId, TradeKey
from clearing.model.kinds import Kind
from clearing.model.outcomes import Outcome, Reason, Result, Status
from clearing.model.values import HOUR_MS, MemberStatus
from tests.builders import (
    ALICE,
    BOB,
    BTC_MAR,
    BTC_PERP,
    START_MS,
    USD,
    USDC,
    World,
    empty_house,
    kinds_of,
    link,
)

DEX, OTHER = MemberId("dex"), MemberId("other")
ZOE, YAN = AccountKey("other/zoe"), AccountKey("other/yan")
BUY = NewTrade(
    trade_id="buy",
    instrument=BTC_PERP,
    buyer=ALICE,
    seller=ZOE,
    lots=10,
    price_ticks=80_000,
    executed_ms=START_MS,
    trade_ref="deal-1",
)
SELL = replace(BUY, trade_id="sell")
BUY_KEY, SELL_KEY = TradeKey("dex/buy"), TradeKey("other/sell")


def two_members(**cash: int) -> World:
    """Alice and bob at dex, zoe and yan at other; 2,000 USDC each unless said otherwise."""
    world = empty_house()
    for member, names in (("dex", ("alice", "bob")), ("other", ("zoe", "yan"))):
        world.ok(AdmitMember(member=MemberId(member), name=member))
        for name in names:
            world.deposit(world.account(member, name), cash.get(name, 2_000) * USD)
    world.prices(BTC=80_000, ETH=2_000)
    return world


def submit(world: World, *new: NewTrade, member: MemberId = DEX) -> Outcome:
    return world.do(SubmitTrades(member=member, trades=new))


def only(outcome: Outcome) -> Result:
    (result,) = outcome.results
    return result


def test_the_first_half_waits_and_moves_nothing() -> None:
    world = two_members()
    before = world.state.book.trial_balance()
    outcome = submit(world, BUY)
    assert only(outcome) == Result(key="buy", status=Status.PENDING)
    assert not outcome.accepted
    assert kinds_of(outcome) == ["HALF_WAITS"]
    assert world.state.book.trial_balance() == before
    assert not world.entries[-1].legs
    assert world.state.halves[BUY_KEY].due_ms == world.now_ms + HOUR_MS == outcome.next_due_ms
    assert not world.state.trades


@pytest.mark.parametrize("first", [DEX, OTHER])
def test_equal_halves_are_novated_once_and_each_member_has_the_trade(first: MemberId) -> None:
    world = two_members()
    order = [(DEX, BUY), (OTHER, SELL)] if first == DEX else [(OTHER, SELL), (DEX, BUY)]
    statuses = [only(submit(world, new, member=member)).status for member, new in order]
    assert statuses == [Status.PENDING, Status.ACCEPTED]
    assert (world.state.position(ALICE, BTC_PERP), world.state.position(ZOE, BTC_PERP)) == (10, -10)
    assert set(world.state.trades) == {BUY_KEY, SELL_KEY}
    assert replace(world.state.trades[BUY_KEY], key=SELL_KEY) == world.state.trades[SELL_KEY]
    assert not world.state.halves
    assert not world.state.half_refs
    (entry,) = [e for e in world.entries if e.kind == Kind.TRADE_NOVATED]
    assert set(entry.references) == {BUY_KEY, SELL_KEY}
    assert world.state.balance(chart.fees(USDC)) == 2 * 16_000


def test_a_trade_of_halves_posts_what_a_trade_of_one_member_posts() -> None:
    world = two_members()
    submit(world, BUY)
    submit(world, SELL, member=OTHER)
    alone = two_members()
    submit(alone, replace(BUY, seller=BOB, trade_ref=""))
    of_halves, of_one = (
        next(e for e in w.entries if e.kind == Kind.TRADE_NOVATED).legs for w in (world, alone)
    )
    assert [leg.amount for leg in of_halves] == [leg.amount for leg in of_one]


# ----------------------------------------------------------------------------------------------- differences


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"instrument": BTC_MAR}, "instrument"),
        ({"buyer": BOB}, "buyer"),
        ({"seller": YAN}, "seller"),
        ({"buyer": ZOE, "seller": ALICE}, "buyer, seller"),
        ({"lots": 11}, "lots"),
        ({"price_ticks": 80_001}, "price"),
        ({"executed_ms": START_MS + 1}, "execution time"),
        ({"lots": 9, "price_ticks": 79_999}, "lots, price"),
    ],
)
def test_halves_that_differ_are_refused_and_the_refusal_names_what_differs(
    change: dict[str, Any], named: str
) -> None:
    world = two_members()
    submit(world, BUY)
    before = world.state
    result = only(submit(world, replace(SELL, **change), member=OTHER))
    assert (result.reason, result.detail) == (Reason.HALVES_DIFFER.name, named)
    assert world.state is before, "the first half goes on waiting"
    assert only(submit(world, SELL, member=OTHER)).status is Status.ACCEPTED


def test_every_term_of_a_trade_is_compared() -> None:
    assert set(halves.TERMS) == {*NewTrade.__dataclass_fields__} - {"trade_id", "trade_ref", "group"}


def test_another_reference_is_another_trade() -> None:
    world = two_members()
    submit(world, BUY)
    assert only(submit(world, replace(SELL, trade_ref="deal-2"), member=OTHER)).status is Status.PENDING
    assert len(world.state.halves) == 2


# -------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"trade_ref": "Deal/1"}, Reason.NAME_MALFORMED),
        ({"trade_ref": ""}, Reason.ACCOUNT_NOT_YOURS),
        ({"buyer": YAN}, Reason.ACCOUNT_NOT_YOURS),
        ({"seller": BOB}, Reason.TRADE_REF_NOT_WANTED),
        ({"seller": AccountKey("other/nobody")}, Reason.ACCOUNT_UNKNOWN),
        ({"instrument": "DOGE"}, Reason.INSTRUMENT_UNKNOWN),
        ({"lots": 0}, Reason.LOTS_OUT_OF_RANGE),
        ({"price_ticks": 0}, Reason.PRICE_NOT_POSITIVE),
        ({"price_ticks": PRICE_TICKS_MAX + 1}, Reason.PRICE_TOO_LARGE),
    ],
)
def test_a_half_that_cannot_stand_does_not_wait(change: dict[str, Any], reason: Reason) -> None:
    world = two_members()
    before = world.state
    assert only(submit(world, replace(BUY, **change))).reason == reason.name
    assert world.state is before


def test_one_half_of_a_member_waits_under_a_reference() -> None:
    world = two_members()
    submit(world, BUY)
    result = only(submit(world, replace(BUY, trade_id="more", lots=11)))
    assert (result.reason, result.detail) == (Reason.TRADE_REF_TAKEN.name, BUY_KEY)


def test_members_with_other_counterparts_may_use_the_same_reference() -> None:
    world = two_members()
    world.ok(AdmitMember(member=MemberId("third"), name="third"))
    world.account("third", "tim")
    submit(world, BUY)
    elsewhere = replace(BUY, trade_id="two", seller=AccountKey("third/tim"))
    assert only(submit(world, elsewhere)).status is Status.PENDING


def test_the_checks_are_made_on_the_state_in_which_the_second_half_comes() -> None:
    """Margin, band and staleness do not matter while the first half waits, and do when the second comes."""
    world = two_members()
    submit(world, replace(BUY, price_ticks=90_000))
    second = replace(SELL, price_ticks=90_000)
    assert only(submit(world, second, member=OTHER)).reason == Reason.PRICE_OUTSIDE_BAND.name
    world.prices(BTC=90_000, ETH=2_000)
    assert only(submit(world, second, member=OTHER)).status is Status.ACCEPTED


def test_a_refusal_that_the_other_side_caused_keeps_its_figures() -> None:
    world = two_members(alice=1)
    submit(world, BUY)
    result = only(submit(world, SELL, member=OTHER))
    assert (result.reason, result.detail) == (Reason.MARGIN_INSUFFICIENT.name, "the other side")
    world = two_members(zoe=1)
    submit(world, BUY)
    result = only(submit(world, SELL, member=OTHER))
    assert result.reason == Reason.MARGIN_INSUFFICIENT.name
    assert result.detail.startswith("other/zoe: equity")
    assert BUY_KEY in world.state.halves


def test_a_member_of_a_linked_set_sees_the_figures_of_the_whole_set() -> None:
    world = two_members(alice=1)
    yan = world.account("other", "alice-too", "alice")
    link(world, "alice", ALICE, yan)
    submit(world, BUY)
    assert only(submit(world, SELL, member=OTHER)).detail.startswith("link/alice: equity")


# ---------------------------------------------------------------------------------------------------- retries


def test_a_retry_says_how_the_half_stands() -> None:
    world = two_members()
    submit(world, BUY)
    before = world.state
    again = Result(key="buy", status=Status.PENDING, reason=Reason.TRADE_DUPLICATE.name)
    assert only(submit(world, BUY)) == again
    assert world.state is before
    submit(world, SELL, member=OTHER)
    for member, new in ((DEX, BUY), (OTHER, SELL)):
        result = only(submit(world, new, member=member))
        assert (result.status, result.reason) == (Status.ACCEPTED, Reason.TRADE_DUPLICATE.name)
    assert world.state.position(ALICE, BTC_PERP) == 10


@pytest.mark.parametrize("is_met", [False, True])
@pytest.mark.parametrize("change", [{"lots": 11}, {"trade_ref": "deal-2"}, {"seller": BOB, "trade_ref": ""}])
def test_the_trade_id_of_a_half_is_used_from_when_it_waits(change: dict[str, Any], is_met: bool) -> None:
    world = two_members()
    submit(world, BUY)
    if is_met:
        submit(world, SELL, member=OTHER)
    assert only(submit(world, replace(BUY, **change))).reason == Reason.TRADE_ID_REUSED.name


# ------------------------------------------------------------------------------------------------------ groups


def test_a_half_that_would_wait_takes_its_group_along() -> None:
    world = two_members()
    before = world.state
    hedge = replace(BUY, trade_id="hedge", seller=BOB, trade_ref="", group="g")
    outcome = submit(world, hedge, replace(BUY, group="g"))
    assert [r.reason for r in outcome.results] == [Reason.GROUP_REFUSED.name, Reason.HALF_IN_GROUP.name]
    assert world.state is before


def test_a_half_that_is_met_at_once_stands_in_a_group() -> None:
    world = two_members()
    submit(world, SELL, member=OTHER)
    hedge = replace(BUY, trade_id="hedge", buyer=BOB, seller=ALICE, trade_ref="", group="g")
    assert submit(world, replace(BUY, group="g"), hedge).accepted
    assert [world.state.position(key, BTC_PERP) for key in (ALICE, BOB, ZOE)] == [0, 10, -10]


def test_a_group_that_falls_leaves_the_other_members_half_waiting() -> None:
    world = two_members()
    submit(world, SELL, member=OTHER)
    before = world.state
    much = replace(BUY, trade_id="much", seller=BOB, trade_ref="", group="g", lots=10**6)
    outcome = submit(world, replace(BUY, group="g"), much)
    assert [r.reason for r in outcome.results] == [Reason.GROUP_REFUSED.name, Reason.MARGIN_INSUFFICIENT.name]
    assert world.state is before


# ----------------------------------------------------------------------------------------------------- endings


def test_a_half_that_nobody_meets_in_an_hour_expires_and_its_names_are_free() -> None:
    world = two_members()
    submit(world, BUY)
    assert next_due_ms(world.state) == world.now_ms + HOUR_MS
    assert kinds_of(world.wait(HOUR_MS - 1)) == []
    assert [(e.kind, e.subject) for e in world.wait(1).events] == [("HALF_EXPIRED", BUY_KEY)]
    assert world.entries[-1].kind == Kind.HALF_EXPIRED
    assert not world.state.halves
    assert not world.state.half_refs
    world.prices(BTC=80_000, ETH=2_000)
    assert only(submit(world, SELL, member=OTHER)).status is Status.PENDING
    assert only(submit(world, BUY)).status is Status.ACCEPTED


def test_a_half_whose_time_is_over_is_not_met_even_if_nobody_has_noticed_yet() -> None:
    world = two_members()
    submit(world, BUY)
    world.now_ms += HOUR_MS
    outcome = submit(world, SELL, member=OTHER)
    assert only(outcome).status is Status.PENDING
    assert kinds_of(outcome) == ["HALF_EXPIRED", "HALF_WAITS"]


def test_more_halves_than_fit_into_one_entry_expire_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halves, "AT_ONCE_MAX", 2)
    world = two_members()
    submit(world, *[replace(BUY, trade_id=f"n{n}", trade_ref=f"r{n}") for n in range(5)])
    assert kinds_of(world.wait(HOUR_MS)) == ["HALF_EXPIRED"] * 5
    assert [e.kind for e in world.entries[-3:]] == [Kind.HALF_EXPIRED] * 3
    assert not world.state.halves


def failed(world: World, member: MemberId) -> World:
    """The member is in default, by whatever way it came there."""
    gone = replace(world.state.members[member], status=MemberStatus.DEFAULTED)
    world.state = replace(world.state, members=world.state.members.set(member, gone))
    return world


def test_a_half_of_a_member_that_defaults_lapses_and_that_of_the_other_waits_on() -> None:
    world = two_members()
    submit(world, BUY)
    submit(world, replace(SELL, trade_ref="deal-2"), member=OTHER)
    outcome = failed(world, DEX).ok(Tick())
    assert [(e.kind, e.subject) for e in outcome.events] == [("HALF_LAPSED", BUY_KEY)]
    assert set(world.state.halves) == {SELL_KEY}


def test_a_member_in_default_lets_no_half_wait() -> None:
    world = failed(two_members(), DEX)
    before = rows_of(world.state)
    assert only(submit(world, BUY)).reason == Reason.MEMBER_NOT_ACTIVE.name
    assert rows_of(world.state) == before


def test_a_member_in_default_may_reduce_by_meeting_a_half() -> None:
    world = two_members()
    submit(world, BUY)
    submit(world, SELL, member=OTHER)
    back = replace(BUY, buyer=ZOE, seller=ALICE, trade_id="back")
    failed(world, DEX)
    assert only(submit(world, back, member=OTHER)).status is Status.PENDING
    assert only(submit(world, replace(back, lots=11))).reason == Reason.HALVES_DIFFER.name
    assert only(submit(world, back)).status is Status.ACCEPTED
    assert world.state.position(ALICE, BTC_PERP) == 0
