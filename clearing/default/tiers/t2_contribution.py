"""Tier 2: the defaulter's pool contribution (rulebook §11.2)."""

from collections.abc import Mapping

from clearing.default.resources import Resources
from clearing.default.tiers.tier import Offer, Tier
from clearing.model.ids import MemberId


def offer(resources: Resources, losses: Mapping[MemberId, int]) -> Offer:
    """Each defaulter's contribution pays that defaulter's loss only."""
    parts = {str(m): min(resources.pool[m], loss) for m, loss in losses.items()}
    return Offer(sum(resources.pool[m] for m in losses), parts)


TIER = Tier(number=2, name="defaulter's pool contribution", offer=offer)
