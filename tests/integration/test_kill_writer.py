"""The writing process is killed with SIGKILL under load, again and again, on one growing journal.

After each kill: what was acknowledged is there once, nothing is there by half, and the journal verifies.
"""

import hashlib
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import count
from pathlib import Path

import pytest

from ledger.entry import Entry
from ledger.leaf import LEAF_BYTES, split_records
from ledger.merkle import leaf_hash, tree_root
from ledger.store.connect import Lease, LeaseHeld
from ledger.store.queries import read_segments
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

ROOT = Path(__file__).parents[2]
THREADS = 6
SEED = 20200312


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


def write_until_killed(url: str, turn: str) -> None:
    """Post from several threads, and print a line for each answer once it is known."""
    with ledger_at(url) as ledger:
        ledger.post("opening", OPENING)
        threads = [threading.Thread(target=post_on, args=(ledger, f"{turn}-{n}")) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def post_on(ledger: Ledger, name: str) -> None:
    for number in count():
        answered = ledger.post(f"{name}-{number}", *batch(f"{name}-{number}"))
        # One write of less than PIPE_BUF bytes: the line is there as a whole or not at all.
        os.write(1, f"{name}-{number} {answered.first_sequence} {answered.count}\n".encode())


# ----------------------------------------------------------------------------------------- what must be there


def killed_after(url: str, turn: int, delay_s: float, *, under_load: bool) -> dict[str, tuple[int, int]]:
    """Let a process write, kill it, and give what it acknowledged: first sequence and count by request."""
    command = [sys.executable, "-m", "tests.integration.test_kill_writer", url, str(turn)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline() if under_load else ""
        time.sleep(delay_s)
        process.kill()
        lines = [first, *process.stdout]
    acknowledged = [line.split() for line in lines if line]
    return {request_id: (int(at), int(count_)) for request_id, at, count_ in acknowledged}


def require_whole(url: str, acknowledged: dict[str, tuple[int, int]]) -> None:
    found = verified(url)
    assert isinstance(found, Verified)
    journal = journal_of(url)
    assert len(journal) == found.size
    for request_id, (first, written) in acknowledged.items():
        assert written == posted(request_id)
        assert [one.request_id for one in journal[first : first + written]] == [request_id] * written
    entries_of = Counter(one.request_id for one in journal if one.request_id)
    for request_id, written in entries_of.items():
        assert written == posted(request_id), "half a batch"
    assert found.root == recomputed_root(url)
    assert found.book.balance(MINT) == found.book.balance(ALICE)


def recomputed_root(url: str) -> bytes:
    with ledger_at(url) as ledger, ledger.database.connect() as connection:
        leaves = [
            one for segment in read_segments(connection) for one in split_records(segment.leaves, LEAF_BYTES)
        ]
        root = tree_root([leaf_hash(one) for one in leaves])
        assert ledger.writer.view.frontier.root() == root
    return root


def send_again(url: str, acknowledged: dict[str, tuple[int, int]]) -> None:
    """What was answered is answered the same; what was on its way is done now, if it was not done then."""
    last = {request_id.rpartition("-")[0]: request_id for request_id in acknowledged}
    with ledger_at(url) as ledger:
        for name, request_id in last.items():
            again = ledger.post(request_id, *batch(request_id))
            assert again.replayed
            assert (again.first_sequence, again.count) == acknowledged[request_id]
            on_its_way = f"{name}-{int(request_id.rpartition('-')[2]) + 1}"
            acknowledged[on_its_way] = (
                ledger.post(on_its_way, *batch(on_its_way)).first_sequence,
                posted(on_its_way),
            )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("store_kind", "rounds"), [("sqlite", 12), ("postgresql", 8), ("postgresql", 20)], indirect=["store_kind"]
)
def test_a_killed_writer_has_kept_every_promise(url: str, rounds: int) -> None:
    moments = random.Random(SEED + rounds)
    acknowledged: dict[str, tuple[int, int]] = {}
    with ledger_at(url):
        pass  # the tables are there, and no entry
    for turn in range(rounds):
        delay_s = moments.uniform(0, 0.5)
        fresh = killed_after(url, turn, delay_s, under_load=turn % 4 != 3)
        require_over(url)
        acknowledged |= fresh
        require_whole(url, acknowledged)
        send_again(url, fresh)
        acknowledged |= fresh
    require_whole(url, acknowledged)
    assert len(acknowledged) > rounds * THREADS, "the load was none"


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


if __name__ == "__main__":
    write_until_killed(sys.argv[1], sys.argv[2])
