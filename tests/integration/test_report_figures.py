"""What reports say, computed again by a judge that shares no code with the house, on either database (§14)."""

import ast
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from clearing.model.values import Form, Given, ReportAsked
from clearing.reporting import finished
from tests.builders import World
from tests.integration.test_report_identity import Desk, desk, key_folder
from tests.stores import SqliteFiles, Stores, file_of
from tests.stories import a_long_life
from tests.unit.test_report_calls import expired, met

pytestmark = pytest.mark.slow

JUDGE = Path(__file__).parents[1] / "judges" / "report_figures.py"
REPORTS = (
    *("journal", "trial-balance", "statement", "positions", "margin", "collateral", "available-resources"),
    *("default", "calls", "operational", "disclosure"),
)
GIVEN = tuple(
    (Given(key="ledger_account", text=path), Given(key="unit", text=unit))
    for path, unit in (
        ("members/dex/accounts/alice/cash", "USDC"),
        ("members/dex/accounts/alice/collateral", "ETH"),
        ("members/desk/pool", "USDC"),
    )
)
WORLDS: dict[str, Callable[[], World]] = {
    "a long life": cache(a_long_life),
    "a call that is met": cache(met),
    "a call that expires": cache(expired),
}
__all__ = ["key_folder"]


def judged(url: str, *reports: Path) -> subprocess.CompletedProcess[str]:
    """What the judge says. It finds nothing of the house: of the environment it has the path of programs alone."""
    return subprocess.run(
        [sys.executable, "-I", str(JUDGE), url, *map(str, reports)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ},
    )


def wanted(size: int, sizes: int) -> Iterator[ReportAsked]:
    """Every report that the judge knows, as of some times of the story."""
    for as_of in sorted({size * part // sizes for part in range(1, sizes + 1)}):
        for report in REPORTS:
            for given in GIVEN if report == "statement" else ((),):
                yield ReportAsked(report=report, as_of=as_of, form=Form.JSON, given=given)


def written(house: Desk, folder: Path, sizes: int) -> list[Path]:
    """The files of the reports."""
    paths = []
    for number, asked in enumerate(wanted(house.size, sizes)):
        made = finished(house.reporting.make(asked))
        with made.download.file as file:
            paths.append(folder / f"{number:03}-{made.file_name}")
            paths[-1].write_bytes(file.read())
    return paths


def with_one_digit_changed(path: Path, table: str, field: str, column: str) -> Path:
    """A copy of a report in which one figure is another."""
    report: Any = json.loads(path.read_bytes())
    (found,) = (one for one in report["tables"] if one["id"] == table)
    at = 1 + [one["id"] for one in found["columns"]].index(column)
    (row,) = (one for one in found["rows"] if one[0] == field)
    row[at] = row[at][:-1] + ("1" if row[at][-1] != "1" else "2")
    copy = path.with_name(f"changed-{path.name}")
    copy.write_text(json.dumps(report))
    return copy


CHANGES = (
    ("journal", "entries", "22", "kind"),
    ("trial-balance", "accounts", "house/fees:USDC", "credit"),
    ("trial-balance", "units", "USDC", "debits"),
    ("statement", "lines", "45.4", "balance"),
    ("positions", "positions", "other/eve:ETH-PERP", "size"),
    ("positions", "open_interest", "ETH-PERP", "short"),
    ("margin", "accounts", "other/eve", "cash"),
    ("margin", "totals", "margin_held", "amount"),
    ("collateral", "reconciliation", "USDC:withdrawals/{w}", "credits"),
    ("available-resources", "othrprfnddrsrcs", "house/second_tranche", "amt"),
    ("default", "waterfall-d1", "5", "amount"),
    ("default", "events", "d1", "recovered"),
    ("default", "draws", "d2:7:other", "amount"),
    ("calls", "totals", "margin", "issued"),
    ("operational", "summary", "cycles", "value"),
    ("disclosure", "items", "4.1.5", "value"),
    ("disclosure", "items", "13.1.2/d1/tier-4", "value"),
    ("disclosure", "items", "18.1.1.1", "value"),
    ("disclosure", "items", "23.1.1/ETH-PERP", "value"),
)


@pytest.mark.parametrize("name", WORLDS)
def test_a_judge_gets_the_figures_of_reports_from_either_database(
    sqlite_stores: Stores, postgresql_stores: Stores, name: str, key_folder: Path, tmp_path: Path
) -> None:
    for kind, stores in (("sqlite", sqlite_stores), ("postgresql", postgresql_stores)):
        folder, url = tmp_path / kind, stores.new()
        with desk(url, WORLDS[name](), key_folder, folder) as house:
            paths = written(house, folder, 6)
        verdict = judged(url, *paths)
        assert verdict.returncode == 0, verdict.stderr
        assert f"figures of {len(paths)} reports are what the database says" in verdict.stdout
        assert verdict.stdout.count("\nsame ") > 500
        stores.drop(url)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, key_folder: Path) -> tuple[str, dict[str, Path]]:
    """The database of a house at the end of a long life, and its reports of that time by name."""
    folder = tmp_path_factory.mktemp("lived")
    url = SqliteFiles(folder).new()
    with desk(url, WORLDS["a long life"](), key_folder, folder / "house") as house:
        paths = written(house, folder, 1)
    return url, {report: next(path for path in paths if f"-{report}-" in path.name) for report in REPORTS}


@pytest.mark.parametrize(("report", "table", "field", "column"), CHANGES, ids=str)
def test_the_judge_names_the_figure_that_was_changed(
    lived: tuple[str, dict[str, Path]], report: str, table: str, field: str, column: str
) -> None:
    url, paths = lived
    assert judged(url, paths[report]).returncode == 0
    verdict = judged(url, with_one_digit_changed(paths[report], table, field, column))
    assert verdict.returncode == 1
    assert field in verdict.stderr or column == "kind", verdict.stderr
    assert "Traceback" not in verdict.stderr


@pytest.mark.parametrize("report", ["journal", "trial-balance"])
def test_the_judge_sees_that_one_posting_was_changed(
    lived: tuple[str, dict[str, Path]], report: str, tmp_path: Path
) -> None:
    url, paths = lived
    copy = tmp_path / "edited.db"
    copy.write_bytes(file_of(url).read_bytes())
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute(
            "UPDATE postings SET amount = CAST(CAST(amount AS INTEGER) + 1 AS TEXT) WHERE sequence = 22 AND leg = 1"
        )
    verdict = judged(f"sqlite:///{copy}", paths[report])
    assert verdict.returncode == 1
    assert "Traceback" not in verdict.stderr
    named = "legs" if report == "journal" else "members/dex/accounts/alice/cash"
    assert named in verdict.stderr


def test_the_judge_imports_nothing_of_the_house() -> None:
    tree = ast.parse(JUDGE.read_text("utf-8"))
    names = {one.name for node in ast.walk(tree) if isinstance(node, ast.Import) for one in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= {*sys.stdlib_module_names, "psycopg"}
