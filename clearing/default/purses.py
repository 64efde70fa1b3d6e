"""Where a draw is taken from, where its claim stands, and where a recovery goes (rulebook §3, §11).

One place knows for every tier: the account that pays, the account that holds the claim on
recoveries, and the account that a repayment is credited to. A claim stands where the gain was given up; the
repayment reaches the account to which that one was ported.
"""

from clearing import chart
from clearing.model.house import House
from clearing.model.ids import AccountKey, MemberId, house_account
from clearing.model.values import Claim, Draw
from ledger.account import Account

ANSWER = 0
"""The tier number under which an answering member's claim is kept (rulebook §10.5)."""
SKIN = 3
POOL = 5
GAINS = 8
ASSESSMENTS = 7
WIND_DOWN = 9
FIRST_CLAIM_TIER = 2
REPAYMENT_ORDER = (9, 8, 7, 6, 5, 4, 3, 2, ANSWER)
"""Recoveries repay in reverse, then those who answered, then the estate."""


def drawn_from(house: House, draw: Draw) -> Account:
    """The account that a draw debits. An assessment is drawn as a receivable."""
    if draw.tier == ASSESSMENTS:
        return chart.assessment(MemberId(draw.payer), house.settlement)
    return _purse(house, draw.tier, draw.payer)


def repaid_to(house: House, claim: Claim) -> Account:
    """The account that a repayment of ``claim`` credits."""
    return _purse(house, claim.tier, claim.payer)


def _purse(house: House, tier: int, payer: str) -> Account:
    asset = house.settlement
    match tier:
        case 2 | 5:
            return chart.pool(MemberId(payer), asset)
        case 3:
            return chart.skin_in_the_game(asset)
        case 4:
            return chart.insurance_fund(asset)
        case 6:
            return chart.second_tranche(asset)
        case 8 | 9:
            return chart.cash(house.holder(AccountKey(payer)), asset)
        case _:
            return chart.cash(house_account(MemberId(payer)), asset)


def claim_account(house: House, tier: int, payer: str) -> Account:
    """The account in which the payer's claim on recoveries stands."""
    asset = house.settlement
    if tier in (3, 4, 6):
        return chart.house_claim(tier, asset)
    if tier in (GAINS, WIND_DOWN):
        return chart.account_claim(AccountKey(payer), asset)
    return chart.member_claim(MemberId(payer), asset)
