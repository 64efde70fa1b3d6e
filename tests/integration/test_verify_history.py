"""Whoever edits the history is found, and the first sequence that suffers is named."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from ledger.entry import Entry, credit, debit
from ledger.store import verify_history
from ledger.store.connect import Database, transaction
from ledger.store.differs import Differs
from ledger.store.projector import VERSION, Projector
from ledger.store.verify_history import history_differs
from tests.histories import journal_at, project_all, write_segments
from tests.ledgers import ALICE, BOB, MINT, OPENING, entry, open_database, paid
from tests.stores import Stores

JOURNAL: list[Entry] = [
    OPENING,
    paid(1, MINT, ALICE, 1_000),
    entry(2, debit(ALICE, 1), credit(BOB, 1), debit(ALICE, 2), credit(BOB, 2)),
    entry(3, fact="nothing moves"),
    paid(4, ALICE, BOB, 2**70 - 2**70 + 9),
    paid(5, MINT, ALICE, 5),
]
SIZE = len(JOURNAL)
only_on_sqlite = pytest.mark.parametrize("store_kind", ["sqlite"], indirect=True)


@pytest.fixture(scope="module")
def untouched(stores: Stores) -> Iterator[str]:
    url = stores.new()
    database = journal_at(url, JOURNAL[:2], JOURNAL[2:])
    project_all(database)
    database.dispose()
    yield url
    stores.drop(url)


@pytest.fixture
def database(stores: Stores, untouched: str) -> Iterator[Database]:
    copied = stores.copy(untouched)
    opened = open_database(copied)
    yield opened
    opened.dispose()
    stores.drop(copied)


@pytest.fixture(params=[1, 3, 65_536])
def span(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(verify_history, "SPAN_LEGS", request.param)
    return int(request.param)


def differs(database: Database) -> Differs | None:
    with database.connect() as connection:
        return history_differs(connection)


def edit(database: Database, statement: str, **parameters: Any) -> None:
    with transaction(database) as connection:
        edited = connection.execute(text(statement), parameters)
        assert edited.rowcount > 0


def test_an_untouched_history_is_what_the_journal_says(database: Database, span: int) -> None:
    assert differs(database) is None


def test_so_is_none_at_all(url: str) -> None:
    database = journal_at(url, JOURNAL)
    assert differs(database) is None
    Projector(database)
    assert differs(database) is None
    database.dispose()


@pytest.mark.parametrize("steps", range(1, 8))
def test_so_is_one_that_is_under_way(url: str, span: int, steps: int) -> None:
    database = journal_at(url, JOURNAL)
    projector = Projector(database)
    for _ in range(steps):
        projector.step(1)
    assert differs(database) is None
    database.dispose()


EDITS = {
    "an amount": ("UPDATE postings SET amount = '2' WHERE account = 1 AND sequence = 2 AND leg = 0", 2),
    "the first amount": ("UPDATE postings SET amount = '1' WHERE sequence = 1 AND leg = 0", 1),
    "its sign": ("UPDATE postings SET amount = '-9' WHERE sequence = 4 AND leg = 0", 4),
    "a balance": ("UPDATE postings SET balance = '0' WHERE sequence = 4 AND leg = 1", 4),
    "the last balance": ("UPDATE postings SET balance = '-1' WHERE sequence = 5 AND leg = 1", 5),
    "a posting gone": ("DELETE FROM postings WHERE sequence = 2 AND leg = 3", 2),
    "all postings gone": ("DELETE FROM postings", 1),
    "a posting more": ("INSERT INTO postings VALUES (2, 3, 0, '1', '1')", 3),
    "a posting before all time": ("INSERT INTO postings VALUES (2, -3, 0, '1', '1')", 0),
    "a posting on no account": ("INSERT INTO postings VALUES (77, 4, 0, '1', '1')", 4),
    "a posting on account -1": ("INSERT INTO postings VALUES (-1, 2, 0, '1', '1')", 2),
    "a posting beyond": ("INSERT INTO postings VALUES (2, 6, 0, '1', '1')", SIZE),
    "a posting far beyond": ("INSERT INTO postings VALUES (2, 600, 0, '1', '1')", SIZE),
    "a leg more": ("INSERT INTO postings VALUES (2, 4, 2, '1', '1')", 4),
    "a posting moved": ("UPDATE postings SET sequence = 3 WHERE sequence = 4 AND leg = 0", 3),
    "a posting on another account": ("UPDATE postings SET account = 3 WHERE sequence = 4 AND leg = 0", 4),
    "two postings": ("UPDATE postings SET amount = '3' WHERE sequence IN (2, 5)", 2),
    "a kind": ("UPDATE entries SET kind = 9 WHERE sequence = 3", 3),
    "a time": ("UPDATE entries SET effective_ms = effective_ms - 1 WHERE sequence = 5", 5),
    "an entry gone": ("DELETE FROM entries WHERE sequence = 4", 4),
    "the last entry gone": ("DELETE FROM entries WHERE sequence = 5", 5),
    "an entry more": (
        "INSERT INTO entries SELECT 6, kind, effective_ms, entry_id FROM entries LIMIT 1",
        SIZE,
    ),
    "an entry below all": (
        "INSERT INTO entries SELECT -1, kind, effective_ms, entry_id FROM entries LIMIT 1",
        0,
    ),
    "a path": ("UPDATE accounts SET path = 'clients/mallory' WHERE number = 1", 0),
    "a unit": ("UPDATE accounts SET unit = 'EUR' WHERE number = 1", 0),
    "a side": ("UPDATE accounts SET side = 'debit' WHERE number = 1", 0),
    "a limit": ("UPDATE accounts SET \"limit\" = 'none' WHERE number = 1", 0),
    "an opening": ("UPDATE accounts SET opened_at = 1 WHERE number = 1", 0),
    "a number": ("UPDATE accounts SET number = 70 WHERE number = 3", 0),
    "an account gone": ("DELETE FROM accounts WHERE number = 5", 0),
    "the position back": ("UPDATE projection SET sequence = 4", 4),
    "the position on": ("UPDATE projection SET sequence = 7", SIZE),
    "a version": (f"UPDATE projection SET version = {VERSION + 1}", 0),
    "no position": ("DELETE FROM projection", 0),
}


@pytest.mark.parametrize(("statement", "sequence"), EDITS.values(), ids=EDITS)
def test_an_edit_is_found_at_its_sequence(
    database: Database, span: int, statement: str, sequence: int
) -> None:
    edit(database, statement)
    found = differs(database)
    assert found is not None
    assert found.sequence == sequence, found
    assert found.reason


@pytest.mark.parametrize("opened_at", [0, 3, 6, 99])
def test_an_account_that_nobody_opened_is_found(database: Database, opened_at: int) -> None:
    edit(
        database,
        "INSERT INTO accounts SELECT 6, :id, 'clients/mallory', unit, side, \"limit\", :at FROM accounts "
        "WHERE number = 1",
        id=bytes(16),
        at=opened_at,
    )
    found = differs(database)
    assert found is not None
    assert found.sequence == min(opened_at, SIZE)


def test_an_id_is_compared_too(database: Database) -> None:
    edit(database, "UPDATE entries SET entry_id = :id WHERE sequence = 2", id=bytes(15) + b"\x07")
    found = differs(database)
    assert found is not None
    assert found.sequence == 2
    edit(database, "UPDATE accounts SET id = :id WHERE number = 2", id=bytes(16))
    found = differs(database)
    assert found is not None
    assert found.sequence == 0


@only_on_sqlite
@pytest.mark.parametrize(
    ("statement", "sequence"),
    [
        ("UPDATE postings SET amount = '+9' WHERE sequence = 4 AND leg = 0", 4),
        ("UPDATE postings SET amount = '09' WHERE sequence = 4 AND leg = 0", 4),
        ("UPDATE postings SET amount = 9.0 WHERE sequence = 4 AND leg = 0", 4),
        ("UPDATE postings SET balance = CAST(x'ff' AS TEXT) WHERE sequence = 4 AND leg = 0", 4),
        ("UPDATE postings SET sequence = 'four' WHERE sequence = 4 AND leg = 0", 4),
        ("UPDATE postings SET account = 'alice' WHERE sequence = 5 AND leg = 1", 5),
        ("INSERT INTO postings VALUES ('alice', 'now', 0, '1', '1')", SIZE),
        ("UPDATE accounts SET path = CAST(x'ff' AS TEXT) WHERE number = 1", 0),
        ("UPDATE accounts SET opened_at = 'now' WHERE number = 1", 0),
        ("UPDATE entries SET entry_id = 'text' WHERE sequence = 3", 3),
        ("UPDATE entries SET kind = 'nine' WHERE sequence = 3", 3),
    ],
)
def test_what_is_no_number_is_found_as_well(database: Database, statement: str, sequence: int) -> None:
    edit(database, statement)
    found = differs(database)
    assert found is not None
    assert found.sequence == sequence, found


def test_swapped_legs_of_one_entry_are_found(database: Database) -> None:
    for was, becomes in ((0, 90), (2, 0), (90, 2)):
        edit(
            database,
            "UPDATE postings SET leg = :to WHERE account = 1 AND sequence = 2 AND leg = :at",
            at=was,
            to=becomes,
        )
    found = differs(database)
    assert found is not None
    assert found.sequence == 2


def test_the_projector_may_go_on_meanwhile(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is left is projected between the comparison and the look at what stands beyond."""
    write_segments(database, [[paid(9, MINT, BOB, 1), entry(10, fact="x")]])
    extra = verify_history._extra

    def later(*given: Any) -> Differs | None:
        project_all(database)
        return extra(*given)

    monkeypatch.setattr(verify_history, "_extra", later)
    assert differs(database) is None


def test_a_journal_that_cannot_be_projected_is_no_history(url: str) -> None:
    database = journal_at(url, JOURNAL[:2])
    project_all(database)
    edit(database, "UPDATE projection SET sequence = 9")
    found = differs(database)
    assert found is not None
    assert found.sequence == 2
    database.dispose()
