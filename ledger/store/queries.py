"""Reading the journal back: segments, entries, answers.

Entries come out as they went in: legs and bodies are hashed and compared with their leaf before they
are parsed. Account ids in legs are turned into accounts by the openings that stand earlier in the same
journal, so a reader needs nothing but the segments.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import accumulate
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, LargeBinary, Select, cast, func, inspect, literal, select

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
from ledger.seal import Piece, leaf_hashes, pieces_of
from ledger.store.kinds import AS_BYTES
from ledger.store.tables import requests, segments
from ledger.transfers import Record, Transfers, count, entries_of, keys_of

PAGE_BYTES = 8 * 2**20
PAGE_SEGMENTS = 1_024

# SQLite lets an edited blob become text, which its driver cannot always decode.
_SEGMENT = [
    cast(column, column.type).label(column.name) if isinstance(column.type, LargeBinary) else column
    for column in segments.columns
]

_ALL = select(*_SEGMENT).execution_options(**{AS_BYTES: True})

# Neither database reads a column to tell its length.
_STORED_BYTES = sum(
    (func.length(column) for column in segments.columns if isinstance(column.type, LargeBinary)),
    start=literal(0),
)


_ANSWERED_END = requests.c.first_sequence + requests.c.count
"""Where the entries of a request end; there is an index on it."""


Find: TypeAlias = Callable[[AccountId], Account | None]
"""Gives an account by its id."""


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
        return leaf_hashes(self.leaves)


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
    """Segments in order; all of them, or those that start at or after ``from_sequence``.

    A page is in memory at a time: ``PAGE_BYTES``, or one segment that has more. Pages are read one after the
    other, so what is committed meanwhile may be read as well.
    """
    beyond = [segments.c.first_sequence >= from_sequence] if from_sequence else []
    while firsts := _next_page(connection, beyond, PAGE_BYTES):
        page = segments.c.first_sequence.between(firsts[0], firsts[-1])
        query = _ALL.where(page).order_by(segments.c.first_sequence)
        for row in connection.execute(query).mappings().all():
            yield Segment(**row)
        beyond = [segments.c.first_sequence > firsts[-1]]


def segments_with(connection: Connection, sequence: int, bytes_max: int) -> list[Segment]:
    """The segment that has the entry ``sequence`` and those after it that fit into ``bytes_max`` with it.

    None if the journal does not have the entry.
    """
    first = segments.c.first_sequence
    holding = select(func.max(first)).where(first <= sequence).scalar_subquery()
    firsts = _next_page(connection, [first >= holding], bytes_max)
    if not firsts:
        return []
    query = _ALL.where(first.between(firsts[0], firsts[-1])).order_by(first)
    found = [Segment(**row) for row in connection.execute(query).mappings().all()]
    return found if found[-1].first_sequence + found[-1].count > sequence else []


def _next_page(connection: Connection, beyond: list[ColumnElement[bool]], bytes_max: int) -> list[int]:
    """Where the segments of the next page start."""
    query = select(segments.c.first_sequence, _STORED_BYTES).where(*beyond)
    rows = connection.execute(query.order_by(segments.c.first_sequence).limit(PAGE_SEGMENTS)).all()
    held = accumulate(size for _, size in rows)
    return [first for (first, _), size in zip(rows, held, strict=True) if size <= bytes_max] or [
        first for first, _ in rows[:1]
    ]


def last_segment(connection: Connection) -> Segment | None:
    """The newest segment, or None in an empty journal."""
    newest = select(func.max(segments.c.first_sequence)).scalar_subquery()
    query = _ALL.where(segments.c.first_sequence == newest)
    row = connection.execute(query).mappings().first()
    return None if row is None else Segment(**row)


def first_kind(connection: Connection) -> int | None:
    """Kind of the first entry; None in an empty journal, or in a database that has none."""
    if not inspect(connection).has_table(segments.name):
        return None
    first = select(cast(segments.c.leaves, LargeBinary)).where(segments.c.first_sequence == 0)
    leaves = connection.execute(first).scalar()
    return None if leaves is None else decode_leaf(bytes(leaves[:LEAF_BYTES])).kind


def journal_size(connection: Connection) -> int:
    """How many entries the journal has."""
    return int(connection.execute(select(func.coalesce(func.sum(segments.c.count), 0))).scalar_one())


def answered_size(connection: Connection) -> int:
    """How many entries the journal has if every answer still has its entries."""
    # Written like this, and not as a maximum, both databases take it from the end of the index on it.
    query = select(_ANSWERED_END).order_by(_ANSWERED_END.desc()).limit(1)
    return int(connection.execute(query).scalar() or 0)


def answers_between(connection: Connection, start: int, end: int) -> list[tuple[str, int, int]]:
    """Of each request whose entries end behind ``start`` and not behind ``end``: its id, the first, and their end."""
    asked = connection.execute(_claims(start).where(_ANSWERED_END <= end))  # noqa: SIM300  # SQL, not a constant
    return [(name, first, last) for name, first, last in asked]


def next_answer(connection: Connection, start: int) -> tuple[str, int, int] | None:
    """The same of the first request whose entries end behind ``start``."""
    found = connection.execute(_claims(start).limit(1)).first()
    return None if found is None else (found[0], found[1], found[2])


def _claims(start: int) -> Select[Any]:
    query = select(requests.c.id, requests.c.first_sequence, _ANSWERED_END)
    return query.where(start < _ANSWERED_END, requests.c.count != 0).order_by(
        _ANSWERED_END, requests.c.first_sequence, requests.c.id
    )


def refused_between(connection: Connection, start: int, end: int) -> Iterator[tuple[str, int, str]]:
    """Of each request of which something was refused when the journal had ``start`` entries or more, and fewer than
    ``end``: its id, how many there were, and its answer; in the order of how many there were. Once the journal has
    ``end`` entries they stay the same. Rows are read as they are needed, so ``connection`` is a snapshot.
    """
    query = select(requests.c.id, requests.c.first_sequence, requests.c.answer)
    at = requests.c.first_sequence
    query = query.where(requests.c.refusals != 0, at >= start, at < end).order_by(at)
    for row in connection.execution_options(yield_per=PAGE_SEGMENTS).execute(query):
        yield row[0], row[1], row[2]


def find_answers(connection: Connection, request_ids: list[str]) -> dict[str, Answered]:
    """The stored answers among ``request_ids``."""
    query = select(requests).where(requests.c.id.in_(request_ids))
    found = connection.execute(query).mappings()
    return {
        row["id"]: Answered(**{k: v for k, v in row.items() if k != "id"}, replayed=True) for row in found
    }


class Directory:
    """Accounts by id, as far as the journal has been read.

    Whoever reads from the middle of it gives the accounts that were opened before, as ``find``.
    """

    def __init__(self, find: "Find | None" = None) -> None:
        self._accounts: dict[AccountId, Account] = {}
        self._find = find or self._accounts.get

    def decode(self, segment: Segment) -> Iterator[Entry]:
        """The entries of ``segment``; segments come in order.

        Raises :class:`RecordMalformed` in place of the first entry that is not what was hashed.
        """
        for record in self.records(segment):
            yield from entries_of(record, self.known)

    def records(self, segment: Segment) -> Iterator[Record]:
        """The same, with columns of transfers in one piece."""
        held = -(-len(segment.leaves) // LEAF_BYTES)
        if held != segment.count or not held:
            raise RecordMalformed(f"the segment counts {segment.count} entries and holds {held}")
        for piece in pieces_of(segment.leaves, segment.legs, segment.bodies, segment.first_sequence):
            if piece.columns is not None and self._knows(piece.columns):
                yield piece.columns
            else:
                yield from self._one_by_one(segment, piece)

    def _one_by_one(self, segment: Segment, piece: Piece) -> Iterator[Entry]:
        legs, bodies = BytesIO(piece.legs), split_bodies(piece.bodies)
        for row in range(piece.start, piece.end):
            leaf = decode_leaf(segment.leaves[row * LEAF_BYTES : (row + 1) * LEAF_BYTES])
            records = split_records(legs.read(leaf.leg_count * LEG_BYTES), LEG_BYTES)
            body = next(bodies, b"")
            _require_vouched_for(leaf, segment.first_sequence + row, records, body)
            yield self._entry(leaf, records, decode_body(body))
        if legs.read(1) or next(bodies, None) is not None:
            raise RecordMalformed("the segment holds legs or bodies that belong to none of its entries")

    def _knows(self, rows: Transfers) -> bool:
        accounts: set[Any] = {*keys_of(rows.debits), *keys_of(rows.credits)}
        return all(map(self._find, accounts))

    def known(self, account_id: AccountId) -> Account:
        """The account with this id. Raises :class:`RecordMalformed` if it was never opened."""
        account = self._accounts.get(account_id) or self._find(account_id)
        if account is None:
            raise RecordMalformed(f"a leg names account {account_id.hex()}, which no entry opened")
        return account

    def _entry(self, leaf: Leaf, legs: list[bytes], body: Body) -> Entry:
        self._accounts.update((account.id, account) for account in body.opens)
        return Entry(
            entry_id=leaf.entry_id,
            kind=leaf.kind,
            effective_ms=leaf.effective_ms,
            legs=tuple(map(self._leg, legs)),
            opens=body.opens,
            step=body.step,
            request_id=body.request_id,
            actor=body.actor,
            references=body.references,
            fact=body.fact,
        )

    def _leg(self, record: bytes) -> Leg:
        leg = decode_leg(record)
        return Leg(self.known(leg.account_id), leg.amount)


def _require_vouched_for(leaf: Leaf, sequence: int, legs: list[bytes], body: bytes) -> None:
    if leaf.sequence != sequence:
        raise RecordMalformed(f"the leaf of entry {sequence} says it is number {leaf.sequence}")
    if tree_root([leaf_hash(leg) for leg in legs]) != leaf.legs_root:
        raise RecordMalformed("the legs do not hash to the legs root of the leaf")
    if len(legs) != leaf.leg_count:
        raise RecordMalformed(f"the leaf counts {leaf.leg_count} legs and has {len(legs)}")
    if hashlib.sha256(body).digest() != leaf.body_hash:
        raise RecordMalformed("the body does not hash to the body hash of the leaf")


def read_at(connection: Connection, sequences: Iterable[int], find: "Find") -> dict[int, Entry]:
    """The entries at ``sequences`` as far as they exist; ``find`` knows the accounts of the whole journal.

    Raises :class:`RecordMalformed` if a segment that has one of them is not what was hashed.
    """
    wanted, found = sorted(sequences), dict[int, Entry]()
    while wanted:
        segment = _segment_with(connection, wanted[0])
        if segment is None:
            break
        end = segment.first_sequence + segment.count
        inside = {sequence for sequence in wanted if sequence < end}
        found |= _pick(segment, inside, find)
        wanted = [sequence for sequence in wanted if sequence >= end]
    return found


def _segment_with(connection: Connection, sequence: int) -> Segment | None:
    query = _ALL.where(segments.c.first_sequence <= sequence)
    row = connection.execute(query.order_by(segments.c.first_sequence.desc()).limit(1)).mappings().first()
    return None if row is None or sequence >= row["first_sequence"] + row["count"] else Segment(**row)


def _pick(segment: Segment, sequences: set[int], find: "Find") -> dict[int, Entry]:
    directory, found, start = Directory(find), dict[int, Entry](), segment.first_sequence
    for record in directory.records(segment):
        end = start + count((record,))
        for sequence in sequences.intersection(range(start, end)):
            row = (
                record
                if isinstance(record, Entry)
                else record.take(slice(sequence - start, sequence - start + 1))
            )
            (found[sequence],) = entries_of(row, directory.known)
        start = end
    return found


def read_entries(connection: Connection) -> Iterator[Entry]:
    """Every entry of the journal, in order. Raises :class:`RecordMalformed`."""
    directory = Directory()
    for segment in read_segments(connection):
        yield from directory.decode(segment)
