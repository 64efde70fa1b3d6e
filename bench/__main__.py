"""``python -m bench``: run every area, or the one that ``ONLY`` names; print the table, write ``latest.json``."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench import ledger_area, machine
from bench.rows import Row

SEED = 7
AREAS: dict[str, Callable[[int], Iterator[Row]]] = {"ledger": ledger_area.rows}
LATEST = Path(__file__).parent / "latest.json"


def main() -> None:
    """Measure, print, write."""
    only = os.environ.get("ONLY", "").split(".")[0]
    console = Console(width=120)
    rows: list[Row] = []
    fsync = machine.fsync_per_s()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("measuring")
        for name, area in AREAS.items():
            if only in ("", name):
                for measured in area(SEED):
                    rows.append(measured)
                    progress.update(task, description=f"measured {measured.name}")
    console.print(_table(rows, fsync))
    LATEST.write_text(json.dumps(_record(rows, fsync), indent=2) + "\n", encoding="utf-8")


def _record(rows: list[Row], fsync: float) -> dict[str, object]:
    return {
        "schema": 1,
        "commit": machine.commit(),
        "machine": machine.description(),
        "seed": SEED,
        "fsync_per_s": fsync,
        "rows": [measured.as_json() for measured in rows],
    }


def _table(rows: list[Row], fsync: float) -> Table:
    table = Table(title=f"{machine.description()}; {fsync:,.0f} fdatasync/s", title_justify="left")
    table.add_column("what")
    for name in ("median", "p25 – p75", "n", "ratio"):
        table.add_column(name, justify="right")
    table.add_column("against")
    for measured in rows:
        low, high = measured.spread
        table.add_row(
            measured.name,
            f"{_figure(measured.value)} {measured.unit}",
            f"{_figure(low)} – {_figure(high)}",
            str(measured.samples),
            "" if measured.ratio is None else f"{measured.ratio:.2f}",
            measured.error or (measured.baseline.name if measured.baseline else ""),
            style="bold red" if measured.error else None,
        )
    return table


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.4g}"


if __name__ == "__main__":
    main()
