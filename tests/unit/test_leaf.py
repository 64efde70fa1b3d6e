"""Journal records byte for byte, and every way in which bytes are no record."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ledger.account import Account
from ledger.entry import LEGS_MAX, Entry, credit, debit, transfer
from ledger.leaf import (
    BODY_MAGIC,
    FACT_DEPTH_MAX,
    LEAF_BYTES,
    LEG_BYTES,
    RecordMalformed,
    decode_body,
    decode_leaf,
    decode_leg,
    encode_body,
    split_bodies,
    split_records,
)
from ledger.merkle import EMPTY_ROOT
from ledger.require import InvariantViolated
from ledger.salt import seeded_salts
from ledger.seal import salts_used, seal
from tests.ledgers import ALICE, BOB, KIND, MINT, NOW_MS, OPENING, SALTS, entry, paid

GOLDEN = Path(__file__).parents[1] / "golden" / "journal-entry.hex"
WRITTEN = paid(
    42,
    MINT,
    ALICE,
    1000,
    opens=(ALICE,),
    request_id="r-1",
    actor="admin",
    references=("ref/1",),
    fact={"note": "é", "amount": "5"},
)


def counting(offset: int, size: int) -> bytes:
    """The stream 00 01 02 … ff 00 01 …"""
    return bytes(place % 256 for place in range(offset, offset + size))


def golden() -> dict[str, bytes]:
    """The columns of the golden file, each piece at the place that is written before it."""
    columns: dict[str, bytes] = {}
    name = ""
    for line in GOLDEN.read_text(encoding="utf-8").splitlines():
        if heading := re.fullmatch(r"\[(.*)\]", line):
            name = heading[1]
            columns[name] = b""
        elif line and not line.startswith("#"):
            place, piece = line.split()[:2]
            assert len(columns[name]) == int(place), line
            columns[name] += bytes.fromhex(piece)
    return columns


# ------------------------------------------------------------------------------------------------- the format


def test_an_entry_is_sealed_into_the_golden_bytes() -> None:
    sealed = seal([WRITTEN], first_sequence=7, first_salt=5, source=counting)
    found = {"legs": sealed.legs, "bodies": sealed.bodies, "leaves": sealed.leaves}
    assert found | {"leaf hash": sealed.leaf_hashes[0]} == golden()


def test_the_golden_bytes_are_read_back_as_the_entry() -> None:
    columns = golden()
    leaf = decode_leaf(columns["leaves"])
    assert (leaf.kind, leaf.leg_count, leaf.sequence, leaf.effective_ms) == (KIND, 2, 7, NOW_MS)
    assert leaf.entry_id == WRITTEN.entry_id
    legs = [decode_leg(record) for record in split_records(columns["legs"], LEG_BYTES)]
    assert [(leg.salt[0], leg.account_id, leg.amount) for leg in legs] == [
        (0x50, MINT.id, 1000),
        (0x60, ALICE.id, -1000),
    ]
    (body_bytes,) = split_bodies(columns["bodies"])
    body = decode_body(body_bytes)
    assert (body.actor, body.request_id, body.references) == ("admin", "r-1", ("ref/1",))
    assert (body.fact, body.opens) == (WRITTEN.fact, (ALICE,))


def test_an_entry_without_legs_has_the_root_of_the_empty_tree() -> None:
    sealed = seal([OPENING], first_sequence=0, first_salt=0, source=SALTS)
    assert len(sealed.leaves) == LEAF_BYTES == 108
    assert sealed.legs == b""
    assert decode_leaf(sealed.leaves).legs_root == EMPTY_ROOT


@pytest.mark.parametrize("amount", [1, -1, 2**64, 2**127 - 1, -(2**127) + 1])
def test_an_amount_keeps_its_sign_and_every_digit(amount: int) -> None:
    sealed = seal([paid(1, MINT, ALICE, amount)], first_sequence=0, first_salt=0, source=SALTS)
    assert [decode_leg(record).amount for record in split_records(sealed.legs, LEG_BYTES)] == [
        amount,
        -amount,
    ]


def test_a_body_has_no_json_number_however_deep_the_fact() -> None:
    facts = {"amount": "170141183460469231731687303715884105727", "list": [True, None, {"ticks": "-5"}]}
    body = encode_body(bytes(16), entry(1, fact=facts))
    assert not re.search(rb"[\[:,]-?\d", body[20:])
    assert decode_body(body).fact == facts


@pytest.mark.parametrize("text", ["", "é", "\ud800", "\x00", '"\\', "\u2028", "😀"])
def test_any_text_comes_back_as_it_went_in(text: str) -> None:
    written = entry(1, request_id=text, actor=text, references=(text, text), fact={text: text})
    encoded = encode_body(bytes(16), written)
    assert encoded.isascii()
    body = decode_body(encoded)
    assert (body.request_id, body.actor, body.references) == (text, text, (text, text))
    assert body.fact == {text: text}


# ------------------------------------------------------------------------------------------------------ salts


def test_one_draw_gives_a_salt_to_every_leg_and_then_one_to_the_body() -> None:
    draws: list[tuple[int, int]] = []

    def source(offset: int, size: int) -> bytes:
        draws.append((offset, size))
        return counting(offset, size)

    entries = [OPENING, WRITTEN, paid(43, MINT, BOB, 1)]
    sealed = seal(entries, first_sequence=0, first_salt=2, source=source)
    assert draws == [(2 * 16, 7 * 16)]
    assert salts_used(entries) == 7
    in_legs = [record[0] >> 4 for record in split_records(sealed.legs, LEG_BYTES)]
    in_bodies = [body[4] >> 4 for body in split_bodies(sealed.bodies)]
    assert (in_bodies[0], in_legs[:2], in_bodies[1], in_legs[2:], in_bodies[2]) == (2, [3, 4], 5, [6, 7], 8)


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 100])
@pytest.mark.parametrize("offset", [0, 1, 31, 32, 33, 64])
def test_a_seeded_stream_gives_the_same_bytes_from_any_place(offset: int, size: int) -> None:
    read = seeded_salts(b"seed")
    assert read(offset, size) == read(0, 200)[offset : offset + size]
    assert seeded_salts(b"other")(0, 32) != read(0, 32)


def test_a_source_that_runs_short_seals_nothing() -> None:
    with pytest.raises(InvariantViolated, match="salt"):
        seal([WRITTEN], first_sequence=0, first_salt=0, source=lambda _, size: bytes(size - 1))


# ----------------------------------------------------------------------------- what may not be written at all


@pytest.mark.parametrize(
    "broken",
    [
        paid(1, MINT, ALICE, 5, entry_id=bytes(15)),
        paid(1, MINT, ALICE, 5, entry_id=bytes(17)),
        paid(1, MINT, ALICE, 5, kind=0),
        paid(1, MINT, ALICE, 5, effective_ms=-1),
        entry(1, debit(MINT, 5), credit(ALICE, 4)),
        entry(1, credit(MINT, 2**127), debit(ALICE, 2**127)),
        entry(1),
    ],
)
def test_an_entry_that_breaks_its_own_rules_is_never_sealed(broken: Entry) -> None:
    with pytest.raises(InvariantViolated, match=broken.entry_id.hex()):
        seal([broken], first_sequence=0, first_salt=0, source=SALTS)


def nested(depth: int) -> Any:
    fact: Any = "x"
    for _ in range(depth):
        fact = [fact]
    return fact


@pytest.mark.parametrize(
    "fact",
    [
        5,
        1.5,
        {"amount": 5},
        [[{"deep": [float("nan")]}]],
        {5: "a key"},
        ("a", "tuple"),
        b"bytes",
        nested(FACT_DEPTH_MAX + 1),
    ],
)
def test_a_fact_that_would_not_come_back_is_never_encoded(fact: Any) -> None:
    with pytest.raises(RecordMalformed, match="fact"):
        encode_body(bytes(16), entry(1, fact=fact))


def test_a_fact_may_be_nested_up_to_the_limit() -> None:
    fact = nested(FACT_DEPTH_MAX)
    assert decode_body(encode_body(bytes(16), entry(1, fact=fact))).fact == fact


# ---------------------------------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize(
    ("place", "byte", "complaint"),
    [(0, 0x44, "version"), (3, 0x32, "version"), (6, 0x80, "flags"), (7, 0x01, "flags")],
)
def test_a_leaf_of_another_version_is_refused(place: int, byte: int, complaint: str) -> None:
    record = bytearray(golden()["leaves"])
    record[place] = byte
    with pytest.raises(RecordMalformed, match=complaint):
        decode_leaf(bytes(record))


@pytest.mark.parametrize("size", [0, 1, 107, 109, 216])
def test_a_leaf_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(RecordMalformed, match=f"not {size}"):
        decode_leaf((golden()["leaves"] * 2)[:size])


@pytest.mark.parametrize("size", [0, 47, 49])
def test_a_leg_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(RecordMalformed, match=f"not {size}"):
        decode_leg(golden()["legs"][:size])


def test_a_column_that_is_no_whole_number_of_records_is_refused() -> None:
    assert split_records(b"", LEG_BYTES) == []
    assert split_records(bytes(96), LEG_BYTES) == [bytes(48)] * 2
    with pytest.raises(RecordMalformed, match="97 bytes"):
        split_records(bytes(97), LEG_BYTES)


def test_bodies_are_cut_by_their_lengths() -> None:
    assert list(split_bodies(b"")) == []
    assert list(split_bodies(bytes.fromhex("00000000 00000002 6162 00000000"))) == [b"", b"ab", b""]


@pytest.mark.parametrize(
    ("column", "complaint"),
    [
        ("00", "inside a length"),
        ("00000001 61 000000", "inside a length"),
        ("00000001", "inside a body"),
        ("00000001 61 00000003 6162", "inside a body"),
        ("ffffffff 61", "inside a body"),
    ],
)
def test_bodies_that_end_too_early_are_refused(column: str, complaint: str) -> None:
    with pytest.raises(RecordMalformed, match=complaint):
        list(split_bodies(bytes.fromhex(column)))


FIELDS: dict[str, Any] = {"actor": "a", "fact": None, "opens": [], "references": [], "request": "r"}


def body_of(json_text: str, *, magic: bytes = BODY_MAGIC) -> bytes:
    return magic + bytes(16) + json_text.encode()


def changed(**fields: Any) -> str:
    return json.dumps({**FIELDS, **fields}, sort_keys=True, separators=(",", ":"))


def without(name: str) -> str:
    return json.dumps({k: v for k, v in FIELDS.items() if k != name}, separators=(",", ":"))


def test_the_body_that_the_refusals_below_change_is_one() -> None:
    assert decode_body(body_of(changed())).actor == "a"


NOT_BODIES = {
    "nothing": b"",
    "the version alone": BODY_MAGIC,
    "half a salt": BODY_MAGIC + bytes(15),
    "no text": BODY_MAGIC + bytes(16),
    "another version": body_of(changed(), magic=b"CCB2"),
    "a space after": body_of(changed() + " "),
    "a space before": body_of(" " + changed()),
    "spaces inside": body_of(json.dumps(FIELDS)),
    "two values": body_of(changed() + "{}"),
    "null": body_of("null"),
    "a list": body_of("[]"),
    "a text": body_of('"text"'),
    "no ascii": BODY_MAGIC + bytes(16) + b"\xff",
    "utf-8": body_of(changed(actor="é").replace("\\u00e9", "é")),
    "utf-16": BODY_MAGIC + bytes(16) + changed().encode("utf-16"),
    "a member more": body_of(changed(more="x")),
    "a member twice": body_of(changed().replace('"actor":"a"', '"actor":"b","actor":"a"')),
    "another order": body_of(json.dumps(dict(reversed(FIELDS.items())), separators=(",", ":"))),
    **{f"no {name}": body_of(without(name)) for name in FIELDS},
}


@pytest.mark.parametrize("body", NOT_BODIES.values(), ids=NOT_BODIES)
def test_bytes_that_are_not_the_one_encoding_of_a_body_are_refused(body: bytes) -> None:
    with pytest.raises(RecordMalformed, match=r"body|version"):
        decode_body(body)


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "1e3", "NaN", "Infinity", "-Infinity", "9" * 5000])
def test_a_number_anywhere_in_a_body_is_refused(number: str) -> None:
    for text in (
        changed().replace('"fact":null', f'"fact":{number}'),
        changed().replace('"fact":null', f'"fact":[{{"deep":{number}}}]'),
        changed().replace('"actor":"a"', f'"actor":{number}'),
    ):
        with pytest.raises(RecordMalformed, match="number"):
            decode_body(body_of(text))


@pytest.mark.parametrize(
    "fields",
    [
        {"actor": None},
        {"actor": ["a"]},
        {"request": True},
        {"request": {}},
        {"references": "abc"},
        {"references": [None]},
        {"references": None},
        {"opens": None},
        {"opens": "abcd"},
        {"opens": [[]]},
        {"opens": [["a", "USD", "credit"]]},
        {"opens": [["a", "USD", "credit", "none", "more"]]},
        {"opens": [["A", "USD", "credit", "none"]]},
        {"opens": [["a", "usd", "credit", "none"]]},
        {"opens": [["a", "USD", "left", "none"]]},
        {"opens": [["a", "USD", "credit", "some"]]},
        {"opens": [[["a"], "USD", "credit", "none"]]},
        {"opens": [[None, "USD", "credit", "none"]]},
        {"opens": [["a", "USD", [], {}]]},
    ],
)
def test_a_field_of_another_type_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(RecordMalformed, match="body"):
        decode_body(body_of(changed(**fields)))


@pytest.mark.parametrize("depth", [FACT_DEPTH_MAX + 1, 100_000])
def test_a_fact_that_is_nested_too_deeply_is_refused_and_exhausts_nothing(depth: int) -> None:
    with pytest.raises(RecordMalformed, match=r"fact|recursion"):
        decode_body(body_of(changed(fact="here").replace('"here"', "[" * depth + "]" * depth)))


def test_the_longest_entry_is_one_small_leaf() -> None:
    longest = entry(1, *transfer(MINT, Account("a", "USD"), 1) * (LEGS_MAX // 2))
    sealed = seal([longest], first_sequence=0, first_salt=0, source=SALTS)
    assert len(sealed.leaves) == LEAF_BYTES
    assert len(sealed.legs) == LEGS_MAX * LEG_BYTES
    assert decode_leaf(sealed.leaves).leg_count == LEGS_MAX
