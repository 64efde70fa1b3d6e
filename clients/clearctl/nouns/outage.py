"""``clearctl outage``: when prices are missing."""

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import RenderableType

from clearctl import names
from clearctl.amounts import when
from clearctl.asked import Reason, Yes, noun
from clearctl.confirming import confirm
from clearctl.connecting import connected, send, tried
from clearctl.effects import EFFECTS
from clearctl.tables import facts, listings, name, text, time
from clearctl.writing import write, write_done
from clearinghouse.v1 import admin_service_pb2 as pb

app = noun("Outages: while prices are missing, call clocks stand still and nothing new is taken.")

CLOSINGS = (
    name("default", "default_name"),
    name("asked by", "asker"),
    time("asked", "ask_time"),
    text("because", "ask_reason"),
    name("approved by", "approver"),
)


@app.command()
def show(context: typer.Context) -> None:
    """Show the outage that lasts, if there is one. For administrators and regulators.

    Example: clearctl outage show
    """
    with connected(context) as client:
        found = client.administration.GetOutage(pb.GetOutageRequest())
        outage = found.outage if found.HasField("outage") else None
        write(context, outage, lambda: ["Prices are there."] if outage is None else _shown(outage))


@app.command("close-default")
def close_default(
    context: typer.Context,
    default: Annotated[str, typer.Argument(help="A declared default.", metavar="DEFAULT")],
    reason: Reason,
    yes: Yes = False,
) -> None:
    """Let a default close at the last good price, in an outage. Takes two administrators that send the same.

    Example: clearctl outage close-default d1 --reason "the venue will not be back today"
    """
    request = pb.CloseInOutageRequest(default=names.named("defaults", default), reason=reason)
    with connected(context) as client:
        would = tried(client.administration.CloseInOutage, request)
        then = (
            "closes at the last good price"
            if would.let
            else "waits until another administrator sends the same"
        )
        told: list[RenderableType] = [f"{default} {then}.", *listings("With it", would.effects, EFFECTS)]
        confirm(context, told, "Do it?", yes=yes)
        done = send(context, client.administration.CloseInOutage, request)
        sentence = f"{default} closes." if done.let else "Asked; another administrator has to send the same."
        write_done(context, done, sentence, listings("What happened", done.effects, EFFECTS))


def _shown(outage: pb.OutageDetail) -> Iterator[RenderableType]:
    fresh = when(outage.fresh_time) or "not yet"
    yield facts([("Since", when(outage.begin_time)), ("Fresh again", fresh)])
    yield from listings("Closings", outage.closings, CLOSINGS)
