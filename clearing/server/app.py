"""The server: all services behind one interceptor, TLS with client certificates, health and reflection."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from clearing.engine import Engine
from clearing.model.values import AttestationRecord
from clearing.server.accounts import Accounts
from clearing.server.admin import Administration
from clearing.server.attestations import Attestations
from clearing.server.auctions import Auctions
from clearing.server.defaults import Defaults
from clearing.server.drain import Drain
from clearing.server.events import Events
from clearing.server.history import Books
from clearing.server.house import Houses
from clearing.server.interceptors import Authority, accesses
from clearing.server.ledger import Ledgers
from clearing.server.margin import Margins
from clearing.server.members import Members
from clearing.server.prices import Prices
from clearing.server.reports import Reports
from clearing.server.spool import Spool
from clearing.server.tail import Tail
from clearing.server.trades import Trades
from clearinghouse.v1 import (
    account_service_pb2,
    account_service_pb2_grpc,
    admin_service_pb2,
    admin_service_pb2_grpc,
    attestation_service_pb2,
    attestation_service_pb2_grpc,
    auction_service_pb2,
    auction_service_pb2_grpc,
    default_service_pb2,
    default_service_pb2_grpc,
    event_service_pb2,
    event_service_pb2_grpc,
    house_service_pb2,
    house_service_pb2_grpc,
    ledger_service_pb2,
    ledger_service_pb2_grpc,
    margin_service_pb2,
    margin_service_pb2_grpc,
    membership_service_pb2,
    membership_service_pb2_grpc,
    price_service_pb2,
    price_service_pb2_grpc,
    report_service_pb2,
    report_service_pb2_grpc,
    trade_service_pb2,
    trade_service_pb2_grpc,
)

CALLS_AT_ONCE = 64
"""Threads: as many callers may wait for one commit, which they then share."""
WAITING_MAX = 512
"""Calls that run or wait for a thread; grpcio turns away one more with RESOURCE_EXHAUSTED."""
FLUSH_S = 1.0
"""How long answers that were given may take to be on their way."""
MESSAGE_BYTES_MAX = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """What the server presents and whom it trusts, PEM. ``authority`` may be several certificates."""

    certificate: bytes
    key: bytes
    authority: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the services get their answers: the engine, the clock, what the house has signed, the journal with all that
    is made of it, and the folder in which reports are made.
    """

    engine: Engine
    clock: Callable[[], int]
    journaled: Callable[[], Sequence[AttestationRecord]]
    checkpoint: Callable[[], bytes] | None
    books: Books
    spool: Spool


@dataclass(frozen=True, slots=True)
class Service:
    """A service: how the proto describes it, and what answers its calls."""

    described: ServiceDescriptor
    add: Callable[[Any, grpc.Server], None]
    servicer: Callable[[Sources], Any]


SERVICES: Sequence[Service] = (
    Service(
        account_service_pb2.DESCRIPTOR.services_by_name["AccountService"],
        account_service_pb2_grpc.add_AccountServiceServicer_to_server,
        lambda sources: Accounts(sources.engine),
    ),
    Service(
        attestation_service_pb2.DESCRIPTOR.services_by_name["AttestationService"],
        attestation_service_pb2_grpc.add_AttestationServiceServicer_to_server,
        lambda sources: Attestations(sources.engine, sources.journaled, sources.checkpoint),
    ),
    Service(
        default_service_pb2.DESCRIPTOR.services_by_name["DefaultService"],
        default_service_pb2_grpc.add_DefaultServiceServicer_to_server,
        lambda sources: Defaults(sources.engine),
    ),
    Service(
        event_service_pb2.DESCRIPTOR.services_by_name["EventService"],
        event_service_pb2_grpc.add_EventServiceServicer_to_server,
        lambda sources: Events(sources.engine, sources.books.tail),
    ),
    Service(
        house_service_pb2.DESCRIPTOR.services_by_name["HouseService"],
        house_service_pb2_grpc.add_HouseServiceServicer_to_server,
        lambda sources: Houses(sources.engine, sources.clock),
    ),
    Service(
        ledger_service_pb2.DESCRIPTOR.services_by_name["LedgerService"],
        ledger_service_pb2_grpc.add_LedgerServiceServicer_to_server,
        lambda sources: Ledgers(sources.engine, sources.books),
    ),
    Service(
        margin_service_pb2.DESCRIPTOR.services_by_name["MarginService"],
        margin_service_pb2_grpc.add_MarginServiceServicer_to_server,
        lambda sources: Margins(sources.engine),
    ),
    Service(
        price_service_pb2.DESCRIPTOR.services_by_name["PriceService"],
        price_service_pb2_grpc.add_PriceServiceServicer_to_server,
        lambda sources: Prices(sources.engine),
    ),
    Service(
        report_service_pb2.DESCRIPTOR.services_by_name["ReportService"],
        report_service_pb2_grpc.add_ReportServiceServicer_to_server,
        lambda sources: Reports(sources.engine, sources.books, sources.spool),
    ),
    Service(
        trade_service_pb2.DESCRIPTOR.services_by_name["TradeService"],
        trade_service_pb2_grpc.add_TradeServiceServicer_to_server,
        lambda sources: Trades(sources.engine),
    ),
    Service(
        admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"],
        admin_service_pb2_grpc.add_AdminServiceServicer_to_server,
        lambda sources: Administration(sources.engine),
    ),
    Service(
        auction_service_pb2.DESCRIPTOR.services_by_name["AuctionService"],
        auction_service_pb2_grpc.add_AuctionServiceServicer_to_server,
        lambda sources: Auctions(sources.engine),
    ),
    Service(
        membership_service_pb2.DESCRIPTOR.services_by_name["MembershipService"],
        membership_service_pb2_grpc.add_MembershipServiceServicer_to_server,
        lambda sources: Members(sources.engine),
    ),
)
"""What is served. One line for each service, here and nowhere else."""
DESCRIBED: Sequence[ServiceDescriptor] = tuple(service.described for service in SERVICES)


class CannotListen(Exception):
    """The address is taken or not this machine's."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. Health says NOT_SERVING until :meth:`say` is told otherwise."""

    port: int
    _server: grpc.Server
    _health: health.HealthServicer
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
        self._server.stop(FLUSH_S).wait()


def start(house: str, listen: str, tls: Callable[[], Tls] | None, sources: Sources) -> Server:
    """Serve ``house`` on ``listen`` (host:port, port 0 for any). Raises :class:`CannotListen`.

    ``tls`` is asked at each new connection; None serves without TLS.
    """
    drain = Drain()
    authority = Authority(house, accesses(DESCRIBED), lambda: sources.engine.view.state, sources.clock, drain)
    server = grpc.server(
        ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="call"),
        interceptors=[authority],
        maximum_concurrent_rpcs=WAITING_MAX,
        options=(
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
            ("grpc.so_reuseport", 0),
        ),
    )
    for service in SERVICES:
        service.add(service.servicer(sources), server)
    checked = _add_standard_services(server)
    credentials = grpc.insecure_server_credentials() if tls is None else _credentials(tls)
    try:
        port = server.add_secure_port(listen, credentials)
    except RuntimeError:
        raise CannotListen(
            f"cannot listen on {listen}: it is taken, or not an address of this machine"
        ) from None
    server.start()
    return Server(port, server, checked, drain, sources.books.tail)


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


def _add_standard_services(server: grpc.Server) -> health.HealthServicer:
    """Health of the server as a whole and of each service, and reflection for tools."""
    checked = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checked, server)
    _set_health(checked, serving=False)
    own = [described.full_name for described in DESCRIBED]
    standard = [reflection.SERVICE_NAME, health.SERVICE_NAME]
    reflection.enable_server_reflection([*own, *standard], server)
    return checked


def _set_health(checked: health.HealthServicer, *, serving: bool) -> None:
    answer = health_pb2.HealthCheckResponse
    for name in ("", *(described.full_name for described in DESCRIBED)):
        checked.set(name, answer.SERVING if serving else answer.NOT_SERVING)
