"""Whether the attestations that are shown are those of the log, of which there is one history.

Rules kept here (attestation.md §5): an attestation is an entry of the journal. Signatures and the chain alone do not
show that: officers could sign two chains over the same trees, and show one here and the other there. Beside each
attestation lies the body of its entry; the leaf of that entry, the n-th of its kind, has the hash of the body, and the
body has the envelope. The newest attestation may not be in the log yet: its entry comes after the tree that it
speaks of.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from clearing.attest.statement import VerifiedStatement
from clearing_client.offline import Check, Report
from ledger.leaf import RecordMalformed, decode_body, decode_leaf

ATTESTED = 700
"""The kind of the entries of attestations."""
_KIND = slice(4, 6)
_MARK = ATTESTED.to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class Shown:
    """An attestation as it is shown: what was verified of it, its envelope, and the body of its entry."""

    statement: VerifiedStatement
    envelope: bytes
    body: bytes | None


class AttestedLeaves:
    """Looks on while the leaves of a log are read, and keeps of those of attestations the hash of the body."""

    def __init__(self) -> None:
        self.body_hashes: list[bytes] = []
        self.all_read = False
        """Whether the leaves came to their end."""

    def among(self, leaves: Iterable[bytes]) -> Iterator[bytes]:
        """The same leaves. Raises ``RecordMalformed``."""
        for leaf in leaves:
            if leaf[_KIND] == _MARK:
                self.body_hashes.append(decode_leaf(leaf).body_hash)
            yield leaf
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
