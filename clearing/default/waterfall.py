"""The default waterfall (rulebook §11): a loss goes down the tiers until it is paid.

A tier pays what it can and passes on the rest; the question is always "can this tier pay this
loss?", never a balance threshold. What no tier could pay has a holder: ``uncovered`` (tier 9).
Σ draws + uncovered = loss is required here, and again by the balanced entry that posts it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from clearing.default.resources import Resources
from clearing.default.tiers import (
    t1_collateral,
    t2_contribution,
    t3_skin_in_the_game,
    t4_insurance_fund,
    t5_pool,
    t6_second_tranche,
    t7_assessments,
    t8_gains,
)
from clearing.model.ids import MemberId
from clearing.model.values import Draw, TierResult
from ledger.require import require

TIERS = (
    t1_collateral.TIER,
    t2_contribution.TIER,
    t3_skin_in_the_game.TIER,
    t4_insurance_fund.TIER,
    t5_pool.TIER,
    t6_second_tranche.TIER,
    t7_assessments.TIER,
    t8_gains.TIER,
)

OWN_TIERS = (1, 2)
"""Tiers that pay their own defaulter's loss only; later ones pay the sum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Absorbed:
    """How a loss was paid: the draws, what each tier had and passed on, and what is left."""

    draws: tuple[Draw, ...]
    tiers: tuple[TierResult, ...]
    uncovered_minor: int


def absorb(resources: Resources, losses: Mapping[MemberId, int]) -> Absorbed:
    """Let the tiers pay ``losses`` (by defaulted member, settlement asset) in their order."""
    left = {member: losses[member] for member in sorted(losses)}
    draws: list[Draw] = []
    results: list[TierResult] = []
    for tier in TIERS:
        offer = tier.offer(resources, left)
        paid = sum(offer.parts.values())
        require(
            0 <= paid <= min(offer.available_minor, sum(left.values())),
            f"tier {tier.number} pays what it can",
        )
        draws += [
            Draw(tier=tier.number, payer=payer, amount_minor=amount)
            for payer, amount in sorted(offer.parts.items())
            if amount
        ]
        left = _after(left, offer.parts, paid, own=tier.number in OWN_TIERS)
        results.append(
            TierResult(
                tier=tier.number,
                name=tier.name,
                available_minor=offer.available_minor,
                paid_minor=paid,
                passed_on_minor=sum(left.values()),
            )
        )
    uncovered = sum(left.values())
    require(
        sum(d.amount_minor for d in draws) + uncovered == sum(losses.values()), "draws + uncovered = loss"
    )
    return Absorbed(draws=tuple(draws), tiers=tuple(results), uncovered_minor=uncovered)


def _after(
    left: Mapping[MemberId, int], parts: Mapping[str, int], paid: int, *, own: bool
) -> dict[MemberId, int]:
    """The losses that are left: an own tier lowers its defaulter's, a common one the sum.

    The common tiers only look at the sum, so which defaulter's loss they pay first is bookkeeping.
    """
    if own:
        return {member: loss - parts.get(member, 0) for member, loss in left.items()}
    after: dict[MemberId, int] = {}
    for member, loss in left.items():
        share = min(loss, paid)
        after[member] = loss - share
        paid -= share
    return after
