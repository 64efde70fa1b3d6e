"""The reader of a folder of market data: what it mends, what it says, and what it refuses."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from clearing.market_data import DataRefused, MarketData, read_market, read_table
from tests.market_folder import FIRST, bar, bars, folder, write

DAY = timedelta(days=1)


def read(tmp_path: Path, rows: Iterable[Mapping[str, object]]) -> MarketData:
    return read_market(folder(tmp_path / "data", rows))


def found(data: MarketData) -> dict[str, int]:
    return {one.kind: one.count for one in data.findings}


def test_a_clean_series_is_read_as_it_stands(tmp_path: Path) -> None:
    data = read(tmp_path, bars("ORE", [10, 11, 9.9]))
    series = data.daily["ORE"]
    assert series.close.tolist() == [10, 11, 9.9]
    assert series.returns_ppm.tolist()[1:] == [100_000, -100_000]
    assert np.isnan(series.returns[0])
    assert data.findings == ()
    assert "iv_surface_history" in data.missing


def test_gzip_and_plain_files_are_read_alike(tmp_path: Path) -> None:
    rows = bars("ORE", [10, 11])
    plain, packed = folder(tmp_path / "a", rows), folder(tmp_path / "b", rows, name="daily.csv.gz")
    assert read_market(plain).daily["ORE"].close.tolist() == read_market(packed).daily["ORE"].close.tolist()


def test_a_step_over_a_gap_is_no_return(tmp_path: Path) -> None:
    data = read(tmp_path, [*bars("ORE", [10, 11]), bar(FIRST + 3 * DAY, "ORE", 22)])
    assert found(data) == {"gap": 1}
    assert np.isnan(data.daily["ORE"].returns[2])


def test_the_step_from_one_quote_to_the_next_is_no_return(tmp_path: Path) -> None:
    first, second = bars("ORE", [10, 11]), bars("ORE", [22, 24.2], first=FIRST + 2 * DAY, quote="USDX")
    series = read(tmp_path, [*second, *first]).daily["ORE"]
    assert series.close.tolist() == [10, 11, 22, 24.2]
    assert [bool(np.isnan(one)) for one in series.returns] == [True, False, True, False]


def test_a_quote_ends_where_the_next_begins(tmp_path: Path) -> None:
    first, second = bars("ORE", [10, 11, 12]), bars("ORE", [22, 24], first=FIRST + DAY, quote="USDX")
    data = read(tmp_path, [*first, *second])
    assert data.daily["ORE"].close.tolist() == [10, 22, 24]
    assert found(data) == {"overlap": 2}


def test_assets_with_like_names_are_never_joined(tmp_path: Path) -> None:
    data = read(tmp_path, [*bars("ORE", [10, 11]), *bars("ORE2", [1, 2], first=FIRST + 2 * DAY)])
    assert list(data.daily) == ["ORE", "ORE2"]
    assert len(data.daily["ORE"].days) == 2


def test_a_row_that_is_repeated_is_read_once(tmp_path: Path) -> None:
    rows = bars("ORE", [10, 11])
    data = read(tmp_path, [*rows, rows[1]])
    assert data.daily["ORE"].close.tolist() == [10, 11]
    assert found(data) == {"duplicate": 1}


def test_two_rows_of_one_day_that_differ_are_refused(tmp_path: Path) -> None:
    rows = [*bars("ORE", [10, 11]), bar(FIRST + DAY, "ORE", 12)]
    with pytest.raises(DataRefused, match=r"daily.csv row 4: ORE/EUR has other prices than row 3"):
        read(tmp_path, rows)


def test_two_rows_of_one_day_with_other_ranges_are_refused(tmp_path: Path) -> None:
    rows = [bar(FIRST, "ORE", 10, low=9, high=11), bar(FIRST, "ORE", 10, low=8, high=11)]
    with pytest.raises(DataRefused, match="has other prices than row 2"):
        read(tmp_path, rows)


def test_rows_out_of_order_are_sorted(tmp_path: Path) -> None:
    one, two, three = bars("ORE", [10, 11, 12])
    data = read(tmp_path, [one, three, two])
    assert data.daily["ORE"].close.tolist() == [10, 11, 12]
    assert found(data) == {"out_of_order": 1}


@pytest.mark.parametrize("close", ["", "0", "-3", "nan", "inf"])
def test_a_row_without_a_price_is_dropped(tmp_path: Path, close: str) -> None:
    rows = bars("ORE", [10, 11, 12])
    data = read(tmp_path, [rows[0], {**rows[1], "close": close}, rows[2]])
    assert data.daily["ORE"].close.tolist() == [10, 12]
    assert found(data) == {"no_price": 1, "gap": 1}


@pytest.mark.parametrize(("low", "high"), [(12, 9), (10.5, 11), (9, 9.5), (0, 11)])
def test_a_range_that_does_not_hold_its_close_is_forgotten(tmp_path: Path, low: float, high: float) -> None:
    row = {**bar(FIRST, "ORE", 10), "low": low, "high": high}
    data = read(tmp_path, [row, *bars("ORE", [11], first=FIRST + DAY)])
    assert np.isnan(data.daily["ORE"].low[0])
    assert data.daily["ORE"].close[0] == 10
    assert found(data) == {"range": 1}


def test_ranges_made_of_hourly_closes_are_not_traded_ranges(tmp_path: Path) -> None:
    rows = [
        bar(FIRST, "ORE", 10, low=9, high=11),
        bar(FIRST + DAY, "ORE", 10, low=9, high=11, ohlc="hourly_closes"),
    ]
    assert np.isnan(read(tmp_path, rows).daily["ORE"].low).tolist() == [False, True]


def test_a_close_ten_times_off_its_neighbours_is_dropped(tmp_path: Path) -> None:
    data = read(tmp_path, bars("ORE", [10, 101, 10, 10]))
    assert data.daily["ORE"].close.tolist() == [10, 10, 10]
    assert found(data) == {"spike": 1, "gap": 1}


def test_a_jump_that_stays_is_kept_and_said(tmp_path: Path) -> None:
    data = read(tmp_path, bars("ORE", [10, 101, 101, 0.5]))
    assert data.daily["ORE"].close.tolist() == [10, 101, 101, 0.5]
    assert found(data) == {"jump": 2}


def test_a_bar_off_the_grid_of_utc_days_is_dropped(tmp_path: Path) -> None:
    rows = bars("ORE", [10, 11])
    data = read(tmp_path, [*rows, {**bar(FIRST, "ORE", 12), "date": "2030-01-03 05:30:00"}])
    assert found(data) == {"off_grid": 1}
    assert len(data.daily["ORE"].days) == 2


def test_a_time_of_another_zone_is_refused(tmp_path: Path) -> None:
    rows = [{**bar(FIRST, "ORE", 12), "date": "2030-01-03T00:00:00+02:00"}]
    with pytest.raises(
        DataRefused, match=r"daily.csv row 2: date '2030-01-03T00:00:00\+02:00' is not a time of UTC"
    ):
        read(tmp_path, rows)


def test_a_time_that_says_utc_is_taken(tmp_path: Path) -> None:
    rows = [{**bar(FIRST, "ORE", 12), "date": "2030-01-01T00:00:00+00:00"}]
    assert len(read(tmp_path, rows).daily["ORE"].days) == 1


@pytest.mark.parametrize(("column", "text"), [("close", "ten"), ("date", "yesterday"), ("low", "1,5")])
def test_a_field_that_is_none_is_refused_by_its_row(tmp_path: Path, column: str, text: str) -> None:
    with pytest.raises(DataRefused, match=f"daily.csv row 2: {column} '{text}' is not a"):
        read(tmp_path, [{**bar(FIRST, "ORE", 12), column: text}])


def test_a_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.mkdir()
    write(
        path / "daily.csv", ("date", "asset", "close"), [{"date": "2030-01-01", "asset": "ORE", "close": 1}]
    )
    with pytest.raises(DataRefused, match="there is no column"):
        read_market(path)


def test_a_row_with_too_few_fields_is_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "data", bars("ORE", [10]))
    with (path / "daily.csv").open("a") as lines:
        lines.write("2030-01-02,ORE\n")
    with pytest.raises(DataRefused, match=r"daily.csv row 3: 2 fields under 11 columns"):
        read_market(path)


def test_a_file_that_is_no_gzip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "daily.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(DataRefused, match="cannot be read as CSV"):
        read_market(tmp_path)


def test_a_gzip_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "data", bars("ORE", range(10, 500)), name="daily.csv.gz")
    whole = (path / "daily.csv.gz").read_bytes()
    (path / "daily.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataRefused, match="cannot be read as CSV"):
        read_market(path)


def test_a_folder_that_is_not_there_or_has_no_daily_closes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match="there is no such folder"):
        read_market(tmp_path / "nowhere")
    with pytest.raises(DataRefused, match="the backtest needs daily closes"):
        read_market(tmp_path)


def test_a_file_without_rows_has_no_series(tmp_path: Path) -> None:
    assert read(tmp_path, []).daily == {}


def test_stablecoins_are_told_by_what_they_did(tmp_path: Path) -> None:
    broken = [*[1.001, 0.999] * 20, *[0.5] * 10]
    data = read(tmp_path, [*bars("PEG", broken), *bars("ORE", [1, 1.1, 1.3, 0.9])])
    assert {asset: one.is_stable for asset, one in data.daily.items()} == {"ORE": False, "PEG": True}


def test_any_other_file_is_read_as_a_table(tmp_path: Path) -> None:
    write(tmp_path / "funding.csv", ("ts_utc", "rate"), [{"ts_utc": "2030-01-01 08:00:00", "rate": "0.01"}])
    table = read_table(tmp_path, "funding")
    assert table is not None
    assert table.numbers("rate").tolist() == [0.01]
    assert table.times_ms("ts_utc").tolist() == [1_893_484_800_000]
    assert read_table(tmp_path, "trades") is None
