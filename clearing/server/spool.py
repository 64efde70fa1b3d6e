"""Reports on disk, between being made and being fetched.

A report is made once into a file, because its size and digest are told before its first byte, and because a download
that broke off goes on at an offset. Nothing of it is in memory. The file is found again by what the report is: name,
parameters and number of entries. If it is gone, after a restart or because others came, it is made again and has the
same bytes.
"""

import hashlib
import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

FILES_MAX = 64
BYTES_MAX = 4 * 2**30
"""Kept on disk; the newest file is kept however large it is."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """A file that is whole. Opened, it can be read though it is removed meanwhile."""

    path: Path
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Download:
    """A whole file, open for reading."""

    spooled: Spooled
    file: BinaryIO


class Spool:
    """A directory of reports. Any thread may fetch; one that is being made is waited for, not made twice."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._files: OrderedDict[str, Spooled] = OrderedDict()
        self._making: dict[str, threading.Lock] = {}

    def open(self, asked: str, make: Callable[[], Iterator[bytes]]) -> Download:
        """The file of the report that ``asked`` spells; ``make`` gives its bytes if it is not there."""
        key = hashlib.sha256(asked.encode()).hexdigest()
        with self._lock:
            turn = self._making.setdefault(key, threading.Lock())
        try:
            with turn:
                return self._found(key) or self._made(key, make())
        finally:
            with self._lock:
                if not turn.locked():
                    self._making.pop(key, None)

    def _found(self, key: str) -> Download | None:
        with self._lock:
            spooled = self._files.get(key)
            if spooled is None:
                return None
            self._files.move_to_end(key)
            return Download(spooled, spooled.path.open("rb"))

    def _made(self, key: str, parts: Iterator[bytes]) -> Download:
        size, digest = 0, hashlib.sha256()
        descriptor, name = tempfile.mkstemp(dir=self._directory)
        path = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for part in parts:
                    file.write(part)
                    digest.update(part)
                    size += len(part)
        except BaseException:
            path.unlink()
            raise
        spooled = Spooled(path, size, digest.hexdigest())
        with self._lock:
            before, self._files[key] = self._files.pop(key, None), spooled
            if before is not None:
                before.path.unlink()
            download = Download(spooled, path.open("rb"))
            self._make_room()
        return download

    def _make_room(self) -> None:
        while len(self._files) > 1 and self._is_full():
            _, oldest = self._files.popitem(last=False)
            oldest.path.unlink()

    def _is_full(self) -> bool:
        return len(self._files) > FILES_MAX or sum(one.size for one in self._files.values()) > BYTES_MAX
