"""The ``expected_shortfall`` model by hand: tails, weights, floor, minimum, contributions (rulebook §9.1).

A lot of gold and one of silver in twenty recent scenarios and four of stress. With a tail of a tenth the two worst
recent ones count, and of stress the worst.
"""

from array import array as packed
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import ceil

import numpy as np
import pytest

from clearing.margin.factors import coins
from clearing.margin.model import Margin, Market, States
from clearing.margin.models.expected_shortfall import (
    SAFE,
    amounts,
    climbs,
    margin,
    rises,
    risk_array,
    scenario_names,
)
from clearing.margin.pricing import value_ticks
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import BP, DAY_MS, InstrumentRisk, Parameters, Right, RiskArray, ScanRange
from ledger.require import InvariantViolated
from tests.property.test_model_laws import in_columns
from tests.unit.test_grid import CALL, MARKS, VOL
from tests.unit.test_scan import GOLD, GOLD_FAR, GOLD_NEAR, SILVER, lots

GOLD_MOVES = (0, 10, -20, 30, -40, 50, -60, 70, -80, 90, *(100, -200, 300, -400))
SILVER_MOVES = (5, 5, -15, 25, -35, 45, -50, 60, -70, 80, *(-90, 180, -270, 360))
TAIL = Parameters(
    tail_bp=1_000, stress_weight_bp=2_500, offset_cap_bp=8_000, short_option_bp=100, scan_ranges=()
)


def gains(moves: tuple[int, ...]) -> Sequence[int]:
    """As the model makes them: in 64 bits if these hold them."""
    return packed("q", moves) if max(map(abs, moves)) < SAFE else moves


def row(name: str, underlying: FeedId, moves: tuple[int, ...], delta: int | None = None) -> InstrumentRisk:
    return InstrumentRisk(
        instrument=InstrumentId(name),
        underlying=underlying,
        notional_minor=1_000,
        long_minor=gains(moves),
        short_minor=gains(tuple(-move for move in moves)),
        delta_minor=delta,
    )


def scenarios(moves: tuple[int, ...]) -> tuple[int, ...]:
    """Ten recent moves and ten days on which nothing happened; then stress."""
    return (*moves[:10], *(0 for _ in range(10)), *moves[10:])


ARRAY = RiskArray(
    model="expected_shortfall",
    filtered=20,
    instruments=(row("GOLD", GOLD, scenarios(GOLD_MOVES)), row("SILVER", SILVER, scenarios(SILVER_MOVES))),
)
STILL = replace(ARRAY, instruments=(row("COPPER", GOLD, (0,) * 24), *ARRAY.instruments))
"""Copper has not moved in any scenario."""


def measured(parameters: Parameters = TAIL, array: RiskArray = ARRAY, **wanted: int) -> Margin:
    return margin(lots(**wanted), array, parameters)


@pytest.mark.parametrize(
    ("book", "recent", "stress"),
    [
        ({"GOLD": 1}, Fraction(80 + 60, 2), 400),
        ({"GOLD": -1}, Fraction(90 + 70, 2), 300),
        ({"SILVER": 1}, Fraction(70 + 50, 2), 270),
        ({"SILVER": -1}, Fraction(80 + 60, 2), 360),
        ({"GOLD": 1, "SILVER": -1}, Fraction(10 + 10, 2), 400 + 360),
        ({"GOLD": 3, "SILVER": -2}, Fraction((240 - 140) + (180 - 100), 2), 1_200 + 720),
    ],
    ids=str,
)
def test_an_amount_is_three_quarters_of_the_recent_and_a_quarter_of_the_stressed_shortfall(
    book: dict[str, int], recent: Fraction, stress: int
) -> None:
    expected = ceil(Fraction(3, 4) * recent + Fraction(1, 4) * stress)
    assert margin(lots(**book), ARRAY, TAIL).amount_minor == expected
    assert amounts(in_columns([lots(**book)], ARRAY), ARRAY, TAIL) == [expected]


def test_each_leg_contributes_what_it_loses_in_the_scenarios_that_count() -> None:
    """Gold: 3/4 × 140/2 + 1/4 × 400 = 152.5; silver, which hedges the recent ones, 3/4 × −120/2 + 1/4 × 360 = 45. Of
    the 198 that is 152.9 and 45.1.
    """
    found = measured(GOLD=1, SILVER=-1)
    assert found.amount_minor == ceil(197.5)
    assert found.contributions == lots(GOLD=153, SILVER=45)


def test_the_worst_scenario_of_all_is_told_by_underlying() -> None:
    found = measured(GOLD=1, SILVER=-1)
    assert [(u.underlying, u.risk_minor, u.scenario) for u in found.underlyings] == [
        (GOLD, 400, 23),
        (SILVER, 360, 23),
    ]
    assert scenario_names(ARRAY)[23] == "stress 4 of 4"
    assert scenario_names(ARRAY)[0] == "recent 1 of 20, scaled to today's volatility"
    assert len(scenario_names(ARRAY)) == 24


def test_netting_leaves_a_fifth_of_what_the_positions_need_alone() -> None:
    """Without stress the hedge needs 10; gold and silver alone need 70 each."""
    recent_only = replace(TAIL, stress_weight_bp=0)
    found = measured(recent_only, GOLD=1, SILVER=-1)
    assert (found.amount_minor, found.floor_minor) == (28, 28)
    assert found.contributions == lots(GOLD=14, SILVER=14)
    assert measured(replace(recent_only, offset_cap_bp=BP), GOLD=1, SILVER=-1).amount_minor == 10


def test_an_option_held_short_has_a_minimum_whatever_hedges_it() -> None:
    """One per cent of 1,000 for each of 30 lots; the scenarios of a worthless option say nothing."""
    worthless = replace(
        ARRAY.instruments[0], long_minor=gains((0,) * 24), short_minor=gains((-1,) * 24), delta_minor=0
    )
    array = replace(ARRAY, instruments=(worthless, ARRAY.instruments[1]))
    found = measured(array=array, GOLD=-30)
    assert (found.amount_minor, found.floor_minor) == (300, 300)
    assert found.contributions == lots(GOLD=300)
    assert measured(array=array, GOLD=30).amount_minor == 0
    assert rises(array, TAIL)[InstrumentId("GOLD")] == 10


def test_a_lot_raises_an_amount_by_no_more_than_it_needs_alone() -> None:
    assert rises(ARRAY, TAIL) == lots(GOLD=ceil(152.5), SILVER=ceil(142.5))


@pytest.mark.parametrize(("tail_bp", "recent"), [(50, 80), (999, 80), (1_000, 70)])
def test_a_tail_is_rounded_down_to_whole_scenarios_but_never_to_none(tail_bp: int, recent: int) -> None:
    recent_only = replace(TAIL, stress_weight_bp=0, tail_bp=tail_bp)
    assert measured(recent_only, GOLD=1).amount_minor == recent


def test_one_day_of_stress_is_enough() -> None:
    short = [
        replace(r, long_minor=r.long_minor[:21], short_minor=r.short_minor[:21]) for r in ARRAY.instruments
    ]
    array = replace(ARRAY, instruments=tuple(short))
    assert measured(array=array, GOLD=-1).amount_minor == ceil(0.75 * 80 + 0.25 * 100)
    assert measured(array=array, GOLD=1).amount_minor == ceil(0.75 * 70 - 0.25 * 100)


@pytest.mark.parametrize("filtered", [0, 24])
def test_an_array_without_one_of_its_halves_is_a_bug(filtered: int) -> None:
    with pytest.raises(InvariantViolated, match="recent scenarios"):
        measured(array=replace(ARRAY, filtered=filtered), GOLD=1)


def test_more_tail_in_stress_than_among_recent_days_is_summed_exactly_too() -> None:
    """The largest sum is over the stress tail: it must not run over 64 bits."""
    loss = 2**58
    giant = row("GIANT", GOLD, (0,) * 10 + (-loss,) * 400)
    array = RiskArray(model="expected_shortfall", filtered=10, instruments=(giant,))
    stress_only = replace(TAIL, stress_weight_bp=BP)
    assert measured(stress_only, array, GIANT=3).amount_minor == 3 * loss
    assert amounts(in_columns([lots(GIANT=3)], array), array, stress_only) == [3 * loss]


@pytest.mark.parametrize("count", [1, 30, 2**40, 2**70])
@pytest.mark.parametrize("side", [1, -1])
def test_an_instrument_that_never_moves_asks_for_the_basis_floor_on_either_side(
    side: int, count: int
) -> None:
    """Half a per cent of 1,000 for each lot."""
    found = measured(array=STILL, COPPER=side * count)
    assert (found.amount_minor, found.risk_minor, found.floor_minor) == (5 * count, 0, 5 * count)
    assert found.contributions == lots(COPPER=5 * count)
    assert rises(STILL, TAIL)[InstrumentId("COPPER")] == 5


@pytest.mark.parametrize("count", [30, -30])
def test_portfolios_in_columns_have_the_basis_floor_too(count: int) -> None:
    assert amounts(in_columns([lots(COPPER=count)], STILL), STILL, TAIL) == [150]


def test_the_minimum_of_a_lot_is_rounded_up() -> None:
    assert measured(replace(TAIL, basis_floor_bp=41), STILL, COPPER=10).amount_minor == 50


def test_the_minimum_is_the_least_and_comes_on_top_of_nothing() -> None:
    """Gold alone asks for 152.5: with 29 lots of copper (145) and its own 5 that is still more, with 30 no longer."""
    assert measured(array=STILL, COPPER=29, GOLD=1).amount_minor == ceil(152.5)
    assert measured(array=STILL, COPPER=30, GOLD=-1).amount_minor == 155


def test_a_floor_of_nothing_asks_nothing_of_what_never_moves_however_many_lots_there_are() -> None:
    unfloored = replace(TAIL, basis_floor_bp=0)
    assert measured(unfloored, STILL, COPPER=2**70).amount_minor == 0
    assert measured(unfloored, STILL, COPPER=2**70, GOLD=1).amount_minor == ceil(152.5)


def test_a_minimum_that_rises_with_the_mark_raises_what_a_lot_can_ask_for() -> None:
    """Ten times the notional, and still no move in any scenario."""
    dearer = replace(
        STILL, instruments=(replace(STILL.instruments[0], notional_minor=10_000), *STILL.instruments[1:])
    )
    assert climbs(STILL, dearer, [0], TAIL) == [(45, 45)]
    assert climbs(dearer, STILL, [0], TAIL) == [(0, 0)]


def test_a_large_number_of_small_lots_beside_one_large_lot_is_measured_in_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What counts is lots times size, not the most lots times the greatest size."""
    large = row("LARGE", GOLD, tuple(move * 10**12 for move in scenarios(GOLD_MOVES)))
    array = replace(ARRAY, instruments=(large, *ARRAY.instruments))
    monkeypatch.setattr("clearing.margin.models.expected_shortfall.margin", None)
    found = amounts(in_columns([lots(LARGE=1), lots(GOLD=10**12)], array), array, TAIL)
    assert found == [ceil(152.5 * 10**12)] * 2


# the array ----------------------------------------------------------------------------------------

STATES = States(
    underlyings=(GOLD, SILVER),
    moves_ppm=np.array([[-100_000, 0], [200_000, 0], [-333_333, 0], [-990_000, 0], [0, 0]]),
    filtered=3,
)
PARAMETERS = Parameters(scan_ranges=(ScanRange(underlying=GOLD, move_bp=1_000),), basis_floor_bp=50)
NEAR = replace(GOLD_NEAR, feed=GOLD)
MARKET = Market(prices={**MARKS, GOLD: 1_000}, at_ms=0, states=STATES)


def test_a_linear_row_is_the_move_of_the_notional_rounded_down() -> None:
    """1,000 ticks of 10; a third of it is 3,333.33."""
    (found,) = risk_array([NEAR], MARKET, PARAMETERS).instruments
    assert list(found.long_minor) == [-1_000, 2_000, -3_334, -9_900, 0]
    assert list(found.short_minor) == [1_000, -2_000, 3_333, 9_900, 0]
    assert found.delta_minor is None


def test_what_is_marked_by_another_feed_moves_apart_by_the_basis() -> None:
    (found,) = risk_array([GOLD_FAR], MARKET, PARAMETERS).instruments
    sides = [1 if coin else -1 for coin in coins(f"basis {GOLD_FAR.feed}", 5).tolist()]
    exact = [
        (move + side * 5_000) * 11_000 // 10**6 for move, side in zip(STATES.of(GOLD), sides, strict=True)
    ]
    assert list(found.long_minor) == exact


@pytest.mark.parametrize("right", list(Right))
@pytest.mark.parametrize("strike", [1, 1_000, 10**6])
@pytest.mark.parametrize("volatility_bp", [1, 100, 6_000, 100_000])
@pytest.mark.parametrize("at_day", [0, 29, 30, 31])
def test_an_option_loses_no_more_than_its_value_and_gains_no_less_than_nothing_for_its_seller(
    right: Right, strike: int, volatility_bp: int, at_day: int
) -> None:
    """Far in and out of the money, still and wild, hours to go and expired."""
    assert CALL.option is not None
    option = replace(CALL, feed=GOLD, option=replace(CALL.option, right=right, strike_ticks=strike))
    market = replace(MARKET, at_ms=at_day * DAY_MS - 3_600_000, prices={GOLD: 1_000, VOL: volatility_bp})
    (found,) = risk_array([option], market, PARAMETERS).instruments
    worth = value_ticks(option, 1_000, volatility_bp, market.at_ms) * 10
    assert -worth <= min(found.long_minor)
    assert max(found.short_minor) <= worth
    assert all(one + other <= 0 for one, other in zip(found.long_minor, found.short_minor, strict=True))
    assert abs(found.delta_minor or 0) <= found.notional_minor


def test_a_call_gains_when_gold_rises_and_its_seller_loses_more_than_it_gains() -> None:
    (found,) = risk_array([replace(CALL, feed=GOLD)], MARKET, PARAMETERS).instruments
    fall, rise = found.long_minor[0], found.long_minor[1]
    assert fall < 0 < rise
    assert found.short_minor[1] < -rise, "for the buyer a day has passed"


def test_only_what_has_a_mark_has_a_row() -> None:
    market = replace(MARKET, prices={GOLD: 1_000})
    listed = [NEAR, GOLD_FAR, replace(CALL, feed=GOLD)]
    assert [r.instrument for r in risk_array(listed, market, PARAMETERS).instruments] == ["GOLD-NEAR"]
