"""Sealed-bid auctions among liquidity providers (rulebook §10.2, §10.3).

1. An auction offers positions or collateral for a window of house time. Who may bid is a registered provider that is
   not itself being closed; without one, or with a window of zero, no auction is held.
2. When the window is over, bids are awarded by price: the smallest discount first, ties by the smaller
   SHA-256(auction id ‖ 0A ‖ account). A bid takes the same share of everything on offer, so a hedge stays one, at
   its own price.
3. A bid takes only so much that afterwards its netting set meets R and has cash ≥ 0. Capacity binds assignment,
   not bids.
4. What the state has become since the opening counts: no more is sold than is still there.
5. An auction whose purpose is gone, or that a halt or stale marks interrupt, is void with its bids.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from clearing import chart
from clearing.default.placement import assignment_price, eligible, largest, sale_value, stands
from clearing.margin.assess import exposure_price, posted, settlement_price, width_price
from clearing.market.novation import notional, novate
from clearing.market.outage import outage_of
from clearing.model.draft import Draft
from clearing.model.house import Drop, House, Put, ordered
from clearing.model.ids import AccountKey, AssetId, DefaultId, InstrumentId, SetId, member_of
from clearing.model.kinds import Kind
from clearing.model.values import BP, Auction, AuctionKind, Bid, Offered
from ledger.amount import divide_down
from ledger.entry import Leg, transfer


def auctions_of(house: House, subject: str) -> list[Auction]:
    """The auctions that are open for a netting set or a default."""
    return [auction for auction in ordered(house.auctions) if auction.subject == subject]


def auction_of(house: House, kind: AuctionKind, subject: str) -> Auction | None:
    """The auction of a kind that is open for a netting set or a default."""
    return next((one for one in auctions_of(house, subject) if one.kind is kind), None)


def sets_of(house: House, auction: Auction) -> tuple[SetId, ...]:
    """The netting sets whose positions or collateral an auction offers."""
    if auction.subject in house.netting_sets:
        return (SetId(auction.subject),)
    return tuple(one.netting_set for one in house.defaults[DefaultId(auction.subject)].sets)


def open_auction(draft: Draft, kind: AuctionKind, subject: str, offered: tuple[Offered, ...]) -> bool:
    """Open an auction, if there is something to offer, time to bid and somebody who could, and no outage (§6);
    whether it was.
    """
    parameters = draft.house.parameters
    is_default = subject in draft.house.defaults
    window_ms = parameters.close_out_auction_ms if is_default else parameters.auction_ms
    auction = Auction(
        id=f"a{draft.house.size}",
        kind=kind,
        subject=subject,
        offered=offered,
        opened_ms=draft.now_ms,
        closes_ms=draft.now_ms + window_ms,
    )
    has_bidders = eligible(draft.house, frozenset(sets_of(draft.house, auction)))
    if not (window_ms and offered and has_bidders) or outage_of(draft.house, draft.now_ms) is not None:
        return False
    draft.record(Kind.AUCTION_OPENED, Put("auctions", auction.id, auction), references=(auction.id, subject))
    draft.tell(Kind.AUCTION_OPENED, f"{auction.id} {kind.value} {subject}")
    return True


def void(draft: Draft, auction: Auction, why: str) -> None:
    """End an auction without an award; its bids are gone."""
    _end(draft, Kind.AUCTION_VOIDED, auction)
    draft.tell(Kind.AUCTION_VOIDED, f"{auction.id} {why}")


def void_all(draft: Draft, subject: str, why: str) -> None:
    """End every auction of a netting set or a default."""
    for auction in auctions_of(draft.house, subject):
        void(draft, auction, why)


def _end(draft: Draft, kind: Kind, auction: Auction) -> None:
    drops = [Drop("bids", bid_key(bid.auction, bid.account)) for bid in _bids(draft.house, auction)]
    draft.record(kind, Drop("auctions", auction.id), *drops, references=(auction.id, auction.subject))


def bid_key(auction: str, account: AccountKey) -> str:
    """The key of an account's bid in an auction."""
    return f"{auction}/{account}"


def _bids(house: House, auction: Auction) -> list[Bid]:
    return [bid for bid in ordered(house.bids) if bid.auction == auction.id]


def _rank(bid: Bid) -> tuple[int, bytes]:
    return bid.discount_bp, hashlib.sha256(f"{bid.auction}\n{bid.account}".encode()).digest()


@dataclass(slots=True, kw_only=True)
class Sale:
    """An auction whose window is over: its bids, best first, what is left on offer, and who was awarded something."""

    auction: Auction
    bids: tuple[Bid, ...]
    left: tuple[Offered, ...]
    winners: list[AccountKey] = field(default_factory=list)

    def award(
        self, draft: Draft, bids: tuple[Bid, ...], is_borne: Callable[[House], bool] = lambda _: True
    ) -> None:
        """Sell to ``bids`` in their order as far as each stands afterwards and ``is_borne`` holds."""
        self.left = _still_there(draft.house, self.left)
        for bid in bids:
            pieces = self._most(draft, bid, is_borne)
            if pieces:
                _book(draft, self.auction, bid, pieces)
                self.winners.append(bid.account)
                self.left = tuple(one for one in (_less(one, pieces) for one in self.left) if one.size)

    def withhold(self, accounts: frozenset[AccountKey]) -> None:
        """Offer nothing more of these accounts."""
        self.left = tuple(_sized(one, 0) if one.account in accounts else one for one in self.left)

    def up_to(self, discount_bp: int) -> tuple[Bid, ...]:
        """The bids at a discount no worse than this."""
        return tuple(bid for bid in self.bids if bid.discount_bp <= discount_bp)

    def beyond(self, discount_bp: int) -> tuple[Bid, ...]:
        """The other bids."""
        return tuple(bid for bid in self.bids if bid.discount_bp > discount_bp)

    def would_take(self, draft: Draft, bid: Bid) -> bool:
        """Whether the bid, if it were alone, would be awarded something."""
        return bool(self._most(draft, bid, lambda _: True))

    def _most(self, draft: Draft, bid: Bid, is_borne: Callable[[House], bool]) -> tuple[Offered, ...]:
        def fits(share_bp: int) -> bool:
            pieces, attempt = self._cut(share_bp), draft.fork()
            if pieces:
                _book(attempt, self.auction, bid, pieces)
            house = attempt.house
            return stands(house, house.accounts[bid.account].netting_set) and is_borne(house)

        return self._cut(largest(bid.share_bp, fits))

    def _cut(self, share_bp: int) -> tuple[Offered, ...]:
        """A share of everything that was on offer, rounded down, and of each no more than is left."""
        whole = {(one.account, one.unit): abs(one.size) for one in self.auction.offered}
        pieces = [
            _sized(one, min(abs(one.size), divide_down(whole[one.account, one.unit] * share_bp, BP)))
            for one in self.left
        ]
        return tuple(piece for piece in pieces if piece.size)


def close_auction(draft: Draft, auction: Auction, wanted: tuple[Offered, ...] | None = None) -> Sale:
    """End the window. ``wanted``: what is still to be sold, where that may have become less (None: all)."""
    sets = frozenset(sets_of(draft.house, auction))
    able = {provider.account for provider in eligible(draft.house, sets)}
    bids = sorted((bid for bid in _bids(draft.house, auction) if bid.account in able), key=_rank)
    _end(draft, Kind.AUCTION_CLOSED, auction)
    draft.tell(Kind.AUCTION_CLOSED, f"{auction.id} {auction.subject}")
    left = auction.offered
    if wanted is not None:
        most = {(one.account, one.unit): abs(one.size) for one in wanted}
        left = tuple(_sized(one, min(abs(one.size), most.get((one.account, one.unit), 0))) for one in left)
    return Sale(auction=auction, bids=tuple(bids), left=_still_there(draft.house, left))


def _still_there(house: House, offered: tuple[Offered, ...]) -> tuple[Offered, ...]:
    """What of an offer the accounts still have; what is gone (an expired future, say) has no price any more."""
    there = (_sized(one, max(0, min(abs(one.size), _have(house, one)))) for one in offered)
    return tuple(one for one in there if one.size)


def _have(house: House, one: Offered) -> int:
    if one.unit not in house.instruments:
        return posted(house, one.account, AssetId(one.unit))
    lots = house.position(one.account, InstrumentId(one.unit))
    return lots if one.size > 0 else -lots


def _sized(one: Offered, size: int) -> Offered:
    return replace(one, size=size if one.size > 0 else -size)


def _less(one: Offered, pieces: tuple[Offered, ...]) -> Offered:
    taken = sum(abs(p.size) for p in pieces if (p.account, p.unit) == (one.account, one.unit))
    return _sized(one, abs(one.size) - taken)


def worth(house: House, offered: tuple[Offered, ...]) -> int:
    """The notional of the positions on offer, at the marks."""
    positions = [(InstrumentId(one.unit), one.size) for one in offered if one.unit in house.instruments]
    return sum(notional(house, i, lots, exposure_price(house, i)) for i, lots in positions)


def _book(draft: Draft, auction: Auction, bid: Bid, pieces: tuple[Offered, ...]) -> None:
    """One entry an award: everything that the bid takes, and what it pays for it."""
    legs = tuple(leg for piece in pieces for leg in _legs(draft.house, bid, piece))
    kind = Kind.COLLATERAL_AWARDED if auction.kind is AuctionKind.COLLATERAL else Kind.BID_AWARDED
    draft.record(kind, legs=legs, references=(auction.id, bid.account))
    draft.tell(kind, f"{auction.id} {bid.account}", _paid_for(draft.house, bid, pieces))


def _paid_for(house: House, bid: Bid, pieces: tuple[Offered, ...]) -> int:
    """Notional of the positions and price of the collateral that a bid takes."""
    collateral = [one for one in pieces if one.unit not in house.instruments]
    prices = (
        sale_value(house, house.assets[AssetId(one.unit)], one.size, bid.discount_bp) for one in collateral
    )
    return worth(house, pieces) + sum(prices)


def _legs(house: House, bid: Bid, piece: Offered) -> tuple[Leg, ...]:
    if piece.unit not in house.instruments:
        asset = house.assets[AssetId(piece.unit)]
        price = sale_value(house, asset, piece.size, bid.discount_bp)
        return (
            *transfer(
                chart.collateral(piece.account, asset.id), chart.collateral(bid.account, asset.id), piece.size
            ),
            *transfer(
                chart.cash(bid.account, house.settlement), chart.cash(piece.account, house.settlement), price
            ),
        )
    instrument = InstrumentId(piece.unit)
    mark = settlement_price(house, instrument)
    long = piece.size > 0
    return novate(
        house,
        instrument,
        seller=piece.account if long else bid.account,
        buyer=bid.account if long else piece.account,
        lots=abs(piece.size),
        price_ticks=assignment_price(mark, width_price(house, instrument), piece.size, bid.discount_bp),
        carried_ticks=mark,
    )


def bidding_members(draft: Draft, sale: Sale) -> list[str]:
    """Members with a bid that counts, at no worse than the assignment discount, if it could take something (§11.5)."""
    good = sale.up_to(draft.house.parameters.assignment_discount_bp)
    return [member_of(bid.account) for bid in good if sale.would_take(draft, bid)]
