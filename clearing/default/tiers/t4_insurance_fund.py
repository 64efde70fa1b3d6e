"""Tier 4: the insurance fund of penalties and fees, up to its cap per event (rulebook §11.4)."""

from collections.abc import Mapping

from clearing.default.resources import Resources
from clearing.default.tiers.tier import Offer, Tier, single_payer
from clearing.model.ids import MemberId


def offer(resources: Resources, losses: Mapping[MemberId, int]) -> Offer:
    """The fund's balance, as far as the cap allows."""
    return single_payer("house/insurance_fund", resources.insurance_fund, losses)


TIER = Tier(number=4, name="insurance fund", offer=offer)
