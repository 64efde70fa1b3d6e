"""Tier 7: assessments on the survivors (rulebook §11.7).

Pro rata to required contributions, each up to what is left of its cap in the capped period. Until
it is paid an assessment is a receivable.
"""

from collections.abc import Mapping

from clearing.default.resources import Resources
from clearing.default.tiers.tier import Offer, Tier
from clearing.model.apportion import apportion
from clearing.model.ids import MemberId


def offer(resources: Resources, losses: Mapping[MemberId, int]) -> Offer:
    """Each survivor is called for at most what is left of its cap."""
    weights = {str(m): resources.required[m] for m in resources.survivors}
    caps = {str(m): resources.assessable[m] for m in resources.survivors}
    parts = apportion(sum(losses.values()), weights, resources.event, caps)
    return Offer(sum(caps[m] for m, weight in weights.items() if weight), parts)


TIER = Tier(number=7, name="assessments", offer=offer)
