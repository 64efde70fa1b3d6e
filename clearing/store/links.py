"""Which members have accounts in a set of linked accounts, as of any entry of the journal.

The state knows it as of now. Whoever tells of an entry must know it as of that entry, so that an event is told to the
same members whenever it is asked for.
"""

import threading
from bisect import bisect_right
from collections.abc import Iterator

from clearing.model.house import Put, decode_changes
from clearing.model.ids import LINK, MemberId, SetId, member_of
from clearing.model.values import NettingSet
from ledger.leaf import decode_body, split_bodies
from ledger.store.connect import Database, reading
from ledger.store.queries import Segment, read_segments

_MARK = f'"netting_sets","{LINK}/'.encode()
"""Stands in the body of an entry that changes such a set; its bytes are looked through before anything is decoded."""


class Links:
    """What the journal says of linked sets, as far as it was read. Any thread may ask."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._read = 0
        self._since: dict[SetId, list[int]] = {}
        self._members: dict[SetId, list[tuple[MemberId, ...]]] = {}

    def read_to(self, size: int) -> None:
        """Read the first ``size`` entries, those that were not read yet. Raises ``StoreUnreachable``."""
        with self._lock:
            if self._read >= size:
                return
            with reading(self._database) as connection:
                for segment in read_segments(connection, self._read):
                    self._take(segment)

    def members(self, set_id: SetId, sequence: int) -> tuple[MemberId, ...]:
        """The members with accounts in the set at the entry ``sequence``, which was read."""
        if not set_id.startswith(f"{LINK}/"):
            return (MemberId(set_id.partition("/")[0]),)
        with self._lock:
            at = bisect_right(self._since.get(set_id, []), sequence)
            return self._members[set_id][at - 1] if at else ()

    def _take(self, segment: Segment) -> None:
        if _MARK in segment.bodies:
            for sequence, body in enumerate(split_bodies(segment.bodies), segment.first_sequence):
                for set_id, row in _changed(body):
                    self._put(set_id, sequence, row)
        self._read = segment.first_sequence + segment.count

    def _put(self, set_id: SetId, sequence: int, row: NettingSet | None) -> None:
        """A set that ends is still its members' in the entry that ends it."""
        members = () if row is None else tuple(dict.fromkeys(map(member_of, row.accounts)))
        self._since.setdefault(set_id, []).append(sequence if row is not None else sequence + 1)
        self._members.setdefault(set_id, []).append(members)


def _changed(body: bytes) -> Iterator[tuple[SetId, NettingSet | None]]:
    if _MARK in body:
        for change in decode_changes(decode_body(body).fact):
            if change.table == "netting_sets" and change.key.startswith(f"{LINK}/"):
                yield SetId(change.key), change.row if isinstance(change, Put) else None
