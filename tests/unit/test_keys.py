"""Keys are made whole or not at all, are private where they must be, and are never overwritten."""

import shutil
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store
from structlog.testing import capture_logs

from clearing import keys
from clearing.keys import State
from clearing.server.identity import Identity, IdentityRefused, Role, identity_of
from clearing.signing import KeysRefused
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
    assert len(private) == 2 + 4 + 1 + 2 + 1
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


# renewing -------------------------------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A key directory that a test may change."""
    made = tmp_path / "keys"
    keys.init(made, "my-house", [ALPHA, SOURCE], ["house.example"])
    return made


def contents(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_renewed_client_is_the_same_caller_with_another_key(made: Path) -> None:
    folder = made / "clients/price-source/s1"
    before = contents(made)
    assert keys.renew_client(made, SOURCE) == folder
    after = contents(made)
    changed = {path.relative_to(made) for path in before if before[path] != after[path]}
    assert changed == {Path("clients/price-source/s1/client.crt"), Path("clients/price-source/s1/client.key")}
    old, new = identity_of(before[folder / "client.crt"]), identity_of(after[folder / "client.crt"])
    assert old == new
    assert old.credential is not None
    assert new.credential is not None
    assert old.credential.key != new.credential.key
    assert set(after) - set(before) == {made / "issued" / f"{new.credential.serial}.crt"}
    key = serialization.load_pem_private_key(after[folder / "client.key"], None)
    assert key.public_key() == x509.load_pem_x509_certificate(after[folder / "client.crt"]).public_key()
    assert stat.S_IMODE((folder / "client.key").stat().st_mode) == 0o600


def test_a_renewed_server_has_the_names_it_had_and_another_key(made: Path) -> None:
    before = keys.read_server_keys(made)
    keys.renew_server(made)
    after = keys.read_server_keys(made)
    assert (after.house, after.authority) == (before.house, before.authority)
    assert (after.certificate, after.key) != (before.certificate, before.key)
    old, new = (
        x509.load_pem_x509_certificate(one.certificate).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
        for one in (before, after)
    )
    assert old == new
    assert stat.S_IMODE((made / "server.key").stat().st_mode) == 0o600


def test_only_who_is_there_is_renewed_and_only_who_is_not_is_issued(made: Path) -> None:
    beta = Identity(house="my-house", role=Role.MEMBER, id="beta")
    before = contents(made)
    with pytest.raises(KeysRefused, match="keys issue member/beta"):
        keys.renew_client(made, beta)
    with pytest.raises(KeysRefused, match="keys renew member/alpha"):
        keys.issue(made, ALPHA)
    assert contents(made) == before


def test_what_a_renewal_that_was_cut_off_left_behind_is_repaired_by_the_next(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = keys.read_server_keys(made)

    def cut(path: Path, target: Path) -> Path:
        if target.name == "server.crt":
            raise OSError("cut off")
        return Path(path).rename(target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", cut)
        with pytest.raises(OSError, match="cut off"):
            keys.renew_server(made)
    with pytest.raises(KeysRefused, match="keys renew server"):
        keys.read_server_keys(made)
    keys.renew_server(made)
    assert keys.read_server_keys(made).certificate != before.certificate
    assert not list(made.rglob("*.new"))


def test_a_running_server_stays_with_the_last_keys_that_fit(made: Path) -> None:
    rotating = keys.Rotating(made)
    first = rotating()
    with capture_logs() as logs:
        (made / "server.key").write_bytes((made / "clients/member/alpha/client.key").read_bytes())
        assert [rotating(), rotating()] == [first, first]
        (made / "server.key").unlink()
        assert rotating() == first
        (made / "server.key").write_bytes(b"nothing")
        assert rotating() == first
        keys.renew_server(made)
        assert rotating() == keys.read_server_keys(made) != first
        (made / "ca.crt").write_bytes(b"nothing")
        assert rotating() != first
    assert [(one["event"], one["log_level"]) for one in logs] == [
        *(("new keys cannot be used", "error"),) * 3,
        ("new keys", "info"),
        ("new keys cannot be used", "error"),
    ], "each trouble is logged once"
    assert not any("PRIVATE" in str(one) for one in logs)


def test_a_running_server_does_not_take_the_keys_of_another_house(made: Path, tmp_path: Path) -> None:
    rotating = keys.Rotating(made)
    first = rotating()
    keys.init(tmp_path / "other", "other-house", [])
    for name in ("server.crt", "server.key", "ca.crt"):
        (made / name).write_bytes((tmp_path / "other" / name).read_bytes())
    with capture_logs() as logs:
        assert rotating() == first
    assert logs[0]["error"] == "they are of other-house, not of my-house"


def test_while_the_authority_is_changed_the_new_one_signs_and_both_are_trusted(
    made: Path, tmp_path: Path
) -> None:
    keys.init(tmp_path / "next", "my-house", [])
    both = (made / "ca.crt").read_bytes() + (tmp_path / "next" / "ca.crt").read_bytes()
    (made / "ca.crt").write_bytes(both)
    (made / "ca.key").write_bytes((tmp_path / "next" / "ca.key").read_bytes())
    keys.renew_server(made)
    keys.renew_client(made, ALPHA)
    assert keys.read_server_keys(made).authority == both
    client = made / "clients/member/alpha"
    assert (client / "ca.crt").read_bytes() == both
    new = x509.load_pem_x509_certificate((tmp_path / "next" / "ca.crt").read_bytes())
    x509.load_pem_x509_certificate((client / "client.crt").read_bytes()).verify_directly_issued_by(new)
    (made / "ca.crt").write_bytes((tmp_path / "next" / "ca.crt").read_bytes())
    keys.read_server_keys(made)
    (made / "ca.crt").write_bytes(both.removesuffix((tmp_path / "next" / "ca.crt").read_bytes()))
    with pytest.raises(KeysRefused, match="nobody in"):
        keys.read_server_keys(made)
    with pytest.raises(KeysRefused, match="no certificate for"):
        keys.renew_server(made)


# listing --------------------------------------------------------------------------------------------------------


def serial_of(path: Path) -> str:
    return f"{x509.load_pem_x509_certificate(path.read_bytes()).serial_number:x}"


def test_every_certificate_is_listed_also_one_that_was_replaced_or_handed_over(made: Path) -> None:
    first = serial_of(made / "clients/member/alpha/client.crt")
    keys.renew_client(made, ALPHA)
    second = serial_of(made / "clients/member/alpha/client.crt")
    handed_over = serial_of(made / "clients/price-source/s1/client.crt")
    shutil.rmtree(made / "clients/price-source/s1")
    found = [(one.name, one.serial, one.state) for one in keys.issued(made, datetime.now(UTC))]
    assert found == [
        ("member/alpha", second, State.GOOD),
        ("member/alpha", first, State.REPLACED),
        ("price-source/s1", handed_over, State.GOOD),
        ("server", serial_of(made / "server.crt"), State.GOOD),
    ]


def test_what_is_to_be_renewed_or_has_expired_is_said(made: Path) -> None:
    until = keys.issued(made, datetime.now(UTC))[0].expires
    for now, state in (
        (until - keys.RENEW_WITHIN, State.GOOD),
        (until - keys.RENEW_WITHIN + timedelta(seconds=1), State.RENEW),
        (until, State.RENEW),
        (until + timedelta(seconds=1), State.EXPIRED),
    ):
        assert keys.issued(made, now)[0].state is state


def test_a_directory_from_before_certificates_were_kept_lists_those_in_place(made: Path) -> None:
    shutil.rmtree(made / "issued")
    assert [one.name for one in keys.issued(made, datetime.now(UTC))] == [
        *("member/alpha", "price-source/s1", "server"),
    ]
