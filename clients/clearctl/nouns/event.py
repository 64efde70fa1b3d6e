"""``clearctl event``: what happened, one event an entry."""

from collections.abc import Iterator
from itertools import islice
from typing import Annotated

import typer

from clearctl.amounts import account_name, own_name, trimmed
from clearctl.asked import Limit, noun
from clearctl.connecting import connected
from clearctl.tables import Column, number, text, time
from clearctl.writing import write_rows
from clearing_client.client import Client
from clearinghouse.v1 import event_service_pb2 as pb

app = noun("Events: what happened to you, or to the house if you may see it.")

After = Annotated[
    int | None, typer.Option(min=0, help="Behind this entry, such as the last that you saw.", metavar="N")
]
Kinds = Annotated[
    list[str] | None, typer.Option("--kind", help="Only of this kind; as often as you like.", metavar="KIND")
]
SHOWN_MAX = 3
"""Names and changes of one event that a line shows."""


def _names(event: pb.Event) -> str:
    return _some(list(map(_short, event.names)))


def _moved(event: pb.Event) -> str:
    moves = [
        f"{trimmed(one.amount)} {own_name(one.unit)} {_short(one.account or one.ledger_account)}"
        for one in event.changes
    ]
    return _some(moves)


def _short(name: str) -> str:
    return account_name(name) if name.startswith("members/") else own_name(name)


def _some(texts: list[str]) -> str:
    more = [f"{len(texts) - SHOWN_MAX} more"] if len(texts) > SHOWN_MAX else []
    return ", ".join(texts[:SHOWN_MAX] + more)


EVENTS = (
    number("entry", "sequence"),
    time("time", "time"),
    text("what", "kind"),
    Column("of", _names),
    Column("moved", _moved),
)


@app.command("list")
def list_events(context: typer.Context, after: After = None, kind: Kinds = None, limit: Limit = 100) -> None:
    """List events in order, from the founding of the house or behind an entry.

    Example: clearctl event list --after 120 --kind CALL_ISSUED
    """
    with connected(context) as client:
        found = list(islice(_events(client, after or 0, kind or []), limit or None))
        write_rows(context, found, "Events", EVENTS, "Nothing happened.")


def _events(client: Client, after: int, kinds: list[str]) -> Iterator[pb.Event]:
    while True:
        page = client.events.ListEvents(pb.ListEventsRequest(after_sequence=after, kinds=kinds))
        yield from page.events
        after = page.last_sequence
        if after >= page.journal_size - 1:
            return
