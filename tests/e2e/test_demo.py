"""The demonstration: the same seed always ends alike, whatever happens on the way."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

RUN_SECONDS_MAX = 120


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from clearing.cli import main; main()", "demo", *arguments]


def run(*arguments: str, **environment: str) -> dict[str, Any]:
    """Run the demonstration to its end and read its JSON."""
    done = subprocess.run(
        command("--output", "json", *arguments),
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS_MAX,
        check=True,
        env=os.environ | environment,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def seven() -> dict[str, Any]:
    return run("--seed", "7", PYTHONHASHSEED="1")


def test_the_same_seed_gives_the_same_root_whatever_the_hash_seed_of_the_process(
    seven: dict[str, Any],
) -> None:
    assert run("--seed", "7", PYTHONHASHSEED="2") == seven


def test_another_seed_gives_another_root(seven: dict[str, Any]) -> None:
    assert run("--seed", "8")["root"] != seven["root"]


def test_every_unit_balances_and_everything_verifies(seven: dict[str, Any]) -> None:
    assert seven["trial_balance_zero"] is True
    assert seven["verified"] is True
    assert seven["calls"] > 0
    assert seven["liquidations"] > 0
    assert Decimal(0) < Decimal(seven["netting_benefit"]) < Decimal(1)


def test_draws_and_what_is_uncovered_are_the_loss(seven: dict[str, Any]) -> None:
    for default in seven["defaults"]:
        draws = sum((Decimal(draw["amount"]) for draw in default["draws"]), Decimal(0))
        assert draws + Decimal(default["uncovered"]) == Decimal(default["loss"])


@pytest.mark.parametrize("seed", [1, 2, 3, 11])
def test_a_loss_reaches_the_pool_and_the_winners_with_any_books(seed: int) -> None:
    result = run("--seed", str(seed))
    tiers = {draw["tier"] for default in result["defaults"] for draw in default["draws"]}
    assert {2, 3, 4, 5, 6, 7, 8} <= tiers
    assert result["verified"] is True


@pytest.mark.parametrize("commands_before_the_kill", [70, 150, 190, 230, 270])
def test_a_run_that_is_killed_goes_on_and_ends_with_the_same_root(
    tmp_path: Path, seven: dict[str, Any], commands_before_the_kill: int
) -> None:
    process = subprocess.Popen(command("--out", str(tmp_path)), stdout=subprocess.DEVNULL)
    _wait_for_requests(tmp_path / "house.sqlite", commands_before_the_kill, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    recorded = _requests(tmp_path / "house.sqlite")
    resumed = run("--out", str(tmp_path))
    assert commands_before_the_kill <= recorded < _requests(tmp_path / "house.sqlite")
    assert resumed == seven


def test_a_folder_with_the_run_of_another_seed_is_refused(tmp_path: Path) -> None:
    run("--seed", "1", "--out", str(tmp_path))
    refused = subprocess.run(
        command("--seed", "2", "--out", str(tmp_path)), capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert "holds the run of demo-1" in refused.stderr


def test_the_text_tells_who_paid_and_why() -> None:
    told = subprocess.run(
        command(), capture_output=True, text=True, check=True, timeout=RUN_SECONDS_MAX
    ).stdout
    for sentence in ("Waterfall: aurora could not pay", "Σ draws + uncovered", "socialised loss", "verified"):
        assert sentence in told


def _wait_for_requests(database: Path, wanted: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + RUN_SECONDS_MAX
    while time.monotonic() < deadline and process.poll() is None:
        if _requests(database) >= wanted:
            return
        time.sleep(0.005)
    pytest.fail("the run ended before it could be killed")


def _requests(database: Path) -> int:
    if not database.exists():
        return 0
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM requests").fetchone()[0])
        except sqlite3.OperationalError:
            return 0
