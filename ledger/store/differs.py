"""What a verification answers when something does not hold."""

from dataclasses import dataclass

from ledger.leaf import RecordMalformed


@dataclass(frozen=True, slots=True)
class Differs:
    """The first place at which the journal, or what is made of it, does not hold, and why."""

    sequence: int
    reason: str


class JournalDiffers(RecordMalformed):
    """A journal that cannot be gone on with: its entry ``differs.sequence`` is not what was hashed, or posted."""

    def __init__(self, differs: Differs) -> None:
        super().__init__(
            f"the journal does not hold at entry {differs.sequence}: {differs.reason}. "
            "No entry was added. Restore the newest copy: docs/runbook.md, Back up and restore"
        )
        self.differs = differs
