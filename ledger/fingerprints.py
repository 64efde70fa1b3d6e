"""Where an id may have been recorded: 24 bits of it, its place in a table, and a sequence number.

A fingerprint is a hint and no more. It never misses an id that was added; that it names a sequence does not
mean that the id stands there, so whoever asks confirms in the journal. That makes it safe to forget nothing:
ids of a group that was never committed do no harm.

Open addressing in levels, each twice the size of the one before. A level that is half full is left as
it is and the next one begun, so nothing is ever moved; the memory of the next one is touched piece by piece
while the last one fills, so no call takes long.
"""

import hashlib
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ledger.require import require
from ledger.transfers import Keys

Words: TypeAlias = NDArray[np.uint64]

FIRST_BITS = 20
GROWTH_BITS = 1
SECRET_BYTES = 16
WORDS_PER_ID = 4
HALF = np.uint64(32)
SEQUENCE_BITS = np.uint64(40)
SEQUENCE_MASK = np.uint64(2**40 - 1)
TAG_MASK = np.uint64(2**24 - 1)


class Fingerprints:
    """Fingerprints of 16-byte ids under a ``secret`` of 16 bytes, so that nobody can make ids collide."""

    def __init__(self, secret: bytes) -> None:
        require(len(secret) == SECRET_BYTES, "the secret of the fingerprints has 16 bytes")
        drawn = hashlib.shake_256(secret).digest(WORDS_PER_ID * 2 * 8)
        self._factors = np.frombuffer(drawn, np.uint64).reshape(WORDS_PER_ID, 2)
        self._levels = [_Level(FIRST_BITS)]
        self._levels[0].clear(self._levels[0].size)
        self._next = _Level(FIRST_BITS + GROWTH_BITS)

    def add(self, ids: Keys, first_sequence: int) -> None:
        """Note that ``ids`` stand at ``first_sequence`` and the sequences after it."""
        mixed, at = self._mixed(ids), 0
        sequences = np.arange(1 + first_sequence, 1 + first_sequence + len(ids), dtype=np.uint64)
        while at < len(ids):
            level = self._levels[-1]
            end = min(len(ids), at + level.room)
            level.add(mixed[at:end], sequences[at:end])
            self._next.clear((end - at) << (GROWTH_BITS + 1))
            if not level.room:
                self._levels.append(self._next)
                self._next = _Level(self._next.bits + GROWTH_BITS)
            at = end

    def find(self, ids: Keys) -> list[tuple[int, int]]:
        """Row of an id and a sequence at which it may stand, for each such place, by row and sequence."""
        mixed = self._mixed(ids)
        return sorted(hit for level in self._levels for hit in level.find(mixed))

    def _mixed(self, ids: Keys) -> Words:
        """64 bits of each id: two multilinear hashes, each alike for two ids under hardly one secret in 2^31."""
        words = np.ascontiguousarray(ids).view(np.uint32).astype(np.uint64)
        sums = words @ self._factors
        mixed: Words = sums[:, 0] >> HALF << HALF | sums[:, 1] >> HALF
        return mixed


class _Level:
    """``2^bits`` places, of which half may be taken: a tag above a sequence + 1, or 0 in an empty one."""

    def __init__(self, bits: int) -> None:
        self.bits, self.size = bits, 1 << bits
        self.room = self.size // 2
        self._places = np.empty(self.size, np.uint64)
        self._cleared = 0
        self._mask = np.int64(self.size - 1)

    def clear(self, places: int) -> None:
        """Empty the next ``places``; all must be empty before the first is taken."""
        self._places[self._cleared : self._cleared + places] = 0
        self._cleared += places

    def add(self, mixed: Words, sequences: Words) -> None:
        """Put each where its bits say, or at the next empty place after that."""
        self.room -= len(mixed)
        words, at = (mixed & TAG_MASK) << SEQUENCE_BITS | sequences, self._home(mixed)
        while len(words):
            free = self._places[at] == 0
            self._places[at[free]] = words[free]  # of several for one place, one gets it
            waits = self._places[at] != words
            words, at = words[waits], (at[waits] + 1) & self._mask

    def find(self, mixed: Words) -> list[tuple[int, int]]:
        """Row and sequence of each place that may be meant."""
        hits: list[tuple[int, int]] = []
        tags, at, rows = mixed & TAG_MASK, self._home(mixed), np.arange(len(mixed))
        while len(rows):
            words = self._places[at]
            same = (words >> SEQUENCE_BITS == tags) & (words != 0)
            if same.any():
                sequences = (words[same] & SEQUENCE_MASK).astype(np.int64) - 1
                hits += zip(rows[same].tolist(), sequences.tolist(), strict=True)
            on = words != 0
            tags, at, rows = tags[on], (at[on] + 1) & self._mask, rows[on]
        return hits

    def _home(self, mixed: Words) -> NDArray[np.int64]:
        """The top bits, none of which is in the tag."""
        return (mixed >> np.uint64(64 - self.bits)).astype(np.int64)
