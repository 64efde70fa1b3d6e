"""How an attestation came about, for whom it concerns: the recompute bundle, and proofs of what is owed.

Both are made again from the state that the attestation speaks of, and are the same bytes each time (attestation.md §6,
§9). The newest such state is at hand; an older one is replayed from the journal, which takes as long as a start.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from clearing.attest.balances import liabilities_of
from clearing.attest.envelope import VerifiedPayload
from clearing.attest.envelope import parse as parse_envelope
from clearing.attest.inputs import bundle_of
from clearing.attest.liabilities import Proof, context_of, prove
from clearing.attest.recompute_bundle import RecomputeBundle
from clearing.attest.statement import Statement, parse
from clearing.model.house import House
from clearing.model.ids import MemberId
from clearing.model.values import AttestationRecord
from clearing.store.past import house_at
from clearing.store.queries import AttestationIndex
from ledger.store.connect import Database


class NothingAttested(LookupError):
    """None of the entries asked about is an attestation."""


@dataclass(frozen=True, slots=True)
class Attested:
    """An attestation of this house, and the state that it speaks of."""

    statement: Statement
    house: House


class Workings:
    """What attestations of one house were made from. Any thread may ask.

    ``recent`` gives the state of the newest attestation, if this process made it. ``blinding`` is the house's secret.
    """

    def __init__(self, database: Database, recent: Callable[[], House | None], blinding: bytes) -> None:
        self._database, self._recent, self._blinding = database, recent, blinding
        self._index = AttestationIndex(database)
        self._lock = threading.Lock()
        self._replayed: House | None = None

    def attestations(self) -> list[AttestationRecord]:
        """Every attestation in the journal, oldest first. Raises ``StoreUnreachable``."""
        return self._index.all()

    def bundle(self, as_of: int, member: MemberId | None) -> RecomputeBundle:
        """The bundle of the newest attestation among the first ``as_of`` entries, or of it what ``member`` may see.

        Raises :class:`NothingAttested`, ``StoreUnreachable``.
        """
        attested = self.newest(as_of)
        return bundle_of(attested.house, attested.statement, self._blinding, member)

    def liability(self, as_of: int, account: str) -> Proof:
        """That what ``account``, a path of the ledger, is owed was counted in that attestation.

        Raises as :meth:`bundle` does, and ``LiabilityRefused`` (``NOT_COUNTED``) if it is owed nothing.
        """
        attested = self.newest(as_of)
        _, tree = liabilities_of(attested.house, context_of(attested.statement), self._blinding)
        return prove(tree, account)

    def newest(self, as_of: int) -> Attested:
        """The newest attestation among the first ``as_of`` entries of the journal. Raises as :meth:`bundle`."""
        record = self._index.newest(as_of)
        if record is None:
            raise NothingAttested(f"none of the first {as_of} entries is an attestation")
        return Attested(_statement(record), self._house(record.tree_size))

    def _house(self, size: int) -> House:
        recent = self._recent()
        if recent is not None and recent.size == size:
            return recent
        with self._lock:
            if self._replayed is None or self._replayed.size != size:
                self._replayed = house_at(self._database, size)
            return self._replayed


def _statement(record: AttestationRecord) -> Statement:
    """What an attestation states. It came from the journal of this house, so it is not verified again."""
    return parse(VerifiedPayload(parse_envelope(record.envelope.encode()).payload))
