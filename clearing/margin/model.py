"""What every margin model takes and gives: positions, one portfolio's or all of them in columns; an amount, and the
reasons for it.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from clearing.model.ids import FeedId

Column: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Positions:
    """The positions of ``portfolios`` portfolios, one place of each column for each position: whose it is, in which
    row of the risk array, and how many lots; long is positive, none is zero.
    """

    portfolios: int
    owners: Column
    rows: Column
    lots: Column


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderlyingRisk:
    """The worst scenario of the position in one underlying. ``exposure_minor``: its P&L if the price rises
    by the whole scan range. ``minimum_minor``: the least that is required for options held short.
    """

    underlying: FeedId
    risk_minor: int
    scenario: int
    exposure_minor: int
    minimum_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """Maintenance margin in smallest units of the settlement asset, rounded against the account."""

    amount_minor: int
    underlyings: tuple[UnderlyingRisk, ...] = ()
    credit_minor: int = 0
    basis_minor: int = 0
    floor_minor: int = 0
