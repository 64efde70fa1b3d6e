"""Whether two copies of a log are of one history: what two people do who were shown something at different places.

Rules kept here: signatures first, because what the log has not signed is evidence of nothing. Two roots at one size
are evidence by themselves. Of two sizes the tiles of the larger tree tell whether its first leaves are those of the
smaller; they are believed as far as they hash to the signed root. What cannot be told is said, with what is missing.
"""

from dataclasses import dataclass

from clearing.attest.policy import Policy
from ledger.checkpoint import NoteReason, NoteRefused, VerifiedCheckpoint, open_note
from ledger.evidence import Evidence
from ledger.tiles import TiledTree, TileReader, TileRefused


class CannotTell(Exception):
    """Whether the copies are of one history cannot be told; the message says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """What somebody was shown of a log: a checkpoint ``note``, and its tiles by ``read``, if there are any."""

    name: str
    note: bytes
    read: TileReader | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two copies, the smaller tree first; ``evidence`` if the log has signed two histories."""

    smaller: str
    larger: str
    sizes: tuple[int, int]
    evidence: Evidence | None

    @property
    def is_same(self) -> bool:
        """Whether both are one tree."""
        return self.evidence is None and self.sizes[0] == self.sizes[1]


def compare(policy: Policy, one: Copy, other: Copy) -> Compared:
    """Whether ``one`` and ``other`` are of one history of the log of ``policy``. Raises :class:`CannotTell`."""
    opened = [(_signed(policy, copy), copy) for copy in (one, other)]
    (smaller, small), (larger, large) = sorted(opened, key=lambda pair: pair[0].size)
    return Compared(
        smaller=small.name,
        larger=large.name,
        sizes=(smaller.size, larger.size),
        evidence=_evidence(smaller, small, larger, large),
    )


def _signed(policy: Policy, copy: Copy) -> VerifiedCheckpoint:
    try:
        checkpoint = open_note(copy.note, policy.log_keys).checkpoint
    except NoteRefused as refused:
        unsigned = refused.reason in {NoteReason.NO_TRUSTED_SIGNATURE, NoteReason.BAD_SIGNATURE}
        why = "it is evidence of nothing" if unsigned else "it is no checkpoint"
        raise CannotTell(f"{copy.name}: {refused}: {why}") from None
    if checkpoint.origin != policy.origin:
        raise CannotTell(f"{copy.name} is of the log {checkpoint.origin}, the policy of {policy.origin}")
    return checkpoint


def _evidence(
    smaller: VerifiedCheckpoint, small: Copy, larger: VerifiedCheckpoint, large: Copy
) -> Evidence | None:
    if smaller.size == larger.size:
        return None if smaller.root == larger.root else Evidence(smaller=small.note, larger=large.note)
    if not smaller.size:
        return None
    if large.read is None:
        raise CannotTell(
            f"{large.name} has {larger.size} leaves, {small.name} {smaller.size}: whether the one goes on from the "
            f"other, the tiles of {large.name} tell: give the folder that has them"
        )
    try:
        tree = TiledTree(larger.size, larger.root, large.read)
        root = tree.root_at(smaller.size)
        if root == smaller.root:
            return None
        proof = tree.consistency_path(smaller.size)
    except TileRefused as refused:
        raise CannotTell(f"{large.name}: {refused}: copy its tiles again") from None
    return Evidence(smaller=small.note, larger=large.note, root=root, proof=proof)
