"""Options, the basis and accounts on the real data: the figures that docs and rules are made of."""

import pytest

from clearing.backtest_markets import accounts_found, options_and_basis
from clearing.margin.backtest.liquidations import FLAT, SHORT, count
from clearing.margin.backtest.markets import AccountFindings, BasisFindings, OptionFindings
from clearing.margin.backtest.report import PROMISING
from clearing.market_data import read_market
from tests.market_data import market_file

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def surfaces() -> tuple[OptionFindings, BasisFindings]:
    folder = market_file("iv_surface_history.csv.gz").parent
    options, basis = options_and_basis(folder, read_market(folder), lambda _what, _done, _of: None)
    assert options is not None
    assert basis is not None
    return options, basis


@pytest.fixture(scope="module")
def accounts() -> AccountFindings:
    folder = market_file("hl_trades.csv.gz").parent
    found = accounts_found(folder, read_market(folder), lambda _what, _done, _of: None)
    assert found is not None
    return found


def test_options_were_seen_on_eighty_nine_days(surfaces: tuple[OptionFindings, BasisFindings]) -> None:
    options, _ = surfaces
    assert (options.steps, options.history_ends, options.begins) == (89, "2022-12-31", "2025-12-30")


def test_most_option_books_are_covered_and_some_kinds_are_not_as_promised(
    surfaces: tuple[OptionFindings, BasisFindings],
) -> None:
    options, _ = surfaces
    found = {one.name: one for one in options.books if one.model == PROMISING}
    assert found["all"].coverage >= 0.99
    assert found["random options"].coverage >= 0.99
    assert all(one.coverage >= 0.99 for name, one in found.items() if name.endswith("short"))
    assert all(one.coverage_high >= 0.99 for one in found.values())
    assert min(one.coverage for one in found.values()) >= 0.97


def test_the_slope_of_volatility_is_not_stable(surfaces: tuple[OptionFindings, BasisFindings]) -> None:
    whole, first, second = surfaces[0].fits
    assert -0.6 < whole.slope < -0.3
    assert 0.04 < whole.residual < 0.05
    assert first.slope < -0.8 < -0.1 < second.slope
    assert first.judged_explained < 0


def test_fifty_basis_points_cover_the_basis_and_under_the_cap_no_floor_is_needed(
    surfaces: tuple[OptionFindings, BasisFindings],
) -> None:
    found = {(one.floor_bp, one.capped): one.found for one in surfaces[1].by_floor}
    assert found[25, False].coverage >= 0.99 > found[10, False].coverage
    assert found[50, False].coverage == 1
    assert found[0, True].coverage == 1
    assert found[50, True].mean_requirement > 5 * found[50, False].mean_requirement


def test_no_account_lost_more_than_its_requirement(accounts: AccountFindings) -> None:
    whole = next(one for one in accounts.sizes if one.model == PROMISING and one.name == "all")
    assert (whole.observations, whole.exceptions) == (285, 0)
    assert (accounts.left_out.positions, accounts.left_out.of_positions) == (278, 647)


def test_most_who_were_liquidated_were_short_before(accounts: AccountFindings) -> None:
    assert len(accounts.liquidations) == 30
    midnight = count([one.at_midnight for one in accounts.liquidations])
    assert midnight[SHORT] == 30 - midnight[FLAT] == 14
    assert count([one.after_own_trade for one in accounts.liquidations])[SHORT] >= 24
