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

from tests.market_data import market_file

pytestmark = pytest.mark.slow

RUN_SECONDS_MAX = 120


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from clearing.cli import main; main()", "demo", *arguments]


def run(*arguments: str, **environment: str) -> dict[str, Any]:
    """Run the demonstration to its end, without server, and read its JSON."""
    return result_of("--in-process", *arguments, **environment)


def result_of(*arguments: str, **environment: str) -> dict[str, Any]:
    """The JSON of a run."""
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


def test_over_the_interface_it_ends_as_in_one_process(seven: dict[str, Any]) -> None:
    """Each command from the one who may send it, over gRPC with mutual TLS, to a house of its own: the same root."""
    assert result_of("--seed", "7") == seven


def test_another_seed_gives_another_root(seven: dict[str, Any]) -> None:
    assert run("--seed", "8")["root"] != seven["root"]


def test_every_unit_balances_and_everything_verifies(seven: dict[str, Any]) -> None:
    assert seven["trial_balance_zero"] is True
    assert seven["verified"] is True
    assert seven["calls"] > 0
    assert seven["liquidations"] > 0
    assert Decimal(0) < Decimal(seven["netting_benefit"]) < Decimal(1)


def test_the_pool_covers_less_than_cover_two_at_first_and_the_funds_make_it_worse(
    seven: dict[str, Any],
) -> None:
    shares = [Decimal(one) for one in seven["pool_coverage"] if one is not None]
    assert Decimal(0) == min(shares) < shares[0] < Decimal(1)


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


def events_of(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {default["id"]: default for default in result["defaults"]}


def test_of_two_trades_between_members_one_matches_and_one_expires(seven: dict[str, Any]) -> None:
    assert seven["halves"] == {"block-1": "accepted", "block-2": "expired"}


def test_a_withdrawal_is_refused_while_a_loss_is_open_and_accepted_when_the_gate_opens(
    seven: dict[str, Any],
) -> None:
    refusals = [one["refused"] for one in seven["withdrawals"]]
    assert any("GATE_SHUT: DEFAULT_OPEN d2, until the loss is allocated" in one for one in refusals)
    assert any("ASSESSMENT_UNPAID d2 meridian, until payment" in one for one in refusals)
    assert refusals[-1] == ""


def test_an_assessment_that_is_not_paid_is_the_next_event_and_one_that_is_paid_is_not(
    seven: dict[str, Any],
) -> None:
    events = events_of(seven)
    (unpaid,) = events["d2"]["assessments_unpaid"]
    assessed = {draw["payer"]: Decimal(draw["amount"]) for draw in events["d2"]["draws"] if draw["tier"] == 7}
    assert set(assessed) == {"borealis", "meridian"}
    assert unpaid["member"] == "meridian"
    assert Decimal(0) < Decimal(unpaid["amount"]) < assessed["meridian"]
    following = events[unpaid["next"]]
    assert following["netting_sets"] == []
    assert Decimal(following["loss"]) == Decimal(unpaid["amount"])
    assert {draw["tier"] for draw in following["draws"]} == {4, 5}


def test_what_is_recovered_makes_the_claims_smaller(seven: dict[str, Any]) -> None:
    default = events_of(seven)["d2"]
    drawn = sum(Decimal(draw["amount"]) for draw in default["draws"])
    answered = sum(Decimal(one["amount"]) for one in default["answered"])
    unpaid = sum(Decimal(one["amount"]) for one in default["assessments_unpaid"])
    assert Decimal(default["recovered"]) > 0
    assert Decimal(default["claims_left"]) == drawn + answered - unpaid - Decimal(default["recovered"])


def test_clients_of_a_member_in_default_are_ported_but_for_one_that_is_closed_out(
    seven: dict[str, Any],
) -> None:
    offered = [one for one in seven["portings"] if one["offered"] == "13T03"]
    taken = {one["netting_set"]: one["taker"] for one in offered if one["taker"]}
    assert taken["link/maker-1"] == "borealis/maker-1"
    assert any(taker.startswith("meridian/") for taker in taken.values())
    (unwanted,) = [one for one in offered if not one["taker"]]
    assert unwanted["ended"] == "14T03"
    closed = [one for one in seven["defaults"] if one["netting_sets"] == [unwanted["netting_set"]]]
    assert [one["stage"] for one in closed] == ["closed"]


def test_two_providers_bid_for_the_positions_of_the_default_and_both_are_awarded_some(
    seven: dict[str, Any],
) -> None:
    default = events_of(seven)["d2"]
    (auction,) = [one for one in default["auctions"] if one["kind"] == "close_out"]
    bidders = {bid["account"] for bid in auction["bids"]}
    assert bidders == {"borealis/provider-1", "borealis/provider-2"}
    assert {award["account"] for award in auction["awards"]} == bidders
    assert default["bidders"] == ["borealis"]


@pytest.mark.parametrize("scenario", ["may-2021", "ftx-2022"])
def test_another_scenario_runs_to_its_end_and_verifies(scenario: str) -> None:
    folder = str(market_file("hourly_ohlcv.csv.gz").parent)
    result = run("--scenario", scenario, CLEARING_MARKET_DATA=folder)
    assert result["scenario"] == scenario
    assert result["trial_balance_zero"] is True
    assert result["verified"] is True
    assert result["calls"] > 0
    assert result["liquidations"] > 0
    test_draws_and_what_is_uncovered_are_the_loss(result)


def test_a_scenario_without_its_market_data_says_what_to_set(tmp_path: Path) -> None:
    for folder, says in (("", "set CLEARING_MARKET_DATA"), (str(tmp_path), "there is no ")):
        refused = subprocess.run(
            command("--scenario", "luna-2022"),
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"CLEARING_MARKET_DATA": folder},
        )
        assert refused.returncode == 1
        assert says in refused.stderr


def test_the_scenarios_are_listed_with_their_worst_hour_and_day_even_without_market_data(
    tmp_path: Path,
) -> None:
    told = subprocess.run(
        command("--scenario", "list"),
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"CLEARING_MARKET_DATA": str(tmp_path)},
    ).stdout
    for words in ("march-2020", "-16.55 %", "-44.00 %", "ftx-2022", "Not all can be run"):
        assert words in told


@pytest.mark.parametrize("how", [(), ("--in-process",)], ids=["over gRPC", "in one process"])
@pytest.mark.parametrize("commands_before_the_kill", [120, 400, 700])
def test_a_run_that_is_killed_goes_on_and_ends_with_the_same_root(
    tmp_path: Path, seven: dict[str, Any], commands_before_the_kill: int, how: tuple[str, ...]
) -> None:
    process = subprocess.Popen(command("--out", str(tmp_path), *how), stdout=subprocess.DEVNULL)
    _wait_for_requests(tmp_path / "house.sqlite", commands_before_the_kill, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    recorded = _requests(tmp_path / "house.sqlite")
    resumed = result_of("--out", str(tmp_path), *how)
    assert commands_before_the_kill <= recorded < _requests(tmp_path / "house.sqlite")
    assert resumed == seven


def test_a_folder_with_the_run_of_another_seed_is_refused(tmp_path: Path) -> None:
    run("--seed", "1", "--out", str(tmp_path))
    refused = subprocess.run(
        command("--seed", "2", "--out", str(tmp_path)), capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert "holds the run of demo-1" in refused.stderr


def test_a_folder_with_the_run_of_another_scenario_is_refused(tmp_path: Path) -> None:
    folder = str(market_file("hourly_ohlcv.csv.gz").parent)
    run("--out", str(tmp_path))
    refused = subprocess.run(
        command("--scenario", "may-2021", "--out", str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"CLEARING_MARKET_DATA": folder},
    )
    assert refused.returncode == 1
    assert "holds the run of demo-7:" in refused.stderr


def test_the_text_tells_who_paid_and_why() -> None:
    told = subprocess.run(
        command(), capture_output=True, text=True, check=True, timeout=RUN_SECONDS_MAX
    ).stdout
    for sentence in (
        *("Waterfall: aurora could not pay", "Σ draws + uncovered", "socialised loss", "verified"),
        *("Volatilities: modelled", "volatility (modelled)", "BTC vol.", "After an hour it expires."),
        *("meridian did not bid in the auction", "the next event is d4", "Recovered in 14T03"),
        *("was taken by nobody, and closed out a day later", "borealis took"),
        *("refused, GATE_SHUT: DEFAULT_OPEN d2", "held, sent and paid"),
    ):
        assert sentence in told, sentence


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
