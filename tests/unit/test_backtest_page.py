"""The page of a validation: whole, self-contained, the same each time."""

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from clearing.backtest import Asked, Validation, validate
from clearing.backtest_page import page
from clearing.margin.backtest.option_books import RANDOM_BOOKS
from tests.surfaces import START_MS

pytestmark = pytest.mark.slow

DAYS = 420


def _write(path: Path, columns: str, rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns.split(","))
        writer.writerows(rows)


def _day(number: int) -> str:
    return str(np.datetime64(START_MS, "ms").astype("datetime64[D]") + number)


def folder(path: Path, *, more: bool = True) -> Path:
    """A folder of made-up data: three assets, five days of surfaces and trades after their history."""
    chance = np.random.default_rng(8)
    rows: list[list[object]] = []
    for asset in ("AAA", "BBB", "CCC<script>"):
        closes = 100 * np.exp(np.cumsum(chance.standard_t(4, DAYS) * 0.02))
        rows += [
            [_day(n - DAYS), asset, "USD", c, c * 1.03, c * 0.97, c, 1000, "base", "made", "traded"]
            for n, c in enumerate(closes.tolist())
        ]
    _write(path / "daily.csv", "date,asset,quote,open,high,low,close,volume,volume_unit,source,ohlc", rows)
    if not more:
        return path
    surface = [
        [f"{_day(n)} 00:00:00", "AAA", _day(n_expiry), 0, 100 + n, 100 + n, 0.5, 0.52, 0.51, 9]
        for n in range(6)
        for n_expiry in (12, 40, 100)
    ]
    _write(
        path / "iv_surface_history.csv",
        "ts_utc,currency,expiry,ttm_years,underlying_price,index_price,atm_iv,iv_25d_put,iv_25d_call,n_strikes",
        surface,
    )
    trades = [
        [f"{_day(n)} 10:00:00", user, coin, "Bid" if n % 2 else "Ask", 100 + n, 1.5, "True"]
        for n in range(5)
        for user, coin in (("u1", "AAA"), ("u2", "NEW"))
    ]
    _write(path / "hl_trades.csv", "ts_utc,user,coin,side,px,sz,crossed", trades)
    _write(path / "hl_ledger.csv", "ts_utc,user,delta_usd", [[f"{_day(0)} 09:00:00", "u1", 30]])
    _write(
        path / "hl_liquidations.csv",
        "ts_utc,user,liquidated_ntl_pos,liquidated_account_value,leverage_type",
        [[f"{_day(3)} 12:00:00", "u2", 150, 2, "Cross"]],
    )
    return path


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Validation:
    return validate(Asked(folder=folder(tmp_path_factory.mktemp("market")), more=True))


def test_a_page_needs_nothing_from_elsewhere_and_has_every_part(found: Validation) -> None:
    text = page(found.report, found.walked, found.markets)
    assert not re.search(r"<script|<link|<img|<iframe|@import|(src|action)=|url\((?!#)", text)
    links = set(re.findall(r'href="([^"]*)"', text))
    assert all(link.startswith("#") for link in links)
    names = set(re.findall(r'id="([a-z]+)"', text))
    assert {link[1:] for link in links if link[1:].isalpha()} <= names
    assert {"verdicts", "assets", "options", "basis", "accounts", "ruin", "limits", "data"} <= names
    assert text.index('id="verdicts"') < text.index("<svg")


def test_the_same_validation_gives_the_same_bytes(found: Validation) -> None:
    assert page(found.report, found.walked, found.markets) == page(found.report, found.walked, found.markets)


def test_a_page_says_no_time_but_that_of_the_data(found: Validation) -> None:
    text = page(found.report, found.walked, found.markets)
    years = {int(year) for year in re.findall(r"\b(20\d\d)-\d\d-\d\d", text)}
    assert years <= {2023, 2024, 2025}
    assert "dc:date" not in text


def test_names_of_the_data_are_text_and_nothing_else(found: Validation) -> None:
    text = page(found.report, found.walked, found.markets)
    assert "CCC<script>" not in text
    assert "CCC&lt;script&gt;" in text


def test_without_surfaces_and_accounts_the_page_is_of_linear_books(found: Validation) -> None:
    text = page(found.report, found.walked)
    assert 'id="options"' not in text
    assert 'id="accounts"' not in text
    assert 'id="verdicts"' in text


def test_what_a_folder_lacks_is_left_out(tmp_path: Path) -> None:
    lacking = validate(Asked(folder=folder(tmp_path, more=False), more=True))
    assert lacking.markets is not None
    assert (lacking.markets.options, lacking.markets.basis, lacking.markets.accounts) == (None, None, None)
    assert lacking.markets.ruin
    assert 'id="options"' not in page(lacking.report, lacking.walked, lacking.markets)


def test_every_market_is_found_in_a_folder_that_has_it(found: Validation) -> None:
    assert found.markets is not None
    options, accounts = found.markets.options, found.markets.accounts
    assert options is not None
    assert (options.steps, options.currencies) == (5, ("AAA",))
    assert (options.history_ends, options.begins) == (_day(-1), _day(0))
    books = next(one for one in options.books if one.name == "all")
    assert 5 * RANDOM_BOOKS < books.observations <= 5 * (76 + RANDOM_BOOKS)
    assert accounts is not None
    assert accounts.by_proxy == ("NEW",)
    assert len(accounts.liquidations) == 1
    assert found.markets.basis is not None
    assert {one.floor_bp for one in found.markets.basis.by_floor} == {0, 10, 25, 50, 100}
