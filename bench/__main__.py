"""``python -m bench``: run every part, or those that ``ONLY`` names; print the table, write ``latest.json``.

It fails if a row carries an error: what was measured is not what it says it is. A missed aim is no error.
"""

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench import attest_area, core_area, grpc_area, ledger_area, machine, margin_area, reports_area
from bench.aims import AIMS
from bench.rows import Row
from bench.run import Part, Run
from bench.stores import Stores
from bench.traffic import Traffic

SEED = 7
SWITCH_S = 0.0005
"""As a served house sets it."""
PARTS: Mapping[str, Part] = {
    **ledger_area.PARTS,
    **core_area.PARTS,
    **grpc_area.PARTS,
    **attest_area.PARTS,
    **reports_area.PARTS,
    **margin_area.PARTS,
}
LATEST = Path(__file__).parent / "latest.json"


def main() -> None:
    """Measure, print, write."""
    only = os.environ.get("ONLY", "")
    parts = [part for name, part in PARTS.items() if f"{name}.".startswith(f"{only}." if only else "")]
    if not parts:
        raise SystemExit(f"nothing is called {only}: there are {', '.join(PARTS)}")
    sys.setswitchinterval(SWITCH_S)
    console = Console(width=None if os.isatty(1) else 150)
    fsync, rows = machine.fsync_per_s(), list[Row]()
    try:
        for measured in _measured(parts, console):
            rows.append(measured)
    finally:  # what was measured before something broke is not lost
        console.print(_table(rows, fsync))
        LATEST.write_text(json.dumps(record(rows, fsync), indent=2) + "\n", encoding="utf-8")
    if failed := failures(rows, AIMS if not only else ()):
        raise SystemExit("\n".join(failed))


def failures(rows: Sequence[Row], wanted: Iterable[str]) -> list[str]:
    """Rows that carry an error, rows that are there twice, and rows of ``wanted`` that are not there."""
    names = [measured.name for measured in rows]
    return [
        *(f"{measured.name}: {measured.error}" for measured in rows if measured.error),
        *(f"{name}: measured twice" for name in sorted({n for n in names if names.count(n) > 1})),
        *(f"{name}: not measured" for name in wanted if name not in names),
    ]


def _measured(parts: list[Part], console: Console) -> Iterator[Row]:
    """The rows, while a line says what is being measured and since when."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    start = time.monotonic()
    with Progress(*columns, console=console, transient=True) as progress, Stores() as stores:
        task = progress.add_task("starting")
        run = Run(stores, Traffic(SEED), lambda doing: progress.update(task, description=doing))
        for part in parts:
            for measured in part(run):
                taken = time.monotonic() - start
                console.print(f"{taken:5.0f} s  {measured.name}  {_figure(measured.value)} {measured.unit}")
                yield measured


def record(rows: Sequence[Row], fsync: float) -> dict[str, object]:
    """What ``latest.json`` holds."""
    return {
        "schema": 1,
        "commit": machine.commit(),
        "machine": machine.description(),
        "seed": SEED,
        "fsync_per_s": fsync,
        "rows": [measured.as_json() for measured in rows],
    }


def _table(rows: Sequence[Row], fsync: float) -> Table:
    on = f"{machine.description()}; {fsync:,.0f} fdatasync/s; load {machine.load():.1f}"
    table = Table(title=on, title_justify="left")
    table.add_column("what")
    for name in ("median", "p25 – p75", "n", "ratio"):
        table.add_column(name, justify="right")
    table.add_column("against")
    table.add_column("aim")
    for measured in rows:
        low, high = measured.spread
        table.add_row(
            measured.name,
            f"{_figure(measured.value)} {measured.unit}",
            f"{_figure(low)} – {_figure(high)}",
            str(measured.samples),
            "" if measured.ratio is None else f"{measured.ratio:.2f}",
            measured.error or (measured.baseline.name if measured.baseline else ""),
            _aim(measured),
            style="bold red" if measured.error else None,
        )
    return table


def _aim(measured: Row) -> str:
    aim = AIMS.get(measured.name)
    if aim is None:
        return ""
    return f"{aim.text(measured)} {'reached' if aim.is_met(measured) else 'missed'}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.4g}"


if __name__ == "__main__":
    main()
