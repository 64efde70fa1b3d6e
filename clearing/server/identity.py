"""Who a caller is: read from the one SPIFFE id in its certificate, never from a message.

A SPIFFE id is ``spiffe://<house>/<role>/<id>``. Rules kept here: the spelling is the one canonical one
(lower case, no port, query, fragment or empty part); a certificate has exactly one URI among its
alternative names. Whether its trust domain is this house is the interceptor's question.

An administrator is known by the key of its certificate too: "another administrator" means another key.

What a caller may read follows from one value, ``members``. All but a regulator's stands in the certificate; what a
regulator was granted, the door adds from the state of the house (``calls.scoped``).
"""

import hashlib
import re
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from clearing.model.ids import NAME_PATTERN, MemberId

_URI = re.compile(r"spiffe://([a-z0-9][a-z0-9-]{0,31})/([a-z-]+)/([a-z0-9][a-z0-9-]{0,31})", re.ASCII)


class Role(Enum):
    """What a caller may be; the value is the part of its SPIFFE id."""

    MEMBER = "member"
    REGULATOR = "regulator"
    ADMINISTRATOR = "administrator"
    PRICE_SOURCE = "price-source"
    LIQUIDITY_PROVIDER = "liquidity-provider"
    CUSTODIAN = "custodian"


SEES_ALL = frozenset({Role.REGULATOR, Role.ADMINISTRATOR})
"""Roles that read what belongs to any member, unless a regulator's grant says of which."""

_COLLECTION = {
    Role.MEMBER: "members",
    Role.LIQUIDITY_PROVIDER: "members",
    Role.PRICE_SOURCE: "sources",
}
"""The collection in which a caller of the role owns one thing: the one with its own id."""


KEY_DIGITS = 16
"""As much of a key's fingerprint stands in the journal: to be taken for two, one would need two keys anyway."""


class IdentityRefused(ValueError):
    """A certificate or a SPIFFE id that says not exactly who its holder is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """By what a caller proves who it is: its certificate.

    ``key``: SHA-256 of the public key (DER SubjectPublicKeyInfo), ``serial``: of the certificate, both in lower-case
    hexadecimal digits.
    """

    key: str
    serial: str
    expires_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A caller: of which house, in which role, by which id; and by which certificate, if it came with one.

    ``granted``: the members to which a regulator is limited, None if it is not. Two identities are equal if they name
    the same caller.
    """

    house: str
    role: Role
    id: str
    credential: Credential | None = field(default=None, compare=False)
    granted: frozenset[MemberId] | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """The caller by role and id, such as ``member/alpha``."""
        return f"{self.role.value}/{self.id}"

    @property
    def actor(self) -> str:
        """How the journal names the caller: an administrator with its key, ``administrator/anna/0123456789abcdef``."""
        if self.role is not Role.ADMINISTRATOR or self.credential is None:
            return self.name
        return f"{self.name}/{self.credential.key[:KEY_DIGITS]}"

    @property
    def members(self) -> frozenset[MemberId] | None:
        """The members of whose business the caller may read; None: of everybody's."""
        if self.role in SEES_ALL:
            return self.granted
        return frozenset({MemberId(self.id)} if _COLLECTION.get(self.role) == "members" else ())

    @property
    def sees_all(self) -> bool:
        """Whether the caller may read what belongs to any member, and to the house."""
        return self.members is None

    @property
    def names_all(self) -> bool:
        """Whether the caller may name what belongs to any member where a method is open to its role: whoever sees
        all, and the custodian, whose word is about everybody's money.
        """
        return self.sees_all or self.role is Role.CUSTODIAN

    def request_id(self, own: str) -> str:
        """The caller's request id as the journal keeps it: ids of different callers never meet.

        It names no key, so that a caller can repeat its request after its certificate was renewed.
        """
        return f"{self.name}:{own}"

    def sees(self, member: MemberId) -> bool:
        """Whether the caller may read what belongs to ``member``."""
        return self.members is None or member in self.members

    def reads(self, name: str) -> bool:
        """Whether the caller may read the resource ``name``: its own, or of a member that it sees."""
        collection, _, rest = name.partition("/")
        is_seen = collection == "members" and self.sees(MemberId(rest.partition("/")[0]))
        return self.sees_all or is_seen or self.owns(name)

    def owns(self, name: str) -> bool:
        """Whether the resource ``name`` is the caller's own member or source, or stands under it."""
        collection = _COLLECTION.get(self.role)
        return collection is not None and f"{name}/".startswith(f"{collection}/{self.id}/")


def format_spiffe(identity: Identity) -> str:
    """The SPIFFE id of ``identity``. Raises :class:`IdentityRefused` for a name that no id may have."""
    if not (NAME_PATTERN.fullmatch(identity.house) and NAME_PATTERN.fullmatch(identity.id)):
        raise IdentityRefused(f"{identity.house!r} and {identity.id!r} must be 1 to 32 of a-z 0-9 -")
    return f"spiffe://{identity.house}/{identity.role.value}/{identity.id}"


def parse_spiffe(uri: str) -> Identity:
    """The identity that ``uri`` spells. Raises :class:`IdentityRefused`."""
    matched = _URI.fullmatch(uri)
    if matched is None:
        raise IdentityRefused("not a SPIFFE id of the form spiffe://<house>/<role>/<id>")
    house, role, own_id = matched.groups()
    try:
        return Identity(house=house, role=Role(role), id=own_id)
    except ValueError:
        raise IdentityRefused(f"{role} is no role of a caller") from None


@lru_cache(maxsize=4096)
def identity_of(certificate_pem: bytes) -> Identity:
    """Who holds the certificate; TLS has verified its chain. Raises :class:`IdentityRefused`."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (ValueError, x509.ExtensionNotFound):
        raise IdentityRefused("the certificate has no alternative names") from None
    if len(uris) != 1:
        raise IdentityRefused(f"the certificate has {len(uris)} URIs among its names, not one")
    return replace(parse_spiffe(uris[0]), credential=credential_of(certificate))


def credential_of(certificate: x509.Certificate) -> Credential:
    """What tells ``certificate`` from others, and until when it is good."""
    public = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Credential(
        key=hashlib.sha256(public).hexdigest(),
        serial=f"{certificate.serial_number:x}",
        expires_ms=int(certificate.not_valid_after_utc.timestamp()) * 1_000,
    )
