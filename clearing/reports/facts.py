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
