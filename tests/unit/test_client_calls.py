"""How the client makes its calls, against a server that says what a test wants; for threads and for asyncio."""

import asyncio
import hashlib
import io
import json
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

import clearinghouse.v1
from clearing_client import aio, calls, client
from clearing_client.aio import AsyncClient
from clearing_client.client import Client, new_trade
from clearing_client.connect import insecure_channel, service_config
from clearing_client.errors import ClearingError, Violation
from clearing_client.following import PAUSE_MAX_S, Follower, Pauses
from clearing_client.reports import Download, ReportBroken, pull_request
from clearing_client.requests import PAGE_SIZE, identified, new_id, page_after
from clearinghouse.v1 import event_service_pb2 as event_pb
from clearinghouse.v1 import house_service_pb2 as house_pb
from clearinghouse.v1 import report_service_pb2 as report_pb
from clearinghouse.v1 import trade_service_pb2 as trade_pb

WHO = "member/alpha"
Answer: TypeAlias = Callable[[Any, grpc.ServicerContext], Any]


@dataclass
class Scripted(grpc.GenericRpcHandler):
    """A server whose methods answer as scripted, and that remembers what it was asked."""

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[Any] = field(default_factory=list)
    metadata: list[dict[str, Any]] = field(default_factory=list)
    left_s: list[float] = field(default_factory=list)
    address: str = ""

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        name = handler_call_details.method.rpartition("/")[2]
        streams = name in {"StreamEvents", "DownloadReport"}
        make = grpc.unary_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler

        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            self.asked.append(request)
            self.metadata.append(dict(context.invocation_metadata()))
            self.left_s.append(context.time_remaining() or 0.0)
            return self.answers[name](request, context)

        return make(
            answer,
            request_deserializer=REQUESTS[name],
            response_serializer=lambda message: message.SerializeToString(),
        )


REQUESTS: dict[str, Any] = {
    "GetHouse": house_pb.GetHouseRequest.FromString,
    "SubmitTrades": trade_pb.SubmitTradesRequest.FromString,
    "ListTrades": trade_pb.ListTradesRequest.FromString,
    "StreamEvents": event_pb.StreamEventsRequest.FromString,
    "DownloadReport": report_pb.DownloadReportRequest.FromString,
    "PullReport": report_pb.PullReportRequest.FromString,
}


@contextmanager
def serving(scripted: Scripted, address: str = "127.0.0.1:0") -> Iterator[Scripted]:
    server = grpc.server(
        futures.ThreadPoolExecutor(8), handlers=[scripted], options=[("grpc.so_reuseport", 0)]
    )
    scripted.address = f"127.0.0.1:{server.add_insecure_port(address)}"
    server.start()
    try:
        yield scripted
    finally:
        server.stop(None).wait()


@pytest.fixture
def house() -> Iterator[Scripted]:
    with serving(Scripted()) as scripted:
        yield scripted


def refusing(
    code: grpc.StatusCode, *details: Message, times: int = 1_000, then: Answer | None = None
) -> Answer:
    """Refuses ``times`` times, then answers."""
    refused = iter(range(times))

    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        if next(refused, None) is None and then is not None:
            return then(request, context)
        status = Status(code=code.value[0], message="no")
        for detail in details:
            packed = AnyMessage()
            packed.Pack(detail)
            status.details.append(packed)
        context.abort_with_status(rpc_status.to_status(status))
        raise AssertionError("abort raises")

    return answer


def full(delay_s: float) -> tuple[Message, ...]:
    delay = Duration(nanos=int(delay_s * 1_000_000_000))
    return ErrorInfo(reason="OVERLOADED"), RetryInfo(retry_delay=delay)


def novating(request: trade_pb.SubmitTradesRequest, _: grpc.ServicerContext) -> trade_pb.SubmitTradesResponse:
    return trade_pb.SubmitTradesResponse(
        results=[trade_pb.TradeResult(trade=trade.trade_id) for trade in request.trades]
    )


Submit: TypeAlias = Callable[[str, trade_pb.SubmitTradesRequest], trade_pb.SubmitTradesResponse]


def by_thread(address: str, request: trade_pb.SubmitTradesRequest) -> trade_pb.SubmitTradesResponse:
    with Client.connect_insecurely(address, WHO) as connected:
        return connected.trades.SubmitTrades(request, timeout=5)


def by_task(address: str, request: trade_pb.SubmitTradesRequest) -> trade_pb.SubmitTradesResponse:
    async def submit() -> trade_pb.SubmitTradesResponse:
        async with AsyncClient.connect_insecurely(address, WHO) as connected:
            return await connected.trades.SubmitTrades(request, timeout=5)

    return asyncio.run(submit())


both = pytest.mark.parametrize("submit", [by_thread, by_task], ids=["threads", "asyncio"])


# request ids --------------------------------------------------------------------------------------------


@both
def test_a_request_id_is_made_once_and_goes_out_at_every_try(house: Scripted, submit: Submit) -> None:
    lost = refusing(grpc.StatusCode.UNAVAILABLE, times=2, then=novating)
    overloaded = refusing(grpc.StatusCode.RESOURCE_EXHAUSTED, *full(0.01), times=2, then=lost)
    house.answers["SubmitTrades"] = overloaded
    request = trade_pb.SubmitTradesRequest(parent="members/alpha")
    submit(house.address, request)
    assert len(house.asked) == 5
    (sent,) = {asked.request_id for asked in house.asked}
    assert len(sent) == 32
    assert request.request_id == "", "the caller's own message stays as it is"


@both
def test_a_request_id_of_the_callers_is_kept(house: Scripted, submit: Submit) -> None:
    house.answers["SubmitTrades"] = novating
    submit(house.address, trade_pb.SubmitTradesRequest(request_id="mine"))
    submit(house.address, trade_pb.SubmitTradesRequest())
    submit(house.address, trade_pb.SubmitTradesRequest())
    assert house.asked[0].request_id == "mine"
    assert len({asked.request_id for asked in house.asked}) == 3


def test_a_read_stays_as_it_is_and_ids_grow_with_time() -> None:
    read = house_pb.GetHouseRequest()
    assert identified(read) is read
    ids = [new_id() for _ in range(100)]
    assert len(set(ids)) == 100
    assert [text[:12] for text in ids] == sorted(text[:12] for text in ids)
    assert {text[12] for text in ids} == {"7"}


# errors, deadlines, retries -----------------------------------------------------------------------------


@both
def test_an_error_says_everything_that_the_house_said(house: Scripted, submit: Submit) -> None:
    violation = BadRequest.FieldViolation(field="trades[0].size", description="must be above zero")
    details = (
        ErrorInfo(reason="REQUEST_INVALID", metadata={"a": "b"}),
        BadRequest(field_violations=[violation]),
    )
    house.answers["SubmitTrades"] = refusing(grpc.StatusCode.INVALID_ARGUMENT, *details)
    with pytest.raises(ClearingError) as caught:
        submit(house.address, trade_pb.SubmitTradesRequest(request_id="mine"))
    error = caught.value
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID")
    assert error.metadata == {"a": "b"}
    assert error.violations == (Violation("trades[0].size", "must be above zero"),)
    assert (error.request_id, error.retry_delay_s, str(error)) == ("mine", None, "REQUEST_INVALID: no")
    assert len(house.asked) == 1


@both
def test_a_full_house_is_asked_again_a_bounded_number_of_times(house: Scripted, submit: Submit) -> None:
    house.answers["SubmitTrades"] = refusing(grpc.StatusCode.RESOURCE_EXHAUSTED, *full(0.01))
    with pytest.raises(ClearingError) as caught:
        submit(house.address, trade_pb.SubmitTradesRequest())
    assert (caught.value.reason, caught.value.retry_delay_s) == ("OVERLOADED", 0.01)
    assert len(house.asked) == 1 + calls.FULL_TRIES_MAX


@both
def test_a_full_house_is_not_asked_again_beyond_the_deadline_or_without_a_time(
    house: Scripted, submit: Submit
) -> None:
    details = ErrorInfo(reason="OVERLOADED"), RetryInfo(retry_delay=Duration(seconds=6))
    for said in (details, details[:1]):
        house.asked.clear()
        house.answers["SubmitTrades"] = refusing(grpc.StatusCode.RESOURCE_EXHAUSTED, *said)
        with pytest.raises(ClearingError):
            submit(house.address, trade_pb.SubmitTradesRequest())
        assert len(house.asked) == 1


@both
def test_unavailable_is_tried_as_often_as_the_service_config_says(house: Scripted, submit: Submit) -> None:
    house.answers["SubmitTrades"] = refusing(grpc.StatusCode.UNAVAILABLE, times=3, then=novating)
    submit(house.address, trade_pb.SubmitTradesRequest())
    assert len(house.asked) == 4


def test_the_service_config_is_for_every_method_and_hedges_none() -> None:
    (config,) = json.loads(service_config())["methodConfig"]
    assert config["name"] == [{}], "the name of every method of every service"
    assert config["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    assert config["retryPolicy"]["maxAttempts"] == 5, "gRPC takes no more"
    assert set(config) == {"name", "retryPolicy"}, "deadlines are the caller's"


@pytest.mark.parametrize("timeout_s", [None, 5.0])
def test_a_call_without_a_deadline_gets_one(house: Scripted, timeout_s: float | None) -> None:
    house.answers["GetHouse"] = lambda request, context: house_pb.GetHouseResponse()

    async def ask() -> None:
        async with AsyncClient.connect_insecurely(house.address, WHO) as connected:
            await connected.houses.GetHouse(house_pb.GetHouseRequest(), timeout=timeout_s)

    with Client.connect_insecurely(house.address, WHO) as connected:
        connected.houses.GetHouse(house_pb.GetHouseRequest(), timeout=timeout_s)
    asyncio.run(ask())
    expected = timeout_s or calls.DEADLINE_S
    assert all(expected - 2 < left < expected + 1 for left in house.left_s)
    assert {found["x-clearing-identity"] for found in house.metadata} == {WHO}


def test_every_service_of_the_interface_is_there_for_threads_and_for_asyncio(house: Scripted) -> None:
    files = Path(clearinghouse.v1.__file__).parent.glob("*_service_pb2_grpc.py")
    wanted = {file.name.removesuffix("_service_pb2_grpc.py") for file in files}

    async def found() -> set[str]:
        async with AsyncClient.connect_insecurely(house.address, WHO) as connected:
            return modules(connected)

    def modules(services: object) -> set[str]:
        names = (type(stub).__name__ for stub in vars(services).values())
        return {name.removesuffix("ServiceStub").lower() for name in names if name.endswith("ServiceStub")}

    with Client.connect_insecurely(house.address, WHO) as connected:
        assert modules(connected) == asyncio.run(found()) == wanted


def test_without_tls_only_this_machine_is_asked() -> None:
    for address in ("192.0.2.1:7443", "127.0.0.1.example:1", "house:7443"):
        with pytest.raises(ValueError, match="not on this machine"):
            insecure_channel(address)


def test_a_future_of_a_method_fails_as_the_call_does(house: Scripted) -> None:
    house.answers["SubmitTrades"] = refusing(grpc.StatusCode.FAILED_PRECONDITION, ErrorInfo(reason="HALTED"))
    with (
        Client.connect_insecurely(house.address, WHO) as connected,
        pytest.raises(ClearingError, match="HALTED"),
    ):
        connected.trades.SubmitTrades.future(trade_pb.SubmitTradesRequest()).result()


# pages --------------------------------------------------------------------------------------------------


def paged(request: trade_pb.ListTradesRequest, _: grpc.ServicerContext) -> trade_pb.ListTradesResponse:
    page = int(request.page_token or 0)
    trades = [trade_pb.Trade(name=f"{page}/{number}") for number in range(2)]
    return trade_pb.ListTradesResponse(trades=trades, next_page_token=str(page + 1) if page < 2 else "")


def test_pages_are_turned_to_the_last_and_no_further(house: Scripted) -> None:
    house.answers["ListTrades"] = paged
    request = trade_pb.ListTradesRequest(parent="members/alpha")
    with Client.connect_insecurely(house.address, WHO) as connected:
        turned = client.pages(connected.trades.ListTrades, request)
        found = [trade.name for page in turned for trade in page.trades]

    async def ask() -> list[str]:
        async with AsyncClient.connect_insecurely(house.address, WHO) as connected:
            turned = aio.pages(connected.trades.ListTrades, request)
            return [trade.name async for page in turned for trade in page.trades]

    assert found == asyncio.run(ask()) == [f"{page}/{number}" for page in range(3) for number in range(2)]
    assert [asked.page_token for asked in house.asked] == ["", "1", "2"] * 2
    assert {(asked.page_size, asked.parent) for asked in house.asked} == {(PAGE_SIZE, "members/alpha")}
    assert (request.page_token, page_after(trade_pb.ListTradesRequest(page_size=7), "").page_size) == ("", 7)


# events -------------------------------------------------------------------------------------------------


def event(sequence: int) -> event_pb.StreamEventsResponse:
    return event_pb.StreamEventsResponse(event=event_pb.Event(sequence=sequence))


def heartbeat(sequence: int) -> event_pb.StreamEventsResponse:
    return event_pb.StreamEventsResponse(heartbeat=event_pb.Heartbeat(sequence=sequence))


def flaky(last: int) -> Answer:
    """Every third entry concerns the caller; each stream breaks after two events, and repeats one."""

    def answer(request: event_pb.StreamEventsRequest, context: grpc.ServicerContext) -> Iterator[Any]:
        begin = request.after_sequence
        yield heartbeat(begin)
        yield event(begin)
        own = [sequence for sequence in range(begin + 1, last + 1) if sequence % 3 == 0]
        yield from map(event, own[:2])
        context.abort(grpc.StatusCode.UNAVAILABLE, "lost")

    return answer


def test_events_are_followed_over_lost_connections_none_skipped_none_twice(house: Scripted) -> None:
    house.answers["StreamEvents"] = flaky(20)
    wanted = [3, 6, 9, 12, 15, 18]
    with Client.connect_insecurely(house.address, WHO) as connected:
        stream = connected.follow_events(0, ["CALL_ISSUED"])
        assert [next(stream).sequence for _ in wanted] == wanted

    async def follow() -> list[int]:
        found: list[int] = []
        async with AsyncClient.connect_insecurely(house.address, WHO) as connected:
            async for followed in connected.follow_events(0, ["CALL_ISSUED"]):
                found.append(followed.sequence)
                if len(found) == len(wanted):
                    break
        return found

    assert asyncio.run(follow()) == wanted
    assert {tuple(asked.kinds) for asked in house.asked} == {("CALL_ISSUED",)}
    assert {asked.after_sequence for asked in house.asked} >= {0, 6, 12}


def test_a_stream_that_is_refused_for_good_says_so(house: Scripted) -> None:
    house.answers["StreamEvents"] = refusing(grpc.StatusCode.PERMISSION_DENIED, ErrorInfo(reason="NOT_YOURS"))
    with (
        Client.connect_insecurely(house.address, WHO) as connected,
        pytest.raises(ClearingError, match="NOT_YOURS"),
    ):
        next(connected.follow_events(0))


def test_who_begins_now_goes_on_from_where_the_house_said(house: Scripted) -> None:
    follower = Follower.of(None, ())
    assert not follower.request().HasField("after_sequence")
    assert follower.take(heartbeat(7)) is None
    assert follower.request().after_sequence == 7
    assert follower.take(event(7)) is None
    taken = follower.take(event(9))
    assert taken is not None
    assert taken.sequence == 9
    assert follower.take(heartbeat(8)) is None
    assert follower.request().after_sequence == 9


def test_pauses_grow_are_bounded_and_end_when_something_comes() -> None:
    lost, pauses = ClearingError(grpc.StatusCode.UNAVAILABLE, "lost"), Pauses()
    waits = [pauses.after(lost) for _ in range(20)]
    assert waits[:3] == [0.1, 0.2, 0.4]
    assert max(waits) == waits[-1] == PAUSE_MAX_S
    pauses.reset()
    assert pauses.after(None) == 0.1
    few = Pauses(tries_max=1)
    few.after(lost)
    with pytest.raises(ClearingError):
        few.after(lost)


def test_a_client_that_reconnects_goes_on_following(house: Scripted) -> None:
    def patient(request: event_pb.StreamEventsRequest, context: grpc.ServicerContext) -> Iterator[Any]:
        yield event(request.after_sequence + 1)
        ended = threading.Event()
        context.add_callback(ended.set)
        ended.wait(10)

    house.answers["StreamEvents"] = patient
    with Client.connect_insecurely(house.address, WHO) as connected:
        stream = connected.follow_events(0)
        assert next(stream).sequence == 1
        connected.reconnect()
        assert next(stream).sequence == 2


# reports ------------------------------------------------------------------------------------------------

FILE = bytes(range(256)) * 10
PULL = "reports/statement/pulls/r"


def header_of(data: bytes, **changes: Any) -> report_pb.ReportHeader:
    header = report_pb.ReportHeader(
        name="reports/statement", as_of=17, size=len(data), sha256=hashlib.sha256(data).hexdigest()
    )
    for name, value in changes.items():
        setattr(header, name, value)
    return header


def chunk(offset: int, data: bytes) -> report_pb.DownloadReportResponse:
    return report_pb.DownloadReportResponse(chunk=report_pb.ReportChunk(offset=offset, data=data))


def breaking_off(request: report_pb.DownloadReportRequest, context: grpc.ServicerContext) -> Iterator[Any]:
    """A kilobyte at a time, then the connection is lost."""
    yield report_pb.DownloadReportResponse(header=header_of(FILE))
    yield chunk(request.offset, FILE[request.offset : request.offset + 1_000])
    if request.offset + 1_000 < len(FILE):
        context.abort(grpc.StatusCode.UNAVAILABLE, "lost")


def test_a_download_goes_on_where_it_broke_off(house: Scripted) -> None:
    house.answers["DownloadReport"] = breaking_off

    async def download() -> bytes:
        file = io.BytesIO()
        async with AsyncClient.connect_insecurely(house.address, WHO) as connected:
            await connected.download_report(asked, file)
        return file.getvalue()

    asked = pull_request("reports/statement", parameters={"account": "a"}, request_id="r")
    house.answers["PullReport"] = lambda request, context: report_pb.PullReportResponse(pull=PULL, as_of=17)
    file = io.BytesIO()
    with Client.connect_insecurely(house.address, WHO) as connected:
        header = connected.download_report(asked, file)
    assert (header.size, file.getvalue()) == (len(FILE), FILE)
    assert asyncio.run(download()) == FILE
    downloads = [one for one in house.asked if isinstance(one, report_pb.DownloadReportRequest)]
    assert [(one.name, one.offset) for one in downloads] == [(PULL, 0), (PULL, 1_000), (PULL, 2_000)] * 2
    assert [one for one in house.asked if one not in downloads] == [asked, asked]


def test_a_file_that_was_begun_before_is_gone_on_with(house: Scripted) -> None:
    house.answers["DownloadReport"] = breaking_off
    house.answers["PullReport"] = lambda request, context: report_pb.PullReportResponse(pull=PULL, as_of=17)
    file = io.BytesIO(FILE[:1_500])
    with Client.connect_insecurely(house.address, WHO) as connected:
        connected.download_report(pull_request("reports/statement", request_id="r"), file)
    assert file.getvalue() == FILE
    downloads = [one for one in house.asked if isinstance(one, report_pb.DownloadReportRequest)]
    assert [one.offset for one in downloads] == [1_500, 2_500]


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ([], "no header"),
        ([header_of(b"abc")], "not what its header promised"),
        ([header_of(b"abc"), chunk(0, b"abd")], "not what its header promised"),
        ([header_of(b"abc"), chunk(0, b"abcd")], "not what its header promised"),
        ([header_of(b"abc"), chunk(1, b"bc")], "bytes from 1 came where 0 were due"),
        ([chunk(0, b"abc")], "bytes from 0 came"),
        ([header_of(b"abc"), header_of(b"abc", as_of=18)], "became another report"),
    ],
)
def test_what_is_not_the_promised_report_is_not_handed_over(parts: list[Any], complaint: str) -> None:
    download = Download(PULL, io.BytesIO())

    def take_all() -> None:
        for part in parts:
            whole = isinstance(part, report_pb.DownloadReportResponse)
            download.take(part if whole else report_pb.DownloadReportResponse(header=part))
        download.checked()

    with pytest.raises(ReportBroken, match=complaint):
        take_all()


# one trade at a time ------------------------------------------------------------------------------------


def test_trades_of_many_threads_travel_together_and_each_gets_its_own_result(house: Scripted) -> None:
    gate = threading.Event()

    def slow(request: trade_pb.SubmitTradesRequest, context: grpc.ServicerContext) -> Any:
        gate.wait(5)
        return novating(request, context)

    house.answers["SubmitTrades"] = slow
    trades = [new_trade("BTC-PERP", buyer="a", seller="b", size="1", price="1") for _ in range(64)]
    with Client.connect_insecurely(house.address, WHO) as connected, futures.ThreadPoolExecutor(64) as pool:
        waiting = [pool.submit(connected.submit_trade, "members/alpha", trade) for trade in trades]
        while len(house.asked) < 1:
            pass
        threading.Timer(0.2, gate.set).start()
        assert [promise.result().trade for promise in waiting] == [trade.trade_id for trade in trades]
    assert len(house.asked) <= 3
    assert len({asked.request_id for asked in house.asked}) == len(house.asked)
    with pytest.raises(ValueError, match="closed"):
        connected.submit_trade("members/alpha", trades[0])
