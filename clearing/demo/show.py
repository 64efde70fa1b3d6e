"""What the demonstration prints: who is there, what happened hour by hour, and whether it all agrees."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction

from rich.console import Console

from clearing.attest.statement import Netting, Statement
from clearing.default.sizing import Coverage
from clearing.demo.acts import CRASH_HOURS, FUND_LEVERAGE_ON_POOL
from clearing.demo.books import MEMBERS
from clearing.demo.desk import AuctionStory, Desk, Tally
from clearing.demo.driver import HOUSE_MONEY
from clearing.demo.library import HOURS, MARCH_2020, SCENARIOS, DataMissing, load
from clearing.demo.listing import USDC
from clearing.demo.market import BTC, DAY_HOURS, ETH, EWMA_PERCENT
from clearing.demo.needs import Need, needs
from clearing.demo.words import percent, table_of, usd
from clearing.model.house import House
from clearing.model.ids import member_of
from clearing.model.kinds import Kind
from clearing.model.values import BP, AuctionKind
from clearing_client.offline import Check

COLUMNS = {
    "calls": (Kind.CALL_ISSUED,),
    "met": (Kind.CALL_MET,),
    "liqui-\ndated": (Kind.LIQUIDATION_OPENED,),
    "bids\nawarded": (Kind.BID_AWARDED, Kind.COLLATERAL_AWARDED),
    "as-\nsigned": (Kind.POSITION_ASSIGNED,),
    "sets in\ndefault": (Kind.DEFAULT_DECLARED,),
    "members\nfailed": (Kind.MEMBER_DEFAULTED,),
}
KINDS = {
    "maker": "the other side of every trade",
    "covered": "perpetual, short call",
    "protected": "perpetual, long put",
    "strangle": "short call and put, perpetual",
    "cross": "BTC against ETH perpetuals",
    "long": "perpetuals, long only",
    "miner": "puts on what they own",
    "fund": "nothing yet",
    "provider": "nothing; they bid in auctions",
}
"""Who stands in the books, by the first letters of the participants' ids."""


# the opening --------------------------------------------------------------------------------------


def scenarios(console: Console) -> None:
    """One line a scenario, computed from its prices."""
    table = table_of("Scenarios", ("name", "what"), ("worst hour\nBTC", "worst day\nBTC", "worst day\nETH"))
    missing = ""
    for scenario in SCENARIOS:
        try:
            market = load(scenario.key)
        except DataMissing as error:
            table.add_row(scenario.key, scenario.title, "–", "–", "–")
            missing = str(error)
        else:
            worst = (market.worst(BTC, 1), market.worst(BTC, DAY_HOURS), market.worst(ETH, DAY_HOURS))
            table.add_row(scenario.key, scenario.title, *(percent(one, BP) for one in worst))
    console.print(table)
    console.print(
        f"Each is {HOURS} hours of hourly closes; a worst day is the largest fall within {DAY_HOURS} of them. "
        f"There are no hourly prices of 2023 and later."
    )
    if missing:
        console.print(f"[bold]Not all can be run:[/bold] {missing}", soft_wrap=True)


def served(console: Console, address: str, callers: int) -> None:
    """That the house is another process."""
    console.print(
        f"The house is a process of its own on {address}. {callers} callers ask it over gRPC with mutual TLS, "
        "each with a certificate of its own: members, price sources, the custodian, an administrator.\n"
    )


def opening(console: Console, desk: Desk) -> None:
    """What the house is, before anything happens."""
    market, participants = desk.market, desk.books.participants
    accounts, linked = sum(len(p.accounts) for p in participants), sum(1 for p in participants if p.linked)
    terms = desk.parameters
    ranges = "; ".join(
        f"{r.underlying} price {percent(r.move_bp, BP)}, volatility {percent(r.volatility_bp, BP)} of itself"
        for r in market.scan_ranges
    )
    console.rule(f"[bold]A clearing house on {market.title}[/bold]")
    console.print(
        f"• {len(MEMBERS)} member protocols: {'; '.join(MEMBERS.values())}. {accounts} client accounts of "
        f"{len(participants)} participants, {linked} of them linked across members and margined as one "
        f"portfolio.\n"
        f"• Prices: real hourly closes, from 3 signing sources; a close is known one hour after its label.\n"
        f"• Volatilities: [bold]modelled[/bold], a trailing EWMA (λ = 0.{EWMA_PERCENT}) of the hourly returns "
        f"before each close, the same for both expiries. There are no quotes of options for these dates.\n"
        f"• Margin: model '{terms.margin_model}', requirement = {percent(terms.requirement_bp, BP)} of "
        f"maintenance. Scan ranges: {ranges}; each the 99th percentile of daily moves in the year before.\n"
        f"• Books are drawn from seed {desk.seed}, their cash from what the model requires. Parameters are the "
        f"rulebook's defaults, or the house's where the rulebook has none (docs/adr/0004). The books are chosen "
        f"to show every tier in {MARCH_2020.key}: three funds that nobody expected sell "
        f"{FUND_LEVERAGE_ON_POOL} times the pool at the low.\n"
    )


def books(console: Console, desk: Desk) -> None:
    """Who is there, and what linking saves each kind and each member at the first close."""
    found = needs(desk)
    table = table_of(
        "Who is there, and what netting saves at the first close", ("participants", "what they hold"), ()
    )
    for name in ("accounts", "alone", "as netting sets", "benefit"):
        table.add_column(name, justify="right", no_wrap=True)
    for kind, holding in KINDS.items():
        own = [need for need in found if need.participant.id.startswith(f"{kind}-")]
        people = desk.books.named(f"{kind}-")
        accounts = sum(len(one.accounts) for one in people)
        table.add_row(f"{len(people)} {kind}", holding, str(accounts), *_saved(own))
    console.print(table)
    by_member = table_of(
        "Margin by member: what its accounts bring of the requirements of their netting sets",
        ("member", "accounts"),
        ("alone", "brings", "benefit"),
    )
    for member, title in MEMBERS.items():
        own = [need for need in found if member_of(need.account) == member]
        by_member.add_row(title.split(",")[0], str(len(own)), *_saved(own))
    console.print(by_member)


def _saved(found: Iterable[Need]) -> tuple[str, str, str]:
    """What accounts would need alone, what they bring, and the share that netting saves; blank if it saves nothing."""
    known = list(found)
    alone, brings = sum(one.alone_minor for one in known), sum(one.brings_minor for one in known)
    return (usd(alone), usd(brings), percent(alone - brings, alone)) if brings < alone else ("", "", "")


def options(console: Console, desk: Desk) -> None:
    """What Meridian lists, and what the model makes of it at the first close."""
    bar = desk.market.bars[0]
    table = table_of(
        "Options at the first close (prices by Black-76)",
        ("option",),
        ("price in USDC", "volatility (modelled)", "participants"),
    )
    for one in desk.listing.instruments:
        if one.option is not None:
            held = len(desk.books.holding(one.id))
            volatility = percent(bar.volatility_bp[one.underlying], BP)
            table.add_row(one.id, f"{desk.listing.price(one.id, bar) / 10:,.1f}", volatility, str(held))
    console.print(table)


def pool(console: Console, desk: Desk) -> None:
    """The formula of the pool and what it asked of each member."""
    parameters = desk.parameters
    console.print(
        f"[bold]Pool[/bold]: each member contributes {percent(parameters.pool_rate_bp, BP)} of the requirement of its "
        f"parts of all netting sets, sized on the opening books: "
        + ", ".join(f"{member} {usd(amount)}" for member, amount in sorted(desk.tally.contributions.items()))
        + ". The house: "
        + ", ".join(f"{m.value.replace('_', ' ')} {usd(a * USDC)}" for m, a in HOUSE_MONEY.items())
        + "."
    )


def netting(console: Console, attested: Sequence[Netting]) -> None:
    """What cross-margining saved, as the attestations of the cycles say."""
    alone, together = totals(attested)
    first = next(n for n in attested if n.standalone_minor)
    console.print(
        f"[bold]Netting[/bold], as attested: at the second cycle the accounts alone would need "
        f"{usd(first.standalone_minor)}; as netting sets they need {usd(first.portfolio_minor)}: benefit "
        f"{percent(first.standalone_minor - first.portfolio_minor, first.standalone_minor)}. "
        f"Over all cycles {percent(alone - together, alone)}. Options against perpetuals of other members are in it."
    )


def totals(attested: Sequence[Netting]) -> tuple[int, int]:
    """Standalone and portfolio requirement, summed over the cycles."""
    return sum(n.standalone_minor for n in attested), sum(n.portfolio_minor for n in attested)


def coverage(console: Console, attested: Sequence[Statement], left: Coverage) -> None:
    """How far what is prefunded would go against cover-2: as attested at first, at worst, and at the end."""
    exposed = [one for one in attested if one.stress.cover2_minor]
    if not exposed:
        return
    worst = min(exposed, key=lambda one: Fraction(one.stress.prefunded_minor, one.stress.cover2_minor))
    console.print(
        "[bold]Pool coverage[/bold], as attested (prefunded against the two largest losses over margin in a stress "
        "scenario): "
        + "; ".join(
            f"{when}, attestation {one.sequence}, {usd(one.stress.prefunded_minor)} against "
            f"{usd(one.stress.cover2_minor)} in '{one.stress.worst_scenario}', "
            f"{percent(one.stress.prefunded_minor, one.stress.cover2_minor)}"
            for when, one in (("at first", exposed[0]), ("at worst", worst), ("at the end", exposed[-1]))
        )
        + ". To bear cover-2 at the end, by exposure: "
        + ", ".join(
            f"{one.member} {usd(one.needed_minor)} of {usd(one.held_minor)} held" for one in left.members
        )
        + "."
    )


# the hours ----------------------------------------------------------------------------------------


def timeline(console: Console, desk: Desk) -> None:
    """One line for each hour in which something happened."""
    table = table_of(
        "Hour by hour (day of the month and UTC hour of the bar; quiet hours are left out)",
        ("hour",),
        ("BTC", "ETH", "BTC vol.\nmodelled", *COLUMNS),
    )
    for bar in desk.market.bars:
        counts = Counter(event.kind for event in desk.tally.by_hour.get(bar.label, []))
        cells = [sum(counts[kind.name] for kind in kinds) for kinds in COLUMNS.values()]
        if any(cells) or bar in (desk.market.bars[0], desk.market.bars[-1]):
            row = [
                *(f"{bar.ticks[u] / 10:,.{digits}f}" for u, digits in ((BTC, 0), (ETH, 1))),
                f"{bar.volatility_bp[BTC] / 100:.0f} %",
                *(str(n) if n else "·" for n in cells),
            ]
            table.add_row(bar.label, *row, style="bold red" if counts[Kind.MEMBER_DEFAULTED.name] else None)
    console.print(table)


def halves(console: Console, desk: Desk) -> None:
    """The trades between members."""
    told = {"pending": "waits", "accepted": "matches"}
    for ref, states in desk.tally.halves.items():
        story = " ".join(
            f"The {n} half {told[state]}." for n, state in zip(("first", "second"), states, strict=False)
        )
        end = "It is novated." if len(states) > 1 else "The second never comes."
        if desk.tally.half_expired(ref):
            end += " After an hour it expires."
        console.print(f"[bold]Trade between Aurora and Borealis[/bold], {ref}: {story} {end}")


def funds_story(console: Console, desk: Desk) -> None:
    """What the funds did, what they had, and what the hours after took."""
    market, at = desk.market, desk.market.low(CRASH_HOURS)
    low, following = market.bars[at].ticks[BTC], [bar.ticks[BTC] for bar in market.bars[at + 1 :]]
    margin_bp = market.scan_range(BTC).move_bp * desk.parameters.requirement_bp // BP
    hurt = any("fund-" in e.subject for _, e in desk.tally.events(Kind.DEFAULT_DECLARED))
    console.print(
        f"[bold]The funds[/bold]: after {market.bars[at].label}, the lowest close, three momentum funds sold "
        f"{usd(desk.tally.sold_minor)} of BTC with the margin that was required, {percent(margin_bp, BP)}. "
        f"In the next hour BTC moved by {percent(following[0] - low, low)}, at most by "
        f"{percent(max(following) - low, low)} later: "
        + ("more than they had." if hurt else "nothing that put them in default.")
    )


def auctions(console: Console, tally: Tally) -> None:
    """Auctions counted, and those of a default told."""
    stories = list(tally.auctions.values())
    if not stories:
        return
    slices = [a for a in stories if a.kind == AuctionKind.LIQUIDATION.value]
    sales = [a for a in stories if a.kind == AuctionKind.COLLATERAL.value]
    console.print(
        f"[bold]Auctions[/bold]: {len(slices)} of slices of liquidations, in which two liquidity providers were "
        f"awarded {usd(awarded(slices))}; {len(sales)} of collateral ({usd(awarded(sales))}); "
        f"{len(tally.void())} void, because what they were for was gone. What nobody bid for is assigned."
    )


def awarded(stories: Iterable[AuctionStory]) -> int:
    """Notional and prices of everything that was awarded."""
    return sum(amount for story in stories for _, amount in story.awards)


def withdrawals(console: Console, tally: Tally) -> None:
    """What a client that asked for its gains was told, equal answers together."""
    if not tally.asked:
        return
    table = table_of(
        f"{tally.asked[0].account} asks to withdraw {usd(tally.asked[0].amount_minor)}: the outflow gate",
        ("from", "to", "answer"),
        (),
    )
    for first, last, refusal in tally.told():
        table.add_row(first, last, _readable(refusal) if refusal else "held, sent and paid")
    console.print(table)


def _readable(refusal: str) -> str:
    """A refusal with its amounts as a reader writes them."""
    return "refused, " + re.sub(r"\d{7,}", lambda found: usd(int(found[0])), refusal)


# the end ------------------------------------------------------------------------------------------


PLAIN_NAMES = {
    "trust root": "trust root says whose signatures count",
    "checkpoint": "signed checkpoint",
    "attestation signatures": "attestations carry two of three officers' signatures",
    "attestation statement": "statements agree with themselves (debits = credits, draws = loss)",
    "attestation chain": "follow the one before without a gap",
    "attestation consistency": "prove that their journal extends the one before",
    "extension": "checkpoint extends the last attested journal",
    "journal at": "roots recomputed from the public leaves",
    "journal end": "journal has no leaf that nobody signed for",
    "receipt": "receipts",
    "receipt entry": "receipts lead to the signed checkpoint",
    "receipt legs": "receipts show legs of one account alone",
    "liability": "members' balances are counted in the attested liabilities",
    "recompute inputs": "recompute bundles show lines that were attested",
    "recompute model": "parameters and prices are those of the attestation",
    "recompute stress array": "stress array follows from prices and scenarios",
    "recompute requirements": "bundles give the same requirements, exactly",
    "recompute figures": "figures come out again, exactly (the whole bundle)",
}
"""What the verifier's checks are called here."""


def verification(console: Console, checks: tuple[Check, ...]) -> None:
    """What the offline verifier checked, like checks counted together; every failure in full."""
    counted: dict[str, list[bool]] = {}
    for check in checks:
        name = re.sub(r" \d+|(?<=recompute figures) .*", "", check.name)
        counted.setdefault(PLAIN_NAMES.get(name, name), []).append(check.passed)
    for name, passed in counted.items():
        console.print(f"  {sum(passed)} of {len(passed)} {name}")
    for check in checks:
        if not check.passed:
            console.print(f"  [bold red]FAILED[/bold red] {check.name}: {check.detail}", soft_wrap=True)


def trial_balance(console: Console, house: House) -> bool:
    """Debits and credits by unit; whether all agree."""
    table = table_of("Trial balance (smallest units)", ("unit",), ("debits", "credits less debits"))
    balances = sorted(house.book.trial_balance().items())
    for unit, (debits, credits) in balances:
        table.add_row(unit, f"{debits:,}", f"{credits - debits:,}")
    console.print(table)
    return all(debits == credits for _, (debits, credits) in balances)
