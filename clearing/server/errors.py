"""Errors as callers see them: google.rpc.Status with ErrorInfo always, BadRequest when fields are wrong.

Rules kept here: a reason is a stable upper-case word; every reason of the model has its gRPC code in one
table; what nobody foresaw says INTERNAL, an incident number for the log, and nothing else. Details travel in
trailers, which foreign clients limit to 8 KiB, so a long list of wrong fields is cut and says so.
"""

import uuid
from collections.abc import Mapping
from enum import Enum

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status as RpcStatus
from grpc_status import rpc_status

from clearing.engine import DeadlinePassed, HouseStopped
from clearing.model.outcomes import Outcome, Reason, Result, Status
from clearing.server.wire.violations import RequestInvalid
from ledger.store.connect import OutcomeUnknown, StoreUnreachable
from ledger.store.projector import HistoryBehind, HistoryFailed
from ledger.store.writer import ClockWentBack, Overloaded, RequestReused, StoreUnavailable

DOMAIN = "clearinghouse"
"""Of every ErrorInfo: whose reasons these are."""
FIELDS_BYTES_MAX = 4_096
MESSAGE_CHARS_MAX = 1_000
RETRY_MS = 1_000
"""After which a call that came at a full house is worth another try."""

Code = grpc.StatusCode

REASON_CODES: Mapping[Reason, grpc.StatusCode] = {
    Reason.HOUSE_NOT_FOUNDED: Code.FAILED_PRECONDITION,
    Reason.HOUSE_ALREADY_FOUNDED: Code.ALREADY_EXISTS,
    Reason.NAME_MALFORMED: Code.INVALID_ARGUMENT,
    Reason.TERM_OUT_OF_RANGE: Code.INVALID_ARGUMENT,
    Reason.ALREADY_EXISTS: Code.ALREADY_EXISTS,
    Reason.MEMBER_UNKNOWN: Code.NOT_FOUND,
    Reason.MEMBER_NOT_ACTIVE: Code.FAILED_PRECONDITION,
    Reason.MEMBER_NOT_ADMITTED: Code.FAILED_PRECONDITION,
    Reason.MEMBER_SUSPENDED: Code.FAILED_PRECONDITION,
    Reason.MEMBER_LEFT: Code.FAILED_PRECONDITION,
    Reason.MEMBER_NOT_SUSPENDED: Code.FAILED_PRECONDITION,
    Reason.MEMBER_BOUND: Code.FAILED_PRECONDITION,
    Reason.ASSET_UNKNOWN: Code.NOT_FOUND,
    Reason.AMOUNT_NOT_POSITIVE: Code.INVALID_ARGUMENT,
    Reason.AMOUNT_TOO_LARGE: Code.OUT_OF_RANGE,
    Reason.ACCOUNT_UNKNOWN: Code.NOT_FOUND,
    Reason.ACCOUNT_CLOSED_OUT: Code.FAILED_PRECONDITION,
    Reason.ACCOUNT_PORTED: Code.FAILED_PRECONDITION,
    Reason.ACCOUNT_LINKED: Code.FAILED_PRECONDITION,
    Reason.CALL_OPEN: Code.FAILED_PRECONDITION,
    Reason.PORTING_UNKNOWN: Code.NOT_FOUND,
    Reason.PORTING_OVER: Code.FAILED_PRECONDITION,
    Reason.PORTING_OF_A_LINK: Code.PERMISSION_DENIED,
    Reason.SET_NOT_HEALTHY: Code.FAILED_PRECONDITION,
    Reason.DEFAULT_OPEN: Code.FAILED_PRECONDITION,
    Reason.OTHER_NOT_LINKABLE: Code.FAILED_PRECONDITION,
    Reason.LINK_UNKNOWN: Code.NOT_FOUND,
    Reason.LINK_TOO_SMALL: Code.INVALID_ARGUMENT,
    Reason.PARTICIPANT_DIFFERS: Code.FAILED_PRECONDITION,
    Reason.ACCOUNT_NOT_YOURS: Code.PERMISSION_DENIED,
    Reason.PUBLIC_KEY_UNSOUND: Code.INVALID_ARGUMENT,
    Reason.PROVIDER_KNOWN: Code.ALREADY_EXISTS,
    Reason.AUCTION_UNKNOWN: Code.NOT_FOUND,
    Reason.AUCTION_CLOSED: Code.FAILED_PRECONDITION,
    Reason.NOT_A_PROVIDER: Code.FAILED_PRECONDITION,
    Reason.BIDDER_EXCLUDED: Code.FAILED_PRECONDITION,
    Reason.BID_UNKNOWN: Code.NOT_FOUND,
    Reason.BATCH_EMPTY: Code.INVALID_ARGUMENT,
    Reason.BATCH_TOO_LARGE: Code.INVALID_ARGUMENT,
    Reason.SOURCE_UNKNOWN: Code.NOT_FOUND,
    Reason.SOURCE_RETIRED: Code.FAILED_PRECONDITION,
    Reason.SIGNATURE_INVALID: Code.PERMISSION_DENIED,
    Reason.SEQUENCE_REPLAYED: Code.FAILED_PRECONDITION,
    Reason.PRICE_STALE: Code.FAILED_PRECONDITION,
    Reason.PRICE_NOT_POSITIVE: Code.INVALID_ARGUMENT,
    Reason.PRICE_TOO_LARGE: Code.OUT_OF_RANGE,
    Reason.PRICE_TOO_SMALL: Code.OUT_OF_RANGE,
    Reason.FEED_UNKNOWN: Code.NOT_FOUND,
    Reason.FEED_REPEATED: Code.INVALID_ARGUMENT,
    Reason.TRADE_DUPLICATE: Code.ALREADY_EXISTS,
    Reason.TRADE_ID_REUSED: Code.ALREADY_EXISTS,
    Reason.INSTRUMENT_UNKNOWN: Code.NOT_FOUND,
    Reason.INSTRUMENT_NOT_ACTIVE: Code.FAILED_PRECONDITION,
    Reason.INSTRUMENT_NOT_PERPETUAL: Code.FAILED_PRECONDITION,
    Reason.TRADE_REF_NOT_WANTED: Code.INVALID_ARGUMENT,
    Reason.TRADE_REF_TAKEN: Code.ALREADY_EXISTS,
    Reason.HALVES_DIFFER: Code.FAILED_PRECONDITION,
    Reason.HALF_IN_GROUP: Code.FAILED_PRECONDITION,
    Reason.GROUP_REFUSED: Code.FAILED_PRECONDITION,
    Reason.BUYER_IS_SELLER: Code.INVALID_ARGUMENT,
    Reason.LOTS_OUT_OF_RANGE: Code.OUT_OF_RANGE,
    Reason.HALTED: Code.FAILED_PRECONDITION,
    Reason.REDUCE_ONLY: Code.FAILED_PRECONDITION,
    Reason.MARK_STALE: Code.FAILED_PRECONDITION,
    Reason.PRICE_OUTSIDE_BAND: Code.FAILED_PRECONDITION,
    Reason.MARGIN_INSUFFICIENT: Code.FAILED_PRECONDITION,
    Reason.GAIN_WITHHELD: Code.FAILED_PRECONDITION,
    Reason.CASH_INSUFFICIENT: Code.FAILED_PRECONDITION,
    Reason.GATE_SHUT: Code.FAILED_PRECONDITION,
    Reason.WITHDRAWAL_EXCEEDS: Code.FAILED_PRECONDITION,
    Reason.WITHDRAWAL_UNKNOWN: Code.NOT_FOUND,
    Reason.WITHDRAWAL_SETTLED: Code.FAILED_PRECONDITION,
    Reason.WITHDRAWAL_SENT: Code.FAILED_PRECONDITION,
    Reason.WITHDRAWAL_NOT_SENT: Code.FAILED_PRECONDITION,
    Reason.ACCOUNTS_NOT_LINKED: Code.FAILED_PRECONDITION,
    Reason.SET_ENDING: Code.FAILED_PRECONDITION,
    Reason.MOVE_EXCEEDS: Code.FAILED_PRECONDITION,
    Reason.CUSTODY_INSUFFICIENT: Code.FAILED_PRECONDITION,
    Reason.LOSS_SMALLER: Code.FAILED_PRECONDITION,
    Reason.NOTHING_DUE: Code.FAILED_PRECONDITION,
    Reason.DEFAULT_UNKNOWN: Code.NOT_FOUND,
    Reason.DEFAULT_NOT_RECOVERING: Code.FAILED_PRECONDITION,
    Reason.SERIAL_MALFORMED: Code.INVALID_ARGUMENT,
    Reason.JURISDICTION_MALFORMED: Code.INVALID_ARGUMENT,
    Reason.GRANT_UNKNOWN: Code.NOT_FOUND,
    Reason.NOT_AN_ADMINISTRATOR: Code.PERMISSION_DENIED,
    Reason.SAME_ADMINISTRATOR: Code.PERMISSION_DENIED,
    Reason.TWO_ADMINISTRATORS_NEEDED: Code.FAILED_PRECONDITION,
    Reason.CHANGE_MALFORMED: Code.INVALID_ARGUMENT,
    Reason.HISTORY_MALFORMED: Code.INVALID_ARGUMENT,
    Reason.HISTORY_KNOWN: Code.FAILED_PRECONDITION,
    Reason.REASON_MALFORMED: Code.INVALID_ARGUMENT,
    Reason.PROPOSAL_UNKNOWN: Code.NOT_FOUND,
    Reason.PROPOSAL_ENDED: Code.FAILED_PRECONDITION,
    Reason.PROPOSAL_OUTDATED: Code.FAILED_PRECONDITION,
    Reason.NOT_A_TIGHTENING: Code.FAILED_PRECONDITION,
    Reason.OUTAGE: Code.FAILED_PRECONDITION,
    Reason.NO_OUTAGE: Code.FAILED_PRECONDITION,
    Reason.OUTAGE_TOO_SHORT: Code.FAILED_PRECONDITION,
    Reason.DEFAULT_NOT_DECLARED: Code.FAILED_PRECONDITION,
    Reason.NOTHING_UNCOVERED: Code.FAILED_PRECONDITION,
    Reason.HOUSE_WOUND_DOWN: Code.FAILED_PRECONDITION,
    Reason.ATTESTATION_OUT_OF_ORDER: Code.FAILED_PRECONDITION,
}


class Fault(Enum):
    """Why the interface itself refused a call. The name is the ``reason`` of ErrorInfo."""

    CERTIFICATE_MISSING = (Code.UNAUTHENTICATED, "the call came without a client certificate")
    IDENTITY_REFUSED = (Code.UNAUTHENTICATED, "the client certificate does not say who you are")
    CERTIFICATE_EXPIRED = (Code.UNAUTHENTICATED, "the client certificate has expired")
    CERTIFICATE_REVOKED = (Code.UNAUTHENTICATED, "the client certificate was revoked")
    METHOD_CLOSED = (Code.PERMISSION_DENIED, "nobody may call this method")
    ROLE_NOT_ALLOWED = (Code.PERMISSION_DENIED, "your role may not call this method")
    GRANT_TOO_NARROW = (
        Code.PERMISSION_DENIED,
        "this is about all members together, and you were granted those of some jurisdictions",
    )
    NOT_YOURS = (Code.PERMISSION_DENIED, "you may name only what is yours")
    REQUEST_INVALID = (Code.INVALID_ARGUMENT, "fields of the request are wrong")
    IDEMPOTENCY_KEY_REUSED = (Code.ALREADY_EXISTS, "the request id was used before with another body")
    RATE_LIMITED = (Code.RESOURCE_EXHAUSTED, "you have used your allowance; wait as long as RetryInfo says")
    CALLS_TAKEN = (Code.RESOURCE_EXHAUSTED, "too many of your calls run at once; wait for their answers")
    STREAMS_TAKEN = (Code.RESOURCE_EXHAUSTED, "every place for an open stream is taken; try again later")
    TRADE_UNKNOWN = (Code.NOT_FOUND, "no such trade")
    NETTING_SET_UNKNOWN = (Code.NOT_FOUND, "no such netting set")
    SCENARIO_UNKNOWN = (Code.NOT_FOUND, "the stress library has no such scenario")
    ATTESTATION_UNKNOWN = (Code.NOT_FOUND, "no such attestation")
    LIABILITY_UNKNOWN = (Code.NOT_FOUND, "nothing is owed on this account as of that attestation")
    ATTESTATION_REPLAYED = (
        Code.UNAVAILABLE,
        "the state of an older attestation is replayed, one at a time and not all the time; ask again in a while",
    )
    ATTESTATION_NOT_REPRODUCED = (
        Code.FAILED_PRECONDITION,
        "the house has another secret or another program than when it attested, and cannot make this again",
    )
    CHECKPOINT_UNKNOWN = (Code.NOT_FOUND, "no checkpoint has been signed yet")
    ENTRY_UNKNOWN = (Code.NOT_FOUND, "no such entry, or none that you may see")
    ENTRY_NOT_SHOWN_YET = (
        Code.UNAVAILABLE,
        "the entry is not in a signed checkpoint yet; ask again in a moment",
    )
    RECEIPT_TOO_LONG = (
        Code.FAILED_PRECONDITION,
        "the account has more legs in the entry than a receipt shows",
    )
    TILE_UNKNOWN = (Code.NOT_FOUND, "no such tile")
    REPORT_UNKNOWN = (Code.NOT_FOUND, "no such report, or none that you may pull")
    REPORT_NOT_REPRODUCED = (
        Code.FAILED_PRECONDITION,
        "the report was signed before, its file is gone, and this program would make another one",
    )
    REPORT_TOO_LARGE = (Code.FAILED_PRECONDITION, "the report does not fit into this form")
    REPORT_NOT_KEPT = (Code.UNAVAILABLE, "the house cannot keep the file of the report now; ask again later")
    REPORT_NOT_SIGNED = (Code.UNAVAILABLE, "too few officers can sign now; ask again later")
    SEQUENCE_AHEAD = (Code.OUT_OF_RANGE, "the journal has not come so far")
    HISTORY_BEHIND = (Code.UNAVAILABLE, "the history has not come so far; ask again in a moment")
    OVERLOADED = (Code.RESOURCE_EXHAUSTED, "too much waits already; send the same request again in a moment")
    STORE_UNAVAILABLE = (Code.UNAVAILABLE, "nothing was recorded; send the same request again")
    DEADLINE_PASSED = (Code.DEADLINE_EXCEEDED, "your deadline came first; nothing was recorded")
    OUTCOME_UNKNOWN = (
        Code.UNAVAILABLE,
        "the store failed while it was recorded; send the same request again",
    )
    CLOCK_WENT_BACK = (Code.UNAVAILABLE, "the clock went back and nothing is recorded until it has caught up")
    HOUSE_STOPPING = (Code.UNAVAILABLE, "the house is about to stop; send the same request again in a moment")
    HOUSE_STOPPED = (Code.UNAVAILABLE, "the house takes no more commands; its operators have been told why")
    INTERNAL = (Code.INTERNAL, "an error of the house; name the incident when you report it")

    @property
    def code(self) -> grpc.StatusCode:
        """The gRPC status code."""
        return self.value[0]

    @property
    def sentence(self) -> str:
        """What it means."""
        return self.value[1]


class Refused(Exception):
    """A call that is refused, or failed, for a reason that has a name."""

    retry_ms = RETRY_MS
    """For one that found no place: when to come back."""

    def __init__(self, cause: Reason | Fault, detail: str = "", **metadata: str) -> None:
        self.code = REASON_CODES[cause] if isinstance(cause, Reason) else cause.code
        self.reason = cause.name
        sentence = cause.value if isinstance(cause, Reason) else cause.sentence
        self.metadata = metadata | ({"detail": detail} if detail else {})
        super().__init__(f"{sentence}: {detail}" if detail else sentence)


_FAULTS: Mapping[type[Exception], Fault] = {
    RequestReused: Fault.IDEMPOTENCY_KEY_REUSED,
    Overloaded: Fault.OVERLOADED,
    StoreUnavailable: Fault.STORE_UNAVAILABLE,
    OutcomeUnknown: Fault.OUTCOME_UNKNOWN,
    ClockWentBack: Fault.CLOCK_WENT_BACK,
    DeadlinePassed: Fault.DEADLINE_PASSED,
    HouseStopped: Fault.HOUSE_STOPPED,
    HistoryBehind: Fault.HISTORY_BEHIND,
    HistoryFailed: Fault.HISTORY_BEHIND,
    StoreUnreachable: Fault.STORE_UNAVAILABLE,
}

_SOON = frozenset({Fault.ENTRY_NOT_SHOWN_YET.name, Fault.HISTORY_BEHIND.name})
"""Reasons that are over in a moment, whatever their code."""


def require_accepted(outcome: Outcome) -> None:
    """Raise :class:`Refused` if the command itself, not an element of its batch, was refused."""
    for result in outcome.results:
        if result.status is Status.REFUSED and not result.key:
            raise Refused(Reason[result.reason], result.detail)


def sentence_of(result: Result) -> str:
    """The reason of an element of a batch as a sentence with its figures; empty without a reason."""
    if not result.reason:
        return ""
    sentence = Reason[result.reason].value
    return f"{sentence}: {result.detail}" if result.detail else sentence


class FieldsWrong(Refused):
    """A request of which fields are wrong."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(Fault.REQUEST_INVALID, violations=str(len(fields)))
        self.fields = fields


def refusal_of(error: Exception) -> Refused:
    """What ``error`` is to a caller; what nobody foresaw is logged under an incident number."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, RequestInvalid):
        return FieldsWrong(error.fields)
    fault = _FAULTS.get(type(error))
    if fault is not None:
        return Refused(fault)
    incident = uuid.uuid4().hex
    structlog.get_logger().error("unforeseen", incident=incident, exc_info=error)
    return Refused(Fault.INTERNAL, incident=incident)


def to_status(error: Exception) -> grpc.Status:
    """The status that a caller gets for ``error``."""
    refused = refusal_of(error)
    return _invalid(refused) if isinstance(refused, FieldsWrong) else _status(refused)


def _invalid(refused: FieldsWrong) -> grpc.Status:
    """Every wrong field, as far as they fit into trailers."""
    found = [BadRequest.FieldViolation(field=f, description=d) for f, d in refused.fields.items()]
    bad, size = BadRequest(), 0
    for violation in found:
        size += violation.ByteSize() + 4
        if size > FIELDS_BYTES_MAX:
            break
        bad.field_violations.append(violation)
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    message = f"{refused}: {found[0].field} {found[0].description}{more}"
    info = ErrorInfo(reason=refused.reason, domain=DOMAIN, metadata=refused.metadata)
    return _packed(refused.code, message, info, bad)


def _status(refused: Refused) -> grpc.Status:
    info = ErrorInfo(reason=refused.reason, domain=DOMAIN, metadata=refused.metadata)
    if refused.code is Code.RESOURCE_EXHAUSTED or refused.reason in _SOON:
        delay = Duration(seconds=refused.retry_ms // 1_000, nanos=refused.retry_ms % 1_000 * 1_000_000)
        return _packed(refused.code, str(refused), info, RetryInfo(retry_delay=delay))
    return _packed(refused.code, str(refused), info)


def _packed(code: grpc.StatusCode, message: str, *details: Message) -> grpc.Status:
    status = RpcStatus(code=code.value[0], message=message[:MESSAGE_CHARS_MAX])
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    made: grpc.Status = rpc_status.to_status(status)
    return made
