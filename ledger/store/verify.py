"""Does the journal still say what was hashed? Everything is derived again from the stored bytes.

Checked for each entry: its place in the sequence, its legs against the legs root, its body against
the body hash, and that it posts (balanced, known accounts, limits kept). Checked for each segment:
its place, its length, and the root after it. The first sequence at which something differs is named.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from ledger.book import Book, post
from ledger.entry import Entry, Refusal
from ledger.leaf import (
    LEAF_BYTES,
    LEG_BYTES,
    Leaf,
    RecordMalformed,
    decode_leaf,
    split_bodies,
    split_records,
)
from ledger.merkle import Frontier, leaf_hash, tree_root
from ledger.store.queries import Directory, Segment, read_segments


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A journal that holds: its size and root, and the book that it leads to."""

    size: int
    root: bytes
    book: Book


@dataclass(frozen=True, slots=True)
class Differs:
    """The first place at which the journal does not hold, and why."""

    sequence: int
    reason: str


@dataclass(frozen=True, slots=True)
class Salvage:
    """How far the journal was followed."""

    frontier: Frontier
    salts: int
    book: Book


def verify(connection: Connection) -> Verified | Differs:
    """Check the whole journal in ``connection``."""
    directory = Directory()
    reached = Salvage(Frontier(), 0, Book())
    for segment in read_segments(connection):
        after = _follow(segment, reached, directory)
        if isinstance(after, Differs):
            return after
        reached = after
    return Verified(size=reached.frontier.size, root=reached.frontier.root(), book=reached.book)


def _follow(segment: Segment, reached: Salvage, directory: Directory) -> Salvage | Differs:
    start = reached.frontier.size
    if segment.first_sequence != start or segment.first_salt != reached.salts:
        return Differs(start, f"the next segment claims to start at {segment.first_sequence}")
    try:
        records = split_records(segment.leaves, LEAF_BYTES)
        legs = split_records(segment.legs, LEG_BYTES)
        bodies = list(split_bodies(segment.bodies))
    except RecordMalformed as error:
        return Differs(start, str(error))
    if not len(records) == len(bodies) == segment.count:
        return Differs(start, f"the segment counts {segment.count} entries and holds {len(records)}")
    fault = _first_fault(records, legs, bodies, start)
    if fault is not None:
        return fault
    book = _post_all(directory.decode(segment), reached.book, start)
    if isinstance(book, Differs):
        return book
    frontier = reached.frontier.extend([leaf_hash(record) for record in records])
    if frontier.root() != segment.root:
        return Differs(start, "the leaves of the segment do not hash to its stored root")
    return Salvage(frontier, reached.salts + len(legs) + len(records), book)


def _first_fault(records: list[bytes], legs: list[bytes], bodies: list[bytes], start: int) -> Differs | None:
    at = 0
    for sequence, (record, body) in enumerate(zip(records, bodies, strict=True), start):
        try:
            leaf = decode_leaf(record)
        except RecordMalformed as error:
            return Differs(sequence, str(error))
        own, at = legs[at : at + leaf.leg_count], at + leaf.leg_count
        reason = _leaf_fault(leaf, sequence, own, body)
        if reason is not None:
            return Differs(sequence, reason)
    return Differs(start + len(records), "legs that belong to no entry") if at != len(legs) else None


def _leaf_fault(leaf: Leaf, sequence: int, legs: list[bytes], body: bytes) -> str | None:
    if leaf.sequence != sequence:
        return f"the leaf says it is number {leaf.sequence}"
    if len(legs) != leaf.leg_count or tree_root([leaf_hash(leg) for leg in legs]) != leaf.legs_root:
        return "the legs do not hash to the legs root of the leaf"
    if hashlib.sha256(body).digest() != leaf.body_hash:
        return "the body does not hash to the body hash of the leaf"
    return None


def _post_all(entries: Iterator[Entry], book: Book, start: int) -> Book | Differs:
    sequence = start
    try:
        for sequence, entry in enumerate(entries, start):
            after = post(book, entry)
            if isinstance(after, Refusal):
                return Differs(sequence, f"the entry does not post: {after.value}")
            book = after
    except RecordMalformed as error:
        return Differs(sequence + 1, str(error))
    return book
