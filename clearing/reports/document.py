"""What a report is made of: a head that says of what it speaks, and tables whose rows say where they came from.

Rules kept here (rulebook §14):

1. A cell is text as the house writes it everywhere: amounts are decimal strings in whole units with all their
   decimals, times are RFC 3339 in UTC, what is not there is empty. No reader can lose a digit.
2. Each row has a field, its name in the table, and a source: the entries and accounts of the journal, or the figures,
   from which whoever doubts it gets the row again (``sources.py``).
3. What follows from the journal alone is in a report, and nothing else: no clock, no name of a machine.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from clearing.attest.statement import format_time

FIELD, SOURCE = "field", "source"
"""The first and the last column of each table."""


class Measure(Enum):
    """What the cells of a column are."""

    TEXT = "text"
    COUNT = "count"
    AMOUNT = "amount"
    PERCENT = "percent"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, what people call it, what its cells are, and in which unit, if all are in the same."""

    id: str
    title: str
    measure: Measure = Measure.TEXT
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its field, a cell for each column, and its source."""

    field: str
    cells: tuple[str, ...]
    source: str


class Drawing(Enum):
    """How a chart is drawn.

    BARS: a bar for each row and value. LINES: over the first column, which orders. WATERFALL: the first row is what is
    lost, each later row takes a part of it. LOSSES: the first value as a line, the second as what came, and where it
    was more.
    """

    BARS = "bars"
    LINES = "lines"
    WATERFALL = "waterfall"
    LOSSES = "losses"


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of a table in the HTML page: ``label`` and ``values`` name columns; ``field`` may be the label."""

    drawing: Drawing
    title: str
    label: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table, whose rows are made while they are read; ``note`` says what people have to know to read it."""

    id: str
    title: str
    columns: tuple[Column, ...]
    rows: Iterable[Row]
    note: str = ""
    charts: tuple[Chart, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Of what a report speaks: house, state of the journal, parameters, model, and whose part of it this is.

    ``as_of`` counts entries; ``as_of_ms`` is the time of the last of them, and ``root`` the root of the tree over them,
    under the log's ``origin``. ``members`` None: all.
    """

    report: str
    title: str
    rule: str
    house: str
    as_of: int
    as_of_ms: int
    origin: str
    root: bytes
    parameters_version: int
    parameters_digest: bytes
    model: str
    model_version: str
    given: Mapping[str, str] = field(default_factory=dict)
    members: tuple[str, ...] | None = None

    def lines(self) -> dict[str, str]:
        """The head as names and texts, in the order in which people read them."""
        return {
            "report": self.report,
            "title": self.title,
            "rule": self.rule,
            "house": self.house,
            "as_of": str(self.as_of),
            "as_of_time": format_time(self.as_of_ms),
            "origin": self.origin,
            "root": self.root.hex(),
            "parameters_version": str(self.parameters_version),
            "parameters_digest": self.parameters_digest.hex(),
            "model": self.model,
            "model_version": self.model_version,
            "given": " ".join(f"{key}={text}" for key, text in sorted(self.given.items())),
            "members": "all" if self.members is None else _part(self.members),
        }


def _part(members: tuple[str, ...]) -> str:
    """A part of the members, which is never taken for all of them: one may be called ``all``."""
    return f"only {' '.join(members)}" if members else "none"
