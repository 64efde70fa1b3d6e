"""Private keys that sign: in files, with a passphrase or without, and in tokens.

Rules kept here (ADR 25): a secret comes from a file, the environment or a prompt, never from the command line. A token
is used through securesystemslib, whose signers speak PKCS#11 (``hsm:``) and the key services of clouds (``awskms:``,
``gcpkms:``, ``azurekms:``); what it signs is checked before it is believed. A token that is not there, does not
answer within ``SIGN_MAX_S``, or has another key, is away and nothing worse, and is asked again the next time; one that
has refused its PIN is not asked again with the same PIN, since tokens lock themselves.

A token file says in lines, as a policy does, where a key is and which it is::

    uri hsm:2?label=house          for PKCS#11: the key's id, and the label of its token
    module /usr/lib/softhsm/libsofthsm2.so
    key p256:<base64 of the DER SubjectPublicKeyInfo>
    pin file /run/secrets/risk-pin
    pin env RISK_PIN               instead of a file
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from clearing.attest.envelope import (
    EnvelopeRefused,
    PublicKey,
    Scheme,
    Signer,
    SignerAway,
    ed25519_signer,
    p256_signer,
)
from clearing.attest.policy import format_public_key, parse_public_key

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey

SIGN_MAX_S = 3.0
"""So long a token may take to sign; nothing else of the house waits longer for it."""
KEY_SUFFIX, TOKEN_SUFFIX = ".key", ".token"
PASSPHRASE = "CLEARING_PASSPHRASE"  # noqa: S105  # the name of a setting
"""In the environment: the passphrase; with ``_FILE`` behind it, the file that has it."""

_MODULE = "PYKCS11LIB"
_HSM = "hsm:"

Passphrase: TypeAlias = Callable[[str], bytes]
"""Asked for the passphrase of what is named; raises :class:`KeysRefused` if nobody knows it."""


class KeysRefused(Exception):
    """Keys were not made or not read; the message says why."""


def given_passphrase(what: str) -> bytes:
    """The passphrase that the environment gives. Raises :class:`KeysRefused` if it gives none."""
    file, text = os.environ.get(f"{PASSPHRASE}_FILE"), os.environ.get(PASSPHRASE)
    if file is None and text is None:
        raise KeysRefused(
            f"{what} needs a passphrase: say it in {PASSPHRASE} or in the file {PASSPHRASE}_FILE"
        )
    return read_secret(Path(file)) if file is not None else (text or "").encode()


def read_secret(path: Path) -> bytes:
    """What stands in the first line of a file. Raises :class:`KeysRefused` if that is nothing."""
    secret = read_bytes(path).partition(b"\n")[0].removesuffix(b"\r")
    if not secret:
        raise KeysRefused(f"{path} holds no secret")
    return secret


def read_bytes(path: Path) -> bytes:
    """What a file holds. Raises :class:`KeysRefused`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeysRefused(f"{path} cannot be read: {error.strerror}") from None


# --- files ---------------------------------------------------------------------------------------------


def private_pem(key: PrivateKeyTypes, passphrase: bytes | None = None) -> bytes:
    """``key`` as PKCS#8, encrypted if there is a passphrase."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()
        if passphrase is None
        else serialization.BestAvailableEncryption(passphrase),
    )


def read_private_key(path: Path, passphrase: Passphrase = given_passphrase) -> PrivateKeyTypes:
    """A private key of PKCS#8, which asks for its passphrase if it has one. Raises :class:`KeysRefused`."""
    data = read_bytes(path)
    secret = passphrase(str(path)) if b"BEGIN ENCRYPTED PRIVATE KEY" in data else None
    try:
        return serialization.load_pem_private_key(data, password=secret)
    except ValueError as error:
        what = "no private key" if secret is None else "no private key that this passphrase opens"
        raise KeysRefused(f"{path} holds {what}: {error}") from None


def read_ed25519(path: Path, passphrase: Passphrase = given_passphrase) -> Ed25519PrivateKey:
    """An Ed25519 private key. Raises :class:`KeysRefused`."""
    key = read_private_key(path, passphrase)
    if not isinstance(key, Ed25519PrivateKey):
        raise KeysRefused(f"{path} holds no Ed25519 key")
    return key


def read_signer(path: Path, passphrase: Passphrase = given_passphrase) -> Signer:
    """What signs with the key of a file, or with the token that a file names. Raises :class:`KeysRefused`."""
    if path.suffix == TOKEN_SUFFIX:
        return token_signer(parse_token(path, read_bytes(path)))
    match read_private_key(path, passphrase):
        case Ed25519PrivateKey() as key:
            return ed25519_signer(key)
        case ec.EllipticCurvePrivateKey() as key if isinstance(key.curve, ec.SECP256R1):
            return p256_signer(key)
        case _:
            raise KeysRefused(f"{path} holds neither an Ed25519 key nor one on P-256")


# --- tokens --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """Where a key is that cannot be read, and which; ``pin`` is ``file PATH``, ``env NAME``, or nothing."""

    uri: str
    module: str
    key: PublicKey
    pin: str

    def read_pin(self) -> str:
        """What the token is opened with. Raises :class:`SignerAway`."""
        kind, _, place = self.pin.partition(" ")
        try:
            found = read_secret(Path(place)).decode() if kind == "file" else os.environ.get(place, "")
        except (KeysRefused, UnicodeDecodeError) as error:
            raise SignerAway(str(error)) from None
        if not found:
            raise SignerAway(f"no PIN is given for {self.uri}")
        return found


def format_token(token: Token) -> bytes:
    """``token`` as the text that :func:`parse_token` reads."""
    lines = {
        "uri": token.uri,
        "module": token.module,
        "key": format_public_key(token.key),
        "pin": token.pin,
    }
    return "".join(f"{word} {value}\n" for word, value in lines.items() if value).encode()


def parse_token(path: Path, data: bytes) -> Token:
    """The token that a file names. Raises :class:`KeysRefused`."""
    said: dict[str, str] = {}
    try:
        for line in data.decode().splitlines():
            word, _, value = line.strip().partition(" ")
            if word and not word.startswith("#"):
                if word in said or word not in ("uri", "module", "key", "pin"):
                    raise KeysRefused(f"{path}: {word} stands twice, or is nothing that a token file says")
                said[word] = value.strip()
        token = Token(
            uri=said.get("uri", ""),
            module=said.get("module", ""),
            key=parse_public_key(said.get("key", "")),
            pin=said.get("pin", ""),
        )
    except ValueError as error:
        raise KeysRefused(f"{path}: write key p256:<base64>: {error}") from None
    _require_whole(path, token)
    return token


def _require_whole(path: str | Path, token: Token) -> None:
    is_hsm = token.uri.startswith(_HSM)
    if not token.uri or is_hsm != bool(token.module):
        raise KeysRefused(f"{path}: a token file has a uri, and a module if and only if it is {_HSM}")
    if token.pin and token.pin.partition(" ")[0] not in ("file", "env"):
        raise KeysRefused(f"{path}: write pin file PATH, or pin env NAME")
    if is_hsm and token.key.scheme is not Scheme.P256:
        raise KeysRefused(f"{path}: a key in PKCS#11 is ECDSA P-256")


def token_of(uri: str, module: str, pin: str, public_key: Path | None) -> Token:
    """The token at ``uri``; a PKCS#11 token says itself which key it has. Raises :class:`KeysRefused`."""
    if public_key is not None:
        key = _p256_of(public_key, read_bytes(public_key))
    elif uri.startswith(_HSM):
        key = _p256_of(uri, _public_pem(Token(uri=uri, module=module, key=_ANY, pin=pin)))
    else:
        raise KeysRefused(f"{uri} does not say which key it has: give its public half, PEM")
    token = Token(uri=uri, module=module, key=key, pin=pin)
    _require_whole(uri, token)
    return token


def _public_pem(token: Token) -> bytes:
    """The public key of a PKCS#11 token, which is opened if it must be."""
    asked = urlsplit(token.uri)
    try:
        from securesystemslib.signer import HSMSigner  # noqa: PLC0415  # an extra

        with _PKCS11:
            os.environ[_MODULE] = token.module
            label = dict(parse_qsl(asked.query)).get("label")
            _, found = HSMSigner.import_(
                int(asked.path or HSMSigner.SCHEME_KEYID), label, lambda _: token.read_pin()
            )
    except Exception as error:  # noqa: BLE001  # as securesystemslib asks: each kind of token has errors of its own
        raise KeysRefused(f"{token.uri} cannot be read: {_said(error)}") from None
    spelt: str = found.keyval["public"]
    return spelt.encode()


def _p256_of(where: str | Path, pem: bytes) -> PublicKey:
    try:
        info = serialization.load_pem_public_key(pem).public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return PublicKey(scheme=Scheme.P256, raw=info)
    except (ValueError, EnvelopeRefused) as error:
        raise KeysRefused(f"{where} is no public key on P-256: {error}") from None


def token_signer(token: Token) -> Signer:
    """What signs with the key of a token."""
    return Signer(public_key=token.key, sign=_Device(token).sign)


_PKCS11 = threading.Lock()
"""Held while PKCS#11 is used: its module is named by the environment of the whole process."""
_ANY = p256_signer(ec.derive_private_key(1, ec.SECP256R1())).public_key


class _Device:
    """One key of one token."""

    def __init__(self, token: Token) -> None:
        self._token = token
        self._refused_pin: str | None = None
        self._busy: threading.Thread | None = None
        self._lost = False

    def sign(self, message: bytes) -> bytes:
        """The token's signature. Raises ``SignerAway``."""
        if self._busy is not None and self._busy.is_alive():
            raise SignerAway(f"{self._token.uri} has not answered yet")
        pin = self._token.read_pin() if self._token.pin else ""
        if pin and pin == self._refused_pin:
            raise SignerAway(
                f"{self._token.uri} has refused its PIN, and is not asked with the same one again"
            )
        answer: list[bytes | Exception] = []
        self._busy = threading.Thread(target=self._ask, args=(message, pin, answer), daemon=True)
        self._busy.start()
        self._busy.join(SIGN_MAX_S)
        return self._judged(message, answer, pin)

    def _ask(self, message: bytes, pin: str, answer: list[bytes | Exception]) -> None:
        try:
            answer.append(self._signed(message, pin))
        except Exception as error:  # noqa: BLE001  # as securesystemslib asks: each kind of token has errors of its own
            answer.append(error)

    def _signed(self, message: bytes, pin: str) -> bytes:
        from securesystemslib.signer import Signer as Tokens  # noqa: PLC0415  # an extra

        def sign() -> bytes:
            signer = Tokens.from_priv_key_uri(token.uri, _spelt(token.key), lambda _: pin)
            return bytes.fromhex(signer.sign(message).signature)

        token = self._token
        if not token.module:
            return sign()
        with _PKCS11:
            os.environ[_MODULE] = token.module
            if self._lost:
                _look_again(token.module)
            return sign()

    def _judged(self, message: bytes, answer: list[bytes | Exception], pin: str) -> bytes:
        found = answer[0] if answer else None
        self._lost = not isinstance(found, bytes)
        if found is None:
            raise SignerAway(f"{self._token.uri} has not answered within {SIGN_MAX_S:g} seconds")
        if isinstance(found, Exception):
            if type(found).__name__.startswith("Pin"):
                self._refused_pin = pin
            raise SignerAway(f"{self._token.uri}: {_said(found)}") from found
        if not self._token.key.accepts(found, message):
            raise SignerAway(f"{self._token.uri} signs with another key than its file says")
        return found


def _look_again(module: str) -> None:
    """Have a PKCS#11 module find out which tokens are there: it remembers what it saw when it was loaded."""
    import pkcs11  # noqa: PLC0415  # an extra

    pkcs11.lib(module).reinitialize()


def _said(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()


def _spelt(key: PublicKey) -> "SSlibKey":
    """``key`` as securesystemslib spells it."""
    from securesystemslib.signer import SSlibKey  # noqa: PLC0415  # an extra

    if key.scheme is Scheme.P256:
        return SSlibKey.from_crypto(serialization.load_der_public_key(key.raw))
    return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(key.raw))
