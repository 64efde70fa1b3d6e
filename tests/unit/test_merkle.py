"""RFC 6962 trees against the vectors of the Certificate Transparency reference implementation."""

import hashlib

import pytest

from ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    ProofReason,
    ProofRefused,
    consistency_path,
    inclusion_path,
    leaf_hash,
    node_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

CT_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_HASHES = [leaf_hash(data) for data in CT_LEAVES]
CT_ROOTS = [
    bytes.fromhex(text)
    for text in (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
CT_INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
}
CT_CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def hex_path(path: tuple[bytes, ...]) -> list[str]:
    return [node.hex() for node in path]


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert hashlib.sha256(b"").digest() == EMPTY_ROOT == tree_root([]) == Frontier().root()


def test_a_leaf_can_never_be_read_as_a_node() -> None:
    left, right = CT_HASHES[0], CT_HASHES[1]
    assert leaf_hash(left + right) != node_hash(left, right)


@pytest.mark.parametrize("size", range(9))
def test_the_reference_leaves_have_the_reference_roots(size: int) -> None:
    assert tree_root(CT_HASHES[:size]) == CT_ROOTS[size]
    assert Frontier().extend(CT_HASHES[:size]).root() == CT_ROOTS[size]


@pytest.mark.parametrize(("index", "size"), CT_INCLUSION)
def test_inclusion_paths_are_those_of_the_reference(index: int, size: int) -> None:
    path = inclusion_path(CT_HASHES[:size], index)
    assert hex_path(path) == CT_INCLUSION[index, size]
    verify_inclusion(CT_HASHES[index], index, size, path, CT_ROOTS[size])


@pytest.mark.parametrize(("size1", "size2"), CT_CONSISTENCY)
def test_consistency_paths_are_those_of_the_reference(size1: int, size2: int) -> None:
    path = consistency_path(CT_HASHES[:size2], size1)
    assert hex_path(path) == CT_CONSISTENCY[size1, size2]
    verify_consistency(size1, CT_ROOTS[size1], size2, CT_ROOTS[size2], path)


def test_every_old_tree_is_a_prefix_of_every_newer_one() -> None:
    for size2 in range(1, 9):
        for size1 in range(1, size2 + 1):
            path = consistency_path(CT_HASHES[:size2], size1)
            verify_consistency(size1, CT_ROOTS[size1], size2, CT_ROOTS[size2], path)


def test_appending_returns_another_frontier_and_leaves_the_old_one_as_it_was() -> None:
    old = Frontier().extend(CT_HASHES[:3])
    new = old.append(CT_HASHES[3])
    assert (old.size, old.root()) == (3, CT_ROOTS[3])
    assert (new.size, new.root()) == (4, CT_ROOTS[4])
    assert new.peaks == (CT_ROOTS[4],)


def test_extending_by_nothing_changes_nothing() -> None:
    frontier = Frontier().extend(CT_HASHES[:5])
    assert frontier.extend([]) == frontier


def refused_inclusion(
    reason: ProofReason,
    *,
    leaf: bytes = CT_HASHES[5],
    index: int = 5,
    size: int = 8,
    path: tuple[bytes, ...] = inclusion_path(CT_HASHES, 5),
    root: bytes = CT_ROOTS[8],
) -> None:
    with pytest.raises(ProofRefused) as refused:
        verify_inclusion(leaf, index, size, path, root)
    assert refused.value.reason is reason


@pytest.mark.parametrize(("index", "size"), [(-1, 8), (8, 8), (9, 8), (0, 0)])
def test_an_index_outside_the_tree_is_refused(index: int, size: int) -> None:
    refused_inclusion(ProofReason.INDEX_OUT_OF_RANGE, index=index, size=size)
    with pytest.raises(ProofRefused) as refused:
        inclusion_path(CT_HASHES[:size], index)
    assert refused.value.reason is ProofReason.INDEX_OUT_OF_RANGE


def test_an_inclusion_path_one_hash_too_long_or_too_short_is_refused() -> None:
    path = inclusion_path(CT_HASHES, 5)
    refused_inclusion(ProofReason.PATH_LENGTH, path=path[:-1])
    refused_inclusion(ProofReason.PATH_LENGTH, path=(*path, CT_ROOTS[1]))
    refused_inclusion(ProofReason.PATH_LENGTH, path=())


def test_an_inclusion_path_of_another_leaf_or_place_or_root_is_refused() -> None:
    refused_inclusion(ProofReason.ROOT_MISMATCH, leaf=CT_HASHES[4])
    refused_inclusion(ProofReason.ROOT_MISMATCH, index=4)
    refused_inclusion(ProofReason.ROOT_MISMATCH, root=CT_ROOTS[7])


def test_hashes_of_another_length_are_refused_everywhere() -> None:
    refused_inclusion(ProofReason.HASH_LENGTH, leaf=b"short")
    refused_inclusion(ProofReason.HASH_LENGTH, root=CT_ROOTS[8] + b"x")
    refused_inclusion(ProofReason.HASH_LENGTH, path=(b"",) * 3)
    refused_consistency(ProofReason.HASH_LENGTH, root1=b"")
    bad = [*CT_HASHES[:3], b"short"]
    for ask in (
        lambda: tree_root(bad),
        lambda: inclusion_path(bad, 0),
        lambda: consistency_path(bad, 1),
        lambda: Frontier().extend(bad),
        lambda: Frontier().append(b"short"),
        lambda: Frontier(size=1, peaks=(b"short",)),
    ):
        with pytest.raises(ProofRefused) as refused:
            ask()
        assert refused.value.reason is ProofReason.HASH_LENGTH


def refused_consistency(
    reason: ProofReason,
    *,
    size1: int = 6,
    root1: bytes = CT_ROOTS[6],
    size2: int = 8,
    root2: bytes = CT_ROOTS[8],
    path: tuple[bytes, ...] = consistency_path(CT_HASHES, 6),
) -> None:
    with pytest.raises(ProofRefused) as refused:
        verify_consistency(size1, root1, size2, root2, path)
    assert refused.value.reason is reason


def test_nothing_is_consistent_with_an_empty_old_tree() -> None:
    refused_consistency(ProofReason.OLD_SIZE_ZERO, size1=0, root1=EMPTY_ROOT, path=())
    with pytest.raises(ProofRefused) as refused:
        consistency_path(CT_HASHES, 0)
    assert refused.value.reason is ProofReason.OLD_SIZE_ZERO


def test_a_tree_cannot_extend_a_larger_one() -> None:
    refused_consistency(ProofReason.SIZES_REVERSED, size1=8, size2=6)
    with pytest.raises(ProofRefused) as refused:
        consistency_path(CT_HASHES, 9)
    assert refused.value.reason is ProofReason.SIZES_REVERSED


def test_equal_sizes_need_an_empty_path_and_equal_roots() -> None:
    verify_consistency(8, CT_ROOTS[8], 8, CT_ROOTS[8], ())
    refused_consistency(ProofReason.PATH_LENGTH, size1=8, root1=CT_ROOTS[8])
    refused_consistency(ProofReason.ROOT_MISMATCH, size1=8, root1=CT_ROOTS[7], path=())


def test_a_consistency_path_one_hash_too_long_or_too_short_is_refused() -> None:
    path = consistency_path(CT_HASHES, 6)
    refused_consistency(ProofReason.PATH_LENGTH, path=path[:-1])
    refused_consistency(ProofReason.PATH_LENGTH, path=(*path, CT_ROOTS[1]))
    refused_consistency(ProofReason.PATH_LENGTH, path=())


def test_a_consistency_path_from_another_old_or_new_root_is_refused() -> None:
    refused_consistency(ProofReason.OLD_ROOT_MISMATCH, root1=CT_ROOTS[5])
    refused_consistency(ProofReason.ROOT_MISMATCH, root2=CT_ROOTS[7])


def test_a_forged_old_root_of_a_power_of_two_is_refused() -> None:
    path = consistency_path(CT_HASHES, 4)
    verify_consistency(4, CT_ROOTS[4], 8, CT_ROOTS[8], path)
    refused_consistency(ProofReason.ROOT_MISMATCH, size1=4, root1=CT_ROOTS[3], path=path)


@pytest.mark.parametrize(("size", "peaks"), [(-1, 0), (0, 1), (3, 1), (4, 2)])
def test_a_frontier_whose_peaks_do_not_fit_its_size_is_refused(size: int, peaks: int) -> None:
    with pytest.raises(ProofRefused) as refused:
        Frontier(size=size, peaks=(EMPTY_ROOT,) * peaks)
    assert refused.value.reason is ProofReason.FRONTIER_SHAPE
