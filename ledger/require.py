"""How the house treats its own mistakes: it stops.

A refusal is a value that a caller can act on. A broken invariant is a bug: the writer stops, the
in-memory state is thrown away, and nothing is written that could not be explained.
"""


class InvariantViolated(Exception):
    """A law of the book or of the rulebook does not hold. Nothing may be written after this."""


def require(condition: bool, law: str) -> None:
    """Raise :class:`InvariantViolated` naming the ``law`` unless ``condition`` holds.

    Unlike ``assert`` it is never compiled away.
    """
    if not condition:
        raise InvariantViolated(law)
