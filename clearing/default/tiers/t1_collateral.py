"""Tier 1: the defaulter's own collateral (rulebook §11.1).

The netting set's went in the close-out; what is left to take is the member's house account. Other
clients' collateral stays untouched.
"""

from collections.abc import Mapping

from clearing.default.resources import Resources
from clearing.default.tiers.tier import Offer, Tier
from clearing.model.ids import MemberId


def offer(resources: Resources, losses: Mapping[MemberId, int]) -> Offer:
    """Each defaulter's house account pays that defaulter's loss only."""
    parts = {str(m): min(resources.house_cash[m], loss) for m, loss in losses.items()}
    return Offer(sum(resources.house_cash[m] for m in losses), parts)


TIER = Tier(number=1, name="defaulter's collateral", offer=offer)
