"""``clearctl preview``: who pays if a member fails."""

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from clearctl import names
from clearctl.amounts import grouped, own_name, percent
from clearctl.asked import Member, basis_points
from clearctl.connecting import connected
from clearctl.nouns.status import unit_of
from clearctl.tables import tiers_and_payers
from clearctl.writing import write
from clearing_client.client import Client
from clearinghouse.v1 import margin_service_pb2 as pb

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command()
def preview(
    context: typer.Context,
    member: Member,
    move: Annotated[
        int | None,
        typer.Option(
            help="Move all prices first. Left out: the worse of the margin model's extremes.",
            parser=basis_points,
            metavar="±N%",
        ),
    ] = None,
) -> None:
    """Show who would pay if a member failed now. Changes nothing.

    Example: clearctl preview alpha --move -25%
    """
    with connected(context) as client:
        found = previewed(client, member, move)
        unit = unit_of(client)
        write(context, found, lambda: shown(found, unit))


def previewed(client: Client, member: str, move_bp: int | None = None) -> pb.PreviewDefaultResponse:
    """What the house says of it."""
    request = pb.PreviewDefaultRequest(member=names.member(member), move_bp=move_bp)
    return client.margins.PreviewDefault(request)


def shown(found: pb.PreviewDefaultResponse, unit: str) -> Iterator[RenderableType]:
    """Who would pay."""
    moves = ", ".join(f"{own_name(move.feed)} {percent(move.move_bp)}" for move in found.moves)
    yield Text(f"If {own_name(found.member)} failed now, after {moves or 'no move'}:")
    loss, uncovered = grouped(found.loss), grouped(found.uncovered)
    yield Text(f"loss {loss} {unit}, uncovered {uncovered} {unit}", style="bold")
    yield from tiers_and_payers(found, unit)
