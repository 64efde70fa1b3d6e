"""What a pure decider hands to the writer."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from ledger.entry import Entry

S = TypeVar("S")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Generic[S]):
    """The state after a command, the entries that lead there, and the text that answers the caller.

    ``entries`` may be empty (all was refused): then nothing is written but the answer.
    """

    state: S
    entries: tuple[Entry, ...]
    answer: str
    refusals: int = 0
