"""The whole journal, one JSON object a line: all that was recorded, with every leg and all metadata."""

from collections.abc import Iterable, Iterator

from clearing.model.kinds import Kind
from clearing.reports.render import json_lines
from clearing.reports.rows import Recorded
from ledger.entry import Json


def render(rows: Iterable[Recorded]) -> Iterator[bytes]:
    """A line for each entry, in the order of the journal."""
    return json_lines(map(_line, rows))


def _line(row: Recorded) -> dict[str, Json]:
    entry = row.entry
    legs: list[Json] = [[leg.account.path, leg.account.unit, str(leg.amount)] for leg in entry.legs]
    opens: list[Json] = [[one.path, one.unit, one.side.value, one.limit.value] for one in entry.opens]
    return {
        "actor": entry.actor,
        "fact": entry.fact,
        "id": entry.entry_id.hex(),
        "kind": str(entry.kind),
        "kind_name": Kind(entry.kind).name,
        "legs": legs,
        "opens": opens,
        "references": list(entry.references),
        "request": entry.request_id,
        "sequence": str(row.sequence),
        "time_ms": str(entry.effective_ms),
    }
