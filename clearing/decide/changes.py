"""Changes of the house itself take two administrators (rulebook §2): a command is proposed, then approved.

Setting up takes one: from the first accepted snapshot on, a command of ``GOVERNED`` is refused when it is sent by
itself. Its proposal is tried when it is made, so that what cannot be is refused at once; what it does is decided at
the approval, on the state of that moment, and a refusal then leaves the proposal open.

What only makes safer, and may not wait for a second person (suspending, halting), is not here. Nor is what custody
reports of money that arrived or was paid, and what members do for themselves.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from clearing.decide.administrators import administrator_refusal
from clearing.decide.history import import_history
from clearing.decide.insolvency import declare_default
from clearing.decide.jurisdictions import grant_regulator, set_jurisdiction
from clearing.decide.losses import record_non_default_loss
from clearing.decide.membership import admit_member, group_member, reinstate_member
from clearing.decide.proposals import opening_refusal, put
from clearing.decide.registry import list_asset, list_instrument, register_source, retire_source
from clearing.decide.wind_down import wind_down, wound_down_refusal
from clearing.model.codec import CodecError, from_text, to_text
from clearing.model.commands import (
    AdmitMember,
    Command,
    DeclareDefault,
    GrantRegulator,
    GroupMember,
    ImportHistory,
    ListAsset,
    ListInstrument,
    ProposeChange,
    RecordNonDefaultLoss,
    RegisterSource,
    ReinstateMember,
    RetireSource,
    SetJurisdiction,
    WindDown,
)
from clearing.model.draft import Draft
from clearing.model.house import House
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import ChangeProposal, ProposalState
from ledger.require import require

BODY_CHARS_MAX = 20_000
"""Characters in the text of a proposed command."""

GOVERNED: Final[Mapping[type, Callable[[Draft, Any], Rejected | None]]] = {
    ListAsset: list_asset,
    ListInstrument: list_instrument,
    AdmitMember: admit_member,
    ReinstateMember: reinstate_member,
    RegisterSource: register_source,
    RetireSource: retire_source,
    RecordNonDefaultLoss: record_non_default_loss,
    WindDown: wind_down,
    DeclareDefault: declare_default,
    ImportHistory: import_history,
    GroupMember: group_member,
    SetJurisdiction: set_jurisdiction,
    GrantRegulator: grant_regulator,
}
_BY_NAME: Final = {kind.__name__: kind for kind in GOVERNED}


def direct_refusal(house: House, command: Command) -> Rejected | None:
    """Why a command is not taken by itself."""
    if house.cycle is None or type(command) not in GOVERNED:
        return None
    steps = f"send ProposeChange of {type(command).__name__}; another administrator sends ApproveProposal"
    return Rejected(Reason.TWO_ADMINISTRATORS_NEEDED, steps)


def propose_change(draft: Draft, command: ProposeChange) -> Rejected | None:
    """Record a command for another administrator to approve, if it could be done now."""
    rejected = administrator_refusal(draft.actor) or opening_refusal(
        draft.house, command.proposal, command.reason
    )
    if rejected is not None:
        return rejected
    wanted = command_of(command.command, command.body)
    rejected = wanted if isinstance(wanted, Rejected) else _decide(draft.fork(), wanted)
    if rejected is not None:
        return rejected
    proposal = ChangeProposal(
        id=command.proposal,
        command=command.command,
        body=command.body,
        reason=command.reason,
        proposed_by=draft.actor,
        proposed_ms=draft.now_ms,
        expires_ms=draft.now_ms + draft.house.parameters.proposal_validity_ms,
    )
    draft.record(Kind.CHANGE_PROPOSED, put(proposal))
    draft.tell(Kind.CHANGE_PROPOSED, f"{proposal.id} {proposal.command}")
    return None


def enact(draft: Draft, proposal: ChangeProposal) -> Rejected | None:
    """Do what another administrator proposed; a refusal of the command is the answer, and nothing has happened."""
    wanted = command_of(proposal.command, proposal.body)
    require(not isinstance(wanted, Rejected), "what was recorded was readable")
    attempt = draft.fork()
    approved = replace(proposal, state=ProposalState.IN_FORCE, approved_by=draft.actor)
    attempt.record(Kind.CHANGE_APPROVED, put(approved))
    attempt.tell(Kind.CHANGE_APPROVED, f"{proposal.id} {proposal.command}")
    if (rejected := _decide(attempt, wanted)) is not None:
        return rejected
    draft.take(attempt)
    return None


def _decide(draft: Draft, command: object) -> Rejected | None:
    return wound_down_refusal(draft.house, command) or GOVERNED[type(command)](draft, command)


def command_of(name: str, body: str) -> object:
    """The command of this name and canonical text, or why there is none."""
    kind = _BY_NAME.get(name)
    if kind is None:
        return Rejected(Reason.CHANGE_MALFORMED, f"one of {', '.join(sorted(_BY_NAME))}")
    if len(body) > BODY_CHARS_MAX:
        return Rejected(Reason.CHANGE_MALFORMED, f"at most {BODY_CHARS_MAX} characters")
    try:
        command: object = from_text(kind, body)
    except CodecError as error:
        return Rejected(Reason.CHANGE_MALFORMED, str(error))
    return (
        command if to_text(command) == body else Rejected(Reason.CHANGE_MALFORMED, "not the canonical text")
    )
