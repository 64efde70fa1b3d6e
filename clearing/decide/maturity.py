"""Expiry of dated futures and of options (rulebook §5).

At the first snapshot that is accepted at or after its expiry an instrument is settled for the last time, at that
mark: one entry pays the last variation margin of a future, or from who is short an option to who is long what it is
worth in the end, and ends the positions against each other through the house. From then on it is neither margined,
marked nor traded. Between its expiry and that snapshot it is carried, but not traded.
"""

from dataclasses import replace

from clearing import chart
from clearing.margin.assess import price_of_feed
from clearing.margin.pricing import intrinsic_ticks
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
    """The futures and options that a snapshot accepted now settles for good."""
    return [one for one in active(house) if one.expires_ms is not None and one.expires_ms <= now_ms]


def settle_expired(draft: Draft, before: House, instrument: Instrument, mark_ticks: int) -> None:
    """Settle an expired instrument, whose feed is marked at ``mark_ticks``, and end its positions."""
    if instrument.option is None:
        kind, final = Kind.FUTURE_SETTLED, mark_ticks
        paid = final - price_of_feed(before, instrument.feed)
    else:
        kind, final = Kind.OPTION_SETTLED, intrinsic_ticks(instrument, mark_ticks)
        paid = final
    draft.record(
        kind,
        Put("instruments", instrument.id, replace(instrument, final_ticks=final)),
        legs=(*_paid(before, instrument, paid), *_ended(before, instrument.id)),
        references=(instrument.id,),
    )
    draft.tell(kind, instrument.id)


def _paid(house: House, instrument: Instrument, ticks: int) -> list[Leg]:
    return [
        credit(chart.cash(key, house.settlement), lots * ticks * instrument.tick_value_minor)
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
