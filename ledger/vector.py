"""A column that never changes: writing to it gives another one, which shares all chunks that stayed the same.

It holds exact integers (``int64`` where a whole chunk fits, Python integers in the chunks where one does
not) or any objects. Reading one value is a lookup; changing one copies a chunk, not the column.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

SHIFT = 10
WIDTH = 1 << SHIFT
MASK = WIDTH - 1

Chunk: TypeAlias = NDArray[Any]
Index: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """``size`` values in chunks of ``WIDTH``; the last chunk has unused places behind them."""

    chunks: tuple[Chunk, ...] = ()
    size: int = 0

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, number: int) -> Any:
        """The value at ``number``, an ``int`` if it is an integer; ``number`` must be in ``0 … size − 1``."""
        return self.chunks[number >> SHIFT].item(number & MASK)

    def __iter__(self) -> Iterator[Any]:
        for start, chunk in enumerate(self.chunks):
            yield from chunk[: self.size - start * WIDTH].tolist()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vector) and self.size == other.size and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(self.size)

    def append(self, values: Sequence[Any]) -> "Vector":
        """The column with ``values`` behind it."""
        used = self.size & MASK
        room = WIDTH - used if used else 0
        chunks = list(self.chunks)
        if filling := values[:room]:
            places = np.arange(used, used + len(filling), dtype=np.int64)
            chunks[-1] = _replaced(chunks[-1], places, _array(filling))
        chunks += (_chunk(values[at : at + WIDTH]) for at in range(room, len(values), WIDTH))
        return Vector(tuple(chunks), self.size + len(values))

    def set_items(self, changed: Mapping[int, Any]) -> "Vector":
        """The column with some values replaced; every number must exist."""
        chunks = list(self.chunks)
        fresh: set[int] = set()
        for number, value in changed.items():
            place = number >> SHIFT
            if place not in fresh:
                fresh.add(place)
                chunks[place] = chunks[place].copy()
            try:
                chunks[place][number & MASK] = value
            except OverflowError:  # the chunk has 64 bits a value, and this one needs more
                chunks[place] = chunks[place].astype(object)
                chunks[place][number & MASK] = value
        for place in fresh:
            _frozen(chunks[place])
        return Vector(tuple(chunks), self.size)

    def gather(self, numbers: Index) -> Chunk:
        """The values at ``numbers``, which ascend without repeating: ``int64`` if all chunks touched are."""
        parts = [self.chunks[place][numbers[span] & MASK] for place, span in _spans(numbers)]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def scatter(self, numbers: Index, values: Chunk) -> "Vector":
        """The column with ``values`` at ``numbers``, which ascend without repeating."""
        chunks = list(self.chunks)
        for place, span in _spans(numbers):
            chunks[place] = _replaced(chunks[place], numbers[span] & MASK, values[span])
        return Vector(tuple(chunks), self.size)


EMPTY = Vector()


def _spans(numbers: Index) -> Iterable[tuple[int, slice]]:
    """Which part of ascending ``numbers`` lies in which chunk."""
    places = numbers >> SHIFT
    starts = np.flatnonzero(np.diff(places, prepend=-1)).tolist()
    ends = [*starts[1:], len(numbers)]
    return [
        (place, slice(start, end))
        for place, start, end in zip(places[starts].tolist(), starts, ends, strict=False)
    ]


def _chunk(values: Sequence[Any]) -> Chunk:
    """A full-width chunk that begins with ``values``."""
    packed = _array(values)
    chunk = np.zeros(WIDTH, packed.dtype)
    chunk[: len(values)] = packed
    return _frozen(chunk)


def _array(values: Sequence[Any]) -> Chunk:
    """``int64`` if every value is an integer that fits it, else objects."""
    if all(type(value) is int and -(2**63) <= value < 2**63 for value in values):
        return np.array(values, np.int64)
    packed = np.empty(len(values), object)
    packed[:] = values
    return packed


def _replaced(chunk: Chunk, places: Index, values: Chunk) -> Chunk:
    kind = np.result_type(chunk, values)
    changed = chunk.astype(kind)  # always a copy
    changed[places] = values
    return _frozen(changed)


def _frozen(chunk: Chunk) -> Chunk:
    chunk.setflags(write=False)
    return chunk
