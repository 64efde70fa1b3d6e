"""The end of the house: what two administrators may end, who pays what no tier could, and what is left to do."""

from dataclasses import replace

import pytest

from clearing import chart
from clearing.decide.due import next_due_ms
from clearing.decide.recovery import repayments
from clearing.default.gate import gates
from clearing.default.wind_down import cash_at_hand, shares
from clearing.market.outage import outage_of
from clearing.model.commands import (
    AdmitMember,
    ApproveProposal,
    Command,
    ContributeToPool,
    Deposit,
    FundHouse,
    HouseMoney,
    LeaveHouse,
    LinkAccounts,
    ListAsset,
    MoveCash,
    NewTrade,
    OpenAccount,
    ProposeParameters,
    PublishFunding,
    RecordNonDefaultLoss,
    RecordRecovery,
    ReplaceLostAsset,
    RequestWithdrawal,
    SetBreaker,
    SizePool,
    SubmitTrades,
    SuspendMember,
    UnlinkAccounts,
    WindDown,
)
from clearing.model.draft import Draft
from clearing.model.house import Put
from clearing.model.ids import AccountKey, AssetId, DefaultId, MemberId, ParticipantId, house_account
from clearing.model.kinds import Kind
from clearing.model.values import DAY_MS, HOUR_MS, BreakerState, Claim, Default, Stage, WoundDown
from ledger.entry import transfer
from tests.builders import (
    ALICE,
    ANNA,
    BERT,
    BOB,
    BTC_PERP,
    ETH,
    ETHER,
    SOURCES,
    START_MS,
    USD,
    USDC,
    World,
    contribute,
    fund,
    kinds_of,
    link,
    pay_out,
    proposing_change,
    publication,
    two_traders,
)
from tests.unit.test_auctions import on_offer
from tests.unit.test_defaults import OIL, house_of_three, key, short_side_wins
from tests.unit.test_options import CALL, TICK, holding, mark

D1, D2 = DefaultId("d1"), DefaultId("d2")
DEX = MemberId("dex")
END = WindDown(reason="nobody is left to pay")


def ruined(**contributions: int) -> World:
    """D2 is left with 200 that no tier pays. Y's clients hold 2 lots against each other, and one of them ether."""
    world = house_of_three({"y": 1_000})
    contribute(world, **contributions)
    world.ok(ListAsset(asset=ETHER))
    world.deposit(key("y/long"), 10**18, ETH)
    assert world.trade(key("y/long"), key("y/short"), 2, 1_000, OIL).accepted
    short_side_wins(world, "x")
    world.wait(HOUR_MS)
    world.wait(DAY_MS)
    world.prices(OIL=700)
    assert world.state.defaults[D2].uncovered_minor == 200
    return world


def owing(world: World, *amounts_minor: int) -> World:
    """Losses that nobody can pay: what custody held of the amounts is gone."""
    draft = Draft(house=world.state, request_id="loss", actor="test", now_ms=world.now_ms)
    for number, amount in enumerate(amounts_minor, 1):
        default = Default(
            id=DefaultId(f"d{number}"),
            stage=Stage.RECOVERING,
            declared_ms=world.now_ms,
            cycle=1,
            journal_size=1,
            survivors=(),
            sets=(),
            uncovered_minor=amount,
        )
        legs = transfer(chart.uncovered(default.id, USDC), chart.custody(USDC), amount)
        draft.record(Kind.WATERFALL, Put("defaults", default.id, default), legs=legs)
    world.state = draft.house
    world.entries += draft.entries
    return world


def cash(world: World, *names: str) -> list[int]:
    return [world.state.cash(key(name)) for name in names]


def request(account: AccountKey, amount_minor: int, name: str = "w1") -> RequestWithdrawal:
    asset = ETH if amount_minor >= 10**17 else USDC
    return RequestWithdrawal(withdrawal=name, account=account, asset=asset, amount_minor=amount_minor)


def shut_by(world: World) -> list[str]:
    return [gate.reason.split()[0] for gate in gates(world.state, world.now_ms)]


# ------------------------------------------------------------------------------------------------ when it is done


def test_a_house_that_owes_nobody_is_not_wound_down() -> None:
    assert two_traders().reason(END) == "NOTHING_UNCOVERED"


def test_a_reason_is_needed() -> None:
    assert owing(two_traders(), 1).reason(WindDown(reason="")) == "REASON_MALFORMED"


def test_it_takes_two_administrators() -> None:
    world = owing(two_traders(), 1)
    assert world.send(END, ANNA).results[0].reason == "TWO_ADMINISTRATORS_NEEDED"
    world.ok(proposing_change(END, "c1"), ANNA)
    assert world.state.wound_down is None
    assert world.send(ApproveProposal(proposal="c1"), ANNA).results[0].reason == "SAME_ADMINISTRATOR"
    world.ok(ApproveProposal(proposal="c1"), BERT)
    assert world.state.wound_down == WoundDown(at_ms=world.now_ms, reason=END.reason)


def test_no_loss_may_still_be_open_nor_an_assessment_unpaid() -> None:
    world = short_side_wins(house_of_three(), "x")
    assert world.state.defaults[D1].stage is Stage.ANSWERING
    assert world.reason(END) == "DEFAULT_OPEN"
    world.wait(HOUR_MS)
    assert sorted(world.state.assessments) == ["d1/y", "d1/z"]
    assert world.reason(END) == "DEFAULT_OPEN"


def test_a_house_ends_once() -> None:
    world = owing(two_traders(), 1)
    for name in ("c1", "c2"):
        world.ok(proposing_change(END, name), ANNA)
    world.ok(ApproveProposal(proposal="c1"), BERT)
    assert world.reason(ApproveProposal(proposal="c2"), BERT) == "HOUSE_WOUND_DOWN"
    assert world.reason(END) == "HOUSE_WOUND_DOWN"
    assert world.send(END, ANNA).results[0].reason == "HOUSE_WOUND_DOWN"


# ------------------------------------------------------------------------------------------------ what it does


def test_everything_ends_and_who_has_cash_pays_in_proportion() -> None:
    """What d2 lacks is what z never paid of its assessment; z's clients pay like anybody else."""
    world = ruined()
    names = ("x/short", "y/house", "y/long", "y/short", "z/long", "z/short")
    before = cash(world, *names)
    assert before == [4_667, 800, 1_400, 2_333, 2_000, 2_000]
    outcome = world.ok(END)
    assert world.state.defaults[D2].uncovered_minor == 0
    assert world.state.balance(chart.uncovered(D2, USDC)) == 0
    paid = [had - has for had, has in zip(before, cash(world, *names), strict=True)]
    assert paid == [71, 12, 21, 36, 30, 30], "200 of 13,200: 70.7, 12.1, 21.2, 35.3, 30.3, 30.3"
    assert not any(world.state.positions(key(name)) for name in names)
    assert world.state.balance(chart.collateral(key("y/long"), ETH)) == 10**18
    assert not world.state.portings, "z's clients were on offer"
    assert kinds_of(outcome)[:4] == [
        "CHANGE_APPROVED",
        "HOUSE_WOUND_DOWN",
        "POSITIONS_WOUND_DOWN",
        "LOSS_SHARED",
    ]
    assert world.state.balance(chart.custody(USDC)) == sum(cash(world, *names))


def test_a_linear_position_ends_without_cash_and_an_option_at_its_mark() -> None:
    world = holding(10)
    assert world.trade(ALICE, BOB, 5, 80_000).accepted
    worth = 10 * mark(world) * TICK
    owing(world, 2)
    alice, bob = world.state.cash(ALICE), world.state.cash(BOB)
    world.ok(END)
    ended = [one for one in world.entries if one.kind == Kind.POSITIONS_WOUND_DOWN]
    assert [one.references for one in ended] == [(CALL,), (BTC_PERP,)]
    assert not any(leg.account.unit == USDC for leg in ended[1].legs)
    assert (world.state.cash(ALICE), world.state.cash(BOB)) == (alice + worth - 1, bob - worth - 1)
    assert not world.state.positions(ALICE)
    assert not world.state.positions(BOB)


def test_who_cannot_pay_for_the_options_it_wrote_owes_it() -> None:
    """Bob has ether for his margin; what he owes in cash when his options end is not shared."""
    world = holding(1_000, cash_minor=7_000 * USD)
    world.deposit(BOB, 100 * 10**18, ETH)
    world.prices(BTC=160_000, ETH=2_000, BTCVOL=6_000)
    owed = world.state.cash(BOB) - 1_000 * mark(world) * TICK
    assert owed < 0
    owing(world, 100 * USD)
    world.ok(END)
    assert world.state.cash(BOB) == owed
    assert world.state.defaults[D1].claims[0].payer == ALICE
    assert not world.state.calls
    assert next_due_ms(world.state) is None
    assert world.reason(request(BOB, 10**18)) == "WITHDRAWAL_EXCEEDS", "its ether stands for what it owes"
    assert shut_by(world) == ["NEGATIVE_CASH"]
    assert world.reason(request(ALICE, 1)) == "GATE_SHUT"
    fund(world, capital=-owed)
    world.ok(request(ALICE, world.state.cash(ALICE)))


def test_what_was_begun_ends() -> None:
    world = on_offer()
    world.ok(request(BOB, 100 * USD))
    half = NewTrade(
        trade_id="h1",
        instrument=BTC_PERP,
        buyer=BOB,
        seller=AccountKey("desk/provider"),
        lots=1,
        price_ticks=76_000,
        executed_ms=START_MS,
        trade_ref="r1",
    )
    world.do(SubmitTrades(member=DEX, trades=(half,)))
    assert world.state.halves
    assert world.state.auctions
    assert world.state.liquidations
    owing(world, 1)
    bob, held = world.state.cash(BOB), 100 * USD
    outcome = world.ok(END)
    assert world.state.cash(BOB) in (bob + held, bob + held - 1), "a hold that was not sent is given back"
    state = world.state
    assert not (state.auctions)
    assert not (state.bids)
    assert not (state.liquidations)
    assert not (state.halves)
    assert not (state.half_refs)
    assert {"AUCTION_VOIDED", "WITHDRAWAL_RELEASED", "HALF_LAPSED"} <= set(kinds_of(outcome))
    assert not any(state.held[one] for one in state.held)


def test_a_notice_to_unlink_ends() -> None:
    world = two_traders()
    other = world.account("dex", "alice2", "alice")
    link(world, "alice", ALICE, other)
    world.ok(UnlinkAccounts(member=DEX, participant=ParticipantId("alice")))
    owing(world, 1)
    world.ok(END)
    assert not world.state.unlinkings
    world.wait(DAY_MS)
    assert world.state.accounts[ALICE].netting_set == world.state.accounts[other].netting_set


def test_nothing_is_put_back_into_the_pool_any_more() -> None:
    world = ruined(y=50)
    assert [due.member for due in world.state.replenishments.values()] == ["y"]
    world.ok(END)
    assert not world.state.replenishments
    world.wait(30 * DAY_MS)
    assert len(world.state.defaults) == 2


def test_an_outage_ends_and_none_begins_any_more() -> None:
    world = owing(two_traders(), 1)
    world.wait(2 * HOUR_MS)
    assert shut_by(world) == ["OUTAGE", "MARKS_STALE", "LOSS_UNCOVERED"]
    world.ok(END)
    for milliseconds in (0, 30 * DAY_MS):
        world.wait(milliseconds)
        assert outage_of(world.state, world.now_ms) is None
        assert not gates(world.state, world.now_ms)


# ------------------------------------------------------------------------------------------------ who pays


def test_parts_are_rounded_by_largest_remainder_over_all_losses_together() -> None:
    """6 of 100 cash: 1.8, 1.8 and 2.4 are 2, 2 and 2, though each loss of 3 alone would round otherwise."""
    at_hand = {key("m/a"): 30, key("m/b"): 30, key("m/c"): 40}
    found = shares({D1: 3, D2: 3}, at_hand)
    assert [sum(found[one].values()) for one in (D1, D2)] == [3, 3]
    paid = {one: sum(parts.get(one, 0) for parts in found.values()) for one in at_hand}
    assert paid == {key("m/a"): 2, key("m/b"): 2, key("m/c"): 2}


def test_nobody_pays_more_than_it_has_and_the_rest_is_left_in_proportion() -> None:
    found = shares({D1: 90, D2: 30}, {key("m/a"): 30, key("m/b"): 10})
    assert {one: sum(parts.values()) for one, parts in found.items()} == {D1: 30, D2: 10}
    assert sum(parts.get(key("m/b"), 0) for parts in found.values()) == 10


@pytest.mark.parametrize("amount", [39, 40, 41])
def test_cash_is_taken_to_the_last_unit_and_not_beyond(amount: int) -> None:
    found = shares({D1: amount}, {key("m/a"): 30, key("m/b"): 10})
    assert sum(found[D1].values()) == min(amount, 40)


def test_where_nobody_has_cash_nothing_is_paid() -> None:
    assert shares({D1: 5}, {}) == {D1: {}}


def test_the_cash_of_a_linked_set_is_one() -> None:
    world = two_traders()
    other = world.account("dex", "alice2", "alice")
    link(world, "alice", ALICE, other)
    assert world.trade(other, BOB, 10, 80_000).accepted
    world.prices(BTC=79_000, ETH=2_000)
    assert world.state.cash(other) < 0
    at_hand = cash_at_hand(world.state)
    assert at_hand == {
        ALICE: world.state.cash(ALICE) + world.state.cash(other),
        BOB: world.state.cash(BOB),
    }


def test_what_all_cash_cannot_pay_stays_uncovered_and_only_collateral_leaves() -> None:
    world = two_traders()
    world.deposit(ALICE, 10**18, ETH)
    fund(world, insurance_fund=1)
    owing(world, 3_000 * USD, 1_000 * USD + 1)
    world.ok(END)
    assert (world.state.cash(ALICE), world.state.cash(BOB)) == (0, 0)
    assert sum(one.uncovered_minor for one in world.state.defaults.values()) == 1
    assert shut_by(world) == ["LOSS_UNCOVERED"]
    assert {gate.scope for gate in gates(world.state, world.now_ms)} == {"outflows of cash"}
    world.deposit(ALICE, 5)
    assert world.reason(request(ALICE, 5)) == "GATE_SHUT"
    world.ok(request(ALICE, 10**18))
    pay_out(world, "w1")
    last = next(one.id for one in world.state.defaults.values() if one.uncovered_minor)
    world.ok(RecordRecovery(default=last, amount_minor=1))
    assert not gates(world.state, world.now_ms)
    world.ok(request(ALICE, 5, "w2"))


# ------------------------------------------------------------------------------------------------ afterwards


def test_a_recovery_repays_first_who_shared_the_loss() -> None:
    world = ruined()
    world.ok(END)
    claims = {claim.payer: claim.amount_minor for claim in world.state.defaults[D2].claims}
    assert sum(claims.values()) == 200
    assert {c.tier for c in world.state.defaults[D2].claims} == {9}
    payer = AccountKey("x/short")
    assert world.state.balance(chart.account_claim(payer, USDC)) == claims[payer] + sum(
        c.amount_minor for c in world.state.defaults[D1].claims if c.payer == payer
    )
    before = {name: world.state.cash(AccountKey(name)) for name in claims}
    world.ok(RecordRecovery(default=D2, amount_minor=100))
    repaid = {name: world.state.cash(AccountKey(name)) - had for name, had in before.items()}
    assert sum(repaid.values()) == 100
    assert all(abs(2 * repaid[name] - claims[name]) <= 2 for name in claims), "half of every claim"
    world.ok(RecordRecovery(default=D2, amount_minor=100))
    assert world.state.defaults[D2].stage is Stage.CLOSED
    assert {name: world.state.cash(AccountKey(name)) - had for name, had in before.items()} == claims


def test_tier_nine_is_repaid_before_the_winners() -> None:
    world = owing(two_traders(), 10)
    world.ok(END)
    shared = world.state.defaults[D1].claims
    assert [(one.tier, one.payer, one.amount_minor) for one in shared] == [(9, ALICE, 5), (9, BOB, 5)]
    winner = Claim(tier=8, payer=BOB, amount_minor=4)
    paid, estate = repayments(replace(world.state.defaults[D1], claims=(winner, *shared)), 13)
    assert [(one.tier, one.payer, one.amount_minor) for one in paid] == [
        (9, ALICE, 5),
        (9, BOB, 5),
        (8, BOB, 3),
    ]
    assert estate == 0


def test_what_is_left_is_withdrawn_however_old_the_marks_are() -> None:
    world = ruined()
    assert world.reason(request(key("y/short"), 1)) == "GATE_SHUT"
    world.ok(END)
    world.wait(30 * DAY_MS)
    for number, name in enumerate(("x/short", "y/house", "y/long", "y/short", "z/long", "z/short")):
        world.ok(request(key(name), world.state.cash(key(name)), f"w{number}"))
        pay_out(world, f"w{number}")
    world.ok(request(key("y/long"), 10**18, "ether"))
    pay_out(world, "ether")
    assert [world.state.balance(chart.custody(one)) for one in (USDC, ETH)] == [0, 0]


def test_a_halt_still_holds_everything() -> None:
    world = owing(two_traders(), 1)
    world.deposit(ALICE, 10**18, ETH)
    world.ok(END)
    world.ok(SetBreaker(scope="*", state=BreakerState.HALTED, reason="a key was stolen"), ANNA)
    assert [world.reason(request(ALICE, amount)) for amount in (1, 10**18)] == ["GATE_SHUT"] * 2
    for administrator in (ANNA, BERT):
        world.ok(SetBreaker(scope="*", state=BreakerState.OPEN, reason="found"), administrator)
    world.ok(request(ALICE, 1))


REFUSED: tuple[Command, ...] = (
    OpenAccount(member=DEX, account="new", participant=ParticipantId("new")),
    LinkAccounts(member=DEX, participant=ParticipantId("alice"), accounts=(ALICE, BOB)),
    SubmitTrades(member=DEX, trades=()),
    MoveCash(member=DEX, source=ALICE, target=BOB, amount_minor=1),
    SizePool(),
    ContributeToPool(member=DEX, amount_minor=1),
    PublishFunding(instrument=BTC_PERP, rate_ppm=1),
    SuspendMember(member=DEX, reason="why"),
    AdmitMember(member=MemberId("new"), name="New"),
    ListAsset(asset=replace(ETHER, id=AssetId("WETH"))),
)


@pytest.mark.parametrize("command", REFUSED, ids=lambda command: type(command).__name__)
def test_nothing_new_is_taken_any_more(command: Command) -> None:
    world = owing(two_traders(), 1)
    world.ok(END)
    assert world.reason(command, ANNA) == "HOUSE_WOUND_DOWN"


def test_neither_prices_nor_parameters_are_taken_any_more() -> None:
    world = owing(two_traders(), 1)
    world.ok(END)
    published = publication("testhouse", SOURCES[0], world.now_ms, 99, {})
    assert world.reason(published) == "HOUSE_WOUND_DOWN"
    parameters = ProposeParameters(proposal="p", parameters=world.state.parameters, reason="why")
    assert world.reason(parameters, ANNA) == "HOUSE_WOUND_DOWN"


def test_what_is_owed_lost_and_found_is_still_recorded() -> None:
    world = owing(two_traders(), 1)
    world.ok(END)
    world.ok(Deposit(account=ALICE, asset=USDC, amount_minor=1))
    world.ok(RecordNonDefaultLoss(asset=USDC, amount_minor=5, reason="theft"))
    assert shut_by(world) == ["NON_DEFAULT_LOSS"]
    world.ok(ReplaceLostAsset(asset=USDC, amount_minor=4))
    world.ok(FundHouse(into=HouseMoney.CAPITAL, amount_minor=1))
    assert not gates(world.state, world.now_ms)


def test_a_member_without_anything_left_leaves_and_gets_its_contribution_back() -> None:
    world = two_traders()
    world.ok(ContributeToPool(member=DEX, amount_minor=7))
    owing(world, 1)
    world.ok(END)
    for number, one in enumerate((ALICE, BOB)):
        world.ok(request(one, world.state.cash(one), f"w{number}"))
        pay_out(world, f"w{number}")
    world.ok(LeaveHouse(member=DEX))
    assert world.state.cash(house_account(DEX)) == 7


def test_capital_is_not_put_back_at_risk_after_the_end() -> None:
    world = house_of_three({"y": 1_000})
    fund(world, skin_in_the_game=50)
    short_side_wins(world, "x")
    world.wait(HOUR_MS)
    world.wait(DAY_MS)
    world.prices(OIL=700)
    assert any(claim.tier == 3 for claim in world.state.defaults[D1].claims)
    world.ok(END)
    world.ok(FundHouse(into=HouseMoney.CAPITAL, amount_minor=50))
    world.wait(60 * DAY_MS)
    assert world.state.balance(chart.house_capital(USDC)) == 50
