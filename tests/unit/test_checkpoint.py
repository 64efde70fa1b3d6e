"""Notes and checkpoints, against notes that Go signed (x/mod sumdb/note, C2SP, torchwood)."""

import base64
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from ledger.checkpoint import (
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    MAX_TREE_SIZE,
    Checkpoint,
    KeyReason,
    KeyRefused,
    Note,
    NoteReason,
    NoteRefused,
    NoteSignature,
    SignatureType,
    VerifierKey,
    checkpoint_body,
    decode_base64,
    format_note,
    format_vkey,
    open_note,
    parse_checkpoint_body,
    parse_note,
    parse_vkey,
    require_sound_ed25519,
    sign_note,
    sign_text,
    verifier_key,
    verify_note,
)
from ledger.merkle import EMPTY_ROOT, leaf_hash

GOLDEN = Path(__file__).parents[1] / "golden"
DASH = "\N{EM DASH}"

PETER_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
PETER_TEXT = (
    b"If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
)
PETER_LINE = (
    f"{DASH} PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
PETER_NOTE = PETER_TEXT + b"\n" + PETER_LINE.encode()
ENOCH_VKEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
ENOCH_LINE = (
    f"{DASH} EnochRoot "
    "rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)
C2SP_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
C2SP_NOTE = (
    f"This is an example message.\n\n{DASH} example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()

ORIGIN = "house.example/journal"
LOG_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
ML_DSA_KEY = MLDSA44PrivateKey.from_seed_bytes(bytes(range(64, 96)))
LOG = verifier_key(ORIGIN, LOG_KEY)
WITNESS = verifier_key("witness.example/w1", WITNESS_KEY)
ML_DSA = verifier_key(ORIGIN, ML_DSA_KEY)
ML_DSA_SIGNATURE_BYTES = 2420
HOUSE_AT_3 = Checkpoint(origin=ORIGIN, size=3, root=leaf_hash(b"three leaves"))
BODY = checkpoint_body(HOUSE_AT_3)


def refused_note(reason: NoteReason, data: bytes, *trusted: VerifierKey) -> None:
    with pytest.raises(NoteRefused) as refused:
        open_note(data, trusted or (LOG,))
    assert refused.value.reason is reason


def refused_vkey(reason: KeyReason, text: str) -> None:
    with pytest.raises(KeyRefused) as refused:
        parse_vkey(text)
    assert refused.value.reason is reason


def refused_body(reason: NoteReason, body: bytes) -> None:
    with pytest.raises(NoteRefused) as refused:
        parse_checkpoint_body(body)
    assert refused.value.reason is reason


# --- notes made elsewhere ------------------------------------------------------------------------------


def test_the_note_of_the_go_documentation_verifies() -> None:
    key = parse_vkey(PETER_VKEY)
    assert verify_note(parse_note(PETER_NOTE), [key]) == (key,)
    assert parse_note(PETER_NOTE).text == PETER_TEXT


def test_we_sign_the_go_example_byte_for_byte() -> None:
    peter = Ed25519PrivateKey.from_private_bytes(PETER_SEED)
    assert sign_note(PETER_TEXT, "PeterNeumann", peter) == PETER_NOTE
    assert format_vkey(verifier_key("PeterNeumann", peter)) == PETER_VKEY


def test_a_note_with_two_go_signatures_names_both_signers_in_their_order() -> None:
    peter, enoch = parse_vkey(PETER_VKEY), parse_vkey(ENOCH_VKEY)
    note = parse_note(PETER_NOTE + ENOCH_LINE.encode())
    assert verify_note(note, [enoch, peter]) == (peter, enoch)
    assert format_note(note) == PETER_NOTE + ENOCH_LINE.encode()


def test_the_example_of_the_c2sp_specification_verifies() -> None:
    key = parse_vkey(C2SP_VKEY)
    assert verify_note(parse_note(C2SP_NOTE), [key]) == (key,)


def test_an_ml_dsa_44_checkpoint_of_a_go_log_verifies() -> None:
    # filippo.io/torchwood, cmd/litewitness/testdata/mldsa.txt: a log that signs with type 0x06 and no time
    key = parse_vkey((GOLDEN / "torchwood-mldsa44.vkey").read_text().strip())
    opened = open_note((GOLDEN / "torchwood-mldsa44.note").read_bytes(), [key])
    assert key.type is SignatureType.ML_DSA_44
    assert opened.checkpoint.origin == "example.com/mldsa-log"
    assert opened.signers == (key,)


# --- our own checkpoints -------------------------------------------------------------------------------


def test_the_checkpoint_note_is_the_golden_one() -> None:
    assert sign_note(BODY, ORIGIN, LOG_KEY) == (GOLDEN / "checkpoint.note").read_bytes()
    opened = open_note((GOLDEN / "checkpoint.note").read_bytes(), [LOG])
    assert (opened.checkpoint, opened.signers) == (HOUSE_AT_3, (LOG,))


def test_a_checkpoint_body_has_three_lines_and_reads_back() -> None:
    assert BODY.decode() == f"{ORIGIN}\n3\n{base64.b64encode(HOUSE_AT_3.root).decode()}\n"
    assert parse_checkpoint_body(BODY) == HOUSE_AT_3


def test_the_empty_tree_has_a_checkpoint_too() -> None:
    empty = Checkpoint(origin=ORIGIN, size=0, root=EMPTY_ROOT)
    assert parse_checkpoint_body(checkpoint_body(empty)) == empty


def test_a_log_signs_with_ed25519_and_ml_dsa_44_at_once() -> None:
    lines = (sign_text(BODY, ORIGIN, LOG_KEY), sign_text(BODY, ORIGIN, ML_DSA_KEY, timestamp_s=1_700_000_000))
    note = format_note(Note(text=BODY, signatures=lines))
    assert open_note(note, [LOG, ML_DSA]).signers == (LOG, ML_DSA)
    assert open_note(note, [ML_DSA]).signers == (ML_DSA,)
    assert len(lines[1].signature) == ML_DSA_SIGNATURE_BYTES + 8


def test_ml_dsa_44_signs_its_time() -> None:
    line = sign_text(BODY, ORIGIN, ML_DSA_KEY, timestamp_s=5)
    later = replace(line, signature=(6).to_bytes(8, "big") + line.signature[8:])
    refused_note(NoteReason.BAD_SIGNATURE, format_note(Note(text=BODY, signatures=(later,))), ML_DSA)


def test_ml_dsa_44_signs_nothing_but_checkpoints() -> None:
    with pytest.raises(NoteRefused) as refused:
        sign_note(b"hello\n", ORIGIN, ML_DSA_KEY)
    assert refused.value.reason is NoteReason.CHECKPOINT_LINES
    line = sign_text(BODY, ORIGIN, ML_DSA_KEY)
    note = format_note(Note(text=b"hello\n", signatures=(line,)))
    refused_note(NoteReason.BAD_SIGNATURE, note, ML_DSA)


@pytest.mark.parametrize("timestamp_s", [-1, 2**63])
def test_a_time_outside_63_bits_is_refused(timestamp_s: int) -> None:
    with pytest.raises(NoteRefused) as refused:
        sign_text(BODY, ORIGIN, ML_DSA_KEY, timestamp_s=timestamp_s)
    assert refused.value.reason is NoteReason.TIMESTAMP


def test_an_ml_dsa_44_signature_with_a_time_outside_63_bits_does_not_hold() -> None:
    line = sign_text(BODY, ORIGIN, ML_DSA_KEY)
    late = replace(line, signature=bytes([255] * 8) + line.signature[8:])
    refused_note(NoteReason.BAD_SIGNATURE, format_note(Note(text=BODY, signatures=(late,))), ML_DSA)


# --- trust ---------------------------------------------------------------------------------------------


def test_a_bad_signature_of_a_known_key_refuses_the_whole_note() -> None:
    good, bad = sign_text(BODY, ORIGIN, LOG_KEY), sign_text(b"other\n", WITNESS.name, WITNESS_KEY)
    note = format_note(Note(text=BODY, signatures=(good, bad)))
    assert open_note(note, [LOG]).signers == (LOG,)
    refused_note(NoteReason.BAD_SIGNATURE, note, LOG, WITNESS)


def test_an_unknown_key_is_ignored_even_if_it_shares_the_name_or_the_id() -> None:
    good = sign_text(BODY, ORIGIN, LOG_KEY)
    same_name = sign_text(BODY, ORIGIN, WITNESS_KEY)
    same_id = NoteSignature(name="elsewhere", key_id=good.key_id, signature=b"junk")
    note = format_note(Note(text=BODY, signatures=(same_name, same_id, good)))
    assert open_note(note, [LOG]).signers == (LOG,)


def test_a_note_without_a_trusted_signature_is_refused() -> None:
    refused_note(NoteReason.NO_TRUSTED_SIGNATURE, sign_note(BODY, ORIGIN, LOG_KEY), WITNESS)
    with pytest.raises(NoteRefused) as refused:
        open_note(sign_note(BODY, ORIGIN, LOG_KEY), [])
    assert refused.value.reason is NoteReason.NO_TRUSTED_SIGNATURE


def test_a_key_that_signs_twice_is_one_signer() -> None:
    line = sign_text(BODY, ORIGIN, LOG_KEY)
    assert open_note(format_note(Note(text=BODY, signatures=(line, line))), [LOG]).signers == (LOG,)


def test_one_public_key_under_two_names_is_refused_in_a_trusted_list() -> None:
    alias = verifier_key("another-name", LOG_KEY)
    with pytest.raises(KeyRefused) as refused:
        open_note(sign_note(BODY, ORIGIN, LOG_KEY), [LOG, alias])
    assert refused.value.reason is KeyReason.REPEATED


def test_two_trusted_keys_whose_name_and_key_id_collide_are_refused() -> None:
    first, second = (
        VerifierKey(name="log", type=SignatureType.ED25519, raw=bytes.fromhex(raw))
        for raw in (
            "4545c64416a05c7089553270b1c55d86a6ee22b1829b844f6b85fb59eb48e6b8",
            "366d60732db6c45ad02e04a1ea0b2d4a0ca09a7b88bafa8d278f712231df1984",
        )
    )
    assert first.key_id == second.key_id
    with pytest.raises(KeyRefused) as refused:
        open_note(sign_note(BODY, ORIGIN, LOG_KEY), [first, second])
    assert refused.value.reason is KeyReason.AMBIGUOUS


def test_a_verified_note_that_is_no_checkpoint_is_refused() -> None:
    refused_note(NoteReason.CHECKPOINT_LINES, PETER_NOTE, parse_vkey(PETER_VKEY))


# --- the form of notes ---------------------------------------------------------------------------------


def test_a_text_may_hold_blank_lines_because_the_last_one_splits() -> None:
    text = b"one\n\ntwo\n"
    assert parse_note(sign_note(text, ORIGIN, LOG_KEY)).text == text


@pytest.mark.parametrize("data", [b"text\n\xff\n", b"tab\there\n\n", b"bell\x07\n", b"return\r\n"])
def test_a_note_that_is_no_plain_text_is_refused(data: bytes) -> None:
    refused_note(NoteReason.NOT_TEXT, data + PETER_LINE.encode())


@pytest.mark.parametrize("text", [b"", b"no newline"])
def test_a_text_without_a_newline_at_its_end_cannot_be_signed(text: bytes) -> None:
    with pytest.raises(NoteRefused) as refused:
        sign_note(text, ORIGIN, LOG_KEY)
    assert refused.value.reason is NoteReason.NOT_TEXT


@pytest.mark.parametrize("data", [b"", b"text\n", b"text\n\n", PETER_NOTE + b"\n"])
def test_a_note_without_signature_lines_is_refused(data: bytes) -> None:
    refused_note(NoteReason.NO_SIGNATURES, data)


def test_a_note_without_signatures_cannot_be_made() -> None:
    with pytest.raises(NoteRefused) as refused:
        Note(text=BODY, signatures=())
    assert refused.value.reason is NoteReason.NO_SIGNATURES


@pytest.mark.parametrize(
    "line",
    [
        f"{DASH} name AAAAAAA=",  # no newline at the end
        "- name AAAAAAA=\n",  # a hyphen
        f"{DASH}name AAAAAAA=\n",
        f"{DASH} name\n",
        f"{DASH} name \n",
        f"{DASH}  AAAAAAA=\n",
        f"{DASH} na+me AAAAAAA=\n",
        f"{DASH} na\N{NO-BREAK SPACE}me AAAAAAA=\n",
        f"{DASH} name AAAA\n",  # 3 bytes: no key id
        f"{DASH} name AAAAAA==\n",  # 4 bytes: a key id and nothing more
        f"{DASH} name AAAAAAB=\n",  # stray bits
        f"{DASH} name AAAAAAA\n",  # no padding
        f"{DASH} name AAAAA_A=\n",  # another alphabet
        f"{DASH} name AAAAAAA= \n",
    ],
)
def test_a_malformed_signature_line_is_refused(line: str) -> None:
    refused_note(NoteReason.SIGNATURE_LINE, BODY + b"\n" + line.encode())


def test_at_most_a_hundred_signatures_are_read() -> None:
    line = sign_text(BODY, ORIGIN, LOG_KEY)
    full = format_note(Note(text=BODY, signatures=(line,) * MAX_SIGNATURES))
    assert open_note(full, [LOG]).signers == (LOG,)
    refused_note(NoteReason.TOO_MANY_SIGNATURES, full + format_note(parse_note(full)).splitlines(True)[-1])
    with pytest.raises(NoteRefused) as refused:
        Note(text=BODY, signatures=(line,) * (MAX_SIGNATURES + 1))
    assert refused.value.reason is NoteReason.TOO_MANY_SIGNATURES


def test_at_most_a_million_bytes_are_read() -> None:
    rest = len(sign_note(b"\n", ORIGIN, LOG_KEY)) - 1
    full = b"x" * (MAX_NOTE_BYTES - rest - 1) + b"\n"
    note = sign_note(full, ORIGIN, LOG_KEY)
    assert len(note) == MAX_NOTE_BYTES
    assert verify_note(parse_note(note), [LOG]) == (LOG,)
    refused_note(NoteReason.TOO_LONG, b"x" + note)


# --- the form of checkpoints ---------------------------------------------------------------------------


def test_an_extension_line_is_refused() -> None:
    refused_body(NoteReason.EXTENSION_LINE, BODY + b"more\n")
    refused_body(NoteReason.EXTENSION_LINE, BODY + b"\n")


@pytest.mark.parametrize("body", [b"", b"\n", b"origin\n3\n", BODY[:-1]])
def test_a_checkpoint_with_fewer_than_three_lines_is_refused(body: bytes) -> None:
    refused_body(NoteReason.CHECKPOINT_LINES, body)


@pytest.mark.parametrize("size", ["", "03", "00", "-1", "+3", "3.0", " 3", "٣", "9223372036854775808"])
def test_a_size_that_is_not_written_in_its_one_way_is_refused(size: str) -> None:
    refused_body(NoteReason.SIZE, BODY.replace(b"\n3\n", f"\n{size}\n".encode()))


def test_the_largest_size_is_two_to_the_63_less_one() -> None:
    largest = replace(HOUSE_AT_3, size=MAX_TREE_SIZE)
    assert parse_checkpoint_body(checkpoint_body(largest)) == largest
    for size in (MAX_TREE_SIZE + 1, -1):
        with pytest.raises(NoteRefused) as refused:
            replace(HOUSE_AT_3, size=size)
        assert refused.value.reason is NoteReason.SIZE


@pytest.mark.parametrize(
    "root", ["", "AAAA", base64.b64encode(bytes(31)).decode(), base64.b64encode(bytes(33)).decode()]
)
def test_a_root_of_another_length_is_refused(root: str) -> None:
    refused_body(NoteReason.ROOT, f"{ORIGIN}\n3\n{root}\n".encode())


@pytest.mark.parametrize("end", ["B=", "A", "A==", "A= ", "_="])
def test_a_root_in_base64_that_is_not_canonical_is_refused(end: str) -> None:
    root = base64.b64encode(bytes(32)).decode()[:-2]
    refused_body(NoteReason.ROOT, f"{ORIGIN}\n3\n{root}{end}\n".encode())


def test_an_empty_tree_with_another_root_is_refused() -> None:
    refused_body(NoteReason.ROOT, BODY.replace(b"\n3\n", b"\n0\n"))


@pytest.mark.parametrize("origin", ["", "two\nlines", "tab\t", "x" * 256, "ö" * 128, "\ud800"])
def test_an_origin_that_is_not_one_line_of_255_bytes_is_refused(origin: str) -> None:
    with pytest.raises(NoteRefused) as refused:
        Checkpoint(origin=origin, size=3, root=HOUSE_AT_3.root)
    assert refused.value.reason is NoteReason.ORIGIN


def test_an_origin_of_255_bytes_can_be_signed_by_both_kinds_of_key() -> None:
    body = checkpoint_body(replace(HOUSE_AT_3, origin="x" * 255))
    for key in (LOG_KEY, ML_DSA_KEY):
        signer = verifier_key("n" * 255, key)
        assert open_note(sign_note(body, "n" * 255, key), [signer]).signers == (signer,)


# --- verifier keys -------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [LOG, ML_DSA])
def test_a_verifier_key_reads_back_as_it_was_written(key: VerifierKey) -> None:
    assert parse_vkey(format_vkey(key)) == key


def test_every_mangling_of_a_verifier_key_is_refused() -> None:
    for place in range(len(PETER_VKEY)):
        for mangled in (
            PETER_VKEY[:place],
            PETER_VKEY[place + 1 :],
            PETER_VKEY[:place] + chr(ord(PETER_VKEY[place]) + 1) + PETER_VKEY[place + 1 :],
        ):
            with pytest.raises(KeyRefused):
                parse_vkey(mangled)


@pytest.mark.parametrize("text", ["", "name", "name+c74f20a3", "name+C74F20A3+AQ==", "n+c74f20a3+AR"])
def test_a_verifier_key_of_another_form_is_refused(text: str) -> None:
    refused_vkey(KeyReason.VKEY_FORM, text)


def test_a_verifier_key_with_the_id_of_another_is_refused() -> None:
    refused_vkey(KeyReason.KEY_ID, PETER_VKEY.replace("c74f20a3", "c74f20a4"))


@pytest.mark.parametrize("kind", [0, 2, 3, 5, 255])
def test_a_verifier_key_of_another_type_is_refused(kind: int) -> None:
    material = base64.b64encode(bytes([kind]) + LOG.raw).decode()
    refused_vkey(KeyReason.TYPE, f"name+00000000+{material}")


@pytest.mark.parametrize(
    "name", ["", "two words", "pl+us", "tab\t", "line\n", "\N{EN QUAD}", "x" * 256, "\ud800"]
)
def test_a_key_name_that_could_not_stand_in_a_line_is_refused(name: str) -> None:
    for make in (
        lambda: replace(LOG, name=name),
        lambda: sign_note(BODY, name, LOG_KEY),
    ):
        with pytest.raises(KeyRefused) as refused:
            make()
        assert refused.value.reason is KeyReason.NAME


def test_keys_of_another_length_are_refused() -> None:
    for key in (LOG, ML_DSA):
        for raw in (key.raw[:-1], key.raw + b"\0", b""):
            with pytest.raises(KeyRefused) as refused:
                replace(key, raw=raw)
            assert refused.value.reason is KeyReason.LENGTH


# All fourteen spellings of the eight points of small order ("Taming the many EdDSAs", table 6b).
LOW_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
]


def refused_ed25519(reason: KeyReason, raw: bytes) -> None:
    with pytest.raises(KeyRefused) as refused:
        require_sound_ed25519(raw)
    assert refused.value.reason is reason
    with pytest.raises(KeyRefused):
        VerifierKey(name="log", type=SignatureType.ED25519, raw=raw)


@pytest.mark.parametrize("text", LOW_ORDER)
def test_an_ed25519_key_of_low_order_is_refused(text: str) -> None:
    refused_ed25519(KeyReason.LOW_ORDER, bytes.fromhex(text))


@pytest.mark.parametrize("offset", range(2, 19))
def test_an_ed25519_key_beyond_the_field_is_refused(offset: int) -> None:
    for sign in (0, 1 << 255):
        refused_ed25519(KeyReason.NOT_CANONICAL, (2**255 - 19 + offset + sign).to_bytes(32, "little"))


def test_an_ed25519_key_off_the_curve_is_refused() -> None:
    refused_ed25519(KeyReason.NOT_A_POINT, (2).to_bytes(32, "little"))


def test_every_honest_ed25519_key_is_sound() -> None:
    for seed in range(50):
        key = Ed25519PrivateKey.from_private_bytes(leaf_hash(bytes([seed])))
        require_sound_ed25519(key.public_key().public_bytes_raw())


@pytest.mark.parametrize("text", ["AB==", "AA", "AA=", "A A=", "AA==\n", "-_==", "é"])
def test_base64_that_is_not_canonical_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"base64|padding|ASCII|padded"):
        decode_base64(text)
