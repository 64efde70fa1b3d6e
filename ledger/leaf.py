"""Journal records, byte for byte (attestation.md §2). All integers are big-endian.

``leg``, 48 bytes::

    salt 16 | account id 16 | amount, signed 128 bit, debit positive

``leaf``, 108 bytes::

    "CCL1" | kind u16 | flags u16 = 0 | legs u32 | sequence u64 | effective time u64, ms UTC
    | entry id 16 | legs root 32 | SHA-256 of the body 32

``legs root`` is the RFC 6962 root over the legs' bytes, so one leg can be shown without the others.

``body`` (private metadata), version 1::

    "CCB1" | salt 16 | UTF-8 JSON

The JSON has sorted keys, no spaces, ASCII only, and no numbers: ``actor``, ``fact``, ``opens`` (a
list of [path, unit, side, limit]), ``references``, ``request``, and, only in an entry that has one,
``step`` ([verb, 16 bytes in hex, time of expiry in ms]). Every number is a decimal string, and a fact is
nested at most ``FACT_DEPTH_MAX`` deep. There is one encoding of each body; other bytes are no body, so no
two readers can take the same bytes for different things.

A segment keeps three columns: leaves one after the other, legs one after the other, and bodies
each behind its length (u32). What was hashed is what is stored; nothing is serialised twice.

Salts come from a byte source that is read by position: the n-th salt of the journal belongs to the
same leg however entries were grouped. An entry takes one salt a leg, then one for its body.
"""

import hashlib
import json
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ledger.account import Account, AccountId, Limit, Side
from ledger.entry import TIME_MAX_MS, Entry, Json, Leg, Step, Verb, check_entry
from ledger.merkle import leaf_hash, tree_root
from ledger.require import InvariantViolated, require

LEAF_MAGIC = b"CCL1"
BODY_MAGIC = b"CCB1"
LEAF_FORMAT = struct.Struct(">4sHHIQQ16s32s32s")
LEAF_BYTES = LEAF_FORMAT.size
SALT_BYTES = 16
LEG_BYTES = 48
LENGTH = struct.Struct(">I")
FACT_DEPTH_MAX = 64

ByteSource: TypeAlias = Callable[[int, int], bytes]
"""``source(offset, size)`` gives ``size`` salt bytes that stand at ``offset`` of its stream."""


class RecordMalformed(ValueError):
    """Bytes that are no record of this journal. The message names the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A decoded leaf record."""

    kind: int
    leg_count: int
    sequence: int
    effective_ms: int
    entry_id: bytes
    legs_root: bytes
    body_hash: bytes


@dataclass(frozen=True, slots=True)
class LegRecord:
    """A decoded leg record; ``amount`` is debit positive."""

    salt: bytes
    account_id: AccountId
    amount: int


@dataclass(frozen=True, slots=True)
class Sealed:
    """A group of entries as the journal stores and hashes it."""

    leaves: bytes
    legs: bytes
    bodies: bytes
    leaf_hashes: tuple[bytes, ...]


def seal_entry(entry: Entry, sequence: int, salts: bytes) -> Sealed:
    """Encode and hash ``entry``; ``salts`` are one a leg and one for the body.

    Raises ``InvariantViolated`` for an entry that breaks its own rules and for salts that run short.
    """
    require_sound(entry)
    require(len(salts) == SALT_BYTES * (len(entry.legs) + 1), "every leg and every body has its salt")
    *leg_salts, body_salt = split_records(salts, SALT_BYTES)
    legs = [encode_leg(salt, leg) for salt, leg in zip(leg_salts, entry.legs, strict=True)]
    body = encode_body(body_salt, entry)
    leaf = _encode_leaf(entry, sequence, legs, body)
    return Sealed(leaf, b"".join(legs), LENGTH.pack(len(body)) + body, (leaf_hash(leaf),))


def require_sound(entry: Entry) -> None:
    """Raises ``InvariantViolated`` for an entry that breaks its own rules: it is never written."""
    if (refusal := check_entry(entry)) is not None:
        raise InvariantViolated(f"entry {entry.entry_id.hex()} comes to be recorded: {refusal.value}")


def encode_leg(salt: bytes, leg: Leg) -> bytes:
    """The 48 bytes of one leg."""
    return salt + leg.account.id + leg.amount.to_bytes(16, "big", signed=True)


def encode_body(salt: bytes, entry: "Entry | Body") -> bytes:
    """The private metadata of ``entry``. Raises :class:`RecordMalformed` if its fact would not come back."""
    return BODY_MAGIC + salt + body_text(entry)


def _no_number(text: str) -> Json:
    raise RecordMalformed(f"a JSON number in a body: {text}")


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_DECODER = json.JSONDecoder(parse_int=_no_number, parse_float=_no_number, parse_constant=_no_number)


def body_text(entry: "Entry | Body") -> bytes:
    """The JSON of the body: what is the same in every entry that says the same.

    Raises :class:`RecordMalformed` if it would not come back: it is never written then.
    """
    if not all(isinstance(one, str) for one in (entry.actor, entry.request_id, *entry.references)):
        raise RecordMalformed("actor, request and references are texts")
    if not is_fact(entry.fact):
        raise RecordMalformed("a fact holds texts, truth values, lists and objects, not nested too deeply")
    private: dict[str, Json] = {
        "actor": entry.actor,
        "fact": entry.fact,
        "opens": [[a.path, a.unit, a.side.value, a.limit.value] for a in entry.opens],
        "references": list(entry.references),
        "request": entry.request_id,
    }
    if entry.step is not None:
        step = entry.step
        private["step"] = [step.verb.value, step.names.hex(), str(step.expires_ms)]
    return _ENCODER.encode(private).encode("ascii")


def _encode_leaf(entry: Entry, sequence: int, legs: Sequence[bytes], body: bytes) -> bytes:
    return LEAF_FORMAT.pack(
        LEAF_MAGIC,
        entry.kind,
        0,
        len(legs),
        sequence,
        entry.effective_ms,
        entry.entry_id,
        tree_root([leaf_hash(leg) for leg in legs]),
        hashlib.sha256(body).digest(),
    )


def decode_leaf(record: bytes) -> Leaf:
    """Read one leaf record. Raises :class:`RecordMalformed`."""
    if len(record) != LEAF_BYTES:
        raise RecordMalformed(f"a leaf has {LEAF_BYTES} bytes, not {len(record)}")
    magic, kind, flags, count, sequence, effective_ms, entry_id, legs_root, body_hash = LEAF_FORMAT.unpack(
        record
    )
    if magic != LEAF_MAGIC or flags != 0:
        raise RecordMalformed(f"unknown leaf version {magic!r} or flags {flags}")
    return Leaf(
        kind=kind,
        leg_count=count,
        sequence=sequence,
        effective_ms=effective_ms,
        entry_id=entry_id,
        legs_root=legs_root,
        body_hash=body_hash,
    )


def decode_leg(record: bytes) -> LegRecord:
    """Read one leg record. Raises :class:`RecordMalformed`."""
    if len(record) != LEG_BYTES:
        raise RecordMalformed(f"a leg has {LEG_BYTES} bytes, not {len(record)}")
    amount = int.from_bytes(record[32:], "big", signed=True)
    return LegRecord(record[:16], AccountId(record[16:32]), amount)


def split_records(column: bytes, size: int) -> list[bytes]:
    """Cut a column of fixed-size records. Raises :class:`RecordMalformed` on a remainder."""
    if len(column) % size:
        raise RecordMalformed(f"{len(column)} bytes are no whole number of {size}-byte records")
    return [column[i : i + size] for i in range(0, len(column), size)]


def split_bodies(column: bytes) -> Iterator[bytes]:
    """Cut the bodies column. Raises :class:`RecordMalformed` when a length runs past the end."""
    at = 0
    while at < len(column):
        if at + LENGTH.size > len(column):
            raise RecordMalformed("the bodies column ends inside a length")
        (length,) = LENGTH.unpack_from(column, at)
        at += LENGTH.size
        if at + length > len(column):
            raise RecordMalformed("the bodies column ends inside a body")
        yield column[at : at + length]
        at += length


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A decoded body."""

    actor: str
    fact: Json
    opens: tuple[Account, ...]
    references: tuple[str, ...]
    request_id: str
    step: Step | None = None


def decode_body(body: bytes) -> Body:
    """Read private metadata. Raises :class:`RecordMalformed`."""
    head = len(BODY_MAGIC) + SALT_BYTES
    if body[: len(BODY_MAGIC)] != BODY_MAGIC or len(body) < head:
        raise RecordMalformed(f"unknown body version {body[:4]!r}")
    try:
        private = _DECODER.decode(body[head:].decode("ascii"))
        decoded = Body(
            actor=_text(private["actor"]),
            fact=private["fact"],
            opens=tuple(Account(p, u, Side(s), Limit(m)) for p, u, s, m in private["opens"]),
            references=tuple(map(_text, private["references"])),
            request_id=_text(private["request"]),
            step=_step(*private["step"]) if "step" in private else None,
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordMalformed(f"not a body of version 1: {error}") from error
    if encode_body(body[len(BODY_MAGIC) : head], decoded) != body:
        raise RecordMalformed("not the one encoding of the body that it spells")
    return decoded


def _step(verb: str, names: str, expires_ms: str) -> Step:
    expires = int(expires_ms)
    if not 0 <= expires <= TIME_MAX_MS:
        raise ValueError(f"{expires_ms} is no time")
    return Step(Verb(verb), bytes.fromhex(names), expires)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def is_fact(value: object, depth: int = FACT_DEPTH_MAX) -> bool:
    """Whether ``value`` comes back from JSON as it went in, and holds no number."""
    if value is None or isinstance(value, bool | str):
        return True
    if depth and isinstance(value, list):
        return all(is_fact(item, depth - 1) for item in value)
    if depth and isinstance(value, dict):
        return all(isinstance(key, str) and is_fact(item, depth - 1) for key, item in value.items())
    return False
