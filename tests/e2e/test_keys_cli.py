"""``clearing keys`` beside a running house, and a house without TLS."""

import json
import sys
from pathlib import Path

import grpc
import pytest

from clearing.server.calls import IDENTITY_METADATA
from clearing.server.identity import Role, identity_of
from clearing_client.errors import of_call
from clearinghouse.v1.house_service_pb2 import GetHouseRequest
from clearinghouse.v1.house_service_pb2_grpc import HouseServiceStub
from tests.e2e.test_serve import run
from tests.serving import CLEARING, HOUSE, Served, environment, served_house, serving, wait_until

pytestmark = pytest.mark.slow

ALPHA = "member/alpha"


def clearing(*arguments: str) -> tuple[int, str]:
    """The exit code of ``clearing`` and all that it printed."""
    done = run(sys.executable, "-c", CLEARING, *arguments)
    return done.returncode, done.stdout + done.stderr


def serial_of(path: Path) -> str:
    """The serial number of a client's certificate."""
    credential = identity_of(path.read_bytes()).credential
    assert credential is not None
    return credential.serial


def logged(served: Served, event: str) -> list[dict[str, str]]:
    """Lines of the server's log; gRPC's own lines about handshakes are not of it."""
    lines = (served.directory / "serve.log").read_text().splitlines()
    ours = [json.loads(line) for line in lines if line.startswith("{")]
    return [line for line in ours if line["event"] == event]


def test_keys_are_issued_renewed_and_listed_while_the_house_serves(served: Served) -> None:
    directory = ("--dir", str(served.keys))
    old = serial_of(served.keys / "clients" / ALPHA / "client.crt")
    with served.client(ALPHA) as alpha:
        assert alpha.house().journal_size
        for arguments in (("issue", "member/gamma"), ("renew", ALPHA), ("renew", "server")):
            code, said = clearing("keys", *arguments, *directory)
            assert code == 0, said
        assert alpha.house().journal_size, "an open connection goes on"
    for who in (ALPHA, "member/gamma"):
        with served.client(who) as client:
            assert client.house().journal_size
    wait_until(lambda: logged(served, "new keys"))
    code, said = clearing("keys", "list", *directory)
    assert code == 0
    heading, *lines = [line.split(maxsplit=3) for line in said.splitlines()]
    assert heading == ["ROLE/ID", "SERIAL", "EXPIRES", "STATE"]
    states = {(name, serial): state for name, serial, _, state in lines}
    assert states[ALPHA, old].startswith("replaced")
    assert states[ALPHA, serial_of(served.keys / "clients" / ALPHA / "client.crt")] == "good"
    assert {name for name, _ in states} >= {"server", "member/gamma", "administrator/anna"}


@pytest.mark.parametrize("who", ["member/nobody", "owner/alpha", "servers", "member/../server"])
def test_who_is_not_there_is_not_renewed(served: Served, who: str) -> None:
    code, said = clearing("keys", "renew", who, "--dir", str(served.keys))
    assert (code, said.startswith("clearing: ")) == (1, True), said


def test_the_help_of_keys_names_every_role() -> None:
    _, said = clearing("keys", "--help")
    assert [role.value for role in Role if f"{role.value}/" not in said] == []


# without TLS --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "localhost:0", "10.1.2.3:7443"])
def test_a_house_without_tls_is_refused_on_any_other_address(tmp_path: Path, listen: str) -> None:
    database = f"sqlite:///{tmp_path / 'house.db'}"
    code, said = clearing("serve", "--database", database, "--listen", listen, "--insecure-loopback")
    assert code == 1
    assert said.splitlines()[-1].startswith("clearing: --insecure-loopback is for this machine alone")
    assert not list(tmp_path.iterdir())


def test_a_house_without_tls_believes_who_calls_and_says_so_in_its_log(tmp_path: Path) -> None:
    with (
        served_house(tmp_path, "--insecure-loopback") as served,
        grpc.insecure_channel(served.address) as plain,
    ):
        stub = HouseServiceStub(plain)
        claim = ((IDENTITY_METADATA, f"spiffe://{HOUSE}/{ALPHA}"),)
        assert stub.GetHouse(GetHouseRequest(), metadata=claim).journal_size
        for metadata in ((), ((IDENTITY_METADATA, "spiffe://other/member/alpha"),)):
            with pytest.raises(grpc.RpcError) as error:
                stub.GetHouse(GetHouseRequest(), metadata=metadata)
            assert of_call(error.value).reason == "IDENTITY_REFUSED"
        (warning,) = logged(served, "no TLS: whoever is on this machine may be anybody")
        assert warning["level"] == "warning"


def test_a_house_with_tls_believes_nobody(served: Served) -> None:
    claim = ((IDENTITY_METADATA, f"spiffe://{HOUSE}/administrator/anna"),)
    with grpc.insecure_channel(served.address) as plain, pytest.raises(grpc.RpcError) as error:
        HouseServiceStub(plain).GetHouse(GetHouseRequest(), metadata=claim, timeout=5)
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    assert not logged(served, "no TLS: whoever is on this machine may be anybody")


def test_a_setting_of_the_environment_does_not_turn_tls_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served_house(tmp_path):
        pass
    monkeypatch.setattr(
        "tests.serving.environment", lambda: environment() | {"CLEARING_INSECURE_LOOPBACK": "1"}
    )
    with serving(tmp_path) as served, served.client(ALPHA) as alpha:
        assert alpha.house().journal_size
