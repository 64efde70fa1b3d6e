"""64 callers, each a thread that sends one entry and waits for its answer, beside one caller alone."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from statistics import median

from bench.rows import Baseline, Row, rate, row
from bench.run import Run, Subject, opened, verdict
from bench.stores import KINDS, Store
from ledger.batch import Batch
from ledger.store.queries import Answered

CALLERS = 64
ROUNDS = 5
ALONE = 200
EACH = 40


def rows(run: Run) -> Iterator[Row]:
    """Both kinds of database."""
    for kind in KINDS:
        run.tell(f"{CALLERS} callers on {kind}")
        with run.stores.fresh(kind) as store:
            yield _on(run, store)


def _on(run: Run, store: Store) -> Row:
    alone, together = [], []
    with opened(store) as subject, ThreadPoolExecutor(CALLERS) as threads:
        subject.post(run.traffic.opening())
        for _ in range(1 + ROUNDS):
            alone.append(_rate(threads, subject, [[run.traffic.single() for _ in range(ALONE)]]))
            each = [[run.traffic.single() for _ in range(EACH)] for _ in range(CALLERS)]
            together.append(_rate(threads, subject, each))
    error = verdict(store, subject.size)
    peer = Baseline(name="one caller", value=median(alone[1:]))
    name = f"ledger.callers_{CALLERS}.{store.kind}"
    return row(name, together[1:], unit="entries/s", better="higher", baseline=peer, error=error)


def _rate(threads: ThreadPoolExecutor, subject: Subject, each: Sequence[Sequence[Batch]]) -> float:
    """Entries a second, when each caller sends its own, one after the other."""
    answers: list[list[Future[Answered]]] = []
    entries = sum(map(len, each))
    found = rate(entries, lambda: answers.extend(threads.map(partial(_call, subject), each)))
    for singles, futures in zip(each, answers, strict=True):
        for single, future in zip(singles, futures, strict=True):
            subject.settle(single, future)
    return found


def _call(subject: Subject, singles: Sequence[Batch]) -> "list[Future[Answered]]":
    futures = []
    for single in singles:
        futures.append(subject.ledger.submit(single))
        futures[-1].result()
    return futures
