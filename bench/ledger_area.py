"""The ledger alone, through its writer: bulk, concurrent callers, reopening, verification, size."""

import os
import random
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path

from bench.naive import NaiveLedger, Transfer
from bench.rows import Baseline, Row, rate, row, seconds
from clearing.store.migrate import upgrade
from ledger.account import Account
from ledger.batch import Batch
from ledger.entry import Entry, transfer
from ledger.store.connect import Database, open_store, system_salts
from ledger.store.ledger import Ledger
from ledger.store.queries import Answered
from ledger.store.verify import Verified, verify

ACCOUNTS = tuple(Account(f"bench/{n}", "USD") for n in range(10_000))
KIND = 1
CALLERS = 64


def rows(seed: int) -> Iterator[Row]:
    """Every row of this area, one after the other."""
    dice = random.Random(seed)
    naive = _naive(dice)
    yield row("ledger.naive_8000.sqlite", naive, unit="entries/s", better="higher")
    peer = Baseline(name="ledger.naive_8000.sqlite", value=sorted(naive)[len(naive) // 2])
    for size, batches in ((1_000, 20), (8_000, 6)):
        yield _bulk(dice, size, batches, peer)
    yield _callers(dice)
    yield from _stored(dice)


@contextmanager
def _house() -> Iterator[tuple[Database, Path]]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "bench.sqlite")
        database = open_store(f"sqlite:///{file}")
        upgrade(database)
        yield database, file
        database.dispose()


@contextmanager
def _writer(database: Database) -> Iterator[Ledger]:
    with Ledger(database, clock=_clock_ms, salts=system_salts, secret=os.urandom(16)) as ledger:
        yield ledger


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000


_numbers = count()


def _submit(writer: Ledger, batch: tuple[Entry, ...]) -> "Future[Answered]":
    return writer.submit(Batch(items=batch, request_id=f"bench-{next(_numbers)}"))


def _open_accounts(writer: Ledger) -> None:
    opening = Entry(entry_id=bytes(16), kind=KIND, effective_ms=0, opens=ACCOUNTS)
    _submit(writer, (opening,)).result()


def _batch(dice: random.Random, size: int) -> tuple[Entry, ...]:
    return tuple(_entry(dice) for _ in range(size))


def _entry(dice: random.Random) -> Entry:
    source, target = dice.sample(ACCOUNTS, 2)
    legs = transfer(source, target, dice.randrange(1, 10**9))
    return Entry(entry_id=dice.randbytes(16), kind=KIND, effective_ms=0, legs=legs)


def _naive_transfer(dice: random.Random) -> Transfer:
    source, target = dice.sample(ACCOUNTS, 2)
    return Transfer(dice.randbytes(16), source.path, target.path, dice.randrange(1, 10**9))


def _verdict(database: Database) -> str | None:
    with database.connect() as connection:
        checked = verify(connection)
    return None if isinstance(checked, Verified) else f"differs at {checked.sequence}: {checked.reason}"


def _naive(dice: random.Random) -> list[float]:
    with _house() as (database, _):
        ledger = NaiveLedger(database, [account.path for account in ACCOUNTS])
        batches = [[_naive_transfer(dice) for _ in range(8_000)] for _ in range(4)]
        return [rate(len(batch), partial(ledger.post, batch)) for batch in batches]


def _bulk(dice: random.Random, size: int, batches: int, peer: Baseline) -> Row:
    with _house() as (database, _):
        with _writer(database) as writer:
            _open_accounts(writer)
            prepared = [_batch(dice, size) for _ in range(batches)]
            samples = [size / seconds(_submit(writer, batch).result) for batch in prepared]
        name = f"ledger.bulk_{size}.sqlite"
        error = _verdict(database)
        return row(name, samples, unit="entries/s", better="higher", baseline=peer, error=error)


def _callers(dice: random.Random) -> Row:
    """64 callers with one entry each at a time, against the same writer with one caller."""
    with _house() as (database, _):
        with _writer(database) as writer:
            _open_accounts(writer)
            alone = [_in_flight(writer, dice, 1, 300) for _ in range(3)]
            together = [_in_flight(writer, dice, CALLERS, 6_400) for _ in range(5)]
        peer = Baseline(name="group size 1", value=sorted(alone)[1])
        return row(
            "ledger.callers_64.sqlite",
            together,
            unit="entries/s",
            better="higher",
            baseline=peer,
            error=_verdict(database),
        )


def _in_flight(writer: Ledger, dice: random.Random, callers: int, entries: int) -> float:
    """``callers`` requests wait at any time, as that many callers would have it."""
    prepared = _batch(dice, entries)

    def work() -> None:
        waiting: list[Future[Answered]] = []
        for entry in prepared:
            waiting.append(_submit(writer, (entry,)))
            if len(waiting) == callers:
                waiting.pop(0).result()
        for future in waiting:
            future.result()

    return rate(entries, work)


def _stored(dice: random.Random) -> Iterator[Row]:
    """A journal of 100,000 entries: its size, how long verification takes, and how long opening it again."""
    stored = 100_000
    with _house() as (database, file):
        with _writer(database) as writer:
            _open_accounts(writer)
            for _ in range(stored // 4_000):
                _submit(writer, _batch(dice, 4_000)).result()
        with database.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        yield row("ledger.bytes_entry.sqlite", [file.stat().st_size / stored], unit="bytes", better="lower")
        error = _verdict(database)
        taken = [seconds(lambda: _verdict(database)) for _ in range(2)]
        yield row("ledger.verify_100k.sqlite", taken, unit="s", better="lower", error=error)
        yield row(
            "ledger.reopen_100k.sqlite", [_reopen(database) for _ in range(2)], unit="s", better="lower"
        )


def _reopen(database: Database) -> float:
    def work() -> None:
        with _writer(database):
            pass

    return seconds(work)
