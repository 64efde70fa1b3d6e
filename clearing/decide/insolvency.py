"""Two administrators declare a member in default that is known to be unable to pay (rulebook §10.3).

1. It is T0 now. The member is in default, and its clients are offered to the others (§10.4).
2. What its house account holds is declared as any netting set is: it joins the event of this cycle, or begins one. If
a default has the account already, declared or closed out, the member joins that.
3. The rest is the rules': close-out by auction, as far as there are prices, the loss, the answer, the waterfall.
"""

from clearing.decide.administrators import reason_refusal
from clearing.decide.declare import declare
from clearing.decide.resolve import default_member
from clearing.decide.standing import resigned_refusal
from clearing.decide.treasury import recall_holds
from clearing.model.commands import DeclareDefault
from clearing.model.draft import Draft
from clearing.model.house import House, ordered
from clearing.model.ids import DefaultId, SetId, house_account
from clearing.model.outcomes import Reason, Rejected


def declare_default(draft: Draft, command: DeclareDefault) -> Rejected | None:
    """Put a member in default now, with its house account."""
    house = draft.house
    if command.member not in house.members:
        return Rejected(Reason.MEMBER_UNKNOWN, command.member)
    rejected = resigned_refusal(house, command.member) or reason_refusal(command.reason)
    if rejected is not None:
        return rejected
    own = house.accounts[house_account(command.member)].netting_set
    default_id = _event_of(house, own) or declare(draft, [recall_holds(draft, own)])
    default_member(draft, default_id, command.member)
    return None


def _event_of(house: House, set_id: SetId) -> DefaultId | None:
    """The default that has the netting set already, declared or closed out."""
    having = (one.id for one in ordered(house.defaults) if set_id in {row.netting_set for row in one.sets})
    return next(having, None)
