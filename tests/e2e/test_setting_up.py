"""A house from nothing with what the runbook tells to type, and what is refused on the way."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clearctl import DONE, PROGRAM, REFUSED, WRONG_USE, answer, asked, at_a_terminal, clearctl
from tests.serving import CLEARING, Served, environment, serving

pytestmark = pytest.mark.slow

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
ANNA, VAULT, ALPHA = "administrator/anna", "custodian/vault", "member/alpha"
LISTENS = "127.0.0.1:7443"


def documented() -> list[str]:
    """The lines of the section, up to the house of the demonstration."""
    section = RUNBOOK.read_text().partition("## Set up a house\n")[2].partition("A house to try")[0]
    return re.findall(r"^ {4}(.+)$", section, flags=re.MULTILINE)


def typed(directory: Path, script: str) -> None:
    """Type ``script`` in a shell, with both programs of this checkout on its path."""
    for name, program in (("clearctl", PROGRAM[2]), ("clearing", CLEARING)):
        (directory / "bin").mkdir(exist_ok=True)
        (directory / "bin" / name).write_text(f"#!{sys.executable}\n{program}\n")
        (directory / "bin" / name).chmod(0o755)
    around = environment()
    settings = around | {
        "PATH": f"{directory / 'bin'}:{around['PATH']}",
        "CLEARCTL_CONFIG": str(directory / "config"),
    }
    done = subprocess.run(
        ["bash", "-euc", script], cwd=directory, env=settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == DONE, (done.stdout, done.stderr)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A served house that nobody has founded, with the keys of the runbook."""
    directory = tmp_path_factory.mktemp("new")
    keys, serve = documented()[:2]
    assert serve.startswith("clearing serve ")
    typed(directory, keys)
    with serving(directory, house="my-house") as running:
        yield running


def founding(directory: Path, **changed: object) -> Path:
    """A file to found a house with, with fields of its parameters changed."""
    template = json.loads(clearctl("house", "template").stdout)
    template["parameters"] |= changed
    file = directory / "changed.json"
    file.write_text(json.dumps(template))
    return file


def test_a_house_is_founded_and_set_up_as_the_runbook_says(empty: Served) -> None:
    refused = asked(empty, ALPHA, "status")
    assert refused.returncode == REFUSED
    assert "HOUSE_NOT_FOUNDED" in refused.stderr
    assert "clearctl house found founding.json" in refused.stderr

    for line in documented()[2:]:
        typed(empty.directory, line.replace(LISTENS, empty.address))

    house = answer(empty, ANNA, "status")["house"]
    assert (house["house"], house["cycle"], house["memberCount"]) == ("my-house", "1", 1)
    assert [one["markPrice"] for one in house["instruments"]] == ["64000.0"]
    (trade,) = answer(empty, ALPHA, "trade", "list")
    assert (trade["size"], trade["price"]) == ("0.500", "64000.0")
    again = asked(empty, ANNA, "house", "found", str(empty.directory / "founding.json"), "--yes")
    assert again.stderr.startswith("clearctl: HOUSE_ALREADY_FOUNDED")
    late = asked(empty, ANNA, "member", "admit", "beta", "--name", "B", "--reason", "r", "--at-once")
    assert (late.returncode, late.stderr.split(":")[1]) == (REFUSED, " TWO_ADMINISTRATORS_NEEDED")


def test_what_a_house_would_be_is_shown_before_it_is_founded(tmp_path: Path) -> None:
    typed(tmp_path, documented()[0])
    with serving(tmp_path, house="my-house") as served:
        file = founding(tmp_path, requirementBp=15_000)
        without = asked(served, ANNA, "house", "found", str(file))
        assert (without.returncode, without.stdout) == (WRONG_USE, "")
        asked_for = at_a_terminal(served, ANNA, "house", "found", str(file), typing="no")
        assert asked_for.returncode == REFUSED
        for shown in ("my-house", "USDC (6 decimals)", "12,500", "15,000"):
            assert shown in asked_for.stderr
        tried = asked(served, ANNA, "--dry-run", "house", "found", str(file))
        assert tried.stdout.startswith("Dry run, nothing was changed.")
        beyond = founding(tmp_path, priceQuorum=0)
        assert "parameters.price_quorum" in asked(served, ANNA, "house", "found", str(beyond)).stderr
        assert "HOUSE_NOT_FOUNDED" in asked(served, ANNA, "status").stderr


def test_what_is_used_wrongly_asks_no_house(tmp_path: Path) -> None:
    here = ("--house", "127.0.0.1:1", "--keys", str(tmp_path))
    (tmp_path / "bad.json").write_text('{"nonsense": 1}')
    wrong = [
        ("house", "found", str(tmp_path / "bad.json")),
        ("house", "found", str(tmp_path / "none.json")),
        ("house", "fund", "purse", "1"),
        ("change", "retire-source", "s1", "--reason", "r", "--at-once", "--id", "p1"),
    ]
    assert [clearctl(*here, *command).returncode for command in wrong] == [WRONG_USE] * len(wrong)


def test_custody_reports_an_asset_that_is_back_once_one_was_lost(served: Served) -> None:
    back = ("deposit", "replace", "1", "ETH")
    assert asked(served, VAULT, *back).returncode == REFUSED
    lost = ("change", "non-default-loss", "1", "ETH", "--reason", "r", "--id", "lost", "--yes")
    assert asked(served, ANNA, *lost).returncode == DONE
    assert asked(served, "administrator/bert", "proposal", "approve", "lost", "--yes").returncode == DONE
    (gate,) = answer(served, ANNA, "gate", "list")
    assert gate["reason"].startswith("NON_DEFAULT_LOSS ")
    assert asked(served, VAULT, *back).stdout == "Replaced 1 ETH.\n"
    assert answer(served, ANNA, "gate", "list") == []


def test_only_custody_reports_money_of_the_house(served: Served) -> None:
    fund = ("house", "fund", "capital", "1.50")
    assert asked(served, ANNA, *fund).stderr.startswith("clearctl: ROLE_NOT_ALLOWED")
    assert asked(served, VAULT, *fund).stdout == "Credited 1.50 to house/capital.\n"
