"""``clearctl`` as its users see it: tables and JSON, exit codes, and verification without a house."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clearing_client.client import new_trade
from tests.serving import HOUSE, Served, environment, wait_until

ALPHA, ANNA, RITA = "member/alpha", "administrator/anna", "regulator/rita"
DONE, REFUSED, WRONG_USE, UNREACHABLE = 0, 1, 2, 3


def clearctl(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run clearctl to its end."""
    return subprocess.run(
        [sys.executable, "-c", "from clearctl.app import main; main()", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment() | settings,
        timeout=60,
    )


def asked(served: Served, who: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Ask the served house as ``who``."""
    return clearctl("--house", served.address, "--keys", str(served.keys / "clients" / who), *arguments)


def answer(served: Served, who: str, *arguments: str) -> Any:
    """The JSON that an accepted question is answered with."""
    done = asked(served, who, "--output", "json", *arguments)
    assert done.returncode == DONE, done.stderr
    return json.loads(done.stdout)


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
    done = asked(served, ALPHA, "accounts")
    lines = [line.rstrip() for line in done.stdout.splitlines() if "alpha/" in line]
    assert [line.split()[3] for line in lines] == ["0.000000", "999,993.600000", "999,993.600000"]
    assert len({line.index(line.split()[3]) + len(line.split()[3]) for line in lines}) == 1
    assert lines[2].split()[4:] == ["10", "ETH", "BTC-PERP", "-0.500"]


def test_a_member_sees_its_own_and_a_regulator_everything(served: Served) -> None:
    assert {row["name"].split("/")[1] for row in answer(served, ALPHA, "accounts")} == {"alpha"}
    assert {row["name"].split("/")[1] for row in answer(served, RITA, "accounts")} == {"alpha", "beta"}
    of_beta = answer(served, RITA, "accounts", "--member", "beta")
    assert {row["name"].split("/")[1] for row in of_beta} == {"beta"}


def test_margin_of_all_and_of_one(served: Served) -> None:
    found = answer(served, ALPHA, "margin")
    assert (len(found["margins"]), found["marginCalls"]) == (3, [])
    one = answer(served, ALPHA, "margin", "alpha~one")
    assert one in found["margins"]
    assert one["health"] == "HEALTH_HEALTHY"
    done = asked(served, ALPHA, "margin", "alpha~one")
    assert "healthy" in done.stdout
    assert "999,993.600000" in done.stdout


def test_a_preview_says_who_would_pay(served: Served) -> None:
    done = asked(served, ANNA, "default", "preview", "--member", "alpha", "--move", "-25%")
    assert done.returncode == DONE
    assert "If alpha failed now, after BTC −25.00%, ETH −25.00%" in done.stdout
    assert "skin in the game" in done.stdout
    found = answer(served, ANNA, "default", "preview", "--member", "alpha", "--move", "+7.5%")
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
        (ALPHA, ("accounts", "--member", "beta"), "NOT_YOURS"),
        (ALPHA, ("margin", "beta~one"), "NOT_YOURS"),
        (ALPHA, ("default", "preview", "--member", "beta"), "ROLE_NOT_ALLOWED"),
        (ANNA, ("default", "preview", "--member", "nobody"), "MEMBER_UNKNOWN"),
        (ANNA, ("margin", "No Set"), "REQUEST_INVALID"),
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
        "\n  netting_set: must be the name of a netting set" in asked(served, ANNA, "margin", "No Set").stderr
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "--nonsense"),
        ("nonsense",),
        ("default", "preview"),
        ("default", "preview", "--member", "a", "--move", "25"),
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
    [(), ("status",), ("accounts",), ("margin",), ("default", "preview"), ("default", "list"), ("verify",)],
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


def test_verifying_loads_neither_grpc_nor_a_database() -> None:
    code = (
        "import sys\n"
        "from clearctl import app, verification, writing\n"
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
