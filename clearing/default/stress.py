"""What the house would lose under stress, and what stands ready for it (rulebook §12).

1. In a scenario every set is left as the move leaves it: cash, collateral after haircut at the stressed prices, what
   its options are worth anew, and P&L. What that is below zero is its loss over margin.
2. The loss of a set is the loss of the members that answer for it (§10.5), by what their legs lose in the scenario;
   of a set that is in default, by the weights that were written down then. A loss that was fixed and is not paid yet
   counts in every scenario.
3. Members of one group are affiliates, and their losses count as one. Cover-1 is the largest loss of one group in any
   scenario, cover-2 the largest of two groups in the same one; a member without a group is one by itself.
4. Prefunded is what tiers 2 to 6 hold: the contributions of whoever bears losses, skin in the game, what the insurance
   fund may pay for one event, the second tranche. Neither assessments, which are not paid yet, nor anybody's margin.

The stress array is in integers, rounded against the holder; from it and from positions every loss follows exactly.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clearing import chart
from clearing.default.answering import answer_weights
from clearing.default.exits import survivors_at
from clearing.default.gate import OPEN_STAGES
from clearing.default.scenarios import Move, Scenario, moved, scenarios_of
from clearing.margin.assess import (
    Holding,
    after_haircut,
    holdings,
    in_columns,
    option_value,
    price_of_asset,
)
from clearing.margin.pricing import FINE, factors, revaluation
from clearing.margin.snapshot import array_of
from clearing.model.apportion import apportion
from clearing.model.codec import to_text
from clearing.model.house import House, ordered
from clearing.model.ids import AssetId, FeedId, InstrumentId, MemberId, SetId, member_of
from clearing.model.values import BP, Instrument, MemberPart
from ledger.amount import divide_down
from ledger.require import require

NO_SCENARIO = "none"
"""The worst scenario of a house that would lose nothing in any."""
Integers: TypeAlias = NDArray[Any]
"""A column of 64-bit integers where these hold every sum, else of Python's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StressedInstrument:
    """P&L of one lot per scenario, rounded down: held long, and held short."""

    instrument: InstrumentId
    long_minor: tuple[int, ...]
    short_minor: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StressedAsset:
    """The price of a collateral asset in each scenario."""

    asset: AssetId
    price_ticks: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StressArray:
    """The published array of a cycle: with positions, cash and collateral it gives every loss exactly.

    ``instruments`` are the rows of the risk array, in its order.
    """

    scenarios: tuple[Scenario, ...]
    instruments: tuple[StressedInstrument, ...]
    assets: tuple[StressedAsset, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioLosses:
    """What members would lose over their margin in a scenario; who would lose nothing is not listed.

    ``groups_minor``: the same with the losses of affiliates summed up, the largest first.
    """

    scenario: str
    losses: tuple[MemberPart, ...]
    groups_minor: tuple[int, ...]

    def largest(self, groups: int) -> int:
        """The sum of the largest losses of so many groups."""
        return sum(self.groups_minor[:groups])


@dataclass(frozen=True, slots=True, kw_only=True)
class Stress:
    """The stress figures of an attestation, and by scenario what they come from.

    ``worst_scenario`` is that of cover-2, the first of equal ones.
    """

    scenario_set_digest: bytes
    cover1_minor: int
    cover2_minor: int
    prefunded_minor: int
    worst_scenario: str
    scenarios: tuple[ScenarioLosses, ...]


def stress_of(house: House) -> Stress:
    """The figures at the newest cycle's marks."""
    return stressed(house, stress_array(house))


def stressed(house: House, array: StressArray) -> Stress:
    """The figures that follow from ``array``, a published one for example."""
    losses = losses_of(house, array)
    worst = max(losses, key=lambda one: one.largest(2))
    return Stress(
        scenario_set_digest=hashlib.sha256(to_text(array.scenarios).encode("ascii")).digest(),
        cover1_minor=max(one.largest(1) for one in losses),
        cover2_minor=worst.largest(2),
        prefunded_minor=prefunded(house),
        worst_scenario=worst.scenario if worst.losses else NO_SCENARIO,
        scenarios=losses,
    )


def prefunded(house: House) -> int:
    """What could be drawn at once for one event, whoever fails."""
    asset, at_ms = house.settlement, 0 if house.cycle is None else house.cycle.accepted_ms
    fund = house.balance(chart.insurance_fund(asset))
    return (
        sum(house.pool(member) for member in survivors_at(house, at_ms))
        + house.balance(chart.skin_in_the_game(asset))
        + divide_down(fund * house.parameters.fund_event_cap_bp, BP)
        + house.balance(chart.second_tranche(asset))
    )


# the array ----------------------------------------------------------------------------------------


def stress_array(house: House) -> StressArray:
    """Every instrument of the newest risk array and every asset that has a price, under the whole library."""
    return array_under(house, scenarios_of(house))


def array_under(house: House, scenarios: tuple[Scenario, ...]) -> StressArray:
    """The same under ``scenarios``."""
    priced = [(asset, asset.feed) for asset in ordered(house.assets) if asset.feed is not None]
    return StressArray(
        scenarios=scenarios,
        instruments=tuple(
            _row(house, house.instruments[row.instrument], scenarios) for row in array_of(house).instruments
        ),
        assets=tuple(
            StressedAsset(
                asset=asset.id,
                price_ticks=tuple(moved(price_of_asset(house, asset), s.move_of(feed)) for s in scenarios),
            )
            for asset, feed in priced
        ),
    )


def _row(house: House, instrument: Instrument, scenarios: Sequence[Scenario]) -> StressedInstrument:
    moves = [scenario.move_of(instrument.underlying) for scenario in scenarios]
    if instrument.option is None:
        pnl, unit = _linear_pnl(house, instrument, moves), BP
    else:
        pnl, unit = _option_pnl(house, instrument, instrument.option.volatility_feed, moves), FINE
    return StressedInstrument(
        instrument=instrument.id,
        long_minor=tuple(divide_down(long, unit) for long, _ in pnl),
        short_minor=tuple(divide_down(short, unit) for _, short in pnl),
    )


def _linear_pnl(house: House, instrument: Instrument, moves: Sequence[Move]) -> list[tuple[int, int]]:
    """Long and short in ten-thousandths of a smallest unit: exact."""
    notional = house.prices[instrument.feed] * instrument.tick_value_minor
    return [(notional * move.price_bp, -notional * move.price_bp) for move in moves]


def _option_pnl(
    house: House, option: Instrument, volatility_feed: FeedId, moves: Sequence[Move]
) -> list[tuple[int, int]]:
    """Long and short in millionths of a smallest unit, by full revaluation. A forward may become worth nothing."""
    return revaluation(
        option,
        house.prices[option.feed],
        house.prices[volatility_feed],
        house.newest_cycle.accepted_ms,
        factors(move.price_bp for move in moves),
        factors(move.volatility_bp for move in moves),
    )


# the losses ---------------------------------------------------------------------------------------


def losses_of(house: House, array: StressArray) -> tuple[ScenarioLosses, ...]:
    """What each member would lose, scenario by scenario."""
    sets = sorted(house.netting_sets)
    losses = np.maximum(0, -left_to(house, sets, array))
    unpaid, found = unpaid_of(house), list[ScenarioLosses]()
    for scenario, by_member in zip(array.scenarios, answered(house, sets, array, losses), strict=True):
        found.append(scenario_losses(house, scenario.name, summed(unpaid, by_member)))
    return tuple(found)


def answered(
    house: House, sets: Sequence[SetId], array: StressArray, losses: Integers
) -> list[dict[MemberId, int]]:
    """By scenario what members answer for, of what ``sets`` lose in it: ``losses`` in the shape (scenarios, sets)."""
    answering = _Answering(
        house, array, [sets[place] for place in np.flatnonzero(losses.any(axis=0)).tolist()]
    )
    found: list[dict[MemberId, int]] = []
    for number in range(len(array.scenarios)):
        by_member, struck = dict[MemberId, int](), np.flatnonzero(losses[number])
        for place, loss in zip(struck.tolist(), losses[number][struck].tolist(), strict=True):
            for member, part in answering.parts(sets[place], number, loss):
                by_member[member] = by_member.get(member, 0) + part
        found.append(by_member)
    return found


def summed(*amounts: Mapping[MemberId, int]) -> dict[MemberId, int]:
    """Amounts by member, added up."""
    sums: dict[MemberId, int] = {}
    for one in amounts:
        for member, amount in one.items():
            sums[member] = sums.get(member, 0) + amount
    return sums


def scenario_losses(house: House, scenario: str, by_member: Mapping[MemberId, int]) -> ScenarioLosses:
    """What members lose in a scenario, by member and by group."""
    losses = {member: loss for member, loss in sorted(by_member.items()) if loss}
    groups: dict[tuple[str, str], int] = {}
    for member, loss in losses.items():
        group = house.members[member].group
        key = ("group", group) if group else ("member", member)
        groups[key] = groups.get(key, 0) + loss
    return ScenarioLosses(
        scenario=scenario,
        losses=tuple(MemberPart(member=member, amount_minor=loss) for member, loss in losses.items()),
        groups_minor=tuple(sorted(groups.values(), reverse=True)),
    )


def unpaid_of(house: House) -> dict[MemberId, int]:
    """What is still missing of losses that were fixed, by the member that it was fixed for (rulebook §10.5)."""
    missing: dict[MemberId, int] = {}
    for default in ordered(house.defaults):
        for member in sorted(house.members) if default.stage in OPEN_STAGES else ():
            hole = house.balance(chart.loss(default.id, member, house.settlement))
            missing[member] = missing.get(member, 0) + hole
    return missing


class _Answering:
    """Whose losses the losses of ``sets`` are."""

    def __init__(self, house: House, array: StressArray, sets: Sequence[SetId]) -> None:
        self._house, self._scenarios = house, array.scenarios
        self._only = {set_id: _only_member(house, set_id) for set_id in sets}
        shared = [set_id for set_id in sets if self._only[set_id] is None]
        keys = [key for set_id in shared for key in house.netting_sets[set_id].accounts]
        self._place = {key: place for place, key in enumerate(keys)}
        self._won = _sums([house.positions(key) for key in keys], array, {})
        self._written = {
            one.netting_set: {str(part.member): part.amount_minor for part in one.weights}
            for default in ordered(house.defaults)
            if default.stage in OPEN_STAGES
            for one in default.sets
        }

    def parts(self, set_id: SetId, scenario: int, loss: int) -> list[tuple[MemberId, int]]:
        """The members' parts of the loss of a set, which they sum up to."""
        only = self._only[set_id]
        if only is not None:
            return [(only, loss)]
        weights = self._written.get(set_id) or self._weights(set_id, scenario)
        event = f"stress/{self._scenarios[scenario].name}/{set_id}"
        return [(MemberId(member), part) for member, part in apportion(loss, weights, event).items()]

    def _weights(self, set_id: SetId, scenario: int) -> dict[str, int]:
        accounts = self._house.netting_sets[set_id].accounts
        won = {key: int(self._won[scenario][self._place[key]]) for key in accounts}
        return answer_weights(self._house, set_id, won)


def _only_member(house: House, set_id: SetId) -> MemberId | None:
    """The member that answers for a set alone, if there is one."""
    members = {member_of(key) for key in house.netting_sets[set_id].accounts}
    return members.pop() if len(members) == 1 else None


def left_to(house: House, sets: Sequence[SetId], array: StressArray) -> Integers:
    """What each scenario leaves each set, in the shape (scenarios, sets); negative, what it would owe."""
    values = {row.instrument: option_value(house, row.instrument, 1) for row in array.instruments}
    worth = _sums([_lots(house, set_id) for set_id in sets], array, values)
    cash = [sum(house.cash(key) for key in house.netting_sets[set_id].accounts) for set_id in sets]
    left: Integers = worth + _column([cash]) + _column(_collateral(house, sets, array).tolist())
    return left


def won_in(house: House, sets: Sequence[SetId], array: StressArray) -> Integers:
    """What the positions of each set win in each scenario, in the shape (scenarios, sets); negative, what they lose."""
    return _sums([_lots(house, set_id) for set_id in sets], array, {})


def _lots(house: House, set_id: SetId) -> Mapping[InstrumentId, int]:
    """The positions of a set, in no order: they are only summed up."""
    accounts = house.netting_sets[set_id].accounts
    if len(accounts) == 1:
        return house.positions(accounts[0])
    lots: dict[InstrumentId, int] = {}
    for key in accounts:
        for instrument, quantity in house.positions(key).items():
            lots[instrument] = lots.get(instrument, 0) + quantity
    return lots


def _collateral(house: House, sets: Sequence[SetId], array: StressArray) -> Integers:
    """Collateral of each set after haircut at the stressed prices, as §8 measures it: (scenarios, sets)."""
    posted: dict[AssetId, tuple[list[int], list[Holding]]] = {}
    for place, set_id in enumerate(sets):
        for held in holdings(house, house.netting_sets[set_id].accounts):
            places, column = posted.setdefault(held.asset.id, ([], []))
            places.append(place)
            column.append(held)
    counted: Integers = np.zeros((len(array.scenarios), len(sets)), object)
    for one in array.assets:
        if one.asset in posted:
            places, column = posted[one.asset]
            together = in_columns(column)
            for number, price in enumerate(one.price_ticks):
                np.add.at(counted[number], places, after_haircut(together, price))
    return counted


# exact sums, a column at a time -------------------------------------------------------------------

SAFE = 2**60
"""Every number below it fits 64 bits, and so does the sum of three."""


def _sums(
    portfolios: Sequence[Mapping[InstrumentId, int]],
    array: StressArray,
    value_minor: Mapping[InstrumentId, int],
) -> Integers:
    """What each scenario makes of each portfolio, value and P&L, in the shape (scenarios, portfolios)."""
    row_of = {row.instrument: number for number, row in enumerate(array.instruments)}
    rows = [row_of.get(instrument, -1) for portfolio in portfolios for instrument in portfolio]
    lots = [quantity for portfolio in portfolios for quantity in portfolio.values()]
    sums = np.zeros((len(array.scenarios), len(portfolios)), np.int64)
    if not rows:
        return sums
    require(min(rows) >= 0, "every position has a row in the stress array")
    counts = np.array([len(portfolio) for portfolio in portfolios])
    table = _worth_of_lot(array, value_minor)
    kind = np.int64 if _fits(np.array(rows), lots, int(counts.max()), table) else object
    signed, worth, exact = np.array(lots, kind), np.array(table, kind), sums.astype(kind)
    held, sizes = np.array(rows) + len(row_of) * (signed < 0), np.abs(signed)
    owners = np.flatnonzero(counts)
    starts = (np.cumsum(counts) - counts)[owners]
    for number, per_lot in enumerate(worth):
        exact[number][owners] = np.add.reduceat(per_lot[held] * sizes, starts)
    return exact


def _worth_of_lot(array: StressArray, value_minor: Mapping[InstrumentId, int]) -> list[list[int]]:
    """By scenario: value and P&L of a lot of each instrument held long, then of each held short."""
    rows = array.instruments
    sides = [(row.long_minor, value_minor.get(row.instrument, 0)) for row in rows]
    sides += [(row.short_minor, -value_minor.get(row.instrument, 0)) for row in rows]
    return [[pnl[number] + value for pnl, value in sides] for number in range(len(array.scenarios))]


def _fits(rows: Integers, lots: Sequence[int], positions: int, table: Sequence[Sequence[int]]) -> bool:
    """Whether the sum over any portfolio of so many ``positions`` stays below ``SAFE`` in every scenario."""
    if max(map(abs, lots)) >= SAFE:
        return False
    widest = [max(map(abs, column)) for column in zip(*table, strict=True)]
    both = len(widest) // 2
    most_lots = np.zeros(both, np.int64)
    np.maximum.at(most_lots, rows, np.abs(np.array(lots, np.int64)))
    largest = (
        most * max(long, short)
        for most, long, short in zip(most_lots.tolist(), widest[:both], widest[both:], strict=True)
    )
    return positions * int(max(largest)) < SAFE and max(widest) < SAFE


def _column(rows: list[list[int]]) -> Integers:
    fits = all(max(row, default=0) < SAFE and min(row, default=0) > -SAFE for row in rows)
    return np.array(rows, np.int64 if fits else object)
