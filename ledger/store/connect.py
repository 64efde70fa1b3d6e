"""Opening the store, transactions that write, and the lease of the one writer.

A commit that returned is on disk. The lease is a lock that ends with the process (``kinds.py``), and
an epoch in the database, raised at each acquisition and checked in every transaction that commits:
a writer that lost its lock cannot write, whatever it believes.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from sqlalchemy import Connection, Engine, insert, select, text, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

from ledger.store.kinds import KINDS, Lock, kind_of
from ledger.store.tables import lease

Database: TypeAlias = Engine
"""A durable store, as floors above know it."""

Snapshot: TypeAlias = Connection
"""One state of a store, to read from."""

URL_FORMS = "sqlite:///FILE or postgresql://USER@HOST/DATABASE"


class LeaseHeld(Exception):
    """Another process is the writer of this database."""


class LeaseLost(Exception):
    """Another writer took over, or may have: this one may not commit any more."""


class LockLost(LeaseLost):
    """The lock was lost and nobody has taken over yet: the holder may take the lease again."""


class StoreUnreachable(Exception):
    """Nobody answers at the URL, or not to this user."""


class OutcomeUnknown(Exception):
    """The store failed at COMMIT: it may have happened."""


def system_salts(_offset: int, size: int) -> bytes:
    """The production byte source: fresh randomness, whatever the position."""
    return os.urandom(size)


def open_store(url: str) -> Engine:
    """A SQLAlchemy engine for ``url``, set up to be durable; nothing is connected yet.

    Raises ``ValueError`` unless a store can be there.
    """
    parsed = _parse(url)
    kind = KINDS.get(parsed.get_backend_name())
    if kind is None:
        raise ValueError(f"{parsed.get_backend_name()} is not supported: use {URL_FORMS}")
    return kind.open(parsed)


def require_reachable(engine: Engine) -> None:
    """Return if the store answers. Raises :class:`StoreUnreachable`."""
    try:
        engine.connect().close()
    except OperationalError as error:
        raise StoreUnreachable(f"the database cannot be opened: {first_line(error)}") from None


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection to read with. Raises :class:`StoreUnreachable` for whatever the store fails with."""
    try:
        with engine.connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise StoreUnreachable(f"the store cannot be read: {first_line(error)}") from error


def beside(url: str, suffix: str) -> Path | None:
    """The file of a SQLite store with ``suffix`` behind its name; None for a store that is no file."""
    parsed = _parse(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    return Path(f"{Path(str(parsed.database)).resolve()}{suffix}")


def without_password(url: str) -> str:
    """``url`` as it may be shown and logged."""
    return _parse(url).render_as_string(hide_password=True)


def _parse(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError(f"not a database: use {URL_FORMS}") from None  # the cause would show a password


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes: committed in the end, rolled back on any error.

    Raises :class:`OutcomeUnknown` if COMMIT failed, and what the store raises if anything else did.
    """
    kind = kind_of(engine)
    with kind.turn(engine), engine.connect() as connection:
        connection.execute(text(kind.begin))
        try:
            yield connection
            _end(connection)
        except BaseException:
            _roll_back(connection)
            raise


@contextmanager
def snapshot(engine: Engine) -> Iterator[Snapshot]:
    """A transaction that only reads, and sees one state of the store however much is written meanwhile.

    Raises :class:`StoreUnreachable` for whatever the store fails with.
    """
    with reading(engine) as connection:
        connection.execute(text(kind_of(connection).begin_reading))
        try:
            yield connection
        finally:
            _roll_back(connection)


def _end(connection: Connection) -> None:
    try:
        connection.execute(text("COMMIT"))
    except SQLAlchemyError as error:
        raise OutcomeUnknown(first_line(error)) from error


def _roll_back(connection: Connection) -> None:
    try:
        connection.execute(text("ROLLBACK"))
    except SQLAlchemyError:
        connection.invalidate()  # the connection itself is gone, and its transaction with it


def first_line(error: Exception) -> str:
    """What went wrong; the lines after it may show the row that it went wrong with."""
    return str(error).partition("\n")[0]


@dataclass(slots=True)
class Lease:
    """The right to write, held until :meth:`release`, the end of the process, or that of the lock's session."""

    epoch: int
    _lock: Lock
    _asked: int = 0

    @classmethod
    def acquire(cls, engine: Engine) -> "Lease":
        """Take the lease and raise the epoch. Raises :class:`LeaseHeld` at once if another has it."""
        lock = kind_of(engine).lock(engine)
        if lock is None:
            raise LeaseHeld("another process writes to this database")
        try:
            with engine.connect() as connection:
                return cls(_raise_epoch(connection), lock)
        except BaseException:
            lock.release()
            raise

    def check(self, connection: Connection) -> None:
        """Refuse the running transaction unless it is the holder's. Raises :class:`LeaseLost`, or :class:`LockLost`.

        The row stays locked until the transaction ends. So nobody takes over while it commits, and whoever
        gets here after it knows that it is over: also the same writer, when the answer to its COMMIT was lost.
        """
        self._require_mine(connection.execute(select(lease.c.epoch).with_for_update()).scalar())

    def look(self, connection: Connection) -> None:
        """The same for whoever writes nothing: nobody is kept out. Raises as :meth:`check`."""
        self._require_mine(connection.execute(select(lease.c.epoch)).scalar())

    def _require_mine(self, stored: int | None) -> None:
        if stored != self.epoch:
            raise LeaseLost(f"epoch {self.epoch} was replaced by {stored}")
        if not self._lock.is_held():
            raise LockLost("the lock on the database was lost")

    def renew(self, engine: Engine) -> None:
        """Take the lease again, at the next epoch, after a fault that may have cost the lock.

        It is refused if anybody else had it meanwhile. A renewal whose COMMIT got lost may have happened, so
        the epoch that it asked for is the holder's own as well. Raises :class:`LeaseLost` for good,
        :class:`LeaseHeld` while the server has not noticed yet that the old session is gone, and what the store
        raises: call it again then, and write nothing before it has returned.
        """
        if not self._lock.is_held():
            self._lock = self._lock_again(engine)
        with transaction(engine) as connection:
            stored = connection.execute(select(lease.c.epoch).with_for_update()).scalar()
            self._asked = self._require_followed(stored) + 1
            connection.execute(update(lease).values(epoch=self._asked))
        self.epoch = self._asked

    def _lock_again(self, engine: Engine) -> Lock:
        lock = kind_of(engine).lock(engine)
        if lock is not None:
            return lock
        with engine.connect() as connection:
            self._require_followed(connection.execute(select(lease.c.epoch)).scalar())
        raise LeaseHeld("the lock on the database is held by another session")

    def _require_followed(self, stored: int | None) -> int:
        """The epoch in the database, which nobody but this holder has raised."""
        if stored is None or stored not in (self.epoch, self._asked):
            raise LeaseLost(f"epoch {self.epoch} was replaced by {stored}: another process took the lease")
        return stored

    def release(self) -> None:
        """Give the lease back; a second call does nothing."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _raise_epoch(connection: Connection) -> int:
    """One statement: two writers never get the same epoch, whatever became of the lock.

    It waits for the row, so a commit that is still on its way in an older epoch is over when it returns.
    """
    raised = update(lease).values(epoch=lease.c.epoch + 1).returning(lease.c.epoch)
    epoch: int | None = connection.execute(raised).scalar()
    if epoch is None:
        connection.execute(insert(lease).values(id=1, epoch=1))
        return 1
    return epoch
