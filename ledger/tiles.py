"""Tiles: the log tree as static files that a regulator can copy (C2SP tlog-tiles).

Paths, and what stands under them; W is written unless it is 256::

    tile/<L>/<N>[.p/<W>]        W hashes of 32 bytes: roots of the 256^L leaves from 256^L × (256 × N + i) on
    tile/entries/<N>[.p/<W>]    W journal leaves of 108 bytes, each behind its length (u16, big-endian)

N is written in groups of three digits, all but the last behind an x: ``tile/0/x001/x234/067``. There is one
spelling of each path.

Rules kept here (attestation.md §3): a tile is full (256 wide) or is the last of its level; only full tiles
are hashed into the level above, and what a full tile says never changes. Nobody needs an honest reader:
:class:`TiledTree` first hashes the last tile of each level to the root that it was given, and believes any
other tile only when it hashes to what the tile above says. A wrong tile is refused by name; when the last
tiles together miss the root, no hash can tell which of them is wrong, and all are named. A proof reads at
most two tiles a level.

A tree of size n has, on level L, floor(n / 256^L) hashes; that and nothing else says which tiles it has.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeAlias

from ledger.leaf import LEAF_BYTES
from ledger.merkle import (
    EMPTY_ROOT,
    HASH_BYTES,
    Frontier,
    ProofReason,
    ProofRefused,
    leaf_hash,
    node_hash,
    tree_root,
)

CHECKPOINT = "checkpoint"
COSIGNED = "checkpoint.cosigned"
"""The newest checkpoint that the quorum of witnesses has cosigned; behind the other one for a moment, or for longer."""
TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
LEVEL_MAX = 63
SIZE_MAX = 2**63 - 1
INDEX_MAX = SIZE_MAX // TILE_WIDTH
LENGTH_BYTES = 2

_LEVELS = 8  # a tree of 2^63 - 1 leaves has no hash of 256^8
_NUMBER = r"(?P<index>(?:x[0-9]{3}/){0,5}[0-9]{3})"
_PATH = re.compile(
    rf"tile/(?P<level>entries|0|[1-9][0-9]?)/{_NUMBER}(?:\.p/(?P<width>[1-9][0-9]{{0,2}}))?", re.ASCII
)

TileReader: TypeAlias = Callable[[str], bytes]
"""``read(path)`` gives the bytes that stand under a tile's path; it raises ``LookupError`` if none do."""


class TileReason(Enum):
    """Why a tile, its path or the tree around it was refused; the values are stable."""

    PATH = "tile_path"
    PLACE = "tile_place"
    WIDTH = "tile_width"
    LENGTH = "tile_length"
    ENTRY_LENGTH = "tile_entry_length"
    MISSING = "tile_missing"
    NOT_OF_THIS_TREE = "tile_not_of_this_tree"
    TREE = "tile_tree"


class TileRefused(ValueError):
    """A tile that cannot be believed; ``reason`` says why, ``paths`` which (of several, at least one)."""

    def __init__(self, reason: TileReason, sentence: str, *paths: str) -> None:
        super().__init__(f"{' or '.join(paths)}: {sentence}" if paths else sentence)
        self.reason = reason
        self.paths = paths


# --- names and contents --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tile:
    """``width`` hashes of ``level``, from number 256 × ``index`` on.

    Raises :class:`TileRefused` on construction: ``PLACE`` (level or index), ``WIDTH``.
    """

    level: int
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        if not 0 <= self.level <= LEVEL_MAX:
            raise TileRefused(TileReason.PLACE, f"levels go from 0 to {LEVEL_MAX}, not to {self.level}")
        _require_place(self.index, self.width)

    @property
    def path(self) -> str:
        """Where it stands, below the prefix of the log."""
        return f"tile/{self.level}/{_number_path(self.index, self.width)}"

    def encode(self, hashes: Sequence[bytes]) -> bytes:
        """The bytes of the tile. Raises :class:`TileRefused`: ``WIDTH``, ``LENGTH``."""
        _require_width(self, hashes)
        if any(len(one) != HASH_BYTES for one in hashes):
            raise TileRefused(TileReason.LENGTH, f"every hash has {HASH_BYTES} bytes", self.path)
        return b"".join(hashes)

    def decode(self, data: bytes) -> tuple[bytes, ...]:
        """The hashes in ``data``. Raises :class:`TileRefused` (``LENGTH``)."""
        _require_length(self, data, HASH_BYTES)
        return tuple(data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES))


@dataclass(frozen=True, slots=True)
class Bundle:
    """``width`` journal leaves, from number 256 × ``index`` on: what the tile of level 0 has the hashes of.

    Raises :class:`TileRefused` on construction: ``PLACE``, ``WIDTH``.
    """

    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        _require_place(self.index, self.width)

    @property
    def path(self) -> str:
        """Where it stands, below the prefix of the log."""
        return f"tile/entries/{_number_path(self.index, self.width)}"

    def encode(self, leaves: Sequence[bytes]) -> bytes:
        """The bytes of the bundle. Raises :class:`TileRefused`: ``WIDTH``, ``ENTRY_LENGTH``."""
        _require_width(self, leaves)
        if any(len(leaf) != LEAF_BYTES for leaf in leaves):
            raise _entry_length(self)
        return b"".join(len(leaf).to_bytes(LENGTH_BYTES, "big") + leaf for leaf in leaves)

    def decode(self, data: bytes) -> tuple[bytes, ...]:
        """The leaves in ``data``. Raises :class:`TileRefused`: ``LENGTH``, ``ENTRY_LENGTH``."""
        step = LENGTH_BYTES + LEAF_BYTES
        _require_length(self, data, step)
        length = LEAF_BYTES.to_bytes(LENGTH_BYTES, "big")
        if any(data[at : at + LENGTH_BYTES] != length for at in range(0, len(data), step)):
            raise _entry_length(self)
        return tuple(data[at + LENGTH_BYTES : at + step] for at in range(0, len(data), step))


TileFile: TypeAlias = Tile | Bundle


def parse_path(path: str) -> TileFile:
    """The tile or bundle that ``path`` names. Raises :class:`TileRefused`: ``PATH``, ``PLACE``, ``WIDTH``."""
    found = _PATH.fullmatch(path)
    if found is None or found["index"].startswith("x000"):
        raise TileRefused(TileReason.PATH, "not a path of C2SP tlog-tiles", path)
    index = int(found["index"].replace("/", "").replace("x", ""))
    width = TILE_WIDTH if found["width"] is None else int(found["width"])
    if found["width"] is not None and width >= TILE_WIDTH:
        raise TileRefused(TileReason.WIDTH, f"a partial tile is 1 to {TILE_WIDTH - 1} wide", path)
    if found["level"] == "entries":
        return Bundle(index, width)
    return Tile(int(found["level"]), index, width)


def is_full(tile: TileFile) -> bool:
    """Whether ``tile`` is 256 wide, so that it never changes."""
    return tile.width == TILE_WIDTH


def tiles_of(size: int) -> Iterator[TileFile]:
    """Everything that a tree of ``size`` leaves consists of: bundles, then tiles from level 0 upwards.

    Raises :class:`TileRefused` (``TREE``) for an impossible size.
    """
    return changed_tiles(0, size)


def changed_tiles(old_size: int, new_size: int) -> Iterator[TileFile]:
    """What a tree of ``new_size`` has and its prefix of ``old_size`` has not, in the order of :func:`tiles_of`.

    Raises :class:`TileRefused` (``TREE``) for an impossible size or a tree that shrinks.
    """
    if not 0 <= old_size <= new_size <= SIZE_MAX:
        raise TileRefused(TileReason.TREE, f"no tree grows from {old_size} to {new_size} leaves")
    return _changed(old_size, new_size)


def _changed(old_size: int, new_size: int) -> Iterator[TileFile]:
    yield from (Bundle(index, width) for index, width in _row(old_size, new_size))
    for level in range(_LEVELS):
        shift = TILE_HEIGHT * level
        yield from (Tile(level, index, width) for index, width in _row(old_size >> shift, new_size >> shift))


def _row(old_count: int, new_count: int) -> Iterator[tuple[int, int]]:
    """Index and width of the tiles of a level that grows from ``old_count`` hashes to ``new_count``."""
    if old_count == new_count:
        return
    for index in range(old_count // TILE_WIDTH, -(-new_count // TILE_WIDTH)):
        yield index, min(TILE_WIDTH, new_count - index * TILE_WIDTH)


# --- a tree made of tiles ------------------------------------------------------------------------------


class TiledTree:
    """The tree of ``size`` leaves under ``root``, as ``read`` gives it; only what hashes to the root counts.

    A partial tile that is gone is taken from the full tile that came after it (C2SP tlog-tiles, partial
    tiles). Nothing is kept but the last tile of each level, which are read on construction.

    Raises :class:`TileRefused` on construction and in every method: ``MISSING``, ``LENGTH``,
    ``ENTRY_LENGTH``, ``NOT_OF_THIS_TREE``; ``TREE`` on construction for a size or root that no tree has.
    """

    def __init__(self, size: int, root: bytes, read: TileReader) -> None:
        if not 0 <= size <= SIZE_MAX or len(root) != HASH_BYTES:
            raise TileRefused(TileReason.TREE, f"no tree has {size} leaves under {root.hex()}")
        self._size, self._root, self._read = size, root, read
        self._edge = {tile: self._load(tile) for tile in _edge_tiles(size)}
        self._frontier = Frontier(size, _peaks(self._edge.values()))
        if self._frontier.root() != root:
            paths = [tile.path for tile in self._edge]
            raise TileRefused(TileReason.NOT_OF_THIS_TREE, "does not hash to the root of the tree", *paths)

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return self._size

    @property
    def root(self) -> bytes:
        """What everything here hashes to."""
        return self._root

    @property
    def frontier(self) -> Frontier:
        """The tree as something that more leaves can be appended to."""
        return self._frontier

    def leaf_hash(self, index: int) -> bytes:
        """Hash of the leaf at ``index``. Raises also :class:`ProofRefused` (``INDEX_OUT_OF_RANGE``)."""
        self._require_index(index)
        return self._around(index)[0, index // TILE_WIDTH][index % TILE_WIDTH]

    def leaf(self, index: int) -> bytes:
        """The 108 bytes of the leaf at ``index``. Raises also :class:`ProofRefused`
        (``INDEX_OUT_OF_RANGE``).
        """
        self._require_index(index)
        number = index // TILE_WIDTH
        return self._bundle(number, self._around(index)[0, number])[index % TILE_WIDTH]

    def root_at(self, size: int) -> bytes:
        """Root of the tree over the first ``size`` leaves. Raises also :class:`ProofRefused`
        (``SIZES_REVERSED``).
        """
        if not 0 <= size <= self._size:
            raise _sizes_reversed(size, self._size)
        return _range_root(self._around(size - 1), 0, size) if size else EMPTY_ROOT

    def inclusion_path(self, index: int) -> tuple[bytes, ...]:
        """Audit path of the leaf at ``index``, from the leaf upwards, as :func:`merkle.inclusion_path`.

        Raises also :class:`ProofRefused` (``INDEX_OUT_OF_RANGE``).
        """
        self._require_index(index)
        known, path = self._around(index), []
        start, end = 0, self._size
        while end - start > 1:
            split = _split(start, end)
            if index < split:
                path.append(_range_root(known, split, end))
                end = split
            else:
                path.append(_range_root(known, start, split))
                start = split
        return tuple(reversed(path))

    def consistency_path(self, size1: int) -> tuple[bytes, ...]:
        """Proof that this tree extends the one over its first ``size1`` leaves, as
        :func:`merkle.consistency_path`. Raises also :class:`ProofRefused`: ``OLD_SIZE_ZERO``,
        ``SIZES_REVERSED``.
        """
        if size1 < 1:
            raise ProofRefused(ProofReason.OLD_SIZE_ZERO, "nothing can be proven from an empty old tree")
        if size1 > self._size:
            raise _sizes_reversed(size1, self._size)
        known, path = self._around(size1 - 1), []
        start, end = 0, self._size
        while size1 < end:
            split = _split(start, end)
            if size1 <= split:
                path.append(_range_root(known, split, end))
                end = split
            else:
                path.append(_range_root(known, start, split))
                start = split
        if start:
            path.append(_range_root(known, start, end))
        return tuple(reversed(path))

    def leaves(self) -> Iterator[bytes]:
        """Every leaf in order. Whoever takes them all has checked every tile and every bundle."""
        for tile, hashes in self._edge.items():
            yield from self._leaves_under(tile, hashes)

    def grow(self, leaves: Iterable[bytes]) -> Iterator[tuple[TileFile, bytes]]:
        """What changes when ``leaves`` are appended: each full tile as soon as it is one, then the partial ones.

        All of :func:`changed_tiles`, with the bytes. Memory is that of one tile a level, however many
        leaves come. Raises :class:`TileRefused` also ``ENTRY_LENGTH`` for a leaf that is none.
        """
        bundle = list(self._last_bundle())
        levels: list[list[bytes]] = [[] for _ in range(_LEVELS)]
        for last, hashes in self._edge.items():
            levels[last.level] += hashes
        size = self._size
        for leaf in leaves:
            bundle.append(leaf)
            size += 1
            if len(bundle) == TILE_WIDTH:
                full = Bundle(size // TILE_WIDTH - 1)
                yield full, full.encode(bundle)
                bundle.clear()
            yield from _carry(levels, leaf_hash(leaf), size)
        for tile in changed_tiles(self._size, size):
            if not is_full(tile):
                yield tile, tile.encode(bundle if isinstance(tile, Bundle) else levels[tile.level])

    # what is read and believed ----------------------------------------------------------------

    def _load(self, tile: TileFile) -> tuple[bytes, ...]:
        """What ``tile`` holds, not believed yet."""
        data, full = self._find(tile.path), replace(tile, width=TILE_WIDTH)
        if data is not None:
            return tile.decode(data)
        data = None if is_full(tile) else self._find(full.path)
        if data is None:
            raise TileRefused(TileReason.MISSING, "is not there", tile.path)
        return full.decode(data)[: tile.width]

    def _find(self, path: str) -> bytes | None:
        try:
            return self._read(path)
        except LookupError:
            return None

    def _full(self, tile: Tile, expected: bytes) -> tuple[bytes, ...]:
        """The hashes of a full tile that must hash to ``expected``, which is believed."""
        hashes = self._load(tile)
        if tree_root(hashes) != expected:
            raise TileRefused(TileReason.NOT_OF_THIS_TREE, "is not what the tile above says", tile.path)
        return hashes

    def _around(self, index: int) -> dict[tuple[int, int], tuple[bytes, ...]]:
        """Hashes by level and number of tile: the last tiles, and those above the leaf at ``index``."""
        known = {(tile.level, tile.index): hashes for tile, hashes in self._edge.items()}
        for level in reversed(range(_LEVELS)):
            shift = TILE_HEIGHT * (level + 1)
            number = index >> shift
            if number < self._size >> shift:  # a full tile, whose root stands on the level above
                above = known[level + 1, number // TILE_WIDTH]
                known[level, number] = self._full(Tile(level, number), above[number % TILE_WIDTH])
        return known

    def _leaves_under(self, tile: Tile, hashes: Sequence[bytes]) -> Iterator[bytes]:
        if tile.level == 0:
            yield from self._bundle(tile.index, hashes)
            return
        for number, expected in enumerate(hashes, tile.index * TILE_WIDTH):
            below = Tile(tile.level - 1, number)
            yield from self._leaves_under(below, self._full(below, expected))

    def _bundle(self, number: int, hashes: Sequence[bytes]) -> tuple[bytes, ...]:
        """The leaves of a bundle that must have ``hashes``, which are believed."""
        bundle = Bundle(number, len(hashes))
        leaves = self._load(bundle)
        if tuple(map(leaf_hash, leaves)) != tuple(hashes):
            raise TileRefused(TileReason.NOT_OF_THIS_TREE, "is not what level 0 says", bundle.path)
        return leaves

    def _last_bundle(self) -> tuple[bytes, ...]:
        """The leaves of the partial bundle, none if all are full."""
        last = [(tile, hashes) for tile, hashes in self._edge.items() if tile.level == 0]
        return self._bundle(last[0][0].index, last[0][1]) if last else ()

    def _require_index(self, index: int) -> None:
        if not 0 <= index < self._size:
            raise ProofRefused(
                ProofReason.INDEX_OUT_OF_RANGE,
                f"leaf {index} does not exist in a tree of {self._size} leaves",
            )


def _edge_tiles(size: int) -> Iterator[Tile]:
    """The partial tiles, from the highest level down: their hashes are all that the root is made of."""
    for level in reversed(range(_LEVELS)):
        index, width = divmod(size >> TILE_HEIGHT * level, TILE_WIDTH)
        if width:
            yield Tile(level, index, width)


def _peaks(edge: Iterable[Sequence[bytes]]) -> tuple[bytes, ...]:
    """Roots of the perfect subtrees of a tree, from left to right: of each partial tile those of its own."""
    return tuple(peak for hashes in edge for peak in Frontier().extend(hashes).peaks)


def _carry(levels: list[list[bytes]], node: bytes, size: int) -> Iterator[tuple[Tile, bytes]]:
    """Append ``node`` to level 0, and the root of each tile that becomes full to the level above."""
    for level, hashes in enumerate(levels):
        hashes.append(node)
        if len(hashes) < TILE_WIDTH:
            return
        full = Tile(level, (size >> TILE_HEIGHT * (level + 1)) - 1)
        yield full, full.encode(hashes)
        node = tree_root(hashes)
        hashes.clear()


def _range_root(known: dict[tuple[int, int], tuple[bytes, ...]], start: int, end: int) -> bytes:
    """Root over the leaves ``start`` to ``end``, which are perfect subtrees that get smaller to the right."""
    nodes = []
    while start < end:
        height = (end - start).bit_length() - 1
        level, inner = divmod(height, TILE_HEIGHT)
        number, first = divmod(start >> TILE_HEIGHT * level, TILE_WIDTH)
        nodes.append(tree_root(known[level, number][first : first + (1 << inner)]))
        start += 1 << height
    root = nodes.pop()
    while nodes:
        root = node_hash(nodes.pop(), root)
    return root


def _split(start: int, end: int) -> int:
    """Where RFC 6962 splits the leaves ``start`` to ``end``, which are at least 2."""
    return start + (1 << (end - start - 1).bit_length() - 1)


# --- refusals ------------------------------------------------------------------------------------------


def _number_path(index: int, width: int) -> str:
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03}")
    return "/".join(groups) + ("" if width == TILE_WIDTH else f".p/{width}")


def _require_place(index: int, width: int) -> None:
    if not 0 <= index <= INDEX_MAX:
        raise TileRefused(TileReason.PLACE, f"no tree has a tile number {index}")
    if not 1 <= width <= TILE_WIDTH:
        raise TileRefused(TileReason.WIDTH, f"a tile is 1 to {TILE_WIDTH} wide, not {width}")


def _require_width(tile: TileFile, items: Sequence[bytes]) -> None:
    if len(items) != tile.width:
        raise TileRefused(TileReason.WIDTH, f"{len(items)} items do not make it", tile.path)


def _require_length(tile: TileFile, data: bytes, item_bytes: int) -> None:
    wanted = tile.width * item_bytes
    if len(data) != wanted:
        raise TileRefused(TileReason.LENGTH, f"has {len(data)} bytes and not {wanted}", tile.path)


def _entry_length(bundle: Bundle) -> TileRefused:
    return TileRefused(TileReason.ENTRY_LENGTH, f"every leaf has {LEAF_BYTES} bytes", bundle.path)


def _sizes_reversed(size1: int, size2: int) -> ProofRefused:
    return ProofRefused(ProofReason.SIZES_REVERSED, f"a tree of {size2} leaves cannot extend one of {size1}")
