"""Evidence that a log has signed two histories, as text that anyone can check again.

Two forms. Of one size and two roots the two signed checkpoints are all of it. Of two sizes there is a third root:
that of the larger tree's own first leaves, with the consistency proof from there to the larger tree; where it is
another than the smaller checkpoint has, no tree has both. Each line ends in newline, base64 is canonical::

    ledger/log-evidence@v1
    root <base64>                   of the first leaves of the larger tree; left out where both have one size
    <base64 of a hash>              the consistency proof from that root, none to 63 lines
    an empty line
    the checkpoint of the smaller tree as it was signed
    an empty line
    the checkpoint of the larger tree as it was signed, to the end

Rules kept here: signatures first, because what nobody signed is evidence of nothing; both checkpoints are of one
origin and signed by a key of that log. Who cosigned does not matter: the log contradicts itself.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from ledger.checkpoint import VerifiedCheckpoint, VerifierKey, decode_base64, open_note
from ledger.merkle import HASH_BYTES, verify_consistency

FIRST_LINE = "ledger/log-evidence@v1"
EVIDENCE_BYTES_MAX = 2_100_000
PROOF_MAX = 63

_ROOT = "root "
_PARTS = 5


class EvidenceReason(Enum):
    """Why evidence was refused; the values are stable."""

    TOO_LONG = "evidence_too_long"
    FORM = "evidence_form"
    ORIGINS = "evidence_of_two_logs"
    ORDER = "evidence_order"
    NO_ROOT = "evidence_without_root"
    NO_CONTRADICTION = "evidence_without_contradiction"


class EvidenceRefused(ValueError):
    """Something that proves nothing against a log; ``reason`` says why."""

    def __init__(self, reason: EvidenceReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Two checkpoint notes, the smaller tree first; nothing is verified yet. ``root`` is that of the larger tree's own
    first leaves, as many as the smaller has, and ``proof`` leads from it to the larger root.
    """

    smaller: bytes
    larger: bytes
    root: bytes | None = None
    proof: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """Two trees that a log signed and that no one history has."""

    smaller: VerifiedCheckpoint
    larger: VerifiedCheckpoint


def format_evidence(evidence: Evidence) -> bytes:
    """The one spelling of ``evidence``."""
    root = [] if evidence.root is None else [_ROOT + _base64(evidence.root)]
    head = "\n".join([FIRST_LINE, *root, *map(_base64, evidence.proof)])
    return head.encode() + b"\n\n" + evidence.smaller + b"\n" + evidence.larger


def parse_evidence(data: bytes) -> Evidence:
    """The evidence in ``data``. Raises :class:`EvidenceRefused`: ``TOO_LONG``, ``FORM``."""
    if len(data) > EVIDENCE_BYTES_MAX:
        raise EvidenceRefused(EvidenceReason.TOO_LONG, f"evidence has at most {EVIDENCE_BYTES_MAX} bytes")
    parts = data.split(b"\n\n")  # a checkpoint note has one empty line, so these are all
    if len(parts) != _PARTS:
        raise EvidenceRefused(EvidenceReason.FORM, "evidence is a head and two checkpoint notes")
    head, body, signatures, larger_body, larger_signatures = parts
    try:
        first, *lines = head.decode("ascii").split("\n")
        root = decode_base64(lines[0].removeprefix(_ROOT)) if lines and lines[0].startswith(_ROOT) else None
        proof = tuple(map(decode_base64, lines if root is None else lines[1:]))
    except ValueError:
        raise EvidenceRefused(
            EvidenceReason.FORM, "the head of evidence is ASCII and canonical base64"
        ) from None
    hashes = proof if root is None else (root, *proof)
    if first != FIRST_LINE or len(proof) > PROOF_MAX or any(len(one) != HASH_BYTES for one in hashes):
        raise EvidenceRefused(EvidenceReason.FORM, f"evidence starts with {FIRST_LINE}, a root and its proof")
    return Evidence(
        smaller=body + b"\n\n" + signatures + b"\n",
        larger=larger_body + b"\n\n" + larger_signatures,
        root=root,
        proof=proof,
    )


def verify_evidence(evidence: Evidence, log_keys: Sequence[VerifierKey]) -> Contradiction:
    """The contradiction that ``evidence`` proves against the log with ``log_keys``.

    Raises :class:`EvidenceRefused`: ``ORIGINS``, ``ORDER``, ``NO_ROOT``, ``NO_CONTRADICTION``; ``NoteRefused`` and
    ``KeyRefused`` as ``open_note``; ``ProofRefused`` as ``verify_consistency``.
    """
    smaller = open_note(evidence.smaller, log_keys).checkpoint
    larger = open_note(evidence.larger, log_keys).checkpoint
    if smaller.origin != larger.origin:
        raise EvidenceRefused(EvidenceReason.ORIGINS, f"one is of {smaller.origin}, one of {larger.origin}")
    if smaller.size > larger.size:
        raise EvidenceRefused(EvidenceReason.ORDER, "the smaller tree stands first")
    root = evidence.root
    if smaller.size == larger.size:
        if root is not None or evidence.proof:
            raise EvidenceRefused(EvidenceReason.FORM, "between two trees of one size nothing is proven")
        root = larger.root
    elif root is None:
        raise EvidenceRefused(EvidenceReason.NO_ROOT, "the root of the larger tree's first leaves is missing")
    else:
        verify_consistency(smaller.size, root, larger.size, larger.root, evidence.proof)
    if root == smaller.root:
        raise EvidenceRefused(EvidenceReason.NO_CONTRADICTION, "the two checkpoints are of one history")
    return Contradiction(smaller=smaller, larger=larger)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
