"""Proposals of administrators, of either kind, under one name space (rulebook §13)."""

from typing import TypeAlias

from clearing.decide.administrators import reason_refusal
from clearing.model.house import House, Put
from clearing.model.ids import NAME_PATTERN
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import ChangeProposal, ParametersProposal

Proposal: TypeAlias = ParametersProposal | ChangeProposal


def proposals_of(house: House) -> list[Proposal]:
    """Every proposal there ever was, by id."""
    known: list[Proposal] = [*house.parameter_proposals.values(), *house.change_proposals.values()]
    return sorted(known, key=lambda one: one.id)


def proposal_of(house: House, proposal_id: str) -> Proposal | None:
    """The proposal of this id."""
    return house.parameter_proposals.get(proposal_id) or house.change_proposals.get(proposal_id)


def put(proposal: Proposal) -> Put:
    """The row of a proposal, in the table of its kind."""
    table = "change_proposals" if isinstance(proposal, ChangeProposal) else "parameter_proposals"
    return Put(table, proposal.id, proposal)


def opening_refusal(house: House, proposal_id: str, reason: str) -> Rejected | None:
    """Why no proposal is opened under this name, for this reason."""
    if not NAME_PATTERN.fullmatch(proposal_id):
        return Rejected(Reason.NAME_MALFORMED, proposal_id)
    if proposal_of(house, proposal_id) is not None:
        return Rejected(Reason.ALREADY_EXISTS, proposal_id)
    return reason_refusal(reason)
