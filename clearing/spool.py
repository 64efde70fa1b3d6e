"""Reports on disk, from their first pull on.

Rules kept here:

1. A report is made once into a file, because its size and digest are told before its first byte, and because a download
   that broke off goes on at an offset. Nothing of it is in memory.
2. A file has its name only when it is whole, and is found again by what the report is, after a restart too.
3. A file that another process left is believed only if it has the digest that the caller knows: it may be of another
   house, or put there.
4. Files are a store that may be lost: the newest are kept up to a limit, and what is gone is made again. Whoever knows
   what the file must be gives its digest; a file that is another is thrown away and made again.
"""

import hashlib
import os
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

FILES_MAX = 1_024
BYTES_MAX = 4 * 2**30
"""Kept on disk; the newest file is kept however large it is."""
READ_BYTES = 1 << 20


class NotKept(Exception):
    """The disk does not take the file now: it is full, or away. The message says why."""


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
        """Raises ``OSError`` if the directory cannot be made or written."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._lock = threading.Lock()
        self._known: dict[str, Spooled] = {}
        self._making: dict[str, threading.Lock] = {}
        for left in directory.glob("*.making"):
            left.unlink(missing_ok=True)

    def fetch(
        self, asked: str, make: Callable[[], Iterator[bytes]], sha256: str | None = None
    ) -> Generator[int, None, Download]:
        """The file of the report that ``asked`` spells; ``make`` gives its bytes if it is not there.

        While it is made, how many bytes there are is given. ``sha256``: what the file must be, if that is known; what
        is made is given as it is.
        """
        key = hashlib.sha256(asked.encode()).hexdigest()
        with self._lock:
            turn = self._making.setdefault(key, threading.Lock())
        try:
            with turn:
                found = self._found(key, sha256)
                if found is not None:
                    return found
                try:
                    return (yield from self._made(key, make()))
                except OSError as error:
                    raise NotKept(error.strerror) from error
        finally:
            with self._lock:
                if not turn.locked():
                    self._making.pop(key, None)

    def _found(self, key: str, sha256: str | None) -> Download | None:
        path = self._directory / key
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return None
        known = self._known.get(key)
        is_as_known = known is not None and known.size == os.fstat(file.fileno()).st_size
        spooled = known if known is not None and is_as_known else _read(path, file)
        believed = is_as_known if sha256 is None else spooled.sha256 == sha256
        if not believed:
            file.close()
            with self._lock:  # who makes room looks at each file
                path.unlink(missing_ok=True)
                self._known.pop(key, None)
            return None
        os.utime(file.fileno())  # by its name it may be gone
        self._known[key] = spooled
        return Download(spooled, file)

    def _made(self, key: str, parts: Iterator[bytes]) -> Generator[int, None, Download]:
        size, digest = 0, hashlib.sha256()
        descriptor, name = tempfile.mkstemp(dir=self._directory, suffix=".making")
        path, making = self._directory / key, Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for part in parts:
                    file.write(part)
                    digest.update(part)
                    size += len(part)
                    yield size
            whole = making.open("rb")  # before it can be removed to make room for another
            making.replace(path)
        except BaseException:
            making.unlink(missing_ok=True)
            raise
        spooled = self._known[key] = Spooled(path, size, digest.hexdigest())
        self._make_room(path)
        return Download(spooled, whole)

    def _make_room(self, newest: Path) -> None:
        """Remove the files that were used longest ago until the rest fits."""
        with self._lock:
            found = [(one.stat(), one) for one in self._directory.iterdir() if one.suffix != ".making"]
            size, count = sum(stat.st_size for stat, _ in found), len(found)
            for stat, one in sorted(found, key=lambda each: (each[0].st_mtime_ns, each[1].name)):
                if one == newest or (count <= FILES_MAX and size <= BYTES_MAX):
                    continue
                one.unlink(missing_ok=True)
                self._known.pop(one.name, None)
                size, count = size - stat.st_size, count - 1


def _read(path: Path, file: BinaryIO) -> Spooled:
    digest, size = hashlib.sha256(), 0
    while data := file.read(READ_BYTES):
        digest.update(data)
        size += len(data)
    file.seek(0)
    return Spooled(path, size, digest.hexdigest())
