"""Sigstore bundles: one officer's signature of an attestation, in a form that sigstore's verifiers read.

Rules kept here (attestation.md §5): a bundle has exactly one signature, because those verifiers refuse more; how many
officers must have signed is judged over the envelope, by ours. The key is named by a hint alone, hex SHA-256 of its
DER SubjectPublicKeyInfo: whoever verifies brings the key. Nothing is put into a bundle that its key did not sign.
"""

import base64

from clearing.attest.envelope import (
    EnvelopeReason,
    EnvelopeRefused,
    JsonValue,
    PublicKey,
    canonical_json,
    pae,
    parse,
)

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def to_sigstore(envelope: bytes, key: PublicKey) -> bytes:
    """The bundle (protobuf-specs v0.3, JSON) of the signature that ``key`` made in ``envelope``.

    Raises ``EnvelopeRefused``: all reasons of ``envelope.parse``, and ``NOT_SIGNED`` if ``key`` made none.
    """
    parsed = parse(envelope)
    message = pae(parsed.payload_type, parsed.payload)
    made = next((one.signature for one in parsed.signatures if key.accepts(one.signature, message)), None)
    if made is None:
        raise EnvelopeRefused(EnvelopeReason.NOT_SIGNED, "this key has not signed the envelope")
    members: dict[str, JsonValue] = {
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": key.key_id}},
        "dsseEnvelope": {
            "payload": _base64(parsed.payload),
            "payloadType": parsed.payload_type,
            "signatures": [{"sig": _base64(made), "keyid": key.key_id}],
        },
    }
    return canonical_json(members)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
