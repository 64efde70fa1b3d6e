"""DSSE envelopes: the standard's vector, a second implementation as judge, and every refusal."""

import base64
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.dsse import Envelope as JudgeEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer._key import Key, SSlibKey

from clearing.attest.envelope import (
    MAX_ENVELOPE_BYTES,
    MAX_SIGNATURES,
    MAX_TRUSTED_KEYS,
    PAYLOAD_TYPE,
    Envelope,
    EnvelopeReason,
    EnvelopeRefused,
    JsonRefused,
    PublicKey,
    RoleKey,
    Scheme,
    Signature,
    Signer,
    SignerAway,
    TrustSet,
    canonical_json,
    ed25519_signer,
    open_envelope,
    p256_signer,
    pae,
    parse,
    read_json,
    serialise,
    sign,
    verify,
)
from ledger.checkpoint import KeyReason, KeyRefused

GOLDEN = Path(__file__).parents[1] / "golden"
PAYLOAD = (GOLDEN / "attestation.statement.json").read_bytes()

RISK_KEY = Ed25519PrivateKey.from_private_bytes(b"risk".ljust(32, b"."))
OPERATIONS_KEY = ec.derive_private_key(0x6F7065726174696F6E73, ec.SECP256R1())
COMPLIANCE_KEY = Ed25519PrivateKey.from_private_bytes(b"compliance".ljust(32, b"."))
RISK, OPERATIONS, COMPLIANCE = (
    ed25519_signer(RISK_KEY),
    p256_signer(OPERATIONS_KEY),
    ed25519_signer(COMPLIANCE_KEY),
)
STRANGER = ed25519_signer(Ed25519PrivateKey.from_private_bytes(b"stranger".ljust(32, b".")))
TRUST = TrustSet(
    keys=(
        RoleKey(role="risk", key=RISK.public_key),
        RoleKey(role="operations", key=OPERATIONS.public_key),
        RoleKey(role="compliance", key=COMPLIANCE.public_key),
    ),
    threshold=2,
)


def signed(*signers: Signer) -> Any:
    return json.loads(sign(PAYLOAD, PAYLOAD_TYPE, signers))


def refused(reason: EnvelopeReason, envelope: bytes, trust: TrustSet = TRUST) -> None:
    with pytest.raises(EnvelopeRefused) as caught:
        verify(envelope, trust)
    assert caught.value.reason is reason


def refused_members(reason: EnvelopeReason, members: object) -> None:
    refused(reason, json.dumps(members).encode())


# --- the standard --------------------------------------------------------------------------------------


def test_the_encoding_is_the_one_of_the_standard() -> None:
    vector = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pae("http://example.com/HelloWorld", b"hello world") == vector
    assert pae("", b"") == b"DSSEv1 0  0 "
    assert pae("ö", "ö".encode()) == "DSSEv1 2 ö 2 ö".encode()


def test_the_envelope_is_the_golden_one() -> None:
    envelope = (GOLDEN / "attestation.dsse.json").read_bytes()
    assert sign(PAYLOAD, PAYLOAD_TYPE, [RISK, OPERATIONS]) == envelope
    opened = open_envelope(envelope, TRUST)
    assert (opened.payload, opened.roles) == (PAYLOAD, ("risk", "operations"))


def test_an_envelope_reads_back_as_it_was_written() -> None:
    envelope = (GOLDEN / "attestation.dsse.json").read_bytes()
    assert serialise(parse(envelope)) == envelope == canonical_json(read_json(envelope))


def test_the_key_id_is_the_digest_of_the_key_info() -> None:
    info = RISK_KEY.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert RISK.public_key.key_id == hashlib.sha256(info).hexdigest()
    assert OPERATIONS.public_key.key_id == hashlib.sha256(OPERATIONS.public_key.raw).hexdigest()


def judge_keys() -> list[Key]:
    """The trusted keys as the second implementation holds them."""
    return [
        SSlibKey.from_crypto(RISK_KEY.public_key(), keyid=RISK.public_key.key_id),
        SSlibKey.from_crypto(OPERATIONS_KEY.public_key(), keyid=OPERATIONS.public_key.key_id),
        SSlibKey.from_crypto(COMPLIANCE_KEY.public_key(), keyid=COMPLIANCE.public_key.key_id),
    ]


def test_securesystemslib_accepts_our_envelopes() -> None:
    for signers in ((RISK, OPERATIONS), (COMPLIANCE, RISK), (OPERATIONS, COMPLIANCE)):
        accepted = JudgeEnvelope.from_dict(signed(*signers)).verify(judge_keys(), 2)
        assert set(accepted) == {signer.public_key.key_id for signer in signers}


def test_securesystemslib_refuses_our_envelope_below_the_threshold() -> None:
    with pytest.raises(VerificationError):
        JudgeEnvelope.from_dict(signed(RISK, STRANGER)).verify(judge_keys(), 2)


# --- the threshold -------------------------------------------------------------------------------------


def test_any_two_of_three_roles_are_enough() -> None:
    for signers in ((RISK, OPERATIONS), (COMPLIANCE, RISK), (OPERATIONS, COMPLIANCE, RISK)):
        assert verify(sign(PAYLOAD, PAYLOAD_TYPE, signers), TRUST) == PAYLOAD


def test_one_of_three_roles_is_not_enough() -> None:
    refused(EnvelopeReason.THRESHOLD_NOT_MET, sign(PAYLOAD, PAYLOAD_TYPE, [RISK]))
    refused(EnvelopeReason.THRESHOLD_NOT_MET, sign(PAYLOAD, PAYLOAD_TYPE, [RISK, STRANGER]))


def test_a_stranger_beside_the_threshold_is_ignored() -> None:
    opened = open_envelope(sign(PAYLOAD, PAYLOAD_TYPE, [STRANGER, COMPLIANCE, RISK]), TRUST)
    assert opened.roles == ("risk", "compliance")


def test_one_key_counts_once_however_often_and_under_whatever_id_it_signs() -> None:
    message = pae(PAYLOAD_TYPE, PAYLOAD)
    again = tuple(
        Signature(key_id=key_id, signature=OPERATIONS_KEY.sign(message, ec.ECDSA(hashes.SHA256())))
        for key_id in (None, OPERATIONS.public_key.key_id, RISK.public_key.key_id)
    )
    envelope = serialise(Envelope(payload=PAYLOAD, payload_type=PAYLOAD_TYPE, signatures=again))
    refused(EnvelopeReason.THRESHOLD_NOT_MET, envelope)


def test_signatures_without_a_key_id_or_with_a_wrong_one_are_accepted() -> None:
    members = signed(RISK, OPERATIONS)
    del members["signatures"][0]["keyid"]
    members["signatures"][1]["keyid"] = "wrong"
    assert verify(json.dumps(members).encode(), TRUST) == PAYLOAD
    members["signatures"][0]["keyid"] = ""
    assert parse(json.dumps(members).encode()).signatures[0].key_id is None


def test_a_changed_payload_is_refused() -> None:
    members = signed(RISK, OPERATIONS)
    members["payload"] = base64.b64encode(PAYLOAD + b" ").decode()
    refused_members(EnvelopeReason.THRESHOLD_NOT_MET, members)


@pytest.mark.parametrize("junk", ["", "AAAA", base64.b64encode(bytes(64)).decode()])
def test_a_signature_that_is_junk_does_not_count(junk: str) -> None:
    members = signed(RISK, OPERATIONS)
    members["signatures"][1]["sig"] = junk
    refused_members(EnvelopeReason.THRESHOLD_NOT_MET, members)


def test_a_signature_over_another_payload_type_does_not_count() -> None:
    other = Signature(key_id=None, signature=RISK_KEY.sign(pae("application/json", PAYLOAD)))
    honest = Signature(key_id=None, signature=COMPLIANCE_KEY.sign(pae(PAYLOAD_TYPE, PAYLOAD)))
    envelope = Envelope(payload=PAYLOAD, payload_type=PAYLOAD_TYPE, signatures=(other, honest))
    refused(EnvelopeReason.THRESHOLD_NOT_MET, serialise(envelope))


# --- the form ------------------------------------------------------------------------------------------


def test_another_payload_type_is_refused() -> None:
    members = signed(RISK, OPERATIONS)
    members["payloadType"] = "application/json"
    refused_members(EnvelopeReason.PAYLOAD_TYPE, members)
    with pytest.raises(EnvelopeRefused) as caught:
        sign(PAYLOAD, "application/json", [RISK])
    assert caught.value.reason is EnvelopeReason.PAYLOAD_TYPE


def test_unknown_members_are_ignored_as_the_standard_asks() -> None:
    members = signed(RISK, OPERATIONS) | {"comment": {"a": [1, 2.5]}}
    members["signatures"][0]["cert"] = "x"
    assert verify(json.dumps(members).encode(), TRUST) == PAYLOAD


@pytest.mark.parametrize("end", [b"{}", b"x", b"\0", b"]", b',""'])
def test_bytes_behind_the_envelope_are_refused(end: bytes) -> None:
    refused(EnvelopeReason.NOT_JSON, sign(PAYLOAD, PAYLOAD_TYPE, [RISK, OPERATIONS]) + end)


def test_white_space_around_the_envelope_is_no_harm() -> None:
    assert verify(b" " + sign(PAYLOAD, PAYLOAD_TYPE, [RISK, OPERATIONS]) + b"\n", TRUST) == PAYLOAD


def test_a_member_that_stands_twice_is_refused() -> None:
    envelope = sign(PAYLOAD, PAYLOAD_TYPE, [RISK, OPERATIONS])
    refused(EnvelopeReason.NOT_JSON, envelope.replace(b'{"payload":', b'{"payload":"","payload":'))
    refused(EnvelopeReason.NOT_JSON, envelope.replace(b'"sig":', b'"sig":"","sig":', 1))


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b"[" * 100_000])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    refused(EnvelopeReason.NOT_JSON, data)


@pytest.mark.parametrize("name", ["payload", "payloadType", "signatures"])
@pytest.mark.parametrize("value", [None, 1, {}, True])
def test_a_member_of_another_kind_is_refused(name: str, value: object) -> None:
    refused_members(EnvelopeReason.MEMBER, signed(RISK, OPERATIONS) | {name: value})


@pytest.mark.parametrize("name", ["payload", "payloadType", "signatures"])
def test_a_missing_member_is_refused(name: str) -> None:
    members = signed(RISK, OPERATIONS)
    del members[name]
    refused_members(EnvelopeReason.MEMBER, members)


@pytest.mark.parametrize("signature", ["text", {}, {"keyid": "x"}, {"sig": 1}, {"sig": "", "keyid": None}])
def test_a_malformed_signature_is_refused(signature: object) -> None:
    refused_members(EnvelopeReason.MEMBER, signed(RISK, OPERATIONS) | {"signatures": [signature]})


def test_an_envelope_that_is_no_object_is_refused() -> None:
    refused_members(EnvelopeReason.MEMBER, [])


@pytest.mark.parametrize("text", ["A", "AA", "AB==", "AA==\n", "A A=", "+_==", "é", "AA==AA=="])
def test_base64_that_is_not_canonical_is_refused(text: str) -> None:
    refused_members(EnvelopeReason.BASE64, signed(RISK, OPERATIONS) | {"payload": text})
    refused_members(EnvelopeReason.BASE64, signed(RISK, OPERATIONS) | {"signatures": [{"sig": text}]})


def test_the_url_safe_alphabet_is_read_too() -> None:
    members = signed(RISK, OPERATIONS)
    for entry in members["signatures"]:
        entry["sig"] = entry["sig"].replace("+", "-").replace("/", "_")
    assert verify(json.dumps(members).encode(), TRUST) == PAYLOAD


# --- limits, at n and n + 1 ----------------------------------------------------------------------------


def test_an_envelope_has_one_to_sixteen_signatures() -> None:
    members = signed(RISK, OPERATIONS)
    first, second = members["signatures"]
    members["signatures"] = [first] * (MAX_SIGNATURES - 1) + [second]
    assert verify(json.dumps(members).encode(), TRUST) == PAYLOAD
    members["signatures"].append(second)
    refused_members(EnvelopeReason.SIGNATURE_COUNT, members)
    refused_members(EnvelopeReason.SIGNATURE_COUNT, members | {"signatures": []})
    with pytest.raises(EnvelopeRefused) as caught:
        sign(PAYLOAD, PAYLOAD_TYPE, [])
    assert caught.value.reason is EnvelopeReason.SIGNATURE_COUNT


def test_an_envelope_has_at_most_four_million_bytes() -> None:
    envelope = sign(PAYLOAD, PAYLOAD_TYPE, [RISK, OPERATIONS])
    assert verify(envelope.ljust(MAX_ENVELOPE_BYTES), TRUST) == PAYLOAD
    refused(EnvelopeReason.TOO_LONG, envelope.ljust(MAX_ENVELOPE_BYTES + 1))
    with pytest.raises(EnvelopeRefused) as caught:
        sign(bytes(MAX_ENVELOPE_BYTES * 3 // 4), PAYLOAD_TYPE, [RISK])
    assert caught.value.reason is EnvelopeReason.TOO_LONG


def away(_message: bytes) -> bytes:
    raise SignerAway("at lunch")


def test_those_sign_who_are_there_if_they_are_enough() -> None:
    absent = replace(OPERATIONS, sign=away)
    envelope = sign(PAYLOAD, PAYLOAD_TYPE, [RISK, absent, COMPLIANCE], at_least=2)
    assert envelope == sign(PAYLOAD, PAYLOAD_TYPE, [RISK, COMPLIANCE])
    for signers, at_least in (([RISK, absent, COMPLIANCE], 3), ([RISK, absent], None), ([RISK], 2)):
        with pytest.raises(SignerAway, match="keys signed"):
            sign(PAYLOAD, PAYLOAD_TYPE, signers, at_least=at_least)


def test_one_key_does_not_sign_an_envelope_twice() -> None:
    with pytest.raises(EnvelopeRefused) as caught:
        sign(PAYLOAD, PAYLOAD_TYPE, [RISK, RISK])
    assert caught.value.reason is EnvelopeReason.KEY_REPEATED


# --- trust ---------------------------------------------------------------------------------------------


def refused_trust(reason: EnvelopeReason, **change: Any) -> None:
    with pytest.raises(EnvelopeRefused) as caught:
        replace(TRUST, **change)
    assert caught.value.reason is reason


def test_a_trust_set_has_one_to_sixteen_keys() -> None:
    many = tuple(
        RoleKey(
            role=f"role{number}",
            key=ed25519_signer(Ed25519PrivateKey.from_private_bytes(bytes([number] * 32))).public_key,
        )
        for number in range(MAX_TRUSTED_KEYS + 1)
    )
    assert TrustSet(keys=many[:-1], threshold=MAX_TRUSTED_KEYS).keys == many[:-1]
    refused_trust(EnvelopeReason.TRUST_SIZE, keys=many)
    refused_trust(EnvelopeReason.TRUST_SIZE, keys=())


def test_one_key_in_two_roles_is_refused() -> None:
    twice = (*TRUST.keys, RoleKey(role="audit", key=RISK.public_key))
    refused_trust(EnvelopeReason.KEY_REPEATED, keys=twice)


def test_one_role_with_two_keys_is_refused() -> None:
    twice = (*TRUST.keys, RoleKey(role="risk", key=STRANGER.public_key))
    refused_trust(EnvelopeReason.ROLE_REPEATED, keys=twice)


@pytest.mark.parametrize("threshold", [-1, 0, 4])
def test_a_threshold_that_does_not_fit_the_keys_is_refused(threshold: int) -> None:
    refused_trust(EnvelopeReason.TRUST_THRESHOLD, threshold=threshold)


# --- keys ----------------------------------------------------------------------------------------------


def key_info(key: ec.EllipticCurvePublicKey, point: serialization.PublicFormat) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, point)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"junk",
        OPERATIONS.public_key.raw + b"\0",
        OPERATIONS.public_key.raw[:-1],
        bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")  # a compressed point
        + OPERATIONS_KEY.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
        ),
        key_info(
            ec.derive_private_key(5, ec.SECP384R1()).public_key(),
            serialization.PublicFormat.SubjectPublicKeyInfo,
        ),
        RISK_KEY.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    ],
)
def test_a_p256_key_of_another_form_is_refused(raw: bytes) -> None:
    with pytest.raises(EnvelopeRefused) as caught:
        PublicKey(scheme=Scheme.P256, raw=raw)
    assert caught.value.reason is EnvelopeReason.KEY_FORM


def test_a_signer_on_another_curve_is_refused() -> None:
    with pytest.raises(EnvelopeRefused) as caught:
        p256_signer(ec.derive_private_key(5, ec.SECP384R1()))
    assert caught.value.reason is EnvelopeReason.KEY_FORM


def test_an_unsound_ed25519_key_is_refused() -> None:
    with pytest.raises(KeyRefused) as caught:
        PublicKey(scheme=Scheme.ED25519, raw=bytes(32))
    assert caught.value.reason is KeyReason.LOW_ORDER


# --- JSON ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"NaN", b"[Infinity]", b'{"a":1,"a":2}', b'"\\udfff"', b'{"\\ud800":""}', b"1 2"]
)
def test_json_that_others_might_read_otherwise_is_refused(data: bytes) -> None:
    with pytest.raises(JsonRefused):
        read_json(data)
