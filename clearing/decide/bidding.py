"""Bids of liquidity providers (rulebook §10.2): sealed, and binding when the window closes.

A bid is known to its bidder and the journal alone until it is awarded: no answer, event or refusal speaks of another's.
"""

from clearing.decide.auctions import bid_key, sets_of
from clearing.default.placement import eligible
from clearing.market.breakers import everything_halted
from clearing.model.commands import PlaceBid, WithdrawBid
from clearing.model.draft import Draft
from clearing.model.house import Drop, House, Put
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import BP, Bid

DISCOUNT_BP_MAX = BP - 1
"""A position or an asset changes hands at a price between (almost) nothing and twice the mark."""


def place_bid(draft: Draft, command: PlaceBid) -> Rejected | None:
    """Take a bid in the place of the account's earlier one."""
    rejected = _refusal(draft, command)
    if rejected is not None:
        return rejected
    bid = Bid(
        auction=command.auction,
        account=command.account,
        discount_bp=command.discount_bp,
        share_bp=command.share_bp,
        placed_ms=draft.now_ms,
    )
    draft.record(Kind.BID_PLACED, Put("bids", bid_key(bid.auction, bid.account), bid))
    draft.tell(Kind.BID_PLACED, bid_key(bid.auction, bid.account))
    return None


def withdraw_bid(draft: Draft, command: WithdrawBid) -> Rejected | None:
    """Drop a bid."""
    rejected = _window_refusal(draft.house, command.auction, draft.now_ms)
    if rejected is not None:
        return rejected
    key = bid_key(command.auction, command.account)
    if key not in draft.house.bids:
        return Rejected(Reason.BID_UNKNOWN, key)
    draft.record(Kind.BID_WITHDRAWN, Drop("bids", key))
    draft.tell(Kind.BID_WITHDRAWN, key)
    return None


def _refusal(draft: Draft, command: PlaceBid) -> Rejected | None:
    house = draft.house
    if everything_halted(house) is not None:
        return Rejected(Reason.HALTED)
    rejected = _window_refusal(house, command.auction, draft.now_ms)
    if rejected is not None:
        return rejected
    if command.account not in house.providers:
        return Rejected(Reason.NOT_A_PROVIDER, command.account)
    sets = frozenset(sets_of(house, house.auctions[command.auction]))
    if command.account not in {provider.account for provider in eligible(house, sets)}:
        return Rejected(Reason.BIDDER_EXCLUDED, command.account)
    if abs(command.discount_bp) > DISCOUNT_BP_MAX:
        return Rejected(
            Reason.TERM_OUT_OF_RANGE, f"a discount lies between {-DISCOUNT_BP_MAX} and {DISCOUNT_BP_MAX}"
        )
    if not 0 < command.share_bp <= BP:
        return Rejected(Reason.TERM_OUT_OF_RANGE, f"a share lies between 1 and {BP}")
    return None


def _window_refusal(house: House, auction_id: str, now_ms: int) -> Rejected | None:
    auction = house.auctions.get(auction_id)
    if auction is None:
        return Rejected(Reason.AUCTION_UNKNOWN, auction_id)
    if auction.closes_ms <= now_ms:
        return Rejected(Reason.AUCTION_CLOSED, auction_id)
    return None
