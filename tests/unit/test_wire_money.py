"""Margin explained, dues and payments on the wire: what adds up, and what a caller sees of others."""

from decimal import Decimal

import pytest

from clearing.default.dues import dues
from clearing.margin.assess import assess
from clearing.margin.explain import legs
from clearing.model import units
from clearing.model.commands import AdmitMember, RequestWithdrawal
from clearing.model.house import House
from clearing.model.ids import DefaultId, MemberId, SetId
from clearing.model.kinds import Kind
from clearing.model.outcomes import Outcome, accepted, event
from clearing.model.values import Default, Due, MemberPart, Stage
from clearing.server.identity import Identity, Role
from clearing.server.wire import collateral, margin
from clearing.server.wire.violations import RequestInvalid
from clearinghouse.v1 import collateral_service_pb2 as pb
from tests.builders import ALICE, BOB, BTC_MAR, ETH_PERP, USD, USDC, World, link, two_traders

REGULATOR = Identity(house="testhouse", role=Role.REGULATOR, id="rita")
DEX = MemberId("dex")


def member(name: str) -> Identity:
    return Identity(house="testhouse", role=Role.MEMBER, id=name)


def linked() -> World:
    """Alice at dex and her other account at lend, linked, long and short in bitcoin and ether."""
    world = two_traders(100_000 * USD)
    world.ok(AdmitMember(member=MemberId("lend"), name="Lend"))
    other = world.account("lend", "alice", "alice")
    against = world.account("lend", "carl")
    for key in (other, against):
        world.deposit(key, 100_000 * USD)
    world.trade(ALICE, BOB, 1_003, 80_000)
    world.trade(against, other, 401, 80_000)
    world.trade(against, other, 77, 2_000, ETH_PERP)
    world.trade(BOB, ALICE, 55, 80_000, BTC_MAR)
    link(world, "alice", ALICE, other)
    return world


def test_the_parts_of_an_explained_margin_sum_to_it_exactly() -> None:
    house = linked().state
    measured = assess(house, SetId("link/alice"))
    found = margin.explanation(measured, house, REGULATOR)
    for one in found.underlyings:
        parts = [Decimal(leg.scenario_result) for leg in one.legs] + [Decimal(one.other_legs_result)]
        assert sum(parts) == Decimal(one.scenario_result)
        assert Decimal(one.risk) == max(0, -Decimal(one.scenario_result), Decimal(one.minimum))
        assert Decimal(one.other_legs_result) == 0
    assert sum(Decimal(one.risk) for one in found.underlyings) == Decimal(found.risk)
    asked = Decimal(found.risk) - Decimal(found.offset_credit) + Decimal(found.basis_charge)
    assert Decimal(found.maintenance) == max(asked, Decimal(found.floor))
    assert Decimal(found.offset_credit) > 0
    assert Decimal(found.basis_charge) > 0
    assert len(legs(house, measured)) == 4


@pytest.mark.parametrize(("who", "own"), [("dex", 2), ("lend", 2)])
def test_a_member_sees_its_own_legs_of_a_link_and_the_sum_of_the_others(who: str, own: int) -> None:
    house = linked().state
    measured = assess(house, SetId("link/alice"))
    found = margin.explanation(measured, house, member(who))
    seen = [leg for one in found.underlyings for leg in one.legs]
    assert {leg.account.split("/")[1] for leg in seen} == {who}
    assert len(seen) == own
    for one in found.underlyings:
        parts = [Decimal(leg.scenario_result) for leg in one.legs] + [Decimal(one.other_legs_result)]
        assert sum(parts) == Decimal(one.scenario_result)


def test_a_position_that_nets_to_nothing_in_the_set_has_no_part() -> None:
    world = two_traders()
    twin = world.account("dex", "twin", "alice")
    world.deposit(twin, 2_000 * USD)
    world.trade(ALICE, twin, 100, 80_000)
    link(world, "alice", ALICE, twin)
    measured = assess(world.state, SetId("link/alice"))
    assert [leg.result_minor for leg in legs(world.state, measured)] == [0, 0]
    assert not margin.explanation(measured, world.state, REGULATOR).underlyings


# dues -------------------------------------------------------------------------------------------------


def owing() -> House:
    """Dex owes an answer, an assessment and a replenishment; lend one that is paid."""
    world = two_traders()
    default = Default(
        id=DefaultId("d1"),
        stage=Stage.ANSWERING,
        declared_ms=1,
        cycle=1,
        journal_size=1,
        survivors=(),
        sets=(),
        answers=(
            MemberPart(member=DEX, amount_minor=3 * USD),
            MemberPart(member=MemberId("lend"), amount_minor=0),
        ),
        answers_due_ms=5_000,
    )
    called = Due(default=DefaultId("d0"), member=DEX, amount_minor=USD, due_ms=7_000)
    house = world.state
    object.__setattr__(house, "defaults", house.defaults.set(default.id, default))
    object.__setattr__(house, "assessments", house.assessments.set("d0/dex", called))
    object.__setattr__(house, "replenishments", house.replenishments.set("d0/dex", called))
    return house


def test_dues_of_every_kind_are_told_with_their_times() -> None:
    house = owing()
    rows = [collateral.due(row, units.of_settlement(house)) for row in dues(house)]
    assert [(row.member, row.kind, row.amount, row.due_time.seconds) for row in rows] == [
        ("members/dex", pb.DUE_KIND_ANSWER, "3.000000", 5),
        ("members/dex", pb.DUE_KIND_ASSESSMENT, "1.000000", 7),
        ("members/dex", pb.DUE_KIND_REPLENISHMENT, "1.000000", 7),
    ]
    assert len({row.key for row in dues(house)}) == 3


def test_payments_are_read_from_the_answer_and_are_the_callers_alone() -> None:
    unit = units.of_settlement(two_traders().state)
    outcome = Outcome(
        results=(accepted(),),
        events=(
            event(Kind.ANSWER_PAID, "d1 dex", 3 * USD),
            event(Kind.ASSESSMENT_PAID, "d0/dex", USD),
            event(Kind.REPLENISHMENT_PAID, "d0/dex", 2 * USD),
            event(Kind.ASSESSMENT_PAID, "d0/lend", 9 * USD),
            event(Kind.WATERFALL, "d0", 9 * USD),
        ),
    )
    assert [
        (row.kind, row.default, row.amount) for row in collateral.payments(DEX, outcome, unit).payments
    ] == [
        (pb.DUE_KIND_ANSWER, "defaults/d1", "3.000000"),
        (pb.DUE_KIND_ASSESSMENT, "defaults/d0", "1.000000"),
        (pb.DUE_KIND_REPLENISHMENT, "defaults/d0", "2.000000"),
    ]


# withdrawals and deposits -----------------------------------------------------------------------------


def test_a_withdrawal_is_found_by_its_name_only_if_it_is_of_that_account() -> None:
    world = two_traders()
    for own in ("bare", f"{ALICE}/named"):
        world.ok(RequestWithdrawal(withdrawal=own, account=ALICE, asset=USDC, amount_minor=1))
    house = world.state
    name = "members/dex/accounts/{}/withdrawals/{}"
    assert collateral.withdrawal_id(name.format("alice", "bare"), house) == "bare"
    assert collateral.withdrawal_id(name.format("alice", "named"), house) == f"{ALICE}/named"
    assert collateral.withdrawal_id(name.format("bob", "bare"), house) == f"{BOB}/bare"
    shown = [collateral.message(row, house).name for row in house.withdrawals.values()]
    assert set(shown) == {name.format("alice", "bare"), name.format("alice", "named")}


def test_what_is_credited_elsewhere_is_told() -> None:
    world = two_traders()
    request = pb.NotifyDepositRequest(
        account="members/dex/accounts/alice", request_id="r", asset="assets/USDC", amount="1", reference="x"
    )
    command = collateral.parse_deposit(request, world.state)
    assert (command.amount_minor, command.reference) == (USD, "x")
    plain, told = Outcome(results=(accepted(),)), event(Kind.DEPOSITED, BOB)
    assert collateral.deposited(command, plain).account == "members/dex/accounts/alice"
    ported = Outcome(results=(accepted(),), events=(told,))
    assert collateral.deposited(command, ported).account == "members/dex/accounts/bob"


def test_an_amount_that_is_too_fine_is_a_wrong_field() -> None:
    house = two_traders().state
    request = pb.ContributeToPoolRequest(parent="members/dex", request_id="r", amount="0.0000001")
    with pytest.raises(RequestInvalid) as error:
        collateral.parse_contribution(request, house)
    assert set(error.value.fields) == {"amount"}
