"""Laws of tiles, against the definition of C2SP tlog-tiles and against proofs made of all leaves.

The second opinion on a tile's bytes is ``MTH(D[(n * 256 + i) * 256**l : (n * 256 + i + 1) * 256**l])``.
"""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.leaf import LEAF_BYTES
from ledger.merkle import EMPTY_ROOT, consistency_path, inclusion_path, leaf_hash, tree_root
from ledger.tiles import Bundle, TiledTree, TileFile, TileRefused, changed_tiles, parse_path, tiles_of

pytestmark = pytest.mark.slow

MAX_SIZE = 70_000
LEAVES = [number.to_bytes(LEAF_BYTES, "big") for number in range(MAX_SIZE)]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]
CORNERS = [
    size + off
    for size in (1, 256, 512, 65_536, 65_792, MAX_SIZE)
    for off in (-1, 0, 1)
    if 0 < size + off <= MAX_SIZE
]

sizes = st.sampled_from(CORNERS) | st.integers(1, 700) | st.integers(1, MAX_SIZE)
rarely = settings(deadline=None, max_examples=30)


@cache
def root_of(level: int, number: int) -> bytes:
    span = 256**level
    return tree_root(HASHES[number * span : (number + 1) * span])


def as_specified(tile: TileFile) -> bytes:
    """What stands in ``tile``, by the definition."""
    numbers = range(tile.index * 256, tile.index * 256 + tile.width)
    if isinstance(tile, Bundle):
        return b"".join(b"\x00\x6c" + LEAVES[number] for number in numbers)
    return b"".join(root_of(tile.level, number) for number in numbers)


def tiles_as_specified(size: int) -> dict[str, bytes]:
    """All that a tree of ``size`` has, level by level: floor(size / 256**l) hashes in tiles of 256."""
    found: dict[str, bytes] = {}
    for level in ["entries", *range(9)]:
        count = size if level == "entries" else size // 256 ** int(level)
        for index in range(-(-count // 256)):
            width = min(256, count - 256 * index)
            path = f"tile/{level}/{index:03}" + (f".p/{width}" if width < 256 else "")
            found[path] = b""
    return found


def read(path: str) -> bytes:
    return as_specified(parse_path(path))


def tree_of(size: int) -> TiledTree:
    return TiledTree(size, tree_root(HASHES[:size]), read)


@rarely
@given(st.data(), sizes)
def test_proofs_from_tiles_are_the_proofs_from_leaves(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    size1 = data.draw(st.integers(1, size))
    tree = tree_of(size)
    assert tree.inclusion_path(index) == inclusion_path(HASHES[:size], index)
    assert tree.consistency_path(size1) == consistency_path(HASHES[:size], size1)
    assert tree.root_at(size1) == tree_root(HASHES[:size1])
    assert tree.leaf_hash(index) == HASHES[index]
    assert tree.leaf(index) == LEAVES[index]


@rarely
@given(sizes, sizes)
def test_what_changes_is_what_the_later_tree_has_and_the_earlier_has_not(one: int, other: int) -> None:
    old, new = sorted((one, other))
    changed = [tile.path for tile in changed_tiles(old, new)]
    assert len(changed) == len(set(changed))
    assert set(changed) == tiles_as_specified(new).keys() - tiles_as_specified(old).keys()
    assert {tile.path for tile in tiles_of(new)} == tiles_as_specified(new).keys()


@rarely
@given(sizes, st.integers(0, 1_500))
def test_growing_gives_exactly_what_changes_with_the_bytes_of_the_definition(size: int, more: int) -> None:
    old, new = max(0, size - more), size
    tree = TiledTree(old, tree_root(HASHES[:old]) if old else EMPTY_ROOT, read)
    grown = dict(tree.grow(LEAVES[old:new]))
    assert set(grown) == set(changed_tiles(old, new))
    for tile, data in grown.items():
        assert data == as_specified(tile)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.integers(1, 2_000))
def test_no_flipped_bit_of_any_file_gets_past_the_root(data: st.DataObject, size: int) -> None:
    files = {tile.path: as_specified(tile) for tile in tiles_of(size)}
    path = data.draw(st.sampled_from(sorted(files)))
    bit = data.draw(st.integers(0, len(files[path]) * 8 - 1))
    wrong = bytearray(files[path])
    wrong[bit // 8] ^= 1 << bit % 8
    with pytest.raises(TileRefused) as refused:
        list(TiledTree(size, tree_root(HASHES[:size]), {**files, path: bytes(wrong)}.__getitem__).leaves())
    assert path in refused.value.paths
