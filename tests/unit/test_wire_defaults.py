"""What a caller sees of a default: the event and its tiers always, other members' money never."""

from dataclasses import replace

import pytest

from clearing.model.house import House
from clearing.model.ids import DefaultId, MemberId, SetId
from clearing.model.values import (
    Call,
    CallKind,
    Claim,
    Default,
    DefaultedSet,
    Draw,
    MemberPart,
    Stage,
    TierResult,
)
from clearing.server.identity import Identity, Role
from clearing.server.wire import defaults, margin
from clearinghouse.v1 import default_service_pb2
from tests.builders import two_traders

DEX, OTHER = MemberId("dex"), MemberId("other")
REGULATOR = Identity(house="testhouse", role=Role.REGULATOR, id="rita")


def member(name: str) -> Identity:
    return Identity(house="testhouse", role=Role.MEMBER, id=name)


def parts(dex: int, other: int) -> tuple[MemberPart, ...]:
    return MemberPart(member=DEX, amount_minor=dex), MemberPart(member=OTHER, amount_minor=other)


DEFAULT = Default(
    id=DefaultId("d1"),
    stage=Stage.RECOVERING,
    declared_ms=1_584_000_000_500,
    cycle=3,
    journal_size=40,
    survivors=(OTHER,),
    sets=(DefaultedSet(netting_set=SetId("dex/alice"), equity_minor=-5_000_000, weights=parts(2, 1)),),
    answers=parts(0, 7),
    losses=parts(4_000_000, 1_000_000),
    draws=(
        Draw(tier=2, payer="dex", amount_minor=1_000_000),
        Draw(tier=3, payer="house/skin_in_the_game", amount_minor=1_500_000),
        Draw(tier=5, payer="other", amount_minor=2_000_000),
        Draw(tier=8, payer="other/w1", amount_minor=500_000),
    ),
    tiers=(TierResult(tier=2, name="x", available_minor=9, paid_minor=1, passed_on_minor=0),),
    claims=(
        Claim(tier=8, payer="other/w1", amount_minor=500_000),
        Claim(tier=0, payer="dex", amount_minor=3),
    ),
)


@pytest.fixture(scope="module")
def house() -> House:
    return two_traders().state


def payers(found: default_service_pb2.Default) -> list[str]:
    return [draw.payer for draw in found.draws]


def test_a_regulator_sees_who_paid_and_who_is_to_be_repaid(house: House) -> None:
    found = defaults.message(DEFAULT, house, REGULATOR)
    assert payers(found) == [
        *("members/dex", "house/skin_in_the_game", "members/other", "members/other/accounts/w1"),
    ]
    assert [(claim.payer, claim.amount) for claim in found.claims] == [
        ("members/other/accounts/w1", "0.500000"),
        ("members/dex", "0.000003"),
    ]
    assert [row.netting_set for row in found.netting_sets] == ["nettingSets/dex~alice"]
    assert (found.loss, found.netting_sets[0].equity) == ("5.000000", "-5.000000")
    assert found.declare_time.ToMilliseconds() == DEFAULT.declared_ms
    assert not found.HasField("answers_due_time")


@pytest.mark.parametrize(
    ("name", "paid", "owed_sets"),
    [
        ("dex", ["members/dex", "house/skin_in_the_game"], 1),
        ("other", ["house/skin_in_the_game", "members/other", "members/other/accounts/w1"], 0),
        ("third", ["house/skin_in_the_game"], 0),
    ],
)
def test_a_member_sees_its_own_money_and_the_houses(
    house: House, name: str, paid: list[str], owed_sets: int
) -> None:
    found = defaults.message(DEFAULT, house, member(name))
    assert payers(found) == paid
    assert len(found.netting_sets) == owed_sets
    for shown in (found.losses, found.answers, *(row.weights for row in found.netting_sets)):
        assert {part.member for part in shown} <= {f"members/{name}"}
    assert {claim.payer.split("/")[1] for claim in found.claims} <= {name}


def test_everyone_sees_the_loss_and_what_each_tier_did(house: House) -> None:
    seen = [defaults.message(DEFAULT, house, caller) for caller in (REGULATOR, member("third"))]
    for found in seen:
        assert (found.loss, found.uncovered, found.tiers[0].paid) == ("5.000000", "0.000000", "0.000001")
        assert found.stage == default_service_pb2.STAGE_RECOVERING


@pytest.mark.parametrize("stage", Stage)
def test_every_stage_has_its_word(house: House, stage: Stage) -> None:
    found = defaults.message(replace(DEFAULT, stage=stage), house, REGULATOR)
    assert default_service_pb2.Stage.Name(found.stage) == f"STAGE_{stage.name}"


def test_a_member_sees_its_own_part_of_a_call_on_a_linked_set(house: House) -> None:
    call = Call(
        kind=CallKind.MARGIN,
        netting_set=SetId("link/pat"),
        amount_minor=3_000_000,
        parts=parts(2_000_000, 1_000_000),
        issued_ms=1,
        due_ms=2,
    )
    for caller, shown in (
        (REGULATOR, {"members/dex", "members/other"}),
        (member("other"), {"members/other"}),
    ):
        found = margin.call(call, house, caller)
        assert {part.member for part in found.parts} == shown
        assert (found.netting_set, found.amount) == ("nettingSets/link~pat", "3.000000")
