"""Portings on the wire: what a member would take over, and not whose it is before it has.

A porting's name is made of its netting set and its time, and says neither. A member that cannot accept one, because
the link goes to others, and has no part in it, does not see it.
"""

import hashlib
from collections import Counter

from clearing import chart
from clearing.margin.assess import assess, mark_ticks
from clearing.model import units
from clearing.model.commands import AcceptPorting
from clearing.model.house import House, ordered
from clearing.model.ids import AccountKey, SetId, member_of
from clearing.model.values import Porting
from clearing.server.identity import Identity
from clearing.server.wire import names, times
from clearing.server.wire.defaults import sees_set
from clearing.server.wire.violations import require_valid
from clearinghouse.v1 import account_service_pb2
from clearinghouse.v1 import default_service_pb2 as pb

_NAME_CHARS = 32


def porting_name(porting: Porting) -> str:
    """The name of a porting."""
    digest = hashlib.sha256(f"porting\n{porting.netting_set}\n{porting.opened_ms}".encode()).hexdigest()
    return f"portings/{digest[:_NAME_CHARS]}"


def visible(house: House, caller: Identity) -> dict[str, Porting]:
    """The portings that ``caller`` sees, by name."""
    shown = (one for one in ordered(house.portings) if _sees(one, house, caller))
    return {porting_name(one): one for one in shown}


def _sees(porting: Porting, house: House, caller: Identity) -> bool:
    accounts = house.netting_sets[porting.netting_set].accounts
    is_left_to_others = any(member_of(key) not in porting.members for key in accounts)
    return sees_set(house, porting.netting_set, caller) or not is_left_to_others


def parse(request: pb.AcceptPortingRequest, house: House, caller: Identity) -> AcceptPorting:
    """The command. Of a porting that the caller does not see, or that is gone, the name stands for the netting set:
    there is none of it. Raises ``RequestInvalid`` with every field that is wrong.
    """
    require_valid(request)
    porting = visible(house, caller).get(request.porting)
    return AcceptPorting(
        member=names.member_id(request.account),
        netting_set=SetId(request.porting) if porting is None else porting.netting_set,
        account=names.own_id(request.account),
    )


def message(porting: Porting, house: House, caller: Identity) -> pb.Porting:
    """A porting as ``caller`` may see it."""
    set_id, unit = porting.netting_set, units.of_settlement(house)
    moving = [key for key in house.netting_sets[set_id].accounts if member_of(key) in porting.members]
    measured = assess(house, set_id)
    return pb.Porting(
        name=porting_name(porting),
        members=[names.member(member) for member in porting.members],
        open_time=times.from_ms(porting.opened_ms),
        due_time=times.from_ms(porting.due_ms),
        positions=_positions(moving, house),
        cash=unit.render(sum(house.cash(key) for key in moving)),
        collateral=_collateral(moving, house),
        equity=unit.render(measured.equity_minor),
        requirement=unit.render(measured.requirement_minor),
        netting_set=names.netting_set(set_id) if sees_set(house, set_id, caller) else "",
    )


def _positions(keys: list[AccountKey], house: House) -> list[account_service_pb2.Position]:
    """The positions of all accounts together: they move to one."""
    lots: Counter[str] = Counter()
    for key in keys:
        lots.update(house.positions(key))
    found = []
    for instrument in ordered(house.instruments):
        if lots[instrument.id]:
            mark = mark_ticks(house, instrument.id)
            price = "" if mark is None else units.of_price(instrument).render(mark)
            size = units.of_size(instrument).render(lots[instrument.id])
            found.append(
                account_service_pb2.Position(
                    instrument=names.instrument(instrument.id), size=size, settlement_price=price
                )
            )
    return found


def _collateral(keys: list[AccountKey], house: House) -> list[account_service_pb2.Collateral]:
    found = []
    for asset in ordered(house.assets):
        amount = sum(house.balance(chart.collateral(key, asset.id)) for key in keys)
        if asset.id != house.settlement and amount:
            posted = units.of_asset(asset).render(amount)
            found.append(account_service_pb2.Collateral(asset=names.asset(asset.id), amount=posted))
    return found
