"""The journal as tiles in a directory, and the order in which a checkpoint comes to be shown.

The directory is what C2SP tlog-tiles serves under its prefix: ``checkpoint``, ``tile/…``. It can be copied,
or served by any web server, while it is written to.

Rules kept here (attestation.md §3): leaves → tiles → persist the checkpoint → publish. :func:`publish` takes
a tree whose leaves are committed, and

1. asks the anchor, and starts from the checkpoint that the directory shows, whose tiles hash to its root
2. hashes the new leaves: if they do not lead to the root of the journal, nothing is written
3. writes the tiles that changed, each to a temporary name, fsync, rename; then the directories, fsync
4. reads the last tiles back: they hash to the root of the journal
5. removes the partial tiles of those that are full now, as C2SP tlog-tiles allows
6. moves the anchor, fsync; only then has the checkpoint signed
7. puts the signed checkpoint in its place: this is the publication

Whatever step it is killed in, the same call again goes on: up to step 6 the directory still shows the
checkpoint before, whose tiles are all there, and a file that was written before is not written again. A tile,
full or partial, that is there with other bytes is refused and left as it is.

There is one writer, the holder of the lease; readers need no lock.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from enum import Enum
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from sqlalchemy import Connection, LargeBinary, cast, func, select

from ledger.checkpoint import parse_checkpoint_body, parse_note
from ledger.leaf import LEAF_BYTES, split_records
from ledger.merkle import EMPTY_ROOT, Frontier, leaf_hash
from ledger.store.anchor import Anchor, put_file, sync_directory
from ledger.store.tables import segments
from ledger.tiles import (
    CHECKPOINT,
    COSIGNED,
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    TiledTree,
    TileFile,
    changed_tiles,
    is_full,
    parse_path,
)

SEGMENTS_READ = 32
LEAVES_HASHED = 4_096

Sign: TypeAlias = Callable[[int, bytes], bytes]
"""``sign(size, root)`` gives the signed checkpoint note."""


class PublishReason(Enum):
    """Why nothing was published; the values are stable."""

    DIRECTORY_AHEAD = "directory_ahead_of_journal"
    JOURNAL_SHORTER = "journal_shorter_than_its_tree"
    JOURNAL_DIFFERS = "journal_differs_from_its_tree"
    TILE_DIFFERS = "tile_differs"


class PublishRefused(Exception):
    """What stands in the directory and what stands in the journal are not one history; ``reason`` says how."""

    def __init__(self, reason: PublishReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class TileFiles:
    """A directory of tiles. It is made when it is first written to."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self, path: str) -> bytes:
        """What stands under ``path``: a :data:`ledger.tiles.TileReader`.

        Raises ``LookupError`` if nothing does, ``TileRefused`` for what is no path of a tile.
        """
        parse_path(path)
        try:
            return (self._directory / path).read_bytes()
        except FileNotFoundError:
            raise LookupError(f"no file {path}") from None

    def checkpoint(self) -> bytes | None:
        """The checkpoint that is shown, None before the first."""
        return self._shown(CHECKPOINT)

    def cosigned(self) -> bytes | None:
        """The checkpoint that is shown as cosigned, None if there is none."""
        return self._shown(COSIGNED)

    def tree(self) -> TiledTree:
        """The tree of the checkpoint that is shown. Its signature is not looked at: the root is.

        Raises ``NoteRefused`` if the file is no checkpoint, ``TileRefused`` if its tiles are not there.
        """
        note = self.checkpoint()
        return TiledTree(0, EMPTY_ROOT, self.read) if note is None else self.tree_of(note)

    def tree_of(self, note: bytes) -> TiledTree:
        """The tree of the checkpoint ``note``, which was shown before. Raises as :meth:`tree`."""
        shown = parse_checkpoint_body(parse_note(note).text)
        return TiledTree(shown.size, shown.root, self.read)

    def earlier(self, tree: TiledTree, size: int) -> TiledTree:
        """The tree over the first ``size`` leaves of ``tree``, whether a checkpoint of it was shown or not.

        Raises ``ProofRefused`` (``SIZES_REVERSED``) and ``TileRefused``.
        """
        return TiledTree(size, tree.root_at(size), partial(self._cut, tree.size))

    def _cut(self, size: int, path: str) -> bytes:
        """The tile ``path`` of an earlier tree, cut off that of the tree with ``size`` leaves if it is no file."""
        try:
            return self.read(path)
        except LookupError:
            tile = parse_path(path)
            level = tile.level if isinstance(tile, Tile) else 0
            width = min((size >> TILE_HEIGHT * level) - TILE_WIDTH * tile.index, TILE_WIDTH)
            if width <= tile.width:
                raise
            wide = replace(tile, width=width)
            return _first(wide, self.read(wide.path), tile)

    def write(self, tiles: Iterable[tuple[TileFile, bytes]]) -> None:
        """Write ``tiles``; they are all on disk when this returns. One that is there is left as it is.

        Raises :class:`PublishRefused` (``TILE_DIFFERS``).
        """
        directories: dict[Path, None] = {}
        for tile, data in tiles:
            path = self._directory / tile.path
            directories[path.parent] = None
            if not _is_there(path, data):
                path.parent.mkdir(parents=True, exist_ok=True)
                put_file(path, data)
        for directory in self._with_parents(directories):
            sync_directory(directory)

    def prune(self, tiles: Iterable[TileFile]) -> None:
        """Remove the partial tiles of those of ``tiles`` that are full."""
        for tile in tiles:
            narrow = self._directory / f"{tile.path}.p"
            if is_full(tile) and narrow.exists():
                for file in narrow.iterdir():
                    file.unlink()
                narrow.rmdir()

    def show(self, note: bytes) -> None:
        """Put ``note`` where readers look for the checkpoint; it is on disk when this returns."""
        self._show(CHECKPOINT, note)

    def show_cosigned(self, note: bytes | None) -> None:
        """Put ``note`` where readers look for the cosigned checkpoint, or nothing."""
        if note is None:
            (self._directory / COSIGNED).unlink(missing_ok=True)
        else:
            self._show(COSIGNED, note)

    def _shown(self, name: str) -> bytes | None:
        try:
            return (self._directory / name).read_bytes()
        except FileNotFoundError:
            return None

    def _show(self, name: str, note: bytes) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        put_file(self._directory / name, note)
        sync_directory(self._directory)

    def _with_parents(self, directories: Iterable[Path]) -> Iterator[Path]:
        """Each of ``directories`` and all above it, once; the highest is the one that names the log's own."""
        seen: set[Path] = set()
        for directory in directories:
            path = directory
            while path not in seen:
                seen.add(path)
                yield path
                if path == self._directory.parent:
                    break
                path = path.parent


def publish(
    connection: Connection, files: TileFiles, anchor: Anchor, *, size: int, root: bytes, sign: Sign
) -> bytes:
    """Show the tree ``(size, root)`` of the journal, whose leaves are committed; the note that is shown.

    Raises :class:`PublishRefused`; ``AnchorRefused`` if a later or another tree was signed; ``TileRefused``
    and ``NoteRefused`` if the directory does not hold what it shows.
    """
    anchor.require_forward(size, root)  # 1
    shown = files.tree()
    if shown.size > size:
        raise PublishRefused(
            PublishReason.DIRECTORY_AHEAD, f"the directory shows {shown.size} entries, the journal has {size}"
        )
    _require_leads_to(connection, shown.frontier, size, root)  # 2
    files.write(shown.grow(islice(leaves_from(connection, shown.size), size - shown.size)))  # 3
    TiledTree(size, root, files.read)  # 4
    files.prune(changed_tiles(shown.size, size))  # 5
    anchor.advance(size, root)  # 6
    note = sign(size, root)
    files.show(note)  # 7
    return note


def leaves_from(connection: Connection, start: int) -> Iterator[bytes]:
    """The journal's leaf records in order, from sequence ``start`` on, read a few segments at a time."""
    first, leaves = segments.c.first_sequence, cast(segments.c.leaves, LargeBinary)
    holding = select(func.max(first)).where(first <= start).scalar_subquery()
    query = select(first, leaves).where(first >= holding).order_by(first).limit(SEGMENTS_READ)
    while rows := connection.execute(query).all():
        for sequence, column in rows:
            yield from split_records(column, LEAF_BYTES)[max(start - sequence, 0) :]
        query = select(first, leaves).where(first > rows[-1][0]).order_by(first).limit(SEGMENTS_READ)


def root_at(connection: Connection, size: int) -> bytes:
    """Root over the first ``size`` leaves of the journal, derived from their bytes; for :meth:`Anchor.check`.

    Raises :class:`PublishRefused` (``JOURNAL_SHORTER``).
    """
    return _follow(connection, Frontier(), size).root()


def _require_leads_to(connection: Connection, shown: Frontier, size: int, root: bytes) -> None:
    if _follow(connection, shown, size).root() != root:
        raise PublishRefused(
            PublishReason.JOURNAL_DIFFERS,
            f"what is shown and the leaves up to {size} do not lead to the root of the journal",
        )


def _follow(connection: Connection, frontier: Frontier, size: int) -> Frontier:
    """``frontier`` with the journal's leaves up to ``size`` appended."""
    leaves = islice(leaves_from(connection, frontier.size), size - frontier.size)
    while hashes := [leaf_hash(leaf) for leaf in islice(leaves, LEAVES_HASHED)]:
        frontier = frontier.extend(hashes)
    if frontier.size < size:
        raise PublishRefused(
            PublishReason.JOURNAL_SHORTER, f"the journal has {frontier.size} leaves and not {size}"
        )
    return frontier


def _first(wide: TileFile, data: bytes, narrow: TileFile) -> bytes:
    """What ``narrow`` holds of the bytes of the same tile when it was ``wide``."""
    item = len(data) // wide.width
    return data[: item * narrow.width]


def _is_there(path: Path, data: bytes) -> bool:
    """Whether ``path`` holds ``data``. Raises :class:`PublishRefused` if it holds anything else."""
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        return False
    if found != data:
        raise PublishRefused(PublishReason.TILE_DIFFERS, f"{path} holds other bytes and is left as it is")
    return True
