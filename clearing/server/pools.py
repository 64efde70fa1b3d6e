"""Threads that know how much they have to do, so that a server can refuse what it has no place for.

grpcio asks the interceptor about a call in one thread, before it hands the call to a pool. So what the interceptor
counts here is exact, and the queue of a pool is as long as its places say and never longer.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Pool(ThreadPoolExecutor):
    """``threads`` that run calls, and ``places`` for those that run or wait."""

    def __init__(self, name: str, *, threads: int, places: int) -> None:
        super().__init__(threads, thread_name_prefix=name)
        self.places = places
        self._taken, self._lock = 0, threading.Lock()

    @property
    def taken(self) -> int:
        """Calls that run or wait."""
        return self._taken

    @property
    def is_full(self) -> bool:
        """Whether one more call would have no place."""
        return self._taken >= self.places

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Run ``fn`` when a thread is free."""
        with self._lock:
            self._taken += 1
        try:
            future = super().submit(fn, *args, **kwargs)
        except BaseException:
            self._left()
            raise
        future.add_done_callback(lambda _: self._left())
        return future

    def _left(self) -> None:
        with self._lock:
            self._taken -= 1
