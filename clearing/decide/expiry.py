"""What an expired call leads to: a margin call to liquidation, a cash call to a sale of collateral.

While the collateral is on offer, the cash call stays open, and paying it voids the auction.
"""

from clearing.decide.liquidation import offer_collateral, open_liquidation, raise_cash
from clearing.margin.assess import assess
from clearing.model.draft import Draft
from clearing.model.house import Drop
from clearing.model.kinds import Kind
from clearing.model.values import CallKind


def expire(draft: Draft, key: str) -> None:
    """The due time has come and the call is still open."""
    call = draft.house.calls[key]
    if call.kind is CallKind.CASH and offer_collateral(draft, call.netting_set):
        return
    draft.record(Kind.CALL_EXPIRED, Drop("calls", key))
    draft.tell(Kind.CALL_EXPIRED, key, call.amount_minor)
    if call.kind is CallKind.CASH:
        raise_cash(draft, call.netting_set)
    elif call.netting_set not in draft.house.liquidations:
        open_liquidation(draft, assess(draft.house, call.netting_set))
