"""Where a bench keeps its data: fresh databases of both kinds, durable, and gone afterwards."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from clearing.store.migrate import upgrade
from ledger.store.connect import Database, open_store
from tests import postgres
from tests.postgres import Server
from tests.stores import file_of

KINDS = ("sqlite", "postgresql")


@dataclass(frozen=True, slots=True)
class Store:
    """A database with the ledger's schema."""

    kind: str
    url: str
    database: Database

    def bytes_on_disk(self) -> int:
        """What it takes: the file once its log is empty, or all of the ledger's tables with their indexes."""
        with self.database.connect() as connection:
            if self.kind == "sqlite":
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
                return file_of(self.url).stat().st_size
            summed = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname IN ({})"
            names = "'segments', 'requests', 'lease'"
            return int(connection.exec_driver_sql(summed.format(names)).scalar_one())


class Stores:
    """The PostgreSQL server is started when the first bench wants it, and kept for all others."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._server: Server | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @contextmanager
    def fresh(self, kind: str) -> Iterator[Store]:
        """A store that nobody else has."""
        with ExitStack() as used:
            if kind == "sqlite":
                url = f"sqlite:///{Path(used.enter_context(tempfile.TemporaryDirectory()), 'bench.db')}"
            else:
                server = self._postgresql()
                url = server.new()
                used.callback(server.drop, url)
            database = open_store(url)
            used.callback(database.dispose)
            upgrade(database)
            _require_durable(kind, database)
            yield Store(kind, url, database)

    def _postgresql(self) -> Server:
        if self._server is None:
            self._server = self._open.enter_context(postgres.running(is_durable=True))
        return self._server


def _require_durable(kind: str, database: Database) -> None:
    """A rate without fsync is not one that anybody may have."""
    asked, wanted = {"sqlite": ("PRAGMA synchronous", 2), "postgresql": ("SHOW fsync", "on")}[kind]
    with database.connect() as connection:
        found = connection.exec_driver_sql(asked).scalar_one()
    if found != wanted:
        raise RuntimeError(f"{asked} says {found!r} and not {wanted!r}: nothing is measured on such a store")
