"""Attestations on the wire."""

from clearing.model.values import AttestationRecord
from clearing.server.wire import names
from clearinghouse.v1 import attestation_service_pb2 as pb


def message(record: AttestationRecord) -> pb.Attestation:
    """A published attestation."""
    return pb.Attestation(
        name=names.attestation(record.sequence),
        tree_size=record.tree_size,
        payload_sha256=record.payload_sha256,
        envelope=record.envelope,
    )
