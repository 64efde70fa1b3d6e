"""The ``static`` model by hand: a percentage of the notional, more where much is open (rulebook §9.4)."""

from dataclasses import replace

import pytest

from clearing.margin.model import Margin, Market, UnderlyingRisk
from clearing.margin.models import static
from clearing.margin.pricing import value_ticks
from clearing.model.ids import InstrumentId
from clearing.model.values import DAY_MS, Parameters, Right, RiskArray, ScanRange
from tests.unit.test_grid import CALL, MARKS
from tests.unit.test_scan import GOLD, GOLD_FAR, GOLD_NEAR, SILVER, SILVER_NEAR, lots

GOLD_RANGE = ScanRange(underlying=GOLD, move_bp=2_000)
PARAMETERS = Parameters(scan_ranges=(GOLD_RANGE, ScanRange(underlying=SILVER, move_bp=1_000)))
LISTED = (GOLD_NEAR, GOLD_FAR, SILVER_NEAR, CALL)


def array(scanned: ScanRange = GOLD_RANGE, **open_lots: int) -> RiskArray:
    market = Market(prices=MARKS, at_ms=0, open_lots=lots(**open_lots))
    parameters = replace(PARAMETERS, scan_ranges=(scanned, PARAMETERS.scan_ranges[1]))
    return static.risk_array(LISTED, market, parameters)


def capped_array(open_near: int) -> RiskArray:
    """With caps at 1,000,000 and 2,000,000 of open notional; a lot of near gold is 10,000."""
    scanned = replace(GOLD_RANGE, open_notional_lower_minor=10**6, open_notional_upper_minor=2 * 10**6)
    return array(scanned, GOLD_NEAR=open_near)


def margin(**wanted: int) -> Margin:
    return static.margin(lots(**wanted), array(), PARAMETERS)


def test_a_position_requires_its_rate_of_the_notional_on_either_side() -> None:
    """Gold at 1,000 ticks of 10 is 10,000; a fifth of it."""
    assert margin(GOLD_NEAR=3).amount_minor == margin(GOLD_NEAR=-3).amount_minor == 6_000


def test_nothing_hedges_anything() -> None:
    """Near 22,000, far 22,000, silver 10 lots at 500."""
    result = margin(GOLD_NEAR=11, GOLD_FAR=-10, SILVER_NEAR=-10)
    assert result.amount_minor == 22_000 + 22_000 + 5_000
    assert result.contributions == lots(GOLD_NEAR=22_000, GOLD_FAR=22_000, SILVER_NEAR=5_000)
    assert result.underlyings == (
        UnderlyingRisk(underlying=GOLD, risk_minor=44_000, scenario=0, exposure_minor=-44_000),
        UnderlyingRisk(underlying=SILVER, risk_minor=5_000, scenario=0, exposure_minor=-5_000),
    )


def test_an_option_sold_requires_the_rate_of_its_forward_and_one_bought_what_it_is_worth() -> None:
    worth = value_ticks(CALL, 1_000, 6_000, 0) * 10
    assert margin(GOLD_CALL=-2).amount_minor == 2 * 2_000
    assert margin(GOLD_CALL=2).amount_minor == 2 * worth > 0


def test_an_expired_option_that_is_worth_nothing_asks_its_buyer_for_nothing() -> None:
    market = Market(prices=MARKS, at_ms=31 * DAY_MS)
    over = static.risk_array(LISTED, market, PARAMETERS)
    assert static.margin(lots(GOLD_CALL=5), over, PARAMETERS).amount_minor == 0
    assert CALL.option is not None
    put = replace(CALL, option=replace(CALL.option, right=Right.PUT))
    over = static.risk_array([put], market, PARAMETERS)
    assert static.margin(lots(GOLD_CALL=5), over, PARAMETERS).amount_minor == 5 * 300 * 10


@pytest.mark.parametrize(
    ("open_near", "rate_percent"),
    [(0, 20), (100, 20), (125, 40), (150, 60), (199, 99.2), (200, 100), (10_000, 100)],
)
def test_the_rate_rises_in_a_straight_line_between_the_caps(open_near: int, rate_percent: float) -> None:
    found = static.margin(lots(GOLD_NEAR=1), capped_array(open_near), PARAMETERS)
    assert found.amount_minor == 100 * rate_percent


def test_everything_on_an_underlying_counts_as_open_and_nothing_else_does() -> None:
    """25 lots of each: 250,000 and 275,000 and, by its forward, 250,000 of the call."""
    scanned = replace(GOLD_RANGE, open_notional_lower_minor=0, open_notional_upper_minor=1_550_000)
    opened = array(scanned, GOLD_NEAR=25, GOLD_FAR=25, GOLD_CALL=25, SILVER_NEAR=10**6)
    assert static.margin(lots(GOLD_NEAR=1), opened, PARAMETERS).amount_minor == 2_000 + 4_000
    assert static.margin(lots(SILVER_NEAR=1), opened, PARAMETERS).amount_minor == 500


def test_the_rate_and_the_amount_of_a_lot_are_rounded_up() -> None:
    """A third of 80 % beyond 20 % are 46.6667 %: of 10,000 that is 4,666.67, of ten million 4,666,670."""
    scanned = replace(GOLD_RANGE, open_notional_lower_minor=0, open_notional_upper_minor=30_000)
    assert array(scanned, GOLD_NEAR=1).instruments[0].long_minor == (-4_667,)
    larger = replace(scanned, open_notional_upper_minor=30_000_000)
    market = Market(prices={GOLD_NEAR.feed: 10**6}, at_ms=0, open_lots=lots(GOLD_NEAR=1))
    (row,) = static.risk_array([GOLD_NEAR], market, replace(PARAMETERS, scan_ranges=(larger,))).instruments
    assert row.short_minor == (-4_666_670,)


def test_a_rate_of_the_whole_notional_or_more_does_not_rise() -> None:
    scanned = replace(GOLD_RANGE, move_bp=15_000, open_notional_lower_minor=1, open_notional_upper_minor=2)
    assert array(scanned, GOLD_NEAR=5).instruments[0].long_minor == (-15_000,)


def test_the_one_scenario_has_a_name() -> None:
    assert len(static.scenario_names(array())) == len(array().instruments[0].long_minor) == 1


def test_an_instrument_without_a_mark_has_no_row() -> None:
    market = Market(prices={GOLD_NEAR.feed: 1_000}, at_ms=0, open_lots={InstrumentId("GOLD-FAR"): 7})
    assert [row.instrument for row in static.risk_array(LISTED, market, PARAMETERS).instruments] == [
        "GOLD-NEAR"
    ]
