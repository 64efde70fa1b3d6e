"""Whether there is an outage (rulebook §6): a function of the state and the time, so no beat of a clock is missed.

An outage begins when the newest snapshot is older than the parameter ``outage_after_ms``, or when everything is
halted. It ends with the snapshot by which normal work resumes, not by itself. ``House.outage`` holds what state and
time alone do not say; it is written down as soon as the house does anything in the outage (``decide/outage``). A house
that was wound down needs no prices.
"""

from clearing.market.breakers import everything_halted
from clearing.model.house import House
from clearing.model.ids import DefaultId
from clearing.model.values import Outage


def outage_of(house: House, now_ms: int) -> Outage | None:
    """The outage in which the house is now, written down or not, or None."""
    if house.outage is not None or house.wound_down is not None:
        return house.outage
    begun: list[int] = []
    if house.cycle is not None and now_ms > house.cycle.accepted_ms + house.parameters.outage_after_ms:
        begun.append(house.cycle.accepted_ms + house.parameters.outage_after_ms)
    if (halted := everything_halted(house)) is not None:
        begun.append(halted.since_ms)
    return Outage(began_ms=min(begun)) if begun else None


def is_let_close(house: House, default_id: DefaultId) -> bool:
    """Whether two administrators let a default close in the outage that lasts."""
    closings = () if house.outage is None else house.outage.closings
    return any(one.default == default_id and one.let_by for one in closings)
