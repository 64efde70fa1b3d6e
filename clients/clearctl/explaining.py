"""Where a figure of a report came from: the terms of its source, followed to entries of the journal with receipts."""

import fnmatch
import io
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from clearing.reports import sources
from clearing.reports.canonical import NotAReport, read
from clearing.reports.document import Row, Table
from clearing.reports.sources import Origin, Term
from clearing_client.client import Client, pages
from clearing_client.reports import pull_request
from clearinghouse.v1 import ledger_service_pb2 as pb

_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
ACCOUNTS_MAX = 200
"""A pattern of accounts is followed to so many."""


class NotExplained(Exception):
    """A figure that is not there, or a file that is no report. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A row of a report: its table, and its cells by the titles of their columns."""

    table: str
    field: str
    cells: dict[str, str]
    source: str


@dataclass(frozen=True, slots=True)
class Traced:
    """What one term of a source led to: entries, rows of the same report, or words. ``more``: some were left out."""

    term: str
    column: str
    entries: list[pb.Entry] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    said: str = ""
    more: bool = False


@dataclass(frozen=True, slots=True)
class Opened:
    """A report in JSON: its head, and the figures that were asked for."""

    head: dict[str, str]
    found: list[Figure]


def open_report(path: Path, wanted: str) -> Opened:
    """The rows with the field ``wanted``, or ``TABLE/FIELD``, or if there is none its parts, ``wanted/…``.

    Raises :class:`NotExplained`.
    """
    tables: list[str] = []
    found: list[Figure] = []
    parts: list[Figure] = []
    try:
        with path.open("rb") as file:
            report = read(file)
            for table in report.tables:
                tables.append(table.id)
                for row in table.rows:
                    names = (row.field, f"{table.id}/{row.field}")
                    if wanted in names:
                        found.append(_figure(table, row))
                    elif any(name.startswith(f"{wanted}/") for name in names) and wanted != table.id:
                        parts.append(_figure(table, row))
    except OSError as error:
        raise NotExplained(f"{path} cannot be read: {error.strerror}") from None
    except NotAReport as error:
        raise NotExplained(f"{path}: {error}; give the report in JSON (--form json)") from None
    if not found and not parts:
        raise NotExplained(f"{path} has no field {wanted}; its tables are {', '.join(tables)}")
    if _NUMBER.fullmatch(report.head.get("as_of", "")) is None:
        raise NotExplained(f"{path} does not say of how many entries it is")
    return Opened(dict(report.head), found or parts)


def trace(client: Client, path: Path, opened: Opened, figure: Figure, limit: int) -> list[Traced]:
    """Where ``figure`` came from: each term of its source, at most ``limit`` entries or rows of each; 0 for all.

    Raises :class:`NotExplained` for a source that is not written as sources are.
    """
    as_of, most = int(opened.head["as_of"]), limit or sys.maxsize - 1
    try:
        return [_traced(client, path, term, as_of, most) for term in sources.parse(figure.source)]
    except ValueError as error:
        raise NotExplained(f"{path}: {error}") from None


def _traced(client: Client, path: Path, term: Term, as_of: int, limit: int) -> Traced:
    said = f"{term.origin.value} {term.said}"
    match term.origin:
        case Origin.FIGURE:
            table, _, name = term.said.partition(" ")
            figures = list(islice(_figures(path, table, name), limit + 1))
            return Traced(said, term.column, figures=figures[:limit], more=len(figures) > limit)
        case Origin.OUTSIDE:
            return Traced(said, term.column, said=f"not computed by this system: it needs {term.said}")
        case Origin.ANSWERS:
            told = "answers that refused, which stand beside the journal: no entry, and no receipt"
            return Traced(said, term.column, said=told)
        case Origin.ATTESTATION:
            told = (
                f"`clearctl attestation get {term.said}`; its recompute bundle has all that it follows from"
            )
            return Traced(said, term.column, said=told)
        case _:
            found = list(islice(_entries(client, term, as_of), limit + 1))
            return Traced(said, term.column, entries=found[:limit], more=len(found) > limit)


def _entries(client: Client, term: Term, as_of: int) -> Iterator[pb.Entry]:
    """The entries that a term names, in order, as far as the report speaks of them."""
    if term.origin is Origin.ENTRIES:
        for run in sources.sequences(term.said):
            for number in run:
                yield client.ledger.GetEntry(pb.GetEntryRequest(name=f"entries/{number}")).entry
    elif term.origin is Origin.KIND:
        kind, first, last = sources.between(term.said)
        end = as_of if last is None else min(as_of, last + 1)
        request = pb.ListEntriesRequest(from_sequence=first, kinds=[kind.name])
        every = (one for page in pages(client.ledger.ListEntries, request) for one in page.entries)
        for entry in every:
            if entry.sequence >= end:
                return
            yield entry
    else:
        pattern, _, unit = term.said.rpartition(" ")
        for account, counted in _accounts(client, pattern, unit, as_of):
            yield from _moved(client, account, counted, as_of)


def _moved(client: Client, path: str, unit: str, as_of: int) -> Iterator[pb.Entry]:
    request = pb.GetStatementRequest(ledger_account=path, unit=unit, as_of=as_of)
    seen = -1
    for page in pages(client.ledger.GetStatement, request):
        for line in page.lines:
            if line.sequence != seen:
                seen = line.sequence
                yield client.ledger.GetEntry(pb.GetEntryRequest(name=f"entries/{seen}")).entry


def _accounts(client: Client, pattern: str, unit: str, as_of: int) -> Iterable[tuple[str, str]]:
    """The accounts of a pattern: as the trial balance lists them, which is pulled for it."""
    if "*" not in pattern and unit != "*":
        return [(pattern, unit)]
    file = io.BytesIO()
    client.download_report(pull_request("reports/trial-balance", as_of=as_of, form="json"), file)
    file.seek(0)
    known = (row.cells[:2] for table in read(file).tables if table.id == "accounts" for row in table.rows)
    fits = ((path, each) for path, each in known if _fits(path, pattern) and unit in ("*", each))
    return list(islice(fits, ACCOUNTS_MAX))


def _fits(path: str, pattern: str) -> bool:
    """Whether each part of ``path`` fits that of ``pattern``."""
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def _figures(path: Path, table_id: str, name: str) -> Iterator[Figure]:
    with path.open("rb") as file:
        for table in read(file).tables:
            if table.id == table_id:
                yield from (_figure(table, row) for row in table.rows if name in ("", row.field))


def _figure(table: Table, row: Row) -> Figure:
    titles = [f"{one.title} ({one.unit})" if one.unit else one.title for one in table.columns]
    return Figure(table.id, row.field, dict(zip(titles, row.cells, strict=True)), row.source)
