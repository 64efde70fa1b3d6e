"""What a report is read from: the journal up to an entry, and the state that it leads to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from clearing.model.house import House
from clearing.model.ids import AccountKey, MemberId, SetId, member_of
from clearing.model.kinds import Kind
from ledger.account import Account
from ledger.entry import Entry


@dataclass(frozen=True, slots=True)
class Recorded:
    """An entry of the journal, and its number."""

    sequence: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class Moved:
    """A leg of an account: its entry, its number there, the amount and the balance after it, debits positive."""

    sequence: int
    kind: int
    effective_ms: int
    leg: int
    amount: int
    balance: int


@dataclass(frozen=True, slots=True)
class RefusedCall:
    """A request of which something was refused: how many entries the journal had, who asked, and the reasons by how
    often each was given.
    """

    at: int
    actor: str
    reasons: Mapping[str, int]


class Reading(Protocol):
    """The journal up to ``as_of`` entries, for whoever asks.

    All methods may be called any number of times and give the same each time.
    """

    @property
    def as_of(self) -> int:
        """How many entries of the journal are read."""

    @property
    def house(self) -> House:
        """The state that they lead to."""

    @property
    def members(self) -> frozenset[MemberId] | None:
        """Whose part of the report it is; None for all."""

    @property
    def given(self) -> Mapping[str, str]:
        """What the report was asked for with."""

    def entries(self, *kinds: Kind) -> Iterator[Recorded]:
        """The entries of these kinds, without any all, in order."""

    def states(self, *kinds: Kind) -> Iterator[tuple[Recorded, House]]:
        """After each entry of these kinds: it, and the state that it led to. The journal is replayed for it."""

    def moves(self, account: Account) -> Iterator[Moved]:
        """The legs of an account, in order; none for one that was never used."""

    def refused(self) -> Iterator[RefusedCall]:
        """The requests that were refused before the last of the entries, in the order of ``at``."""


def shows(reading: Reading, member: MemberId) -> bool:
    """Whether what belongs to ``member`` is part of the report."""
    return reading.members is None or member in reading.members


def shows_account(reading: Reading, key: AccountKey) -> bool:
    """Whether an account of a member is part of the report."""
    return shows(reading, member_of(key))


def shows_set(reading: Reading, set_id: SetId) -> bool:
    """Whether a netting set is part of the report: any of its accounts is."""
    return any(shows_account(reading, key) for key in reading.house.netting_sets[set_id].accounts)
