"""Who a caller is stands in its certificate, in exactly one way."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from clearing.model.ids import SERIAL_PATTERN, MemberId
from clearing.server.identity import Identity, IdentityRefused, Role, format_spiffe, identity_of, parse_spiffe

ALPHA = Identity(house="my-house", role=Role.MEMBER, id="alpha")
NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}", fullmatch=True)


@given(NAMES, st.sampled_from(Role), NAMES)
def test_an_identity_is_read_as_it_was_written(house: str, role: Role, own_id: str) -> None:
    identity = Identity(house=house, role=role, id=own_id)
    assert parse_spiffe(format_spiffe(identity)) == identity


@pytest.mark.parametrize(
    "uri",
    [
        *("", "spiffe://", "spiffe://h/member", "spiffe://h/member/", "spiffe:///member/a", "spiffe://h//a"),
        *("spiffe://h/member/a/b", "spiffe://h/member/a?x", "spiffe://h/member/a#x", "spiffe://h:1/member/a"),
        *("SPIFFE://h/member/a", "spiffe://h/member/A", "spiffe://H/member/a", "spiffe://h/owner/a"),
        *("https://h/member/a", "spiffe://h/member/..", "spiffe://h/member/a\n", "spiffe://h/server"),
        *("spiffe://h/member/" + "a" * 33, " spiffe://h/member/a", "spiffe://u@h/member/a"),
    ],
)
def test_any_other_spelling_is_refused(uri: str) -> None:
    with pytest.raises(IdentityRefused):
        parse_spiffe(uri)


def test_a_name_that_no_id_may_have_is_not_written() -> None:
    for broken in ("", "Alpha", "a/b", "a" * 33):
        with pytest.raises(IdentityRefused):
            format_spiffe(Identity(house="my-house", role=Role.MEMBER, id=broken))


def test_a_certificate_says_who_holds_it() -> None:
    assert identity_of(certificate(format_spiffe(ALPHA))) == ALPHA


@pytest.mark.parametrize(
    "uris", [(), ("spiffe://h/member/a", "spiffe://h/member/b"), ("https://h/member/a",), ("spiffe://h/x/a",)]
)
def test_a_certificate_without_exactly_one_spiffe_id_is_refused(uris: tuple[str, ...]) -> None:
    with pytest.raises(IdentityRefused):
        identity_of(certificate(*uris))


def test_a_dns_name_that_looks_like_a_spiffe_id_counts_for_nothing() -> None:
    with pytest.raises(IdentityRefused):
        identity_of(certificate(dns=("spiffe://h/member/a",)))


def test_bytes_that_are_no_certificate_are_refused() -> None:
    with pytest.raises(IdentityRefused):
        identity_of(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


def test_a_member_owns_its_own_name_and_what_stands_under_it_and_no_more() -> None:
    assert ALPHA.owns("members/alpha")
    assert ALPHA.owns("members/alpha/accounts/house")
    for foreign in ("members/alphabet", "members/beta", "members/alph", "members/-", "sources/alpha", ""):
        assert not ALPHA.owns(foreign)
    assert ALPHA.sees(MemberId("alpha"))
    assert not ALPHA.sees(MemberId("beta"))
    assert not ALPHA.sees_all


def test_a_price_source_owns_its_source_and_sees_no_member() -> None:
    source = Identity(house="h", role=Role.PRICE_SOURCE, id="alpha")
    assert source.owns("sources/alpha")
    assert not source.owns("members/alpha")
    assert not source.sees(MemberId("alpha"))


@pytest.mark.parametrize("role", [Role.REGULATOR, Role.ADMINISTRATOR])
def test_who_sees_all_owns_nothing(role: Role) -> None:
    reader = Identity(house="h", role=role, id="alpha")
    assert reader.sees(MemberId("beta"))
    assert not reader.owns("members/alpha")


def test_request_ids_of_different_callers_never_meet() -> None:
    ids = {Identity(house="h", role=role, id=name).request_id("r:1") for role in Role for name in ("a", "b")}
    assert len(ids) == 2 * len(Role)


def certificate(
    *uris: str,
    dns: tuple[str, ...] = (),
    key: ec.EllipticCurvePrivateKey | None = None,
    serial: int = 1,
    until: datetime | None = None,
) -> bytes:
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    names = [*(x509.UniformResourceIdentifier(uri) for uri in uris), *(x509.DNSName(host) for host in dns)]
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now)
        .not_valid_after(until or now + timedelta(days=1))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_an_administrator_is_journaled_with_its_key_and_asks_without_it() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    anna, again = (
        identity_of(certificate("spiffe://h/administrator/anna", key=key, serial=n)) for n in (31, 32)
    )
    other = identity_of(certificate("spiffe://h/administrator/anna"))
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert anna.credential is not None
    assert anna.credential.key == hashlib.sha256(public).hexdigest()
    assert anna.actor == again.actor == f"administrator/anna/{anna.credential.key[:16]}"
    assert other.actor != anna.actor
    assert {one.request_id("r") for one in (anna, again, other)} == {"administrator/anna:r"}
    assert other == anna, "they name the same caller"


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMINISTRATOR])
def test_any_other_caller_is_journaled_by_role_and_id(role: Role) -> None:
    caller = identity_of(certificate(f"spiffe://h/{role.value}/a"))
    assert caller.actor == caller.name == f"{role.value}/a"


def test_an_administrator_without_a_certificate_is_journaled_without_a_key() -> None:
    assert parse_spiffe("spiffe://h/administrator/anna").actor == "administrator/anna"


@pytest.mark.parametrize(("number", "serial"), [(1, "1"), (0x1F, "1f"), (2**159 - 1, "7" + "f" * 39)])
def test_a_serial_number_is_spelled_as_it_is_revoked(number: int, serial: str) -> None:
    credential = identity_of(certificate("spiffe://h/member/a", serial=number)).credential
    assert credential is not None
    assert credential.serial == serial
    assert SERIAL_PATTERN.fullmatch(serial)


def test_a_certificate_says_until_when_it_is_good() -> None:
    until = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    credential = identity_of(certificate("spiffe://h/member/a", until=until)).credential
    assert credential is not None
    assert credential.expires_ms == int(until.timestamp()) * 1_000
