"""Partial liquidation (rulebook §10.2).

A step every interval of house time, until equity ≥ 1.02 R. A step offers the same fraction of every
position, so a hedge stays one; the whole when equity is below half of M. A step that places nothing
has failed, and the set is in default. The penalty is posted once, after the last step, and never
feeds a deficit.
"""

from dataclasses import replace

from clearing import chart
from clearing.decide.calls import cure
from clearing.decide.declare import declare
from clearing.decide.placing import assign_position, net_within, sell_collateral
from clearing.default.placement import largest
from clearing.margin.assess import Assessment, assess, exposure_price
from clearing.market.novation import notional
from clearing.model.draft import Draft
from clearing.model.house import Drop, House, Put
from clearing.model.ids import AccountKey, InstrumentId, SetId
from clearing.model.kinds import Kind
from clearing.model.values import BP, Liquidation
from ledger.amount import divide_down, divide_up
from ledger.entry import Leg, transfer


def open_liquidation(draft: Draft, measured: Assessment) -> None:
    """Begin to close a set in steps; the first step is due at once."""
    liquidation = Liquidation(
        netting_set=measured.netting_set,
        opened_ms=draft.now_ms,
        next_step_ms=draft.now_ms,
        steps=0,
        requirement_at_open_minor=measured.requirement_minor,
        notional_closed_minor=0,
    )
    draft.record(Kind.LIQUIDATION_OPENED, Put("liquidations", liquidation.netting_set, liquidation))
    draft.tell(
        Kind.LIQUIDATION_OPENED, liquidation.netting_set, measured.maintenance_minor - measured.equity_minor
    )
    net_within(draft, (measured.netting_set,))


def step(draft: Draft, set_id: SetId) -> None:
    """One step of an open liquidation, re-measured on the newest snapshot."""
    measured = assess(draft.house, set_id)
    if measured.equity_minor < 0:
        declare(draft, [measured])
        return
    if _recovered(draft.house, measured):
        _close(draft, set_id, measured)
        return
    placed = _place_slice(draft, set_id, measured)
    if placed == 0:
        declare(draft, [measured])
        return
    liquidation = draft.house.liquidations[set_id]
    after = replace(
        liquidation,
        steps=liquidation.steps + 1,
        next_step_ms=draft.now_ms + draft.house.parameters.liquidation_step_ms,
        notional_closed_minor=liquidation.notional_closed_minor + placed,
    )
    draft.record(Kind.LIQUIDATION_STEPPED, Put("liquidations", set_id, after))
    draft.tell(Kind.LIQUIDATION_STEPPED, set_id, placed)
    measured = assess(draft.house, set_id)
    if measured.equity_minor < 0:
        declare(draft, [measured])
    elif _recovered(draft.house, measured):
        _close(draft, set_id, measured)


def _recovered(house: House, measured: Assessment) -> bool:
    stop = measured.requirement_minor * house.parameters.liquidation_stop_bp
    return measured.equity_minor >= 0 and measured.equity_minor * BP >= stop


def _place_slice(draft: Draft, set_id: SetId, measured: Assessment) -> int:
    """Place the same fraction of every position; gives the notional that was placed.

    Where providers take so little of one leg that the rest would require no less than before, a hedge
    would be left behind: then the largest fraction is placed of which they take every leg in full.
    """
    parameters = draft.house.parameters
    whole = measured.equity_minor * BP < measured.maintenance_minor * parameters.liquidation_whole_below_bp
    fraction_bp = BP if whole else parameters.liquidation_step_bp
    attempt, placed, _ = _try_slice(draft, set_id, fraction_bp)
    if assess(attempt.house, set_id).requirement_minor >= measured.requirement_minor:
        fraction_bp = largest(fraction_bp, lambda bp: _try_slice(draft, set_id, bp)[2])
        attempt, placed, _ = _try_slice(draft, set_id, fraction_bp)
    draft.take(attempt)
    return placed


def _try_slice(draft: Draft, set_id: SetId, fraction_bp: int) -> tuple[Draft, int, bool]:
    """A fork on which a slice was placed, the notional that was, and whether that is all of the slice."""
    attempt, placed, wanted = draft.fork(), 0, 0
    for key, instrument, lots in positions_of(draft.house, (set_id,)):
        size = divide_up(abs(lots) * fraction_bp, BP) * (1 if lots > 0 else -1)
        wanted += notional(draft.house, instrument, size, exposure_price(draft.house, instrument))
        placed += assign_position(attempt, key, instrument, size, frozenset({set_id}))
    return attempt, placed, placed == wanted


def positions_of(house: House, sets: tuple[SetId, ...]) -> list[tuple[AccountKey, InstrumentId, int]]:
    """Every open position of the sets, in order."""
    return [
        (key, instrument, lots)
        for set_id in sets
        for key in house.netting_sets[set_id].accounts
        for instrument, lots in sorted(house.positions(key).items())
    ]


def _close(draft: Draft, set_id: SetId, measured: Assessment) -> None:
    liquidation = draft.house.liquidations[set_id]
    penalty = _penalty(draft.house, liquidation, measured)
    draft.record(
        Kind.LIQUIDATION_CLOSED,
        Drop("liquidations", set_id),
        legs=_penalty_legs(draft.house, set_id, penalty),
    )
    draft.tell(Kind.LIQUIDATION_CLOSED, set_id, penalty)
    cure(draft, set_id)


def _penalty(house: House, liquidation: Liquidation, measured: Assessment) -> int:
    """min(share of the notional closed, share of the R released, equity above zero), rounded down, and never
    more than the cash that is there.
    """
    parameters = house.parameters
    released = max(0, liquidation.requirement_at_open_minor - measured.requirement_minor)
    return max(
        0,
        min(
            divide_down(liquidation.notional_closed_minor * parameters.penalty_notional_bp, BP),
            divide_down(released * parameters.penalty_released_bp, BP),
            measured.equity_minor,
            measured.cash_minor,
        ),
    )


def _penalty_legs(house: House, set_id: SetId, penalty_minor: int) -> tuple[Leg, ...]:
    """Taken from the set's accounts in order, as far as each has cash."""
    legs: list[Leg] = []
    for key in house.netting_sets[set_id].accounts:
        part = min(penalty_minor, max(0, house.cash(key)))
        legs += transfer(chart.cash(key, house.settlement), chart.insurance_fund(house.settlement), part)
        penalty_minor -= part
    return tuple(legs)


def raise_cash(draft: Draft, set_id: SetId) -> None:
    """An expired cash call: sell collateral for what is missing (rulebook §3). What no sale fills is a default."""
    missing = -sum(draft.house.cash(key) for key in draft.house.netting_sets[set_id].accounts)
    for key in draft.house.netting_sets[set_id].accounts:
        if missing > 0:
            missing -= sell_collateral(draft, key, frozenset({set_id}), missing)
    cure(draft, set_id)
    measured = assess(draft.house, set_id)
    if measured.cash_minor < 0:
        declare(draft, [measured])
