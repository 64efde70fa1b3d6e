"""``clearctl margin``: what must be held, why, who is called, and what would be."""

import re
from collections.abc import Iterator
from operator import itemgetter
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from clearctl import names
from clearctl.amounts import grouped, own_name, percent, word
from clearctl.asked import AccountName, noun
from clearctl.connecting import connected
from clearctl.nouns.status import unit_of
from clearctl.tables import Column, account, amount, enum, facts, listing, listings, name, text, time
from clearctl.writing import write, write_rows
from clearing_client.client import Client, pages
from clearinghouse.v1 import margin_service_pb2 as pb

app = noun("Margin: what netting sets are worth, what they must hold, and what would be.")

NettingSet = Annotated[str, typer.Argument(help="Such as alpha~house or link~p1.", metavar="NETTING_SET")]
_STYLES = {
    pb.HEALTH_HEALTHY: "green",
    pb.HEALTH_CALL: "yellow",
    pb.HEALTH_LIQUIDATION: "red",
    pb.HEALTH_BANKRUPT: "bold red",
}


def _likely(row: pb.Margin) -> str:
    """A probability in percent; blank before the first cycle."""
    return f"{row.ruin_ppm / 10_000:.3f}%" if row.HasField("ruin_ppm") else ""


HEALTH = Column("health", lambda row: Text(word(row, "health"), style=_STYLES.get(row.health, "")))
MARGINS = (
    name("netting set", "netting_set"),
    HEALTH,
    amount("equity"),
    amount("maintenance"),
    amount("requirement"),
    amount("alone", "standalone_requirement"),
    Column("ruin in 24 h", _likely, is_number=True),
)
FIGURES = (
    ("Equity", "equity"),
    ("  cash", "cash"),
    ("  collateral", "collateral"),
    ("  options", "net_option_value"),
    ("Maintenance", "maintenance"),
    ("Requirement", "requirement"),
    ("  alone", "standalone_requirement"),
)
CALLS = (
    name("netting set", "netting_set"),
    enum("kind"),
    time("issued", "issue_time"),
    time("due"),
    amount("amount"),
)
LEGS = (
    account("account"),
    name("instrument"),
    amount("size"),
    amount("result", "scenario_result"),
    amount("brings", "contribution"),
)
SHARES = (
    account("account"),
    amount("alone", "standalone_requirement"),
    amount("brings", "contribution"),
    amount("saved", "netting_benefit"),
)
SHADOWED = (
    name("netting set", "netting_set"),
    HEALTH,
    Column(
        "health in shadow",
        lambda row: Text(word(row, "shadow_health"), style=_STYLES.get(row.shadow_health, "")),
    ),
    amount("requirement"),
    amount("in shadow", "shadow_requirement"),
)
RESULTS = (
    Column("accepted", lambda row: "yes" if row.accepted else "no"),
    text("reason"),
    text("message"),
)
_TRADE = re.compile(r"([A-Z0-9.-]+)=(-?[0-9.]+)(?:@([0-9.]+))?", re.ASCII)


@app.command("list")
def list_margins(context: typer.Context) -> None:
    """List netting sets: what each is worth, what it must hold, and open calls.

    Example: clearctl margin list
    """
    with connected(context) as client:
        request = pb.ListMarginsRequest()
        found = [one for page in pages(client.margins.ListMargins, request) for one in page.margins]
        calls, unit = open_calls(client), unit_of(client)
        both = {"margins": found, "marginCalls": calls}
        title = f"Margin, in {unit}"
        tables = listing(title, found, MARGINS), *listings(_calls_title(unit), calls, CALLS)
        write(context, both, lambda: tables)


@app.command()
def show(context: typer.Context, netting_set: NettingSet) -> None:
    """Show one netting set.

    Example: clearctl margin show alpha~house
    """
    with connected(context) as client:
        request = pb.GetMarginRequest(netting_set=names.named("nettingSets", netting_set))
        found = client.margins.GetMargin(request).margin
        unit = unit_of(client)
        write(context, found, lambda: [_figures((own_name(found.netting_set),), (found,), unit)])


@app.command()
def calls(context: typer.Context) -> None:
    """List open calls: who has to bring how much until when.

    Example: clearctl margin calls
    """
    with connected(context) as client:
        found, unit = open_calls(client), unit_of(client)
        write_rows(context, found, _calls_title(unit), CALLS, "No call is open.")


@app.command()
def explain(context: typer.Context, netting_set: NettingSet) -> None:
    """Take a requirement apart: the worst scenario of each underlying, leg by leg, and what is added.

    Example: clearctl margin explain alpha~house
    """
    with connected(context) as client:
        request = pb.ExplainMarginRequest(netting_set=names.named("nettingSets", netting_set))
        found = client.margins.ExplainMargin(request)
        unit = unit_of(client)
        write(context, found, lambda: _explained(found, unit))


@app.command("what-if")
def what_if(
    context: typer.Context,
    account: AccountName,
    trades: Annotated[
        list[str],
        typer.Argument(
            help="To buy, or to sell if negative, at the mark if no price is given.",
            metavar="INSTRUMENT=SIZE[@PRICE]...",
        ),
    ],
) -> None:
    """Show what trades of an account would do to its margin, and why one would be refused. Changes nothing.

    Example: clearctl margin what-if alpha/one BTC-PERP=-0.5@64000 ETH-PERP=3
    """
    request = pb.WhatIfRequest(account=names.account(account), trades=map(_trade, trades))
    with connected(context) as client:
        found = client.margins.WhatIf(request)
        unit = unit_of(client)
        write(context, found, lambda: _compared(found, trades, unit))


@app.command()
def shadow(context: typer.Context) -> None:
    """Compare the margin model in shadow with the one in force, as of the end of a cycle. For administrators.

    Example: clearctl margin shadow
    """
    with connected(context) as client:
        found = client.margins.GetShadow(pb.GetShadowRequest())
        unit = unit_of(client)
        write(context, found, lambda: _shadowed(found, unit))


def open_calls(client: Client) -> list[pb.MarginCall]:
    """All calls that are open."""
    request = pb.ListMarginCallsRequest()
    return [one for page in pages(client.margins.ListMarginCalls, request) for one in page.margin_calls]


def _calls_title(unit: str) -> str:
    return f"Open calls, in {unit}"


def _explained(found: pb.ExplainMarginResponse, unit: str) -> Iterator[RenderableType]:
    for part in found.underlyings:
        title = f"{own_name(part.underlying)}: scenario {part.scenario}, {part.scenario_title}"
        yield listing(title, part.legs, LEGS)
        figures = (
            ("Other legs", part.other_legs_result),
            ("Result", part.scenario_result),
            ("At least", part.minimum),
            ("Risk", part.risk),
        )
        yield facts((label, grouped(value)) for label, value in figures)
    for tail in found.tails:
        title = f"Mean of the worst {tail.scenario_count} {tail.title}"
        yield facts([(title, f"{grouped(tail.mean_loss)} {unit}, weight {percent(tail.weight_bp)[1:]}")])
    sums = (
        ("Risk of all", found.risk),
        ("Offset credit", found.offset_credit),
        ("Basis charge", found.basis_charge),
        ("Floor", found.floor),
        ("Liquidity charge", found.liquidity_charge),
        ("Wrong-way charge", found.wrong_way_charge),
        ("Maintenance", found.maintenance),
    )
    yield facts((label, f"{grouped(value)} {unit}") for label, value in sums)
    yield facts(
        [
            (
                "Requirement",
                f"{grouped(found.margin.requirement)} {unit}, {percent(found.requirement_bp)[1:]} of it",
            ),
            ("Model", f"{found.model}, version {found.model_version}, cycle {found.cycle}"),
        ]
    )
    yield listing(f"Of the requirement, in {unit}", found.shares, SHARES)
    yield _warned(found)


def _warned(found: pb.ExplainMarginResponse) -> Table:
    """The probability of ruin, and the five instruments that bring most of it about."""
    parts = (f"{own_name(one.instrument)} {one.share_ppm / 10_000:.0f}%" for one in found.ruin_drivers[:5])
    brought = ", ".join(parts) or "nothing"
    return facts([("Ruin within 24 h", f"{_likely(found.margin)} (an early warning only), by {brought}")])


def _shadowed(found: pb.GetShadowResponse, unit: str) -> Iterator[RenderableType]:
    if not found.cycle:
        yield "No model was ever measured in shadow: the parameter shadow_model names none, or no cycle has closed."
        return
    rows = [
        ("In force", f"{found.model}, version {found.model_version}"),
        ("In shadow", f"{found.shadow_model}, version {found.shadow_model_version}"),
        ("Cycle", grouped(str(found.cycle))),
        ("Requirements", f"{grouped(found.requirement)} {unit}"),
        ("  in shadow", f"{grouped(found.shadow_requirement)} {unit}"),
        ("Would be called", str(found.called_count)),
        ("Would be liquidated", str(found.liquidated_count)),
        ("Would hold more", str(found.risen_count)),
        ("Would hold less", str(found.fallen_count)),
    ]
    if found.HasField("risen_most"):
        most = found.risen_most
        figures = f"{grouped(most.requirement)} to {grouped(most.shadow_requirement)} {unit}"
        rows.append(("Largest rise", f"{own_name(most.netting_set)}, from {figures}"))
    yield facts(rows)
    yield from listings(f"Largest differences, in {unit}", found.margins, SHADOWED)


def _compared(found: pb.WhatIfResponse, trades: list[str], unit: str) -> Iterator[RenderableType]:
    yield _figures(("before", "after"), (found.before, found.after), unit)
    told = zip(trades, found.results, strict=True)
    columns = (column.of(itemgetter(1)) for column in RESULTS)
    yield listing("Trades", told, (Column("trade", itemgetter(0)), *columns))


def _figures(heads: tuple[str, ...], found: tuple[pb.Margin, ...], unit: str) -> Table:
    """Everything of margins beside each other."""
    rows = [("Health", *map(HEALTH.cell, found))]
    rows += [(label, *(grouped(getattr(one, field)) for one in found)) for label, field in FIGURES]
    columns = [Column(head, itemgetter(place), is_number=True) for place, head in enumerate(heads, start=1)]
    return listing(f"In {unit}", rows, (Column("", itemgetter(0)), *columns))


def _trade(text: str) -> pb.HypotheticalTrade:
    matched = _TRADE.fullmatch(text)
    if matched is None:
        raise typer.BadParameter(
            f"{text}: write INSTRUMENT=SIZE or INSTRUMENT=SIZE@PRICE", param_hint="TRADES"
        )
    instrument, size, price = matched.groups(default="")
    return pb.HypotheticalTrade(instrument=names.instrument(instrument), size=size, price=price)
