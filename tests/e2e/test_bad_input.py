"""Bad input over real mTLS: a named test for each kind, as far as another module has none.

Elsewhere: 5 MB messages and bytes that are none of a unary call (``test_serve``), headers without a request
(``test_operations``), slow readers of events and 200 idle streams (``test_events``), expired and revoked certificates
(``integration/test_certificates``), no certificate and a foreign one (``test_serve``), replayed request ids
(``test_idempotency``), drawn requests of every method (``test_hostile_requests``).
"""

import hashlib
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from clearing.server.interceptors import access_of
from clearing_client.client import new_id, new_trade
from clearing_client.connect import channel
from clearing_client.errors import ClearingError, of_call
from clearing_client.reports import pull_request
from clearinghouse.v1 import account_service_pb2 as accounts_pb
from clearinghouse.v1 import collateral_service_pb2 as money_pb
from clearinghouse.v1 import house_service_pb2 as house_pb
from clearinghouse.v1 import report_service_pb2 as report_pb
from clearinghouse.v1 import trade_service_pb2 as trade_pb
from clearinghouse.v1.account_service_pb2_grpc import AccountServiceStub
from clearinghouse.v1.collateral_service_pb2_grpc import CollateralServiceStub
from clearinghouse.v1.house_service_pb2_grpc import HouseServiceStub
from clearinghouse.v1.report_service_pb2_grpc import ReportServiceStub
from clearinghouse.v1.trade_service_pb2_grpc import TradeServiceStub
from tests.calling import IDS, METHODS, invoker
from tests.hostile import HOSTILE_NUMBERS, rule_of
from tests.serving import CLIENTS, HOUSE, Served, served_house

pytestmark = pytest.mark.slow

ALPHA, BETA, RITA = "member/alpha", "member/beta", "regulator/rita"
ONE, TWO = "members/alpha/accounts/one", "members/alpha/accounts/two"
NO_RULE = {"", "reason"}
DECIMALS = {"decimal", "positive_decimal", "amount"}
NO_NUMBERS = tuple(dict.fromkeys(text for text in HOSTILE_NUMBERS if text not in {"0", "-1", "-0", "9" * 39}))
"""Texts that no decimal field takes, whatever its sign."""
PAGED = [method for method in METHODS if "page_token" in method.input_type.fields_by_name]


def may_call(method: MethodDescriptor) -> str:
    """Somebody whose role may call the method."""
    allowed = {role.value for role in access_of(method).allowed}
    return next(who for who in CLIENTS if who.split("/")[0] in allowed)


def refusal(served: Served, who: str, method: MethodDescriptor, *asked: Message) -> ClearingError:
    with channel(served.address, served.keys / "clients" / who) as connected:
        with pytest.raises(grpc.RpcError) as error:
            invoker(connected, method)(list(asked))
        return of_call(error.value)


def set_all(message: Message, wanted: set[str] | None, text: str, path: str = "", depth: int = 3) -> set[str]:
    """Put ``text`` into every string that has a rule (one of ``wanted``), one deep in each list; their paths."""
    found: set[str] = set()
    described: Any = message.DESCRIPTOR
    for field in described.fields:
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            if depth and not field.message_type.full_name.startswith("google."):
                found |= _set_in(message, field, wanted, text, path, depth)
        elif field.type == FieldDescriptor.TYPE_STRING and field.message_type is None:
            rule = rule_of(field)
            if rule in NO_RULE or (wanted is not None and rule not in wanted):
                continue
            if field.is_repeated:
                getattr(message, field.name).append(text)
            else:
                setattr(message, field.name, text)
            found.add(f"{path}{field.name}" + ("[0]" if field.is_repeated else ""))
    return found


def _set_in(
    message: Message, field: FieldDescriptor, wanted: set[str] | None, text: str, path: str, depth: int
) -> set[str]:
    if field.containing_oneof is not None and message.WhichOneof(field.containing_oneof.name):
        return set()
    if field.is_repeated:
        inner = getattr(message, field.name).add()
        return set_all(inner, wanted, text, f"{path}{field.name}[0].", depth - 1)
    inner = getattr(message, field.name)
    inner.SetInParent()
    return set_all(inner, wanted, text, f"{path}{field.name}.", depth - 1)


# ------------------------------------------------------------------------------------------------------- requests


NAMING = [m for m in METHODS if set_all(GetMessageClass(m.input_type)(), None, "a")]
"""Methods that have a field for a name or an id."""


@pytest.mark.parametrize(
    "text",
    [
        "a" * 10_000,
        "members/" + "m" * 10_000,
        "m\u00ebmbers/\uff41lpha",
        "\u202emembers/alpha",
        "a\x00b",
        "\U0001f469",
    ],
    ids=["long", "long-name", "letters", "right-to-left", "nul", "emoji"],
)
@pytest.mark.parametrize("method", NAMING, ids=lambda method: method.name)
def test_ids_that_are_too_long_or_in_other_letters_are_named_field_by_field(
    served: Served, method: MethodDescriptor, text: str
) -> None:
    request = GetMessageClass(method.input_type)()
    wrong = set_all(request, None, text)
    before = served.journal_size()
    error = refusal(served, may_call(method), method, request)
    assert error.reason == "REQUEST_INVALID", error
    named = {violation.field.split("batches[0].")[-1] for violation in error.violations}
    own = access_of(method).own
    assert wrong <= named or own in named, (wrong - named, "as many as fit in the trailers")
    assert served.journal_size() == before


@pytest.mark.parametrize("number", NO_NUMBERS, ids=[f"{len(text)}-{text[:12]!r}" for text in NO_NUMBERS])
def test_numbers_that_are_none_or_too_big_are_wrong_fields_and_change_nothing(
    served: Served, number: str
) -> None:
    before = served.journal_size()
    trade = new_trade("BTC-PERP", buyer=ONE, seller=TWO, size=number, price=number)
    trades = trade_pb.SubmitTradesRequest(parent="members/alpha", request_id=new_id(), trades=[trade])
    out = money_pb.RequestWithdrawalRequest(
        account=ONE, request_id=new_id(), withdrawal_id="w", asset="assets/USDC", amount=number
    )
    with channel(served.address, served.keys / "clients" / ALPHA) as connected:
        asked: list[tuple[Any, Message, set[str]]] = [
            (TradeServiceStub(connected).SubmitTrades, trades, {"trades[0].size", "trades[0].price"}),
            (CollateralServiceStub(connected).RequestWithdrawal, out, {"amount"}),
        ]
        for call, request, fields in asked:
            with pytest.raises(grpc.RpcError) as error:
                call(request)
            assert {violation.field for violation in of_call(error.value).violations} == fields
    assert served.journal_size() == before


@pytest.mark.parametrize("size", ["-1", "0", "-0.001", "-" + "9" * 38])
def test_negative_sizes_and_none_are_wrong_fields(served: Served, size: str) -> None:
    trade = new_trade("BTC-PERP", buyer=ONE, seller=TWO, size=size, price="64000")
    request = trade_pb.SubmitTradesRequest(parent="members/alpha", request_id=new_id(), trades=[trade])
    error = refusal(served, ALPHA, _method("TradeService.SubmitTrades"), request)
    assert [violation.field for violation in error.violations] == ["trades[0].size"]


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_garbage_bytes_are_a_wrong_request_of_any_method(served: Served, method: MethodDescriptor) -> None:
    path = f"/{method.containing_service.full_name}/{method.name}"
    with channel(served.address, served.keys / "clients" / may_call(method)) as connected:
        send: Any = connected.stream_stream(path)
        for junk in (b"\xff" * 50, b"\x0a\xff\xff\xff\xff\x0f", b"\x0b" * 200):
            with pytest.raises(grpc.RpcError) as error:
                list(send(iter([junk]), timeout=20))
            assert of_call(error.value).reason == "REQUEST_INVALID", (junk, error.value)


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_a_call_that_is_closed_without_a_request_is_answered(
    served: Served, method: MethodDescriptor
) -> None:
    path = f"/{method.containing_service.full_name}/{method.name}"
    with channel(served.address, served.keys / "clients" / may_call(method)) as connected:
        send: Any = connected.stream_stream(path)
        answered = send(iter([]), timeout=20)
        if method.client_streaming:
            assert len(list(answered)) == 1, "a stream may be empty"
            return
        with pytest.raises(grpc.RpcError) as error:
            list(answered)
        assert of_call(error.value).reason == "REQUEST_INVALID"


def test_of_two_requests_in_a_call_that_takes_one_the_first_counts(served: Served) -> None:
    before = served.journal_size()
    asked = [
        trade_pb.SubmitTradesRequest(
            parent="members/alpha",
            request_id=new_id(),
            trades=[new_trade("BTC-PERP", buyer=ONE, seller=TWO, size="0.001", price="64000")],
        )
        for _ in range(2)
    ]
    with channel(served.address, served.keys / "clients" / ALPHA) as connected:
        send: Any = connected.stream_unary(
            "/clearinghouse.v1.TradeService/SubmitTrades",
            request_serializer=trade_pb.SubmitTradesRequest.SerializeToString,
        )
        send(iter(asked), timeout=20)
    assert served.journal_size() == before + 1


def test_a_slow_reader_of_a_report_holds_up_nobody_and_gets_it_whole(served: Served) -> None:
    with channel(served.address, served.keys / "clients" / RITA) as connected:
        reports = ReportServiceStub(connected)
        time.sleep(1.5)  # until the log shows what the report speaks of
        pull = reports.PullReport(pull_request("reports/journal", request_id=new_id())).pull
        download = reports.DownloadReport(report_pb.DownloadReportRequest(name=pull), timeout=60)
        header = next(download).header
        began = time.monotonic()
        with served.client(ALPHA) as alpha:
            for _ in range(20):
                trade = new_trade("BTC-PERP", buyer=ONE, seller=TWO, size="0.001", price="64000")
                alpha.submit_trades("members/alpha", [trade])
        assert time.monotonic() - began < 10
        data = b"".join(part.chunk.data for part in download)
    assert (len(data), hashlib.sha256(data).hexdigest()) == (header.size, header.sha256)


# ---------------------------------------------------------------------------------------------------- page tokens


def first_token(served: Served, who: str, method: MethodDescriptor, **asked: Any) -> str:
    """The token of the second page, empty where there is none."""
    request: Any = GetMessageClass(method.input_type)(page_size=1, **asked)
    if "parent" in method.input_type.fields_by_name:
        request.parent = "members/-"
    path = f"/{method.containing_service.full_name}/{method.name}"
    with channel(served.address, served.keys / "clients" / who) as connected:
        call: Any = connected.unary_unary(
            path,
            request_serializer=GetMessageClass(method.input_type).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        try:
            return str(call(request).next_page_token)
        except grpc.RpcError:
            return ""


def with_token(method: MethodDescriptor, token: str) -> Message:
    request: Any = GetMessageClass(method.input_type)(page_token=token)
    if "parent" in method.input_type.fields_by_name:
        request.parent = "members/-"
    return request  # type: ignore[no-any-return]


@pytest.mark.parametrize("method", PAGED, ids=lambda method: method.name)
def test_page_tokens_that_are_forged_or_of_another_list_are_refused(
    served: Served, method: MethodDescriptor
) -> None:
    who = RITA
    others = ("ListAccounts", "ListMembers", "ListMarks", "ListNettingSets")
    tokens = [first_token(served, who, other) for other in PAGED if other.name in others]
    foreign = [t for t in tokens if t and t != first_token(served, who, method)]
    assert len(foreign) >= 3
    for token in ("x", "AAAAAAAAAAAAAAAAAAAA", "\u00e4", "=" * 20, "A" * 10_000, *foreign):
        request = with_token(method, token)
        if method.name == "GetStatement":
            request.ledger_account, request.unit = "members/alpha/accounts/one/cash", "USDC"  # type: ignore[attr-defined]
        error = refusal(served, who, method, request)
        assert "page_token" in {violation.field for violation in error.violations}, (token, error)


@pytest.mark.parametrize("name", ["ListAccounts", "ListNettingSets", "ListMargins", "ListEntries"])
def test_a_page_token_of_another_caller_or_filter_is_refused(served: Served, name: str) -> None:
    method = next(method for method in PAGED if method.name == name)
    of_rita = first_token(served, RITA, method)
    assert of_rita
    error = refusal(served, ALPHA, method, with_token(method, of_rita))
    assert [violation.field for violation in error.violations] == ["page_token"]
    if name == "ListAccounts":
        narrower = accounts_pb.ListAccountsRequest(parent="members/beta", page_token=of_rita)
        error = refusal(served, RITA, method, narrower)
        assert [violation.field for violation in error.violations] == ["page_token"]


# --------------------------------------------------------------------------------------------------- certificates


def certificate(
    served: Served, uris: tuple[str, ...], issuer: Path | None = None, **ca: Any
) -> tuple[bytes, bytes]:
    """A key, and a certificate for it with these URIs, signed by the house's authority (or with ``issuer``'s key)."""
    folder = served.keys if issuer is None else issuer
    names = ("ca.crt", "ca.key") if issuer is None else ("client.crt", "client.key")
    authority = x509.load_pem_x509_certificate((folder / names[0]).read_bytes())
    signer = serialization.load_pem_private_key((folder / names[1]).read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
    if uris:
        found = [x509.UniformResourceIdentifier(uri) for uri in uris]
        builder = builder.add_extension(x509.SubjectAlternativeName(found), critical=False)
    made = builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, made


def house_as(served: Served, private: bytes, chain: bytes) -> ClearingError | None:
    """Why whoever has this certificate is refused the most harmless call; None if it is answered."""
    root = (served.keys / "ca.crt").read_bytes()
    with grpc.secure_channel(served.address, grpc.ssl_channel_credentials(root, private, chain)) as connected:
        try:
            HouseServiceStub(connected).GetHouse(house_pb.GetHouseRequest(), timeout=10)
        except grpc.RpcError as error:
            return of_call(error)
    return None


GOOD = f"spiffe://{HOUSE}/member/alpha"


def test_a_certificate_that_the_test_made_is_good_if_it_is_right(served: Served) -> None:
    """Else the tests below would show nothing."""
    assert house_as(served, *certificate(served, (GOOD,))) is None


@pytest.mark.parametrize(
    "uris",
    [
        ("spiffe://anotherhouse/member/alpha",),
        (GOOD, f"spiffe://{HOUSE}/administrator/anna"),
        (GOOD, "https://alpha.example"),
        (),
        (f"spiffe://{HOUSE}/chief/alpha",),
        (f"spiffe://{HOUSE}/member/alpha/more",),
        (f"spiffe://{HOUSE}:443/member/alpha",),
        (f"SPIFFE://{HOUSE}/member/alpha",),
        (f"spiffe://{HOUSE}/member/../administrator/anna",),
    ],
    ids=["house", "two-names", "two-uris", "none", "role", "path", "port", "case", "dots"],
)
def test_a_certificate_of_the_authority_that_says_not_exactly_who_is_refused(
    served: Served, uris: tuple[str, ...]
) -> None:
    error = house_as(served, *certificate(served, uris))
    assert error is not None
    assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "IDENTITY_REFUSED")


def test_a_client_is_no_authority_whatever_it_signs(served: Served) -> None:
    own = served.keys / "clients" / ALPHA
    private, made = certificate(served, (f"spiffe://{HOUSE}/administrator/anna",), issuer=own)
    error = house_as(served, private, made + (own / "client.crt").read_bytes())
    assert error is not None
    assert error.code is grpc.StatusCode.UNAVAILABLE, "TLS does not take it"


def test_the_certificate_of_the_server_is_nobodys(served: Served) -> None:
    pair = ((served.keys / name).read_bytes() for name in ("server.key", "server.crt"))
    error = house_as(served, *pair)
    assert error is not None
    assert error.code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED}


# ------------------------------------------------------------------------------------------------------------ TLS


def context_of(served: Served, **settings: Any) -> ssl.SSLContext:
    """A TLS client with alpha's certificate."""
    own = served.keys / "clients" / ALPHA
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(own / "ca.crt")
    context.load_cert_chain(own / "client.crt", own / "client.key")
    context.set_alpn_protocols(settings.pop("alpn", ["h2"]))
    for name, value in settings.items():
        setattr(context, name, value)
    return context


def shaken(served: Served, context: ssl.SSLContext) -> tuple[str, str] | None:
    """Version and cipher that were agreed on, None if nothing was."""
    host, port = served.address.rsplit(":", 1)
    try:
        with (
            socket.create_connection((host, int(port)), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            secure.settimeout(10)
            cipher = secure.cipher()
            if not secure.recv(9):  # the settings of HTTP/2
                return None
            return str(secure.version()), "" if cipher is None else cipher[0]
    except (ssl.SSLError, OSError):
        return None


def test_tls_is_1_3_or_1_2_with_forward_secrecy_and_nothing_less(served: Served) -> None:
    assert shaken(served, context_of(served)) is not None
    newest = shaken(served, context_of(served, minimum_version=ssl.TLSVersion.TLSv1_3))
    assert newest is not None
    assert newest[0] == "TLSv1.3"
    older = shaken(served, context_of(served, maximum_version=ssl.TLSVersion.TLSv1_2))
    assert older is not None
    assert older[0] == "TLSv1.2"
    assert older[1].startswith("ECDHE-")
    assert "GCM" in older[1] or "CHACHA20" in older[1]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_older_tls_is_refused(served: Served, version: ssl.TLSVersion) -> None:
    context = context_of(served)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    assert shaken(served, context) is None


@pytest.mark.parametrize("ciphers", ["AES128-SHA:@SECLEVEL=0", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"])
def test_ciphers_without_forward_secrecy_or_authenticated_encryption_are_refused(
    served: Served, ciphers: str
) -> None:
    context = context_of(served, maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(ciphers)
    assert shaken(served, context) is None


def heard(served: Served, said: bytes, context: ssl.SSLContext | None = None) -> bytes:
    """What the port says to ``said`` until it closes the connection."""
    host, port = served.address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=15) as plain:
        answer = b""
        try:
            connected = plain if context is None else context.wrap_socket(plain, server_hostname=host)
            connected.sendall(said)
            while more := connected.recv(4_096):
                answer += more
        except (ssl.SSLError, ConnectionError):
            pass
    return answer


HTTP_1 = b"GET / HTTP/1.1\r\nHost: house\r\n\r\n"


@pytest.mark.parametrize(
    "said", [HTTP_1, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04" + bytes(5), b"\x00" * 100]
)
def test_plain_text_on_the_port_gets_nothing(served: Served, said: bytes) -> None:
    answer = heard(served, said)
    assert b"HTTP" not in answer
    assert len(answer) < 100, "an alert at most"


@pytest.mark.parametrize("alpn", [["http/1.1"], ["h2"]], ids=["as-1.1", "as-2"])
def test_http_1_is_not_spoken(served: Served, alpn: list[str]) -> None:
    answer = heard(served, HTTP_1, context_of(served, alpn=alpn))
    assert b"HTTP/1" not in answer
    with served.client(ALPHA) as alpha:
        assert alpha.house().journal_size > 0


# --------------------------------------------------------------------------------------------------------- floods


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A house with the limits that callers really have."""
    with served_house(tmp_path_factory.mktemp("strict"), CLEARING_RATE_SCALE="1") as running:
        yield running


def test_thousands_of_calls_of_one_member_do_not_keep_another_from_trading(strict: Served) -> None:
    with channel(strict.address, strict.keys / "clients" / BETA) as flooding, strict.client(ALPHA) as alpha:
        call: Any = AccountServiceStub(flooding).ListAccounts
        request = accounts_pb.ListAccountsRequest(parent="members/-")

        def flood(_: int) -> str:
            try:
                call(request, timeout=60)
            except grpc.RpcError as error:
                return of_call(error).reason
            return ""

        with ThreadPoolExecutor(64) as pool:
            flooded = pool.map(flood, range(8_000))
            longest = 0.0
            for _ in range(40):
                trade = new_trade("BTC-PERP", buyer=ONE, seller=TWO, size="0.001", price="64000")
                began = time.monotonic()
                (result,) = alpha.submit_trades("members/alpha", [trade]).results
                longest = max(longest, time.monotonic() - began)
                assert result.status == trade_pb.TRADE_STATUS_NOVATED
            reasons = set(flooded)
    assert longest < 5
    assert reasons <= {"", "RATE_LIMITED", "CALLS_TAKEN"}


def _method(name: str) -> MethodDescriptor:
    return METHODS[IDS.index(name)]
