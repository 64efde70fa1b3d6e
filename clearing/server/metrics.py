"""Figures of a served house, as Prometheus reads them. Each is listed in docs/runbook.md; a test compares.

Rules kept here: labels are methods, codes, reasons, roles, and witnesses of the policy, so there are few for ever; no
figure is of one caller, account or amount. The registry is the server's own.
"""

from collections.abc import Callable, Mapping
from http.server import HTTPServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from clearing.server.watch import DENIALS, Call

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram: from a read to a call that waited for a slow disk."""


class Metrics:
    """The figures of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._calls = Counter(
            "clearing_calls", "Calls that have ended.", ["method", "code"], registry=self.registry
        )
        self._seconds = Histogram(
            "clearing_call_seconds",
            "How long calls took that are no streams.",
            ["method"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._refused = Counter(
            "clearing_refused", "Calls that were refused.", ["reason"], registry=self.registry
        )
        self._denied = Counter(
            "clearing_denied", "Calls of callers that may not.", ["reason", "role"], registry=self.registry
        )
        self._limited = Counter(
            "clearing_limited", "Calls that found no room.", ["reason", "role"], registry=self.registry
        )
        self._told: dict[tuple[str, str], Counter] = {}
        self._timed: dict[str, Histogram] = {}

    def __call__(self, call: Call) -> None:
        """Count ``call``."""
        code = call.code.name
        counted = self._told.get((call.method, code))
        if counted is None:
            counted = self._told[call.method, code] = self._calls.labels(call.method, code)
        counted.inc()
        if not call.is_stream:
            timed = self._timed.get(call.method)
            if timed is None:
                timed = self._timed[call.method] = self._seconds.labels(call.method)
            timed.observe(call.seconds)
        if call.reason:
            self._count_refusal(call)

    def _count_refusal(self, call: Call) -> None:
        self._refused.labels(call.reason).inc()
        if call.code in DENIALS:
            self._denied.labels(call.reason, call.role).inc()
        if call.code.name == "RESOURCE_EXHAUSTED":
            self._limited.labels(call.reason, call.role).inc()

    def show(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Show what ``read`` gives whenever somebody looks."""
        Gauge(f"clearing_{name}", documentation, registry=self.registry).set_function(read)

    def show_each(
        self, name: str, documentation: str, label: str, reads: Mapping[str, Callable[[], float]]
    ) -> None:
        """Show what each of ``reads`` gives, under the ``label`` that it stands for."""
        gauge = Gauge(f"clearing_{name}", documentation, [label], registry=self.registry)
        for value, read in reads.items():
            gauge.labels(value).set_function(read)


def serve(metrics: Metrics, listen: str) -> HTTPServer:
    """Answer HTTP on ``listen`` (host:port) with the figures. Raises ``OSError``."""
    host, _, port = listen.rpartition(":")
    server, _ = start_http_server(int(port), host.strip("[]"), metrics.registry)
    return server
