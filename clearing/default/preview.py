"""Who pays if a member fails now? (rulebook §11) Answered by the waterfall's own code, posting nothing.

The price of every underlying moves, and options are valued anew. Each netting set with accounts at the member is
left as the move leaves it; what its cash and collateral do not cover is the loss of the member, by the same weights
by which members answer. Without a given move the worse of the model's two extreme moves is taken: twice the scan
range, up and down.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor

from clearing.default.answering import answer_weights
from clearing.default.resources import Resources, Winner, imagined_event, resources_of
from clearing.default.waterfall import absorb
from clearing.margin.assess import living_sets, option_mark, portfolio_of
from clearing.margin.pricing import value_ticks
from clearing.margin.snapshot import array_of
from clearing.model.apportion import apportion
from clearing.model.house import House
from clearing.model.ids import (
    AccountKey,
    FeedId,
    InstrumentId,
    MemberId,
    SetId,
    house_account,
    single_set,
)
from clearing.model.values import BP, Draw, TierResult
from ledger.amount import divide_down

EXTREME_RANGES = 2
"""The model's extreme move in scan ranges."""

Move = dict[FeedId, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What would happen. ``move_bp`` is the move of each underlying that was assumed."""

    member: MemberId
    move_bp: tuple[tuple[FeedId, int], ...]
    loss_minor: int
    draws: tuple[Draw, ...]
    tiers: tuple[TierResult, ...]
    uncovered_minor: int


def preview(house: House, member: MemberId, move_bp: int | None) -> Preview:
    """The waterfall of ``member`` after every underlying moved by ``move_bp`` (None: the worse extreme)."""
    ranges = {r.underlying: r.move_bp for r in house.parameters.scan_ranges}
    if move_bp is not None:
        return _after(house, member, dict.fromkeys(ranges, move_bp))
    extremes = [
        _after(house, member, {u: sign * EXTREME_RANGES * r for u, r in ranges.items()}) for sign in (-1, 1)
    ]
    return max(extremes, key=lambda p: p.loss_minor)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moved:
    """What a move brings an account: variation margin, and the change in what its options are worth."""

    settled_minor: int
    revalued_minor: int

    @property
    def gain_minor(self) -> int:
        return self.settled_minor + self.revalued_minor


def _after(house: House, member: MemberId, move: Move) -> Preview:
    per_lot = _moves_per_lot(house, move)
    gains = {
        set_id: {key: _moved(house, key, per_lot) for key in house.netting_sets[set_id].accounts}
        for set_id in living_sets(house)
    }
    loss = sum(_loss(house, member, set_id, by_account) for set_id, by_account in gains.items())
    absorbed = absorb(_resources(house, member, gains), {member: loss})
    return Preview(
        member=member,
        move_bp=tuple(sorted(move.items())),
        loss_minor=loss,
        draws=absorbed.draws,
        tiers=absorbed.tiers,
        uncovered_minor=absorbed.uncovered_minor,
    )


def _moves_per_lot(house: House, move: Move) -> dict[InstrumentId, Fraction]:
    """What a lot gains under the move: of a linear instrument exactly, of an option by a new valuation."""
    per_lot: dict[InstrumentId, Fraction] = {}
    for row in array_of(house).instruments:
        instrument, moved = house.instruments[row.instrument], move[row.underlying]
        mark = option_mark(house, row.instrument)
        if mark is None:
            per_lot[row.instrument] = Fraction(row.notional_minor * moved, BP)
            continue
        forward = max(1, divide_down(mark.forward_ticks * (BP + moved), BP))
        after = value_ticks(instrument, forward, mark.volatility_bp, house.newest_cycle.accepted_ms)
        per_lot[row.instrument] = Fraction((after - mark.price_ticks) * instrument.tick_value_minor)
    return per_lot


def _moved(house: House, key: AccountKey, per_lot: Mapping[InstrumentId, Fraction]) -> _Moved:
    """What an account gains under the move, rounded down instrument by instrument."""
    settled = revalued = 0
    for instrument, lots in sorted(house.positions(key).items()):
        gain = floor(lots * per_lot[instrument])
        if house.instruments[instrument].option is None:
            settled += gain
        else:
            revalued += gain
    return _Moved(settled_minor=settled, revalued_minor=revalued)


def _loss(house: House, member: MemberId, set_id: SetId, gains: Mapping[AccountKey, _Moved]) -> int:
    """The member's part of what the set would owe."""
    total = sum(one.gain_minor for one in gains.values())
    deficit = max(0, -(portfolio_of(house, set_id).equity_minor + total))
    weights = answer_weights(house, set_id, {key: one.gain_minor for key, one in gains.items()})
    return apportion(deficit, weights, f"preview/{set_id}").get(member, 0)


def _resources(
    house: House, member: MemberId, gains: Mapping[SetId, Mapping[AccountKey, _Moved]]
) -> Resources:
    """What stands behind the member: as in a real event, with the gains and the cash of the assumed move."""
    own = house_account(member)
    still = _Moved(settled_minor=0, revalued_minor=0)
    own_gain = gains.get(single_set(own), {}).get(own, still).settled_minor
    winners = tuple(
        Winner(
            netting_set=set_id,
            gain_minor=sum(one.gain_minor for one in by_account.values()),
            cash_minor={key: max(0, house.cash(key) + one.settled_minor) for key, one in by_account.items()},
        )
        for set_id, by_account in gains.items()
        if sum(one.gain_minor for one in by_account.values()) > 0
    )
    resources = resources_of(house, imagined_event(house, "preview"), (member,))
    return replace(resources, house_cash={member: max(0, house.cash(own) + own_gain)}, winners=winners)
