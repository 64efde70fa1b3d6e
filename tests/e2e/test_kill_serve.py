"""A served house is killed with SIGKILL while it trades, attests and publishes.

Whatever anybody saw signed before, the house that is started again goes on from it. Whatever anybody asked for is
sent again with its request id: it gets its first answer, and is done once.
"""

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from clearing import keys as house_keys
from clearing.server.identity import parse_spiffe
from clearing_client.client import Client, new_id, new_trade
from clearing_client.errors import ClearingError
from clearing_client.offline import tiled_leaves, verify_attestations
from clearinghouse.v1.trade_service_pb2 import NewTrade, SubmitTradesResponse
from ledger.checkpoint import VerifiedCheckpoint, open_note
from ledger.merkle import leaf_hash, tree_root, verify_consistency
from ledger.store.anchor import Anchor
from ledger.store.tile_files import TileFiles, leaves_from
from tests import asking
from tests.ledgers import PATIENCE_S, connected
from tests.serving import CLIENTS, HOUSE, SOURCES, Served, seed, serving, signing_key, wait_until

pytestmark = pytest.mark.slow

ROUNDS = 4
SEED = 20200312
SWIFT = "from clearing import cli, main; main.BEAT_S = 0.02; cli.main()"
"""Fifty beats a second: a kill comes between two steps of a publication more often."""


@dataclass
class Seen:
    """All that was shown to anybody, in memory that no kill reaches."""

    notes: dict[bytes, None] = field(default_factory=dict)
    envelopes: dict[int, bytes] = field(default_factory=dict)
    asked: dict[str, NewTrade] = field(default_factory=dict)
    answers: dict[str, SubmitTradesResponse] = field(default_factory=dict)


@pytest.fixture
def house(tmp_path: Path, url: str) -> Path:
    keys = tmp_path / "keys"
    house_keys.init(keys, HOUSE, [parse_spiffe(f"spiffe://{HOUSE}/{who}") for who in CLIENTS])
    seed(tmp_path, keys, url)
    return tmp_path


@contextmanager
def swift(folder: Path, url: str) -> Iterator[Served]:
    anchor, tiles = folder / "house.db.anchor", folder / "house.db.tiles"
    options = ("--database", url, "--anchor", str(anchor), "--tiles-dir", str(tiles))
    with serving(folder, *options, "--state", str(folder / "state"), program=SWIFT) as served:
        yield served


def until_it_is_gone(act: "threading.Event", step: object) -> None:
    assert callable(step)
    with contextlib.suppress(ClearingError):
        while not act.is_set():
            step()


def trading(served: Served, seen: Seen, over: threading.Event) -> None:
    with served.client("member/alpha") as alpha:

        def step() -> None:
            one, two = "members/alpha/accounts/one", "members/alpha/accounts/two"
            small = new_trade("BTC-PERP", buyer=one, seller=two, size="0.001", price="64000.0")
            request_id = new_id()
            seen.asked[request_id] = small
            seen.answers[request_id] = alpha.submit_trades("members/alpha", [small], request_id)

        until_it_is_gone(over, step)


def pricing(served: Served, numbers: Iterator[int], over: threading.Event) -> None:
    """A cycle, and so an attestation, as often as can be."""

    def step() -> None:
        number = next(numbers)
        for source in SOURCES:
            with served.client(f"price-source/{source}") as client:
                prices = {"feeds/BTC": "64000.0", "feeds/ETH": "2000.0"}
                key = signing_key(served.keys, source)
                client.publish_prices(f"sources/{source}", prices, key=key, sequence=number)

    until_it_is_gone(over, step)


def watching(served: Served, seen: Seen, over: threading.Event) -> None:
    """A regulator that keeps what is published, and what it is answered."""
    with served.client("regulator/rita") as rita:

        def step() -> None:
            seen.notes[(served.directory / "house.db.tiles" / "checkpoint").read_bytes()] = None
            seen.notes[asking.checkpoint(rita).encode()] = None
            for path in (served.directory / "state" / "attestations").glob("*.json"):
                seen.envelopes.setdefault(int(path.stem), path.read_bytes())

        until_it_is_gone(over, step)


def trade_until_killed(served: Served, seen: Seen, numbers: Iterator[int], delay_s: float) -> None:
    """Kill the house some time after enough was published that a wrong start could contradict."""
    over, notes, envelopes = threading.Event(), len(seen.notes), len(seen.envelopes)
    threads = [
        *(threading.Thread(target=trading, args=(served, seen, over)) for _ in range(3)),
        threading.Thread(target=pricing, args=(served, numbers, over)),
        threading.Thread(target=watching, args=(served, seen, over)),
    ]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(seen.notes) >= notes + 4 and len(seen.envelopes) > envelopes, PATIENCE_S)
        time.sleep(delay_s)
    finally:
        served.process.kill()
        over.set()
        for thread in threads:
            thread.join()


def opened(folder: Path, note: bytes) -> VerifiedCheckpoint:
    return open_note(note, house_keys.read_policy(folder / "keys").log_keys).checkpoint


def require_one_history(folder: Path, url: str, seen: Seen) -> None:
    """The journal goes on from every checkpoint that was seen, as proofs made of the tiles show."""
    with connected(url) as connection:
        hashes = [leaf_hash(leaf) for leaf in leaves_from(connection, 0)]
    tree, anchor = TileFiles(folder / "house.db.tiles").tree(), Anchor(folder / "house.db.anchor")
    assert tree.root == tree_root(hashes[: tree.size])
    assert tree.size <= anchor.size <= len(hashes)
    assert anchor.root == tree_root(hashes[: anchor.size])
    for note in seen.notes:
        old = opened(folder, note)
        assert old.size <= tree.size
        verify_consistency(old.size, old.root, tree.size, tree.root, tree.consistency_path(old.size))


def require_attested(folder: Path, seen: Seen) -> None:
    """What was attested stays as it was seen, and a stranger who copies the folders can check it."""
    paths = sorted((folder / "state" / "attestations").glob("*.json"))
    envelopes = [path.read_bytes() for path in paths]
    assert [envelopes[number - 1] for number in sorted(seen.envelopes)] == [
        envelope for _, envelope in sorted(seen.envelopes.items())
    ]
    policy, tiles = house_keys.read_policy(folder / "keys"), TileFiles(folder / "house.db.tiles")
    note = tiles.checkpoint()
    assert note is not None
    leaves = tiled_leaves(policy, note, tiles.read)
    report = verify_attestations(policy, note, envelopes, None, leaves=leaves)
    assert report.ok, [check for check in report.checks if not check.passed]


@pytest.mark.slow
def test_what_a_killed_house_has_signed_is_what_it_goes_on_from(house: Path, url: str) -> None:
    moments, seen, numbers = random.Random(SEED), Seen(), count(2)
    for _ in range(ROUNDS):
        with swift(house, url) as served:
            with served.client("member/alpha") as alpha:
                require_done_once(alpha, seen)
            trade_until_killed(served, seen, numbers, moments.uniform(0, 0.3))
        require_kept(house, url, seen)
    with swift(house, url) as served, served.client("member/alpha") as alpha:
        require_done_once(alpha, seen)
        size = served.journal_size()
        wait_until(lambda: opened(house, asking.checkpoint(alpha).encode()).size == size)
    require_one_history(house, url, seen)
    require_attested(house, seen)


def require_done_once(alpha: Client, seen: Seen) -> None:
    """What was answered is answered the same; what was on its way is done now, if it was not done then."""
    before, unanswered = len(asking.trades(alpha, "members/alpha")), seen.asked.keys() - seen.answers.keys()
    for request_id, trade in seen.asked.items():
        again = alpha.submit_trades("members/alpha", [trade], request_id)
        assert again == seen.answers.setdefault(request_id, again)
    names = [answer.results[0].trade for answer in seen.answers.values()]
    assert all(names)
    assert len(names) == len(set(names))
    after = [trade.name for trade in asking.trades(alpha, "members/alpha")]
    assert sorted(after) == sorted(names), "nothing is there twice, and nothing that nobody asked for"
    assert 0 <= len(after) - before <= len(unanswered)


def require_kept(folder: Path, url: str, seen: Seen) -> None:
    """Between kill and start: what was seen is there, though the folder may show less than was signed."""
    with connected(url) as connection:
        hashes = [leaf_hash(leaf) for leaf in leaves_from(connection, 0)]
    for note in seen.notes:
        old = opened(folder, note)
        assert old.root == tree_root(hashes[: old.size])
