"""Receipts: what they prove, the golden one read with nothing but its documentation, and every refusal."""

import base64
import hashlib
import random
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.account import account_id
from ledger.checkpoint import (
    Checkpoint,
    KeyReason,
    KeyRefused,
    NoteReason,
    NoteRefused,
    checkpoint_body,
    format_note,
    parse_note,
    sign_note,
    sign_text,
    verifier_key,
)
from ledger.entry import Entry, credit, debit
from ledger.leaf import LEAF_BYTES, LEG_BYTES, RecordMalformed, split_records
from ledger.merkle import EMPTY_ROOT, ProofReason, ProofRefused, leaf_hash, tree_root
from ledger.receipt import (
    LEGS_SHOWN_MAX,
    PATH_MAX,
    RECEIPT_BYTES_MAX,
    EntryReceipt,
    LegReceipt,
    ReceiptReason,
    ReceiptRefused,
    ShownLeg,
    VerifiedEntry,
    VerifiedLegs,
    format_entry,
    format_legs,
    parse_entry,
    parse_legs,
    prove_entry,
    show_legs,
    verify_entry,
    verify_legs,
)
from ledger.seal import seal
from ledger.tiles import TiledTree
from tests.ledgers import ALICE, BOB, MINT, OPENING, SALTS, TILL, entry, paid

GOLDEN = Path(__file__).parents[1] / "golden" / "alice-legs.receipt"
ORIGIN = "house.example/journal"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LOG = verifier_key(ORIGIN, KEY)
WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
WITNESS = verifier_key("witness.example/w1", WITNESS_KEY)
SEED = 20200312
MUTATIONS = 2_000

SPLIT = 4
"""The number of the entry in which alice has two legs among five."""
ENTRIES: tuple[Entry, ...] = (
    OPENING,
    paid(1, MINT, ALICE, 100),
    paid(2, MINT, BOB, 50),
    entry(3, fact={"note": "nothing moves"}),
    entry(4, debit(MINT, 30), credit(ALICE, 10), credit(BOB, 15), credit(ALICE, 8), debit(TILL, 3)),
    paid(5, ALICE, BOB, 5),
    paid(6, BOB, ALICE, 1),
)
SEALED = seal(ENTRIES, first_sequence=0, first_salt=0, source=SALTS)
LEAVES = split_records(SEALED.leaves, LEAF_BYTES)
LEGS = split_records(SEALED.legs, LEG_BYTES)
SPLIT_LEGS = LEGS[4:9]


def tree_of(leaves: list[bytes]) -> TiledTree:
    files: dict[str, bytes] = {}
    empty = TiledTree(0, EMPTY_ROOT, files.__getitem__)
    files.update((tile.path, data) for tile, data in empty.grow(leaves))
    return TiledTree(len(leaves), tree_root(list(map(leaf_hash, leaves))), files.__getitem__)


TREE = tree_of(LEAVES)


def note_of(size: int, root: bytes, origin: str = ORIGIN) -> bytes:
    return sign_note(checkpoint_body(Checkpoint(origin=origin, size=size, root=root)), ORIGIN, KEY)


NOTE = note_of(TREE.size, TREE.root)


@pytest.fixture
def entry_receipt() -> EntryReceipt:
    return prove_entry(TREE, SPLIT, NOTE)


@pytest.fixture
def leg_receipt(entry_receipt: EntryReceipt) -> LegReceipt:
    return show_legs(entry_receipt, SPLIT_LEGS, ALICE.id)


def entry_of(data: bytes) -> VerifiedEntry:
    return verify_entry(parse_entry(data), origin=ORIGIN, log_keys=[LOG])


def legs_of(data: bytes) -> VerifiedLegs:
    return verify_legs(parse_legs(data), account=ALICE.id, origin=ORIGIN, log_keys=[LOG])


def reason_of(act: Callable[[], object]) -> Enum:
    with pytest.raises((ReceiptRefused, NoteRefused, KeyRefused, ProofRefused)) as refused:
        act()
    reason = getattr(refused.value, "reason", None)
    assert isinstance(reason, Enum)
    return reason


# ---------------------------------------------------------------------------------------------- what they prove


def test_an_entry_receipt_proves_the_entry(entry_receipt: EntryReceipt) -> None:
    proven = entry_of(format_entry(entry_receipt))
    assert proven.leaf.sequence == SPLIT
    assert proven.leaf.entry_id == ENTRIES[SPLIT].entry_id
    assert proven.leaf.leg_count == 5
    assert (proven.checkpoint.size, proven.checkpoint.root) == (TREE.size, TREE.root)
    assert proven.signers == (LOG,)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_every_entry_of_every_small_log_has_a_receipt(size: int) -> None:
    tree = tree_of(LEAVES[:size])
    for index in range(size):
        receipt = prove_entry(tree, index, note_of(size, tree.root))
        assert parse_entry(format_entry(receipt)) == receipt
        assert entry_of(format_entry(receipt)).leaf.sequence == index


def test_a_leg_receipt_proves_the_legs_of_one_account_and_shows_no_other(leg_receipt: LegReceipt) -> None:
    data = format_legs(leg_receipt)
    assert parse_legs(data) == leg_receipt
    proven = legs_of(data)
    assert proven.account == account_id("clients/alice", "USD")
    assert [(number, leg.amount) for number, leg in proven.legs] == [(1, -10), (3, -8)]
    assert proven.amount == -18
    assert proven.entry.leaf.sequence == SPLIT
    told = b"".join(base64.b64decode(line.split()[-1]) for line in data.split(b"\n\n")[0].splitlines()[1:])
    for hidden in (SPLIT_LEGS[0], SPLIT_LEGS[2], SPLIT_LEGS[4]):
        for part in (hidden[:16], hidden[16:32], hidden[32:]):
            assert part not in told


def test_each_account_gets_its_own_receipt_of_the_same_entry(entry_receipt: EntryReceipt) -> None:
    for account, amount in ((MINT, 30), (BOB, -15), (TILL, 3)):
        receipt = parse_legs(format_legs(show_legs(entry_receipt, SPLIT_LEGS, account.id)))
        proven = verify_legs(receipt, account=account.id, origin=ORIGIN, log_keys=[LOG])
        assert proven.amount == amount


def test_a_proof_of_something_else_is_read_with_and_without_extra() -> None:
    for extra in (None, b"", b"whatever"):
        receipt = EntryReceipt(index=0, path=(), note=b"a checkpoint\n", extra=extra)
        assert parse_entry(format_entry(receipt)) == receipt
    assert format_entry(EntryReceipt(index=0, path=(), note=b"checkpoint\n")) == (
        b"c2sp.org/tlog-proof@v1\nindex 0\n\ncheckpoint\n"
    )
    hashes = (leaf_hash(b"1"), leaf_hash(b"2"))
    written = format_entry(
        EntryReceipt(index=10, path=hashes, note=b"checkpoint\n", extra=b"extra information")
    )
    assert written.split(b"\n") == [
        b"c2sp.org/tlog-proof@v1",
        b"extra ZXh0cmEgaW5mb3JtYXRpb24=",
        b"index 10",
        base64.b64encode(hashes[0]),
        base64.b64encode(hashes[1]),
        b"",
        b"checkpoint",
        b"",
    ]


def test_cosignatures_travel_with_the_receipt_and_the_signers_are_told(entry_receipt: EntryReceipt) -> None:
    note = parse_note(NOTE)
    cosigned = replace(note, signatures=(*note.signatures, sign_text(note.text, WITNESS.name, WITNESS_KEY)))
    receipt = parse_entry(format_entry(replace(entry_receipt, note=format_note(cosigned))))
    assert verify_entry(receipt, origin=ORIGIN, log_keys=[LOG]).signers == (LOG,)
    assert verify_entry(receipt, origin=ORIGIN, log_keys=[LOG, WITNESS]).signers == (LOG, WITNESS)


# --------------------------------------------------------------------------------------------------- the golden


def test_the_receipt_is_the_golden_one(leg_receipt: LegReceipt) -> None:
    assert format_legs(leg_receipt) == GOLDEN.read_bytes()


def climb(node: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """RFC 6962 §2.1.1 read backwards: the root that a path leads to, by its own recursion."""
    if size == 1:
        assert not path
        return node
    split = 1 << (size - 1).bit_length() - 1
    if index < split:
        left, right = climb(node, index, split, path[:-1]), path[-1]
    else:
        left, right = path[-1], climb(node, index - split, size - split, path[:-1])
    return hashlib.sha256(b"\x01" + left + right).digest()


def test_the_golden_one_is_checked_with_nothing_but_its_documentation() -> None:
    legs_part, entry_part, body, signature = GOLDEN.read_text(encoding="utf-8").split("\n\n")
    assert signature.startswith(f"— {ORIGIN} ")
    raw = base64.b64decode(signature.split(" ")[2])
    assert raw[:4] == hashlib.sha256(f"{ORIGIN}\n".encode() + b"\x01" + LOG.raw).digest()[:4]
    Ed25519PublicKey.from_public_bytes(LOG.raw).verify(raw[4:], f"{body}\n".encode())
    origin, size, root = body.split("\n")
    assert origin == ORIGIN

    magic, extra, index, *path = entry_part.split("\n")
    assert magic == "c2sp.org/tlog-proof@v1"
    leaf = base64.b64decode(extra.removeprefix("extra "))
    hashed = hashlib.sha256(b"\x00" + leaf).digest()
    climbed = climb(hashed, int(index.removeprefix("index ")), int(size), [base64.b64decode(p) for p in path])
    assert climbed == base64.b64decode(root)

    count, legs_root = int.from_bytes(leaf[8:12], "big"), leaf[44:76]
    magic, *lines = legs_part.split("\n")
    assert magic == "ledger/leg-receipt@v1"
    shown: dict[int, int] = {}
    for leg in "\n".join(lines).removeprefix("leg ").split("\nleg "):
        head, *path = leg.split("\n")
        number, record = int(head.split(" ")[0]), base64.b64decode(head.split(" ")[1])
        assert record[16:32] == hashlib.sha256(b"clients/alice\nUSD").digest()[:16]
        hashed = hashlib.sha256(b"\x00" + record).digest()
        assert climb(hashed, number, count, [base64.b64decode(p) for p in path]) == legs_root
        shown[number] = int.from_bytes(record[32:], "big", signed=True)
    assert shown == {1: -10, 3: -8}


# ---------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"c2sp.org/tlog-proof@v1\n", b"c2sp.org/tlog-proof@v2\n", ReceiptReason.KIND),
        (b"c2sp.org/tlog-proof@v1\n", b"", ReceiptReason.KIND),
        (b"c2sp.org/tlog-proof@v1\n", b"c2sp.org/tlog-proof@v1\r\n", ReceiptReason.KIND),
        (b"c2sp.org/tlog-proof@v1\n", b"\n\nc2sp.org/tlog-proof@v1\n", ReceiptReason.KIND),
        (b"index 4", "index \u0664".encode(), ReceiptReason.NOT_TEXT),
        (b"index 4", b"index \xff", ReceiptReason.NOT_TEXT),
        (b"index 4", b"index 04", ReceiptReason.INDEX_LINE),
        (b"index 4", b"index -4", ReceiptReason.INDEX_LINE),
        (b"index 4", b"index +4", ReceiptReason.INDEX_LINE),
        (b"index 4", b"index  4", ReceiptReason.INDEX_LINE),
        (b"index 4", b"index 4 ", ReceiptReason.INDEX_LINE),
        (b"index 4", b"index ", ReceiptReason.INDEX_LINE),
        (b"index 4", b"Index 4", ReceiptReason.INDEX_LINE),
        (b"index 4\n", b"", ReceiptReason.INDEX_LINE),
        (b"index 4", b"index 9223372036854775808", ReceiptReason.INDEX_LINE),
        (b"index 4", b"index 99999999999999999999", ReceiptReason.INDEX_LINE),
        (b"index 4\n", b"index 4\nindex 4\n", ReceiptReason.PATH_LINE),
        (b"extra ", b"extra  ", ReceiptReason.EXTRA_LINE),
        (b"extra ", b"extra =", ReceiptReason.EXTRA_LINE),
        (b"extra ", b"Extra ", ReceiptReason.INDEX_LINE),
        (b"index 4\n", b"index 4\nAAAA\n", ReceiptReason.PATH_LINE),
        (b"index 4\n", b"index 4\n" + b"?" * 44 + b"\n", ReceiptReason.PATH_LINE),
        (b"index 4\n", b"index 4\n" + b"A" * 43 + b"\n", ReceiptReason.PATH_LINE),
        (b"index 4\n", b"index 4\n" + b"A" * 42 + b"B=\n", ReceiptReason.PATH_LINE),
        (b"index 4\n", b"index 4\n" + (b"A" * 43 + b"=\n") * PATH_MAX, ReceiptReason.PATH_TOO_LONG),
        (b"index 4\n", b"index 4\n" + b"A" * 43 + b"=\n", ProofReason.PATH_LENGTH),
        (b"index 4", b"index 5", ReceiptReason.OTHER_INDEX),
        (b"\n\n" + NOTE, b"", ReceiptReason.NO_CHECKPOINT),
        (b"\n\n" + NOTE, b"\n\n", ReceiptReason.NO_CHECKPOINT),
        (b"\n\n" + NOTE, b"\n" + NOTE, ReceiptReason.PATH_LINE),
        (NOTE, b"\n" + NOTE, NoteReason.BAD_SIGNATURE),
        (NOTE, NOTE[:-1], NoteReason.SIGNATURE_LINE),
        (NOTE, NOTE + b"\n", NoteReason.NO_SIGNATURES),
        (NOTE, NOTE.replace(b"journal\n7", b"journal\n8"), NoteReason.BAD_SIGNATURE),
    ],
)
def test_a_changed_entry_receipt_is_refused(
    entry_receipt: EntryReceipt, old: bytes, new: bytes, reason: Enum
) -> None:
    data = format_entry(entry_receipt)
    assert data.count(old) == 1
    assert reason_of(lambda: entry_of(data.replace(old, new))) is reason


def test_a_receipt_is_refused_from_the_first_byte_too_many(entry_receipt: EntryReceipt) -> None:
    data = format_entry(entry_receipt)
    longest = data + b"x" * (RECEIPT_BYTES_MAX - len(data))
    assert reason_of(lambda: entry_of(longest)) is NoteReason.TOO_LONG
    assert reason_of(lambda: parse_entry(longest + b"x")) is ReceiptReason.TOO_LONG
    assert reason_of(lambda: parse_legs(longest + b"x")) is ReceiptReason.TOO_LONG


def test_a_path_of_63_hashes_is_read_and_one_of_64_is_not() -> None:
    receipt = EntryReceipt(index=0, path=(bytes(32),) * PATH_MAX, note=NOTE)
    assert parse_entry(format_entry(receipt)) == receipt
    assert (
        reason_of(lambda: replace(receipt, path=(bytes(32),) * (PATH_MAX + 1))) is ReceiptReason.PATH_TOO_LONG
    )


def test_what_cannot_be_written_is_not_built() -> None:
    leg = ShownLeg(index=0, record=bytes(LEG_BYTES), path=())
    proof = EntryReceipt(index=0, path=(), note=NOTE)
    for act, reason in (
        (lambda: replace(proof, index=-1), ReceiptReason.INDEX_LINE),
        (lambda: replace(proof, index=2**63), ReceiptReason.INDEX_LINE),
        (lambda: replace(proof, path=(bytes(31),)), ReceiptReason.PATH_LINE),
        (lambda: replace(proof, note=b""), ReceiptReason.NO_CHECKPOINT),
        (lambda: replace(leg, index=-1), ReceiptReason.LEG_LINE),
        (lambda: replace(leg, record=bytes(LEG_BYTES - 1)), ReceiptReason.LEG_LINE),
        (lambda: replace(leg, path=(bytes(33),)), ReceiptReason.PATH_LINE),
        (lambda: LegReceipt(legs=(), entry=proof), ReceiptReason.NO_LEGS),
        (lambda: LegReceipt(legs=(leg, leg), entry=proof), ReceiptReason.LEG_ORDER),
        (lambda: LegReceipt(legs=(replace(leg, index=1), leg), entry=proof), ReceiptReason.LEG_ORDER),
    ):
        assert reason_of(act) is reason


def test_at_most_1000_legs_are_shown() -> None:
    proof = EntryReceipt(index=0, path=(), note=NOTE)
    legs = tuple(ShownLeg(index=n, record=bytes(LEG_BYTES), path=()) for n in range(LEGS_SHOWN_MAX + 1))
    most = LegReceipt(legs=legs[:-1], entry=proof)
    assert parse_legs(format_legs(most)) == most
    assert reason_of(lambda: LegReceipt(legs=legs, entry=proof)) is ReceiptReason.TOO_MANY_LEGS


def test_a_leaf_that_is_none_or_missing_or_of_another_place_is_refused(entry_receipt: EntryReceipt) -> None:
    def verified(receipt: EntryReceipt) -> Callable[[], object]:
        return partial(entry_of, format_entry(receipt))

    leaf = LEAVES[SPLIT]
    assert reason_of(verified(replace(entry_receipt, extra=None))) is ReceiptReason.NO_LEAF
    assert reason_of(verified(replace(entry_receipt, extra=leaf[:-1]))) is ReceiptReason.LEAF
    assert reason_of(verified(replace(entry_receipt, extra=b"CCL2" + leaf[4:]))) is ReceiptReason.LEAF
    assert reason_of(verified(replace(entry_receipt, extra=LEAVES[5]))) is ReceiptReason.OTHER_INDEX
    forged = leaf[:-1] + bytes([leaf[-1] ^ 1])
    assert reason_of(verified(replace(entry_receipt, extra=forged))) is ProofReason.ROOT_MISMATCH
    moved = replace(entry_receipt, extra=LEAVES[5], index=5)
    assert reason_of(verified(moved)) is ProofReason.ROOT_MISMATCH


def test_a_leaf_that_stands_at_another_number_than_it_says_is_refused() -> None:
    tree = tree_of([LEAVES[1], LEAVES[0]])
    receipt = prove_entry(tree, 0, note_of(2, tree.root))
    assert reason_of(lambda: entry_of(format_entry(receipt))) is ReceiptReason.OTHER_INDEX


def test_an_index_outside_the_signed_tree_is_refused(entry_receipt: EntryReceipt) -> None:
    outside = replace(entry_receipt, note=note_of(SPLIT, tree_root(list(map(leaf_hash, LEAVES[:SPLIT])))))
    assert reason_of(lambda: entry_of(format_entry(outside))) is ProofReason.INDEX_OUT_OF_RANGE


def test_the_path_of_another_checkpoint_is_refused(entry_receipt: EntryReceipt) -> None:
    other = replace(entry_receipt, note=note_of(TREE.size, leaf_hash(b"another")))
    assert reason_of(lambda: entry_of(format_entry(other))) is ProofReason.ROOT_MISMATCH


def test_another_log_and_another_key_are_refused(entry_receipt: EntryReceipt) -> None:
    elsewhere = replace(entry_receipt, note=note_of(TREE.size, TREE.root, origin="other.example/log"))
    assert reason_of(lambda: entry_of(format_entry(elsewhere))) is ReceiptReason.OTHER_LOG
    for keys, reason in (
        ([WITNESS], NoteReason.NO_TRUSTED_SIGNATURE),
        ([], NoteReason.NO_TRUSTED_SIGNATURE),
        ([LOG, LOG], KeyReason.REPEATED),
    ):
        assert reason_of(partial(verify_entry, entry_receipt, origin=ORIGIN, log_keys=keys)) is reason


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"ledger/leg-receipt@v1\n", b"ledger/leg-receipt@v2\n", ReceiptReason.KIND),
        (b"ledger/leg-receipt@v1\n", b"", ReceiptReason.KIND),
        (b"leg 1 ", b"leg 01 ", ReceiptReason.LEG_LINE),
        (b"leg 1 ", b"leg -1 ", ReceiptReason.LEG_LINE),
        (b"leg 1 ", b"leg 1  ", ReceiptReason.LEG_LINE),
        (b"leg 1 ", b"leg 1", ReceiptReason.LEG_LINE),
        (b"leg 1 ", b"leg  ", ReceiptReason.LEG_LINE),
        (b"leg 1 ", b"Leg 1 ", ReceiptReason.LEG_LINE),
        (b"leg 3 ", b"Leg 3 ", ReceiptReason.PATH_LINE),
        (b"leg 1 ", b"leg 1 AAAA", ReceiptReason.LEG_LINE),
        (b"leg 1 ", b"leg 1 ====", ReceiptReason.LEG_LINE),
        (b"leg 1 ", b"leg 3 ", ReceiptReason.LEG_ORDER),
        (b"leg 1 ", b"leg 4 ", ReceiptReason.LEG_ORDER),
        (b"leg 1 ", b"leg 0 ", ProofReason.ROOT_MISMATCH),
        (b"leg 3 ", b"leg 4 ", ProofReason.PATH_LENGTH),
        (b"leg 3 ", b"leg 5 ", ProofReason.INDEX_OUT_OF_RANGE),
        (b"leg 3 ", b"leg 9223372036854775808 ", ReceiptReason.LEG_LINE),
        (b"leg 3 ", b"leg \xc3\xa9 ", ReceiptReason.NOT_TEXT),
        (b"\n\nc2sp.org", b"\n" + b"A" * 43 + b"=\n\nc2sp.org", ProofReason.PATH_LENGTH),
        (b"\n\nc2sp.org", b"\nAAAA\n\nc2sp.org", ReceiptReason.PATH_LINE),
        (b"\n\nc2sp.org", b"\nc2sp.org", ReceiptReason.PATH_LINE),
        (b"index 4", b"index 5", ReceiptReason.OTHER_INDEX),
    ],
)
def test_a_changed_leg_receipt_is_refused(
    leg_receipt: LegReceipt, old: bytes, new: bytes, reason: Enum
) -> None:
    data = format_legs(leg_receipt)
    assert data.count(old) == 1
    assert reason_of(lambda: legs_of(data.replace(old, new))) is reason


def test_a_leg_receipt_without_legs_or_without_an_entry_is_refused(leg_receipt: LegReceipt) -> None:
    rest = format_entry(leg_receipt.entry)
    assert reason_of(lambda: parse_legs(b"ledger/leg-receipt@v1\n\n" + rest)) is ReceiptReason.NO_LEGS
    head = format_legs(leg_receipt).removesuffix(rest)
    assert reason_of(lambda: parse_legs(head)) is ReceiptReason.NO_CHECKPOINT
    assert reason_of(lambda: parse_legs(head + b"index 4\n\n" + NOTE)) is ReceiptReason.KIND
    many = b"ledger/leg-receipt@v1\nleg 0 " + base64.b64encode(bytes(LEG_BYTES)) + b"\nAAAA" * (PATH_MAX + 1)
    assert reason_of(lambda: parse_legs(many + b"\n\n" + rest)) is ReceiptReason.PATH_TOO_LONG


def test_the_legs_of_another_account_are_refused(
    leg_receipt: LegReceipt, entry_receipt: EntryReceipt
) -> None:
    bobs = show_legs(entry_receipt, SPLIT_LEGS, BOB.id)
    both = LegReceipt(legs=(leg_receipt.legs[0], bobs.legs[0], leg_receipt.legs[1]), entry=entry_receipt)
    for receipt in (bobs, both):
        assert reason_of(partial(legs_of, format_legs(receipt))) is ReceiptReason.OTHER_ACCOUNT


def test_a_leg_of_another_amount_or_of_another_entry_is_refused(leg_receipt: LegReceipt) -> None:
    first, second = leg_receipt.legs
    richer = replace(first, record=first.record[:-1] + bytes([first.record[-1] ^ 1]))
    assert reason_of(lambda: legs_of(format_legs(replace(leg_receipt, legs=(richer, second))))) is (
        ProofReason.ROOT_MISMATCH
    )
    elsewhere = replace(leg_receipt, entry=prove_entry(TREE, 5, NOTE))
    assert isinstance(reason_of(lambda: legs_of(format_legs(elsewhere))), ProofReason)


def test_a_receipt_is_made_of_the_right_things_only(entry_receipt: EntryReceipt) -> None:
    other = note_of(TREE.size, leaf_hash(b"another"))
    assert reason_of(lambda: prove_entry(TREE, 0, other)) is ReceiptReason.OTHER_TREE
    assert reason_of(lambda: prove_entry(TREE, TREE.size, NOTE)) is ProofReason.INDEX_OUT_OF_RANGE
    assert reason_of(lambda: prove_entry(TREE, 0, b"no note")) is NoteReason.NO_SIGNATURES
    for records in ([], SPLIT_LEGS[:-1], LEGS[:5], SPLIT_LEGS[::-1]):
        assert reason_of(partial(show_legs, entry_receipt, records, ALICE.id)) is ReceiptReason.OTHER_ENTRY
    assert reason_of(lambda: show_legs(entry_receipt, SPLIT_LEGS, account_id("clients/carol", "USD"))) is (
        ReceiptReason.NO_LEGS
    )
    bare = replace(entry_receipt, extra=None)
    assert reason_of(lambda: show_legs(bare, SPLIT_LEGS, ALICE.id)) is ReceiptReason.NO_LEAF


def test_a_record_that_is_no_leg_is_no_receipt() -> None:
    odd = [b"no leg"]
    leaf = LEAVES[0][:44] + tree_root([leaf_hash(odd[0])]) + LEAVES[0][76:]
    with pytest.raises(RecordMalformed):
        show_legs(EntryReceipt(index=0, path=(), note=NOTE, extra=leaf), odd, ALICE.id)


# --------------------------------------------------------------------------------------------------- mutations


def mutated(data: bytes, chance: random.Random) -> bytes:
    """``data`` with one random change: bits, bytes, lines."""
    at = chance.randrange(len(data))
    to = min(len(data), at + chance.choice((1, 1, 1, 2, 4, 45)))
    lines = data.split(b"\n")
    one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    match chance.randrange(8):
        case 0 | 1:
            return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        case 2:
            return data[:at] + data[to:]
        case 3:
            return data[:at] + bytes([chance.choice(b"\n\r\t 0A=+/\x00\xff")]) + data[at:]
        case 4:
            return data[:at] + data[at:to] + data[at:]
        case 5:
            lines[one], lines[other] = lines[other], lines[one]
        case 6:
            lines.insert(one, lines[other])
        case _:
            del lines[one]
    return b"\n".join(lines)


def says_the_same(one: bytes, other: bytes) -> bool:
    """Whether a signature line that stands twice is all the difference: notes allow that (C2SP signed-note)."""
    return (
        len(one) > len(other)
        and dict.fromkeys(one.split(b"\n")) == dict.fromkeys(other.split(b"\n"))
        and (one.partition(b"\xe2\x80\x94")[0] == other.partition(b"\xe2\x80\x94")[0])
    )


def test_a_signature_line_that_stands_twice_says_nothing_new(entry_receipt: EntryReceipt) -> None:
    note = parse_note(NOTE)
    twice = replace(entry_receipt, note=format_note(replace(note, signatures=note.signatures * 2)))
    assert entry_of(format_entry(twice)) == entry_of(format_entry(entry_receipt))
    assert says_the_same(format_entry(twice), format_entry(entry_receipt))


@pytest.mark.parametrize("kind", ["entry", "legs"])
def test_no_random_change_is_ever_accepted(leg_receipt: LegReceipt, kind: str) -> None:
    data = format_entry(leg_receipt.entry) if kind == "entry" else format_legs(leg_receipt)
    accept: Callable[[bytes], object] = entry_of if kind == "entry" else legs_of
    chance, reasons, changed = random.Random(SEED), set[Enum](), 0
    accept(data)
    while changed < MUTATIONS:
        changes = data
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            changes = mutated(changes, chance)
        if changes != data and not says_the_same(changes, data):
            changed += 1
            reasons.add(reason_of(partial(accept, changes)))
    assert len(reasons) >= 12
