"""Proposals and approvals by two administrators (rulebook §2, §13).

A proposal is of parameters, or of any other change (``changes``), which is done with its approval. Parameters go a
longer way: proposal, with the simulation of its impact → approval by a different administrator, simulated again →
delay → in force, as the next version. A proposal that nobody approves expires, and so does an approval that could
not take effect in as long a time; while a loss is being allocated nothing takes effect by which it is divided. Until
a proposal is in force any administrator may end it. What became of it stays on record, and its name is never used
again.
"""

from collections.abc import Callable
from dataclasses import replace

from clearing.decide.administrators import (
    actor_id,
    administrator_refusal,
    reason_refusal,
    same_administrator_refusal,
)
from clearing.decide.changes import enact
from clearing.decide.proposals import Proposal, opening_refusal, proposal_of, proposals_of, put
from clearing.decide.terms import parameters_flaw, unscanned
from clearing.decide.tightening import is_tightening
from clearing.default.gate import loss_is_open
from clearing.margin.impact import impact_of, under
from clearing.model.commands import ApproveProposal, ProposeParameters, RejectProposal
from clearing.model.draft import Draft
from clearing.model.house import House, ordered, single
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import ChangeProposal, Parameters, ParametersProposal, ProposalState

LIVING_STATES = (ProposalState.OPEN, ProposalState.APPROVED)


def propose_parameters(draft: Draft, command: ProposeParameters) -> Rejected | None:
    """Record a proposal and what it would do."""
    rejected = administrator_refusal(draft.actor) or _proposal_refusal(draft.house, command)
    if rejected is not None:
        return rejected
    proposal = ParametersProposal(
        id=command.proposal,
        parameters=command.parameters,
        reason=command.reason,
        immediate=command.immediate,
        proposed_by=draft.actor,
        proposed_ms=draft.now_ms,
        base_version=draft.house.founded.parameters_version,
        expires_ms=draft.now_ms + draft.house.parameters.proposal_validity_ms,
        impact=impact_of(draft.house, command.parameters),
    )
    _record(draft, Kind.PARAMETERS_PROPOSED, proposal)
    return None


def _proposal_refusal(house: House, command: ProposeParameters) -> Rejected | None:
    if (rejected := opening_refusal(house, command.proposal, command.reason)) is not None:
        return rejected
    in_force = house.founded.parameters_version
    if command.base_version not in (None, in_force):
        return Rejected(Reason.PROPOSAL_OUTDATED, f"version {in_force} is in force")
    if flaw := _flaw(house, command.parameters):
        return Rejected(Reason.TERM_OUT_OF_RANGE, flaw)
    if command.parameters == house.parameters:
        return Rejected(Reason.TERM_OUT_OF_RANGE, "nothing would change")
    if command.immediate and not is_tightening(house.parameters, command.parameters):
        return Rejected(Reason.NOT_A_TIGHTENING)
    return None


def _flaw(house: House, parameters: Parameters) -> str:
    """Why this house cannot work with these parameters."""
    return parameters_flaw(parameters) or unscanned(parameters, ordered(house.instruments))


def approve_proposal(draft: Draft, command: ApproveProposal) -> Rejected | None:
    """Approve another administrator's proposal: the delay of parameters begins, any other change is done."""
    found = administrator_refusal(draft.actor) or _approvable(draft, command.proposal)
    if isinstance(found, ChangeProposal):
        return enact(draft, found)
    return found if isinstance(found, Rejected) else _approve_parameters(draft, found)


def _approvable(draft: Draft, proposal_id: str) -> Proposal | Rejected:
    """The proposal, if it is open and another administrator's."""
    proposal = proposal_of(draft.house, proposal_id)
    if proposal is None:
        return Rejected(Reason.PROPOSAL_UNKNOWN, proposal_id)
    if proposal.state is not ProposalState.OPEN:
        return Rejected(Reason.PROPOSAL_ENDED, proposal.state.value)
    if proposal.expires_ms <= draft.now_ms:
        return Rejected(Reason.PROPOSAL_ENDED, ProposalState.EXPIRED.value)
    return same_administrator_refusal(proposal.proposed_by, draft.actor) or proposal


def _approve_parameters(draft: Draft, proposal: ParametersProposal) -> Rejected | None:
    house = draft.house
    if proposal.base_version != house.founded.parameters_version:
        return Rejected(Reason.PROPOSAL_OUTDATED, f"made for version {proposal.base_version}")
    if flaw := _flaw(house, proposal.parameters):
        return Rejected(Reason.TERM_OUT_OF_RANGE, flaw)
    effective = draft.now_ms + (0 if proposal.immediate else house.parameters.change_delay_ms)
    approved = replace(
        proposal,
        state=ProposalState.APPROVED,
        approved_by=draft.actor,
        effective_ms=effective,
        expires_ms=effective + house.parameters.proposal_validity_ms,
        impact=impact_of(house, proposal.parameters),
    )
    _record(draft, Kind.PARAMETERS_APPROVED, approved)
    return None


def reject_proposal(draft: Draft, command: RejectProposal) -> Rejected | None:
    """End a proposal that is not in force yet."""
    proposal = proposal_of(draft.house, command.proposal)
    if (rejected := administrator_refusal(draft.actor)) is not None:
        return rejected
    if proposal is None:
        return Rejected(Reason.PROPOSAL_UNKNOWN, command.proposal)
    if proposal.state not in LIVING_STATES:
        return Rejected(Reason.PROPOSAL_ENDED, proposal.state.value)
    if (rejected := reason_refusal(command.reason)) is not None:
        return rejected
    is_own = actor_id(proposal.proposed_by) == actor_id(draft.actor)
    state = ProposalState.WITHDRAWN if is_own else ProposalState.REJECTED
    _end(draft, proposal, state, command.reason, draft.actor)
    return None


def proposal_step(house: House, proposal: Proposal, now_ms: int) -> Callable[[Draft, str], None] | None:
    """What is due for a proposal now, if anything."""
    if proposal.state is ProposalState.OPEN:
        return expire_proposal if proposal.expires_ms <= now_ms else None
    if isinstance(proposal, ChangeProposal) or proposal.state is not ProposalState.APPROVED:
        return None
    if now_ms < proposal.effective_ms:
        return None
    if proposal.expires_ms <= now_ms:
        return expire_proposal
    return None if loss_is_open(house) else take_effect


def expire_proposal(draft: Draft, proposal_id: str) -> None:
    """The time for an approval, or for an approved change to take effect, is over."""
    proposal = next(one for one in proposals_of(draft.house) if one.id == proposal_id)
    _end(draft, proposal, ProposalState.EXPIRED, f"after {proposal.state.value}", "")


def take_effect(draft: Draft, proposal_id: str) -> None:
    """Put approved parameters in force, unless others, or new instruments, came before them."""
    house, proposal = draft.house, draft.house.parameter_proposals[proposal_id]
    is_outdated = proposal.base_version != house.founded.parameters_version
    flaw = Reason.PROPOSAL_OUTDATED.value if is_outdated else _flaw(house, proposal.parameters)
    if flaw:
        _end(draft, proposal, ProposalState.LAPSED, flaw, "")
        return
    changed = under(house, proposal.parameters)
    draft.record(
        Kind.PARAMETERS_CHANGED,
        single("charter", changed.charter),
        put(replace(proposal, state=ProposalState.IN_FORCE)),
    )
    draft.tell(Kind.PARAMETERS_CHANGED, f"{proposal.id} as version {changed.founded.parameters_version}")


def _record(draft: Draft, kind: Kind, proposal: ParametersProposal) -> None:
    """Record a proposal with its impact, and tell whom it would hit by how much."""
    draft.record(kind, put(proposal))
    impact = proposal.impact
    draft.tell(kind, proposal.id, impact.requirement_after_minor - impact.requirement_before_minor)
    for one in impact.sets:
        draft.tell(kind, f"{proposal.id} {one.after} {one.netting_set}", one.short_minor)


def _end(draft: Draft, proposal: Proposal, state: ProposalState, reason: str, actor: str) -> None:
    draft.record(
        Kind.PROPOSAL_ENDED, put(replace(proposal, state=state, ended_by=actor, ended_reason=reason))
    )
    draft.tell(Kind.PROPOSAL_ENDED, f"{proposal.id} {state.value}")


def next_governance_ms(house: House) -> list[int]:
    """When the clock alone will make something due of a proposal."""
    living = [one for one in proposals_of(house) if one.state in LIVING_STATES]
    return [
        one.effective_ms
        if isinstance(one, ParametersProposal) and one.state is ProposalState.APPROVED
        else one.expires_ms
        for one in living
    ]
