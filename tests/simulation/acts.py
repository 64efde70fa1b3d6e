"""What happens in a world, by chance: what ``Walk`` can do, and what members and administrators decide."""

from collections.abc import Callable
from dataclasses import replace

from clearing.model.codec import to_text
from clearing.model.commands import (
    AcceptPorting,
    AdmitMember,
    ApplyForMembership,
    ApproveProposal,
    Command,
    ContributeToPool,
    DeclareDefault,
    Deposit,
    LeaveHouse,
    ListInstrument,
    PlaceBid,
    ProposeChange,
    ProposeParameters,
    PublishFunding,
    RecordNonDefaultLoss,
    ReinstateMember,
    RejectProposal,
    ReplaceLostAsset,
    SuspendMember,
    UnlinkAccounts,
    WithdrawBid,
)
from clearing.model.ids import AccountKey, AssetId, MemberId, ParticipantId, SetId
from clearing.model.values import DAY_MS, HOUR_MS, MINUTE_MS
from tests.builders import BTC_MAR, BTC_PERP, ETH, ETH_PERP, USD, USDC
from tests.simulation.founding import founding, option
from tests.simulation.walk import CLIENTS, GUEST, MEMBERS, Walk

DISCOUNTS_BP = (-200, -30, 0, 25, 99, 100, 101, 300, 2_500, 9_000)


def go(walk: Walk, steps: int) -> None:
    """Found the house, then do ``steps`` things by chance."""
    for command in founding(walk.dice):
        assert walk.send(command).accepted, command
    walk.publish()
    likely: dict[Callable[[], None], int] = {
        walk.trade: 26,
        walk.trade_in_halves: 6,
        walk.trade_in_a_group: 3,
        walk.prices: 16,
        walk.calls: 12,
        walk.pass_time: 8,
        walk.pass_days: 1,
        walk.deposit: 6,
        walk.withdraw: 10,
        walk.settle: 6,
        walk.pay: 4,
        walk.recover: 5,
        walk.link: 3,
        walk.move: 3,
        walk.fund: 2,
        walk.halt: 2,
        walk.again: 3,
        walk.crash: 2,
        lambda: pay_funding(walk): 3,
        lambda: unlink(walk): 3,
        lambda: come_and_go(walk): 2,
        lambda: suspend(walk): 1,
        lambda: change_parameters(walk): 2,
        lambda: lose(walk): 1,
        lambda: list_option(walk): 2,
    }
    for act in walk.dice.choices(list(likely), list(likely.values()), k=steps):
        if walk.auditor.books.table("auctions"):
            bid(walk)
        if walk.auditor.books.table("portings") and walk.dice.random() < 0.4:
            take_clients(walk)
        act()
    give_up(walk)


def take_clients(walk: Walk) -> None:
    """A member takes over a client of one that failed, or tries to."""
    for set_id in sorted(walk.auditor.books.table("portings")):
        left = {key.split("/")[0] for key in walk.auditor.books.accounts_of(set_id)}
        member = walk.dice.choice([*MEMBERS, *sorted(left)])
        account = walk.dice.choice([walk.name(), walk.dice.choice(["ann", "cid", "new"])])
        walk.send(AcceptPorting(member=MemberId(member), netting_set=SetId(set_id), account=account))


def bid(walk: Walk) -> None:
    """Providers, and who is none, bid well or badly while a window is open, and one thinks better of it."""
    for name in sorted(walk.auditor.books.table("auctions")):
        for key in walk.dice.sample(["desk/pro", "options/house", "lender/fay", "perps/ben"], 3):
            discount, share = walk.dice.choice(DISCOUNTS_BP), walk.dice.choice([300, 2_500, 7_001, 10_000])
            account = AccountKey(key)
            walk.send(PlaceBid(auction=name, account=account, discount_bp=discount, share_bp=share))
            if walk.dice.random() < 0.1:
                walk.send(WithdrawBid(auction=name, account=account))
    if walk.dice.random() < 0.8:
        walk.wait(walk.dice.choice([MINUTE_MS // 2, 10 * MINUTE_MS]))


def pay_funding(walk: Walk) -> None:
    """A rate for a perpetual, now and then beyond the cap; for a future none."""
    instrument = walk.dice.choice([BTC_PERP, BTC_PERP, ETH_PERP, BTC_MAR])
    rate = walk.dice.choice([1, -1, 100, -375, 7_501, -50_000])
    walk.send(PublishFunding(instrument=instrument, rate_ppm=rate))


def unlink(walk: Walk) -> None:
    """A member gives notice; a business day later the accounts stand alone."""
    name = walk.dice.choice(["ann", "cid"])
    member = walk.dice.choice([m for m in MEMBERS if name in CLIENTS[m]])
    walk.send(UnlinkAccounts(member=MemberId(member), participant=ParticipantId(name)))


# two administrators ---------------------------------------------------------------------------------------


def decide_together(walk: Walk, command: Command) -> bool:
    """One proposes, another approves; sometimes one tries alone, changes its mind, or waits too long."""
    luck = walk.dice.random()
    if luck < 0.1:
        walk.send(command, administrator="anna")
    name = walk.name()
    proposal = ProposeChange(
        proposal=name, command=type(command).__name__, body=to_text(command), reason="sim"
    )
    walk.send(proposal, administrator="anna")
    return _approved(walk, name)


def _approved(walk: Walk, name: str) -> bool:
    luck = walk.dice.random()
    if luck < 0.1:
        walk.send(ApproveProposal(proposal=name), administrator="anna")
    if luck > 0.95:
        walk.send(RejectProposal(proposal=name, reason="sim"), administrator="bert")
    return walk.send(ApproveProposal(proposal=name), administrator="bert").accepted


def come_and_go(walk: Walk) -> None:
    """A guest trades nothing; it leaves, and comes again under another name."""
    members = walk.auditor.books.table("members")
    guests = [name for name in sorted(members) if name.startswith(GUEST)]
    staying = [name for name in guests if members[name]["status"] in ("active", "suspended")]
    if staying:
        walk.send(LeaveHouse(member=MemberId(staying[0])))
    else:
        member = MemberId(f"{GUEST}{len(guests)}")
        walk.send(ApplyForMembership(member=member, name="Guest"))
        if decide_together(walk, AdmitMember(member=member, name="Guest")):
            amount = walk.dice.randrange(1, 60) * USD
            walk.send(ContributeToPool(member=member, amount_minor=amount))
            walk.send(Deposit(account=AccountKey(f"{member}/house"), asset=USDC, amount_minor=amount))
    walk.send(LeaveHouse(member=MemberId(walk.dice.choice(MEMBERS))))


def suspend(walk: Walk) -> None:
    """One administrator suspends a member, which then tries to trade; two reinstate it."""
    member = MemberId(walk.dice.choice(MEMBERS))
    walk.send(SuspendMember(member=member, reason="sim"), administrator="bert")
    for _ in range(3):
        walk.trade()
    walk.trade_in_halves()
    if walk.dice.random() < 0.9:
        decide_together(walk, ReinstateMember(member=member, reason="sim"))


def give_up(walk: Walk) -> None:
    """At the end a member is known to be unable to pay: two declare it, and the rules go on from there."""
    decide_together(walk, DeclareDefault(member=MemberId(walk.dice.choice(MEMBERS)), reason="sim"))
    for _ in range(3):
        walk.prices()
        walk.pass_time()


def change_parameters(walk: Walk) -> None:
    """Requirements, fees, caps or windows change, most of them a day later."""
    now = walk.parameters()
    wanted = walk.dice.choice(
        [
            replace(now, requirement_bp=walk.dice.choice([11_000, 12_500, 13_000])),
            replace(now, trade_fee_bp=walk.dice.choice([1, 2, 5])),
            replace(now, short_option_bp=walk.dice.choice([100, 300])),
            replace(now, fund_event_cap_bp=walk.dice.choice([4_000, 10_000])),
            replace(now, scan_ranges=(replace(now.scan_ranges[0], move_bp=1_500), now.scan_ranges[1])),
        ]
    )
    name, immediate = walk.name(), walk.dice.random() < 0.5
    walk.send(
        ProposeParameters(proposal=name, parameters=wanted, reason="sim", immediate=immediate),
        administrator="bert" if walk.dice.random() < 0.1 else "anna",
    )
    if _approved(walk, name) and walk.dice.random() < 0.7:
        walk.wait(DAY_MS + HOUR_MS)
        walk.publish()
        walk.resume()


def list_option(walk: Walk) -> None:
    """Where few options are left, another one is listed."""
    known = walk.auditor.books.table("instruments")
    alive = [name for name, row in known.items() if row["option"] is not None and row["final_ticks"] is None]
    if len(alive) < 2:
        new = option(walk.dice, f"OPTION-{len(known)}", walk.house.now_ms, walk.ticks["BTC"])
        decide_together(walk, ListInstrument(instrument=new))
        walk.publish()


def lose(walk: Walk) -> None:
    """Custody loses something; mostly it is brought back in parts."""
    asset = AssetId(walk.dice.choice([USDC, USDC, ETH]))
    held = walk.auditor.books.debit("custody", asset)
    amount = min(max(1, held // 2), walk.dice.randrange(1, 60) * (USD if asset == USDC else 10**15))
    decide_together(walk, RecordNonDefaultLoss(asset=asset, amount_minor=amount, reason="sim"))
    walk.withdraw()
    for part in (amount // 3, amount - amount // 3, 1):
        if part and walk.dice.random() < 0.9:
            walk.send(ReplaceLostAsset(asset=asset, amount_minor=part))
