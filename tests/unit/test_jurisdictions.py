"""Under whose law a member stands, and which members a regulator sees: its grant, from the command to the answers."""

from dataclasses import replace
from pathlib import Path
from re import findall

import pytest

from clearing.decide import jurisdictions
from clearing.model.commands import (
    AdmitMember,
    ApplyForMembership,
    Command,
    GrantRegulator,
    GroupMember,
    LeaveHouse,
    ProposeParameters,
    ReinstateMember,
    SetJurisdiction,
    SuspendMember,
)
from clearing.model.ids import MemberId, RegulatorId
from clearing.model.outcomes import Reason
from clearing.model.values import Grant, MemberStatus
from clearing.server.calls import scoped
from clearing.server.identity import Identity, Role, parse_spiffe
from clearing.server.wire import admin, changes, members
from clearing.server.wire.violations import RequestInvalid, Violations
from clearinghouse.v1 import admin_service_pb2 as pb
from tests.builders import ALICE, ANNA, BOB, World, kinds_of, proposing_change, two_traders
from tests.unit.test_wind_down import END, owing

DEX, OTHER = MemberId("dex"), MemberId("other")
RITA = RegulatorId("rita")


def two_members() -> World:
    world = two_traders()
    world.ok(AdmitMember(member=OTHER, name="Other"))
    return world


def stating(jurisdiction: str, member: str = "other") -> SetJurisdiction:
    return SetJurisdiction(member=MemberId(member), jurisdiction=jurisdiction)


def granting(*granted: str, regulator: str = "rita") -> GrantRegulator:
    return GrantRegulator(regulator=RegulatorId(regulator), jurisdictions=granted)


def caller(name: str = "regulator/rita") -> Identity:
    return parse_spiffe(f"spiffe://h/{name}")


# what is decided ------------------------------------------------------------------------------------------


def test_two_administrators_state_a_jurisdiction_and_that_it_is_not_stated() -> None:
    world = two_members()
    before = world.state.members[OTHER]
    assert before.jurisdiction == ""
    assert world.send(stating("CH"), ANNA).results[0].reason == "TWO_ADMINISTRATORS_NEEDED"
    assert kinds_of(world.ok(stating("CH"))) == ["CHANGE_APPROVED", "JURISDICTION_SET"]
    assert world.state.members[OTHER] == replace(before, jurisdiction="CH")
    world.ok(GroupMember(member=OTHER, group="north"))
    world.ok(SuspendMember(member=OTHER, reason="why"), ANNA)
    world.ok(ReinstateMember(member=OTHER, reason="why"))
    assert world.state.members[OTHER].jurisdiction == "CH"
    world.ok(stating(""))
    assert world.state.members[OTHER] == replace(before, group="north")


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (stating("CH", "nobody"), Reason.MEMBER_UNKNOWN),
        (stating("CH", "applicant"), Reason.MEMBER_NOT_ADMITTED),
        *(
            (stating(code), Reason.JURISDICTION_MALFORMED)
            for code in ("C", "CHE", "ch", "Ch", "C1", "CH ", "CH\n", "ÄÖ", "--")
        ),
        (granting("CH", regulator="Rita"), Reason.NAME_MALFORMED),
        (granting("CH", regulator=""), Reason.NAME_MALFORMED),
        (granting("CH", regulator="r" * 33), Reason.NAME_MALFORMED),
        *((granting("CH", code), Reason.JURISDICTION_MALFORMED) for code in ("", "che", "DEU", "D", "d1")),
        (granting(), Reason.GRANT_UNKNOWN),
    ],
)
def test_what_is_refused_and_why(command: Command, reason: Reason) -> None:
    world = two_members()
    world.ok(ApplyForMembership(member=MemberId("applicant"), name="Applicant"))
    assert world.reason(command) == reason.name


def test_every_reason_given_here_is_tested_here() -> None:
    given = findall(r"Reason\.([A-Z_]+)", Path(jurisdictions.__file__).read_text(encoding="utf-8"))
    tested = findall(r"Reason\.([A-Z_]+)", Path(__file__).read_text(encoding="utf-8"))
    assert set(given) <= set(tested)


def test_who_left_still_stands_under_a_law() -> None:
    world = two_members()
    world.ok(LeaveHouse(member=OTHER))
    world.ok(stating("CH"))
    assert world.state.members[OTHER].status is MemberStatus.LEFT


def test_a_grant_is_in_order_replaces_the_one_before_and_is_taken_away_by_none() -> None:
    world = two_members()
    assert kinds_of(world.ok(granting("LI", "CH", "LI"))) == ["CHANGE_APPROVED", "REGULATOR_GRANTED"]
    assert dict(world.state.grants) == {RITA: Grant(regulator=RITA, jurisdictions=("CH", "LI"))}
    world.ok(granting("DE", regulator="r" * 32))
    world.ok(granting("FR"))
    assert world.state.grants[RITA].jurisdictions == ("FR",)
    world.ok(granting())
    assert list(world.state.grants) == ["r" * 32]
    assert world.reason(granting()) == Reason.GRANT_UNKNOWN.name


def test_a_house_that_was_wound_down_still_says_who_sees_what() -> None:
    world = owing(two_traders(), 1)
    world.ok(END)
    world.ok(stating("CH", "dex"))
    world.ok(granting("CH"))
    assert scoped(caller(), world.state).members == frozenset({DEX})


# whom a regulator sees -----------------------------------------------------------------------------------


def test_a_regulator_sees_all_until_it_is_granted_something_and_then_that() -> None:
    world = two_members()
    assert scoped(caller(), world.state).sees_all
    world.ok(granting("CH", "LI"))
    assert scoped(caller(), world.state).members == frozenset(), "no member says where it is"
    world.ok(stating("CH", "dex"))
    assert scoped(caller(), world.state).members == frozenset({DEX})
    world.ok(stating("LI"))
    narrow = scoped(caller(), world.state)
    assert narrow.members == frozenset({DEX, OTHER})
    assert not narrow.sees_all, "all there are is not all there may be"
    world.ok(stating("DE"))
    assert scoped(narrow, world.state).members == frozenset({DEX})
    world.ok(granting())
    assert scoped(narrow, world.state).members is None


def test_a_grant_is_of_the_regulator_that_it_names() -> None:
    world = two_members()
    world.ok(granting("CH"))
    assert scoped(caller("regulator/zoe"), world.state).sees_all
    assert scoped(caller("administrator/rita"), world.state).sees_all
    assert scoped(caller("member/rita"), world.state).members == frozenset({MemberId("rita")})


@pytest.mark.parametrize(
    ("role", "seen"),
    [
        (Role.MEMBER, frozenset({"alpha"})),
        (Role.LIQUIDITY_PROVIDER, frozenset({"alpha"})),
        (Role.PRICE_SOURCE, frozenset()),
        (Role.CUSTODIAN, frozenset()),
        (Role.REGULATOR, None),
        (Role.ADMINISTRATOR, None),
    ],
)
def test_each_role_sees_some_members_or_all(role: Role, seen: frozenset[MemberId] | None) -> None:
    one = Identity(house="h", role=role, id="alpha")
    assert one.members == seen
    assert one.sees_all is (seen is None)
    assert one.sees(MemberId("beta")) is (seen is None)
    assert one.reads("house/fees") is (seen is None)
    assert one.reads("members/alphabet/accounts/one") is (seen is None)
    assert one.reads("sources/alpha") is (seen is None or role is Role.PRICE_SOURCE)


def test_what_a_regulator_reads_is_under_the_names_of_its_members() -> None:
    some = replace(caller(), granted=frozenset({DEX, OTHER}))
    seen = ("members/dex", "members/other/accounts/one/cash", "members/dex/trades/t1")
    assert all(some.reads(name) for name in seen)
    others = ("members", "members/", "members/-", "members/de", "members/rita", "house/fees", "custody", "")
    assert not any(some.reads(name) for name in (*others, "sources/rita", "defaults/d1/members/dex/loss"))
    assert not some.owns("members/dex/accounts/one")
    assert (some.names_all, some.sees_all) == (False, False)


# what it is answered -------------------------------------------------------------------------------------


def test_everybody_sees_a_jurisdiction_and_only_who_sees_the_member_its_stake() -> None:
    world = two_members()
    world.ok(stating("CH"))
    world.ok(granting("CH"))
    rita = scoped(caller(), world.state)
    shown = {row.id: members.message(row, world.state, rita) for row in world.state.members.values()}
    assert {key: (row.jurisdiction, row.HasField("stake")) for key, row in shown.items()} == {
        "dex": ("", False),
        "other": ("CH", True),
    }


def test_a_proposal_about_a_member_is_for_who_sees_that_member() -> None:
    world = two_members()
    world.ok(stating("CH"))
    world.ok(granting("CH"))
    wanted: dict[str, Command] = {
        "of-dex": GroupMember(member=DEX, group="north"),
        "of-other": GroupMember(member=OTHER, group="north"),
        "new": AdmitMember(member=MemberId("new"), name="New"),
        "of-none": granting("DE", regulator="zoe"),
    }
    for name, command in wanted.items():
        world.ok(proposing_change(command, name), ANNA)
    rows, rita = world.state.change_proposals, scoped(caller(), world.state)
    assert {name for name in wanted if admin.sees_proposal(rows[name], rita)} == {"of-other", "of-none"}
    assert all(admin.sees_proposal(rows[name], caller("administrator/anna")) for name in wanted)


def test_the_impact_of_parameters_is_cut_to_the_netting_sets_that_a_regulator_sees() -> None:
    world = two_traders()
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    tighter = replace(world.state.parameters, requirement_bp=26_000)
    world.ok(ProposeParameters(proposal="p", parameters=tighter, reason="why"), ANNA)
    row = world.state.parameter_proposals["p"]
    world.ok(granting("CH"))

    def impact() -> pb.Impact:
        rita = scoped(caller(), world.state)
        assert admin.sees_proposal(row, rita)
        return admin.proposal(row, world.state, rita).parameters.impact

    whole = admin.proposal(row, world.state, caller("regulator/zoe")).parameters.impact
    assert whole.netting_sets
    assert whole.requirement_change
    assert impact() == pb.Impact()
    world.ok(stating("CH", "dex"))
    assert list(impact().netting_sets) == list(whole.netting_sets)
    assert impact().requirement_change == ""


def test_on_the_wire_all_is_said_and_not_left_out() -> None:
    house = two_members().state
    for granted, everything in (((), False), (("CH",), True)):
        sent = pb.Change(
            grant_regulator=pb.GrantRegulatorChange(
                regulator="regulators/rita", jurisdictions=granted, all=everything
            )
        )
        with pytest.raises(RequestInvalid) as error:
            changes.parse(sent, "why", house, Violations(sent))
        assert set(error.value.fields) == {"change.grant_regulator.jurisdictions"}
