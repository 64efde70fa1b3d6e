"""The public log of a journal: the tiles and the checkpoint that it shows, under the anchor that guards it.

Rules kept here (attestation.md §3):

1. A journal that does not go on from what was signed is refused: by :func:`require_goes_on` before anything
   is written, whoever may write at that moment, and by :class:`PublicLog` once more under the lease.
2. One process at a time moves an anchor, by a lock that ends with it. So a writer that lost its lease and does
   not know it yet cannot pull back the anchor of the next one.
3. What is shown goes through :func:`ledger.store.tile_files.publish`: tiles, anchor, signature, checkpoint.

The root at the anchor is the one that the journal keeps with the segment that ends there. No leaf is hashed
again for it: whoever replays a journal derives that root from the leaves, and stops if it is another. Where no
segment ends at the anchor, which an honest copy never shows, the leaves are hashed, a few at a time.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, LargeBinary, cast, inspect, select

from ledger.store.anchor import Anchor
from ledger.store.connect import Database, LeaseHeld, StoreUnreachable, reading
from ledger.store.tables import segments
from ledger.store.tile_files import Sign, TileFiles, publish, root_at
from ledger.tiles import TiledTree


def require_goes_on(database: Database, anchor: Path) -> None:
    """Return if the journal in ``database``, which may have no tables yet, goes on from what was signed.

    Raises ``AnchorRefused``, ``StoreUnreachable``.
    """
    with _disk():
        signed = Anchor(anchor)  # first: what is committed from now on only makes the journal longer
    with reading(database) as connection:
        signed.check(_size(connection), partial(_root_after, connection))


class PublicLog:
    """The log of the journal in ``database``: its tiles in ``directory``, its anchor in the file ``anchor``.

    Made by the holder of the lease, after replay. Raises on construction ``LeaseHeld`` if another process
    moves this anchor, ``StoreUnreachable`` if it cannot be kept there, and ``AnchorRefused``.
    """

    def __init__(self, database: Database, directory: Path, anchor: Path) -> None:
        self._database, self._files = database, TileFiles(directory)
        self._descriptor = _lock(anchor)
        try:
            require_goes_on(database, anchor)
            self._anchor = Anchor(anchor)
        except BaseException:
            self.close()
            raise

    @property
    def anchor(self) -> Anchor:
        """The last tree that was signed."""
        return self._anchor

    def checkpoint(self) -> bytes | None:
        """The signed checkpoint that is shown, None before the first. Raises ``StoreUnreachable``."""
        with _disk():
            return self._files.checkpoint()

    def tree(self) -> TiledTree:
        """The tree that is shown. Raises ``NoteRefused``, ``TileRefused``, ``StoreUnreachable``."""
        with _disk():
            return self._files.tree()

    def shown(self, at_least: int = 0) -> tuple[bytes, TiledTree] | None:
        """A checkpoint for a verifier and its tree: the one that witnesses have cosigned, if there is one and it has
        ``at_least`` so many leaves, or the newest; None before the first. Raises as :meth:`tree`.
        """
        with _disk():
            cosigned = self._files.cosigned()
            if cosigned is not None:
                tree = self._files.tree_of(cosigned)
                if tree.size >= at_least:
                    return cosigned, tree
            note = self._files.checkpoint()
            return None if note is None else (note, self._files.tree_of(note))

    def cosigned(self) -> bytes | None:
        """The newest checkpoint that the quorum has cosigned, if there is one. Raises ``StoreUnreachable``."""
        with _disk():
            return self._files.cosigned()

    def show_cosigned(self, note: bytes | None) -> None:
        """Show ``note`` as cosigned, or nothing. The caller answers for its quorum. Raises ``StoreUnreachable``."""
        with _disk():
            self._files.show_cosigned(note)

    def tree_of(self, note: bytes) -> TiledTree:
        """The tree of a checkpoint that was shown. Raises as :meth:`tree`."""
        with _disk():
            return self._files.tree_of(note)

    def earlier(self, tree: TiledTree, size: int) -> TiledTree:
        """The tree over the first ``size`` leaves of ``tree``. Raises ``ProofRefused``, and as :meth:`tree`."""
        with _disk():
            return self._files.earlier(tree, size)

    def tile(self, path: str) -> bytes:
        """What stands under the path of a tile.

        Raises ``LookupError`` if nothing does, ``TileRefused`` for what is no path, ``StoreUnreachable``.
        """
        with _disk():
            return self._files.read(path)

    def show(self, size: int, root: bytes, sign: Sign) -> bytes:
        """Show the tree ``(size, root)``, which is committed; the signed checkpoint that says so.

        Raises what :func:`publish` raises, and ``StoreUnreachable`` if the store or a disk failed: the same
        call may then be made again.
        """
        with _disk(), reading(self._database) as connection:
            return publish(connection, self._files, self._anchor, size=size, root=root, sign=sign)

    def close(self) -> None:
        """Let another process have the anchor; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnreachable(f"the log or its anchor cannot be read or written: {error}") from error


def _lock(anchor: Path) -> int:
    try:
        descriptor = os.open(f"{anchor}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreUnreachable(f"the anchor {anchor} cannot be kept: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise LeaseHeld(f"another process moves the anchor {anchor}") from None
    return descriptor


def _size(connection: Connection) -> int:
    if not inspect(connection).has_table(segments.name):
        return 0
    newest = select(segments.c.first_sequence + segments.c.count)
    return connection.execute(newest.order_by(segments.c.first_sequence.desc()).limit(1)).scalar() or 0


def _root_after(connection: Connection, size: int) -> bytes:
    """Root over the first ``size`` leaves, of which the journal has as many."""
    if size:
        root = cast(segments.c.root, LargeBinary)
        query = select(segments.c.first_sequence + segments.c.count, root)
        query = query.where(segments.c.first_sequence < size).order_by(segments.c.first_sequence.desc())
        end, stored = connection.execute(query.limit(1)).one()
        if end == size:
            return bytes(stored)
    return root_at(connection, size)
