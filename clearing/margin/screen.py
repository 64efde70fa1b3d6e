"""Which portfolios surely have enough after the market moved, without their expected shortfall (rulebook §9.1).

A portfolio's expected shortfall is a mean of its worst losses, so it rises by no more than the largest rise of its loss
in any scenario, and that is no more than the sum over its positions of lots × the largest rise of that row's loss. The
same holds for the offset cap's share of each position alone; the minimum of each position rises by itself. All
three are rounded up from what is exact, and the bound is a whole number, so it holds to the unit:

    amount after ≤ amount before + Σ lots × max(largest rise of a lot's loss, rise of its minimum)

Whoever has more than the bound is cleared. All others are measured exactly: the screen never decides against anybody.
"""

from collections.abc import Sequence

import numpy as np

from clearing.margin.model import Column, Positions
from clearing.margin.models import expected_shortfall
from clearing.margin.sweep import part_of
from clearing.margin.tick import changed_rows
from clearing.model.values import Parameters, RiskArray

SAFE = 2**62


def above(
    book: Positions,
    amounts: Sequence[int],
    before: RiskArray,
    after: RiskArray,
    parameters: Parameters,
    limits: Sequence[int],
) -> dict[int, int]:
    """The portfolios whose amount under the array ``after`` is above their limit, their equity say, with that amount.
    ``amounts``: what they were under the array ``before``.
    """
    rise = rises_at_most(book, before, after, parameters)
    doubtful = [
        portfolio
        for portfolio, (amount, limit) in enumerate(zip(amounts, limits, strict=True))
        if rise is None or amount + int(rise[portfolio]) > limit
    ]
    exact = expected_shortfall.amounts(part_of(book, doubtful), after, parameters)
    found = zip(doubtful, exact, strict=True)
    return {portfolio: amount for portfolio, amount in found if amount > limits[portfolio]}


def rises_at_most(
    book: Positions, before: RiskArray, after: RiskArray, parameters: Parameters
) -> Column | None:
    """By how much the amount of each portfolio rises at most; nothing if 64 bits might not hold it."""
    changed = changed_rows(before, after)
    climbs = expected_shortfall.climbs(before, after, changed, parameters)
    highest = max((climb for sides in climbs for climb in sides), default=0)
    if highest * int(np.abs(book.lots).max(initial=0)) * len(book.lots) >= SAFE:
        return None
    per_lot = np.zeros((2, len(after.instruments)), np.int64)
    per_lot[:, changed] = np.array(climbs, np.int64).reshape(-1, 2).T
    rises = np.zeros(book.portfolios, np.int64)
    is_short = (book.lots < 0).astype(np.int64)
    np.add.at(rises, book.owners, per_lot[is_short, book.rows] * np.abs(book.lots))
    return rises
