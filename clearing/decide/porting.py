"""Porting (rulebook §10.4; §2 for links).

1. With a member's default a porting is opened for each living netting set that has a client's account there. The
set only reduces until it is over; if it is short of anything it is called and liquidated as any.
2. For [24 h] of house time a member may accept it: one of those that are left in the link; if there is none, any.
3. The set must meet R on the newest snapshot before and after, and nothing of it may be open.
4. One entry moves positions at S, collateral and cash, and no money else. What the old accounts are still to receive
(deposits, released holds, repayments of claims) reaches the new one: ``House.holder``.
5. What nobody accepted is closed out, all of it as one event; the balance belongs to the participant.
"""

from collections.abc import Iterator
from dataclasses import replace

from clearing import chart
from clearing.decide.calls import call_key
from clearing.decide.declare import declare
from clearing.decide.standing import standing_refusal
from clearing.decide.treasury import recall_holds
from clearing.default.gate import declared_sets, loss_is_open
from clearing.margin.assess import Health, assess, living_sets, posted
from clearing.market.breakers import is_stuck
from clearing.market.novation import novate, position_lots_max
from clearing.market.validity import Use, why_not
from clearing.model.commands import AcceptPorting
from clearing.model.draft import Draft, Line
from clearing.model.house import Change, Drop, House, Put, ordered
from clearing.model.ids import (
    NAME_PATTERN,
    AccountKey,
    DefaultId,
    MemberId,
    SetId,
    account_key,
    member_of,
    single_set,
)
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import (
    AccountKind,
    AccountStatus,
    CallKind,
    ClearingAccount,
    NettingSet,
    Porting,
    Unlinking,
    UnlinkingPart,
)
from ledger.entry import Leg, transfer

# opening ------------------------------------------------------------------------------------------


def open_portings(draft: Draft, default_id: DefaultId, member: MemberId) -> None:
    """Offer the clients of a member in default to the others, each netting set by itself."""
    house = draft.house
    opened = [_opened(draft, set_id, member) for set_id in _sets_at(house, member)]
    draft.record_all(
        tuple(
            Line(Kind.PORTING_OPENED, (Put("portings", one.netting_set, one),), (), (default_id,))
            for one in opened
        )
    )
    for one in opened:
        draft.tell(Kind.PORTING_OPENED, one.netting_set)


def _sets_at(house: House, member: MemberId) -> Iterator[SetId]:
    """Living sets, not declared, with a client's account at the member, in order."""
    declared = declared_sets(house)
    for set_id in living_sets(house):
        accounts = (house.accounts[key] for key in house.netting_sets[set_id].accounts)
        if set_id not in declared and any(
            one.member == member and one.kind is AccountKind.CLIENT for one in accounts
        ):
            yield set_id


def _opened(draft: Draft, set_id: SetId, member: MemberId) -> Porting:
    """A set of which another member failed before keeps its due time: it is one portfolio."""
    standing = draft.house.portings.get(set_id)
    if standing is not None:
        return replace(standing, members=tuple(sorted({*standing.members, member})))
    due_ms = draft.now_ms + draft.house.parameters.porting_ms
    return Porting(netting_set=set_id, members=(member,), opened_ms=draft.now_ms, due_ms=due_ms)


# accepting ----------------------------------------------------------------------------------------


def accept_porting(draft: Draft, command: AcceptPorting) -> Rejected | None:
    """Move what a set has at members in default to one account of the accepting member."""
    rejected = _refusal(draft, command)
    if rejected is not None:
        return rejected
    porting = draft.house.portings[command.netting_set]
    target = account_key(command.member, command.account)
    attempt = draft.fork()
    _move(attempt, porting, target)
    rejected = _short(draft.house, porting.netting_set) or _flaw_after(draft.house, attempt.house, target)
    if rejected is not None:
        return rejected
    draft.take(attempt)
    return None


def _refusal(draft: Draft, command: AcceptPorting) -> Rejected | None:
    """Why a porting cannot be accepted, whatever the set is worth."""
    house, porting = draft.house, draft.house.portings.get(command.netting_set)
    if command.member not in house.members:
        return Rejected(Reason.MEMBER_UNKNOWN, command.member)
    if porting is None:
        return Rejected(Reason.PORTING_UNKNOWN, command.netting_set)
    if draft.now_ms >= porting.due_ms:
        return Rejected(Reason.PORTING_OVER, f"until {porting.due_ms}")
    return (
        standing_refusal(house, command.member)
        or _taker_refusal(house, porting, command.member)
        or _account_refusal(house, porting, command)
        or why_not(house, Use.TRADE, draft.now_ms)
        or _open_refusal(house, porting.netting_set)
    )


def _taker_refusal(house: House, porting: Porting, member: MemberId) -> Rejected | None:
    """The legs of a link go to the members that are left in it (rulebook §2); where none is, to any."""
    left = {member_of(key) for key in house.netting_sets[porting.netting_set].accounts} - set(porting.members)
    if left and member not in left:
        return Rejected(Reason.PORTING_OF_A_LINK)
    return None


def _account_refusal(house: House, porting: Porting, command: AcceptPorting) -> Rejected | None:
    """The account is a new one, or one of the member's that is in the set already."""
    if not NAME_PATTERN.fullmatch(command.account):
        return Rejected(Reason.NAME_MALFORMED, command.account)
    known = house.accounts.get(account_key(command.member, command.account))
    if known is not None and known.netting_set != porting.netting_set:
        return Rejected(Reason.ALREADY_EXISTS, known.key)
    return None


def _open_refusal(house: House, set_id: SetId) -> Rejected | None:
    """What must be over first: gains may be withheld, a call's due time never moves, steps go on by themselves."""
    if loss_is_open(house):
        return Rejected(Reason.DEFAULT_OPEN)
    if set_id in house.liquidations:
        return Rejected(Reason.REDUCE_ONLY, "it is in liquidation")
    if any(call_key(kind, set_id) in house.calls for kind in CallKind):
        return Rejected(Reason.CALL_OPEN)
    return None


def _short(house: House, set_id: SetId) -> Rejected | None:
    """Neither the figures nor the set are told: who asks to take it over is a stranger to it until it has."""
    healthy = assess(house, set_id).health is Health.HEALTHY
    return None if healthy else Rejected(Reason.SET_NOT_HEALTHY)


def _flaw_after(before: House, after: House, target: AccountKey) -> Rejected | None:
    """What was moved must be healthy where it stands now: the taker's own token counts zero there (rulebook §8)."""
    for instrument, lots in sorted(after.positions(target).items()):
        most = position_lots_max(before.instruments[instrument])
        if abs(lots) > most:
            return Rejected(Reason.LOTS_OUT_OF_RANGE, f"{target} may hold {most} lots at most")
    return _short(after, after.accounts[target].netting_set)


def _move(draft: Draft, porting: Porting, target: AccountKey) -> None:
    """One entry: the accounts at members in default are ported, the set names ``target`` in their place."""
    house, set_id = draft.house, porting.netting_set
    before = house.netting_sets[set_id]
    leaving = [key for key in before.accounts if member_of(key) in porting.members]
    accounts = tuple(sorted({*before.accounts, target} - {*leaving}))
    is_link = len(accounts) > 1
    after = replace(before, id=set_id if is_link else single_set(target), accounts=accounts)
    changes: list[Change] = [Drop("portings", set_id)]
    if not is_link and set_id != single_set(leaving[0]):
        changes.append(Drop("netting_sets", set_id))
    changes += _notice_after(house.unlinkings.get(set_id), leaving, target, is_link=is_link)
    for key in leaving:
        changes += _left_behind(house, key, target)
    changes += [
        Put("netting_sets", after.id, after),
        Put("accounts", target, _taking_account(house, target, after)),
    ]
    draft.record(
        Kind.PORTED,
        *changes,
        legs=tuple(leg for key in leaving for leg in _legs(house, key, target)),
        references=(set_id, target),
    )
    draft.tell(Kind.PORTED, f"{set_id} {target}")


def _left_behind(house: House, key: AccountKey, target: AccountKey) -> tuple[Put, Put]:
    """The old account keeps a netting set of its own, which is empty."""
    account = house.accounts[key]
    alone = NettingSet(id=single_set(key), participant=account.participant, accounts=(key,))
    ported = replace(account, netting_set=alone.id, status=AccountStatus.PORTED, ported_to=target)
    return Put("accounts", key, ported), Put("netting_sets", alone.id, alone)


def _taking_account(house: House, target: AccountKey, after: NettingSet) -> ClearingAccount:
    known = house.accounts.get(target)
    if known is not None:
        return replace(known, netting_set=after.id)
    return ClearingAccount(
        key=target,
        member=member_of(target),
        kind=AccountKind.CLIENT,
        participant=after.participant,
        netting_set=after.id,
    )


def _notice_after(
    notice: Unlinking | None, leaving: list[AccountKey], target: AccountKey, *, is_link: bool
) -> list[Change]:
    """A notice to undo the link stands, as long as there is a link: what the old parts lacked, the new one lacks."""
    if notice is None:
        return []
    if not is_link:
        return [Drop("unlinkings", notice.netting_set)]
    lacking = {part.account: part.short_minor for part in notice.parts}
    lacking[target] = lacking.get(target, 0) + sum(lacking.pop(key) for key in leaving)
    parts = tuple(UnlinkingPart(account=key, short_minor=short) for key, short in sorted(lacking.items()))
    return [Put("unlinkings", notice.netting_set, replace(notice, parts=parts))]


def _legs(house: House, key: AccountKey, target: AccountKey) -> Iterator[Leg]:
    """Positions pass through the house as they are carried: at S without cash, an option with what it is worth."""
    for instrument, lots in sorted(house.positions(key).items()):
        seller, buyer = (key, target) if lots > 0 else (target, key)
        yield from novate(
            house,
            instrument,
            seller=seller,
            buyer=buyer,
            lots=abs(lots),
            price_ticks=0,
            carried_ticks=0,
        )
    money = house.settlement
    yield from transfer(chart.cash(key, money), chart.cash(target, money), house.cash(key))
    for asset in sorted(house.assets):
        amount = posted(house, key, asset)
        yield from transfer(chart.collateral(key, asset), chart.collateral(target, asset), amount)


# the end of the time ------------------------------------------------------------------------------


def overdue(house: House, now_ms: int) -> list[SetId]:
    """The sets that nobody accepted in time and that can be closed out now: while a loss is divided nobody who
    may have gained is.
    """
    if loss_is_open(house):
        return []
    late = [one.netting_set for one in ordered(house.portings) if one.due_ms <= now_ms]
    return [set_id for set_id in late if not is_stuck(house, set_id)]


def close_overdue(draft: Draft) -> None:
    """Declare what nobody accepted, as one event; its balances are the participants' once it is over."""
    sets = overdue(draft.house, draft.now_ms)
    for set_id in sets:
        draft.tell(Kind.PORTING_EXPIRED, set_id)
    declare(draft, [recall_holds(draft, set_id) for set_id in sets])
