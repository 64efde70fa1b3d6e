"""Tiles: the paths of C2SP tlog-tiles byte for byte, and a reader who lies in every way there is."""

from collections import Counter
from dataclasses import dataclass, field

import pytest

from ledger.leaf import LEAF_BYTES
from ledger.merkle import (
    EMPTY_ROOT,
    ProofReason,
    ProofRefused,
    inclusion_path,
    leaf_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from ledger.tiles import (
    INDEX_MAX,
    LEVEL_MAX,
    SIZE_MAX,
    Bundle,
    Tile,
    TiledTree,
    TileFile,
    TileReason,
    TileRefused,
    changed_tiles,
    parse_path,
    tiles_of,
)

LEAVES = [number.to_bytes(LEAF_BYTES, "big") for number in range(70_000)]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]


@dataclass
class Log:
    """The files of a log of some size, and how often each was read."""

    size: int
    files: dict[str, bytes] = field(default_factory=dict)
    reads: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        empty = TiledTree(0, EMPTY_ROOT, self.read)
        self.files = {tile.path: data for tile, data in empty.grow(LEAVES[: self.size])}
        self.reads.clear()

    @property
    def root(self) -> bytes:
        return tree_root(HASHES[: self.size])

    def read(self, path: str) -> bytes:
        self.reads[path] += 1
        return self.files[path]

    def tree(self) -> TiledTree:
        return TiledTree(self.size, self.root, self.read)


@pytest.fixture(scope="module")
def log_of_the_specification() -> Log:
    """70,000 leaves: the example of C2SP tlog-tiles, partial tiles."""
    return Log(70_000)


@pytest.fixture
def small_log() -> Log:
    """600 leaves: two full tiles and a partial one below, one partial tile above."""
    return Log(600)


def flipped(data: bytes) -> bytes:
    return bytes((*data[:-1], data[-1] ^ 1))


# ------------------------------------------------------------------------------------------------------ paths


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 1_234_067), "tile/0/x001/x234/067"),
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 999), "tile/0/999"),
        (Tile(0, 1_000), "tile/0/x001/000"),
        (Tile(1, 42, 17), "tile/1/042.p/17"),
        (Tile(0, 1_234_067, 1), "tile/0/x001/x234/067.p/1"),
        (Tile(0, 3_555_699, 255), "tile/0/x003/x555/699.p/255"),
        (Tile(LEVEL_MAX, 0), "tile/63/000"),
        (Tile(0, INDEX_MAX), "tile/0/x036/x028/x797/x018/x963/967"),
        (Bundle(0), "tile/entries/000"),
        (Bundle(273, 112), "tile/entries/273.p/112"),
        (Bundle(123_456_789_000), "tile/entries/x123/x456/x789/000"),
    ],
)
def test_a_path_is_spelled_as_the_specification_says_and_read_back(tile: TileFile, path: str) -> None:
    assert tile.path == path
    assert parse_path(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "checkpoint",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0/000\n",
        "tile/0/0",
        "tile/0/1000",
        "tile/0/x000/001",
        "tile/0/x001",
        "tile/0/001/002",
        "tile/0/X001/002",
        "tile/00/000",
        "tile/01/000",
        "tile/-1/000",
        "tile/100/000",
        "tile/data/000",
        "tile/Entries/000",
        "tile/8/0/000",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/1000",
        "tile/0/000.p/-1",
        "tile/0/x001.p/1/000",
        "tile/0/../000",
        "tile/0/\u0660\u0660\u0660",
        "tile/0/000.p/\u0661",
        "tile/0/x001/x001/x001/x001/x001/x001/001",
    ],
)
def test_what_is_no_path_of_a_tile_is_refused_by_name(path: str) -> None:
    with pytest.raises(TileRefused) as refused:
        parse_path(path)
    assert refused.value.reason is TileReason.PATH
    assert refused.value.paths == (path,)


@pytest.mark.parametrize("width", [256, 257, 999])
def test_a_partial_tile_is_at_most_255_wide(width: int) -> None:
    assert parse_path("tile/0/000.p/255") == Tile(0, 0, 255)
    with pytest.raises(TileRefused) as refused:
        parse_path(f"tile/0/000.p/{width}")
    assert refused.value.reason is TileReason.WIDTH


def test_a_path_names_no_level_and_no_tile_that_cannot_be() -> None:
    for path in ("tile/64/000", "tile/99/000", "tile/0/x036/x028/x797/x018/x963/968"):
        with pytest.raises(TileRefused) as refused:
            parse_path(path)
        assert refused.value.reason is TileReason.PLACE


@pytest.mark.parametrize(
    ("level", "index", "width", "reason"),
    [
        (-1, 0, 1, TileReason.PLACE),
        (64, 0, 1, TileReason.PLACE),
        (0, -1, 1, TileReason.PLACE),
        (0, INDEX_MAX + 1, 1, TileReason.PLACE),
        (0, 0, 0, TileReason.WIDTH),
        (0, 0, 257, TileReason.WIDTH),
    ],
)
def test_a_tile_that_cannot_be_is_not_built(level: int, index: int, width: int, reason: TileReason) -> None:
    with pytest.raises(TileRefused) as refused:
        Tile(level, index, width)
    assert refused.value.reason is reason
    if level == 0:
        with pytest.raises(TileRefused) as refused:
            Bundle(index, width)
        assert refused.value.reason is reason


# --------------------------------------------------------------------------------------------- what there is


def test_a_tree_of_70000_has_the_tiles_of_the_specification() -> None:
    tiles = list(tiles_of(70_000))
    full = Counter(tile.level if isinstance(tile, Tile) else "entries" for tile in tiles if tile.width == 256)
    assert full == {"entries": 273, 0: 273, 1: 1}
    assert [tile.path for tile in tiles if tile.width < 256] == [
        "tile/entries/273.p/112",
        "tile/0/273.p/112",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
    ]


def test_a_tree_of_256_has_a_full_tile_and_one_of_width_1_above_it() -> None:
    assert [tile.path for tile in tiles_of(256)] == ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]


def test_the_largest_tree_has_eight_levels() -> None:
    largest = [tile.path for tile in changed_tiles(SIZE_MAX - 1, SIZE_MAX)]
    assert largest == [
        "tile/entries/x036/x028/x797/x018/x963/967.p/255",
        "tile/0/x036/x028/x797/x018/x963/967.p/255",
    ]
    top = [tile for tile in changed_tiles(SIZE_MAX - 2**56, SIZE_MAX - 2**56 + 1) if isinstance(tile, Tile)]
    assert [tile.path for tile in top][-1] == "tile/7/000.p/127"


def test_only_what_is_new_changes() -> None:
    assert not list(changed_tiles(0, 0))
    assert not list(changed_tiles(300, 300))
    assert [tile.path for tile in changed_tiles(300, 301)] == ["tile/entries/001.p/45", "tile/0/001.p/45"]
    assert [tile.path for tile in changed_tiles(511, 513)] == [
        "tile/entries/001",
        "tile/entries/002.p/1",
        "tile/0/001",
        "tile/0/002.p/1",
        "tile/1/000.p/2",
    ]


@pytest.mark.parametrize(("old", "new"), [(-1, 0), (2, 1), (0, SIZE_MAX + 1)])
def test_no_tree_shrinks_or_is_larger_than_a_checkpoint_can_say(old: int, new: int) -> None:
    with pytest.raises(TileRefused) as refused:
        changed_tiles(old, new)
    assert refused.value.reason is TileReason.TREE


# ---------------------------------------------------------------------------------------------------- contents


def test_a_tile_is_its_hashes_and_a_bundle_its_leaves_behind_their_length() -> None:
    tile, bundle = Tile(0, 0, 2), Bundle(0, 2)
    assert tile.encode(HASHES[:2]) == HASHES[0] + HASHES[1]
    assert tile.decode(HASHES[0] + HASHES[1]) == tuple(HASHES[:2])
    assert bundle.encode(LEAVES[:2]) == b"\x00\x6c" + LEAVES[0] + b"\x00\x6c" + LEAVES[1]
    assert bundle.decode(b"\x00\x6c" + LEAVES[0] + b"\x00\x6c" + LEAVES[1]) == tuple(LEAVES[:2])


def test_a_full_tile_has_8192_bytes() -> None:
    data = Tile(0, 0).encode(HASHES[:256])
    assert len(data) == 8_192
    for wrong in (b"", data[:-1], data + b"\x00", data[:-32]):
        with pytest.raises(TileRefused) as refused:
            Tile(0, 0).decode(wrong)
        assert (refused.value.reason, refused.value.paths) == (TileReason.LENGTH, ("tile/0/000",))


def test_a_bundle_of_other_bytes_is_refused() -> None:
    for wrong, reason in (
        (b"\x00\x6c" + LEAVES[0][:-1], TileReason.LENGTH),
        (b"\x00\x6b" + LEAVES[0], TileReason.ENTRY_LENGTH),
        (b"\x6c\x00" + LEAVES[0], TileReason.ENTRY_LENGTH),
    ):
        with pytest.raises(TileRefused) as refused:
            Bundle(5, 1).decode(wrong)
        assert (refused.value.reason, refused.value.paths) == (reason, ("tile/entries/005.p/1",))


def test_what_does_not_make_the_tile_is_not_written() -> None:
    for tile, items, reason in (
        (Tile(0, 0, 2), HASHES[:1], TileReason.WIDTH),
        (Tile(0, 0, 1), [b"short"], TileReason.LENGTH),
        (Bundle(0, 2), LEAVES[:3], TileReason.WIDTH),
        (Bundle(0, 1), [b"short"], TileReason.ENTRY_LENGTH),
    ):
        with pytest.raises(TileRefused) as refused:
            tile.encode(items)
        assert refused.value.reason is reason


# -------------------------------------------------------------------------------------------- an honest reader


def test_growing_writes_the_tiles_of_the_tree_and_nothing_else(log_of_the_specification: Log) -> None:
    assert set(log_of_the_specification.files) == {tile.path for tile in tiles_of(70_000)}


def test_a_log_that_grows_ends_with_the_files_of_one_that_was_written_at_once() -> None:
    log = Log(0)
    for size in (1, 255, 256, 257, 300, 511, 600):
        tree = log.tree()
        grown = {tile.path: data for tile, data in tree.grow(LEAVES[tree.size : size])}
        assert set(grown) == {tile.path for tile in changed_tiles(tree.size, size)}
        log.files |= grown
        log.size = size
    assert log.files.items() >= Log(600).files.items()


def test_everything_in_the_files_is_found_again(log_of_the_specification: Log) -> None:
    tree = log_of_the_specification.tree()
    assert (tree.size, tree.root, tree.frontier.size) == (70_000, log_of_the_specification.root, 70_000)
    assert list(tree.leaves()) == LEAVES
    for index in (0, 255, 256, 65_535, 65_536, 69_887, 69_888, 69_999):
        assert tree.leaf_hash(index) == HASHES[index]
        assert tree.leaf(index) == LEAVES[index]
        verify_inclusion(HASHES[index], index, tree.size, tree.inclusion_path(index), tree.root)
        verify_consistency(
            index + 1, tree.root_at(index + 1), tree.size, tree.root, tree.consistency_path(index + 1)
        )
    assert tree.root_at(0) == EMPTY_ROOT
    assert tree.root_at(65_537) == tree_root(HASHES[:65_537])


def test_a_proof_reads_at_most_two_tiles_a_level(log_of_the_specification: Log) -> None:
    log, levels = log_of_the_specification, 3
    for index in (0, 40_000, 65_536, 69_999):
        for ask in (TiledTree.inclusion_path, TiledTree.leaf_hash, TiledTree.root_at):
            log.reads.clear()
            ask(log.tree(), index)
            assert sum(log.reads.values()) <= 2 * levels
        log.reads.clear()
        log.tree().consistency_path(index + 1)
        assert sum(log.reads.values()) <= 2 * levels


def test_the_empty_tree_reads_nothing_and_has_nothing() -> None:
    tree = Log(0).tree()
    assert list(tree.leaves()) == []
    assert list(tree.grow([])) == []
    assert tree.root_at(0) == EMPTY_ROOT
    with pytest.raises(ProofRefused):
        tree.leaf(0)


def test_a_partial_tile_that_is_gone_is_taken_from_the_full_one() -> None:
    later, earlier = Log(512), Log(300)
    assert "tile/0/001.p/44" not in later.files
    files = {**later.files, "tile/1/000.p/1": earlier.files["tile/1/000.p/1"]}
    tree = TiledTree(300, earlier.root, files.__getitem__)
    assert list(tree.leaves()) == LEAVES[:300]
    assert tree.inclusion_path(299) == inclusion_path(HASHES[:300], 299)


@pytest.mark.parametrize("index", [-1, 600])
def test_there_is_nothing_outside_the_tree(small_log: Log, index: int) -> None:
    for ask in (TiledTree.leaf_hash, TiledTree.leaf, TiledTree.inclusion_path):
        with pytest.raises(ProofRefused) as refused:
            ask(small_log.tree(), index)
        assert refused.value.reason is ProofReason.INDEX_OUT_OF_RANGE


def test_a_tree_extends_only_what_is_in_it(small_log: Log) -> None:
    tree = small_log.tree()
    for size, reason in ((0, ProofReason.OLD_SIZE_ZERO), (601, ProofReason.SIZES_REVERSED)):
        with pytest.raises(ProofRefused) as refused:
            tree.consistency_path(size)
        assert refused.value.reason is reason
    for size in (-1, 601):
        with pytest.raises(ProofRefused) as refused:
            tree.root_at(size)
        assert refused.value.reason is ProofReason.SIZES_REVERSED
    assert tree.consistency_path(600) == ()


# ------------------------------------------------------------------------------------------- a dishonest reader


@pytest.mark.parametrize(("size", "root"), [(-1, EMPTY_ROOT), (SIZE_MAX + 1, EMPTY_ROOT), (1, b"short")])
def test_a_tree_that_cannot_be_is_not_opened(size: int, root: bytes) -> None:
    with pytest.raises(TileRefused) as refused:
        TiledTree(size, root, Log(1).read)
    assert refused.value.reason is TileReason.TREE


def test_each_wrong_file_is_refused_by_name(small_log: Log) -> None:
    edge = {"tile/1/000.p/2", "tile/0/002.p/88"}
    for path, data in small_log.files.items():
        lying = {**small_log.files, path: flipped(data)}
        with pytest.raises(TileRefused) as refused:
            list(TiledTree(600, small_log.root, lying.__getitem__).leaves())
        assert refused.value.reason is TileReason.NOT_OF_THIS_TREE
        assert path in refused.value.paths
        assert set(refused.value.paths) == (edge if path in edge else {path})
        assert path in str(refused.value)


def test_a_single_last_tile_that_is_wrong_is_named_alone() -> None:
    log = Log(200)
    with pytest.raises(TileRefused) as refused:
        TiledTree(200, log.root, {"tile/0/000.p/200": flipped(log.files["tile/0/000.p/200"])}.__getitem__)
    assert refused.value.paths == ("tile/0/000.p/200",)


def test_a_wrong_tile_is_refused_whatever_is_asked(log_of_the_specification: Log) -> None:
    for path, index in (("tile/1/000", 0), ("tile/0/000", 5), ("tile/0/255", 65_535)):
        lying = {**log_of_the_specification.files}
        lying[path] = flipped(lying[path])
        tree = TiledTree(70_000, log_of_the_specification.root, lying.__getitem__)
        for ask in (tree.leaf_hash, tree.leaf, tree.inclusion_path):
            with pytest.raises(TileRefused) as refused:
                ask(index)
            assert refused.value.paths == (path,)
        for prove in (tree.root_at, tree.consistency_path):
            with pytest.raises(TileRefused) as refused:
                prove(index + 1)
            assert refused.value.paths == (path,)


def test_a_wrong_bundle_is_refused_where_its_leaves_are_asked_for(small_log: Log) -> None:
    small_log.files["tile/entries/001"] = small_log.files["tile/entries/000"]
    tree = small_log.tree()
    assert tree.leaf_hash(256) == HASHES[256]
    with pytest.raises(TileRefused) as refused:
        tree.leaf(256)
    assert (refused.value.reason, refused.value.paths) == (TileReason.NOT_OF_THIS_TREE, ("tile/entries/001",))


def test_growth_does_not_start_from_a_wrong_bundle(small_log: Log) -> None:
    small_log.files["tile/entries/002.p/88"] = flipped(small_log.files["tile/entries/002.p/88"])
    with pytest.raises(TileRefused) as refused:
        list(small_log.tree().grow(LEAVES[600:601]))
    assert refused.value.paths == ("tile/entries/002.p/88",)


def test_a_tile_in_the_place_of_another_is_refused(small_log: Log) -> None:
    small_log.files["tile/0/000"], small_log.files["tile/0/001"] = (
        small_log.files["tile/0/001"],
        small_log.files["tile/0/000"],
    )
    with pytest.raises(TileRefused) as refused:
        small_log.tree().inclusion_path(0)
    assert refused.value.paths == ("tile/0/000",)


def test_the_files_of_another_size_are_another_tree(small_log: Log) -> None:
    with pytest.raises(TileRefused) as refused:
        TiledTree(600, tree_root(HASHES[:599]), small_log.read)
    assert refused.value.reason is TileReason.NOT_OF_THIS_TREE


@pytest.mark.parametrize("path", ["tile/1/000.p/2", "tile/0/002.p/88", "tile/0/001", "tile/entries/001"])
def test_a_file_that_is_missing_or_cut_is_refused_by_name(small_log: Log, path: str) -> None:
    whole = small_log.files.pop(path)
    with pytest.raises(TileRefused) as refused:
        list(small_log.tree().leaves())
    assert (refused.value.reason, refused.value.paths) == (TileReason.MISSING, (path,))
    small_log.files[path] = whole[:-1]
    with pytest.raises(TileRefused) as refused:
        list(small_log.tree().leaves())
    assert (refused.value.reason, refused.value.paths) == (TileReason.LENGTH, (path,))


def test_a_leaf_of_another_length_is_not_appended(small_log: Log) -> None:
    with pytest.raises(TileRefused) as refused:
        list(small_log.tree().grow([b"short"]))
    assert refused.value.reason is TileReason.ENTRY_LENGTH
