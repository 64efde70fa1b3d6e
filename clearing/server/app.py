"""The server: all services behind one interceptor, TLS with client certificates, health and reflection.

Those who run the house may have a second port, for health, reflection and channelz: it has its own threads, so that it
answers while the first is full. Figures for Prometheus come on a third, without TLS.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import HTTPServer
from typing import Any

import grpc
from grpc_channelz.v1 import channelz
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from clearing.server import metrics
from clearing.server.drain import Drain
from clearing.server.identity import SEES_ALL
from clearing.server.interceptors import OPEN_SERVICES, Access, Authority, Inside, accesses
from clearing.server.limits import Limits
from clearing.server.services import DESCRIBED, Sources, services_of
from clearing.server.tail import Tail
from clearing.server.watch import Log, Told
from clearinghouse.v1 import options_pb2

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
"""grpcio refuses a larger request with RESOURCE_EXHAUSTED before anyone here sees it."""
METADATA_BYTES_MAX = 8 * 1024
"""Of a request: callers have nothing to say there, and HTTP/2 keeps it in memory before it is known who calls."""
STREAMS_PER_CONNECTION = 128
"""HTTP/2 streams: calls beyond them wait at the caller, which is better than to be refused here."""
HANDSHAKE_S = 10
"""Until when TLS has to be agreed: who has no certificate holds a socket for so long at most."""
IDLE_S = 15 * 60
"""A connection without calls is closed; clients connect again by themselves."""
AGE_S, AGE_GRACE_S = 60 * 60, 10 * 60
"""A connection is renewed each hour, so that a new certificate of either side is seen; calls have time to end."""
PING_S, PING_WAIT_S = 30, 10
"""How soon a caller that is gone is noticed, whose streams keep threads."""
PINGS_EVERY_S = 10
"""Whoever pings more often, with no call open, is cut off: the clients' own keepalive is 30 seconds."""

CHANNELZ = "/grpc.channelz.v1.Channelz/"
FOR_OPERATORS = Access(allowed=SEES_ALL, reach=options_pb2.REACH_HOUSE, own="")
FLUSH_S = 1.0
"""How long answers that were given may take to be on their way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """What the server presents and whom it trusts, PEM. ``authority`` may be several certificates."""

    certificate: bytes
    key: bytes
    authority: bytes


class CannotListen(Exception):
    """The address is taken or not this machine's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where the server listens, host:port each: for callers, for those who run the house, and for Prometheus."""

    callers: str
    operators: str | None = None
    figures: str | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. Health says NOT_SERVING until :meth:`say` is told otherwise."""

    port: int
    operators_port: int | None
    figures_port: int | None
    _servers: Sequence[grpc.Server]
    _health: health.HealthServicer
    _figures: HTTPServer | None
    _drain: Drain
    _tail: Tail

    def say(self, *, serving: bool) -> None:
        """Health of the server as a whole, and of each service; after :meth:`stop` it changes nothing."""
        _set_health(self._health, serving=serving)

    def stop(self, grace_s: float) -> None:
        """Say NOT_SERVING, refuse new calls, let running ones finish within ``grace_s``, and end the streams."""
        self._health.enter_graceful_shutdown()
        self._tail.drain()
        self._drain.close(grace_s)
        for stopped in [server.stop(FLUSH_S) for server in self._servers]:
            stopped.wait()
        if self._figures is not None:
            self._figures.shutdown()
            self._figures.server_close()


def start(
    house: str,
    ports: Ports,
    tls: Callable[[], Tls] | None,
    sources: Sources,
    shown: metrics.Metrics,
    *,
    scale: int = 1,
    told: Sequence[Told] = (),
) -> Server:
    """Serve ``house`` on ``ports`` (port 0 for any). Raises :class:`CannotListen`.

    ``tls`` is asked at each new connection; None serves without TLS. ``scale`` multiplies the callers' limits;
    ``told`` hear of every call, besides the log and the metrics.
    """
    hearing: Sequence[Told] = (Log(), shown, *told)
    drain, checked = Drain(), health.HealthServicer()
    inside = Inside(house=house, state=lambda: sources.engine.view.state, clock=sources.clock, drain=drain)
    offered = services_of(sources)
    access = accesses(service.described for service in offered)
    authority = Authority(inside, access, limits=Limits(scale), told=hearing)
    shown.show("calls_running", "Calls that run or wait for a thread.", lambda: authority.calls.taken)
    shown.show("streams_open", "Open streams.", lambda: authority.streams.taken)
    server = _server(authority)
    for service in offered:
        service.add(service.servicer(sources), server)
    _add_standard_services(server, checked)
    port = _listen(server, ports.callers, tls)
    servers, operators_port = [server], None
    if ports.operators is not None:
        standard = dict.fromkeys((*OPEN_SERVICES, CHANNELZ), FOR_OPERATORS)
        guard = Authority(inside, {}, told=hearing, standard=standard)
        servers.append(_server(guard))
        _add_standard_services(servers[-1], checked)
        channelz.add_channelz_servicer(servers[-1])
        operators_port = _listen(servers[-1], ports.operators, tls)
    figures = None if ports.figures is None else _figures(shown, ports.figures)
    _set_health(checked, serving=False)
    for one in servers:
        one.start()
    figures_port = None if figures is None else figures.server_port
    return Server(port, operators_port, figures_port, servers, checked, figures, drain, sources.books.tail)


def _server(authority: Authority) -> grpc.Server:
    return grpc.server(
        authority.calls,
        interceptors=[authority],
        maximum_concurrent_rpcs=authority.places,
        options=(
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
            ("grpc.max_metadata_size", METADATA_BYTES_MAX),
            ("grpc.absolute_max_metadata_size", METADATA_BYTES_MAX),
            ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION),
            ("grpc.http.overload_protection", 0),  # else streams that have just ended still count
            ("grpc.server_handshake_timeout_ms", HANDSHAKE_S * 1_000),
            ("grpc.max_connection_idle_ms", IDLE_S * 1_000),
            ("grpc.max_connection_age_ms", AGE_S * 1_000),
            ("grpc.max_connection_age_grace_ms", AGE_GRACE_S * 1_000),
            ("grpc.keepalive_time_ms", PING_S * 1_000),
            ("grpc.keepalive_timeout_ms", PING_WAIT_S * 1_000),
            ("grpc.http2.min_ping_interval_without_data_ms", PINGS_EVERY_S * 1_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.so_reuseport", 0),
            ("grpc.enable_channelz", 1),
        ),
    )


def _listen(server: grpc.Server, listen: str, tls: Callable[[], Tls] | None) -> int:
    """Listen with mutual TLS, or without any; the port that was taken. Raises :class:`CannotListen`."""
    try:
        credentials = grpc.insecure_server_credentials() if tls is None else _credentials(tls)
        return server.add_secure_port(listen, credentials)
    except RuntimeError:
        raise _cannot_listen(listen) from None


def _credentials(tls: Callable[[], Tls]) -> grpc.ServerCredentials:
    """Mutual TLS with what ``tls`` gives at each handshake; connections that are open stay as they are."""
    shown = tls()

    def changed() -> Any:
        """What to present from now on; None, which the stubs do not know, for what was presented last."""
        nonlocal shown
        before, shown = shown, tls()
        return None if shown == before else _configuration(shown)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(shown), changed, require_client_authentication=True
    )


def _configuration(tls: Tls) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(tls.key, tls.certificate)], root_certificates=tls.authority
    )


def _figures(shown: metrics.Metrics, listen: str) -> HTTPServer:
    try:
        return metrics.serve(shown, listen)
    except OSError:
        raise _cannot_listen(listen) from None


def _cannot_listen(listen: str) -> CannotListen:
    return CannotListen(f"cannot listen on {listen}: it is taken, or not an address of this machine")


def _add_standard_services(server: grpc.Server, checked: health.HealthServicer) -> None:
    """Health of the server as a whole and of each service, and reflection for tools."""
    health_pb2_grpc.add_HealthServicer_to_server(checked, server)
    names = [described.full_name for described in DESCRIBED]
    reflection.enable_server_reflection([*names, reflection.SERVICE_NAME, health.SERVICE_NAME], server)


def _set_health(checked: health.HealthServicer, *, serving: bool) -> None:
    answer = health_pb2.HealthCheckResponse
    for name in ("", *(described.full_name for described in DESCRIBED)):
        checked.set(name, answer.SERVING if serving else answer.NOT_SERVING)
