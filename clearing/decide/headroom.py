"""Trades that need no margin computed (rulebook §4): those that even the worst of what they can do leaves sound.

A netting set that is nobody's concern just now, and has more equity than could be required of it after a trade
whatever the trade nets against, passes the last check of §4 without being measured. The same holds of all that it has
already: no lot of its positions can ask for more than the most that a lot of the instrument can. So a set that is far
from its requirement is not measured at all, and the others of a batch are measured once, all together. The answers are
those of the checks one by one, which take over wherever this module does not say yes; a property test compares them.

What is accepted here waits, and is recorded together before anything else looks at the state.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TypeAlias

from clearing.decide.calls import call_key
from clearing.decide.free_volume import FreeVolume
from clearing.default.gate import withheld
from clearing.margin.assess import Health, option_value, portfolio_of, required, standings
from clearing.margin.owners import accounts_by_owner, owner_of
from clearing.margin.snapshot import array_of
from clearing.margin.table import MODELS
from clearing.market.novation import position_lots_max
from clearing.model.house import House
from clearing.model.ids import AccountKey, InstrumentId, SetId
from clearing.model.values import CallKind, Parameters, RiskArray, Trade

Room: TypeAlias = tuple[int, int, int]
"""What is known of a netting set: its equity and its cash as they are, its maintenance margin as it can be at most."""


class Headroom:
    """The room of netting sets, and what of it trades have used that are not in ``house`` yet."""

    def __init__(self, house: House) -> None:
        self.house = house
        self._rises = _rises(array_of(house), house.parameters)
        self._bounds: dict[SetId, int] = {}
        self._rooms: dict[SetId, Room] = {}
        self._lots: dict[tuple[AccountKey, InstrumentId], int] = {}
        self._free = FreeVolume(house)

    def measure(self, sets: Iterable[SetId]) -> None:
        """Measure ``sets``. One that is not healthy, or of which anything is open, has no room."""
        calm = sorted({set_id for set_id in sets if _is_calm(self.house, set_id)})
        near = [set_id for set_id in calm if not self._is_far(set_id)]
        for one in standings(self.house, near) if near else ():
            if one.health is Health.HEALTHY and one.cash_minor >= 0:
                self._rooms[one.netting_set] = (one.equity_minor, one.cash_minor, one.maintenance_minor)

    def _is_far(self, set_id: SetId) -> bool:
        """Whether a set has more equity than its positions can ask for at most; if so that is its room."""
        portfolio = portfolio_of(self.house, set_id)
        if not self._free.covers(set_id, portfolio.lots):
            return False
        bound = sum(abs(lots) * self._rises[instrument] for instrument, lots in portfolio.lots.items())
        room = (portfolio.equity_minor, portfolio.cash_minor, bound)
        if not self._is_sound(room):
            return False
        self._rooms[set_id], self._bounds[set_id] = room, bound
        return True

    def _measure_again(self, set_id: SetId) -> bool:
        """Put what a set really asks for in the place of its bound; whether that was left to do."""
        bound = self._bounds.pop(set_id, None)
        if bound is None:
            return False
        equity, cash, most = self._rooms[set_id]
        (standing,) = standings(self.house, [set_id])
        self._rooms[set_id] = (equity, cash, most - bound + standing.maintenance_minor)
        return True

    def recorded(self, house: House, sets: Iterable[SetId]) -> None:
        """Go on from ``house``, which has what was taken; what else happened concerned ``sets``. What a set is charged
        for its size depends on all sets of its owner: their rooms are not known any more either.
        """
        self.house, self._lots, self._free = house, {}, FreeVolume(house)
        concerned = set(sets)
        touched = concerned | (self._siblings(concerned) if house.parameters.liquidity else set())
        known = concerned | (touched & self._rooms.keys())
        for set_id in touched:
            self._rooms.pop(set_id, None)
            self._bounds.pop(set_id, None)
        self.measure(known)

    def _siblings(self, sets: Iterable[SetId]) -> set[SetId]:
        """All netting sets of the owners of ``sets``."""
        accounts, owned = self.house.accounts, accounts_by_owner(self.house.accounts)
        owners = {owner_of(accounts[key]) for one in sets for key in self.house.netting_sets[one].accounts}
        return {accounts[key].netting_set for owner in owners for key in owned[owner]}

    def takes(self, trade: Trade, payment_minor: int, fee_minor: int) -> bool:
        """Whether a trade for which the buyer pays the seller, and each of them a fee, surely leaves both sets with R
        and with cash, and no position too large; if so it counts as taken.
        """
        accounts, after = self.house.accounts, dict[SetId, Room]()
        sides = ((trade.buyer, trade.lots, -payment_minor), (trade.seller, -trade.lots, payment_minor))
        for key, lots, paid_minor in sides:
            set_id = accounts[key].netting_set
            room = after.get(set_id) or self._rooms.get(set_id)
            if room is None or not self._fits(key, trade) or not self._free.takes(set_id, trade):
                return False
            after[set_id] = self._moved(room, trade, lots, paid_minor - fee_minor)
        if not all(self._is_sound(room) for room in after.values()):
            closer = [set_id for set_id in after if self._measure_again(set_id)]
            return bool(closer) and self.takes(trade, payment_minor, fee_minor)
        self._rooms |= after
        self._free.taken(after, trade)
        for key in (trade.buyer, trade.seller):
            place = (key, trade.instrument)
            self._lots[place] = self._lots.get(place, 0) + trade.lots
        return True

    def _moved(self, room: Room, trade: Trade, lots: int, paid_minor: int) -> Room:
        equity, cash, maintenance = room
        worth = option_value(self.house, trade.instrument, lots)
        rise = self._rises[trade.instrument] * trade.lots
        return equity + paid_minor + worth, cash + paid_minor, maintenance + rise

    def _is_sound(self, room: Room) -> bool:
        equity, cash, maintenance = room
        return cash >= 0 and equity >= required(self.house, maintenance)

    def _fits(self, key: AccountKey, trade: Trade) -> bool:
        """Whether the position stays within its limit even if all that waits went the same way."""
        waiting = self._lots.get((key, trade.instrument), 0)
        most = abs(self.house.position(key, trade.instrument)) + waiting + trade.lots
        return most <= position_lots_max(self.house.instruments[trade.instrument])


@lru_cache(maxsize=4)
def _rises(array: RiskArray, parameters: Parameters) -> Mapping[InstrumentId, int]:
    """By how much a lot more of each instrument can raise the maintenance margin of any portfolio at most."""
    return MODELS[parameters.margin_model].rises(array, parameters)


def _is_calm(house: House, set_id: SetId) -> bool:
    """Whether nothing is open that a trade of the set could meet, change or break."""
    called = any(call_key(kind, set_id) in house.calls for kind in CallKind)
    return not called and not withheld(house, set_id)
