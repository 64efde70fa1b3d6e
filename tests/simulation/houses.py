"""The house under simulation: the pure decider in memory, or the engine on a store, which crashes.

Both hand every new entry to the auditor as plain lines, and hold replay against the state.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from clearing.decide.table import Request, decide
from clearing.engine import Engine
from clearing.model.codec import encode, from_text
from clearing.model.commands import Command
from clearing.model.house import House, fold
from clearing.model.kinds import Kind
from clearing.model.outcomes import Outcome
from clearing.store import migrate
from ledger.entry import Entry
from ledger.store.connect import open_store
from ledger.store.queries import Directory, read_segments
from ledger.transfers import entries_of
from tests.builders import START_MS, as_recorded, assert_same
from tests.simulation.books import Line, require
from tests.simulation.published import Published
from tests.stores import Stores, file_of


def data_of(command: Command) -> dict[str, Any]:
    """A command as plain data."""
    fields = encode(command)
    assert isinstance(fields, dict)
    return {"type": type(command).__name__, **fields}


def lines_of(entries: Sequence[Entry], command: Command, published: Published) -> list[Line]:
    """Entries as the auditor reads them, each with what the house publishes after it."""
    data = data_of(command)
    return [
        Line(
            kind=Kind(entry.kind).name,
            at_ms=entry.effective_ms,
            legs=tuple((leg.account.path, leg.account.unit, leg.amount) for leg in entry.legs),
            references=entry.references,
            fact=entry.fact,
            command=data,
            risks=published.after(entry.fact),
        )
        for entry in entries
    ]


def actor_of(request_id: str) -> str:
    """Who asks: the request of an administrator begins with the name, as in ``anna-12``."""
    name, dash, _ = request_id.partition("-")
    return f"administrator/{name}" if dash else "sim"


class Simulated(Protocol):
    """What a walk drives."""

    now_ms: int
    remembers: bool
    """Whether a request that is sent again gets its first answer."""

    def execute(self, command: Command, request_id: str) -> tuple[Outcome, list[Line]]:
        """Decide a command; gives the answer and the entries that are new."""

    def crash(self) -> bool:
        """Die and come back, where the house can; says whether it did."""

    def close(self) -> None:
        """The walk is over."""


class Decided:
    """The pure decider; after each command the recorded bytes are folded and compared with its state."""

    remembers = False

    def __init__(self) -> None:
        self.now_ms = START_MS
        self.state = House()
        self._published = Published()

    def execute(self, command: Command, request_id: str) -> tuple[Outcome, list[Line]]:
        request = Request(request_id=request_id, actor=actor_of(request_id), command=command)
        decision = decide(self.state, request, self.now_ms)
        replayed = self.state
        entries = [
            as_recorded(one)
            for record in decision.entries
            for one in entries_of(record, self.state.book.known)
        ]
        for entry in entries:
            replayed = fold(replayed, entry)
        require(replayed == decision.state, "replay gives the state", request_id)
        self.state = replayed
        return from_text(Outcome, decision.answer), lines_of(entries, command, self._published)

    def crash(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing to let go."""


class Stored:
    """The engine on a store. What the auditor reads is what the journal holds there."""

    remembers = True

    def __init__(self, stores: Stores) -> None:
        self.now_ms = START_MS
        self._published = Published()
        self._stores = stores
        self._lives = 0
        self._url = stores.new()
        self._open()
        self._directory = Directory()
        self._read = 0

    @property
    def state(self) -> House:
        return self._engine.view.state

    def execute(self, command: Command, request_id: str) -> tuple[Outcome, list[Line]]:
        outcome = self._engine.execute(command, request_id=request_id, actor=actor_of(request_id))
        return outcome, lines_of(self._new_entries(), command, self._published)

    def crash(self) -> bool:
        """Killed, where that can be had: what is on disk at this moment is all that comes back. Every other time, and
        on a server, an orderly stop.
        """
        before = self.state
        self._lives += 1
        if self._lives % 2 and self._url.startswith("sqlite:"):
            killed = self._stores.new()
            for suffix in ("", "-wal"):
                left = Path(f"{file_of(self._url)}{suffix}")
                if left.exists():
                    shutil.copy(left, f"{file_of(killed)}{suffix}")
            self.close()
            self._url = killed
        else:
            self.close()
        self._open()
        assert_same(self.state, before)
        return True

    def close(self) -> None:
        self._engine.close()
        self._database.dispose()

    def _open(self) -> None:
        self._database = open_store(self._url)
        migrate.upgrade(self._database)
        self._engine = Engine(self._database, clock=lambda: self.now_ms, salts=lambda _, size: bytes(size))

    def _new_entries(self) -> list[Entry]:
        with self._database.connect() as connection:
            segments = list(read_segments(connection, self._read))
        entries = [entry for segment in segments for entry in self._directory.decode(segment)]
        self._read += len(entries)
        return entries


def answer_of(outcome: Outcome) -> dict[str, Any]:
    """An answer as plain data."""
    data: dict[str, Any] = json.loads(json.dumps(encode(outcome)))
    return data
