"""One journal a database, filled to five million entries: what it costs to keep, to open, to check and to grow."""

from collections.abc import Iterator
from statistics import median

from bench import ledger_proofs
from bench.rows import Baseline, Row, row, seconds
from bench.run import Run, Subject, opened, verdict
from bench.stores import KINDS, Store

BATCH = 8_000
FIRST_STOP = 1_000_000
FULL = 5_000_000
SMALL = 10_000
REOPENED = 3
VERIFIED = 2
ROUNDS = 15


def rows(run: Run) -> Iterator[Row]:
    """Both kinds of database."""
    for kind in KINDS:
        with run.stores.fresh(kind) as store, run.stores.fresh(kind) as small:
            with opened(store) as subject:
                subject.post(run.traffic.opening())
                _fill(run, subject, FIRST_STOP, f"on {kind}")
                root = subject.ledger.view.frontier.root()
            yield from _at_rest(run, store, subject.size)
            if kind == KINDS[0]:  # tiles are the same, whatever the journal is read from
                run.tell(f"writing the tiles of {subject.size:,} entries")
                yield ledger_proofs.of_journal(store, subject.size, root)
            yield _grown(run, store, small)


def _fill(run: Run, subject: Subject, size: int, where: str) -> None:
    while subject.size < size:
        if subject.size // BATCH % 25 == 0:
            run.tell(f"{subject.size:,} entries {where}")
        subject.post(run.traffic.transfers(min(BATCH, size - subject.size)))


def _at_rest(run: Run, store: Store, size: int) -> Iterator[Row]:
    stored = [store.bytes_on_disk() / size]
    yield row(f"ledger.bytes_entry.{store.kind}", stored, unit="bytes", better="lower")
    run.tell(f"verifying {size:,} entries on {store.kind}")
    errors: list[str | None] = []
    taken = [seconds(lambda: errors.append(verdict(store, size))) for _ in range(VERIFIED)]
    error = next((error for error in errors if error), None)
    yield row(f"ledger.verify_1m.{store.kind}", taken, unit="s", better="lower", error=error)
    run.tell(f"opening {size:,} entries on {store.kind}")
    taken = [seconds(lambda: _open(store, size)) for _ in range(REOPENED)]
    yield row(f"ledger.reopen_1m.{store.kind}", taken, unit="s", better="lower")


def _open(store: Store, size: int) -> None:
    with opened(store) as subject:
        if subject.size != size:
            raise RuntimeError(f"{size} entries were stored, and {subject.size} are there")


def _grown(run: Run, store: Store, small: Store) -> Row:
    """The rate at ``FULL`` entries, in turns with that of a ledger that began with ``SMALL``."""
    large_rates, small_rates = [], []
    with opened(store) as subject, opened(small) as peer:
        peer.post(run.traffic.opening())
        _fill(run, peer, SMALL, f"on {store.kind}")
        _fill(run, subject, FULL, f"on {store.kind}")
        run.tell(f"batches at {FULL:,} entries on {store.kind}")
        for _ in range(1 + ROUNDS):
            large_rates.append(subject.rate(run.traffic.transfers(BATCH)))
            small_rates.append(peer.rate(run.traffic.transfers(BATCH)))
    run.tell(f"verifying {subject.size:,} entries on {store.kind}")
    return row(
        f"ledger.growth_5m.{store.kind}",
        large_rates[1:],
        unit="entries/s",
        better="higher",
        baseline=Baseline(name=f"from {SMALL:,} entries on", value=median(small_rates[1:])),
        error=verdict(store, subject.size) or verdict(small, peer.size),
    )
