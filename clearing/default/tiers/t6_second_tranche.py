"""Tier 6: the house's second tranche, before recovery tools (rulebook §11.6; Regulation (EU) 2021/23)."""

from collections.abc import Mapping

from clearing.default.resources import Resources
from clearing.default.tiers.tier import Offer, Tier, single_payer
from clearing.model.ids import MemberId


def offer(resources: Resources, losses: Mapping[MemberId, int]) -> Offer:
    """What is left of the second tranche."""
    return single_payer("house/second_tranche", resources.second_tranche, losses)


TIER = Tier(number=6, name="second tranche", offer=offer)
