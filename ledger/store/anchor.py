"""The anchor: the last tree that was signed, in a file that no restored backup of the database takes back.

The file has the last two lines of a checkpoint's body, the size and the root in base64::

    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

Rules kept here (attestation.md §3): it is on disk before anything is signed, so it is never behind what
somebody may have seen; it only moves forward, and never to another root at the same size; a journal that is
shorter than it, or has another root at its size, is an old backup or another journal, and going on with it
would show the world two histories: :meth:`Anchor.check` refuses before the first entry is written. A file
that cannot be read as an anchor refuses too. No file means that nothing was signed yet; whoever deletes it
takes the protection away, so it lies where backups of the database do not reach.

There is one writer, the holder of the lease.
"""

import base64
import os
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from ledger.checkpoint import MAX_TREE_SIZE, NoteRefused, parse_checkpoint_body
from ledger.merkle import EMPTY_ROOT, HASH_BYTES
from ledger.require import require

RESTORE = "Nothing was written. Restore the newest copy: docs/runbook.md, Back up and restore"


class AnchorReason(Enum):
    """Why the house must not go on; the values are stable."""

    UNREADABLE = "anchor_unreadable"
    JOURNAL_SHORTER = "journal_shorter_than_anchor"
    JOURNAL_DIFFERS = "journal_differs_from_anchor"
    BEHIND = "anchor_behind_what_was_signed"
    BACKWARDS = "anchor_backwards"
    OTHER_ROOT = "anchor_other_root"


class AnchorRefused(Exception):
    """What is on disk is not the journal that was signed; ``reason`` says why."""

    def __init__(self, reason: AnchorReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class Anchor:
    """The anchor file at ``path``. Raises :class:`AnchorRefused` (``UNREADABLE``) on construction."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size, self._root = _read(path)

    @property
    def size(self) -> int:
        """Size of the last signed tree, 0 if none was."""
        return self._size

    @property
    def root(self) -> bytes:
        """Root of the last signed tree."""
        return self._root

    def check(self, size: int, root_at: Callable[[int], bytes]) -> None:
        """Return if a journal of ``size`` entries goes on from what was signed.

        ``root_at`` gives the root of the journal's first entries, derived from the stored leaves.
        Raises :class:`AnchorRefused`: ``JOURNAL_SHORTER``, ``JOURNAL_DIFFERS``.
        """
        if size < self._size:
            raise AnchorRefused(
                AnchorReason.JOURNAL_SHORTER,
                f"the journal has {size} entries, but {self._size} were signed (anchor {self._path}): it is an "
                f"old copy, and going on with it would show the world a second history. {RESTORE}",
            )
        if root_at(self._size) != self._root:
            raise AnchorRefused(
                AnchorReason.JOURNAL_DIFFERS,
                f"the first {self._size} entries of the journal are not those that were signed (anchor "
                f"{self._path}): it is an old copy that went another way, or another journal. {RESTORE}",
            )

    def require_covers(self, size: int) -> None:
        """Return if the anchor knows of ``size`` entries, which the journal itself says were signed.

        Raises :class:`AnchorRefused` (``BEHIND``): the file was lost, is an old one, or is not this journal's.
        """
        if self._size < size:
            found = f"knows of {self._size} signed entries" if self._size else "is not there"
            raise AnchorRefused(
                AnchorReason.BEHIND,
                f"{size} entries were signed, as the journal says, but the anchor {self._path} {found}: without "
                "it an old copy of the journal could not be told from the newest. Nothing was written. Make the "
                "anchor of the last published checkpoint: docs/runbook.md, Back up and restore",
            )

    def require_forward(self, size: int, root: bytes) -> None:
        """Return if :meth:`advance` may go to ``(size, root)``; nothing is written.

        Raises :class:`AnchorRefused`: ``BACKWARDS``, ``OTHER_ROOT``.
        """
        require(len(root) == HASH_BYTES and size <= MAX_TREE_SIZE, "a tree has a root and fits a checkpoint")
        if size < self._size:
            raise AnchorRefused(AnchorReason.BACKWARDS, f"{self._size} entries were signed, {size} are fewer")
        if size == self._size and root != self._root:
            raise AnchorRefused(AnchorReason.OTHER_ROOT, f"another root was signed at {size} entries")

    def advance(self, size: int, root: bytes) -> None:
        """Put the tree ``(size, root)`` on disk; it is there when this returns.

        The same tree again changes nothing. Raises as :meth:`require_forward`.
        """
        self.require_forward(size, root)
        if size == self._size:
            return
        put_file(self._path, f"{size}\n{base64.b64encode(root).decode()}\n".encode())
        sync_directory(self._path.parent)
        self._size, self._root = size, root


def put_file(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` as a whole or not at all, whenever the process or the machine stops.

    The name is durable once :func:`sync_directory` has returned for its directory.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def sync_directory(directory: Path) -> None:
    """Return when the names in ``directory`` are on disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> tuple[int, bytes]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return 0, EMPTY_ROOT
    try:
        # with any origin in front, the two lines are the body of a checkpoint, and as strict
        signed = parse_checkpoint_body(b"anchor\n" + data)
    except NoteRefused as refused:
        raise AnchorRefused(AnchorReason.UNREADABLE, f"{path.name} is no anchor: {refused}") from None
    return signed.size, signed.root
