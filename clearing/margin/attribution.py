"""Who brings how much of a requirement (rulebook §9): Euler's attribution in whole units.

A requirement that doubles with the book is the sum over its legs of what each adds at the margin. What a model knows of
that as weights is made into smallest units here, and nothing is lost: the parts sum to the amount.
"""

from collections.abc import Mapping
from typing import TypeVar

from ledger.amount import divide_down

K = TypeVar("K", bound=str)


def attributed(amount_minor: int, weights: Mapping[K, int]) -> dict[K, int]:
    """``amount_minor`` in proportion to ``weights``, of which a leg that hedges others has a negative one.

    Each part is rounded down; the units that are left go to the largest remainders, the first of equal ones by name.
    Without any weight that is left after hedging, every leg counts alike.
    """
    total = sum(weights.values())
    if total <= 0:
        weights, total = dict.fromkeys(weights, 1), len(weights)
    parts = {key: divide_down(amount_minor * weight, total) for key, weight in weights.items()}
    left = amount_minor - sum(parts.values())
    by_remainder = sorted(weights, key=lambda key: (-(amount_minor * weights[key] % total), key))
    for key in by_remainder[:left]:
        parts[key] += 1
    return parts
