"""The two databases that a store can be, and everything in which they differ.

=============================  ==================================  ==========================================
                               SQLite                              PostgreSQL
=============================  ==================================  ==========================================
a commit that returned is on   WAL, ``synchronous=FULL``           ``synchronous_commit=on``
disk
the lock of the one writer     of the operating system, on a file  advisory, of a session that does nothing
                               beside the database                 else
a transaction that writes      ``BEGIN IMMEDIATE``: alone          alone once it has locked the lease's row
a migration                    alone already                       alone by an advisory lock
append-only                    triggers for each row               a trigger for each statement
=============================  ==================================  ==========================================

Both locks end with the process that holds them, so neither needs a timeout.
"""

import fcntl
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

OPTIONS: Mapping[str, Any] = {
    "isolation_level": "AUTOCOMMIT",  # BEGIN and COMMIT are written where they belong
    "hide_parameters": True,  # an error is told to callers and to logs, what it was about is not
}


class Lock(Protocol):
    """Says that this process is the one that writes."""

    def is_held(self) -> bool:
        """Whether it is still so."""

    def release(self) -> None:
        """Let another have it; a second call does nothing."""


class Kind(Protocol):
    """What the store asks of a database."""

    @property
    def begin(self) -> str:
        """Begins a transaction that writes."""

    def open(self, url: URL) -> Engine:
        """An engine whose commits are on disk when they return. Raises ``ValueError``."""

    def lock(self, engine: Engine) -> Lock | None:
        """The lock of the one writer, or None at once if another has it."""

    def lock_schema(self, connection: Connection) -> None:
        """Keep other migrations out until the running transaction ends."""

    def append_only(self, table: str, key: str) -> list[str]:
        """DDL that refuses to change ``table``, whose primary key is ``key``, except by INSERT."""


# ----------------------------------------------------------------------------------------------------- SQLite


@dataclass(slots=True)
class _FileLock:
    descriptor: int

    def is_held(self) -> bool:
        return self.descriptor >= 0

    def release(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class _Sqlite:
    begin = "BEGIN IMMEDIATE"

    def open(self, url: URL) -> Engine:
        if url.drivername != "sqlite" or url.host or url.database in (None, "", ":memory:"):
            raise ValueError("a store is a file: use sqlite:///FILE")
        engine = create_engine(url, connect_args={"timeout": 30}, **OPTIONS)
        event.listen(engine, "connect", self._make_durable)
        return engine

    @staticmethod
    def _make_durable(connection: Any, _record: object) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "recursive_triggers=ON"):
            connection.execute(f"PRAGMA {pragma}")

    def lock(self, engine: Engine) -> Lock | None:
        path = Path(f"{Path(str(engine.url.database)).resolve()}.lease")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return _FileLock(descriptor)

    def lock_schema(self, connection: Connection) -> None:
        """Nothing to do: the transaction is alone since its BEGIN IMMEDIATE."""

    def append_only(self, table: str, key: str) -> list[str]:
        # REPLACE deletes a row without firing its trigger, unless a connection asked for recursive ones.
        replaced = f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {key} = NEW.{key})"  # noqa: S608  # own names
        return [
            f"CREATE TRIGGER {table}_no_{name} BEFORE {verb} ON {table} {condition} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            for name, verb, condition in (
                ("update", "UPDATE", ""),
                ("delete", "DELETE", ""),
                ("replace", "INSERT", replaced),
            )
        ]


# ------------------------------------------------------------------------------------------------- PostgreSQL

# An advisory lock belongs to one database of a server, so its key need not name the database.
LEASE_KEY = int.from_bytes(b"ch lease")
SCHEMA_KEY = int.from_bytes(b"ch schem")

SESSION = {
    "synchronous_commit": "on",
    "lock_timeout": "30s",
    # A transaction whose COMMIT got lost on the way ends before those who wait for its row give up.
    "idle_in_transaction_session_timeout": "10s",
    # A timeout at COMMIT, while a replica is awaited, would report as durable what is not; the lock is idle.
    "statement_timeout": "0",
    "idle_session_timeout": "0",
}
CONNECTING = {
    "application_name": "clearing-house",
    "connect_timeout": 10,
    "tcp_user_timeout": 20_000,  # ms until a silent network counts as a cut one
}


@dataclass(frozen=True, slots=True)
class _SessionLock:
    connection: Connection

    def is_held(self) -> bool:
        try:
            self.connection.execute(text("SELECT 1"))
        except SQLAlchemyError:
            self.release()  # the session is gone and its lock with it: no other session may stand in
            return False
        return True

    def release(self) -> None:
        self.connection.close()


class _PostgreSQL:
    begin = "BEGIN ISOLATION LEVEL READ COMMITTED"  # a row that was waited for is seen as it is now

    def open(self, url: URL) -> Engine:
        if url.drivername not in ("postgresql", "postgresql+psycopg") or not url.database:
            raise ValueError("a store is a database, by psycopg: use postgresql://USER@HOST/DATABASE")
        asked = url.query.get("options", "")
        settings = " ".join(f"-c {name}={value}" for name, value in SESSION.items())
        return create_engine(
            url.set(drivername="postgresql+psycopg"),
            connect_args={**CONNECTING, "options": f"{asked} {settings}"},  # of two, the last one counts
            pool_pre_ping=True,
            **OPTIONS,
        )

    def lock(self, engine: Engine) -> Lock | None:
        connection = engine.connect()
        try:
            connection.detach()  # closing it ends the session, instead of giving it back to the pool
            wanted = text("SELECT pg_try_advisory_lock(:key)")
            if connection.execute(wanted, {"key": LEASE_KEY}).scalar_one():
                return _SessionLock(connection)
        except BaseException:
            connection.close()
            raise
        connection.close()
        return None

    def lock_schema(self, connection: Connection) -> None:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SCHEMA_KEY})
        # Whoever waits to alter a table keeps all others waiting behind it: not for long.
        connection.execute(text("SET LOCAL lock_timeout = '5s'"))

    def append_only(self, table: str, _key: str) -> list[str]:
        return [
            (
                f"CREATE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                f"RAISE EXCEPTION '{table} is append-only' USING ERRCODE = 'restrict_violation'; END $$"
            ),
            (
                f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
                f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_refuse()"
            ),
            # not even for a session that calls itself a replica
            f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only",
        ]


KINDS: Mapping[str, Kind] = {"sqlite": _Sqlite(), "postgresql": _PostgreSQL()}


def kind_of(bound: Engine | Connection) -> Kind:
    """The kind of database behind an engine or a connection."""
    return KINDS[bound.dialect.name]
