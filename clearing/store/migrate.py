"""Bringing a database to the newest schema, and checking that it is there.

All that is missing runs in one transaction that no other migration can overlap. DDL is transactional on both
databases, on SQLite once the transaction is begun by hand, so a migration that fails or is killed leaves
nothing behind.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from ledger.store.connect import reading, transaction
from ledger.store.kinds import kind_of

PACKAGE = Path(__file__).resolve().parents[1]


class SchemaTooNew(Exception):
    """The database was migrated by a newer version of this program."""


def upgrade(database: Engine) -> None:
    """Run every migration that the database lacks. Raises :class:`SchemaTooNew`."""
    with _locked(database) as connection:
        config = _config(connection)
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        unknown = set(MigrationContext.configure(connection).get_current_heads()) - known
        if unknown:
            raise SchemaTooNew(
                f"the database is at {', '.join(sorted(unknown))}; install the newer version again"
            )
        command.upgrade(config, "head")


def check(database: Engine) -> None:
    """Raise ``alembic.util.CommandError`` unless the schema is what the tables in the code say."""
    with _locked(database) as connection:
        command.check(_config(connection))


def is_newest(database: Engine) -> bool:
    """Whether the database has the newest schema that this program knows. Raises ``StoreUnreachable``."""
    with reading(database) as connection:
        return set(MigrationContext.configure(connection).get_current_heads()) == _newest()


@cache
def _newest() -> frozenset[str]:
    config = Config()
    config.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
    return frozenset(ScriptDirectory.from_config(config).get_heads())


@contextmanager
def _locked(database: Engine) -> Iterator[Connection]:
    with transaction(database) as connection:
        kind_of(connection).lock_schema(connection)
        yield connection


def _config(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
    return config


def _scripts() -> Path:
    """Beside the package in a wheel, beside the packages in a checkout."""
    installed = PACKAGE / "migrations"
    return installed if installed.is_dir() else PACKAGE.parent / "migrations"
