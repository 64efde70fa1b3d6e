"""Inclusion proofs out of tiles: of a journal's own tiles in a folder, and of ten million leaves in memory.

The tree of ten million has random leaf hashes, since nothing else is different in it: all tiles above them are
made as they always are, and each proof is checked against the root.
"""

import os
import random
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from bench.rows import Row, row, seconds
from bench.run import Run
from bench.stores import Store
from ledger.merkle import EMPTY_ROOT, HASH_BYTES, Frontier, ProofRefused, tree_root, verify_inclusion
from ledger.store.tile_files import TileFiles, leaves_from
from ledger.tiles import TILE_WIDTH, Tile, TiledTree

PROOFS = 300
IN_MEMORY = 10_000_000


def rows(run: Run) -> Iterator[Row]:
    """One proof after the other, of leaves chosen at random, with the tree open."""
    run.tell(f"building a tree of {IN_MEMORY:,} leaves")
    yield _proofs("ledger.proof_10m", made_up(IN_MEMORY))


def of_journal(store: Store, size: int, root: bytes) -> Row:
    """The same out of the tiles of a journal, written as a house writes them."""
    with tempfile.TemporaryDirectory() as folder, store.database.connect() as connection:
        files = TileFiles(Path(folder))
        files.write(TiledTree(0, EMPTY_ROOT, files.read).grow(islice(leaves_from(connection, 0), size)))
        return _proofs("ledger.proof_1m", TiledTree(size, root, files.read))


def _proofs(name: str, tree: TiledTree) -> Row:
    dice = random.Random(tree.size)
    indexes = [dice.randrange(tree.size) for _ in range(PROOFS)]
    taken = [seconds(partial(tree.inclusion_path, index)) for index in indexes]
    return row(name, taken, unit="s", better="lower", error=next(_refused(tree, indexes), None))


def _refused(tree: TiledTree, indexes: list[int]) -> Iterator[str]:
    for index in indexes:
        try:
            path = tree.inclusion_path(index)
            verify_inclusion(tree.leaf_hash(index), index, tree.size, path, tree.root)
        except ProofRefused as refused:
            yield f"the proof of leaf {index} does not hold: {refused}"


def made_up(size: int) -> TiledTree:
    """A tree over random leaf hashes, its tiles in memory."""
    tiles: dict[str, bytes] = {}
    peaks: list[bytes] = []
    packed, level = os.urandom(size * HASH_BYTES), 0
    while packed:
        hashes = [packed[at : at + HASH_BYTES] for at in range(0, len(packed), HASH_BYTES)]
        roots = []
        for index, at in enumerate(range(0, len(hashes), TILE_WIDTH)):
            held = hashes[at : at + TILE_WIDTH]
            tile = Tile(level, index, len(held))
            tiles[tile.path] = tile.encode(held)
            if len(held) == TILE_WIDTH:
                roots.append(tree_root(held))
            else:
                peaks = [*Frontier().extend(held).peaks, *peaks]
        packed, level = b"".join(roots), level + 1
    return TiledTree(size, Frontier(size, tuple(peaks)).root(), tiles.__getitem__)
