"""A decision in the making: entries, and the state that they lead to so far.

A decider records entries one after the other and reads the state after each. Nothing outside sees
it until the writer has committed it. A fork can be tried and dropped.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from clearing.model.house import Change, House, encode_changes, fold_all
from clearing.model.kinds import Kind
from clearing.model.outcomes import Event, event
from ledger.account import Account, AccountId
from ledger.entry import Entry, Leg


@dataclass(frozen=True, slots=True)
class Line:
    """What an entry is made of."""

    kind: Kind
    changes: tuple[Change, ...]
    legs: tuple[Leg, ...]
    references: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Draft:
    """Mutable while a decider runs, then taken apart. ``now_ms`` is the time of the command."""

    house: House
    request_id: str
    actor: str
    now_ms: int
    entries: list[Entry] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def record(
        self, kind: Kind, *changes: Change, legs: tuple[Leg, ...] = (), references: tuple[str, ...] = ()
    ) -> None:
        """Add one entry. Accounts that its legs use for the first time are opened by it.

        Raises ``InvariantViolated`` if the book refuses it: a decider checks before it records.
        """
        self.record_all((Line(kind, changes, legs, references),))

    def record_all(self, lines: Sequence[Line]) -> None:
        """Add an entry for each line, as :meth:`record` does; the state is the one after the last."""
        opened: set[AccountId] = set()
        recorded: list[tuple[Entry, tuple[Change, ...]]] = []
        for line in lines:
            legs = tuple(leg for leg in line.legs if leg.amount)
            unopened = self._unopened(legs, opened)
            opened.update(account.id for account in unopened)
            entry = Entry(
                entry_id=self._id(len(self.entries) + len(recorded)),
                kind=line.kind,
                effective_ms=self.now_ms,
                legs=legs,
                opens=unopened,
                request_id=self.request_id,
                actor=self.actor,
                references=line.references,
                fact=encode_changes(line.changes),
            )
            recorded.append((entry, line.changes))
        self.house = fold_all(self.house, recorded)
        self.entries += [entry for entry, _ in recorded]

    def tell(self, kind: Kind, subject: str, amount_minor: int = 0) -> None:
        """Add an event to the answer."""
        self.events.append(event(kind, subject, amount_minor))

    def fork(self) -> "Draft":
        """A copy that can be dropped or put in place of this one with :meth:`take`."""
        return replace(self, entries=list(self.entries), events=list(self.events))

    def take(self, other: "Draft") -> None:
        """Continue from where ``other``, a fork of this draft, has come to."""
        self.house, self.entries, self.events = other.house, other.entries, other.events

    def _id(self, number: int) -> bytes:
        """First 16 bytes of SHA-256(request id ‖ 0A ‖ number of the entry within the request)."""
        return hashlib.sha256(f"{self.request_id}\n{number}".encode("ascii")).digest()[:16]

    def _unopened(self, legs: tuple[Leg, ...], opened: set[AccountId]) -> tuple[Account, ...]:
        numbers = self.house.book.numbers
        used = {leg.account.id: leg.account for leg in legs}
        return tuple(used[one] for one in used if one not in numbers and one not in opened)
