"""Records to bytes and back, a column at a time where there is one: the bytes are those of ``leaf``.

A row of :class:`Transfers` has two legs, debit before credit, and a body that is the same in every row but
for its salt. So its records are columns too, and only the hashing is done one by one. Entries that follow each other
with equally many legs share the columns of their legs and leaves.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ledger.entry import Entry
from ledger.leaf import (
    BODY_MAGIC,
    LEAF_BYTES,
    LEAF_MAGIC,
    LEG_BYTES,
    LENGTH,
    SALT_BYTES,
    Body,
    ByteSource,
    RecordMalformed,
    Sealed,
    body_text,
    decode_body,
    encode_body,
    require_sound,
    seal_entry,
)
from ledger.merkle import HASH_BYTES, LEAF_PREFIX, NODE_PREFIX
from ledger.require import require
from ledger.transfers import Amounts, Record, Transfers, amount_column, count, key_column, rows_of

Bytes: TypeAlias = NDArray[np.uint8]

_sha256 = hashlib.sha256

SALTS_PER_ROW = 3
LEGS_PER_ROW = 2
BODY_HEAD = len(BODY_MAGIC) + SALT_BYTES
RUN_MIN = 8
"""Fewer rows than this are not worth a column."""
LEGS_MIN = 48
"""Nor are fewer legs of entries."""
LEAF_TYPE = np.dtype(
    [
        ("magic", "S4"),
        ("kind", ">u2"),
        ("flags", ">u2"),
        ("legs", ">u4"),
        ("sequence", ">u8"),
        ("effective_ms", ">u8"),
        ("entry_id", "V16"),
        ("legs_root", "V32"),
        ("body_hash", "V32"),
    ]
)


def salts_used(records: Sequence[Record]) -> int:
    """How many salts the records take: one a leg and one a body."""
    return sum(
        len(record.legs) + 1 if isinstance(record, Entry) else SALTS_PER_ROW * len(record)
        for record in records
    )


def seal(records: Sequence[Record], *, first_sequence: int, first_salt: int, source: ByteSource) -> Sealed:
    """Encode and hash ``records``; the source is read once for the whole group.

    Raises ``InvariantViolated`` for a record that breaks its own rules and for a source that runs short.
    """
    size = salts_used(records) * SALT_BYTES
    stream = source(first_salt * SALT_BYTES, size)
    require(len(stream) == size, "every leg and every body has its salt")
    parts, at, sequence = [], 0, first_sequence
    for run in _runs(records):
        end = at + salts_used(run) * SALT_BYTES
        parts.append(_seal_run(run, sequence, stream[at:end]))
        at, sequence = end, sequence + count(run)
    return Sealed(
        b"".join(part.leaves for part in parts),
        b"".join(part.legs for part in parts),
        b"".join(part.bodies for part in parts),
        tuple(digest for part in parts for digest in part.leaf_hashes),
    )


def _runs(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Entries that follow each other with equally many legs, if those are worth a column; any other record alone."""
    for legs, run in groupby(records, key=_legs_of):
        together = list(run)
        if legs * len(together) >= LEGS_MIN:
            yield together
        else:
            yield from ([record] for record in together)


def _legs_of(record: Record) -> int:
    return len(record.legs) if isinstance(record, Entry) else 0


# ------------------------------------------------------------------------------------------------ to bytes


def _seal_run(run: Sequence[Record], sequence: int, salts: bytes) -> Sealed:
    first = run[0]
    if isinstance(first, Transfers):
        return _seal_columns(first, sequence, salts)
    entries = [record for record in run if isinstance(record, Entry)]
    if len(first.legs) * len(entries) < LEGS_MIN:
        return seal_entry(first, sequence, salts)
    return _seal_entries(entries, sequence, salts)


def _seal_entries(entries: Sequence[Entry], sequence: int, salts: bytes) -> Sealed:
    """As ``seal_entry`` for each; all of them have equally many legs."""
    for entry in entries:
        require_sound(entry)
    count, each = len(entries), len(entries[0].legs)
    drawn = np.frombuffer(salts, np.uint8).reshape(count, each + 1, SALT_BYTES)
    all_legs = [leg for entry in entries for leg in entry.legs]
    legs = np.empty((count * each, 1 + LEG_BYTES), np.uint8)
    legs[:, 0] = LEAF_PREFIX[0]
    legs[:, 1:17] = drawn[:, :each].reshape(-1, SALT_BYTES)
    legs[:, 17:33] = key_column([leg.account.id for leg in all_legs])
    legs[:, 33:] = _amount_bytes(amount_column([leg.amount for leg in all_legs]))
    body_salts = rows_of(drawn[:, each])
    bodies = [encode_body(salt, entry) for salt, entry in zip(body_salts, entries, strict=True)]
    leaves = _leaf_rows(
        kinds=[entry.kind for entry in entries],
        legs=each,
        sequence=sequence,
        effective_ms=[entry.effective_ms for entry in entries],
        ids=key_column([entry.entry_id for entry in entries]),
        legs_roots=_roots(legs, each),
        body_hashes=_digests([_sha256(body).digest() for body in bodies]),
    )
    packed = b"".join(LENGTH.pack(len(body)) + body for body in bodies)
    return Sealed(leaves[:, 1:].tobytes(), legs[:, 1:].tobytes(), packed, tuple(_hashes(leaves)))


def _seal_columns(rows: Transfers, sequence: int, salts: bytes) -> Sealed:
    drawn = np.frombuffer(salts, np.uint8).reshape(len(rows), SALTS_PER_ROW, SALT_BYTES)
    legs = _leg_rows(rows, drawn[:, :LEGS_PER_ROW])
    bodies = _body_rows(rows, drawn[:, LEGS_PER_ROW])
    body_hashes = _hashes(bodies[:, LENGTH.size :])
    leaves = _leaf_rows(
        kinds=rows.kind,
        legs=LEGS_PER_ROW,
        sequence=sequence,
        effective_ms=rows.effective_ms,
        ids=rows.ids,
        legs_roots=_roots(legs, LEGS_PER_ROW),
        body_hashes=_digests(body_hashes),
    )
    leaf_hashes = _hashes(leaves)
    return Sealed(leaves[:, 1:].tobytes(), legs[:, 1:].tobytes(), bodies.tobytes(), tuple(leaf_hashes))


def _leg_rows(rows: Transfers, salts: Bytes) -> Bytes:
    """Shape (2n, 49): the legs, each behind the prefix of a leaf."""
    legs = np.empty((len(rows), LEGS_PER_ROW, 1 + LEG_BYTES), np.uint8)
    legs[:, :, 0] = LEAF_PREFIX[0]
    legs[:, :, 1:17] = salts
    legs[:, 0, 17:33] = rows.debits
    legs[:, 1, 17:33] = rows.credits
    legs[:, 0, 33:] = _amount_bytes(rows.amounts)
    legs[:, 1, 33:] = _amount_bytes(-rows.amounts)
    return legs.reshape(-1, 1 + LEG_BYTES)


def _amount_bytes(amounts: Amounts) -> Bytes:
    """Shape (n, 16): signed, big-endian."""
    if amounts.dtype == object:
        packed = b"".join(amount.to_bytes(16, "big", signed=True) for amount in amounts.tolist())
        return np.frombuffer(packed, np.uint8).reshape(-1, 16)
    halves = np.empty((len(amounts), 2), ">i8")
    halves[:, 0], halves[:, 1] = amounts >> 63, amounts
    return halves.view(np.uint8)


def _roots(legs: Bytes, each: int) -> Bytes:
    """Shape (n, 32): the RFC 6962 root over each ``each`` of ``legs``, which have their prefixes.

    A level is the level below in pairs; one without a partner goes up as it is.
    """
    level = _digests(_hashes(legs)).reshape(-1, each, HASH_BYTES)
    while level.shape[1] > 1:
        paired = level.shape[1] // 2
        nodes = np.empty((len(level) * paired, 1 + 2 * HASH_BYTES), np.uint8)
        nodes[:, 0] = NODE_PREFIX[0]
        nodes[:, 1:] = level[:, : 2 * paired].reshape(len(nodes), -1)
        above = _digests(_hashes(nodes)).reshape(len(level), paired, HASH_BYTES)
        level = np.concatenate((above, level[:, 2 * paired :]), axis=1)
    return level[:, 0]


def leaf_hashes(leaves: bytes) -> list[bytes]:
    """RFC 6962 hashes of a column of leaves. Raises :class:`RecordMalformed` for a remainder."""
    if len(leaves) % LEAF_BYTES:
        raise RecordMalformed(f"{len(leaves)} bytes are no whole number of {LEAF_BYTES}-byte records")
    return _hashes(_prefixed(np.frombuffer(leaves, np.uint8).reshape(-1, LEAF_BYTES)))


def _prefixed(records: Bytes) -> Bytes:
    """Each record behind the prefix of a leaf."""
    prefixed = np.full((len(records), 1 + records.shape[1]), LEAF_PREFIX[0], np.uint8)
    prefixed[:, 1:] = records
    return prefixed


def _hashes(rows: Bytes) -> list[bytes]:
    """SHA-256 of each row, prefixes included."""
    return [_sha256(row).digest() for row in rows_of(rows)]


def _digests(hashes: list[bytes]) -> Bytes:
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, HASH_BYTES)


def _body_rows(rows: Transfers, salts: Bytes) -> Bytes:
    """Shape (n, …): the bodies, each behind its length."""
    body = Body(actor=rows.actor, fact=None, opens=(), references=rows.references, request_id=rows.request_id)
    text = np.frombuffer(body_text(body), np.uint8)
    head = LENGTH.pack(BODY_HEAD + len(text)) + BODY_MAGIC
    bodies = np.empty((len(rows), len(head) + SALT_BYTES + len(text)), np.uint8)
    bodies[:, : len(head)] = np.frombuffer(head, np.uint8)
    bodies[:, len(head) : len(head) + SALT_BYTES] = salts
    bodies[:, len(head) + SALT_BYTES :] = text
    return bodies


def _leaf_rows(
    *,
    kinds: int | list[int],
    legs: int,
    sequence: int,
    effective_ms: int | list[int],
    ids: Bytes,
    legs_roots: Bytes,
    body_hashes: Bytes,
) -> Bytes:
    """Shape (n, 109): the leaves, each behind the prefix of a leaf."""
    fields = np.zeros(len(ids), LEAF_TYPE)
    fields["magic"], fields["kind"], fields["legs"] = LEAF_MAGIC, kinds, legs
    fields["sequence"] = np.arange(sequence, sequence + len(ids))
    fields["effective_ms"] = effective_ms
    for name, column in (("entry_id", ids), ("legs_root", legs_roots), ("body_hash", body_hashes)):
        fields[name] = np.ascontiguousarray(column).view(LEAF_TYPE[name])[:, 0]
    leaves = np.empty((len(ids), 1 + LEAF_BYTES), np.uint8)
    leaves[:, 0] = LEAF_PREFIX[0]
    leaves[:, 1:] = fields.view(np.uint8).reshape(len(ids), LEAF_BYTES)
    return leaves


# ---------------------------------------------------------------------------------------------- from bytes


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows ``start`` to ``end`` of a segment; ``legs`` and ``bodies`` are their bytes.

    ``columns`` is what they say if they are rows of one column whose hashes hold, else None.
    """

    start: int
    end: int
    legs: bytes
    bodies: bytes
    columns: Transfers | None


def pieces_of(leaves: bytes, legs: bytes, bodies: bytes, first_sequence: int) -> Iterator[Piece]:
    """Cut a segment, given as its three columns, into columns of transfers and what lies between them.

    Nothing is refused here: what is not plainly a column, sound in all its hashes, is left to whoever reads it
    entry by entry, and so is a whole segment whose columns do not fit together.
    """
    fields = np.frombuffer(leaves, LEAF_TYPE, len(leaves) // LEAF_BYTES)
    leg_ends = np.cumsum(fields["legs"], dtype=np.int64) * LEG_BYTES
    body_ends = _body_ends(bodies)
    fits = len(leaves) % LEAF_BYTES == 0 and len(body_ends) == len(fields) > 0
    if not fits or leg_ends[-1] != len(legs) or body_ends[-1] != len(bodies):
        yield Piece(0, -(-len(leaves) // LEAF_BYTES), legs, bodies, None)
        return
    in_place = fields["sequence"] == np.arange(first_sequence, first_sequence + len(fields))
    at = 0, 0
    for start, end in _stretches(fields, bodies, body_ends):
        to = leg_ends[end - 1], body_ends[end - 1]
        own_legs, own_bodies = legs[at[0] : to[0]], bodies[at[1] : to[1]]
        is_long = end - start >= RUN_MIN and bool(in_place[start:end].all())
        columns = _columns(fields[start:end], own_legs, own_bodies) if is_long else None
        yield Piece(start, end, own_legs, own_bodies, columns)
        at = to


def _body_ends(bodies: bytes) -> NDArray[np.int64]:
    """Where each body ends; the last end is not that of the column if a length is wrong."""
    step = LENGTH.size + LENGTH.unpack_from(bodies)[0] if len(bodies) >= LENGTH.size else 0
    if step and len(bodies) % step == 0:
        heads = np.frombuffer(bodies, np.uint8).reshape(-1, step)[:, : LENGTH.size]
        if (heads == heads[0]).all():
            return np.arange(step, len(bodies) + 1, step)
    ends, at = [], 0
    while at + LENGTH.size <= len(bodies):
        at += LENGTH.size + LENGTH.unpack_from(bodies, at)[0]
        ends.append(at)
    return np.array(ends, np.int64)


def _stretches(
    fields: NDArray[Any], bodies: bytes, body_ends: NDArray[np.int64]
) -> Iterator[tuple[int, int]]:
    """Rows that may be one column: two legs, and kind, time and body as in the row before."""
    lengths = np.diff(body_ends, prepend=0)
    is_same = fields["legs"] == LEGS_PER_ROW
    for column in (fields["kind"], fields["effective_ms"], fields["legs"], lengths):
        is_same[1:] &= column[1:] == column[:-1]
    for start, end in _between(~is_same):
        if end - start < RUN_MIN:
            yield start, end
            continue
        own = bodies[body_ends[start] - lengths[start] : body_ends[end - 1]]
        block = np.frombuffer(own, np.uint8).reshape(end - start, -1)
        texts = block[:, LENGTH.size + BODY_HEAD :]
        differs = np.ones(len(texts), np.bool_)
        differs[1:] = (texts[1:] != texts[:-1]).any(axis=1)
        yield from ((start + first, start + last) for first, last in _between(differs))


def _between(begins: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Start and end of the stretches that begin at 0 and wherever ``begins`` says so."""
    starts = np.flatnonzero(begins | (np.arange(len(begins)) == 0)).tolist()
    return zip(starts, [*starts[1:], len(begins)], strict=True)


def _columns(fields: NDArray[Any], legs: bytes, bodies: bytes) -> Transfers | None:
    rows = len(fields)
    if fields["legs"][0] != LEGS_PER_ROW or len(legs) != rows * LEGS_PER_ROW * LEG_BYTES:
        return None
    said = _common_body(bodies, rows)
    if said is None or not _hashes_hold(fields, legs, bodies):
        return None
    records = np.frombuffer(legs, np.uint8).reshape(rows, LEGS_PER_ROW, LEG_BYTES)
    debits, credits = _amounts(records[:, 0, 32:]), _amounts(records[:, 1, 32:])
    if not ((debits > 0) & (credits == -debits)).all():
        return None
    return Transfers(
        ids=np.ascontiguousarray(fields["entry_id"]).view(np.uint8).reshape(rows, -1),
        debits=np.ascontiguousarray(records[:, 0, 16:32]),
        credits=np.ascontiguousarray(records[:, 1, 16:32]),
        amounts=debits,
        kind=int(fields["kind"][0]),
        effective_ms=int(fields["effective_ms"][0]),
        request_id=said.request_id,
        actor=said.actor,
        references=said.references,
    )


def _common_body(bodies: bytes, rows: int) -> Body | None:
    """What the bodies, all of one text, say, if that is no more than a transfer says."""
    body = decode_body(bodies[LENGTH.size : len(bodies) // rows])
    return None if body.opens or body.fact is not None or body.step is not None else body


def _hashes_hold(fields: NDArray[Any], legs: bytes, bodies: bytes) -> bool:
    """Whether every row is a leaf of this version, and its legs and its body are those that it names."""
    rows = len(fields)
    records = np.frombuffer(legs, np.uint8).reshape(-1, LEG_BYTES)
    block = np.frombuffer(bodies, np.uint8).reshape(rows, -1)[:, LENGTH.size :]
    body_hashes = _hashes(block)
    return (
        bool((fields["magic"] == LEAF_MAGIC).all() and (fields["flags"] == 0).all())
        and fields["legs_root"].tobytes() == _roots(_prefixed(records), LEGS_PER_ROW).tobytes()
        and fields["body_hash"].tobytes() == b"".join(body_hashes)
    )


def _amounts(packed: Bytes) -> Amounts:
    """The amounts in ``packed``, shape (n, 16)."""
    halves = np.ascontiguousarray(packed).view(">i8")
    high, low = halves[:, 0], halves[:, 1].astype(np.int64)
    if (high == low >> 63).all():
        return low
    flat = packed.tobytes()
    return amount_column(
        [int.from_bytes(flat[at : at + 16], "big", signed=True) for at in range(0, len(flat), 16)]
    )
