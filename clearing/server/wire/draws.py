"""Who pays a loss, and who pays it back: what previews and defaults have in common."""

from collections.abc import Iterable

from clearing.model.ids import AccountKey, MemberId, member_of
from clearing.model.units import Unit
from clearing.model.values import Draw, MemberPart, TierResult
from clearing.server.wire import names
from clearinghouse.v1 import common_pb2 as pb

GAINS_TIER = 8
"""The tier whose payers are accounts (rulebook §11.8)."""
_FUND_PREFIX = "house/"


def payer_name(tier: int, payer: str) -> str:
    """The resource name of a payer, or the fund of the house that it is."""
    if payer.startswith(_FUND_PREFIX):
        return payer
    return names.account(AccountKey(payer)) if tier == GAINS_TIER else names.member(MemberId(payer))


def payer_member(tier: int, payer: str) -> MemberId | None:
    """The member whose money a payer is, or None for a fund of the house."""
    if payer.startswith(_FUND_PREFIX):
        return None
    return member_of(AccountKey(payer)) if tier == GAINS_TIER else MemberId(payer)


def draw(row: Draw, unit: Unit) -> pb.Draw:
    """What a tier took from a payer."""
    payer = payer_name(row.tier, row.payer)
    return pb.Draw(tier=row.tier, payer=payer, amount=unit.render(row.amount_minor))


def tier(row: TierResult, unit: Unit) -> pb.Tier:
    """What a tier had, paid and passed on."""
    return pb.Tier(
        tier=row.tier,
        title=row.name,
        available=unit.render(row.available_minor),
        paid=unit.render(row.paid_minor),
        passed_on=unit.render(row.passed_on_minor),
    )


def parts(rows: Iterable[MemberPart], unit: Unit) -> list[pb.MemberAmount]:
    """Members' parts of an amount."""
    return [
        pb.MemberAmount(member=names.member(row.member), amount=unit.render(row.amount_minor)) for row in rows
    ]
