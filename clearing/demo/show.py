"""What the demonstration prints: what happened, hour by hour, and who paid for it."""

import re
from collections import Counter

from rich.console import Console
from rich.table import Table

from clearing.attest.statement import Netting
from clearing.demo.books import MEMBERS, Books
from clearing.demo.driver import (
    FUND_LABEL,
    FUND_LEVERAGE_ON_POOL,
    HOUSE_MONEY,
    PARAMETERS,
    SETTLEMENT,
    Tally,
)
from clearing.demo.market import SCAN_RANGES, Bar
from clearing.model.house import House, ordered
from clearing.model.kinds import Kind
from clearing.model.values import BP, Default, Stage, TierResult
from clearing.server.wire.decimal import render
from clearing_client.offline import Check

COLUMNS = {
    "calls": (Kind.CALL_ISSUED,),
    "met": (Kind.CALL_MET,),
    "liquidations": (Kind.LIQUIDATION_OPENED,),
    "assigned": (Kind.POSITION_ASSIGNED,),
    "sets in default": (Kind.DEFAULT_DECLARED,),
    "members in default": (Kind.MEMBER_DEFAULTED,),
}


def whole(amount_minor: int) -> str:
    """An amount of the settlement asset in whole units, exactly."""
    return render(amount_minor, SETTLEMENT.decimals)


def usd(amount_minor: int) -> str:
    """An amount for a reader: thousands separated, cents cut off."""
    units, rest = divmod(abs(amount_minor), 10**SETTLEMENT.decimals)
    return f"{'-' * (amount_minor < 0)}{units:,}.{rest // 10 ** (SETTLEMENT.decimals - 2):02d}"


def ratio(part: int, of: int) -> str:
    """A share with four decimals, rounded down."""
    return render(part * 10_000 // of, 4) if of else "0.0000"


def percent(part: int, of: int) -> str:
    """A share for a reader, in percent with two decimals, rounded down."""
    return f"{render(part * 10_000 // of, 2)} %" if of else "–"


def opening(console: Console, seed: int, books: Books) -> None:
    """What the house is, before anything happens."""
    accounts = sum(len(p.accounts) for p in books.participants)
    linked = sum(1 for p in books.participants if p.linked)
    ranges = ", ".join(f"{r.underlying} {percent(r.move_bp, BP)}" for r in SCAN_RANGES)
    console.rule("[bold]A clearing house on 12 and 13 March 2020[/bold]")
    console.print(
        f"{len(MEMBERS)} member protocols: {'; '.join(MEMBERS.values())}.\n"
        f"{accounts} client accounts of {len(books.participants)} participants, "
        f"{linked} of them linked across members and margined as one portfolio.\n"
        f"Prices: real hourly closes, from 3 signing sources; a close is known one hour after its label.\n"
        f"Margin: model '{PARAMETERS.margin_model}', scan ranges {ranges} (99th percentile of daily moves in "
        f"the year before), requirement = {percent(PARAMETERS.requirement_bp, BP)} of maintenance.\n"
        f"Books are drawn from seed {seed}; every parameter is the rulebook's default, or the house's where the\n"
        f"rulebook has none (docs/adr/0004). The books are chosen to show every tier: three funds that nobody\n"
        f"expected will sell {FUND_LEVERAGE_ON_POOL} times the pool at the low.\n"
    )


def pool(console: Console, tally: Tally) -> None:
    """The formula of the pool and what it asked of each member."""
    console.print(
        f"[bold]Pool[/bold]: contribution = max(floor {usd(PARAMETERS.pool_floor_minor)}, "
        f"{percent(PARAMETERS.pool_rate_bp, BP)} of the requirement of the member's parts of all netting "
        f"sets), sized on the opening books"
    )
    parts = [f"{member} {usd(amount)}" for member, amount in sorted(tally.contributions.items())]
    own = [f"{money.value.replace('_', ' ')} {amount:,}.00" for money, amount in HOUSE_MONEY.items()]
    console.print(f"  {', '.join(parts)}; the house: {', '.join(own)}\n")


def netting(console: Console, attested: tuple[Netting, ...]) -> None:
    """What cross-margining saved, as the attestations of the cycles say."""
    alone, together = totals(attested)
    first = next(n for n in attested if n.standalone_minor)
    console.print(
        f"[bold]Netting[/bold]: at the first cycle with positions the accounts alone would need "
        f"{usd(first.standalone_minor)}; as netting sets they need {usd(first.portfolio_minor)}: benefit "
        f"{percent(first.standalone_minor - first.portfolio_minor, first.standalone_minor)}. "
        f"Over all cycles {percent(alone - together, alone)}.\n"
    )


def totals(attested: tuple[Netting, ...]) -> tuple[int, int]:
    """Standalone and portfolio requirement, summed over the cycles."""
    return sum(n.standalone_minor for n in attested), sum(n.portfolio_minor for n in attested)


def timeline(console: Console, tally: Tally, hours: tuple[Bar, ...]) -> None:
    """One line an hour."""
    table = Table(title="Hour by hour (UTC label of the bar; 12 = 12 March)", title_justify="left")
    table.add_column("hour")
    for name in ("BTC", "ETH", *COLUMNS):
        table.add_column(name, justify="right")
    for bar in hours:
        counts = Counter(event.kind for event in tally.by_hour.get(bar.label, []))
        cells = [sum(counts[kind.name] for kind in kinds) for kinds in COLUMNS.values()]
        row = [
            f"{bar.btc_ticks / 10:,.0f}",
            f"{bar.eth_ticks / 10:,.1f}",
            *(str(n) if n else "·" for n in cells),
        ]
        table.add_row(bar.label, *row, style="bold red" if counts[Kind.MEMBER_DEFAULTED.name] else None)
    console.print(table)


def funds_story(console: Console, tally: Tally, hours: tuple[Bar, ...]) -> None:
    """Why the funds failed: what they had, and what the next hour took."""
    at = next(number for number, bar in enumerate(hours) if bar.label == FUND_LABEL)
    low, high = hours[at].btc_ticks, hours[at + 1].btc_ticks
    sold = FUND_LEVERAGE_ON_POOL * sum(tally.contributions.values())
    margin_bp = SCAN_RANGES[0].move_bp * PARAMETERS.requirement_bp // BP
    console.print(
        f"After {FUND_LABEL}, at the low, three momentum funds sold {usd(sold)} of BTC "
        f"with the margin that was required, {percent(margin_bp, BP)}.\n"
        f"In the next hour BTC rose {percent(high - low, low)}: more than they had."
    )


PLAIN_NAMES = {
    "checkpoint": "signed checkpoint",
    "attestation signatures": "attestations carry two of three officers' signatures",
    "attestation statement": "statements agree with themselves (debits = credits, draws = loss)",
    "attestation chain": "follow the one before without a gap",
    "attestation consistency": "prove that their journal extends the one before",
    "extension": "checkpoint extends the last attested journal",
    "journal at": "roots recomputed from the public leaves",
    "journal end": "journal has no leaf that nobody signed for",
}
"""What the verifier's checks are called here."""


def verification(console: Console, checks: tuple[Check, ...]) -> None:
    """What the offline verifier checked, like checks counted together; every failure in full."""
    counted: dict[str, list[bool]] = {}
    for check in checks:
        name = re.sub(r" \d+", "", check.name)
        counted.setdefault(PLAIN_NAMES.get(name, name), []).append(check.passed)
    for name, passed in counted.items():
        console.print(f"  {sum(passed)} of {len(passed)} {name}")
    for check in checks:
        if not check.passed:
            console.print(f"  [bold red]FAILED[/bold red] {check.name}: {check.detail}", soft_wrap=True)


def defaults(console: Console, house: House, tally: Tally) -> None:
    """Each event: the sets, how they were closed, the answers, and the waterfall as a table."""
    events = [event for hour in tally.by_hour.values() for event in hour]
    for default in ordered(house.defaults):
        sets = ", ".join(f"{one.netting_set} ({usd(one.equity_minor)})" for one in default.sets)
        console.print(f"\n[bold]Default {default.id}[/bold]: {sets or 'an unpaid assessment'}")
        answered = [claim for claim in default.claims if claim.tier == 0]
        if not default.losses and not answered:
            console.print(
                "  closed out without a loss: after its positions and collateral were sold nobody owed anything"
            )
            if any(one.equity_minor < 0 for one in default.sets):
                console.print("  (its equity was negative because collateral counts after a haircut)")
        for event in events:
            if event.kind == Kind.POSITIONS_TORN_UP.name and event.subject.startswith(f"{default.id} "):
                console.print(
                    f"  {event.amount_minor:,} lots of {event.subject.split(' ')[1]} found no provider with room: "
                    f"torn up against the other side at the settlement price"
                )
        for claim in answered:
            console.print(f"  {claim.payer} answered for its legs and paid {usd(claim.amount_minor)}")
        if default.tiers:
            console.print(_waterfall(default))
            _socialised(console, default)


def _waterfall(default: Default) -> Table:
    members = ", ".join(part.member for part in default.losses)
    loss = sum(part.amount_minor for part in default.losses)
    table = Table(title=f"Waterfall: {members} could not pay {usd(loss)}", title_justify="left")
    table.add_column("tier", justify="right")
    table.add_column("who pays")
    for name in ("it had", "it paid", "passed on"):
        table.add_column(name, justify="right")
    table.add_column("why")
    for tier in default.tiers:
        amounts = (tier.available_minor, tier.paid_minor, tier.passed_on_minor)
        table.add_row(str(tier.tier), tier.name, *(usd(a) for a in amounts), _why(tier))
    table.add_row("9", "uncovered", "", "", usd(default.uncovered_minor), "")
    paid = sum(tier.paid_minor for tier in default.tiers)
    table.add_section()
    table.add_row(
        "", "Σ draws + uncovered", "", usd(paid + default.uncovered_minor), "", f"= loss {usd(loss)}"
    )
    return table


def _why(tier: TierResult) -> str:
    if tier.paid_minor == 0 and tier.passed_on_minor == 0:
        return "not needed"
    if tier.passed_on_minor == 0:
        return "the loss is paid"
    if tier.available_minor == 0:
        return "empty" + (": its house account was spent above" if tier.tier == 1 else "")
    return "exhausted"


def _socialised(console: Console, default: Default) -> None:
    haircuts = [draw.amount_minor for draw in default.draws if draw.tier == 8]
    haircut = sum(haircuts)
    gains = sum(gain.gain_minor for gain in default.gains)
    if haircut:
        console.print(
            f"  Socialised: {len(haircuts)} accounts of the {len(default.gains)} winning sets gave up {usd(haircut)} "
            f"of the {usd(gains)} that the sets gained in the window: h = {percent(haircut, gains)}."
        )
    if default.stage is Stage.RECOVERING:
        owed = sum(claim.amount_minor for claim in default.claims)
        console.print(f"  Whatever is recovered repays claims of {usd(owed)}, in reverse order.")


def trial_balance(console: Console, house: House) -> bool:
    """Debits and credits by unit; whether all agree."""
    table = Table(title="Trial balance (smallest units)", title_justify="left")
    table.add_column("unit")
    for name in ("debits", "credits", "difference"):
        table.add_column(name, justify="right")
    totals = sorted(house.book.trial_balance().items())
    for unit, (debits, credits) in totals:
        table.add_row(unit, f"{debits:,}", f"{credits:,}", f"{debits - credits:,}")
    console.print()
    console.print(table)
    return all(debits == credits for _, (debits, credits) in totals)
