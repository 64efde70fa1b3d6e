"""Recoveries (rulebook §11): money from the defaulter's estate repays in reverse.

First what no tier could pay (tier 9: it is owed to everyone whose outflows are shut), then those who shared it in
a wind-down, then the winners, then the tiers from 7 down to 2, pro rata within a tier; then those who
answered; what is left belongs to the estate. Every claim shrinks by what it was paid.
"""

from dataclasses import replace

from clearing import chart
from clearing.decide.treasury import amount_refusal, lowered
from clearing.default.purses import POOL, REPAYMENT_ORDER, claim_account, repaid_to
from clearing.model.apportion import apportion
from clearing.model.commands import RecordRecovery
from clearing.model.draft import Draft
from clearing.model.house import Drop, House, Put
from clearing.model.ids import AccountKey, house_account
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import Claim, Default, Stage
from ledger.entry import Leg, transfer
from ledger.require import require


def record_recovery(draft: Draft, command: RecordRecovery) -> Rejected | None:
    """Take a recovery into custody and distribute it in one entry."""
    default = draft.house.defaults.get(command.default)
    if default is None:
        return Rejected(Reason.DEFAULT_UNKNOWN, command.default)
    if default.stage is not Stage.RECOVERING:
        return Rejected(Reason.DEFAULT_NOT_RECOVERING, default.stage.value)
    if (rejected := amount_refusal(command.amount_minor)) is not None:
        return rejected
    asset = draft.house.settlement
    received = transfer(chart.custody(asset), chart.recoveries(default.id, asset), command.amount_minor)
    draft.record(Kind.RECOVERY_RECEIVED, legs=received, references=(default.id,))
    _distribute(draft, default, command.amount_minor)
    return None


def _distribute(draft: Draft, default: Default, amount_minor: int) -> None:
    refilled = min(default.uncovered_minor, amount_minor)
    payments, estate = repayments(default, amount_minor - refilled)
    after = replace(
        default,
        uncovered_minor=default.uncovered_minor - refilled,
        claims=_shrunk(default.claims, payments),
        recovered_minor=default.recovered_minor + amount_minor,
    )
    if not after.claims and not after.uncovered_minor:
        after = replace(after, stage=Stage.CLOSED)
    legs = (
        *transfer(
            chart.recoveries(default.id, draft.house.settlement),
            chart.uncovered(default.id, draft.house.settlement),
            refilled,
        ),
        *_legs(draft.house, default, payments, estate),
    )
    draft.record(
        Kind.RECOVERY_DISTRIBUTED,
        Put("defaults", default.id, after),
        *_refilled(draft.house, default, payments),
        legs=legs,
        references=(default.id,),
    )
    for payment in payments:
        draft.tell(
            Kind.RECOVERY_DISTRIBUTED,
            f"{default.id} tier {payment.tier} {payment.payer}",
            payment.amount_minor,
        )
    if estate:
        draft.tell(Kind.RECOVERY_DISTRIBUTED, f"{default.id} estate", estate)


def _refilled(house: House, default: Default, payments: tuple[Claim, ...]) -> list[Put | Drop]:
    """What a recovery puts back into the pool, its contributor need not."""
    changes: list[Put | Drop] = []
    for payment in payments:
        key = f"{default.id}/{payment.payer}"
        due = house.replenishments.get(key) if payment.tier == POOL else None
        if due is not None:
            paid = min(due.amount_minor, payment.amount_minor)
            changes.append(lowered("replenishments", key, due, paid))
    return changes


def repayments(default: Default, amount_minor: int) -> tuple[tuple[Claim, ...], int]:
    """Who is repaid how much, in order, and what is left for the estate. Parts and rest sum to the amount."""
    left = amount_minor
    paid: list[Claim] = []
    for tier in REPAYMENT_ORDER:
        claims: dict[str, int] = {}
        for claim in default.claims:
            if claim.tier == tier:
                claims[claim.payer] = claims.get(claim.payer, 0) + claim.amount_minor
        parts = apportion(left, claims, default.id, claims)
        paid += [Claim(tier=tier, payer=p, amount_minor=a) for p, a in sorted(parts.items()) if a]
        left -= sum(parts.values())
    require(
        sum(p.amount_minor for p in paid) + left == amount_minor,
        "repayments and the estate sum to the recovery",
    )
    return tuple(paid), left


def _shrunk(claims: tuple[Claim, ...], payments: tuple[Claim, ...]) -> tuple[Claim, ...]:
    owed: dict[tuple[int, str], int] = {}
    for claim in claims:
        owed[claim.tier, claim.payer] = owed.get((claim.tier, claim.payer), 0) + claim.amount_minor
    for payment in payments:
        owed[payment.tier, payment.payer] -= payment.amount_minor
    return tuple(Claim(tier=t, payer=p, amount_minor=a) for (t, p), a in sorted(owed.items()) if a)


def _legs(house: House, default: Default, payments: tuple[Claim, ...], estate: int) -> tuple[Leg, ...]:
    asset = house.settlement
    source = chart.recoveries(default.id, asset)
    legs: list[Leg] = []
    for payment in payments:
        legs += transfer(source, repaid_to(house, payment), payment.amount_minor)
        claim = claim_account(house, payment.tier, payment.payer)
        legs += transfer(claim, chart.claims(default.id, asset), payment.amount_minor)
    for key, part in apportion(estate, _estate(house, default), default.id).items():
        legs += transfer(source, chart.cash(AccountKey(key), asset), part)
    return tuple(legs)


def _estate(house: House, default: Default) -> dict[str, int]:
    """To whom the rest belongs (rulebook §10.4): the participants whose sets failed, by what they owed at T0; in
    an event without sets (an unpaid assessment) the members.
    """
    if not default.sets:
        return {str(house_account(part.member)): part.amount_minor for part in default.losses}
    return {
        str(house.netting_sets[one.netting_set].accounts[0]): max(1, -one.equity_minor)
        for one in default.sets
    }
