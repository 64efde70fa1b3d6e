"""Keys are made whole or not at all, are private where they must be, and are never overwritten."""

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store

from clearing import keys
from clearing.keys import KeysRefused
from clearing.server.identity import Identity, IdentityRefused, Role, identity_of
from ledger.checkpoint import format_vkey, verifier_key

ALPHA = Identity(house="my-house", role=Role.MEMBER, id="alpha")
SOURCE = Identity(house="my-house", role=Role.PRICE_SOURCE, id="s1")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("made") / "keys"
    keys.init(made, "my-house", [ALPHA, SOURCE], ["house.example"])
    return made


def test_a_clients_certificate_says_who_it_is_and_is_signed_by_the_house(directory: Path) -> None:
    client = directory / "clients" / "member" / "alpha"
    pem = (client / "client.crt").read_bytes()
    assert identity_of(pem) == ALPHA
    authority = x509.load_pem_x509_certificate((client / "ca.crt").read_bytes())
    verified = (
        PolicyBuilder()
        .store(Store([authority]))
        .build_client_verifier()
        .verify(x509.load_pem_x509_certificate(pem), [])
    )
    assert verified.subjects == [x509.UniformResourceIdentifier("spiffe://my-house/member/alpha")]


def test_the_servers_certificate_names_its_hosts_and_is_no_clients(directory: Path) -> None:
    server = x509.load_pem_x509_certificate((directory / "server.crt").read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "house.example"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    usage = server.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    with pytest.raises(IdentityRefused):
        identity_of((directory / "server.crt").read_bytes())
    assert keys.house_of(directory) == "my-house"


def test_private_files_are_their_owners_alone_and_public_ones_are_no_keys(directory: Path) -> None:
    private = [path for path in directory.rglob("*") if path.suffix == ".key"]
    assert len(private) == 2 + 4 + 2 + 1
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    for path in directory.rglob("*"):
        if path.is_file() and path.suffix != ".key":
            assert b"PRIVATE" not in path.read_bytes()


def test_a_clients_directory_can_be_handed_over_as_it_is(directory: Path) -> None:
    assert {path.name for path in (directory / "clients/member/alpha").iterdir()} == {
        *("ca.crt", "client.crt", "client.key"),
    }
    assert {path.name for path in (directory / "clients/price-source/s1").iterdir()} == {
        *("ca.crt", "client.crt", "client.key", "signing.key", "signing.pub"),
    }


def test_the_policy_trusts_exactly_the_keys_that_sign(directory: Path) -> None:
    policy, signing = keys.read_policy(directory), keys.read_signing_keys(directory)
    assert policy.origin == signing.origin == "my-house/journal"
    assert [format_vkey(key) for key in policy.log_keys] == [
        format_vkey(verifier_key(signing.origin, signing.log_key))
    ]
    assert policy.trust.threshold == 2
    assert [member.key for member in policy.trust.keys] == [
        officer.public_key for officer in signing.officers
    ]
    assert [member.role for member in policy.trust.keys] == ["risk", "operations", "compliance"]


def test_a_sources_public_key_is_that_of_its_signing_key(directory: Path) -> None:
    source = directory / "clients/price-source/s1"
    public = keys.read_signing_key(source / "signing.key").public_key().public_bytes_raw()
    assert (source / "signing.pub").read_text() == f"{public.hex()}\n"


def test_nothing_is_overwritten(directory: Path) -> None:
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    with pytest.raises(KeysRefused, match="never overwritten"):
        keys.init(directory, "my-house", [])
    with pytest.raises(KeysRefused, match="exists"):
        keys.issue(directory, ALPHA)
    assert before == {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_client_can_be_added_under_the_same_authority(tmp_path: Path) -> None:
    made = tmp_path / "keys"
    keys.init(made, "my-house", [])
    beta = Identity(house="my-house", role=Role.MEMBER, id="beta")
    client = keys.issue(made, beta)
    assert identity_of((client / "client.crt").read_bytes()) == beta
    assert (client / "ca.crt").read_bytes() == (made / "ca.crt").read_bytes()


@pytest.mark.parametrize("broken", ["", "My-House", "a/b", "-a", "a" * 33])
def test_a_house_that_no_certificate_can_name_gets_no_keys(tmp_path: Path, broken: str) -> None:
    with pytest.raises(KeysRefused):
        keys.init(tmp_path / "keys", broken, [])
    assert list(tmp_path.iterdir()) == []


def test_what_fails_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    broken = Identity(house="my-house", role=Role.MEMBER, id="NO")
    with pytest.raises(IdentityRefused):
        keys.init(tmp_path / "keys", "my-house", [ALPHA, broken])
    assert list(tmp_path.iterdir()) == []


def test_a_client_named_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeysRefused, match="twice"):
        keys.init(tmp_path / "keys", "my-house", [ALPHA, ALPHA])


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(KeysRefused, match=r"server\.crt cannot be read"):
        keys.read_server_keys(tmp_path)
    (tmp_path / "broken.key").write_text("no key")
    with pytest.raises(KeysRefused, match="holds no private key"):
        keys.read_signing_key(tmp_path / "broken.key")
