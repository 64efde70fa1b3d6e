"""Reports are fixed by what they are made of; a file that was made is found again, or made again alike."""

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearing.model.kinds import Kind
from clearing.reports import journal, statement, trial_balance
from clearing.reports.render import ROWS_AT_ONCE
from clearing.reports.rows import Balanced, Moved, Recorded
from clearing.reports.table import REPORTS, SUFFIXES
from clearing.server import spool as spools
from clearing.server.reports import ROWS
from clearing.server.spool import Spool
from ledger.account import Account
from ledger.entry import Entry, transfer


def test_every_report_has_its_rows_and_its_type() -> None:
    assert ROWS.keys() == REPORTS.keys()
    assert {report.media_type for report in REPORTS.values()} <= SUFFIXES.keys()


def test_members_pull_only_what_is_about_an_account_that_they_name_or_cut_to_what_is_theirs() -> None:
    for report in REPORTS.values():
        if report.for_members and not report.cut:
            assert "ledger_account" in {one.key for one in report.parameters if one.is_required}


def test_a_trial_balance_is_a_table_with_both_sides() -> None:
    rows = [Balanced("custody", "USD", "5.00", ""), Balanced('a,"b"', "USD", "", "5.00")]
    text = b"".join(trial_balance.render(rows)).decode()
    assert text == 'account,unit,debit,credit\ncustody,USD,5.00,\n"a,""b""",USD,,5.00\n'


def test_a_statement_goes_from_opening_to_closing_balance() -> None:
    rows = [
        Moved("opening balance", "0.00"),
        Moved("DEPOSITED", "5.00", sequence=0, leg=1, time_ms=0, amount="5.00"),
        Moved("closing balance", "5.00"),
    ]
    assert b"".join(statement.render(rows)).decode().splitlines() == [
        "entry,leg,time_ms,what,amount,balance",
        ",,,opening balance,,0.00",
        "0,1,0,DEPOSITED,5.00,5.00",
        ",,,closing balance,,5.00",
    ]


def test_a_journal_has_everything_of_an_entry_and_no_number() -> None:
    till, alice = Account("till", "USD"), Account("alice", "USD")
    entry = Entry(
        entry_id=bytes(16),
        kind=Kind.DEPOSITED,
        effective_ms=7,
        legs=transfer(till, alice, 2**80),
        opens=(alice,),
        request_id="r",
        actor="member/a",
        references=("x",),
        fact=[["t", "k", None]],
    )
    (line,) = journal.render([Recorded(3, entry)])
    said = json.loads(line, parse_int=pytest.fail, parse_float=pytest.fail)
    assert said == {
        "actor": "member/a",
        "fact": [["t", "k", None]],
        "id": "00" * 16,
        "kind": "201",
        "kind_name": "DEPOSITED",
        "legs": [["till", "USD", str(2**80)], ["alice", "USD", str(-(2**80))]],
        "opens": [["alice", "USD", "credit", "none"]],
        "references": ["x"],
        "request": "r",
        "sequence": "3",
        "time_ms": "7",
    }


def test_a_long_table_comes_in_parts() -> None:
    rows = [Balanced("a", "USD", "1", "")] * (2 * ROWS_AT_ONCE + 1)
    parts = list(trial_balance.render(rows))
    assert len(parts) == 3
    assert b"".join(parts).count(b"\n") == len(rows) + 1


def made(times: list[int]) -> Iterator[bytes]:
    times.append(1)
    yield from (b"one", b"two")


def test_what_was_made_is_not_made_again(tmp_path: Path) -> None:
    spool, times = Spool(tmp_path), list[int]()
    for _ in range(2):
        download = spool.open("a", lambda: made(times))
        with download.file as file:
            assert file.read() == b"onetwo"
        assert download.spooled.size == 6
        assert download.spooled.sha256 == hashlib.sha256(b"onetwo").hexdigest()
    assert times == [1]
    spool.open("b", lambda: made(times)).file.close()
    assert times == [1, 1]


def test_the_oldest_file_goes_and_is_made_again_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spools, "FILES_MAX", 2)
    spool, times = Spool(tmp_path), list[int]()
    first = spool.open("a", lambda: made(times))
    for name in ("b", "c"):
        spool.open(name, lambda: made(times)).file.close()
    assert len(list(tmp_path.iterdir())) == 2
    with first.file as file:
        assert file.read() == b"onetwo", "who reads it reads on"
    with spool.open("a", lambda: made(times)).file as file:
        assert file.read() == b"onetwo"
    assert len(times) == 4


def test_a_report_that_fails_leaves_nothing_and_may_be_tried_again(tmp_path: Path) -> None:
    def failing() -> Iterator[bytes]:
        yield b"half"
        raise KeyError

    spool = Spool(tmp_path)
    with pytest.raises(KeyError):
        spool.open("a", failing)
    assert list(tmp_path.iterdir()) == []
    spool.open("a", lambda: made([])).file.close()


def test_many_who_ask_at_once_get_one_file(tmp_path: Path) -> None:
    spool, times = Spool(tmp_path), list[int]()

    def fetch() -> None:
        spool.open("a", lambda: made(times)).file.close()

    threads = [threading.Thread(target=fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(times) == 1
    assert len(list(tmp_path.iterdir())) == 1
