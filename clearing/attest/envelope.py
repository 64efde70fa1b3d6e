"""Envelopes: who signed which bytes (DSSE v1.0.2, JSON envelope).

Rules kept here (attestation.md §5): the signature covers the payload and its type by PAE. A verifier checks
the bytes, then returns those bytes and nothing else (:data:`VerifiedPayload`). The key id is a hint that
nobody needs: signatures without one are accepted. Each **public key** counts once however often it signed; a
trust set that names a key or a role twice is refused. A signature of an unknown key is ignored. As the
standard asks, unknown JSON members are ignored and both base64 alphabets are read, but only in canonical
form; a duplicate member, bytes after the envelope, or another payload type are refused.

Keys are Ed25519 (raw 32 bytes) and ECDSA P-256 with SHA-256 (DER SubjectPublicKeyInfo, DER signatures).
"""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NewType, NoReturn, TypeAlias, cast

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.checkpoint import decode_base64, require_sound_ed25519

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_ENVELOPE_BYTES = 4_000_000
MAX_SIGNATURES = 16
MAX_TRUSTED_KEYS = 16

_TO_STANDARD = str.maketrans("-_", "+/")
_ECDSA = ec.ECDSA(hashes.SHA256())

JsonValue: TypeAlias = "bool | str | RefusedNumber | list[JsonValue] | dict[str, JsonValue] | None"


class EnvelopeReason(Enum):
    """Why an envelope, a trust set or a key was refused; the values are stable."""

    TOO_LONG = "envelope_too_long"
    NOT_JSON = "envelope_not_json"
    MEMBER = "envelope_member"
    BASE64 = "envelope_base64"
    PAYLOAD_TYPE = "payload_type"
    SIGNATURE_COUNT = "signature_count"
    THRESHOLD_NOT_MET = "threshold_not_met"
    NOT_SIGNED = "not_signed_by_key"
    BEFORE_TRUST = "before_trust"
    KEY_FORM = "key_form"
    TRUST_SIZE = "trust_size"
    TRUST_THRESHOLD = "trust_threshold"
    KEY_REPEATED = "trusted_key_repeated"
    ROLE_REPEATED = "role_repeated"


class EnvelopeRefused(ValueError):
    """An envelope, or the trust it was checked against, that cannot be accepted; ``reason`` says why."""

    def __init__(self, reason: EnvelopeReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


# --- JSON ----------------------------------------------------------------------------------------------


class JsonRefused(ValueError):
    """Bytes that are not exactly one strict JSON value. The message says what is wrong."""


@dataclass(frozen=True, slots=True)
class RefusedNumber:
    """A JSON number, kept only as its text: nothing the house signs contains one."""

    text: str


def read_json(data: bytes) -> JsonValue:
    """The one JSON value (RFC 8259) in ``data``: UTF-8, no duplicate members, nothing behind it.

    Numbers come back as :class:`RefusedNumber`. Raises :class:`JsonRefused`.
    """
    try:
        value = json.loads(
            data.decode(),
            object_pairs_hook=_distinct_members,
            parse_int=RefusedNumber,
            parse_float=RefusedNumber,
            parse_constant=_no_constant,
        )
        json.dumps(value, ensure_ascii=False, default=lambda number: number.text).encode()
    except RecursionError:
        raise JsonRefused("the JSON is nested too deeply") from None
    except UnicodeEncodeError:
        raise JsonRefused("the JSON holds half a surrogate pair") from None
    except ValueError as error:
        raise JsonRefused(str(error)) from None
    return cast(JsonValue, value)


def canonical_json(value: JsonValue) -> bytes:
    """``value`` as UTF-8 JSON with sorted members, no spaces and nothing escaped without need."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def _distinct_members(members: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {}
    for name, value in members:
        if name in found:
            raise JsonRefused(f"the member {name!r} stands twice in one object")
        found[name] = value
    return found


def _no_constant(text: str) -> NoReturn:
    raise JsonRefused(f"{text} is no JSON")


# --- keys ----------------------------------------------------------------------------------------------


class Scheme(Enum):
    """Signature schemes of envelopes; the value is the word used in a policy file."""

    ED25519 = "ed25519"
    P256 = "p256"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A key that may sign envelopes. ``raw`` is its one spelling: 32 bytes, or the DER key info for P-256.

    Raises on construction: ``KeyRefused`` of ``ledger.checkpoint`` for an unsound Ed25519 key,
    :class:`EnvelopeRefused` (``KEY_FORM``) for anything but a canonically written P-256 key.
    """

    scheme: Scheme
    raw: bytes

    def __post_init__(self) -> None:
        match self.scheme:
            case Scheme.ED25519:
                require_sound_ed25519(self.raw)
            case Scheme.P256:
                _load_p256(self.raw)

    @property
    def key_id(self) -> str:
        """Hex SHA-256 of the key's DER SubjectPublicKeyInfo: a hint for readers, never trusted here."""
        if self.scheme is Scheme.P256:
            return hashlib.sha256(self.raw).hexdigest()
        return hashlib.sha256(_key_info(Ed25519PublicKey.from_public_bytes(self.raw))).hexdigest()

    def accepts(self, signature: bytes, message: bytes) -> bool:
        """Whether ``signature`` is this key's over ``message``."""
        try:
            match self.scheme:
                case Scheme.ED25519:
                    Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
                case Scheme.P256:
                    _load_p256(self.raw).verify(signature, message, _ECDSA)
        except InvalidSignature:
            return False
        return True


class SignerAway(Exception):
    """A key cannot sign now: its device is not there, or does not answer. The message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Something that signs for ``public_key``: a private key, or a device that holds one.

    ``sign`` raises :class:`SignerAway` if the key cannot be used now.
    """

    public_key: PublicKey
    sign: Callable[[bytes], bytes]


def ed25519_signer(private_key: Ed25519PrivateKey) -> Signer:
    """Signer of an Ed25519 key; the same bytes always give the same signature."""
    raw = private_key.public_key().public_bytes_raw()
    return Signer(public_key=PublicKey(scheme=Scheme.ED25519, raw=raw), sign=private_key.sign)


def p256_signer(private_key: ec.EllipticCurvePrivateKey) -> Signer:
    """Signer of a P-256 key; nonces as in RFC 6979, so the same bytes always give the same signature.

    Raises :class:`EnvelopeRefused` (``KEY_FORM``) for another curve.
    """
    public_key = PublicKey(scheme=Scheme.P256, raw=_key_info(private_key.public_key()))
    ecdsa = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
    return Signer(public_key=public_key, sign=lambda message: private_key.sign(message, ecdsa))


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleKey:
    """The one key of one role of the house, such as risk, operations or compliance."""

    role: str
    key: PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustSet:
    """Who may sign, and how many of them must: ``threshold`` distinct ``keys``, each of another role.

    Raises :class:`EnvelopeRefused` on construction: ``TRUST_SIZE`` (1 to 16 keys), ``KEY_REPEATED``,
    ``ROLE_REPEATED``, ``TRUST_THRESHOLD`` (1 to the number of keys).
    """

    keys: tuple[RoleKey, ...]
    threshold: int

    def __post_init__(self) -> None:
        count = len(self.keys)
        if not 1 <= count <= MAX_TRUSTED_KEYS:
            raise EnvelopeRefused(
                EnvelopeReason.TRUST_SIZE, f"a trust set has 1 to {MAX_TRUSTED_KEYS} keys, not {count}"
            )
        if len({member.key for member in self.keys}) != count:
            raise EnvelopeRefused(EnvelopeReason.KEY_REPEATED, "one public key stands twice in the trust set")
        if len({member.role for member in self.keys}) != count:
            raise EnvelopeRefused(EnvelopeReason.ROLE_REPEATED, "one role stands twice in the trust set")
        if not 1 <= self.threshold <= count:
            raise EnvelopeRefused(
                EnvelopeReason.TRUST_THRESHOLD, f"a threshold of {self.threshold} does not fit {count} keys"
            )


# --- envelopes -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One signature of an envelope; ``key_id`` is an unauthenticated hint and may be absent."""

    key_id: str | None
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A payload, its type and its signatures. Nothing in it is verified yet.

    Raises :class:`EnvelopeRefused` on construction: ``PAYLOAD_TYPE``, ``SIGNATURE_COUNT`` (1 to 16).
    """

    payload: bytes
    payload_type: str
    signatures: tuple[Signature, ...]

    def __post_init__(self) -> None:
        if self.payload_type != PAYLOAD_TYPE:
            raise EnvelopeRefused(EnvelopeReason.PAYLOAD_TYPE, f"the payload type is not {PAYLOAD_TYPE}")
        if not 1 <= len(self.signatures) <= MAX_SIGNATURES:
            raise EnvelopeRefused(
                EnvelopeReason.SIGNATURE_COUNT, f"an envelope has 1 to {MAX_SIGNATURES} signatures"
            )


VerifiedPayload = NewType("VerifiedPayload", bytes)
"""Payload bytes that enough trusted keys signed. Only :func:`open_envelope` makes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedEnvelope:
    """A verified payload and the roles that signed it, in the order of the trust set."""

    payload: VerifiedPayload
    roles: tuple[str, ...]


def pae(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are signed: ``DSSEv1 <length> <type> <length> <payload>`` (DSSE v1.0.2, PAE)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(
    payload: bytes, payload_type: str, signers: Sequence[Signer], *, at_least: int | None = None
) -> bytes:
    """The canonical envelope over ``payload`` with one signature of each of the ``signers`` that are there, in order.

    Raises :class:`SignerAway` if fewer than ``at_least`` are there (without it, if one is not), and
    :class:`EnvelopeRefused`: ``PAYLOAD_TYPE``, ``SIGNATURE_COUNT``, ``KEY_REPEATED``, ``TOO_LONG``.
    """
    if len({signer.public_key for signer in signers}) != len(signers):
        raise EnvelopeRefused(EnvelopeReason.KEY_REPEATED, "one key would sign this envelope twice")
    message = pae(payload_type, payload)
    signatures, away = _signatures(message, signers)
    needed = len(signers) if at_least is None else at_least
    if len(signatures) < needed:
        why = "; ".join(away) or "no more keys are known"
        raise SignerAway(f"{len(signatures)} keys signed, {needed} must: {why}")
    return serialise(Envelope(payload=payload, payload_type=payload_type, signatures=signatures))


def serialise(envelope: Envelope) -> bytes:
    """``envelope`` as canonical JSON with standard base64 (DSSE v1.0.2, JSON envelope).

    Raises :class:`EnvelopeRefused` (``TOO_LONG``) beyond 4,000,000 bytes.
    """
    members: dict[str, JsonValue] = {
        "payload": base64.b64encode(envelope.payload).decode(),
        "payloadType": envelope.payload_type,
        "signatures": [_signature_members(signature) for signature in envelope.signatures],
    }
    data = canonical_json(members)
    _require_length(data)
    return data


def parse(data: bytes) -> Envelope:
    """The envelope that ``data`` spells. Says nothing about who signed it.

    Raises :class:`EnvelopeRefused`: ``TOO_LONG``, ``NOT_JSON``, ``MEMBER`` (missing or of another kind),
    ``BASE64``, ``PAYLOAD_TYPE``, ``SIGNATURE_COUNT``.
    """
    _require_length(data)
    try:
        members = _object(read_json(data))
    except JsonRefused as refused:
        raise EnvelopeRefused(EnvelopeReason.NOT_JSON, str(refused)) from None
    signatures = members.get("signatures")
    if not isinstance(signatures, list):
        raise EnvelopeRefused(EnvelopeReason.MEMBER, "signatures must be a list")
    return Envelope(
        payload=_bytes(members, "payload"),
        payload_type=_string(members, "payloadType"),
        signatures=tuple(_parse_signature(_object(signature)) for signature in signatures),
    )


def open_envelope(envelope_bytes: bytes, trust: TrustSet) -> OpenedEnvelope:
    """The payload that at least ``trust.threshold`` trusted keys signed, and in which roles.

    Raises :class:`EnvelopeRefused`: all reasons of :func:`parse`, and ``THRESHOLD_NOT_MET``.
    """
    envelope = parse(envelope_bytes)
    message = pae(envelope.payload_type, envelope.payload)
    roles = tuple(member.role for member in trust.keys if _signed(member.key, message, envelope.signatures))
    if len(roles) < trust.threshold:
        raise EnvelopeRefused(
            EnvelopeReason.THRESHOLD_NOT_MET,
            f"{len(roles)} trusted keys signed ({', '.join(roles) or 'none'}), {trust.threshold} are needed",
        )
    return OpenedEnvelope(payload=VerifiedPayload(envelope.payload), roles=roles)


def verify(envelope_bytes: bytes, trust: TrustSet) -> VerifiedPayload:
    """The payload alone of :func:`open_envelope`, with its errors."""
    return open_envelope(envelope_bytes, trust).payload


def _signatures(message: bytes, signers: Sequence[Signer]) -> tuple[tuple[Signature, ...], list[str]]:
    """Those of the signers that are there, and why the others are not."""
    made, away = [], []
    for signer in signers:
        try:
            made.append(Signature(key_id=signer.public_key.key_id, signature=signer.sign(message)))
        except SignerAway as error:
            away.append(str(error))
    return tuple(made), away


def _signed(key: PublicKey, message: bytes, signatures: Sequence[Signature]) -> bool:
    return any(key.accepts(signature.signature, message) for signature in signatures)


def _signature_members(signature: Signature) -> JsonValue:
    members: dict[str, JsonValue] = {"sig": base64.b64encode(signature.signature).decode()}
    if signature.key_id is not None:
        members["keyid"] = signature.key_id
    return members


def _parse_signature(members: dict[str, JsonValue]) -> Signature:
    key_id = _string(members, "keyid") if "keyid" in members else None
    return Signature(key_id=key_id or None, signature=_bytes(members, "sig"))


def _object(value: JsonValue) -> dict[str, JsonValue]:
    if not isinstance(value, dict):
        raise EnvelopeRefused(EnvelopeReason.MEMBER, "an envelope and each of its signatures is an object")
    return value


def _string(members: dict[str, JsonValue], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise EnvelopeRefused(EnvelopeReason.MEMBER, f"{name} must be a string")
    return value


def _bytes(members: dict[str, JsonValue], name: str) -> bytes:
    text = _string(members, name)
    try:
        return decode_base64(text if {*"+/"} & {*text} else text.translate(_TO_STANDARD))
    except ValueError:
        raise EnvelopeRefused(EnvelopeReason.BASE64, f"{name} is not canonical base64") from None


def _require_length(data: bytes) -> None:
    if len(data) > MAX_ENVELOPE_BYTES:
        raise EnvelopeRefused(
            EnvelopeReason.TOO_LONG, f"an envelope has at most {MAX_ENVELOPE_BYTES} bytes, not {len(data)}"
        )


def _key_info(key: Ed25519PublicKey | ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _load_p256(raw: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_der_public_key(raw)
    except (ValueError, UnsupportedAlgorithm):
        raise EnvelopeRefused(EnvelopeReason.KEY_FORM, "this is no DER public key") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise EnvelopeRefused(EnvelopeReason.KEY_FORM, "this key is not on the curve P-256")
    if _key_info(key) != raw:
        raise EnvelopeRefused(EnvelopeReason.KEY_FORM, "this P-256 key is not written in its canonical way")
    return key
