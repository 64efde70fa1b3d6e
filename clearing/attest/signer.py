"""Signing what the house publishes: checkpoints by the log key, attestations by two of three officers.

Keys come as arguments. Ed25519 signatures are deterministic, so a run that is repeated with the same
keys signs the same bytes.
"""

from dataclasses import dataclass

from clearing.attest.envelope import PAYLOAD_TYPE, Signer, sign
from clearing.attest.figures import compute, statement_of
from clearing.attest.statement import Journal, build, payload_digest
from clearing.model.commands import RecordAttestation
from clearing.model.house import House
from ledger.checkpoint import Checkpoint, NotePrivateKey, checkpoint_body, sign_note
from ledger.tiles import TiledTree


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKeys:
    """``origin`` names the log and its key; ``officers`` sign attestations. ``blinding`` (32 bytes) signs nothing: it
    hides in what is published whose is what (attestation.md §6, §9).
    """

    origin: str
    log_key: NotePrivateKey
    officers: tuple[Signer, ...]
    blinding: bytes


def sign_checkpoint(keys: SigningKeys, size: int, root: bytes) -> bytes:
    """The C2SP signed note over the journal's size and root."""
    body = checkpoint_body(Checkpoint(origin=keys.origin, size=size, root=root))
    return sign_note(body, keys.origin, keys.log_key)


def sign_attestation(house: House, tree: TiledTree, keys: SigningKeys) -> RecordAttestation:
    """Sign what ``house`` states about its newest cycle, over the ``tree`` of the journal that led to it.

    The result is the command that journals the envelope.
    """
    last = house.attestation
    before = 0 if last is None else last.tree_size
    journal = Journal(
        origin=keys.origin,
        tree_size=tree.size,
        root_hash=tree.root,
        previous_tree_size=before,
        consistency=() if before in (0, tree.size) else tree.consistency_path(before),
    )
    computed = compute(house, journal, keys.blinding)
    statement = statement_of(house, house.founded.house, journal, computed)
    payload = build(statement)
    return RecordAttestation(
        sequence=statement.sequence,
        cycle=house.newest_cycle.number,
        tree_size=journal.tree_size,
        payload_sha256=payload_digest(payload).hex(),
        envelope=sign(payload, PAYLOAD_TYPE, keys.officers).decode(),
    )
