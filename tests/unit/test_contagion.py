"""What liquidations do to the price that made them necessary, by hand (rulebook §12)."""

from dataclasses import replace

import pytest

from clearing.decide.terms import VOLUME_MINOR_MAX
from clearing.default.contagion import Contagion, _flows, contagion, impact_bp, shock_of
from clearing.default.scenarios import OTHERS, SCENARIOS, Move, Scenario
from clearing.default.stress import array_under, losses_of, stress_of
from clearing.margin.snapshot import array_of, volatilities_ppm
from clearing.model.commands import GroupMember
from clearing.model.house import House
from clearing.model.ids import FeedId, SetId
from clearing.model.values import BP, Liquidity, MemberPart
from tests.builders import ALICE, BOB, BTC, BTC_MAR, World, empty_house, two_traders
from tests.unit.test_defaults import OIL, PARAMETERS, house_of_three, key, short_side_wins
from tests.unit.test_options import CALL, holding
from tests.unit.test_stress import X, Y

OIL_FEED = FeedId("OIL")
VOLUME = 1_600_200
SIGMA_PPM = 33_334
"""A third of oil's scan range, rounded up: its volatility while it has no history."""
Y_BP = 15_000
"""Times the volatility: 5 % a day, and a ten-thousandth of a percent."""
MARKET = Liquidity(underlying=OIL_FEED, daily_volume_minor=VOLUME)
DEEP = replace(MARKET, daily_volume_minor=VOLUME_MINOR_MAX)


def traded(house: House, *markets: Liquidity, y_bp: int = Y_BP) -> House:
    """The house, in which so much is traded a day."""
    charter = house.founded
    stated = replace(charter.parameters, liquidity=markets, impact_bp=y_bp)
    return replace(house, charter=replace(charter, parameters=stated))


def fall(price_bp: int) -> Scenario:
    return Scenario(name="fall", moves=(Move(underlying=OTHERS, price_bp=price_bp),))


def two_longs(limit_bp: int = 0) -> World:
    """``x/long`` has 16 lots and must keep 1,600, ``y/long`` has 12 and must keep 1,200; both have 2,000. The short
    sides are rich.
    """
    world = house_of_three(parameters=replace(PARAMETERS, breaker_liquidation_bp=limit_bp))
    for member, lots in (("x", 16), ("y", 12)):
        world.deposit(key(f"{member}/short"), 10**6)
        assert world.trade(key(f"{member}/long"), key(f"{member}/short"), lots, 1_000, OIL).accepted
    return world


def after(house: House, price_bp: int, market: Liquidity = MARKET, *, pauses: bool = False) -> Contagion:
    return contagion(traded(house, market), fall(price_bp), pauses=pauses)


def told(found: Contagion) -> list[tuple[int, tuple[str, ...], int]]:
    """By round its window, who was liquidated, and where oil stands then."""
    return [(one.window, one.sets, one.prices.move_of(OIL_FEED).price_bp) for one in found.rounds]


# impact -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("closed", "impact"),
    [(0, 0), (1, 1), (16_001, 50), (16_002, 51), (-16_001, 50), (64_000, 100), (VOLUME, 501)],
)
def test_impact_grows_with_the_root_of_the_volume_and_is_rounded_up(closed: int, impact: int) -> None:
    """Five percent a day, and a hundredth of the day's volume: a tenth of it."""
    house = traded(house_of_three().state, MARKET)
    assert volatilities_ppm(house) == {OIL_FEED: SIGMA_PPM}
    assert impact_bp(house, OIL_FEED, closed) == impact


def test_impact_is_y_times_volatility_and_nothing_without_a_volume() -> None:
    house = house_of_three().state
    assert impact_bp(traded(house, MARKET, y_bp=BP), OIL_FEED, VOLUME) == 334
    assert impact_bp(traded(house, MARKET, y_bp=0), OIL_FEED, VOLUME) == 0
    assert impact_bp(traded(house), OIL_FEED, VOLUME) == 0


# the loop -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("price_bp", "rounds"), [(-250, 0), (-251, 1)])
def test_without_a_liquidation_there_is_no_loop(price_bp: int, rounds: int) -> None:
    """x keeps 1,600 of 2,000 as long as a lot loses no more than 25."""
    found = after(two_longs().state, price_bp)
    assert (len(found.rounds), found.liquidated) == (rounds, rounds)
    assert found.volume_minor == 16_000 * rounds
    assert found.losses == found.without


def test_what_is_liquidated_moves_the_price_until_nobody_is_left_to_be() -> None:
    found = after(two_longs().state, -600)
    assert told(found) == [(0, ("x/long",), -647)]
    found = after(two_longs().state, -660)
    assert told(found) == [(0, ("x/long",), -707), (0, ("y/long",), -723)]
    assert found.volume_minor == 28_000
    assert (found.losses.losses, found.without.losses) == ((), ())


def test_a_loss_is_taken_at_the_last_price_and_is_more_than_that_of_the_shock_alone() -> None:
    found = after(two_longs().state, -2_000)
    assert told(found) == [(0, ("x/long", "y/long"), -2_054)]
    assert found.without.losses == (
        MemberPart(member=X, amount_minor=16 * 200 - 2_000),
        MemberPart(member=Y, amount_minor=12 * 200 - 2_000),
    )
    assert found.losses.losses == (
        MemberPart(member=X, amount_minor=16 * 206 - 2_000),
        MemberPart(member=Y, amount_minor=12 * 206 - 2_000),
    ), "205.4 a lot, rounded against the holder"
    assert found.losses.largest(2) > found.without.largest(2)


def test_in_a_bottomless_market_it_is_the_shock_but_for_the_rounding_of_the_impact() -> None:
    found = after(two_longs().state, -2_000, DEEP)
    assert told(found) == [(0, ("x/long", "y/long"), -2_001)]
    still = contagion(traded(two_longs().state, MARKET, y_bp=0), fall(-2_000))
    assert still.losses == still.without


def test_affiliates_are_one_group_here_too() -> None:
    world = two_longs()
    for member in (X, Y):
        world.ok(GroupMember(member=member, group="north"))
    found = after(world.state, -2_000)
    assert found.losses.groups_minor == (sum(part.amount_minor for part in found.losses.losses),)


def test_who_is_short_is_bought_back_and_the_price_rises() -> None:
    world = house_of_three()
    world.deposit(key("x/long"), 10**6)
    assert world.trade(key("x/long"), key("x/short"), 16, 1_000, OIL).accepted
    found = after(world.state, 1_000)
    assert told(found) == [(0, ("x/short",), 1_055)]


def test_a_hedge_moves_nothing_when_it_is_closed() -> None:
    world = two_traders()
    assert world.trade(ALICE, BOB, 10, 80_000).accepted
    assert world.trade(BOB, ALICE, 10, 80_000, BTC_MAR).accepted
    assert world.trade(ALICE, BOB, 3, 80_000, BTC_MAR).accepted
    sold = _flows(world.state, sorted(world.state.netting_sets))
    assert sold[SetId("dex/alice")] == {BTC: 3 * 80_000 * 100}
    assert sold[SetId("dex/bob")] == {BTC: -3 * 80_000 * 100}
    assert sold[SetId("dex/house")] == {}


def test_a_set_that_closed_out_before_is_not_liquidated_again() -> None:
    world = short_side_wins(house_of_three(), "x")
    found = after(world.state, 0)
    assert found.rounds == ()
    assert [part.member for part in found.losses.losses] == [X], "what is fixed and unpaid still counts"
    assert found.losses == found.without


def test_an_option_counts_by_its_delta() -> None:
    world = holding(10_000)
    house = traded(world.state, Liquidity(underlying=BTC, daily_volume_minor=10**15))
    found = contagion(house, fall(9_000))
    assert found.liquidated >= 1
    row = next(one for one in array_of(house).instruments if one.instrument == CALL)
    assert row.delta_minor is not None
    assert found.volume_minor % 10_000 == 0
    assert found.rounds[-1].prices.move_of(BTC).price_bp > 9_000, "who sold the calls buys"


def test_an_underlying_without_a_volume_is_liquidated_and_not_moved() -> None:
    found = contagion(two_longs().state, fall(-2_000))
    assert told(found) == [(0, ("x/long", "y/long"), -2_000)]
    assert found.volume_minor == 28_000
    assert found.losses == found.without


def test_before_the_first_cycle_nothing_happens() -> None:
    house = empty_house().state
    shock = shock_of(house)
    assert shock is not None
    assert contagion(house, shock).rounds == ()


def test_the_shock_alone_is_what_the_library_says() -> None:
    house = two_longs().state
    (alone,) = losses_of(house, array_under(house, (fall(-3_000),)))
    assert after(house, -3_000).without == alone


# pauses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit_bp", "path"),
    [
        (0, [(0, ("x/long",), -707), (0, ("y/long",), -723)]),
        (BP, [(0, ("x/long",), -707), (0, ("y/long",), -723)]),
        (BP - 1, [(0, ("x/long",), -707)]),
        (1, [(0, ("x/long",), -707)]),
    ],
)
def test_a_pause_spares_who_stands_again_when_it_ends(
    limit_bp: int, path: list[tuple[int, tuple[str, ...], int]]
) -> None:
    """All 28 lots are closed in one window only if the limit lets all that is open be closed."""
    assert told(after(two_longs(limit_bp).state, -660, pauses=True)) == path


def test_who_does_not_stand_again_is_closed_in_the_next_window_at_its_own_impact() -> None:
    found = after(two_longs(5_000).state, -2_000, pauses=True)
    assert told(found) == [(0, ("x/long",), -2_040), (1, ("y/long",), -2_036)]
    assert [part.amount_minor for part in found.losses.losses] == [16 * 204 - 2_000, 12 * 204 - 2_000]
    assert found.losses.largest(2) < after(two_longs(5_000).state, -2_000).losses.largest(2)


def test_pauses_are_asked_for_and_not_assumed() -> None:
    house = two_longs(5_000).state
    assert after(house, -660) == after(two_longs().state, -660)


def test_it_changes_nothing_and_is_the_same_again() -> None:
    house = traded(two_traders().state, Liquidity(underlying=BTC, daily_volume_minor=10**12))
    assert contagion(house, fall(-5_000)) == contagion(house, fall(-5_000))


# what is asked ------------------------------------------------------------------------------------


def test_a_shock_is_asked_for_by_name_and_without_one_is_that_of_cover_two() -> None:
    world = house_of_three()
    world.deposit(key("x/long"), 10**6)
    assert world.trade(key("x/long"), key("x/short"), 16, 1_000, OIL).accepted
    house = world.state
    assert shock_of(house, "largest rise") == next(one for one in SCENARIOS if one.name == "largest rise")
    assert shock_of(house, "no such day") is None
    assert shock_of(house) == shock_of(house, "thin tokens squeezed")
    assert stress_of(house).worst_scenario == "thin tokens squeezed"
    assert shock_of(house_of_three().state) == SCENARIOS[0], "where nothing would be lost"
