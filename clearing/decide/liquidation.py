"""Partial liquidation (rulebook §10.2).

A step every interval of house time, until equity ≥ 1.02 R. A step offers the same fraction of every
position, so a hedge stays one; the whole when equity is below half of M, or all that the set holds is worth no more
than the minimum. The slice is sold by auction first (``auctions``), at no worse than the assignment discount; when
the window is over the set is measured again, and the rest is assigned. A step that places nothing has failed, and
the set is in default. The penalty is posted once, after the last step, and never feeds a deficit.
"""

from dataclasses import replace

from clearing import chart
from clearing.decide.auctions import auction_of, close_auction, open_auction, void, worth
from clearing.decide.calls import cure
from clearing.decide.declare import declare
from clearing.decide.placing import assign_position, collateral_for, net_within, sell_collateral
from clearing.decide.treasury import recall_holds
from clearing.default.placement import largest
from clearing.margin.assess import Assessment, assess
from clearing.model.draft import Draft
from clearing.model.house import Drop, House, Put
from clearing.model.ids import AccountKey, InstrumentId, SetId
from clearing.model.kinds import Kind
from clearing.model.values import BP, Auction, AuctionKind, Liquidation, Offered
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
    measured = recall_holds(draft, set_id)
    if measured.equity_minor < 0:
        declare(draft, [measured])
        return
    auction = auction_of(draft.house, AuctionKind.LIQUIDATION, set_id)
    if _recovered(draft.house, measured):
        if auction is not None:
            void(draft, auction, "the set has recovered")
        _close(draft, set_id, measured)
        return
    if auction is not None:
        placed = _award_slice(draft, auction, set_id)
    else:
        piece = _slice(draft.house, set_id, measured)
        if open_auction(draft, AuctionKind.LIQUIDATION, set_id, piece):
            return
        placed = _assign_slice(draft, set_id, piece)
    if placed == 0:
        declare(draft, [assess(draft.house, set_id)])
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


def _slice(house: House, set_id: SetId, measured: Assessment) -> tuple[Offered, ...]:
    """The same fraction of every position, rounded up."""
    held = all_positions(house, (set_id,))
    return _share(held, BP if _is_whole(house, measured, held) else house.parameters.liquidation_step_bp)


def _is_whole(house: House, measured: Assessment, held: tuple[Offered, ...]) -> bool:
    """Whether a step closes everything: too little equity is left to wait, or too small a position to slice."""
    parameters = house.parameters
    poor = measured.equity_minor * BP < measured.maintenance_minor * parameters.liquidation_whole_below_bp
    return poor or worth(house, held) <= parameters.liquidation_minimum_minor


def _share(offered: tuple[Offered, ...], share_bp: int) -> tuple[Offered, ...]:
    return tuple(
        replace(one, size=divide_up(abs(one.size) * share_bp, BP) * (1 if one.size > 0 else -1))
        for one in offered
    )


def _award_slice(draft: Draft, auction: Auction, set_id: SetId) -> int:
    """Award the bids that are no worse than assignment and assign the rest; gives the notional that was placed."""
    sale = close_auction(draft, auction)
    offered = worth(draft.house, sale.left)
    sale.award(draft, sale.up_to(draft.house.parameters.assignment_discount_bp))
    awarded = offered - worth(draft.house, sale.left)
    return awarded + _assign_slice(draft, set_id, sale.left)


def _assign_slice(draft: Draft, set_id: SetId, piece: tuple[Offered, ...]) -> int:
    """Assign a slice to backstop providers; gives the notional that was placed.

    Where providers take so little of one leg that the rest would require no less than before, a hedge
    would be left behind: then the largest share is placed of which they take every leg in full.
    """
    before = assess(draft.house, set_id).requirement_minor
    attempt, placed = _try_slice(draft, set_id, piece)
    if assess(attempt.house, set_id).requirement_minor >= before:
        share_bp = largest(BP, lambda bp: _is_placed(draft, set_id, _share(piece, bp)))
        attempt, placed = _try_slice(draft, set_id, _share(piece, share_bp))
    draft.take(attempt)
    return placed


def _is_placed(draft: Draft, set_id: SetId, piece: tuple[Offered, ...]) -> bool:
    return _try_slice(draft, set_id, piece)[1] == worth(draft.house, piece)


def _try_slice(draft: Draft, set_id: SetId, piece: tuple[Offered, ...]) -> tuple[Draft, int]:
    """A fork on which a slice was placed as far as providers go, and the notional that was."""
    attempt, placed = draft.fork(), 0
    for one in piece:
        placed += assign_position(attempt, one.account, InstrumentId(one.unit), one.size, frozenset({set_id}))
    return attempt, placed


def all_positions(house: House, sets: tuple[SetId, ...]) -> tuple[Offered, ...]:
    """Every open position of the sets, on offer."""
    return tuple(Offered(account=key, unit=i, size=lots) for key, i, lots in positions_of(house, sets))


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


def offer_collateral(draft: Draft, set_id: SetId) -> bool:
    """Open an auction of the collateral that a cash call needs; false if none can be, or its window is over."""
    if auction_of(draft.house, AuctionKind.COLLATERAL, set_id) is not None:
        return False
    return open_auction(draft, AuctionKind.COLLATERAL, set_id, _needed(draft.house, set_id))


def _needed(house: House, set_id: SetId) -> tuple[Offered, ...]:
    return collateral_for(house, house.netting_sets[set_id].accounts, _missing(house, set_id))


def _missing(house: House, set_id: SetId) -> int:
    return -sum(house.cash(key) for key in house.netting_sets[set_id].accounts)


def raise_cash(draft: Draft, set_id: SetId) -> None:
    """An expired cash call: sell collateral for what is missing (rulebook §3), to bids and then to backstop providers.

    What no sale fills is a default.
    """
    auction = auction_of(draft.house, AuctionKind.COLLATERAL, set_id)
    if auction is not None:
        sale = close_auction(draft, auction, _needed(draft.house, set_id))
        sale.award(draft, sale.up_to(draft.house.parameters.assignment_discount_bp))
    missing = _missing(draft.house, set_id)
    for key in draft.house.netting_sets[set_id].accounts:
        if missing > 0:
            missing -= sell_collateral(draft, key, frozenset({set_id}), missing)
    cure(draft, set_id)
    measured = assess(draft.house, set_id)
    if measured.cash_minor < 0:
        declare(draft, [measured])
