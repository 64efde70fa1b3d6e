"""``clearing ledger``: the ledger alone, from the command line, on both databases."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from clearing.cli import app
from clearing.engine import Engine
from clearing.main import clock_ms
from clearing.model.commands import FoundHouse
from clearing.store import migrate
from ledger.account import account_id
from ledger.checkpoint import parse_vkey
from ledger.receipt import parse_legs, verify_legs
from ledger.store.connect import Lease, open_store, system_salts
from tests.builders import PARAMETERS, SETTLEMENT
from tests.ledgers import behind_its_back
from tests.stores import Stores

pytestmark = pytest.mark.slow

DOCUMENT = Path(__file__).parents[2] / "docs" / "ledger.md"
ORIGIN = "example.org/books"


class Books:
    """A ledger in a folder of its own."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder

    def run(self, *arguments: str, typed: str | None = None) -> Result:
        command = ["ledger", *arguments, "--database", self.url]
        return CliRunner().invoke(app, command, input=typed, catch_exceptions=False)

    def ok(self, *arguments: str, typed: str | None = None) -> Any:
        """What it says in JSON; it must not have refused."""
        done = self.run(*arguments, "--json", typed=typed)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def refused(self, *arguments: str, typed: str | None = None) -> str:
        """The sentence with which it refused."""
        done = self.run(*arguments, typed=typed)
        assert (done.exit_code, done.stdout) == (1, "")
        return done.stderr

    def open_accounts(self) -> None:
        self.ok("open", "mint", "USD", "--side", "debit")
        for who in ("alice", "bob"):
            self.ok("open", f"clients/{who}", "USD", "--limit", "debits_must_not_exceed_credits")

    def balance(self, path: str, *options: str) -> str:
        return str(self.ok("balance", path, "USD", *options)["balance"])


@pytest.fixture
def books(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Books:
    monkeypatch.chdir(tmp_path)
    made = Books(url, tmp_path)
    made.open_accounts()
    return made


def test_what_is_posted_is_listed_and_stated_and_verified(books: Books) -> None:
    assert books.ok("post", "mint", "clients/alice", "100", "USD") == [{"result": "POSTED", "sequence": 3}]
    assert books.ok("post", "clients/alice", "clients/bob", "30", "USD") == [
        {"result": "POSTED", "sequence": 4}
    ]
    assert {row["path"]: row["balance"] for row in books.ok("accounts")} == {
        "mint": "100",
        "clients/alice": "70",
        "clients/bob": "30",
    }
    stated = books.ok("statement", "clients/alice", "USD")
    assert (stated["opening"], stated["closing"]) == ("0", "70")
    assert [(line["entry"], line["amount"], line["balance"]) for line in stated["lines"]] == [
        ("3", "-100", "100"),
        ("4", "30", "70"),
    ]
    verified = books.ok("verify")
    assert (verified["holds"], verified["size"]) == (True, "5")


def test_the_past_stays_what_it_was(books: Books) -> None:
    books.ok("post", "mint", "clients/alice", "100", "USD")
    books.ok("post", "clients/alice", "clients/bob", "30", "USD")
    assert [books.balance("clients/alice", "--as-of", str(n)) for n in (3, 4, 5)] == ["0", "100", "70"]
    assert [e["entry"] for e in books.ok("entries", "--path", "clients/bob", "--unit", "USD")] == ["4"]
    assert [e["entry"] for e in books.ok("entries", "--from", "1", "--limit", "2")] == ["1", "2"]
    assert "there are 5 entries" in books.refused("accounts", "--as-of", "6")


def test_a_retry_is_answered_and_moves_nothing(books: Books) -> None:
    books.ok("post", "mint", "clients/alice", "100", "USD")
    rent = ("post", "clients/alice", "clients/bob", "30", "USD", "--request-id", "rent")
    assert books.ok(*rent) == books.ok(*rent)
    assert books.balance("clients/alice") == "70"
    assert "was used with another body" in books.refused(
        "post", "clients/alice", "clients/bob", "31", "USD", "--request-id", "rent"
    )


def test_what_cannot_be_paid_is_refused_with_its_reason(books: Books) -> None:
    done = books.run("post", "clients/alice", "clients/bob", "1", "USD")
    assert (done.exit_code, done.stdout) == (1, "1: LIMIT_EXCEEDED\n")
    assert books.balance("clients/alice") == "0"


def test_the_lines_of_the_document_post_as_it_says(books: Books) -> None:
    (lines,) = re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    books.ok("post", "mint", "clients/alice", "70", "USD")
    books.ok("post", "mint", "clients/bob", "30", "USD")
    results = books.ok("post", "--file", "-", typed=lines)
    assert [one["result"] for one in results] == ["POSTED"] * 5
    assert (books.balance("clients/alice"), books.balance("clients/bob")) == ("61", "46")
    assert books.balance("holds") == "0"
    again = books.ok("post", "--file", "-", typed=lines)
    assert [one["result"] for one in again] == ["EXISTS"] * 5


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"kind": "1"}', "id is missing"),
        ('{"id": "zz", "reverse": "00"}', "line 1: non-hexadecimal"),
        ('{"id": "00", "debit": "a", "credit": "b", "unit": "USD", "amount": 5}', "numbers as strings"),
        ('{"id": "00", "kind": "1"}', "one of debit, legs"),
        ('{"id": "00", "reverse": "00", "note": "x"}', "unknown: note"),
        ('{"id": "00", "debit": "a", "credit": "b", "unit": "USD", "amount": "1_0"}', "not a whole number"),
        ('{"id": "00", "debit": "a", "credit": "b", "unit": "USD", "amount": " 1"}', "not a whole number"),
        ('{"id": "00", "reverse": "00", "linked": "false"}', "linked is true or false"),
        ('{"id": "00", "reverse": "00", "references": "abc"}', "references is a list of texts"),
        ('{"id": "00", "reverse": "00", "references": [null]}', "references is a list of texts"),
        ('{"id": "00", "fact": ' + "[" * 100_000 + "]" * 100_000 + "}", "line 1"),
        ("not json", "line 1"),
        ('["a list"]', "line 1"),
    ],
)
def test_a_line_that_is_no_item_is_named(books: Books, line: str, complaint: str) -> None:
    assert complaint in books.refused("post", "--file", "-", typed=line)
    assert len(books.ok("entries")) == 3


def test_a_receipt_proves_the_legs_of_one_account_to_whoever_has_the_key(books: Books) -> None:
    books.ok("post", "mint", "clients/alice", "100", "USD")
    places = ("--log", "log", "--anchor", "books.anchor", "--out", "alice.receipt")
    done = books.run("prove", "3", "--origin", ORIGIN, "--path", "clients/alice", "--unit", "USD", *places)
    assert done.exit_code == 0, done.output
    key = parse_vkey((books.folder / "ledger.key.pub").read_text().strip())
    receipt = parse_legs((books.folder / "alice.receipt").read_bytes())
    alice = account_id("clients/alice", "USD")
    proven = verify_legs(receipt, origin=ORIGIN, log_keys=[key], account=alice)
    assert proven.amount == -100
    assert books.ok("verify", "--log", "log")["holds"]
    assert (books.folder / "ledger.key").stat().st_mode & 0o077 == 0
    assert "there are 4 entries" in books.refused("prove", "4", "--origin", ORIGIN, *places)


def test_an_edited_row_is_named_and_so_is_an_edited_tile(books: Books) -> None:
    books.ok("post", "mint", "clients/alice", "100", "USD")
    assert books.balance("clients/alice") == "100"
    places = ("--log", "log", "--anchor", "books.anchor", "--out", "receipt")
    assert books.run("prove", "3", "--origin", ORIGIN, *places).exit_code == 0
    with behind_its_back(books.url) as connection:
        connection.execute(text("UPDATE postings SET amount = '7' WHERE sequence = 3 AND leg = 0"))
    done = books.run("verify")
    assert (done.exit_code, "entry 3" in done.stdout) == (1, True), done.output
    assert books.run("rebuild").stdout == "the history has 4 entries\n"
    assert books.ok("verify")["holds"]
    (tile,) = (books.folder / "log" / "tile" / "entries").rglob("000.p/4")
    tile.write_bytes(tile.read_bytes()[:-1] + b"\0")
    done = books.run("verify", "--log", "log")
    assert (done.exit_code, "tiles" in done.stdout) == (1, True), done.output


def test_an_unknown_account_is_named_as_it_was_asked_for(books: Books) -> None:
    assert "no entry so far opened nobody USD" in books.refused("balance", "nobody", "USD")
    assert "no entry so far opened mint BTC" in books.refused("statement", "mint", "BTC")


@contextmanager
def written_by_somebody_else(url: str) -> Iterator[None]:
    database = open_store(url)
    with Lease.acquire(database):
        yield
    database.dispose()


def test_two_do_not_write_at_once_and_all_may_read(books: Books) -> None:
    with written_by_somebody_else(books.url):
        assert "another process writes" in books.refused("post", "mint", "clients/alice", "1", "USD")
        assert books.balance("mint") == "0"


def test_an_old_backup_is_refused(store_kind: str, stores: Stores, books: Books) -> None:
    books.ok("post", "mint", "clients/alice", "100", "USD")
    backup = stores.copy(books.url)
    books.ok("post", "mint", "clients/alice", "100", "USD")
    places = ("--log", "log", "--anchor", "books.anchor", "--out", "receipt")
    assert books.run("prove", "4", "--origin", ORIGIN, *places).exit_code == 0
    restored = Books(backup, books.folder)
    assert "old copy" in restored.refused("prove", "3", "--origin", ORIGIN, *places)


def test_the_books_of_a_house_are_read_and_not_written(url: str, tmp_path: Path) -> None:
    database = open_store(url)
    migrate.upgrade(database)
    engine = Engine(database, clock=clock_ms, salts=system_salts)
    founding = FoundHouse(house="testhouse", settlement=SETTLEMENT, parameters=PARAMETERS)
    engine.execute(founding, request_id="found", actor="test")
    engine.close()
    database.dispose()
    house = Books(url, tmp_path)
    assert "journal of a clearing house" in house.refused("open", "mint", "USD")
    assert house.ok("verify")["holds"]


@pytest.mark.parametrize("url", ["sqlite:///:memory:", "nonsense", "postgresql://nobody@127.0.0.1:1/none"])
def test_a_place_that_is_no_ledger_is_refused_in_a_sentence(url: str, tmp_path: Path) -> None:
    said = Books(url, tmp_path).refused("accounts")
    assert said.startswith("clearing ledger: ")
    assert said.count("\n") == 1
