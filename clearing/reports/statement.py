"""What moved one account: the opening balance, every leg with the balance after it, the closing balance."""

from collections.abc import Iterable, Iterator

from clearing.reports.render import csv_lines
from clearing.reports.rows import Moved

COLUMNS = ("entry", "leg", "time_ms", "what", "amount", "balance")


def render(rows: Iterable[Moved]) -> Iterator[bytes]:
    """A line for each row."""
    return csv_lines(COLUMNS, map(_cells, rows))


def _cells(row: Moved) -> tuple[str, ...]:
    numbers = ("" if one is None else str(one) for one in (row.sequence, row.leg, row.time_ms))
    return (*numbers, row.what, row.amount, row.balance)
