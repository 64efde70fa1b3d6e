"""A span for every call, sent by OTLP where the standard ``OTEL_*`` environment says so.

Rules kept here: without an endpoint, or with ``OTEL_SDK_DISABLED``, nothing is made; without the extra ``telemetry``
the house runs the same and says once that it sends none. A span has what the log line has. A caller's own trace is
not taken up: it would decide what is sampled here.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
import structlog

from clearing.server.watch import Call, Told

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
SERVICE = "clearing-house"
FAULTS = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN})
"""Codes that are the house's fault: their spans are errors."""


def are_wanted(environment: Mapping[str, str]) -> bool:
    """Whether the environment says where traces go."""
    disabled = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    off = environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp"
    return not (disabled or off) and any(environment.get(name) for name in ENDPOINTS)


@contextmanager
def traced(environment: Mapping[str, str]) -> Iterator[tuple[Told, ...]]:
    """What to tell of calls so that they are traced: nothing, if no traces are wanted. Sends the last of them."""
    if not are_wanted(environment):
        yield ()
        return
    try:
        provider = _exporting()
    except ImportError:
        structlog.get_logger().warning("no traces are sent: install clearing-house[telemetry]")
        yield ()
        return
    try:
        yield (spans(provider),)
    finally:
        provider.shutdown()


def spans(provider: "TracerProvider") -> Told:
    """Makes a span of each call."""
    from opentelemetry.trace import SpanKind, Status, StatusCode  # noqa: PLC0415  # of an extra

    tracer = provider.get_tracer(SERVICE)

    def tell(call: Call) -> None:
        span = tracer.start_span(
            call.method.removeprefix("/"),
            kind=SpanKind.SERVER,
            start_time=call.began_ns,
            attributes=_attributes(call),
        )
        if call.code in FAULTS:
            span.set_status(Status(StatusCode.ERROR, call.reason))
        span.end(call.began_ns + int(call.seconds * 1e9))

    return tell


def _attributes(call: Call) -> dict[str, str | int]:
    service, _, method = call.method.removeprefix("/").partition("/")
    found: dict[str, str | int] = {
        "rpc.system": "grpc",
        "rpc.service": service,
        "rpc.method": method,
        "rpc.grpc.status_code": call.code.value[0],
    }
    for name, text in (("role", call.role), ("reason", call.reason), ("request_id", call.request_id)):
        if text:
            found[f"clearing.{name}"] = text
    return found


def _exporting() -> "TracerProvider":
    """A provider that exports in the background. Sampling, batching and the exporter read the environment."""
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    named: Callable[..., Resource] = Resource.create
    provider = TracerProvider(resource=named({"service.name": SERVICE}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
