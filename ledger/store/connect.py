"""Opening the store, and the lease of its one writer.

SQLite runs with WAL and ``synchronous=FULL``: a commit that returned is on disk. The lease is an
operating-system lock on a file beside the database, so it ends with the process and needs no
timeout; the epoch in the database is raised at each acquisition and checked in every commit, so a
writer that lost its lock cannot write.
"""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

from sqlalchemy import Connection, Engine, create_engine, event, insert, select, update
from sqlalchemy.engine import make_url

from ledger.store.tables import lease

Database: TypeAlias = Engine
"""A durable store, as floors above know it."""


class LeaseHeld(Exception):
    """Another process is the writer of this database."""


class LeaseLost(Exception):
    """Another writer took over: this one may not commit any more."""


def system_salts(_offset: int, size: int) -> bytes:
    """The production byte source: fresh randomness, whatever the position."""
    return os.urandom(size)


def open_store(url: str) -> Engine:
    """A SQLAlchemy engine for ``url``, set up to be durable."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        raise ValueError(f"{parsed.get_backend_name()} is not supported yet: use sqlite:///FILE")
    if parsed.database in (None, "", ":memory:"):
        raise ValueError("a store is a file: use sqlite:///FILE")
    engine = create_engine(
        parsed,
        isolation_level="AUTOCOMMIT",
        connect_args={"timeout": 30},
        hide_parameters=True,  # an error is told to callers and to logs, what it was about is not
    )
    event.listen(engine, "connect", _make_durable)
    return engine


def _make_durable(connection: Any, _record: object) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "recursive_triggers=ON"):
        connection.execute(f"PRAGMA {pragma}")


@dataclass(slots=True)
class Lease:
    """The right to write, held until :meth:`release` or the end of the process."""

    epoch: int
    _descriptor: int

    @classmethod
    def acquire(cls, engine: Engine) -> "Lease":
        """Take the lease and raise the epoch. Raises :class:`LeaseHeld` at once if another has it."""
        path = Path(f"{Path(str(engine.url.database)).resolve()}.lease")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise LeaseHeld(f"another process writes to this database (lock on {path.name})") from error
        try:
            with engine.connect() as connection:
                return cls(_raise_epoch(connection), descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    def check(self, connection: Connection) -> None:
        """Refuse the running transaction if the epoch has moved on. Raises :class:`LeaseLost`."""
        stored = connection.execute(select(lease.c.epoch)).scalar()
        if stored != self.epoch:
            raise LeaseLost(f"epoch {self.epoch} was replaced by {stored}")

    def release(self) -> None:
        """Give the lease back; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _raise_epoch(connection: Connection) -> int:
    """One statement: two writers never get the same epoch, whatever became of the lock."""
    raised = update(lease).values(epoch=lease.c.epoch + 1).returning(lease.c.epoch)
    epoch: int | None = connection.execute(raised).scalar()
    if epoch is None:
        connection.execute(insert(lease).values(id=1, epoch=1))
        return 1
    return epoch
