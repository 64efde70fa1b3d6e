"""Pages of a list in a fixed order (keyset): what comes after a key, never a position that could shift.

A page token is opaque to the caller. It carries the last key and a digest of the question that was asked, so
that a token of another list, or a made-up one, is refused. It grants nothing: whoever forges one sees only
what the list shows that caller anyway.
"""

import base64
import hashlib
import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from clearing.server.wire.violations import RequestInvalid

PAGE_DEFAULT = 100
PAGE_MAX = 1_000
DIGEST_BYTES = 8

K = TypeVar("K", bound=str)


class PageRequest(Protocol):
    """A request for a page of a list."""

    @property
    def page_size(self) -> int:
        """How many elements at most; 0 leaves it to the house."""

    @property
    def page_token(self) -> str:
        """The token of the page before; empty for the first page."""


@dataclass(frozen=True, slots=True)
class Page(Generic[K]):
    """The keys on a page, and the token of the next one (empty on the last)."""

    keys: tuple[K, ...]
    next_token: str


def page_of(keys: Iterable[K], request: PageRequest, *question: str, at_most: int = PAGE_MAX) -> Page[K]:
    """The page of ``keys``, in their order, that ``request`` asks for, never more than ``at_most``.

    ``question`` says which list this is and what it was filtered by. Raises ``RequestInvalid`` for a token
    that was not given for this question.
    """
    size = min(size_of(request.page_size), at_most)
    after = open_token(request.page_token, *question)
    found = heapq.nsmallest(size + 1, (key for key in keys if after is None or key > after))
    shown = tuple(found[:size])
    return Page(keys=shown, next_token=seal_token(shown[-1], *question) if len(found) > size else "")


def size_of(page_size: int) -> int:
    """How many elements a page has at most, if ``page_size`` are asked for."""
    return min(page_size or PAGE_DEFAULT, PAGE_MAX)


def seal_token(key: str, *question: str) -> str:
    """The token of the page that begins behind ``key``."""
    return base64.urlsafe_b64encode(_digest(question) + key.encode()).decode()


def open_token(token: str, *question: str) -> str | None:
    """The key behind which the page begins, None for the first. Raises ``RequestInvalid`` as :func:`page_of`."""
    if not token:
        return None
    digest = _digest(question)
    try:
        data = base64.b64decode(token, altchars=b"-_", validate=True)
        key = data.removeprefix(digest).decode()
    except ValueError:
        data, key = b"", ""
    if not data.startswith(digest):
        raise RequestInvalid({"page_token": "was not given for this list; leave it empty to start again"})
    return key


def _digest(question: tuple[str, ...]) -> bytes:
    return hashlib.sha256("\n".join(question).encode()).digest()[:DIGEST_BYTES]
