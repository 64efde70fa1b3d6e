"""How the pool stands, and with whom a member is counted, on the wire."""

from dataclasses import replace

from clearing.default.contagion import Round, contagion
from clearing.default.reverse import reverse_stress
from clearing.default.scenarios import Move, Scenario
from clearing.default.sizing import coverage
from clearing.model.commands import GroupMember
from clearing.model.ids import MemberId
from clearing.server.identity import parse_spiffe
from clearing.server.wire import margin, members
from clearinghouse.v1 import margin_service_pb2 as pb
from tests.builders import fund
from tests.unit.test_contagion import MARKET, OIL_FEED, fall, traded, two_longs
from tests.unit.test_defaults import house_of_three
from tests.unit.test_stress import trading


def test_coverage_comes_with_every_figure_and_in_whole_units() -> None:
    world = trading("x", "y")
    fund(world, skin_in_the_game=1_000)
    world.ok(GroupMember(member=MemberId("x"), group="north"))
    found = coverage(world.state)
    sent = margin.coverage(found, world.state)
    cover2, needed = found.stress.cover2_minor, found.members[0].needed_minor
    assert (sent.cover2, sent.prefunded) == (f"{cover2 / 10**6:.6f}", "0.001000")
    assert sent.shortfall == f"{(cover2 - 1_000) / 10**6:.6f}"
    assert sent.coverage_bp == found.coverage_bp == 1_000 * 10_000 // cover2
    assert [one.member for one in sent.members] == ["members/x", "members/y", "members/z"]
    assert (sent.members[0].group, sent.members[1].group) == ("north", "")
    assert sent.members[0].needed_contribution == f"{needed / 10**6:.6f}"
    assert [one.scenario for one in sent.scenarios] == [one.scenario for one in found.stress.scenarios]
    (worst,) = (one for one in sent.scenarios if one.scenario == sent.worst_scenario)
    assert [loss.member for loss in worst.losses] == ["members/x", "members/y"]


def test_without_a_loss_there_is_no_share_and_a_share_beyond_the_field_is_cut_off() -> None:
    house = house_of_three().state
    assert not margin.coverage(coverage(house), house).HasField("coverage_bp")
    huge = replace(coverage(house), coverage_bp=2**70)
    assert margin.coverage(huge, house).coverage_bp == 2**31 - 1


def test_reverse_stress_comes_rung_by_rung_and_what_is_not_reached_is_left_out() -> None:
    world = trading("x")
    fund(world, skin_in_the_game=10**9)
    found = reverse_stress(world.state)
    sent = margin.reverse(found)
    assert [one.what for one in sent.exhaustions] == [one.name for one in found]
    assert (sent.exhaustions[0].moves[0].direction, sent.exhaustions[0].moves[0].size_bp) == (
        "largest fall",
        834,
    )
    assert list(sent.exhaustions[-1].moves) == []


def rounds(sent: pb.Contagion) -> list[tuple[int, int, dict[str, int]]]:
    return [(one.window, one.set_count, {m.feed: m.move_bp for m in one.moves}) for one in sent.rounds]


def test_contagion_comes_round_by_round_with_and_without_pauses() -> None:
    house, shock = traded(two_longs(5_000).state, MARKET), fall(-2_000)
    running, paused = (contagion(house, shock, pauses=pauses) for pauses in (False, True))
    sent = margin.contagion(shock, running, paused, house)
    assert (sent.scenario, list(sent.unmoved_feeds)) == ("fall", [])
    assert {one.feed: one.move_bp for one in sent.moves} == {"feeds/OIL": -2_000}
    assert sent.cover2 == f"{(28 * 200 - 4_000) / 10**6:.6f}"
    assert rounds(sent.running) == [(1, 2, {"feeds/OIL": -2_054})]
    assert rounds(sent.paused) == [(1, 1, {"feeds/OIL": -2_040}), (2, 1, {"feeds/OIL": -2_036})]
    assert sent.running.cover2 == f"{(28 * 206 - 4_000) / 10**6:.6f}"
    assert sent.paused.cover2 == f"{(28 * 204 - 4_000) / 10**6:.6f}"
    for one in (sent.running, sent.paused):
        assert (one.set_count, one.liquidated_volume) == (2, "0.028000")


def test_an_underlying_without_a_volume_is_named_and_stays_where_the_shock_left_it() -> None:
    house, shock = two_longs().state, fall(-2_000)
    found = contagion(house, shock)
    sent = margin.contagion(shock, found, found, house)
    assert list(sent.unmoved_feeds) == ["feeds/OIL"]
    assert rounds(sent.running) == [(1, 2, {})]


def test_a_price_that_rises_beyond_the_field_is_cut_off() -> None:
    house, shock = two_longs().state, fall(-2_000)
    risen = Scenario(name="fall", moves=(Move(underlying=OIL_FEED, price_bp=2**31), *shock.moves))
    found = replace(contagion(house, shock), rounds=(Round(window=0, sets=(), prices=risen),))
    sent = margin.contagion(shock, found, found, house)
    assert rounds(sent.running) == [(1, 0, {"feeds/OIL": 2**31 - 1})]


def test_a_group_is_shown_to_the_member_itself_and_to_who_sees_all() -> None:
    world = trading("x")
    world.ok(GroupMember(member=MemberId("x"), group="north"))
    row = world.state.members[MemberId("x")]

    def seen_by(who: str) -> str:
        return members.message(row, world.state, parse_spiffe(f"spiffe://h/{who}")).stake.group

    assert [seen_by(who) for who in ("member/x", "regulator/rita", "member/y")] == ["north", "north", ""]
