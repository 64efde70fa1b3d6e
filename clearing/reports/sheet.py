"""A report as a workbook: its head on the first sheet, then a sheet for each table.

Rules kept here:

1. A number stands as a number, with all its decimals, if the spreadsheet keeps each of its digits; else as text.
2. No text is a formula or a link, whatever it begins with.
3. The same report gives the same bytes: the file says neither when, where nor as whom it was made.
"""

import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import xlsxwriter
from xlsxwriter.exceptions import FileSizeError

from clearing.reports.canonical import NotRenderable, ReadReport
from clearing.reports.document import FIELD, SOURCE, Column, Measure, Table

ROWS_MAX = 1_048_575
"""Rows of a sheet below its titles."""
CELL_MAX = 32_767
DIGITS_MAX = 15
NAME_MAX = 31
FIRST = "report"
_PART_BYTES = 64 * 1024
_NUMBERS = (Measure.COUNT, Measure.AMOUNT, Measure.PERCENT)
_WIDTHS = {
    Measure.TEXT: 24,
    Measure.COUNT: 12,
    Measure.AMOUNT: 22,
    Measure.PERCENT: 12,
    Measure.TIME: 25,
}


def parts(report: ReadReport, sha256: str) -> Iterator[bytes]:
    """The workbook, in parts. Raises :class:`NotRenderable`."""
    with tempfile.TemporaryDirectory(prefix="clearing-xlsx-") as folder:
        path = Path(folder, "report.xlsx")
        try:
            with xlsxwriter.Workbook(path, {"constant_memory": True, "tmpdir": folder}) as book:
                book.use_zip64()
                _fill(book, report, sha256)
        except FileSizeError:
            raise NotRenderable("a sheet has too many bytes: ask for CSV or JSON") from None
        _say_nothing_of_who_made_it(path)
        with path.open("rb") as file:
            yield from iter(lambda: file.read(_PART_BYTES), b"")


def _say_nothing_of_who_made_it(path: Path) -> None:
    """The files in the archive have a fixed time already; what others may do with them, the umask, goes too."""
    with zipfile.ZipFile(path, "a") as archive:
        for member in archive.infolist():
            member.external_attr = 0o600 << 16
        archive.comment = b""  # has the list of files written anew


@dataclass(frozen=True, slots=True)
class _Styles:
    """The formats of a book; those of numbers are made when a number first needs them."""

    book: Any
    numbers: dict[int, Any] = field(default_factory=dict)

    def number(self, decimals: int) -> Any:
        """Numbers in threes with so many decimals."""
        if decimals not in self.numbers:
            shown = "#,##0" + (f".{'0' * decimals}" if decimals else "")
            self.numbers[decimals] = self.book.add_format({"num_format": shown})
        return self.numbers[decimals]


def _fill(book: Any, report: ReadReport, sha256: str) -> None:
    created = datetime.fromisoformat(report.head["as_of_time"])
    book.set_properties({"title": report.head["title"], "created": created})
    styles = _Styles(book)
    bold, plain = book.add_format({"bold": True, "valign": "top"}), book.add_format({"text_wrap": True})
    heading = book.add_format(
        {"bold": True, "text_wrap": True, "valign": "top", "bottom": 1, "bg_color": "#E8EEF6"}
    )
    sheet = book.add_worksheet(FIRST)
    sheet.set_column(0, 0, 22)
    sheet.set_column(1, 1, 90)
    for number, (key, value) in enumerate([*report.head.items(), ("json_sha256", sha256)]):
        sheet.write_string(number, 0, key, bold)
        sheet.write_string(number, 1, _short(value), plain)
    names = {FIRST}
    for table in report.tables:
        _sheet(book.add_worksheet(_name(table.id, names)), heading, styles, table)


def _name(wanted: str, names: set[str]) -> str:
    """A name for a sheet that no other has; a spreadsheet takes few characters and no difference of case."""
    name, number = wanted[:NAME_MAX], 1
    while name.lower() in names:
        number += 1
        name = f"{wanted[: NAME_MAX - 4]}~{number}"
    names.add(name.lower())
    return name


def _sheet(sheet: Any, heading: Any, styles: _Styles, table: Table) -> None:
    columns = [Column(FIELD, FIELD), *table.columns, Column(SOURCE, SOURCE)]
    sheet.freeze_panes(1, 1)
    sheet.repeat_rows(0)
    sheet.set_landscape()
    sheet.set_paper(9)  # A4
    sheet.fit_to_pages(1, 0)
    for place, column in enumerate(columns):
        title = f"{column.title} ({column.unit})" if column.unit else column.title
        sheet.set_column(place, place, max(_WIDTHS[column.measure], min(40, len(title) + 4)))
        sheet.write_string(0, place, title, heading)
    written = 0
    for row in table.rows:
        written += 1
        if written > ROWS_MAX:
            raise NotRenderable(f"{table.id} has more than {ROWS_MAX:,} rows: ask for CSV or JSON")
        for place, cell in enumerate((row.field, *row.cells, row.source)):
            _write(sheet, written, place, cell, columns[place], styles)
    sheet.autofilter(0, 0, written, len(columns) - 1)


def _write(sheet: Any, row: int, place: int, cell: str, column: Column, styles: _Styles) -> None:
    if not cell:
        return
    if column.measure in _NUMBERS and _is_kept(cell):
        decimals = len(cell.partition(".")[2])
        sheet.write_number(row, place, Decimal(cell), styles.number(decimals))
    else:
        sheet.write_string(row, place, _short(cell))


def _is_kept(cell: str) -> bool:
    """Whether a spreadsheet keeps every digit of a number."""
    digits = cell.removeprefix("-").replace(".", "", 1)
    return digits.isascii() and digits.isdigit() and len(digits.lstrip("0")) <= DIGITS_MAX


def _short(cell: str) -> str:
    """A cell as far as a spreadsheet takes it; the JSON has it whole."""
    return cell if len(cell) <= CELL_MAX else cell[: CELL_MAX - 1] + "…"
