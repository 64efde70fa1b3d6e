"""What every service needs of a call: who makes it, and a founded house to answer from."""

from collections.abc import Callable

import grpc

from clearing.model.house import House
from clearing.model.ids import AccountKey, member_of
from clearing.model.outcomes import Reason
from clearing.server.errors import Fault, Refused
from clearing.server.identity import Identity, IdentityRefused, identity_of
from clearing.server.wire import names
from ledger.store.writer import Published


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
