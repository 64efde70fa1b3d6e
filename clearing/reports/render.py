"""Reports as files: the one place that knows JSON, CSV, XLSX and HTML.

Rules kept here:

1. JSON is made of the tables, everything else of the JSON: what is in one form is in all. The same tables give the same
   bytes. XLSX and HTML, which depend on the versions of libraries too, name the SHA-256 of the JSON.
2. The JSON has one row a line. So whoever writes or reads one needs memory for a row, not for a report.
3. The CSV (RFC 4180, line feeds) has all tables in one file: each line begins with the name of its table, and the first
   line of each table names its columns. Text that a spreadsheet would run as a formula has an apostrophe before it.
4. XLSX is written by ``sheet.py`` and HTML by ``page.py``, which need the house's libraries.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearing.model.values import Form
from clearing.reports.document import FIELD, SOURCE, Chart, Column, Drawing, Head, Measure, Row, Table

VERSION = "1"
PART_BYTES = 64 * 1024
_CSV_END = "\r\n"
"""Written with it, and ended otherwise: the writer quotes only what stands in it, and readers end lines at both."""
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
MEDIA_TYPES: Mapping[Form, str] = {
    Form.JSON: "application/json",
    Form.CSV: "text/csv",
    Form.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    Form.HTML: "text/html",
    Form.FILE: "text/plain",
}
SUFFIXES: Mapping[Form, str] = {
    Form.JSON: ".json",
    Form.CSV: ".csv",
    Form.XLSX: ".xlsx",
    Form.HTML: ".html",
    Form.FILE: ".txt",
}


class NotRenderable(ValueError):
    """A report that a form cannot hold. The message says what to do."""


class NotAReport(ValueError):
    """A file that is no report in JSON as :func:`to_json` writes it."""


# --- JSON ----------------------------------------------------------------------------------------------


def to_json(head: Head, tables: Iterable[Table]) -> Iterator[bytes]:
    """The canonical file: the head, then each table with one row a line, as arrays of strings."""
    yield from _parts(_json_lines(head, tables))


def _json_lines(head: Head, tables: Iterable[Table]) -> Iterator[str]:
    yield f'{{"report":{_text({"version": VERSION} | head.lines())},"tables":[\n'
    for number, table in enumerate(tables):
        opening = {
            "id": table.id,
            "title": table.title,
            "note": table.note,
            "columns": [_column(column) for column in table.columns],
            "charts": [_chart(chart) for chart in table.charts],
        }
        yield f'{"," if number else ""}{_text(opening)[:-1]},"rows":[\n'
        comma = ""
        for row in table.rows:
            if len(row.cells) != len(table.columns):
                raise ValueError(
                    f"{table.id} {row.field}: {len(row.cells)} cells, {len(table.columns)} columns"
                )
            yield f"{comma}{_text([row.field, *row.cells, row.source])}\n"
            comma = ","
        yield "]}\n"
    yield "]}\n"


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)


def _column(column: Column) -> dict[str, str]:
    return {"id": column.id, "title": column.title, "measure": column.measure.value, "unit": column.unit}


def _chart(chart: Chart) -> dict[str, Any]:
    values = list(chart.values)
    return {"drawing": chart.drawing.value, "title": chart.title, "label": chart.label, "values": values}


def _parts(lines: Iterable[str]) -> Iterator[bytes]:
    """The text in parts of about ``PART_BYTES``."""
    held, size = [], 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= PART_BYTES:
            yield "".join(held).encode("utf-8")
            held, size = [], 0
    if held:
        yield "".join(held).encode("utf-8")


@dataclass(frozen=True, slots=True)
class ReadReport:
    """A report in JSON, while it is read: tables and their rows are read in order, each once."""

    head: Mapping[str, str]
    tables: Iterator[Table]


def read(lines: Iterable[bytes]) -> ReadReport:
    """A report in JSON, line by line. Raises :class:`NotAReport`, also while its tables are read."""
    read_line = iter(lines)
    opening = next(read_line, b"").decode("utf-8", "replace")
    if not opening.endswith(',"tables":[\n'):
        raise NotAReport("it does not begin as a report in JSON does")
    head = _loaded(opening + "]}", dict)["report"]
    if not isinstance(head, dict) or head.pop("version", None) != VERSION:
        raise NotAReport(f"it is no report of version {VERSION}")
    return ReadReport(head, _tables(read_line))


def _tables(lines: Iterator[bytes]) -> Iterator[Table]:
    while not (line := _line(lines)).startswith("]}"):
        opening = _loaded(line.removeprefix(",") + "]}", dict)
        table = _opened(opening, _rows(lines))
        yield table
        for _ in table.rows:
            pass  # whoever did not read them all goes on to the next table all the same


def _opened(opening: dict[str, Any], rows: Iterable[Row]) -> Table:
    try:
        columns = tuple(
            Column(one["id"], one["title"], Measure(one["measure"]), one["unit"])
            for one in opening["columns"]
        )
        charts = tuple(
            Chart(Drawing(one["drawing"]), one["title"], one["label"], tuple(one["values"]))
            for one in opening["charts"]
        )
        return Table(
            id=opening["id"],
            title=opening["title"],
            note=opening["note"],
            columns=columns,
            rows=rows,
            charts=charts,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise NotAReport(f"a table does not begin as it should: {error}") from None


def _rows(lines: Iterator[bytes]) -> Iterator[Row]:
    while not (line := _line(lines)).startswith("]}"):
        field, *cells, source = _loaded(line.removeprefix(","), list)
        yield Row(field, tuple(cells), source)


def _line(lines: Iterator[bytes]) -> str:
    line = next(lines, None)
    if line is None:
        raise NotAReport("it ends before its last table does")
    return line.decode("utf-8", "replace")


def _loaded(text: str, kind: type) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotAReport(f"not JSON: {error}") from None
    if not isinstance(value, kind):
        raise NotAReport(f"a line is no {kind.__name__}")
    return value


# --- other forms, made of the JSON ---------------------------------------------------------------------


def render(form: Form, path: Path, sha256: str) -> Iterator[bytes]:
    """The report whose JSON, with digest ``sha256``, is at ``path``, in another form.

    Raises :class:`NotRenderable` for a report that is too large for it.
    """
    with path.open("rb") as file:
        yield from _RENDERERS[form](read(file), sha256)


def _csv(report: ReadReport, sha256: str) -> Iterator[bytes]:
    yield from _parts(_csv_lines(report))


def _csv_lines(report: ReadReport) -> Iterator[str]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=_CSV_END)

    def line(*cells: str) -> str:
        writer.writerow(cells)
        said = text.getvalue().removesuffix(_CSV_END)
        text.seek(0)
        text.truncate()
        return f"{said}\n"

    yield line("report", FIELD, "value")
    for key, value in report.head.items():
        yield line("report", key, _harmless(value))
    for table in report.tables:
        yield line(table.id, FIELD, *(column.id for column in table.columns), SOURCE)
        texts = [column.measure is Measure.TEXT for column in table.columns]
        for row in table.rows:
            cells = (_harmless(c) if is_text else c for c, is_text in zip(row.cells, texts, strict=True))
            yield line(table.id, _harmless(row.field), *cells, row.source)


def _harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULAS) else text


def _xlsx(report: ReadReport, sha256: str) -> Iterator[bytes]:
    from clearing.reports import sheet  # noqa: PLC0415  # of the house only; this module is read by verifiers too

    yield from sheet.parts(report, sha256)


def _html(report: ReadReport, sha256: str) -> Iterator[bytes]:
    from clearing.reports import page  # noqa: PLC0415  # of the house only, and slow to load

    yield from _parts(page.lines(report, sha256))


_RENDERERS: Mapping[Form, Callable[[ReadReport, str], Iterator[bytes]]] = {
    Form.CSV: _csv,
    Form.XLSX: _xlsx,
    Form.HTML: _html,
}
