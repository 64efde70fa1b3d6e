"""The history as services read it: as of a number of entries, in one state of the store, when it has come so far.

A history that is behind is waited for, a little. What it does not have then is refused as HISTORY_BEHIND: the caller
may ask again in a moment.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc

from clearing.server.errors import Fault, Refused
from clearing.server.tail import Tail
from ledger.store.connect import Database, Snapshot, snapshot
from ledger.store.history import projected
from ledger.store.projector import Projecting
from ledger.store.public_log import PublicLog

WAIT_MAX_S = 2.0


@dataclass(frozen=True, slots=True)
class History:
    """What was. ``size`` gives how many entries the journal has."""

    database: Database
    projecting: Projecting
    size: Callable[[], int]

    @contextmanager
    def as_of(
        self, as_of: int, at_least_sequence: int, context: grpc.ServicerContext
    ) -> "Iterator[tuple[Snapshot, int]]":
        """A snapshot, and the number of entries to look at: ``as_of``, or where that is 0 all that are projected.

        Raises :class:`Refused` for what the journal does not have, and what ``Projecting.wait_for`` raises.
        """
        self._await(max(as_of, at_least_sequence + 1 if at_least_sequence else 0), context)
        with snapshot(self.database) as connection:
            yield connection, as_of or projected(connection)

    def reached(self, as_of: int, context: grpc.ServicerContext) -> int:
        """``as_of``, or where that is 0 how many entries are projected. Raises as :meth:`as_of`."""
        self._await(as_of, context)
        return as_of or self.projecting.position

    def _await(self, size: int, context: grpc.ServicerContext) -> None:
        if size > self.size():
            raise Refused(Fault.SEQUENCE_AHEAD, f"it has {self.size()} entries")
        self.projecting.wait_for(size, min(context.time_remaining(), WAIT_MAX_S))


@dataclass(frozen=True, slots=True)
class Books:
    """The journal in its store, the public log, the end of the journal, and its history."""

    database: Database
    log: PublicLog
    tail: Tail
    past: History
