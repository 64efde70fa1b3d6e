"""``clearctl status``."""

from collections.abc import Iterator

import typer
from rich.console import RenderableType
from rich.text import Text

from clearctl.amounts import grouped, own_name, when, word
from clearctl.connecting import connected
from clearctl.tables import Column, enum, facts, listings, name, text, time
from clearctl.writing import write
from clearing_client.client import Client
from clearinghouse.v1 import house_service_pb2 as pb

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

GATES = (text("scope"), text("reason"), time("since"), text("opens with", "release"))
BREAKERS = (
    Column("instrument", lambda row: own_name(row.instrument) or "all"),
    enum("state"),
    text("reason"),
    time("since"),
    time("reopens", "reopen_time"),
)
INSTRUMENTS = (
    name("instrument", "name"),
    Column("kind", lambda row: word(row, "kind")),
    Column("mark", lambda row: grouped(row.mark_price) if row.mark_price else "none yet", is_number=True),
    Column("tick", lambda row: row.tick_size, is_number=True),
    Column("lot", lambda row: row.lot_size, is_number=True),
    time("expires", "expire_time"),
)


@app.command()
def status(context: typer.Context) -> None:
    """Show the house: its cycle, its journal, its gates, and what it clears. Changes nothing.

    Example: clearctl status
    """
    with connected(context) as client:
        found = client.house()
        write(context, found, lambda: _shown(found))


def unit_of(client: Client) -> str:
    """What amounts are in: the name of the settlement asset."""
    return own_name(client.house().house.settlement_asset.name)


def shut(house: pb.House) -> Iterator[RenderableType]:
    """What is not open: gates, breakers, an outage, the end."""
    if house.HasField("wind_down_time"):
        yield Text(f"Wound down since {when(house.wind_down_time)}", style="bold red")
    if house.HasField("outage"):
        yield Text(f"Prices are missing since {when(house.outage.begin_time)}", style="bold red")
    yield from listings("Shut gates", house.gates, GATES)
    yield from listings("Breakers", house.breakers, BREAKERS)


def _shown(found: pb.GetHouseResponse) -> Iterator[RenderableType]:
    house = found.house
    asset = house.settlement_asset
    members = f"{house.member_count}, {house.defaulted_member_count} in default"
    if house.suspended_member_count:
        members += f", {house.suspended_member_count} suspended"
    yield facts(
        [
            ("House", house.house),
            ("Settles in", f"{own_name(asset.name)} ({asset.decimals} decimals)"),
            ("Members", members),
            ("Cycle", _cycle(house)),
            ("Margin model", f"{house.margin_model}, parameters version {house.parameters_version}"),
            ("Journal", f"{found.journal_size:,} entries, root {found.journal_root}"),
            ("Withdrawals", "open" if not house.gates else Text("shut", style="yellow")),
        ]
    )
    yield from shut(house)
    yield from listings("Instruments", house.instruments, INSTRUMENTS)


def _cycle(house: pb.House) -> str:
    if not house.cycle:
        return "none yet"
    ended = "closed" if house.cycle_closed else "open"
    return f"{house.cycle}, {ended}, prices of {when(house.cycle_accept_time)}"
