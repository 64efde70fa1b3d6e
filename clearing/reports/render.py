"""CSV and JSON lines: the one place that knows how a file is written. The same rows give the same bytes."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence

from ledger.entry import Json

ROWS_AT_ONCE = 256


def csv_lines(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[bytes]:
    """RFC 4180 with line feeds: the names of the columns, then the rows, some at a time."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for number, row in enumerate(rows, 1):
        writer.writerow(row)
        if number % ROWS_AT_ONCE == 0:
            yield _taken(text)
    yield _taken(text)


def json_lines(rows: Iterable[dict[str, Json]]) -> Iterator[bytes]:
    """One object a line: sorted keys, no spaces, ASCII. Numbers are strings, so no reader can lose a digit."""
    for row in rows:
        yield json.dumps(row, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


def _taken(text: io.StringIO) -> bytes:
    data = text.getvalue().encode("utf-8")
    text.seek(0)
    text.truncate()
    return data
