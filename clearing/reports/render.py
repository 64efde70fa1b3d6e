"""Reports as files: the one place that knows JSON, CSV, XLSX and HTML.

Rules kept here:

1. JSON is made of the tables (``canonical.py``), everything else of the JSON: what is in one form is in all. XLSX
   (``sheet.py``) and HTML (``page.py``), which depend on the versions of libraries too, name the SHA-256 of the JSON.
2. The CSV (RFC 4180, line feeds) has all tables in one file: each line begins with the name of its table, and the first
   line of each table names its columns. Text that a spreadsheet would run as a formula has an apostrophe before it.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

from clearing.model.values import Form
from clearing.reports import sheet
from clearing.reports.canonical import ReadReport, in_parts, read
from clearing.reports.document import FIELD, SOURCE, Measure

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


def render(form: Form, source: BinaryIO, sha256: str) -> Iterator[bytes]:
    """The report whose JSON, with digest ``sha256``, is in the file ``source``, in another form.

    Raises :class:`NotRenderable` for a report that is too large for it.
    """
    source.seek(0)
    yield from _RENDERERS[form](read(source), sha256)


def _csv(report: ReadReport, sha256: str) -> Iterator[bytes]:
    yield from in_parts(_csv_lines(report))


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


def _html(report: ReadReport, sha256: str) -> Iterator[bytes]:
    from clearing.reports import page  # noqa: PLC0415  # draws, and is slow to load for it

    yield from in_parts(page.lines(report, sha256))


_RENDERERS: Mapping[Form, Callable[[ReadReport, str], Iterator[bytes]]] = {
    Form.CSV: _csv,
    Form.XLSX: sheet.parts,
    Form.HTML: _html,
}
