"""What an account takes in memory: a process of its own opens a million and looks at what the system gave it."""

import gc
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from bench.rows import Row, row
from bench.run import Run
from ledger.account import Account
from ledger.batch import Batch, apply
from ledger.book import Book
from ledger.entry import Entry

ACCOUNTS = 1_000_000
AN_ENTRY = 10_000


def rows(run: Run) -> Iterator[Row]:
    """Resident memory before and after, over the number of accounts."""
    run.tell(f"opening {ACCOUNTS:,} accounts")
    spawned = multiprocessing.get_context("spawn")  # nothing of this process counts
    with ProcessPoolExecutor(max_workers=1, mp_context=spawned, max_tasks_per_child=1) as one:
        taken = one.submit(measure).result() / ACCOUNTS
    yield row("ledger.bytes_account", [taken], unit="bytes", better="lower")


def measure() -> int:
    """Bytes by which this process grew when its book had ``ACCOUNTS`` accounts, each with its balance."""
    before = _resident_bytes()
    book = Book()
    for start in range(0, ACCOUNTS, AN_ENTRY):
        book = _with_accounts(book, start)
    gc.collect()
    grown = _resident_bytes() - before
    if len(book.accounts) != ACCOUNTS:
        raise RuntimeError(f"{len(book.accounts)} accounts were opened and not {ACCOUNTS}")
    return grown


def _with_accounts(book: Book, start: int) -> Book:
    opens = tuple(Account(f"members/{number}/cash", "USD") for number in range(start, start + AN_ENTRY))
    entry = Entry(entry_id=start.to_bytes(16, "big"), kind=1, effective_ms=0, opens=opens)
    return apply(book, Batch(items=(entry,), request_id="bench"), 1, {}).state


def _resident_bytes() -> int:
    """As Linux counts it."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
