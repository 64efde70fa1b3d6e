"""Every error says its reason; every reason has a code; nothing else is told."""

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status as RpcStatus
from structlog.testing import capture_logs

from clearing.engine import HouseStopped
from clearing.model.outcomes import Outcome, Reason, Rejected, accepted, refused
from clearing.server.errors import (
    FIELDS_BYTES_MAX,
    REASON_CODES,
    Fault,
    Refused,
    require_accepted,
    sentence_of,
    to_status,
)
from clearing.server.wire.violations import RequestInvalid
from ledger.store.writer import ClockWentBack, Overloaded, RequestReused, StoreUnavailable

TRAILER_BYTES_MAX = 8_192
"""What grpc-java and the C core take by default, all trailers together."""


def details(status: grpc.Status) -> tuple[RpcStatus, ErrorInfo, BadRequest | None]:
    ((_, data),) = [
        (key, value) for key, value in status.trailing_metadata if key == "grpc-status-details-bin"
    ]
    assert isinstance(data, bytes)
    rich = RpcStatus.FromString(data)
    info, bad = ErrorInfo(), BadRequest()
    assert rich.details[0].Unpack(info)
    has_fields = len(rich.details) > 1 and rich.details[1].Unpack(bad)
    return rich, info, bad if has_fields else None


def test_every_reason_has_a_code() -> None:
    missing = set(Reason) - set(REASON_CODES)
    assert not missing, f"give these a gRPC code in REASON_CODES: {missing}"


def test_no_reason_of_the_interface_is_a_reason_of_the_house() -> None:
    assert not {fault.name for fault in Fault} & {reason.name for reason in Reason}


@pytest.mark.parametrize("reason", list(Reason))
def test_a_refusal_carries_its_reason_and_the_figures(reason: Reason) -> None:
    status = to_status(Refused(reason, "1 of 2"))
    rich, info, bad = details(status)
    assert (status.code, info.reason, info.domain) == (REASON_CODES[reason], reason.name, "clearinghouse")
    assert rich.code == REASON_CODES[reason].value[0]
    assert status.details == f"{reason.value}: 1 of 2"
    assert info.metadata == {"detail": "1 of 2"}
    assert bad is None


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (RequestReused("x"), grpc.StatusCode.ALREADY_EXISTS, "IDEMPOTENCY_KEY_REUSED"),
        (StoreUnavailable("disk full at /secret"), grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"),
        (Overloaded("x"), grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED"),
        (ClockWentBack("x"), grpc.StatusCode.UNAVAILABLE, "CLOCK_WENT_BACK"),
        (HouseStopped("a law of the book"), grpc.StatusCode.UNAVAILABLE, "HOUSE_STOPPED"),
    ],
)
def test_what_the_engine_raises_has_a_reason_and_leaks_nothing(
    error: Exception, code: grpc.StatusCode, reason: str
) -> None:
    status = to_status(error)
    _, info, _ = details(status)
    assert (status.code, info.reason) == (code, reason)
    assert str(error) not in status.details or str(error) == "x"


def test_a_full_house_says_when_to_come_again() -> None:
    status = to_status(Overloaded("the history is 2001 ms behind the journal"))
    rich, _, _ = details(status)
    retry = RetryInfo()
    assert rich.details[1].Unpack(retry)
    assert retry.retry_delay.seconds == 1


def test_what_nobody_foresaw_is_internal_with_an_incident_and_nothing_else() -> None:
    with capture_logs() as logged:
        status = to_status(KeyError("the balance of alice is 5"))
    _, info, _ = details(status)
    assert (status.code, info.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "alice" not in str(status)
    ((incident,),) = [list(info.metadata.values())]
    assert logged[0]["incident"] == incident
    assert "alice" in str(logged[0]["exc_info"])


def test_all_wrong_fields_are_listed() -> None:
    status = to_status(RequestInvalid({"a": "is wrong", "b[1].c": "is wrong too"}))
    _, info, bad = details(status)
    assert (status.code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID")
    assert bad is not None
    assert {(v.field, v.description) for v in bad.field_violations} == {
        ("a", "is wrong"),
        ("b[1].c", "is wrong too"),
    }
    assert status.details == "fields of the request are wrong: a is wrong, and 1 more"


def test_a_long_list_of_wrong_fields_fits_into_trailers_and_says_how_many_there_are() -> None:
    status = to_status(RequestInvalid({f"trades[{n}].price": "must be a number" * 5 for n in range(7_000)}))
    rich, info, bad = details(status)
    assert info.metadata == {"violations": "7000"}
    assert bad is not None
    assert 10 < len(bad.field_violations) < 7_000
    assert bad.ByteSize() <= FIELDS_BYTES_MAX
    assert rich.ByteSize() * 4 / 3 < TRAILER_BYTES_MAX


def test_only_a_refusal_of_the_command_itself_is_an_error() -> None:
    rejected = Rejected(Reason.MARGIN_INSUFFICIENT, "5")
    require_accepted(Outcome(results=(accepted("t-1"), refused(rejected, "t-2"))))
    with pytest.raises(Refused) as error:
        require_accepted(Outcome(results=(refused(rejected),)))
    assert error.value.reason == "MARGIN_INSUFFICIENT"
    assert sentence_of(refused(rejected)) == f"{Reason.MARGIN_INSUFFICIENT.value}: 5"
    assert sentence_of(accepted()) == ""
