"""``scan``: the SPAN-type model (rulebook §9.2).

Assumptions: within a day the price of an underlying and its volatility stay inside their scan ranges, all
instruments on it move together but for the basis floor, and two underlyings offset at the listed rate. The model
does not react to volatility; an administrator sets the ranges.

Sixteen scenarios an underlying: price 0, ±1/3, ±2/3, ±3/3 of the scan range, each with volatility up and down
(the same for linear instruments), and two moves of twice the range of which 35 % counts. What becomes of them, and
which laws that keeps, says ``cells``.
"""

from fractions import Fraction
from typing import Final

from clearing.margin.cells import Cell, Matrix

THIRDS = (0, 1, -1, 2, -2, 3, -3)
EXTREME_THIRDS = 6
EXTREME_COVER = Fraction(35, 100)
WAYS = (("up", 1), ("down", -1))

SCAN: Final = Matrix(
    model="scan",
    cells=(
        *(
            Cell(name=f"price {t:+d}/3, volatility {way}", ranges=Fraction(t, 3), volatility=volatility)
            for t in THIRDS
            for way, volatility in WAYS
        ),
        *(
            Cell(
                name=f"price {t:+d}/3, 35 % counted",
                ranges=Fraction(t, 3),
                volatility=0,
                counted=EXTREME_COVER,
            )
            for t in (EXTREME_THIRDS, -EXTREME_THIRDS)
        ),
    ),
    gives_credit=True,
    adds_minimum=False,
)
