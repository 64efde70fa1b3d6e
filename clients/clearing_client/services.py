"""The services of a house as typed stubs: whatever the interface has can be called here. One line for each, twice.

house.trades.GetTrade(GetTradeRequest(name="members/alpha/trades/t1")).trade.price
"""

import grpc

from clearinghouse.v1.account_service_pb2_grpc import AccountServiceStub
from clearinghouse.v1.admin_service_pb2_grpc import AdminServiceStub
from clearinghouse.v1.attestation_service_pb2_grpc import AttestationServiceStub
from clearinghouse.v1.auction_service_pb2_grpc import AuctionServiceStub
from clearinghouse.v1.collateral_service_pb2_grpc import CollateralServiceStub
from clearinghouse.v1.default_service_pb2_grpc import DefaultServiceStub
from clearinghouse.v1.event_service_pb2_grpc import EventServiceStub
from clearinghouse.v1.house_service_pb2_grpc import HouseServiceStub
from clearinghouse.v1.ledger_service_pb2_grpc import LedgerServiceStub
from clearinghouse.v1.margin_service_pb2_grpc import MarginServiceStub
from clearinghouse.v1.membership_service_pb2_grpc import MembershipServiceStub
from clearinghouse.v1.price_service_pb2_grpc import PriceServiceStub
from clearinghouse.v1.report_service_pb2_grpc import ReportServiceStub
from clearinghouse.v1.trade_service_pb2_grpc import TradeServiceStub


class Services:
    """Every service, for threads."""

    def __init__(self, connected: grpc.Channel) -> None:
        self.accounts = AccountServiceStub(connected)
        self.administration = AdminServiceStub(connected)
        self.attestations = AttestationServiceStub(connected)
        self.auctions = AuctionServiceStub(connected)
        self.collateral = CollateralServiceStub(connected)
        self.defaults = DefaultServiceStub(connected)
        self.events = EventServiceStub(connected)
        self.houses = HouseServiceStub(connected)
        self.ledger = LedgerServiceStub(connected)
        self.margins = MarginServiceStub(connected)
        self.membership = MembershipServiceStub(connected)
        self.prices = PriceServiceStub(connected)
        self.reports = ReportServiceStub(connected)
        self.trades = TradeServiceStub(connected)


class AsyncServices:
    """Every service, for asyncio: the same stubs, whose answers are awaited."""

    def __init__(self, connected: grpc.aio.Channel) -> None:
        self.accounts = AccountServiceStub(connected)
        self.administration = AdminServiceStub(connected)
        self.attestations = AttestationServiceStub(connected)
        self.auctions = AuctionServiceStub(connected)
        self.collateral = CollateralServiceStub(connected)
        self.defaults = DefaultServiceStub(connected)
        self.events = EventServiceStub(connected)
        self.houses = HouseServiceStub(connected)
        self.ledger = LedgerServiceStub(connected)
        self.margins = MarginServiceStub(connected)
        self.membership = MembershipServiceStub(connected)
        self.prices = PriceServiceStub(connected)
        self.reports = ReportServiceStub(connected)
        self.trades = TradeServiceStub(connected)
