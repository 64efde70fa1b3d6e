"""The house as it was: replayed from the journal up to any entry."""

from collections.abc import Iterator

from clearing.model.house import House, fold
from ledger.entry import Entry
from ledger.store.connect import Database, reading
from ledger.store.queries import Directory, read_segments


def states(database: Database, size: int) -> Iterator[tuple[int, Entry, House]]:
    """After each of the first ``size`` entries: its number, the entry, and the state that it led to.

    Raises ``StoreUnreachable``.
    """
    house, directory = House(), Directory()
    with reading(database) as connection:
        for segment in read_segments(connection):
            for entry in directory.decode(segment):
                if house.size == size:
                    return
                house = fold(house, entry)
                yield house.size - 1, entry, house


def house_at(database: Database, size: int) -> House:
    """The state that the first ``size`` entries lead to; it takes as long as a start on so many.

    Raises ``StoreUnreachable``; ``ValueError`` if the journal has fewer.
    """
    house = House()
    for _, _, reached in states(database, size):
        house = reached
    if house.size != size:
        raise ValueError(f"the journal has {house.size} entries, not {size}")
    return house
