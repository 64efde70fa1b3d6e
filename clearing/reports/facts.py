"""Which entries put the rows of the state that a report shows, and what entries put and moved."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from clearing import chart
from clearing.chart import Line
from clearing.model.house import Change, Put, decode_changes
from clearing.model.kinds import Kind
from clearing.reports.reading import Reading
from ledger.entry import Entry

T = TypeVar("T")


def put_by(reading: Reading, table: str, *kinds: Kind) -> dict[str, list[int]]:
    """For each key of a table of the state the entries that put its row, in order; of ``kinds`` alone, if they are
    given, which is much faster.
    """
    found: dict[str, list[int]] = {}
    for recorded in reading.entries(*kinds):
        for change in decode_changes(recorded.entry.fact):
            if change.table == table and isinstance(change, Put):
                found.setdefault(change.key, []).append(recorded.sequence)
    return found


def rows_put(changes: Iterable[Change], kind: type[T]) -> Iterator[T]:
    """The rows of a type among what an entry put."""
    return (change.row for change in changes if isinstance(change, Put) and isinstance(change.row, kind))


def moved(entry: Entry, line: Line, side: int) -> int:
    """What an entry debits (``side`` 1) or credits (−1) to the accounts on a line of the chart, in its unit."""
    amounts = (side * leg.amount for leg in entry.legs if chart.line_of(leg.account.path)[0] is line)
    return sum(amount for amount in amounts if amount > 0)
