"""``clearctl report explain`` on files that others wrote: refused in words, and nothing that a terminal would obey."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from clearctl import asked, explaining, tables
from clearing.reports.canonical import to_json
from clearing.reports.document import Column, Row, Table
from clearing_client.client import Client
from tests.readings import HEAD

NOBODY = object.__new__(Client)
"""Who is not asked."""
HOSTILE = "\x1b]0;mine\x07\x1b[2J\x9b2J\u202ered\r"


def written(folder: Path, *rows: Row) -> Path:
    path = folder / "report.json"
    table = Table(id="sums", title="Sums", columns=(Column("what", "What"),), rows=rows)
    path.write_bytes(b"".join(to_json(replace(HEAD, as_of=7), [table])))
    return path


def traced(path: Path, field: str, limit: int = 20) -> list[explaining.Traced]:
    opened = explaining.open_report(path, field)
    return explaining.trace(NOBODY, path, opened, opened.found[0], limit)


@pytest.mark.parametrize(
    "source", ["hello world", "entries", "entries 5-", "entries x", "kind NOPE", "figure"]
)
def test_a_source_that_is_none_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(explaining.NotExplained):
        traced(written(tmp_path, Row("one", ("x",), source)), "one")


@pytest.mark.parametrize("as_of", ['"as_of":"x"', '"as_of":"-1"', '"at":"7"', '"as_of":"' + "7" * 30 + '"'])
def test_a_report_of_no_entries_is_refused(tmp_path: Path, as_of: str) -> None:
    path = written(tmp_path, Row("one", ("x",), "outside us"))
    path.write_text(path.read_text("utf-8").replace('"as_of":"7"', as_of), "utf-8")
    with pytest.raises(explaining.NotExplained, match="how many entries"):
        explaining.open_report(path, "one")


@pytest.mark.parametrize(("limit", "shown", "more"), [(0, 4, False), (2, 2, True), (4, 4, False)])
def test_a_limit_of_none_shows_all(tmp_path: Path, limit: int, shown: int, more: bool) -> None:
    rows = [Row(f"row-{number}", ("x",), "outside us") for number in range(3)]
    path = written(tmp_path, *rows, Row("sum", ("3",), "figure sums"))
    (term,) = traced(path, "sum", limit)
    assert (len(term.figures), term.more) == (shown, more)


def test_nothing_that_others_wrote_is_obeyed_by_a_terminal() -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=200)
    shown = tables.listing(HOSTILE, [HOSTILE], [tables.Column("head", str)])
    for one in (
        shown,
        tables.facts([(HOSTILE, HOSTILE), ("kept", Text("as it is"))]),
        tables.harmless(HOSTILE),
    ):
        console.print(one, markup=False)
    assert asked.harmless_text("two\nlines\tÜ—🜚") == "two\nlines\tÜ—🜚"
    assert not set("\x1b\x07\x9b\u202e\r") & set(screen.getvalue())
    assert "as it is" in screen.getvalue()
