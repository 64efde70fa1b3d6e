"""An officer's key in a real PKCS#11 token: it signs, is away, comes back, and others check what it signed."""

import json
import subprocess
from base64 import b64decode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from structlog.testing import capture_logs

from clearing import keys
from clearing.attest.envelope import (
    PAYLOAD_TYPE,
    EnvelopeRefused,
    Scheme,
    SignerAway,
    open_envelope,
    pae,
    parse,
    sign,
)
from clearing.signing import KeysRefused, Token, parse_token, token_of, token_signer
from tests.softhsm import SoftToken, environment_of, make_token

PAYLOAD = b'{"_type":"https://in-toto.io/Statement/v1"}'


@pytest.fixture(scope="module")
def soft(tmp_path_factory: pytest.TempPathFactory) -> SoftToken:
    return make_token(tmp_path_factory.mktemp("softhsm"))


@pytest.fixture(autouse=True)
def plugged(soft: SoftToken, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment_of(soft.folder).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYKCS11LIB", "")  # so that what the signer sets is undone


def token(soft: SoftToken, pin: str | None = None) -> Token:
    return token_of(soft.uri, str(soft.module), pin or f"file {soft.pin_file}", None)


@pytest.fixture
def directory(soft: SoftToken, tmp_path: Path) -> Path:
    """Keys of a house whose risk officer's key is in the token."""
    made = tmp_path / "keys"
    keys.init(made, "my-house", [])
    keys.import_token(made, "risk", token(soft))
    return made


def accepted_by_openssl(envelope: bytes, index: int, officer: bytes, folder: Path) -> bool:
    """Whether openssl takes a signature of an envelope as that of a P-256 key (DER)."""
    signed = parse(envelope)
    (folder / "pae.bin").write_bytes(pae(signed.payload_type, signed.payload))
    (folder / "sig.bin").write_bytes(signed.signatures[index].signature)
    pem = serialization.load_der_public_key(officer).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "key.pem").write_bytes(pem)
    command = ["openssl", "dgst", "-sha256", "-verify", "key.pem", "-signature", "sig.bin", "pae.bin"]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0


def test_a_token_says_which_key_it_has_and_a_file_remembers_it(soft: SoftToken, directory: Path) -> None:
    path = directory / "signing" / "risk.2.token"
    assert parse_token(path, path.read_bytes()) == token(soft)
    assert b"1234" not in path.read_bytes()
    policy = keys.read_policy(directory)
    assert [(one.role, one.key.scheme) for one in policy.trust.keys] == [
        ("risk", Scheme.P256),
        ("operations", Scheme.ED25519),
        ("compliance", Scheme.ED25519),
    ]


@pytest.mark.parametrize("roles", [("risk", "operations", "compliance"), ("risk", "compliance")])
def test_a_token_and_files_sign_one_envelope(directory: Path, tmp_path: Path, roles: tuple[str, ...]) -> None:
    policy = keys.read_policy(directory)
    for role in {"operations"} - {*roles}:
        (directory / "signing" / f"{role}.key").unlink()
    officers, threshold = keys.read_signing_keys(directory).officers_at(0)
    envelope = sign(PAYLOAD, PAYLOAD_TYPE, officers, at_least=threshold)
    opened = open_envelope(envelope, policy.trust)
    assert opened.payload == PAYLOAD
    assert opened.roles == roles
    risk = policy.trust.keys[0].key.raw
    assert accepted_by_openssl(envelope, 0, risk, tmp_path)
    tampered = json.loads(envelope)
    tampered["payload"] = tampered["payload"][:-4] + "AAAA"
    assert not accepted_by_openssl(json.dumps(tampered).encode(), 0, risk, tmp_path)
    assert b64decode(json.loads(envelope)["payload"]) == PAYLOAD


def test_a_token_signs_anew_each_time(soft: SoftToken) -> None:
    signer = token_signer(token(soft))
    first, second = signer.sign(b"message"), signer.sign(b"message")
    assert first != second
    assert signer.public_key.accepts(first, b"message")
    assert signer.public_key.accepts(second, b"message")


def test_a_token_that_is_unplugged_is_away_until_it_is_back(soft: SoftToken, directory: Path) -> None:
    signing = keys.Signing(directory)
    officers, threshold = signing().officers_at(0)
    with capture_logs() as logged:
        soft.unplug()
        try:
            for _ in range(2):
                envelope = sign(PAYLOAD, PAYLOAD_TYPE, officers, at_least=threshold)
                assert len(parse(envelope).signatures) == 2
            assert signing.away == 1
            with pytest.raises(SignerAway, match="2 keys signed, 3 must: risk: hsm:2"):
                sign(PAYLOAD, PAYLOAD_TYPE, officers)
        finally:
            soft.plug()
        assert len(parse(sign(PAYLOAD, PAYLOAD_TYPE, officers)).signatures) == 3
    assert signing.away == 0
    events = [(line["event"], line["officer"]) for line in logged]
    assert events[0] == ("an officer's key is away", "risk")
    assert events[-1] == ("an officer's key is back", "risk")
    assert len(events) <= 3, "it is not logged each time"


def test_a_pin_that_was_refused_is_not_tried_again_until_there_is_another(
    soft: SoftToken, tmp_path: Path
) -> None:
    known = token(soft)
    pin = tmp_path / "pin"
    pin.write_text("9999\n")
    signer = token_signer(Token(uri=known.uri, module=known.module, key=known.key, pin=f"file {pin}"))
    with pytest.raises(SignerAway, match="PinIncorrect"):
        signer.sign(b"message")
    with pytest.raises(SignerAway, match="not asked with the same one again"):
        signer.sign(b"message")
    pin.write_text("1234\n")
    assert signer.public_key.accepts(signer.sign(b"message"), b"message")
    pin.unlink()
    with pytest.raises(SignerAway, match="cannot be read"):
        signer.sign(b"message")


def test_a_token_with_another_key_than_its_file_says_is_away(soft: SoftToken, tmp_path: Path) -> None:
    other = make_token(tmp_path / "other")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment_of(other.folder).items():
            patch.setenv(name, value)
        import pkcs11  # noqa: PLC0415  # only where SoftHSM is

        pkcs11.lib(str(other.module)).reinitialize()
        key = token(other).key
    pkcs11.lib(str(soft.module)).reinitialize()
    known = token(soft)
    signer = token_signer(Token(uri=known.uri, module=known.module, key=key, pin=known.pin))
    with pytest.raises(SignerAway, match="another key than its file says"):
        signer.sign(b"message")


def test_a_token_that_does_not_sign_is_not_imported(soft: SoftToken, tmp_path: Path) -> None:
    made = tmp_path / "keys"
    keys.init(made, "my-house", [])
    before = (made / "policy.txt").read_bytes()
    wrong = tmp_path / "pin"
    wrong.write_text("9999\n")
    with pytest.raises(KeysRefused, match="does not sign"):
        keys.import_token(made, "risk", token(soft, f"file {wrong}"))
    with pytest.raises(KeysRefused, match="signs nothing"):
        keys.import_token(made, "janitor", token(soft))
    with pytest.raises(KeysRefused, match="Ed25519"):
        keys.import_token(made, "log", token(soft))
    with pytest.raises(KeysRefused, match="cannot be read"):
        token_of("hsm:2?label=none", str(soft.module), f"file {soft.pin_file}", None)
    assert (made / "policy.txt").read_bytes() == before
    assert [path.name for path in (made / "signing").glob("*.token")] == []


def test_the_policy_refuses_signatures_that_only_the_token_made(soft: SoftToken, directory: Path) -> None:
    envelope = sign(PAYLOAD, PAYLOAD_TYPE, [token_signer(token(soft))])
    with pytest.raises(EnvelopeRefused, match="1 trusted keys signed"):
        open_envelope(envelope, keys.read_policy(directory).trust)
