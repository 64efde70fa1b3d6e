"""Laws of the log tree, against a second tree written as RFC 6962 §2.1 words it."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    ProofRefused,
    consistency_path,
    inclusion_path,
    leaf_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

pytestmark = pytest.mark.slow

MAX_SIZE = 150
LEAVES = [leaf_hash(number.to_bytes(4, "big")) for number in range(MAX_SIZE)]
sizes = st.integers(1, MAX_SIZE)


def slow_root(hashes: list[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, by its own recursion."""
    if not hashes:
        return EMPTY_ROOT
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return hashlib.sha256(b"\x01" + slow_root(hashes[:split]) + slow_root(hashes[split:])).digest()


def mutated(path: tuple[bytes, ...], place: int, bit: int) -> tuple[bytes, ...]:
    changed = bytearray(path[place])
    changed[bit // 8] ^= 1 << bit % 8
    return (*path[:place], bytes(changed), *path[place + 1 :])


@given(st.integers(0, MAX_SIZE))
def test_the_root_is_the_one_of_the_recursive_definition(size: int) -> None:
    assert tree_root(LEAVES[:size]) == slow_root(LEAVES[:size])


@given(st.lists(st.integers(0, 40), max_size=8))
def test_a_frontier_grown_in_any_batches_has_the_root_of_the_whole_tree(batches: list[int]) -> None:
    frontier, one_by_one, size = Frontier(), Frontier(), 0
    for batch in batches:
        new = [LEAVES[number % MAX_SIZE] for number in range(size, size + batch)]
        frontier, size = frontier.extend(new), size + batch
        for leaf in new:
            one_by_one = one_by_one.append(leaf)
    assert frontier == one_by_one
    assert frontier.size == size
    assert frontier.root() == tree_root([LEAVES[number % MAX_SIZE] for number in range(size)])


@given(sizes, st.data())
def test_every_inclusion_path_verifies_and_no_mutated_one_does(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    path, root = inclusion_path(LEAVES[:size], index), tree_root(LEAVES[:size])
    verify_inclusion(LEAVES[index], index, size, path, root)
    if path:
        place, bit = data.draw(st.integers(0, len(path) - 1)), data.draw(st.integers(0, 255))
        with pytest.raises(ProofRefused):
            verify_inclusion(LEAVES[index], index, size, mutated(path, place, bit), root)


@given(sizes, st.data())
def test_an_inclusion_path_holds_for_one_index_only(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    path, root = inclusion_path(LEAVES[:size], index), tree_root(LEAVES[:size])
    for other in set(range(size)) - {index}:
        with pytest.raises(ProofRefused):
            verify_inclusion(LEAVES[index], other, size, path, root)


@given(sizes, st.data())
def test_every_consistency_path_verifies_and_no_mutated_one_does(size2: int, data: st.DataObject) -> None:
    size1 = data.draw(st.integers(1, size2))
    old, new = tree_root(LEAVES[:size1]), tree_root(LEAVES[:size2])
    path = consistency_path(LEAVES[:size2], size1)
    verify_consistency(size1, old, size2, new, path)
    if path:
        place, bit = data.draw(st.integers(0, len(path) - 1)), data.draw(st.integers(0, 255))
        with pytest.raises(ProofRefused):
            verify_consistency(size1, old, size2, new, mutated(path, place, bit))


@given(sizes, sizes, st.integers(0, 255))
def test_two_trees_that_differ_in_an_old_leaf_are_never_consistent(a: int, b: int, bit: int) -> None:
    size1, size2 = sorted((a, b))
    forged = list(mutated(tuple(LEAVES[:size2]), size1 - 1, bit))
    path = consistency_path(forged, size1)
    with pytest.raises(ProofRefused):
        verify_consistency(size1, tree_root(LEAVES[:size1]), size2, tree_root(forged), path)


@given(sizes, sizes)
def test_paths_of_the_wrong_length_are_refused(a: int, b: int) -> None:
    size1, size2 = sorted((a, b))
    old, new = tree_root(LEAVES[:size1]), tree_root(LEAVES[:size2])
    path = consistency_path(LEAVES[:size2], size1)
    for wrong in ((*path, old), path[1:] if path else (old,), path[:-1] if path else (new,)):
        with pytest.raises(ProofRefused):
            verify_consistency(size1, old, size2, new, wrong)
