"""The house as it was: replayed from the journal up to any entry."""

from clearing.model.house import House, fold
from ledger.store.connect import Database, reading
from ledger.store.queries import Directory, read_segments


def house_at(database: Database, size: int) -> House:
    """The state that the first ``size`` entries lead to; it takes as long as a start on so many.

    Raises ``StoreUnreachable``; ``ValueError`` if the journal has fewer.
    """
    house, directory = House(), Directory()
    with reading(database) as connection:
        for segment in read_segments(connection):
            for entry in directory.decode(segment):
                if house.size == size:
                    return house
                house = fold(house, entry)
    if house.size != size:
        raise ValueError(f"the journal has {house.size} entries, not {size}")
    return house
