"""What the status of a member and of an account lets it do (rulebook §2): only an active one takes on anything new.

A suspended member reduces, pays, deposits, unlinks, and withdraws what §8 leaves free; a member in default reduces
and pays; one that left pays and withdraws.
"""

from collections.abc import Mapping
from typing import Final

from clearing.model.house import House
from clearing.model.ids import MemberId
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import AccountStatus, ClearingAccount, MemberStatus

_REASONS: Final[Mapping[MemberStatus, Reason]] = {
    MemberStatus.APPLIED: Reason.MEMBER_NOT_ADMITTED,
    MemberStatus.SUSPENDED: Reason.MEMBER_SUSPENDED,
    MemberStatus.DEFAULTED: Reason.MEMBER_NOT_ACTIVE,
    MemberStatus.LEFT: Reason.MEMBER_LEFT,
}


def standing_refusal(house: House, member: MemberId) -> Rejected | None:
    """Why a known member takes on nothing new; None for an active one."""
    status = house.members[member].status
    return None if status is MemberStatus.ACTIVE else Rejected(_REASONS[status], member)


def resigned_refusal(house: House, member: MemberId) -> Rejected | None:
    """Why a known member makes no promises, even such as only reduce or pay in: it is in default, or no member."""
    return None if house.members[member].belongs else standing_refusal(house, member)


def ended_refusal(account: ClearingAccount) -> Rejected | None:
    """Why an account holds nothing new; None for an active one."""
    if account.status is AccountStatus.CLOSED_OUT:
        return Rejected(Reason.ACCOUNT_CLOSED_OUT, account.key)
    return Rejected(Reason.ACCOUNT_PORTED, account.key) if account.status is AccountStatus.PORTED else None
