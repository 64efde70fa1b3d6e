"""A stream of batches: how many are on their way, where it ends, and how it bears a house that is full."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast
from unittest.mock import Mock

import grpc
import pytest

from clearing.engine import Engine
from clearing.model.commands import SubmitTrades
from clearing.model.house import House
from clearing.model.outcomes import Outcome, Reason, Rejected, Result, accepted, refused
from clearing.server import trades
from clearing.server.calls import admit
from clearing.server.errors import Refused
from clearing.server.identity import parse_spiffe
from clearing.server.trades import IN_FLIGHT_MAX, Trades
from clearing.server.wire.violations import RequestInvalid
from clearinghouse.v1 import trade_service_pb2 as pb
from ledger.store.writer import Overloaded, RequestReused
from tests.builders import two_traders
from tests.unit.test_authority import call_with
from tests.unit.test_wire_batches import trade


@dataclass
class OnItsWay:
    """A batch that the house has, and what it will answer."""

    house: "SlowHouse"
    answer: Outcome | Exception
    settled: bool = False

    def outcome(self, _timeout_s: float) -> Outcome:
        self.settle()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def decided(self, _timeout_s: float) -> None:
        self.settle()

    def settle(self) -> None:
        self.house.open -= not self.settled
        self.settled = True


@dataclass
class SlowHouse:
    """An engine that decides a batch only when somebody waits for it."""

    state: House
    open: int = 0
    most: int = 0
    taken: list[str] = field(default_factory=list)
    full: int = 0
    results: tuple[Result, ...] = (accepted("t-1"),)
    fails_at: int = -1

    @property
    def view(self) -> Mock:
        return Mock(state=self.state)

    def submit(self, command: SubmitTrades, *, request_id: str, actor: str, body: bytes) -> OnItsWay:
        assert (command.member, actor, bool(body)) == ("dex", "member/dex", True)
        if self.full:
            self.full -= 1
            raise Overloaded
        self.taken.append(request_id)
        self.open += 1
        self.most = max(self.most, self.open)
        failed = len(self.taken) - 1 == self.fails_at
        return OnItsWay(self, RequestReused() if failed else Outcome(results=self.results))


@pytest.fixture
def house() -> SlowHouse:
    return SlowHouse(state=two_traders().state)


def call(*, active: bool = True) -> grpc.ServicerContext:
    context: Any = call_with()
    admit(context, parse_spiffe("spiffe://testhouse/member/dex"))
    context.time_remaining.return_value = 60.0
    context.is_active.return_value = active
    return cast("grpc.ServicerContext", context)


def batch(number: int, parent: str = "members/dex", **changes: str) -> pb.StreamTradesRequest:
    return pb.StreamTradesRequest(parent=parent, request_id=f"r-{number}", trades=[trade(**changes)])


def streamed(
    house: SlowHouse, batches: Iterator[pb.StreamTradesRequest], **how: bool
) -> pb.StreamTradesResponse:
    return Trades(cast("Engine", house)).StreamTrades(batches, call(**how))


def test_a_few_batches_are_on_their_way_and_all_are_answered_in_order(house: SlowHouse) -> None:
    answer = streamed(house, map(batch, range(30)))
    assert (house.most, house.open, answer.batches_taken) == (IN_FLIGHT_MAX, 0, 30)
    assert [one.request_id for one in answer.batches] == [f"r-{number}" for number in range(30)]
    assert house.taken == [f"member/dex:r-{number}" for number in range(30)]
    assert all((one.novated_count, len(one.results)) == (1, 0) for one in answer.batches)


@pytest.mark.parametrize(("sent", "taken"), [(4, 4), (5, 5), (6, 5)])
def test_a_stream_takes_so_many_batches_and_reads_no_further(
    house: SlowHouse, monkeypatch: pytest.MonkeyPatch, sent: int, taken: int
) -> None:
    monkeypatch.setattr(trades, "STREAM_BATCHES_MAX", 5)
    batches = map(batch, range(sent))
    assert streamed(house, batches).batches_taken == taken
    assert len(list(batches)) == sent - taken


def test_a_stream_ends_early_when_its_answer_is_full(
    house: SlowHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trades, "STREAM_RESULTS_MAX", 3)
    house.results = (refused(Rejected(Reason.HALTED), "t-1"),)
    answer = streamed(house, map(batch, range(50)))
    assert answer.batches_taken == len(answer.batches) == IN_FLIGHT_MAX + 2
    assert {(one.refused_count, one.results[0].reason) for one in answer.batches} == {(1, "HALTED")}


def test_a_house_that_is_full_holds_the_stream_up(house: SlowHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trades, "PAUSE_S", 0.0)
    house.full = 7
    assert streamed(house, map(batch, range(3))).batches_taken == 3


def test_nobody_waits_for_a_caller_that_is_gone(house: SlowHouse) -> None:
    house.full = 7
    with pytest.raises(Overloaded):
        streamed(house, map(batch, range(3)), active=False)


def test_nothing_is_on_its_way_any_more_when_a_stream_fails(house: SlowHouse) -> None:
    house.fails_at = 2
    with pytest.raises(RequestReused):
        streamed(house, map(batch, range(30)))
    assert (house.open, len(house.taken)) == (0, IN_FLIGHT_MAX + 2)


def test_what_is_wrong_is_said_of_its_batch(house: SlowHouse) -> None:
    with pytest.raises(RequestInvalid) as error:
        streamed(house, iter([batch(0), batch(1, size="x", price="0.00001")]))
    assert set(error.value.fields) == {"batches[1].trades[0].size"} | {"batches[1].trades[0].price"}
    assert house.open == 0
    with pytest.raises(RequestInvalid) as error:
        streamed(house, iter([batch(2), batch(3, parent="members/other")]))
    assert set(error.value.fields) == {"batches[1].parent"}


def test_a_batch_that_the_house_refuses_as_a_whole_ends_the_stream(house: SlowHouse) -> None:
    house.results = (refused(Rejected(Reason.MEMBER_UNKNOWN)),)
    with pytest.raises(Refused) as error:
        streamed(house, map(batch, range(3)))
    assert error.value.reason == "MEMBER_UNKNOWN"
