"""What the demonstration prints of defaults: close-out, answers, waterfall, assessments, recoveries."""

from collections import Counter

from rich.console import Console
from rich.table import Table

from clearing.demo.desk import ASSESSMENTS, AuctionStory, Tally
from clearing.demo.words import percent, table_of, usd
from clearing.model.house import House, ordered
from clearing.model.ids import member_of
from clearing.model.kinds import Kind
from clearing.model.values import BP, Default, Stage, TierResult

POOL_TIER, SOCIALISED_TIER = 5, 8


def tell(console: Console, house: House, tally: Tally) -> None:
    """Each event: the sets, how they were closed, the answers, the waterfall, assessments and recoveries."""
    for default in ordered(house.defaults):
        sets = ", ".join(f"{one.netting_set} ({usd(one.equity_minor)})" for one in default.sets)
        console.rule(f"[bold]Default {default.id}[/bold]", align="left")
        console.print(f"Declared, with what they were worth: {sets}" if sets else _without_sets(default))
        _close_out(console, default, tally)
        for claim in answers(tally, default):
            console.print(
                f"{claim[0]} was called to answer for its legs with {usd(claim[1])} and paid {usd(claim[2])}"
            )
        if default.tiers:
            console.print(_waterfall(default))
            _juniors(console, default)
            _socialised(console, default)
        _assessments(console, default, tally)
        if default.id in tally.put_back:
            console.print(tally.put_back[default.id])
        if default.recovered_minor:
            console.print(_recoveries(default, tally))
        elif default.stage is Stage.RECOVERING:
            owed = sum(claim.amount_minor for claim in default.claims)
            console.print(f"Whatever is recovered repays claims of {usd(owed)}, in reverse order.")


def portings(console: Console, house: House, tally: Tally) -> None:
    """For each member in default: who took over its clients, and who was closed out because nobody did."""
    if tally.portings():
        console.rule("[bold]Porting[/bold]", align="left")
    for member, hour in tally.failed().items():
        offered = [one for one in tally.portings() if one.offered == hour]
        takers = Counter(member_of(one.taker) for one in offered if one.taker)
        if offered:
            told = ", ".join(f"{taker} took {count}" for taker, count in sorted(takers.items()))
            console.print(
                f"{len(offered)} netting sets with accounts of clients at {member} were offered in {hour}: "
                f"{told or 'nobody took one'}, with positions, cash and collateral."
            )
        for one in offered:
            if one.ended and not one.taker:
                balance = sum(house.cash(key) for key in house.netting_sets[one.netting_set].accounts)
                console.print(
                    f"{one.netting_set} was taken by nobody, and closed out a day later, in {one.ended}. What is "
                    f"left, {usd(balance)}, is its participant's."
                )


def _without_sets(default: Default) -> str:
    members = ", ".join(part.member for part in default.losses)
    return f"Declared: {members}, for an assessment that it did not pay."


def _close_out(console: Console, default: Default, tally: Tally) -> None:
    for name, story in tally.auctions_of(default.id).items():
        if story.bids:
            console.print(f"Auction {name} ({story.kind.replace('_', '-')}, 10 minutes): {_bids(story)}")
    for _, event in tally.events(Kind.POSITIONS_TORN_UP):
        if event.subject.startswith(f"{default.id} "):
            console.print(
                f"{event.amount_minor:,} lots of {event.subject.split(' ')[1]} found neither a bid nor a provider with "
                f"room: torn up against the other side at the settlement price"
            )
    if default.sets and not default.losses and not default.claims:
        console.print(
            "Closed out without a loss: after its positions and collateral were sold nobody owed anything."
        )
        if any(one.equity_minor < 0 for one in default.sets):
            console.print(
                "(They were worth less than nothing only because collateral counts after a haircut.)"
            )


def _bids(story: AuctionStory) -> str:
    awards = Counter[str]()
    for account, amount in story.awards:
        awards[account] += amount
    return "; ".join(
        f"{account} bid {percent(discount, BP)} off for {percent(share, BP)}, "
        + (f"awarded {usd(awards[account])}" if awards[account] else "awarded nothing")
        for account, (discount, share) in story.bids.items()
    )


def answers(tally: Tally, default: Default) -> list[tuple[str, int, int]]:
    """Member, what it was called for, what it paid."""
    paid = Counter[str]()
    for _, event in tally.events(Kind.ANSWER_PAID):
        paid[event.subject] += event.amount_minor
    return [
        (event.subject.split(" ")[1], event.amount_minor, paid[event.subject])
        for _, event in tally.events(Kind.ANSWER_CALLED)
        if event.subject.startswith(f"{default.id} ")
    ]


def _waterfall(default: Default) -> Table:
    members = ", ".join(part.member for part in default.losses)
    loss = sum(part.amount_minor for part in default.losses)
    title = f"Waterfall: {members} could not pay {usd(loss)}"
    table = table_of(title, (), ("tier",))
    table.add_column("who pays", no_wrap=True)
    for name in ("it had", "it paid", "passed on"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why")
    for tier in default.tiers:
        amounts = (tier.available_minor, tier.paid_minor, tier.passed_on_minor)
        table.add_row(str(tier.tier), tier.name, *(usd(a) for a in amounts), _why(tier))
    table.add_row("9", "uncovered", "", usd(default.uncovered_minor), "", "")
    paid = sum(tier.paid_minor for tier in default.tiers)
    table.add_section()
    table.add_row("", "Σ draws + uncovered", "", usd(paid + default.uncovered_minor), "", "= the loss")
    return table


def _why(tier: TierResult) -> str:
    if tier.paid_minor == 0 and tier.passed_on_minor == 0:
        return "not needed"
    if tier.passed_on_minor == 0:
        return "the loss is paid"
    return "empty" if tier.available_minor == 0 else "exhausted"


def _juniors(console: Console, default: Default) -> None:
    payers = sorted({draw.payer for draw in default.draws if draw.tier == POOL_TIER})
    juniors = [member for member in payers if member not in default.bidders]
    if default.bidders and juniors:
        console.print(
            f"{', '.join(juniors)} did not bid in the auction: in tier {POOL_TIER} its contribution was used "
            f"before that of {', '.join(default.bidders)}, who did."
        )


def _socialised(console: Console, default: Default) -> None:
    haircuts = [draw.amount_minor for draw in default.draws if draw.tier == SOCIALISED_TIER]
    haircut = sum(haircuts)
    gains = sum(gain.gain_minor for gain in default.gains)
    if haircut:
        console.print(
            f"Socialised: {len(haircuts)} accounts of the {len(default.gains)} winning sets gave up {usd(haircut)} "
            f"of the {usd(gains)} that the sets gained in the window: h = {percent(haircut, gains)}."
        )


def _assessments(console: Console, default: Default, tally: Tally) -> None:
    missed = {member: (amount, event_id) for member, amount, event_id in unpaid(tally, default)}
    for draw in (one for one in default.draws if one.tier == ASSESSMENTS):
        key = f"{default.id}/{draw.payer}"
        paid = Counter[str]()
        for hour, event in tally.events(Kind.ASSESSMENT_PAID):
            paid[hour] += event.amount_minor if event.subject == key else 0
        told = ", ".join(f"paid {usd(amount)} in {hour}" for hour, amount in paid.items() if amount)
        if draw.payer in missed:
            amount, event_id = missed[draw.payer]
            told += f"; {usd(amount)} unpaid a day later: in default, the next event is {event_id}"
        console.print(f"Assessment of {draw.payer}, {usd(draw.amount_minor)}: {told or 'paid nothing'}.")


def unpaid(tally: Tally, default: Default) -> list[tuple[str, int, str]]:
    """Assessments of an event that were not paid in time: the member, how much, and the event that follows."""
    called = {draw.payer for draw in default.draws if draw.tier == ASSESSMENTS}
    missed = [(e.subject.split(" "), e.amount_minor) for _, e in tally.events(Kind.ASSESSMENT_DEFAULTED)]
    return [(member, amount, event_id) for (event_id, member), amount in missed if member in called]


def _recoveries(default: Default, tally: Tally) -> Table:
    """Who was repaid what, tier by tier, and what is still claimed."""
    repaid = Counter[tuple[int, str]]()
    for _, event in tally.events(Kind.RECOVERY_DISTRIBUTED):
        words = event.subject.split(" ")
        if words[0] == default.id and words[1] == "tier":
            repaid[_tier_row(int(words[2]), words[3])] += event.amount_minor
    left = Counter[tuple[int, str]]()
    for claim in default.claims:
        left[_tier_row(claim.tier, claim.payer)] += claim.amount_minor
    received = tally.events(Kind.RECOVERY_DISTRIBUTED)
    hour = next(h for h, e in received if e.subject.startswith(f"{default.id} "))
    title = f"Recovered in {hour}: {usd(default.recovered_minor)}, repaid in reverse order"
    table = table_of(title, (), ("tier",))
    table.add_column("whose claim")
    for name in ("claim", "repaid", "left"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in sorted(repaid | left, key=lambda found: (-found[0] if found[0] else 0, found[1])):
        amounts = (repaid[row] + left[row], repaid[row], left[row])
        table.add_row(str(row[0]) if row[0] else "–", row[1], *(usd(a) for a in amounts))
    return table


def _tier_row(tier: int, payer: str) -> tuple[int, str]:
    """Winners are told together."""
    if tier == SOCIALISED_TIER:
        return tier, "the winners"
    return tier, payer if tier else f"{payer}, who answered"
