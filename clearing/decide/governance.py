"""Changes of parameters by two administrators (rulebook §13).

proposal, with the simulation of its impact → approval by a different administrator, simulated again → delay →
in force, as the next version. A proposal that nobody approves expires, and so does an approval that could not take
effect in as long a time; while a loss is being allocated nothing takes effect by which it is divided. Until it is
in force any administrator may end a change. What became of it stays on record, and its name is never used again.
"""

from collections.abc import Callable
from dataclasses import replace

from clearing.decide.terms import parameters_flaw, unscanned
from clearing.decide.tightening import is_tightening
from clearing.default.gate import loss_is_open
from clearing.margin.impact import impact_of, under
from clearing.model.commands import ApproveProposal, ProposeParameters, RejectProposal
from clearing.model.draft import Draft
from clearing.model.house import House, Put, ordered, single
from clearing.model.ids import ADMINISTRATOR, NAME_PATTERN
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import Parameters, ParametersProposal, ProposalState

REASON_CHARS_MAX = 500
"""Characters in the text that says why."""
LIVING_STATES = (ProposalState.OPEN, ProposalState.APPROVED)


def administrator_refusal(actor: str) -> Rejected | None:
    """Why ``actor`` may not govern: only who the journal names as an administrator may."""
    name = actor.removeprefix(ADMINISTRATOR)
    return None if name and name != actor else Rejected(Reason.NOT_AN_ADMINISTRATOR, actor)


def reason_refusal(reason: str) -> Rejected | None:
    """Why a text is no reason."""
    if reason.strip() and reason.isprintable() and len(reason) <= REASON_CHARS_MAX:
        return None
    return Rejected(Reason.REASON_MALFORMED, f"1 to {REASON_CHARS_MAX} characters")


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
    if not NAME_PATTERN.fullmatch(command.proposal):
        return Rejected(Reason.NAME_MALFORMED, command.proposal)
    if command.proposal in house.parameter_proposals:
        return Rejected(Reason.ALREADY_EXISTS, command.proposal)
    if (rejected := reason_refusal(command.reason)) is not None:
        return rejected
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
    """Approve for another administrator's proposal; the delay begins, or the change is due at once."""
    rejected = administrator_refusal(draft.actor) or _approval_refusal(draft, command.proposal)
    if rejected is not None:
        return rejected
    proposal, parameters = draft.house.parameter_proposals[command.proposal], draft.house.parameters
    effective = draft.now_ms + (0 if proposal.immediate else parameters.change_delay_ms)
    approved = replace(
        proposal,
        state=ProposalState.APPROVED,
        approved_by=draft.actor,
        effective_ms=effective,
        expires_ms=effective + parameters.proposal_validity_ms,
        impact=impact_of(draft.house, proposal.parameters),
    )
    _record(draft, Kind.PARAMETERS_APPROVED, approved)
    return None


def _approval_refusal(draft: Draft, proposal_id: str) -> Rejected | None:
    house = draft.house
    proposal = house.parameter_proposals.get(proposal_id)
    if proposal is None:
        return Rejected(Reason.PROPOSAL_UNKNOWN, proposal_id)
    if proposal.state is not ProposalState.OPEN:
        return Rejected(Reason.PROPOSAL_ENDED, proposal.state.value)
    if proposal.expires_ms <= draft.now_ms:
        return Rejected(Reason.PROPOSAL_ENDED, ProposalState.EXPIRED.value)
    if proposal.proposed_by == draft.actor:
        return Rejected(Reason.SAME_ADMINISTRATOR, draft.actor)
    if proposal.base_version != house.founded.parameters_version:
        return Rejected(Reason.PROPOSAL_OUTDATED, f"made for version {proposal.base_version}")
    if flaw := _flaw(house, proposal.parameters):
        return Rejected(Reason.TERM_OUT_OF_RANGE, flaw)
    return None


def reject_proposal(draft: Draft, command: RejectProposal) -> Rejected | None:
    """End a change that is not in force yet."""
    proposal = draft.house.parameter_proposals.get(command.proposal)
    if (rejected := administrator_refusal(draft.actor)) is not None:
        return rejected
    if proposal is None:
        return Rejected(Reason.PROPOSAL_UNKNOWN, command.proposal)
    if proposal.state not in LIVING_STATES:
        return Rejected(Reason.PROPOSAL_ENDED, proposal.state.value)
    if (rejected := reason_refusal(command.reason)) is not None:
        return rejected
    is_own = proposal.proposed_by == draft.actor
    state = ProposalState.WITHDRAWN if is_own else ProposalState.REJECTED
    _end(draft, proposal, state, command.reason, draft.actor)
    return None


def proposal_step(
    house: House, proposal: ParametersProposal, now_ms: int
) -> Callable[[Draft, str], None] | None:
    """What is due for a change of parameters now, if anything."""
    if proposal.state is ProposalState.OPEN:
        return expire_proposal if proposal.expires_ms <= now_ms else None
    if proposal.state is not ProposalState.APPROVED or now_ms < proposal.effective_ms:
        return None
    if proposal.expires_ms <= now_ms:
        return expire_proposal
    return None if loss_is_open(house) else take_effect


def expire_proposal(draft: Draft, proposal_id: str) -> None:
    """The time for an approval, or for an approved change to take effect, is over."""
    proposal = draft.house.parameter_proposals[proposal_id]
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
    measured = () if changed.cycle is None else (single("cycle", changed.cycle),)
    draft.record(
        Kind.PARAMETERS_CHANGED,
        single("charter", changed.charter),
        *measured,
        Put("parameter_proposals", proposal.id, replace(proposal, state=ProposalState.IN_FORCE)),
    )
    draft.tell(Kind.PARAMETERS_CHANGED, f"{proposal.id} as version {changed.founded.parameters_version}")


def _record(draft: Draft, kind: Kind, proposal: ParametersProposal) -> None:
    """Record a proposal with its impact, and tell whom it would hit by how much."""
    draft.record(kind, Put("parameter_proposals", proposal.id, proposal))
    impact = proposal.impact
    draft.tell(kind, proposal.id, impact.requirement_after_minor - impact.requirement_before_minor)
    for one in impact.sets:
        draft.tell(kind, f"{proposal.id} {one.after} {one.netting_set}", one.short_minor)


def _end(draft: Draft, proposal: ParametersProposal, state: ProposalState, reason: str, actor: str) -> None:
    ended = replace(proposal, state=state, ended_by=actor, ended_reason=reason)
    draft.record(Kind.PROPOSAL_ENDED, Put("parameter_proposals", proposal.id, ended))
    draft.tell(Kind.PROPOSAL_ENDED, f"{proposal.id} {state.value}")


def next_governance_ms(house: House) -> list[int]:
    """When the clock alone will make something due of a change of parameters."""
    return [
        one.expires_ms if one.state is ProposalState.OPEN else one.effective_ms
        for one in ordered(house.parameter_proposals)
        if one.state in LIVING_STATES
    ]
