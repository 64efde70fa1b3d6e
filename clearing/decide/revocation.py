"""Certificates that are good for nothing any more (rulebook §2: who a caller is stands in its certificate).

One administrator is enough, since it only makes safer and may not wait. Nothing takes it back: who was revoked by
mistake gets a new certificate. An administrator may revoke its own: it is the one that knows first that it was
stolen.
"""

from clearing.decide.administrators import administrator_refusal, reason_refusal
from clearing.model.commands import RevokeCertificate
from clearing.model.draft import Draft
from clearing.model.house import Put
from clearing.model.ids import SERIAL_PATTERN
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import Revocation


def revoke_certificate(draft: Draft, command: RevokeCertificate) -> Rejected | None:
    """Record that no call with this certificate is answered from now on."""
    if (rejected := administrator_refusal(draft.actor)) is not None:
        return rejected
    if not SERIAL_PATTERN.fullmatch(command.serial):
        return Rejected(Reason.SERIAL_MALFORMED)
    if (rejected := reason_refusal(command.reason)) is not None:
        return rejected
    if command.serial in draft.house.revocations:
        return Rejected(Reason.ALREADY_EXISTS, command.serial)
    revocation = Revocation(
        serial=command.serial, reason=command.reason, revoked_by=draft.actor, revoked_ms=draft.now_ms
    )
    draft.record(Kind.CERTIFICATE_REVOKED, Put("revocations", revocation.serial, revocation))
    draft.tell(Kind.CERTIFICATE_REVOKED, revocation.serial)
    return None
