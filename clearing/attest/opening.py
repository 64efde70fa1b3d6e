"""Opening an attestation under the officers of its own time.

Rules kept here (attestation.md §5): an attestation counts if enough of those signed who were officers at the time that
it is **as of**. So one that was signed before a change of officers stays good after it, and a key that was taken away
signs nothing new. The time stands in the payload, so the payload is read only after some officers, of whatever time,
have been found to have signed it; then those of its own time must have.
"""

from collections.abc import Callable

from clearing.attest.envelope import (
    EnvelopeReason,
    EnvelopeRefused,
    OpenedEnvelope,
    TrustSet,
    VerifiedPayload,
    open_envelope,
)
from clearing.attest.policy import Policy
from clearing.attest.statement import format_time, parse


def open_attestation(policy: Policy, envelope: bytes) -> tuple[OpenedEnvelope, TrustSet]:
    """The payload that enough officers of its time signed, and who they are.

    Raises ``EnvelopeRefused``: all reasons of ``open_envelope``, and ``BEFORE_TRUST``. Raises ``StatementRefused`` if
    the officers have changed and the time cannot be read.
    """
    return open_at(policy, envelope, lambda payload: parse(payload).as_of_ms)


def open_at(
    policy: Policy, envelope: bytes, time_ms: Callable[[VerifiedPayload], int]
) -> tuple[OpenedEnvelope, TrustSet]:
    """The same of any payload: ``time_ms`` reads whose officers have to have signed it."""
    if not policy.earlier and not policy.since_ms:
        return open_envelope(envelope, policy.trust), policy.trust
    at_ms = time_ms(_signed_by_any(policy, envelope).payload)
    trust = policy.trust_at(at_ms)
    if trust is None:
        raise EnvelopeRefused(
            EnvelopeReason.BEFORE_TRUST,
            f"it is as of {format_time(at_ms)}, and the trust root given says nothing of times "
            f"before {format_time(policy.since_ms)}",
        )
    try:
        return open_envelope(envelope, trust), trust
    except EnvelopeRefused as refused:
        raise EnvelopeRefused(refused.reason, f"of the officers at {format_time(at_ms)}, {refused}") from None


def _signed_by_any(policy: Policy, envelope: bytes) -> OpenedEnvelope:
    """The payload that enough officers signed, be they of whatever time."""
    for earlier in policy.earlier:
        try:
            return open_envelope(envelope, earlier.trust)
        except EnvelopeRefused as refused:
            if refused.reason is not EnvelopeReason.THRESHOLD_NOT_MET:
                raise
    return open_envelope(envelope, policy.trust)
