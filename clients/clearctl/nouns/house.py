"""``clearctl house``: founding it, and its own money."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.json_format import Parse, ParseError

from clearctl.amounts import grouped, own_name
from clearctl.asked import WRONG_USE, Amount, Yes, noun, stop
from clearctl.confirming import confirm
from clearctl.connecting import connected, send, tried
from clearctl.effects import replaced
from clearctl.tables import facts
from clearctl.writing import write_done
from clearinghouse.v1 import admin_service_pb2 as pb
from clearinghouse.v1 import collateral_service_pb2 as collateral_pb

app = noun("The house itself: founding it, and its own money.")

FUNDS = ("capital", "skin_in_the_game", "second_tranche", "insurance_fund")


def template_text() -> str:
    """The file to found a house with: every parameter as the rulebook has it, scan ranges as an example."""
    return (files("clearctl") / "founding.json").read_text(encoding="utf-8")


@app.command()
def template() -> None:
    """Print the file that a house is founded with. Asks no house.

    It holds the settlement asset and every parameter as the rulebook has it. The scan ranges are an example: an
    instrument needs one for its underlying before it can be listed.

    Example: clearctl house template > founding.json
    """
    typer.echo(template_text(), nl=False)


@app.command()
def found(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="As `clearctl house template` prints it, edited.", metavar="FILE")
    ],
    yes: Yes = False,
) -> None:
    """Found the house, as administrator: its name, its settlement asset, its first parameters.

    What it would be is shown first, with what differs from the template. The settlement asset never changes.

    Example: clearctl house found founding.json
    """
    request = _founding(file)
    with connected(context) as client:
        tried(client.administration.FoundHouse, request)
        usual = pb.FoundHouseRequest()
        Parse(template_text(), usual)
        asset = request.settlement_asset
        about = [
            ("House", request.house),
            ("Settles in", f"{own_name(asset.name)} ({asset.decimals} decimals)"),
            ("Margin model", request.parameters.margin_model),
        ]
        told = [facts(about), "Against the template:", *replaced(usual.parameters, request.parameters)]
        confirm(context, told, "Found it?", yes=yes)
        done = send(context, client.administration.FoundHouse, request)
        write_done(context, done, f"Founded {done.house}.")


@app.command()
def fund(
    context: typer.Context,
    fund: Annotated[str, typer.Argument(help=f"One of {', '.join(FUNDS)}.", metavar="FUND")],
    amount: Amount,
) -> None:
    """Say, as custodian, that money of the house itself arrived for one of its funds.

    Example: clearctl house fund skin_in_the_game 1000000
    """
    own = fund.removeprefix("house/").replace("-", "_")
    if own not in FUNDS:
        raise typer.BadParameter(f"{fund}: one of {', '.join(FUNDS)}", param_hint="FUND")
    request = collateral_pb.FundHouseRequest(fund=f"house/{own}", amount=amount)
    with connected(context) as client:
        done = send(context, client.collateral.FundHouse, request)
        write_done(context, done, f"Credited {grouped(amount)} to {request.fund}.")


def _founding(file: Path) -> pb.FoundHouseRequest:
    request = pb.FoundHouseRequest()
    try:
        Parse(file.read_text(encoding="utf-8"), request)
    except (OSError, ValueError, ParseError) as error:
        stop(f"{file} cannot be read: {error}", WRONG_USE)
    return request
