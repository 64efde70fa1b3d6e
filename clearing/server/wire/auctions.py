"""Auctions, providers and bids on the wire.

A bidder learns what is on offer, how much of it and until when, and not whose it is: positions of one instrument are
one lot, of however many accounts they are.
"""

from collections import Counter
from collections.abc import Mapping

from clearing.decide.auctions import sets_of
from clearing.model import units
from clearing.model.commands import PlaceBid, RegisterProvider, WithdrawBid
from clearing.model.house import House
from clearing.model.ids import AssetId, DefaultId, InstrumentId
from clearing.model.values import Auction, AuctionKind, Bid, Provider
from clearing.server.identity import Identity
from clearing.server.wire import names, terms, times
from clearing.server.wire.defaults import sees_set
from clearing.server.wire.violations import Violations, require_valid
from clearinghouse.v1 import auction_service_pb2 as pb

KINDS: "Mapping[AuctionKind, pb.AuctionKind.ValueType]" = {
    AuctionKind.LIQUIDATION: pb.AUCTION_KIND_LIQUIDATION,
    AuctionKind.CLOSE_OUT: pb.AUCTION_KIND_CLOSE_OUT,
    AuctionKind.COLLATERAL: pb.AUCTION_KIND_COLLATERAL,
}


def register(request: pb.RegisterProviderRequest, house: House) -> RegisterProvider:
    """The command. Raises ``RequestInvalid`` with every field that is wrong."""
    violations = Violations(request)
    capacity = terms.steps(units.of_settlement(house), request.capacity, "capacity", violations)
    violations.require_none()
    return RegisterProvider(account=names.account_key(request.account), capacity_minor=capacity)


def registered(command: RegisterProvider, house: House) -> pb.RegisterProviderResponse:
    """The provider as it was declared."""
    declared = Provider(account=command.account, capacity_minor=command.capacity_minor)
    return pb.RegisterProviderResponse(provider=provider(declared, house))


def place(request: pb.PlaceBidRequest) -> PlaceBid:
    """The command. Raises ``RequestInvalid`` with every field that is wrong."""
    require_valid(request)
    return PlaceBid(
        auction=names.own_id(request.auction),
        account=names.account_key(request.account),
        discount_bp=request.discount_bp,
        share_bp=request.share_bp,
    )


def withdraw(request: pb.WithdrawBidRequest) -> WithdrawBid:
    """The command. Raises ``RequestInvalid`` with every field that is wrong."""
    require_valid(request)
    return WithdrawBid(auction=names.own_id(request.auction), account=names.account_key(request.account))


def provider(row: Provider, house: House) -> pb.Provider:
    """A liquidity provider."""
    unit = units.of_settlement(house)
    return pb.Provider(
        account=names.account(row.account),
        capacity=unit.render(row.capacity_minor),
        taken=unit.render(row.taken_minor),
    )


def message(row: Auction, house: House, caller: Identity) -> pb.Auction:
    """An auction as ``caller`` may see it."""
    default = DefaultId(row.subject)
    seen = (set_id for set_id in sets_of(house, row) if sees_set(house, set_id, caller))
    return pb.Auction(
        name=names.auction(row.id),
        kind=KINDS[row.kind],
        lots=_lots(row, house),
        open_time=times.from_ms(row.opened_ms),
        close_time=times.from_ms(row.closes_ms),
        default=names.default(default) if default in house.defaults else "",
        netting_sets=[names.netting_set(set_id) for set_id in seen],
    )


def _lots(row: Auction, house: House) -> list[pb.OfferedLot]:
    """What is on offer, summed over accounts; longs and shorts of one instrument stay apart."""
    sizes: Counter[tuple[str, bool]] = Counter()
    for one in row.offered:
        sizes[one.unit, one.size < 0] += one.size
    return [_lot(unit, size, house) for (unit, _), size in sorted(sizes.items())]


def _lot(unit: str, size: int, house: House) -> pb.OfferedLot:
    instrument = house.instruments.get(InstrumentId(unit))
    if instrument is not None:
        return pb.OfferedLot(
            unit=names.instrument(instrument.id), size=units.of_size(instrument).render(size)
        )
    asset = house.assets[AssetId(unit)]
    return pb.OfferedLot(unit=names.asset(asset.id), size=units.of_asset(asset).render(size))


def bid(row: Bid) -> pb.Bid:
    """A bid, for its bidder."""
    return pb.Bid(
        account=names.account(row.account),
        auction=names.auction(row.auction),
        discount_bp=row.discount_bp,
        share_bp=row.share_bp,
        place_time=times.from_ms(row.placed_ms),
    )
