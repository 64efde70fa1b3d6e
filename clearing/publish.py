"""Publication after each cycle: sign, journal, and only then show (attestation.md §3, §5).

An attestation is a leaf of the journal before anyone sees it, so two different ones for the same
sequence cannot both be shown.
"""

from clearing.attest.signer import SigningKeys, sign_attestation, sign_checkpoint
from clearing.engine import Engine
from clearing.model.outcomes import Outcome
from clearing.store.queries import journal_leaves
from ledger.merkle import leaf_hash
from ledger.require import require
from ledger.store.connect import Database


class Publisher:
    """Signs for one house. Keeps the leaf hashes of the journal, which proofs are made of."""

    def __init__(self, engine: Engine, database: Database, keys: SigningKeys) -> None:
        self._engine, self._database, self._keys = engine, database, keys
        self._hashes: list[bytes] = []

    def publish_if_due(self) -> Outcome | None:
        """Attest the newest cycle if it is closed and not attested yet; the outcome of journaling it."""
        view = self._engine.view
        house = view.state
        if house.cycle is None or not house.cycle.closed:
            return None
        if house.attestation is not None and house.attestation.cycle == house.cycle.number:
            return None
        self._read_on(view.size)
        command = sign_attestation(house, self._hashes[: view.size], self._keys)
        return self._engine.execute(
            command, request_id=f"attestation/{command.sequence}", actor=f"house/{house.founded.house}"
        )

    def checkpoint(self) -> bytes:
        """The signed checkpoint of everything that is committed now."""
        view = self._engine.view
        return sign_checkpoint(self._keys, view.size, view.frontier.root())

    def _read_on(self, size: int) -> None:
        """Read the leaves that were committed since the last time; they are at least ``size`` then."""
        self._hashes += [leaf_hash(leaf) for leaf in journal_leaves(self._database, len(self._hashes))]
        require(len(self._hashes) >= size, "a published state is on disk")
