"""What a refused or failed call raises."""

from dataclasses import dataclass, field
from typing import cast

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status


@dataclass(frozen=True, slots=True)
class Violation:
    """A field of the request that is wrong, and why."""

    field: str
    description: str


@dataclass
class ClearingError(Exception):
    """A call that the house refused, or that did not reach it.

    ``reason`` is a stable upper-case word, such as IDEMPOTENCY_KEY_REUSED; empty when the house said none,
    because it was not reached. ``violations`` lists every wrong field. Send the same request again under
    ``request_id`` to learn what became of a change that got no answer.
    """

    code: grpc.StatusCode
    message: str
    reason: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()
    retry_delay_s: float | None = None
    """After which the same request is worth another try; None if the house named no such time."""
    request_id: str = ""
    """Of the request that failed; empty if it changes nothing."""

    def __str__(self) -> str:
        """The reason, or the code where there is none, and what it means."""
        return f"{self.reason or self.code.name}: {self.message}"

    @property
    def unreachable(self) -> bool:
        """Whether the house did not answer at all."""
        return not self.reason and self.code in {
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.DEADLINE_EXCEEDED,
        }


def of_call(error: grpc.RpcError, request_id: str = "") -> ClearingError:
    """The error that ``error``, raised by a stub, carries; ``request_id`` is that of the request."""
    status = _status(cast(grpc.Call, error))
    found = ClearingError(error.code(), error.details() or "", request_id=request_id)
    for detail in () if status is None else status.details:
        _read(detail, found)
    return found


def _status(call: grpc.Call) -> Status | None:
    try:
        status: Status | None = rpc_status.from_call(call)
    except ValueError:  # what stands between may have changed code or message: then its details say nothing
        return None
    return status


def _read(detail: Any, found: ClearingError) -> None:
    info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
    if detail.Unpack(info):
        found.reason, found.metadata = info.reason, dict(info.metadata)
    elif detail.Unpack(bad):
        found.violations = tuple(Violation(v.field, v.description) for v in bad.field_violations)
    elif detail.Unpack(retry):
        found.retry_delay_s = retry.retry_delay.ToTimedelta().total_seconds()
