"""Who governs, and what counts as a reason (rulebook §2, §13)."""

from clearing.model.ids import ADMINISTRATOR
from clearing.model.outcomes import Reason, Rejected

REASON_CHARS_MAX = 500
"""Characters in the text that says why."""


def administrator_refusal(actor: str) -> Rejected | None:
    """Why ``actor`` may not govern: only who the journal names as an administrator may."""
    name = actor.removeprefix(ADMINISTRATOR)
    return None if name and name != actor else Rejected(Reason.NOT_AN_ADMINISTRATOR, actor)


def reason_refusal(reason: str) -> Rejected | None:
    """Why a text is no reason."""
    if reason.strip() and reason.isprintable() and len(reason) <= REASON_CHARS_MAX:
        return None
    return Rejected(Reason.REASON_MALFORMED, f"1 to {REASON_CHARS_MAX} characters")
