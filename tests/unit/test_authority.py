"""Every method says who may call it and how far it reaches; what does not say so is closed."""

from unittest.mock import Mock, create_autospec

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor

from clearing.model.commands import AdmitMember, GrantRegulator, RevokeCertificate, SetJurisdiction
from clearing.model.house import House
from clearing.model.ids import MemberId, RegulatorId
from clearing.server.calls import IDENTITY_METADATA, caller_of, require_good
from clearing.server.drain import Drain
from clearing.server.errors import Refused
from clearing.server.identity import Role, identity_of
from clearing.server.interceptors import (
    CLOSED,
    OPEN_SERVICES,
    Access,
    Authority,
    Inside,
    access_of,
    accesses,
    owners,
)
from clearing.server.services import DESCRIBED
from clearinghouse.v1 import options_pb2
from clearinghouse.v1.account_service_pb2 import GetAccountRequest
from ledger.require import InvariantViolated
from tests.builders import ALICE, ANNA, empty_house, link, two_traders
from tests.unit.test_identity import certificate

METHODS = [method for service in DESCRIBED for method in service.methods]
IDS = [method.full_name.removeprefix("clearinghouse.v1.") for method in METHODS]
JOURNALS_ITS_READING = {"PullReport"}
"""To read a report is journaled; nothing else of the house changes by it."""
READS = ("Get", "List", "Preview", "Explain", "WhatIf", "StreamEvents", "Download")


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_every_method_says_who_may_call_it_and_how_far_it_reaches(method: MethodDescriptor) -> None:
    access = access_of(method)
    assert access.allowed, "give it `option (clearinghouse.v1.allowed)`"
    assert access.reach in {
        *(options_pb2.REACH_EVERYONE, options_pb2.REACH_OWN, options_pb2.REACH_FILTERED),
        options_pb2.REACH_HOUSE,
    }, "give it `option (clearinghouse.v1.reach)`"
    if access.reach == options_pb2.REACH_OWN:
        assert access.own, "REACH_OWN needs `option (clearinghouse.v1.own)`"
    if access.own:
        assert access.own in method.input_type.fields_by_name


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_what_changes_something_takes_a_request_id_and_only_the_callers_own(method: MethodDescriptor) -> None:
    access, is_read = access_of(method), method.name.startswith(READS)
    assert ("request_id" in method.input_type.fields_by_name) is not is_read
    if method.name in JOURNALS_ITS_READING:
        assert access.reach == options_pb2.REACH_FILTERED
    elif not is_read:
        assert access.reach == options_pb2.REACH_OWN
        assert not access.allowed & {Role.REGULATOR}, "regulators write nothing"


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_regulators_and_administrators_read_everything(method: MethodDescriptor) -> None:
    if method.name.startswith(READS):
        assert {Role.REGULATOR, Role.ADMINISTRATOR} <= access_of(method).allowed


def test_what_everyone_gets_alike_is_this_and_no_more() -> None:
    """A method is added here only when its answer says nothing that belongs to one member."""
    members_may = {
        path.rpartition("/")[2]
        for path, access in accesses(DESCRIBED).items()
        if access.reach == options_pb2.REACH_EVERYONE and Role.MEMBER in access.allowed
    }
    assert members_may == {
        *("GetHouse", "GetParameters", "ListMarks", "ListOptionMarks", "GetRiskArray"),
        "ListUnderlyings",
        *("GetAttestation", "ListAttestations"),
        *("GetCheckpoint", "GetConsistencyProof", "GetInclusionProof", "GetTile"),  # the public log
    }


def test_what_no_member_may_call_says_what_a_regulator_with_a_grant_gets_of_it() -> None:
    """What is open to all regulators alike says nothing that belongs to one member; what is cut down to the caller
    has its own test (``tests/unit/test_jurisdictions.py``); all else is for who sees all.
    """
    found: dict[int, set[str]] = {}
    for path, access in accesses(DESCRIBED).items():
        if Role.REGULATOR in access.allowed and Role.MEMBER not in access.allowed:
            found.setdefault(access.reach, set()).add(path.rpartition("/")[2])
    assert found == {
        options_pb2.REACH_EVERYONE: {"GetOutage", "ListBreakers", "ListGates", "ListGrants", "ListSources"},
        options_pb2.REACH_FILTERED: {"GetProposal", "ListProposals"},
        options_pb2.REACH_HOUSE: {
            *("GetTrialBalance", "ListRevocations", "PreviewDefault"),
            *("GetContagion", "GetPoolCoverage", "GetReverseStress", "GetShadow"),
        },
    }


class Aborted(Exception):
    """What a call ended with."""

    def __init__(self, status: grpc.Status) -> None:
        super().__init__(status.details)
        self.status = status


def call_with(*pem: bytes) -> grpc.ServicerContext:
    """A call with this certificate."""

    def abort(status: grpc.Status) -> None:
        raise Aborted(status)

    call: grpc.ServicerContext = create_autospec(grpc.ServicerContext, instance=True)
    call.auth_context.return_value = {"x509_pem_cert": pem} if pem else {}  # type: ignore[attr-defined]
    call.abort_with_status.side_effect = abort  # type: ignore[attr-defined]
    return call


def guarded(
    access: Access, path: str, house: House | None = None, now_ms: int = 0
) -> "grpc.RpcMethodHandler[object, object]":
    inside = Inside(house="h", state=lambda: house or House(), clock=lambda: now_ms, drain=Drain())
    authority = Authority(inside, {"/x/Get": access})

    def answer(_request: object, _context: grpc.ServicerContext) -> object:
        return "answered"

    handler: grpc.RpcMethodHandler[object, object] = grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=GetAccountRequest.FromString
    )
    found = authority.intercept_service(lambda _: handler, Mock(method=path))
    assert found is not None
    return found


def outcome(
    access: Access, caller: str | None, name: str = "", path: str = "/x/Get", house: House | None = None
) -> str:
    """``answered``, or why not."""
    handler = guarded(access, path, house)
    call = call_with() if caller is None else call_with(certificate(caller))
    assert handler.stream_unary is not None
    try:
        return str(handler.stream_unary(iter([GetAccountRequest(name=name).SerializeToString()]), call))
    except Aborted as aborted:
        return f"{aborted.status.code.name} {aborted}"


MEMBER_OWN = Access(allowed=frozenset({Role.MEMBER}), reach=options_pb2.REACH_OWN, own="name")


def test_a_call_without_a_certificate_is_unauthenticated() -> None:
    assert outcome(MEMBER_OWN, None).startswith("UNAUTHENTICATED")


def test_a_certificate_of_another_house_is_unauthenticated() -> None:
    assert outcome(MEMBER_OWN, "spiffe://other/member/alpha").startswith("UNAUTHENTICATED")


def test_a_role_that_the_method_does_not_allow_is_denied() -> None:
    denied = outcome(MEMBER_OWN, "spiffe://h/administrator/anna", "members/alpha/accounts/house")
    assert denied.startswith("PERMISSION_DENIED your role may not")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("members/alpha/accounts/house", "answered"),
        ("members/beta/accounts/house", "PERMISSION_DENIED you may name only what is yours"),
        ("members/alphabet/accounts/house", "PERMISSION_DENIED you may name only what is yours"),
        ("members/-", "INVALID_ARGUMENT"),
        ("alpha", "INVALID_ARGUMENT"),
        ("", "INVALID_ARGUMENT"),
    ],
)
def test_a_member_names_only_what_is_its_own(name: str, expected: str) -> None:
    assert outcome(MEMBER_OWN, "spiffe://h/member/alpha", name).startswith(expected)


def test_who_sees_all_may_name_anything() -> None:
    access = Access(allowed=frozenset({Role.REGULATOR}), reach=options_pb2.REACH_OWN, own="name")
    assert outcome(access, "spiffe://h/regulator/rita", "members/beta/accounts/house") == "answered"


@pytest.fixture(scope="module")
def granted() -> House:
    """Of dex and other, rita was granted the jurisdiction of dex; of nobody has none of its members."""
    world = two_traders()
    world.ok(AdmitMember(member=MemberId("other"), name="Other"))
    for member, jurisdiction in (("dex", "CH"), ("other", "DE")):
        world.ok(SetJurisdiction(member=MemberId(member), jurisdiction=jurisdiction))
    for regulator, jurisdiction in (("rita", "CH"), ("nobody", "LI")):
        world.ok(GrantRegulator(regulator=RegulatorId(regulator), jurisdictions=(jurisdiction,)))
    return world.state


def reaching(reach: "options_pb2.Reach.ValueType", own: str = "name") -> Access:
    return Access(allowed=frozenset({Role.REGULATOR}), reach=reach, own=own)


@pytest.mark.parametrize(
    ("regulator", "name", "expected"),
    [
        ("rita", "members/dex/accounts/alice", "answered"),
        ("rita", "members/other/accounts/alice", "PERMISSION_DENIED you may name only what is yours"),
        ("rita", "members/de/accounts/alice", "PERMISSION_DENIED you may name only what is yours"),
        ("rita", "members/rita/accounts/alice", "PERMISSION_DENIED you may name only what is yours"),
        ("nobody", "members/dex/accounts/alice", "PERMISSION_DENIED you may name only what is yours"),
        ("all", "members/other/accounts/alice", "answered"),
    ],
)
@pytest.mark.parametrize("reach", [options_pb2.REACH_OWN, options_pb2.REACH_FILTERED])
def test_a_regulator_with_a_grant_names_what_is_of_its_members(
    granted: House, reach: "options_pb2.Reach.ValueType", regulator: str, name: str, expected: str
) -> None:
    found = outcome(reaching(reach), f"spiffe://h/regulator/{regulator}", name, house=granted)
    assert found.startswith(expected)


def test_what_is_about_all_members_together_is_for_who_sees_all(granted: House) -> None:
    whole = reaching(options_pb2.REACH_HOUSE, own="")
    assert outcome(whole, "spiffe://h/regulator/all", house=granted) == "answered"
    refused = "PERMISSION_DENIED this is about all members together"
    for regulator in ("rita", "nobody"):
        assert outcome(whole, f"spiffe://h/regulator/{regulator}", house=granted).startswith(refused)
    open_to_members = Access(allowed=frozenset({Role.MEMBER}), reach=options_pb2.REACH_HOUSE, own="")
    assert outcome(open_to_members, "spiffe://h/member/dex", house=granted).startswith(refused)


def test_a_grant_is_of_a_regulator_and_of_nobody_else_of_its_name(granted: House) -> None:
    whole = Access(allowed=frozenset(Role), reach=options_pb2.REACH_HOUSE, own="")
    assert outcome(whole, "spiffe://h/administrator/rita", house=granted) == "answered"


def test_what_the_door_admits_is_what_the_service_sees(granted: House) -> None:
    seen: list[frozenset[MemberId] | None] = []
    inside = Inside(house="h", state=lambda: granted, clock=lambda: 0, drain=Drain())
    authority = Authority(inside, {"/x/Get": reaching(options_pb2.REACH_FILTERED, own="")})

    def answer(_request: object, context: grpc.ServicerContext) -> None:
        seen.append(caller_of(context).members)

    handler: grpc.RpcMethodHandler[object, object] = grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=GetAccountRequest.FromString
    )
    found = authority.intercept_service(lambda _: handler, Mock(method="/x/Get"))
    assert found is not None
    assert found.stream_unary is not None
    for who in ("rita", "nobody", "all"):
        found.stream_unary(iter([b""]), call_with(certificate(f"spiffe://h/regulator/{who}")))
    assert seen == [{"dex"}, set(), None]


def test_without_the_door_a_service_knows_no_caller() -> None:
    with pytest.raises(InvariantViolated):
        caller_of(call_with(certificate("spiffe://h/regulator/rita")))


def test_the_custodian_names_anybodys_where_a_method_is_open_to_it_and_only_there() -> None:
    access = Access(allowed=frozenset({Role.CUSTODIAN}), reach=options_pb2.REACH_OWN, own="name")
    vault, name = "spiffe://h/custodian/vault", "members/beta/accounts/house"
    assert outcome(access, vault, name) == "answered"
    assert outcome(MEMBER_OWN, vault, name).startswith("PERMISSION_DENIED your role may not")


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_the_custodian_has_no_method_but_those_about_custody(method: MethodDescriptor) -> None:
    """It may name any member's, so a method that is opened to it is opened here as well."""
    access = access_of(method)
    if Role.CUSTODIAN in access.allowed and access.reach != options_pb2.REACH_EVERYONE:
        assert method.name in {
            *("NotifyDeposit", "SendWithdrawal", "SettleWithdrawal", "GetWithdrawal", "ListWithdrawals"),
            *("FundHouse", "RecordRecovery", "ReplaceLostAsset"),
            *("StreamEvents", "ListEvents"),  # cut down to what concerns it
        }


def test_a_method_without_options_is_closed_to_everyone() -> None:
    unreached = Access(allowed=frozenset(Role), reach=options_pb2.REACH_UNSPECIFIED, own="")
    for role in Role:
        caller = f"spiffe://h/{role.value}/alpha"
        assert outcome(CLOSED, caller).startswith("PERMISSION_DENIED nobody may call")
        assert outcome(unreached, caller).startswith("PERMISSION_DENIED nobody may call")
        assert outcome(MEMBER_OWN, caller, path="/x/Other").startswith("PERMISSION_DENIED nobody may call")


def test_health_and_reflection_are_open_to_every_identity_of_the_house_and_to_nobody_else() -> None:
    for service in OPEN_SERVICES:
        assert outcome(CLOSED, "spiffe://h/member/alpha", path=f"{service}Check") == "answered"
        assert outcome(CLOSED, "spiffe://other/member/a", path=f"{service}Check").startswith(
            "UNAUTHENTICATED"
        )


def test_a_netting_set_is_owned_by_the_members_of_its_accounts() -> None:
    world = two_traders()
    assert owners("nettingSets/dex~alice", world.state) == ("members/dex",)
    assert owners("nettingSets/other~nobody", world.state) == ("members/other",)
    other = empty_house_with_pat_at_two_members()
    assert owners("nettingSets/link~pat", other) == ("members/one", "members/two")
    assert owners(f"members/{ALICE}", world.state) == (f"members/{ALICE}",)


def empty_house_with_pat_at_two_members() -> House:
    world = empty_house()
    for member in ("one", "two"):
        world.ok(AdmitMember(member=MemberId(member), name=member))
    keys = [world.account(member, "c", "pat") for member in ("one", "two")]
    link(world, "pat", *keys)
    return world.state


# certificates that were good when the connection was made ---------------------------------------------------

MINE = "members/alpha/accounts/house"
ALPHA_PEM = certificate("spiffe://h/member/alpha", serial=0x1F)


def answer_to(
    call: grpc.ServicerContext, house: House | None = None, now_ms: int = 0, path: str = "/x/Get"
) -> str:
    """``answered``, or why not."""
    behaviour = guarded(MEMBER_OWN, path, house, now_ms).stream_unary
    assert behaviour is not None
    try:
        return str(behaviour(iter([GetAccountRequest(name=MINE).SerializeToString()]), call))
    except Aborted as aborted:
        return f"{aborted.status.code.name} {aborted}"


def revoked(serial: str) -> House:
    world = empty_house()
    world.ok(RevokeCertificate(serial=serial, reason="stolen"), ANNA)
    return world.state


def test_a_certificate_is_good_until_its_last_millisecond() -> None:
    credential = identity_of(ALPHA_PEM).credential
    assert credential is not None
    until = credential.expires_ms
    assert answer_to(call_with(ALPHA_PEM), now_ms=until) == "answered"
    expired = answer_to(call_with(ALPHA_PEM), now_ms=until + 1)
    assert expired == "UNAUTHENTICATED the client certificate has expired"


@pytest.mark.parametrize("path", ["/x/Get", f"{OPEN_SERVICES[0]}Check"])
def test_a_revoked_certificate_is_refused_everywhere_and_others_are_not(path: str) -> None:
    assert answer_to(call_with(ALPHA_PEM), revoked("1f"), path=path) == (
        "UNAUTHENTICATED the client certificate was revoked: 1f"
    )
    assert answer_to(call_with(ALPHA_PEM), revoked("1e"), path=path) == "answered"


def test_who_holds_a_stream_open_is_asked_again() -> None:
    caller = identity_of(ALPHA_PEM)
    require_good(caller, House(), 0)
    with pytest.raises(Refused) as error:
        require_good(caller, revoked("1f"), 0)
    assert error.value.reason == "CERTIFICATE_REVOKED"


# without TLS --------------------------------------------------------------------------------------------------


def claiming(
    *claims: str, security: bytes = b"insecure", pem: tuple[bytes, ...] = ()
) -> grpc.ServicerContext:
    """A call that says in its metadata who makes it."""
    call = call_with()
    call.auth_context.return_value = {  # type: ignore[attr-defined]
        "transport_security_type": [security],
        **({"x509_pem_cert": pem} if pem else {}),
    }
    call.invocation_metadata.return_value = [  # type: ignore[attr-defined]
        ("user-agent", "x"),
        *((IDENTITY_METADATA, claim) for claim in claims),
    ]
    return call


def test_without_tls_a_caller_is_who_it_says() -> None:
    assert answer_to(claiming("spiffe://h/member/alpha")) == "answered"
    denied = answer_to(claiming("spiffe://h/member/beta"))
    assert denied.startswith("PERMISSION_DENIED you may name only what is yours")


@pytest.mark.parametrize(
    "claims", [(), ("member/alpha",), ("spiffe://other/member/alpha",), ("spiffe://h/member/alpha",) * 2]
)
def test_without_tls_a_caller_says_once_and_exactly_who_it_is(claims: tuple[str, ...]) -> None:
    assert answer_to(claiming(*claims)).startswith("UNAUTHENTICATED the client certificate does not say")


@pytest.mark.parametrize("security", [b"ssl", b"", b"local", b"Insecure"])
def test_with_tls_what_a_caller_says_counts_for_nothing(security: bytes) -> None:
    said = "spiffe://h/member/alpha"
    assert answer_to(claiming(said, security=security)).startswith("UNAUTHENTICATED the call came without")
    beta = certificate("spiffe://h/member/beta")
    for kind in (security, b"insecure"):
        assert answer_to(claiming(said, security=kind, pem=(beta,))).startswith("PERMISSION_DENIED")
