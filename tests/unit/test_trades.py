"""Trades: the checks of rulebook §4 in their public order, and novation leg by leg."""

from dataclasses import dataclass, field, replace
from functools import cache
from itertools import combinations
from pathlib import Path
from re import findall
from typing import Any

import pytest

from clearing import chart
from clearing.decide import halves, trades
from clearing.default.gate import may_answer
from clearing.market import validity
from clearing.market.breakers import EVERYTHING
from clearing.market.novation import position_lots_max
from clearing.model.commands import (
    PRICE_TICKS_MAX,
    TRADES_MAX,
    AdmitMember,
    Deposit,
    ListInstrument,
    NewTrade,
    PayDue,
    SetBreaker,
    SubmitTrades,
)
from clearing.model.ids import AccountKey, InstrumentId, MemberId, SetId, account_key, house_account
from clearing.model.kinds import Kind
from clearing.model.outcomes import Outcome, Reason, Status
from clearing.model.values import (
    HOUR_MS,
    MINUTE_MS,
    AccountStatus,
    BreakerState,
    InstrumentKind,
    MemberStatus,
    Outage,
)
from ledger.entry import Leg, credit, debit
from tests.builders import (
    ALICE,
    BOB,
    BTC,
    BTC_MAR,
    BTC_PERP,
    ETH,
    INSTRUMENTS,
    PARAMETERS,
    START_MS,
    USD,
    USDC,
    World,
    copy_of,
    empty_house,
    link,
    perpetual,
    trade,
    two_traders,
    with_provider,
)

DEX = MemberId("dex")
CAROL, DAN, EVE = (account_key(DEX, name) for name in ("carol", "dan", "eve"))
ZOE = account_key(MemberId("other"), "zoe")
EXPIRED, UNMARKED = InstrumentId("BTC-NOON"), InstrumentId("BTC-LATE")
MARK = 65_500
GOOD = NewTrade(
    trade_id="new",
    instrument=BTC_PERP,
    buyer=ALICE,
    seller=BOB,
    lots=10,
    price_ticks=MARK,
    executed_ms=START_MS,
)


HALT = SetBreaker(scope=EVERYTHING, state=BreakerState.HALTED, reason="a reason")


# ------------------------------------------------------------------------------------------------ the checks


@cache
def _busy_house() -> World:
    """After a crash: carol was closed out, dan is in liquidation, eve has no cash but ether, zoe trades
    elsewhere; one future has expired, one perpetual was listed after the newest cycle.
    """
    world = with_provider(empty_house(replace(PARAMETERS, outage_after_ms=2 * HOUR_MS)))
    cash = {"alice": 1_000, "bob": 10**6, "carol": 140, "dan": 2_250, "eve": 0}
    for member in ("dex", "other"):
        world.ok(AdmitMember(member=MemberId(member), name=member))
    world.deposit(world.account("other", "zoe"), 1_000 * USD)
    world.deposit(house_account(DEX), 10_000 * USD)
    for name, amount in cash.items():
        key = world.account("dex", name)
        if amount:
            world.deposit(key, amount * USD)
    world.deposit(EVE, 10 * 10**18, ETH)
    future = replace(INSTRUMENTS[2], id=EXPIRED, expires_ms=world.now_ms + 2_000)
    world.ok(ListInstrument(instrument=future))
    world.prices(BTC=80_000, ETH=2_000)
    assert world.trade(CAROL, BOB, 100, 80_000, trade_id="used").accepted
    assert world.trade(DAN, BOB, 1_000, 80_000).accepted
    world.prices(BTC=MARK, ETH=2_000)
    world.ok(ListInstrument(instrument=perpetual(UNMARKED, BTC, 100, 3)))
    world.do(PayDue(member=DEX))
    assert world.state.accounts[CAROL].status is AccountStatus.CLOSED_OUT
    assert SetId(DAN) in world.state.liquidations
    return world


def busy_house() -> World:
    return copy_of(_busy_house())


@dataclass(frozen=True, kw_only=True)
class Flaw:
    """One way in which a trade breaks a rule. ``party`` is an account that takes one of its sides."""

    reason: Reason
    changes: dict[str, Any] = field(default_factory=dict)
    party: AccountKey | None = None
    to_itself: bool = False
    later_ms: int = 0
    member_fails: bool = False
    halted: bool = False
    outage: bool = False

    @property
    def name(self) -> str:
        return f"{self.reason.name} {self.changes.get('instrument', '')}".strip()


IN_PUBLIC_ORDER = (
    Flaw(reason=Reason.NAME_MALFORMED, changes={"trade_id": "t/1"}),
    Flaw(reason=Reason.TRADE_ID_REUSED, changes={"trade_id": "used"}),
    Flaw(reason=Reason.INSTRUMENT_UNKNOWN, changes={"instrument": "BTC/PERP"}),
    Flaw(reason=Reason.INSTRUMENT_NOT_ACTIVE, changes={"instrument": UNMARKED}),
    Flaw(reason=Reason.INSTRUMENT_NOT_ACTIVE, changes={"instrument": EXPIRED}),
    Flaw(reason=Reason.ACCOUNT_UNKNOWN, party=AccountKey("dex/nobody")),
    Flaw(reason=Reason.ACCOUNT_NOT_YOURS, party=ZOE),
    Flaw(reason=Reason.ACCOUNT_CLOSED_OUT, party=CAROL),
    Flaw(reason=Reason.BUYER_IS_SELLER, to_itself=True),
    Flaw(reason=Reason.LOTS_OUT_OF_RANGE, changes={"lots": PARAMETERS.trade_lots_max + 1}),
    Flaw(reason=Reason.HALTED, halted=True),
    Flaw(reason=Reason.MEMBER_NOT_ACTIVE, member_fails=True),
    Flaw(reason=Reason.REDUCE_ONLY, party=DAN),
    Flaw(reason=Reason.OUTAGE, outage=True),
    Flaw(reason=Reason.MARK_STALE, later_ms=61 * MINUTE_MS),
    Flaw(reason=Reason.PRICE_OUTSIDE_BAND, changes={"price_ticks": MARK * 11 // 10 + 1}),
    Flaw(reason=Reason.MARGIN_INSUFFICIENT, changes={"lots": 10**6}),
    Flaw(reason=Reason.CASH_INSUFFICIENT, party=EVE),
)


def submit(world: World, *new: NewTrade, member: MemberId = DEX) -> Outcome:
    return world.do(SubmitTrades(member=member, trades=new))


def submitted_with(*flaws: Flaw) -> str:
    """The reason for a trade with all these flaws; where two change the same field the first one wins."""
    world = busy_house()
    new = GOOD
    for side, flaw in reversed(list(zip(("buyer", "seller"), flaws, strict=False))):
        changes = dict(flaw.changes)
        if flaw.party is not None:
            changes[side] = flaw.party
        new = replace(new, **changes)
        world.now_ms += flaw.later_ms
        if flaw.halted:
            world.ok(HALT, "administrator/anna")
        if flaw.outage:
            world.state = replace(world.state, outage=Outage(began_ms=world.now_ms))
        if flaw.member_fails:
            failed = replace(world.state.members[DEX], status=MemberStatus.DEFAULTED)
            world.state = replace(world.state, members=world.state.members.set(DEX, failed))
    if any(flaw.to_itself for flaw in flaws):
        new = replace(new, seller=new.buyer)
    before = world.state
    (result,) = submit(world, new).results
    assert result.status is Status.REFUSED
    assert result.key == new.trade_id
    assert world.state is before, "a refused trade changes nothing"
    return result.reason


def test_a_sound_trade_is_accepted_even_after_a_crash() -> None:
    (result,) = submit(busy_house(), GOOD).results
    assert (result.status, result.reason) == (Status.ACCEPTED, "")


@pytest.mark.parametrize("flaw", IN_PUBLIC_ORDER, ids=lambda flaw: flaw.name)
def test_each_rule_alone_refuses_with_its_reason(flaw: Flaw) -> None:
    assert submitted_with(flaw) == flaw.reason.name


@pytest.mark.parametrize(
    ("first", "second"),
    list(combinations(IN_PUBLIC_ORDER, 2)),
    ids=lambda flaw: flaw.name,
)
def test_a_trade_that_breaks_two_rules_gets_the_first_reason(first: Flaw, second: Flaw) -> None:
    assert submitted_with(first, second) == first.reason.name


def test_every_reason_that_the_decider_can_give_is_tested_here() -> None:
    """A new check must be given its place in the order above."""
    texts = [
        Path(path).read_text(encoding="utf-8")
        for path in (trades.__file__, halves.__file__, validity.__file__)
        if path
    ]
    given = set(findall(r"Reason\.([A-Z_]+)", " ".join(texts)))
    # of clearing/decide/standing.py; the other statuses: tests/unit/test_members.py
    given |= {"MEMBER_NOT_ACTIVE", "ACCOUNT_CLOSED_OUT"}
    of_the_batch = {"MEMBER_UNKNOWN", "BATCH_EMPTY", "BATCH_TOO_LARGE", "TRADE_DUPLICATE"}
    last_of_all = {"GAIN_WITHHELD"}  # tests/unit/test_escapes.py
    of_halves = {"TRADE_REF_NOT_WANTED", "TRADE_REF_TAKEN", "HALVES_DIFFER"}  # tests/unit/test_halves.py
    of_halves |= {"PRICE_NOT_POSITIVE", "PRICE_TOO_LARGE"}
    of_groups = {"HALF_IN_GROUP", "GROUP_REFUSED"}
    in_order = {flaw.reason.name for flaw in IN_PUBLIC_ORDER}
    assert given == in_order | of_the_batch | last_of_all | of_halves | of_groups


def test_a_caller_that_is_no_member_is_refused_before_its_trades_are_looked_at() -> None:
    (result,) = submit(busy_house(), member=MemberId("nobody")).results
    assert (result.key, result.reason) == ("", Reason.MEMBER_UNKNOWN.name)


def test_a_batch_has_at_least_one_trade_and_at_most_a_thousand() -> None:
    world = busy_house()
    assert [r.reason for r in submit(world).results] == [Reason.BATCH_EMPTY.name]
    wrong = replace(GOOD, trade_id="T")
    at_limit = submit(world, *[wrong] * TRADES_MAX)
    assert {r.reason for r in at_limit.results} == {Reason.NAME_MALFORMED.name}
    assert len(at_limit.results) == TRADES_MAX
    beyond = submit(world, *[wrong] * (TRADES_MAX + 1))
    assert [(r.key, r.reason) for r in beyond.results] == [("", Reason.BATCH_TOO_LARGE.name)]


@pytest.mark.slow
def test_a_batch_of_the_largest_size_is_novated_to_the_last_trade() -> None:
    world = two_traders()
    batch = [replace(GOOD, trade_id=f"n{n}", lots=1, price_ticks=80_000) for n in range(TRADES_MAX)]
    assert submit(world, *batch).accepted
    assert world.state.position(ALICE, BTC_PERP) == TRADES_MAX


@pytest.mark.parametrize(("lots", "is_taken"), [(-1, False), (0, False), (1, True), (50, True), (51, False)])
def test_lots_are_positive_and_at_most_the_limit(lots: int, is_taken: bool) -> None:
    world = two_traders_with(trade_lots_max=50)
    assert submit(world, replace(GOOD, lots=lots, price_ticks=80_000)).accepted is is_taken


@pytest.mark.parametrize(
    ("price_ticks", "is_taken"), [(71_999, False), (72_000, True), (88_000, True), (88_001, False)]
)
def test_the_band_around_the_mark_ends_at_a_tenth(price_ticks: int, is_taken: bool) -> None:
    assert submit(two_traders(), replace(GOOD, price_ticks=price_ticks)).accepted is is_taken


def two_traders_with(**changes: Any) -> World:
    """Alice and bob under other parameters."""
    world = empty_house(replace(PARAMETERS, **changes))
    world.ok(AdmitMember(member=DEX, name="Dex"))
    for name in ("alice", "bob"):
        world.deposit(world.account("dex", name), 2_000 * USD)
    world.prices(BTC=80_000, ETH=2_000)
    return world


# -------------------------------------------------------------------------------------- retries and batches


def test_a_retry_returns_the_first_result_and_changes_nothing() -> None:
    world = busy_house()
    assert submit(world, GOOD).accepted
    before = world.state
    (again,) = submit(world, GOOD).results
    assert (again.status, again.reason) == (Status.ACCEPTED, Reason.TRADE_DUPLICATE.name)
    assert world.state is before


def test_a_retry_is_known_even_when_the_trade_would_be_refused_now() -> None:
    world = busy_house()
    submit(world, GOOD)
    world.now_ms += 61 * MINUTE_MS
    assert submit(world, GOOD).results[0].reason == Reason.TRADE_DUPLICATE.name
    assert submit(world, replace(GOOD, trade_id="other")).results[0].reason == Reason.MARK_STALE.name


@pytest.mark.parametrize(
    "change",
    [{"lots": 11}, {"price_ticks": MARK + 1}, {"buyer": BOB, "seller": ALICE}, {"executed_ms": START_MS + 1}],
)
def test_a_used_trade_id_is_refused_for_any_other_trade(change: dict[str, Any]) -> None:
    world = busy_house()
    submit(world, GOOD)
    assert submit(world, replace(GOOD, **change)).results[0].reason == Reason.TRADE_ID_REUSED.name


def test_members_may_use_the_same_trade_id() -> None:
    world = busy_house()
    world.account("other", "yan")
    world.deposit(AccountKey("other/yan"), 1_000 * USD)
    assert submit(world, GOOD).accepted
    elsewhere = replace(GOOD, buyer=ZOE, seller=AccountKey("other/yan"))
    assert submit(world, elsewhere, member=MemberId("other")).accepted


def test_a_refused_trade_may_be_sent_again_under_its_id() -> None:
    world = busy_house()
    assert not submit(world, replace(GOOD, lots=10**6)).accepted
    assert submit(world, GOOD).results[0].reason == ""


def test_each_trade_of_a_batch_is_decided_on_the_state_that_the_one_before_left() -> None:
    """Alice's 2,000 carry 1,500 lots (1,950 of requirement): twice is too much, but not after a sale."""
    world = two_traders()
    buy = replace(GOOD, lots=1_500, price_ticks=80_000)
    sell = replace(buy, trade_id="sell", buyer=BOB, seller=ALICE)
    batch = (buy, replace(buy, trade_id="more"), buy, sell, replace(buy, trade_id="again"))
    assert [r.reason for r in submit(world, *batch).results] == [
        "",
        Reason.MARGIN_INSUFFICIENT.name,
        Reason.TRADE_DUPLICATE.name,
        "",
        "",
    ]
    assert world.state.position(ALICE, BTC_PERP) == 1_500


# --------------------------------------------------------------------------------------------- linked groups


def linked(*names: str, **changes: Any) -> tuple[NewTrade, ...]:
    """Small trades of one group."""
    return tuple(replace(GOOD, trade_id=name, price_ticks=80_000, group="pair", **changes) for name in names)


TOO_MUCH = replace(GOOD, trade_id="much", lots=10**6, price_ticks=80_000, group="pair")


def reasons(outcome: Outcome) -> list[str]:
    return [result.reason for result in outcome.results]


def test_a_group_of_which_every_trade_passes_stands() -> None:
    world = two_traders()
    assert submit(world, *linked("a", "b")).accepted
    assert world.state.position(ALICE, BTC_PERP) == 20


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_trade_that_is_refused_takes_its_group_along(place: int) -> None:
    world = two_traders()
    before = world.state
    batch = list(linked("a", "b"))
    batch.insert(place, TOO_MUCH)
    outcome = submit(world, *batch)
    expected = [Reason.GROUP_REFUSED.name] * 3
    expected[place] = Reason.MARGIN_INSUFFICIENT.name
    assert reasons(outcome) == expected
    assert {r.detail for r in outcome.results if r.reason == Reason.GROUP_REFUSED.name} == {"much"}
    assert world.state is before, "nothing of the group is left, no entry either"


def test_a_group_touches_neither_what_is_around_it_nor_another_group() -> None:
    world = two_traders()
    alone = [replace(one, group="") for one in linked("before", "after")]
    other = [replace(one, group="other") for one in linked("x", "y")]
    outcome = submit(world, alone[0], *linked("a"), TOO_MUCH, *other, alone[1])
    none, fallen = "", Reason.GROUP_REFUSED.name
    assert reasons(outcome) == [none, fallen, Reason.MARGIN_INSUFFICIENT.name, none, none, none]
    assert set(world.state.trades) == {f"dex/{name}" for name in ("before", "x", "y", "after")}


def test_trades_of_one_name_that_are_not_next_to_each_other_are_two_groups() -> None:
    world = two_traders()
    between = replace(linked("between")[0], group="")
    outcome = submit(world, *linked("a"), between, TOO_MUCH)
    assert reasons(outcome) == ["", "", Reason.MARGIN_INSUFFICIENT.name]


def test_a_trade_of_a_group_is_decided_on_what_the_one_before_left() -> None:
    """The second trade reduces what the first built, so the third fits."""
    world = two_traders()
    buy, sell, again = linked("buy", "sell", "again", lots=1_500)
    sell = replace(sell, buyer=BOB, seller=ALICE)
    assert reasons(submit(world, buy, again)) == [Reason.GROUP_REFUSED.name, Reason.MARGIN_INSUFFICIENT.name]
    assert submit(world, buy, sell, again).accepted
    assert world.state.position(ALICE, BTC_PERP) == 1_500


def test_a_retry_of_a_group_returns_its_first_results() -> None:
    world = two_traders()
    group = linked("a", "b")
    submit(world, *group)
    before = world.state
    outcome = submit(world, *group)
    assert outcome.accepted
    assert reasons(outcome) == [Reason.TRADE_DUPLICATE.name] * 2
    assert world.state is before


def test_a_trade_that_was_novated_before_stays_so_in_a_group_that_falls() -> None:
    world = two_traders()
    (old,) = linked("old")
    submit(world, replace(old, group=""))
    outcome = submit(world, old, TOO_MUCH, *linked("new"))
    assert [r.status for r in outcome.results] == [Status.ACCEPTED, Status.REFUSED, Status.REFUSED]
    assert reasons(outcome)[::2] == [Reason.TRADE_DUPLICATE.name, Reason.GROUP_REFUSED.name]


def test_the_name_of_a_group_is_spelled_like_a_trade_id() -> None:
    wrong = replace(GOOD, group="Pair/1", price_ticks=80_000)
    assert reasons(submit(two_traders(), wrong)) == [Reason.NAME_MALFORMED.name]


# ------------------------------------------------------------------------------------------------- novation


def novated(price_ticks: int, lots: int = 1) -> tuple[World, tuple[Leg, ...]]:
    world = two_traders()
    assert world.trade(ALICE, BOB, lots, price_ticks).accepted
    (entry,) = [e for e in world.entries if e.kind == Kind.TRADE_NOVATED]
    return world, entry.legs


@pytest.mark.parametrize(
    ("price_ticks", "paid_by_buyer", "fee"),
    [
        (80_011, 11 * 100, 1_601),  # 1,600.22 rounded up
        (80_000, 0, 1_600),
        (79_999, -100, 1_600),  # 1,599.98 rounded up
    ],
)
def test_the_house_stands_between_seller_and_buyer_and_ends_flat(
    price_ticks: int, paid_by_buyer: int, fee: int
) -> None:
    world, legs = novated(price_ticks)
    payment = (
        debit(chart.cash(ALICE, USDC), paid_by_buyer),
        credit(chart.cash(BOB, USDC), paid_by_buyer),
    )
    assert legs == (
        debit(chart.position(BOB, BTC_PERP), 1),
        credit(chart.novation(BTC_PERP), 1),
        debit(chart.novation(BTC_PERP), 1),
        credit(chart.position(ALICE, BTC_PERP), 1),
        *(payment if paid_by_buyer else ()),
        debit(chart.cash(ALICE, USDC), fee),
        credit(chart.fees(USDC), fee),
        debit(chart.cash(BOB, USDC), fee),
        credit(chart.fees(USDC), fee),
    )
    house = world.state
    assert (house.position(ALICE, BTC_PERP), house.position(BOB, BTC_PERP)) == (1, -1)
    assert house.balance(chart.novation(BTC_PERP)) == 0
    assert house.cash(ALICE) == 2_000 * USD - paid_by_buyer - fee
    assert house.cash(BOB) == 2_000 * USD + paid_by_buyer - fee
    assert house.balance(chart.fees(USDC)) == 2 * fee


def test_the_payment_is_lots_times_the_distance_to_the_last_settlement_price_times_the_tick_value() -> None:
    world, _ = novated(80_011, lots=7)
    fee = 11_202  # 2 bp of 7 × 80,011 × 100 = 11,201.54, rounded up
    assert world.state.cash(BOB) == 2_000 * USD + 7 * 11 * 100 - fee


def test_a_position_is_carried_at_the_newest_settlement_price() -> None:
    world = two_traders()
    world.prices(BTC=80_500, ETH=2_000)
    before = world.state.cash(BOB)
    world.trade(ALICE, BOB, 2, 80_400)
    assert world.state.cash(BOB) == before - 2 * 100 * 100 - 3_216


def test_the_trade_is_kept_under_the_member_and_its_id() -> None:
    world = two_traders()
    submit(world, replace(GOOD, price_ticks=80_000))
    (kept,) = world.state.trades.values()
    assert (kept.key, kept.instrument, kept.lots, kept.price_ticks) == ("dex/new", BTC_PERP, 10, 80_000)


# ------------------------------------------------------------------------------------------ margin and reducing


def test_a_trade_is_accepted_up_to_the_last_lot_that_the_equity_carries() -> None:
    """R = 1.3 a lot, the fee 0.0016: 1,536 lots need 1,999.2576 of 2,000; 1,537 need more than is there."""
    world = two_traders()
    assert world.trade(ALICE, BOB, 1_537, 80_000).results[0].reason == Reason.MARGIN_INSUFFICIENT.name
    assert world.trade(ALICE, BOB, 1_536, 80_000).accepted


def test_the_seller_must_meet_its_requirement_too() -> None:
    world = two_traders()
    world.deposit(ALICE, 10_000 * USD)
    result = world.trade(ALICE, BOB, 1_600, 80_000).results[0]
    assert result.reason == Reason.MARGIN_INSUFFICIENT.name
    assert result.detail.startswith("dex/bob")


def below_requirement() -> World:
    """Alice is long 1,500 lots at 79,000: her equity of 1,847.60 is below R = 1,925.63 and above M."""
    world = two_traders()
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    world.prices(BTC=79_000, ETH=2_000)
    measured = world.measured(ALICE)
    assert measured.maintenance_minor < measured.equity_minor < measured.requirement_minor
    return world


@pytest.mark.parametrize(("price_ticks", "is_taken"), [(79_000, True), (78_210, True), (78_209, False)])
def test_below_the_requirement_a_sale_within_a_hundredth_of_the_mark_is_taken(
    price_ticks: int, is_taken: bool
) -> None:
    outcome = below_requirement().trade(BOB, ALICE, 10, price_ticks)
    assert outcome.results[0].reason == ("" if is_taken else Reason.MARGIN_INSUFFICIENT.name)


def test_below_the_requirement_nothing_is_taken_that_leaves_it_as_high() -> None:
    """Selling 3,000 lots turns long 1,500 into short 1,500: the same requirement."""
    world = below_requirement()
    assert world.trade(BOB, ALICE, 3_000, 79_000).results[0].reason == Reason.MARGIN_INSUFFICIENT.name
    assert world.trade(BOB, ALICE, 2_900, 79_000).accepted, "a hundred lots less free more than the fees"


def test_below_the_requirement_no_new_risk_is_taken() -> None:
    assert below_requirement().trade(ALICE, BOB, 1, 79_000).results[0].reason == (
        Reason.MARGIN_INSUFFICIENT.name
    )


@pytest.mark.parametrize(("discount_bp", "is_taken"), [(1_600, True), (1_650, False)])
def test_a_sale_that_costs_more_than_the_requirement_it_frees_reduces_nothing(
    discount_bp: int, is_taken: bool
) -> None:
    """R is 16.25 % of the notional; with a wide band a lot may be sold for less than that."""
    world = two_traders_with(price_band_bp=2_500, reducing_band_bp=2_500)
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    world.prices(BTC=79_000, ETH=2_000)
    price = 79_000 * (10_000 - discount_bp) // 10_000
    assert world.trade(BOB, ALICE, 10, price).accepted is is_taken


def test_cash_may_not_be_made_negative_however_much_collateral_there_is() -> None:
    world = two_traders()
    eve = world.account("dex", "eve")
    world.deposit(eve, 100 * 10**18, ETH)
    assert world.trade(eve, BOB, 1, 80_000).results[0].reason == Reason.CASH_INSUFFICIENT.name
    world.deposit(eve, 1_600)
    assert world.trade(eve, BOB, 1, 80_000).accepted
    assert world.state.cash(eve) == 0


def test_negative_cash_may_be_brought_nearer_to_zero() -> None:
    """Eve's cash is −99.9984 after a fall of a tenth; selling above the mark brings some back."""
    world = two_traders()
    eve = world.account("dex", "eve")
    world.deposit(eve, 100 * 10**18, ETH)
    world.deposit(eve, 1_600_000)
    assert world.trade(eve, BOB, 1_000, 80_000).accepted
    world.prices(BTC=79_000, ETH=2_000)
    assert world.state.cash(eve) == -100 * USD
    assert world.trade(BOB, eve, 1, 79_100).accepted
    assert world.state.cash(eve) == -100 * USD + 10_000 - 1_582


# ---------------------------------------------------------------------------------------------- reduce only


def test_a_set_in_liquidation_may_reduce_and_its_counterparty_needs_no_leave() -> None:
    world = busy_house()
    buy = replace(GOOD, trade_id="dan-buys", buyer=DAN)
    sell = replace(GOOD, trade_id="dan-sells", buyer=ALICE, seller=DAN)
    assert [r.reason for r in submit(world, buy, sell).results] == [Reason.REDUCE_ONLY.name, ""]


def test_under_a_stale_mark_both_sides_must_reduce() -> None:
    world = two_traders()
    carol = world.account("dex", "carol")
    world.deposit(carol, 1_000 * USD)
    assert world.trade(ALICE, BOB, 10, 80_000).accepted
    world.now_ms += PARAMETERS.trade_validity_ms
    assert world.trade(ALICE, BOB, 1, 80_000).accepted, "the mark is good to the last millisecond"
    world.now_ms += 1
    assert world.trade(ALICE, BOB, 1, 80_000).results[0].reason == Reason.MARK_STALE.name
    assert world.trade(carol, ALICE, 5, 80_000).results[0].reason == Reason.MARK_STALE.name
    assert world.trade(BOB, ALICE, 5, 80_000).accepted


def test_accounts_of_a_member_in_default_may_only_reduce() -> None:
    """Carol's hole of a few dollars is her member's to answer for; it has nothing, and is in default."""
    world = with_provider(two_traders())
    carol = world.account("dex", "carol")
    world.deposit(carol, 140 * USD)
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(carol, BOB, 100, 80_000).accepted
    assert world.trade(ALICE, BOB, 100, 80_000).accepted
    world.prices(BTC=65_000, ETH=2_000)
    world.wait(60 * MINUTE_MS)
    assert world.state.members[DEX].status is MemberStatus.DEFAULTED
    world.prices(BTC=65_000, ETH=2_000)
    assert world.trade(ALICE, BOB, 1, 65_000).results[0].reason == Reason.MEMBER_NOT_ACTIVE.name
    assert world.trade(BOB, ALICE, 100, 65_000).accepted


def awaiting_its_loss() -> tuple[World, AccountKey, AccountKey]:
    """Alice's default is up for auction, and dex will have to answer for what it leaves; carol is its client too."""
    world = with_provider(two_traders(), capacity_minor=1)
    world.state = replace(
        world.state,
        charter=replace(
            world.state.founded,
            parameters=replace(world.state.parameters, close_out_auction_ms=10 * MINUTE_MS),
        ),
    )
    carol, own = world.account("dex", "carol"), house_account(DEX)
    for key in (carol, own):
        world.deposit(key, 1_000 * USD)
    assert world.trade(own, carol, 2, 80_000).accepted
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    assert "AUCTION_OPENED" in [event.kind for event in world.prices(BTC=50_000, ETH=2_000).events]
    return world, carol, own


def test_a_member_does_not_trade_away_to_its_clients_what_it_may_have_to_answer_with() -> None:
    """At the edge of the band a lot bought from a client and sold back at the mark brings it a tenth of the price."""
    world, carol, own = awaiting_its_loss()
    assert world.trade(own, carol, 300, 55_000).results[0].reason == Reason.REDUCE_ONLY.name
    assert world.trade(carol, own, 300, 45_000).results[0].reason == Reason.REDUCE_ONLY.name
    assert world.trade(carol, own, 2, 50_000).accepted, "it may reduce"
    assert world.trade(carol, BOB, 1, 50_000).accepted, "and its clients go on"


def test_once_the_loss_is_allocated_a_member_that_answered_trades_again() -> None:
    world, carol, own = awaiting_its_loss()
    world.deposit(own, 5_000 * USD)
    world.wait(10 * MINUTE_MS)
    assert not any(may_answer(default, DEX) for default in world.state.defaults.values())
    assert world.trade(own, carol, 1, 50_000).accepted


# ------------------------------------------------------------------------------------------------ linked sets


def linked_house() -> World:
    """Alice has two accounts at dex and one elsewhere, margined as one."""
    world = two_traders()
    world.account("dex", "alice2", "alice")
    world.ok(AdmitMember(member=MemberId("other"), name="Other"))
    world.account("other", "alice", "alice")
    link(world, "alice", ALICE, AccountKey("dex/alice2"), AccountKey("other/alice"))
    return world


def test_a_trade_between_two_accounts_of_one_set_adds_no_requirement() -> None:
    world = linked_house()
    assert world.trade(AccountKey("dex/alice2"), ALICE, 100_000, 80_000).accepted
    measured = world.measured("link/alice")
    assert (measured.requirement_minor, measured.cash_minor) == (0, 2_000 * USD - 2 * 160 * USD)
    assert measured.standalone_minor == 2 * 130_000 * USD


def test_the_fees_of_a_trade_inside_one_set_must_be_there() -> None:
    """Each side pays 1.60 a thousand lots: 625,000 lots cost just the 2,000 that there are."""
    world = linked_house()
    inside = replace(GOOD, buyer=AccountKey("dex/alice2"), seller=ALICE, price_ticks=80_000)
    assert submit(world, replace(inside, lots=625_001)).results[0].reason == Reason.MARGIN_INSUFFICIENT.name
    assert submit(world, replace(inside, lots=625_000)).accepted
    assert world.measured("link/alice").cash_minor == 0


def test_the_whole_set_carries_what_one_of_its_accounts_trades() -> None:
    """The account at dex has no money of its own; its sister's 2,000 carry 1,500 lots."""
    world = linked_house()
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(AccountKey("dex/alice2"), BOB, 1_500, 80_000).accepted
    again = world.trade(ALICE, BOB, 100, 80_000)
    assert again.results[0].detail.startswith("link/alice")


def test_a_trade_inside_a_set_may_cross_a_requirement_that_is_not_met_only_by_reducing() -> None:
    world = linked_house()
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(AccountKey("dex/alice2"), BOB, 1_500, 80_000).accepted
    world.prices(BTC=79_000, ETH=2_000)
    inside = world.trade(ALICE, AccountKey("dex/alice2"), 10, 79_000)
    assert inside.results[0].reason == Reason.MARGIN_INSUFFICIENT.name, "it costs fees and frees nothing"
    assert world.trade(BOB, AccountKey("dex/alice2"), 10, 79_000).accepted


# -------------------------------------------------------------------------------------------------- attackers


@pytest.mark.parametrize(
    "price_ticks", [-(10**40), -1, 0, 10**40, 10**4_000], ids=["huge debt", "debt", "zero", "huge", "absurd"]
)
def test_a_price_that_no_book_can_hold_is_outside_the_band(price_ticks: int) -> None:
    world = two_traders()
    for lots in (1, PARAMETERS.trade_lots_max):
        wild = replace(GOOD, price_ticks=price_ticks, lots=lots)
        assert submit(world, wild).results[0].reason == Reason.PRICE_OUTSIDE_BAND.name


def test_a_price_that_no_book_can_hold_is_no_way_around_reduce_only() -> None:
    wild = replace(GOOD, price_ticks=10**40, buyer=DAN)
    assert submit(busy_house(), wild).results[0].reason == Reason.REDUCE_ONLY.name


@pytest.mark.parametrize("lots", [-(10**40), 10**40, 10**4_000], ids=["negative", "huge", "absurd"])
def test_lots_that_no_book_can_hold_are_out_of_range(lots: int) -> None:
    wild = replace(GOOD, lots=lots, price_ticks=80_000)
    assert submit(two_traders(), wild).results[0].reason == Reason.LOTS_OUT_OF_RANGE.name


def test_positions_inside_a_set_may_not_grow_until_a_price_could_overflow_the_book() -> None:
    """Between linked accounts lots cost nothing but fees, so their sum has a limit of its own."""
    world = empty_house(replace(PARAMETERS, trade_fee_bp=0, trade_lots_max=10**18))
    world.ok(AdmitMember(member=DEX, name="Dex"))
    for name in ("alice", "bob"):
        world.account("dex", name, "alice")
    link(world, "alice", ALICE, BOB)
    world.prices(BTC=80_000, ETH=2_000)
    most = position_lots_max(world.state.instruments[BTC_PERP])
    assert world.trade(ALICE, BOB, most, 80_000).accepted
    assert world.trade(ALICE, BOB, 1, 80_000).results[0].reason == Reason.LOTS_OUT_OF_RANGE.name
    assert world.trade(BOB, ALICE, 1, 80_000).accepted, "closing is always possible"
    world.prices(BTC=PRICE_TICKS_MAX, ETH=2_000)
    world.prices(BTC=1, ETH=2_000)


@pytest.mark.parametrize(
    ("field_name", "value", "reason"),
    [
        ("trade_id", "", Reason.NAME_MALFORMED),
        ("trade_id", "a" * 65, Reason.NAME_MALFORMED),
        ("trade_id", "größe", Reason.NAME_MALFORMED),
        ("trade_id", "\ud800", Reason.NAME_MALFORMED),
        ("trade_id", "t1\n", Reason.NAME_MALFORMED),
        ("instrument", "", Reason.INSTRUMENT_UNKNOWN),
        ("instrument", "\ud800/../x", Reason.INSTRUMENT_UNKNOWN),
        ("buyer", "", Reason.ACCOUNT_UNKNOWN),
        ("buyer", "dex", Reason.ACCOUNT_UNKNOWN),
        ("buyer", "dex/alice/cash", Reason.ACCOUNT_UNKNOWN),
        ("seller", "dex/älice", Reason.ACCOUNT_UNKNOWN),
    ],
)
def test_names_that_nobody_has_are_refused(field_name: str, value: str, reason: Reason) -> None:
    change: dict[str, Any] = {field_name: value}
    wrong = replace(GOOD, **change)
    assert submit(two_traders(), wrong).results[0].reason == reason.name


def test_a_future_trades_until_it_expires_and_not_at_its_expiry() -> None:
    world = two_traders()
    (future,) = [i for i in INSTRUMENTS if i.kind is InstrumentKind.FUTURE]
    assert future.expires_ms is not None
    world.now_ms = future.expires_ms - 2_000 - PARAMETERS.resume_after_ms
    world.prices(BTC=80_000, ETH=2_000)
    world.now_ms = future.expires_ms - 1
    assert world.trade(ALICE, BOB, 1, 80_000, BTC_MAR).accepted
    world.now_ms = future.expires_ms
    assert world.trade(ALICE, BOB, 1, 80_000, BTC_MAR).results[0].reason == Reason.INSTRUMENT_NOT_ACTIVE.name


def test_a_batch_of_another_member_cannot_move_my_accounts() -> None:
    world = busy_house()
    stolen = replace(GOOD, buyer=ZOE, seller=ALICE)
    (result,) = submit(world, stolen, member=MemberId("other")).results
    assert result.reason == Reason.ACCOUNT_NOT_YOURS.name


def test_a_deposit_cures_a_set_so_that_it_trades_again() -> None:
    world = below_requirement()
    assert not world.trade(ALICE, BOB, 1, 79_000).accepted
    world.ok(Deposit(account=ALICE, asset=USDC, amount_minor=1_000 * USD))
    assert world.trade(ALICE, BOB, 1, 79_000).accepted


def test_the_builder_submits_for_the_buyers_member() -> None:
    assert trade(ALICE, BOB, 1, 80_000).member == DEX
