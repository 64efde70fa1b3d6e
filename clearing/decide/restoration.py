"""The house restores its skin in the game from its capital (rulebook §11; RTS 153/2013 art. 36).

[30 days] after T0 what an event drew of it, less what recoveries have repaid, goes back into the tranche: as far as
the capital goes, and the rest as soon as there is more. Not while a loss is allocated, nor after the wind-down.
"""

from collections.abc import Iterator
from dataclasses import replace

from clearing import chart
from clearing.default.gate import loss_is_open
from clearing.default.purses import SKIN
from clearing.model.draft import Draft
from clearing.model.house import House, Put, ordered
from clearing.model.ids import DefaultId
from clearing.model.kinds import Kind
from clearing.model.values import Default
from ledger.entry import transfer


def restores(house: House, default: Default, now_ms: int) -> bool:
    """Whether the house owes its tranche something now, and has it."""
    return _due_ms(house, default) <= now_ms and _restorable(house, default) > 0


def restore_skin(draft: Draft, default_id: DefaultId) -> None:
    """Move what is owed, as far as the capital goes."""
    default, asset = draft.house.defaults[default_id], draft.house.settlement
    amount = _restorable(draft.house, default)
    draft.record(
        Kind.SKIN_RESTORED,
        Put("defaults", default_id, replace(default, restored_minor=default.restored_minor + amount)),
        legs=transfer(chart.house_capital(asset), chart.skin_in_the_game(asset), amount),
        references=(default_id,),
    )
    draft.tell(Kind.SKIN_RESTORED, default_id, amount)


def next_restoration_ms(house: House) -> Iterator[int]:
    """When the house owes its tranche something that it has."""
    return (_due_ms(house, one) for one in ordered(house.defaults) if _restorable(house, one) > 0)


def _due_ms(house: House, default: Default) -> int:
    return default.declared_ms + house.parameters.restoration_ms


def _restorable(house: House, default: Default) -> int:
    if loss_is_open(house) or house.wound_down is not None:
        return 0
    drawn = sum(claim.amount_minor for claim in default.claims if claim.tier == SKIN)
    owed = max(0, drawn - default.restored_minor)
    return min(owed, max(0, house.balance(chart.house_capital(house.settlement))))
