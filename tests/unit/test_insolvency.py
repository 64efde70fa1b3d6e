"""Two administrators declare a member in default that cannot pay (§10.3): T0 is now, and its clients are safe."""

from dataclasses import replace

import pytest

from clearing.default.gate import gates
from clearing.model.commands import (
    AcceptPorting,
    AdmitMember,
    ApplyForMembership,
    ApproveProposal,
    DeclareDefault,
    LeaveHouse,
    ProposeChange,
    RequestWithdrawal,
    SetBreaker,
    WindDown,
)
from clearing.model.house import rows_of
from clearing.model.ids import DefaultId, MemberId, SetId, house_account, single_set
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason
from clearing.model.values import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    AccountStatus,
    BreakerState,
    CallKind,
    MemberStatus,
    Stage,
    WithdrawalState,
)
from tests.builders import (
    ANNA,
    BERT,
    USDC,
    World,
    contribute,
    copy_of,
    empty_house,
    fund,
    kinds_of,
    proposing_change,
    provide,
)
from tests.unit.test_defaults import OIL, PARAMETERS, house_of_three, key, short_side_wins
from tests.unit.test_wind_down import ruined

X, Y, Z = MemberId("x"), MemberId("y"), MemberId("z")
D1, D2 = DefaultId("d1"), DefaultId("d2")
OWN = house_account(X)
EXPLOITED = DeclareDefault(member=X, reason="its protocol was exploited")
WITH_AUCTIONS = replace(PARAMETERS, close_out_auction_ms=10 * MINUTE_MS)


def exploited(lots: int = 16) -> World:
    """x's own account is long ``lots`` against a client of x, at R; z provides liquidity; everybody contributed."""
    world = house_of_three({"x": 2_000, "y": 1_000, "z": 100_000}, WITH_AUCTIONS)
    fund(world, skin_in_the_game=50, insurance_fund=50)
    contribute(world, x=100, y=100, z=100)
    provide(world, house_account(Z), 1)
    if lots:
        assert world.trade(OWN, key("x/short"), lots, 1_000, OIL).accepted
    return world


# ----------------------------------------------------------------------------------------------- what happens at T0


def test_at_t0_the_member_is_in_default_its_own_account_declared_and_its_clients_offered() -> None:
    world = exploited()
    outcome = world.ok(EXPLOITED)
    default = world.state.defaults[D1]
    assert (default.stage, default.declared_ms) == (Stage.DECLARED, world.now_ms)
    assert [one.netting_set for one in default.sets] == [single_set(OWN)]
    assert default.survivors == (X, Y, Z), "who is in default is left out when the loss is drawn"
    assert world.state.members[X].status is MemberStatus.DEFAULTED
    assert sorted(world.state.portings) == ["x/long", "x/short"]
    assert [gate.reason for gate in gates(world.state, world.now_ms)] == ["DEFAULT_OPEN d1"]
    assert world.state.auctions, "its positions are sold at any price that the tiers bear"
    told = kinds_of(outcome)
    assert told.index(Kind.DEFAULT_DECLARED.name) < told.index(Kind.MEMBER_DEFAULTED.name)
    assert told.index(Kind.CHANGE_APPROVED.name) < told.index(Kind.DEFAULT_DECLARED.name)


def test_a_member_that_holds_nothing_is_in_default_and_the_event_is_over_at_once() -> None:
    world = exploited(lots=0)
    world.ok(EXPLOITED)
    assert world.state.defaults[D1].stage is Stage.CLOSED
    assert world.state.members[X].status is MemberStatus.DEFAULTED
    assert world.state.accounts[OWN].status is AccountStatus.CLOSED_OUT
    assert world.state.cash(OWN) == 2_000, "what it has left is its own"
    assert not gates(world.state, world.now_ms)


def test_its_clients_move_to_a_member_that_takes_them() -> None:
    world = exploited(lots=0)
    world.ok(EXPLOITED)
    world.ok(AcceptPorting(member=Y, netting_set=SetId("x/long"), account="from-x"))
    assert world.state.cash(key("y/from-x")) == 2_000
    for _ in range(DAY_MS // HOUR_MS):
        world.wait(HOUR_MS)
        world.prices(OIL=1_000)
    assert world.state.accounts[key("x/short")].status is AccountStatus.CLOSED_OUT
    assert world.state.cash(key("x/short")) == 2_000


def test_what_its_account_held_for_withdrawal_comes_back_first() -> None:
    world = exploited(lots=0)
    world.ok(RequestWithdrawal(withdrawal="w", account=OWN, asset=USDC, amount_minor=500))
    world.ok(EXPLOITED)
    assert world.state.withdrawals["w"].state is WithdrawalState.RELEASED
    assert world.state.cash(OWN) == 2_000


def test_a_suspended_member_can_be_declared_too() -> None:
    world = exploited()
    row = replace(world.state.members[X], status=MemberStatus.SUSPENDED, suspended_for="an exploit")
    world.state = replace(world.state, members=world.state.members.set(X, row))
    world.ok(EXPLOITED)
    assert world.state.members[X].status is MemberStatus.DEFAULTED


# ------------------------------------------------------------------------------------------------- to the last tier


def test_the_whole_story_from_t0_to_the_waterfall() -> None:
    """In the window oil falls: what the account then owes is answered, unpaid, by the tiers in their order."""
    world = exploited()
    world.ok(EXPLOITED)
    world.prices(OIL=800)
    assert world.state.cash(OWN) == 2_000 - 16 * 200
    world.wait(10 * MINUTE_MS)
    default = world.state.defaults[D1]
    assert default.stage is Stage.ANSWERING
    assert [(one.member, one.amount_minor) for one in default.answers] == [("x", 1_200)]
    world.wait(HOUR_MS)
    default = world.state.defaults[D1]
    drawn = [(draw.tier, draw.payer, draw.amount_minor) for draw in default.draws]
    assert drawn[:5] == [
        (2, "x", 100),
        (3, "house/skin_in_the_game", 50),
        (4, "house/insurance_fund", 50),
        (5, "y", 100),
        (5, "z", 100),
    ]
    assert sum(amount for _, _, amount in drawn) + default.uncovered_minor == 1_200
    assert X not in {draw.payer for draw in default.draws if draw.tier > 2}
    again = copy_of(world)
    assert rows_of(again.state) == rows_of(world.state)


def test_it_joins_the_event_of_its_cycle_and_what_was_on_offer_is_offered_anew() -> None:
    world = exploited()
    assert world.trade(key("y/long"), key("y/short"), 16, 1_000, OIL).accepted
    world.deposit(OWN, 10_000)
    world.prices(OIL=700)
    (before,) = world.state.auctions
    assert [one.netting_set for one in world.state.defaults[D1].sets] == ["y/long"]
    outcome = world.ok(EXPLOITED)
    assert Kind.AUCTION_VOIDED.name in kinds_of(outcome)
    assert before not in world.state.auctions
    assert [one.netting_set for one in world.state.defaults[D1].sets] == ["y/long", single_set(OWN)]
    assert D2 not in world.state.defaults


def test_an_account_that_a_default_has_already_is_left_to_it() -> None:
    world = exploited()
    world.prices(OIL=700)
    assert [one.netting_set for one in world.state.defaults[D1].sets] == [single_set(OWN)]
    world.ok(EXPLOITED)
    assert len(world.state.defaults[D1].sets) == 1
    assert len(world.state.defaults) == 1
    assert world.state.members[X].status is MemberStatus.DEFAULTED


def test_a_member_whose_account_was_closed_out_joins_the_event_that_closed_it() -> None:
    world = exploited()
    world.prices(OIL=700)
    world.wait(10 * MINUTE_MS)
    assert world.state.defaults[D1].stage is Stage.ANSWERING
    world.ok(EXPLOITED)
    assert D2 not in world.state.defaults
    assert sorted(world.state.portings) == ["x/long", "x/short"]
    world.wait(HOUR_MS)
    assert {draw.tier for draw in world.state.defaults[D1].draws} >= {2, 3, 4, 5}


def test_while_its_account_cannot_be_closed_out_it_is_in_default_and_the_close_out_waits() -> None:
    world = exploited()
    world.ok(SetBreaker(scope=OIL, state=BreakerState.HALTED, reason="an exploit"), ANNA)
    world.ok(EXPLOITED)
    assert world.state.members[X].status is MemberStatus.DEFAULTED
    assert world.state.defaults[D1].stage is Stage.DECLARED
    world.wait(HOUR_MS // 2)
    assert world.state.defaults[D1].stage is Stage.DECLARED
    for administrator in (ANNA, BERT):
        world.ok(SetBreaker(scope=OIL, state=BreakerState.OPEN, reason="a reason"), administrator)
    world.prices(OIL=1_000)
    world.wait(10 * MINUTE_MS)
    assert world.state.defaults[D1].stage is Stage.CLOSED


def test_its_open_call_ends_with_the_declaration() -> None:
    world = exploited()
    world.prices(OIL=990)
    assert f"{CallKind.MARGIN.value}/{OWN}" in world.state.calls
    world.ok(EXPLOITED)
    assert not world.state.calls


# --------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"member": MemberId("nobody")}, Reason.MEMBER_UNKNOWN),
        ({"reason": ""}, Reason.REASON_MALFORMED),
        ({"reason": "a\nb"}, Reason.REASON_MALFORMED),
        ({"reason": "x" * 501}, Reason.REASON_MALFORMED),
    ],
)
def test_a_member_that_is_there_and_a_reason_are_needed(changes: dict[str, str], reason: Reason) -> None:
    assert exploited().reason(replace(EXPLOITED, **changes)) == reason.name  # type: ignore[arg-type]


def test_who_is_no_member_is_not_declared_and_nobody_twice() -> None:
    world = exploited(lots=0)
    world.ok(ApplyForMembership(member=MemberId("new"), name="New"))
    assert world.reason(replace(EXPLOITED, member=MemberId("new"))) == Reason.MEMBER_NOT_ADMITTED.name
    world.ok(EXPLOITED)
    assert world.reason(EXPLOITED) == Reason.MEMBER_NOT_ACTIVE.name


def test_who_left_is_not_declared() -> None:
    world = empty_house()
    world.ok(AdmitMember(member=X, name="x"))
    world.ok(LeaveHouse(member=X))
    assert world.reason(EXPLOITED) == Reason.MEMBER_LEFT.name


def test_while_the_house_is_set_up_one_administrator_is_enough() -> None:
    world = empty_house()
    world.ok(AdmitMember(member=X, name="x"))
    world.ok(EXPLOITED, ANNA)
    assert world.state.members[X].status is MemberStatus.DEFAULTED


def test_it_takes_two_administrators_and_is_tried_when_it_is_proposed() -> None:
    world = exploited()
    assert world.send(EXPLOITED, ANNA).results[0].reason == Reason.TWO_ADMINISTRATORS_NEEDED.name
    proposal = proposing_change(EXPLOITED, "p")
    assert isinstance(proposal, ProposeChange)
    world.ok(proposal, ANNA)
    assert not world.state.defaults, "what was tried has not happened"
    assert world.reason(ApproveProposal(proposal="p"), ANNA) == Reason.SAME_ADMINISTRATOR.name
    world.ok(ApproveProposal(proposal="p"), BERT)
    assert world.state.members[X].status is MemberStatus.DEFAULTED


def test_a_house_that_was_wound_down_declares_nobody() -> None:
    world = ruined()
    world.ok(WindDown(reason="nobody is left to pay"))
    assert world.reason(replace(EXPLOITED, member=Y)) == Reason.HOUSE_WOUND_DOWN.name


def test_a_member_that_fails_while_another_loss_is_open_is_the_next_event() -> None:
    world = short_side_wins(house_of_three({"y": 50}), "x")
    assert world.state.defaults[D1].stage is Stage.ANSWERING
    world.ok(replace(EXPLOITED, member=Y))
    assert world.state.defaults[D2].stage is Stage.CLOSED
    world.wait(HOUR_MS)
    assert not {draw.payer for draw in world.state.defaults[D1].draws if draw.tier in (5, 7)} & {"y"}
