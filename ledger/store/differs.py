"""What a verification answers when something does not hold."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Differs:
    """The first place at which the journal, or what is made of it, does not hold, and why."""

    sequence: int
    reason: str
