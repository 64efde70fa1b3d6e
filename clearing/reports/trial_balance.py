"""Every account with its balance on the side where it stands. The two columns of a unit have the same sum."""

from collections.abc import Iterable, Iterator

from clearing.reports.render import csv_lines
from clearing.reports.rows import Balanced

COLUMNS = ("account", "unit", "debit", "credit")


def render(rows: Iterable[Balanced]) -> Iterator[bytes]:
    """A line for each account."""
    return csv_lines(COLUMNS, ((row.path, row.unit, row.debit, row.credit) for row in rows))
