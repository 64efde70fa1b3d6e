"""Splitting an amount so that the parts sum to the whole (rulebook §1, largest remainder)."""

import hashlib
from collections.abc import Mapping

from ledger.require import require


def apportion(
    total: int, weights: Mapping[str, int], event_id: str, caps: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Split ``total`` by ``weights``; no part exceeds its cap, what a cap leaves is spread over the others.

    Parts are rounded by largest remainder, ties to the smaller SHA-256(event id ‖ party), so the
    order of the parties does not matter. Where weights are all zero nothing is paid. The parts sum to
    min(total, sum of the caps of parties with a weight). All arguments are non-negative integers.
    """
    require(total >= 0 and all(w >= 0 for w in weights.values()), "apportioned amounts are not negative")
    limits = {party: total if caps is None else caps[party] for party, weight in weights.items() if weight}
    parts = dict.fromkeys(weights, 0)
    active = dict.fromkeys(limits)
    left = min(total, sum(limits.values())) if limits else 0
    while full := _over(left, active, weights, limits):
        for party in full:
            parts[party] = limits[party]
            left -= limits[party]
            del active[party]
    parts |= _largest_remainder(left, {party: weights[party] for party in active}, event_id)
    return parts


def _over(
    left: int, active: Mapping[str, None], weights: Mapping[str, int], limits: Mapping[str, int]
) -> list[str]:
    """Active parties whose exact share exceeds their limit."""
    whole = sum(weights[party] for party in active)
    return [party for party in active if left * weights[party] > limits[party] * whole]


def _largest_remainder(total: int, weights: Mapping[str, int], event_id: str) -> dict[str, int]:
    whole = sum(weights.values())
    if whole == 0:
        return {}
    parts = {party: total * weight // whole for party, weight in weights.items()}
    by_remainder = sorted(
        weights,
        key=lambda party: (
            -(total * weights[party] % whole),
            hashlib.sha256(f"{event_id}{party}".encode()).digest(),
        ),
    )
    for party in by_remainder[: total - sum(parts.values())]:
        parts[party] += 1
    return parts
