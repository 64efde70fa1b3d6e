"""Answers that stand in the store but not in the state: all attestations, and what a request was answered."""

import threading
from collections.abc import Iterator

from clearing.model.house import Put, decode_changes
from clearing.model.kinds import Kind
from clearing.model.values import AttestationRecord
from ledger.leaf import LEAF_BYTES, decode_body, decode_leaf, split_bodies, split_records
from ledger.store.connect import Database, reading
from ledger.store.queries import Segment, find_answers, read_segments


class AttestationIndex:
    """Every attestation in the journal, oldest first. Each look reads on from where the last one ended, so
    it costs what was written since; any thread may look.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._read = 0
        self._found: list[tuple[int, AttestationRecord, bytes]] = []

    def all(self) -> list[AttestationRecord]:
        """All of them, oldest first. Raises ``StoreUnreachable``."""
        return [record for _, record, _ in self._read_on()]

    def bodies(self) -> list[bytes]:
        """The bodies of their entries, which hash to the leaves of the public log. Raises ``StoreUnreachable``."""
        return [body for _, _, body in self._read_on()]

    def newest(self, size: int) -> AttestationRecord | None:
        """The newest among the first ``size`` entries of the journal. Raises ``StoreUnreachable``."""
        within = [record for sequence, record, _ in self._read_on() if sequence < size]
        return within[-1] if within else None

    def _read_on(self) -> list[tuple[int, AttestationRecord, bytes]]:
        with self._lock:
            with reading(self._database) as connection:
                for segment in read_segments(connection, self._read):
                    self._found += _attested(segment)
                    self._read = segment.first_sequence + segment.count
            return list(self._found)


def _attested(segment: Segment) -> Iterator[tuple[int, AttestationRecord, bytes]]:
    records = split_records(segment.leaves, LEAF_BYTES)
    for record, body in zip(records, split_bodies(segment.bodies), strict=True):
        leaf = decode_leaf(record)
        if leaf.kind == Kind.ATTESTED:
            for change in decode_changes(decode_body(body).fact):
                if isinstance(change, Put) and isinstance(change.row, AttestationRecord):
                    yield leaf.sequence, change.row, bytes(body)


def recorded_answer(database: Database, request_id: str) -> str:
    """The outcome of a request as it was recorded, in canonical text; empty if there was none.

    Raises ``StoreUnreachable``.
    """
    with reading(database) as connection:
        found = find_answers(connection, [request_id]).get(request_id)
    return "" if found is None else found.answer
