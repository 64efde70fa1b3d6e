"""Reading the journal back: segments, entries, answers.

Entries come out as they went in. Account ids in legs are turned into accounts by the openings that
stand earlier in the same journal, so a reader needs nothing but the segments.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from ledger.account import Account, AccountId
from ledger.entry import Entry, Leg
from ledger.leaf import (
    LEAF_BYTES,
    LEG_BYTES,
    RecordMalformed,
    decode_body,
    decode_leaf,
    decode_leg,
    split_bodies,
    split_records,
)
from ledger.merkle import leaf_hash
from ledger.store.tables import requests, segments


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
    """Segments in order, from the one that starts at or after ``from_sequence``."""
    query = (
        select(segments).where(segments.c.first_sequence >= from_sequence).order_by(segments.c.first_sequence)
    )
    for row in connection.execute(query).mappings():
        yield Segment(**row)


def last_segment(connection: Connection) -> Segment | None:
    """The newest segment, or None in an empty journal."""
    newest = select(func.max(segments.c.first_sequence)).scalar_subquery()
    row = connection.execute(select(segments).where(segments.c.first_sequence == newest)).mappings().first()
    return None if row is None else Segment(**row)


def journal_size(connection: Connection) -> int:
    """How many entries the journal has."""
    return int(connection.execute(select(func.coalesce(func.sum(segments.c.count), 0))).scalar_one())


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
        """The entries of ``segment``; segments come in order. Raises :class:`RecordMalformed`."""
        legs = iter(split_records(segment.legs, LEG_BYTES))
        bodies = split_bodies(segment.bodies)
        for record, body_bytes in zip(split_records(segment.leaves, LEAF_BYTES), bodies, strict=True):
            leaf = decode_leaf(record)
            body = decode_body(body_bytes)
            self._accounts.update((account.id, account) for account in body.opens)
            yield Entry(
                entry_id=leaf.entry_id,
                kind=leaf.kind,
                effective_ms=leaf.effective_ms,
                legs=tuple(self._leg(next(legs)) for _ in range(leaf.leg_count)),
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


def read_entries(connection: Connection) -> Iterator[Entry]:
    """Every entry of the journal, in order. Raises :class:`RecordMalformed`."""
    directory = Directory()
    for segment in read_segments(connection):
        yield from directory.decode(segment)
