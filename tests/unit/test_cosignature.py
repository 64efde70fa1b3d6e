"""Cosignatures (C2SP tlog-cosignature): what a witness signs, and who is found to have cosigned."""

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from ledger.checkpoint import (
    Checkpoint,
    Cosignature,
    KeyReason,
    KeyRefused,
    Note,
    NotePrivateKey,
    NoteReason,
    NoteRefused,
    SignatureType,
    VerifierKey,
    checkpoint_body,
    cosign,
    cosigner_key,
    format_note,
    format_signature,
    format_vkey,
    open_note,
    parse_note,
    parse_vkey,
    sign_text,
    verifier_key,
    verify_cosignatures,
)
from ledger.merkle import leaf_hash

GOLDEN = Path(__file__).parents[1] / "golden"
ORIGIN, NAME = "house.example/journal", "witness.example/w1"
LOG_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
ML_DSA_KEY = MLDSA44PrivateKey.from_seed_bytes(bytes(range(64, 96)))
LOG, WITNESS = verifier_key(ORIGIN, LOG_KEY), cosigner_key(NAME, WITNESS_KEY)
ML_DSA = cosigner_key("witness.example/w2", ML_DSA_KEY)
BODY = checkpoint_body(Checkpoint(origin=ORIGIN, size=3, root=leaf_hash(b"three leaves")))
TIME_S = 1_679_315_147
SIGNED = sign_text(BODY, ORIGIN, LOG_KEY)
COSIGNED = cosign(BODY, NAME, WITNESS_KEY, timestamp_s=TIME_S)


def refused(reason: NoteReason, note: Note, *cosigners: VerifierKey) -> None:
    with pytest.raises(NoteRefused) as caught:
        verify_cosignatures(note, cosigners)
    assert caught.value.reason is reason


def test_an_ed25519_cosignature_is_over_header_time_and_body_and_carries_the_time_in_front() -> None:
    time_bytes, signature = COSIGNED.signature[:8], COSIGNED.signature[8:]
    assert int.from_bytes(time_bytes, "big") == TIME_S
    message = b"cosignature/v1\ntime 1679315147\n" + BODY
    Ed25519PublicKey.from_public_bytes(WITNESS.raw).verify(signature, message)
    assert format_signature(COSIGNED).decode().startswith(f"\N{EM DASH} {NAME} ")


def test_the_cosignature_of_a_public_witness_on_a_public_log_verifies() -> None:
    # a checkpoint of a certificate transparency log that the witness remora.n621.de has cosigned
    vkey = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
    key, note = parse_vkey(vkey), parse_note((GOLDEN / "remora.note").read_bytes())
    assert (key.type, format_vkey(key)) == (SignatureType.ED25519_COSIGNATURE, vkey)
    assert verify_cosignatures(note, [key]) == (Cosignature(key=key, time_s=1_779_573_024),)
    refused(
        NoteReason.BAD_SIGNATURE, replace(note, text=note.text.replace(b"1432088532", b"1432088533")), key
    )


def test_cosigners_are_found_apart_from_signers_with_their_times() -> None:
    second = cosign(BODY, ML_DSA.name, ML_DSA_KEY, timestamp_s=TIME_S + 1)
    note = Note(text=BODY, signatures=(SIGNED, COSIGNED, second))
    assert open_note(format_note(note), [LOG]).signers == (LOG,)
    assert verify_cosignatures(parse_note(format_note(note)), [ML_DSA, WITNESS]) == (
        Cosignature(key=WITNESS, time_s=TIME_S),
        Cosignature(key=ML_DSA, time_s=TIME_S + 1),
    )
    assert verify_cosignatures(note, [replace(WITNESS, name="else")]) == ()
    assert verify_cosignatures(note, []) == ()


def test_a_witness_that_cosigned_twice_counts_once_with_its_last_time() -> None:
    later = cosign(BODY, NAME, WITNESS_KEY, timestamp_s=TIME_S + 9)
    note = Note(text=BODY, signatures=(SIGNED, later, COSIGNED))
    assert verify_cosignatures(note, [WITNESS]) == (Cosignature(key=WITNESS, time_s=TIME_S + 9),)


def test_a_cosignature_with_another_time_tree_or_length_refuses_the_note() -> None:
    other = checkpoint_body(Checkpoint(origin=ORIGIN, size=4, root=leaf_hash(b"four")))
    for text, signature in (
        (BODY, (TIME_S + 1).to_bytes(8, "big") + COSIGNED.signature[8:]),
        (BODY, (2**63).to_bytes(8, "big") + COSIGNED.signature[8:]),
        (BODY, COSIGNED.signature[:-1]),
        (BODY, COSIGNED.signature[:7]),
        (BODY, COSIGNED.signature[8:]),
        (other, COSIGNED.signature),
    ):
        line = replace(COSIGNED, signature=signature)
        refused(NoteReason.BAD_SIGNATURE, Note(text=text, signatures=(line,)), WITNESS)


def test_a_plain_signature_of_a_witness_is_no_cosignature_nor_the_other_way_round() -> None:
    plain = sign_text(BODY, NAME, WITNESS_KEY)
    assert verify_cosignatures(Note(text=BODY, signatures=(plain,)), [WITNESS]) == ()
    disguised = replace(plain, key_id=WITNESS.key_id, signature=bytes(8) + plain.signature)
    refused(NoteReason.BAD_SIGNATURE, Note(text=BODY, signatures=(disguised,)), WITNESS)
    with pytest.raises(NoteRefused) as caught:
        open_note(format_note(Note(text=BODY, signatures=(COSIGNED,))), [verifier_key(NAME, WITNESS_KEY)])
    assert caught.value.reason is NoteReason.NO_TRUSTED_SIGNATURE


@pytest.mark.parametrize("key", [WITNESS_KEY, ML_DSA_KEY])
@pytest.mark.parametrize("time_s", [-1, 2**63])
def test_a_time_outside_63_bits_is_not_cosigned(key: NotePrivateKey, time_s: int) -> None:
    with pytest.raises(NoteRefused) as caught:
        cosign(BODY, NAME, key, timestamp_s=time_s)
    assert caught.value.reason is NoteReason.TIMESTAMP
    line = cosign(BODY, NAME, key, timestamp_s=2**63 - 1)
    (found,) = verify_cosignatures(Note(text=BODY, signatures=(line,)), [cosigner_key(NAME, key)])
    assert found.time_s == 2**63 - 1


def test_nothing_but_a_checkpoint_is_cosigned() -> None:
    with pytest.raises(NoteRefused) as caught:
        cosign(b"hello\n", NAME, WITNESS_KEY, timestamp_s=TIME_S)
    assert caught.value.reason is NoteReason.CHECKPOINT_LINES


def test_one_public_key_under_two_names_and_a_key_that_does_not_cosign_are_refused() -> None:
    note = Note(text=BODY, signatures=(COSIGNED,))
    for reason, cosigners in (
        (KeyReason.REPEATED, [WITNESS, replace(WITNESS, name="alias")]),
        (KeyReason.TYPE, [LOG]),
    ):
        with pytest.raises(KeyRefused) as caught:
            verify_cosignatures(note, cosigners)
        assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (bytes(32), KeyReason.LOW_ORDER),
        (b"\x01" + bytes(31), KeyReason.LOW_ORDER),
        (b"\xff" * 32, KeyReason.NOT_CANONICAL),
        (b"\x02" + bytes(31), KeyReason.NOT_A_POINT),
        (bytes(31), KeyReason.LENGTH),
    ],
)
def test_an_unsound_witness_key_is_refused(raw: bytes, reason: KeyReason) -> None:
    with pytest.raises(KeyRefused) as caught:
        VerifierKey(name=NAME, type=SignatureType.ED25519_COSIGNATURE, raw=raw)
    assert caught.value.reason is reason
