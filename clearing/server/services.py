"""The services that a house offers: one line for each, here and nowhere else, and what they get their answers from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from clearing.engine import Engine
from clearing.reporting import Reporting
from clearing.server.accounts import Accounts
from clearing.server.admin import Administration
from clearing.server.attestations import Attestations
from clearing.server.auctions import Auctions
from clearing.server.collateral import Collaterals
from clearing.server.defaults import Defaults
from clearing.server.events import Events
from clearing.server.history import Books
from clearing.server.house import Houses
from clearing.server.ledger import Ledgers
from clearing.server.margin import Margins
from clearing.server.members import Members
from clearing.server.prices import Prices
from clearing.server.reports import Reports
from clearing.server.scenario import Scenario, Steps
from clearing.server.trades import Trades
from clearing.workings import Workings
from clearinghouse.scenario.v1 import scenario_service_pb2, scenario_service_pb2_grpc
from clearinghouse.v1 import (
    account_service_pb2,
    account_service_pb2_grpc,
    admin_service_pb2,
    admin_service_pb2_grpc,
    attestation_service_pb2,
    attestation_service_pb2_grpc,
    auction_service_pb2,
    auction_service_pb2_grpc,
    collateral_service_pb2,
    collateral_service_pb2_grpc,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the services get their answers: the engine, the clock, the journal with all that is made of it, the
    attestations with all that they were made of, and who makes reports.
    """

    engine: Engine
    clock: Callable[[], int]
    books: Books
    workings: Workings
    reporting: Reporting
    steps: Steps | None = None
    """Where a scripted scenario is stepped; only a demonstration has it."""


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
        lambda sources: Attestations(sources.engine, sources.workings.attestations),
    ),
    Service(
        collateral_service_pb2.DESCRIPTOR.services_by_name["CollateralService"],
        collateral_service_pb2_grpc.add_CollateralServiceServicer_to_server,
        lambda sources: Collaterals(sources.engine),
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
        lambda sources: Reports(sources.engine, sources.books, sources.reporting),
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
SCENARIO = Service(
    scenario_service_pb2.DESCRIPTOR.services_by_name["ScenarioService"],
    scenario_service_pb2_grpc.add_ScenarioServiceServicer_to_server,
    lambda sources: Scenario(sources.steps),
)
DESCRIBED: Sequence[ServiceDescriptor] = tuple(service.described for service in SERVICES)


def services_of(sources: Sources) -> Sequence[Service]:
    """What is served with ``sources``."""
    return SERVICES if sources.steps is None else (*SERVICES, SCENARIO)
