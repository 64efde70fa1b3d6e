"""The whole journal: all that was recorded, with every leg and all metadata. Lists stand in cells as JSON."""

import json
from collections.abc import Iterator

from clearing.model.kinds import Kind
from clearing.reports import figures, sources
from clearing.reports.document import Column, Measure, Row, Table
from clearing.reports.reading import Reading, Recorded
from ledger.entry import Json

COLUMNS = (
    Column("time", "Time", Measure.TIME),
    Column("kind", "Kind"),
    Column("id", "Entry id"),
    Column("actor", "Actor"),
    Column("request", "Request"),
    Column("references", "References"),
    Column("opens", "Accounts opened: path, unit, normal side, limit"),
    Column("legs", "Legs: path, unit, amount in smallest units, debit positive"),
    Column("fact", "Fact: table, key, row"),
)


def build(reading: Reading) -> Iterator[Table]:
    """One table; the field of a row is the number of its entry."""
    rows = map(_row, reading.entries())
    yield Table(id="entries", title="Entries", columns=COLUMNS, rows=rows)


def _row(row: Recorded) -> Row:
    entry = row.entry
    legs: list[Json] = [[leg.account.path, leg.account.unit, str(leg.amount)] for leg in entry.legs]
    opens: list[Json] = [[one.path, one.unit, one.side.value, one.limit.value] for one in entry.opens]
    cells = (
        figures.time(entry.effective_ms),
        Kind(entry.kind).name,
        entry.entry_id.hex(),
        entry.actor,
        entry.request_id,
        _text(list(entry.references)),
        _text(opens),
        _text(legs),
        "" if entry.fact is None else _text(entry.fact),
    )
    return Row(str(row.sequence), cells, sources.entries([row.sequence]))


def _text(value: Json) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
