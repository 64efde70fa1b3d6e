"""The ``grid`` model by hand: its matrix and tails, contingency and basis charge (rulebook §9.3)."""

from dataclasses import replace

import pytest

from clearing.margin.model import Market
from clearing.margin.models.grid import GRID
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import (
    DAY_MS,
    InstrumentKind,
    Offset,
    OptionTerms,
    Parameters,
    Right,
    ScanRange,
)
from tests.unit.test_scan import GOLD, GOLD_FAR, GOLD_NEAR, SILVER, SILVER_NEAR, lots

VOL = FeedId("GOLD-VOL")
CALL = replace(
    GOLD_NEAR,
    id=InstrumentId("GOLD-CALL"),
    kind=InstrumentKind.OPTION,
    expires_ms=30 * DAY_MS,
    option=OptionTerms(right=Right.CALL, strike_ticks=1_300, volatility_feed=VOL),
)
MARKS = {GOLD_NEAR.feed: 1_000, GOLD_FAR.feed: 1_100, SILVER_NEAR.feed: 500, VOL: 6_000}
PARAMETERS = Parameters(
    scan_ranges=(
        ScanRange(underlying=GOLD, move_bp=1_000, volatility_bp=4_000),
        ScanRange(underlying=SILVER, move_bp=1_000),
    ),
    offsets=(Offset(first=GOLD, second=SILVER, rate_bp=7_000),),
)
ARRAY = GRID.risk_array((GOLD_NEAR, GOLD_FAR, SILVER_NEAR, CALL), Market(prices=MARKS, at_ms=0), PARAMETERS)
ROWS = {row.instrument: row for row in ARRAY.instruments}


def amount(**wanted: int) -> int:
    return GRID.margin(lots(**wanted), ARRAY, PARAMETERS).amount_minor


def test_there_are_nine_prices_by_three_volatilities_and_four_tails() -> None:
    assert len(GRID.names) == len(set(GRID.names)) == 9 * 3 + 4
    assert GRID.names[0] == "price +0/4, volatility up"
    assert GRID.names[GRID.up] == "price +4/4, volatility up"
    assert GRID.names[-1] == "price -3 ranges, volatility up, 1/3 counted"
    assert all(len(row.long_minor) == len(row.short_minor) == 31 for row in ARRAY.instruments)


def test_a_row_is_the_move_of_the_notional_in_every_cell() -> None:
    """Gold at 1,000 ticks of 10 is 10,000; 10 % of it are 1,000, and so are a half of 20 % and a third of 30 %."""
    row = ROWS[GOLD_NEAR.id]
    quarters = (0, 250, -250, 500, -500, 750, -750, 1_000, -1_000)
    assert row.long_minor == (*(q for q in quarters for _ in range(3)), 1_000, -1_000, 1_000, -1_000)
    assert row.short_minor == tuple(-one for one in row.long_minor)


def test_an_outright_position_requires_the_whole_range_and_a_tail_adds_nothing() -> None:
    assert amount(GOLD_NEAR=3) == amount(GOLD_NEAR=-3) == 3_000


def test_a_call_sold_far_away_requires_what_a_tail_says_and_its_contingency() -> None:
    """At three ranges up the forward is 1,300, at the strike. Volatility is 84 %, thirty days are left: the value there
    is 0.4 × 1,300 × 0.84 × √(30/365) or about 125 ticks, against some 5 at the mark. A third of that counts; the
    contingency is 1 % of 10,000. In the matrix itself the worst is a rise to 1,100 only.
    """
    row = ROWS[CALL.id]
    worst_cell = min(range(31), key=lambda n: row.short_minor[n])
    matrix = -min(row.short_minor[:27]) - 100
    tail = -min(row.short_minor[27:]) - 100
    assert GRID.names[worst_cell] == "price +3 ranges, volatility up, 1/3 counted"
    assert tail == pytest.approx((125 - 5) * 10 / 3, rel=0.02)
    assert matrix < tail
    assert amount(GOLD_CALL=-7) == 7 * (tail + 100)
    assert GRID.margin(lots(GOLD_CALL=-7), ARRAY, PARAMETERS).underlyings[0].minimum_minor == 700


def test_who_bought_an_option_can_lose_what_it_is_worth_and_no_more() -> None:
    worth = -ROWS[CALL.id].long_minor[GRID.names.index("price -4/4, volatility down")]
    assert 0 < amount(GOLD_CALL=1) == worth <= 10 * 5.5


def test_two_underlyings_offset_nothing() -> None:
    assert amount(GOLD_NEAR=3, SILVER_NEAR=-6) == 3_000 + 3_000
    assert GRID.margin(lots(GOLD_NEAR=3, SILVER_NEAR=-6), ARRAY, PARAMETERS).credit_minor == 0


def test_a_calendar_spread_pays_the_basis_charge() -> None:
    """Long 11 near (110,000), short 10 far (110,000): nothing is left but 50 bp, or a fifth of 22,000."""
    result = GRID.margin(lots(GOLD_NEAR=11, GOLD_FAR=-10), ARRAY, PARAMETERS)
    assert (result.basis_minor, result.floor_minor, result.amount_minor) == (550, 4_400, 4_400)
    uncapped = replace(PARAMETERS, offset_cap_bp=10_000)
    assert GRID.margin(lots(GOLD_NEAR=11, GOLD_FAR=-10), ARRAY, uncapped).amount_minor == 550
