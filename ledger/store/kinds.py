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
writers of one process         take turns, in the order in which   wait for the rows that they lock
                               they came
many rows at once              one ``INSERT`` of many values       ``COPY``
=============================  ==================================  ==========================================

Both locks end with the process that holds them, so neither needs a timeout.

Many rows at once go to the database in as few calls as it takes: a thread that makes a call lets the others
run, and then waits for its turn with the interpreter, 5 ms each time while another one computes. Row by row
it would hardly ever get there.
"""

import fcntl
import os
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import psycopg
from sqlalchemy import (
    Connection,
    Dialect,
    Engine,
    LargeBinary,
    Table,
    Text,
    TypeDecorator,
    create_engine,
    event,
    text,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as TurnTimeout
from sqlalchemy.types import TypeEngine

OPTIONS: Mapping[str, Any] = {
    "isolation_level": "AUTOCOMMIT",  # BEGIN and COMMIT are written where they belong
    "hide_parameters": True,  # an error is told to callers and to logs, what it was about is not
}


AS_BYTES = "as_bytes"
"""Execution option of a statement that reads long columns of bytes."""
WAIT_MAX_S = 30
"""How long a transaction waits to begin, or for a row."""

Columns: TypeAlias = Sequence[Sequence[int | str | bytes]]
"""Rows, one sequence for each column of the table; a text holds no control characters and no backslash."""


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

    @property
    def begin_reading(self) -> str:
        """Begins a transaction that sees the database as it is at its first look, until it ends."""

    @property
    def text_as_stored(self) -> TypeEngine[Any]:
        """To which a text or an amount is cast to be read whatever somebody wrote there."""

    def turn(self, engine: Engine) -> AbstractContextManager[None]:
        """The turn of one transaction that writes, in this process.

        Raises a ``SQLAlchemyError`` if it does not come.
        """

    def load(self, connection: Connection, table: Table, columns: Columns) -> None:
        """Insert many rows into ``table``, whose columns come in their order."""

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


class _Turns:
    """First come, first served. SQLite's own lock is asked for again and again with ever longer sleeps, so
    that one who writes all the time would starve one who writes now and then.
    """

    def __init__(self) -> None:
        self._door, self._taken = threading.Lock(), False
        self._waiting: deque[threading.Lock] = deque()

    @contextmanager
    def take(self) -> Iterator[None]:
        """Have the turn."""
        self._enter()
        try:
            yield
        finally:
            self._leave()

    def _enter(self) -> None:
        with self._door:
            if not self._taken:
                self._taken = True
                return
            called = threading.Lock()
            called.acquire()
            self._waiting.append(called)
        if called.acquire(timeout=WAIT_MAX_S):
            return
        with self._door:
            if called not in self._waiting:
                return  # called at the last moment
            self._waiting.remove(called)
        raise TurnTimeout(f"no turn to write within {WAIT_MAX_S} s")

    def _leave(self) -> None:
        with self._door:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False


VALUES_MAX = 32_766
"""SQLite's limit on the parameters of a statement."""


@lru_cache(maxsize=64)
def _insert_of(table: str, names: tuple[str, ...], rows: int) -> str:
    """The driver keeps such statements parsed as well: their sizes are few."""
    row = f"({', '.join('?' * len(names))})"
    listed = ", ".join(f'"{name}"' for name in names)
    return f"INSERT INTO {table} ({listed}) VALUES {', '.join([row] * rows)}"  # noqa: S608  # own names


def _power_of_two_up_to(number: int) -> int:
    return 1 << (number.bit_length() - 1)


class _AnyText(TypeDecorator[str]):
    """A text of which an edit may have left bytes that are none: the driver would refuse to read the row."""

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = LargeBinary
    cache_ok: bool | None = True

    def process_result_value(self, value: Any, _dialect: Dialect) -> str | None:
        return None if value is None else value.decode("utf-8", "backslashreplace")


DURABLE = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "recursive_triggers=ON")

# A history of many accounts changes a page for almost every leg, and the same ones soon again: there is room for
# them. They go from the log to the file at each step all the same: gathered for longer, they hold up a commit.
ROOMY = ("cache_size=-32768",)


class _Sqlite:
    begin = "BEGIN IMMEDIATE"
    begin_reading = "BEGIN"
    text_as_stored: TypeEngine[Any] = _AnyText()

    def open(self, url: URL) -> Engine:
        if url.drivername != "sqlite" or url.host or url.database in (None, "", ":memory:"):
            raise ValueError("a store is a file: use sqlite:///FILE")
        engine = create_engine(url, connect_args={"timeout": WAIT_MAX_S}, **OPTIONS)
        engine.update_execution_options(turns=_Turns())
        event.listen(engine, "connect", self._make_durable)
        return engine

    @staticmethod
    def _make_durable(connection: Any, _record: object) -> None:
        for pragma in (*DURABLE, *ROOMY):
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

    def turn(self, engine: Engine) -> AbstractContextManager[None]:
        turns: _Turns = engine.get_execution_options()["turns"]
        return turns.take()

    def load(self, connection: Connection, table: Table, columns: Columns) -> None:
        names, count, done = tuple(table.columns.keys()), len(columns[0]), 0
        size = _power_of_two_up_to(VALUES_MAX // len(names))
        while done < count:
            size = min(size, _power_of_two_up_to(count - done))
            values = zip(*(column[done : done + size] for column in columns), strict=True)
            connection.exec_driver_sql(
                _insert_of(table.name, names, size), tuple(chain.from_iterable(values))
            )
            done += size

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
    "lock_timeout": f"{WAIT_MAX_S}s",
    # A transaction whose COMMIT got lost on the way ends before those who wait for its row give up.
    "idle_in_transaction_session_timeout": "10s",
    # A timeout at COMMIT, while a replica is awaited, would report as durable what is not; the lock is idle.
    "statement_timeout": "0",
    "idle_session_timeout": "0",
    # The lock of a client that is cut off is free within half a minute, not after the two hours of the system.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
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
        with suppress(SQLAlchemyError):  # the session may be gone, and its lock with it
            # The server may take a while to notice that a session ended: whoever opens next does not wait for it.
            self.connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": LEASE_KEY})
        self.connection.close()


def _in_hex(column: Sequence[int | str | bytes]) -> list[str]:
    """Bytes as COPY takes them."""
    return [rf"\\x{value.hex()}" for value in column if isinstance(value, bytes)]


class _PostgreSQL:
    begin = "BEGIN ISOLATION LEVEL READ COMMITTED"  # a row that was waited for is seen as it is now
    begin_reading = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    text_as_stored: TypeEngine[Any] = Text()

    def open(self, url: URL) -> Engine:
        if url.drivername not in ("postgresql", "postgresql+psycopg") or not url.database:
            raise ValueError("a store is a database, by psycopg: use postgresql://USER@HOST/DATABASE")
        asked = url.query.get("options", "")
        settings = " ".join(f"-c {name}={value}" for name, value in SESSION.items())
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            connect_args={**CONNECTING, "options": f"{asked} {settings}"},  # of two, the last one counts
            pool_pre_ping=True,
            **OPTIONS,
        )
        event.listen(engine, "before_cursor_execute", self._ask_for_bytes)
        return engine

    @staticmethod
    def _ask_for_bytes(_connection: Connection, cursor: Any, *statement: Any) -> None:
        """Bytes come in hex, twice as long and five times as slow, unless they are asked for."""
        *_, context, _ = statement
        if context is not None and context.execution_options.get(AS_BYTES):
            cursor.format = psycopg.pq.Format.BINARY

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

    def turn(self, _engine: Engine) -> AbstractContextManager[None]:
        return nullcontext()

    def load(self, connection: Connection, table: Table, columns: Columns) -> None:
        names = ", ".join(f'"{name}"' for name in table.columns.keys())  # noqa: SIM118  # no dict
        fields = [
            _in_hex(column) if isinstance(kind, LargeBinary) else column
            for kind, column in zip((one.type for one in table.columns), columns, strict=True)
        ]
        row = "\t".join(["%s"] * len(fields)) + "\n"
        rows = "".join(map(row.__mod__, zip(*fields, strict=True)))
        driver: Any = connection.connection.driver_connection  # SQLAlchemy knows no COPY
        try:
            with (
                driver.cursor() as cursor,
                cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy,
            ):
                copy.write(rows)
        except psycopg.Error as error:
            raise DBAPIError(f"COPY {table.name}", None, error, hide_parameters=True) from error

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
