"""Policy files: whom a verifier believes about one log.

One directive a line; empty lines and lines that start with ``#`` are skipped, items are separated by spaces
or tabs, as in C2SP tlog-policy, whose lines these are but for ``origin``, ``signer`` and ``threshold``::

    origin <origin>
    log <vkey> [<url>]
    witness <name> <vkey> [<url>]
    group <name> <number>|any|all <name of a witness or group>...
    quorum <name of a witness or group>|none
    signer <role> ed25519:<base64 of 32 bytes>
    signer <role> p256:<base64 of the DER SubjectPublicKeyInfo>
    threshold <number>

Rules kept here: one origin, at least one log key, at least one signer, one threshold; each public key stands
once among the log keys, once among the witnesses and the log keys together, and once among the signers, each
role once. What is wrong is named with its line.

Of witnesses (C2SP tlog-policy): a group and the quorum name what stands above them; a name is given once and is
a member of one group at most, so that each witness counts in one way; where there are witnesses there is one
quorum line. A policy without witnesses may leave it out, and asks for none. Narrower than that specification:
the text is UTF-8, and a log's own key is no witness of it.

:func:`open_checkpoint` opens a checkpoint as the policy wants it: signed by the log, cosigned by the quorum.
"""

import base64
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from clearing.attest.envelope import (
    MAX_TRUSTED_KEYS,
    EnvelopeRefused,
    PublicKey,
    RoleKey,
    Scheme,
    TrustSet,
)
from ledger.checkpoint import (
    COSIGNER_TYPES,
    LOG_TYPES,
    Checkpoint,
    Cosignature,
    KeyRefused,
    NoteReason,
    NoteRefused,
    VerifiedCheckpoint,
    VerifierKey,
    decode_base64,
    format_vkey,
    open_note,
    parse_note,
    parse_vkey,
    require_distinct_keys,
    verify_cosignatures,
)
from ledger.merkle import EMPTY_ROOT

MAX_POLICY_BYTES = 1_000_000
MAX_LOG_KEYS = 32
MAX_WITNESSES = 32
MAX_GROUPS = 32
NO_WITNESS = "none"
"""The quorum that asks for no witness."""
SHOWN_MAX = 64
"""So much of a word that is refused is shown."""

_BLANKS = " \t"
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
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
    WITNESS = "witness"
    GROUP = "group"
    QUORUM = "quorum"
    NAME = "name"
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
class Earlier:
    """Who signed attestations as of times before ``until_ms``, as an earlier version of a trust root says."""

    trust: TrustSet
    until_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """Who cosigns: ``name`` is for this policy alone, ``key`` is the witness, ``url`` (perhaps empty) is where it is
    asked: the submission prefix of C2SP tlog-witness.
    """

    name: str
    key: VerifierKey
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group of witnesses and groups, which has witnessed what at least ``needed`` of ``members`` have."""

    name: str
    needed: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The log ``origin``, the keys its checkpoints may be signed with, who signs attestations, and who has to have
    cosigned a checkpoint: ``quorum`` names a witness or a group. ``log_urls`` goes with ``log_keys`` or is empty.

    A policy that comes from a trust root also knows the officers before the present ones, ``earlier`` ones first, and
    nothing of times before ``since_ms``. A file spells only the present ones.

    Raises :class:`PolicyRefused` on construction (line 0): ``ORIGIN``, ``LOG_KEY`` (1 to 32 distinct keys),
    ``ROLE``, and what :func:`parse_policy` refuses of witnesses, groups and the quorum.
    """

    origin: str
    log_keys: tuple[VerifierKey, ...]
    trust: TrustSet
    log_urls: tuple[str, ...] = ()
    witnesses: tuple[Witness, ...] = ()
    groups: tuple[Group, ...] = ()
    quorum: str = NO_WITNESS
    earlier: tuple[Earlier, ...] = ()
    since_ms: int = 0

    def __post_init__(self) -> None:
        _require_origin(self.origin, 0)
        _require_log_keys(self.log_keys, 0)
        if len(self.log_urls) not in {0, len(self.log_keys)}:
            raise PolicyRefused(PolicyReason.LOG_KEY, 0, "each log key has its place for a url")
        for member in self.trust.keys:
            _require_role(member.role, 0)
        for number, witness in enumerate(self.witnesses):
            _require_witness(witness, self.witnesses[:number], self.groups, self.log_keys, 0)
        for number, group in enumerate(self.groups):
            _require_group(group, self.witnesses, self.groups[:number], 0)
        _require_quorum(self.quorum, self.witnesses, self.groups, 0)

    def trust_at(self, as_of_ms: int) -> TrustSet | None:
        """Whose signatures count under an attestation as of ``as_of_ms``; None before anything is known."""
        if as_of_ms < self.since_ms:
            return None
        return next((one.trust for one in self.earlier if as_of_ms < one.until_ms), self.trust)

    @property
    def asks_for_witnesses(self) -> bool:
        """Whether a checkpoint has to be cosigned."""
        return self.quorum != NO_WITNESS

    def quorum_met(self, cosigners: Iterable[VerifierKey]) -> bool:
        """Whether those of ``cosigners`` whom the policy names are as many as it asks for."""
        return not self.missing(cosigners)

    def missing(self, cosigners: Iterable[VerifierKey]) -> str:
        """Whom the quorum lacks beside ``cosigners``, for people; empty if it is met."""
        keys = {key.raw for key in cosigners}  # by public key, whatever name it goes by
        witnessed = {witness.name for witness in self.witnesses if witness.key.raw in keys} | {NO_WITNESS}
        lacking: dict[str, str] = {}
        for group in self.groups:
            missing = [member for member in group.members if member not in witnessed]
            found = len(group.members) - len(missing)
            if found >= group.needed:
                witnessed.add(group.name)
                continue
            named = ", ".join(lacking.get(name, name) for name in missing)
            lacking[group.name] = f"{group.name} ({found} of {group.needed}, missing {named})"
        return "" if self.quorum in witnessed else lacking.get(self.quorum, self.quorum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A checkpoint that the policy accepts, the log keys that signed it, and what its witnesses say."""

    checkpoint: VerifiedCheckpoint
    signers: tuple[VerifierKey, ...]
    cosignatures: tuple[Cosignature, ...]


def open_checkpoint(policy: Policy, data: bytes) -> Opened:
    """The checkpoint of a note that a log key of ``policy`` signed, for its origin, and its quorum cosigned.

    Raises :class:`NoteRefused` for all reasons of ``open_note``, ``BAD_SIGNATURE`` also for the line of a
    witness, ``ORIGIN``, ``NO_QUORUM``.
    """
    opened = open_note(data, policy.log_keys)
    if opened.checkpoint.origin != policy.origin:
        raise NoteRefused(
            NoteReason.ORIGIN, f"speaks of the log {opened.checkpoint.origin}, the policy of {policy.origin}"
        )
    return Opened(
        checkpoint=opened.checkpoint,
        signers=opened.signers,
        cosignatures=require_quorum(policy, data),
    )


def require_quorum(policy: Policy, data: bytes) -> tuple[Cosignature, ...]:
    """What the witnesses of ``policy`` say under the note ``data``; whether the log signed it is not looked at.

    Raises :class:`NoteRefused`: ``NO_QUORUM``, ``BAD_SIGNATURE``, and all reasons of ``parse_note``.
    """
    found = verify_cosignatures(parse_note(data), [witness.key for witness in policy.witnesses])
    lacking = policy.missing(one.key for one in found)
    if lacking:
        raise NoteRefused(NoteReason.NO_QUORUM, f"too few witnesses have cosigned: {lacking}")
    return found


def parse_policy(data: bytes) -> Policy:
    """The policy in ``data``. Raises :class:`PolicyRefused` for all its reasons, naming the line."""
    draft = _Draft()
    for number, line in enumerate(_lines(data), start=1):
        word, _, rest = line.strip(_BLANKS).replace("\t", " ").partition(" ")
        if not word or word.startswith("#"):
            continue
        if word not in _DIRECTIVES:
            raise PolicyRefused(
                PolicyReason.DIRECTIVE, number, f"{ascii(word[:SHOWN_MAX])[1:-1]} is no directive"
            )
        _DIRECTIVES[word](draft, rest.strip(_BLANKS), number)
    return _finish(draft)


def format_policy(policy: Policy) -> bytes:
    """``policy`` as text that :func:`parse_policy` reads back as the same policy, without those before."""
    urls = policy.log_urls or ("",) * len(policy.log_keys)
    lines = [
        f"origin {policy.origin}",
        *(
            f"log {format_vkey(key)} {url}".rstrip(_BLANKS)
            for key, url in zip(policy.log_keys, urls, strict=True)
        ),
        *(f"witness {one.name} {format_vkey(one.key)} {one.url}".rstrip(_BLANKS) for one in policy.witnesses),
        *(f"group {group.name} {group.needed} {' '.join(group.members)}" for group in policy.groups),
        *([f"quorum {policy.quorum}"] if policy.witnesses else []),
        *(f"signer {member.role} {format_public_key(member.key)}" for member in policy.trust.keys),
        f"threshold {policy.trust.threshold}",
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def with_log_keys(
    policy: Policy, *, added: Sequence[VerifierKey] = (), dropped: Collection[VerifierKey] = ()
) -> Policy:
    """``policy`` with other keys of the log; those that stay keep their urls."""
    urls = policy.log_urls or ("",) * len(policy.log_keys)
    kept = [(key, url) for key, url in zip(policy.log_keys, urls, strict=True) if key not in dropped]
    pairs = [*kept, *((key, "") for key in added)]
    found = tuple(url for _, url in pairs)
    return replace(policy, log_keys=tuple(key for key, _ in pairs), log_urls=found if any(found) else ())


def format_public_key(key: PublicKey) -> str:
    """``<scheme>:<base64>`` of a signer's key, as policy files spell it."""
    return f"{key.scheme.value}:{base64.b64encode(key.raw).decode()}"


def parse_public_key(text: str) -> PublicKey:
    """The key that ``text`` spells as :func:`format_public_key` does.

    Raises ``ValueError``, also as :class:`EnvelopeRefused` or ``KeyRefused`` for an unsound key.
    """
    scheme, _, encoded = text.partition(":")
    return PublicKey(scheme=Scheme(scheme), raw=decode_base64(encoded))


@dataclass(frozen=True, slots=True)
class _Draft:
    """What the lines read so far have said."""

    origins: list[str] = field(default_factory=list)
    log_keys: list[VerifierKey] = field(default_factory=list)
    log_urls: list[str] = field(default_factory=list)
    witnesses: list[Witness] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    quorums: list[str] = field(default_factory=list)
    signers: list[RoleKey] = field(default_factory=list)
    thresholds: list[int] = field(default_factory=list)


def _add_origin(draft: _Draft, origin: str, line: int) -> None:
    if draft.origins:
        raise PolicyRefused(PolicyReason.REPEATED, line, "origin stands here again")
    _require_origin(origin, line)
    draft.origins.append(origin)


def _add_log(draft: _Draft, rest: str, line: int) -> None:
    items = _items(rest)
    if len(items) not in {1, 2}:
        raise PolicyRefused(PolicyReason.FORM, line, "write: log <vkey> [<url>]")
    if len(draft.log_keys) == MAX_LOG_KEYS:
        raise PolicyRefused(PolicyReason.LOG_KEY, line, f"a policy names 1 to {MAX_LOG_KEYS} log keys")
    try:
        key = parse_vkey(items[0])
    except KeyRefused as refused:
        raise PolicyRefused(PolicyReason.LOG_KEY, line, str(refused)) from None
    _require_log_keys([*draft.log_keys, key], line)
    _require_no_witness(key, draft.witnesses, line)
    draft.log_keys.append(key)
    draft.log_urls.append("".join(items[1:]))


def _add_witness(draft: _Draft, rest: str, line: int) -> None:
    items = _items(rest)
    if len(items) not in {2, 3}:
        raise PolicyRefused(PolicyReason.FORM, line, "write: witness <name> <vkey> [<url>]")
    try:
        witness = Witness(name=items[0], key=parse_vkey(items[1]), url="".join(items[2:]))
    except KeyRefused as refused:
        raise PolicyRefused(PolicyReason.WITNESS, line, f"the key of {items[0]}: {refused}") from None
    _require_witness(witness, draft.witnesses, draft.groups, draft.log_keys, line)
    draft.witnesses.append(witness)


def _add_group(draft: _Draft, rest: str, line: int) -> None:
    items = _items(rest)
    if len(items) < 3:
        raise PolicyRefused(PolicyReason.FORM, line, "write: group <name> <number>|any|all <name>...")
    name, wanted, *members = items
    needed = {"any": "1", "all": str(len(members))}.get(wanted, wanted)
    if not _THRESHOLD.fullmatch(needed):
        raise PolicyRefused(
            PolicyReason.GROUP, line, "a group needs a whole number of its members, any or all"
        )
    group = Group(name=name, needed=int(needed), members=tuple(members))
    _require_group(group, draft.witnesses, draft.groups, line)
    draft.groups.append(group)


def _add_quorum(draft: _Draft, rest: str, line: int) -> None:
    if draft.quorums:
        raise PolicyRefused(PolicyReason.REPEATED, line, "quorum stands here again")
    items = _items(rest)
    if len(items) != 1:
        raise PolicyRefused(PolicyReason.FORM, line, "write: quorum <name>|none")
    _require_quorum(items[0], draft.witnesses, draft.groups, line)
    draft.quorums.append(items[0])


def _add_signer(draft: _Draft, rest: str, line: int) -> None:
    items = _items(rest)
    if len(items) != 2:
        raise PolicyRefused(PolicyReason.FORM, line, "write: signer <role> <scheme>:<base64>")
    role, key = items
    _require_role(role, line)
    if len(draft.signers) == MAX_TRUSTED_KEYS:
        raise PolicyRefused(PolicyReason.TRUST, line, f"a policy names 1 to {MAX_TRUSTED_KEYS} signers")
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
    "witness": _add_witness,
    "group": _add_group,
    "quorum": _add_quorum,
    "signer": _add_signer,
    "threshold": _add_threshold,
}


def _finish(draft: _Draft) -> Policy:
    said = {
        "origin": draft.origins,
        "log": draft.log_keys,
        "signer": draft.signers,
        "threshold": draft.thresholds,
        "quorum": draft.quorums or not draft.witnesses,
    }
    for word, found in said.items():
        if not found:
            raise PolicyRefused(PolicyReason.MISSING, 0, f"the policy has no {word} line")
    try:
        trust = TrustSet(keys=tuple(draft.signers), threshold=draft.thresholds[0])
    except EnvelopeRefused as refused:
        raise PolicyRefused(PolicyReason.TRUST, 0, str(refused)) from None
    return Policy(
        origin=draft.origins[0],
        log_keys=tuple(draft.log_keys),
        log_urls=tuple(draft.log_urls) if any(draft.log_urls) else (),
        trust=trust,
        witnesses=tuple(draft.witnesses),
        groups=tuple(draft.groups),
        quorum=draft.quorums[0] if draft.quorums else NO_WITNESS,
    )


def _lines(data: bytes) -> list[str]:
    if len(data) > MAX_POLICY_BYTES:
        raise PolicyRefused(PolicyReason.TOO_LONG, 0, f"a policy has at most {MAX_POLICY_BYTES} bytes")
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError:
        raise PolicyRefused(PolicyReason.NOT_TEXT, 0, "a policy is UTF-8 text") from None
    for number, line in enumerate(lines, start=1):
        if _FORBIDDEN.search(line):
            raise PolicyRefused(PolicyReason.NOT_TEXT, number, "a policy has no control characters but tab")
    return lines


def _items(text: str) -> list[str]:
    """What stands between spaces and tabs, and nothing else parts it."""
    return [item for item in text.replace("\t", " ").split(" ") if item]


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
        raise PolicyRefused(
            PolicyReason.ROLE, line, f"{role[:SHOWN_MAX]!r} is no role: lower-case letters first"
        )


def _require_log_keys(keys: Sequence[VerifierKey], line: int) -> None:
    if line == 0 and not 1 <= len(keys) <= MAX_LOG_KEYS:
        raise PolicyRefused(PolicyReason.LOG_KEY, 0, f"a policy names 1 to {MAX_LOG_KEYS} log keys")
    if not {key.type for key in keys} <= LOG_TYPES:
        raise PolicyRefused(PolicyReason.LOG_KEY, line, "a log signs with a key of type 0x01 or 0x06")
    try:
        require_distinct_keys(keys)
    except KeyRefused as refused:
        raise PolicyRefused(PolicyReason.LOG_KEY, line, str(refused)) from None


def _require_witness(
    witness: Witness,
    others: Sequence[Witness],
    groups: Sequence[Group],
    log_keys: Sequence[VerifierKey],
    line: int,
) -> None:
    _require_name(witness.name, others, groups, line)
    if len(others) >= MAX_WITNESSES:
        raise PolicyRefused(PolicyReason.WITNESS, line, f"a policy names at most {MAX_WITNESSES} witnesses")
    if witness.url and (_items(witness.url) != [witness.url] or _FORBIDDEN.search(witness.url)):
        raise PolicyRefused(PolicyReason.WITNESS, line, "a url has no blanks in it")
    if witness.key.type not in COSIGNER_TYPES:
        raise PolicyRefused(PolicyReason.WITNESS, line, "a witness cosigns with a key of type 0x04 or 0x06")
    try:
        require_distinct_keys([*(other.key for other in others), witness.key])
    except KeyRefused as refused:
        raise PolicyRefused(PolicyReason.WITNESS, line, str(refused)) from None
    for key in log_keys:
        _require_no_witness(key, [witness], line)


def _require_no_witness(log_key: VerifierKey, witnesses: Sequence[Witness], line: int) -> None:
    for one in witnesses:
        if one.key.raw == log_key.raw or (one.key.name, one.key.key_id) == (log_key.name, log_key.key_id):
            raise PolicyRefused(
                PolicyReason.WITNESS,
                line,
                f"the key of {one.name} is a key of the log: it is no witness of itself",
            )


def _require_group(group: Group, witnesses: Sequence[Witness], above: Sequence[Group], line: int) -> None:
    _require_name(group.name, witnesses, above, line)
    if len(above) >= MAX_GROUPS:
        raise PolicyRefused(PolicyReason.GROUP, line, f"a policy names at most {MAX_GROUPS} groups")
    if not 1 <= group.needed <= len(group.members):
        raise PolicyRefused(
            PolicyReason.GROUP, line, f"{group.name} needs {group.needed} of its {len(group.members)} members"
        )
    known = _names(witnesses, above)
    taken = {member for other in above for member in other.members}
    for number, member in enumerate(group.members):
        if member not in known:
            raise PolicyRefused(PolicyReason.GROUP, line, f"{member} is no witness or group named above")
        if member in taken or member in group.members[:number]:
            raise PolicyRefused(PolicyReason.GROUP, line, f"{member} is a member of a group already")


def _require_quorum(quorum: str, witnesses: Sequence[Witness], groups: Sequence[Group], line: int) -> None:
    if quorum != NO_WITNESS and quorum not in _names(witnesses, groups):
        raise PolicyRefused(PolicyReason.QUORUM, line, f"{quorum} is no witness or group named above")


def _require_name(name: str, witnesses: Sequence[Witness], groups: Sequence[Group], line: int) -> None:
    """A name is one item of a line, is given once, and is not the quorum of no witness."""
    if name == NO_WITNESS or _items(name) != [name] or "\n" in name or _FORBIDDEN.search(name):
        raise PolicyRefused(PolicyReason.NAME, line, f"{name!r} is no name for a witness or a group")
    if name in _names(witnesses, groups):
        raise PolicyRefused(PolicyReason.NAME, line, f"{name} is named twice")


def _names(witnesses: Sequence[Witness], groups: Sequence[Group]) -> set[str]:
    return {one.name for one in witnesses} | {one.name for one in groups}
