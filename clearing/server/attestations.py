"""AttestationService."""

from collections.abc import Callable, Sequence

import grpc

from clearing.engine import Engine
from clearing.model.values import AttestationRecord
from clearing.server.calls import founded
from clearing.server.errors import Fault, Refused
from clearing.server.pages import page_of
from clearing.server.wire import attestations as wire
from clearing.server.wire import names
from clearing.server.wire.violations import require_valid
from clearinghouse.v1 import attestation_service_pb2 as pb
from clearinghouse.v1.attestation_service_pb2_grpc import AttestationServiceServicer

NUMBER_WIDTH = 19
"""Numbers are paged as text; written this wide, their order is that of their values."""


class Attestations(AttestationServiceServicer):
    """Shows what the house signed.

    ``journaled`` reads every attestation from the journal, oldest first.
    """

    def __init__(self, engine: Engine, journaled: Callable[[], Sequence[AttestationRecord]]) -> None:
        self._engine, self._journaled = engine, journaled

    def GetAttestation(  # named by the proto
        self, request: pb.GetAttestationRequest, context: grpc.ServicerContext
    ) -> pb.GetAttestationResponse:
        """One attestation by its number, or the latest."""
        require_valid(request)
        latest = founded(self._engine.view).attestation
        if latest is None:
            raise Refused(Fault.ATTESTATION_UNKNOWN, "none has been signed yet")
        if request.name in {names.LATEST_ATTESTATION, names.attestation(latest.sequence)}:
            return pb.GetAttestationResponse(attestation=wire.message(latest))
        found = (row for row in self._journaled() if names.attestation(row.sequence) == request.name)
        record = next(found, None)
        if record is None:
            raise Refused(Fault.ATTESTATION_UNKNOWN, request.name)
        return pb.GetAttestationResponse(attestation=wire.message(record))

    def ListAttestations(
        self, request: pb.ListAttestationsRequest, context: grpc.ServicerContext
    ) -> pb.ListAttestationsResponse:
        """All attestations, from the journal."""
        require_valid(request)
        records = {f"{row.sequence:0{NUMBER_WIDTH}}": row for row in self._journaled()}
        page = page_of(records, request, "attestations")
        return pb.ListAttestationsResponse(
            attestations=[wire.message(records[key]) for key in page.keys],
            next_page_token=page.next_token,
        )
