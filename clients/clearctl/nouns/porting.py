"""``clearctl porting``: clients of a member in default that wait for another member."""

from typing import Annotated

import typer

from clearctl import names
from clearctl.amounts import grouped, own_name
from clearctl.asked import noun
from clearctl.connecting import connected, send
from clearctl.nouns.status import unit_of
from clearctl.tables import Column, amount, name, time
from clearctl.writing import write_done, write_rows
from clearing_client.client import pages
from clearinghouse.v1 import default_service_pb2 as pb

app = noun("Porting: clients of a member in default move with all that they hold to who accepts them.")

Porting = Annotated[str, typer.Argument(help="As `clearctl porting list` shows it.", metavar="PORTING")]


@app.command("list")
def list_portings(context: typer.Context) -> None:
    """List clients that may be accepted, with what they hold and need.

    Example: clearctl porting list
    """
    with connected(context) as client:
        request = pb.ListPortingsRequest()
        found = [one for page in pages(client.defaults.ListPortings, request) for one in page.portings]
        columns = (
            name("porting", "name"),
            Column("members", lambda row: ", ".join(map(own_name, row.members))),
            Column("positions", _positions),
            amount("equity"),
            amount("requirement"),
            time("until", "due_time"),
        )
        write_rows(
            context, found, f"Portings, in {unit_of(client)}", columns, "No client waits to be ported."
        )


@app.command()
def accept(
    context: typer.Context,
    porting: Porting,
    account: Annotated[str, typer.Option(help="Yours, new: it takes all over.", metavar="MEMBER/ACCOUNT")],
) -> None:
    """Accept a client: its netting set moves to your account with all that it holds.

    Example: clearctl porting accept 0123456789abcdef0123456789abcdef --account beta/ported
    """
    request = pb.AcceptPortingRequest(
        account=names.account(account), porting=names.named("portings", porting)
    )
    with connected(context) as client:
        done = send(context, client.defaults.AcceptPorting, request)
        write_done(context, done, f"Accepted into {account}.")


def _positions(row: pb.Porting) -> str:
    return ", ".join(f"{grouped(held.size)} {own_name(held.instrument)}" for held in row.positions)
