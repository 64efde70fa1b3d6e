"""Why a margin is what it is: each position's part of the scenario that decides, and of the requirement (rulebook §9).

The positions of a netting set in an instrument are margined as one, by the side of the risk array on which the set
stands. So each position's part of a scenario is its lots times the figure of that side, and the parts sum exactly to
the scenario.

What a position brings of the requirement is Euler's attribution: the model's contributions and, for add-ons, the
exposure that they are charged on. The parts sum exactly to the requirement, and who hedges others has a negative one.
So the benefit of netting is earned by name: what an account would need alone, less what its positions bring.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from clearing.margin.addons import lost_at_zero, rows_by_name, size_of_lot
from clearing.margin.assess import Assessment, portfolio_of, required_alone
from clearing.margin.attribution import attributed
from clearing.margin.snapshot import array_of
from clearing.model.house import House
from clearing.model.ids import AccountKey, FeedId, InstrumentId
from clearing.model.values import InstrumentRisk


@dataclass(frozen=True, slots=True)
class Leg:
    """A position of an account, what it gains in the scenario that decides for its underlying, and what it brings of
    the requirement.
    """

    account: AccountKey
    instrument: InstrumentId
    underlying: FeedId
    lots: int
    result_minor: int
    contribution_minor: int


@dataclass(frozen=True, slots=True)
class Share:
    """An account's part of the requirement of its netting set, and what it would need alone."""

    account: AccountKey
    contribution_minor: int
    standalone_minor: int

    @property
    def benefit_minor(self) -> int:
        """What netting saves it; negative if it would need less alone."""
        return self.standalone_minor - self.contribution_minor


def legs(house: House, measured: Assessment) -> tuple[Leg, ...]:
    """The positions of a netting set that was measured, by account and instrument."""
    net = portfolio_of(house, measured.netting_set).lots
    scenarios = {risk.underlying: risk.scenario for risk in measured.margin.underlyings}
    rows, accounts = rows_by_name(array_of(house)), house.netting_sets[measured.netting_set].accounts
    brought = _brought(house, measured)
    found: list[Leg] = []
    for key in accounts:
        for instrument, lots in sorted(house.positions(key).items()):
            row, side = rows[instrument], net.get(instrument, 0)
            per_lot = 0
            if side:
                scenario = scenarios[row.underlying]
                per_lot = row.long_minor[scenario] if side > 0 else -row.short_minor[scenario]
            part = brought.get((key, instrument), 0)
            found.append(Leg(key, instrument, row.underlying, lots, lots * per_lot, part))
    return tuple(found)


def shares(house: House, measured: Assessment) -> tuple[Share, ...]:
    """What each account of a netting set brings, and would need alone."""
    found = legs(house, measured)
    return tuple(
        Share(
            account=key,
            contribution_minor=sum(leg.contribution_minor for leg in found if leg.account == key),
            standalone_minor=required_alone(house, key),
        )
        for key in house.netting_sets[measured.netting_set].accounts
    )


def _brought(house: House, measured: Assessment) -> dict[tuple[AccountKey, InstrumentId], int]:
    """The requirement, position by position."""
    accounts = house.netting_sets[measured.netting_set].accounts
    brought: dict[tuple[AccountKey, InstrumentId], int] = {}
    for instrument, part in attributed(measured.requirement_minor, _weights(house, measured)).items():
        held = {key: house.position(key, instrument) for key in accounts}
        sign = 1 if sum(held.values()) > 0 else -1
        for key, share in attributed(part, {key: sign * lots for key, lots in held.items() if lots}).items():
            brought[key, instrument] = share
    return brought


def _weights(house: House, measured: Assessment) -> dict[InstrumentId, int]:
    """What the position in each instrument brings of maintenance: by the model, and of each add-on by what it is
    charged on.
    """
    weights, rows = dict(measured.margin.contributions), rows_by_name(array_of(house))
    net = portfolio_of(house, measured.netting_set).lots
    for underlying in sorted({*measured.add_ons.liquidity, *measured.add_ons.wrong_way}):
        held = {one: lots for one, lots in net.items() if rows[one].underlying == underlying}
        lost = {one: lots * lost_at_zero(house, one) for one, lots in held.items()}
        for charges, parts in (
            (measured.add_ons.liquidity, _sizes(held, rows)),
            (measured.add_ons.wrong_way, lost),
        ):
            for instrument, part in attributed(charges.get(underlying, 0), parts).items():
                weights[instrument] = weights.get(instrument, 0) + part
    return weights


def _sizes(
    held: Mapping[InstrumentId, int], rows: Mapping[InstrumentId, InstrumentRisk]
) -> dict[InstrumentId, int]:
    """What each position adds to the size of its set; a linear one that hedges others makes it smaller."""
    linear = {
        one: lots * rows[one].notional_minor for one, lots in held.items() if rows[one].delta_minor is None
    }
    sign = 1 if sum(linear.values()) > 0 else -1
    return {
        one: sign * linear[one] if one in linear else abs(lots) * size_of_lot(rows[one])
        for one, lots in held.items()
    }
