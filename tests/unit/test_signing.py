"""Private keys: with a passphrase or without, and keys in tokens that may be away."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner, SSlibKey

from clearing import keys, signing
from clearing.attest.envelope import PAYLOAD_TYPE, Scheme, SignerAway, open_envelope, p256_signer, sign
from clearing.attest.policy import format_public_key, parse_policy
from clearing.attest.trust import Version, add_signature, write
from clearing.signing import (
    KeysRefused,
    Token,
    format_token,
    parse_token,
    private_pem,
    read_ed25519,
    read_signer,
    token_of,
    token_signer,
)
from ledger.checkpoint import verifier_key
from tests.unit.test_trust import ANNA, BEN, EXPIRES_MS, trust_set

PRIVATE = ec.derive_private_key(11, ec.SECP256R1())
PUBLIC = p256_signer(PRIVATE).public_key
P384 = ec.derive_private_key(11, ec.SECP384R1())
HSM = Token(uri="hsm:2?label=house", module="/lib/token.so", key=PUBLIC, pin="env RISK_PIN")
CLOUD = Token(uri="fakekms:risk", module="", key=PUBLIC, pin="")


@pytest.fixture
def passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARING_PASSPHRASE", "correct horse")


# files --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("passphrase")
def test_signing_keys_with_a_passphrase_sign_as_those_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seeded(what: str) -> bytes:
        return what.encode().ljust(48, b".")

    keys.init(tmp_path / "plain", "my-house", [], secret=seeded)
    keys.init(tmp_path / "locked", "my-house", [], secret=seeded, passphrase=b"correct horse")
    for path in (tmp_path / "locked" / "signing").iterdir():
        if path.name.split(".")[0] in ("log", *keys.SIGNERS):
            assert b"BEGIN ENCRYPTED PRIVATE KEY" in path.read_bytes()
    assert keys.encrypts(tmp_path / "locked")
    assert not keys.encrypts(tmp_path / "plain")
    envelopes = {
        sign(b"{}", PAYLOAD_TYPE, keys.read_signing_keys(tmp_path / name).officers)
        for name in ("plain", "locked")
    }
    assert len(envelopes) == 1, "Ed25519 keys in files sign the same bytes"
    monkeypatch.setenv("CLEARING_PASSPHRASE", "wrong")
    with pytest.raises(KeysRefused, match="no private key that this passphrase opens"):
        keys.read_signing_keys(tmp_path / "locked")
    monkeypatch.delenv("CLEARING_PASSPHRASE")
    with pytest.raises(KeysRefused, match="needs a passphrase"):
        keys.read_signing_keys(tmp_path / "locked")
    assert keys.read_signing_keys(tmp_path / "plain").officers


def test_a_passphrase_stands_in_the_first_line_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Ed25519PrivateKey.generate()
    (tmp_path / "a.key").write_bytes(private_pem(made, b"correct horse"))
    (tmp_path / "pass").write_text("correct horse\nand more\n")
    monkeypatch.setenv("CLEARING_PASSPHRASE_FILE", str(tmp_path / "pass"))
    assert read_ed25519(tmp_path / "a.key").public_key() == made.public_key()
    (tmp_path / "pass").write_text("\n")
    with pytest.raises(KeysRefused, match="holds no secret"):
        read_ed25519(tmp_path / "a.key")


def test_keys_on_two_curves_sign_and_others_do_not(tmp_path: Path) -> None:
    made: dict[str, PrivateKeyTypes] = {
        "p256": PRIVATE,
        "p384": P384,
        "rsa": rsa.generate_private_key(65537, 2048),
    }
    for name, key in made.items():
        (tmp_path / f"{name}.key").write_bytes(private_pem(key))
    assert read_signer(tmp_path / "p256.key").public_key == PUBLIC
    for name in ("p384", "rsa"):
        with pytest.raises(KeysRefused, match="neither an Ed25519 key nor one on P-256"):
            read_signer(tmp_path / f"{name}.key")
    with pytest.raises(KeysRefused, match="no Ed25519 key"):
        read_ed25519(tmp_path / "p256.key")


# token files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [HSM, CLOUD], ids=["hsm", "cloud"])
def test_a_token_file_reads_back_as_it_was_written(token: Token) -> None:
    assert parse_token(Path("risk.token"), b"# risk's\n\n" + format_token(token)) == token


KEY_LINE = f"key {format_public_key(PUBLIC)}\n"
WHOLE = format_token(HSM).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        WHOLE.replace("uri hsm:2?label=house\n", ""),
        WHOLE.replace("module /lib/token.so\n", ""),
        WHOLE.replace(KEY_LINE, ""),
        WHOLE.replace(KEY_LINE, "key p256:AAAA\n"),
        WHOLE.replace(KEY_LINE, f"key ed25519:{'A' * 43}=\n"),
        WHOLE.replace("pin env", "pin is"),
        WHOLE + KEY_LINE,
        WHOLE + "colour red\n",
        format_token(CLOUD).decode() + "module /lib/token.so\n",
    ],
    ids=["empty", "uri", "module", "key", "form", "ed25519", "pin", "twice", "unknown", "cloud"],
)
def test_a_token_file_that_says_something_else_is_refused(text: str) -> None:
    with pytest.raises((KeysRefused, ValueError)):
        parse_token(Path("risk.token"), text.encode())


def test_the_public_half_of_a_cloud_key_is_given(tmp_path: Path) -> None:
    for name, key in (("p256", PRIVATE), ("p384", P384)):
        pem = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (tmp_path / name).write_bytes(pem)
    assert token_of("fakekms:risk", "", "", tmp_path / "p256") == CLOUD
    with pytest.raises(KeysRefused, match="no public key on P-256"):
        token_of("fakekms:risk", "", "", tmp_path / "p384")
    with pytest.raises(KeysRefused, match="give its public half"):
        token_of("fakekms:risk", "", "", None)


# devices ------------------------------------------------------------------------------------------------


class FakeService:
    """A cloud's key service, as securesystemslib has them; ``answers`` says what it does next."""

    answers: Callable[[bytes], bytes]

    @classmethod
    def from_priv_key_uri(cls, uri: str, public_key: SSlibKey, handler: Any) -> "FakeService":
        assert uri == CLOUD.uri
        return cls()

    def sign(self, payload: bytes) -> Any:
        class Made:
            signature = FakeService.answers(payload).hex()

        return Made()


def honest(payload: bytes) -> bytes:
    made = CryptoSigner(PRIVATE).sign(payload)
    return bytes.fromhex(made.signature)


@pytest.fixture(autouse=True)
def service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "fakekms", FakeService)
    monkeypatch.setattr(FakeService, "answers", staticmethod(honest), raising=False)
    monkeypatch.setattr(signing, "SIGN_MAX_S", 0.2)


def answer(monkeypatch: pytest.MonkeyPatch, answers: Callable[[bytes], bytes]) -> None:
    monkeypatch.setattr(FakeService, "answers", staticmethod(answers))


def test_a_key_in_a_cloud_signs_and_is_away_when_the_cloud_is(monkeypatch: pytest.MonkeyPatch) -> None:
    signer = token_signer(CLOUD)
    assert signer.public_key.accepts(signer.sign(b"message"), b"message")

    def fails(payload: bytes) -> bytes:
        raise ConnectionError("no route")

    answer(monkeypatch, fails)
    with pytest.raises(SignerAway, match="fakekms:risk: ConnectionError no route"):
        signer.sign(b"message")
    answer(monkeypatch, lambda _: b"not this key's")
    with pytest.raises(SignerAway, match="another key"):
        signer.sign(b"message")
    answer(monkeypatch, honest)
    assert signer.sign(b"message")


def test_a_device_that_does_not_answer_keeps_nobody_waiting_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    released, asked = threading.Event(), []

    def hangs(payload: bytes) -> bytes:
        asked.append(payload)
        released.wait(5)
        return honest(payload)

    answer(monkeypatch, hangs)
    signer = token_signer(CLOUD)
    with pytest.raises(SignerAway, match="within"):
        signer.sign(b"first")
    with pytest.raises(SignerAway, match="has not answered yet"):
        signer.sign(b"second")
    assert asked == [b"first"]
    released.set()
    answer(monkeypatch, honest)
    for _ in range(50):
        try:
            assert signer.public_key.accepts(signer.sign(b"third"), b"third")
        except SignerAway:
            threading.Event().wait(0.02)
        else:
            return
    pytest.fail("it never came back")


def test_a_pin_that_nobody_gives_is_an_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RISK_PIN", raising=False)
    with pytest.raises(SignerAway, match="no PIN is given"):
        token_signer(HSM).sign(b"message")


# further keys of a role ---------------------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "keys"
    keys.init(made, "my-house", [])
    return made


def roles(directory: Path, now: keys.Signing, as_of_ms: int = 0) -> tuple[tuple[str, ...], list[str]]:
    """Who signs what is so at a time, and with which of the role's keys."""
    signing_keys = now()
    officers, threshold = signing_keys.officers_at(as_of_ms)
    envelope = sign(b"{}", PAYLOAD_TYPE, officers, at_least=threshold)
    assert signing_keys.policy is not None
    trust = signing_keys.policy.trust_at(as_of_ms)
    assert trust is not None
    paths = (
        path for path in (directory / "signing").glob("*.key") if path.name.split(".")[0] in keys.SIGNERS
    )
    named = {read_signer(path).public_key: path.name for path in paths}
    return open_envelope(envelope, trust).roles, [named[one.public_key] for one in officers]


def test_without_a_trust_root_a_new_key_signs_at_once(directory: Path) -> None:
    now = keys.Signing(directory)
    assert roles(directory, now)[1] == ["risk.key", "operations.key", "compliance.key"]
    line = keys.rotate(directory, "operations")
    assert line in (directory / "policy.txt").read_text()
    assert roles(directory, now) == (
        ("risk", "operations", "compliance"),
        ["risk.key", "operations.2.key", "compliance.key"],
    )
    assert now.published().policy == parse_policy((directory / "policy.txt").read_bytes())
    assert keys.rotate(directory, "operations") != line
    assert roles(directory, now)[1] == ["risk.key", "operations.3.key", "compliance.key"]


def test_a_new_log_key_is_believed_beside_the_old_one_and_used_from_the_next_start_on(
    directory: Path,
) -> None:
    before = keys.read_signing_keys(directory)
    running = keys.Signing(directory)
    line = keys.rotate(directory, "log")
    after = keys.read_signing_keys(directory)
    own = verifier_key(after.origin, after.log_key)
    assert line.split()[0] == "log"
    assert own != verifier_key(before.origin, before.log_key)
    assert keys.read_policy(directory).log_keys == (verifier_key(before.origin, before.log_key), own)
    assert after.retired == keys.read_policy(directory).log_keys
    assert running().policy == after.policy


def test_a_log_key_that_no_verifier_believes_signs_nothing(directory: Path) -> None:
    (directory / "signing" / "log.key").write_bytes(private_pem(Ed25519PrivateKey.generate()))
    with pytest.raises(KeysRefused, match="no log key"):
        keys.read_signing_keys(directory)


def test_officers_that_are_not_there_are_away_and_the_others_sign(directory: Path) -> None:
    (directory / "signing" / "risk.key").unlink()
    now = keys.Signing(directory)
    assert roles(directory, now)[0] == ("operations", "compliance")
    (directory / "signing" / "operations.key").unlink()
    with pytest.raises(SignerAway, match="1 keys signed, 2 must: no more keys are known"):
        roles(directory, now)


def test_what_cannot_be_used_changes_nothing(directory: Path) -> None:
    now = keys.Signing(directory)
    known = now.published()
    (directory / "policy.txt").write_text("nonsense\n")
    (directory / "signing" / "risk.2.key").write_text("nonsense\n")
    assert now.published() == known
    assert roles_of(now) == ["risk", "operations", "compliance"]
    with pytest.raises(KeysRefused):
        keys.Signing(directory)


def roles_of(now: keys.Signing) -> list[str]:
    policy = now().policy
    assert policy is not None
    return [one.role for one in policy.trust.keys]


def version_of(number: int, since_ms: int, policy: bytes) -> Version:
    return Version(
        number=number,
        expires_ms=EXPIRES_MS,
        since_ms=since_ms,
        policy=parse_policy(policy),
        trustees=trust_set(anna=ANNA, ben=BEN),
    )


def test_with_a_trust_root_a_new_key_waits_for_its_time(directory: Path) -> None:
    (directory / "trust").mkdir()
    text = (directory / "policy.txt").read_text()
    first = write(version_of(1, 0, text.encode()))
    one = add_signature(add_signature(first, ANNA, None), BEN, None)
    (directory / "trust" / "1.root.json").write_bytes(one)
    now = keys.Signing(directory)
    line = keys.rotate(directory, "operations")
    assert (directory / "policy.txt").read_text() == text, "the trust root stands above it"
    assert roles(directory, now)[1] == ["risk.key", "operations.key", "compliance.key"]
    lines = [line if old.startswith("signer operations ") else old for old in text.splitlines()]
    second = version_of(2, 1_000, "".join(f"{each}\n" for each in lines).encode())
    (directory / "trust" / "2.root.json").write_bytes(write(second))
    assert [*now.published().roots] == [1], "nobody has signed it yet"
    two = add_signature(add_signature(write(second), ANNA, one), BEN, one)
    (directory / "trust" / "2.root.json").write_bytes(two)
    assert now.published().roots == {1: one, 2: two}
    assert roles(directory, now, 999)[1] == ["risk.key", "operations.key", "compliance.key"]
    assert roles(directory, now, 1_000)[1] == ["risk.key", "operations.2.key", "compliance.key"]


def test_a_trust_root_without_its_first_version_is_refused(directory: Path) -> None:
    (directory / "trust").mkdir()
    (directory / "trust" / "2.root.json").write_bytes(b"{}")
    with pytest.raises(KeysRefused, match="lacks version 1"):
        keys.read_policy(directory)
    (directory / "trust" / "1.root.json").write_bytes(b"{}")
    with pytest.raises(KeysRefused, match="no TUF root metadata"):
        keys.read_policy(directory)


def test_the_scheme_of_a_token_is_p256() -> None:
    assert token_signer(CLOUD).public_key.scheme is Scheme.P256
