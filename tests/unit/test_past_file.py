"""Daily closes in a file: what is read, how it is rounded, and which line is wrong."""

import gzip
from datetime import date
from pathlib import Path

import pytest

from clearctl.past import DAYS_AT_ONCE_MAX, RETURN_PPM_MAX, RETURN_PPM_MIN, PastRefused, Returns, returns_in
from clearing.margin.factors import MOVE_PPM_MAX
from clearing.model.commands import HISTORY_DAYS_MAX
from clearing.model.values import PPM


def read(folder: Path, *lines: str, head: str = "date,close", asset: str | None = None) -> list[Returns]:
    path = folder / "closes.csv"
    path.write_text("\n".join((head, *lines)) + "\n", encoding="utf-8")
    return returns_in(path, asset)


def refused(folder: Path, *lines: str, head: str = "date,close", asset: str | None = None) -> str:
    with pytest.raises(PastRefused) as error:
        read(folder, *lines, head=head, asset=asset)
    return str(error.value)


def test_the_bounds_are_those_of_the_house() -> None:
    assert (RETURN_PPM_MIN, RETURN_PPM_MAX) == (1 - PPM, MOVE_PPM_MAX)
    assert DAYS_AT_ONCE_MAX == HISTORY_DAYS_MAX


def test_each_day_but_the_first_has_a_return_in_millionths_rounded_down(tmp_path: Path) -> None:
    found = read(
        tmp_path, "2020-02-28,3", "2020-02-29,2", "2020-03-01,3.0", "2020-03-02,3", "2020-03-03,2.999999"
    )
    assert found == [Returns(date(2020, 2, 29), (-333_334, 500_000, 0, -1))]
    assert found[0].last == date(2020, 3, 3)


def test_closes_are_exact_however_they_are_written(tmp_path: Path) -> None:
    found = read(tmp_path, "2020-01-01,5e-05", "2020-01-02,0.0000500001")
    assert found[0].moves_ppm[0] == 2


def test_a_thousand_days_are_one_part_and_one_more_begins_another(tmp_path: Path) -> None:
    first = date(2017, 1, 1).toordinal()
    lines = [f"{date.fromordinal(first + day)},{100 + day % 7}" for day in range(1_002)]
    assert [len(part.moves_ppm) for part in read(tmp_path, *lines[:-1])] == [1_000]
    one, other = read(tmp_path, *lines)
    assert (len(one.moves_ppm), len(other.moves_ppm)) == (1_000, 1)
    assert (one.first, one.last, other.first) == (
        date(2017, 1, 2),
        date.fromordinal(first + 1_000),
        date.fromordinal(first + 1_001),
    )


def test_of_a_file_of_many_assets_one_is_read_and_a_change_of_currency_is_no_return(tmp_path: Path) -> None:
    lines = (
        *("2020-12-30,BTC,USD,100", "2020-12-30,ETH,USD,7", "2020-12-31,BTC,USD,110"),
        *("2021-01-01,BTC,USDT,220", "2021-01-01,ETH,USDT,9", "2021-01-02,BTC,USDT,209"),
    )
    found = read(tmp_path, *lines, head="date,asset,quote,close", asset="BTC")
    assert found == [Returns(date(2020, 12, 31), (100_000,)), Returns(date(2021, 1, 2), (-50_000,))]


def test_a_file_may_be_packed_and_may_begin_with_a_mark_of_its_encoding(tmp_path: Path) -> None:
    packed = tmp_path / "closes.csv.gz"
    packed.write_bytes(gzip.compress("\ufeffdate,close\r\n2020-01-01,1\r\n2020-01-02,2\r\n".encode()))
    assert returns_in(packed, None) == [Returns(date(2020, 1, 2), (PPM,))]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (("2020-01-01,1", "2020-01-03,1"), "line 3: 2020-01-02 is missing before it"),
        (("2020-01-01,1", "2020-01-02,1", "2020-01-02,1"), "line 4: 2020-01-02 stands in line 3 already"),
        (("2020-01-02,1", "2020-01-01,1"), "line 3: 2020-01-01 comes before 2020-01-02 in line 2"),
        (("2020-01-01,1", "2020-01-02,0"), "line 3: the close 0 is no price: it has to be above zero"),
        (("2020-01-01,-1",), "line 2: the close -1 is no price: it has to be above zero"),
        (("2020-01-01,NaN",), "line 2: the close NaN is no price: it has to be above zero"),
        (("2020-01-01,inf",), "line 2: the close inf is no price: it has to be above zero"),
        (("2020-01-01,1e999999",), "line 2: the close 1e999999 is no price: it has to be above zero"),
        (("2020-01-01,",), "line 2: the close '' is no number"),
        (("2020-01-01",), "line 2: the close None is no number"),
        (("2020-01-01,1 000",), "line 2: the close '1 000' is no number"),
        (("2020-1-1,1",), "line 2: 2020-1-1 is no day such as 2026-01-31"),
        (("20200101,1",), "line 2: 20200101 is no day such as 2026-01-31"),
        (("2020-02-30,1",), "line 2: 2020-02-30 is no day such as 2026-01-31"),
        (
            ("2020-01-01,1", "2020-01-02,102"),
            "line 3: from 2020-01-01 to 2020-01-02 the price moves beyond what is possible",
        ),
        (
            ("2020-01-01,10000000", "2020-01-02,1"),
            "line 3: from 2020-01-01 to 2020-01-02 the price moves beyond what is possible",
        ),
        ((), "two days that follow each other are needed for a return"),
        (("2020-01-01,1",), "two days that follow each other are needed for a return"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, lines: tuple[str, ...], says: str) -> None:
    assert refused(tmp_path, *lines) == says


def test_the_largest_moves_that_a_house_takes_are_taken(tmp_path: Path) -> None:
    found = read(tmp_path, "2020-01-01,1", "2020-01-02,101", "2020-01-03,0.000101")
    assert found[0].moves_ppm == (MOVE_PPM_MAX, 1 - PPM)


def test_the_columns_are_said_in_the_first_line(tmp_path: Path) -> None:
    assert refused(tmp_path, head="day,close") == "line 1: there is no column date"
    assert refused(tmp_path, head="date,price") == "line 1: there is no column close"
    assert refused(tmp_path, asset="BTC") == "line 1: there is no column asset"
    needs = "line 1: there is a column asset: say which with --asset"
    assert refused(tmp_path, "2020-01-01,BTC,1", head="date,asset,close") == needs
    nothing = refused(tmp_path, "2020-01-01,BTC,1", head="date,asset,close", asset="ETH")
    assert nothing == "two days that follow each other are needed for a return"


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"\x1f\x8b\x08", b""])
def test_what_is_no_text_is_refused(tmp_path: Path, data: bytes) -> None:
    for name in ("closes.csv", "closes.csv.gz"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(PastRefused):
            returns_in(tmp_path / name, None)
