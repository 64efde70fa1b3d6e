"""What every service needs of a call: who makes it, a founded house to answer from, and the way to change it."""

from collections.abc import Callable

import grpc
from google.protobuf.message import Message

from clearing.engine import Engine
from clearing.model.commands import Command
from clearing.model.house import House
from clearing.model.ids import AccountKey, member_of
from clearing.model.outcomes import Outcome, Reason
from clearing.server.errors import Fault, Refused, require_accepted
from clearing.server.identity import Identity, IdentityRefused, identity_of
from clearing.server.wire import names
from ledger.store.writer import Published

WAIT_MAX_S = 3_600.0
"""A caller that sets no deadline waits so long at most."""


def caller_of(context: grpc.ServicerContext) -> Identity:
    """Who calls, by the certificate of the connection. Raises :class:`Refused`."""
    certificates = context.auth_context().get("x509_pem_cert", ())
    if not certificates:
        raise Refused(Fault.CERTIFICATE_MISSING)
    try:
        return identity_of(bytes(next(iter(certificates))))
    except IdentityRefused as error:
        raise Refused(Fault.IDENTITY_REFUSED, str(error)) from None


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
    caller = caller_of(context)
    own_id: str = request.request_id  # type: ignore[attr-defined]  # every mutation has one, a test says
    if getattr(request, "validate_only", False):
        outcome, _ = engine.preview(command, actor=caller.actor)
    else:
        outcome = engine.execute(
            command,
            request_id=caller.request_id(own_id),
            actor=caller.actor,
            body=_body(request),
            timeout_s=min(context.time_remaining(), WAIT_MAX_S),
        )
    require_accepted(outcome)
    return outcome


def _body(request: Message) -> bytes:
    """The request as it came, without fields that this house does not know: the same bytes for the same request."""
    known = type(request).FromString(request.SerializeToString())
    known.DiscardUnknownFields()
    return f"{known.DESCRIPTOR.full_name}\n".encode() + known.SerializeToString(deterministic=True)
