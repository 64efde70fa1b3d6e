"""Whether a stated probability is one: of all the times at which it was about a tenth, was it right in a tenth?

Each book of a walk is given equities from a small to a large part of its requirement, and each is a forecast: ruin or
none by the next day. Forecasts of one day stand and fall together, so the interval of what was seen is drawn by days
(bootstrap in blocks), not by forecasts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from clearing.margin.backtest.books import Scene
from clearing.margin.backtest.series import Flags, Floats
from clearing.margin.model import Column
from clearing.margin.ruin import probability_ppm
from clearing.model.values import BP, PPM, RiskArray

CUSHIONS_BP = (1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_500, 9_000, 10_000, 12_500, 15_000, 20_000)
"""Equity as a part of the requirement."""
EDGES_PPM = (0, 100, 300, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, PPM)
"""Forecasts are compared in groups between these."""
EXPECTED_LEAST = 10
"""A group of which fewer are expected to come about says nothing."""
BLOCK, DRAWS = 20, 1_000


@dataclass(frozen=True, slots=True, eq=False)
class Forecasts:
    """Shape (forecasts,): when, how likely, and whether it came about."""

    at_ms: Column
    stated_ppm: Column
    came: Flags

    def only(self, kept: Flags) -> "Forecasts":
        """Some of them."""
        return Forecasts(self.at_ms[kept], self.stated_ppm[kept], self.came[kept])


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Forecasts of about the same probability: what was stated on average and what was seen, as shares."""

    forecasts: int
    came: int
    stated: float
    seen: float
    seen_low: float
    seen_high: float

    @property
    def agrees(self) -> bool | None:
        """Whether what was stated is within the interval of what was seen; None: too few to say."""
        if self.stated * self.forecasts < EXPECTED_LEAST:
            return None
        return self.seen_low <= self.stated <= self.seen_high


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """``brier``: mean squared error; ``brier_of_base``: of the forecast that always states the overall share.
    ``calibration_error``: the mean distance of stated and seen over the groups, weighed by their forecasts.
    """

    forecasts: int
    days: int
    base: float
    brier: float
    brier_of_base: float
    calibration_error: float
    groups: tuple[Group, ...]

    @property
    def is_calibrated(self) -> bool:
        """Whether every group that can say agrees."""
        said = [group.agrees for group in self.groups if group.agrees is not None]
        return bool(said) and all(said)


def forecasts(scene: Scene, array: RiskArray, requirement: Sequence[int]) -> Forecasts:
    """Of each book of a scene whose outcome is known, at every cushion."""
    filtered = array.filtered
    row_of = {row.instrument: row for row in array.instruments}
    found: list[tuple[int, bool]] = []
    long = np.array([row_of[one.id].long_minor[:filtered] for one in scene.instruments], np.float64)
    short = np.array([row_of[one.id].short_minor[:filtered] for one in scene.instruments], np.float64)
    for number, lots in enumerate(scene.lots):
        outcome = scene.end_minor[1][number]
        if not lots.any() or np.isnan(outcome):
            continue
        losses = -(np.maximum(lots, 0) @ long + np.maximum(-lots, 0) @ short)
        ordered = np.sort(losses)[::-1].astype(np.int64).tolist()
        for cushion_bp in CUSHIONS_BP:
            equity = requirement[number] * cushion_bp // BP
            found.append((probability_ppm(ordered, equity), -outcome > equity))
    stated, came = zip(*found, strict=True) if found else ((), ())
    return Forecasts(
        np.full(len(found), scene.at_ms, np.int64), np.array(stated, np.int64), np.array(came, np.bool_)
    )


def together(parts: Sequence[Forecasts]) -> Forecasts:
    """The forecasts of many scenes."""
    return Forecasts(
        np.concatenate([part.at_ms for part in parts]),
        np.concatenate([part.stated_ppm for part in parts]),
        np.concatenate([part.came for part in parts]),
    )


def reliability(made: Forecasts, *, seed: int = 11) -> Reliability:
    """Stated against seen, by groups."""
    stated, came = made.stated_ppm / PPM, made.came.astype(np.float64)
    days, day_of = np.unique(made.at_ms, return_inverse=True)
    base = float(came.mean())
    groups, error = [], 0.0
    for low, high in pairwise(EDGES_PPM):
        own = (made.stated_ppm > low) & (made.stated_ppm <= high)
        own |= (made.stated_ppm == 0) & (low == 0)
        if own.any():
            group = _group(stated[own], came[own], day_of[own], len(days), seed)
            groups.append(group)
            error += abs(group.stated - group.seen) * group.forecasts
    return Reliability(
        forecasts=len(came),
        days=len(days),
        base=base,
        brier=float(((stated - came) ** 2).mean()),
        brier_of_base=base * (1 - base),
        calibration_error=error / len(came),
        groups=tuple(groups),
    )


def _group(stated: Floats, came: Floats, day_of: Column, days: int, seed: int) -> Group:
    """One group; its interval is of shares when blocks of days are drawn anew."""
    counts = np.bincount(day_of, minlength=days).astype(np.float64)
    hits = np.bincount(day_of, weights=came, minlength=days)
    length = min(BLOCK, days)
    counts = np.convolve(np.concatenate([counts, counts[: length - 1]]), np.ones(length), "valid")
    hits = np.convolve(np.concatenate([hits, hits[: length - 1]]), np.ones(length), "valid")
    starts = np.random.default_rng(seed).integers(0, days, size=(DRAWS, -(-days // length)))
    drawn = hits[starts].sum(axis=1) / np.maximum(1, counts[starts].sum(axis=1))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Group(
        forecasts=len(came),
        came=int(came.sum()),
        stated=float(stated.mean()),
        seen=float(came.mean()),
        seen_low=float(low),
        seen_high=float(high),
    )
