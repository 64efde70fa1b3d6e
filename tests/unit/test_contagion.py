"""What liquidations do to the price that made them necessary, by hand (rulebook §12)."""

from dataclasses import replace

import pytest

from clearing.default.contagion import Contagion, Liquidity, _flows, contagion, impact_bp
from clearing.default.scenarios import OTHERS, Move, Scenario
from clearing.default.stress import array_under, losses_of
from clearing.margin.snapshot import array_of
from clearing.model.commands import GroupMember
from clearing.model.house import House
from clearing.model.ids import FeedId, SetId
from clearing.model.values import BP, MemberPart
from ledger.require import InvariantViolated
from tests.builders import ALICE, BOB, BTC, BTC_MAR, World, two_traders
from tests.unit.test_defaults import OIL, PARAMETERS, house_of_three, key, short_side_wins
from tests.unit.test_options import CALL, holding
from tests.unit.test_stress import X, Y

OIL_FEED = FeedId("OIL")
MARKET = Liquidity(underlying=OIL_FEED, volume_minor=1_600_000, volatility_bp=500)
DEEP = replace(MARKET, volume_minor=10**30)


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
    return contagion(house, fall(price_bp), [market], pauses=pauses)


def told(found: Contagion) -> list[tuple[int, tuple[str, ...], int]]:
    """By round its window, who was liquidated, and where oil stands then."""
    return [(one.window, one.sets, one.prices.move_of(OIL_FEED).price_bp) for one in found.rounds]


# impact -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("closed", "impact"),
    [(0, 0), (1, 1), (16_000, 50), (16_001, 51), (-16_000, 50), (64_000, 100), (1_600_000, 500)],
)
def test_impact_grows_with_the_root_of_the_volume_and_is_rounded_up(closed: int, impact: int) -> None:
    """Five percent a day, and a hundredth of the day's volume: a tenth of it."""
    assert impact_bp(closed, MARKET) == impact


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
    still = contagion(two_longs().state, fall(-2_000), [replace(MARKET, volatility_bp=0)])
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
    house = world.state
    market = Liquidity(underlying=BTC, volume_minor=10**15, volatility_bp=400)
    found = contagion(house, fall(9_000), [market])
    assert found.liquidated >= 1
    row = next(one for one in array_of(house).instruments if one.instrument == CALL)
    assert row.delta_minor is not None
    assert found.volume_minor % 10_000 == 0
    assert found.rounds[-1].prices.move_of(BTC).price_bp > 9_000, "who sold the calls buys"


def test_every_underlying_that_is_held_needs_a_market() -> None:
    for markets in ([], [replace(MARKET, volume_minor=0)]):
        with pytest.raises(InvariantViolated, match="something is traded of OIL"):
            contagion(two_longs().state, fall(-100), markets)
    assert contagion(house_of_three().state, fall(-100), []).rounds == ()


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
    house = two_traders().state
    market = Liquidity(underlying=BTC, volume_minor=10**12, volatility_bp=400)
    assert contagion(house, fall(-5_000), [market]) == contagion(house, fall(-5_000), [market])
