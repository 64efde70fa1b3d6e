"""The writing process is killed with SIGKILL under load, again and again, on one growing journal.

After each kill: what was there is there, what was acknowledged since is there once, nothing is there by half, and
the journal verifies.
"""

import hashlib
import multiprocessing
import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.connection import Connection
from typing import TypeAlias

import pytest

from ledger.entry import Entry
from ledger.leaf import decode_body, split_bodies
from ledger.merkle import leaf_hash, tree_root
from ledger.store.connect import Lease, LeaseHeld
from ledger.store.queries import read_segments
from ledger.store.tile_files import leaves_from
from ledger.store.verify import Verified
from tests.ledgers import (
    ALICE,
    BOB,
    MINT,
    OPENING,
    PATIENCE_S,
    Ledger,
    journal_of,
    ledger_at,
    open_database,
    paid,
    verified,
)

THREADS = 6
SEED = 20200312
DELAY_MAX_S = 0.1
FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload([__name__])

Acknowledged: TypeAlias = "dict[str, tuple[int, int]]"
"""First sequence and count by request."""


def batch(request_id: str) -> tuple[Entry, ...]:
    """One to three payments, every fifth batch with an overdraft, every seventh with a large entry."""
    number = int(request_id.rpartition("-")[2])
    digest = hashlib.sha256(request_id.encode()).digest()
    payments = [
        paid(int.from_bytes(digest[:15], "big") + turn, MINT, ALICE, turn + 1, request_id=request_id)
        for turn in range(1 + number % 3)
    ]
    if number % 5 == 0:
        payments.append(paid(1, BOB, MINT, 10**30, request_id=request_id))
    if number % 7 == 0:
        payments.append(paid(2, MINT, ALICE, 1, request_id=request_id, fact="x" * 50_000))
    return tuple(payments)


def posted(request_id: str) -> int:
    """How many entries of the batch post."""
    return len(batch(request_id)) - (int(request_id.rpartition("-")[2]) % 5 == 0)


# ---------------------------------------------------------------------------- the process that will be killed


def write_until_killed(url: str, turn: int, acknowledgements: Connection) -> None:
    """Post from several threads, and write a line for each answer once it is known."""
    with ledger_at(url) as ledger:
        ledger.post("opening", OPENING)
        names = [f"{turn}-{number}" for number in range(THREADS)]
        threads = [
            threading.Thread(target=post_on, args=(ledger, name, acknowledgements.fileno())) for name in names
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def post_on(ledger: Ledger, name: str, acknowledgements: int) -> None:
    for number in count():
        answered = ledger.post(f"{name}-{number}", *batch(f"{name}-{number}"))
        # One write of less than PIPE_BUF bytes: the line is there as a whole or not at all.
        os.write(acknowledgements, f"{name}-{number} {answered.first_sequence} {answered.count}\n".encode())


def killed_after(url: str, turn: int, delay_s: float, *, under_load: bool) -> Acknowledged:
    """Let a process write, kill it, and give what it acknowledged.

    It is forked from one that has all modules, so that a round costs what it writes and not what it imports.
    """
    reader, writer = FORKING.Pipe(duplex=False)
    process = FORKING.Process(target=write_until_killed, args=(url, turn, writer))
    process.start()
    writer.close()
    with closing(reader), open(reader.fileno(), closefd=False) as lines:
        first = lines.readline() if under_load else ""
        time.sleep(delay_s)
        process.kill()
        acknowledged = [line.split() for line in [first, *lines] if line]
    process.join()
    assert process.exitcode == -signal.SIGKILL, "it ended before it was killed"
    process.close()
    return {request_id: (int(at), int(count_)) for request_id, at, count_ in acknowledged}


# ----------------------------------------------------------------------------------------- what must be there


@dataclass
class Witness:
    """Follows one journal from kill to kill. What it has seen must stay; what is new must be whole."""

    url: str
    hashes: list[bytes] = field(default_factory=list)
    acknowledged: Acknowledged = field(default_factory=dict)

    def look(self, fresh: Acknowledged) -> None:
        """After a kill: the journal goes on from what it was, and has what was acknowledged since."""
        seen = len(self.hashes)
        with ledger_at(self.url) as ledger:  # replay derives every root of the journal from its bytes
            view = ledger.writer.view
            self._read_on(ledger)
            assert view.size == len(self.hashes)
            assert view.frontier.root() == tree_root(self.hashes)
            assert view.state.balance(MINT) == view.state.balance(ALICE)
            require_kept(self._requests_from(ledger, seen), seen, fresh)
            self.acknowledged |= fresh
            self._send_again(ledger, fresh)
            self._read_on(ledger)

    def _read_on(self, ledger: Ledger) -> None:
        with ledger.database.connect() as connection:
            leaves = list(leaves_from(connection, 0))
        found = [leaf_hash(leaf) for leaf in leaves]
        assert found[: len(self.hashes)] == self.hashes, "what was there is there no more"
        self.hashes = found

    @staticmethod
    def _requests_from(ledger: Ledger, sequence: int) -> list[str]:
        """The request of each entry from ``sequence`` on, at which a segment starts."""
        with ledger.database.connect() as connection:
            found = list(read_segments(connection, sequence))
        return [decode_body(body).request_id for one in found for body in split_bodies(one.bodies)]

    def _send_again(self, ledger: Ledger, fresh: Acknowledged) -> None:
        """What was answered is answered the same; what was on its way is done now, if it was not done then."""
        last = {request_id.rpartition("-")[0]: request_id for request_id in fresh}
        for name, request_id in last.items():
            again = ledger.post(request_id, *batch(request_id))
            assert again.replayed
            assert (again.first_sequence, again.count) == fresh[request_id]
            on_its_way = f"{name}-{int(request_id.rpartition('-')[2]) + 1}"
            answered = ledger.post(on_its_way, *batch(on_its_way))
            self.acknowledged[on_its_way] = answered.first_sequence, posted(on_its_way)


def require_kept(requests: list[str], first_sequence: int, acknowledged: Acknowledged) -> None:
    """Each acknowledged batch stands where it was said to be, and no batch is there by half or twice."""
    for request_id, (first, written) in acknowledged.items():
        assert written == posted(request_id)
        at = first - first_sequence
        assert requests[at : at + written] == [request_id] * written
    for request_id, written in Counter(filter(None, requests)).items():
        assert written == posted(request_id), "half a batch, or one twice"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("store_kind", "rounds"), [("sqlite", 50), ("postgresql", 20)], indirect=["store_kind"]
)
def test_a_killed_writer_has_kept_every_promise(url: str, rounds: int) -> None:
    moments, witness = random.Random(SEED + rounds), Witness(url)
    with ledger_at(url):
        pass  # the tables are there, and no entry
    for turn in range(rounds):
        fresh = killed_after(url, turn, moments.uniform(0, DELAY_MAX_S), under_load=turn % 4 != 3)
        require_over(url)
        witness.look(fresh)
    found = verified(url)
    assert isinstance(found, Verified)
    assert found.root == tree_root(witness.hashes)
    require_kept([one.request_id for one in journal_of(url)], 0, witness.acknowledged)
    assert len(witness.acknowledged) > rounds * THREADS, "the load was none"


def require_over(url: str) -> None:
    """Return when the server has noticed that the process is gone: only then is the lease free.

    A file is free at once. What a killed process had sent to a server may still become true.
    """
    deadline = time.monotonic() + PATIENCE_S
    while (lease := take(url)) is None:
        assert time.monotonic() < deadline, "the lease of a killed process is not free"
        time.sleep(0.01)
    lease.release()


def take(url: str) -> Lease | None:
    database = open_database(url)
    try:
        return Lease.acquire(database)
    except LeaseHeld:
        return None
    finally:
        database.dispose()
