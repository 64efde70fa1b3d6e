"""Who pays what no tier could (rulebook §11.9): everybody who has cash, in proportion to it.

1. The cash of a netting set is one (§2): what a set has above zero pays, its accounts in proportion to what each has.
2. Nobody pays more than that. Collateral in other assets pays nothing, and who owes cash goes on owing it.
3. Parts are rounded by largest remainder over the sum of all losses, so that several losses cost nobody more than one
of their sum would. What cannot be paid is left to each loss in proportion.
"""

from collections.abc import Mapping

from clearing.model.apportion import apportion
from clearing.model.house import House
from clearing.model.ids import AccountKey, DefaultId
from ledger.require import require

_EVENT = "wind-down"


def cash_at_hand(house: House) -> dict[AccountKey, int]:
    """What each account can pay: its part of what its netting set has above zero."""
    found: dict[AccountKey, int] = {}
    for set_id in sorted(house.netting_sets):
        cash = {key: house.cash(key) for key in house.netting_sets[set_id].accounts}
        having = {str(key): amount for key, amount in cash.items() if amount > 0}
        parts = apportion(max(0, sum(cash.values())), having, set_id, having)
        found |= {AccountKey(key): part for key, part in parts.items() if part}
    return found


def shares(
    uncovered: Mapping[DefaultId, int], cash: Mapping[AccountKey, int]
) -> dict[DefaultId, dict[AccountKey, int]]:
    """What each account pays of each loss; parts of nothing are left out."""
    weights = {str(key): amount for key, amount in cash.items()}
    left = apportion(sum(uncovered.values()), weights, _EVENT, weights)
    losses = {str(default): amount for default, amount in uncovered.items()}
    filled = apportion(sum(left.values()), losses, _EVENT, losses)
    paid: dict[DefaultId, dict[AccountKey, int]] = {}
    for default in sorted(uncovered):
        parts = apportion(filled[default], left, default, left)
        left = {key: amount - parts[key] for key, amount in left.items()}
        paid[default] = {AccountKey(key): part for key, part in sorted(parts.items()) if part}
    require(not any(left.values()), "all that is paid fills a loss")
    return paid
