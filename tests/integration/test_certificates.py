"""Who calls, over real TLS: two administrators, revoked and expired certificates, and keys that are renewed."""

import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.wrappers_pb2 import StringValue

from clearing import keys as house_keys
from clearing.engine import Engine
from clearing.main import clock_ms
from clearing.model.commands import (
    AdmitMember,
    ApproveProposal,
    Command,
    FoundHouse,
    RevokeCertificate,
)
from clearing.model.ids import MemberId
from clearing.server.calls import caller_of
from clearing.server.drain import Drain
from clearing.server.errors import require_accepted
from clearing.server.identity import Role, identity_of, parse_spiffe
from clearing.server.interceptors import Access, Authority, Inside
from clearing.store import migrate
from clearing_client.client import Client
from clearing_client.errors import ClearingError, of_call
from clearinghouse.v1 import options_pb2
from ledger.salt import seeded_salts
from ledger.store.connect import Database, open_store
from tests.builders import PARAMETERS, SETTLEMENT, proposing_change
from tests.inside import served_inside

pytestmark = pytest.mark.slow

HOUSE = "testhouse"
ANNA, BERT, ALPHA = "administrator/anna", "administrator/bert", "member/alpha"
DAY = timedelta(days=1)


@dataclass
class Running:
    """A founded house with its keys, served on a port by a clock that a test may move."""

    engine: Engine
    database: Database
    keys: Path
    later_ms: int = 0
    address: str = field(default="")

    def now_ms(self) -> int:
        return clock_ms() + self.later_ms

    def folder(self, who: str) -> Path:
        return self.keys / "clients" / who

    def serial(self, who: str) -> str:
        credential = identity_of((self.folder(who) / "client.crt").read_bytes()).credential
        assert credential is not None
        return credential.serial

    def revoke(self, serial: str) -> None:
        command = RevokeCertificate(serial=serial, reason="stolen")
        assert self.engine.execute(command, request_id=f"revoke-{serial}", actor=ANNA).accepted


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Running]:
    """A house that is founded and not served yet."""
    keys = tmp_path / "keys"
    house_keys.init(keys, HOUSE, [parse_spiffe(f"spiffe://{HOUSE}/{who}") for who in (ANNA, BERT, ALPHA)])
    database = open_store(f"sqlite:///{tmp_path / 'house.db'}")
    migrate.upgrade(database)
    with closing(Engine(database, clock=clock_ms, salts=seeded_salts(b"certificates"))) as engine:
        founding = FoundHouse(house=HOUSE, settlement=SETTLEMENT, parameters=PARAMETERS)
        assert engine.execute(founding, request_id="found", actor="test").accepted
        yield Running(engine, database, keys)
    database.dispose()


@pytest.fixture
def served(house: Running) -> Iterator[Running]:
    """The house, served as ``clearing serve`` does it."""
    with served_inside(house.engine, house.database, house.keys, house.now_ms) as server:
        house.address = f"127.0.0.1:{server.port}"
        yield house


def refusal(call: Callable[[], Any]) -> str:
    """The reason for which a call is refused."""
    with pytest.raises(ClearingError) as error:
        call()
    return "UNREACHABLE" if error.value.unreachable else error.value.reason


def signed(keys: Path, who: str, key: ec.EllipticCurvePrivateKey, until: datetime | None = None) -> bytes:
    """A certificate of the house's authority for ``who``, over a key of the test's choice."""
    authority = x509.load_pem_x509_certificate((keys / "ca.crt").read_bytes())
    ca_key = serialization.load_pem_private_key((keys / "ca.key").read_bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{HOUSE}/{who}")])
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - DAY)
        .not_valid_after(until or datetime.now(UTC) + DAY)
        .add_extension(names, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def put_certificate(
    house: Running, folder: str, who: str, key: ec.EllipticCurvePrivateKey, until: datetime | None = None
) -> Path:
    """A client's folder with such a certificate."""
    made = house.keys.parent / folder
    made.mkdir()
    (made / "ca.crt").write_bytes((house.keys / "ca.crt").read_bytes())
    (made / "client.crt").write_bytes(signed(house.keys, who, key, until))
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (made / "client.key").write_bytes(pem)
    return made


# two administrators -------------------------------------------------------------------------------------------

CHANGE = proposing_change(AdmitMember(member=MemberId("gamma"), name="Gamma"), "p")
COMMANDS: dict[str, Command] = {"/test/Propose": CHANGE, "/test/Approve": ApproveProposal(proposal="p")}


class Governing(grpc.GenericRpcHandler):
    """Sends a command for whoever calls, as a service of the house does."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[StringValue, bytes]":
        def send(request: StringValue, context: grpc.ServicerContext) -> bytes:
            caller = caller_of(context)
            request_id = caller.request_id(request.value)
            outcome = self._engine.execute(
                COMMANDS[details.method], request_id=request_id, actor=caller.actor
            )
            require_accepted(outcome)
            return caller.actor.encode()

        return grpc.unary_unary_rpc_method_handler(send, request_deserializer=StringValue.FromString)


@pytest.fixture
def governed(house: Running) -> Iterator[Running]:
    """The house behind its own interceptor and mutual TLS, with nothing but the two steps of a change."""
    access = Access(allowed=frozenset({Role.ADMINISTRATOR}), reach=options_pb2.REACH_EVERYONE, own="")
    methods = dict.fromkeys(COMMANDS, access)
    inside = Inside(house=HOUSE, state=lambda: house.engine.view.state, clock=house.now_ms, drain=Drain())
    guard = Authority(inside, methods)
    server = grpc.server(ThreadPoolExecutor(2), interceptors=[guard])
    server.add_generic_rpc_handlers((Governing(house.engine),))
    tls = house_keys.read_server_keys(house.keys)
    credentials = grpc.ssl_server_credentials(
        [(tls.key, tls.certificate)], tls.authority, require_client_auth=True
    )
    house.address = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
    server.start()
    yield house
    server.stop(None).wait()


def send(house: Running, folder: Path, method: str, request_id: str) -> str:
    """The actor by which the house knew the caller, or the reason of a refusal."""
    credentials = grpc.ssl_channel_credentials(
        *((folder / name).read_bytes() for name in ("ca.crt", "client.key", "client.crt"))
    )
    with grpc.secure_channel(house.address, credentials) as channel:
        invoke: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        try:
            return invoke(StringValue(value=request_id).SerializeToString(), timeout=5).decode()
        except grpc.RpcError as error:
            return of_call(error).reason


@pytest.mark.parametrize(
    ("second", "same_key", "expected"),
    [
        (ANNA, True, "SAME_ADMINISTRATOR"),
        (ANNA, False, "SAME_ADMINISTRATOR"),
        (BERT, True, "SAME_ADMINISTRATOR"),
        (BERT, False, ""),
    ],
    ids=["one certificate", "two certificates of one name", "one key under two names", "two administrators"],
)
def test_a_change_takes_two_names_with_two_keys(
    governed: Running, second: str, same_key: bool, expected: str
) -> None:
    first_key, second_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    one = put_certificate(governed, "one", ANNA, first_key)
    other = put_certificate(governed, "other", second, first_key if same_key else second_key)
    proposer = send(governed, one, "/test/Propose", "r1")
    assert proposer.startswith(f"{ANNA}/")
    answer = send(governed, other, "/test/Approve", "r2")
    admitted = MemberId("gamma") in governed.engine.view.state.members
    if expected:
        assert answer == expected
        assert not admitted
    else:
        assert answer.startswith(f"{BERT}/")
        assert admitted
        row = governed.engine.view.state.change_proposals["p"]
        assert (row.proposed_by, row.approved_by) == (proposer, answer)


def test_a_renewed_certificate_repeats_its_own_request(governed: Running) -> None:
    folder = governed.folder(ANNA)
    first = send(governed, folder, "/test/Propose", "r1")
    size = governed.engine.view.size
    house_keys.renew_client(governed.keys, parse_spiffe(f"spiffe://{HOUSE}/{ANNA}"))
    assert send(governed, folder, "/test/Propose", "r1") not in ("", first, "IDEMPOTENCY_KEY_REUSED")
    assert governed.engine.view.size == size, "it got the first answer"


# revoked and expired ------------------------------------------------------------------------------------------


def test_a_revoked_certificate_is_refused_on_the_connection_that_is_open(served: Running) -> None:
    with (
        Client.connect(served.address, served.folder(ALPHA)) as alpha,
        Client.connect(served.address, served.folder(ANNA)) as anna,
    ):
        alpha.house()
        served.revoke(served.serial(ALPHA))
        assert refusal(alpha.house) == "CERTIFICATE_REVOKED"
        assert anna.house().journal_size
    with Client.connect(served.address, served.folder(ALPHA)) as again:
        assert refusal(again.house) == "CERTIFICATE_REVOKED"
    house_keys.renew_client(served.keys, parse_spiffe(f"spiffe://{HOUSE}/{ALPHA}"))
    with Client.connect(served.address, served.folder(ALPHA)) as renewed:
        assert renewed.house().journal_size


def test_a_certificate_that_expires_is_refused_on_the_connection_that_is_open(served: Running) -> None:
    folder = put_certificate(served, "short", ALPHA, ec.generate_private_key(ec.SECP256R1()))
    with Client.connect(served.address, folder) as alpha:
        assert alpha.house().journal_size
        served.later_ms = 2 * 86_400_000
        assert refusal(alpha.house) == "CERTIFICATE_EXPIRED"


def test_an_expired_certificate_makes_no_connection(served: Running) -> None:
    yesterday = datetime.now(UTC) - timedelta(hours=1)
    folder = put_certificate(served, "old", ALPHA, ec.generate_private_key(ec.SECP256R1()), yesterday)
    with Client.connect(served.address, folder) as alpha:
        assert refusal(alpha.house) == "UNREACHABLE"


# renewed keys -------------------------------------------------------------------------------------------------


def presented_by(served: Running) -> str:
    """The serial number of the certificate that a new connection meets."""
    host, _, port = served.address.partition(":")
    folder = served.folder(ALPHA)
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    context.load_cert_chain(folder / "client.crt", folder / "client.key")
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((host, int(port)), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        der = secure.getpeercert(binary_form=True)
    assert der is not None
    return f"{x509.load_der_x509_certificate(der).serial_number:x}"


def placed(served: Running) -> str:
    certificate = x509.load_pem_x509_certificate((served.keys / "server.crt").read_bytes())
    return f"{certificate.serial_number:x}"


def test_new_connections_get_the_new_certificate_and_the_open_one_goes_on(served: Running) -> None:
    with Client.connect(served.address, served.folder(ALPHA)) as alpha:
        alpha.house()
        before = placed(served)
        assert presented_by(served) == before
        house_keys.renew_server(served.keys)
        assert presented_by(served) == placed(served) != before
        assert alpha.house().journal_size
    with Client.connect(served.address, served.folder(ALPHA)) as again:
        assert again.house().journal_size


def test_keys_that_do_not_fit_are_not_presented(served: Running) -> None:
    before = presented_by(served)
    good = (served.keys / "server.key").read_bytes()
    (served.keys / "server.key").write_bytes((served.folder(ALPHA) / "client.key").read_bytes())
    assert presented_by(served) == before
    with Client.connect(served.address, served.folder(ALPHA)) as alpha:
        assert alpha.house().journal_size
    (served.keys / "server.key").write_bytes(good)
    house_keys.renew_server(served.keys)
    assert presented_by(served) == placed(served) != before


def test_the_old_certificate_of_a_client_works_until_it_is_revoked(served: Running, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(served.folder(ALPHA), old)
    serial = served.serial(ALPHA)
    house_keys.renew_client(served.keys, parse_spiffe(f"spiffe://{HOUSE}/{ALPHA}"))
    with (
        Client.connect(served.address, old) as before,
        Client.connect(served.address, served.folder(ALPHA)) as after,
    ):
        assert before.house().journal_size
        assert after.house().journal_size
        served.revoke(serial)
        assert refusal(before.house) == "CERTIFICATE_REVOKED"
        assert after.house().journal_size


def test_an_authority_is_changed_without_a_restart(served: Running, tmp_path: Path) -> None:
    """Both are trusted for a while; then only the new one, and what the old one issued makes no connection."""
    old, following = tmp_path / "old", tmp_path / "next"
    house_keys.init(following, HOUSE, [])
    ca = served.keys / "ca.crt"
    ca.write_bytes(ca.read_bytes() + (following / "ca.crt").read_bytes())
    house_keys.renew_client(
        served.keys, parse_spiffe(f"spiffe://{HOUSE}/{ALPHA}")
    )  # learns of the new authority
    shutil.copytree(served.folder(ALPHA), old)
    (served.keys / "ca.key").write_bytes((following / "ca.key").read_bytes())
    house_keys.renew_server(served.keys)
    house_keys.renew_client(served.keys, parse_spiffe(f"spiffe://{HOUSE}/{ALPHA}"))
    for folder in (old, served.folder(ALPHA)):
        with Client.connect(served.address, folder) as alpha:
            assert alpha.house().journal_size
    ca.write_bytes((following / "ca.crt").read_bytes())
    with Client.connect(served.address, old) as alpha:
        assert refusal(alpha.house) == "UNREACHABLE"
    with Client.connect(served.address, served.folder(ALPHA)) as alpha:
        assert alpha.house().journal_size
