"""From the answering members to the waterfall, the assessments and the recoveries (rulebook §10.5, §11).

What is in the house account of a member that answers is taken at once, so it cannot be moved away;
for the rest it has its hour, and what it deposits meanwhile is taken too. Of an assessment only what is
free of margin is taken at once; the rest when it is due, or when the member pays. What
is unpaid then puts the member in default, and the waterfall of the event runs as one entry. A survivor
whose pool contribution was drawn on owes it back, up to its cap. What of an assessment or of a
contribution is unpaid when due is the next event, with what tiers and caps have left.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from immutables import Map

from clearing import chart
from clearing.decide.close_out import empty_positions, move_to_loss, repay_answer
from clearing.decide.declare import new_default
from clearing.decide.placing import sell_collateral
from clearing.decide.porting import open_portings
from clearing.decide.treasury import lowered, release_holds
from clearing.default.capped_period import add_business_days, extended
from clearing.default.purses import ANSWER, ASSESSMENTS, FIRST_CLAIM_TIER, POOL, claim_account, drawn_from
from clearing.default.resources import replenishable, resources_of
from clearing.default.waterfall import Absorbed, absorb
from clearing.margin.assess import assess
from clearing.model.commands import PayDue
from clearing.model.draft import Draft
from clearing.model.house import Drop, House, Put, ordered, single
from clearing.model.ids import AssetId, DefaultId, MemberId, house_account
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import (
    AccountStatus,
    Claim,
    Default,
    Due,
    MemberPart,
    MemberStatus,
    Stage,
)
from ledger.account import Account
from ledger.entry import Leg, credit, debit, transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class DueKind:
    """A kind of due: its table, what is recorded when it is paid and when it is not, and whom a payment credits.

    ``most``: what of the cash of the member's house account may be taken for it when it is due.
    """

    table: str
    paid: Kind
    failed: Kind
    credits: Callable[[MemberId, AssetId], Account]
    most: Callable[[House, MemberId], int]

    def rows(self, house: House) -> Map[str, Due]:
        """What is owed and not paid."""
        rows: Map[str, Due] = getattr(house, self.table)
        return rows


def pay_due(draft: Draft, command: PayDue) -> Rejected | None:
    """A member pays what it owes, as far as the cash of its house account goes."""
    house = draft.house
    if command.member not in house.members:
        return Rejected(Reason.MEMBER_UNKNOWN, command.member)
    answering = [d.id for d in ordered(house.defaults) if _owes(d, command.member)]
    owed = [
        (kind, key)
        for kind in (ASSESSMENT, REPLENISHMENT)
        for key, due in sorted(kind.rows(house).items())
        if due.member == command.member
    ]
    if not answering and not owed:
        return Rejected(Reason.NOTHING_DUE, command.member)
    for default_id in answering:
        _pay_answer(draft, default_id, command.member)
        _finish_if_answered(draft, default_id)
    for kind, key in owed:
        _pay(draft, kind, key, kind.most(draft.house, command.member))
    return None


def _owes(default: Default, member: MemberId) -> bool:
    return default.stage is Stage.ANSWERING and any(a.member == member for a in default.answers)


def _house_cash(house: House, member: MemberId) -> int:
    return max(0, house.cash(house_account(member)))


# answers ------------------------------------------------------------------------------------------


def _pay_answer(draft: Draft, default_id: DefaultId, member: MemberId) -> None:
    default = draft.house.defaults[default_id]
    owed = next((a.amount_minor for a in default.answers if a.member == member), 0)
    paid = min(owed, _house_cash(draft.house, member))
    if paid == 0:
        return
    answers = [
        replace(a, amount_minor=a.amount_minor - (paid if a.member == member else 0)) for a in default.answers
    ]
    losses = [
        replace(p, amount_minor=p.amount_minor - (paid if p.member == member else 0)) for p in default.losses
    ]
    after = replace(
        default,
        answers=tuple(a for a in answers if a.amount_minor),
        losses=tuple(p for p in losses if p.amount_minor),
        claims=(*default.claims, Claim(tier=ANSWER, payer=member, amount_minor=paid)),
    )
    legs = repay_answer(draft.house, default_id, member, paid)
    draft.record(
        Kind.ANSWER_PAID, Put("defaults", default_id, after), legs=legs, references=(default_id, member)
    )
    draft.tell(Kind.ANSWER_PAID, f"{default_id} {member}", paid)


def _finish_if_answered(draft: Draft, default_id: DefaultId) -> None:
    default = draft.house.defaults[default_id]
    if default.stage is Stage.ANSWERING and not default.answers:
        draft.record(
            Kind.DEFAULT_RECOVERING, Put("defaults", default_id, replace(default, stage=Stage.RECOVERING))
        )
        draft.tell(Kind.DEFAULT_RECOVERING, default_id)


def answers_to_take(house: House, default: Default) -> bool:
    """Whether an answering member has cash in its house account."""
    return any(_house_cash(house, answer.member) for answer in default.answers)


def take_answers(draft: Draft, default_id: DefaultId) -> None:
    """Take what the answering members have in their house accounts."""
    for answer in draft.house.defaults[default_id].answers:
        _pay_answer(draft, default_id, answer.member)
    _finish_if_answered(draft, default_id)


def end_answers(draft: Draft, default_id: DefaultId) -> None:
    """The answers are due and the cash is taken: take what is held for withdrawal, sell free house collateral, run
    the waterfall on the rest.
    """
    for answer in draft.house.defaults[default_id].answers:
        if release_holds(draft, (house_account(answer.member),)):
            _pay_answer(draft, default_id, answer.member)
        own_set = draft.house.accounts[house_account(answer.member)].netting_set
        measured = assess(draft.house, own_set)
        free = min(answer.amount_minor, measured.equity_minor - measured.requirement_minor)
        if free > 0:
            sell_collateral(draft, house_account(answer.member), frozenset({own_set}), free)
            _pay_answer(draft, default_id, answer.member)
    _finish_if_answered(draft, default_id)
    if draft.house.defaults[default_id].answers:
        run_waterfall(draft, default_id)


# the waterfall ------------------------------------------------------------------------------------


def run_waterfall(draft: Draft, default_id: DefaultId) -> None:
    """Put the members that did not pay in default and let the tiers pay their losses, in one entry."""
    default = draft.house.defaults[default_id]
    defaulters = tuple(part.member for part in default.losses)
    for member in defaulters:
        default_member(draft, default_id, member)
    losses = {part.member: part.amount_minor for part in default.losses}
    for member in defaulters:
        losses[member] += _close_house_account(draft, default_id, member)
    absorbed = absorb(resources_of(draft.house, default, defaulters), losses)
    _post_waterfall(draft, default_id, losses, absorbed)


def default_member(draft: Draft, default_id: DefaultId, member: MemberId) -> None:
    """Put a member in default, once, and offer its clients to the others."""
    row = draft.house.members[member]
    if row.status is MemberStatus.DEFAULTED:
        return
    owed = [key for key, due in sorted(draft.house.replenishments.items()) if due.member == member]
    draft.record(
        Kind.MEMBER_DEFAULTED,
        Put("members", member, replace(row, status=MemberStatus.DEFAULTED)),
        *(Drop("replenishments", key) for key in owed),
        references=(default_id,),
    )
    draft.tell(Kind.MEMBER_DEFAULTED, f"{default_id} {member}")
    open_portings(draft, default_id, member)


def _close_house_account(draft: Draft, default_id: DefaultId, member: MemberId) -> int:
    """Close out the member's house account, which tier 1 takes; a deficit of its own joins the loss."""
    account = draft.house.accounts[house_account(member)]
    if account.status is AccountStatus.ACTIVE:
        empty_positions(draft, (account.netting_set,), default_id)
    return move_to_loss(draft, default_id, member, account.netting_set)


def _post_waterfall(
    draft: Draft, default_id: DefaultId, losses: dict[MemberId, int], absorbed: Absorbed
) -> None:
    """One balanced entry: what every tier pays, the holes that it fills, and the claims that it makes."""
    house = draft.house
    default = house.defaults[default_id]
    called = _parts(absorbed, ASSESSMENTS)
    replenished = _replenished(house, default, absorbed)
    after = replace(
        default,
        stage=_stage_after(default, absorbed),
        answers=(),
        losses=tuple(MemberPart(member=m, amount_minor=a) for m, a in sorted(losses.items())),
        draws=absorbed.draws,
        tiers=absorbed.tiers,
        uncovered_minor=absorbed.uncovered_minor,
        claims=(*default.claims, *_new_claims(absorbed)),
    )
    assessed_ms = draft.now_ms + house.parameters.assessment_ms
    replenished_ms = add_business_days(draft.now_ms, house.parameters.replenishment_business_days)
    draft.record(
        Kind.WATERFALL,
        Put("defaults", default_id, after),
        single("capped_period", extended(house, default.declared_ms, called, replenished)),
        *_dues(ASSESSMENT, default_id, called, assessed_ms),
        *_dues(REPLENISHMENT, default_id, replenished, replenished_ms),
        legs=_waterfall_legs(house, default_id, losses, absorbed),
        references=(default_id,),
    )
    draft.tell(Kind.WATERFALL, default_id, sum(losses.values()))
    for draw in absorbed.draws:
        draft.tell(Kind.WATERFALL, f"{default_id} tier {draw.tier} {draw.payer}", draw.amount_minor)


def _parts(absorbed: Absorbed, tier: int) -> list[MemberPart]:
    return [
        MemberPart(member=MemberId(draw.payer), amount_minor=draw.amount_minor)
        for draw in absorbed.draws
        if draw.tier == tier
    ]


def _replenished(house: House, default: Default, absorbed: Absorbed) -> list[MemberPart]:
    """What each survivor owes back of its contribution: what was drawn of it, as far as its cap goes. One that left
    bears what was drawn and puts nothing back.
    """
    parts = [
        replace(p, amount_minor=min(p.amount_minor, replenishable(house, p.member, default.declared_ms)))
        for p in _parts(absorbed, POOL)
        if house.members[p.member].belongs
    ]
    return [part for part in parts if part.amount_minor]


def _dues(kind: DueKind, default_id: DefaultId, parts: Sequence[MemberPart], due_ms: int) -> list[Put]:
    return [
        Put(
            kind.table,
            f"{default_id}/{part.member}",
            Due(default=default_id, member=part.member, amount_minor=part.amount_minor, due_ms=due_ms),
        )
        for part in parts
    ]


def _stage_after(default: Default, absorbed: Absorbed) -> Stage:
    if any(draw.tier == ASSESSMENTS for draw in absorbed.draws):
        return Stage.ASSESSING
    owing = default.claims or _new_claims(absorbed) or absorbed.uncovered_minor
    return Stage.RECOVERING if owing else Stage.CLOSED


def _new_claims(absorbed: Absorbed) -> tuple[Claim, ...]:
    return tuple(
        Claim(tier=d.tier, payer=d.payer, amount_minor=d.amount_minor)
        for d in absorbed.draws
        if d.tier >= FIRST_CLAIM_TIER
    )


def _waterfall_legs(
    house: House, default_id: DefaultId, losses: dict[MemberId, int], absorbed: Absorbed
) -> tuple[Leg, ...]:
    asset = house.settlement
    legs = [debit(drawn_from(house, draw), draw.amount_minor) for draw in absorbed.draws]
    if absorbed.uncovered_minor:
        legs.append(debit(chart.uncovered(default_id, asset), absorbed.uncovered_minor))
    legs += [
        credit(chart.loss(default_id, member, asset), loss) for member, loss in sorted(losses.items()) if loss
    ]
    for claim in _new_claims(absorbed):
        legs += transfer(
            chart.claims(default_id, asset), claim_account(house, claim.tier, claim.payer), claim.amount_minor
        )
    return tuple(legs)


# assessments and replenishments -------------------------------------------------------------------


def free_cash(house: House, member: MemberId) -> int:
    """Cash of the member's house account that its requirement does not need."""
    measured = assess(house, house.accounts[house_account(member)].netting_set)
    return max(0, min(_house_cash(house, member), measured.equity_minor - measured.requirement_minor))


ASSESSMENT = DueKind(
    table="assessments",
    paid=Kind.ASSESSMENT_PAID,
    failed=Kind.ASSESSMENT_DEFAULTED,
    credits=chart.assessment,
    most=_house_cash,
)
REPLENISHMENT = DueKind(
    table="replenishments",
    paid=Kind.REPLENISHMENT_PAID,
    failed=Kind.REPLENISHMENT_DEFAULTED,
    credits=chart.pool,
    most=free_cash,
)


def take_assessment(draft: Draft, key: str) -> None:
    """Take what is free in the member's house account."""
    _pay(draft, ASSESSMENT, key, free_cash(draft.house, draft.house.assessments[key].member))


def _pay(draft: Draft, kind: DueKind, key: str, most_minor: int) -> None:
    """Pay a due with at most ``most_minor``; a part payment leaves the rest called."""
    house = draft.house
    due = kind.rows(house)[key]
    paid = min(due.amount_minor, most_minor)
    if paid == 0:
        return
    asset = house.settlement
    legs = transfer(chart.cash(house_account(due.member), asset), kind.credits(due.member, asset), paid)
    draft.record(kind.paid, lowered(kind.table, key, due, paid), legs=legs, references=(key,))
    draft.tell(kind.paid, key, paid)
    _finish_if_assessed(draft, due.default)


def _finish_if_assessed(draft: Draft, default_id: DefaultId) -> None:
    default = draft.house.defaults[default_id]
    unpaid = any(a.default == default_id for a in ordered(draft.house.assessments))
    if default.stage is Stage.ASSESSING and not unpaid:
        draft.record(
            Kind.DEFAULT_RECOVERING, Put("defaults", default_id, replace(default, stage=Stage.RECOVERING))
        )
        draft.tell(Kind.DEFAULT_RECOVERING, default_id)


def end_assessment(draft: Draft, key: str) -> None:
    """The assessment is due; what is missing is a hole, for the receivable was to fill one."""
    unpaid = _collect(draft, ASSESSMENT, key)
    if unpaid is None:
        return
    before = draft.house.defaults[unpaid.default]
    legs, claims = _cancel_claim(draft.house, before, unpaid)
    event = _unpaid_event(draft, unpaid.member, unpaid.amount_minor)
    legs += _hole(draft.house, event.id, unpaid)
    _fail(
        draft, ASSESSMENT, key, event, Put("defaults", before.id, replace(before, claims=claims)), legs=legs
    )


def end_replenishment(draft: Draft, key: str) -> None:
    """The contribution is due back. What is missing fills no hole, so nobody else pays it: the event has no loss but
    what the member's own account leaves.
    """
    unpaid = _collect(draft, REPLENISHMENT, key)
    if unpaid is not None:
        _fail(draft, REPLENISHMENT, key, _unpaid_event(draft, unpaid.member, 0))


def _collect(draft: Draft, kind: DueKind, key: str) -> Due | None:
    """Take what is there, what is held for withdrawal too; gives what is unpaid."""
    member = kind.rows(draft.house)[key].member
    release_holds(draft, (house_account(member),))
    _pay(draft, kind, key, kind.most(draft.house, member))
    return kind.rows(draft.house).get(key)


def _unpaid_event(draft: Draft, member: MemberId, loss_minor: int) -> Default:
    part = MemberPart(member=member, amount_minor=loss_minor)
    return replace(new_default(draft, ()), stage=Stage.ANSWERING, losses=(part,))


def _fail(
    draft: Draft, kind: DueKind, key: str, event: Default, *changes: Put, legs: tuple[Leg, ...] = ()
) -> None:
    """What is unpaid when due is the next event: the member is in default."""
    unpaid = kind.rows(draft.house)[key]
    draft.record(
        kind.failed,
        Put("defaults", event.id, event),
        *changes,
        Drop(kind.table, key),
        legs=legs,
        references=(key,),
    )
    draft.tell(kind.failed, f"{event.id} {unpaid.member}", unpaid.amount_minor)
    _finish_if_assessed(draft, unpaid.default)
    run_waterfall(draft, event.id)


def _hole(house: House, event_id: DefaultId, called: Due) -> tuple[Leg, ...]:
    asset = house.settlement
    return transfer(
        chart.loss(event_id, called.member, asset),
        chart.assessment(called.member, asset),
        called.amount_minor,
    )


def _cancel_claim(house: House, default: Default, called: Due) -> tuple[tuple[Leg, ...], tuple[Claim, ...]]:
    """Who has not paid has no claim: its tier-7 claim shrinks by the unpaid amount."""
    asset = house.settlement
    claims = tuple(
        replace(c, amount_minor=c.amount_minor - called.amount_minor)
        if (c.tier, c.payer) == (ASSESSMENTS, called.member)
        else c
        for c in default.claims
    )
    legs = transfer(
        chart.member_claim(called.member, asset), chart.claims(default.id, asset), called.amount_minor
    )
    return legs, claims
