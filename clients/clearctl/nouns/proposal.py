"""``clearctl proposal``: what was proposed, and approving or ending it."""

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import RenderableType

from clearctl import names
from clearctl.amounts import own_name, when, word
from clearctl.asked import Reason, Yes, noun
from clearctl.confirming import confirm
from clearctl.connecting import connected, send, tried
from clearctl.effects import EFFECTS, effect, impact, replaced, typed_for, what_it_is
from clearctl.tables import Column, enum, facts, listings, name, text, time
from clearctl.writing import write, write_done, write_rows
from clearing_client.client import Client, pages
from clearinghouse.v1 import admin_service_pb2 as pb

app = noun("Proposals of administrators: another one approves, and the change is made.")

Name = Annotated[str, typer.Argument(help="As `clearctl proposal list` shows it.", metavar="PROPOSAL")]


def _subject(proposal: pb.Proposal) -> str:
    return what_it_is(proposal.change) if proposal.HasField("change") else "parameters"


PROPOSALS = (
    name("proposal", "name"),
    Column("of", _subject),
    enum("state"),
    name("proposer"),
    time("proposed", "propose_time"),
    time("expires", "expire_time"),
    text("reason"),
)


@app.command("list")
def list_proposals(context: typer.Context) -> None:
    """List all proposals there ever were. For administrators and regulators.

    Example: clearctl proposal list
    """
    with connected(context) as client:
        request = pb.ListProposalsRequest()
        found = [
            one for page in pages(client.administration.ListProposals, request) for one in page.proposals
        ]
        write_rows(context, found, "Proposals", PROPOSALS, "Nothing was ever proposed.")


@app.command()
def show(context: typer.Context, proposal: Name) -> None:
    """Show one proposal, with what it would do.

    Example: clearctl proposal show raise-margin
    """
    with connected(context) as client:
        found = _proposal(client, proposal)
        write(context, found, lambda: [*_shown(found), *_effect(client, found)])


@app.command()
def approve(context: typer.Context, proposal: Name, yes: Yes = False) -> None:
    """Approve the proposal of another administrator: a change is made at once, parameters begin their delay.

    What would happen is shown first: who would be called or liquidated, who would pay.

    Example: clearctl proposal approve raise-margin
    """
    request = pb.ApproveProposalRequest(name=names.named("proposals", proposal))
    with connected(context) as client:
        found = _proposal(client, proposal)
        would = tried(client.administration.ApproveProposal, request)
        told = [*_shown(found), *_effect(client, found), *listings("With it", would.effects, EFFECTS)]
        typed = typed_for(client, found.change) if found.HasField("change") else None
        confirm(context, told, "Approve this?", yes=yes, typed=typed)
        done = send(context, client.administration.ApproveProposal, request)
        effects = listings("What happened", done.effects, EFFECTS)
        write_done(context, done, f"{own_name(done.proposal)} is {word(done, 'state')}.", effects)


@app.command()
def reject(context: typer.Context, proposal: Name, reason: Reason) -> None:
    """End a proposal that is not in force: your own is withdrawn, another's rejected.

    Example: clearctl proposal reject raise-margin --reason "too soon"
    """
    request = pb.RejectProposalRequest(name=names.named("proposals", proposal), reason=reason)
    with connected(context) as client:
        done = send(context, client.administration.RejectProposal, request)
        write_done(context, done, f"{own_name(done.proposal)} is {word(done, 'state')}.")


def _proposal(client: Client, proposal: str) -> pb.Proposal:
    request = pb.GetProposalRequest(name=names.named("proposals", proposal))
    return client.administration.GetProposal(request).proposal


def _shown(found: pb.Proposal) -> Iterator[RenderableType]:
    yield facts(
        [
            ("Proposal", own_name(found.name)),
            ("Of", _subject(found)),
            ("State", word(found, "state")),
            ("Proposed", f"{when(found.propose_time)} by {own_name(found.proposer)}: {found.reason}"),
            ("Expires", when(found.expire_time)),
            *([("Approved", f"by {own_name(found.approver)}")] if found.approver else []),
            *([("Ended", f"by {own_name(found.ender)}: {found.end_reason}")] if found.ender else []),
        ]
    )


def _effect(client: Client, found: pb.Proposal) -> Iterator[RenderableType]:
    if found.HasField("change"):
        yield from effect(client, found.change)
        return
    now = client.administration.GetParameters(pb.GetParametersRequest()).parameters
    yield from replaced(now, found.parameters.parameters)
    yield from impact(client, found.parameters.impact)
