"""Why a margin is what it is: each position's part of the scenario that decides (rulebook §9).

The positions of a netting set in an instrument are margined as one, by the side of the risk array on which the set
stands. So each position's part is its lots times the figure of that side, and the parts sum exactly to the scenario.
"""

from dataclasses import dataclass

from clearing.margin.assess import Assessment, portfolio_of
from clearing.margin.snapshot import array_of
from clearing.model.house import House
from clearing.model.ids import AccountKey, FeedId, InstrumentId


@dataclass(frozen=True, slots=True)
class Leg:
    """A position of an account, and what it gains in the scenario that decides for its underlying."""

    account: AccountKey
    instrument: InstrumentId
    underlying: FeedId
    lots: int
    result_minor: int


def legs(house: House, measured: Assessment) -> tuple[Leg, ...]:
    """The positions of a netting set that was measured, by account and instrument."""
    net = portfolio_of(house, measured.netting_set).lots
    scenarios = {risk.underlying: risk.scenario for risk in measured.margin.underlyings}
    rows = {row.instrument: row for row in array_of(house).instruments}
    found: list[Leg] = []
    for key in house.netting_sets[measured.netting_set].accounts:
        for instrument, lots in sorted(house.positions(key).items()):
            row, side = rows[instrument], net.get(instrument, 0)
            per_lot = 0
            if side:
                scenario = scenarios[row.underlying]
                per_lot = row.long_minor[scenario] if side > 0 else -row.short_minor[scenario]
            found.append(Leg(key, instrument, row.underlying, lots, lots * per_lot))
    return tuple(found)
