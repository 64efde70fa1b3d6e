"""Checking a clearing house without asking it: files in, a report out. No server, no database, no clock.

Rules kept here (attestation.md §7): a report is good only if everything that was asked for was checked and
held; what could not be checked is a failed check, never a silent one. Bytes are verified first and parsed
then. The order of the checks is public:

1. the checkpoint note: signed by a log key of the policy, of the policy's origin, and cosigned by the quorum of
   witnesses that the policy asks for, if it asks for one; so wherever a checkpoint is opened;
2. each attestation, in sequence order: signatures (threshold of the officers of its time) · statement (form,
   agreement with itself, the policy's origin, and the subject, which is the digest of the checkpoint it names) ·
   chain (sequence without gap, ``previous`` is the SHA-256 of the payload before, same issuer, time not backwards)
   · consistency (its tree extends the one attested before);
3. extension: the checkpoint is the last attested tree, or extends it by a proof or by the leaves;
4. freshness of the last attestation, if a time was given: it is in force then, and enough of the officers of that time
   have signed it, so that keys that were taken away cannot pass off an old date as the present;
5. the journal, if its leaves were given: they hash to every attested root and to the checkpoint's.

The first attestation given is where trust starts: unless it is number 1, what came before it is not judged,
and the report says so.

A proof of what is owed (:func:`verify_liability`) and a recompute bundle (``recomputing.py``) are held against the
attestation that they name, once its signatures and statement were checked.

Leaves come from anywhere, as from the tiles that the log publishes (:func:`tiled_leaves`). They also show that
any checkpoint kept from before, or found in a receipt, is of the same history (:func:`verify_log`). A receipt
(:func:`verify_receipt`) needs nothing but the policy.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ParamSpec, TypeVar

from clearing.attest.envelope import EnvelopeRefused, VerifiedPayload, open_envelope
from clearing.attest.liabilities import LiabilityRefused, context_of, parse_proof, verify_proof
from clearing.attest.opening import open_attestation
from clearing.attest.policy import Policy, open_checkpoint, require_quorum
from clearing.attest.statement import (
    Statement,
    StatementRefused,
    VerifiedStatement,
    attested_checkpoint,
    format_time,
    parse,
    payload_digest,
)
from ledger.account import AccountId
from ledger.checkpoint import Checkpoint, Cosignature, NoteRefused
from ledger.leaf import RecordMalformed, decode_leg
from ledger.merkle import Frontier, ProofRefused, leaf_hash, verify_consistency
from ledger.receipt import (
    EntryReceipt,
    LegReceipt,
    ReceiptRefused,
    VerifiedEntry,
    is_leg_receipt,
    parse_entry,
    parse_legs,
    verify_entry,
    verify_legs,
)
from ledger.tiles import TiledTree, TileReader, TileRefused

ALLOWED_SKEW_MS = 60_000
DETAIL_MAX = 1_000
"""So many characters of what was found are told: a liar may have chosen them."""
LEAVES_AT_ONCE = 8_192

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was checked, whether it held, and what was found: printable, and short enough to be read."""

    name: str
    passed: bool
    detail: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", _shown(self.detail))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All checks in the order they were made, the trees and statements that were found signed on the way, and in
    sentences what was not checked.
    """

    checks: tuple[Check, ...]
    trees: tuple[Checkpoint, ...] = ()
    statements: tuple[VerifiedStatement, ...] = ()
    not_checked: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "not_checked", tuple(map(_shown, self.not_checked)))

    @property
    def ok(self) -> bool:
        """Whether something was checked and every check held."""
        return bool(self.checks) and all(check.passed for check in self.checks)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attested:
    """One attestation whose signatures and statement held."""

    statement: VerifiedStatement
    digest: bytes

    @property
    def tree(self) -> Checkpoint:
        return attested_checkpoint(self.statement)


class _Failed(ValueError):
    """A check that did not hold; the message is its detail."""


_REFUSALS = (
    LiabilityRefused,
    *(_Failed, EnvelopeRefused, NoteRefused, ProofRefused, StatementRefused),
    *(ReceiptRefused, RecordMalformed, TileRefused),
)


def verify_attestations(
    policy: Policy,
    checkpoint_note: bytes,
    envelopes: Sequence[bytes] | Mapping[int, bytes],
    now_ms: int | None,
    *,
    extension: Sequence[bytes] | None = None,
    leaves: Iterable[bytes] | None = None,
    trees: Sequence[Checkpoint] = (),
) -> Report:
    """Check attestation ``envelopes``, oldest first, and the log's ``checkpoint_note`` against ``policy``.

    The report calls them by the numbers that they are given with; without, they are counted from 1.

    ``now_ms`` (ms UTC) asks whether the last one is in force, with a minute of skew; ``None`` does not ask.
    ``extension`` is the consistency path (RFC 6962 §2.1.2) from the last attested tree to a larger
    checkpoint; ``leaves``, all leaves of the journal in order, prove the same and more, also for other
    ``trees`` that were found signed. Raises nothing: every refusal is a failed check.
    """
    checkpoint, opened = _open("checkpoint", _open_checkpoint, policy, checkpoint_note)
    numbered = envelopes if isinstance(envelopes, Mapping) else dict(enumerate(envelopes, start=1))
    attested, checks = _open_attestations(policy, numbered)
    checks.insert(0, opened)
    signed = [*(entry.tree for entry in attested), *([] if checkpoint is None else [checkpoint])]
    if not attested or len(attested) < len(numbered):
        checks.append(Check(name="attestations", passed=False, detail=_unopened(attested, numbered)))
    elif checkpoint is not None:
        last = attested[-1]
        checks.append(_check("extension", _extends, last.tree, checkpoint, extension, leaves is not None))
        if now_ms is not None:
            checks.append(
                _check("freshness", _in_force, policy, [*numbered.values()][-1], last.statement, now_ms)
            )
        if leaves is not None:
            checks += verify_journal(leaves, [*signed, *trees]).checks
    stated = tuple(entry.statement for entry in attested)
    return Report(checks=tuple(checks), trees=tuple(signed), statements=stated)


def verify_attestation(policy: Policy, envelope: bytes) -> Report:
    """Check one attestation by itself: its signatures and its statement. Raises nothing."""
    attested, checks = _open_attestations(policy, {1: envelope})
    return Report(
        checks=tuple(checks),
        trees=tuple(entry.tree for entry in attested),
        statements=tuple(entry.statement for entry in attested),
    )


def verify_liability(statements: Sequence[VerifiedStatement], data: bytes, account: str | None) -> Report:
    """Check that the proof in ``data`` leads to the liabilities of the attestation that it names, one of
    ``statements``, and is of the ledger account with the path ``account`` if that is given. Raises nothing.
    """
    return Report(checks=(_check("liability", _is_counted, statements, data, account),))


def verify_log(
    policy: Policy, checkpoint_note: bytes, leaves: Iterable[bytes], trees: Sequence[Checkpoint]
) -> Report:
    """Check the log's ``checkpoint_note`` against ``policy``, and that its ``leaves``, all of them in order,
    hash to it and to all ``trees``, which were found signed elsewhere. Raises nothing.
    """
    checkpoint, opened = _open("checkpoint", _open_checkpoint, policy, checkpoint_note)
    if checkpoint is None:
        return Report(checks=(opened,))
    journal = verify_journal(leaves, [checkpoint, *trees])
    return Report(checks=(opened, *journal.checks), trees=(checkpoint,))


def verify_checkpoint(policy: Policy, name: str, note: bytes) -> Report:
    """Check who signed the checkpoint ``note``, which the report calls ``name``. Raises nothing."""
    checkpoint, opened = _open(name, _open_checkpoint, policy, note)
    return Report(checks=(opened,), trees=() if checkpoint is None else (checkpoint,))


def tiled_leaves(policy: Policy, checkpoint_note: bytes, read: TileReader) -> Iterator[bytes]:
    """All leaves of the tree of ``checkpoint_note`` from its tiles, each hashed up to the root before it comes.

    Raises ``NoteRefused``, ``TileRefused``.
    """
    checkpoint = open_checkpoint(policy, checkpoint_note).checkpoint
    yield from TiledTree(checkpoint.size, checkpoint.root, read).leaves()


def verify_receipt(policy: Policy, data: bytes, account: AccountId | None) -> Report:
    """Check the entry or leg receipt in ``data`` against ``policy``; legs must be of ``account`` if it is given.

    Raises nothing.
    """
    receipt, form = _open("receipt", _open_receipt, data)
    if receipt is None:
        return Report(checks=(form,))
    of_entry = receipt.entry if isinstance(receipt, LegReceipt) else receipt
    entry, proven = _open("receipt entry", _open_entry, policy, of_entry)
    checks = [form, proven]
    if entry is not None and (account is not None or isinstance(receipt, LegReceipt)):
        checks.append(_check("receipt legs", _shows_legs, policy, receipt, account))
    return Report(checks=tuple(checks), trees=() if entry is None else (entry.checkpoint,))


def verify_journal(leaves: Iterable[bytes], trees: Sequence[Checkpoint]) -> Report:
    """Check that the journal's ``leaves`` (their bytes, in order, from the first) hash to all ``trees``.

    Leaves behind the largest tree fail a check, because nothing signed covers them. Reads ``leaves`` once, in
    batches, and never beyond one leaf after the largest tree. Raises nothing.
    """
    checks: list[Check] = []
    source, frontier = iter(leaves), Frontier()
    for tree in sorted(trees, key=lambda tree: tree.size):
        grown, read = _open(f"journal at {tree.size}", _grow, frontier, source, tree.size)
        if grown is None:
            return Report(checks=(*checks, read))
        frontier = grown
        checks.append(_check(f"journal at {tree.size}", _same_tree, frontier, tree))
    checks.append(_check("journal end", _at_end, source, frontier.size))
    return Report(checks=tuple(checks))


def _check(name: str, look: Callable[P, str], *args: P.args, **kwargs: P.kwargs) -> Check:
    """The check ``name``: ``look`` returns what it found, or raises why the check fails."""
    try:
        return Check(name=name, passed=True, detail=look(*args, **kwargs))
    except _REFUSALS as refused:
        return Check(name=name, passed=False, detail=str(refused))


def _open(
    name: str, look: Callable[P, tuple[T, str]], *args: P.args, **kwargs: P.kwargs
) -> tuple[T | None, Check]:
    """As :func:`_check`, for a ``look`` that also opens something that later checks need."""
    try:
        value, detail = look(*args, **kwargs)
    except _REFUSALS as refused:
        return None, Check(name=name, passed=False, detail=str(refused))
    return value, Check(name=name, passed=True, detail=detail)


def _shown(text: str) -> str:
    """``text`` without what could move a cursor, colour a line or turn its direction."""
    if len(text) > DETAIL_MAX:
        text = f"{text[:DETAIL_MAX]} … and {len(text) - DETAIL_MAX} characters more"
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def _time(time_ms: int) -> str:
    """A time that anybody may have written, also one that no calendar has."""
    try:
        return format_time(time_ms)
    except OverflowError:
        return f"{time_ms} ms after 1970"


def _require(condition: bool, detail: str) -> None:
    if not condition:
        raise _Failed(detail)


# --- 1. the checkpoint ---------------------------------------------------------------------------------


def _open_checkpoint(policy: Policy, note: bytes) -> tuple[Checkpoint, str]:
    opened = open_checkpoint(policy, note)
    checkpoint = opened.checkpoint
    signers = ", ".join(key.name for key in opened.signers)
    witnessed = _witnessed(policy, opened.cosignatures)
    return checkpoint, f"{checkpoint.size} leaves of {checkpoint.origin}, signed by {signers}; {witnessed}"


def _witnessed(policy: Policy, cosignatures: Sequence[Cosignature]) -> str:
    """Who cosigned, by the names of the policy. Whether they are enough was checked before."""
    if not policy.asks_for_witnesses:
        return "no witness is asked for"
    names = {one.key: one.name for one in policy.witnesses}
    said = (f"{names[one.key]} at {_time(one.time_s * 1_000)}" for one in cosignatures)
    return f"cosigned by {', '.join(said)}"


def _require_origin(policy: Policy, origin: str) -> None:
    _require(origin == policy.origin, f"speaks of the log {origin}, the policy of {policy.origin}")


# --- 2. the attestations -------------------------------------------------------------------------------


def _open_attestations(policy: Policy, envelopes: Mapping[int, bytes]) -> tuple[list[_Attested], list[Check]]:
    """The attestations up to the first whose signatures or statement do not hold."""
    attested: list[_Attested] = []
    checks: list[Check] = []
    for number, envelope in envelopes.items():
        name = f"attestation {number}"
        payload, signatures = _open(f"{name} signatures", _open_signed, policy, envelope)
        checks.append(signatures)
        if payload is None:
            break
        entry, form = _open(f"{name} statement", _open_statement, policy, payload)
        checks.append(form)
        if entry is None:
            break
        before = attested[-1] if attested else None
        checks.append(_check(f"{name} chain", _follows, before, entry))
        checks.append(_check(f"{name} consistency", _has_grown, before, entry))
        attested.append(entry)
    return attested, checks


def _open_signed(policy: Policy, envelope: bytes) -> tuple[VerifiedPayload, str]:
    opened, trust = open_attestation(policy, envelope)
    roles = ", ".join(opened.roles)
    return opened.payload, f"signed by {roles}; {trust.threshold} of {len(trust.keys)} needed"


def _open_statement(policy: Policy, payload: VerifiedPayload) -> tuple[_Attested, str]:
    statement = parse(payload)
    _require_origin(policy, statement.journal.origin)
    detail = f"number {statement.sequence} of {statement.issuer} as of {format_time(statement.as_of_ms)}"
    return _Attested(statement=statement, digest=payload_digest(payload)), detail


def _follows(before: _Attested | None, entry: _Attested) -> str:
    statement = entry.statement
    if before is None and statement.sequence == 1:
        return "the first of all"
    if before is None:
        return f"trust starts at number {statement.sequence}; what came before was not given"
    earlier = before.statement
    _require(
        statement.sequence == earlier.sequence + 1,
        f"number {statement.sequence} stands after number {earlier.sequence}",
    )
    _require(statement.previous == before.digest, "previous is not the SHA-256 of the payload before")
    _require(
        statement.issuer == earlier.issuer, f"{statement.issuer} issued it, {earlier.issuer} the one before"
    )
    _require(statement.as_of_ms >= earlier.as_of_ms, "its time lies before the time of the one before")
    return f"follows number {earlier.sequence}"


def _has_grown(before: _Attested | None, entry: _Attested) -> str:
    journal = entry.statement.journal
    if before is None:
        return f"{journal.tree_size} leaves, with nothing to compare to"
    _require(
        journal.previous_tree_size == before.tree.size,
        f"its proof starts at {journal.previous_tree_size} leaves, {before.tree.size} were attested before",
    )
    verify_consistency(
        before.tree.size, before.tree.root, entry.tree.size, entry.tree.root, journal.consistency
    )
    return f"{entry.tree.size} leaves extend {before.tree.size}"


def _unopened(attested: Sequence[_Attested], envelopes: Mapping[int, bytes]) -> str:
    if not envelopes:
        return "none was given"
    return f"{len(attested)} of {len(envelopes)} could be opened; those behind were not checked"


# --- 3. to 5. extension, freshness, journal ----------------------------------------------------------------


def _extends(
    last: Checkpoint, checkpoint: Checkpoint, extension: Sequence[bytes] | None, with_leaves: bool
) -> str:
    _require(
        checkpoint.size >= last.size,
        f"the checkpoint has {checkpoint.size} leaves, fewer than the {last.size} attested",
    )
    if extension is None and checkpoint.size > last.size:
        _require(with_leaves, f"no proof was given that {checkpoint.size} leaves extend {last.size}")
        return f"{checkpoint.size} leaves extend {last.size} if the journal below holds"
    verify_consistency(last.size, last.root, checkpoint.size, checkpoint.root, extension or ())
    return f"{checkpoint.size} leaves extend {last.size}"


def _in_force(policy: Policy, envelope: bytes, statement: Statement, now_ms: int) -> str:
    officers = policy.trust_at(now_ms)
    _require(officers is not None, f"the trust root names no officers for {format_time(now_ms)}")
    if officers is not None:
        open_envelope(envelope, officers)
    _require(
        statement.as_of_ms <= now_ms + ALLOWED_SKEW_MS,
        f"it is as of {format_time(statement.as_of_ms)}, which is still to come",
    )
    until = format_time(statement.valid_until_ms)
    _require(now_ms < statement.valid_until_ms, f"it was valid until {until}")
    return f"valid until {until}"


def _grow(frontier: Frontier, source: Iterator[bytes], size: int) -> tuple[Frontier, str]:
    """``frontier`` with leaves from ``source`` up to ``size``, or as many as there are."""
    while batch := [leaf_hash(leaf) for leaf in islice(source, min(LEAVES_AT_ONCE, size - frontier.size))]:
        frontier = frontier.extend(batch)
    return frontier, f"{frontier.size} leaves were read"


def _same_tree(frontier: Frontier, tree: Checkpoint) -> str:
    _require(frontier.size == tree.size, f"the journal ends after {frontier.size} leaves")
    _require(frontier.root() == tree.root, "the leaves hash to another root")
    return f"{tree.size} leaves hash to the root {tree.root.hex()}"


def _at_end(source: Iterator[bytes], size: int) -> str:
    _require(next(source, None) is None, f"nothing signed covers the leaves behind the first {size}")
    return f"all {size} leaves are covered"


# --- liabilities -----------------------------------------------------------------------------------------


def stated_by(statements: Sequence[VerifiedStatement], sequence: int) -> VerifiedStatement:
    """The one of ``statements`` with this number. Raises ``LookupError`` if it is not among them."""
    for statement in statements:
        if statement.sequence == sequence:
            return statement
    raise LookupError(f"attestation {sequence} is not among those whose signatures held")


def _is_counted(statements: Sequence[VerifiedStatement], data: bytes, account: str | None) -> str:
    proof = parse_proof(data)
    try:
        statement = stated_by(statements, proof.context.snapshot)
    except LookupError as error:
        raise _Failed(str(error)) from None
    balance = verify_proof(
        proof,
        context=context_of(statement),
        attested=statement.liabilities,
        account=account or proof.account,
    )
    amounts = ", ".join(f"{amount} {unit}" for unit, amount in sorted(balance.amounts.items()) if amount)
    return (
        f"{balance.account} is owed {amounts} (smallest units), counted in attestation {statement.sequence} "
        f"as one of {proof.count} leaves"
    )


# --- receipts --------------------------------------------------------------------------------------------


def _open_receipt(data: bytes) -> tuple[EntryReceipt | LegReceipt, str]:
    if is_leg_receipt(data):
        legs = parse_legs(data)
        return legs, f"shows {len(legs.legs)} of the legs of entry {legs.entry.index}"
    entry = parse_entry(data)
    return entry, f"of entry {entry.index}"


def _open_entry(policy: Policy, receipt: EntryReceipt) -> tuple[VerifiedEntry, str]:
    entry = verify_entry(receipt, origin=policy.origin, log_keys=policy.log_keys)
    witnessed = _witnessed(policy, require_quorum(policy, receipt.note))
    leaf, signers = entry.leaf, ", ".join(key.name for key in entry.signers)
    return entry, (
        f"{leaf.entry_id.hex()} of kind {leaf.kind} at {_time(leaf.effective_ms)} with {leaf.leg_count} legs "
        f"stands among {entry.checkpoint.size} leaves of {entry.checkpoint.origin}, signed by {signers}; {witnessed}"
    )


def _shows_legs(policy: Policy, receipt: EntryReceipt | LegReceipt, account: AccountId | None) -> str:
    if isinstance(receipt, EntryReceipt):
        raise _Failed("the receipt is of an entry and shows no legs")
    owner = account or decode_leg(receipt.legs[0].record).account_id
    proven = verify_legs(receipt, account=owner, origin=policy.origin, log_keys=policy.log_keys)
    side = "debit" if proven.amount > 0 else "credit"
    return f"they {side} account {owner.hex()} by {abs(proven.amount)} smallest units"
