"""Cash moves between linked accounts (rulebook §2).

It stays in one netting set: equity, requirement and what leaves the house are as before, so the outflow gate is not
asked. What is said of an account outside the set is the same whether it exists or not. Moves are refused while the
set is coming apart, and while a loss is allocated, for a set pays for one from each account by the cash that is there.
"""

from clearing import chart
from clearing.decide.standing import ended_refusal
from clearing.decide.treasury import amount_refusal
from clearing.default.gate import declared_sets, loss_is_open
from clearing.model.commands import MoveCash
from clearing.model.draft import Draft
from clearing.model.house import House
from clearing.model.ids import member_of
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import MemberStatus
from ledger.entry import transfer


def move_cash(draft: Draft, command: MoveCash) -> Rejected | None:
    """Move cash from one account of a netting set to another, at the word of the member that gives it up."""
    rejected = _refusal(draft.house, command)
    if rejected is not None:
        return rejected
    asset = draft.house.settlement
    legs = transfer(
        chart.cash(command.source, asset), chart.cash(command.target, asset), command.amount_minor
    )
    draft.record(Kind.CASH_MOVED, legs=legs, references=(command.source, command.target))
    return None


def _refusal(house: House, command: MoveCash) -> Rejected | None:
    if command.source not in house.accounts:
        return Rejected(Reason.ACCOUNT_UNKNOWN, command.source)
    if member_of(command.source) != command.member:
        return Rejected(Reason.ACCOUNT_NOT_YOURS, command.source)
    if (rejected := ended_refusal(house.accounts[command.source])) is not None:
        return rejected
    if house.members[command.member].status is MemberStatus.DEFAULTED:
        return Rejected(Reason.MEMBER_NOT_ACTIVE, command.member)
    set_id = house.accounts[command.source].netting_set
    target = house.accounts.get(command.target)
    if command.source == command.target or target is None or target.netting_set != set_id:
        return Rejected(Reason.ACCOUNTS_NOT_LINKED, f"{command.source} {command.target}")
    if (rejected := ended_refusal(target)) is not None:
        return rejected
    if (rejected := amount_refusal(command.amount_minor)) is not None:
        return rejected
    if set_id in house.unlinkings or set_id in house.liquidations or set_id in declared_sets(house):
        return Rejected(Reason.SET_ENDING, set_id)
    if loss_is_open(house):
        return Rejected(Reason.DEFAULT_OPEN)
    if house.cash(command.source) < command.amount_minor:
        return Rejected(Reason.MOVE_EXCEEDS, f"the account holds {house.cash(command.source)}")
    return None
