"""Policy files: whom a verifier believes about one log.

One directive a line; empty lines and lines that start with ``#`` are skipped, items are separated by spaces
or tabs, as in C2SP tlog-policy, whose ``log`` line this is::

    origin <origin>
    log <vkey>
    signer <role> ed25519:<base64 of 32 bytes>
    signer <role> p256:<base64 of the DER SubjectPublicKeyInfo>
    threshold <number>

Rules kept here: one origin, at least one log key, at least one signer, one threshold; each public key stands
once among the log keys and once among the signers, each role once. What is wrong is named with its line.
"""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from clearing.attest.envelope import EnvelopeRefused, PublicKey, RoleKey, Scheme, TrustSet
from ledger.checkpoint import (
    Checkpoint,
    KeyRefused,
    NoteRefused,
    VerifierKey,
    decode_base64,
    format_vkey,
    parse_vkey,
    require_distinct_keys,
)
from ledger.merkle import EMPTY_ROOT

MAX_POLICY_BYTES = 1_000_000
MAX_LOG_KEYS = 32

_BLANKS = " \t"
_ROLE = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_THRESHOLD = re.compile(r"[1-9][0-9]{0,2}")


class PolicyReason(Enum):
    """Why a policy was refused; the values are stable."""

    TOO_LONG = "policy_too_long"
    NOT_TEXT = "policy_not_text"
    DIRECTIVE = "unknown_directive"
    FORM = "directive_form"
    REPEATED = "directive_repeated"
    MISSING = "directive_missing"
    ORIGIN = "origin"
    LOG_KEY = "log_key"
    SIGNER = "signer"
    ROLE = "role"
    THRESHOLD = "threshold"
    TRUST = "trust"


class PolicyRefused(ValueError):
    """A policy that cannot be used; ``reason`` says why, ``line`` where (from 1; 0 is the whole file)."""

    def __init__(self, reason: PolicyReason, line: int, sentence: str) -> None:
        super().__init__(f"line {line}: {sentence}" if line else sentence)
        self.reason = reason
        self.line = line


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The log ``origin``, the keys its checkpoints may be signed with, and who signs attestations.

    Raises :class:`PolicyRefused` on construction (line 0): ``ORIGIN``, ``LOG_KEY`` (1 to 32 distinct keys),
    ``ROLE``.
    """

    origin: str
    log_keys: tuple[VerifierKey, ...]
    trust: TrustSet

    def __post_init__(self) -> None:
        _require_origin(self.origin, 0)
        if not 1 <= len(self.log_keys) <= MAX_LOG_KEYS:
            raise PolicyRefused(PolicyReason.LOG_KEY, 0, f"a policy names 1 to {MAX_LOG_KEYS} log keys")
        try:
            require_distinct_keys(self.log_keys)
        except KeyRefused as refused:
            raise PolicyRefused(PolicyReason.LOG_KEY, 0, str(refused)) from None
        for member in self.trust.keys:
            _require_role(member.role, 0)


def parse_policy(data: bytes) -> Policy:
    """The policy in ``data``. Raises :class:`PolicyRefused` for all its reasons, naming the line."""
    draft = _Draft(origins=[], log_keys=[], signers=[], thresholds=[])
    for number, line in enumerate(_lines(data), start=1):
        word, _, rest = line.strip(_BLANKS).replace("\t", " ").partition(" ")
        if not word or word.startswith("#"):
            continue
        if word not in _DIRECTIVES:
            raise PolicyRefused(PolicyReason.DIRECTIVE, number, f"{word} is no directive")
        _DIRECTIVES[word](draft, rest.strip(_BLANKS), number)
    return _finish(draft)


def format_policy(policy: Policy) -> bytes:
    """``policy`` as text that :func:`parse_policy` reads back as the same policy."""
    lines = [
        f"origin {policy.origin}",
        *(f"log {format_vkey(key)}" for key in policy.log_keys),
        *(f"signer {member.role} {format_public_key(member.key)}" for member in policy.trust.keys),
        f"threshold {policy.trust.threshold}",
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def format_public_key(key: PublicKey) -> str:
    """``<scheme>:<base64>`` of a signer's key, as policy files spell it."""
    return f"{key.scheme.value}:{base64.b64encode(key.raw).decode()}"


def parse_public_key(text: str) -> PublicKey:
    """The key that ``text`` spells as :func:`format_public_key` does.

    Raises ``ValueError``, also as :class:`EnvelopeRefused` or ``KeyRefused`` for an unsound key.
    """
    scheme, _, encoded = text.partition(":")
    return PublicKey(scheme=Scheme(scheme), raw=decode_base64(encoded))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """What the lines read so far have said."""

    origins: list[str]
    log_keys: list[VerifierKey]
    signers: list[RoleKey]
    thresholds: list[int]


def _add_origin(draft: _Draft, origin: str, line: int) -> None:
    if draft.origins:
        raise PolicyRefused(PolicyReason.REPEATED, line, "origin stands here again")
    _require_origin(origin, line)
    draft.origins.append(origin)


def _add_log(draft: _Draft, vkey: str, line: int) -> None:
    try:
        key = parse_vkey(vkey)
        require_distinct_keys([*draft.log_keys, key])
    except KeyRefused as refused:
        raise PolicyRefused(PolicyReason.LOG_KEY, line, str(refused)) from None
    draft.log_keys.append(key)


def _add_signer(draft: _Draft, rest: str, line: int) -> None:
    items = rest.split()
    if len(items) != 2:
        raise PolicyRefused(PolicyReason.FORM, line, "write: signer <role> <scheme>:<base64>")
    role, key = items
    _require_role(role, line)
    try:
        signer = RoleKey(role=role, key=parse_public_key(key))
    except ValueError as refused:
        raise PolicyRefused(PolicyReason.SIGNER, line, f"the key of {role}: {refused}") from None
    if any(signer.role == known.role or signer.key == known.key for known in draft.signers):
        raise PolicyRefused(PolicyReason.REPEATED, line, f"the role {role} or its key stands here again")
    draft.signers.append(signer)


def _add_threshold(draft: _Draft, number: str, line: int) -> None:
    if draft.thresholds:
        raise PolicyRefused(PolicyReason.REPEATED, line, "threshold stands here again")
    if not _THRESHOLD.fullmatch(number):
        raise PolicyRefused(PolicyReason.THRESHOLD, line, "a threshold is a whole number from 1")
    draft.thresholds.append(int(number))


_DIRECTIVES: Mapping[str, Callable[[_Draft, str, int], None]] = {
    "origin": _add_origin,
    "log": _add_log,
    "signer": _add_signer,
    "threshold": _add_threshold,
}


def _finish(draft: _Draft) -> Policy:
    said = {
        "origin": draft.origins,
        "log": draft.log_keys,
        "signer": draft.signers,
        "threshold": draft.thresholds,
    }
    for word, found in said.items():
        if not found:
            raise PolicyRefused(PolicyReason.MISSING, 0, f"the policy has no {word} line")
    try:
        trust = TrustSet(keys=tuple(draft.signers), threshold=draft.thresholds[0])
    except EnvelopeRefused as refused:
        raise PolicyRefused(PolicyReason.TRUST, 0, str(refused)) from None
    return Policy(origin=draft.origins[0], log_keys=tuple(draft.log_keys), trust=trust)


def _lines(data: bytes) -> list[str]:
    if len(data) > MAX_POLICY_BYTES:
        raise PolicyRefused(PolicyReason.TOO_LONG, 0, f"a policy has at most {MAX_POLICY_BYTES} bytes")
    try:
        return data.decode().split("\n")
    except UnicodeDecodeError:
        raise PolicyRefused(PolicyReason.NOT_TEXT, 0, "a policy is UTF-8 text") from None


def _require_origin(origin: str, line: int) -> None:
    """An origin is what a checkpoint accepts, without blanks around it, so that a line can spell it."""
    try:
        Checkpoint(origin=origin, size=0, root=EMPTY_ROOT)
    except NoteRefused as refused:
        raise PolicyRefused(PolicyReason.ORIGIN, line, str(refused)) from None
    if origin.strip(_BLANKS) != origin:
        raise PolicyRefused(PolicyReason.ORIGIN, line, "an origin has no blanks around it")


def _require_role(role: str, line: int) -> None:
    if not _ROLE.fullmatch(role):
        raise PolicyRefused(PolicyReason.ROLE, line, f"{role!r} is no role: lower-case letters first")
