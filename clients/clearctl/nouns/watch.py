"""``clearctl watch``: the house live, fed by its events; everything is read again only when something happened."""

import json
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from clearctl.amounts import left, own_name
from clearctl.asked import WRONG_USE, asked_in, stop
from clearctl.connecting import connected
from clearctl.nouns.auction import AUCTIONS, open_auctions
from clearctl.nouns.default import DEFAULTS, declared
from clearctl.nouns.event import EVENTS, After, Kinds
from clearctl.nouns.margin import CALLS, open_calls
from clearctl.nouns.status import shut
from clearctl.tables import Column, listing, listings
from clearctl.writing import plain
from clearing_client.client import Client
from clearing_client.errors import ClearingError
from clearinghouse.v1 import auction_service_pb2 as auction_pb
from clearinghouse.v1 import default_service_pb2 as default_pb
from clearinghouse.v1 import event_service_pb2 as event_pb
from clearinghouse.v1 import house_service_pb2 as house_pb
from clearinghouse.v1 import margin_service_pb2 as margin_pb

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

EVENTS_SHOWN = 10
TICK_S = 1.0
R = TypeVar("R")


@dataclass
class Seen:
    """What is shown: the house as it was last read, and the last events."""

    house: house_pb.GetHouseResponse
    calls: list[margin_pb.MarginCall] = field(default_factory=list)
    auctions: list[auction_pb.Auction] = field(default_factory=list)
    defaults: list[default_pb.Default] = field(default_factory=list)
    events: deque[event_pb.Event] = field(default_factory=lambda: deque(maxlen=EVENTS_SHOWN))
    trouble: str = ""


@app.command()
def watch(context: typer.Context, after: After = None, kind: Kinds = None) -> None:
    """Watch the house live: shut gates, open calls and auctions with the time left, defaults, events.

    A lost connection is made again and no event is missed. Ctrl-C ends it. With `--output json` events are
    printed one a line, from now on or behind --after.

    Example: clearctl watch

    Example: clearctl --output json watch --after 120 --kind CALL_ISSUED
    """
    try:
        with connected(context) as client:
            if asked_in(context).is_json:
                _print_events(client, after, kind or [])
            elif not sys.stdout.isatty():
                stop("there is no terminal to show it on: ask for --output json", WRONG_USE)
            else:
                _show_live(client, after, kind or [])
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _print_events(client: Client, after: int | None, kinds: list[str]) -> None:
    for event in client.follow_events(after, kinds):
        typer.echo(json.dumps(plain(event), ensure_ascii=False))


def _show_live(client: Client, after: int | None, kinds: list[str]) -> None:
    seen = Seen(client.house())
    read(client, seen)
    begin = seen.house.journal_size - 1 if after is None else after
    arrived = _followed(client, begin, kinds)
    with Live(
        get_renderable=lambda: Group(*shown(seen, datetime.now(UTC))),
        console=Console(highlight=False),
        screen=True,
    ) as live:
        while True:
            events = list(_taken(arrived))
            seen.events.extend(events)
            if events or seen.trouble:
                _read_again(client, seen)
            live.refresh()


def read(client: Client, seen: Seen) -> None:
    """Read the house; what the caller may not see stays empty."""
    seen.house = client.house()
    seen.calls = _allowed(lambda: open_calls(client))
    seen.auctions = _allowed(lambda: open_auctions(client))
    seen.defaults = _allowed(lambda: declared(client))


def shown(seen: Seen, now: datetime) -> Iterator[RenderableType]:
    """Everything, with the time that is left at ``now``."""
    house = seen.house.house
    head = f"{house.house}  entry {seen.house.journal_size:,}  cycle {house.cycle}  {now:%H:%M:%S}Z"
    yield Text(head, style="bold")
    yield Text(seen.trouble, style="bold red") if seen.trouble else Text("Ctrl-C ends", style="dim")
    unit = own_name(house.settlement_asset.name)
    yield from shut(house)
    yield from listings(f"Open calls, in {unit}", seen.calls, (*CALLS, _left("due_time", now)))
    yield from listings("Open auctions", seen.auctions, (*AUCTIONS, _left("close_time", now)))
    yield from listings(f"Defaults, in {unit}", seen.defaults, DEFAULTS)
    if not (seen.calls or seen.auctions or seen.defaults or house.gates or house.breakers):
        yield Text("Nothing is shut, called, for sale or in default.", style="green")
    yield listing("Events", reversed(seen.events), EVENTS)


def _left(time_field: str, now: datetime) -> Column:
    return Column("left", lambda row: left(getattr(row, time_field), now), is_number=True)


def _read_again(client: Client, seen: Seen) -> None:
    try:
        read(client, seen)
        seen.trouble = ""
    except ClearingError as error:
        if not error.unreachable and error.retry_delay_s is None:
            raise
        seen.trouble = f"{error}; what is shown is from before. Trying again."


def _allowed(rows: Callable[[], list[R]]) -> list[R]:
    try:
        return rows()
    except ClearingError as error:
        if error.reason != "ROLE_NOT_ALLOWED":
            raise
        return []


def _followed(client: Client, after: int, kinds: list[str]) -> "queue.SimpleQueue[Any]":
    """Events as they come, or the error that ends them."""
    arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def follow() -> None:
        try:
            for event in client.follow_events(after, kinds):
                arrived.put(event)
        except ClearingError as error:
            arrived.put(error)

    threading.Thread(target=follow, daemon=True).start()
    return arrived


def _taken(arrived: "queue.SimpleQueue[Any]") -> Iterator[event_pb.Event]:
    """What has come within a tick. Raises what ended it."""
    wait_s = TICK_S
    while True:
        try:
            found = arrived.get(timeout=wait_s)
        except queue.Empty:
            return
        if isinstance(found, ClearingError):
            raise found
        yield found
        wait_s = 0.05
