"""Expiry of dated futures (rulebook §5).

At the first snapshot that is accepted at or after its expiry a future is settled for the last time, at that
mark: one entry pays the last variation margin, and ends the positions against each other through the house. From
then on it is neither margined, marked nor traded. Between its expiry and that snapshot it is carried, but not
traded.
"""

from dataclasses import replace

from clearing import chart
from clearing.margin.assess import price_of_feed
from clearing.model.draft import Draft
from clearing.model.house import House, Put, ordered
from clearing.model.ids import InstrumentId
from clearing.model.kinds import Kind
from clearing.model.values import Instrument
from ledger.entry import Leg, credit, debit


def active(house: House) -> list[Instrument]:
    """The instruments that were not settled for good, in order."""
    return [one for one in ordered(house.instruments) if one.final_ticks is None]


def expiring(house: House, now_ms: int) -> list[Instrument]:
    """The futures that a snapshot accepted now settles for good."""
    return [one for one in active(house) if one.expires_ms is not None and one.expires_ms <= now_ms]


def settle_expired(draft: Draft, before: House, instrument: Instrument, final_ticks: int) -> None:
    """Settle an expired future from its mark in ``before`` to ``final_ticks``, and end its positions."""
    moved = final_ticks - price_of_feed(before, instrument.feed)
    draft.record(
        Kind.FUTURE_SETTLED,
        Put("instruments", instrument.id, replace(instrument, final_ticks=final_ticks)),
        legs=(*_gains(before, instrument, moved), *_ended(before, instrument.id)),
        references=(instrument.id,),
    )
    draft.tell(Kind.FUTURE_SETTLED, instrument.id)


def _gains(house: House, instrument: Instrument, moved_ticks: int) -> list[Leg]:
    return [
        credit(chart.cash(key, house.settlement), lots * moved_ticks * instrument.tick_value_minor)
        for key in sorted(house.held)
        if (lots := house.position(key, instrument.id))
    ]


def _ended(house: House, instrument: InstrumentId) -> list[Leg]:
    """Every holder gives its lots to the house, long or short; they sum to zero."""
    legs: list[Leg] = []
    for key in sorted(house.held):
        if lots := house.position(key, instrument):
            legs += (debit(chart.position(key, instrument), lots), credit(chart.novation(instrument), lots))
    return legs
