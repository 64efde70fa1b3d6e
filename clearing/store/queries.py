"""Answers that stand in the journal but not in the state: all attestations, the leaves of the log."""

from collections.abc import Iterator

from sqlalchemy import Connection

from clearing.model.house import Put, decode_changes
from clearing.model.kinds import Kind
from clearing.model.values import AttestationRecord
from ledger.leaf import LEAF_BYTES, split_records
from ledger.store.connect import Database
from ledger.store.queries import read_entries, read_segments


def attestations(connection: Connection) -> list[AttestationRecord]:
    """Every attestation that was journaled, oldest first."""
    return [
        change.row
        for entry in read_entries(connection)
        if entry.kind == Kind.ATTESTED
        for change in decode_changes(entry.fact)
        if isinstance(change, Put) and isinstance(change.row, AttestationRecord)
    ]


def journal_leaves(database: Database, from_sequence: int = 0) -> Iterator[bytes]:
    """The public leaf records, in order, from a sequence at which a segment starts."""
    with database.connect() as connection:
        for segment in read_segments(connection, from_sequence):
            yield from split_records(segment.leaves, LEAF_BYTES)
