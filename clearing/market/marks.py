"""The mark: the median of a quorum (rulebook §6).

1. Only fresh observations count.
2. Those further than the outlier bound from the median are dropped and reported.
3. A quorum must be left. The mark is the median of what is left; with an even count the mean of the
   middle two, rounded towards the previous mark.
"""

from collections.abc import Sequence

from clearing.model.ids import FeedId
from clearing.model.values import BP, Mark, Observation


def mark_of(
    feed: FeedId, fresh: Sequence[Observation], previous_ticks: int | None, *, quorum: int, outlier_bp: int
) -> Mark | None:
    """The mark that ``fresh`` observations support, or None without a quorum."""
    if len(fresh) < quorum:
        return None
    centre_twice = _median_twice(fresh)
    near = [o for o in fresh if abs(2 * o.price_ticks - centre_twice) * BP <= outlier_bp * centre_twice]
    if len(near) < quorum:
        return None
    kept = {o.source for o in near}
    return Mark(
        feed=feed,
        price_ticks=_towards(_median_twice(near), previous_ticks),
        sources=tuple(sorted(kept)),
        dropped=tuple(sorted(o.source for o in fresh if o.source not in kept)),
    )


def _median_twice(observations: Sequence[Observation]) -> int:
    """Twice the median, so that it stays an integer."""
    prices = sorted(o.price_ticks for o in observations)
    middle = len(prices) // 2
    return 2 * prices[middle] if len(prices) % 2 else prices[middle - 1] + prices[middle]


def _towards(twice: int, previous_ticks: int | None) -> int:
    """Half of ``twice``; a half tick goes towards the previous mark, downwards when there is none."""
    down, odd = divmod(twice, 2)
    return down + 1 if odd and previous_ticks is not None and previous_ticks > down else down
