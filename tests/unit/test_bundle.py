"""A sigstore bundle holds one signature, of the key that it names."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clearing.attest.bundle import to_sigstore
from clearing.attest.envelope import (
    PAYLOAD_TYPE,
    EnvelopeReason,
    EnvelopeRefused,
    Signer,
    ed25519_signer,
    p256_signer,
    pae,
    sign,
)

PAYLOAD = b'{"_type":"https://in-toto.io/Statement/v1"}'
RISK = ed25519_signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OPERATIONS = p256_signer(ec.derive_private_key(7, ec.SECP256R1()))
STRANGER = ed25519_signer(Ed25519PrivateKey.from_private_bytes(bytes(32)))
ENVELOPE = sign(PAYLOAD, PAYLOAD_TYPE, [RISK, OPERATIONS])


@pytest.mark.parametrize("signer", [RISK, OPERATIONS], ids=["ed25519", "p256"])
def test_a_bundle_holds_the_one_signature_of_the_key_that_it_hints_at(signer: Signer) -> None:
    bundle = json.loads(to_sigstore(ENVELOPE, signer.public_key))
    assert bundle["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert bundle["verificationMaterial"] == {"publicKey": {"hint": signer.public_key.key_id}}
    (signature,) = bundle["dsseEnvelope"]["signatures"]
    assert base64.b64decode(bundle["dsseEnvelope"]["payload"]) == PAYLOAD
    assert signer.public_key.accepts(base64.b64decode(signature["sig"]), pae(PAYLOAD_TYPE, PAYLOAD))


def test_the_signature_is_found_by_the_key_and_not_by_what_the_envelope_calls_it() -> None:
    misnamed = json.loads(ENVELOPE)
    for signature in misnamed["signatures"]:
        signature["keyid"] = STRANGER.public_key.key_id
    assert to_sigstore(json.dumps(misnamed).encode(), RISK.public_key) == to_sigstore(
        ENVELOPE, RISK.public_key
    )


def test_a_key_that_has_not_signed_gets_no_bundle() -> None:
    with pytest.raises(EnvelopeRefused) as refused:
        to_sigstore(ENVELOPE, STRANGER.public_key)
    assert refused.value.reason is EnvelopeReason.NOT_SIGNED
