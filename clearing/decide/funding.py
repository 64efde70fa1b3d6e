"""Funding of perpetuals (rulebook §5).

An administrator publishes a rate for one payment: parts per million of the notional, positive when longs pay
shorts. The next snapshot pays it, once, before variation margin is settled: an integer amount per lot at the
last settlement price, the same for every holder, so that what is paid and what is received sum to zero. The
rate counts up to the parameter ``funding_cap_ppm``; the amount is rounded towards zero.
"""

from clearing import chart
from clearing.margin.assess import price_of_feed
from clearing.model.commands import PublishFunding
from clearing.model.draft import Draft
from clearing.model.house import Drop, House, Put
from clearing.model.ids import InstrumentId
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import PPM, Funding, InstrumentKind
from ledger.amount import divide_down
from ledger.entry import Leg, credit


def publish_funding(draft: Draft, command: PublishFunding) -> Rejected | None:
    """Note the rate that the next snapshot pays; one published before it for the same instrument gives way."""
    instrument = draft.house.instruments.get(command.instrument)
    if instrument is None:
        return Rejected(Reason.INSTRUMENT_UNKNOWN, command.instrument)
    if instrument.kind is not InstrumentKind.PERPETUAL:
        return Rejected(Reason.INSTRUMENT_NOT_PERPETUAL, command.instrument)
    if not -PPM <= command.rate_ppm <= PPM:
        return Rejected(Reason.TERM_OUT_OF_RANGE, f"a rate lies between -{PPM} and {PPM}")
    row = Funding(instrument=instrument.id, rate_ppm=command.rate_ppm)
    draft.record(Kind.FUNDING_PUBLISHED, Put("funding", instrument.id, row), references=(instrument.id,))
    return None


def pay_funding(draft: Draft, before: House) -> None:
    """Pay what was published since the last snapshot, one entry an instrument, at the marks of ``before``, the
    state that the snapshot found.
    """
    for instrument in sorted(before.funding):
        per_lot = amount_per_lot(before, before.funding[instrument])
        draft.record(
            Kind.FUNDING_PAID,
            Drop("funding", instrument),
            legs=_legs(before, instrument, per_lot),
            references=(instrument,),
        )
        draft.tell(Kind.FUNDING_PAID, instrument, per_lot)


def amount_per_lot(house: House, funding: Funding) -> int:
    """What a holder pays for each lot that it is long, rounded towards zero; negative, it receives."""
    instrument = house.instruments[funding.instrument]
    size = min(abs(funding.rate_ppm), house.parameters.funding_cap_ppm)
    ticks = price_of_feed(house, instrument.feed)
    amount = divide_down(ticks * instrument.tick_value_minor * size, PPM)
    return amount if funding.rate_ppm > 0 else -amount


def _legs(house: House, instrument: InstrumentId, per_lot: int) -> tuple[Leg, ...]:
    return tuple(
        credit(chart.cash(key, house.settlement), -lots * per_lot)
        for key in sorted(house.held)
        if (lots := house.position(key, instrument))
    )
