"""Tier 3: the house's skin in the game, before any survivor pays (rulebook §11.3; RTS 153/2013 art. 35)."""

from collections.abc import Mapping

from clearing.default.resources import Resources
from clearing.default.tiers.tier import Offer, Tier, single_payer
from clearing.model.ids import MemberId


def offer(resources: Resources, losses: Mapping[MemberId, int]) -> Offer:
    """What is left of the first tranche."""
    return single_payer("house/skin_in_the_game", resources.skin_in_the_game, losses)


TIER = Tier(number=3, name="skin in the game", offer=offer)
