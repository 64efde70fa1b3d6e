"""A risk officer's way from a history in a file to another margin model in force, with ``clearctl`` (rulebook §9)."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from clearing import keys as house_keys
from clearing.server.identity import parse_spiffe
from clearing_client.client import new_trade
from clearing_client.requests import signed_prices
from tests.builders import PARAMETERS
from tests.clearctl import DONE, REFUSED, WRONG_USE, answer, asked, at_a_terminal
from tests.serving import CLIENTS, HOUSE, SOURCES, Served, seed, serving, signing_key

pytestmark = pytest.mark.slow

ANNA, BERT, RITA, ALPHA = "administrator/anna", "administrator/bert", "regulator/rita", "member/alpha"
DELAY_MS = 500
SHADOWED = replace(PARAMETERS, shadow_model="expected_shortfall", change_delay_ms=DELAY_MS)
DAYS = 1_100


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A house with a shadow and a short delay, in which alpha/one holds BTC against ETH."""
    directory = tmp_path_factory.mktemp("shadowed")
    keys = directory / "keys"
    house_keys.init(keys, HOUSE, [parse_spiffe(f"spiffe://{HOUSE}/{who}") for who in CLIENTS])
    seed(directory, keys, parameters=SHADOWED)
    with serving(directory, "--state", str(directory / "state")) as running:
        with running.client(ALPHA) as alpha:
            one, two = ("members/alpha/accounts/one", "members/alpha/accounts/two")
            alpha.submit_trades(
                "members/alpha",
                [
                    new_trade("BTC-PERP", buyer=one, seller=two, size="10", price="64000.0"),
                    new_trade("ETH-PERP", buyer=two, seller=one, size="320", price="2000.0"),
                ],
            )
        yield running


@pytest.fixture(scope="module")
def closes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Closes of BTC and ETH until the day before yesterday, which move together."""
    dice, lines = Random(3), ["date,asset,close"]
    btc, eth = 20_000.0, 1_000.0
    first = datetime.now(UTC).date() - timedelta(days=DAYS + 2)
    for number in range(DAYS + 1):
        market = dice.gauss(0, 0.03)
        btc, eth = btc * (1 + market), eth * (1 + 1.1 * market + dice.gauss(0, 0.005))
        day = first + timedelta(days=number)
        lines += [f"{day},BTC,{btc:.2f}", f"{day},ETH,{eth:.2f}"]
    path = tmp_path_factory.mktemp("past") / "daily.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def a_cycle(served: Served) -> None:
    """All sources publish the same prices again."""
    for source in SOURCES:
        with served.client(f"price-source/{source}") as client:
            request = signed_prices(
                client.house().house,
                f"sources/{source}",
                {"feeds/BTC": "64000.0", "feeds/ETH": "2000.0"},
                key=signing_key(served.keys, source),
                sequence=time.time_ns() // 1_000_000,
            )
            client.prices.PublishPrices(request)


def approve(served: Served, *proposals: str) -> None:
    for proposal in proposals:
        done = at_a_terminal(served, BERT, "proposal", "approve", proposal, typing="yes")
        assert done.returncode == DONE, done.stderr


def test_a_history_is_brought_in_by_two_and_what_is_known_is_said(served: Served, closes: Path) -> None:
    known = {row["underlying"]: row for row in answer(served, ALPHA, "price", "history")}
    assert known["feeds/BTC"]["movesBy"] == "MOVES_BY_SCAN_RANGE"
    for asset in ("BTC", "ETH"):
        command = ("change", "import-history", asset, str(closes), "--asset", asset, "--reason", "its past")
        proposed = at_a_terminal(served, ANNA, *command, "--id", f"past-{asset.lower()}", typing="yes")
        assert proposed.returncode == DONE, proposed.stderr
        assert "largest fall" in proposed.stderr
        ids = [f"past-{asset.lower()}-{number}" for number in (1, 2)]
        assert f"Proposed as {ids[0]} and {ids[1]}" in proposed.stdout
        approve(served, *ids)
    (btc,) = answer(served, ALPHA, "price", "history", "BTC")
    assert (btc["dayCount"], btc["movesBy"], btc["shortHistory"]) == (DAYS, "MOVES_BY_HISTORY", False)
    assert 0.3 < float(btc["volatility"]) < 1
    shown = asked(served, ALPHA, "price", "history").stdout
    assert "its own returns" in shown
    assert "The house knows of no such underlying." in asked(served, ALPHA, "price", "history", "SOL").stdout


def test_a_history_that_is_wrong_is_not_proposed(served: Served, closes: Path, tmp_path: Path) -> None:
    size = served.journal_size()
    gap = tmp_path / "gap.csv"
    gap.write_text("date,close\n2020-01-01,1\n2020-01-03,1\n")
    done = asked(served, ANNA, "change", "import-history", "BTC", str(gap), "--reason", "r", "--yes")
    assert (done.returncode, done.stdout) == (WRONG_USE, "")
    assert "line 3: 2020-01-02 is missing before it" in done.stderr
    whole = ("change", "import-history", "SOL", str(closes), "--asset", "BTC", "--reason", "r")
    assert asked(served, ANNA, *whole).returncode == WRONG_USE, "nobody could be asked"
    assert asked(served, ANNA, *whole, "--yes", "--at-once").returncode == REFUSED
    assert asked(served, ANNA, *whole, "--at-once", "--id", "x").returncode == WRONG_USE
    assert "Dry run" in asked(served, ANNA, "--dry-run", *whole).stdout
    assert served.journal_size() == size


def test_the_shadow_comes_into_force_as_it_said(served: Served) -> None:
    a_cycle(served)
    found = answer(served, RITA, "margin", "shadow")
    assert (found["model"], found["shadowModel"]) == ("scan", "expected_shortfall")
    assert found["margins"]
    assert asked(served, ALPHA, "margin", "shadow").returncode == REFUSED
    shown = asked(served, RITA, "margin", "shadow").stdout
    assert "In shadow" in shown
    assert "alpha~one" in shown

    swap = ("--set", "margin_model=expected_shortfall", "--set", "shadow_model=")
    proposed = at_a_terminal(
        served, ANNA, "param", "propose", *swap, "--reason", "it nets", "--id", "swap", typing="yes"
    )
    assert proposed.returncode == DONE, proposed.stderr
    assert "All requirements together change by" in proposed.stderr
    approve(served, "swap")
    deadline = time.monotonic() + 20
    while answer(served, ALPHA, "param", "show")["version"] == 1:
        assert time.monotonic() < deadline
        time.sleep(DELAY_MS / 1_000)
    then = {
        row["nettingSet"]: row["requirement"] for row in answer(served, RITA, "margin", "list")["margins"]
    }
    for one in found["margins"]:
        assert then[one["nettingSet"]] == one["shadowRequirement"]
    explained = asked(served, ALPHA, "margin", "explain", "alpha~one").stdout
    assert "expected_shortfall" in explained


def test_a_price_of_nothing_is_refused_and_everybody_is_told_while_requirements_stay(served: Served) -> None:
    before = answer(served, RITA, "margin", "list")
    source = "price-source/s1"
    done = asked(served, source, "price", "publish", "BTC=0", "ETH=2000.0", "--source", "s1")
    assert (done.returncode, done.stdout) == (REFUSED, "")
    assert done.stderr.startswith("clearctl: PRICE_NOT_POSITIVE")
    (event,) = answer(served, ALPHA, "event", "list", "--kind", "DATA_REFUSED", "--limit", "0")
    (fact,) = event["facts"]
    assert fact["name"] == "sources/s1"
    assert fact["dataRefusal"] == {
        "feed": "feeds/BTC",
        "price": "0.0",
        "reason": "PRICE_NOT_POSITIVE",
    }
    assert answer(served, RITA, "margin", "list") == before
    assert "s1" in asked(served, ALPHA, "event", "list", "--kind", "DATA_REFUSED", "--limit", "0").stdout
