"""A log proves any earlier tree of it, also one that no checkpoint was ever shown of."""

from pathlib import Path

import pytest

from ledger.leaf import LEAF_BYTES
from ledger.merkle import EMPTY_ROOT, ProofRefused, leaf_hash, tree_root, verify_consistency, verify_inclusion
from ledger.store.tile_files import TileFiles
from ledger.tiles import TiledTree

LEAVES = [bytes([n % 256, n // 256]) + bytes(LEAF_BYTES - 2) for n in range(600)]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> tuple[TileFiles, TiledTree]:
    """600 leaves, of which nothing smaller was ever written."""
    files = TileFiles(tmp_path_factory.mktemp("log"))
    files.write(TiledTree(0, EMPTY_ROOT, files.read).grow(LEAVES))
    return files, TiledTree(600, tree_root(HASHES), files.read)


@pytest.mark.parametrize("size", [1, 2, 100, 255, 256, 257, 300, 511, 512, 513, 599, 600])
def test_every_earlier_tree_proves_what_it_had(log: tuple[TileFiles, TiledTree], size: int) -> None:
    files, newest = log
    tree = files.earlier(newest, size)
    assert (tree.size, tree.root) == (size, tree_root(HASHES[:size]))
    for index in {0, size // 2, size - 1}:
        assert tree.leaf(index) == LEAVES[index]
        verify_inclusion(HASHES[index], index, size, tree.inclusion_path(index), tree.root)
    for old in {1, max(size // 3, 1), size}:
        path = tree.consistency_path(old)
        verify_consistency(old, tree_root(HASHES[:old]), size, tree.root, path)


def test_a_later_tree_is_refused(log: tuple[TileFiles, TiledTree]) -> None:
    files, newest = log
    with pytest.raises(ProofRefused):
        files.earlier(newest, 601)


def test_a_tile_that_is_not_there_is_not_made_up(tmp_path: Path) -> None:
    with pytest.raises(LookupError):
        TileFiles(tmp_path)._cut(600, "tile/0/002.p/3")
