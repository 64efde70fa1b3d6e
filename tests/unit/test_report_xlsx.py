"""Reports as workbooks and as CSV: another library reads the same, and the same report gives the same bytes."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from zipfile import ZipFile

import openpyxl
import pytest

from clearing.model.values import Form
from clearing.reports import sheet, sources
from clearing.reports.canonical import NotRenderable
from clearing.reports.document import Column, Measure, Row, Table
from tests.readings import HEAD, reading
from tests.report_tables import HOSTILE, LONG_DIGITS, all_kinds, amounts, made, of_world, rendered, written
from tests.stories import a_long_life

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def cells(data: bytes) -> dict[str, list[list[object]]]:
    """The sheets, as openpyxl reads them."""
    book = openpyxl.load_workbook(io.BytesIO(data))
    return {one.title: [[cell.value for cell in row] for row in one.rows] for one in book.worksheets}


def one_table(columns: tuple[Column, ...], rows: Iterable[tuple[str, ...]], name: str = "one") -> Table:
    made_rows = [Row(f"r{number}", row, sources.entries([number])) for number, row in enumerate(rows)]
    return Table(id=name, title="One", columns=columns, rows=made_rows)


def test_each_table_has_a_sheet_and_the_first_names_the_digest(tmp_path: Path) -> None:
    path, sha256 = written(tmp_path / "report.json", all_kinds())
    found = cells(rendered(Form.XLSX, path, sha256))
    assert list(found) == ["report", *(table.id for table in all_kinds())]
    head = {row[0]: row[1] for row in found["report"]}
    assert head == HEAD.lines() | {"json_sha256": sha256}


def test_every_cell_is_what_the_report_says(tmp_path: Path) -> None:
    found = cells(made(Form.XLSX, tmp_path, all_kinds()))
    for table in all_kinds():
        rows = list(table.rows)
        assert len(found[table.id]) == len(rows) + 1
        for said, row in zip(found[table.id][1:], rows, strict=True):
            for value, text in zip(said, (row.field, *row.cells, row.source), strict=True):
                assert_same(value, text)


def assert_same(value: object, text: str) -> None:
    if isinstance(value, int | float):
        assert Decimal(repr(value)) == Decimal(text)
    else:
        assert value == (text or None)


def test_a_number_is_one_as_long_as_each_digit_is_kept(tmp_path: Path) -> None:
    columns = (Column("value", "Value", Measure.AMOUNT),)
    texts = ("123456789012.345", "-0.000000000000001", "1234567890123.456", LONG_DIGITS, "0.10", "1e5", "007")
    found = cells(made(Form.XLSX, tmp_path, [one_table(columns, [(text,) for text in texts])]))["one"][1:]
    assert [row[1] for row in found] == [
        123456789012.345,
        -1e-15,
        "1234567890123.456",
        LONG_DIGITS,
        0.1,
        "1e5",
        7,
    ]


def test_a_number_is_shown_with_all_its_decimals(tmp_path: Path) -> None:
    book = openpyxl.load_workbook(io.BytesIO(made(Form.XLSX, tmp_path, [amounts()])))
    row = {cell.value: at for at, cell in enumerate(next(book["amounts"].rows))}
    cell = [*book["amounts"].rows][3][row["Held (USDC)"]]
    assert cell.number_format == "#,##0.00"
    assert [*book["amounts"].rows][3][row["Trades"]].number_format == "#,##0"


def test_a_column_of_text_has_no_numbers(tmp_path: Path) -> None:
    found = cells(made(Form.XLSX, tmp_path, [one_table((Column("name", "Name"),), [("12",)])]))
    assert found["one"][1][1] == "12"


def test_no_text_is_a_formula_or_a_link(tmp_path: Path) -> None:
    columns = (Column("name", "Name"), Column("value", "Value", Measure.AMOUNT))
    data = made(Form.XLSX, tmp_path, [one_table(columns, [(text, text) for text in HOSTILE])])
    book = openpyxl.load_workbook(io.BytesIO(data))
    for row in list(book["one"].rows)[1:]:
        assert {cell.data_type for cell in row} <= {"s", "n", "inlineStr"}
        assert row[2].value == (-2 if row[1].value == "-2" else row[1].value)
        assert all(cell.hyperlink is None for cell in row)
    with ZipFile(io.BytesIO(data)) as archive:
        assert not [name for name in archive.namelist() if b"<f>" in archive.read(name)]


def test_a_text_that_is_too_long_is_cut_and_says_so(tmp_path: Path) -> None:
    texts = [("x" * sheet.CELL_MAX,), ("x" * (sheet.CELL_MAX + 1),)]
    found = cells(made(Form.XLSX, tmp_path, [one_table((Column("name", "Name"),), texts)]))
    assert found["one"][1][1] == texts[0][0]
    assert found["one"][2][1] == "x" * (sheet.CELL_MAX - 1) + "…"


def test_tables_of_long_or_equal_names_have_sheets_of_their_own(tmp_path: Path) -> None:
    names = ["a" * 40, "a" * 35, "A" * 31, "Report"]
    tables = [one_table((Column("n", "N"),), [(name,)], name) for name in names]
    found = cells(made(Form.XLSX, tmp_path, tables))
    assert list(found) == ["report", "a" * 31, "a" * 27 + "~2", "A" * 27 + "~3", "Report~2"]
    assert [rows[1][1] for rows in list(found.values())[1:]] == names


def test_a_table_with_too_many_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet, "ROWS_MAX", 5)
    made(Form.XLSX, tmp_path, [amounts(5)])
    with pytest.raises(NotRenderable, match="amounts has more than 5 rows: ask for CSV or JSON"):
        made(Form.XLSX, tmp_path, [amounts(6)])


MAKE = """
import os, sys
os.umask(int(sys.argv[2], 8))
from pathlib import Path
from clearing.model.values import Form
from tests.report_tables import all_kinds, made
sys.stdout.buffer.write(made(Form.XLSX, Path(sys.argv[1]), all_kinds()))
"""


@pytest.mark.parametrize(("umask", "zone"), [("000", "Asia/Tokyo"), ("077", "America/New_York")])
def test_the_file_says_neither_when_nor_where_nor_as_whom_it_was_made(
    tmp_path: Path, umask: str, zone: str
) -> None:
    first = made(Form.XLSX, tmp_path, all_kinds())
    assert made(Form.XLSX, tmp_path, all_kinds()) == first
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(str(ROOT / one) for one in (".", "clients", "generated")),
        "PYTHONHASHSEED": "77",
        "TMPDIR": str(tmp_path),
        "TZ": zone,
    }
    other = subprocess.run(
        [sys.executable, "-c", MAKE, str(tmp_path), umask],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    assert other.stdout == first
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"], "nothing is left behind"
    with ZipFile(io.BytesIO(first)) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 31, 0, 0, 0)}
        assert {member.external_attr >> 16 for member in archive.infolist()} == {0o600}
        assert archive.testzip() is None


# --- CSV -----------------------------------------------------------------------------------------------


def by_table(data: bytes) -> dict[str, list[list[str]]]:
    found: dict[str, list[list[str]]] = {}
    for line in csv.reader(io.StringIO(data.decode(), newline="")):
        found.setdefault(line[0], []).append(line[1:])
    return found


def test_the_csv_has_what_the_json_has(tmp_path: Path) -> None:
    path, sha256 = written(tmp_path / "report.json", all_kinds())
    said, found = json.loads(path.read_bytes()), by_table(rendered(Form.CSV, path, sha256))
    assert list(found) == ["report", *(table["id"] for table in said["tables"])]
    version = said["report"].pop("version")
    assert (version, found["report"]) == ("1", [["field", "value"], *map(list, said["report"].items())])
    for table in said["tables"]:
        names, *rows = found[table["id"]]
        assert names == ["field", *(column["id"] for column in table["columns"]), "source"]
        texts = [place for place, column in enumerate(table["columns"], 1) if column["measure"] == "text"]
        for row in rows:
            for place in (0, *texts):
                row[place] = row[place].removeprefix("'")
        assert rows == table["rows"]


def test_no_text_of_the_csv_begins_as_a_formula_does_and_no_number_changes(tmp_path: Path) -> None:
    columns = (Column("name", "Name"), Column("value", "Value", Measure.AMOUNT))
    rows = [(text, "-5.00") for text in (*HOSTILE, "\tx", "\rx")]
    found = by_table(made(Form.CSV, tmp_path, [one_table(columns, rows)]))["one"][1:]
    assert not [row for row in found if row[1].startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert {row[2] for row in found} == {"-5.00"}


@pytest.mark.parametrize("report", ["journal", "trial-balance", "margin", "default"])
def test_reports_of_a_long_life_are_the_same_in_all_forms(tmp_path: Path, report: str) -> None:
    head, tables = of_world(report, reading(a_long_life()))
    kept = [replace(table, rows=list(table.rows)) for table in tables]
    book, text = cells(made(Form.XLSX, tmp_path, kept, head)), by_table(made(Form.CSV, tmp_path, kept, head))
    for table in kept:
        rows = [(row.field, *row.cells, row.source) for row in table.rows]
        assert [[one.removeprefix("'") for one in row] for row in text[table.id][1:]] == [
            [one.removeprefix("'") for one in row] for row in rows
        ]
        for said, row in zip(book[table.id[: sheet.NAME_MAX]][1:], rows, strict=True):
            for value, cell in zip(said, row, strict=True):
                assert_same(value, cell[: sheet.CELL_MAX - 1] + "…" if len(cell) > sheet.CELL_MAX else cell)
