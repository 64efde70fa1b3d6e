"""Whether the house is fit to serve, and why not. Health says what stands here, and nothing else does.

The first facts can be gathered when the start is over: the journal goes on from what was signed, migrations ran,
the lease was taken, and the journal was replayed root by root. From then on the house serves while

1. its writer takes commands: no law of the house was broken, and nobody else took the lease
2. the store takes commits and the lock of the lease is held
3. the schema is the one that this program knows
4. the clock is not behind the journal
5. what is committed is shown, and the beat that does it, and what has become due, works
6. the history follows

Whoever fails 1 is taken down. All else passes by itself.
"""

from dataclasses import dataclass
from enum import Enum

from ledger.store.writer import LAG_MAX_MS

BEATS_MAX = 5
"""One more beat that fails in a row, and the house does not serve: one of them may well meet a store that is busy."""


class Unfit(Enum):
    """Why the house does not serve."""

    STOPPED = "the house takes no more commands"
    STORE = "the store cannot be written"
    SCHEMA = "the schema is not the one of this program"
    CLOCK = "the clock is behind the journal"
    UNSHOWN = "the public log does not follow the journal"
    BEAT = "what is to be done each second fails"
    HISTORY = "the history does not follow the journal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of the house at one moment; a text is empty unless something is wrong."""

    stopped: str = ""
    fault: str = ""
    schema: str = ""
    journal_ms: int = 0
    now_ms: int = 0
    unshown: str = ""
    failed_beats: int = 0
    failure: str = ""
    lag_ms: int = 0
    history: str = ""


def unfit(facts: Facts) -> dict[Unfit, str]:
    """Why the house is not fit to serve, each reason with what is known of it; empty if it is fit."""
    behind_ms = facts.journal_ms - facts.now_ms
    found = {
        Unfit.STOPPED: facts.stopped,
        Unfit.STORE: facts.fault,
        Unfit.SCHEMA: facts.schema,
        Unfit.CLOCK: f"by {behind_ms} ms" if behind_ms > 0 else "",
        Unfit.UNSHOWN: facts.unshown,
        Unfit.BEAT: facts.failure if facts.failed_beats > BEATS_MAX else "",
        Unfit.HISTORY: facts.history or (f"for {facts.lag_ms} ms" if facts.lag_ms > LAG_MAX_MS else ""),
    }
    return {reason: detail for reason, detail in found.items() if detail}
