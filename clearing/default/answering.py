"""Who answers for the deficit of a netting set, and in what proportion (rulebook §10.5)."""

from collections.abc import Mapping

from clearing.margin.assess import maintenance
from clearing.model.house import House
from clearing.model.ids import AccountKey, SetId, member_of


def answer_weights(house: House, set_id: SetId, won: Mapping[AccountKey, int]) -> dict[str, int]:
    """How members answer for a set: by what their legs lost (``won``, negative); if none lost, by what they need
    alone; if none needs anything, equally.
    """
    accounts = house.netting_sets[set_id].accounts
    lost = dict.fromkeys((str(member_of(key)) for key in accounts), 0)
    for key in accounts:
        lost[member_of(key)] += max(0, -won.get(key, 0))
    if any(lost.values()):
        return lost
    alone = dict.fromkeys(lost, 0)
    for key in accounts:
        alone[member_of(key)] += maintenance(house, house.positions(key)).amount_minor
    return alone if any(alone.values()) else dict.fromkeys(alone, 1)
