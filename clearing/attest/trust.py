"""The trust root: whom verifiers believe, and how that changes (TUF root metadata; the extra ``trust``).

Rules kept here (attestation.md §5, ADR 25): version 1 is pinned by whoever verifies. Version n+1 is believed if as many
**trustees** of version n and as many of version n+1 signed it as each asks for, if no version is left out, if it speaks
of the same log, and if it is in force no earlier than version n. The newest must not have expired. Each public key
stands once in a version, whatever it is called, is sound, and is Ed25519 or P-256.

A version is TUF root metadata as it is: the role ``root`` are the trustees, the role ``targets`` the officers and how
many of them sign an attestation; nobody has the roles ``timestamp`` and ``snapshot``. Three fields are our own:
``x-clearing-name`` of a key (an officer's role, a trustee's name), and of the root ``x-clearing-policy``, the policy
without its officers, and ``x-clearing-since``, the time from which its officers sign. All else is in force at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.signer import Key, Signature, SSlibKey
from tuf.api.metadata import Metadata, Role, Root
from tuf.api.serialization import DeserializationError, SerializationError
from tuf.api.serialization.json import JSONSerializer

from clearing.attest.envelope import (
    EnvelopeRefused,
    JsonRefused,
    PublicKey,
    RoleKey,
    Scheme,
    Signer,
    TrustSet,
    read_json,
)
from clearing.attest.policy import (
    Earlier,
    Policy,
    PolicyRefused,
    format_policy,
    format_public_key,
    parse_policy,
)
from clearing.attest.statement import format_time, parse_time
from ledger.checkpoint import KeyRefused

MAX_ROOT_BYTES = 512_000
MAX_VERSIONS = 256

_NAME, _POLICY, _SINCE = "x-clearing-name", "x-clearing-policy", "x-clearing-since"
_TRUSTEES, _OFFICERS = "root", "targets"
_NOBODY = ("timestamp", "snapshot")
_OF_OFFICERS = ("signer", "threshold")
_SCHEMES = {"ed25519": Scheme.ED25519, "ecdsa-sha2-nistp256": Scheme.P256}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class TrustReason(Enum):
    """Why a trust root was refused; the values are stable."""

    TOO_LONG = "root_too_long"
    NOT_JSON = "root_not_json"
    FORM = "root_form"
    KEY = "root_key"
    KEY_REPEATED = "root_key_repeated"
    THRESHOLD = "root_threshold"
    POLICY = "root_policy"
    NOT_SIGNED = "root_not_signed"
    NOT_SIGNED_BY_EARLIER = "root_not_signed_by_earlier"
    VERSION = "root_version"
    ORIGIN = "root_origin"
    SINCE = "root_since"
    EXPIRED = "root_expired"
    TOO_MANY = "root_versions"
    NO_TRUSTEE = "no_trustee"


class TrustRefused(ValueError):
    """A trust root that cannot be believed or made; ``reason`` says why."""

    def __init__(self, reason: TrustReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What one version says. Nothing about it is verified until :func:`verify_chain` has taken it.

    ``policy`` is what it asks verifiers to believe, of its own officers alone; they sign from ``since_ms`` on.
    """

    number: int
    expires_ms: int
    since_ms: int
    policy: Policy
    trustees: TrustSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Verified versions without a gap, oldest first."""

    versions: tuple[Version, ...]

    @property
    def newest(self) -> Version:
        """The version that is in force."""
        return self.versions[-1]

    @property
    def policy(self) -> Policy:
        """What to believe: the newest version, and of the others who the officers were, each in its time."""
        following = zip(self.versions, self.versions[1:], strict=False)
        newest = self.newest.policy
        return replace(
            newest,
            earlier=tuple(Earlier(trust=one.policy.trust, until_ms=n.since_ms) for one, n in following),
            since_ms=self.versions[0].since_ms,
        )


# --- believing -----------------------------------------------------------------------------------------


def verify_chain(roots: Sequence[bytes], now_ms: int | None) -> Chain:
    """The versions in ``roots``, of which the first is pinned; the newest must not have expired at ``now_ms``.

    Raises :class:`TrustRefused`.
    """
    if not 1 <= len(roots) <= MAX_VERSIONS:
        raise TrustRefused(TrustReason.TOO_MANY, f"a trust root has 1 to {MAX_VERSIONS} versions")
    found: list[_Read] = []
    for data in roots:
        one = _read(data)
        _require_signed(one, one, TrustReason.NOT_SIGNED)
        if found:
            require_follows(found[-1].version, one.version)
            _require_signed(found[-1], one, TrustReason.NOT_SIGNED_BY_EARLIER)
        found.append(one)
    chain = Chain(versions=tuple(one.version for one in found))
    newest = chain.newest
    if now_ms is not None and now_ms >= newest.expires_ms:
        until = format_time(newest.expires_ms)
        raise TrustRefused(TrustReason.EXPIRED, f"version {newest.number} was good until {until}")
    return chain


def read(data: bytes) -> Version:
    """What a version says, be it signed or not. Raises :class:`TrustRefused`."""
    return _read(data).version


def require_follows(last: Version, version: Version) -> None:
    """Return if ``version`` may stand after ``last``, whoever signed it. Raises :class:`TrustRefused`."""
    if version.number != last.number + 1:
        raise TrustRefused(
            TrustReason.VERSION, f"version {version.number} stands after version {last.number}"
        )
    if version.policy.origin != last.policy.origin:
        raise TrustRefused(
            TrustReason.ORIGIN, f"{version.policy.origin} is another log than {last.policy.origin}"
        )
    if version.since_ms < last.since_ms:
        raise TrustRefused(
            TrustReason.SINCE,
            f"the officers of version {version.number} would sign before those of version {last.number}, "
            f"from {format_time(version.since_ms)} on",
        )


def missing(data: bytes, before: bytes | None) -> tuple[tuple[str, ...], int]:
    """Which trustees have signed a version, and how many signatures more it needs to be believed.

    ``before`` is the version before it, unless it is the first. Raises :class:`TrustRefused`.
    """
    one = _read(data)
    earlier = [] if before is None else [_read(before)]
    signed: dict[str, None] = {}
    needed = 0
    for judge in (*earlier, one):
        names = _signers(judge, one)
        signed.update(dict.fromkeys(names))
        needed = max(needed, judge.version.trustees.threshold - len(names))
    return tuple(signed), needed


# --- making --------------------------------------------------------------------------------------------


def write(version: Version) -> bytes:
    """``version`` as TUF root metadata that nobody has signed yet. Raises :class:`TrustRefused`."""
    root = Root(
        version=version.number,
        expires=_EPOCH + version.expires_ms * _MILLISECOND,
        roles={
            _TRUSTEES: Role([], version.trustees.threshold),
            _OFFICERS: Role([], version.policy.trust.threshold),
            **{role: Role([], 1) for role in _NOBODY},
        },
        unrecognized_fields={
            _POLICY: _without_officers(version.policy),
            _SINCE: format_time(version.since_ms),
        },
    )
    for role, trust in ((_TRUSTEES, version.trustees), (_OFFICERS, version.policy.trust)):
        for member in trust.keys:
            root.add_key(_tuf_key(member), role)
    data = _written(Metadata(root))
    if _read(data).version != version:
        raise TrustRefused(TrustReason.FORM, "what was written does not read back as it was meant")
    return data


def add_signature(data: bytes, signer: Signer, before: bytes | None) -> bytes:
    """A version with the signature of one trustee more, of it or of the version ``before`` it.

    Raises :class:`TrustRefused` (also ``NO_TRUSTEE``) and ``SignerAway``.
    """
    one = _read(data)
    judges = [one] if before is None else [_read(before), one]
    found = {
        key_id
        for judge in judges
        for key_id in judge.root.roles[_TRUSTEES].keyids
        if _public_key(judge.root.keys[key_id]) == signer.public_key
    }
    if not found:
        raise TrustRefused(TrustReason.NO_TRUSTEE, "this key is no trustee's: its signature would not count")
    signature = signer.sign(one.signed).hex()
    for key_id in sorted(found):
        one.metadata.signatures[key_id] = Signature(key_id, signature)
    return _written(one.metadata)


# --- TUF's form ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """A version as TUF has it, the bytes that are signed, and what it says."""

    metadata: Metadata[Root]
    signed: bytes
    version: Version

    @property
    def root(self) -> Root:
        return self.metadata.signed


def _read(data: bytes) -> _Read:
    if len(data) > MAX_ROOT_BYTES:
        raise TrustRefused(TrustReason.TOO_LONG, f"a version has at most {MAX_ROOT_BYTES} bytes")
    try:
        read_json(data)  # TUF's own reader takes the last of two equal members
    except JsonRefused as refused:
        raise TrustRefused(TrustReason.NOT_JSON, str(refused)) from None
    try:
        metadata = Metadata[Root].from_bytes(data)
        if not isinstance(metadata.signed, Root):
            raise TrustRefused(TrustReason.FORM, "this is TUF metadata of another role than root")
        return _Read(metadata=metadata, signed=metadata.signed_bytes, version=_version_of(metadata.signed))
    except (DeserializationError, SerializationError) as error:
        raise TrustRefused(TrustReason.FORM, f"this is no TUF root metadata: {error}") from None


def _version_of(root: Root) -> Version:
    counts = (root.version, *(role.threshold for role in root.roles.values()))
    if any(type(count) is not int for count in counts):
        raise TrustRefused(TrustReason.FORM, "version and thresholds are whole numbers")
    if len({_public_key(key) for key in root.keys.values()}) != len(root.keys):
        raise TrustRefused(TrustReason.KEY_REPEATED, "one public key stands twice, under two ids")
    return Version(
        number=root.version,
        expires_ms=(root.expires - _EPOCH) // _MILLISECOND,
        since_ms=_since(root),
        policy=_policy(root),
        trustees=_trust(root, _TRUSTEES),
    )


def _since(root: Root) -> int:
    try:
        return parse_time(_text(root.unrecognized_fields, _SINCE))
    except ValueError as error:
        raise TrustRefused(TrustReason.SINCE, f"{_SINCE}: {error}") from None


def _policy(root: Root) -> Policy:
    """The policy that the version carries, with the officers of the role ``targets``."""
    text, officers = _text(root.unrecognized_fields, _POLICY), _trust(root, _OFFICERS)
    if any(line.split()[:1] in ([word] for word in _OF_OFFICERS) for line in text.splitlines()):
        raise TrustRefused(TrustReason.POLICY, f"{_POLICY} names officers; they are the role {_OFFICERS}")
    lines = [f"signer {one.role} {format_public_key(one.key)}\n" for one in officers.keys]
    try:
        return parse_policy(f"{text}{''.join(lines)}threshold {officers.threshold}\n".encode())
    except PolicyRefused as refused:
        raise TrustRefused(TrustReason.POLICY, f"{_POLICY}: {refused}") from None


def _without_officers(policy: Policy) -> str:
    lines = format_policy(policy).decode().splitlines(keepends=True)
    return "".join(line for line in lines if line.split()[0] not in _OF_OFFICERS)


def _trust(root: Root, role: str) -> TrustSet:
    """The keys of a TUF role with our names for them, and its threshold."""
    members = []
    for key_id in root.roles[role].keyids:
        if key_id not in root.keys:
            raise TrustRefused(TrustReason.FORM, f"the role {role} has a key that the version does not have")
        key = root.keys[key_id]
        members.append(RoleKey(role=_text(key.unrecognized_fields, _NAME), key=_public_key(key)))
    try:
        return TrustSet(keys=tuple(members), threshold=root.roles[role].threshold)
    except EnvelopeRefused as refused:
        raise TrustRefused(TrustReason.THRESHOLD, f"the role {role}: {refused}") from None


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise TrustRefused(TrustReason.FORM, f"{name} is missing, or no text")
    return value


def _public_key(key: Key) -> PublicKey:
    """The key that TUF's form spells, if it may be trusted."""
    if key.scheme not in _SCHEMES:
        raise TrustRefused(TrustReason.KEY, f"keys are Ed25519 or P-256, not {key.scheme}")
    spelt = key.keyval.get("public", "")
    try:
        if key.scheme == "ed25519":
            return PublicKey(scheme=Scheme.ED25519, raw=bytes.fromhex(spelt))
        info = serialization.load_pem_public_key(spelt.encode()).public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return PublicKey(scheme=Scheme.P256, raw=info)
    except (ValueError, KeyRefused, EnvelopeRefused) as refused:
        raise TrustRefused(TrustReason.KEY, f"the key {key.keyid[:8]}…: {refused}") from None


def _tuf_key(member: RoleKey) -> SSlibKey:
    """A key as TUF spells it, with our name for it."""
    if member.key.scheme is Scheme.ED25519:
        key = SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(member.key.raw))
    else:
        key = SSlibKey.from_crypto(serialization.load_der_public_key(member.key.raw))
    key.unrecognized_fields[_NAME] = member.role
    return key


def _written(metadata: Metadata[Root]) -> bytes:
    return metadata.to_bytes(JSONSerializer(compact=False)) + b"\n"


# --- judging -------------------------------------------------------------------------------------------


def _signers(judge: _Read, one: _Read) -> tuple[str, ...]:
    """The trustees of ``judge`` that have signed ``one``."""
    result = judge.root.get_verification_result(_TRUSTEES, one.signed, one.metadata.signatures)
    return tuple(_text(key.unrecognized_fields, _NAME) for key in result.signed.values())


def _require_signed(judge: _Read, one: _Read, reason: TrustReason) -> None:
    found, needed = _signers(judge, one), judge.version.trustees.threshold
    if len(found) < needed:
        raise TrustRefused(
            reason,
            f"version {one.version.number} is signed by {len(found)} trustees of version {judge.version.number} "
            f"({', '.join(found) or 'none'}), {needed} are needed",
        )
