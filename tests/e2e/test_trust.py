"""The keys of a running house change, and whoever pinned the first version of its trust root follows."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from clearing import keys as house_keys
from clearing.attest.envelope import PAYLOAD_TYPE, Signer, parse, sign
from clearing.attest.opening import open_attestation
from clearing.attest.policy import parse_policy
from clearing.attest.statement import payload_digest
from clearing.server.identity import parse_spiffe
from clearing.signing import read_signer
from tests.clearctl import DONE, REFUSED, clearctl
from tests.serving import (
    CLEARING,
    CLIENTS,
    HOUSE,
    SOURCES,
    Served,
    environment,
    seed,
    served_house,
    serving,
    signing_key,
    wait_until,
)
from tests.softhsm import SoftToken, environment_of, make_token

pytestmark = pytest.mark.slow

TRUSTEES = ("anna", "ben", "carl")


@dataclass
class World:
    """A served house whose officers have changed: its token, the folder of its trustees, and who pinned version 1."""

    served: Served
    token: SoftToken
    folder: Path
    sequence: "count[int]" = field(default_factory=lambda: count(2))
    attested_with: dict[str, bytes] = field(default_factory=dict)
    """An envelope from before the new keys were there, one from before their time, and one from after it."""
    old: dict[str, Signer] = field(default_factory=dict)
    """The officers whose keys were taken away."""

    @property
    def public(self) -> Path:
        return self.folder / "public"

    @property
    def pinned(self) -> Path:
        return self.folder / "pinned" / "1.root.json"

    def attested(self) -> int:
        return len(list((self.public / "attestations").glob("*.json")))

    def attestation(self, number: int) -> Path:
        return self.public / "attestations" / f"{number:06}.json"

    def prices(self) -> None:
        """Publish prices from which a cycle comes."""
        step = next(self.sequence)
        for source in SOURCES:
            with self.served.client(f"price-source/{source}") as client:
                prices = {"feeds/BTC": f"{64_000 + step}.0", "feeds/ETH": "2000.0"}
                key = signing_key(self.served.keys, source)
                client.publish_prices(f"sources/{source}", prices, key=key, sequence=step)

    def attest(self) -> bytes:
        """One more cycle, and the envelope that comes of it."""
        number = self.attested() + 1
        self.prices()
        wait_until(lambda: self.attested() == number)
        return self.attestation(number).read_bytes()

    def logged(self, event: str) -> bool:
        return f'"event": "{event}"' in (self.folder / "serve.log").read_text()


def clearing(*arguments: str, **settings: str) -> str:
    """What ``clearing`` printed."""
    done = subprocess.run(
        [sys.executable, "-c", CLEARING, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment() | settings,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def trust(*arguments: str) -> str:
    done = clearctl("trust", *arguments)
    assert done.returncode == DONE, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("trust")
    token = make_token(folder / "softhsm")
    keys = folder / "keys"
    house_keys.init(keys, HOUSE, [parse_spiffe(f"spiffe://{HOUSE}/{who}") for who in CLIENTS])
    seed(folder, keys)
    found_trust(folder, keys / "policy.txt")
    shutil.copytree(folder / "trust", keys / "trust")
    shutil.copytree(folder / "trust", folder / "pinned")
    state = ("--state", str(folder / "public"))
    with serving(folder, *state, **environment_of(token.folder)) as served:
        world = World(served=served, token=token, folder=folder)
        rotate_officers(world)
        yield world


def found_trust(folder: Path, policy: Path) -> None:
    """Version 1, made by one trustee and signed by another as well."""
    given = []
    for name in TRUSTEES:
        said = clearctl("--output", "json", "trust", "key", str(folder / f"{name}.key"), "--plain")
        given += ["--trustee", f"{name}={json.loads(said.stdout)['public']}"]
    trust("init", "--policy", str(policy), *given, "--dir", str(folder / "trust"))
    for name in TRUSTEES[:2]:
        trust("sign", str(folder / "trust" / "1.root.json"), "--key", str(folder / f"{name}.key"))


def rotate_officers(world: World) -> None:
    """Two of three officers get other keys, while the house serves."""
    wait_until((world.public / "trust" / "1.root.json").exists)
    signing = world.served.keys / "signing"
    world.old = {role: read_signer(signing / f"{role}.key") for role in ("risk", "operations")}
    world.attested_with["before"] = world.attest()
    shutil.copy(world.public / "policy.txt", world.folder / "old.txt")
    risk, operations = new_keys(world)
    world.attested_with["still"] = world.attest()
    change_officers(world, risk, operations)
    world.attested_with["after"] = world.attest()


def test_officers_change_and_who_pinned_version_1_follows(world: World) -> None:
    before, still, after = (
        [one.key_id for one in parse(world.attested_with[when]).signatures]
        for when in ("before", "still", "after")
    )
    assert before == still, "a key that is there waits for its time"
    assert [old == new for old, new in zip(before, after, strict=True)] == [False, False, True]

    verify = ("verify", "--trust", str(world.pinned), "--dir", str(world.public), "--at", "now")
    done = clearctl(*verify)
    assert done.returncode == DONE, done.stdout + done.stderr
    assert "version 2 from version 1" in done.stdout

    done = clearctl("verify", "--policy", str(world.folder / "old.txt"), "--dir", str(world.public))
    assert done.returncode == REFUSED, "a policy that does not change knows nothing of new officers"


def test_keys_that_were_taken_away_attest_nothing_more(world: World) -> None:
    copy, number = forge(world)
    done = clearctl("-o", "json", "verify", "--trust", str(world.pinned), "--dir", str(copy))
    assert done.returncode == REFUSED
    failed = [one for one in json.loads(done.stdout)["checks"] if not one["passed"]]
    assert failed[0]["name"] == f"attestation {number} signatures"
    assert "0 trusted keys signed" in failed[0]["detail"]


def new_keys(world: World) -> tuple[str, str]:
    """A key in a token for the risk officer, and one in a file for operations, as policies spell them."""
    token = world.token
    settings = environment_of(token.folder)
    where = ("--uri", token.uri, "--module", str(token.module), "--pin-file", str(token.pin_file))
    directory = ("--dir", str(world.served.keys))
    risk = clearing("keys", "import-token", "risk", *where, *directory, **settings).split()[-1]
    return risk, clearing("keys", "rotate", "operations", *directory).split()[-1]


def change_officers(world: World, risk: str, operations: str) -> None:
    """Version 2, signed by two trustees, one of whom did not sign version 1; the house publishes it."""
    one, two = (world.folder / "trust" / f"{number}.root.json" for number in (1, 2))
    officers = ("--officer", f"risk={risk}", "--officer", f"operations={operations}")
    trust("rotate", str(one), *officers, "--since", "now")
    for name in ("ben", "carl"):
        trust("sign", str(two), "--key", str(world.folder / f"{name}.key"))
    shutil.copy(two, world.served.keys / "trust")
    wait_until((world.public / "trust" / "2.root.json").exists)


def forge(world: World) -> tuple[Path, int]:
    """A copy of what is published, with one attestation more, by keys that were taken away; and its number."""
    last = parse(world.attestation(world.attested()).read_bytes()).payload
    statement = json.loads(last)
    statement["predicate"]["sequence"] = str(int(statement["predicate"]["sequence"]) + 1)
    statement["predicate"]["previous"] = payload_digest(last).hex()
    size = statement["predicate"]["journal"]["treeSize"]
    statement["predicate"]["journal"] |= {"previousTreeSize": size, "consistency": []}
    payload = json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()
    copy = world.folder / "forged"
    shutil.copytree(world.public, copy)
    number = world.attested() + 1
    envelope = sign(payload, PAYLOAD_TYPE, [*world.old.values()])
    (copy / "attestations" / f"{number:06}.json").write_bytes(envelope)
    return copy, number


def test_a_house_whose_officers_are_away_says_so_serves_on_and_attests_when_they_are_back(
    world: World,
) -> None:
    path = world.served.keys / "signing" / "operations.2.key"
    world.token.unplug()
    assert len(parse(world.attest()).signatures) == 2
    assert world.logged("an officer's key is away")
    kept = path.rename(world.folder / "kept.key")
    number = world.attested()
    world.prices()
    wait_until(lambda: world.logged("no attestation: too few officers can sign"))
    assert world.attested() == number
    assert world.served.journal_size() > 0
    size = world.served.journal_size()
    world.prices()
    wait_until(lambda: world.served.journal_size() > size)
    shutil.copy(kept, path)
    wait_until(lambda: world.attested() == number + 1)
    world.token.plug()
    assert len(parse(world.attest()).signatures) == 3
    assert world.logged("an officer's key is back")
    assert world.logged("enough officers can sign again")
    done = clearctl("verify", "--trust", str(world.pinned), "--dir", str(world.public), "--at", "now")
    assert done.returncode == DONE, done.stdout + done.stderr


def test_a_version_that_too_few_have_signed_changes_nothing(world: World) -> None:
    one, two, three = (world.folder / "trust" / f"{number}.root.json" for number in (1, 2, 3))
    trust("rotate", str(one), "--drop-trustee", "anna")
    trust("sign", str(three), "--key", str(world.folder / "ben.key"))
    shutil.copy(three, world.served.keys / "trust")
    wait_until(lambda: world.logged("new signing keys cannot be used"))
    assert len(parse(world.attest()).signatures) == 3
    assert not (world.public / "trust" / "3.root.json").exists()
    shutil.copy(three, world.public / "trust")
    done = clearctl("verify", "--trust", str(world.pinned), "--dir", str(world.public))
    assert done.returncode == REFUSED
    assert "root_not_signed" in done.stderr
    done = clearctl("trust", "verify", str(one))
    assert (done.returncode, "root_not_signed" in done.stderr) == (REFUSED, True)
    (world.public / "trust" / "3.root.json").unlink()
    (world.served.keys / "trust" / "3.root.json").unlink()
    three.unlink()
    early = clearctl("trust", "rotate", str(one), "--since", "2026-01-01T00:00:00.000Z")
    assert (early.returncode, "root_since" in early.stderr) == (REFUSED, True)
    assert (two.exists(), three.exists()) == (True, False)


def test_a_version_that_is_missing_is_not_skipped(world: World, tmp_path: Path) -> None:
    trusted = tmp_path / "trust"
    trusted.mkdir()
    shutil.copy(world.pinned, trusted)
    shutil.copytree(world.folder / "trust", tmp_path / "whole")
    three = tmp_path / "whole" / "3.root.json"
    trust("rotate", str(tmp_path / "whole" / "1.root.json"))
    for name in ("ben", "carl"):
        trust("sign", str(three), "--key", str(world.folder / f"{name}.key"))
    trust("verify", str(tmp_path / "whole" / "1.root.json"))
    shutil.copy(three, trusted)
    done = clearctl("trust", "verify", str(trusted / "1.root.json"))
    assert (done.returncode, "root_version" in done.stderr) == (REFUSED, True)


def test_an_expired_root_is_refused_by_its_reason(world: World) -> None:
    late = ("--at", "2999-01-01T00:00:00.000Z")
    done = clearctl("trust", "verify", str(world.pinned), *late)
    assert (done.returncode, "root_expired" in done.stderr) == (REFUSED, True)
    done = clearctl("verify", "--trust", str(world.pinned), "--dir", str(world.public), *late)
    assert (done.returncode, "root_expired" in done.stderr) == (REFUSED, True)


def test_one_believes_either_a_policy_or_a_trust_root(world: World) -> None:
    both = ("--policy", str(world.public / "policy.txt"), "--trust", str(world.pinned))
    for believed in (both, ()):
        done = clearctl("verify", *believed, "--dir", str(world.public))
        assert (done.returncode, "either --policy or --trust" in done.stderr) == (REFUSED, True)


def test_a_signature_is_written_as_a_bundle_of_its_officer(world: World, tmp_path: Path) -> None:
    file, out = world.attestation(world.attested()), tmp_path / "risk.sigstore.json"
    policy = str(world.public / "policy.txt")
    done = clearctl(
        "attestation", "bundle", str(file), "--policy", policy, "--role", "risk", "--out", str(out)
    )
    assert done.returncode == DONE, done.stderr
    bundle = json.loads(out.read_bytes())
    assert bundle["dsseEnvelope"]["payload"] == json.loads(file.read_bytes())["payload"]
    done = clearctl("attestation", "bundle", str(file), "--policy", policy, "--role", "janitor")
    assert (done.returncode, "names no janitor" in done.stderr) == (REFUSED, True)
    done = clearctl("attestation", "bundle", str(world.attestation(2)), "--policy", policy, "--role", "risk")
    assert (done.returncode, "has not signed" in done.stderr) == (REFUSED, True)


def test_a_house_whose_officers_were_replaced_without_a_trust_root_starts_again(tmp_path: Path) -> None:
    """Its newest attestation is of officers whom nobody names any more: it says so, and attests with the new ones."""
    state = ("--state", str(tmp_path / "state"))
    with served_house(tmp_path, *state):
        pass
    for role in ("risk", "operations"):
        house_keys.rotate(tmp_path / "keys", role)
    with serving(tmp_path, *state) as served:
        for source in SOURCES:
            with served.client(f"price-source/{source}") as client:
                key = signing_key(served.keys, source)
                prices = {"feeds/BTC": "64100.0", "feeds/ETH": "2000.0"}
                client.publish_prices(f"sources/{source}", prices, key=key, sequence=7)
        wait_until((tmp_path / "state" / "attestations" / "000002.json").exists)
    assert "other officers signed the newest attestation" in (tmp_path / "serve.log").read_text()
    policy = parse_policy((tmp_path / "state" / "policy.txt").read_bytes())
    open_attestation(policy, (tmp_path / "state" / "attestations" / "000002.json").read_bytes())
