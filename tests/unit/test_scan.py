"""The ``scan`` model by hand: its sixteen scenarios, offset credit, basis charge and floor (rulebook §9.2)."""

from dataclasses import replace

import pytest

from clearing.margin.assess import Health, health_of, required
from clearing.margin.model import Market as Snapshot
from clearing.margin.models.scan import SCAN
from clearing.margin.table import MODELS
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import Instrument, InstrumentKind, Offset, Parameters, RiskArray, ScanRange
from ledger.require import InvariantViolated
from tests.builders import two_traders

GOLD, SILVER, TIN = FeedId("GOLD"), FeedId("SILVER"), FeedId("TIN")


def instrument(name: str, underlying: FeedId, tick_value: int = 10) -> Instrument:
    return Instrument(
        id=InstrumentId(name),
        kind=InstrumentKind.PERPETUAL,
        underlying=underlying,
        feed=FeedId(name),
        tick_value_minor=tick_value,
        price_decimals=0,
        lot_decimals=0,
    )


GOLD_NEAR, GOLD_FAR = instrument("GOLD-NEAR", GOLD), instrument("GOLD-FAR", GOLD)
SILVER_NEAR, TIN_NEAR = instrument("SILVER-NEAR", SILVER), instrument("TIN-NEAR", TIN)
ALL = (GOLD_FAR, GOLD_NEAR, SILVER_NEAR, TIN_NEAR)
MARKS = {GOLD_NEAR.feed: 100, GOLD_FAR.feed: 110, SILVER_NEAR.feed: 50, TIN_NEAR.feed: 7}
PARAMETERS = Parameters(
    margin_model="scan",
    scan_ranges=(
        ScanRange(underlying=GOLD, move_bp=900),
        ScanRange(underlying=SILVER, move_bp=1_200),
        ScanRange(underlying=TIN, move_bp=1_000),
    ),
    offsets=(Offset(first=GOLD, second=SILVER, rate_bp=7_000),),
)
margin, risk_array = SCAN.margin, SCAN.risk_array
ARRAY = risk_array(ALL, Snapshot(prices=MARKS, at_ms=0), PARAMETERS)


def lots(**wanted: int) -> dict[InstrumentId, int]:
    return {InstrumentId(name.replace("_", "-")): quantity for name, quantity in wanted.items()}


def amount(parameters: Parameters = PARAMETERS, array: RiskArray = ARRAY, **wanted: int) -> int:
    return margin(lots(**wanted), array, parameters).amount_minor


def test_there_are_sixteen_scenarios_and_each_has_its_name() -> None:
    names = SCAN.names
    assert len(names) == len(set(names)) == 16
    assert names[0] == "price +0/3, volatility up"
    assert names[SCAN.up] == "price +3/3, volatility up"
    assert names[-1] == "price -6/3, 35 % counted"
    assert all(len(row.long_minor) == len(row.short_minor) == 16 for row in ARRAY.instruments)


def test_a_row_is_the_move_of_the_notional_in_every_scenario() -> None:
    """Gold at 100 ticks of 10 is 1,000; 9 % of it are 90, a third 30, twice 180 of which 35 % are 63."""
    (row,) = [r for r in ARRAY.instruments if r.instrument == "GOLD-NEAR"]
    moves = (0, 0, 30, 30, -30, -30, 60, 60, -60, -60, 90, 90, -90, -90, 63, -63)
    assert row.notional_minor == 1_000
    assert row.long_minor == moves
    assert row.short_minor == tuple(-move for move in moves)


def test_a_row_is_rounded_down_for_whoever_holds_it() -> None:
    """Tin at 7 ticks of 10 is 70; 10 % are 7, a third 2.33, two thirds 4.67, twice 14, of which 35 % are 4.9."""
    (row,) = [r for r in ARRAY.instruments if r.instrument == "TIN-NEAR"]
    assert row.long_minor == (0, 0, 2, 2, -3, -3, 4, 4, -5, -5, 7, 7, -7, -7, 4, -5)
    assert row.short_minor == (0, 0, -3, -3, 2, 2, -5, -5, 4, 4, -7, -7, 7, 7, -5, 4)


@pytest.mark.parametrize(("quantity", "scenario"), [(10, 12), (-10, 10)])
def test_an_outright_position_requires_the_whole_range_against_it(quantity: int, scenario: int) -> None:
    result = margin(lots(GOLD_NEAR=quantity), ARRAY, PARAMETERS)
    assert result.amount_minor == 900
    (gold,) = result.underlyings
    assert (gold.underlying, gold.risk_minor, gold.scenario) == (GOLD, 900, scenario)
    assert gold.exposure_minor == 90 * quantity
    assert (result.credit_minor, result.basis_minor, result.floor_minor) == (0, 0, 180)


def test_positions_in_unrelated_underlyings_are_added() -> None:
    assert amount(GOLD_NEAR=1, TIN_NEAR=1) == 90 + 7
    assert amount(GOLD_NEAR=1, TIN_NEAR=-1) == 90 + 7


def test_two_instruments_on_one_underlying_are_one_position_with_a_basis_charge() -> None:
    """Long 10 near (900), short 10 far (990): 90 are left. Matched notional 10,000 at 50 bp is 50 more."""
    result = margin(lots(GOLD_NEAR=10, GOLD_FAR=-10), ARRAY, PARAMETERS)
    assert result.underlyings[0].risk_minor == 90
    assert result.basis_minor == 50
    assert result.floor_minor == 378, "a fifth of 1,890"
    assert result.amount_minor == 378


def test_without_the_cap_on_netting_the_hedge_requires_its_basis_charge() -> None:
    uncapped = replace(PARAMETERS, offset_cap_bp=10_000)
    assert amount(uncapped, GOLD_NEAR=10, GOLD_FAR=-10) == 90 + 50


def test_the_basis_charge_is_on_the_smaller_side_and_rounded_up() -> None:
    """Long 3 near (3,000) against short 1 far (1,100): 50 bp of 1,100 are 5.5."""
    result = margin(lots(GOLD_NEAR=3, GOLD_FAR=-1), ARRAY, PARAMETERS)
    assert (result.underlyings[0].risk_minor, result.basis_minor) == (270 - 99, 6)
    assert result.amount_minor == 177


def test_positions_on_the_same_side_have_no_basis_charge() -> None:
    assert margin(lots(GOLD_NEAR=3, GOLD_FAR=1), ARRAY, PARAMETERS).basis_minor == 0


def test_a_basis_charge_makes_no_hedge_dearer_than_its_two_legs() -> None:
    """On a range of 10 bp a charge of 50 bp would; 20 bp is what hedging saves there."""
    calm = replace(
        PARAMETERS,
        scan_ranges=(ScanRange(underlying=GOLD, move_bp=10),),
        offsets=(),
        offset_cap_bp=10_000,
    )
    bars = (instrument("GOLD-FAR", GOLD, 3_000), instrument("GOLD-NEAR", GOLD, 3_000))
    array = risk_array(bars, Snapshot(prices=MARKS, at_ms=0), calm)
    apart = amount(calm, array, GOLD_NEAR=110) + amount(calm, array, GOLD_FAR=-100)
    assert apart == 110 * 300 + 100 * 330
    assert amount(calm, array, GOLD_NEAR=110, GOLD_FAR=-100) == apart


def test_opposite_exposures_in_two_underlyings_earn_credit() -> None:
    """Long gold 900, short 15 silver at 60 = 900: 70 % of both are 1,260 of 1,800."""
    result = margin(lots(GOLD_NEAR=10, SILVER_NEAR=-15), ARRAY, PARAMETERS)
    assert [u.risk_minor for u in result.underlyings] == [900, 900]
    assert result.credit_minor == 1_260
    assert result.amount_minor == 540


def test_only_the_matched_part_earns_credit_rounded_down() -> None:
    """Short 1 silver is 60: 70 % of 120 are 84; short 7 tin earns nothing, there is no offset for it."""
    assert margin(lots(GOLD_NEAR=10, SILVER_NEAR=-1), ARRAY, PARAMETERS).credit_minor == 84
    odd = replace(PARAMETERS, offsets=(Offset(first=GOLD, second=SILVER, rate_bp=6_999),))
    assert margin(lots(GOLD_NEAR=10, SILVER_NEAR=-1), ARRAY, odd).credit_minor == 83
    assert margin(lots(GOLD_NEAR=10, TIN_NEAR=-7), ARRAY, PARAMETERS).credit_minor == 0


def test_the_same_side_in_two_underlyings_earns_no_credit() -> None:
    assert margin(lots(GOLD_NEAR=10, SILVER_NEAR=15), ARRAY, PARAMETERS).credit_minor == 0


def test_the_netting_benefit_is_capped() -> None:
    """With full credit and no basis the hedge would need nothing; a fifth of 900 + 900 is the least."""
    full = replace(PARAMETERS, offsets=(Offset(first=GOLD, second=SILVER, rate_bp=10_000),))
    result = margin(lots(GOLD_NEAR=10, SILVER_NEAR=-15), ARRAY, full)
    assert (result.credit_minor, result.floor_minor, result.amount_minor) == (1_800, 360, 360)


def test_the_floor_is_rounded_up() -> None:
    assert margin(lots(TIN_NEAR=1), ARRAY, PARAMETERS).floor_minor == 2, "a fifth of 7 is 1.4"


def test_nothing_requires_nothing() -> None:
    assert margin({}, ARRAY, PARAMETERS).amount_minor == 0
    assert amount(GOLD_NEAR=0) == 0


def test_a_position_that_the_array_does_not_know_is_a_bug() -> None:
    with pytest.raises(InvariantViolated, match="row in the risk array"):
        amount(LEAD_NEAR=1)


def test_an_instrument_without_a_mark_has_no_row() -> None:
    array = risk_array(ALL, Snapshot(prices={GOLD_NEAR.feed: 100}, at_ms=0), PARAMETERS)
    assert [row.instrument for row in array.instruments] == ["GOLD-NEAR"]


def test_the_requirement_is_a_quarter_above_maintenance_rounded_up() -> None:
    house = two_traders().state
    assert [required(house, m) for m in (0, 1, 3, 4, 100)] == [0, 2, 4, 5, 125]


@pytest.mark.parametrize(
    ("equity", "health"),
    [
        (125, Health.HEALTHY),
        (124, Health.CALL),
        (100, Health.CALL),
        (99, Health.LIQUIDATION),
        (0, Health.LIQUIDATION),
        (-1, Health.BANKRUPT),
    ],
)
def test_health_has_four_states(equity: int, health: Health) -> None:
    assert health_of(equity, 100, 125) is health


def test_without_positions_a_set_is_healthy_until_it_owes() -> None:
    assert health_of(0, 0, 0) is Health.HEALTHY
    assert health_of(-1, 0, 0) is Health.BANKRUPT


def test_the_model_stands_in_the_table_under_the_name_that_its_array_carries() -> None:
    assert {name: (m.name, m.version) for name, m in MODELS.items()} == {
        "expected_shortfall": ("expected_shortfall", "1"),
        "grid": ("grid", "1"),
        "scan": ("scan", "3"),
        "static": ("static", "1"),
    }
    assert ARRAY.model == "scan"
