"""Which entries put the rows of the state that a report shows."""

from clearing.model.house import Put, decode_changes
from clearing.model.kinds import Kind
from clearing.reports.reading import Reading


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
