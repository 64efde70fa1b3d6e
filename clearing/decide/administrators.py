"""Who governs, who is somebody else, and what counts as a reason (rulebook §2, §13).

The journal names an administrator as ``administrator/anna/0123456789abcdef``: its id, then the key of the
certificate it called with. Within the process there is no certificate and so no key.

"Another administrator" means: another id and another key. One certificate under two names is one person, and so
are two certificates of one name.
"""

from clearing.model.ids import ADMINISTRATOR
from clearing.model.outcomes import Reason, Rejected

REASON_CHARS_MAX = 500
"""Characters in the text that says why."""


def actor_id(actor: str) -> str:
    """``actor`` without its key: the same before and after its certificate was renewed."""
    return _split(actor)[0]


def administrator_refusal(actor: str) -> Rejected | None:
    """Why ``actor`` may not govern: only who the journal names as an administrator may."""
    name = actor_id(actor).removeprefix(ADMINISTRATOR)
    return None if name and name != actor else Rejected(Reason.NOT_AN_ADMINISTRATOR, actor)


def same_administrator_refusal(first: str, actor: str) -> Rejected | None:
    """Why ``actor`` may not confirm what ``first`` asked for: it takes two that differ in id and in key."""
    (first_id, first_key), (own_id, own_key) = _split(first), _split(actor)
    shares_key = bool(own_key) and own_key == first_key
    return Rejected(Reason.SAME_ADMINISTRATOR, actor) if first_id == own_id or shares_key else None


def reason_refusal(reason: str) -> Rejected | None:
    """Why a text is no reason."""
    if reason.strip() and reason.isprintable() and len(reason) <= REASON_CHARS_MAX:
        return None
    return Rejected(Reason.REASON_MALFORMED, f"1 to {REASON_CHARS_MAX} characters")


def _split(actor: str) -> tuple[str, str]:
    """The id and the key of ``actor``. Ids have no slash; who is no administrator has no key."""
    if not actor.startswith(ADMINISTRATOR):
        return actor, ""
    name, _, key = actor.removeprefix(ADMINISTRATOR).partition("/")
    return f"{ADMINISTRATOR}{name}", key
