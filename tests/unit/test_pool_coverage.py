"""Prefunded against cover-2, and the contributions that would make them equal (rulebook §12)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.default.sizing import apportion_above, coverage, exposures
from clearing.default.stress import stress_of
from clearing.model.commands import AdmitMember, GroupMember, LeaveHouse
from clearing.model.ids import MemberId
from clearing.model.values import BP
from tests.builders import contribute, empty_house, fund
from tests.unit.test_defaults import LOSS, PARAMETERS, house_of_three, short_side_wins
from tests.unit.test_stress import X, Y, Z, trading

parties = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 10**30), min_size=1)


def test_a_house_that_would_lose_nothing_needs_no_contribution_but_the_floors() -> None:
    found = coverage(house_of_three().state)
    assert (found.shortfall_minor, found.coverage_bp) == (0, None)
    assert [(one.member, one.needed_minor) for one in found.members] == [(X, 100), (Y, 100), (Z, 100)]
    assert coverage(empty_house().state).members == ()


@pytest.mark.parametrize(("more", "shortfall", "covered_bp"), [(-1, 1, BP - 1), (0, 0, BP), (1, 0, BP)])
def test_the_shortfall_and_the_share_say_how_far_prefunded_goes(
    more: int, shortfall: int, covered_bp: int
) -> None:
    world = trading("x", "y")
    cover2 = stress_of(world.state).cover2_minor
    fund(world, skin_in_the_game=1_000, insurance_fund=30, second_tranche=200)
    contribute(world, x=cover2 - 1_230 + more)
    found = coverage(world.state)
    assert found.stress.prefunded_minor == cover2 + more
    assert (found.shortfall_minor, found.coverage_bp) == (shortfall, covered_bp)


def test_with_what_is_needed_prefunded_is_cover_two_exactly() -> None:
    world = trading("x", "y", "z")
    fund(world, skin_in_the_game=1_000, insurance_fund=31, second_tranche=200)
    contribute(world, x=7)
    found = coverage(world.state)
    assert sum(one.needed_minor for one in found.members) == found.stress.cover2_minor - 1_231
    assert {one.held_minor for one in found.members} == {0, 7}
    contribute(world, **{one.member: one.needed_minor - one.held_minor for one in found.members})
    full = coverage(world.state)
    assert full.stress.prefunded_minor == full.stress.cover2_minor
    assert [one.needed_minor for one in full.members] == [one.held_minor for one in full.members]


def test_who_has_more_exposure_needs_to_contribute_more_and_nobody_less_than_the_floor() -> None:
    world = house_of_three(parameters=replace(PARAMETERS, pool_floor_minor=1_000))
    for member, lots in (("x", 16), ("y", 8)):
        assert world.trade(f"{member}/long", f"{member}/short", lots, 1_000, "OIL-PERP").accepted  # type: ignore[arg-type]
    exposed = exposures(world.state)
    assert exposed[X] == 2 * exposed[Y] > exposed[Z] == 0
    found = {one.member: one.needed_minor for one in coverage(world.state).members}
    rest = stress_of(world.state).cover2_minor - 1_000
    assert found[Z] == 1_000
    assert found[X] + found[Y] == rest
    assert found[X] in (rest * 2 // 3, rest * 2 // 3 + 1)


def test_the_contribution_of_who_left_and_is_liable_counts_and_it_is_asked_for_nothing() -> None:
    world = house_of_three()
    guest = MemberId("guest")
    world.ok(AdmitMember(member=guest, name="Guest"))
    contribute(world, guest=500)
    short_side_wins(world, "x")
    assert guest in [one.member for one in coverage(world.state).members]
    world.ok(LeaveHouse(member=guest))
    found = coverage(world.state)
    assert [one.member for one in found.members] == [X, Y, Z]
    assert (found.stress.cover2_minor, found.stress.prefunded_minor) == (LOSS, 500)
    assert sum(one.needed_minor for one in found.members) == LOSS - 500


def test_affiliates_make_cover_two_larger_and_are_named() -> None:
    world = trading("x", "y", "z")
    before = coverage(world.state)
    for member in (X, Y):
        world.ok(GroupMember(member=member, group="north"))
    after = coverage(world.state)
    assert 2 * after.stress.cover2_minor == 3 * before.stress.cover2_minor
    assert [one.group for one in after.members] == ["north", "north", ""]


# splitting ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "floor", "parts"),
    [
        (100, 0, {"a": 75, "b": 25, "c": 0}),
        (100, 20, {"a": 60, "b": 20, "c": 20}),
        (100, 33, {"a": 34, "b": 33, "c": 33}),
        (100, 34, {"a": 34, "b": 34, "c": 34}),
        (0, 5, {"a": 5, "b": 5, "c": 5}),
        (0, 0, {"a": 0, "b": 0, "c": 0}),
        (15, 10, {"a": 10, "b": 10, "c": 10}),
    ],
)
def test_a_split_by_weight_keeps_the_floor(total: int, floor: int, parts: dict[str, int]) -> None:
    assert apportion_above(total, {"a": 3, "b": 1, "c": 0}, floor) == parts


def test_without_weights_all_have_the_same_and_without_parties_nothing_is_split() -> None:
    assert sorted(apportion_above(10, {"a": 0, "b": 0, "c": 0}, 2).values()) == [3, 3, 4]
    assert apportion_above(10, {}, 2) == {}


@given(st.integers(0, 10**30), parties, st.integers(0, 10**29))
def test_parts_sum_to_the_whole_or_the_floors_and_follow_the_weights(
    total: int, weights: dict[str, int], floor: int
) -> None:
    parts = apportion_above(total, weights, floor)
    assert sum(parts.values()) == max(total, floor * len(weights))
    assert min(parts.values()) >= floor
    assert apportion_above(total, dict(reversed(weights.items())), floor) == parts
    by_weight = [parts[party] for party in sorted(weights, key=lambda party: (weights[party], parts[party]))]
    assert by_weight == sorted(by_weight), "who weighs more never gives less"
