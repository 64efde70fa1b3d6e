"""Undoing a link (rulebook §2).

Notice by any member concerned. The set stays one portfolio for a business day, only reduces meanwhile, and each part
is called to what it will require alone. Then each account is its own netting set again and is treated as it
stands: called, liquidated below M, in default below zero.
"""

from dataclasses import replace

from clearing.decide.calls import call_key
from clearing.decide.cycle import act_on, measure
from clearing.decide.standing import resigned_refusal
from clearing.default.capped_period import add_business_days
from clearing.default.gate import loss_is_open
from clearing.margin.assess import assess_alone
from clearing.model.commands import UnlinkAccounts
from clearing.model.draft import Draft
from clearing.model.house import Drop, House, Put
from clearing.model.ids import SetId, linked_set, member_of, single_set
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import AccountStatus, CallKind, NettingSet, Unlinking, UnlinkingPart


def unlink_accounts(draft: Draft, command: UnlinkAccounts) -> Rejected | None:
    """Take notice, and call each part to its standalone requirement."""
    set_id = linked_set(command.participant)
    rejected = _refusal(draft.house, command, set_id)
    if rejected is not None:
        return rejected
    measured = {key: assess_alone(draft.house, key) for key in draft.house.netting_sets[set_id].accounts}
    unlinking = Unlinking(
        netting_set=set_id,
        noticed_by=command.member,
        noticed_ms=draft.now_ms,
        due_ms=add_business_days(draft.now_ms, draft.house.parameters.unlink_business_days),
        parts=tuple(
            UnlinkingPart(account=key, short_minor=max(0, one.requirement_minor - one.equity_minor))
            for key, one in measured.items()
        ),
    )
    draft.record(Kind.UNLINKING_NOTICED, Put("unlinkings", set_id, unlinking))
    for part in unlinking.parts:
        draft.tell(Kind.UNLINKING_NOTICED, part.account, part.short_minor)
    return None


def _refusal(house: House, command: UnlinkAccounts, set_id: SetId) -> Rejected | None:
    linked = house.netting_sets.get(set_id)
    accounts = () if linked is None else linked.accounts
    if command.member not in {member_of(key) for key in accounts}:
        return Rejected(Reason.LINK_UNKNOWN, set_id)  # a link of others is none
    if (rejected := resigned_refusal(house, command.member)) is not None:
        return rejected
    if any(house.accounts[key].status is AccountStatus.CLOSED_OUT for key in accounts):
        return Rejected(Reason.ACCOUNT_CLOSED_OUT, set_id)
    if set_id in house.unlinkings:
        return Rejected(Reason.ALREADY_EXISTS, set_id)
    return Rejected(Reason.DEFAULT_OPEN) if loss_is_open(house) else None


def can_unlink(house: House, unlinking: Unlinking, now_ms: int) -> bool:
    """Whether a notice is due and nothing is open that was begun for the portfolio as a whole."""
    set_id = unlinking.netting_set
    called = any(call_key(kind, set_id) in house.calls for kind in CallKind)
    is_busy = called or set_id in house.liquidations or set_id in house.portings or loss_is_open(house)
    return unlinking.due_ms <= now_ms and not is_busy


def unlink(draft: Draft, set_id: SetId) -> None:
    """Let each account stand alone, and begin what that demands."""
    house = draft.house
    linked = house.netting_sets[set_id]
    changes: list[Put | Drop] = [Drop("unlinkings", set_id), Drop("netting_sets", set_id)]
    for key in linked.accounts:
        alone = NettingSet(id=single_set(key), participant=linked.participant, accounts=(key,))
        changes.append(Put("netting_sets", alone.id, alone))
        changes.append(Put("accounts", key, replace(house.accounts[key], netting_set=alone.id)))
    draft.record(Kind.NETTING_SET_UNLINKED, *changes)
    draft.tell(Kind.NETTING_SET_UNLINKED, set_id)
    act_on(draft, [measure(draft, single_set(key)) for key in linked.accounts])
