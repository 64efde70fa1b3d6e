"""Migrations make exactly the schema that the code says, in one transaction, and protect what is written."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from alembic.util import CommandError
from sqlalchemy import Engine, insert, inspect, text
from sqlalchemy.exc import IntegrityError

from clearing.store import migrate
from clearing.store.migrate import SchemaTooNew
from ledger.store.connect import Lease, open_store, transaction
from ledger.store.kinds import KINDS
from ledger.store.tables import APPEND_ONLY, lease, metadata, requests

ROW = {"id": "r", "body_hash": bytes(32), "first_sequence": 0, "count": 0, "refusals": 1, "answer": "{}"}

SCHEMA = {
    "sqlite": "SELECT name, coalesce(sql, '') FROM sqlite_master ORDER BY name",
    "postgresql": """
        SELECT relname || '.' || attname, format_type(atttypid, atttypmod) || attnotnull
        FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid
        WHERE relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT tgname, pg_get_triggerdef(oid) || tgenabled::text FROM pg_trigger ORDER BY 1
    """,
}


@pytest.fixture
def database(url: str) -> Iterator[Engine]:
    opened = open_store(url)
    yield opened
    opened.dispose()


def test_an_empty_database_gets_the_schema_of_the_tables(database: Engine) -> None:
    migrate.upgrade(database)
    migrate.check(database)
    assert set(inspect(database).get_table_names()) == {*metadata.tables, "alembic_version"}


def test_upgrading_again_changes_nothing(database: Engine) -> None:
    migrate.upgrade(database)
    with database.connect() as connection:
        connection.execute(insert(requests).values(ROW))
    before = schema(database)
    migrate.upgrade(database)
    assert schema(database) == before
    with database.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM requests")).scalar_one() == 1


def test_check_refuses_a_schema_that_is_not_that_of_the_code(database: Engine) -> None:
    with pytest.raises(CommandError):
        migrate.check(database)
    migrate.upgrade(database)
    with database.connect() as connection:
        connection.execute(text("ALTER TABLE lease ADD COLUMN extra INTEGER"))
    with pytest.raises(CommandError):
        migrate.check(database)


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize(
    ("store_kind", "statement"),
    [
        *((kind, verb) for kind in KINDS for verb in ("UPDATE {} SET count = 5", "DELETE FROM {}")),
        ("postgresql", "TRUNCATE {}"),
    ],
    indirect=["store_kind"],
)
def test_what_was_written_is_neither_changed_nor_deleted(
    database: Engine, table: str, statement: str
) -> None:
    migrate.upgrade(database)
    with database.connect() as connection:
        connection.execute(insert(metadata.tables[table]).values(row_of(table)))
        with pytest.raises(IntegrityError, match=f"{table} is append-only"):
            connection.execute(text(statement.format(table)))


def row_of(table: str) -> dict[str, object]:
    """A row of ``table``."""
    if table == requests.name:
        return dict(ROW)
    row: dict[str, object] = dict.fromkeys(("first_sequence", "count", "first_salt", "epoch"), 0)
    return row | dict.fromkeys(("leaves", "legs", "bodies"), b"") | {"root": bytes(32)}


def test_a_migration_that_fails_leaves_nothing_behind(database: Engine) -> None:
    with database.connect() as connection:
        connection.execute(text("CREATE TABLE lease (id INTEGER)"))
    with pytest.raises(Exception, match=r'"?lease"? already exists'):
        migrate.upgrade(database)
    assert inspect(database).get_table_names() == ["lease"]


def test_a_database_of_a_newer_version_is_left_alone(database: Engine) -> None:
    migrate.upgrade(database)
    with database.connect() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    before = schema(database)
    with pytest.raises(SchemaTooNew, match="9999"):
        migrate.upgrade(database)
    assert schema(database) == before


def test_a_house_at_work_does_not_mind_a_second_upgrade(database: Engine) -> None:
    migrate.upgrade(database)
    with Lease.acquire(database) as lease:
        migrate.upgrade(database)
        with database.connect() as connection:
            lease.check(connection)


def test_the_history_goes_and_comes_without_touching_the_journal(database: Engine) -> None:
    migrate.upgrade(database)
    with database.connect() as connection:
        connection.execute(insert(requests).values(ROW))
    made = schema(database)
    with transaction(database) as connection:
        command.downgrade(migrate._config(connection), "0001")
    assert set(inspect(database).get_table_names()) == {*APPEND_ONLY, lease.name, "alembic_version"}
    migrate.upgrade(database)
    migrate.check(database)
    assert schema(database) == made
    with database.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM requests")).scalar_one() == 1


def test_two_upgrades_at_once_do_the_work_once(database: Engine) -> None:
    with ThreadPoolExecutor(2) as both:
        for upgraded in [both.submit(migrate.upgrade, database) for _ in range(2)]:
            upgraded.result()
    migrate.check(database)


def schema(database: Engine) -> list[tuple[str, str]]:
    """Every object of the schema with its definition."""
    with database.connect() as connection:
        rows = connection.execute(text(SCHEMA[database.dialect.name]))
        return [(name, definition) for name, definition in rows]
