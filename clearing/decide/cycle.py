"""The end of a clearing cycle: every netting set is measured, and what that demands is begun (rulebook §7).

Order: fee share to the insurance fund · each set in the order of its id is measured, below M once more without its
holds · in the same order: cures, calls, liquidations opened · bankrupt sets declared as one event · the cycle is
closed · what the shadow would have required is recorded (§9) · breakers that its marks trip (§13).
"""

from dataclasses import replace

from clearing import chart
from clearing.decide.breakers import trails_after, trip_breakers
from clearing.decide.calls import call_key, review
from clearing.decide.declare import declare
from clearing.decide.liquidation import open_liquidation
from clearing.decide.treasury import recall_holds
from clearing.default.gate import declared_sets
from clearing.margin.assess import Assessment, Health, Standing, assess, living_sets, standings
from clearing.margin.shadow import shadow_of
from clearing.model.draft import Draft
from clearing.model.house import House, single
from clearing.model.ids import SetId
from clearing.model.kinds import Kind
from clearing.model.values import BP, CallKind
from ledger.amount import divide_down
from ledger.entry import transfer

FALLEN = (Health.LIQUIDATION, Health.BANKRUPT)
"""Below maintenance margin."""


def close_cycle(draft: Draft) -> None:
    """Measure, call, liquidate, declare; then close the cycle."""
    kept = _share_fees(draft)
    measured = _measured(draft)
    shadow = shadow_of(draft.house, measured) if draft.house.parameters.shadow_model else None
    act_on(draft, [assess(draft.house, one.netting_set) for one in measured if _demands(draft.house, one)])
    short = tuple(one.netting_set for one in measured if one.health is not Health.HEALTHY)
    closed = replace(draft.house.newest_cycle, closed=True, short=short, fees_kept_minor=kept)
    draft.record(Kind.CYCLE_CLOSED, single("cycle", closed), *trails_after(draft.house))
    draft.tell(Kind.CYCLE_CLOSED, str(closed.number), sum(one.requirement_minor for one in measured))
    if shadow is not None:
        draft.record(Kind.SHADOW_MEASURED, single("shadow", shadow))
    trip_breakers(draft)


def _measured(draft: Draft) -> list[Standing]:
    """How every living set stands; below M what it holds for withdrawal is given back first (rulebook §8)."""
    measured = standings(draft.house, living_sets(draft.house))
    fallen = [one.netting_set for one in measured if one.health in FALLEN]
    for set_id in fallen:
        recall_holds(draft, set_id)
    again = {one.netting_set: one for one in standings(draft.house, fallen)}
    return [again.get(one.netting_set, one) for one in measured]


def measure(draft: Draft, set_id: SetId) -> Assessment:
    """Measure one set in the same way."""
    measured = assess(draft.house, set_id)
    return recall_holds(draft, set_id) if measured.health in FALLEN else measured


def _demands(house: House, one: Standing) -> bool:
    """Whether a set must be looked at: it is short of something, or was. One that was declared is left alone."""
    called = any(call_key(kind, one.netting_set) in house.calls for kind in CallKind)
    is_short = one.health is not Health.HEALTHY or one.cash_minor < 0
    return (is_short or called) and one.netting_set not in declared_sets(house)


def act_on(draft: Draft, measured: list[Assessment]) -> None:
    """Begin what the measures of netting sets demand: cures, calls, liquidations, one default."""
    for one in measured:
        if one.health is not Health.BANKRUPT:
            review(draft, one)
        if one.health is Health.LIQUIDATION and one.netting_set not in draft.house.liquidations:
            open_liquidation(draft, one)
    bankrupt = [one for one in measured if one.health is Health.BANKRUPT]
    if bankrupt:
        declare(draft, bankrupt)


def _share_fees(draft: Draft) -> int:
    """Move the insurance fund's share of the fees since the last cycle, rounded down (rulebook §3).

    Gives what the house keeps in ``house/fees``, from which the next share counts.
    """
    house = draft.house
    fees = chart.fees(house.settlement)
    received = house.balance(fees) - house.newest_cycle.fees_kept_minor
    share = divide_down(received * house.parameters.fee_share_bp, BP)
    if share:
        draft.record(Kind.FEES_SHARED, legs=transfer(fees, chart.insurance_fund(house.settlement), share))
    return draft.house.balance(fees)
