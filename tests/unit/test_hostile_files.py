"""Files as large and as crooked as they may be: each is refused by a sentence, soon, and nothing else happens.

What is measured is the time of the processor, and the limit is far above what is needed: a parser that looks at every
part again for each other part takes minutes.
"""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clearctl.verification import FILE_BYTES_MAX
from clearing.attest.envelope import MAX_ENVELOPE_BYTES, PAYLOAD_TYPE, sign
from clearing.attest.policy import MAX_POLICY_BYTES
from clearing.attest.statement import MAX_UNITS
from clearing_client.offline import DETAIL_MAX
from ledger.checkpoint import (
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    Checkpoint,
    NoteSignature,
    checkpoint_body,
    format_note,
    format_vkey,
    parse_note,
    sign_note,
    verifier_key,
)
from ledger.receipt import LEGS_SHOWN_MAX, PATH_MAX, PROOF_LINE, RECEIPT_BYTES_MAX, format_entry, prove_entry
from tests import published
from tests.published import HONEST, LEAVES, NOTE, PAYLOADS, SPLIT
from tests.unit.test_offline_verifier import LOG_KEY, OPERATIONS, ORIGIN, RISK

pytestmark = pytest.mark.slow

SOON_S = 5.0
HASH_LINE = base64.b64encode(bytes(32)) + b"\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an honest house published; each test looks at one file of its own besides."""
    made = tmp_path_factory.mktemp("hostile")
    published.write(made, {"policy.txt": HONEST["policy.txt"]})
    return made


@contextmanager
def soon() -> Iterator[None]:
    before = time.process_time()
    yield
    assert time.process_time() - before < SOON_S


def of_attestation(folder: Path, data: bytes) -> tuple[str, str]:
    """The first check that fails over a house with this one attestation."""
    published.write(folder / "house", {"checkpoint": NOTE, "attestations/000001.json": data})
    return _first(published.verify(folder, "--dir", str(folder / "house")))


def of_checkpoint(folder: Path, note: bytes) -> tuple[str, str]:
    published.write(folder / "log", {"checkpoint": note})
    return _first(published.verify(folder, "--tiles", str(folder / "log")))


def of_receipt(folder: Path, data: bytes) -> tuple[str, str]:
    published.write(folder, {"a.receipt": data})
    return _first(published.verify(folder, "--receipt", str(folder / "a.receipt")))


def of_policy(folder: Path, data: bytes) -> str:
    published.write(folder / "other", {"policy.txt": data})
    judged = published.verify(folder / "other", "--receipt", "none")
    assert judged.code == 1
    return judged.complaint


def _first(judged: published.Judged) -> tuple[str, str]:
    assert judged.code == 1, judged
    return judged.failed[0]


def filled(begin: bytes, part: bytes, end: bytes, most: int) -> bytes:
    """``part`` as often as it fits into ``most`` bytes between the two ends."""
    return begin + part * ((most - len(begin) - len(end)) // len(part)) + end


# --- attestations ------------------------------------------------------------------------------------------

SIGNATURE = b'{"sig":"' + b"A" * 88 + b'"}'
EMPTY = b'{"payload":"","payloadType":"application/vnd.in-toto+json","signatures":['
ENVELOPES = {
    "lists in lists": (b"", b"[", b"", "nested too deeply"),
    "objects in objects": (b"", b'{"":', b"", "nested too deeply"),
    "lists and objects by turns": (b"", b'[{"":', b"", "nested too deeply"),
    "a number of a million digits": (b'{"payload":', b"1", b"}", "signatures must be a list"),
    "a fraction of as many": (b'{"payload":0.', b"1", b"}", "signatures must be a list"),
    "one member again and again": (b"{", b'"a":1,', b'"b":1}', "the member 'a' stands twice"),
    "more signatures than fit": (EMPTY, SIGNATURE + b",", SIGNATURE + b"]}", "1 to 16 signatures"),
    "a payload of nothing": (
        b'{"payload":"',
        b"AAAA",
        EMPTY[12:] + SIGNATURE + b"]}",
        "0 trusted keys signed",
    ),
    "16 signatures of a long payload": (
        *(
            b'{"payload":"',
            b"AAAA",
            EMPTY[12:] + b",".join([SIGNATURE] * 16) + b"]}",
            "0 trusted keys signed",
        ),
    ),
    "blanks": (b"", b" ", b"", "Expecting value"),
    "a quote that is not closed": (b'{"payload":"', b"A", b"", "Unterminated string"),
    "escapes": (b'{"payload":"', b"\\u0041", b'"}', "signatures must be a list"),
    "bytes that are no text": (b"", b"\xff", b"", "can't decode"),
}


@pytest.mark.parametrize(("begin", "part", "end", "says"), ENVELOPES.values(), ids=ENVELOPES)
def test_an_envelope_of_the_largest_size_is_refused_soon(
    folder: Path, begin: bytes, part: bytes, end: bytes, says: str
) -> None:
    with soon():
        name, detail = of_attestation(folder, filled(begin, part, end, MAX_ENVELOPE_BYTES))
    assert name == "attestation 1 signatures"
    assert says in detail


def with_sequence(text: str) -> bytes:
    return PAYLOADS[0].replace(b'"sequence":"1"', f'"sequence":"{text}"'.encode())


def with_units(count: int) -> bytes:
    members = json.loads(PAYLOADS[0])
    members["predicate"]["trialBalance"] = {
        f"U{number}": {"debits": "1", "credits": "1"} for number in range(count)
    }
    members["predicate"]["liabilities"] |= {"totals": {}, "receivables": {}}
    return json.dumps(members).encode()


def with_gates(count: int) -> bytes:
    members = json.loads(PAYLOADS[0])
    gate = {"scope": "house", "reason": "x", "since": "2026-03-01T11:00:00.000Z"}
    members["predicate"]["gates"] = [gate] * count
    return json.dumps(members).encode()


STATEMENTS = {
    "lists in lists": (b"[" * 2_900_000, "nested too deeply"),
    "a number of a million digits": (b'{"_type":' + b"9" * 2_900_000 + b"}", "$.subject: is missing"),
    "a decimal string of a million digits": (with_sequence("1" * 2_900_000), "in its one spelling"),
    "a decimal string of many zeros": (with_sequence("0" * 2_900_000), "in its one spelling"),
    "more units than there may be": (with_units(MAX_UNITS * 6), f"must have at most {MAX_UNITS} members"),
    "more gates than there may be": (with_gates(30_000), "must have 0 to 1000 entries"),
}


@pytest.mark.parametrize(("payload", "says"), STATEMENTS.values(), ids=STATEMENTS)
def test_a_signed_statement_of_the_largest_size_is_refused_soon(
    folder: Path, payload: bytes, says: str
) -> None:
    """The officers themselves signed it."""
    with soon():
        name, detail = of_attestation(folder, sign(payload, PAYLOAD_TYPE, [RISK, OPERATIONS]))
    assert name == "attestation 1 statement"
    assert says in detail


# --- checkpoints --------------------------------------------------------------------------------------------

(HONEST_LINE,) = parse_note(NOTE).signatures
BODY, LINES = NOTE.split(b"\n\n")
NOTES = {
    "signature lines": (NOTE, b"\xe2\x80\x94 a b\n", b"", "at most 100 signatures"),
    "blank lines": (b"", b"\n", b"", "no signature lines"),
    "blank lines before the signatures": (b"", b"\n", b"\n\n" + LINES, "does not hold"),
    "a size of a million digits": (ORIGIN.encode() + b"\n", b"9", b"\n\n" + LINES, "does not hold"),
    "one long line": (b"", b"x", b"\n\n" + LINES, "does not hold"),
    "one long signature": (BODY + b"\n\n\xe2\x80\x94 a ", b"AAAA", b"\n", "no trusted key"),
    "bytes that are no text": (b"", b"\xff", b"", "UTF-8"),
}


@pytest.mark.parametrize(("begin", "part", "end", "says"), NOTES.values(), ids=NOTES)
def test_a_checkpoint_of_the_largest_size_is_refused_soon(
    folder: Path, begin: bytes, part: bytes, end: bytes, says: str
) -> None:
    with soon():
        name, detail = of_checkpoint(folder, filled(begin, part, end, MAX_NOTE_BYTES))
    assert name == "checkpoint"
    assert says in detail


def test_a_hundred_signature_lines_of_the_log_are_looked_at_and_one_that_lies_is_found(folder: Path) -> None:
    note = parse_note(NOTE)
    lie = NoteSignature(name=ORIGIN, key_id=HONEST_LINE.key_id, signature=bytes(64))
    lines = (*note.signatures * (MAX_SIGNATURES - 1), lie)
    with soon():
        _, detail = of_checkpoint(folder, format_note(replace(note, signatures=lines)))
    assert detail == "the signature of house.example/journal does not hold"


# --- receipts -----------------------------------------------------------------------------------------------

PROOF = f"{PROOF_LINE}\n".encode()
LEGS = b"ledger/leg-receipt@v1\n"
RECEIPTS = {
    "a path": (PROOF + b"extra AA==\nindex 1\n", HASH_LINE, b"\n" + NOTE, f"at most {PATH_MAX} hashes"),
    "an index": (PROOF + b"extra AA==\nindex ", b"1", b"\n\n" + NOTE, "without leading zeros"),
    "a leaf": (PROOF + b"extra ", b"AAAA", b"\nindex 1\n\n" + NOTE, "a leaf has 108 bytes"),
    "no line at all": (PROOF, b"x", b"", "nothing stands after an empty line"),
    "legs": (
        *(LEGS, b"leg 0 " + base64.b64encode(bytes(48)) + b"\n", b"\n" + HONEST["entry.receipt"]),
        f"at most {LEGS_SHOWN_MAX} legs",
    ),
    "the path of a leg": (
        *(LEGS + b"leg 0 " + base64.b64encode(bytes(48)) + b"\n", HASH_LINE, b"\n" + HONEST["entry.receipt"]),
        f"at most {PATH_MAX} hashes",
    ),
    "the number of a leg": (
        LEGS + b"leg ",
        b"1",
        b" AAAA\n\n" + HONEST["entry.receipt"],
        "without leading zeros",
    ),
}


@pytest.mark.parametrize(("begin", "part", "end", "says"), RECEIPTS.values(), ids=RECEIPTS)
def test_a_receipt_of_the_largest_size_is_refused_soon(
    folder: Path, begin: bytes, part: bytes, end: bytes, says: str
) -> None:
    with soon():
        _, detail = of_receipt(folder, filled(begin, part, end, RECEIPT_BYTES_MAX))
    assert says in detail


# --- policies -----------------------------------------------------------------------------------------------


def own_key(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big"))


def log_line(number: int) -> bytes:
    return f"log {format_vkey(verifier_key('a', own_key(number)))}\n".encode()


def signer_line(number: int) -> bytes:
    raw = own_key(number).public_key().public_bytes_raw()
    return f"signer r{number} ed25519:{base64.b64encode(raw).decode()}\n".encode()


POLICY = HONEST["policy.txt"]
LONG = MAX_POLICY_BYTES - len(POLICY)
POLICIES = {
    "log keys": (b"".join(map(log_line, range(9_000))), "a policy names 1 to 32 log keys"),
    "signers": (b"".join(map(signer_line, range(9_000))), "a policy names 1 to 16 signers"),
    "a word that is none": (b"w" * (LONG - 1), "is no directive"),
    "a key": (b"signer a ed25519:" + b"A" * (LONG // 4 * 4 - 20), "has 32 bytes"),
    "a threshold": (b"threshold " + b"1" * (LONG - 20), "threshold stands here again"),
    "a name": (b"log " + b"a" * (LONG - 20), "a verifier key is written name+hex+base64"),
    "a role": (b"signer " + b"a" * (LONG - 20) + b" b", "is no role"),
}


@pytest.mark.parametrize(("more", "says"), POLICIES.values(), ids=POLICIES)
def test_a_policy_of_the_largest_size_is_refused_soon(folder: Path, more: bytes, says: str) -> None:
    assert len(POLICY + more) <= MAX_POLICY_BYTES
    with soon():
        complaint = of_policy(folder, POLICY + more)
    assert says in complaint
    assert len(complaint) < DETAIL_MAX


def test_the_largest_policy_that_says_nothing_more_is_read_soon(folder: Path) -> None:
    with soon():
        assert "none cannot be read" in of_policy(folder, POLICY + b"#\n" * (LONG // 2))


# --- files and sentences --------------------------------------------------------------------------------------


def test_a_word_of_a_policy_is_told_without_what_a_terminal_would_obey(folder: Path) -> None:
    complaint = of_policy(folder, POLICY + "\x9b2J\u202e\n".encode())
    assert complaint.removesuffix("\n").isprintable()


@pytest.mark.parametrize("name", ["checkpoint", "attestations/000001.json", "tile/0/000", "policy.txt"])
def test_a_file_without_end_is_not_read_to_the_end(tmp_path: Path, name: str) -> None:
    published.write(tmp_path, HONEST)
    (tmp_path / name).unlink()
    (tmp_path / name).write_bytes(b"")
    with (tmp_path / name).open("r+b") as file:
        file.truncate(10**12)  # a file of holes: it takes no room, and reads as a terabyte of zeros
    with soon():
        judged = published.verify(tmp_path, "--dir", str(tmp_path))
    assert (judged.code, judged.failed) == (1, ())
    assert f"{tmp_path / name} has more than {FILE_BYTES_MAX} bytes" in judged.complaint


def test_a_file_of_as_much_as_may_be_is_read(tmp_path: Path) -> None:
    published.write(tmp_path, HONEST)
    last = tmp_path / "attestations/000003.json"
    last.write_bytes(last.read_bytes().ljust(FILE_BYTES_MAX))
    assert published.verify(tmp_path, "--dir", str(tmp_path)) == published.Judged(0)
    last.write_bytes(last.read_bytes() + b" ")
    assert "has more than" in published.verify(tmp_path, "--dir", str(tmp_path)).complaint


def test_what_a_liar_wrote_is_told_without_what_a_terminal_would_obey(folder: Path) -> None:
    """Signed by the log's key, and of an origin that would clear the screen, colour it, and turn the text around."""
    origin = "evil\x9b2J\x7f\u202e[bold]held[/bold]"
    body = checkpoint_body(Checkpoint(origin=origin, size=1, root=bytes(32)))
    _, detail = of_checkpoint(folder, sign_note(body, ORIGIN, LOG_KEY))
    assert r"evil\x9b2J\x7f\u202e[bold]held[/bold]" in detail
    assert detail.isprintable()


def test_a_long_sentence_is_cut(folder: Path) -> None:
    name = b'"' + b"x" * 1_000_000 + b'":"",'
    _, detail = of_attestation(folder, b"{" + name + name + b'"b":""}')
    assert detail.startswith("the member 'xxx")
    assert detail.endswith("characters more")
    assert len(detail) < DETAIL_MAX + 50


@pytest.mark.parametrize("time_ms", [253_402_300_799_999, 253_402_300_800_000, 2**63 - 1, 2**64 - 1])
def test_an_entry_beyond_the_calendar_has_a_receipt_like_any_other(folder: Path, time_ms: int) -> None:
    """The time of an entry is 64 bits; the year 9999 ends long before."""
    leaf = LEAVES[SPLIT][:20] + time_ms.to_bytes(8, "big") + LEAVES[SPLIT][28:]
    tree = published.tree_of([*LEAVES[:SPLIT], leaf])
    note = sign_note(
        checkpoint_body(Checkpoint(origin=ORIGIN, size=tree.size, root=tree.root)), ORIGIN, LOG_KEY
    )
    published.write(folder, {"far.receipt": format_entry(prove_entry(tree, SPLIT, note))})
    assert published.verify(folder, "--receipt", str(folder / "far.receipt")) == published.Judged(0)


def test_a_statement_with_as_many_units_as_there_may_be_is_read(folder: Path) -> None:
    """The limits leave room for what is honest."""
    name, detail = of_attestation(folder, sign(with_units(MAX_UNITS), PAYLOAD_TYPE, [RISK, OPERATIONS]))
    assert name == "extension"
    assert "no proof was given" in detail
