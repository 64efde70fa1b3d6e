"""``grid``: prices × volatilities with extended tails, as portfolio-margin venues publish (rulebook §9.3).

Assumptions: within a day the price of an underlying and its volatility stay inside their scan ranges, or the price
goes much further once in a while; all instruments on it move together but for the basis floor; two underlyings offset
nothing. The model does not react to volatility; an administrator sets the ranges.

1. The matrix: the price moves by 0, ±1/4, ±2/4, ±3/4, ±4/4 of the scan range, each with volatility up, unchanged and
   down. The tails: two and three times the range with volatility up, of which a half and a third of the P&L counts.
   So a tail asks of a linear position what the range does, and of who sold options far away more.
2. The worst cell of each underlying, and no credit between underlyings.
3. Contingency: the minimum for each option held short comes on top, and opposite positions in different instruments
   on one underlying pay the basis charge.

What becomes of the cells, and which laws that keeps, says ``cells``.
"""

from fractions import Fraction
from typing import Final

from clearing.margin.cells import Cell, Matrix

QUARTERS = (0, 1, -1, 2, -2, 3, -3, 4, -4)
WAYS = (("up", 1), ("unchanged", 0), ("down", -1))
TAILS = (2, -2, 3, -3)

GRID: Final = Matrix(
    model="grid",
    cells=(
        *(
            Cell(name=f"price {q:+d}/4, volatility {way}", ranges=Fraction(q, 4), volatility=volatility)
            for q in QUARTERS
            for way, volatility in WAYS
        ),
        *(
            Cell(
                name=f"price {n:+d} ranges, volatility up, 1/{abs(n)} counted",
                ranges=Fraction(n),
                volatility=1,
                counted=Fraction(1, abs(n)),
            )
            for n in TAILS
        ),
    ),
    gives_credit=False,
    adds_minimum=True,
)
