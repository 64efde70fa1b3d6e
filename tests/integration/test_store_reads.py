"""Reading the journal in bounded memory, exact amounts, many rows at once, and turns to write."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, select, text
from sqlalchemy.exc import SQLAlchemyError

from clearing.store import migrate
from ledger.amount import AMOUNT_MAX
from ledger.entry import Entry
from ledger.store import kinds, queries
from ledger.store.connect import Database, open_store, snapshot, transaction
from ledger.store.kinds import VALUES_MAX, Columns, kind_of
from ledger.store.queries import answered_size, read_segments
from ledger.store.tables import accounts, entries, postings, requests
from tests.histories import journal_at
from tests.ledgers import ALICE, MINT, NOW_MS, OPENING, PATIENCE_S, connected, entry, open_database, paid

only_on_sqlite = pytest.mark.parametrize("store_kind", ["sqlite"], indirect=True)
only_on_postgresql = pytest.mark.parametrize("store_kind", ["postgresql"], indirect=True)
GROUPS: list[list[Entry]] = [
    [OPENING],
    *([paid(n, MINT, ALICE, n), entry(99, fact="x")] for n in range(1, 10)),
]
FIRSTS = [0, *range(1, 19, 2)]


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = journal_at(url, *GROUPS)
    yield opened
    opened.dispose()


# --------------------------------------------------------------------------------------------------- segments


@pytest.mark.parametrize("page_segments", [1, 2, 3, 10, 1_024])
@pytest.mark.parametrize("page_bytes", [1, 800, 2_000, 8 * 2**20])
@pytest.mark.parametrize("start", [0, 1, 2, 5, 17, 18])
def test_segments_come_once_and_in_order_whatever_the_page(
    database: Database, monkeypatch: pytest.MonkeyPatch, page_segments: int, page_bytes: int, start: int
) -> None:
    monkeypatch.setattr(queries, "PAGE_SEGMENTS", page_segments)
    monkeypatch.setattr(queries, "PAGE_BYTES", page_bytes)
    with database.connect() as connection:
        found = list(read_segments(connection, start))
        assert [one.first_sequence for one in found] == [first for first in FIRSTS if first >= start]
        assert [one.count for one in found] == [1 if one.first_sequence == 0 else 2 for one in found]


def test_a_page_has_no_more_bytes_than_it_may(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.connect() as connection:
        sizes = [len(one.leaves) + len(one.legs) + len(one.bodies) + 32 for one in read_segments(connection)]
        monkeypatch.setattr(queries, "PAGE_BYTES", sum(sizes[1:4]))
        read = read_segments(connection, 1)
        next(read)
        with transaction(database) as other:  # what is in memory already is not affected by this
            other.execute(text("DROP TABLE segments"))
        assert [next(read).first_sequence for _ in range(2)] == [3, 5]
        with pytest.raises(Exception, match="segments"):
            next(read)


def test_what_is_committed_meanwhile_is_read_as_well(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "PAGE_SEGMENTS", 1)
    with database.connect() as connection:
        read = read_segments(connection, 17)
        next(read)
        journal_at(database.url.render_as_string(hide_password=False), [entry(7, fact="late")]).dispose()
        assert [one.first_sequence for one in read] == [19]


# ---------------------------------------------------------------------------------------------------- answers


def answer(number: int, first: int, entries_: int) -> dict[str, Any]:
    return {
        "id": f"r{number}",
        "body_hash": bytes(32),
        "first_sequence": first,
        "count": entries_,
        "refusals": 0,
        "answer": "",
    }


def test_the_answered_size_is_the_end_of_the_furthest_answer(database: Database) -> None:
    with database.connect() as connection:
        assert answered_size(connection) == 0
        for number, (first, many) in enumerate([(0, 1), (1, 18), (3, 2), (19, 0)]):
            connection.execute(insert(requests).values(answer(number, first, many)))
        assert answered_size(connection) == 19
        connection.execute(insert(requests).values(answer(9, 4, 16)))
        assert answered_size(connection) == 20


def test_the_answered_size_is_found_without_reading_all_answers(url: str) -> None:
    database = open_store(url)
    migrate.upgrade(database)
    asked: list[tuple[str, Any]] = []
    with snapshot(database) as connection:
        event.listen(connection, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
        answered_size(connection)
        ((statement, parameters),) = asked
        is_sqlite = database.dialect.name == "sqlite"
        if not is_sqlite:
            connection.execute(text("SET LOCAL enable_seqscan = off"))
        explain = "EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN "
        plan = str(connection.exec_driver_sql(explain + statement, parameters).all())
    assert "ix_requests_end" in plan
    assert "Sort" not in plan
    assert "TEMP B-TREE" not in plan
    database.dispose()


@only_on_postgresql
def test_a_migrated_journal_is_stored_as_it_is(url: str) -> None:
    """Salted hashes do not compress: trying to would only cost time."""
    database = open_store(url)
    migrate.upgrade(database)
    stored = text(
        "SELECT attname, attstorage::text FROM pg_attribute WHERE attrelid = 'segments'::regclass "
        "AND attname IN ('leaves', 'legs', 'bodies')"
    )
    with database.connect() as connection:
        assert {tuple(row) for row in connection.execute(stored)} == {
            (name, "e") for name in ("leaves", "legs", "bodies")
        }
    database.dispose()


# ---------------------------------------------------------------------------------------------- exact amounts


@pytest.mark.parametrize("amount", [0, 1, -1, 2**53 + 1, 2**63, -(2**63), AMOUNT_MAX, -AMOUNT_MAX])
def test_an_amount_comes_back_digit_by_digit(database: Database, amount: int) -> None:
    row = {"account": 1, "sequence": 1, "leg": 1, "amount": amount, "balance": -amount}
    with database.connect() as connection:
        connection.execute(insert(postings).values(row))
        found = connection.execute(select(postings.c.amount, postings.c.balance)).one()
        assert tuple(found) == (amount, -amount)
        assert [type(one) for one in found] == [int, int]
        asked = select(postings.c.leg).where(postings.c.amount == amount)
        assert connection.execute(asked).scalar_one() == 1
        written = connection.execute(text("SELECT CAST(amount AS TEXT) FROM postings")).scalar_one()
        assert written == str(amount)


# ------------------------------------------------------------------------------------------- many rows at once


@pytest.mark.parametrize("rows", [1, 2, 3, VALUES_MAX // 5, VALUES_MAX // 5 + 1, 8_192, 8_193])
def test_many_rows_are_inserted_as_they_were_given(database: Database, rows: int) -> None:
    columns: Columns = [
        range(rows),
        range(5, 5 + rows),
        [7] * rows,
        [str(AMOUNT_MAX)] * rows,
        list(range(rows)),
    ]
    with transaction(database) as connection:
        kind_of(connection).load(connection, postings, columns)
    with database.connect() as connection:
        found = connection.execute(select(postings).order_by(postings.c.account)).all()
        assert [tuple(row) for row in found] == [(n, 5 + n, 7, AMOUNT_MAX, n) for n in range(rows)]


def test_every_byte_of_an_id_is_inserted(database: Database) -> None:
    ids = [bytes(range(at, at + 16)) for at in range(0, 256, 16)]
    with transaction(database) as connection:
        many = range(len(ids))
        kind_of(connection).load(connection, entries, [many, many, [NOW_MS] * len(ids), ids])
    with database.connect() as connection:
        found = connection.execute(select(entries.c.entry_id).order_by(entries.c.sequence)).scalars()
        assert [bytes(one) for one in found] == ids


def test_rows_are_inserted_in_one_transaction_or_not_at_all(database: Database) -> None:
    columns = [[1, 1], [1, 1], [1, 1], [1, 1], [1, 1]]
    with pytest.raises(Exception, match=r"(?i)unique"), transaction(database) as connection:
        kind_of(connection).load(connection, postings, columns)
    with database.connect() as connection:
        assert connection.execute(select(postings)).all() == []


def test_accounts_are_inserted_with_a_column_that_sql_has_a_word_for(database: Database) -> None:
    with transaction(database) as connection:
        kind_of(connection).load(
            connection,
            accounts,
            [[0], [ALICE.id], [ALICE.path], [ALICE.unit], [ALICE.side.value], [ALICE.limit.value], [0]],
        )
    with database.connect() as connection:
        row = connection.execute(select(accounts)).one()
        assert (bytes(row.id), row.path, row.limit) == (ALICE.id, ALICE.path, ALICE.limit.value)


# ------------------------------------------------------------------------------------------------ turns to write


def write(connection: Connection, number: int) -> None:
    connection.execute(insert(requests).values(answer(number, number, 0)))


@only_on_sqlite
def test_transactions_begin_in_the_order_in_which_they_came(database: Database) -> None:
    order: list[int] = []

    def work(number: int) -> None:
        with transaction(database) as connection:
            order.append(number)
            write(connection, number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    turns = database.get_execution_options()["turns"]
    with transaction(database):
        for number, thread in enumerate(threads, 1):
            thread.start()
            while len(turns._waiting) < number:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert order == list(range(6))


@only_on_sqlite
def test_who_writes_all_the_time_starves_nobody(database: Database) -> None:
    stop = threading.Event()

    def work() -> None:
        number = 1_000
        while not stop.is_set():
            with transaction(database) as connection:
                number += 1
                write(connection, number)
                time.sleep(0.01)

    thread = threading.Thread(target=work)
    thread.start()
    waited = []
    for number in range(20):
        began = time.monotonic()
        with transaction(database) as connection:
            write(connection, number)
        waited.append(time.monotonic() - began)
    stop.set()
    thread.join()
    assert sorted(waited)[10] < 0.1


@only_on_sqlite
def test_a_turn_that_does_not_come_is_an_error_of_the_store(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinds, "WAIT_MAX_S", 0.05)
    with transaction(database), pytest.raises(SQLAlchemyError), transaction(database):
        pass
    with transaction(database) as connection:  # and nobody is left in the queue
        write(connection, 1)


@only_on_sqlite
def test_a_transaction_that_fails_gives_its_turn_back(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), transaction(database):
        _ = 1 / 0
    done = threading.Event()

    def work() -> None:
        with transaction(database):
            done.set()

    threading.Thread(target=work).start()
    assert done.wait(PATIENCE_S)


def test_two_engines_have_turns_of_their_own(url: str) -> None:
    with connected(url):
        one, other = open_database(url), open_database(url)
    with transaction(one) as connection:
        write(connection, 1)
    with transaction(other) as connection:
        write(connection, 2)
    for database in (one, other):
        database.dispose()
