"""How the volatility of an option moved with its forward, as it was quoted: what the model's constants come from.

Each option at the money at the beginning of a step is looked at again at its end, with the same strike:

    d ln(volatility) × √(T / 30 days) = shift + slope × r + curve × |r| + residual      (least squares)

*Common* is the part of the residual that all expiries of a currency share on a day, *own* what is left of each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clearing.margin.backtest.series import Flags, Floats
from clearing.margin.backtest.surface import Snapshot
from clearing.margin.model import Column

REFERENCE_DAYS = 30
LEAST_DAYS_LEFT = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """Shape (options): when, of which group (a currency on a day), the forward's return, the scaled volatility move."""

    at_ms: Column
    group: Column
    returns: Floats
    scaled: Floats

    def only(self, kept: Flags) -> "Moves":
        """Some of them."""
        return Moves(self.at_ms[kept], self.group[kept], self.returns[kept], self.scaled[kept])


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """``residual``: its standard deviation, of the moves fitted. ``judged_residual`` and ``judged_beyond``: of the
    moves judged, its root mean square and the share beyond the fitted 1st and 99th percentiles (0.02 is as promised);
    ``judged_explained``: 1 − residual variance ∕ variance, below zero if a constant says more.
    """

    moves: int
    days: int
    shift: float
    slope: float
    curve: float
    residual: float
    common: float
    own: float
    judged_moves: int
    judged_residual: float
    judged_beyond: float
    judged_explained: float


def moves(snapshots: Mapping[int, Snapshot], steps: Sequence[tuple[int, int]]) -> Moves:
    """Every expiry that is quoted at both ends of a step."""
    found: list[tuple[int, int, float, float]] = []
    for number, (at_ms, end_ms) in enumerate(steps):
        for place, currency in enumerate(sorted(snapshots[at_ms])):
            after = {one.expires_ms: one for one in snapshots[end_ms].get(currency, ())}
            for quote in snapshots[at_ms][currency]:
                end = after.get(quote.expires_ms)
                if end is None or end.days < LEAST_DAYS_LEFT:
                    continue
                change = np.log(end.volatility(quote.forward) / quote.at_the_money)
                scaled = float(change * np.sqrt(quote.days / REFERENCE_DAYS))
                group = number * len(snapshots[at_ms]) + place
                found.append((at_ms, group, end.forward / quote.forward - 1, scaled))
    at, groups, returns, scaled_moves = zip(*found, strict=True) if found else ((), (), (), ())
    return Moves(
        np.array(at, np.int64),
        np.array(groups, np.int64),
        np.array(returns, np.float64),
        np.array(scaled_moves, np.float64),
    )


def fit(fitted: Moves, judged: Moves) -> Fit:
    """On some moves, judged by others."""
    design = _design(fitted.returns)
    found = np.linalg.lstsq(design, fitted.scaled, rcond=None)[0]
    rest = fitted.scaled - design @ found
    _, groups = np.unique(fitted.group, return_inverse=True)
    common = np.bincount(groups, weights=rest) / np.bincount(groups)
    low, high = np.quantile(rest, (0.01, 0.99))
    error = judged.scaled - _design(judged.returns) @ found
    spread = judged.scaled - judged.scaled.mean()
    return Fit(
        moves=len(rest),
        days=len(np.unique(fitted.at_ms)),
        shift=float(found[0]),
        slope=float(found[1]),
        curve=float(found[2]),
        residual=float(rest.std()),
        common=float(common.std()),
        own=float((rest - common[groups]).std()),
        judged_moves=len(error),
        judged_residual=float(np.sqrt((error**2).mean())),
        judged_beyond=float(((error < low) | (error > high)).mean()),
        judged_explained=float(1 - (error**2).sum() / (spread**2).sum()),
    )


def by_halves(found: Moves) -> tuple[Fit, Fit, Fit]:
    """Fitted on everything and judged by it; on the first half of the days, judged by the second; the other way."""
    middle = np.unique(found.at_ms)[len(np.unique(found.at_ms)) // 2]
    first, second = found.only(found.at_ms < middle), found.only(found.at_ms >= middle)
    return fit(found, found), fit(first, second), fit(second, first)


def _design(returns: Floats) -> Floats:
    return np.column_stack([np.ones(len(returns)), returns, np.abs(returns)])
