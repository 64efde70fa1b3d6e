"""Fingerprints of ids: they may name too much, and never too little."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import fingerprints
from ledger.fingerprints import Fingerprints
from ledger.require import InvariantViolated
from ledger.transfers import Keys, key_column
from tests.ledgers import numbered

SECRET = bytes(range(16))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Levels that fill up soon: the first has 16 places."""
    monkeypatch.setattr(fingerprints, "FIRST_BITS", 4)


def random_ids(count: int, seed: int = 1) -> Keys:
    return np.random.default_rng(seed).integers(0, 256, (count, 16), np.uint8)


def test_an_id_is_found_at_the_sequence_at_which_it_was_added() -> None:
    prints = Fingerprints(SECRET)
    assert prints.find(random_ids(5)) == []
    prints.add(random_ids(5), 0)
    prints.add(random_ids(3, seed=2), 5)
    assert prints.find(random_ids(5)) == [(row, row) for row in range(5)]
    assert prints.find(random_ids(3, seed=2)[::-1]) == [(0, 7), (1, 6), (2, 5)]


def test_nothing_is_found_for_no_ids_and_nothing_added_by_none() -> None:
    prints = Fingerprints(SECRET)
    prints.add(key_column([]), 3)
    assert prints.find(key_column([])) == []
    assert prints.find(random_ids(1)) == []


def test_an_id_that_was_added_twice_is_found_at_both_places() -> None:
    prints = Fingerprints(SECRET)
    for sequence in (9, 4, 4):
        prints.add(random_ids(1), sequence)
    assert prints.find(random_ids(1)) == [(0, 4), (0, 9)]
    twice = np.concatenate((random_ids(2, seed=2), random_ids(2, seed=2)))
    prints.add(twice, 20)
    assert prints.find(random_ids(2, seed=2)) == [(0, 20), (0, 22), (1, 21), (1, 23)]


def test_the_last_sequence_that_fits_is_kept_whole() -> None:
    prints = Fingerprints(SECRET)
    prints.add(random_ids(1), 2**40 - 2)
    assert prints.find(random_ids(1)) == [(0, 2**40 - 2)]


@pytest.mark.usefixtures("small")
@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(st.lists(st.integers(0, 300), max_size=40), max_size=12),
    is_dense=st.booleans(),
    secret=st.binary(min_size=16, max_size=16),
)
def test_no_id_is_ever_missed(groups: list[list[int]], is_dense: bool, secret: bytes) -> None:
    prints, sequence, added = Fingerprints(secret), 0, set[tuple[int, int]]()
    for group in groups:
        prints.add(key_column([numbered(n if is_dense else n << 100) for n in group]), sequence)
        added |= {(number, sequence + place) for place, number in enumerate(group)}
        sequence += len(group)
    found = prints.find(key_column([numbered(n if is_dense else n << 100) for n in range(301)]))
    assert added <= set(found)
    assert found == sorted(set(found))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("at_once", [1, 7, 8, 9, 1_000])
def test_levels_grow_and_none_is_more_than_half_full(at_once: int) -> None:
    prints, ids = Fingerprints(SECRET), random_ids(1_000)
    for start in range(0, len(ids), at_once):
        prints.add(ids[start : start + at_once], start)
    sizes = [level.size for level in prints._levels]
    assert sizes == [16 << n for n in range(7)]
    for level in prints._levels:
        assert np.count_nonzero(level._places) == level.size // 2 - level.room
    assert prints._levels[-1].room > 0
    assert prints.find(ids) == [(row, row) for row in range(1_000)]


@pytest.mark.usefixtures("small")
def test_the_next_level_is_empty_before_its_first_place_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def garbage(size: int, dtype: type) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        return np.full(size, 2**64 - 1, np.uint64)

    ids = random_ids(200)
    monkeypatch.setattr(np, "empty", garbage)
    prints = Fingerprints(SECRET)
    for sequence in range(200):
        prints.add(ids[sequence : sequence + 1], sequence)
        assert not any((level._places == 2**64 - 1).any() for level in prints._levels)


def pairs_that_differ_at_the_ends_of_their_halves() -> Keys:
    """Numbers of which only the highest bits of each 64 differ: a plain sum of products loses the difference."""
    return key_column([bytes(7) + bytes([a]) + bytes(7) + bytes([b]) for a in range(64) for b in range(256)])


@pytest.mark.parametrize("secret", [SECRET, bytes(16), b"\xff" * 16])
def test_nobody_makes_ids_collide_who_does_not_know_the_secret(secret: bytes) -> None:
    prints = Fingerprints(secret)
    chosen = [pairs_that_differ_at_the_ends_of_their_halves()]
    chosen += [key_column([numbered(n << shift) for n in range(4_096)]) for shift in range(0, 117, 4)]
    for ids in chosen:
        assert len(np.unique(prints._mixed(ids))) > len(ids) - 3
    prints.add(chosen[0], 0)
    assert prints.find(chosen[0]) == [(row, row) for row in range(len(chosen[0]))]


def test_what_is_found_by_chance_is_rare() -> None:
    prints = Fingerprints(SECRET)
    prints.add(random_ids(200_000), 0)
    assert len(prints.find(random_ids(200_000, seed=2))) < 20


def test_another_secret_gives_other_fingerprints() -> None:
    ids = random_ids(1_000)
    one, other = (Fingerprints(secret)._mixed(ids) for secret in (SECRET, SECRET[::-1]))
    assert not (one == other).any()


@pytest.mark.parametrize("size", [0, 15, 17])
def test_the_secret_has_16_bytes(size: int) -> None:
    with pytest.raises(InvariantViolated, match="16 bytes"):
        Fingerprints(bytes(size))
