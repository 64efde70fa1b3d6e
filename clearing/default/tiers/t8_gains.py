"""Tier 8: the loss that is left is socialised over the winners of the window (rulebook §11.8).

Every winner gives up the same share h = min(1, loss / Σ gains) of what it gained from T0's cycle to
close-out. Losers pay nothing, and margin is never touched: a set pays at most its gain and at most
the cash it has; what one cannot pay is spread over the other winners up to their gains.
"""

from collections.abc import Mapping

from clearing.default.resources import Resources, Winner
from clearing.default.tiers.tier import Offer, Tier
from clearing.model.apportion import apportion
from clearing.model.ids import MemberId


def offer(resources: Resources, losses: Mapping[MemberId, int]) -> Offer:
    """Parts by account: a set's part is taken from its accounts pro rata to their cash."""
    winners = {str(w.netting_set): w for w in resources.winners}
    gains = {set_id: w.gain_minor for set_id, w in winners.items()}
    caps = {set_id: _payable(w) for set_id, w in winners.items()}
    by_set = apportion(sum(losses.values()), gains, resources.event, caps)
    parts: dict[str, int] = {}
    for set_id, part in by_set.items():
        cash = {str(key): amount for key, amount in winners[set_id].cash_minor.items()}
        parts |= apportion(part, cash, resources.event, cash)
    return Offer(sum(caps.values()), parts)


def _payable(winner: Winner) -> int:
    return min(winner.gain_minor, sum(winner.cash_minor.values()))


TIER = Tier(number=8, name="socialised loss", offer=offer)
