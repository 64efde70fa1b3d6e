"""The two kinds of store, for tests that must hold on both: where a fresh one comes from."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, text

from ledger.store.tables import APPEND_ONLY


class Stores(Protocol):
    """Fresh databases of one kind, each known by its URL."""

    def new(self) -> str:
        """An empty database."""

    def copy(self, url: str) -> str:
        """A database that is what the one at ``url`` is now; nobody may be connected to that."""

    def drop(self, url: str) -> None:
        """The database at ``url`` is not needed any more."""


class SqliteFiles:
    """Files in a folder of their own, which goes with the test run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count()

    def new(self) -> str:
        return f"sqlite:///{self._folder / f'journal-{next(self._numbers)}.db'}"

    def copy(self, url: str) -> str:
        copied = self.new()
        shutil.copy(file_of(url), file_of(copied))
        return copied

    def drop(self, url: str) -> None:
        file_of(url).unlink(missing_ok=True)


def file_of(url: str) -> Path:
    """The file of a SQLite store."""
    return Path(url.removeprefix("sqlite:///"))


@contextmanager
def triggers_off(connection: Connection) -> Iterator[None]:
    """As somebody who knows SQL but not the ledger would do it."""
    if connection.dialect.name == "sqlite":
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")).all()
        off, on = [f"DROP TRIGGER {name}" for name, _ in rows], [statement for _, statement in rows]
    else:
        off = [f"ALTER TABLE {table} DISABLE TRIGGER USER" for table in APPEND_ONLY]
        on = [f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only" for table in APPEND_ONLY]
    for statement in off:
        connection.execute(text(statement))
    yield
    for statement in on:
        connection.execute(text(statement))
