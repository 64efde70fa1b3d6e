"""Answers that stand in the store but not in the state: all attestations, and what a request was answered."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from clearing.model.codec import to_text
from clearing.model.house import Put, decode_changes
from clearing.model.kinds import Kind
from clearing.model.values import AttestationRecord, ReportAsked, SignedReport
from ledger.leaf import LEAF_BYTES, decode_body, decode_leaf, split_bodies, split_records
from ledger.store.connect import Database, reading
from ledger.store.queries import Segment, find_answers, read_segments, segments_with

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Found(Generic[R]):
    """A row that an entry put into the state, the number of the entry, and its body."""

    sequence: int
    row: R
    body: bytes


class _Index(Generic[R]):
    """What entries of one kind put into the state. Each look reads on from where the last one ended, so it costs what
    was written since; any thread may look.
    """

    def __init__(
        self, database: Database, kind: Kind, row: type[R], keep: Callable[[Found[R]], object]
    ) -> None:
        self._database, self._kind, self._row, self._keep = database, kind, row, keep
        self._lock = threading.Lock()
        self._read = 0

    def _read_on(self) -> None:
        """Keep what was written since the last look. Raises ``StoreUnreachable``."""
        with self._lock, reading(self._database) as connection:
            for segment in read_segments(connection, self._read):
                for found in self._found_in(segment):
                    self._keep(found)
                self._read = segment.first_sequence + segment.count

    def _found_in(self, segment: Segment) -> Iterator[Found[R]]:
        records = split_records(segment.leaves, LEAF_BYTES)
        for record, body in zip(records, split_bodies(segment.bodies), strict=True):
            leaf = decode_leaf(record)
            if leaf.kind == self._kind:
                for change in decode_changes(decode_body(body).fact):
                    if isinstance(change, Put) and isinstance(change.row, self._row):
                        yield Found(leaf.sequence, change.row, bytes(body))


class AttestationIndex(_Index[AttestationRecord]):
    """Every attestation in the journal, oldest first."""

    def __init__(self, database: Database) -> None:
        self._kept: list[Found[AttestationRecord]] = []
        super().__init__(database, Kind.ATTESTED, AttestationRecord, self._kept.append)

    def all(self) -> list[AttestationRecord]:
        """All of them, oldest first. Raises ``StoreUnreachable``."""
        self._read_on()
        return [found.row for found in self._kept]

    def bodies(self) -> list[bytes]:
        """The bodies of their entries, which hash to the leaves of the public log. Raises ``StoreUnreachable``."""
        self._read_on()
        return [found.body for found in self._kept]

    def newest(self, size: int) -> AttestationRecord | None:
        """The newest among the first ``size`` entries of the journal. Raises ``StoreUnreachable``."""
        self._read_on()
        within = [found.row for found in self._kept if found.sequence < size]
        return within[-1] if within else None


class SignedReportIndex(_Index[SignedReport]):
    """Every report that was made and signed, by what it was asked for with. What was signed first counts."""

    def __init__(self, database: Database) -> None:
        self._at: dict[bytes, int] = {}
        super().__init__(database, Kind.REPORT_SIGNED, SignedReport, self._note)

    def _note(self, found: Found[SignedReport]) -> None:
        self._at.setdefault(_key(found.row.asked), found.sequence)

    def find(self, asked: ReportAsked) -> Found[SignedReport] | None:
        """The report, if it was made before, and the body of its entry. Raises ``StoreUnreachable``."""
        self._read_on()
        sequence = self._at.get(_key(asked))
        if sequence is None:
            return None
        with reading(self._database) as connection:
            (segment, *_) = segments_with(connection, sequence, 1)
        return next(found for found in self._found_in(segment) if found.sequence == sequence)


def _key(asked: ReportAsked) -> bytes:
    return hashlib.sha256(to_text(asked).encode("ascii")).digest()


def pulled(database: Database, request_id: str) -> ReportAsked | None:
    """Which report the request pulls; None if it is no accepted pull.

    Raises ``StoreUnreachable``.
    """
    with reading(database) as connection:
        answered = find_answers(connection, [request_id]).get(request_id)
        if answered is None or not answered.count:
            return None
        (segment, *_) = segments_with(connection, answered.first_sequence, 1)
    index = answered.first_sequence - segment.first_sequence
    if decode_leaf(segment.leaves[index * LEAF_BYTES : (index + 1) * LEAF_BYTES]).kind != Kind.REPORT_PULLED:
        return None
    body = next(islice(split_bodies(segment.bodies), index, None))
    for change in decode_changes(decode_body(body).fact):
        if isinstance(change, Put) and isinstance(change.row, ReportAsked):
            return change.row
    return None


def recorded_answer(database: Database, request_id: str) -> str:
    """The outcome of a request as it was recorded, in canonical text; empty if there was none.

    Raises ``StoreUnreachable``.
    """
    with reading(database) as connection:
        found = find_answers(connection, [request_id]).get(request_id)
    return "" if found is None else found.answer
