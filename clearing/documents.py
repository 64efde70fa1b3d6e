"""What a verifier takes away from a served house: the policy, every attestation, and a checkpoint.

Where the policy asks for witnesses, ``checkpoint.cosigned`` is the newest attested tree that their quorum cosigned.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from clearing.attest.envelope import open_envelope
from clearing.attest.policy import Policy, format_policy, require_quorum
from clearing.attest.signer import SigningKeys, sign_checkpoint
from clearing.attest.statement import attested_checkpoint, parse
from clearing.model.values import AttestationRecord
from ledger.checkpoint import NoteRefused
from ledger.store.connect import StoreUnreachable
from ledger.tiles import COSIGNED


class Documents:
    """The files in a directory, with the checkpoint of the newest attestation.

    Without ``signing`` no checkpoint is written: the directory is that of the tiles and shows a newer one.
    """

    def __init__(
        self,
        directory: Path,
        policy: Policy,
        signing: SigningKeys | None,
        records: Callable[[], Sequence[AttestationRecord]],
    ) -> None:
        self._directory, self._policy, self._signing, self._records = directory, policy, signing, records
        self._written = 0
        self._cosigned: bytes | None = None

    def write_new(self, newest: AttestationRecord | None) -> None:
        """Write what is not there yet, if ``newest`` is not."""
        if newest is not None and newest.sequence > self._written:
            self.write()

    def write_cosigned(self, note: bytes | None) -> None:
        """Write the checkpoint of an attested tree that the quorum has cosigned. Raises ``StoreUnreachable``."""
        if note is None or self._signing is None or note == self._cosigned:
            return
        try:
            _replace(self._directory / COSIGNED, note)
        except OSError as error:
            raise StoreUnreachable(f"the documents for verifiers cannot be written: {error}") from error
        self._cosigned = note

    def write(self) -> None:
        """Write what is not there yet. Each file appears whole; an attestation is never written twice.

        Raises ``StoreUnreachable`` if it may be tried again.
        """
        try:
            self._write()
        except OSError as error:
            raise StoreUnreachable(f"the documents for verifiers cannot be written: {error}") from error

    def _write(self) -> None:
        (self._directory / "attestations").mkdir(parents=True, exist_ok=True)
        _replace(self._directory / "policy.txt", format_policy(self._policy))
        if self._signing is not None and not self._written:
            self._drop_cosigned_under_another_policy()
        records = self._records()
        for record in records:
            path = self._directory / "attestations" / f"{record.sequence:06}.json"
            if not path.exists():
                _replace(path, record.envelope.encode())
        if records and self._signing is not None:
            _replace(self._directory / "checkpoint", self._checkpoint(records[-1], self._signing))
        self._written = len(records)

    def _drop_cosigned_under_another_policy(self) -> None:
        path = self._directory / COSIGNED
        try:
            require_quorum(self._policy, path.read_bytes())
        except FileNotFoundError:
            return
        except NoteRefused:
            path.unlink()
        else:
            if not self._policy.asks_for_witnesses:
                path.unlink()

    def _checkpoint(self, record: AttestationRecord, signing: SigningKeys) -> bytes:
        """The note over the tree that ``record`` speaks of; the anchor had it before it was attested."""
        opened = open_envelope(record.envelope.encode(), self._policy.trust)
        tree = attested_checkpoint(parse(opened.payload))
        return sign_checkpoint(signing, tree.size, tree.root)


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(data)
    fresh.replace(path)
