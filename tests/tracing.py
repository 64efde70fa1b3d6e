"""Sources of reports, followed: what they name is there, and gives the entries from which a figure is made again."""

from typing import Any

from clearing.reports import sources
from clearing.reports.document import Table
from clearing.reports.sources import Origin, Term
from ledger.entry import Entry
from tests.readings import WorldReading, built


def entries_of(reading: WorldReading, source: str, column: str = "") -> list[Entry]:
    """The entries that a source names, of the whole row or of a column."""
    return [
        reading.world.entries[sequence]
        for term in sources.parse(source)
        if term.origin is Origin.ENTRIES and term.column in ("", column)
        for run in sources.sequences(term.said)
        for sequence in run
    ]


def facts(entry: Entry) -> list[Any]:
    """What an entry changed, as it stands in the journal: table, key, row."""
    return entry.fact if isinstance(entry.fact, list) else []


def assert_sources_hold(report: str, reading: WorldReading) -> list[Table]:
    """Every row of a report has a source, and all that sources name is in what was read; gives the tables."""
    tables = built(report, reading)
    fields = {table.id: {row.field for row in table.rows} for table in tables}
    for table in tables:
        columns = {column.id for column in table.columns}
        for row in table.rows:
            terms = sources.parse(row.source)
            assert terms, f"{report} {table.id} {row.field} has no source"
            for term in terms:
                assert term.column in columns | {""}, row
                assert _holds(reading, fields, term), f"{report} {table.id} {row.field}: {term}"
    return tables


def _holds(reading: WorldReading, fields: dict[str, set[str]], term: Term) -> bool:
    match term.origin:
        case Origin.ENTRIES:
            return all(0 <= one < reading.as_of for run in sources.sequences(term.said) for one in run)
        case Origin.KIND:
            _, start, end = sources.between(term.said)
            return start <= (reading.as_of if end is None else end)
        case Origin.FIGURE:
            table, _, field = term.said.partition(" ")
            return table in fields and (not field or field in fields[table])
        case Origin.ANSWERS:
            first, last = sources.answered(term.said)
            return 0 <= first <= last < reading.as_of
        case _:
            return bool(term.said)
