"""The smallest move that exhausts what stands against losses (rulebook §12)."""

import pytest

from clearing.default import reverse
from clearing.default.reverse import (
    ANY_MARGIN,
    DIRECTIONS,
    LAST_TIER,
    Rung,
    most_bp,
    reverse_stress,
    scaled,
)
from clearing.default.scenarios import BTC, OTHERS, Move, Scenario
from clearing.default.stress import ScenarioLosses, StressArray, scenario_losses
from clearing.default.waterfall import TIERS
from clearing.model.house import House
from clearing.model.ids import FeedId
from tests.builders import ETH_FEED, contribute, empty_house, fund
from tests.unit.test_defaults import house_of_three, key
from tests.unit.test_stress import X, trading

NAMED = {one.name: one for one in DIRECTIONS}
FALL, RISE = NAMED["largest fall"], NAMED["largest rise"]
THIN_FALL, THIN_RISE = NAMED["thin tokens collapse"], NAMED["thin tokens squeezed"]


def sizes(house: House, direction: Scenario = RISE) -> dict[str, int | None]:
    """By rung the size of a direction."""
    return {
        rung.name: next((one.size_bp for one in rung.reached if one.direction == direction.name), None)
        for rung in reverse_stress(house)
    }


# directions ---------------------------------------------------------------------------------------


def test_the_directions_are_the_hypothetical_scenarios_of_the_library() -> None:
    assert len(DIRECTIONS) == 6
    assert not any("20" in one.name for one in DIRECTIONS)
    assert {most_bp(one) for one in DIRECTIONS} == {9_000, 30_000}
    assert (most_bp(FALL), most_bp(RISE), most_bp(THIN_RISE)) == (9_000, 30_000, 30_000)


@pytest.mark.parametrize("direction", DIRECTIONS, ids=lambda one: one.name)
def test_a_direction_at_its_own_size_is_the_scenario_and_at_none_nothing_moves(direction: Scenario) -> None:
    own = next(abs(move.price_bp) for move in direction.moves if move.price_bp)
    if own <= most_bp(direction):
        assert scaled(direction, own).moves == direction.moves
    assert {(move.price_bp, move.volatility_bp) for move in scaled(direction, 0).moves} == {(0, 0)}


def test_a_size_is_the_move_of_btc_and_the_others_go_in_proportion_away_from_zero() -> None:
    found = scaled(FALL, 1_001)
    assert [found.move_of(feed).price_bp for feed in (BTC, ETH_FEED, OTHERS)] == [-1_001, -1_085, -1_502]
    assert found.move_of(BTC).volatility_bp == 2_503
    assert scaled(RISE, 1_001).move_of(OTHERS).price_bp == 2_336


def test_nothing_falls_by_more_than_nine_tenths_and_volatility_goes_no_further_than_in_the_library() -> None:
    found = scaled(FALL, 9_000)
    assert {move.price_bp for move in found.moves} == {-9_000}
    assert {move.volatility_bp for move in found.moves} == {15_000}
    assert {move.volatility_bp for move in scaled(RISE, 30_000).moves} == {15_000}


def test_thin_tokens_go_alone_and_their_move_is_the_size() -> None:
    assert scaled(THIN_FALL, 77).move_of(FeedId("OIL")) == Move(underlying=OTHERS, price_bp=-77)
    assert scaled(THIN_FALL, 77).move_of(BTC).price_bp == 0


# what is exhausted --------------------------------------------------------------------------------


def test_the_rungs_are_the_margin_and_the_tiers_as_far_as_assessments_in_order() -> None:
    names = [rung.name for rung in reverse_stress(trading("x").state)]
    assert names[:2] == [ANY_MARGIN, "margin of the largest member, x"]
    assert names[2:] == [tier.name for tier in TIERS if 2 <= tier.number <= LAST_TIER]


def test_nothing_exhausts_anything_where_nothing_is_held() -> None:
    for house in (empty_house().state, house_of_three().state):
        assert all(rung.smallest is None and rung.reached == () for rung in reverse_stress(house))
        assert reverse_stress(house)[1].name == "margin of the largest member"


def test_the_margin_of_a_member_is_gone_at_the_first_unit_that_it_does_not_cover() -> None:
    """Sixteen lots at 1,000 lose more than 2,000 when oil moves by more than 12.50 %."""
    house = trading("x").state
    found = {one.direction: one.size_bp for one in reverse_stress(house)[0].reached}
    assert found == {
        "largest fall": 834,
        "largest rise": 536,
        "BTC falls, ETH rises": 626,
        "BTC rises, ETH falls": 626,
        "thin tokens collapse": 1_251,
        "thin tokens squeezed": 1_251,
    }
    for name, size in found.items():
        oil = [abs(scaled(NAMED[name], one).move_of(FeedId("OIL")).price_bp) for one in (size - 1, size)]
        assert oil[0] <= 1_250 < oil[1]


def test_the_smallest_is_that_of_the_direction_that_hurts_first() -> None:
    smallest = reverse_stress(trading("x").state)[0].smallest
    assert smallest is not None
    assert (smallest.direction, smallest.size_bp) == ("largest rise", 536)
    assert Rung(name="x", reached=()).smallest is None


def test_tiers_are_exhausted_one_after_the_other_and_each_by_the_first_unit_that_it_cannot_pay() -> None:
    """A tick more is 16: what is lost beyond 12.5 % must exceed the tiers so far."""
    world = trading("x")
    contribute(world, x=16, y=16 * 2, z=16 * 2)
    fund(world, skin_in_the_game=16 * 3, insurance_fund=16 * 5, second_tranche=16 * 7)
    found = list(sizes(world.state, THIN_RISE).values())
    ticks = [125, 125, 126, 129, 134, 138, 145, 145 + 25]
    assert found == [10 * tick + 1 for tick in ticks], "assessments are twice 100 of each of two survivors"


def test_more_money_in_a_tier_moves_what_exhausts_it_and_all_after_it() -> None:
    world = trading("x")
    poor = list(sizes(world.state, THIN_RISE).values())
    fund(world, insurance_fund=16)
    rich = list(sizes(world.state, THIN_RISE).values())
    assert [after - before for before, after in zip(poor, rich, strict=True)] == [0] * 4 + [10] * 4  # type: ignore[operator]


def test_a_loss_that_is_there_without_any_move_exhausts_at_size_zero() -> None:
    world = trading("x")
    world.prices(OIL=700)
    assert sizes(world.state, FALL)[ANY_MARGIN] == 0
    assert reverse_stress(world.state)[0].smallest is not None


def test_what_no_size_exhausts_is_not_within_the_range() -> None:
    world = trading("x")
    fund(world, skin_in_the_game=10**9)
    assert [rung.smallest for rung in reverse_stress(world.state)][3:] == [None] * 5


def test_members_who_fail_together_bear_nothing_of_each_other() -> None:
    """With all three in default nobody is left to pay: pool and assessments have nothing."""
    world = trading("x", "y", "z")
    contribute(world, x=1_000, y=1_000, z=1_000)
    found = sizes(world.state, THIN_RISE)
    assert found["mutualised pool"] == found["assessments"] == found["skin in the game"]


def test_a_size_is_found_to_the_basis_point_wherever_it_lies_between_two_that_are_tried_first() -> None:
    """Oil at 1,000 ticks; every tick of cash more moves what exhausts by a basis point of ten ticks."""
    for more in (0, 16, 16 * 9, 16 * 10, 16 * 11):
        world = trading("x")
        for side in ("long", "short") if more else ():
            world.deposit(key(f"x/{side}"), more)
        assert sizes(world.state, THIN_RISE)[ANY_MARGIN] == 10 * (125 + more // 16) + 1


def test_other_steps_find_the_same_where_losses_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    house = trading("x").state
    found = reverse_stress(house)
    for steps, at_once in (((50, 1), 25), ((100, 10, 1), 1), ((100, 10, 1), 1_000), ((300, 50, 5, 1), 7)):
        monkeypatch.setattr(reverse, "STEPS_BP", steps)
        monkeypatch.setattr(reverse, "AT_ONCE", at_once)
        assert reverse_stress(house) == found


def test_what_is_exhausted_only_within_a_step_is_not_seen_and_the_step_is_what_is_promised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A loss at 1,250 to 1,260 basis points and nowhere else: tried at 1,200 and 1,300, not between."""
    house = trading("x").state

    def only_there(of: House, array: StressArray) -> tuple[ScenarioLosses, ...]:
        moves = [abs(one.move_of(FeedId("OIL")).price_bp) for one in array.scenarios]
        return tuple(scenario_losses(of, "s", {X: 10**9 if 1_250 <= bp <= 1_260 else 0}) for bp in moves)

    monkeypatch.setattr(reverse, "losses_of", only_there)
    assert sizes(house, THIN_RISE)[ANY_MARGIN] is None
    monkeypatch.setattr(reverse, "STEPS_BP", (10, 1))
    assert sizes(house, THIN_RISE)[ANY_MARGIN] == 1_250
