"""What an expired call leads to: a margin call to liquidation, a cash call to a sale of collateral.

While the collateral is on offer, the cash call stays open, and paying it voids the auction.
"""

from clearing.decide.calls import cure
from clearing.decide.liquidation import offer_collateral, open_liquidation, raise_cash
from clearing.decide.treasury import recall_holds
from clearing.model.draft import Draft
from clearing.model.house import Drop
from clearing.model.kinds import Kind
from clearing.model.values import CallKind


def expire(draft: Draft, key: str) -> None:
    """The due time has come: the call expires, unless it is met without having been told so.

    The set's own holds may meet it, or a tear-up that has lowered its requirement since the cycle.
    """
    set_id = draft.house.calls[key].netting_set
    measured = recall_holds(draft, set_id)
    cure(draft, set_id)
    call = draft.house.calls.get(key)
    if call is None or (call.kind is CallKind.CASH and offer_collateral(draft, set_id)):
        return
    draft.record(Kind.CALL_EXPIRED, Drop("calls", key))
    draft.tell(Kind.CALL_EXPIRED, key, call.amount_minor)
    if call.kind is CallKind.CASH:
        raise_cash(draft, set_id)
    elif set_id not in draft.house.liquidations:
        open_liquidation(draft, measured)
