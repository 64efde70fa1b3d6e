"""Whether the attestations that are shown are those of the log, of which there is one history.

Rules kept here (attestation.md §5): an attestation is an entry of the journal. Signatures and the chain alone do not
show that: officers could sign two chains over the same trees, and show one here and the other there. Beside each
attestation lies the body of its entry; the leaf of that entry, the n-th of its kind, has the hash of the body, and the
body has the envelope. The newest attestation may not be in the log yet: its entry comes after the tree that it
speaks of. With reports it is the same: beside each lies the body of the entry that says what was signed of it.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from clearing.attest.statement import VerifiedStatement
from clearing_client.offline import Check, Report
from ledger.leaf import RecordMalformed, decode_body, decode_leaf

ATTESTED, REPORT_SIGNED = 700, 711
"""The kinds of the entries of attestations, and of reports that were signed."""
_KIND = slice(4, 6)


@dataclass(frozen=True, slots=True)
class Shown:
    """An attestation as it is shown: what was verified of it, its envelope, and the body of its entry."""

    statement: VerifiedStatement
    envelope: bytes
    body: bytes | None


class AttestedLeaves:
    """Looks on while the leaves of a log are read, and keeps of those of attestations, or of another ``kind``, the hash
    of the body.
    """

    def __init__(self, kind: int = ATTESTED) -> None:
        self._mark = kind.to_bytes(2, "big")
        self.body_hashes: list[bytes] = []
        self.newest_ms = 0
        """The time of the last leaf."""
        self.all_read = False
        """Whether the leaves came to their end."""

    def among(self, leaves: Iterable[bytes]) -> Iterator[bytes]:
        """The same leaves. Raises ``RecordMalformed``."""
        last = b""
        for leaf in leaves:
            if leaf[_KIND] == self._mark:
                self.body_hashes.append(decode_leaf(leaf).body_hash)
            last = leaf
            yield leaf
        self.newest_ms = decode_leaf(last).effective_ms if last else 0
        self.all_read = True


def verify_journaled(shown: Sequence[Shown], body_hashes: Sequence[bytes]) -> Report:
    """Check that the attestations ``shown``, oldest first, are those of the log with these leaves. Raises nothing."""
    if not shown:
        return Report(checks=())
    if any(one.body is None for one in shown):
        return Report(
            checks=(),
            not_checked=(
                "whether the log has these attestations: bodies of their entries are missing (*.body)",
            ),
        )
    wrong = next((why for one in shown if (why := _why_not(one, body_hashes, one is shown[-1]))), "")
    detail = wrong or f"{_told(shown[-1], body_hashes)}"
    return Report(checks=(Check(name="attestations in the log", passed=not wrong, detail=detail),))


def _why_not(one: Shown, body_hashes: Sequence[bytes], is_last: bool) -> str:
    number = one.statement.sequence
    if number > len(body_hashes):
        may_come = is_last and number == len(body_hashes) + 1
        return (
            "" if may_come else f"the log has {len(body_hashes)} attestations, and number {number} is shown"
        )
    body = one.body or b""
    if hashlib.sha256(body).digest() != body_hashes[number - 1]:
        return f"number {number} of the log has another body: another attestation may stand there"
    try:
        fact = decode_body(body).fact
    except RecordMalformed as error:
        return f"the entry of number {number} has {error}"
    match fact:
        case [["attestation", "", {"envelope": str(envelope)}]] if envelope.encode() == one.envelope:
            return ""
        case _:
            return f"the log has another attestation {number} than the one that is shown"


def _told(last: Shown, body_hashes: Sequence[bytes]) -> str:
    number, count = last.statement.sequence, len(body_hashes)
    if number > count:
        return f"all up to number {count}; number {number} is not in the log yet"
    return f"all up to number {number}, of {count} that the log has"


@dataclass(frozen=True, slots=True)
class Signed:
    """What was signed of a report and when, as it is shown, and the body of the entry that journals it."""

    name: str
    envelope: bytes
    signed_ms: int
    body: bytes | None


def verify_signed(shown: Sequence[Signed], looking: AttestedLeaves) -> Report:
    """Check that what was signed of reports is in the log whose leaves were looked at; a copy of the log from before
    one was signed cannot tell. So a house cannot sign one report for its journal and another for somebody.

    Raises nothing.
    """
    hashes, checks, not_checked = frozenset(looking.body_hashes), [], []
    for one in shown:
        where = f"whether the log has the signature of {one.name}"
        if one.body is None:
            not_checked.append(f"{where}: the body of its entry is missing ({one.name}.body)")
        elif hashlib.sha256(one.body).digest() in hashes:
            passed = _has_envelope(one.body, one.envelope)
            detail = (
                one.name
                if passed
                else f"{one.name}: the log has another signature than the one that is shown"
            )
            checks.append(Check(name="report in the log", passed=passed, detail=detail))
        elif not looking.all_read or looking.newest_ms <= one.signed_ms:
            not_checked.append(f"{where}: this copy of the log is older")
        else:
            detail = f"{one.name}: the log has no entry that says what was signed"
            checks.append(Check(name="report in the log", passed=False, detail=detail))
    return Report(checks=tuple(checks), not_checked=tuple(not_checked))


def _has_envelope(body: bytes, envelope: bytes) -> bool:
    try:
        fact = decode_body(body).fact
    except RecordMalformed:
        return False
    match fact:
        case [["report", "", {"envelope": str(journaled)}]]:
            return journaled.encode() == envelope
        case _:
            return False
