"""The server: all services behind one interceptor, TLS with client certificates, health and reflection."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from clearing.engine import Engine
from clearing.model.values import AttestationRecord
from clearing.server.accounts import Accounts
from clearing.server.attestations import Attestations
from clearing.server.defaults import Defaults
from clearing.server.house import Houses
from clearing.server.interceptors import Authority, accesses
from clearing.server.margin import Margins
from clearing.server.prices import Prices
from clearing.server.trades import Trades
from clearinghouse.v1 import (
    account_service_pb2,
    account_service_pb2_grpc,
    attestation_service_pb2,
    attestation_service_pb2_grpc,
    default_service_pb2,
    default_service_pb2_grpc,
    house_service_pb2,
    house_service_pb2_grpc,
    margin_service_pb2,
    margin_service_pb2_grpc,
    price_service_pb2,
    price_service_pb2_grpc,
    trade_service_pb2,
    trade_service_pb2_grpc,
)

CALLS_AT_ONCE = 64
"""Threads: as many callers may wait for one commit, which they then share."""
MESSAGE_BYTES_MAX = 4 * 1024 * 1024

SERVICES: Sequence[ServiceDescriptor] = tuple(
    module.DESCRIPTOR.services_by_name[name]
    for module, name in (
        (account_service_pb2, "AccountService"),
        (attestation_service_pb2, "AttestationService"),
        (default_service_pb2, "DefaultService"),
        (house_service_pb2, "HouseService"),
        (margin_service_pb2, "MarginService"),
        (price_service_pb2, "PriceService"),
        (trade_service_pb2, "TradeService"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """What the server presents and whom it trusts, PEM."""

    certificate: bytes
    key: bytes
    authority: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the services get their answers: the engine, the clock, and what the house has signed."""

    engine: Engine
    clock: Callable[[], int]
    journaled: Callable[[], Sequence[AttestationRecord]]
    checkpoint: Callable[[], bytes] | None


class CannotListen(Exception):
    """The address is taken or not this machine's."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. Health says SERVING until :meth:`stop` is called."""

    port: int
    _server: grpc.Server
    _health: health.HealthServicer

    def stop(self, grace_s: float) -> None:
        """Say NOT_SERVING, take no new calls, and let running ones finish within ``grace_s``."""
        self._health.enter_graceful_shutdown()
        self._server.stop(grace_s).wait()


def start(house: str, listen: str, tls: Tls, sources: Sources) -> Server:
    """Serve ``house`` on ``listen`` (host:port, port 0 for any). Raises :class:`CannotListen`."""
    authority = Authority(house, accesses(SERVICES), lambda: sources.engine.view.state)
    server = grpc.server(
        ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="call"),
        interceptors=[authority],
        options=(
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
            ("grpc.so_reuseport", 0),
        ),
    )
    _add_services(server, sources)
    checked = _add_standard_services(server)
    credentials = grpc.ssl_server_credentials(
        [(tls.key, tls.certificate)], root_certificates=tls.authority, require_client_auth=True
    )
    try:
        port = server.add_secure_port(listen, credentials)
    except RuntimeError:
        raise CannotListen(
            f"cannot listen on {listen}: it is taken, or not an address of this machine"
        ) from None
    server.start()
    return Server(port, server, checked)


def _add_services(server: grpc.Server, sources: Sources) -> None:
    engine = sources.engine
    trade_service_pb2_grpc.add_TradeServiceServicer_to_server(Trades(engine), server)
    price_service_pb2_grpc.add_PriceServiceServicer_to_server(Prices(engine), server)
    account_service_pb2_grpc.add_AccountServiceServicer_to_server(Accounts(engine), server)
    margin_service_pb2_grpc.add_MarginServiceServicer_to_server(Margins(engine), server)
    default_service_pb2_grpc.add_DefaultServiceServicer_to_server(Defaults(engine), server)
    house_service_pb2_grpc.add_HouseServiceServicer_to_server(Houses(engine, sources.clock), server)
    attestation_service_pb2_grpc.add_AttestationServiceServicer_to_server(
        Attestations(engine, sources.journaled, sources.checkpoint), server
    )


def _add_standard_services(server: grpc.Server) -> health.HealthServicer:
    """Health of the server as a whole and of each service, and reflection for tools."""
    checked = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checked, server)
    own = [service.full_name for service in SERVICES]
    for name in ("", *own):
        checked.set(name, health_pb2.HealthCheckResponse.SERVING)
    standard = [reflection.SERVICE_NAME, health.SERVICE_NAME]
    reflection.enable_server_reflection([*own, *standard], server)
    return checked
