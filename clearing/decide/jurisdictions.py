"""Under whose law a member stands, and which members a regulator sees (rulebook §14).

A regulator sees all, or the members of the jurisdictions that it was granted. Two administrators say both. A member
whose jurisdiction is not stated is in none: only who sees all sees it.
"""

from dataclasses import replace

from clearing.model.commands import GrantRegulator, SetJurisdiction
from clearing.model.draft import Draft
from clearing.model.house import Drop, Put
from clearing.model.ids import JURISDICTION_PATTERN, NAME_PATTERN
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import Grant, MemberStatus


def set_jurisdiction(draft: Draft, command: SetJurisdiction) -> Rejected | None:
    """State a member's jurisdiction, or that it is not stated. What one that failed or left did stays its law's."""
    member = draft.house.members.get(command.member)
    if member is None:
        return Rejected(Reason.MEMBER_UNKNOWN, command.member)
    if member.status is MemberStatus.APPLIED:
        return Rejected(Reason.MEMBER_NOT_ADMITTED, member.id)
    if command.jurisdiction and not JURISDICTION_PATTERN.fullmatch(command.jurisdiction):
        return Rejected(Reason.JURISDICTION_MALFORMED, command.jurisdiction)
    stated = replace(member, jurisdiction=command.jurisdiction)
    draft.record(Kind.JURISDICTION_SET, Put("members", member.id, stated))
    draft.tell(Kind.JURISDICTION_SET, member.id)
    return None


def grant_regulator(draft: Draft, command: GrantRegulator) -> Rejected | None:
    """Limit a regulator to jurisdictions, in place of those before; without any it sees all again."""
    regulator, jurisdictions = command.regulator, tuple(sorted(set(command.jurisdictions)))
    if not NAME_PATTERN.fullmatch(regulator):
        return Rejected(Reason.NAME_MALFORMED, regulator)
    for one in jurisdictions:
        if not JURISDICTION_PATTERN.fullmatch(one):
            return Rejected(Reason.JURISDICTION_MALFORMED, one)
    if not jurisdictions and regulator not in draft.house.grants:
        return Rejected(Reason.GRANT_UNKNOWN, regulator)
    granted = Grant(regulator=regulator, jurisdictions=jurisdictions)
    change = Put("grants", regulator, granted) if jurisdictions else Drop("grants", regulator)
    draft.record(Kind.REGULATOR_GRANTED, change)
    draft.tell(Kind.REGULATOR_GRANTED, regulator)
    return None
