"""What a verifier takes away from a served house: policy, trust root, every attestation, and a checkpoint.

Beside each attestation lies the body of its entry: it hashes to a leaf of the public log, so that who has the log sees
that this attestation stands in it, and not another one.

Where the policy asks for witnesses, ``checkpoint.cosigned`` is the newest attested tree that their quorum cosigned.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from clearing.attest.envelope import VerifiedPayload
from clearing.attest.envelope import parse as parse_envelope
from clearing.attest.policy import Policy, format_policy, require_quorum
from clearing.attest.signer import SigningKeys, sign_checkpoint
from clearing.attest.statement import attested_checkpoint, parse
from clearing.model.values import AttestationRecord
from ledger.checkpoint import NoteRefused
from ledger.store.connect import StoreUnreachable
from ledger.tiles import COSIGNED


class Documents:
    """The files in a directory, with the checkpoint of the newest attestation.

    Without ``signing`` no checkpoint is written: the directory is that of the tiles and shows a newer one. ``renewed``
    gives policy and versions of the trust root as they are now, if that may change; without it, ``policy`` holds.
    ``bodies`` gives the bodies of the entries of all attestations.
    """

    def __init__(
        self,
        directory: Path,
        policy: Policy,
        signing: SigningKeys | None,
        records: Callable[[], Sequence[AttestationRecord]],
        *,
        renewed: "Renewed | None" = None,
        bodies: Callable[[], Sequence[bytes]] = list,
    ) -> None:
        self._directory, self._signing, self._records, self._bodies = directory, signing, records, bodies
        self._renewed: Renewed = renewed or (lambda: (policy, {}))
        self._written, self._believed = 0, self._renewed()
        self._cosigned: bytes | None = None

    def write_new(self, newest: AttestationRecord | None) -> None:
        """Write what is not there yet, if ``newest`` is not, or if verifiers are to believe something else."""
        if (newest is not None and newest.sequence > self._written) or self._renewed() != self._believed:
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
        policy, roots = believed = self._renewed()
        _replace(self._directory / "policy.txt", format_policy(policy))
        for number, root in roots.items():
            (self._directory / "trust").mkdir(exist_ok=True)
            _replace(self._directory / "trust" / f"{number}.root.json", root)
        if self._signing is not None and not self._written:
            self._drop_cosigned_under_another(policy)
        records = self._records()
        found = [(f"{number:06}.body", body) for number, body in enumerate(self._bodies(), start=1)]
        found += [(f"{record.sequence:06}.json", record.envelope.encode()) for record in records]
        for name, data in found:
            path = self._directory / "attestations" / name
            if not path.exists():
                _replace(path, data)
        if records and self._signing is not None:
            _replace(self._directory / "checkpoint", _checkpoint(records[-1], self._signing))
        self._written, self._believed = len(records), believed

    def _drop_cosigned_under_another(self, policy: Policy) -> None:
        path = self._directory / COSIGNED
        try:
            require_quorum(policy, path.read_bytes())
        except FileNotFoundError:
            return
        except NoteRefused:
            path.unlink()
        else:
            if not policy.asks_for_witnesses:
                path.unlink()


Renewed: TypeAlias = Callable[[], tuple[Policy, Mapping[int, bytes]]]
"""The policy, and the versions of the trust root by number."""


def _checkpoint(record: AttestationRecord, signing: SigningKeys) -> bytes:
    """The note over the tree that ``record`` speaks of; the anchor had it before it was attested.

    It came from the journal of this house, so it is not verified again: its officers may have been replaced since.
    """
    tree = attested_checkpoint(parse(VerifiedPayload(parse_envelope(record.envelope.encode()).payload)))
    return sign_checkpoint(signing, tree.size, tree.root)


def _replace(path: Path, data: bytes) -> None:
    """A file that is there is whole, also after the power failed: it is not written again."""
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
