"""A report as one page of HTML that needs nothing else: style and charts are in it; no script, nothing from a network.

Rules kept here:

1. A table shows its first ``ROWS_MAX`` rows and says how many it has. Its charts are drawn of all of them.
2. Each cell holds the text of the report to the letter. The gaps between groups of digits are drawn, not written, so
   whoever copies or searches a number gets it as it is.
3. What is missing is not zero: an empty cell is a dash, and what this system cannot compute is greyed and says so.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from clearing.reports import sources
from clearing.reports.canonical import ReadReport
from clearing.reports.charts import Picture, picture
from clearing.reports.document import Column, Measure, Row, Table
from clearing.reports.points import NUMBER, Gathered

TEMPLATE = "page.html.j2"
ROWS_MAX = 1_000
BROAD = 7
"""A table of more columns is printed across."""
LONG = 200
"""A cell of more characters is given a box of its own."""
_FRACTION = re.compile(r"-?[0-9]+\.[0-9]+")
"""A number in a column of text, as the values of the disclosure are, which have many units."""
_NUMBERS = (Measure.COUNT, Measure.AMOUNT, Measure.PERCENT)

# What people call the lines of the head, in the order of ``Head.lines``; others stand under their own names.
NAMES: Mapping[str, str] = {
    "report": "Report",
    "rule": "Follows",
    "house": "House",
    "as_of": "Entries of the journal",
    "as_of_time": "Time of the last of them",
    "origin": "Log",
    "root": "Root of the log’s tree over them",
    "parameters_version": "Version of the parameters",
    "parameters_digest": "Digest of the parameters",
    "model": "Margin model",
    "model_version": "Version of the model",
    "given": "Asked for with",
    "members": "Part of the members",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell as it is shown: its text and what stands around it, its classes, and what is missing if it is empty."""

    text: Markup
    classes: str
    missing: str = ""


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A row as it is shown; ``terms`` are those of its source, each with the table to which it leads."""

    field: str
    cells: list[Cell]
    terms: list[tuple[str, str]]
    is_outside: bool


@dataclass(frozen=True, slots=True)
class ShownTable:
    """A table as it is shown: its first rows, how many it has, and its charts."""

    table: Table
    rows: list[ShownRow]
    count: int
    pictures: list[Picture]

    @property
    def is_broad(self) -> bool:
        """Whether it needs the long side of the paper."""
        return len(self.table.columns) > BROAD and self.count > 0


def lines(report: ReadReport, sha256: str) -> Iterator[str]:
    """The page, in parts."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"grouped": _grouped, "svg": Markup, "is_number": _is_number, "unit": _unit}
    yield from environment.get_template(TEMPLATE).generate(
        head=report.head,
        names=NAMES,
        tables=[_shown(table) for table in report.tables],
        sha256=sha256,
    )


def _shown(table: Table) -> ShownTable:
    """A table as the page shows it; the rest of its rows are counted and drawn, not kept."""
    gathered = [Gathered(chart, table) for chart in table.charts]
    rows = _gathering(iter(table.rows), gathered)
    first = [_row(table, row) for row in itertools.islice(rows, ROWS_MAX)]
    count = len(first) + sum(1 for _ in rows)
    pictures = [picture(one, f"{table.id} {number}") for number, one in enumerate(gathered)]
    return ShownTable(table, first, count, pictures)


def _gathering(rows: Iterator[Row], gathered: list[Gathered]) -> Iterator[Row]:
    for row in rows:
        for one in gathered:
            one.add(row)
        yield row


def _row(table: Table, row: Row) -> ShownRow:
    terms = sources.parse(row.source)
    missing = {term.column: term.said for term in terms if term.origin is sources.Origin.OUTSIDE}
    cells = [
        _cell(column, text, missing.get(column.id, ""))
        for column, text in zip(table.columns, row.cells, strict=True)
    ]
    texts = row.source.split(sources.JOIN) if row.source else []
    led = [
        (text, term.said.partition(" ")[0] if term.origin is sources.Origin.FIGURE else "")
        for text, term in zip(texts, terms, strict=True)
    ]
    return ShownRow(row.field, cells, led, "" in missing)


def _cell(column: Column, text: str, missing: str) -> Cell:
    if not text:
        return Cell(Markup("—"), "n none" if _is_number(column) else "none", missing)
    if _is_number(column):
        return Cell(_grouped(text), "n")
    if column.measure is Measure.TIME:
        return Cell(escape(text), "time")
    if _FRACTION.fullmatch(text):
        return Cell(_grouped(text), "")
    return Cell(escape(text), "long" if len(text) > LONG else "")


def _is_number(column: Column) -> bool:
    return column.measure in _NUMBERS


def _unit(column: Column) -> str:
    return column.unit or ("%" if column.measure is Measure.PERCENT else "")


def _grouped(text: str) -> Markup:
    """A number whose digits before the point stand in threes; its text is the number and nothing else."""
    matched = NUMBER.fullmatch(text)
    if matched is None:
        return escape(text)
    sign, whole, fraction = matched.groups(default="")
    first = len(whole) % 3 or 3
    threes = [f"<i>{whole[place : place + 3]}</i>" for place in range(first, len(whole), 3)]
    return Markup(f"{sign}{whole[:first]}{''.join(threes)}{fraction}")  # noqa: S704  # digits
