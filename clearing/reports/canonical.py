"""The canonical file of a report: JSON with one row a line, written and read.

Rules kept here:

1. The same tables give the same bytes.
2. Whoever writes or reads one needs memory for a row, not for a report.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clearing.reports.document import Chart, Column, Drawing, Head, Measure, Row, Table

VERSION = "1"
PART_BYTES = 64 * 1024


class NotAReport(ValueError):
    """A file that is no report in JSON as :func:`to_json` writes it."""


class NotRenderable(ValueError):
    """A report that another form cannot hold. The message says what to do."""


def to_json(head: Head, tables: Iterable[Table]) -> Iterator[bytes]:
    """The canonical file: the head, then each table with one row a line, as arrays of strings."""
    yield from in_parts(_json_lines(head, tables))


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


def in_parts(lines: Iterable[str]) -> Iterator[bytes]:
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
    head = _loaded(opening + "]}", dict).get("report")
    if not isinstance(head, dict) or head.pop("version", None) != VERSION:
        raise NotAReport(f"it is no report of version {VERSION}")
    _require_texts(head.values())
    return ReadReport(head, _tables(read_line))


def _tables(lines: Iterator[bytes]) -> Iterator[Table]:
    while not (line := _line(lines)).startswith("]}"):
        opening = _loaded(line.removeprefix(",") + "]}", dict)
        table = _opened(opening, lines)
        yield table
        for _ in table.rows:
            pass  # whoever did not read them all goes on to the next table all the same


def _opened(opening: dict[str, Any], lines: Iterator[bytes]) -> Table:
    try:
        columns = tuple(
            Column(one["id"], one["title"], Measure(one["measure"]), one["unit"])
            for one in opening["columns"]
        )
        charts = tuple(
            Chart(Drawing(one["drawing"]), one["title"], one["label"], tuple(one["values"]))
            for one in opening["charts"]
        )
        _require_texts(text for one in columns for text in (one.id, one.title, one.unit))
        _require_texts(text for one in charts for text in (one.title, one.label, *one.values))
        _require_texts(opening[key] for key in ("id", "title", "note"))
        return Table(
            id=opening["id"],
            title=opening["title"],
            note=opening["note"],
            columns=columns,
            rows=_rows(lines, len(columns) + 2),
            charts=charts,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise NotAReport(f"a table does not begin as it should: {error}") from None


def _rows(lines: Iterator[bytes], length: int) -> Iterator[Row]:
    """The rows, each of so many texts."""
    while not (line := _line(lines)).startswith("]}"):
        texts = _loaded(line.removeprefix(","), list)
        if len(texts) != length:
            raise NotAReport(f"a row has {len(texts)} cells where {length} are due")
        _require_texts(texts)
        field, *cells, source = texts
        yield Row(field, tuple(cells), source)


def _require_texts(values: Iterable[Any]) -> None:
    if not all(isinstance(value, str) for value in values):
        raise NotAReport("a value is no text")


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
