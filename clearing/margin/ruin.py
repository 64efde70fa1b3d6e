"""How likely it is that a netting set owes money within a day (rulebook §9): for early warning, never for margin.

It is the share of the recent scenarios, which are scaled to today's volatility, in which equity and P&L together are
below zero. Beyond the worst twentieth of them, where single scenarios would decide, the losses are taken to fall off
by a power of their size (Pareto): the power is that which gives the worst twentieth its mean, rounded down to a half,
between two and eight. Everything is made of operations that every machine rounds alike.

The stress scenarios do not count: they are chosen for being wild, so their share says nothing of tomorrow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearing.margin.model import Held, held_in
from clearing.margin.snapshot import array_by
from clearing.model.house import House
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import PPM, RiskArray
from ledger.amount import divide_up
from ledger.require import require

TAIL_PARTS = 20
"""The tail is the worst one in so many."""
HALF_POWER_LEAST, HALF_POWER_MOST = 4, 16
"""Twice the power by which the tail falls off."""
SAFE = 2**62
DRIVERS_LEAST = 25
"""Drivers are taken from the worst scenarios: those of ruin, but no fewer than these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """What part of the losses in the scenarios of ruin a position brings; below zero: it makes them smaller."""

    instrument: InstrumentId
    underlying: FeedId
    share_ppm: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruin:
    """``probability_ppm`` within 24 hours, in parts per million, rounded up. ``scenarios``: in how many of
    ``of_scenarios`` equity is used up; where it is none of them, the tail alone speaks. ``drivers``: largest first.
    """

    probability_ppm: int
    scenarios: int
    of_scenarios: int
    drivers: tuple[Driver, ...] = ()


def ruin_of(house: House, lots: Mapping[InstrumentId, int], equity_minor: int) -> Ruin:
    """Of a portfolio by the scenarios of ``expected_shortfall``, whatever model is in force."""
    return ruin(lots, equity_minor, array_by(house, "expected_shortfall"))


def ruin(lots: Mapping[InstrumentId, int], equity_minor: int, array: RiskArray) -> Ruin:
    """Of a portfolio with this equity, by the recent scenarios of an array. ``lots``: long is positive."""
    require(array.filtered > 0, "the array knows recent scenarios")
    held = held_in(lots, array)
    legs = _legs(held, array.filtered)
    losses = legs.sum(axis=0)
    order = np.argsort(-losses, kind="stable")
    ruined = int((losses > equity_minor).sum())
    return Ruin(
        probability_ppm=probability_ppm(losses[order].tolist(), equity_minor),
        scenarios=ruined,
        of_scenarios=array.filtered,
        drivers=_drivers(held, legs[:, order[: max(ruined, DRIVERS_LEAST)]].sum(axis=1).tolist()),
    )


def _legs(held: Sequence[Held], count: int) -> NDArray[Any]:
    """What each position loses in each of the first scenarios; Python's integers where 64 bits do not hold the sum."""
    sides = [(row.long_minor if q > 0 else row.short_minor)[:count] for row, q in held]
    widest = sum(abs(q) * max(map(abs, side)) for side, (_, q) in zip(sides, held, strict=True))
    kind = np.int64 if widest * count < SAFE else object
    sizes = np.array([abs(q) for _, q in held], kind).reshape(-1, 1)
    lost: NDArray[Any] = -np.array(sides, kind).reshape(-1, count) * sizes
    return lost


def probability_ppm(losses: Sequence[int], equity_minor: int) -> int:
    """How likely a loss above ``equity_minor`` is, by equally likely losses, the largest first."""
    if equity_minor < 0:
        return PPM
    count = len(losses)
    tail = count // TAIL_PARTS
    edge = losses[tail] if tail else 0
    if edge <= 0 or equity_minor <= edge:
        return divide_up(sum(1 for loss in losses if loss > equity_minor) * PPM, count)
    beyond = _power(edge / equity_minor, _half_power(losses[:tail], edge))
    return int(np.ceil(tail / count * beyond * PPM))


def _half_power(worst: Sequence[int], edge: int) -> int:
    """Twice α of the Pareto tail above ``edge`` whose mean is that of the worst: α / (α − 1) = mean / edge."""
    excess = sum(worst) - len(worst) * edge
    if excess <= 0:
        return HALF_POWER_MOST
    return min(HALF_POWER_MOST, max(HALF_POWER_LEAST, 2 * sum(worst) // excess))


def _power(base: float, half_power: int) -> float:
    """``base`` to the power of half a whole number, one multiplication after the other."""
    found = float(np.sqrt(base)) if half_power % 2 else 1.0
    for _ in range(half_power // 2):
        found *= base
    return found


def _drivers(held: Sequence[Held], lost: Sequence[int]) -> tuple[Driver, ...]:
    """What each position loses in the worst scenarios, of what they lose together."""
    whole = sum(lost)
    if whole <= 0:
        return ()
    found = [
        Driver(instrument=row.instrument, underlying=row.underlying, share_ppm=one * PPM // whole)
        for (row, _), one in zip(held, lost, strict=True)
    ]
    return tuple(sorted(found, key=lambda one: (-one.share_ppm, one.instrument)))
