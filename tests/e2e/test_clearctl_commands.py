"""Every noun of ``clearctl`` against a served house: tables, JSON, exit codes, confirmations, profiles, watching."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clearctl.app import NOUNS
from clearing_client.client import new_trade
from tests.clearctl import (
    DONE,
    PROGRAM,
    REFUSED,
    UNREACHABLE,
    WRONG_USE,
    answer,
    as_whom,
    asked,
    at_a_terminal,
    clearctl,
    surroundings,
)
from tests.serving import HOUSE, Served, environment

pytestmark = pytest.mark.slow

ALPHA, BETA, RITA = "member/alpha", "member/beta", "regulator/rita"
ANNA, BERT, VAULT, DESK = (
    "administrator/anna",
    "administrator/bert",
    "custodian/vault",
    "liquidity-provider/beta",
)
ONE, TWO = "members/alpha/accounts/one", "members/alpha/accounts/two"
CASH = f"{ONE}/cash"


@pytest.fixture(scope="module", autouse=True)
def one_trade(served: Served) -> None:
    with served.client(ALPHA) as alpha:
        trade = new_trade("BTC-PERP", buyer=ONE, seller=TWO, size="0.5", price="64000.0", trade_id="t1")
        alpha.submit_trades("members/alpha", [trade])


# reading --------------------------------------------------------------------------------------------------

LISTS = [
    (ALPHA, "account list"),
    (ALPHA, "account sets"),
    (ALPHA, "trade list"),
    (ALPHA, "trade halves"),
    (ALPHA, "withdraw list"),
    (ALPHA, "dues list"),
    (ALPHA, "margin calls"),
    (ALPHA, "price marks"),
    (ANNA, "price sources"),
    (DESK, "auction list"),
    (DESK, "auction bids"),
    (DESK, "auction providers"),
    (ALPHA, "member list"),
    (RITA, "proposal list"),
    (RITA, "breaker list"),
    (RITA, "gate list"),
    (ALPHA, "default list"),
    (ALPHA, "porting list"),
    (RITA, "cert list"),
    (ALPHA, "event list"),
    (ANNA, "ledger entries"),
    (ALPHA, "report list"),
    (ALPHA, "attestation list"),
]


@pytest.mark.parametrize(("who", "command"), LISTS)
def test_every_list_is_an_array_as_json_and_something_to_read_as_table(
    served: Served, who: str, command: str
) -> None:
    assert isinstance(answer(served, who, *command.split()), list)
    done = asked(served, who, *command.split())
    assert (done.returncode, done.stderr) == (DONE, "")
    assert done.stdout.strip()


@pytest.mark.parametrize(
    ("who", "command", "shown", "field"),
    [
        (ALPHA, "account show alpha/one", "alpha~one", "cash"),
        (ALPHA, "trade show alpha/t1", "64,000.0", "price"),
        (ALPHA, "margin explain alpha~one", "BTC-PERP", "underlyings"),
        (ALPHA, "margin what-if alpha/one BTC-PERP=-0.5@64000 ETH-PERP=3", "after", "after"),
        (ALPHA, "withdraw available alpha/one USDC", "USDC", "amount"),
        (ALPHA, "member show alpha", "active", "stake"),
        (ALPHA, "param show", "requirement_bp", "version"),
        (ANNA, "ledger entry 5", "Legs", "entryId"),
        (ALPHA, f"ledger statement {CASH} USDC", "TRADE_NOVATED", "closingBalance"),
        (RITA, "ledger trial-balance", "BTC-PERP", "lines"),
        (ALPHA, "ledger checkpoint", f"{HOUSE}/journal", "checkpoint"),
        (ALPHA, "ledger proof 3", "Leaf", "leaf"),
        (ALPHA, "ledger proof --since 5", "Old root", "oldRoot"),
        (ALPHA, "attestation show", "trialBalance", "envelope"),
        (RITA, "preview alpha", "skin in the game", "tiers"),
        (RITA, "pool coverage", "Prefunded", "prefunded"),
        (ANNA, "pool reverse", "margin of any member", "exhaustions"),
        (RITA, "pool contagion", "Scenario", "running"),
    ],
)
def test_every_single_thing_is_the_protos_json_and_a_table(
    served: Served, who: str, command: str, shown: str, field: str
) -> None:
    assert field in answer(served, who, *command.split())
    assert shown in asked(served, who, *command.split()).stdout


def test_two_administrators_group_affiliates_and_regulators_see_it(served: Served) -> None:
    words = ("member", "group", "beta", "--with", "north", "--reason", "the owners of delta", "--id", "g-1")
    asked(served, ANNA, *words)
    assert asked(served, BERT, "proposal", "approve", "g-1", "--yes").returncode == DONE
    assert answer(served, RITA, "member", "show", "beta")["stake"]["group"] == "north"
    assert "Group" in asked(served, RITA, "member", "show", "beta").stdout
    assert "stake" not in answer(served, ALPHA, "member", "show", "beta")
    members = answer(served, RITA, "pool", "coverage")["members"]
    assert {one["member"]: one.get("group") for one in members}["members/beta"] == "north"


def test_two_administrators_limit_a_regulator_to_jurisdictions_and_no_more(served: Served) -> None:
    law = ("member", "jurisdiction", "beta", "--in", "CH", "--reason", "its statutes say so", "--id", "law-1")
    granted = ("change", "grant-regulator", "zoe", "--reason", "it supervises", "--id")
    asked(served, ANNA, *law)
    asked(served, ANNA, *granted, "zoe-1", "--jurisdiction", "LI", "--jurisdiction", "CH")
    for proposal in ("law-1", "zoe-1"):
        assert asked(served, BERT, "proposal", "approve", proposal, "--yes").returncode == DONE
    assert "CH" in asked(served, ALPHA, "member", "list").stdout
    assert answer(served, ALPHA, "member", "show", "beta")["jurisdiction"] == "CH"
    assert "CH LI" in asked(served, RITA, "member", "grants").stdout
    for both in ((), ("--jurisdiction", "CH", "--all")):
        assert asked(served, ANNA, *granted, "zoe-2", *both).returncode == WRONG_USE
    asked(served, ANNA, *granted, "zoe-2", "--all")
    assert asked(served, BERT, "proposal", "approve", "zoe-2", "--yes").returncode == DONE
    assert "Every regulator sees all." in asked(served, RITA, "member", "grants").stdout


def test_reverse_stress_says_what_is_not_within_reach(served: Served) -> None:
    told = asked(served, RITA, "pool", "reverse").stdout
    assert "margin of any member" in told
    assert "assessments" in told
    assert asked(served, ALPHA, "pool", "reverse").returncode == REFUSED


def test_contagion_is_asked_for_by_the_name_of_a_scenario(served: Served) -> None:
    told = asked(served, RITA, "pool", "contagion", "largest fall").stdout
    assert "BTC −60.00%" in told
    assert "BTC, ETH: nobody stated what is traded in a day" in " ".join(told.split())
    assert "of the shock alone" in told
    assert answer(served, ANNA, "pool", "contagion", "largest fall")["scenario"] == "largest fall"
    unknown = asked(served, RITA, "pool", "contagion", "no such day")
    assert (unknown.returncode, "the stress library has no such scenario" in unknown.stderr) == (
        REFUSED,
        True,
    )
    assert asked(served, ALPHA, "pool", "contagion").returncode == REFUSED


def test_amounts_are_exact_strings_in_json(served: Served) -> None:
    assert answer(served, ALPHA, "account", "show", "alpha/two")["cash"] == "999993.600000"


def test_no_outage_is_null_for_a_program(served: Served) -> None:
    assert answer(served, RITA, "outage", "show") is None
    assert "Prices are there" in asked(served, RITA, "outage", "show").stdout


def test_a_limit_is_kept(served: Served) -> None:
    assert len(answer(served, ANNA, "ledger", "entries", "--limit", "3")) == 3
    assert len(answer(served, ANNA, "event", "list", "--limit", "2")) == 2
    later = answer(served, ANNA, "event", "list", "--after", "20", "--kind", "TRADE_NOVATED", "--limit", "0")
    assert {row["kind"] for row in later} == {"TRADE_NOVATED"}


# doing ----------------------------------------------------------------------------------------------------


def test_trades_of_a_file_are_taken_once_and_a_refused_one_ends_with_one(
    served: Served, tmp_path: Path
) -> None:
    file = tmp_path / "trades.csv"
    head = "instrument,buyer,seller,size,price,trade_id,execute_time\n"
    now = datetime.now(UTC).isoformat()
    file.write_text(f"{head}BTC-PERP,alpha/one,alpha/two,0.001,64000.0,c1,{now}\n")
    (taken,) = answer(served, ALPHA, "trade", "submit", str(file))
    assert (taken["trade"], taken["status"]) == ("members/alpha/trades/c1", "TRADE_STATUS_NOVATED")
    size = served.journal_size()
    (again,) = answer(served, ALPHA, "trade", "submit", str(file))
    assert (again["status"], again["reason"]) == ("TRADE_STATUS_NOVATED", "TRADE_DUPLICATE")
    assert served.journal_size() == size
    file.write_text(f"{head}BTC-PERP,alpha/one,alpha/two,0.001,1.0,,\n")
    done = asked(served, ALPHA, "trade", "submit", str(file))
    assert done.returncode == REFUSED
    assert "0 taken, 1 refused" in done.stdout


def test_trades_as_json_may_be_new_trades(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "trades.json"
    row = {
        "instrument": "instruments/BTC-PERP",
        "buyer": ONE,
        "seller": TWO,
        "size": "0.001",
        "price": "64000.0",
    }
    file.write_text(json.dumps([row, row | {"tradeId": "j1", "price": "1.0"}]))
    done = asked(served, ALPHA, "--output", "json", "trade", "submit", str(file))
    assert [row["status"] for row in json.loads(done.stdout)] == [
        "TRADE_STATUS_NOVATED",
        "TRADE_STATUS_REFUSED",
    ]
    assert done.returncode == REFUSED


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.csv", "instrument,buyer\nBTC-PERP,alpha/one\n", "trade 1: seller, size, price is missing"),
        ("a.csv", "nonsense\n1\n", "trade 1:"),
        ("a.csv", "", "has no trades"),
        ("a.json", "{", "cannot be read"),
        ("a.json", "{}", "has no trades"),
    ],
)
def test_a_file_without_trades_is_wrong_use(
    served: Served, tmp_path: Path, name: str, text: str, complaint: str
) -> None:
    (tmp_path / name).write_text(text)
    done = asked(served, ALPHA, "trade", "submit", str(tmp_path / name))
    assert (done.returncode, done.stdout) == (WRONG_USE, "")
    assert complaint in done.stderr


def test_money_comes_and_goes(served: Served) -> None:
    answer(served, VAULT, "deposit", "notify", "alpha/house", "1000", "USDC", "--reference", "chain/1")
    held = answer(served, ALPHA, "withdraw", "request", "alpha/house", "250.5", "USDC", "--id", "w1")
    assert held["withdrawal"]["amount"] == "250.500000"
    assert asked(served, VAULT, "withdraw", "send", "alpha/house/w1").stdout == "alpha/house/w1 is sent.\n"
    assert "is paid" in asked(served, VAULT, "withdraw", "settle", "alpha/house/w1", "--paid").stdout
    assert "alpha/house/w1" in asked(served, ALPHA, "withdraw", "list").stdout
    assert asked(served, ALPHA, "pool", "contribute", "100").stdout == "Contributed 100.\n"
    assert answer(served, ALPHA, "auction", "register", "alpha/house", "--capacity", "500")["provider"]
    assert asked(served, ALPHA, "dues", "pay").stderr.startswith("clearctl: NOTHING_DUE")
    assert asked(served, ALPHA, "cash", "move", "alpha/one", "alpha/two", "1").returncode == REFUSED


def test_accounts_are_opened_and_linked(served: Served) -> None:
    assert (
        "alpha~three" in asked(served, ALPHA, "account", "open", "alpha/three", "--participant", "p3").stdout
    )
    answer(served, ALPHA, "account", "open", "alpha/four", "--participant", "p3")
    linked = asked(served, ALPHA, "account", "link", "alpha/three", "alpha/four", "--participant", "p3")
    assert linked.stdout == "Linked link~p3.\n"
    assert "Notice is given" in asked(served, ALPHA, "account", "unlink", "--participant", "p3").stdout


def test_a_source_publishes_and_an_administrator_funds(served: Served) -> None:
    source = "price-source/s1"
    done = asked(served, source, "price", "publish", "BTC=64000.0", "ETH=2000.0", "--source", "s1")
    assert (done.returncode, done.stdout) == (DONE, "Published.\n")
    between = asked(served, source, "price", "publish", "BTC=64000.05", "--source", "s1")
    assert between.returncode == WRONG_USE
    assert "whole number of ticks" in between.stderr
    assert (
        "BTC-PERP at 100 ppm" in asked(served, ANNA, "price", "fund", "BTC-PERP", "--rate-ppm", "100").stdout
    )


def test_a_dry_run_changes_nothing_and_says_so(served: Served) -> None:
    size = served.journal_size()
    told = asked(served, ALPHA, "--dry-run", "pool", "contribute", "1").stdout
    assert told == "Dry run, nothing was changed. Contributed 1.\n"
    done = asked(served, ANNA, "--dry-run", "member", "suspend", "alpha", "--reason", "a try")
    assert (done.returncode, served.journal_size()) == (DONE, size)


def test_a_request_id_of_ones_own_happens_once(served: Served) -> None:
    command = ("--request-id", "mine-1", "pool", "contribute", "1")
    assert asked(served, ALPHA, *command).returncode == DONE
    size = served.journal_size()
    assert asked(served, ALPHA, *command).returncode == DONE
    assert served.journal_size() == size


def test_a_report_is_pulled_into_a_file(served: Served, tmp_path: Path) -> None:
    settings = ("--set", f"ledger_account={CASH}", "--set", "unit=USDC")
    header = answer(served, ALPHA, "report", "pull", "statement", *settings, "--out", str(tmp_path))
    file, body, seal = sorted(tmp_path.iterdir())
    assert (file.name, str(file.stat().st_size)) == (header["fileName"], header["size"])
    assert body.name == f"{file.name}.body"
    assert (seal.name, seal.read_text()) == (f"{file.name}.dsse.json", header["envelope"])
    assert asked(served, ALPHA, "report", "pull", "journal").returncode == REFUSED
    assert asked(served, ALPHA, "report", "pull", "statement", "--set", "unit").returncode == WRONG_USE


def test_a_receipt_and_a_checkpoint_that_were_pulled_verify(served: Served, tmp_path: Path) -> None:
    line = answer(served, ALPHA, "ledger", "statement", CASH, "USDC")["lines"][0]
    receipt = ("receipt", str(line["sequence"]), "--account", f"{CASH}:USDC", "--out", str(tmp_path / "r"))
    assert asked(served, ALPHA, "ledger", *receipt).returncode == DONE
    policy = str(served.keys / "policy.txt")
    done = clearctl(
        "verify", "--policy", policy, "--receipt", str(tmp_path / "r"), "--account", f"{CASH}:USDC"
    )
    assert done.returncode == DONE, done.stdout


# asking before --------------------------------------------------------------------------------------------

DANGEROUS = [
    ("default", "declare", "beta", "--reason", "r"),
    ("param", "propose", "--set", "requirement_bp=20000", "--reason", "r"),
    ("breaker", "set", "ETH-PERP", "halted", "--reason", "r"),
    ("member", "suspend", "beta", "--reason", "r"),
    ("cert", "revoke", "abc123", "--reason", "r"),
    ("change", "non-default-loss", "3", "USDC", "--reason", "r"),
]


@pytest.mark.parametrize("command", DANGEROUS)
def test_nothing_dangerous_is_done_without_a_terminal_or_a_yes(
    served: Served, command: tuple[str, ...]
) -> None:
    size = served.journal_size()
    done = asked(served, ANNA, *command)
    assert (done.returncode, done.stdout) == (WRONG_USE, "")
    assert "--yes does it without asking" in done.stderr
    refused = at_a_terminal(served, ANNA, *command, typing="y")
    assert (refused.returncode, refused.stdout) == (REFUSED, "")
    assert refused.stderr.endswith("clearctl: nothing was done\n")
    assert served.journal_size() == size


def test_a_new_parameter_is_shown_with_its_impact_proposed_and_approved(served: Served) -> None:
    change = ("param", "propose", "--set", "requirement_bp=30000", "--reason", "wild", "--id", "raise")
    proposed = at_a_terminal(served, ANNA, *change, typing="yes")
    assert proposed.returncode == DONE, proposed.stderr
    for shown in ("12,500", "30,000", "All requirements together change by"):
        assert shown in proposed.stderr
    assert "Proposed as raise" in proposed.stdout
    assert asked(served, ANNA, "param", "approve", "raise", "--yes").stderr.startswith(
        "clearctl: SAME_ADMINISTRATOR"
    )
    shown = asked(served, RITA, "proposal", "show", "raise").stdout
    assert "30,000" in shown
    approved = at_a_terminal(served, BERT, "param", "approve", "raise", typing="yes")
    assert "PARAMETERS_APPROVED" in approved.stderr
    assert "raise is approved" in approved.stdout
    ended = asked(served, BERT, "proposal", "reject", "raise", "--reason", "after all")
    assert "raise is rejected" in ended.stdout


def test_to_declare_a_default_the_members_name_has_to_be_typed(served: Served) -> None:
    command = ("default", "declare", "beta", "--reason", "r", "--id", "declare-beta")
    refused = at_a_terminal(served, ANNA, *command, typing="yes")
    assert refused.returncode == REFUSED
    assert "If beta failed now" in refused.stderr
    assert at_a_terminal(served, ANNA, *command, typing="beta").returncode == DONE
    assert (
        at_a_terminal(served, BERT, "proposal", "approve", "declare-beta", typing="yes").returncode == REFUSED
    )
    assert "is rejected" in asked(served, BERT, "proposal", "reject", "declare-beta", "--reason", "r").stdout


def test_json_stays_json_while_the_effect_is_shown(served: Served) -> None:
    set_ = ("--output", "json", "breaker", "set", "ETH-PERP", "reduce-only", "--reason", "r", "--yes")
    done = asked(served, ANNA, *set_)
    assert json.loads(done.stdout)["set"] is True
    assert "reduce-only" in done.stderr
    loosened = asked(served, ANNA, "breaker", "set", "ETH-PERP", "open", "--reason", "r", "--yes")
    assert "another administrator has to send the same" in loosened.stdout
    again = asked(served, BERT, "breaker", "set", "ETH-PERP", "open", "--reason", "r", "--yes")
    assert again.stdout.startswith("ETH-PERP is open.")


def test_what_the_house_would_refuse_is_not_even_asked(served: Served) -> None:
    done = at_a_terminal(served, ANNA, "change", "wind-down", "--reason", "r", typing=HOUSE)
    assert (done.returncode, done.stderr.partition(": ")[2][:17]) == (REFUSED, "NOTHING_UNCOVERED")


def test_changes_are_proposed(served: Served, tmp_path: Path) -> None:
    terms = {"name": "assets/WBTC", "decimals": 8, "feed": "feeds/BTC", "tickValue": "0.1", "haircutBp": 500}
    (tmp_path / "a.json").write_text(json.dumps(terms))
    listed = asked(
        served, ANNA, "change", "list-asset", str(tmp_path / "a.json"), "--reason", "r", "--id", "wbtc"
    )
    assert (listed.returncode, listed.stdout.split(":")[0]) == (DONE, "Proposed as wbtc"), listed.stderr
    key = ("--public-key", Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex())
    assert asked(served, ANNA, "change", "register-source", "s9", *key, "--reason", "r").returncode == DONE
    assert asked(served, ANNA, "change", "retire-source", "s3", "--reason", "r").returncode == DONE
    assert asked(served, ANNA, "member", "admit", "gamma", "--name", "G", "--reason", "r").returncode == DONE
    (tmp_path / "b.json").write_text('{"nonsense": 1}')
    wrong = asked(served, ANNA, "change", "list-asset", str(tmp_path / "b.json"), "--reason", "r")
    assert wrong.returncode == WRONG_USE


# profiles -------------------------------------------------------------------------------------------------


def test_a_profile_stands_in_for_options_which_win_over_it(served: Served, tmp_path: Path) -> None:
    config = str(tmp_path / "config.toml")
    for who in (ALPHA, BETA):
        keys = ("--house", served.address, "--keys", str(served.keys / "clients" / who), "--output", "json")
        done = clearctl("profile", "add", who.rpartition("/")[2], *keys, CLEARCTL_CONFIG=config)
        assert done.returncode == DONE, done.stderr

    def members(*options: str, **settings: str) -> set[str]:
        found = clearctl(*options, "account", "list", CLEARCTL_CONFIG=config, **settings)
        return {row["name"].split("/")[1] for row in json.loads(found.stdout)}

    assert members() == {"alpha"}
    assert members("--profile", "beta") == members(CLEARCTL_PROFILE="beta") == {"beta"}
    assert members("--keys", str(served.keys / "clients" / BETA)) == {"beta"}
    assert clearctl("profile", "use", "beta", CLEARCTL_CONFIG=config).returncode == DONE
    assert members() == {"beta"}
    assert clearctl("--output", "table", "status", CLEARCTL_CONFIG=config).stdout.startswith("House")
    rows = json.loads(clearctl("profile", "list", CLEARCTL_CONFIG=config).stdout)
    assert {row["name"]: row["inUse"] for row in rows} == {"alpha": False, "beta": True}


def test_a_profile_that_is_not_there_or_a_file_that_is_none_is_wrong_use(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    assert clearctl("--profile", "x", "status", CLEARCTL_CONFIG=str(config)).returncode == WRONG_USE
    config.write_text("nonsense")
    done = clearctl("profile", "list", CLEARCTL_CONFIG=str(config))
    assert (done.returncode, str(config) in done.stderr) == (WRONG_USE, True)


# watching -------------------------------------------------------------------------------------------------


def test_watching_as_json_prints_events_until_interrupted(served: Served) -> None:
    command = [*PROGRAM, *as_whom(served, ALPHA), "--output", "json", "watch", "--after", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=surroundings()
    )
    assert process.stdout is not None
    lines = [json.loads(process.stdout.readline()) for _ in range(5)]
    assert lines[0]["kind"] == "ASSET_LISTED"
    assert lines == answer(served, ALPHA, "event", "list", "--limit", "5")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (DONE, "")


def drained(terminal: int, process: "subprocess.Popen[bytes]") -> None:
    """Take what a program writes on its way out, so that it does not wait for its reader; for ten seconds at most."""
    end = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < end:
        try:
            if select.select([terminal], [], [], 0.1)[0]:
                os.read(terminal, 65_536)
        except OSError:
            return


def test_the_live_view_shows_what_happens_and_ends_with_zero(served: Served) -> None:
    here, there = pty.openpty()
    termios.tcsetwinsize(there, (60, 160))
    process = subprocess.Popen(
        [*PROGRAM, *as_whom(served, ANNA), "watch"],
        stdout=there,
        stderr=subprocess.PIPE,
        env=surroundings(TERM="xterm"),
    )
    os.close(there)
    shown = b""

    def until(word: str) -> None:
        nonlocal shown
        end = time.monotonic() + 20
        while word.encode() not in shown:
            assert time.monotonic() < end, shown
            if select.select([here], [], [], 0.5)[0]:
                shown += os.read(here, 65_536)

    until("Ctrl-C ends")
    until(HOUSE)
    asked(served, ALPHA, "pool", "contribute", "2")
    until("POOL_CONTRIBUTED")
    process.send_signal(signal.SIGINT)
    drained(here, process)
    _, errors = process.communicate(timeout=20)
    os.close(here)
    assert (process.returncode, errors) == (DONE, b"")


def test_a_live_view_wants_a_terminal(served: Served) -> None:
    done = asked(served, ANNA, "watch")
    assert (done.returncode, "ask for --output json" in done.stderr) == (WRONG_USE, True)


# help and errors ------------------------------------------------------------------------------------------


def test_every_command_teaches_by_an_example() -> None:
    code = (
        "import typer\n"
        "from importlib import import_module\n"
        "from clearctl.app import NOUNS\n"
        "for noun in (noun for panel in NOUNS.values() for noun in panel):\n"
        "    found = typer.main.get_command(import_module(f'clearctl.nouns.{noun}').app)\n"
        "    for name, one in getattr(found, 'commands', {'': found}).items():\n"
        "        print(f'{noun} {name}'.strip(), '|', ' '.join(one.help.split()))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment()
    )
    taught = dict(line.split(" | ", 1) for line in ran.stdout.splitlines())
    assert {command.split()[0] for command in taught} == {noun for panel in NOUNS.values() for noun in panel}
    without = [
        command
        for command, help_text in taught.items()
        if "Example: clearctl " not in help_text or command.split()[-1] not in help_text
    ]
    assert without == []


def test_help_loads_no_grpc_and_names_every_noun_and_exit_code() -> None:
    done = clearctl("--help")
    told = " ".join(done.stdout.split())
    assert all(f"{noun} " in told for panel in NOUNS.values() for noun in panel)
    assert "0 done, 1 refused or a check failed, 2 used wrongly, 3 the house was not reached" in told
    code = "import sys; from clearctl import app; sys.exit(bool({'grpc', 'rich.table'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, env=environment()).returncode == 0


def test_a_change_that_got_no_answer_says_how_to_send_it_again(served: Served) -> None:
    keys = str(served.keys / "clients" / ALPHA)
    done = clearctl("--house", "127.0.0.1:1", "--keys", keys, "pool", "contribute", "1")
    assert done.returncode == UNREACHABLE
    assert "send the same again with --request-id" in done.stderr


def test_a_regulator_has_to_say_for_whom_it_acts(served: Served) -> None:
    done = asked(served, RITA, "pool", "contribute", "1")
    assert done.returncode == WRONG_USE
    assert "--member" in done.stderr
    assert asked(served, RITA, "pool", "contribute", "1", "--member", "alpha").returncode == REFUSED
