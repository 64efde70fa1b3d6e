"""Administration on the wire: what is asked, what it led to, and how the house stands.

An answer to a request is made of its outcome alone, so that the same request gets it again whatever happened since.
"""

from collections.abc import Mapping
from typing import Final

from clearing.decide.changes import command_of
from clearing.decide.proposals import Proposal
from clearing.margin.assess import Health
from clearing.model import units
from clearing.model.codec import to_text
from clearing.model.commands import (
    ApproveProposal,
    CloseInOutage,
    Command,
    FoundHouse,
    ProposeChange,
    ProposeParameters,
    RejectProposal,
    RevokeCertificate,
    SetBreaker,
    SizePool,
    SuspendMember,
)
from clearing.model.house import House
from clearing.model.ids import DefaultId, MemberId, SetId
from clearing.model.kinds import Kind
from clearing.model.outcomes import Event, Outcome
from clearing.model.units import Unit
from clearing.model.values import (
    Breaker,
    ChangeProposal,
    Grant,
    Impact,
    Outage,
    ParametersProposal,
    ProposalState,
    Revocation,
    Source,
)
from clearing.server.identity import Identity
from clearing.server.wire import changes, names, parameters, terms, times
from clearing.server.wire.defaults import sees_set
from clearing.server.wire.house import BREAKER_STATES
from clearing.server.wire.margin import HEALTH
from clearing.server.wire.violations import Violations
from clearinghouse.v1 import admin_service_pb2 as pb
from clearinghouse.v1 import common_pb2
from clearinghouse.v1 import house_service_pb2 as house_pb

PROPOSAL_STATES: "Mapping[ProposalState, pb.ProposalState.ValueType]" = {
    ProposalState.OPEN: pb.PROPOSAL_STATE_OPEN,
    ProposalState.APPROVED: pb.PROPOSAL_STATE_APPROVED,
    ProposalState.IN_FORCE: pb.PROPOSAL_STATE_IN_FORCE,
    ProposalState.WITHDRAWN: pb.PROPOSAL_STATE_WITHDRAWN,
    ProposalState.REJECTED: pb.PROPOSAL_STATE_REJECTED,
    ProposalState.EXPIRED: pb.PROPOSAL_STATE_EXPIRED,
    ProposalState.LAPSED: pb.PROPOSAL_STATE_LAPSED,
}
_COUNTED_IN_LOTS: Final = frozenset({Kind.POSITIONS_TORN_UP.name, Kind.POSITIONS_WOUND_DOWN.name})
"""Events that tell lots: no amount of money."""


# requests -----------------------------------------------------------------------------------------------


def require_house(named: str, caller: Identity, violations: Violations) -> None:
    """The house in the request is that of the caller's certificate."""
    if named != caller.house:
        violations.add("house", f"is not the house of your certificate, {caller.house}")


def found(request: pb.FoundHouseRequest, caller: Identity) -> FoundHouse:
    """The command. Raises ``RequestInvalid`` with every field that is wrong."""
    violations = Violations(request)
    require_house(request.house, caller, violations)
    money = terms.unit_of(request.settlement_asset.decimals)
    settlement = changes.asset_terms(request.settlement_asset, money, "settlement_asset", violations)
    first = parameters.parse(request.parameters, money, "parameters", violations)
    violations.require_none()
    return FoundHouse(house=request.house, settlement=settlement, parameters=first)


def propose_parameters(request: pb.ProposeParametersRequest, house: House) -> ProposeParameters:
    """The command. Raises ``RequestInvalid`` with every field that is wrong."""
    violations = Violations(request)
    wanted = parameters.parse(request.parameters, units.of_settlement(house), "parameters", violations)
    violations.require_none()
    return ProposeParameters(
        proposal=request.proposal_id,
        parameters=wanted,
        reason=request.reason,
        immediate=request.immediate,
        base_version=request.base_version,
    )


def propose_change(request: pb.ProposeChangeRequest, house: House) -> ProposeChange:
    """The command. Raises ``RequestInvalid`` with every field that is wrong."""
    wanted = changes.parse(request.change, request.reason, house, Violations(request))
    return ProposeChange(
        proposal=request.proposal_id,
        command=type(wanted).__name__,
        body=to_text(wanted),
        reason=request.reason,
    )


def make_change(request: pb.MakeChangeRequest, house: House, caller: Identity) -> Command:
    """The command. Raises ``RequestInvalid`` with every field that is wrong."""
    violations = Violations(request)
    require_house(request.house, caller, violations)
    return changes.parse(request.change, request.reason, house, violations)


def approve(request: pb.ApproveProposalRequest) -> ApproveProposal:
    """The command. Raises ``RequestInvalid`` with every field that is wrong."""
    Violations(request).require_none()
    return ApproveProposal(proposal=names.own_id(request.name))


def reject(request: pb.RejectProposalRequest) -> RejectProposal:
    """The command. Raises ``RequestInvalid`` with every field that is wrong."""
    Violations(request).require_none()
    return RejectProposal(proposal=names.own_id(request.name), reason=request.reason)


def set_breaker(request: pb.SetBreakerRequest) -> SetBreaker:
    """The command. Raises ``RequestInvalid`` with every field that is wrong."""
    Violations(request).require_none()
    state = next(state for state, on_wire in BREAKER_STATES.items() if on_wire == request.state)
    return SetBreaker(scope=names.breaker_scope(request.instrument), state=state, reason=request.reason)


def suspend(request: pb.SuspendMemberRequest) -> SuspendMember:
    """The command. Raises ``RequestInvalid`` with every field that is wrong."""
    Violations(request).require_none()
    return SuspendMember(member=names.member_id(request.member), reason=request.reason)


def size_pool(request: pb.SizePoolRequest, caller: Identity) -> SizePool:
    """The command. Raises ``RequestInvalid`` with every field that is wrong."""
    violations = Violations(request)
    require_house(request.house, caller, violations)
    violations.require_none()
    return SizePool()


def close_in_outage(request: pb.CloseInOutageRequest) -> CloseInOutage:
    """The command. Raises ``RequestInvalid`` with every field that is wrong."""
    Violations(request).require_none()
    return CloseInOutage(default=DefaultId(names.own_id(request.default)), reason=request.reason)


def revoke(request: pb.RevokeCertificateRequest) -> RevokeCertificate:
    """The command. Raises ``RequestInvalid`` with every field that is wrong."""
    Violations(request).require_none()
    return RevokeCertificate(serial=request.serial, reason=request.reason)


# answers ------------------------------------------------------------------------------------------------


def effects(outcome: Outcome, unit: Unit) -> list[pb.Effect]:
    """What happened, in order."""
    return [
        pb.Effect(kind=one.kind, subject=one.subject, amount=_amount(one, unit)) for one in outcome.events
    ]


def _amount(one: Event, unit: Unit) -> str:
    return unit.render(one.amount_minor) if one.amount_minor and one.kind not in _COUNTED_IN_LOTS else ""


def subjects(outcome: Outcome, kind: Kind) -> list[str]:
    """Whom or what the events of ``kind`` are about."""
    return [one.subject for one in outcome.events if one.kind == kind.name]


def impact_told(outcome: Outcome, proposal: str, unit: Unit) -> pb.Impact:
    """The impact that the proposal of parameters told: the change of all requirements, and whom it would hit."""
    told = pb.Impact()
    for one in outcome.events:
        about, *hit = one.subject.split(" ")
        if one.kind != Kind.PARAMETERS_PROPOSED.name or about != proposal:
            continue
        if not hit:
            told.requirement_change = unit.render(one.amount_minor)
            continue
        health, set_id = hit
        told.netting_sets.append(_set_impact(health, set_id, one.amount_minor, unit))
    return told


def _set_impact(health: str, set_id: str, short_minor: int, unit: Unit) -> pb.NettingSetImpact:
    return pb.NettingSetImpact(
        netting_set=names.netting_set(SetId(set_id)),
        health=HEALTH[Health(health)],
        shortfall=unit.render(short_minor),
    )


def approved(outcome: Outcome, proposal: str, unit: Unit) -> pb.ApproveProposalResponse:
    """How the proposal stands, and what happened with its approval."""
    waits = proposal in subjects(outcome, Kind.PARAMETERS_APPROVED)
    changed = {subject.split(" ")[0] for subject in subjects(outcome, Kind.PARAMETERS_CHANGED)}
    state = pb.PROPOSAL_STATE_APPROVED if waits and proposal not in changed else pb.PROPOSAL_STATE_IN_FORCE
    return pb.ApproveProposalResponse(
        proposal=names.proposal(proposal), state=state, effects=effects(outcome, unit)
    )


def rejected(outcome: Outcome, proposal: str) -> pb.RejectProposalResponse:
    """How the proposal ended."""
    ended = dict(subject.split(" ", 1) for subject in subjects(outcome, Kind.PROPOSAL_ENDED))
    return pb.RejectProposalResponse(
        proposal=names.proposal(proposal), state=PROPOSAL_STATES[ProposalState(ended[proposal])]
    )


def sized(outcome: Outcome, unit: Unit) -> pb.SizePoolResponse:
    """The required contributions."""
    told = [one for one in outcome.events if one.kind == Kind.POOL_SIZED.name]
    return pb.SizePoolResponse(
        contributions=[
            common_pb2.MemberAmount(
                member=names.member(MemberId(one.subject)), amount=unit.render(one.amount_minor)
            )
            for one in told
        ]
    )


# how the house stands -----------------------------------------------------------------------------------


def sees_proposal(row: Proposal, caller: Identity) -> bool:
    """Whether ``caller`` is shown a proposal: one about a member is for who sees that member."""
    wanted = None if isinstance(row, ParametersProposal) else command_of(row.command, row.body)
    member: MemberId | None = getattr(wanted, "member", None)
    return member is None or caller.sees(member)


def proposal(row: Proposal, house: House, caller: Identity) -> pb.Proposal:
    """A proposal of either kind, as ``caller`` may see it."""
    found = pb.Proposal(
        name=names.proposal(row.id),
        reason=row.reason,
        state=PROPOSAL_STATES[row.state],
        proposer=names.administrator(row.proposed_by),
        propose_time=times.from_ms(row.proposed_ms),
        expire_time=times.from_ms(row.expires_ms),
        approver=names.administrator(row.approved_by),
        ender=names.administrator(row.ended_by),
        end_reason=row.ended_reason,
    )
    if isinstance(row, ChangeProposal):
        found.change.CopyFrom(changes.message(command_of(row.command, row.body), house))
    else:
        found.parameters.CopyFrom(_proposed(row, house, caller))
    return found


def _proposed(row: ParametersProposal, house: House, caller: Identity) -> pb.ProposedParameters:
    unit = units.of_settlement(house)
    return pb.ProposedParameters(
        parameters=parameters.message(row.parameters, unit),
        base_version=row.base_version,
        immediate=row.immediate,
        impact=_impact(row.impact, house, caller),
        effective_time=terms.time(row.effective_ms),
    )


def _impact(row: Impact, house: House, caller: Identity) -> pb.Impact:
    """On the netting sets that ``caller`` sees; the sum of all is for who sees all."""
    unit = units.of_settlement(house)
    change_minor = row.requirement_after_minor - row.requirement_before_minor
    seen = (one for one in row.sets if sees_set(house, one.netting_set, caller))
    return pb.Impact(
        requirement_change=unit.render(change_minor) if caller.sees_all else "",
        netting_sets=[_set_impact(one.after, one.netting_set, one.short_minor, unit) for one in seen],
    )


def breaker(row: Breaker) -> pb.BreakerDetail:
    """A breaker, and who asked to loosen it."""
    return pb.BreakerDetail(
        instrument=names.breaker(row.scope),
        state=BREAKER_STATES[row.state],
        trigger=row.trigger.value,
        reason=row.reason,
        since_time=times.from_ms(row.since_ms),
        setter=names.administrator(row.set_by),
        reopen_time=terms.time(row.reopens_ms),
        asked_state=house_pb.BREAKER_STATE_UNSPECIFIED if row.asked is None else BREAKER_STATES[row.asked],
        asker=names.administrator(row.asked_by),
        ask_reason=row.asked_reason,
        ask_time=terms.time(row.asked_ms),
    )


def source(row: Source) -> pb.Source:
    """A price source."""
    return pb.Source(
        name=names.source(row.id),
        public_key=bytes.fromhex(row.public_key),
        sequence=row.sequence,
        retired=row.retired,
    )


def revocation(row: Revocation) -> pb.Revocation:
    """A certificate that was revoked."""
    return pb.Revocation(
        serial=row.serial,
        reason=row.reason,
        revoker=names.administrator(row.revoked_by),
        revoke_time=times.from_ms(row.revoked_ms),
    )


def grant(row: Grant) -> pb.Grant:
    """What a regulator was granted."""
    return pb.Grant(regulator=names.regulator(row.regulator), jurisdictions=row.jurisdictions)


def outage(row: Outage) -> pb.OutageDetail:
    """An outage, and what administrators want of it."""
    return pb.OutageDetail(
        begin_time=times.from_ms(row.began_ms),
        fresh_time=terms.time(row.fresh_since_ms),
        closings=[
            pb.OutageClosing(
                default=names.default(one.default),
                asker=names.administrator(one.asked_by),
                ask_time=times.from_ms(one.asked_ms),
                ask_reason=one.asked_reason,
                approver=names.administrator(one.let_by),
                approve_reason=one.let_reason,
            )
            for one in row.closings
        ],
    )
