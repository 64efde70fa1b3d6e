"""What every part of a bench is given, and the ledger as a bench opens and checks it."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from bench.rows import Row, rate
from bench.stores import Store, Stores
from bench.traffic import Traffic
from ledger.batch import Command
from ledger.store.connect import system_salts
from ledger.store.ledger import Ledger
from ledger.store.queries import Answered
from ledger.store.verify import Verified, verify

Tell: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Run:
    """One run: where stores come from, what is sent, and whom to tell how far it is."""

    stores: Stores
    traffic: Traffic
    tell: Tell


Part: TypeAlias = "Callable[[Run], Iterator[Row]]"


@dataclass(slots=True)
class Subject:
    """The ledger that is measured, and how many entries it should have by now."""

    ledger: Ledger
    size: int

    def post(self, command: Command) -> None:
        """Send ``command`` and wait until it is durable."""
        self.settle(command, self.ledger.submit(command))

    def rate(self, command: Command) -> float:
        """Entries a second of one command that is waited for."""
        return rate(len(command), partial(self.post, command))

    def settle(self, command: Command, answer: "Future[Answered]") -> None:
        """Wait for ``command``. What a bench sends is new and posts: anything else ends the run."""
        answered = answer.result()
        if answered.replayed or answered.refusals:
            raise RuntimeError(f"not all of a batch was posted: {answered.answer[:100]}")
        self.size += len(command)


@contextmanager
def opened(store: Store) -> Iterator[Subject]:
    """The ledger on ``store``, with hashing, salts, idempotency and fsync as a house has them."""
    with Ledger(store.database, clock=clock_ms, salts=system_salts, secret=os.urandom(16)) as ledger:
        yield Subject(ledger, ledger.view.size)


def clock_ms() -> int:
    """UTC milliseconds."""
    return time.time_ns() // 1_000_000


def verdict(store: Store, size: int) -> str | None:
    """What is wrong with a journal that should have ``size`` entries, None if nothing is."""
    with store.database.connect() as connection:
        checked = verify(connection)
    if not isinstance(checked, Verified):
        return f"differs at {checked.sequence}: {checked.reason}"
    return None if checked.size == size else f"has {checked.size} entries and not {size}"
