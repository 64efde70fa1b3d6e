"""AuctionService."""

import grpc

from clearing.engine import Engine
from clearing.model.outcomes import Reason
from clearing.server.calls import caller_of, founded, shown, write
from clearing.server.errors import Refused
from clearing.server.pages import page_of
from clearing.server.wire import auctions as wire
from clearing.server.wire import names
from clearing.server.wire.violations import require_valid
from clearinghouse.v1 import auction_service_pb2 as pb
from clearinghouse.v1.auction_service_pb2_grpc import AuctionServiceServicer


class Auctions(AuctionServiceServicer):
    """Shows what is on offer, and takes sealed bids."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def RegisterProvider(  # named by the proto
        self, request: pb.RegisterProviderRequest, context: grpc.ServicerContext
    ) -> pb.RegisterProviderResponse:
        """Register an account, or renew what it backs."""
        house = founded(self._engine.view)
        command = wire.register(request, house)
        write(self._engine, command, request, context)
        return wire.registered(command, house)

    def ListProviders(
        self, request: pb.ListProvidersRequest, context: grpc.ServicerContext
    ) -> pb.ListProvidersResponse:
        """Providers of one member, or all that the caller sees."""
        require_valid(request)
        view, caller = self._engine.view, caller_of(context)
        house = founded(view)
        keys = filter(shown(request.parent, caller), house.providers)
        page = page_of(keys, request, "providers", request.parent, caller.actor)
        return pb.ListProvidersResponse(
            providers=[wire.provider(house.providers[key], house) for key in page.keys],
            next_page_token=page.next_token,
            journal_size=view.size,
        )

    def GetAuction(
        self, request: pb.GetAuctionRequest, context: grpc.ServicerContext
    ) -> pb.GetAuctionResponse:
        """One open auction by its name."""
        require_valid(request)
        view = self._engine.view
        house = founded(view)
        auction = house.auctions.get(names.own_id(request.name))
        if auction is None:
            raise Refused(Reason.AUCTION_UNKNOWN, request.name)
        found = wire.message(auction, house, caller_of(context))
        return pb.GetAuctionResponse(auction=found, journal_size=view.size)

    def ListAuctions(
        self, request: pb.ListAuctionsRequest, context: grpc.ServicerContext
    ) -> pb.ListAuctionsResponse:
        """All open auctions."""
        require_valid(request)
        view, caller = self._engine.view, caller_of(context)
        house = founded(view)
        page = page_of(house.auctions, request, "auctions")
        return pb.ListAuctionsResponse(
            auctions=[wire.message(house.auctions[key], house, caller) for key in page.keys],
            next_page_token=page.next_token,
            journal_size=view.size,
        )

    def PlaceBid(self, request: pb.PlaceBidRequest, context: grpc.ServicerContext) -> pb.PlaceBidResponse:
        """Take a sealed bid."""
        write(self._engine, wire.place(request), request, context)
        return pb.PlaceBidResponse(account=request.account, auction=request.auction)

    def WithdrawBid(
        self, request: pb.WithdrawBidRequest, context: grpc.ServicerContext
    ) -> pb.WithdrawBidResponse:
        """Drop a bid."""
        write(self._engine, wire.withdraw(request), request, context)
        return pb.WithdrawBidResponse(account=request.account, auction=request.auction)

    def ListBids(self, request: pb.ListBidsRequest, context: grpc.ServicerContext) -> pb.ListBidsResponse:
        """The caller's own bids: who sees everything else does not see these."""
        require_valid(request)
        view, caller = self._engine.view, caller_of(context)
        bids = founded(view).bids
        is_shown = shown(request.parent, caller)
        own = (
            key
            for key, bid in bids.items()
            if is_shown(bid.account) and caller.owns(names.account(bid.account))
        )
        page = page_of(own, request, "bids", request.parent, caller.actor)
        return pb.ListBidsResponse(
            bids=[wire.bid(bids[key]) for key in page.keys],
            next_page_token=page.next_token,
            journal_size=view.size,
        )
