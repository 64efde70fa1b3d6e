"""What many books say together, with an interval that knows that those of one day are not independent."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from clearing.margin.backtest.series import Flags, Floats
from clearing.margin.backtest.walk import Walked
from clearing.margin.model import Column

DRAWS = 2_000
NOTHING_SHARE = 1e-4
"""A requirement below this share of the gross notional is none to hold a loss against."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """``times`` are what the interval was drawn from: how much was seen, not how many books looked at it.
    ``mean_requirement`` and ``largest_loss`` are shares of the gross notional; ``worst_exceedance`` is a loss as a
    multiple of its requirement.
    """

    model: str
    name: str
    times: int
    observations: int
    exceptions: int
    coverage: float
    coverage_low: float
    coverage_high: float
    mean_requirement: float
    largest_loss: float
    worst_exceedance: float
    worst_ms: int


def pooled(walked: Walked, model: str, name: str, kept: Flags, *, seed: int = 5) -> Pooled | None:
    """Over the places of ``kept``, shape (times, books), where requirement and outcome are known; None: nowhere."""
    requirement, loss, gross = walked.requirement[model], -walked.end[1], walked.gross
    known = kept & ~np.isnan(requirement) & ~np.isnan(loss) & (gross > 0)
    if not known.any():
        return None
    hits = known & (np.nan_to_num(loss) > np.nan_to_num(requirement))
    seen = known.any(axis=1)
    low, high = _interval(hits.sum(axis=1)[seen], known.sum(axis=1)[seen], seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(known, requirement / gross, np.nan)
        multiple = np.where(known & (share > NOTHING_SHARE), loss / requirement, -np.inf)
        lost = np.where(known, loss / gross, -np.inf)
    worst = np.unravel_index(int(np.argmax(multiple)), multiple.shape)
    return Pooled(
        model=model,
        name=name,
        times=int(seen.sum()),
        observations=int(known.sum()),
        exceptions=int(hits.sum()),
        coverage=float(1 - hits.sum() / known.sum()),
        coverage_low=low,
        coverage_high=high,
        mean_requirement=float(np.nanmean(share)),
        largest_loss=float(lost.max()),
        worst_exceedance=float(multiple[worst]),
        worst_ms=int(walked.times[worst[0]]),
    )


def by_portfolio(walked: Walked, model: str) -> list[Pooled]:
    """Each portfolio in the order of the books, then all books together."""
    names = np.array([book.portfolio for book in walked.books])
    shape = walked.gross.shape
    found = [
        pooled(walked, model, name, np.broadcast_to(names == name, shape))
        for name in dict.fromkeys(names.tolist())
    ]
    found.append(pooled(walked, model, "all", np.ones(shape, np.bool_)))
    return [one for one in found if one is not None]


def by_size(walked: Walked, model: str, edges: Sequence[float]) -> list[Pooled]:
    """By gross notional, between ``edges``."""
    found = [
        pooled(walked, model, f"{low:g} to {high:g}", (walked.gross >= low) & (walked.gross < high))
        for low, high in pairwise(edges)
    ]
    return [one for one in found if one is not None]


def _interval(hits: Column, counts: Column, seed: int) -> tuple[float, float]:
    """Bootstrap over times; without any exception the rule of three, over times."""
    if not hits.any():
        return max(0.0, 1 - 3 / len(counts)), 1.0
    drawn = np.random.default_rng(seed).integers(0, len(counts), size=(DRAWS, len(counts)))
    coverages: Floats = 1 - hits[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(coverages, (0.025, 0.975))
    return float(low), float(high)
