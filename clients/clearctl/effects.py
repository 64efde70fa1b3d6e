"""What a change or other parameters would do: shown before anybody proposes or approves them."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any, NamedTuple

from google.protobuf.json_format import MessageToDict
from rich.console import RenderableType
from rich.text import Text

from clearctl.amounts import grouped, own_name
from clearctl.nouns import preview
from clearctl.nouns.margin import HEALTH
from clearctl.nouns.status import unit_of
from clearctl.tables import Column, amount, facts, listing, listings, name, text
from clearing_client.client import Client
from clearinghouse.v1 import admin_service_pb2 as pb
from clearinghouse.v1.parameters_pb2 import Parameters


class Setting(NamedTuple):
    """A parameter, and what it becomes."""

    name: str
    old: str
    new: str


SETTINGS = (Column("parameter", lambda row: row.name), Column("value", lambda row: row.old, is_number=True))
REPLACED = (
    SETTINGS[0],
    Column("now", lambda row: row.old, is_number=True),
    Column("then", lambda row: row.new, is_number=True),
)
EFFECTS = (text("what happens", "kind"), text("to", "subject"), amount("amount"))
AFFECTED = (name("netting set", "netting_set"), HEALTH, amount("missing", "shortfall"))


def effect(client: Client, change: pb.Change) -> Iterator[RenderableType]:
    """What a change does to the house."""
    what, unit = change.WhichOneof("change"), unit_of(client)
    yield facts([("Change", what_it_is(change)), *_details(change)])
    if what == "declare_default":
        yield from preview.shown(preview.previewed(client, change.declare_default.member), unit)
    elif what == "wind_down":
        house = client.house().house
        yield Text(
            f"{house.house} ends: the positions of {house.member_count} members in "
            f"{len(house.instruments)} instruments are torn up at the marks, and nothing new is taken.",
            style="bold red",
        )
    elif what == "record_non_default_loss":
        lost = change.record_non_default_loss
        yield f"Capital loses {grouped(lost.amount)} {own_name(lost.asset)}; what it cannot pay shuts the outflow gate."


def typed_for(client: Client, change: pb.Change) -> str | None:
    """The name to type before the worst."""
    what = change.WhichOneof("change")
    if what == "wind_down":
        return client.house().house.house
    return own_name(change.declare_default.member) if what == "declare_default" else None


def what_it_is(change: pb.Change) -> str:
    """``declare default``."""
    return str(change.WhichOneof("change")).replace("_", " ")


def settings(parameters: Parameters) -> list[Setting]:
    """All parameters, as they are."""
    return settings_between(parameters, parameters)


def settings_between(now: Parameters, then: Parameters) -> list[Setting]:
    """All parameters, as they are and as they would be."""
    names = [field.name for field in Parameters.DESCRIPTOR.fields]
    return [Setting(name, _text(now, name), _text(then, name)) for name in names]


def replaced(now: Parameters, then: Parameters) -> Iterator[RenderableType]:
    """What becomes what."""
    changed = [row for row in settings_between(now, then) if row.old != row.new]
    yield listing("Parameters", changed, REPLACED) if changed else "No parameter would be another."


def impact(client: Client, found: pb.Impact) -> Iterator[RenderableType]:
    """Who would be called or liquidated at the newest marks."""
    unit, sets = unit_of(client), list(found.netting_sets)
    if found.requirement_change:  # left out for a regulator that does not see all
        yield f"All requirements together change by {grouped(found.requirement_change)} {unit}."
    title = f"Would not meet their requirement, in {unit}"
    told = "Every netting set that you see would meet its requirement."
    yield from listings(title, sets, AFFECTED) if sets else [told]


def _text(parameters: Parameters, field: str) -> str:
    value = getattr(parameters, field)
    if not isinstance(value, str | int):
        parts = [MessageToDict(part, always_print_fields_with_no_presence=True) for part in value]
        return "\n".join(" ".join(own_name(str(one)) for one in part.values()) for part in parts)
    return grouped(str(value)) if str(value).replace(".", "").isdigit() else str(value)


def _details(change: pb.Change) -> list[tuple[str, RenderableType]]:
    if change.HasField("import_history"):
        return _history(change.import_history)
    fields: dict[str, Any] = MessageToDict(getattr(change, str(change.WhichOneof("change"))))
    return [
        (label, " ".join(value) if isinstance(value, list) else str(value)) for label, value in fields.items()
    ]


def _history(change: pb.ImportHistoryChange) -> list[tuple[str, RenderableType]]:
    """A thousand returns are told by their ends and extremes."""
    moves = change.moves_ppm
    last = date.fromisoformat(change.first_day) + timedelta(days=len(moves) - 1)
    return [
        ("underlying", change.underlying),
        ("days", f"{len(moves):,}, from {change.first_day} to {last}"),
        ("largest fall", f"{grouped(str(min(moves)))} ppm"),
        ("largest rise", f"{grouped(str(max(moves)))} ppm"),
    ]
