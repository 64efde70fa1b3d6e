"""Batches, one after the other, beside the naive design; then batches on a schedule, and how long each waits."""

import gc
import time
from collections.abc import Iterator
from functools import partial
from queue import SimpleQueue
from statistics import median, quantiles

from bench.naive import NaiveLedger
from bench.rows import Baseline, Row, rate, row
from bench.run import Run, Subject, opened, verdict
from bench.stores import KINDS, Store
from bench.traffic import Traffic

ROUNDS = {1_000: 15, 8_000: 7}
BATCHES_A_ROUND = {1_000: 10, 8_000: 5}
"""The naive design gets one batch a round."""

SCHEDULED = 1_000
TURN_S = 5
TURNS = 4


def rows(run: Run) -> Iterator[Row]:
    """Both kinds of database, both sizes, each with its baseline of the same minute."""
    for kind in KINDS:
        with run.stores.fresh(kind) as store, run.stores.fresh(kind) as beside:
            yield from _on(run, store, beside)


def _on(run: Run, store: Store, beside: Store) -> Iterator[Row]:
    measured: dict[int, tuple[list[float], list[float]]] = {}
    with opened(store) as subject:
        subject.post(run.traffic.opening())
        naive = NaiveLedger(beside.database, [account.path for account in run.traffic.accounts])
        for size in ROUNDS:
            run.tell(f"batches of {size:,} on {store.kind}, beside the naive design")
            measured[size] = _side_by_side(run.traffic, subject, naive, size)
        entries_per_s = median(measured[SCHEDULED][0]) / 2
        run.tell(f"{entries_per_s:,.0f} entries/s on a schedule on {store.kind}")
        turns = [_scheduled(run.traffic, subject, entries_per_s) for _ in range(TURNS)]
    error = verdict(store, subject.size)
    for size, (ours, theirs) in measured.items():
        peer = Baseline(name=f"ledger.naive_{size}.{store.kind}", value=median(theirs))
        yield row(peer.name, theirs, unit="entries/s", better="higher")
        name = f"ledger.bulk_{size}.{store.kind}"
        yield row(name, ours, unit="entries/s", better="higher", baseline=peer, error=error)
    yield from _latencies(store.kind, turns, error)


def _side_by_side(
    traffic: Traffic, subject: Subject, naive: NaiveLedger, size: int
) -> tuple[list[float], list[float]]:
    """Entries a second of the ledger and of the naive design, in turns; the first of each is not counted."""
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(1 + ROUNDS[size]):
        objects = traffic.naive(size)
        theirs.append(rate(size, partial(naive.post, objects)))
        batches = [traffic.transfers(size) for _ in range(BATCHES_A_ROUND[size])]
        ours += map(subject.rate, batches)
    return ours[BATCHES_A_ROUND[size] :], theirs[1:]


def _scheduled(traffic: Traffic, subject: Subject, entries_per_s: float) -> list[float]:
    """Milliseconds from when each batch was due to when it was answered, whatever became of those before.

    The process looks for garbage as a server does: not in what was there before.
    """
    gap = SCHEDULED / entries_per_s
    batches = [traffic.transfers(SCHEDULED) for _ in range(int(TURN_S / gap))]
    gc.freeze()
    answered: SimpleQueue[tuple[int, float]] = SimpleQueue()
    futures = []
    start = time.perf_counter() + gap
    for number, batch in enumerate(batches):
        time.sleep(max(0.0, start + number * gap - time.perf_counter()))
        futures.append(subject.ledger.submit(batch))
        futures[-1].add_done_callback(partial(_note, answered, number))
    for batch, future in zip(batches, futures, strict=True):
        subject.settle(batch, future)
    gc.unfreeze()
    times = (answered.get() for _ in batches)
    return [(time_s - start - number * gap) * 1_000 for number, time_s in times]


def _note(answered: "SimpleQueue[tuple[int, float]]", number: int, _: object) -> None:
    answered.put((number, time.perf_counter()))


def _latencies(kind: str, turns: list[list[float]], error: str | None) -> Iterator[Row]:
    """Each figure once for each turn. The worst of all turns is the one that counts."""
    for name, place in (("p50", 49), ("p99", 98)):
        samples = [quantiles(waits, n=100)[place] for waits in turns]
        yield row(f"ledger.latency.{kind}.{name}", samples, unit="ms", better="lower", error=error)
    worst = [max(waits) for waits in turns]
    yield row(f"ledger.latency.{kind}.max", worst, value=max(worst), unit="ms", better="lower", error=error)
