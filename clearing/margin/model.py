"""What every margin model takes and gives: positions, one portfolio's or all of them in columns; an amount, and the
reasons for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import InstrumentRisk, RiskArray
from ledger.require import require

Column: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class States:
    """The moves of underlyings that a model imagines, in parts per million of their price: shape (scenarios,
    underlyings). The first ``filtered`` scenarios are recent days scaled to what the market is like now, the others
    days of stress as they were.
    """

    underlyings: tuple[FeedId, ...] = ()
    moves_ppm: Column = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    filtered: int = 0

    def of(self, underlying: FeedId) -> Column:
        """The moves of one underlying."""
        column: Column = self.moves_ppm[:, self.underlyings.index(underlying)]
        return column


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Market:
    """What a snapshot says of the market: marks in ticks by feed, when it was accepted, what might happen next, and
    how many lots of each instrument are open.
    """

    prices: Mapping[FeedId, int]
    at_ms: int
    states: States = field(default_factory=States)
    open_lots: Mapping[InstrumentId, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Positions:
    """The positions of ``portfolios`` portfolios, one place of each column for each position: whose it is, in which
    row of the risk array, and how many lots; long is positive, none is zero.
    """

    portfolios: int
    owners: Column
    rows: Column
    lots: Column

    def largest(self, of_lot: Sequence[int]) -> int:
        """No portfolio's sum of any of its positions is beyond this, if a lot of each row counts ``of_lot``."""
        most_lots = np.zeros(len(of_lot), np.int64)
        np.maximum.at(most_lots, self.rows, np.abs(self.lots))
        held = np.flatnonzero(most_lots)
        widest: int = max(
            lots * of_lot[row] for row, lots in zip(held.tolist(), most_lots[held].tolist(), strict=True)
        )
        return widest * int(np.bincount(self.owners).max())

    def apart(self, array: RiskArray) -> list[dict[InstrumentId, int]]:
        """Each portfolio by itself, with the instruments of the array."""
        found: list[dict[InstrumentId, int]] = [{} for _ in range(self.portfolios)]
        places = zip(self.owners.tolist(), self.rows.tolist(), self.lots.tolist(), strict=True)
        for owner, row, lots in places:
            found[owner][array.instruments[row].instrument] = lots
        return found


Held: TypeAlias = tuple[InstrumentRisk, int]
"""The row of a position, and its lots."""


def held_in(lots: Mapping[InstrumentId, int], array: RiskArray) -> list[Held]:
    """The positions that are not zero, in the order of the array."""
    held = [(row, lots[row.instrument]) for row in array.instruments if lots.get(row.instrument)]
    require(len(held) == sum(1 for q in lots.values() if q), "every position has a row in the risk array")
    return held


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
class Tail:
    """The mean of the worst losses of some scenarios, rounded up, and its weight in the risk of all."""

    title: str
    scenarios: int
    mean_minor: int
    weight_bp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """Maintenance margin in smallest units of the settlement asset, rounded against the account. ``contributions``:
    what the position in each instrument brings of it by Euler's attribution; they sum to the amount. ``risk_minor``:
    what the scenarios ask for, before credit, charge and floor; of ``tails``, if it is a mean of them.
    """

    amount_minor: int
    risk_minor: int = 0
    tails: tuple[Tail, ...] = ()
    contributions: Mapping[InstrumentId, int] = field(default_factory=dict)
    underlyings: tuple[UnderlyingRisk, ...] = ()
    credit_minor: int = 0
    basis_minor: int = 0
    floor_minor: int = 0
