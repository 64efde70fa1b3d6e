"""Trades that need no margin computed (rulebook §4): those that even the worst of what they can do leaves sound.

A netting set that is nobody's concern just now, and has more equity than could be required of it after a trade
whatever the trade nets against, passes the last check of §4 without being measured. So a batch measures its sets
once, all together, and again only one that comes near its requirement. The answers are those of the checks one by
one, which take over wherever this module does not say yes; a property test compares them.

What is accepted here waits, and is recorded together before anything else looks at the state.
"""

from collections.abc import Iterable
from typing import TypeAlias

from clearing.decide.calls import call_key
from clearing.default.gate import withheld
from clearing.margin.assess import Health, array_of, option_value, required, standings
from clearing.margin.table import MODELS
from clearing.market.novation import position_lots_max
from clearing.model.house import House
from clearing.model.ids import AccountKey, InstrumentId, SetId
from clearing.model.values import CallKind, Trade

Room: TypeAlias = tuple[int, int, int]
"""What is known of a netting set: its equity and its cash as they are, its maintenance margin as it can be at most."""


class Headroom:
    """The room of netting sets, and what of it trades have used that are not in ``house`` yet."""

    def __init__(self, house: House) -> None:
        self.house = house
        self._rows = {row.instrument: row for row in array_of(house).instruments}
        self._rises: dict[InstrumentId, int] = {}
        self._rooms: dict[SetId, Room] = {}
        self._lots: dict[tuple[AccountKey, InstrumentId], int] = {}

    def measure(self, sets: Iterable[SetId]) -> None:
        """Measure ``sets``. One that is not healthy, or of which anything is open, has no room."""
        calm = sorted({set_id for set_id in sets if _is_calm(self.house, set_id)})
        for one in standings(self.house, calm):
            if one.health is Health.HEALTHY and one.cash_minor >= 0:
                self._rooms[one.netting_set] = (one.equity_minor, one.cash_minor, one.maintenance_minor)

    def recorded(self, house: House, sets: Iterable[SetId]) -> None:
        """Go on from ``house``, which has what was taken; what else happened concerned ``sets``."""
        self.house, self._lots = house, {}
        for set_id in sets:
            self._rooms.pop(set_id, None)
        self.measure(sets)

    def takes(self, trade: Trade, payment_minor: int, fee_minor: int) -> bool:
        """Whether a trade for which the buyer pays the seller, and each of them a fee, surely leaves both sets with R
        and with cash, and no position too large; if so it counts as taken.
        """
        accounts, after = self.house.accounts, dict[SetId, Room]()
        sides = ((trade.buyer, trade.lots, -payment_minor), (trade.seller, -trade.lots, payment_minor))
        for key, lots, paid_minor in sides:
            set_id = accounts[key].netting_set
            room = after.get(set_id) or self._rooms.get(set_id)
            if room is None or not self._fits(key, trade):
                return False
            after[set_id] = self._moved(room, trade, lots, paid_minor - fee_minor)
        if not all(self._is_sound(room) for room in after.values()):
            return False
        self._rooms |= after
        for key in (trade.buyer, trade.seller):
            place = (key, trade.instrument)
            self._lots[place] = self._lots.get(place, 0) + trade.lots
        return True

    def _moved(self, room: Room, trade: Trade, lots: int, paid_minor: int) -> Room:
        equity, cash, maintenance = room
        worth = option_value(self.house, trade.instrument, lots)
        return equity + paid_minor + worth, cash + paid_minor, maintenance + self._rise(trade)

    def _rise(self, trade: Trade) -> int:
        """By how much the trade can raise the maintenance margin of a set at most."""
        rise = self._rises.get(trade.instrument)
        if rise is None:
            parameters = self.house.parameters
            rise = MODELS[parameters.margin_model].rise(self._rows[trade.instrument], parameters)
            self._rises[trade.instrument] = rise
        return rise * trade.lots

    def _is_sound(self, room: Room) -> bool:
        equity, cash, maintenance = room
        return cash >= 0 and equity >= required(self.house, maintenance)

    def _fits(self, key: AccountKey, trade: Trade) -> bool:
        """Whether the position stays within its limit even if all that waits went the same way."""
        waiting = self._lots.get((key, trade.instrument), 0)
        most = abs(self.house.position(key, trade.instrument)) + waiting + trade.lots
        return most <= position_lots_max(self.house.instruments[trade.instrument])


def _is_calm(house: House, set_id: SetId) -> bool:
    """Whether nothing is open that a trade of the set could meet, change or break."""
    called = any(call_key(kind, set_id) in house.calls for kind in CallKind)
    return not called and not withheld(house, set_id)
