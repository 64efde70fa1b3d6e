"""``clearctl default``: declared defaults, what they cost, and declaring one."""

from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from rich.console import RenderableType

from clearctl import names
from clearctl.amounts import account_name, grouped, own_name, when, word
from clearctl.asked import Amount, Member, Reason, Yes, noun
from clearctl.connecting import connected, send
from clearctl.nouns import preview
from clearctl.nouns.change import AtOnce, ProposalId, propose
from clearctl.nouns.status import unit_of
from clearctl.tables import (
    Column,
    account,
    amount,
    enum,
    facts,
    listing,
    listings,
    name,
    tiers_and_payers,
    time,
)
from clearctl.writing import write, write_done
from clearing_client.client import Client, pages
from clearinghouse.v1 import admin_service_pb2 as admin_pb
from clearinghouse.v1 import collateral_service_pb2 as collateral_pb
from clearinghouse.v1 import common_pb2 as common
from clearinghouse.v1 import default_service_pb2 as pb

app = noun("Defaults: what failed, what it cost, who paid, and declaring one.")
app.command("preview")(preview.preview)

Default = Annotated[str, typer.Argument(help="As `clearctl default list` shows it.", metavar="DEFAULT")]
DEFAULTS = (
    name("default", "name"),
    enum("stage"),
    time("declared", "declare_time"),
    amount("loss"),
    amount("uncovered"),
    amount("recovered"),
)
SETS = (name("netting set", "netting_set"), amount("equity at declaration", "equity"))
CLAIMS = (Column("tier", lambda row: str(row.tier)), account("to", "payer"), amount("amount"))


@app.command("list")
def list_defaults(context: typer.Context) -> None:
    """List defaults, and where each stands.

    Example: clearctl default list
    """
    with connected(context) as client:
        found, unit = declared(client), unit_of(client)
        title, nothing = f"Defaults, in {unit}", "No default was ever declared."
        write(context, found, lambda: [listing(title, found, DEFAULTS) if found else nothing])


@app.command()
def show(context: typer.Context, default: Default) -> None:
    """Show one default: who lost, who paid, tier by tier, and what is still to be repaid.

    Example: clearctl default show d1
    """
    with connected(context) as client:
        request = pb.GetDefaultRequest(name=names.named("defaults", default))
        found = client.defaults.GetDefault(request).default
        unit = unit_of(client)
        write(context, found, lambda: _shown(found, unit))


@app.command()
def declare(
    context: typer.Context,
    member: Member,
    reason: Reason,
    proposal_id: ProposalId = None,
    yes: Yes = False,
    at_once: AtOnce = False,
) -> None:
    """Propose, as administrator, that a member be in default. Another approves, and it is: nothing undoes it.

    Who would pay is shown first, and the member's name has to be typed.

    Example: clearctl default declare alpha --reason "insolvent since this morning"
    """
    wanted = admin_pb.Change(declare_default=admin_pb.DeclareDefaultChange(member=names.member(member)))
    propose(context, wanted, reason, proposal_id, yes=yes, at_once=at_once)


@app.command()
def recover(context: typer.Context, default: Default, amount: Amount) -> None:
    """Say, as custodian, that money of the estate arrived: it goes to who paid, last first.

    Example: clearctl default recover d1 50000
    """
    request = collateral_pb.RecordRecoveryRequest(default=names.named("defaults", default), amount=amount)
    with connected(context) as client:
        done = send(context, client.collateral.RecordRecovery, request)
        write_done(context, done, f"Recovered {grouped(amount)} for {default}.")


def declared(client: Client) -> list[pb.Default]:
    """All defaults there ever were."""
    request = pb.ListDefaultsRequest()
    return [one for page in pages(client.defaults.ListDefaults, request) for one in page.defaults]


def _shown(found: pb.Default, unit: str) -> Iterator[RenderableType]:
    yield facts(
        [
            ("Default", own_name(found.name)),
            ("Stage", word(found, "stage")),
            ("Declared", f"{when(found.declare_time)}, in cycle {found.cycle}"),
            ("Members at T0", ", ".join(account_name(member) for member in found.survivors)),
            ("Loss", f"{grouped(found.loss)} {unit}"),
            ("Uncovered", f"{grouped(found.uncovered)} {unit}"),
            ("Recovered", f"{grouped(found.recovered)} {unit}"),
        ]
    )
    yield from listings(f"Netting sets in default, in {unit}", found.netting_sets, SETS)
    yield from _parts("Losses", found.losses, unit)
    yield from _parts("Still to be answered", found.answers, unit)
    yield from tiers_and_payers(found, unit)
    yield from listings(f"Still to be repaid, in {unit}", found.claims, CLAIMS)


def _parts(title: str, parts: Iterable[common.MemberAmount], unit: str) -> Iterable[RenderableType]:
    return listings(f"{title}, in {unit}", parts, (account("member"), amount("amount")))
