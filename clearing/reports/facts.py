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


ACCOUNT_KINDS = (
    Kind.ACCOUNT_OPENED,
    Kind.NETTING_SET_LINKED,
    Kind.NETTING_SET_UNLINKED,
    Kind.PORTED,
    Kind.ACCOUNTS_CLOSED_OUT,
)
"""What puts the row of an account."""
CHARTER_KINDS = (Kind.HOUSE_FOUNDED, Kind.PARAMETERS_CHANGED)
"""What puts the charter, and the parameters with it."""


def newest(reading: Reading, *kinds: Kind) -> list[int]:
    """The number of the last entry of ``kinds``, alone in a list; none if there is no such entry."""
    found: list[int] = []
    for recorded in reading.entries(*kinds):
        found = [recorded.sequence]
    return found


def seen_members(reading: Reading) -> list[str]:
    """How the members in the report are named in the path of an account: by ``*`` if it is all of them."""
    return ["*"] if reading.members is None else sorted(reading.members)


def rows_put(changes: Iterable[Change], kind: type[T]) -> Iterator[T]:
    """The rows of a type among what an entry put."""
    return (change.row for change in changes if isinstance(change, Put) and isinstance(change.row, kind))


def moved(entry: Entry, line: Line, side: int) -> int:
    """What an entry debits (``side`` 1) or credits (−1) to the accounts on a line of the chart, in its unit."""
    amounts = (side * leg.amount for leg in entry.legs if chart.line_of(leg.account.path)[0] is line)
    return sum(amount for amount in amounts if amount > 0)
