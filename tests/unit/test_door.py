"""The door before the request: places, allowances, requests that do not come or are no requests."""

import io
import json
import time
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import grpc
import pytest
import structlog
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from prometheus_client import generate_latest

from clearing import logs
from clearing.model.house import House
from clearing.server import interceptors
from clearing.server.drain import Drain
from clearing.server.errors import Fault, Refused
from clearing.server.identity import Role, parse_spiffe
from clearing.server.interceptors import Access, Authority, Inside, Patience, accesses, elements_of
from clearing.server.limits import ALLOWANCES, CALL_COST, LONG_AT_ONCE
from clearing.server.metrics import Metrics
from clearing.server.pools import Pool
from clearing.server.services import DESCRIBED
from clearing.server.watch import Call, Log
from clearinghouse.v1 import options_pb2
from clearinghouse.v1 import trade_service_pb2 as pb
from tests.unit.test_authority import Aborted, call_with
from tests.unit.test_identity import certificate

PATH = "/clearinghouse.v1.TradeService/SubmitTrades"
ACCESS = Access(allowed=frozenset({Role.MEMBER}), reach=options_pb2.REACH_OWN, own="parent")
ALPHA = "spiffe://h/member/alpha"
GOOD = pb.SubmitTradesRequest(parent="members/alpha", request_id="r-1")
TAKEN = {Fault.RATE_LIMITED.name, Fault.CALLS_TAKEN.name, Fault.STREAMS_TAKEN.name, Fault.OVERLOADED.name}
INSIDE = Inside(house="h", state=House, clock=lambda: 0, drain=Drain())


class Door:
    """A guarded method, and what was told of its calls."""

    def __init__(self, answer: Any = None, make: Any = grpc.unary_unary_rpc_method_handler) -> None:
        self.told: list[Call] = []
        self.metrics = Metrics()
        self.authority = Authority(INSIDE, {PATH: ACCESS}, told=(self.told.append, self.metrics))
        behaviour = answer or (lambda _request, _context: "answered")
        self.handler = make(behaviour, request_deserializer=pb.SubmitTradesRequest.FromString)

    def entered(self) -> Any:
        """What grpcio would run for a call that comes now."""
        found = self.authority.intercept_service(lambda _: self.handler, Mock(method=PATH))
        assert found is not None
        return found.stream_unary or found.stream_stream

    def call(self, *requests: pb.SubmitTradesRequest | bytes, caller: str | None = ALPHA) -> str:
        """``answered``, or the reason for the refusal."""
        sent = (r if isinstance(r, bytes) else r.SerializeToString() for r in requests)
        context = call_with() if caller is None else call_with(certificate(caller))
        try:
            return str(self.entered()(sent, context))
        except Aborted as aborted:
            return told_reason(aborted.status)


def told_reason(status: grpc.Status) -> str:
    """The reason in ErrorInfo; a refusal for lack of room comes with a time."""
    details = bytes(dict(status.trailing_metadata)["grpc-status-details-bin"])  # type: ignore[arg-type]
    info, retry = ErrorInfo(), RetryInfo()
    found = Status.FromString(details).details
    assert found[0].Unpack(info)
    if info.reason in TAKEN:
        assert found[1].Unpack(retry)
        assert retry.retry_delay.ToNanoseconds() > 0
    return info.reason


@pytest.fixture(autouse=True)
def _a_time_that_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic_ns", lambda: 10**15)


def test_a_good_call_is_answered_and_told_of() -> None:
    door = Door()
    assert door.call(GOOD) == "answered"
    (call,) = door.told
    assert (call.actor, call.request_id, call.code.name) == ("member/alpha", "r-1", "OK")


def test_a_caller_beyond_its_allowance_is_refused_before_its_request_is_read() -> None:
    door = Door()
    door.authority._limits.charge(parse_spiffe(ALPHA), ALLOWANCES[Role.MEMBER].burst - CALL_COST, 10**15)
    assert door.call(GOOD) == "answered"
    unread: Iterator[bytes] = iter([b"never read"])
    with pytest.raises(Aborted) as aborted:
        door.entered()(unread, call_with(certificate(ALPHA)))
    assert told_reason(aborted.value.status) == "RATE_LIMITED"
    assert list(unread) == [b"never read"]
    assert (
        door.call(pb.SubmitTradesRequest(parent="members/beta"), caller="spiffe://h/member/beta")
        == "answered"
    )


def test_denied_calls_use_the_allowance_too() -> None:
    door, rita = Door(), "spiffe://h/regulator/rita"
    door.authority._limits.charge(parse_spiffe(rita), ALLOWANCES[Role.REGULATOR].burst - CALL_COST, 10**15)
    assert door.call(GOOD, caller=rita) == "ROLE_NOT_ALLOWED"
    assert door.call(GOOD, caller=rita) == "RATE_LIMITED"


def test_a_batch_costs_its_elements() -> None:
    door = Door()
    batch = pb.SubmitTradesRequest(parent="members/alpha", trades=[pb.NewTrade()] * 1_000)
    assert elements_of(batch) == 1_000
    for _ in range(ALLOWANCES[Role.MEMBER].burst // 1_000):
        assert door.call(batch) == "answered"
    assert door.call(GOOD) == "RATE_LIMITED"


def test_one_caller_has_half_of_the_threads_at_most() -> None:
    inside: list[str] = []

    def answer(request: Any, context: Any) -> str:
        if len(inside) < ALLOWANCES[Role.MEMBER].calls:
            inside.append("one")
            return door.call(GOOD)
        return door.call(pb.SubmitTradesRequest(parent="members/beta"), caller="spiffe://h/member/beta")

    door = Door(answer)
    assert ALLOWANCES[Role.MEMBER].calls * 2 <= interceptors.CALLS_AT_ONCE
    assert door.call(GOOD) == "CALLS_TAKEN"
    assert door.told[0].reason == "CALLS_TAKEN"


def test_one_caller_goes_through_the_journal_twice_at_once_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interceptors, "LONG", frozenset({PATH}))
    inside: list[str] = []

    def answer(request: Any, context: Any) -> str:
        if len(inside) < LONG_AT_ONCE:
            inside.append("one")
            return door.call(GOOD)
        return door.call(pb.SubmitTradesRequest(parent="members/beta"), caller="spiffe://h/member/beta")

    door = Door(answer)
    assert door.call(GOOD) == "CALLS_TAKEN"
    assert len(inside) == LONG_AT_ONCE


def test_a_preview_takes_long_whatever_is_previewed() -> None:
    inside: list[str] = []
    preview = pb.SubmitTradesRequest(parent="members/alpha", request_id="r-1", validate_only=True)

    def answer(request: Any, context: Any) -> str:
        inside.append("one")
        return door.call(preview) if len(inside) <= LONG_AT_ONCE else "answered"

    door = Door(answer)
    assert door.call(preview) == "CALLS_TAKEN"
    assert len(inside) == LONG_AT_ONCE


def test_the_methods_that_take_long_are_there() -> None:
    assert set(accesses(DESCRIBED)) >= interceptors.LONG


def test_a_full_house_refuses_with_a_reason_and_without_waiting_for_the_request() -> None:
    door = Door()
    assert door.call(GOOD) == "answered"
    door.authority.calls._taken = door.authority.calls.places - 1
    assert door.call(GOOD) == "answered"
    door.authority.calls._taken += 1
    assert door.call() == "OVERLOADED"
    pool: Pool = vars(door.entered())["experimental_thread_pool"]
    assert pool is not door.authority.calls
    assert door.told[-1].actor == "member/alpha"


@pytest.mark.parametrize("junk", [b"\xff" * 100, b"\x0a\xff"])
def test_bytes_that_are_no_message_are_a_wrong_request_and_no_fault_of_the_house(junk: bytes) -> None:
    assert Door().call(junk) == "REQUEST_INVALID"


def test_a_call_without_a_request_is_a_wrong_request() -> None:
    assert Door().call() == "REQUEST_INVALID"


def test_a_caller_that_goes_is_not_an_error_of_the_house() -> None:
    def gone() -> Iterator[bytes]:
        yield from ()
        raise grpc.RpcError

    door = Door()
    with pytest.raises(grpc.RpcError):
        door.entered()(gone(), call_with(certificate(ALPHA)))
    assert door.told[0].code is grpc.StatusCode.CANCELLED


def test_a_stream_is_read_more_slowly_instead_of_being_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [10**15], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += int(seconds * 1e9) + 1

    monkeypatch.setattr(time, "monotonic_ns", lambda: now[0])
    monkeypatch.setattr(time, "sleep", sleep)
    door = Door(lambda requests, _context: sum(1 for _ in requests), grpc.stream_unary_rpc_method_handler)
    batch = pb.SubmitTradesRequest(parent="members/alpha", trades=[pb.NewTrade()] * 1_000)
    assert door.call(*[batch] * 100) == "100"
    allowed = ALLOWANCES[Role.MEMBER]
    assert sum(slept) == pytest.approx((100 * 1_000 - allowed.burst) / allowed.per_second, rel=0.01)


def test_each_request_of_a_stream_is_admitted() -> None:
    door = Door(lambda requests, _context: sum(1 for _ in requests), grpc.stream_unary_rpc_method_handler)
    assert door.call(GOOD, pb.SubmitTradesRequest(parent="members/beta")) == "NOT_YOURS"
    assert door.call(GOOD, b"\xff") == "REQUEST_INVALID"


def test_a_call_whose_request_does_not_come_is_ended() -> None:
    now = [0]
    patience, slow, new = Patience(lambda: now[0]), Mock(), Mock()
    with patience.wait(slow):
        now[0] = 5 * 10**9
        with patience.wait(new):
            now[0] = 10 * 10**9 - 1
            patience.look()
            assert not slow.cancel.called
            now[0] = 11 * 10**9
            patience.look()
            assert slow.cancel.called
            assert not new.cancel.called
    now[0] = 99 * 10**9
    patience.look()
    assert not new.cancel.called


# what is told -------------------------------------------------------------------------------------------

SECRETS = ("sk-secret", "123456.789", "PRIVATE KEY", "members/hidden")


def test_a_storm_of_refused_calls_leaves_none_of_their_secrets_in_the_log() -> None:
    said = logged()

    def answer(request: Any, context: Any) -> None:
        secret = request.trades[0].size
        raise (Refused(Fault.TRADE_UNKNOWN, secret) if request.request_id else ValueError(secret))

    door = Door(answer)
    door.authority._told = (Log(), door.metrics)
    for number in range(120):
        secret = SECRETS[number % len(SECRETS)]
        trade = pb.NewTrade(size=secret, price=secret, buyer=secret, trade_id=secret, seller=secret)
        parent = secret if number % 3 == 0 else "members/alpha"
        own_id = ("r-1", "", f"not an id {secret}")[number // 4 % 3]
        door.call(pb.SubmitTradesRequest(parent=parent, request_id=own_id, trades=[trade] * (number % 2 + 1)))
        door.call(secret.encode())
    lines = said.getvalue().splitlines()
    assert {json.loads(line)["event"] for line in lines} == {"refused", "denied", "unforeseen"}
    assert len(lines) > 120
    shown = said.getvalue() + exposed(door.metrics)
    for secret in SECRETS:
        assert secret not in shown


def test_mutations_and_refusals_are_lines_and_reads_are_not() -> None:
    said = logged()
    log = Log()
    log(Call(PATH, request_id="r-1", seconds=0.0123))
    log(Call(PATH))
    log(Call(PATH, code=grpc.StatusCode.NOT_FOUND, reason="TRADE_UNKNOWN"))
    log(Call(PATH, code=grpc.StatusCode.PERMISSION_DENIED, reason="NOT_YOURS"))
    lines = [json.loads(line) for line in said.getvalue().splitlines()]
    assert [(x["event"], x["level"], x["code"]) for x in lines] == [
        ("call", "info", "OK"),
        ("refused", "info", "NOT_FOUND"),
        ("denied", "warning", "PERMISSION_DENIED"),
    ]
    assert (lines[0]["request_id"], lines[0]["ms"], lines[0]["method"]) == ("r-1", 12.3, PATH)


def test_a_flood_of_refusals_for_lack_of_room_is_one_line_a_second() -> None:
    said, now = logged(), [5.0]
    log = Log(lambda: now[0])
    call = Call(PATH, code=grpc.StatusCode.RESOURCE_EXHAUSTED, reason="RATE_LIMITED")
    for _ in range(100):
        log(call)
    now[0] += 1.0
    log(call)
    assert [json.loads(line)["times"] for line in said.getvalue().splitlines()] == [1, 100]


def test_of_an_error_the_log_has_its_type_and_lines_and_not_its_words() -> None:
    said = logged()
    try:
        int("balance 31337")
    except ValueError as error:
        structlog.get_logger().error("unforeseen", exc_info=error)
    (line,) = said.getvalue().splitlines()
    told = json.loads(line)["exception"]
    assert told[0]["type"] == "ValueError"
    assert told[0]["frames"][0].endswith("words")
    assert "31337" not in line


def logged() -> io.StringIO:
    """What is logged from now on, as the house logs it."""
    said = io.StringIO()
    logs.write_lines("info", said)
    return said


@pytest.fixture(autouse=True)
def _the_log_as_it_was() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def exposed(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


def test_calls_are_counted_by_method_and_code_and_refusals_by_reason() -> None:
    door = Door()
    door.call(GOOD)
    door.call(GOOD, caller="spiffe://h/regulator/rita")
    door.call(GOOD, caller=None)
    shown = exposed(door.metrics)
    assert f'clearing_calls_total{{code="OK",method="{PATH}"}} 1.0' in shown
    assert 'clearing_denied_total{reason="ROLE_NOT_ALLOWED",role="regulator"} 1.0' in shown
    assert 'clearing_refused_total{reason="CERTIFICATE_MISSING"} 1.0' in shown
    assert f'clearing_call_seconds_count{{method="{PATH}"}} 3.0' in shown
