"""A span for every call, where the environment wants them."""

import builtins
from collections.abc import Mapping
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from structlog.testing import capture_logs

from clearing.server.identity import Identity, Role
from clearing.server.traces import are_wanted, spans, traced
from clearing.server.watch import Call

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317"}


def test_a_span_says_what_the_log_says() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tell = spans(provider)
    who = Identity(house="h", role=Role.MEMBER, id="alpha")
    tell(Call("/a.B/Get", caller=who, request_id="r-1", began_ns=5_000, seconds=1e-6))
    tell(Call("/a.B/Get", code=grpc.StatusCode.INTERNAL, reason="INTERNAL"))
    good, bad = exporter.get_finished_spans()
    assert (good.name, good.kind, good.start_time, good.end_time) == (
        "a.B/Get",
        SpanKind.SERVER,
        5_000,
        6_000,
    )
    assert dict(good.attributes or {}) == {
        "rpc.system": "grpc",
        "rpc.service": "a.B",
        "rpc.method": "Get",
        "rpc.grpc.status_code": 0,
        "clearing.role": "member",
        "clearing.request_id": "r-1",
    }
    assert [span.status.status_code for span in (good, bad)] == [StatusCode.UNSET, StatusCode.ERROR]


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x:4317"}, True),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "true"}, False),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_traces_are_made_when_the_standard_environment_says_where_they_go(
    environment: Mapping[str, str], wanted: bool
) -> None:
    assert are_wanted(environment) is wanted


def test_without_the_extra_the_house_says_so_once_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *arguments: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", missing)
    with capture_logs() as logged, traced(ENDPOINT) as told:
        assert told == ()
    assert [line["event"] for line in logged] == ["no traces are sent: install clearing-house[telemetry]"]
