"""``make sim SEEDS=200``: many worlds, every core, one line at the end; ``SEED=7`` repeats one.

The exit code is 1 when a law was broken; the lines above the last say by which seed, at which step.
"""

import os
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from tests.simulation.worlds import Report, run


def simulate(seeds: Sequence[int], console: Console) -> list[Report]:
    """Run the worlds on every core; a bar shows how far they are, in the order in which they end."""
    workers = min(len(seeds), os.cpu_count() or 1)
    with (
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
        Progress(console=console, transient=True) as progress,
    ):
        bar = progress.add_task("worlds", total=len(seeds))
        reports: list[Report] = []
        for done in as_completed([pool.submit(run, seed) for seed in seeds]):
            reports.append(done.result())
            progress.advance(bar)
    return sorted(reports, key=lambda report: report.seed)


def tell(reports: Sequence[Report], console: Console) -> bool:
    """Name what was broken, count what was done; gives whether every law held."""
    broken = [report for report in reports if report.violation]
    for report in broken:
        console.print(f"seed {report.seed}, step {report.steps}: {report.violation}", markup=False)
        console.print(f"  again: make sim SEED={report.seed}")
    seen = sum((report.seen for report in reports), Counter[str]())
    steps = sum(report.steps for report in reports)
    console.print(
        f"{len(reports)} worlds, {steps} steps, {seen['CLOSED_OUT']} defaults, {seen['WATERFALL']} waterfalls, "
        f"{seen['crashed']} crashes, {len(broken)} violations",
        soft_wrap=True,
    )
    return not broken


def main(
    seeds: Annotated[int, typer.Option(min=1, help="how many worlds")] = 200,
    seed: Annotated[int | None, typer.Option(min=0, help="this world alone")] = None,
) -> None:
    """Walk seeded worlds and hold each step against the rulebook."""
    console = Console()
    chosen = range(seeds) if seed is None else range(seed, seed + 1)
    sys.exit(0 if tell(simulate(chosen, console), console) else 1)


if __name__ == "__main__":
    typer.run(main)
