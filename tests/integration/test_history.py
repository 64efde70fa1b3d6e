"""Reads of the past: balances, trial balances, entries and statements as of any sequence, page by page."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from ledger.account import Account, AccountId
from ledger.entry import Entry, credit, debit
from ledger.require import InvariantViolated
from ledger.store import history
from ledger.store.connect import Database, snapshot, transaction
from ledger.store.history import PAGE_MAX, AccountUnknown, Standing, Statement
from ledger.store.projector import HistoryBehind, Projector
from tests.histories import SlowHistory, journal_at, project_all, write_segments
from tests.ledgers import ALICE, BOB, BTC_ALICE, BTC_MINT, MINT, NOW_MS, OPENING, entry, paid
from tests.stores import Stores

LATE = Account("clients/late", "USD")
JOURNAL: list[Entry] = [
    OPENING,
    paid(1, MINT, ALICE, 1_000),
    paid(2, ALICE, BOB, 30, kind=7),
    entry(3, fact="nothing moves", kind=7),
    entry(4, debit(ALICE, 1), credit(BOB, 1), debit(ALICE, 2), credit(BOB, 2)),
    entry(5, debit(BTC_MINT, 2**100), credit(BTC_ALICE, 2**100), kind=7),
    entry(6, debit(BOB, 4), credit(LATE, 4), opens=(LATE,)),
    paid(7, MINT, ALICE, 1, kind=7),
]
SIZE = len(JOURNAL)
SLOW = SlowHistory(JOURNAL)


@pytest.fixture(scope="module")
def database(stores: Stores) -> Iterator[Database]:
    url = stores.new()
    opened = journal_at(url, JOURNAL[:3], JOURNAL[3:])
    project_all(opened)
    yield opened
    opened.dispose()
    stores.drop(url)


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with snapshot(database) as opened:
        yield opened


# -------------------------------------------------------------------------------------------------- balances


@pytest.mark.parametrize("as_of", range(1, SIZE + 1))
def test_a_balance_is_that_of_the_first_entries(connection: Connection, as_of: int) -> None:
    for account in (MINT, ALICE, BOB, BTC_ALICE):
        assert history.balance(connection, account.id, as_of) == SLOW.balance(account, as_of)


@pytest.mark.parametrize("as_of", range(SIZE + 1))
def test_a_trial_balance_has_debits_and_credits_of_each_unit(connection: Connection, as_of: int) -> None:
    found = history.trial_balance(connection, as_of)
    assert found == SLOW.trial_balance(as_of)
    assert all(debits == credits for debits, credits in found.values())


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, PAGE_MAX])
def test_standings_come_in_pages_that_leave_nobody_out(connection: Connection, limit: int) -> None:
    read: list[Standing] = []
    after = -1
    while page := history.standings(connection, SIZE, after=after, limit=limit):
        assert len(page) <= limit
        read += page
        after = page[-1].opened.number
    assert [one.opened.number for one in read] == list(range(7))
    assert [one.opened.account for one in read] == [*OPENING.opens, LATE]
    assert read[-1].opened.opened_at == 6
    assert [one.balance for one in read] == [SLOW.balance(one.opened.account, SIZE) for one in read]


def test_an_account_is_unknown_until_it_is_opened(connection: Connection) -> None:
    for as_of in (0, 6):
        with pytest.raises(AccountUnknown, match=LATE.id.hex()):
            history.balance(connection, LATE.id, as_of)
        with pytest.raises(AccountUnknown):
            history.statement(connection, LATE.id, 0, as_of)
        with pytest.raises(AccountUnknown):
            history.entries_between(connection, 0, as_of, account=LATE.id)
        assert LATE not in [one.opened.account for one in history.standings(connection, as_of)]
    assert history.balance(connection, LATE.id, 7) == -4
    assert history.find_account(connection, LATE.id, 7).account == LATE
    with pytest.raises(AccountUnknown):
        history.find_account(connection, AccountId(bytes(16)), SIZE)


READS: dict[str, Callable[[Connection, int], object]] = {
    "balance": lambda c, as_of: history.balance(c, ALICE.id, as_of),
    "standings": history.standings,
    "trial balance": history.trial_balance,
    "entries": lambda c, as_of: history.entries_between(c, 0, as_of),
    "entries of a kind": lambda c, as_of: history.entries_between(c, 0, as_of, kind=7),
    "entries of an account": lambda c, as_of: history.entries_between(c, 0, as_of, account=ALICE.id),
    "entries of both": lambda c, as_of: history.entries_between(c, 0, as_of, account=ALICE.id, kind=7),
    "statement": lambda c, as_of: history.statement(c, ALICE.id, 1, as_of),
    "a later page": lambda c, as_of: history.statement(c, ALICE.id, 1, as_of, after=(2, 0)),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_what_is_not_projected_yet_is_refused(
    connection: Connection, read: Callable[[Connection, int], object]
) -> None:
    read(connection, SIZE)
    with pytest.raises(HistoryBehind) as behind:
        read(connection, SIZE + 1)
    assert (behind.value.position, behind.value.wanted) == (SIZE, SIZE + 1)
    with pytest.raises(ValueError, match="-1"):
        read(connection, -1)


def test_what_was_read_once_reads_the_same_for_ever(url: str) -> None:
    database = journal_at(url, JOURNAL[:4])
    project_all(database)

    def read() -> list[object]:
        with snapshot(database) as connection:
            return [one(connection, 4) for one in READS.values()]

    before = read()
    write_segments(database, [JOURNAL[4:]])
    projector = Projector(database)
    while projector.step(1):
        assert read() == before
    database.dispose()


def test_a_snapshot_does_not_see_a_history_that_is_made_again(url: str) -> None:
    database = journal_at(url, JOURNAL)
    projector = project_all(database)
    with snapshot(database) as connection:
        assert history.projected(connection) == SIZE
        projector.rebuild()
        assert history.balance(connection, ALICE.id, SIZE) == SLOW.balance(ALICE, SIZE)
    with snapshot(database) as connection, pytest.raises(HistoryBehind):
        history.balance(connection, ALICE.id, 1)
    database.dispose()


def test_nothing_is_projected_of_a_new_database(url: str) -> None:
    database = journal_at(url)
    with snapshot(database) as connection:
        assert history.projected(connection) == 0
        assert history.trial_balance(connection, 0) == {}
    database.dispose()


# ---------------------------------------------------------------------------------------------------- entries


def test_entries_say_when_what_and_which(connection: Connection) -> None:
    (found,) = history.entries_between(connection, 2, 3)
    assert (found.sequence, found.kind, found.effective_ms) == (2, 7, NOW_MS)
    assert found.entry_id == JOURNAL[2].entry_id


@pytest.mark.parametrize("kind", [None, 7, 8])
@pytest.mark.parametrize("account", [None, ALICE, BTC_MINT])
@pytest.mark.parametrize("limit", [1, 2, PAGE_MAX])
def test_entries_are_found_by_range_kind_and_account(
    connection: Connection, kind: int | None, account: Account | None, limit: int
) -> None:
    for start in range(SIZE + 1):
        wanted = [
            sequence
            for sequence in range(start, SIZE)
            if (kind is None or JOURNAL[sequence].kind == kind)
            and (account is None or account in {leg.account for leg in JOURNAL[sequence].legs})
        ]
        read: list[int] = []
        after = start
        by = account.id if account is not None else None
        while page := history.entries_between(connection, after, SIZE, kind=kind, account=by, limit=limit):
            assert len(page) <= limit
            read += [one.sequence for one in page]
            after = read[-1] + 1
        assert read == wanted


def test_entries_end_before_as_of(connection: Connection) -> None:
    assert [one.sequence for one in history.entries_between(connection, 0, 3)] == [0, 1, 2]
    found = history.entries_between(connection, 0, 3, account=ALICE.id)
    assert [one.sequence for one in found] == [1, 2]


# -------------------------------------------------------------------------------------------------- statements


def pages(connection: Connection, account: Account, start: int, end: int, limit: int) -> list[Statement]:
    read = [history.statement(connection, account.id, start, end, limit=limit)]
    while read[-1].after is not None:
        more = history.statement(connection, account.id, start, end, after=read[-1].after, limit=limit)
        read.append(more)
    return read


@pytest.mark.parametrize("account", [ALICE, BOB, BTC_ALICE, LATE], ids=lambda one: f"{one.path}/{one.unit}")
@pytest.mark.parametrize("limit", [1, 2, 3, 4, PAGE_MAX])
def test_a_statement_ties_to_the_balances_whatever_its_pages(
    connection: Connection, account: Account, limit: int
) -> None:
    first = SLOW.accounts[[row[1] for row in SLOW.accounts].index(account.id)][6]
    for start in range(first + 1, SIZE + 1):
        for end in range(start, SIZE + 1):
            read = pages(connection, account, start, end, limit)
            assert read[0].opening == SLOW.balance(account, start)
            assert read[-1].closing == SLOW.balance(account, end)
            for one, following in pairwise(read):
                assert one.closing == following.opening
                assert len(one.lines) == limit
            lines = [(*line.key, line.amount) for one in read for line in one.lines]
            assert lines == [
                (sequence, place, leg.amount)
                for sequence in range(start, end)
                for place, leg in enumerate(JOURNAL[sequence].legs)
                if leg.account == account
            ]


def test_a_line_says_of_which_entry_it_is(connection: Connection) -> None:
    found = history.statement(connection, BOB.id, 4, 5)
    assert found.account == BOB
    assert [(line.leg, line.amount, line.balance) for line in found.lines] == [(1, -1, -31), (3, -2, -33)]
    assert {line.entry for line in found.lines} == set(history.entries_between(connection, 4, 5))


def test_a_statement_that_does_not_tie_is_not_shown(url: str) -> None:
    database = journal_at(url, JOURNAL)
    project_all(database)
    with transaction(database) as connection:
        connection.execute(text("UPDATE postings SET amount = '29' WHERE account = 1 AND sequence = 2"))
    with snapshot(database) as connection, pytest.raises(InvariantViolated, match="clients/alice"):
        history.statement(connection, ALICE.id, 0, SIZE)
    database.dispose()


# ------------------------------------------------------------------------------------------------------ limits

PAGED: dict[str, Callable[[Connection, int], object]] = {
    "standings": lambda c, limit: history.standings(c, SIZE, limit=limit),
    "entries": lambda c, limit: history.entries_between(c, 0, SIZE, limit=limit),
    "statement": lambda c, limit: history.statement(c, ALICE.id, 0, SIZE, limit=limit),
}


@pytest.mark.parametrize("read", PAGED.values(), ids=PAGED)
def test_a_page_has_a_limit(connection: Connection, read: Callable[[Connection, int], object]) -> None:
    for limit in (1, PAGE_MAX):
        read(connection, limit)
    for limit in (0, PAGE_MAX + 1):
        with pytest.raises(ValueError, match=str(limit)):
            read(connection, limit)


def test_a_full_page_says_that_there_is_more_and_the_last_one_does_not(url: str) -> None:
    journal = [OPENING, *(paid(1 + n, MINT, ALICE, 1) for n in range(PAGE_MAX + 1))]
    database = journal_at(url, journal)
    project_all(database)
    with snapshot(database) as connection:
        full = history.statement(connection, ALICE.id, 0, PAGE_MAX + 1)
        assert (len(full.lines), full.after) == (PAGE_MAX, None)
        more = history.statement(connection, ALICE.id, 0, PAGE_MAX + 2)
        assert (len(more.lines), more.after) == (PAGE_MAX, (PAGE_MAX, 1))
        assert len(history.entries_between(connection, 0, PAGE_MAX + 2)) == PAGE_MAX
    database.dispose()


# ------------------------------------------------------------------------------------------------------- plans


def plans(connection: Connection, read: Callable[[Connection, int], object]) -> list[str]:
    """How the database goes about each statement that ``read`` makes."""
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    if connection.dialect.name == "postgresql":  # a few rows are read as a whole unless that is made dear
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        connection.execute(text("SET LOCAL enable_bitmapscan = off"))
    event.listen(connection, "before_cursor_execute", note)
    read(connection, SIZE)
    event.remove(connection, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
    assert asked
    return [
        str(line)
        for statement, parameters in asked
        for line in connection.exec_driver_sql(explain + statement, parameters).all()
    ]


@pytest.mark.parametrize("name", READS)
def test_no_read_scans_a_table_or_sorts_more_than_its_page(connection: Connection, name: str) -> None:
    found = "\n".join(plans(connection, READS[name]))
    for table in ("postings", "entries"):
        for scan in (f"SCAN {table}", f"Seq Scan on {table}"):
            assert scan not in found
    if name not in ("entries of an account", "entries of both"):  # these find a page, then sort that
        assert "Sort" not in found
        assert "TEMP B-TREE" not in found


def test_a_scan_would_be_seen(connection: Connection) -> None:
    by_amount = text("SELECT leg FROM postings WHERE amount = '7' ORDER BY amount, balance")
    found = "\n".join(plans(connection, lambda c, _: c.execute(by_amount).all()))
    assert "SCAN postings" in found or "Seq Scan on postings" in found
    assert "Sort" in found or "TEMP B-TREE" in found
