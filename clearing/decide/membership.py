"""The life of a member (rulebook §2, §11.7).

applied → active ⇄ suspended → left, and from active, suspended or left → defaulted. Nothing leads out of defaulted
or left: who comes again applies under another name. An application is optional. Suspending takes one administrator,
for it only makes safer; reinstating takes two, as a breaker does. A member leaves when it has nothing open and no
client's money. Its contribution stays in the pool until it is released (``default/exits``); then it goes to its
house account, from which it is withdrawn like any cash. Affiliates are grouped by two administrators: who belongs with
whom is the house's judgement, and the sums that pool and attestations are held against follow from it (§12).
"""

from collections.abc import Iterator
from dataclasses import replace

from clearing import chart
from clearing.decide.administrators import administrator_refusal, reason_refusal
from clearing.decide.calls import call_key
from clearing.decide.halves import submitter
from clearing.decide.registry import open_new
from clearing.decide.standing import resigned_refusal, standing_refusal
from clearing.decide.treasury import account_for
from clearing.default.gate import may_answer
from clearing.model.commands import (
    AdmitMember,
    ApplyForMembership,
    GroupMember,
    LeaveHouse,
    ReinstateMember,
    SuspendMember,
)
from clearing.model.draft import Draft
from clearing.model.house import House, Put, ordered
from clearing.model.ids import (
    LINK,
    NAME_PATTERN,
    AccountKey,
    MemberId,
    ParticipantId,
    house_account,
    member_of,
    single_set,
)
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import (
    AccountKind,
    CallKind,
    ClearingAccount,
    Member,
    MemberStatus,
    WithdrawalState,
)
from ledger.entry import transfer

DISPLAY_NAME_MAX = 100
"""Characters in the name by which people know a member."""


def apply_for_membership(draft: Draft, command: ApplyForMembership) -> Rejected | None:
    """Put an applicant on record."""
    if (rejected := _name_refusal(command.member, command.name)) is not None:
        return rejected
    if command.member in draft.house.members:
        return Rejected(Reason.ALREADY_EXISTS, command.member)
    applicant = Member(id=command.member, name=command.name, status=MemberStatus.APPLIED)
    _record(draft, Kind.MEMBER_APPLIED, applicant)
    return None


def admit_member(draft: Draft, command: AdmitMember) -> Rejected | None:
    """Admit a member, who may have applied, and open its house account."""
    if (rejected := _name_refusal(command.member, command.name)) is not None:
        return rejected
    known = draft.house.members.get(command.member)
    if known is not None and known.status is not MemberStatus.APPLIED:
        return Rejected(Reason.ALREADY_EXISTS, command.member)
    member = Member(id=command.member, name=command.name)
    draft.record(Kind.MEMBER_ADMITTED, Put("members", member.id, member))
    open_new(draft, house_account(member.id), AccountKind.HOUSE, ParticipantId(member.id))
    return None


def _name_refusal(member: MemberId, name: str) -> Rejected | None:
    """No member may be called so that an account of it could be called as a link's netting set is."""
    if not NAME_PATTERN.fullmatch(member) or member == LINK:
        return Rejected(Reason.NAME_MALFORMED, member)
    if not (name.isprintable() and 0 < len(name) <= DISPLAY_NAME_MAX):
        return Rejected(Reason.NAME_MALFORMED, f"the name of {member}")
    return None


def suspend_member(draft: Draft, command: SuspendMember) -> Rejected | None:
    """Suspend an active member at once."""
    if (rejected := administrator_refusal(draft.actor)) is not None:
        return rejected
    if command.member not in draft.house.members:
        return Rejected(Reason.MEMBER_UNKNOWN, command.member)
    rejected = reason_refusal(command.reason) or standing_refusal(draft.house, command.member)
    if rejected is not None:
        return rejected
    member = draft.house.members[command.member]
    suspended = replace(member, status=MemberStatus.SUSPENDED, suspended_for=command.reason)
    _record(draft, Kind.MEMBER_SUSPENDED, suspended)
    return None


def reinstate_member(draft: Draft, command: ReinstateMember) -> Rejected | None:
    """Make a suspended member active again."""
    member = draft.house.members.get(command.member)
    if member is None:
        return Rejected(Reason.MEMBER_UNKNOWN, command.member)
    if (rejected := reason_refusal(command.reason)) is not None:
        return rejected
    if member.status is not MemberStatus.SUSPENDED:
        return standing_refusal(draft.house, member.id) or Rejected(Reason.MEMBER_NOT_SUSPENDED, member.id)
    _record(draft, Kind.MEMBER_REINSTATED, replace(member, status=MemberStatus.ACTIVE, suspended_for=""))
    return None


def group_member(draft: Draft, command: GroupMember) -> Rejected | None:
    """Count a member with its affiliates, or alone. One that failed or left may still be part of a loss."""
    member = draft.house.members.get(command.member)
    if member is None:
        return Rejected(Reason.MEMBER_UNKNOWN, command.member)
    if member.status is MemberStatus.APPLIED:
        return Rejected(Reason.MEMBER_NOT_ADMITTED, member.id)
    if command.group and not NAME_PATTERN.fullmatch(command.group):
        return Rejected(Reason.NAME_MALFORMED, command.group)
    _record(draft, Kind.MEMBER_GROUPED, replace(member, group=command.group))
    return None


def _record(draft: Draft, kind: Kind, member: Member) -> None:
    draft.record(kind, Put("members", member.id, member))
    draft.tell(kind, member.id)


# leaving ------------------------------------------------------------------------------------------


def leave_house(draft: Draft, command: LeaveHouse) -> Rejected | None:
    """Let a member go that has nothing open; what it stays liable for is found from the state."""
    member = draft.house.members.get(command.member)
    if member is None:
        return Rejected(Reason.MEMBER_UNKNOWN, command.member)
    if (rejected := resigned_refusal(draft.house, member.id)) is not None:
        return rejected
    bond = next(_bonds(draft.house, member.id), None)
    if bond is not None:
        return Rejected(Reason.MEMBER_BOUND, bond)
    _record(draft, Kind.MEMBER_LEFT, replace(member, status=MemberStatus.LEFT, left_ms=draft.now_ms))
    return None


def _bonds(house: House, member: MemberId) -> Iterator[str]:
    """What a member has to end before it leaves."""
    for account in ordered(house.accounts):
        if account.member == member:
            yield from _bonds_of(house, account)
    if house.cash(house_account(member)) < 0:
        yield f"what {house_account(member)} owes"
    for held in ordered(house.withdrawals):
        unsettled = held.state in (WithdrawalState.HELD, WithdrawalState.SENT)
        if unsettled and member_of(house.holder(held.account)) == member:
            yield f"the withdrawal {held.id}"
    for half in ordered(house.halves):
        if submitter(half.trade.key) == member:
            yield f"the half {half.trade.key}"
    for default in ordered(house.defaults):
        if may_answer(default, member):
            yield f"the default {default.id}"
    for name, dues in (("assessment", house.assessments), ("replenishment", house.replenishments)):
        for key in sorted(dues):
            if dues[key].member == member:
                yield f"the {name} {key}"


def _bonds_of(house: House, account: ClearingAccount) -> Iterator[str]:
    set_id = account.netting_set
    if set_id in house.liquidations or any(call_key(kind, set_id) in house.calls for kind in CallKind):
        yield f"what is called of {account.key}"
    if house.positions(account.key):
        yield f"positions of {account.key}"
    if set_id != single_set(account.key):
        yield f"the link of {account.key}"
    if account.kind is AccountKind.CLIENT and _has_money(house, account.key):
        yield f"the money of {account.key}"


def _has_money(house: House, key: AccountKey) -> bool:
    return any(house.balance(account_for(house, key, asset)) for asset in sorted(house.assets))


def release_member(draft: Draft, member_id: MemberId) -> None:
    """Give a member that left its contribution back; nothing is required of it any more."""
    house = draft.house
    released = replace(house.members[member_id], required_contribution_minor=0)
    contribution, asset = house.pool(member_id), house.settlement
    draft.record(
        Kind.MEMBER_RELEASED,
        Put("members", member_id, released),
        legs=transfer(
            chart.pool(member_id, asset), chart.cash(house_account(member_id), asset), contribution
        ),
    )
    draft.tell(Kind.MEMBER_RELEASED, member_id, contribution)
