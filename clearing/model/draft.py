"""A decision in the making: entries, and the state that they lead to so far.

A decider records entries one after the other and reads the state after each. Nothing outside sees
it until the writer has committed it. A fork can be tried and dropped.
"""

import hashlib
from dataclasses import dataclass, field, replace

from clearing.model.house import Change, House, encode_changes, fold_changes
from clearing.model.kinds import Kind
from clearing.model.outcomes import Event, event
from ledger.account import Account
from ledger.entry import Entry, Leg


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
        entry = Entry(
            entry_id=self._next_id(),
            kind=kind,
            effective_ms=self.now_ms,
            legs=tuple(leg for leg in legs if leg.amount),
            opens=self._unopened(legs),
            request_id=self.request_id,
            actor=self.actor,
            references=references,
            fact=encode_changes(changes),
        )
        self.house = fold_changes(self.house, entry, changes)
        self.entries.append(entry)

    def tell(self, kind: Kind, subject: str, amount_minor: int = 0) -> None:
        """Add an event to the answer."""
        self.events.append(event(kind, subject, amount_minor))

    def fork(self) -> "Draft":
        """A copy that can be dropped or put in place of this one with :meth:`take`."""
        return replace(self, entries=list(self.entries), events=list(self.events))

    def take(self, other: "Draft") -> None:
        """Continue from where ``other``, a fork of this draft, has come to."""
        self.house, self.entries, self.events = other.house, other.entries, other.events

    def _next_id(self) -> bytes:
        """First 16 bytes of SHA-256(request id ‖ 0A ‖ number of the entry within the request)."""
        return hashlib.sha256(f"{self.request_id}\n{len(self.entries)}".encode("ascii")).digest()[:16]

    def _unopened(self, legs: tuple[Leg, ...]) -> tuple[Account, ...]:
        missing = {leg.account: None for leg in legs if leg.amount and not self.house.book.knows(leg.account)}
        return tuple(missing)
