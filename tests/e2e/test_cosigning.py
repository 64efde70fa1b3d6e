"""A house and its witnesses, each a process of its own: what the quorum has seen is shown, and nothing waits for it."""

import json
import re
import shutil
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from clearing import keys as house_keys
from clearing.attest.policy import Policy, open_checkpoint, parse_policy
from clearing.attest.signer import sign_checkpoint
from clearing.server.identity import parse_spiffe
from clearing_client.client import new_trade
from clearinghouse.v1 import ledger_service_pb2 as pb
from ledger.checkpoint import NoteRefused
from tests.serving import CLIENTS, HOUSE, SOURCES, Served, seed, serving, signing_key, wait_until
from tests.witnesses import Running, clearctl, made, witnessing

pytestmark = pytest.mark.slow

SOON_S = 30


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@dataclass
class Place:
    """A folder with a house, and one for each of its witnesses."""

    folder: Path

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def tiles(self) -> Path:
        return self.folder / "house.db.tiles"

    @property
    def policy(self) -> Policy:
        return house_keys.read_policy(self.keys)

    def ask_for(self, *witnesses: tuple[str, str], needed: int) -> None:
        """Have the policy ask for so many of the witnesses, each a vkey and a url."""
        path = self.keys / "policy.txt"
        plain = "".join(
            line
            for line in path.read_text().splitlines(keepends=True)
            if not re.match("witness|group|quorum", line)
        )
        names = [f"w{number}" for number in range(1, len(witnesses) + 1)]
        lines = [f"witness {name} {vkey} {url}" for name, (vkey, url) in zip(names, witnesses, strict=True)]
        group = f"group enough {needed} {' '.join(names)}"
        path.write_text("\n".join([plain.strip(), *lines, group, "quorum enough", ""]))

    def cosigned(self) -> int:
        """The size that is shown as cosigned, which the policy accepts; 0 before the first."""
        try:
            note = (self.tiles / "checkpoint.cosigned").read_bytes()
        except FileNotFoundError:
            return 0
        return open_checkpoint(self.policy, note).checkpoint.size

    def signed(self) -> int:
        return int((self.tiles / "checkpoint").read_text().splitlines()[1])

    def events(self, name: str) -> list[dict[str, str]]:
        lines = (self.folder / "serve.log").read_text().splitlines()
        return [found for found in map(json.loads, lines) if found["event"] == name]

    def reasons(self) -> list[str]:
        """Why witnesses did not cosign."""
        return [found["why"] for found in self.events("a witness does not cosign")]

    @contextmanager
    def served(self, *options: str) -> Iterator[Served]:
        with serving(self.folder, "--state", str(self.folder / "state"), *options) as served:
            yield served


@pytest.fixture
def place(tmp_path: Path) -> Place:
    house_keys.init(tmp_path / "keys", HOUSE, [parse_spiffe(f"spiffe://{HOUSE}/{who}") for who in CLIENTS])
    seed(tmp_path, tmp_path / "keys")
    for number in (1, 2, 3):
        made(tmp_path / f"w{number}", f"witness.example/w{number}")
    return Place(tmp_path)


@contextmanager
def running(place: Place, *numbers: int) -> Iterator[list[Running]]:
    with ExitStack() as stack:
        policy = ("--policy", str(place.keys / "policy.txt"))
        yield [stack.enter_context(witnessing(place.folder / f"w{number}", *policy)) for number in numbers]


def trade(served: Served) -> None:
    with served.client("member/alpha") as alpha:
        one, two = "members/alpha/accounts/one", "members/alpha/accounts/two"
        alpha.submit_trades(
            "members/alpha", [new_trade("BTC-PERP", buyer=one, seller=two, size="0.001", price="64000.0")]
        )


def price(served: Served, sequence: int) -> None:
    for source in SOURCES:
        with served.client(f"price-source/{source}") as client:
            prices = {"feeds/BTC": "64000.0", "feeds/ETH": "2000.0"}
            key = signing_key(served.keys, source)
            client.publish_prices(f"sources/{source}", prices, key=key, sequence=sequence)


def figures(served: Served) -> dict[str, float]:
    found = re.search(r"metrics on ([0-9.]+:[0-9]+)", served.said)
    assert found is not None
    with urllib.request.urlopen(f"http://{found[1]}/metrics", timeout=10) as answer:
        lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_two_of_three_witnesses_are_enough_and_the_one_that_is_away_is_named(place: Place) -> None:
    with running(place, 1, 2) as (one, two):
        third = (place.folder / "w3" / "witness.key.vkey").read_text().strip()
        place.ask_for(
            (one.vkey, one.url), (two.vkey, two.url), (third, f"http://127.0.0.1:{closed_port()}"), needed=2
        )
        with place.served("--metrics-listen", "127.0.0.1:0") as served:
            for _ in range(3):
                trade(served)
                size = served.journal_size()
                wait_until(lambda size=size: place.cosigned() >= size, SOON_S)
            price(served, 100)
            wait_until((place.folder / "state" / "checkpoint.cosigned").exists, SOON_S)
            wait_until(lambda: place.cosigned() == place.signed(), SOON_S)
            shown = figures(served)
            answers = [shown[f'clearing_witness_answers{{witness="w{number}"}}'] for number in (1, 2, 3)]
            assert answers == [1, 1, 0]
            assert shown["clearing_cosigned_lag_entries"] == 0
            with served.client("regulator/rita") as rita:
                note = rita.ledger.GetCheckpoint(pb.GetCheckpointRequest()).checkpoint
                assert len(open_checkpoint(place.policy, note).cosignatures) == 2
                asked = pb.GetReceiptRequest(name="entries/1")
                (place.folder / "entry.receipt").write_bytes(rita.ledger.GetReceipt(asked).receipt)
    (away,) = place.events("a witness does not cosign")
    assert (away["witness"], "refused" in away["why"].lower()) == ("w3", True)
    policy = str(place.keys / "policy.txt")
    for what in (
        ("--dir", str(place.folder / "state"), "--tiles", str(place.tiles)),
        ("--receipt", str(place.folder / "entry.receipt")),
        ("--dir", str(place.folder / "state")),
    ):
        done = clearctl("verify", "--policy", policy, *what)
        assert (done.returncode, "cosigned by w1 at" in done.stdout) == (0, True), done.stdout
    (place.tiles / "checkpoint.cosigned").unlink()
    done = clearctl("verify", "--policy", policy, "--tiles", str(place.tiles))
    assert (done.returncode, "too few witnesses have cosigned: enough (0 of 2" in done.stdout) == (1, True)


def test_without_a_quorum_the_house_goes_on_and_shows_nothing_as_cosigned(place: Place) -> None:
    with running(place, 1) as (one,):
        away = [(place.folder / f"w{number}" / "witness.key.vkey").read_text().strip() for number in (2, 3)]
        port = closed_port()
        place.ask_for((one.vkey, one.url), *((vkey, f"http://127.0.0.1:{port}") for vkey in away), needed=2)
        with place.served() as served:
            trade(served)
            wait_until(lambda: place.signed() == served.journal_size(), SOON_S)
            wait_until(lambda: len(place.events("a witness does not cosign")) == 2, SOON_S)
            trade(served)
            wait_until(lambda: place.signed() == served.journal_size(), SOON_S)
            assert place.cosigned() == 0
            with witnessing(place.folder / "w2", "--policy", str(place.keys / "policy.txt"), port=port):
                wait_until(lambda: place.cosigned() == place.signed(), 60)


def test_a_house_that_is_started_again_goes_on_and_never_back(place: Place) -> None:
    with running(place, 1, 2) as (one, two):
        place.ask_for((one.vkey, one.url), (two.vkey, two.url), needed=2)
        sizes = []
        for _ in range(2):
            with place.served() as served:
                trade(served)
                size = served.journal_size()
                wait_until(lambda size=size: place.cosigned() >= size, SOON_S)
            sizes.append(place.cosigned())
        assert sizes[0] < sizes[1]


def test_what_another_policy_asks_for_is_not_shown_as_cosigned_any_more(place: Place) -> None:
    with running(place, 1, 2) as (one, two):
        place.ask_for((one.vkey, one.url), needed=1)
        with place.served():
            wait_until(lambda: place.cosigned() > 0, SOON_S)
        place.ask_for((one.vkey, one.url), (two.vkey, f"http://127.0.0.1:{closed_port()}"), needed=2)
        with pytest.raises(NoteRefused):
            place.cosigned()
        with place.served():
            assert place.cosigned() == 0


def test_a_witness_refuses_a_fork_and_keeps_the_evidence(place: Place) -> None:
    """A copy of the house goes another way, with the house's own keys: its witness has seen the first."""
    copy = Place(place.folder / "copy")
    with running(place, 1) as (one,):
        place.ask_for((one.vkey, one.url), needed=1)
        shutil.copytree(place.folder, copy.folder, ignore=shutil.ignore_patterns("w1", "w2", "w3", "copy"))
        for one_of_two in (place, copy):
            with one_of_two.served() as served:
                trade(served)
                wait_until(lambda served=served, at=one_of_two: at.signed() == served.journal_size(), SOON_S)
                if one_of_two is place:
                    wait_until(lambda: place.cosigned() == place.signed(), SOON_S)
                else:
                    wait_until(lambda: any("two histories" in why for why in copy.reasons()), SOON_S)
    assert copy.cosigned() < copy.signed() == place.cosigned()
    (kept,) = (place.folder / "w1" / "state").glob("*.evidence")
    policy = str(place.keys / "policy.txt")
    done = clearctl("log", "check", "--policy", policy, str(kept))
    assert (done.returncode, "has signed two histories" in done.stdout) == (0, True), done.stderr
    evidence = place.folder / "evidence"
    done = clearctl(
        "log", "compare", "--policy", policy, str(place.tiles), str(copy.tiles), "--evidence", str(evidence)
    )
    assert done.returncode == 1, done.stderr
    assert clearctl("log", "check", "--policy", policy, str(evidence)).returncode == 0


def test_the_log_of_a_served_house_is_compared_with_a_checkpoint_that_was_kept(place: Place) -> None:
    policy = str(place.keys / "policy.txt")
    with place.served() as served:
        wait_until(lambda: place.signed() > 0, SOON_S)
        kept = place.folder / "kept"
        shutil.copy(place.tiles / "checkpoint", kept)
        trade(served)
        wait_until(lambda: place.signed() == served.journal_size(), SOON_S)
        house = ("--house", served.address, "--keys", str(place.keys / "clients" / "regulator" / "rita"))
        done = clearctl(*house, "log", "compare", "--policy", policy, str(kept))
        assert (done.returncode, "the house with" in done.stdout) == (0, True), done.stderr
        keys = house_keys.read_signing_keys(place.keys)
        kept.write_bytes(sign_checkpoint(keys, 3, bytes(32)))
        done = clearctl(*house, "log", "compare", "--policy", policy, str(kept))
        assert (done.returncode, "TWO HISTORIES" in done.stdout) == (1, True), done.stderr


def test_a_house_does_not_start_with_a_witness_that_cannot_be_asked(place: Place) -> None:
    vkey = (place.folder / "w1" / "witness.key.vkey").read_text().strip()
    place.ask_for((vkey, "ftp://witness.example"), needed=1)
    with pytest.raises(AssertionError, match="asked at http"), place.served():
        pass
    assert parse_policy((place.keys / "policy.txt").read_bytes()).asks_for_witnesses
