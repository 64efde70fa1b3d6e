"""``clearctl report``: pulled with a regulator's certificate, explained with receipts, verified without the house."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from clearing.reports.table import REPORTS
from tests.clearctl import DONE, REFUSED, WRONG_USE, answer, asked, clearctl
from tests.serving import Served, wait_until

pytestmark = pytest.mark.slow

ALPHA, RITA = "member/alpha", "regulator/rita"
CASH = "members/alpha/accounts/one/cash"


def pulled(served: Served, folder: Path, name: str, *options: str, who: str = RITA) -> Path:
    """The file of a report; what was pulled before the log shows it is asked for again."""
    found: list[str] = []

    def is_there() -> bool:
        done = asked(served, who, "report", "pull", name, "--out", str(folder), *options)
        if "ENTRY_NOT_SHOWN_YET" in done.stderr:
            return False
        assert done.returncode == DONE, done.stderr
        found.append(done.stdout.partition(":")[0])
        return True

    wait_until(is_there)
    return Path(found[0])


def policy(served: Served) -> tuple[str, str]:
    return "--policy", str(served.keys / "policy.txt")


def test_the_list_says_what_each_report_wants_and_how_much_it_computes(served: Served) -> None:
    listed = answer(served, RITA, "report", "list")
    assert [one["name"] for one in listed] == [f"reports/{key}" for key in sorted(REPORTS)]
    shown = asked(served, RITA, "report", "list").stdout
    assert "ledger_account, unit, [from_sequence]" in shown


@pytest.mark.parametrize("form", ["json", "csv", "xlsx", "html"])
def test_a_report_is_verified_with_nothing_but_the_policy(served: Served, tmp_path: Path, form: str) -> None:
    file = pulled(served, tmp_path, "trial-balance", "--form", form)
    assert file.suffix == f".{form}"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for one in (file, file.with_name(f"{file.name}.dsse.json")):
        shutil.copy2(one, elsewhere)
    copied = elsewhere / file.name
    for command in (("report", "verify"), ("verify", "report")):
        done = clearctl(*command, str(copied), *policy(served))
        assert done.returncode == DONE, done.stdout + done.stderr
        assert "--tiles" in done.stdout, "what was not checked is said"
    data = bytearray(copied.read_bytes())
    data[-3] ^= 1
    copied.write_bytes(data)
    done = clearctl("report", "verify", str(copied), *policy(served))
    assert (done.returncode, "report file" in done.stdout) == (REFUSED, True)


def test_all_reports_of_a_folder_are_verified_though_their_seals_end_in_json_too(
    served: Served, tmp_path: Path
) -> None:
    files = [pulled(served, tmp_path, "trial-balance", "--form", form) for form in ("json", "csv")]
    named = sorted(str(path) for path in tmp_path.glob("*.json"))
    assert len(named) == 3, "a report in JSON, and what was signed of both"
    done = clearctl("report", "verify", *named, *policy(served))
    assert (done.returncode, "All 10 checks held" in done.stdout) == (DONE, True), done.stdout + done.stderr
    files[1].unlink()
    missing = clearctl("report", "verify", *named, *policy(served))
    assert (missing.returncode, files[1].name in missing.stderr) == (REFUSED, True)


def test_the_tree_that_a_report_names_is_held_against_the_log(served: Served, tmp_path: Path) -> None:
    """And so is what was signed of it: a house cannot sign one report for its journal and another for somebody."""
    file = pulled(served, tmp_path, "trial-balance")
    command = (
        "report",
        "verify",
        str(file),
        *policy(served),
        "--tiles",
        f"{served.directory}/house.db.tiles",
    )

    def is_shown() -> bool:
        return "report in the log" in clearctl(*command).stdout

    wait_until(is_shown)
    done = clearctl(*command)
    assert done.returncode == DONE, done.stdout
    assert "journal at" in done.stdout
    other = pulled(served, tmp_path / "other", "trial-balance")
    body = file.with_name(f"{file.name}.body")
    shutil.copy2(other.with_name(f"{other.name}.body"), body)
    wait_until(is_shown)
    refused = clearctl(*command)
    assert (refused.returncode, "another signature" in refused.stdout) == (REFUSED, True), refused.stdout
    body.write_bytes(body.read_bytes()[:-1] + b"x")
    asked(served, RITA, "report", "pull", "trial-balance", "--out", str(tmp_path / "third"))
    wait_until(lambda: "has no entry that says" in clearctl(*command).stdout)
    assert clearctl(*command).returncode == REFUSED
    body.unlink()
    assert "is missing" in clearctl(*command).stdout


def resigned(data: bytes) -> bytes:
    envelope = json.loads(data)
    envelope["signatures"] = envelope["signatures"][:1]
    return json.dumps(envelope).encode()


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda data: data.replace(b'"payload":"e', b'"payload":"f'), "report signature"),
        (resigned, "report signature"),
        (lambda data: b"{}", "report signature"),
        (lambda data: b"", "report signature"),
    ],
    ids=["another payload", "one signature", "an object", "nothing"],
)
def test_what_too_few_officers_signed_is_not_believed(
    served: Served, tmp_path: Path, spoil: Callable[[bytes], bytes], complaint: str
) -> None:
    file = pulled(served, tmp_path, "trial-balance")
    seal = file.with_name(f"{file.name}.dsse.json")
    seal.write_bytes(spoil(seal.read_bytes()))
    done = clearctl("report", "verify", str(file), *policy(served))
    assert (done.returncode, complaint in done.stdout, "FAILED" in done.stdout) == (REFUSED, True, True)


def test_the_signature_of_another_report_is_none_of_this_one(served: Served, tmp_path: Path) -> None:
    one = pulled(served, tmp_path, "trial-balance", "--as-of", "20")
    other = pulled(served, tmp_path, "trial-balance", "--as-of", "21")
    seal = f"{other}.dsse.json"
    done = clearctl("report", "verify", str(one), "--signed", seal, *policy(served))
    assert done.returncode == REFUSED
    assert {"report file", "report head"} <= {
        check["name"]
        for check in json.loads(
            clearctl("-o", "json", "report", "verify", str(one), "--signed", seal, *policy(served)).stdout
        )["checks"]
        if not check["passed"]
    }


def test_a_spreadsheet_is_held_against_the_json_that_it_was_made_of(served: Served, tmp_path: Path) -> None:
    sheet = pulled(served, tmp_path, "trial-balance", "--as-of", "20", "--form", "xlsx")
    source = pulled(served, tmp_path, "trial-balance", "--as-of", "20")
    held = clearctl("report", "verify", str(sheet), "--json", str(source), *policy(served))
    assert held.returncode == DONE, held.stdout
    other = pulled(served, tmp_path, "trial-balance", "--as-of", "21")
    failed = clearctl("report", "verify", str(sheet), "--json", str(other), *policy(served))
    assert (failed.returncode, "report in JSON" in failed.stdout) == (REFUSED, True)


def test_a_figure_is_explained_by_entries_with_receipts_that_hold(served: Served, tmp_path: Path) -> None:
    file = pulled(served, tmp_path, "trial-balance")
    options = ("--field", f"{CASH}:USDC", *policy(served), "--receipts", str(tmp_path / "receipts"))
    (told,) = answer(served, RITA, "report", "explain", str(file), *options)
    assert told["source"] == f"account {CASH} USDC"
    (term,) = told["terms"]
    assert {entry["kind"] for entry in term["entries"]} >= {"DEPOSITED"}
    for entry in term["entries"]:
        sequence = entry.get("sequence", "0")
        assert told["receipts"][sequence] == "held"
        receipt = str(tmp_path / "receipts" / f"{sequence}.receipt")
        assert clearctl("verify", *policy(served), "--receipt", receipt).returncode == DONE
    shown = asked(served, RITA, "report", "explain", str(file), *options).stdout
    assert "DEPOSITED" in shown
    assert "held" in shown


def test_a_sum_is_explained_by_the_rows_that_it_adds_up(served: Served, tmp_path: Path) -> None:
    file = pulled(served, tmp_path, "trial-balance")
    (told,) = answer(served, RITA, "report", "explain", str(file), "--field", "units/USDC", "--limit", "2")
    assert (len(told["terms"][0]["figures"]), told["terms"][0]["more"]) == (2, True)


def test_a_figure_that_is_not_there_and_a_file_that_is_no_report_say_so(
    served: Served, tmp_path: Path
) -> None:
    file = pulled(served, tmp_path, "trial-balance")
    for path, field in ((file, "9.9.9"), (served.keys / "policy.txt", "1"), (tmp_path / "none", "1")):
        done = asked(served, RITA, "report", "explain", str(path), "--field", field)
        assert (done.returncode, "Traceback" in done.stderr) == (WRONG_USE, False), done.stderr
        assert str(path) in done.stderr


def test_a_member_pulls_its_own_statement_and_is_refused_the_journal(served: Served, tmp_path: Path) -> None:
    options = ("--set", f"ledger_account={CASH}", "--set", "unit=USDC", "--form", "csv")
    file = pulled(served, tmp_path, "statement", *options, who=ALPHA)
    assert clearctl("report", "verify", str(file), *policy(served)).returncode == DONE
    done = asked(served, ALPHA, "report", "pull", "journal", "--out", str(tmp_path))
    assert (done.returncode, "REPORT_UNKNOWN" in done.stderr) == (REFUSED, True)


def test_a_pull_that_broke_off_goes_on_under_its_request_id(served: Served, tmp_path: Path) -> None:
    whole = pulled(served, tmp_path, "journal").read_bytes()
    other = tmp_path / "again"
    other.mkdir()
    as_of = json.loads(whole.splitlines()[0] + b"]}")["report"]["as_of"]
    (other / ".again.part").write_bytes(whole[:100])
    done = asked(
        served,
        RITA,
        "--request-id",
        "again",
        "report",
        "pull",
        "journal",
        "--as-of",
        as_of,
        "--out",
        str(other),
    )
    assert done.returncode == DONE, done.stderr
    assert sorted(path.name for path in other.iterdir()) == [
        f"journal-{as_of}.json",
        f"journal-{as_of}.json.body",
        f"journal-{as_of}.json.dsse.json",
    ]
    assert (other / f"journal-{as_of}.json").read_bytes() == whole


def test_what_is_only_tried_writes_nothing(served: Served, tmp_path: Path) -> None:
    done = asked(served, RITA, "--dry-run", "report", "pull", "journal", "--out", str(tmp_path))
    assert (done.returncode, done.stdout.startswith("Dry run"), [*tmp_path.iterdir()]) == (DONE, True, [])
