"""What reports are made of: rows as they are read from the books. Amounts are decimal strings in whole units."""

from dataclasses import dataclass

from ledger.entry import Entry


@dataclass(frozen=True, slots=True)
class Recorded:
    """An entry of the journal, and its number."""

    sequence: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class Balanced:
    """An account of the ledger, and its balance on the side on which it stands; the other is empty."""

    path: str
    unit: str
    debit: str
    credit: str


@dataclass(frozen=True, slots=True)
class Moved:
    """A line of a statement: a leg and the balance after it. Opening and closing balance come from no entry."""

    what: str
    balance: str
    sequence: int | None = None
    leg: int | None = None
    time_ms: int | None = None
    amount: str = ""
