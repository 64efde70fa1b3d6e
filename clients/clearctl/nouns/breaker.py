"""``clearctl breaker``: instruments that are halted or only reduce."""

from enum import Enum
from typing import Annotated

import typer

from clearctl import names
from clearctl.amounts import own_name, word
from clearctl.asked import Reason, Yes, noun
from clearctl.confirming import confirm
from clearctl.connecting import connected, send, tried
from clearctl.effects import EFFECTS
from clearctl.tables import Column, enum, facts, listings, text, time
from clearctl.writing import write_done, write_rows
from clearing_client.client import Client, pages
from clearinghouse.v1 import admin_service_pb2 as pb
from clearinghouse.v1 import house_service_pb2 as house_pb

app = noun("Circuit breakers: tightened by one administrator at once, loosened by two.")


class State(Enum):
    """What a breaker lets through."""

    OPEN = "open"
    REDUCE_ONLY = "reduce-only"
    HALTED = "halted"


BREAKERS = (
    Column("instrument", lambda row: _instrument(row.instrument)),
    enum("state"),
    text("trigger"),
    text("reason"),
    time("since"),
    time("reopens", "reopen_time"),
    Column("asked for", lambda row: word(row, "asked_state") if row.asked_state else ""),
    Column("by", lambda row: own_name(row.asker)),
)


@app.command("list")
def list_breakers(context: typer.Context) -> None:
    """List breakers that were ever set or tripped. For administrators and regulators.

    Example: clearctl breaker list
    """
    with connected(context) as client:
        write_rows(context, _breakers(client), "Breakers", BREAKERS, "No breaker was ever set.")


@app.command("set")
def set_breaker(
    context: typer.Context,
    instrument: Annotated[str, typer.Argument(help="Such as BTC-PERP, or all.", metavar="INSTRUMENT")],
    state: Annotated[State, typer.Argument(help="What it lets through.")],
    reason: Reason,
    yes: Yes = False,
) -> None:
    """Set a breaker. To tighten holds at once; to loosen, another administrator has to send the same.

    Example: clearctl breaker set BTC-PERP halted --reason "its venue was attacked"
    """
    request = pb.SetBreakerRequest(
        instrument=names.instrument(instrument),
        state=house_pb.BreakerState.Value(f"BREAKER_STATE_{state.name}"),
        reason=reason,
    )
    with connected(context) as client:
        would = tried(client.administration.SetBreaker, request)
        now = [row for row in _breakers(client) if _instrument(row.instrument) == instrument]
        told = facts(
            [
                ("Breaker", instrument),
                ("Now", word(now[0], "state") if now else "open"),
                (
                    "Then",
                    state.value
                    if would.set
                    else f"the same, until another administrator sends {state.value}",
                ),
            ]
        )
        confirm(context, [told, *listings("With it", would.effects, EFFECTS)], "Set it?", yes=yes)
        done = send(context, client.administration.SetBreaker, request)
        sentence = (
            f"{instrument} is {state.value}."
            if done.set
            else "Asked; another administrator has to send the same."
        )
        write_done(context, done, sentence, listings("What happened", done.effects, EFFECTS))


def _breakers(client: Client) -> list[pb.BreakerDetail]:
    request = pb.ListBreakersRequest()
    return [one for page in pages(client.administration.ListBreakers, request) for one in page.breakers]


def _instrument(name: str) -> str:
    return "all" if own_name(name) in {"", "-"} else own_name(name)
