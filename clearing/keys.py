"""Keys: the house's certificate authority, its server, its clients, and what signs attestations and prices.

Rules kept here: nothing is overwritten, except that ``renew`` puts a new certificate and its key in the place of
the old ones; a directory appears as a whole or not at all, and so does a file; private files are readable by their
owner alone; a client's directory holds what the client needs and nothing else, so that it can be handed over as it
is. Every certificate is kept under its serial number, because that is what revokes it, also when the folder was
handed over or the certificate replaced. TLS keys are ECDSA P-256, signing keys Ed25519, in tokens ECDSA P-256.

A role may have several signing keys: that one signs which verifiers believe at the time. So a key is made long before
it is used, and a trust root or a policy that names it puts it to use, with no restart; the log's key at the next start.

Layout of a key directory::

    ca.crt ca.key server.crt server.key       the house's authority and its server; while the authority itself is
                                              changed, ca.crt holds the old one and the new one
    issued/<serial>.crt                       every certificate that was issued, public
    signing/{log,risk,operations,compliance}.key
    signing/<role>.<number>.{key,token}       keys that took, or will take, the place of the first ones
    signing/blinding.key                      hides whose is what in what is published; never changed
    policy.txt                                what a verifier needs, public
    trust/<version>.root.json                 the same, as a trust root that can change; stands above policy.txt
    clients/<role>/<id>/{ca.crt,client.crt,client.key}
    clients/price-source/<id>/signing.{key,pub}
"""

import ipaddress
import os
import re
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import TypeAlias

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from clearing.attest.envelope import RoleKey, Signer, SignerAway, TrustSet, ed25519_signer
from clearing.attest.policy import (
    Policy,
    PolicyRefused,
    format_policy,
    format_public_key,
    parse_policy,
    with_log_keys,
)
from clearing.attest.signer import SigningKeys
from clearing.attest.trust import TrustRefused, verify_chain
from clearing.model.ids import NAME_PATTERN
from clearing.server.identity import Identity, Role, credential_of, format_spiffe
from clearing.signing import (
    KEY_SUFFIX,
    TOKEN_SUFFIX,
    KeysRefused,
    Passphrase,
    Token,
    format_token,
    given_passphrase,
    private_pem,
    read_bytes,
    read_ed25519,
    read_signer,
    token_signer,
)
from ledger.checkpoint import VerifierKey, format_vkey, verifier_key

AUTHORITY_DAYS = 3_650
CERTIFICATE_DAYS = 397
RENEW_WITHIN = timedelta(days=30)
"""So long before it expires, a certificate is listed as one to renew."""
CLOCK_SKEW = timedelta(minutes=5)
LOG = "log"
SIGNERS = ("risk", "operations", "compliance")
THRESHOLD = 2
SECRET_BYTES = 48
"""So much chance goes into a key: 64 bits more than P-256 needs, so that none is likelier (FIPS 186-5 A.2.1)."""
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


Secret: TypeAlias = Callable[[str], bytes]
"""Gives the ``SECRET_BYTES`` from which the key for a purpose is made."""


def system_secret(_purpose: str) -> bytes:
    """Fresh from the operating system, whatever it is for."""
    return secrets.token_bytes(SECRET_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """The house's certificate authority; ``trusted`` is ca.crt as it stands, PEM. Keys are made from ``secret``."""

    certificate: x509.Certificate
    key: CertificateIssuerPrivateKeyTypes
    trusted: bytes
    secret: Secret = system_secret


class State(Enum):
    """What is to be done about a certificate; whether it was revoked stands in the journal."""

    GOOD = "good"
    RENEW = "renew soon"
    REPLACED = "replaced, good until it expires or is revoked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate of the house; ``name`` is ``server`` or ``role/id``."""

    name: str
    serial: str
    expires: datetime
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerKeys:
    """What the server presents and trusts, PEM; ``house`` is the trust domain of its certificate."""

    house: str
    certificate: bytes
    key: bytes
    authority: bytes


def init(
    directory: Path,
    house: str,
    clients: Iterable[Identity],
    hosts: Iterable[str] = (),
    secret: Secret = system_secret,
    passphrase: bytes | None = None,
) -> None:
    """Make a key directory for ``house``. Whoever gives another ``secret`` can make all of its keys again.

    A ``passphrase`` encrypts what signs for the house; TLS keys stay as they are.

    Raises :class:`KeysRefused` if it exists, ``IdentityRefused`` for a name that no id may have.
    """
    if not NAME_PATTERN.fullmatch(house):
        raise KeysRefused(f"{house!r} names no house: 1 to 32 of a-z 0-9 -, not starting with -")
    wanted = tuple(clients)
    if len(set(wanted)) != len(wanted):
        raise KeysRefused("a client is named twice")
    with _whole(directory) as fresh:
        authority = _make_authority(house, secret)
        _write(fresh / "ca.crt", authority.trusted)
        _write_private(fresh / "ca.key", private_pem(authority.key))
        _make_server(fresh, authority, house, (*LOCAL_HOSTS, *hosts))
        _make_signers(fresh, house, secret, passphrase)
        for client in wanted:
            _make_client(fresh, authority, client)


def issue(directory: Path, client: Identity) -> Path:
    """Add a client to a key directory. Raises as :func:`init` does, and changes nothing then."""
    target = _client_directory(directory, client)
    if target.exists():
        raise KeysRefused(
            f"{target} exists; nothing was changed (`clearing keys renew {client.name}` replaces it)"
        )
    _make_client(directory, _read_authority(directory), client)
    return target


def renew_server(directory: Path) -> None:
    """Give the server a new certificate for the names it has, and a new key. Raises :class:`KeysRefused`.

    If it is cut off between the two files, they do not fit each other: a running server stays with what it has, and
    to renew once more repairs it.
    """
    names = x509.load_pem_x509_certificate(
        read_bytes(directory / "server.crt")
    ).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    certificate, key = _server_pair(
        directory, _read_authority(directory), house_of(directory), [*names.value]
    )
    _replace(directory / "server.key", key, 0o600)
    _replace(directory / "server.crt", certificate, 0o644)


def renew_client(directory: Path, client: Identity) -> Path:
    """Give a client a new certificate and key; the old ones work until they expire or are revoked.

    Raises :class:`KeysRefused` if its folder is not there any more, ``IdentityRefused`` for a name that no id may have.
    """
    target = _client_directory(directory, client)
    if not target.exists():
        raise KeysRefused(f"{target} is not there; `clearing keys issue {client.name}` makes a new one")
    authority = _read_authority(directory)
    certificate, key = _client_pair(directory, authority, client)
    _replace(target / "ca.crt", authority.trusted, 0o644)
    _replace(target / "client.key", key, 0o600)
    _replace(target / "client.crt", certificate, 0o644)
    return target


def issued(directory: Path, now: datetime) -> list[Issued]:
    """Every certificate of the house, by name, the newest of a name first. Raises :class:`KeysRefused`."""
    by_name: dict[str, list[x509.Certificate]] = {}
    for one in _certificates(directory):
        name = _uri_of(one).removeprefix(f"spiffe://{house_of(directory)}/")
        by_name.setdefault(name, []).append(one)
    found = []
    for name in sorted(by_name):
        newest_first = sorted(by_name[name], key=lambda one: one.not_valid_before_utc)[::-1]
        found += [_listed(name, one, is_newest=one is newest_first[0], now=now) for one in newest_first]
    return found


def _certificates(directory: Path) -> list[x509.Certificate]:
    """Each certificate once. Those in their places come last: they are the newest of their second."""
    paths = [
        *directory.glob("issued/*.crt"),
        directory / "server.crt",
        *directory.glob("clients/*/*/client.crt"),
    ]
    found: dict[int, x509.Certificate] = {}
    for path in paths:
        certificate = x509.load_pem_x509_certificate(read_bytes(path))
        found.pop(certificate.serial_number, None)
        found[certificate.serial_number] = certificate
    return list(found.values())


def _listed(name: str, certificate: x509.Certificate, *, is_newest: bool, now: datetime) -> Issued:
    expires = certificate.not_valid_after_utc
    if expires < now:
        state = State.EXPIRED
    elif not is_newest:
        state = State.REPLACED
    else:
        state = State.RENEW if expires - now < RENEW_WITHIN else State.GOOD
    return Issued(name=name, serial=credential_of(certificate).serial, expires=expires, state=state)


def house_of(directory: Path) -> str:
    """The house whose authority the directory holds. Raises :class:`KeysRefused`."""
    return _house_of_certificate(read_bytes(directory / "server.crt"))


def read_server_keys(directory: Path) -> ServerKeys:
    """What the server needs of a key directory, if it fits together. Raises :class:`KeysRefused`."""
    certificate, key = read_bytes(directory / "server.crt"), read_bytes(directory / "server.key")
    authority = read_bytes(directory / "ca.crt")
    house = _house_of_certificate(certificate)
    try:
        own = serialization.load_pem_private_key(key, password=None).public_key()
        trusted = x509.load_pem_x509_certificates(authority)
    except ValueError as error:
        raise KeysRefused(f"server.key or ca.crt in {directory} cannot be used: {error}") from None
    if own != x509.load_pem_x509_certificate(certificate).public_key():
        raise KeysRefused(
            f"server.key in {directory} is not the key of server.crt; `clearing keys renew server`"
        )
    if not any(_has_signed(one, certificate) for one in trusted):
        raise KeysRefused(
            f"nobody in ca.crt has signed server.crt in {directory}; `clearing keys renew server`"
        )
    return ServerKeys(house=house, certificate=certificate, key=key, authority=authority)


class Rotating:
    """The server's keys as their directory has them now; what cannot be used is logged, and the last good ones stay.

    Its three small files are read at each handshake, which costs less than the handshake. Any thread may call it.
    """

    def __init__(self, directory: Path) -> None:
        """Read them for the first time. Raises :class:`KeysRefused`."""
        self._directory, self._now, self._trouble = directory, read_server_keys(directory), ""
        self._lock = threading.Lock()
        self._log = structlog.get_logger()

    def __call__(self) -> ServerKeys:
        """The newest keys that can be used."""
        with self._lock:
            try:
                self._take(read_server_keys(self._directory))
            except (KeysRefused, ValueError) as error:
                if str(error) != self._trouble:
                    self._log.error("new keys cannot be used", error=str(error))
                self._trouble = str(error)
            return self._now

    def _take(self, found: ServerKeys) -> None:
        if found.house != self._now.house:
            raise KeysRefused(f"they are of {found.house}, not of {self._now.house}")
        if found != self._now:
            serial = credential_of(x509.load_pem_x509_certificate(found.certificate)).serial
            self._log.info("new keys", serial=serial)
        self._now, self._trouble = found, ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What verifiers are given: the policy, and the versions of the trust root by number, if there is one."""

    policy: Policy
    roots: dict[int, bytes]


def read_published(directory: Path) -> Published:
    """What verifiers are given of a key directory. Raises :class:`KeysRefused`."""
    roots = {int(path.name.partition(".")[0]): path for path in directory.glob("trust/[0-9]*.root.json")}
    found = {number: read_bytes(roots[number]) for number in sorted(roots)}
    policy = _policy_of_roots(directory, found) if found else _policy_of_file(directory / "policy.txt")
    return Published(policy=policy, roots=found)


def read_policy(directory: Path) -> Policy:
    """What a verifier should believe about the house. Raises :class:`KeysRefused`."""
    return read_published(directory).policy


def _policy_of_file(path: Path) -> Policy:
    try:
        return parse_policy(read_bytes(path))
    except PolicyRefused as refused:
        raise KeysRefused(f"{path}: {refused}") from None


def _policy_of_roots(directory: Path, roots: dict[int, bytes]) -> Policy:
    """The policy of the newest version; whether that has expired, verifiers judge."""
    if 1 not in roots:
        raise KeysRefused(f"{directory / 'trust'} lacks version 1 of the trust root")
    try:
        return verify_chain(list(roots.values()), None).policy
    except TrustRefused as refused:
        raise KeysRefused(f"{directory / 'trust'}: {refused}") from None


def read_signing_keys(directory: Path, passphrase: Passphrase = given_passphrase) -> SigningKeys:
    """What signs checkpoints and attestations for the house. Raises :class:`KeysRefused`."""
    return Signing(directory, passphrase)()


class Signing:
    """What signs for the house, as its key directory has it now.

    What cannot be used is logged, and the last good policy stays. An officer's key that is away is logged once, and
    once more when it is back. Any thread may call it; a token keeps what it knows of its PIN for as long as its file
    stays as it is.
    """

    def __init__(self, directory: Path, passphrase: Passphrase = given_passphrase) -> None:
        """Read them for the first time. Raises :class:`KeysRefused`."""
        self._directory, self._passphrase = directory, passphrase
        self._lock, self._log = threading.Lock(), structlog.get_logger()
        self._signers: dict[Path, tuple[bytes, Signer]] = {}
        self._away: dict[str, str] = {}
        self._published, self._trouble = read_published(directory), ""
        self._seen = self._files()
        self._now = self._read()

    def __call__(self) -> SigningKeys:
        """The newest keys that can be used."""
        with self._lock:
            self._look()
            return self._now

    def published(self) -> Published:
        """What verifiers are given now."""
        with self._lock:
            self._look()
            return self._published

    @property
    def away(self) -> int:
        """How many officers' keys are not there, or could not sign when they were last asked to."""
        known = {signer.public_key for signer in self._now.officers}
        absent = sum(officer.key not in known for officer in self._published.policy.trust.keys)
        return absent + len(self._away)

    def _look(self) -> None:
        """Read again what has changed."""
        files = self._files()
        if files == self._seen:
            return
        try:
            self._published = read_published(self._directory)
            self._now, self._seen, self._trouble = self._read(), files, ""
            self._log.info("new signing keys", roots=[*self._published.roots])
        except KeysRefused as error:
            if str(error) != self._trouble:
                self._log.error("new signing keys cannot be used", error=str(error))
            self._trouble = str(error)

    def _files(self) -> dict[Path, bytes]:
        """What decides who signs, as it is now; a file that went away meanwhile is not there."""
        paths = [
            self._directory / "policy.txt",
            *self._directory.glob("trust/*.root.json"),
            *(path for role in SIGNERS for path in _keys_of(self._directory, role)),
        ]
        return {path: path.read_bytes() for path in sorted(paths) if path.is_file()}

    def _read(self) -> SigningKeys:
        policy, origin = self._published.policy, log_origin(house_of(self._directory))
        paths = [(role, path) for role in SIGNERS for path in _keys_of(self._directory, role)]
        return SigningKeys(
            origin=origin,
            log_key=_log_key(self._directory, policy, self._passphrase),
            officers=tuple(self._signer(role, path) for role, path in paths),
            blinding=_read_blinding(self._directory / "signing" / "blinding.key"),
            policy=policy,
            retired=policy.log_keys,
        )

    def _signer(self, role: str, path: Path) -> Signer:
        data = read_bytes(path)
        known = self._signers.get(path)
        if known is None or known[0] != data:
            known = self._signers[path] = (data, self._telling(role, read_signer(path, self._passphrase)))
        return known[1]

    def _telling(self, role: str, signer: Signer) -> Signer:
        """``signer``, which logs when it goes away and when it is back."""

        def sign(message: bytes) -> bytes:
            try:
                signature = signer.sign(message)
            except SignerAway as away:
                if self._away.get(role) != str(away):
                    self._log.error("an officer's key is away", officer=role, why=str(away))
                self._away[role] = str(away)
                raise SignerAway(f"{role}: {away}") from away
            if self._away.pop(role, None) is not None:
                self._log.info("an officer's key is back", officer=role)
            return signature

        return Signer(public_key=signer.public_key, sign=sign)


def _keys_of(directory: Path, role: str) -> list[Path]:
    """The files of a role's keys, oldest first."""
    found = [
        path
        for suffix in (KEY_SUFFIX, TOKEN_SUFFIX)
        for path in (directory / "signing").glob(f"{role}*{suffix}")
        if _number(path) is not None
    ]
    return sorted(found, key=lambda path: (_number(path) or 0, path.name))


def _number(path: Path) -> int | None:
    """Which of a role's keys a file holds: 1 for ``risk.key``, 2 for ``risk.2.token``; None for other files."""
    number = path.name.split(".")[1:-1]
    if not number:
        return 1
    return int(number[0]) if len(number) == 1 and number[0].isascii() and number[0].isdigit() else None


def _log_key(directory: Path, policy: Policy, passphrase: Passphrase) -> Ed25519PrivateKey:
    """The newest key of the log that verifiers believe."""
    for path in reversed(_keys_of(directory, LOG)):
        key = read_ed25519(path, passphrase)
        if verifier_key(policy.origin, key) in policy.log_keys:
            return key
    raise KeysRefused(f"no log key in {directory / 'signing'} is one that verifiers believe")


def rotate(directory: Path, role: str, passphrase: bytes | None = None) -> str:
    """Make a further key for an officer or the log; what verifiers have to believe from now on, as a policy spells it.

    Without a trust root the policy is changed at once. Raises :class:`KeysRefused`.
    """
    key = Ed25519PrivateKey.generate()
    path = _next_path(directory, role, KEY_SUFFIX)
    _write_private(path, private_pem(key, passphrase))
    if role == LOG:
        return _believe_log(directory, verifier_key(log_origin(house_of(directory)), key))
    return _believe(directory, RoleKey(role=role, key=ed25519_signer(key).public_key))


def import_token(directory: Path, role: str, token: Token) -> str:
    """Let a key in a token sign for an officer, once it was seen to sign; as :func:`rotate` otherwise."""
    if role == LOG:
        raise KeysRefused("the log's key is Ed25519, in a file: tokens hold P-256")
    try:
        token_signer(token).sign(b"does this token sign?")
    except SignerAway as away:
        raise KeysRefused(f"the token does not sign: {away}") from None
    _write_private(_next_path(directory, role, TOKEN_SUFFIX), format_token(token))
    return _believe(directory, RoleKey(role=role, key=token.key))


def encrypts(directory: Path) -> bool:
    """Whether the signing keys of a directory are encrypted."""
    return b"BEGIN ENCRYPTED" in read_bytes(directory / "signing" / f"{LOG}{KEY_SUFFIX}")


def _next_path(directory: Path, role: str, suffix: str) -> Path:
    if role not in (LOG, *SIGNERS):
        raise KeysRefused(f"{role} signs nothing: {', '.join((LOG, *SIGNERS))} do")
    last = max((_number(path) or 0 for path in _keys_of(directory, role)), default=0)
    return directory / "signing" / (f"{role}.{last + 1}{suffix}" if last else f"{role}{suffix}")


def _believe(directory: Path, officer: RoleKey) -> str:
    """Have the policy name ``officer`` in the place of the one before, unless a trust root stands above it."""
    published = read_published(directory)
    if not published.roots:
        trust = published.policy.trust
        present = tuple(officer if one.role == officer.role else one for one in trust.keys)
        policy = replace(published.policy, trust=TrustSet(keys=present, threshold=trust.threshold))
        _replace(directory / "policy.txt", format_policy(policy), 0o644)
    return f"signer {officer.role} {format_public_key(officer.key)}"


def _believe_log(directory: Path, key: VerifierKey) -> str:
    """Have the policy name a further log key, unless a trust root stands above it."""
    published = read_published(directory)
    if not published.roots:
        policy = with_log_keys(published.policy, added=(key,))
        _replace(directory / "policy.txt", format_policy(policy), 0o644)
    return f"log {format_vkey(key)}"


def read_signing_key(path: Path) -> Ed25519PrivateKey:
    """An Ed25519 private key. Raises :class:`KeysRefused`."""
    return read_ed25519(path)


def _read_blinding(path: Path) -> bytes:
    text = read_bytes(path).decode("ascii", "replace").strip()
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise KeysRefused(
            f"{path} holds no 32 bytes in hexadecimal digits (`openssl rand -hex 32` makes some)"
        )
    return bytes.fromhex(text)


def make_log_key(path: Path) -> None:
    """Write a fresh Ed25519 private key to ``path``, which must not exist."""
    _write_private(path, private_pem(Ed25519PrivateKey.generate()))


def log_origin(house: str) -> str:
    """The name of the house's journal in checkpoints and attestations."""
    return f"{house}/journal"


# --- making ------------------------------------------------------------------------------------------------


@contextmanager
def _whole(directory: Path) -> Iterator[Path]:
    """A fresh directory that becomes ``directory`` if all goes well, and nothing otherwise."""
    if directory.exists() or directory.is_symlink():
        raise KeysRefused(f"{directory} exists; keys are never overwritten, choose another directory")
    directory.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        yield fresh
        fresh.rename(directory)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _make_authority(house: str, secret: Secret) -> Authority:
    key = _p256_key(secret("authority"))
    name = _name(house, f"{house} certificate authority")
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        _certificate(name, name, key.public_key(), AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(certificates=True), critical=True)
        .add_extension(identifier, critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    return Authority(certificate=certificate, key=key, trusted=_pem(certificate), secret=secret)


def _p256_key(secret: bytes) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(secret) % (P256_ORDER - 1) + 1, ec.SECP256R1())


def _ed25519_key(secret: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(secret[:32])


def _make_server(directory: Path, authority: Authority, house: str, hosts: Iterable[str]) -> None:
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(f"spiffe://{house}/server")]
    names += [_host(host) for host in dict.fromkeys(hosts)]
    certificate, key = _server_pair(directory, authority, house, names)
    _write(directory / "server.crt", certificate)
    _write_private(directory / "server.key", key)


def _server_pair(
    directory: Path, authority: Authority, house: str, names: list[x509.GeneralName]
) -> tuple[bytes, bytes]:
    return _issue(directory, authority, _name(house, "server"), names, ExtendedKeyUsageOID.SERVER_AUTH)


def _client_pair(directory: Path, authority: Authority, client: Identity) -> tuple[bytes, bytes]:
    spiffe = x509.UniformResourceIdentifier(format_spiffe(client))
    name = _name(client.house, f"{client.role.value} {client.id}")
    return _issue(directory, authority, name, [spiffe], ExtendedKeyUsageOID.CLIENT_AUTH)


def _make_signers(directory: Path, house: str, secret: Secret, passphrase: bytes | None) -> None:
    keys = {name: _ed25519_key(secret(f"signing {name}")) for name in (LOG, *SIGNERS)}
    for name, key in keys.items():
        _write_private(directory / "signing" / f"{name}.key", private_pem(key, passphrase))
    _write_private(directory / "signing" / "blinding.key", f"{secret('blinding')[:32].hex()}\n".encode())
    roles = tuple(RoleKey(role=name, key=ed25519_signer(keys[name]).public_key) for name in SIGNERS)
    origin = log_origin(house)
    policy = Policy(
        origin=origin,
        log_keys=(verifier_key(origin, keys["log"]),),
        trust=TrustSet(keys=roles, threshold=THRESHOLD),
    )
    _write(directory / "policy.txt", format_policy(policy))


def _make_client(directory: Path, authority: Authority, client: Identity) -> None:
    certificate, key = _client_pair(directory, authority, client)
    with _whole(_client_directory(directory, client)) as fresh:
        _write(fresh / "ca.crt", authority.trusted)
        _write(fresh / "client.crt", certificate)
        _write_private(fresh / "client.key", key)
        if client.role is Role.PRICE_SOURCE:
            signing = _ed25519_key(authority.secret(f"signing {client.name}"))
            _write_private(fresh / "signing.key", private_pem(signing))
            _write(fresh / "signing.pub", f"{signing.public_key().public_bytes_raw().hex()}\n".encode())


def _issue(
    directory: Path,
    authority: Authority,
    subject: x509.Name,
    names: list[x509.GeneralName],
    purpose: x509.ObjectIdentifier,
) -> tuple[bytes, bytes]:
    """A certificate for a fresh key, which is kept under its serial number, and the key, PEM."""
    common_name = subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    key = _p256_key(authority.secret(f"certificate {common_name!s}"))
    issuer = authority.certificate
    builder = (
        _certificate(subject, issuer.subject, key.public_key(), CERTIFICATE_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            ),
            critical=False,
        )
    )
    certificate = builder.sign(authority.key, hashes.SHA256())
    _write(directory / "issued" / f"{credential_of(certificate).serial}.crt", _pem(certificate))
    return _pem(certificate), private_pem(key)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, certificates: bool) -> x509.KeyUsage:
    """Signing certificates and revocation lists for an authority, signing handshakes for all others."""
    return x509.KeyUsage(
        digital_signature=not certificates,
        key_cert_sign=certificates,
        crl_sign=certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(house: str, common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, house),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


# --- files -------------------------------------------------------------------------------------------------


def _client_directory(directory: Path, client: Identity) -> Path:
    return directory / "clients" / client.role.value / client.id


def _read_authority(directory: Path) -> Authority:
    key = serialization.load_pem_private_key(read_bytes(directory / "ca.key"), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeysRefused(f"{directory / 'ca.key'} is not the key of an authority made here")
    trusted = read_bytes(directory / "ca.crt")
    own = (one for one in x509.load_pem_x509_certificates(trusted) if one.public_key() == key.public_key())
    certificate = next(own, None)
    if certificate is None:
        raise KeysRefused(f"{directory / 'ca.crt'} has no certificate for ca.key")
    return Authority(certificate=certificate, key=key, trusted=trusted)


def _has_signed(authority: x509.Certificate, certificate: bytes) -> bool:
    try:
        x509.load_pem_x509_certificate(certificate).verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _house_of_certificate(certificate: bytes) -> str:
    try:
        uri = _uri_of(x509.load_pem_x509_certificate(certificate))
    except (ValueError, x509.ExtensionNotFound):
        raise KeysRefused(
            "the server's certificate names no house; make keys with `clearing keys init`"
        ) from None
    return uri.removeprefix("spiffe://").partition("/")[0]


def _uri_of(certificate: x509.Certificate) -> str:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    (uri,) = names.value.get_values_for_type(x509.UniformResourceIdentifier)
    return uri


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write(path: Path, data: bytes) -> None:
    _create(path, data, 0o644)


def _write_private(path: Path, data: bytes) -> None:
    _create(path, data, 0o600)


def _create(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _replace(path: Path, data: bytes, mode: int) -> None:
    """Put ``data`` in the place of ``path``, which always is whole."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)  # of one that was cut off
    _create(fresh, data, mode)
    fresh.replace(path)
