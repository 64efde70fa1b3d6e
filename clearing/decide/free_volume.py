"""Sets that add-ons do not reach, whatever a trade nets against (``margin/addons``).

A participant that is within the free volume of an underlying with all that it holds of it, long and short alike, pays
no liquidity charge; and no wrong-way charge is asked where no token of a member concerned is traded. What is beyond is
measured, not guessed.
"""

from collections.abc import Iterable, Mapping

from clearing.margin.addons import free_minor, rows_by_name, size_of_lot, tokens_of
from clearing.margin.owners import Owner, accounts_by_owner, owner_of
from clearing.margin.snapshot import array_of
from clearing.model.house import House
from clearing.model.ids import FeedId, InstrumentId, SetId, member_of
from clearing.model.values import Trade


class FreeVolume:
    """What participants hold of underlyings, and what trades that are not in ``house`` yet add to it."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._rows = rows_by_name(array_of(house))
        self._free = {one.underlying: free_minor(house.parameters, one) for one in house.parameters.liquidity}
        self._tokens = tokens_of(house.assets, house.members)
        self._held: dict[tuple[Owner, FeedId], int] = {}

    def covers(self, set_id: SetId, lots: Mapping[InstrumentId, int]) -> bool:
        """Whether a set that holds ``lots`` has no add-on."""
        return all(self._leaves(set_id, instrument, 0) for instrument in lots)

    def takes(self, set_id: SetId, trade: Trade) -> bool:
        """Whether a trade of the set surely leaves it without an add-on, even if one owner is on both sides."""
        return self._leaves(set_id, trade.instrument, 2 * trade.lots)

    def taken(self, sets: Iterable[SetId], trade: Trade) -> None:
        """Count a trade of ``sets``."""
        row = self._rows[trade.instrument]
        if row.underlying in self._free:
            for set_id in sets:
                place = (self._owner(set_id), row.underlying)
                self._held[place] = self._gross(*place) + 2 * trade.lots * size_of_lot(row)

    def _leaves(self, set_id: SetId, instrument: InstrumentId, more_lots: int) -> bool:
        row = self._rows[instrument]
        issuers = self._tokens.get(row.underlying)
        accounts = self._house.netting_sets[set_id].accounts
        if issuers is not None and not issuers.isdisjoint(map(member_of, accounts)):
            return False
        if row.underlying not in self._free:
            return True
        more = more_lots * size_of_lot(row)
        return self._gross(self._owner(set_id), row.underlying) + more <= self._free[row.underlying]

    def _owner(self, set_id: SetId) -> Owner:
        return owner_of(self._house.accounts[self._house.netting_sets[set_id].accounts[0]])

    def _gross(self, owner: Owner, underlying: FeedId) -> int:
        """All that the owner holds, long and short."""
        known = self._held.get((owner, underlying))
        if known is None:
            known = self._held[owner, underlying] = sum(
                abs(lots) * size_of_lot(row)
                for key in accounts_by_owner(self._house.accounts)[owner]
                for instrument, lots in self._house.positions(key).items()
                if (row := self._rows[instrument]).underlying == underlying
            )
        return known
