"""``clearing backtest`` from folder to verdict: a folder of other assets and dates, and the real one."""

import json
import re
import subprocess
import sys
from dataclasses import fields
from datetime import timedelta
from math import prod
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from clearing.backtest import Asked, validate
from clearing.cli import app
from clearing.margin.backtest.report import (
    PROMISING,
    Comparison,
    CrashDay,
    Remedy,
    Report,
    SeriesNote,
    Verdict,
    as_json,
)
from clearing.margin.backtest.results import BookResult, PortfolioResult
from clearing.margin.backtest.series import Finding
from clearing.margin.table import MODELS
from tests.market_data import market_file
from tests.market_folder import FIRST, bars, drawn, folder

pytestmark = pytest.mark.slow

DAYS = 560
BOOK_KEYS = {
    *(
        "model",
        "portfolio",
        "book",
        "assets",
        "horizon_days",
        "phase",
        "observations",
        "exceptions",
        "coverage",
    ),
    *("coverage_low", "coverage_high", "kupiec_more_p", "kupiec_two_sided_p", "independence_p", "basel_zone"),
    *("power", "mean_requirement", "mean_shortfall", "largest_shortfall", "worst_exceedance", "worst_day"),
    *("low_observations", "low_exceptions", "low_coverage", "low_worst_exceedance", "peak_to_trough"),
    *("rise_1_day", "rise_5_days", "rise_20_days"),
}
KEYS = {
    *("format", "folder", "first_day", "last_day", "seed", "models", "horizons_days", "series", "missing"),
    *("findings", "verdicts", "portfolios", "books", "comparisons", "crash_days", "remedies"),
}


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three assets and a stablecoin that nobody has heard of, from 2030 on, in euros."""
    rows = [row for n, asset in enumerate(("ORE", "TIN", "ZINC")) for row in drawn(asset, DAYS, seed=n)]
    pegged = bars("PEG", [1 + 0.0001 * (n % 5) for n in range(DAYS)])
    return folder(tmp_path_factory.mktemp("market") / "metals", [*rows, *pegged], name="daily.csv.gz")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["backtest", *arguments])


@pytest.fixture(scope="module")
def found(market: Path) -> dict[str, Any]:
    result = run("--data", str(market), "--output", "json")
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.stdout, parse_constant=pytest.fail)
    return answer


def test_a_folder_of_other_assets_and_dates_works_unchanged(found: dict[str, Any]) -> None:
    assert found["folder"] == "metals"
    assert found["first_day"] == "2031-01-02"
    assert [one["asset"] for one in found["series"] if one["is_stable"]] == ["PEG"]
    assert {one["book"] for one in found["books"] if one["portfolio"] == "outright"} == {
        f"{asset} {side}" for asset in ("ORE", "TIN", "ZINC") for side in ("long", "short")
    }
    assert set(found["models"]) == set(MODELS)


def test_the_keys_of_the_json_are_those_that_are_documented(found: dict[str, Any]) -> None:
    assert set(found) == KEYS == {"format", *(one.name for one in fields(Report))}
    assert all(set(one) == BOOK_KEYS for one in found["books"])
    assert {one.name for one in fields(BookResult)} == BOOK_KEYS
    assert all(set(one) == {each.name for each in fields(PortfolioResult)} for one in found["portfolios"])


def test_every_key_of_every_section_is_explained() -> None:
    page = (Path(__file__).parents[2] / "docs" / "backtest.md").read_text()
    explained = set(re.findall(r"`(\w+)`", page))
    for section in (SeriesNote, Finding, Verdict, PortfolioResult, Comparison, CrashDay, Remedy):
        assert {one.name for one in fields(section)} <= explained, section.__name__
    assert explained >= KEYS
    assert {key for key in BOOK_KEYS if not key.startswith("low_")} <= explained


def test_every_model_horizon_and_phase_has_its_rows(found: dict[str, Any]) -> None:
    rows = [
        (one["model"], one["horizon_days"], one["phase"])
        for one in found["books"]
        if one["book"] == "ORE long"
    ]
    assert sorted(rows) == sorted(
        (model, days, phase) for model in MODELS for days, phase in ((1, 0), (2, 0), (2, 1))
    )


def test_the_same_question_has_the_same_answer(market: Path, found: dict[str, Any]) -> None:
    again = as_json(validate(Asked(folder=market)).report)
    assert json.loads(json.dumps(again)) == found


def test_another_seed_draws_other_random_books_and_nothing_else(market: Path, found: dict[str, Any]) -> None:
    other = as_json(validate(Asked(folder=market, seed=8)).report)
    assert [one for one in other["books"] if one["portfolio"] == "outright"] == [
        {**one, "assets": one["assets"]} for one in found["books"] if one["portfolio"] == "outright"
    ]
    assert [one for one in other["books"] if one["portfolio"] == "random"] != [
        one for one in found["books"] if one["portfolio"] == "random"
    ]


def test_assets_days_models_and_horizons_select(market: Path) -> None:
    result = run(
        *("--data", str(market), "--assets", "TIN", "--from", "2031-03-01", "--to", "2031-05-31"),
        *("--models", "scan", "--horizon", "1", "--output", "json"),
    )
    answer = json.loads(result.stdout)
    assert [one["book"] for one in answer["books"]] == ["TIN long", "TIN short"]
    assert (answer["first_day"], answer["last_day"]) == ("2031-03-01", "2031-05-31")
    assert [one["observations"] for one in answer["books"]] == [92, 92]
    assert answer["models"] == ["scan"]
    assert answer["horizons_days"] == [1]
    assert answer["verdicts"] == []


def test_the_table_is_for_people_and_ends_with_the_verdicts(market: Path) -> None:
    result = run("--data", str(market), "--models", "expected_shortfall,scan", "--horizon", "1")
    assert result.exit_code == 0
    assert "stablecoins, kept apart: PEG" in result.stdout
    assert "left out" not in result.stdout
    assert result.stdout.rstrip().splitlines()[-1].endswith("missed")


def test_every_line_for_people_fits_120_columns_and_says_the_same_only_once(market: Path) -> None:
    lines = run("--data", str(market)).stdout.splitlines()
    assert max(map(len, lines)) <= 120
    assert not any("…" in line for line in lines)
    assert sum("fixed rate (grid," in line for line in lines) == 3
    assert not any(line.strip().startswith(("grid", "static ", "scan ")) for line in lines)


def test_what_a_folder_lacks_is_said_where_it_is_looked_for(market: Path, tmp_path: Path) -> None:
    html = tmp_path / "page.html"
    result = run("--data", str(market), "--horizon", "1", "--models", PROMISING, "--html", str(html))
    assert result.exit_code == 0, result.output
    assert "not there, left out: iv_surface_history" in result.stdout
    assert html.is_file()


def test_a_verdict_says_whose_it_is(found: dict[str, Any]) -> None:
    assert {one["model"] for one in found["verdicts"]} == {PROMISING}
    assert set(found["verdicts"][0]) == {"model", "promise", "horizon_days", "asked", "found", "kept"}


@pytest.mark.parametrize("days", [92, 366])
def test_too_short_a_history_is_refused_with_what_it_takes(tmp_path: Path, days: int) -> None:
    data = folder(tmp_path / "data", drawn("ORE", days, seed=1))
    result = run("--data", str(data))
    assert result.exit_code == 1
    assert f"needs 367 days, the folder has {days} (2030-01-01 to" in result.output


def test_the_shortest_history_has_one_window(tmp_path: Path) -> None:
    data = folder(tmp_path / "data", drawn("ORE", 367, seed=1))
    found = json.loads(
        run("--data", str(data), "--models", "scan", "--horizon", "1", "--output", "json").stdout
    )
    assert [one["observations"] for one in found["books"]] == [1, 1]


def test_assets_that_are_too_new_are_refused(tmp_path: Path) -> None:
    new = drawn("NEW", 50, seed=2, first=FIRST + timedelta(days=DAYS - 50))
    data = folder(tmp_path / "data", [*drawn("ORE", DAYS, seed=1), *new])
    result = run("--data", str(data), "--assets", "NEW")
    assert result.exit_code == 1
    assert "no book of these assets can be tested: it takes 90 returns" in result.output


def test_a_page_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    for html, says in ((tmp_path / "no" / "page.html", "there is no folder"), (tmp_path, "is a folder")):
        result = run("--data", str(tmp_path / "nothing"), "--html", str(html))
        assert result.exit_code == 2
        assert says in " ".join(result.output.replace("│", " ").split())


def test_a_missed_promise_is_a_result_and_no_failure(tmp_path: Path) -> None:
    steps = [0.95 - day / 700 if day % 60 == 59 else 1 + 0.001 * (-1) ** day for day in range(DAYS)]
    closes = [1_000 * prod(steps[: day + 1]) for day in range(DAYS)]
    data = folder(tmp_path / "data", bars("ORE", closes))
    result = run("--data", str(data), "--models", PROMISING, "--output", "json", "--horizon", "1")
    assert result.exit_code == 0
    assert any(one["kept"] is False for one in json.loads(result.stdout)["verdicts"])


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--assets", "LEAD"), 1, "LEAD is not there; the folder has ORE, TIN, ZINC"),
        (("--assets", "PEG"), 1, "PEG is a stablecoin"),
        (("--from", "2040-01-01"), 1, "no window begins from 2040-01-01"),
        (("--to", "2030-06-01"), 1, "to 2030-06-01 of which 365 days of history"),
        (("--to", "2030-06-01"), 1, "windows begin from 2031-01-02 to 2031-07-1"),
        (("--from", "2031-05-01", "--to", "2031-04-01"), 2, "2031-05-01 is after --to 2031-04-01"),
        (("--from", "soon"), 2, "a day such as"),
        (("--models", "crystal_ball"), 2, "crystal_ball is none of"),
        (("--horizon", "3"), 2, "1, 2 or both"),
        (("--output", "xml"), 2, "text or json"),
    ],
)
def test_a_question_without_an_answer_is_refused(
    market: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    result = run("--data", str(market), *arguments)
    assert result.exit_code == code
    assert says in " ".join(result.output.replace("│", " ").split())


def test_a_folder_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert run("--data", str(tmp_path)).exit_code == 1
    said = run("--data", str(tmp_path)).output
    assert "the backtest needs daily closes, laid out as docs/backtest.md says" in said


def test_the_bar_stands_on_stderr_and_the_json_alone_on_stdout(market: Path) -> None:
    command = "from clearing.cli import main; main()"
    arguments = ("backtest", "--data", str(market), "--models", "scan", "--horizon", "1", "--output", "json")
    done = subprocess.run(
        [sys.executable, "-c", command, *arguments], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["format"] == 1


@pytest.mark.slow
def test_the_promised_figures_on_real_prices() -> None:
    """The figures that docs/backtest.md states, and those that are not reached, as they are."""
    report = validate(Asked(folder=market_file("daily.csv.gz").parent)).report
    one = {(each.portfolio, each.horizon_days): each for each in report.portfolios if each.model == PROMISING}
    for days in (1, 2):
        outright = one["outright", days]
        assert outright.coverage >= 0.993
        assert outright.worst_coverage is not None
        assert outright.worst_coverage >= 0.99
        assert outright.kupiec_rejected == ()
    swing = one["outright", 1].median_peak_to_trough
    assert swing is not None
    assert swing <= 2
    against = {each.portfolio: each.ratio for each in report.comparisons if each.against == "scan"}
    assert against["outright"] <= 1.05
    assert against["hedged"] <= 0.5
    assert against["random"] <= 0.5
