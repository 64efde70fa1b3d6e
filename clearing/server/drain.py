"""The way out of a house that is told to stop: calls that run are answered, those that come are refused.

A stop of the server alone would not do: what is on its way at that moment is cancelled, and the caller cannot tell
whether anybody began with it.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from clearing.server.errors import Fault, Refused

LINGER_S = 0.25
"""How long calls that were on their way are still refused by name."""


class Drain:
    """A door: whoever is inside is answered, and once it is closed nobody comes in."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside, self._is_closed = 0, False

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Run a call. Raises :class:`Refused` once the door is closed."""
        with self._changed:
            if self._is_closed:
                raise Refused(Fault.HOUSE_STOPPING)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def close(self, grace_s: float) -> None:
        """Close the door, and return when nobody is inside any more, or after ``grace_s``."""
        with self._changed:
            self._is_closed = True
            self._changed.wait_for(lambda: not self._inside, grace_s)
        time.sleep(LINGER_S)
