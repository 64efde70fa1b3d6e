"""Reading the journal back: segments, entries, answers.

Entries come out as they went in: legs and bodies are hashed and compared with their leaf before they
are parsed. Account ids in legs are turned into accounts by the openings that stand earlier in the same
journal, so a reader needs nothing but the segments.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

from sqlalchemy import Connection, LargeBinary, cast, func, select

from ledger.account import Account, AccountId
from ledger.entry import Entry, Leg
from ledger.leaf import (
    LEAF_BYTES,
    LEG_BYTES,
    Body,
    Leaf,
    RecordMalformed,
    decode_body,
    decode_leaf,
    decode_leg,
    split_bodies,
    split_records,
)
from ledger.merkle import leaf_hash, tree_root
from ledger.store.tables import requests, segments

# SQLite lets an edited blob become text, which its driver cannot always decode.
_SEGMENT = [
    cast(column, column.type).label(column.name) if isinstance(column.type, LargeBinary) else column
    for column in segments.columns
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One commit group as stored."""

    first_sequence: int
    count: int
    first_salt: int
    epoch: int
    leaves: bytes
    legs: bytes
    bodies: bytes
    root: bytes

    def leaf_hashes(self) -> list[bytes]:
        """RFC 6962 hashes of the leaves."""
        return [leaf_hash(leaf) for leaf in split_records(self.leaves, LEAF_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a request was answered, and where its entries stand.

    ``replayed`` is true when the request had been answered before and this is that answer again.
    """

    body_hash: bytes
    first_sequence: int
    count: int
    refusals: int
    answer: str
    replayed: bool


def read_segments(connection: Connection, from_sequence: int = 0) -> Iterator[Segment]:
    """Segments in order; all of them, or those that start at or after ``from_sequence``."""
    query = select(*_SEGMENT).order_by(segments.c.first_sequence)
    if from_sequence:
        query = query.where(segments.c.first_sequence >= from_sequence)
    for row in connection.execute(query).mappings():
        yield Segment(**row)


def last_segment(connection: Connection) -> Segment | None:
    """The newest segment, or None in an empty journal."""
    newest = select(func.max(segments.c.first_sequence)).scalar_subquery()
    query = select(*_SEGMENT).where(segments.c.first_sequence == newest)
    row = connection.execute(query).mappings().first()
    return None if row is None else Segment(**row)


def journal_size(connection: Connection) -> int:
    """How many entries the journal has."""
    return int(connection.execute(select(func.coalesce(func.sum(segments.c.count), 0))).scalar_one())


def answered_size(connection: Connection) -> int:
    """How many entries the journal has if every answer still has its entries."""
    end = func.max(requests.c.first_sequence + requests.c.count)
    return int(connection.execute(select(func.coalesce(end, 0))).scalar_one())


def find_answers(connection: Connection, request_ids: list[str]) -> dict[str, Answered]:
    """The stored answers among ``request_ids``."""
    query = select(requests).where(requests.c.id.in_(request_ids))
    found = connection.execute(query).mappings()
    return {
        row["id"]: Answered(**{k: v for k, v in row.items() if k != "id"}, replayed=True) for row in found
    }


class Directory:
    """Accounts by id, as far as the journal has been read."""

    def __init__(self) -> None:
        self._accounts: dict[AccountId, Account] = {}

    def decode(self, segment: Segment) -> Iterator[Entry]:
        """The entries of ``segment``; segments come in order.

        Raises :class:`RecordMalformed` in place of the first entry that is not what was hashed.
        """
        held = -(-len(segment.leaves) // LEAF_BYTES)
        if held != segment.count or not held:
            raise RecordMalformed(f"the segment counts {segment.count} entries and holds {held}")
        leaves, legs = BytesIO(segment.leaves), BytesIO(segment.legs)
        bodies = split_bodies(segment.bodies)
        for sequence in range(segment.first_sequence, segment.first_sequence + held):
            leaf = decode_leaf(leaves.read(LEAF_BYTES))
            records = split_records(legs.read(leaf.leg_count * LEG_BYTES), LEG_BYTES)
            body = next(bodies, b"")
            _require_vouched_for(leaf, sequence, records, body)
            yield self._entry(leaf, records, decode_body(body))
        if legs.read(1) or next(bodies, None) is not None:
            raise RecordMalformed("the segment holds legs or bodies that belong to none of its entries")

    def _entry(self, leaf: Leaf, legs: list[bytes], body: Body) -> Entry:
        self._accounts.update((account.id, account) for account in body.opens)
        return Entry(
            entry_id=leaf.entry_id,
            kind=leaf.kind,
            effective_ms=leaf.effective_ms,
            legs=tuple(map(self._leg, legs)),
            opens=body.opens,
            request_id=body.request_id,
            actor=body.actor,
            references=body.references,
            fact=body.fact,
        )

    def _leg(self, record: bytes) -> Leg:
        leg = decode_leg(record)
        account = self._accounts.get(leg.account_id)
        if account is None:
            raise RecordMalformed(f"a leg names account {leg.account_id.hex()}, which no entry opened")
        return Leg(account, leg.amount)


def _require_vouched_for(leaf: Leaf, sequence: int, legs: list[bytes], body: bytes) -> None:
    if leaf.sequence != sequence:
        raise RecordMalformed(f"the leaf of entry {sequence} says it is number {leaf.sequence}")
    if tree_root([leaf_hash(leg) for leg in legs]) != leaf.legs_root:
        raise RecordMalformed("the legs do not hash to the legs root of the leaf")
    if len(legs) != leaf.leg_count:
        raise RecordMalformed(f"the leaf counts {leaf.leg_count} legs and has {len(legs)}")
    if hashlib.sha256(body).digest() != leaf.body_hash:
        raise RecordMalformed("the body does not hash to the body hash of the leaf")


def read_entries(connection: Connection) -> Iterator[Entry]:
    """Every entry of the journal, in order. Raises :class:`RecordMalformed`."""
    directory = Directory()
    for segment in read_segments(connection):
        yield from directory.decode(segment)
