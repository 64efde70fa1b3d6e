"""The journal keeps every attestation that was signed, so two for one sequence cannot be shown."""

import re

from clearing.model.commands import RecordAttestation
from clearing.model.draft import Draft
from clearing.model.house import single
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import AttestationRecord


def record_attestation(draft: Draft, command: RecordAttestation) -> Rejected | None:
    """Journal an attestation that follows the last one."""
    last = draft.house.attestation
    expected = 1 if last is None else last.sequence + 1
    if command.sequence != expected:
        return Rejected(Reason.ATTESTATION_OUT_OF_ORDER, f"{command.sequence}, expected {expected}")
    if not re.fullmatch("[0-9a-f]{64}", command.payload_sha256):
        return Rejected(Reason.NAME_MALFORMED, "the digest has 64 lower-case hex digits")
    record = AttestationRecord(
        sequence=command.sequence,
        cycle=command.cycle,
        tree_size=command.tree_size,
        payload_sha256=command.payload_sha256,
        envelope=command.envelope,
    )
    draft.record(Kind.ATTESTED, single("attestation", record))
    draft.tell(Kind.ATTESTED, str(command.sequence))
    return None
