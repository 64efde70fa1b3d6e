"""What people do in an hour, each at its minute: a new act is a function and a line in ``ACTS``."""

from collections.abc import Callable

from clearing.demo.books import AURORA, BOREALIS, MEMBERS, Order
from clearing.demo.desk import Asked, Desk
from clearing.demo.listing import USDC
from clearing.demo.market import BTC, Bar
from clearing.demo.trading import half, new_trade, trade
from clearing.model.commands import (
    AcceptPorting,
    ContributeToPool,
    PayDue,
    RecordRecovery,
    RequestWithdrawal,
    SendWithdrawal,
    SettleWithdrawal,
)
from clearing.model.ids import (
    LINK,
    MemberId,
    ParticipantId,
    SetId,
    account_key,
    house_account,
)
from clearing.model.kinds import Kind
from clearing.model.values import BP, MINUTE_MS
from ledger.amount import divide_up

CRASH_HOURS = 28
"""The funds sell at the lowest close of these; the hours after show what it leads to."""
FUND_LEVERAGE_ON_POOL = 70
"""The funds together sell this many times the required pool: a book that the pool was not sized for."""
FUND_SHARES_BP = (
    (account_key(AURORA, "fund-1"), 3_400),
    (account_key(BOREALIS, "fund-1"), 800),
    (account_key(AURORA, "fund-2"), 3_400),
    (account_key(AURORA, "fund-3"), 2_400),
)
PAYS_DUES = BOREALIS
"""The member that pays what it is called for; the others have no more than their house accounts hold."""
GAINS = account_key(BOREALIS, "maker-1")
GAINS_MINOR = 1_000_000 * USDC
PORTED = "-ported"
"""Ends the name of an account that was ported to where its participant had one of that name."""
HALVES = ("block-1", "block-2")
"""Two trades between members; of the second only one half is ever sent."""
POOL = 5
REPLENISH_AFTER_HOURS = 12
RECOVERY_BP = 6_000
"""What comes back of a loss."""
RECOVERY_AFTER_HOURS = 24


def sell_the_low(desk: Desk, bar: Bar) -> None:
    """The momentum funds deposit just what their requirement and fees take, and sell."""
    if bar is not desk.market.bars[desk.market.low(CRASH_HOURS)]:
        return
    whole = FUND_LEVERAGE_ON_POOL * sum(desk.tally.contributions.values())
    for number, (key, share_bp) in enumerate(FUND_SHARES_BP):
        notional = whole * share_bp // BP
        desk.deposit(f"fund-cash/{key}", key, desk.settlement, _needed(desk, notional))
        order = Order(account=key, instrument=desk.listing.perpetual(BTC), notional_minor=-notional)
        trade(desk, "low" + "-" * (number % 2) + str(number), order, bar)
        desk.tally.sold_minor += notional


def _needed(desk: Desk, notional_minor: int) -> int:
    """Requirement and fee of a BTC position of this size, and a thousandth of it to spare."""
    move_bp, terms = desk.market.scan_range(BTC).move_bp, desk.parameters
    requirement = divide_up(notional_minor * move_bp * terms.requirement_bp, BP * BP)
    return requirement + divide_up(notional_minor * terms.trade_fee_bp, BP) + notional_minor // 1_000


def trade_between_members(desk: Desk, bar: Bar) -> None:
    """The two market makers trade across members: each member sends its half, but for one that never comes."""
    if bar is not desk.market.bars[1]:
        return
    buyer, seller = account_key(AURORA, "maker-1"), account_key(BOREALIS, "maker-2")
    order = Order(account=buyer, instrument=desk.listing.perpetual(BTC), notional_minor=500_000 * USDC)
    for ref, senders in zip(HALVES, ((AURORA, BOREALIS), (AURORA,)), strict=True):
        both = new_trade(desk, ref, order, seller, bar, trade_ref=ref)
        desk.tally.halves[ref] = [half(desk, ref, member, both).status.value for member in senders]


def ask_for_gains(desk: Desk, bar: Bar) -> None:
    """After a declaration a client that won asks for a part of it, and again each hour until it is paid."""
    declared = [hour for hour, _ in desk.tally.events(Kind.DEFAULT_DECLARED)]
    is_new = bool(declared) and desk.hours_since(declared[-1], bar) <= 1
    is_waiting = bool(desk.tally.asked and desk.tally.asked[-1].refusal)
    if not is_new and not is_waiting:
        return
    withdrawal = f"{GAINS}/w-{bar.label.lower()}"
    command = RequestWithdrawal(
        withdrawal=withdrawal, account=GAINS, asset=desk.settlement.id, amount_minor=GAINS_MINOR
    )
    result = desk.send(f"withdraw/{bar.label}", command).results[0]
    refusal = f"{result.reason}: {result.detail}" if result.reason else ""
    desk.tally.asked.append(Asked(hour=bar.label, account=GAINS, amount_minor=GAINS_MINOR, refusal=refusal))
    if not refusal:
        desk.must(f"sent/{bar.label}", SendWithdrawal(withdrawal=withdrawal))
        desk.must(f"paid/{bar.label}", SettleWithdrawal(withdrawal=withdrawal, paid=True))


def meet_calls(desk: Desk, bar: Bar) -> None:
    """Those who pay have paid what they were called for and a twentieth more."""
    people = {p.id: p for p in desk.books.participants if p.pays_calls}
    for call, amount in sorted(desk.calls.items()):
        _, home, name = call.split("/")
        payer = people.get(ParticipantId(name.removesuffix(PORTED)))
        if payer is not None and call in desk.calls:
            key = payer.accounts[0] if home == LINK else account_key(MemberId(home), name)
            desk.deposit(f"call/{bar.label}/{call}", key, desk.settlement, amount * 21 // 20)


def pay_dues(desk: Desk, bar: Bar) -> None:
    """A member that was called to answer, or assessed, pays what its house account lacked."""
    due = desk.tally.dues(PAYS_DUES)
    if due > 0 and PAYS_DUES not in desk.tally.failed():
        desk.deposit(f"dues/{bar.label}", house_account(PAYS_DUES), desk.settlement, due)
        if desk.tally.dues(PAYS_DUES) > 0:
            desk.must(f"pay/{bar.label}", PayDue(member=PAYS_DUES))


def replenish(desk: Desk, bar: Bar) -> None:
    """Half a day after a waterfall the same member puts back what it drew of its pool contribution."""
    for default, (hour, _) in sorted(desk.tally.waterfalls().items()):
        drawn = desk.tally.drawn(default, POOL, PAYS_DUES)
        if drawn and desk.hours_since(hour, bar) == REPLENISH_AFTER_HOURS:
            command = ContributeToPool(member=PAYS_DUES, amount_minor=drawn)
            desk.must(f"replenish/{default}", command)
            desk.tally.put_back[default] = f"{PAYS_DUES} put back what tier {POOL} took of it in {bar.label}."


def recover(desk: Desk, bar: Bar) -> None:
    """A day after the waterfall, or as soon as recoveries are taken, a part of the loss comes back."""
    recovered = {e.subject.split(" ")[0] for _, e in desk.tally.events(Kind.RECOVERY_DISTRIBUTED)}
    for default, (hour, loss) in sorted(desk.tally.waterfalls().items()):
        if default not in recovered and desk.hours_since(hour, bar) >= RECOVERY_AFTER_HOURS:
            command = RecordRecovery(default=default, amount_minor=loss * RECOVERY_BP // BP)
            desk.send(f"recovery/{bar.label}/{default}", command)


def accept_portings(desk: Desk, bar: Bar) -> None:
    """The members that are left take over clients of one in default as soon as they may; one client nobody wants."""
    stories = desk.tally.portings()
    unwanted = next((one.netting_set for one in stories if not one.netting_set.startswith(LINK)), "")
    for story in stories:
        if not story.ended and story.netting_set != unwanted:
            member, account = _taker(desk, story.netting_set)
            command = AcceptPorting(member=member, netting_set=story.netting_set, account=account)
            desk.send(f"port/{bar.label}/{story.netting_set}", command)


def _taker(desk: Desk, set_id: SetId) -> tuple[MemberId, str]:
    """A link goes to a member that is left in it, into its account there; anybody else to one that is left."""
    failed, (home, name) = desk.tally.failed(), set_id.split("/")
    known = {key for p in desk.books.participants for key in p.accounts}
    left = [member for member in (PAYS_DUES, *MEMBERS) if member not in failed]
    member = next((m for m in left if home != LINK or account_key(m, name) in known), PAYS_DUES)
    is_taken = home != LINK and account_key(member, name) in known
    return member, name + PORTED if is_taken else name


Act = Callable[[Desk, Bar], None]

ACTS: tuple[tuple[int, Act], ...] = (
    (1 * MINUTE_MS, ask_for_gains),
    (2 * MINUTE_MS, trade_between_members),
    (5 * MINUTE_MS, sell_the_low),
    (11 * MINUTE_MS, accept_portings),
    (20 * MINUTE_MS, meet_calls),
    (20 * MINUTE_MS, pay_dues),
    (25 * MINUTE_MS, replenish),
    (30 * MINUTE_MS, recover),
)
"""In their order, each so long after the hour's close is known."""
