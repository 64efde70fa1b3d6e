"""What a pure decider hands to the writer."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from ledger.transfers import Record

S = TypeVar("S")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Generic[S]):
    """The state after a command, the entries that lead there, and the text that answers the caller.

    ``entries`` may hold whole columns of them. It may be empty (all was refused): then nothing is written but
    the answer.
    """

    state: S
    entries: tuple[Record, ...]
    answer: str
    refusals: int = 0
