"""Signing what the house publishes: checkpoints by the log key, attestations by two of three officers.

Keys come as arguments. Ed25519 signatures are deterministic, so a run that is repeated with the same
keys signs the same bytes; a key in a token is ECDSA P-256, and signs other bytes each time.

Every officer signs whose key is there, and so many must as verifiers ask for. Who is an officer is what verifiers
believe about the time that is attested: another key is not used, and with too few of them nothing is signed.
"""

from dataclasses import dataclass

from clearing.attest.envelope import PAYLOAD_TYPE, Signer, SignerAway, sign
from clearing.attest.figures import compute, statement_of
from clearing.attest.policy import Policy
from clearing.attest.statement import Journal, build, format_time, payload_digest
from clearing.model.commands import RecordAttestation
from clearing.model.house import House
from ledger.checkpoint import Checkpoint, NotePrivateKey, VerifierKey, checkpoint_body, sign_note
from ledger.tiles import TiledTree


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKeys:
    """``origin`` names the log and its key; ``officers`` sign attestations, all of them if there is no ``policy``.

    With a ``policy`` those sign whom it names. ``retired`` log keys have signed what the log showed before.
    ``blinding`` (32 bytes) signs nothing: it hides in what is published whose is what (attestation.md §6, §9).
    """

    origin: str
    log_key: NotePrivateKey
    officers: tuple[Signer, ...]
    blinding: bytes
    policy: Policy | None = None
    retired: tuple[VerifierKey, ...] = ()

    def officers_at(self, as_of_ms: int) -> tuple[tuple[Signer, ...], int]:
        """Whose signatures verifiers count under what is so at that time, and how many they ask for."""
        if self.policy is None:
            return self.officers, len(self.officers)
        trust = self.policy.trust_at(as_of_ms)
        if trust is None:
            raise SignerAway(f"the trust root names no officers for {format_time(as_of_ms)}")
        known = {signer.public_key: signer for signer in self.officers}
        return tuple(known[one.key] for one in trust.keys if one.key in known), trust.threshold


def sign_checkpoint(keys: SigningKeys, size: int, root: bytes) -> bytes:
    """The C2SP signed note over the journal's size and root."""
    body = checkpoint_body(Checkpoint(origin=keys.origin, size=size, root=root))
    return sign_note(body, keys.origin, keys.log_key)


def sign_attestation(house: House, tree: TiledTree, keys: SigningKeys) -> RecordAttestation:
    """Sign what ``house`` states about its newest cycle, over the ``tree`` of the journal that led to it.

    The result is the command that journals the envelope. Raises ``SignerAway`` if too few officers can sign.
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
    officers, threshold = keys.officers_at(statement.as_of_ms)
    return RecordAttestation(
        sequence=statement.sequence,
        cycle=house.newest_cycle.number,
        tree_size=journal.tree_size,
        payload_sha256=payload_digest(payload).hex(),
        envelope=sign(payload, PAYLOAD_TYPE, officers, at_least=threshold).decode(),
    )
