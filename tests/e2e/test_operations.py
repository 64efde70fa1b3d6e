"""What those who run a house see of it, and what keeps one caller from taking it all."""

import json
import re
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from clearing.server.identity import Role
from clearing.server.limits import ALLOWANCES
from clearing_client.connect import channel
from clearing_client.errors import of_call
from clearinghouse.v1 import trade_service_pb2 as pb
from tests.serving import Served, served_house, wait_until

pytestmark = pytest.mark.slow

ALPHA, BETA, RITA, ANNA = "member/alpha", "member/beta", "regulator/rita", "administrator/anna"
SUBMIT = "/clearinghouse.v1.TradeService/SubmitTrades"
RUNBOOK = (Path(__file__).parents[2] / "docs" / "runbook.md").read_text()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A house with all its ports, and with the limits as they are."""
    places = ("--admin-listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0")
    with served_house(tmp_path_factory.mktemp("house"), *places, CLEARING_RATE_SCALE="1") as running:
        yield running


def at(house: Served, what: str) -> str:
    found = re.search(rf"{what} on ([0-9.]+:[0-9]+)", house.said)
    assert found is not None, house.said
    return found[1]


def figures(house: Served) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{at(house, 'metrics')}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def test_administrators_and_regulators_find_health_and_channelz_on_their_port(house: Served) -> None:
    for who in (ANNA, RITA):
        with channel(at(house, "administrators"), house.keys / "clients" / who) as connected:
            checked = health_pb2_grpc.HealthStub(connected).Check(health_pb2.HealthCheckRequest())
            assert checked.status == health_pb2.HealthCheckResponse.SERVING
            asked = channelz_pb2.GetServersRequest(start_server_id=0)
            assert len(channelz_pb2_grpc.ChannelzStub(connected).GetServers(asked).server) == 2


def test_members_find_nothing_there_and_nobody_finds_channelz_or_a_service_elsewhere(house: Served) -> None:
    asked = channelz_pb2.GetServersRequest(start_server_id=0)
    with channel(at(house, "administrators"), house.keys / "clients" / ALPHA) as connected:
        with pytest.raises(grpc.RpcError) as denied:
            health_pb2_grpc.HealthStub(connected).Check(health_pb2.HealthCheckRequest())
        assert of_call(denied.value).reason == "ROLE_NOT_ALLOWED"
    with channel(house.address, house.keys / "clients" / ANNA) as connected:
        with pytest.raises(grpc.RpcError) as absent:
            channelz_pb2_grpc.ChannelzStub(connected).GetServers(asked)
        assert absent.value.code() is grpc.StatusCode.UNIMPLEMENTED
    with channel(at(house, "administrators"), house.keys / "clients" / ANNA) as connected:
        submit: Any = connected.unary_unary(SUBMIT)
        with pytest.raises(grpc.RpcError) as absent:
            submit(b"")
        assert absent.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_prometheus_finds_every_figure_that_the_runbook_explains(house: Served) -> None:
    with house.client(ALPHA) as alpha:
        alpha.house()
    wait_until(lambda: any(name.startswith("clearing_calls_total") for name in figures(house)))
    shown = figures(house)
    assert shown["clearing_up"] == 1
    assert shown["clearing_journal_entries"] == house.journal_size()
    assert shown["clearing_attestation_age_seconds"] > 0
    found = {name.partition("{")[0] for name in shown}
    names = {re.sub(r"_(bucket|sum|count)$", "", name) for name in found if not name.endswith("_created")}
    explained = set(re.findall(r"^\| `(clearing_\w+)`", RUNBOOK, re.MULTILINE))
    assert names <= explained
    without = {"clearing_refused_total", "clearing_denied_total", "clearing_limited_total"}
    assert explained - names <= without | {"clearing_witness_answers"}


def test_calls_that_send_no_request_keep_no_more_than_half_of_the_threads(house: Served) -> None:
    """Headers alone take a thread; the caller runs into its own limit, and others do not notice."""
    never, most = threading.Event(), ALLOWANCES[Role.MEMBER].calls
    with channel(house.address, house.keys / "clients" / ALPHA) as connected:
        opened: Any = connected.stream_unary(SUBMIT)
        idle = [opened.future(iter(never.wait, True)) for _ in range(most + 20)]
        wait_until(lambda: sum(call.done() for call in idle) >= 20)
        assert {of_call(call).reason for call in idle if call.done()} == {"CALLS_TAKEN"}
        with house.client(BETA) as beta:
            assert beta.house().journal_size > 0
        for call in idle:
            call.cancel()
        never.set()


def test_a_caller_that_asks_too_often_is_told_when_to_come_back_and_others_are_answered(
    house: Served,
) -> None:
    with channel(house.address, house.keys / "clients" / "price-source" / "s1") as connected:
        grpc.channel_ready_future(connected).result(10)
        submit: Any = connected.unary_unary(SUBMIT)
        flood = [submit.future(pb.SubmitTradesRequest().SerializeToString()) for _ in range(3_000)]
        errors = [of_call(call) for call in flood if call.exception() is not None]
    reasons = {error.reason for error in errors}
    assert "RATE_LIMITED" in reasons, {str(error) for error in errors}
    assert reasons <= {"RATE_LIMITED", "CALLS_TAKEN", "ROLE_NOT_ALLOWED"}
    with house.client(BETA) as beta:
        assert beta.house().journal_size > 0
    assert figures(house)['clearing_limited_total{reason="RATE_LIMITED",role="price-source"}'] > 0


def test_every_line_of_the_log_is_an_object(house: Served) -> None:
    lines = [json.loads(line) for line in (house.directory / "serve.log").read_text().splitlines()]
    assert {line["event"] for line in lines} >= {"denied", "refused"}
    assert all("level" in line and "timestamp" in line for line in lines)
