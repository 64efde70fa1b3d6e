"""A minute of batches while every posting is projected and indexed: what the ledger keeps up with.

The sender backs off as a member does who is told that the history is behind. The projection's lag is looked at
before each batch; past two seconds the row is an error.
"""

import time
from collections.abc import Iterator

from bench.rows import Row, row
from bench.run import Run, Subject, opened, verdict
from bench.stores import KINDS, Store
from bench.traffic import Traffic
from ledger.store.projector import Projecting
from ledger.store.writer import LAG_MAX_MS

BATCH = 2_000
SLICE_S = 10
SLICES = 6
BACK_OFF_MS = 500
WAIT_S = 0.01
CATCH_UP_S = 30.0


def rows(run: Run) -> Iterator[Row]:
    """Both kinds of database."""
    for kind in KINDS:
        with run.stores.fresh(kind) as store:
            run.tell(f"a minute of projected entries on {kind}")
            yield _on(run, store)


def _on(run: Run, store: Store) -> Row:
    with opened(store) as subject:
        subject.post(run.traffic.opening())
        with Projecting(store.database, lambda: subject.ledger.view.size, _monotonic_ms) as projecting:
            subject.ledger.heed(lambda: projecting.lag_ms)
            slices = [_sent(run.traffic, subject, projecting) for _ in range(SLICES)]
            projecting.wait_for(subject.size, CATCH_UP_S)
            error = None
            if projecting.position != subject.size:
                error = f"{projecting.position} entries are projected and not {subject.size}"
    worst = max(lag for _, lag in slices)
    if worst > LAG_MAX_MS:
        error = f"the history was {worst:,} ms behind"
    return row(
        f"ledger.indexed_60s.{store.kind}",
        [rate for rate, _ in slices],
        unit="entries/s",
        better="higher",
        error=error or verdict(store, subject.size),
    )


def _sent(traffic: Traffic, subject: Subject, projecting: Projecting) -> tuple[float, int]:
    """Entries a second that were projected in a slice of the minute, and the longest lag in it."""
    start, before, worst = time.perf_counter(), projecting.position, 0
    while time.perf_counter() < start + SLICE_S:
        lag = projecting.lag_ms
        worst = max(worst, lag)
        if lag > BACK_OFF_MS:
            time.sleep(WAIT_S)
        else:
            subject.post(traffic.transfers(BATCH))
    return (projecting.position - before) / (time.perf_counter() - start), worst


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000
