"""The probability of ruin, its drivers, and whether it is what it says."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.margin.assess import portfolio_of
from clearing.margin.backtest import bridged
from clearing.margin.backtest.reliability import EDGES_PPM, Forecasts, forecasts, reliability, together
from clearing.margin.impact import under
from clearing.margin.ruin import probability_ppm, ruin, ruin_of
from clearing.margin.snapshot import array_of
from clearing.margin.table import MODELS
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import DAY_MS, PPM, InstrumentRisk, RiskArray
from tests.builders import ALICE, BOB, two_traders
from tests.surfaces import START_MS, options, parameters


def row(name: str, moves: Sequence[int], underlying: str = "BTC") -> InstrumentRisk:
    return InstrumentRisk(
        instrument=InstrumentId(name),
        underlying=FeedId(underlying),
        notional_minor=1_000,
        long_minor=tuple(moves),
        short_minor=tuple(-move for move in moves),
    )


def array(*rows: InstrumentRisk, filtered: int | None = None) -> RiskArray:
    return RiskArray(
        model="expected_shortfall",
        instruments=rows,
        filtered=len(rows[0].long_minor) if filtered is None else filtered,
    )


MOVES = [-100, -50, -40, *(-30 + 2 * n for n in range(37))]


def test_within_the_scenarios_it_is_their_share() -> None:
    found = ruin({InstrumentId("A"): 1}, 29, array(row("A", MOVES)))
    assert (found.scenarios, found.of_scenarios) == (4, 40)
    assert found.probability_ppm == 100_000


@pytest.mark.parametrize(("equity", "scenarios"), [(29, 4), (30, 3), (31, 3)])
def test_equity_that_is_just_used_up_is_no_ruin(equity: int, scenarios: int) -> None:
    assert ruin({InstrumentId("A"): 1}, equity, array(row("A", MOVES))).scenarios == scenarios


def test_beyond_the_worst_twentieth_it_falls_off_by_a_power() -> None:
    # the worst two of forty are 100 and 50, the edge is 40: the mean is 75 / 40 of it, so alpha is 150 / 70, cut to 2
    losses = sorted((-move for move in MOVES), reverse=True)
    assert probability_ppm(losses, 40) == 50_000
    assert probability_ppm(losses, 80) == 12_500
    assert probability_ppm(losses, 400) in (500, 501)  # up from 500 and a rounding


def test_the_power_is_rounded_down_to_a_half_and_held_between_two_and_eight() -> None:
    steep = [101, 100, *[100] * 38]
    assert probability_ppm(steep, 200) == int(np.ceil(0.05 * 0.5**8 * PPM))
    half = [150, 150, *[100] * 38]  # the mean is 1.5 of the edge: alpha is 3
    assert probability_ppm(half, 200) == int(np.ceil(0.05 * 0.5**3 * PPM))
    between = [140, 140, *[100] * 38]  # alpha is 3.5
    assert probability_ppm(between, 400) == int(np.ceil(0.05 * 0.25**3.5 * PPM))


def test_who_owes_already_is_ruined_and_who_holds_nothing_never_is() -> None:
    assert ruin({}, -1, array(row("A", MOVES))).probability_ppm == PPM
    nothing = ruin({}, 0, array(row("A", MOVES)))
    assert (nothing.probability_ppm, nothing.drivers) == (0, ())


def test_stress_scenarios_do_not_count() -> None:
    wild = array(row("A", [*MOVES, -900, -900]), filtered=40)
    assert ruin({InstrumentId("A"): 1}, 29, wild) == ruin({InstrumentId("A"): 1}, 29, array(row("A", MOVES)))


def test_drivers_are_who_loses_in_the_scenarios_of_ruin_the_largest_first() -> None:
    big, hedge = row("A", [4 * move for move in MOVES]), row("B", [-move for move in MOVES], "ETH")
    found = ruin({InstrumentId("A"): 1, InstrumentId("B"): 1}, 0, array(big, hedge))
    assert [(one.instrument, one.underlying) for one in found.drivers] == [("A", "BTC"), ("B", "ETH")]
    assert found.drivers[0].share_ppm > PPM
    assert found.drivers[1].share_ppm < 0
    assert abs(sum(one.share_ppm for one in found.drivers) - PPM) <= 2


def test_a_book_that_loses_in_no_scenario_has_no_drivers() -> None:
    found = ruin({InstrumentId("A"): 1}, 0, array(row("A", [5] * 40)))
    assert (found.probability_ppm, found.drivers) == (0, ())


LOSSES = st.lists(st.integers(-(10**12), 10**12), min_size=20, max_size=200)


@given(LOSSES, st.integers(0, 10**13), st.integers(0, 10**13))
def test_more_equity_never_raises_it(losses: list[int], one: int, other: int) -> None:
    ordered = sorted(losses, reverse=True)
    low, high = sorted((one, other))
    assert 0 <= probability_ppm(ordered, high) <= probability_ppm(ordered, low) <= PPM


@given(LOSSES, st.integers(0, 10**13), st.integers(1, 1000))
def test_it_does_not_depend_on_the_unit_of_money(losses: list[int], equity: int, scale: int) -> None:
    ordered = sorted(losses, reverse=True)
    scaled = [loss * scale for loss in ordered]
    assert abs(probability_ppm(scaled, equity * scale) - probability_ppm(ordered, equity)) <= 1


def drawn(stated: float, chance: float, days: int = 400, seed: int = 1) -> Forecasts:
    """Forty forecasts a day of which a share of ``chance`` comes about."""
    made = np.random.default_rng(seed)
    at_ms = np.repeat(np.arange(days, dtype=np.int64) * DAY_MS, 40)
    ppm = np.full(len(at_ms), round(stated * PPM), np.int64)
    return Forecasts(at_ms, ppm, made.random(len(at_ms)) < chance)


@pytest.mark.parametrize(("chance", "agrees"), [(0.03, True), (0.05, False), (0.015, False)])
def test_reliability_tells_true_forecasts_from_false_ones(chance: float, agrees: bool) -> None:
    found = reliability(together([drawn(0.03, chance), drawn(0.15, 0.15, seed=2)]))
    assert found.is_calibrated is agrees
    assert (found.calibration_error < 0.005) is agrees
    assert found.brier < found.brier_of_base


def test_forecasts_that_fail_together_are_not_taken_for_many() -> None:
    days = 100
    at_ms = np.repeat(np.arange(days, dtype=np.int64) * DAY_MS, 40)
    bad = np.repeat(np.random.default_rng(4).random(days) < 0.1, 40)
    (group,) = reliability(Forecasts(at_ms, np.full(len(at_ms), 30_000, np.int64), bad)).groups
    assert group.seen_high - group.seen_low > 0.04


def test_a_group_of_which_too_few_are_expected_says_nothing() -> None:
    found = reliability(drawn(0.0005, 0.0, days=10))
    assert found.groups[0].agrees is None
    assert not found.is_calibrated


def test_groups_hold_every_forecast_once() -> None:
    edges = np.array(sorted({*EDGES_PPM, 1, 99, 101, 199_999}), np.int64)
    made = Forecasts(np.zeros(len(edges), np.int64), edges, np.zeros(len(edges), np.bool_))
    assert sum(group.forecasts for group in reliability(made).groups) == len(edges)


def test_forecasts_of_a_scene_state_less_for_larger_cushions() -> None:
    family, model = options([50_000, 20_000]), MODELS["expected_shortfall"]
    scene = family.scene(START_MS)
    made_array = bridged.array_of(family, scene, model, parameters())
    book = {one.id: int(lots) for one, lots in zip(scene.instruments, scene.lots[1], strict=True) if lots}
    asked = model.margin(book, made_array, parameters()).amount_minor
    made = forecasts(scene, made_array, [asked] * len(scene.lots))
    first = made.stated_ppm[12:24]
    assert (np.diff(first) <= 0).all()
    assert first[0] > first[-1]
    assert made.came[12:24].any()
    assert ruin(book, asked, made_array).probability_ppm == pytest.approx(int(first[8]), abs=2)


def test_nothing_is_decided_by_it() -> None:
    root = Path(__file__).parents[2] / "clearing"
    users = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if "clearing.margin.ruin" in path.read_text(encoding="utf-8")
    }
    assert users == {"margin/backtest/reliability.py", "server/wire/margin.py"}


def test_a_house_says_it_whatever_model_is_in_force() -> None:
    world = two_traders()
    assert [one.reason for one in world.trade(ALICE, BOB, 200, 80_000).results] == [""]
    house = world.state
    measured = world.measured(ALICE)
    lots = portfolio_of(house, measured.netting_set).lots
    found = ruin_of(house, lots, measured.equity_minor)
    other = under(house, replace(house.parameters, margin_model="expected_shortfall"))
    assert house.parameters.margin_model == "scan"
    assert found == ruin(lots, measured.equity_minor, array_of(other))
    assert ruin_of(house, lots, 0).probability_ppm > found.probability_ppm
