"""``clearctl param``: every number that the rulebook leaves to be set, and changing some."""

import difflib
import json
from typing import Annotated

import typer
from google.protobuf.json_format import ParseDict, ParseError

from clearctl.amounts import own_name
from clearctl.asked import Reason, Yes, noun
from clearctl.confirming import confirm
from clearctl.connecting import connected, send, tried
from clearctl.effects import SETTINGS, impact, replaced, settings
from clearctl.nouns import proposal
from clearctl.nouns.change import ProposalId
from clearctl.tables import listing
from clearctl.writing import write, write_done
from clearing_client.client import new_id
from clearinghouse.v1 import admin_service_pb2 as pb
from clearinghouse.v1.parameters_pb2 import Parameters

app = noun("The parameters in force, and proposing others.")
app.command("approve")(proposal.approve)
app.command("reject")(proposal.reject)


@app.command()
def show(context: typer.Context) -> None:
    """Show the parameters in force and their version.

    Example: clearctl param show
    """
    with connected(context) as client:
        found = client.administration.GetParameters(pb.GetParametersRequest())
        rows, title = settings(found.parameters), f"Parameters, version {found.version}"
        write(context, found, lambda: [listing(title, rows, SETTINGS)])


@app.command()
def propose(
    context: typer.Context,
    set_: Annotated[
        list[str], typer.Option("--set", help="As often as you like; lists as JSON.", metavar="NAME=VALUE")
    ],
    reason: Reason,
    proposal_id: ProposalId = None,
    immediate: Annotated[
        bool, typer.Option("--immediate", help="Without the delay: only what makes safer.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Propose other parameters. What would change, and who would be called or liquidated, is shown first.

    They hold after another administrator has approved them and the delay is over.

    Example: clearctl param propose --set requirement_bp=13000 --reason "a wild month" --id raise-margin
    """
    with connected(context) as client:
        known = client.administration.GetParameters(pb.GetParametersRequest())
        wanted = with_settings(known.parameters, set_)
        request = pb.ProposeParametersRequest(
            proposal_id=proposal_id or new_id(),
            parameters=wanted,
            base_version=known.version,
            reason=reason,
            immediate=immediate,
        )
        would = tried(client.administration.ProposeParameters, request)
        told = [*replaced(known.parameters, wanted), *impact(client, would.impact)]
        confirm(context, told, "Propose this?", yes=yes)
        done = send(context, client.administration.ProposeParameters, request)
        sentence = f"Proposed as {own_name(done.proposal)}: another administrator has to approve it."
        write_done(context, done, sentence)


def with_settings(known: Parameters, texts: list[str]) -> Parameters:
    """The parameters with some set anew."""
    wanted = Parameters()
    wanted.CopyFrom(known)
    by_name = {field.name: field for field in Parameters.DESCRIPTOR.fields}
    for text in texts:
        name, equals, value = text.partition("=")
        field = by_name.get(name)
        if field is None or not equals or not (value or field.type == field.TYPE_STRING):
            near = ", ".join(difflib.get_close_matches(name, by_name)) or "see clearctl param show"
            raise typer.BadParameter(f"{text}: write NAME=VALUE; near: {near}", param_hint="--set")
        wanted.ClearField(name)  # type: ignore[arg-type]  # the name is of a field, as was just seen
        try:
            ParseDict({name: json.loads(value) if field.is_repeated else value}, wanted)
        except (ValueError, ParseError) as error:
            raise typer.BadParameter(f"{text}: {error}", param_hint="--set") from None
    return wanted
