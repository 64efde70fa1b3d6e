"""Who may call what, over mTLS: every method × every role × what is one's own, and what is another's.

``tests/golden/authority.txt`` says who may: a change of an option in a proto must be made there too, by someone who
meant it. Each line is a method, how far it reaches (and the field that names whose it is), and the roles.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from clearing.server.identity import Role
from clearing.server.interceptors import Access, access_of
from clearing_client.connect import channel
from clearing_client.errors import of_call
from clearinghouse.v1 import options_pb2
from clearinghouse.v1.house_service_pb2 import GetHouseRequest
from clearinghouse.v1.house_service_pb2_grpc import HouseServiceStub
from tests.calling import IDS, METHODS, invoker
from tests.hostile import rule_of
from tests.serving import Served

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parents[1] / "golden" / "authority.txt"
CALLERS = {
    Role.MEMBER: "member/alpha",
    Role.REGULATOR: "regulator/rita",
    Role.ADMINISTRATOR: "administrator/anna",
    Role.PRICE_SOURCE: "price-source/s1",
    Role.LIQUIDITY_PROVIDER: "liquidity-provider/beta",
    Role.CUSTODIAN: "custodian/vault",
}
OWNERS = {Role.MEMBER, Role.LIQUIDITY_PROVIDER, Role.PRICE_SOURCE}
"""Roles that own something; the others name what they like, or nothing."""
NAMES = {
    "member": "members/{}",
    "member_or_all": "members/{}",
    "account": "members/{}/accounts/one",
    "trade": "members/{}/trades/t1",
    "netting_set": "nettingSets/{}~one",
    "source": "sources/{}",
    "default_name": "defaults/d1",
    "instrument_or_all": "instruments/-",
    "new_id": "{}",
    "proposal": "proposals/p1",
    "withdrawal": "members/{}/accounts/one/withdrawals/w1",
    "ledger_account": "members/{}/accounts/one/cash",
    "asset": "assets/ETH",
    "instrument": "instruments/BTC-PERP",
    "": "1f",
}
"""A resource of an owner, by the rule of the field that names it."""
DENIALS = {"ROLE_NOT_ALLOWED", "NOT_YOURS", "METHOD_CLOSED"}


def line_of(name: str, access: Access) -> str:
    """A line of the golden file."""
    reach = options_pb2.Reach.DESCRIPTOR.values_by_number[access.reach].name.removeprefix("REACH_").lower()
    about = f" {access.own}" if access.own else ""
    return f"{name}: {reach}{about}: {' '.join(sorted(role.value for role in access.allowed))}"


def test_who_may_call_what_is_what_was_decided() -> None:
    found = [line_of(name, access_of(method)) for name, method in zip(IDS, METHODS, strict=True)]
    assert sorted(found) == GOLDEN.read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def channels(served: Served) -> Iterator[dict[str, grpc.Channel]]:
    """One connection for each caller."""
    with ExitStack() as stack:
        folders = {who: served.keys / "clients" / who for who in CALLERS.values()}
        yield {who: stack.enter_context(channel(served.address, keys)) for who, keys in folders.items()}


@pytest.mark.parametrize("role", Role, ids=[role.value for role in Role])
@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_each_role_gets_as_far_as_it_may_and_a_denied_call_changes_nothing(
    channels: dict[str, grpc.Channel], method: MethodDescriptor, role: Role
) -> None:
    who, access = CALLERS[role], access_of(method)
    own_id = who.split("/")[1]
    for owner in (own_id, "another"):
        wanted = ""
        if role not in access.allowed:
            wanted = "ROLE_NOT_ALLOWED"
        elif role in OWNERS and owner != own_id and access.own:
            wanted = "NOT_YOURS"
        before = root(channels) if wanted else ""
        assert denial(channels[who], method, about(method, access, owner)) == wanted, owner
        if wanted:
            assert root(channels) == before


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_without_a_certificate_nobody_gets_anywhere(served: Served, method: MethodDescriptor) -> None:
    authority = (served.keys / "ca.crt").read_bytes()
    with grpc.secure_channel(served.address, grpc.ssl_channel_credentials(authority)) as connected:
        with pytest.raises(grpc.RpcError) as error:
            invoker(connected, method)([GetMessageClass(method.input_type)()])
        assert of_call(error.value).code is grpc.StatusCode.UNAVAILABLE


def about(method: MethodDescriptor, access: Access, owner: str) -> Message:
    """A request of ``method`` that names something of ``owner``, and is empty else."""
    request: Message = GetMessageClass(method.input_type)()
    if access.own:
        name = NAMES[rule_of(method.input_type.fields_by_name[access.own])].format(owner)
        setattr(request, access.own, name)
    return request


def denial(connected: grpc.Channel, method: MethodDescriptor, request: Message) -> str:
    """For which reason of authority the call is refused; empty if it got past it, to an answer or to what is wrong."""
    try:
        invoker(connected, method)([request])
    except grpc.RpcError as error:
        found = of_call(error)
        if found.code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED):
            assert found.reason in DENIALS, found
            return found.reason
    return ""


def root(channels: dict[str, grpc.Channel]) -> str:
    """The root of the journal."""
    anna = HouseServiceStub(channels["administrator/anna"])
    return anna.GetHouse(GetHouseRequest()).journal_root
