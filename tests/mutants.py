"""Documents that somebody altered, by chance but the same each time, and what a verifier makes of them.

A :class:`Subject` is an honest document with the door it goes through. A mutant is **refused**, or it is read and
says **the same** as the honest one, or it is a **forgery**: it was accepted and says something else. Forgeries must not
be. The same may be said in another way only where the format allows it (:attr:`Subject.spellings`); where it promises
one spelling, a mutant that says the same is a fault too.

    Subject("checkpoint", NOTE, read=open_it, refusals=(NoteRefused,))

is all it takes to have one more document mutated.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Chance = random.Random
BYTES = b"\n\r\t 0A=+/-_\x00\x7f\xff"
BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{6,}={0,2}")
NUMBER = re.compile(rb"(?<![A-Za-z0-9+/=])[0-9]{1,19}(?![A-Za-z0-9+/=])")
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def same(honest: Any, mutant: Any) -> bool:
    """Whether both say exactly the same."""
    return bool(honest == mutant)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An honest document, and how it is read: ``read`` gives what it says, or raises one of ``refusals``.

    ``agrees`` tells whether a mutant says the same as the honest document, or less. ``spellings`` are the kinds of
    mutation that may say the same in another way; None allows all of them, none is one spelling. ``donors`` are other
    honest documents of the kind, of which lines are taken over.
    """

    name: str
    data: bytes
    read: Callable[[bytes], Any]
    refusals: tuple[type[Exception], ...]
    agrees: Callable[[Any, Any], bool] = same
    spellings: frozenset[str] | None = frozenset()
    donors: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Tally:
    """What became of the mutants of a subject, by kind of mutation."""

    made: Counter[str] = field(default_factory=Counter)
    alike: Counter[str] = field(default_factory=Counter)
    forged: list[tuple[str, bytes]] = field(default_factory=list)

    def __str__(self) -> str:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.alike.items())) or "none"
        return f"{self.made.total()} mutants, {len(self.forged)} forged, said the same: {kinds}"


def mutate(subject: Subject, count: int, seed: str) -> Tally:
    """Make ``count`` mutants of ``subject`` and judge each."""
    chance, tally = random.Random(f"{seed} {subject.name}"), Tally()
    honest = subject.read(subject.data)
    kinds = sorted(KINDS)
    while tally.made.total() < count:
        kind = chance.choice(kinds)
        mutant = KINDS[kind](subject.data, chance)
        if kind == "a line of another" and subject.donors:
            mutant = _grafted(subject.data, chance.choice(subject.donors), chance)
        if mutant == subject.data:
            continue
        tally.made[kind] += 1
        try:
            said = subject.read(mutant)
        except subject.refusals:
            continue
        if not subject.agrees(honest, said) or not _may_be_spelled_so(subject, kind):
            tally.forged.append((kind, mutant))
        else:
            tally.alike[kind] += 1
    return tally


def _may_be_spelled_so(subject: Subject, kind: str) -> bool:
    return subject.spellings is None or kind in subject.spellings


# --- kinds of mutation: bytes --------------------------------------------------------------------------------


def _place(data: bytes, chance: Chance) -> tuple[int, int]:
    """Where a mutation begins, and where it ends: mostly the next byte."""
    at = chance.randrange(len(data))
    return at, min(len(data), at + chance.choice((1, 1, 1, 2, 4, 32, 45)))


def _bit_turned(data: bytes, chance: Chance) -> bytes:
    at, _ = _place(data, chance)
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def _byte_changed(data: bytes, chance: Chance) -> bytes:
    at, _ = _place(data, chance)
    return (
        data[:at]
        + bytes([chance.choice((chance.randrange(256), data[chance.randrange(len(data))]))])
        + data[at + 1 :]
    )


def _byte_inserted(data: bytes, chance: Chance) -> bytes:
    at = chance.choice((0, len(data), chance.randrange(len(data))))
    return data[:at] + bytes([chance.choice(BYTES)]) + data[at:]


def _bytes_deleted(data: bytes, chance: Chance) -> bytes:
    at, to = _place(data, chance)
    return data[:at] + data[to:]


def _bytes_duplicated(data: bytes, chance: Chance) -> bytes:
    at, to = _place(data, chance)
    return data[:to] + data[at:to] + data[to:]


def _bytes_swapped(data: bytes, chance: Chance) -> bytes:
    swapped, (at, _), (other, _) = bytearray(data), _place(data, chance), _place(data, chance)
    if chance.randrange(2):
        other = min(at + 1, len(data) - 1)
    swapped[at], swapped[other] = swapped[other], swapped[at]
    return bytes(swapped)


def _cut(data: bytes, chance: Chance) -> bytes:
    return data[: chance.randrange(len(data))] if chance.randrange(2) else data[chance.randrange(len(data)) :]


# --- kinds of mutation: lines and words ------------------------------------------------------------------------


def _line_deleted(data: bytes, chance: Chance) -> bytes:
    lines = data.split(b"\n")
    del lines[chance.randrange(len(lines))]
    return b"\n".join(lines)


def _line_duplicated(data: bytes, chance: Chance) -> bytes:
    lines = data.split(b"\n")
    lines.insert(chance.randrange(len(lines) + 1), chance.choice(lines))
    return b"\n".join(lines)


def _lines_swapped(data: bytes, chance: Chance) -> bytes:
    lines = data.split(b"\n")
    one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"\n".join(lines)


def _line_ends_changed(data: bytes, chance: Chance) -> bytes:
    return data.replace(
        b"\n", chance.choice((b"\r\n", b"\r", b"\n\n", b" \n", b"")), chance.choice((-1, 1, 2))
    )


def _words_swapped(data: bytes, chance: Chance) -> bytes:
    """Fields between spaces, line ends and quotes."""
    words = re.split(rb'([ \n"])', data)
    one, other = (2 * chance.randrange((len(words) + 1) // 2) for _ in range(2))
    words[one], words[other] = words[other], words[one]
    return b"".join(words)


def _word_deleted(data: bytes, chance: Chance) -> bytes:
    words = re.split(rb'([ \n"])', data)
    words[2 * chance.randrange((len(words) + 1) // 2)] = b""
    return b"".join(words)


def _grafted(data: bytes, donor: bytes, chance: Chance) -> bytes:
    """A line of another document in the place of one of this; without lines, a piece of it."""
    lines, others = data.split(b"\n"), donor.split(b"\n")
    if len(lines) < 3:
        at, to = _place(data, chance)
        return data[:at] + donor[at:to] + data[to:]
    place = chance.randrange(len(lines))
    lines[place] = others[min(place, len(others) - 1)] if chance.randrange(2) else chance.choice(others)
    return b"\n".join(lines)


# --- kinds of mutation: other spellings -------------------------------------------------------------------------


def _found(pattern: re.Pattern[bytes], data: bytes, chance: Chance) -> tuple[int, int] | None:
    spans = [found.span() for found in pattern.finditer(data)]
    return chance.choice(spans) if spans else None


def _base64_respelled(data: bytes, chance: Chance) -> bytes:
    """The same bytes for a reader who is not careful."""
    span = _found(BASE64, data, chance)
    if span is None:
        return data
    token = data[span[0] : span[1]]
    bare = token.rstrip(b"=")
    at = chance.randrange(1, len(token))
    last = ALPHABET.find(bare[-1:])
    stray = bare[:-1] + ALPHABET[(last ^ 1) % 64 : (last ^ 1) % 64 + 1] + token[len(bare) :]
    respelled = (
        *(bare, token + b"=", token + b"==", bare + b"%3D", bare + b"A", stray),
        *(token.translate(bytes.maketrans(b"+/", b"-_")), token.translate(bytes.maketrans(b"-_", b"+/"))),
        *(
            token[:at] + inserted + token[at:]
            for inserted in (b" ", b"\n", b"\r\n", b"=", b"\\n", b"\\/"[:1])
        ),
    )
    return data[: span[0]] + chance.choice(respelled) + data[span[1] :]


def _number_respelled(data: bytes, chance: Chance) -> bytes:
    span = _found(NUMBER, data, chance)
    if span is None:
        return data
    token = data[span[0] : span[1]]
    wide = "".join(chr(0xFF10 + int(digit)) for digit in token.decode()).encode()
    arabic = "".join(chr(0x0660 + int(digit)) for digit in token.decode()).encode()
    respelled = (
        b"0" + token,
        b"+" + token,
        b" " + token,
        token + b" ",
        b"-" + token,
        token + b".0",
        token + b"e0",
    )
    return (
        data[: span[0]]
        + chance.choice((*respelled, wide, arabic, token[:1] + b"_" + token[1:]))
        + data[span[1] :]
    )


def _number_changed(data: bytes, chance: Chance) -> bytes:
    span = _found(NUMBER, data, chance)
    if span is None:
        return data
    number = int(data[span[0] : span[1]])
    other = chance.choice(
        (number + 1, abs(number - 1), number * 2, number // 2, 0, 1, 2**63 - 1, 2**63, 2**64 + number)
    )
    return data[: span[0]] + str(other).encode() + data[span[1] :]


def _case_changed(data: bytes, chance: Chance) -> bytes:
    at, to = _place(data, chance)
    return data[:at] + data[at:to].swapcase() + data[to:]


def _marked(data: bytes, chance: Chance) -> bytes:
    """Marks of bytes, directions and width that an eye does not see."""
    at = chance.choice((0, chance.randrange(len(data))))
    mark = chance.choice(("\ufeff", "\u200b", "\u202e", "\u00a0", "\u2028", "\u0085"))
    return data[:at] + mark.encode() + data[at:]


# --- kinds of mutation: JSON ---------------------------------------------------------------------------------------


def _json_changed(data: bytes, chance: Chance) -> bytes:
    """A member gone, moved, taken from elsewhere, of another type, or written again with spaces and escapes."""
    try:
        document: Any = json.loads(data)
    except ValueError:
        return data
    if not isinstance(document, dict):
        return data
    holders = list(_holders(document))
    holder, key = chance.choice(holders)
    other, other_key = chance.choice(holders)
    match chance.randrange(7):
        case 0:
            del holder[key]
        case 1:
            holder[key], other[other_key] = other[other_key], holder[key]
        case 2:
            holder[key] = chance.choice((None, True, 1, 1.5, [], {}, "", [holder[key]], {"a": holder[key]}))
        case 3:
            holder[key] = other[other_key]
        case 4 if isinstance(holder, list):
            holder.insert(0, holder[key])
        case 4:
            holder[f"{key}X"] = holder[key]
        case 5:
            return json.dumps(document, indent=chance.choice((None, 1)), ensure_ascii=True).encode()
        case _:
            return _member_twice(data, chance)
    try:
        return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    except ValueError:  # a member was moved into itself
        return data


def _holders(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a JSON document: the list or object, and the key in it."""
    places: Any = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in places:
        yield value, key
        yield from _holders(inner)


def _member_twice(data: bytes, chance: Chance) -> bytes:
    """A member of one object once more, in front: some readers take the first, some the last."""
    begins = [found.end() for found in re.finditer(rb'[{,](?="[A-Za-z_]+":)', data)]
    members = re.findall(rb'"[A-Za-z_]+":"[^"]*"', data)
    if not begins or not members:
        return data
    at = chance.choice(begins)
    name = data[at : data.index(b":", at)]
    value: bytes = chance.choice(members).split(b":", 1)[1]
    return data[:at] + name + b":" + value + b"," + data[at:]


KINDS: Mapping[str, Callable[[bytes, Chance], bytes]] = {
    "a bit turned": _bit_turned,
    "a byte changed": _byte_changed,
    "a byte inserted": _byte_inserted,
    "bytes deleted": _bytes_deleted,
    "bytes duplicated": _bytes_duplicated,
    "bytes swapped": _bytes_swapped,
    "cut": _cut,
    "a line deleted": _line_deleted,
    "a line duplicated": _line_duplicated,
    "lines swapped": _lines_swapped,
    "line ends changed": _line_ends_changed,
    "a line of another": _lines_swapped,
    "fields swapped": _words_swapped,
    "a field deleted": _word_deleted,
    "base64 spelled otherwise": _base64_respelled,
    "a number spelled otherwise": _number_respelled,
    "a number changed": _number_changed,
    "case changed": _case_changed,
    "marks inserted": _marked,
    "JSON changed": _json_changed,
}
