"""Tier 5: the survivors' contributions to the mutualised pool (rulebook §11.5).

Pro rata to required contributions (where none is required, to what was paid in); what one
contribution cannot pay is spread over the others. Those whose bids did not count in the auction pay first, up to
what they have, then the bidders (juniorisation); without an auction nobody bid, and all pay alike.
"""

from collections.abc import Mapping

from clearing.default.resources import Resources
from clearing.default.tiers.tier import Offer, Tier
from clearing.model.apportion import apportion
from clearing.model.ids import MemberId


def offer(resources: Resources, losses: Mapping[MemberId, int]) -> Offer:
    """Each survivor pays at most what it has in the pool."""
    weights = {str(m): resources.required[m] or resources.pool[m] for m in resources.survivors}
    caps = {str(m): resources.pool[m] for m in resources.survivors}
    junior = {m: weight for m, weight in weights.items() if m not in resources.bidders}
    senior = {m: weight for m, weight in weights.items() if m in resources.bidders}
    loss = sum(losses.values())
    parts = apportion(loss, junior, resources.event, caps)
    parts |= apportion(loss - sum(parts.values()), senior, resources.event, caps)
    return Offer(sum(caps[m] for m, weight in weights.items() if weight), parts)


TIER = Tier(number=5, name="mutualised pool", offer=offer)
