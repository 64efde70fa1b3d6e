"""``clearctl`` as its users see it: tables and JSON, exit codes, and verification without a house."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clearing import chart
from clearing import keys as house_keys
from clearing.attest.signer import SigningKeys, sign_checkpoint
from clearing.model.ids import AccountKey, AssetId
from clearing_client.client import new_trade
from ledger.merkle import inclusion_path, leaf_hash, tree_root
from ledger.receipt import EntryReceipt, format_entry, format_legs, parse_entry
from ledger.store.connect import open_store
from ledger.store.receipts import newest_entries, receipt_of_legs
from ledger.store.tile_files import TileFiles
from tests import asking
from tests.clearctl import DONE, REFUSED, UNREACHABLE, WRONG_USE, answer, asked, clearctl
from tests.serving import HOUSE, Served, environment, wait_until

pytestmark = pytest.mark.slow

ALPHA, ANNA, RITA = "member/alpha", "administrator/anna", "regulator/rita"


@pytest.fixture(scope="module", autouse=True)
def one_trade(served: Served) -> None:
    with served.client(ALPHA) as alpha:
        one, two = "members/alpha/accounts/one", "members/alpha/accounts/two"
        trade = new_trade("BTC-PERP", buyer=one, seller=two, size="0.5", price="64000.0")
        alpha.submit_trades("members/alpha", [trade])


def test_status_shows_the_house(served: Served) -> None:
    done = asked(served, ALPHA, "status")
    assert done.returncode == DONE
    for shown in (HOUSE, "USDC (6 decimals)", "2, 0 in default", "1, closed", "BTC-PERP", "64,000.0", "open"):
        assert shown in done.stdout
    house = answer(served, ALPHA, "status")
    assert house["house"]["instruments"][0]["tickSize"] == "0.1"
    assert house["journalSize"] == str(served.journal_size())


def test_amounts_stand_in_columns_with_thousands_separated(served: Served) -> None:
    done = asked(served, ALPHA, "account", "list")
    lines = [line.rstrip() for line in done.stdout.splitlines() if "alpha/" in line]
    assert [line.split()[3] for line in lines] == ["0.000000", "999,993.600000", "999,993.600000"]
    assert len({line.index(line.split()[3]) + len(line.split()[3]) for line in lines}) == 1
    assert lines[2].split()[4:] == ["10", "ETH", "BTC-PERP", "-0.500"]


def test_a_member_sees_its_own_and_a_regulator_everything(served: Served) -> None:
    assert {row["name"].split("/")[1] for row in answer(served, ALPHA, "account", "list")} == {"alpha"}
    assert {row["name"].split("/")[1] for row in answer(served, RITA, "account", "list")} == {"alpha", "beta"}
    of_beta = answer(served, RITA, "account", "list", "--member", "beta")
    assert {row["name"].split("/")[1] for row in of_beta} == {"beta"}


def test_margin_of_all_and_of_one(served: Served) -> None:
    found = answer(served, ALPHA, "margin", "list")
    assert (len(found["margins"]), found["marginCalls"]) == (3, [])
    one = answer(served, ALPHA, "margin", "show", "alpha~one")
    assert one in found["margins"]
    assert one["health"] == "HEALTH_HEALTHY"
    done = asked(served, ALPHA, "margin", "show", "alpha~one")
    assert "healthy" in done.stdout
    assert "999,993.600000" in done.stdout


def test_a_preview_says_who_would_pay(served: Served) -> None:
    done = asked(served, ANNA, "preview", "alpha", "--move", "-25%")
    assert done.returncode == DONE
    assert "If alpha failed now, after BTC −25.00%, ETH −25.00%" in done.stdout
    assert "skin in the game" in done.stdout
    found = answer(served, ANNA, "preview", "alpha", "--move", "+7.5%")
    assert {move["moveBp"] for move in found["moves"]} == {750}


def test_there_is_no_default_to_list_or_show(served: Served) -> None:
    assert "No default was ever declared" in asked(served, ALPHA, "default", "list").stdout
    assert answer(served, ALPHA, "default", "list") == []
    done = asked(served, ALPHA, "default", "show", "d1")
    assert (done.returncode, done.stdout) == (REFUSED, "")
    assert done.stderr.startswith("clearctl: DEFAULT_UNKNOWN: no such default")


@pytest.mark.parametrize(
    ("who", "arguments", "reason"),
    [
        (ALPHA, ("account", "list", "--member", "beta"), "NOT_YOURS"),
        (ALPHA, ("margin", "show", "beta~one"), "NOT_YOURS"),
        (ALPHA, ("preview", "beta"), "ROLE_NOT_ALLOWED"),
        (ANNA, ("default", "preview", "nobody"), "MEMBER_UNKNOWN"),
        (ANNA, ("margin", "show", "No Set"), "REQUEST_INVALID"),
    ],
)
def test_what_the_house_refuses_ends_with_one_and_the_reason(
    served: Served, who: str, arguments: tuple[str, ...], reason: str
) -> None:
    done = asked(served, who, *arguments)
    assert (done.returncode, done.stdout) == (REFUSED, "")
    assert done.stderr.startswith(f"clearctl: {reason}: ")


def test_wrong_fields_are_listed_one_a_line(served: Served) -> None:
    assert (
        "\n  netting_set: must be the name of a netting set"
        in asked(served, ANNA, "margin", "show", "No Set").stderr
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "--nonsense"),
        ("nonsense",),
        ("default", "preview"),
        ("preview", "a", "--move", "25"),
        ("--output", "xml", "status"),
        ("status",),
        ("--keys", "/nonexistent", "status"),
    ],
)
def test_wrong_use_ends_with_two(arguments: tuple[str, ...]) -> None:
    done = clearctl(*arguments)
    assert (done.returncode, done.stdout) == (WRONG_USE, "")
    assert done.stderr


def test_a_house_that_is_not_there_ends_with_three(served: Served) -> None:
    done = clearctl("--house", "127.0.0.1:1", "--keys", str(served.keys / "clients" / ALPHA), "status")
    assert (done.returncode, done.stdout) == (UNREACHABLE, "")
    assert "127.0.0.1:1 was not reached" in done.stderr


def test_the_environment_stands_in_for_options(served: Served) -> None:
    keys = str(served.keys / "clients" / ALPHA)
    done = clearctl("status", CLEARCTL_HOUSE=served.address, CLEARCTL_KEYS=keys, CLEARCTL_OUTPUT="json")
    assert json.loads(done.stdout)["house"]["house"] == HOUSE


@pytest.mark.parametrize(
    "command",
    [(), ("status",), ("account", "list"), ("preview",), ("default", "list"), ("verify",)],
)
def test_help_teaches_with_examples(command: tuple[str, ...]) -> None:
    done = clearctl(*command, "--help")
    assert done.returncode == DONE
    assert f"clearctl {' '.join(command)}".rstrip() in " ".join(done.stdout.split())


# verify ---------------------------------------------------------------------------------------------------


@pytest.fixture
def published(served: Served, tmp_path: Path) -> Path:
    """What the running house has published, taken away."""
    wait_until((served.directory / "state" / "checkpoint").exists)
    return Path(shutil.copytree(served.directory / "state", tmp_path / "published"))


def verify(directory: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Verify ``directory`` against the policy in it."""
    return clearctl("verify", "--policy", str(directory / "policy.txt"), "--dir", str(directory), *more)


def test_what_the_house_published_verifies_without_it(published: Path) -> None:
    done = verify(published, "--at", "now")
    assert done.returncode == DONE, done.stdout
    assert "All 7 checks held" in done.stdout
    report = json.loads(clearctl("--output", "json", *arguments_of(published)).stdout)
    assert report["ok"] is True
    assert {check["passed"] for check in report["checks"]} == {True}


def arguments_of(directory: Path) -> tuple[str, ...]:
    return "verify", "--policy", str(directory / "policy.txt"), "--dir", str(directory)


def test_a_changed_attestation_fails_and_says_which_check(published: Path) -> None:
    path = published / "attestations" / "000001.json"
    envelope = json.loads(path.read_text())
    envelope["payload"] = envelope["payload"][:-8] + "AAAAAAA="
    path.write_text(json.dumps(envelope))
    done = verify(published)
    assert done.returncode == REFUSED
    assert "FAILED" in next(line for line in done.stdout.splitlines() if "attestation 1 signatures" in line)


def test_an_attestation_out_of_its_time_fails(published: Path) -> None:
    assert verify(published, "--at", "2020-01-01T00:00:00.000Z").returncode == REFUSED


def test_a_checkpoint_of_another_log_fails(published: Path) -> None:
    note = (published / "checkpoint").read_text()
    (published / "checkpoint").write_text(note.replace(f"{HOUSE}/journal\n", "other/journal\n", 1))
    assert verify(published).returncode == REFUSED


def test_missing_files_and_broken_policies_are_named(published: Path) -> None:
    (published / "checkpoint").unlink()
    done = verify(published)
    assert (done.returncode, done.stdout) == (REFUSED, "")
    assert "checkpoint cannot be read" in done.stderr
    (published / "policy.txt").write_text("nonsense\n")
    assert "line 1: nonsense is no directive" in verify(published).stderr


def test_a_time_that_is_none_is_wrong_use(published: Path) -> None:
    assert verify(published, "--at", "yesterday").returncode == WRONG_USE


# verify: tiles and receipts ---------------------------------------------------------------------------------

CASH = chart.cash(AccountKey("alpha/one"), AssetId("USDC"))


@pytest.fixture(scope="module")
def kept(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The house's log, an older checkpoint of it, and a receipt that alpha got, taken away."""
    folder, tiles = tmp_path_factory.mktemp("kept"), served.directory / "house.db.tiles"
    with served.client(ALPHA) as alpha:
        one, two = "members/alpha/accounts/one", "members/alpha/accounts/two"
        (folder / "old").write_text(asking.checkpoint(alpha))
        trade = new_trade("BTC-PERP", buyer=one, seller=two, size="0.5", price="64000.0")
        alpha.submit_trades("members/alpha", [trade])
        wait_until(lambda: f"\n{served.journal_size()}\n" in asking.checkpoint(alpha))
    shutil.copytree(tiles, folder / "log")
    shutil.copy(served.keys / "policy.txt", folder)
    note, tree = (tiles / "checkpoint").read_bytes(), TileFiles(tiles).tree()
    database = open_store(f"sqlite:///{served.directory / 'house.db'}")
    with database.connect() as connection:
        (sequence,) = newest_entries(connection, [CASH.id]).values()
        receipt = receipt_of_legs(connection, tree, note, sequence, CASH.id)
    database.dispose()
    (folder / "legs.receipt").write_bytes(format_legs(receipt))
    (folder / "entry.receipt").write_bytes(format_entry(receipt.entry))
    return folder


@pytest.fixture
def mine(kept: Path, tmp_path: Path) -> Path:
    """A copy of what was kept, to be changed."""
    return Path(shutil.copytree(kept, tmp_path / "mine"))


def check(folder: Path, *asked: str) -> subprocess.CompletedProcess[str]:
    """Verify what is ``asked`` in ``folder``."""
    named = [part if part.startswith("-") or ":" in part else str(folder / part) for part in asked]
    return clearctl("verify", "--policy", str(folder / "policy.txt"), *named)


def failed(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What did not hold."""
    assert done.returncode == REFUSED, done.stdout
    return [line.removeprefix("FAILED").strip() for line in done.stdout.splitlines() if "FAILED" in line]


@pytest.mark.parametrize(
    ("asked", "held"),
    [
        (("--tiles", "log"), 3),
        (("--tiles", "log", "--seen", "old"), 5),
        (("--tiles", "log", "--seen", "old", "--seen", "log/checkpoint"), 7),
        (("--receipt", "entry.receipt"), 2),
        (("--receipt", "legs.receipt"), 3),
        (("--receipt", "legs.receipt", "--account", f"{CASH.path}:{CASH.unit}"), 3),
        (("--receipt", "legs.receipt", "--receipt", "entry.receipt", "--tiles", "log"), 10),
    ],
)
def test_what_was_kept_holds_without_the_house(kept: Path, asked: tuple[str, ...], held: int) -> None:
    done = check(kept, *asked)
    assert (done.returncode, done.stderr) == (DONE, ""), done.stdout
    assert f"All {held} checks held" in done.stdout


def test_a_receipt_says_what_it_proves(kept: Path) -> None:
    told = check(kept, "--receipt", "legs.receipt").stdout
    assert f"they debit account {CASH.id.hex()} by 6400000 smallest units" in " ".join(told.split())


def test_attestations_and_a_log_in_another_folder_are_checked_together(published: Path, kept: Path) -> None:
    done = verify(published, "--tiles", str(kept / "log"), "--seen", str(kept / "old"))
    assert done.returncode == DONE, done.stdout
    size = (published / "checkpoint").read_text().splitlines()[1]
    assert done.stdout.count(f"journal at {size} ") >= 2, "the attested tree and the checkpoint beside it"


@pytest.mark.parametrize("path", ["tile/entries/000.p/*", "tile/0/000.p/*"])
def test_a_changed_tile_is_named(mine: Path, path: str) -> None:
    for tile in (mine / "log").glob(path):
        tile.write_bytes(tile.read_bytes()[:-1] + b"?")
    (line,) = failed(check(mine, "--tiles", "log"))
    assert line.startswith("journal at ")
    assert path.removesuffix("*") in line


def test_a_missing_tile_is_named(mine: Path) -> None:
    shutil.rmtree(mine / "log" / "tile" / "entries")
    (line,) = failed(check(mine, "--tiles", "log"))
    assert "is not there" in line


def test_a_log_that_is_not_the_one_that_was_seen_fails(served: Served, mine: Path) -> None:
    keys = house_keys.read_signing_keys(served.keys)
    size = TileFiles(mine / "log").tree().size
    (mine / "other").write_bytes(sign_checkpoint(keys, size - 1, bytes(32)))
    assert failed(check(mine, "--tiles", "log", "--seen", "other"))[0].startswith(f"journal at {size - 1} ")
    (mine / "longer").write_bytes(sign_checkpoint(keys, size + 1, bytes(32)))
    assert "the journal ends after" in failed(check(mine, "--tiles", "log", "--seen", "longer"))[0]


def test_a_receipt_under_a_tree_that_the_log_never_had_fails_once_the_log_is_there(
    served: Served, mine: Path
) -> None:
    keys, receipt = (
        house_keys.read_signing_keys(served.keys),
        parse_entry((mine / "entry.receipt").read_bytes()),
    )
    (mine / "forged.receipt").write_bytes(format_entry(forge(receipt, keys)))
    assert check(mine, "--receipt", "forged.receipt").returncode == DONE, "alone it cannot be told"
    assert failed(check(mine, "--receipt", "forged.receipt", "--tiles", "log"))


def forge(receipt: EntryReceipt, keys: SigningKeys) -> EntryReceipt:
    """The same leaf at its place in a tree that the house made up and signed."""
    assert receipt.extra is not None
    hashes = [bytes(32)] * receipt.index + [leaf_hash(receipt.extra)]
    note = sign_checkpoint(keys, len(hashes), tree_root(hashes))
    path = inclusion_path(hashes, receipt.index)
    return EntryReceipt(index=receipt.index, path=path, note=note, extra=receipt.extra)


def test_a_receipt_of_somebody_else_or_with_a_changed_leg_fails(mine: Path) -> None:
    other = f"{CASH.path.replace('one', 'two')}:{CASH.unit}"
    assert "is of account" in failed(check(mine, "--receipt", "legs.receipt", "--account", other))[0]
    assert "shows no legs" in failed(check(mine, "--receipt", "entry.receipt", "--account", other))[0]
    path = mine / "legs.receipt"
    first, leg, *rest = path.read_text().split("\n")
    path.write_text("\n".join([first, leg[:-4] + "AAAA", *rest]))
    assert failed(check(mine, "--receipt", "legs.receipt"))[0].startswith("receipt legs")
    path.write_text("nonsense\n\n")
    assert failed(check(mine, "--receipt", "legs.receipt"))[0].startswith("receipt ")


def test_a_stranger_who_signs_the_same_log_is_not_believed(mine: Path, tmp_path: Path) -> None:
    house_keys.init(tmp_path / "stranger", HOUSE, [])
    shutil.copy(tmp_path / "stranger" / "policy.txt", mine)
    for what in (("--tiles", "log"), ("--receipt", "entry.receipt"), ("--receipt", "legs.receipt")):
        assert "no trusted key has signed this note" in failed(check(mine, *what))[0]


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ((), "say what to check"),
        (("--seen", "old"), "say what to check"),
        (("--tiles", "log", "--account", "a:USDC"), "give --receipt"),
        (("--tiles", "log", "--at", "now"), "give --dir"),
        (("--receipt", "legs.receipt", "--account", "members/alpha"), "write PATH:UNIT"),
        (("--receipt", "legs.receipt", "--account", "Members:USDC"), "not an account path"),
    ],
)
def test_what_would_go_unchecked_is_wrong_use(kept: Path, asked: tuple[str, ...], complaint: str) -> None:
    named = [str(kept / part) if (kept / part).exists() else part for part in asked]
    done = clearctl("verify", "--policy", str(kept / "policy.txt"), *named)
    assert (done.returncode, done.stdout) == (WRONG_USE, "")
    assert complaint in done.stderr


def test_a_folder_that_holds_everything_is_held_against_what_was_seen_too(
    served: Served, published: Path, mine: Path
) -> None:
    shutil.copytree(mine / "log", published, dirs_exist_ok=True)
    assert (
        verify(published, "--seen", str(mine / "old"), "--receipt", str(mine / "legs.receipt")).returncode
        == DONE
    )
    keys = house_keys.read_signing_keys(served.keys)
    (mine / "other").write_bytes(sign_checkpoint(keys, 3, bytes(32)))
    assert failed(verify(published, "--seen", str(mine / "other")))[0].startswith("journal at 3 ")


def test_a_checkpoint_that_was_seen_needs_the_log(published: Path, kept: Path) -> None:
    done = verify(published, "--seen", str(kept / "old"))
    assert (done.returncode, done.stdout) == (REFUSED, "")
    assert "give --tiles" in done.stderr


def test_verifying_loads_neither_grpc_nor_a_database() -> None:
    code = (
        "import sys\n"
        "from clearctl import app, verification, writing\n"
        "from clearctl.nouns import verify\n"
        "loaded = {'grpc', 'google.protobuf', 'sqlalchemy', 'immutables', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {loaded}' if loaded else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
