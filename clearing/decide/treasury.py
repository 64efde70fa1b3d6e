"""Money that enters and leaves: funding, deposits, the pool, withdrawals (rulebook §3, §8, §12).

An incoming amount is debited to custody. An outgoing one is held, then sent (custody is instructed), and
leaves when custody confirms; so nothing is paid twice and nothing is lost on the way. Before an account is
liquidated, declared or closed out, what it holds is given back. What was sent may be paid already: it waits for
custody's word.
"""

from collections.abc import Collection
from dataclasses import replace

from clearing import chart
from clearing.attest.liabilities import AMOUNT_CAP
from clearing.decide.calls import cure
from clearing.decide.standing import ended_refusal, standing_refusal
from clearing.default.gate import gates_of, loss_is_open
from clearing.default.sizing import contributions
from clearing.margin.assess import Assessment, assess, assess_alone
from clearing.model.commands import (
    ContributeToPool,
    Deposit,
    FundHouse,
    HouseMoney,
    RequestWithdrawal,
    SendWithdrawal,
    SettleWithdrawal,
    SizePool,
)
from clearing.model.draft import Draft
from clearing.model.house import Drop, House, Put, ordered
from clearing.model.ids import IMAGINED, NAME_PATTERN, AccountKey, AssetId, SetId, house_account
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import (
    AccountStatus,
    Arrival,
    ClearingAccount,
    Due,
    MemberStatus,
    Stage,
    Withdrawal,
    WithdrawalState,
)
from ledger.account import Account
from ledger.amount import AMOUNT_MAX
from ledger.entry import transfer

DEPOSIT_MAX = AMOUNT_MAX // 2**32
"""One incoming amount; leaves room for sums of many."""
OPEN_STATES = (WithdrawalState.HELD, WithdrawalState.SENT)
"""A withdrawal whose money is on its way."""


def amount_refusal(amount_minor: int) -> Rejected | None:
    """Why an incoming or outgoing amount is no amount, or None."""
    if amount_minor <= 0:
        return Rejected(Reason.AMOUNT_NOT_POSITIVE, str(amount_minor))
    if amount_minor > DEPOSIT_MAX:
        return Rejected(Reason.AMOUNT_TOO_LARGE, f"at most {DEPOSIT_MAX}")
    return None


def _room_refusal(house: House, account: Account, amount_minor: int) -> Rejected | None:
    """Why an amount does not come to what an account has: more could not be counted among what the house owes, and
    nothing would be attested any more.
    """
    if house.balance(account) + amount_minor > AMOUNT_CAP:
        return Rejected(Reason.AMOUNT_TOO_LARGE, f"an account has at most {AMOUNT_CAP}")
    return None


def fund_house(draft: Draft, command: FundHouse) -> Rejected | None:
    """Pay the house's own money in."""
    if (rejected := amount_refusal(command.amount_minor)) is not None:
        return rejected
    asset = draft.house.settlement
    target = {
        HouseMoney.CAPITAL: chart.house_capital,
        HouseMoney.SKIN_IN_THE_GAME: chart.skin_in_the_game,
        HouseMoney.SECOND_TRANCHE: chart.second_tranche,
        HouseMoney.INSURANCE_FUND: chart.insurance_fund,
    }[command.into](asset)
    draft.record(Kind.HOUSE_FUNDED, legs=transfer(chart.custody(asset), target, command.amount_minor))
    return None


def deposit(draft: Draft, command: Deposit) -> Rejected | None:
    """Credit an account with what custody received; an open call that this meets is cured at once.

    What still arrives for an account that was ported belongs to the one that took over.
    """
    key = draft.house.holder(command.account)
    account = draft.house.accounts.get(key)
    if account is None:
        return Rejected(Reason.ACCOUNT_UNKNOWN, command.account)
    if command.asset not in draft.house.assets:
        return Rejected(Reason.ASSET_UNKNOWN, command.asset)
    if (rejected := amount_refusal(command.amount_minor)) is not None:
        return rejected
    if command.reference in draft.house.arrivals:
        return Rejected(Reason.ALREADY_EXISTS, command.reference)
    target = account_for(draft.house, key, command.asset)
    if (rejected := _room_refusal(draft.house, target, command.amount_minor)) is not None:
        return rejected
    legs = transfer(chart.custody(command.asset), target, command.amount_minor)
    draft.record(Kind.DEPOSITED, *_arrival(command), legs=legs)
    if key != command.account:
        draft.tell(Kind.DEPOSITED, key)
    cure(draft, account.netting_set)
    return None


def _arrival(command: Deposit) -> tuple[Put, ...]:
    if not command.reference:
        return ()
    arrival = Arrival(
        reference=command.reference,
        account=command.account,
        asset=command.asset,
        amount_minor=command.amount_minor,
    )
    return (Put("arrivals", arrival.reference, arrival),)


def account_for(house: House, key: AccountKey, asset: AssetId) -> Account:
    """Where an account holds ``asset``: the settlement asset is cash, any other is collateral."""
    return chart.cash(key, asset) if asset == house.settlement else chart.collateral(key, asset)


def size_pool(draft: Draft, command: SizePool) -> Rejected | None:
    """Set the required contributions by :func:`clearing.default.sizing.contributions`.

    Not while a loss is allocated: who owes how much was fixed at T0 (rulebook §10.3).
    """
    if loss_is_open(draft.house):
        return Rejected(Reason.DEFAULT_OPEN)
    required = contributions(draft.house)
    if not required:
        return None
    members = [
        Put("members", member.id, replace(member, required_contribution_minor=amount))
        for member, amount in required
    ]
    draft.record(Kind.POOL_SIZED, *members)
    for member, amount in required:
        draft.tell(Kind.POOL_SIZED, member.id, amount)
    return None


def contribute_to_pool(draft: Draft, command: ContributeToPool) -> Rejected | None:
    """Pay into the mutualised pool from outside; this pays what the member is to put back, the oldest first."""
    member = draft.house.members.get(command.member)
    if member is None:
        return Rejected(Reason.MEMBER_UNKNOWN, command.member)
    if member.status in (MemberStatus.APPLIED, MemberStatus.LEFT):
        return standing_refusal(draft.house, member.id)
    if (rejected := amount_refusal(command.amount_minor)) is not None:
        return rejected
    asset = draft.house.settlement
    pool = chart.pool(command.member, asset)
    if (rejected := _room_refusal(draft.house, pool, command.amount_minor)) is not None:
        return rejected
    legs = transfer(chart.custody(asset), pool, command.amount_minor)
    draft.record(Kind.POOL_CONTRIBUTED, *_put_back(draft.house, command), legs=legs)
    return None


def _put_back(house: House, command: ContributeToPool) -> list[Put | Drop]:
    owed = sorted(house.replenishments.items(), key=lambda one: (one[1].due_ms, one[0]))
    left, changes = command.amount_minor, list[Put | Drop]()
    for key, due in owed:
        paid = min(left, due.amount_minor) if due.member == command.member else 0
        if paid:
            changes.append(lowered("replenishments", key, due, paid))
            left -= paid
    return changes


def lowered(table: str, key: str, due: Due, paid_minor: int) -> Put | Drop:
    """What is left of a due after a payment."""
    left = replace(due, amount_minor=due.amount_minor - paid_minor)
    return Put(table, key, left) if left.amount_minor else Drop(table, key)


def request_withdrawal(draft: Draft, command: RequestWithdrawal) -> Rejected | None:
    """Hold an amount if the gate is open and what stays covers the requirement (rulebook §8)."""
    house = draft.house
    account = house.accounts.get(command.account)
    if account is None:
        return Rejected(Reason.ACCOUNT_UNKNOWN, command.account)
    if command.asset not in house.assets:
        return Rejected(Reason.ASSET_UNKNOWN, command.asset)
    if not NAME_PATTERN.fullmatch(command.withdrawal.removeprefix(f"{command.account}/")):
        return Rejected(Reason.NAME_MALFORMED, command.withdrawal)
    if command.withdrawal in house.withdrawals:
        return Rejected(Reason.ALREADY_EXISTS, command.withdrawal)
    if (rejected := amount_refusal(command.amount_minor)) is not None:
        return rejected
    return _outflow_refusal(draft, account, command.asset) or _hold(draft, command)


def _outflow_refusal(draft: Draft, account: ClearingAccount, asset: AssetId) -> Rejected | None:
    """Why nothing of an asset may leave an account now, however much it has."""
    ended = ended_refusal(account)
    if ended is not None and (account.status is AccountStatus.PORTED or _is_claimed(draft.house, account)):
        return ended
    shut = gates_of(draft.house, asset, draft.now_ms)
    if shut:
        return Rejected(Reason.GATE_SHUT, "; ".join(f"{gate.reason}, until {gate.release}" for gate in shut))
    return None


def _is_claimed(house: House, account: ClearingAccount) -> bool:
    """Whether others still wait for what the default of a closed-out account cost them (rulebook §11). Once the
    loss is fixed, a set that left none has cost nobody anything (§10.4).
    """
    return any(
        default.stage is not Stage.CLOSED
        and (
            account.netting_set in {one.netting_set for one in default.sets if one.deficit_minor != 0}
            or account.key in {house_account(part.member) for part in default.losses}
        )
        for default in ordered(house.defaults)
    )


def _hold(draft: Draft, command: RequestWithdrawal) -> Rejected | None:
    """Hold the amount on a fork, and keep it if the account still stands as §8 demands."""
    house = draft.house
    source = account_for(house, command.account, command.asset)
    if house.balance(source) < command.amount_minor:
        return Rejected(Reason.WITHDRAWAL_EXCEEDS, f"the account holds {house.balance(source)}")
    held = Withdrawal(
        id=command.withdrawal,
        account=command.account,
        asset=command.asset,
        amount_minor=command.amount_minor,
        state=WithdrawalState.HELD,
    )
    attempt = draft.fork()
    legs = transfer(source, chart.withdrawal(held.id, held.asset), held.amount_minor)
    attempt.record(Kind.WITHDRAWAL_HELD, Put("withdrawals", held.id, held), legs=legs)
    if (rejected := _exceeds(attempt.house, command.account)) is not None:
        return rejected
    draft.take(attempt)
    return None


def _exceeds(house: House, key: AccountKey) -> Rejected | None:
    """Whether what is held leaves the account's set (and while its link is being undone, itself) too little."""
    after = assess(house, house.accounts[key].netting_set)
    if not after.bears_outflow:
        left = f"cash {after.cash_minor} and equity {after.equity_minor} would be left"
        return Rejected(Reason.WITHDRAWAL_EXCEEDS, f"{left}, the requirement is {after.requirement_minor}")
    if after.netting_set in house.unlinkings:
        alone = assess_alone(house, key)
        if not alone.bears_outflow:
            left = f"cash {alone.cash_minor} and equity {alone.equity_minor} would be left"
            return Rejected(
                Reason.WITHDRAWAL_EXCEEDS, f"{left} alone, where {alone.requirement_minor} is required"
            )
    return None


def withdrawable(house: House, key: AccountKey, asset: AssetId, now_ms: int) -> tuple[int, Rejected | None]:
    """The most that :func:`request_withdrawal` would hold of an asset of an account now, and why nothing may leave
    at all, if something forbids that. Less is left the more is taken, so it is found by halving.
    """
    draft = Draft(house=house, request_id="withdrawable", actor="", now_ms=now_ms)
    if (rejected := _outflow_refusal(draft, house.accounts[key], asset)) is not None:
        return 0, rejected
    borne, beyond = 0, min(house.balance(account_for(house, key, asset)), DEPOSIT_MAX) + 1
    while beyond - borne > 1:
        amount = (borne + beyond) // 2
        asked = RequestWithdrawal(
            withdrawal=f"{key}/{IMAGINED}", account=key, asset=asset, amount_minor=amount
        )
        if _hold(draft.fork(), asked) is None:
            borne = amount
        else:
            beyond = amount
    return borne, None


def send_withdrawal(draft: Draft, command: SendWithdrawal) -> Rejected | None:
    """Instruct custody, if what was demanded of the request still holds: prices may have moved since."""
    held = draft.house.withdrawals.get(command.withdrawal)
    if held is None:
        return Rejected(Reason.WITHDRAWAL_UNKNOWN, command.withdrawal)
    if held.state is WithdrawalState.SENT:
        return Rejected(Reason.WITHDRAWAL_SENT, command.withdrawal)
    if held.state is not WithdrawalState.HELD:
        return Rejected(Reason.WITHDRAWAL_SETTLED, held.state.value)
    account = draft.house.accounts[draft.house.holder(held.account)]
    rejected = _outflow_refusal(draft, account, held.asset) or _exceeds(draft.house, account.key)
    if rejected is not None:
        return rejected
    sent = replace(held, state=WithdrawalState.SENT)
    draft.record(Kind.WITHDRAWAL_SENT, Put("withdrawals", sent.id, sent))
    return None


def settle_withdrawal(draft: Draft, command: SettleWithdrawal) -> Rejected | None:
    """Custody confirms payment of what it was told to pay, or what was not paid goes back to the account."""
    held = draft.house.withdrawals.get(command.withdrawal)
    if held is None:
        return Rejected(Reason.WITHDRAWAL_UNKNOWN, command.withdrawal)
    if held.state not in OPEN_STATES:
        return Rejected(Reason.WITHDRAWAL_SETTLED, held.state.value)
    if command.paid and held.state is not WithdrawalState.SENT:
        return Rejected(Reason.WITHDRAWAL_NOT_SENT, command.withdrawal)
    if command.paid and draft.house.balance(chart.custody(held.asset)) < held.amount_minor:
        return Rejected(Reason.CUSTODY_INSUFFICIENT, command.withdrawal)
    if command.paid:
        _settle(draft, held, WithdrawalState.PAID)
    else:
        _settle(draft, held, WithdrawalState.RELEASED)
        cure(draft, draft.house.accounts[draft.house.holder(held.account)].netting_set)
    return None


def _settle(draft: Draft, held: Withdrawal, state: WithdrawalState) -> None:
    house, paid = draft.house, state is WithdrawalState.PAID
    back = account_for(house, house.holder(held.account), held.asset)
    target = chart.custody(held.asset) if paid else back
    draft.record(
        Kind.WITHDRAWAL_PAID if paid else Kind.WITHDRAWAL_RELEASED,
        Put("withdrawals", held.id, replace(held, state=state)),
        legs=transfer(chart.withdrawal(held.id, held.asset), target, held.amount_minor),
    )


def recall_holds(draft: Draft, set_id: SetId) -> Assessment:
    """Give back what a set holds for withdrawal and has not sent, and measure it again (rulebook §8).

    Nobody is liquidated or declared whom its own money, still in the house, would have saved.
    """
    if release_holds(draft, draft.house.netting_sets[set_id].accounts):
        cure(draft, set_id)
    return assess(draft.house, set_id)


def release_holds(draft: Draft, keys: Collection[AccountKey]) -> bool:
    """Give back to the accounts what was held and not sent; whether there was anything."""
    held = [
        one
        for one in ordered(draft.house.withdrawals)
        if one.state is WithdrawalState.HELD and draft.house.holder(one.account) in keys
    ]
    for one in held:
        _settle(draft, one, WithdrawalState.RELEASED)
        draft.tell(Kind.WITHDRAWAL_RELEASED, f"{one.account} {one.id}")
    return bool(held)
