"""What every service needs of a call: who makes it, a founded house to answer from, and the way to change it."""

from collections.abc import Callable
from dataclasses import replace

import grpc
from google.protobuf.message import Message

from clearing.engine import Engine, Pending
from clearing.model.commands import Command
from clearing.model.house import House
from clearing.model.ids import AccountKey, RegulatorId, member_of
from clearing.model.outcomes import Outcome, Reason
from clearing.server.errors import Fault, Refused, require_accepted
from clearing.server.identity import Identity, IdentityRefused, Role, identity_of, parse_spiffe
from clearing.server.wire import names
from ledger.require import InvariantViolated
from ledger.store.writer import Published

WAIT_MAX_S = 3_600.0
"""A caller that sets no deadline waits so long at most."""
IDENTITY_METADATA = "x-clearing-identity"
"""Says who calls on a port without TLS, as a SPIFFE id; on a port with TLS it counts for nothing."""


_ADMITTED = "_clearing_caller"
"""Under this name a call's context holds who makes it."""


def caller_of(context: grpc.ServicerContext) -> Identity:
    """Who calls, as the door admitted it: with what it may see."""
    caller = vars(context).get(_ADMITTED)
    if not isinstance(caller, Identity):
        raise InvariantViolated("the door admits a caller before a service asks for it")
    return caller


def admit(context: grpc.ServicerContext, caller: Identity) -> None:
    """Have :func:`caller_of` answer ``caller`` for this call from now on."""
    vars(context)[_ADMITTED] = caller


def scoped(caller: Identity, house: House) -> Identity:
    """``caller`` as far as ``house`` lets it see: a regulator with a grant sees the members of its jurisdictions."""
    grant = house.grants.get(RegulatorId(caller.id)) if caller.role is Role.REGULATOR else None
    if grant is None:
        return replace(caller, granted=None) if caller.granted is not None else caller
    seen = (row.id for row in house.members.values() if row.jurisdiction in grant.jurisdictions)
    return replace(caller, granted=frozenset(seen))


def certified(context: grpc.ServicerContext) -> Identity:
    """Who calls, by the certificate of the connection alone. Raises :class:`Refused`.

    A connection without TLS exists only with ``--insecure-loopback``, and its callers are believed.
    """
    connection = context.auth_context()
    certificates = connection.get("x509_pem_cert", ())
    security = connection.get("transport_security_type", ())
    try:
        if certificates:
            return identity_of(bytes(next(iter(certificates))))
        if security and bytes(next(iter(security))) == b"insecure":
            return _claimed(context)
    except IdentityRefused as error:
        raise Refused(Fault.IDENTITY_REFUSED, str(error)) from None
    raise Refused(Fault.CERTIFICATE_MISSING)


def _claimed(context: grpc.ServicerContext) -> Identity:
    claims = [value for key, value in context.invocation_metadata() if key == IDENTITY_METADATA]
    if len(claims) != 1:
        raise IdentityRefused(f"without TLS, say who you are once in the metadata {IDENTITY_METADATA}")
    return parse_spiffe(str(claims[0]))


def require_good(caller: Identity, house: House, now_ms: int) -> None:
    """Raise :class:`Refused` if the caller's certificate has expired or was revoked since its connection was made.

    Every call is asked this at its beginning; one that lasts asks again from time to time.
    """
    held = caller.credential
    if held is None:
        return
    if held.expires_ms < now_ms:
        raise Refused(Fault.CERTIFICATE_EXPIRED)
    if held.serial in house.revocations:
        raise Refused(Fault.CERTIFICATE_REVOKED, held.serial)


def founded(view: Published[House]) -> House:
    """The state of ``view``. Raises :class:`Refused` while the house has no charter."""
    if view.state.charter is None:
        raise Refused(Reason.HOUSE_NOT_FOUNDED)
    return view.state


def shown(parent: str, caller: Identity) -> Callable[[str], bool]:
    """Which keys of the form ``member/…`` a list under ``parent`` shows to ``caller``."""
    if parent == names.ALL_MEMBERS:
        return lambda key: caller.sees(member_of(AccountKey(key)))
    wanted = names.member_id(parent)
    return lambda key: member_of(AccountKey(key)) == wanted and caller.sees(wanted)


def write(engine: Engine, command: Command, request: Message, context: grpc.ServicerContext) -> Outcome:
    """Have the house decide ``command``, which ``request`` asks for, unless the caller's deadline comes first.

    A request that says ``validate_only`` is decided and dropped. Raises :class:`Refused` if the command was refused,
    and what ``Engine.execute`` raises.
    """
    if getattr(request, "validate_only", False):
        outcome, _ = engine.preview(command, actor=caller_of(context).actor)
        require_accepted(outcome)
        return outcome
    return answered(submit(engine, command, request, context), context)


def submit(engine: Engine, command: Command, request: Message, context: grpc.ServicerContext) -> Pending:
    """Queue ``command``, which ``request`` asks for; :func:`answered` waits. Raises what ``Engine.submit`` does."""
    caller = caller_of(context)
    own_id: str = request.request_id  # type: ignore[attr-defined]  # every mutation has one, a test says
    return engine.submit(
        command, request_id=caller.request_id(own_id), actor=caller.actor, body=_body(request)
    )


def answered(pending: Pending, context: grpc.ServicerContext) -> Outcome:
    """The answer to what was queued, unless the caller's deadline comes first; raises as :func:`write`."""
    outcome = pending.outcome(min(context.time_remaining(), WAIT_MAX_S))
    require_accepted(outcome)
    return outcome


def _body(request: Message) -> bytes:
    """The request as it came, without fields that this house does not know: the same bytes for the same request."""
    known = type(request).FromString(request.SerializeToString())
    known.DiscardUnknownFields()
    return f"{known.DESCRIPTOR.full_name}\n".encode() + known.SerializeToString(deterministic=True)
