"""Tear-up in its simple form (rulebook §11.9): pro rata over the opposite positions, at S.

Minimal: just the lots that nobody took. No money moves for linear instruments, because every position is carried
at S. An option's holder is paid what it is worth by those who were short: what they lack joins the loss.
"""

from clearing import chart
from clearing.margin.assess import option_value
from clearing.model.apportion import apportion
from clearing.model.house import House
from clearing.model.ids import AccountKey, InstrumentId
from ledger.entry import Leg, credit, debit
from ledger.require import require


def tear_up(
    house: House, instrument: InstrumentId, lots_by_account: dict[AccountKey, int], event_id: str
) -> tuple[Leg, ...]:
    """Legs that end ``lots_by_account`` (all of one sign) against the opposite holders, pro rata."""
    torn = sum(lots_by_account.values())
    sign = 1 if torn > 0 else -1
    opposite = {
        str(key): -sign * house.position(key, instrument)
        for key in sorted(house.held)
        if -sign * house.position(key, instrument) > 0
    }
    require(sum(opposite.values()) >= abs(torn), "positions sum to zero, so there are opposite ones")
    parts = apportion(abs(torn), opposite, event_id, opposite)
    ended = [debit(chart.position(key, instrument), lots) for key, lots in sorted(lots_by_account.items())]
    met = [
        credit(chart.position(AccountKey(key), instrument), sign * part)
        for key, part in parts.items()
        if part
    ]
    gone = {**lots_by_account, **{AccountKey(key): -sign * part for key, part in parts.items()}}
    paid = [
        credit(chart.cash(key, house.settlement), worth)
        for key, lots in sorted(gone.items())
        if (worth := option_value(house, instrument, lots))
    ]
    return (*ended, *met, *paid)
