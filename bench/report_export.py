"""The journal as a report: a million entries to JSON, and from that to CSV, by a process of its own.

The baseline is what has to be done at least: the same entries read, every hash checked, decoded, and nothing written.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.rows import Baseline, Row, row
from bench.run import Run, opened
from bench.stores import Store
from clearing.decide.table import Request, decide
from clearing.model.commands import FoundHouse
from clearing.model.house import House, fold
from clearing.model.kinds import Kind
from clearing.model.values import Form, Parameters, ReportAsked
from clearing.reporting import JournalReading
from clearing.reports import journal
from clearing.reports.canonical import to_json
from clearing.reports.document import Head
from clearing.reports.render import render
from clearing.store.past import house_at
from ledger.store.connect import Lease, open_store, system_salts
from ledger.store.writer import Writer
from tests.builders import SETTLEMENT

BATCH = 8_000
SIZES = (100_000, 1_000_000)
MEGABYTE = 2**20


@dataclass(frozen=True, slots=True)
class Measured:
    """What one process found: seconds of each step, the size of the JSON, and the most memory that it had."""

    read_s: float
    json_s: float
    csv_s: float
    json_bytes: int
    peak_bytes: int


def rows(run: Run) -> Iterator[Row]:
    """Rates at both sizes, on both databases, and the memory of the larger."""
    for kind in ("sqlite", "postgresql"):
        with run.stores.fresh(kind) as store:
            _found(store)
            found = []
            for size in SIZES:
                run.tell(f"exporting {size:,} entries on {kind}")
                _fill(run, store, size)
                found.append(_measured(store, size))
            yield from _rows(kind, found)


def _rows(kind: str, found: list[Measured]) -> Iterator[Row]:
    small, large = found
    rate = SIZES[1] / large.json_s
    read = Baseline(name=f"reports.read.{kind}", value=SIZES[1] / large.read_s)
    yield row(read.name, [read.value], unit="entries/s", better="higher")
    yield row(f"reports.json_1m.{kind}", [rate], unit="entries/s", better="higher", baseline=read)
    yield row(
        f"reports.csv_1m.{kind}", [SIZES[1] / large.csv_s], unit="entries/s", better="higher", baseline=read
    )
    growth = Baseline(name=f"reports.json_100k.{kind}", value=SIZES[0] / small.json_s)
    yield row(f"reports.json_growth.{kind}", [rate], unit="entries/s", better="higher", baseline=growth)
    peak = large.peak_bytes / MEGABYTE
    smaller = Baseline(name=f"reports.memory_100k.{kind}", value=small.peak_bytes / MEGABYTE)
    yield row(f"reports.memory_1m.{kind}", [peak], unit="MB", better="lower", baseline=smaller)


def _found(store: Store) -> None:
    """A house, of which the journal has one entry."""
    command = FoundHouse(
        house="benchhouse", settlement=SETTLEMENT, parameters=Parameters(margin_model="static")
    )
    lease = Lease.acquire(store.database)
    writer: Writer[House, Request] = Writer(
        store.database, lease, apply=decide, fold=fold, empty=House(), clock=lambda: 1, salts=system_salts
    )
    writer.submit("found", bytes(32), Request(request_id="found", actor="bench", command=command)).result()
    writer.close()
    lease.release()


def _fill(run: Run, store: Store, size: int) -> None:
    """Entries of two legs each until the journal has ``size``."""
    with opened(store) as subject:
        if subject.size == 1:
            opening = run.traffic.opening()
            subject.post(
                replace(opening, items=tuple(replace(one, kind=Kind.CASH_MOVED) for one in opening.items))
            )
        while subject.size < size:
            batch = run.traffic.transfers(min(BATCH, size - subject.size))
            subject.post(replace(batch, kind=Kind.CASH_MOVED))


def _measured(store: Store, size: int) -> Measured:
    """By a program of its own: of this process, and of what other benches load, nothing counts."""
    command = (sys.executable, "-m", "bench.report_export", store.url, str(size))
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # this very module
    return Measured(**json.loads(done.stdout))


def measure(url: str, size: int) -> Measured:
    """Read, write JSON, write CSV; the state of the house is made first, and counts for the memory."""
    database = open_store(url)
    house = house_at(database, size)
    asked = ReportAsked(report="journal", as_of=size, form=Form.JSON)
    reading = JournalReading(database, house, asked)
    with TemporaryDirectory(prefix="clearing-bench-") as folder:
        path = Path(folder) / "journal.json"
        start = time.perf_counter()
        count = sum(1 for _ in reading.entries())
        read = time.perf_counter()
        with path.open("wb") as file:
            for part in to_json(_head(house, size), journal.build(reading)):
                file.write(part)
        written = time.perf_counter()
        with path.open("rb") as file:
            for part in render(Form.CSV, file, ""):
                os.write(_NOWHERE, part)
        done = time.perf_counter()
        json_bytes = path.stat().st_size
    database.dispose()
    if count != size:
        raise RuntimeError(f"{count} entries were read and not {size}")
    return Measured(
        read_s=read - start,
        json_s=written - read,
        csv_s=done - written,
        json_bytes=json_bytes,
        peak_bytes=_peak_bytes(),
    )


def _peak_bytes() -> int:
    """As Linux counts it for this program; what ``getrusage`` says counts the program too that started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (kilobytes,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(kilobytes) * 1024


_NOWHERE = os.open(os.devnull, os.O_WRONLY)


def _head(house: House, size: int) -> Head:
    return Head(
        report="journal",
        title="",
        rule="",
        house=house.founded.house,
        as_of=size,
        as_of_ms=0,
        origin="",
        root=bytes(32),
        parameters_version=1,
        parameters_digest=bytes(32),
        model="static",
        model_version="1",
    )


if __name__ == "__main__":
    print(json.dumps(asdict(measure(sys.argv[1], int(sys.argv[2])))))
