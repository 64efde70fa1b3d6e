"""Judges that know nothing of this house read what it published, and say yes; and no, once it is tampered with.

Go's ``x/mod/sumdb/{note,tlog}`` opens checkpoints and checks records, tiles and extensions, openssl checks an officer's
signature, sigstore's verifier a bundle. The files are those of ``clearing demo --out``.

Go is not there on every machine: then one line says so, but never in CI, where ``.ci/run`` installs it.
"""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clearing import keys as house_keys
from clearing.attest.bundle import to_sigstore
from clearing.attest.envelope import (
    PAYLOAD_TYPE,
    PublicKey,
    RoleKey,
    Scheme,
    ed25519_signer,
    p256_signer,
    pae,
    parse,
    sign,
)
from clearing.attest.policy import Policy, parse_policy
from clearing.attest.signer import SigningKeys, sign_checkpoint
from clearing.demo import keys as demo_keys
from ledger.checkpoint import format_vkey, verifier_key
from ledger.merkle import leaf_hash, tree_root
from ledger.receipt import PROOF_LINE
from ledger.store.tile_files import TileFiles
from ledger.tiles import TiledTree
from tests.e2e.test_demo import run as run_demo
from tests.e2e.test_documented_commands import indented_block
from tests.e2e.test_typescript import require_node, run

pytestmark = pytest.mark.slow

JUDGES = Path(__file__).parents[1] / "judges"
GO_PATH = Path("/usr/share/gocode")
"""Where Debian's packages of Go sources are."""
OLD_SIZE = 1_000
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@dataclass(frozen=True)
class Published:
    """What a house published, and the keys that it signed with."""

    folder: Path
    signing: SigningKeys

    @property
    def policy(self) -> Policy:
        return parse_policy((self.folder / "policy.txt").read_bytes())

    @property
    def vkey(self) -> str:
        (key,) = self.policy.log_keys
        return format_vkey(key)

    @property
    def tree(self) -> TiledTree:
        return TileFiles(self.folder).tree()

    @property
    def envelope(self) -> bytes:
        return max((self.folder / "attestations").iterdir()).read_bytes()

    def copy(self, to: Path) -> Path:
        """The folder, to be tampered with."""
        return Path(shutil.copytree(self.folder, to))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A house that ran, with more than a thousand entries: there are tiles of two levels."""
    folder, keys = tmp_path_factory.mktemp("published"), tmp_path_factory.mktemp("keys") / "keys"
    assert run_demo("--seed", "7", "--out", str(folder))["verified"] is True
    demo_keys.make(keys, 7, "demo-7", [])
    return Published(folder, house_keys.read_signing_keys(keys))


# --- Go -------------------------------------------------------------------------------------------------


def cannot(because: str) -> None:
    """Say that Go could not judge: on a developer's machine that is a skip, in CI a failure."""
    says = f"GO DID NOT JUDGE THE LOG: {because}; apt-get install golang-go golang-golang-x-mod-dev"
    if os.environ.get("CI"):
        pytest.fail(says)
    pytest.skip(says)


@pytest.fixture(scope="module")
def go_judge(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``tests/judges/log.go``, compiled."""
    if shutil.which("go") is None:
        cannot("there is no go")
    if not (GO_PATH / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        cannot("golang.org/x/mod is not there")
    made = tmp_path_factory.mktemp("go")
    surroundings = {
        "GO111MODULE": "off",
        "GOPATH": str(GO_PATH),
        "GOCACHE": str(made / "cache"),
        "GOFLAGS": "",
    }
    command = ("go", "build", "-o", str(made / "log"), str(JUDGES / "log.go"))
    done = subprocess.run(command, env=os.environ | surroundings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return lambda *arguments: subprocess.run(
        [str(made / "log"), *map(str, arguments)], capture_output=True, text=True, check=False
    )


Judge = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def kept(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the same house from before."""
    path = tmp_path_factory.mktemp("kept") / "checkpoint"
    path.write_bytes(sign_checkpoint(published.signing, OLD_SIZE, published.tree.root_at(OLD_SIZE)))
    return path


def says_no(judged: subprocess.CompletedProcess[str], why: str) -> None:
    assert judged.returncode == 1, judged
    assert why in judged.stderr
    assert judged.stdout == ""


@pytest.mark.parametrize("index", [0, 255, 256, 999, 2047, -1])
def test_go_finds_a_record_in_our_tiles_and_that_the_log_extends_what_it_was(
    published: Published, go_judge: Judge, kept: Path, index: int
) -> None:
    size = published.tree.size
    assert size > 8 * 256, "full tiles, and a level above"
    judged = go_judge(published.vkey, published.folder, index % size, kept)
    assert judged.returncode == 0, judged.stderr
    said = f"record {index % size} is in the tree of {size}, which extends the tree of {OLD_SIZE}\n"
    assert judged.stdout == said


@pytest.mark.usefixtures("go_judge")
def test_go_judges_the_log_as_check_us_says(published: Published, tmp_path: Path) -> None:
    folder = published.copy(tmp_path / "copy")
    shutil.copy(JUDGES / "log.go", folder)
    script = indented_block("check-us.md", "GO111MODULE=off")
    surroundings = os.environ | {"GOCACHE": str(tmp_path / "cache")}
    command = ["bash", "-euc", script]
    done = subprocess.run(command, cwd=folder, env=surroundings, capture_output=True, text=True, check=False)
    size = published.tree.size
    assert done.stdout == f"record 0 is in the tree of {size}, which extends the tree of {size}\n", (
        done.stderr
    )


def test_go_does_not_open_a_checkpoint_of_another_key_or_root(
    published: Published, go_judge: Judge, kept: Path, tmp_path: Path
) -> None:
    other = format_vkey(verifier_key(published.policy.origin, STRANGER))
    says_no(go_judge(other, published.folder, 0, kept), "no verifiable signatures")
    folder = published.copy(tmp_path / "copy")
    origin, size, _, *rest = (folder / "checkpoint").read_text().split("\n")
    swapped = base64.b64encode(published.tree.root_at(OLD_SIZE)).decode()
    (folder / "checkpoint").write_text("\n".join((origin, size, swapped, *rest)))
    says_no(go_judge(published.vkey, folder, 0, kept), "invalid signature")


@pytest.mark.parametrize("tile", ["tile/0/003", "tile/1/000.p/8"])
def test_go_does_not_believe_a_tile_that_was_changed(
    published: Published, go_judge: Judge, kept: Path, tmp_path: Path, tile: str
) -> None:
    folder = published.copy(tmp_path / "copy")
    hashes = bytearray((folder / tile).read_bytes())
    hashes[100] ^= 1
    (folder / tile).write_bytes(hashes)
    says_no(
        go_judge(published.vkey, folder, 800, kept), "refused: "
    )  # by the tile, or by the proof made of it


def test_go_does_not_believe_a_record_that_was_changed_or_stands_elsewhere(
    published: Published, go_judge: Judge, kept: Path, tmp_path: Path
) -> None:
    folder = published.copy(tmp_path / "copy")
    bundle = folder / "tile/entries/003"
    entries = bytearray(bundle.read_bytes())
    entries[:110], entries[110:220] = entries[110:220], entries[:110]
    bundle.write_bytes(entries)
    for index in (768, 769):
        says_no(go_judge(published.vkey, folder, index, kept), "invalid transparency proof")
    assert go_judge(published.vkey, folder, 770, kept).returncode == 0


def test_go_does_not_believe_that_the_log_extends_another_history(
    published: Published, go_judge: Judge, tmp_path: Path
) -> None:
    hashes = [leaf_hash(leaf) for leaf in published.tree.leaves()][:OLD_SIZE]
    forged = tree_root([*hashes[:-1], leaf_hash(b"never happened")])
    (tmp_path / "forged").write_bytes(sign_checkpoint(published.signing, OLD_SIZE, forged))
    says_no(go_judge(published.vkey, published.folder, 0, tmp_path / "forged"), "invalid transparency proof")


def entry_receipt(published: Published) -> bytes:
    """What the leg receipt of a member ends in: the receipt of the entry."""
    data = min((published.folder / "receipts").iterdir()).read_bytes()
    return data[data.index(PROOF_LINE.encode()) :]


def test_go_finds_our_receipts_to_be_proofs(published: Published, go_judge: Judge) -> None:
    receipts = sorted((published.folder / "receipts").iterdir())
    assert receipts
    for path in receipts:
        data = path.read_bytes()
        entry = path.with_suffix(".entry")
        entry.write_bytes(data[data.index(PROOF_LINE.encode()) :])
        judged = go_judge(published.vkey, entry)
        entry.unlink()
        assert judged.returncode == 0, judged.stderr
        assert judged.stdout.endswith(f" is in the tree of {published.tree.size}\n")


def test_go_refuses_a_receipt_of_another_record_index_or_path(
    published: Published, go_judge: Judge, tmp_path: Path
) -> None:
    honest = entry_receipt(published).decode()
    proof, note = honest.split("\n\n", 1)
    lines = proof.split("\n")
    index = int(lines[2].removeprefix("index "))
    other = "extra " + base64.b64encode(bytes(108)).decode()
    for changed in (
        [*lines[:1], other, *lines[2:]],
        [*lines[:2], f"index {index - 1}", *lines[3:]],
        lines[:-1],
        [*lines, lines[-1]],
        [*lines[:3], lines[4], lines[3], *lines[5:]],
    ):
        (tmp_path / "receipt").write_text("\n".join(changed) + "\n\n" + note)
        says_no(go_judge(published.vkey, tmp_path / "receipt"), "invalid transparency proof")
    (tmp_path / "receipt").write_text(
        honest.replace(f"\n{published.tree.size}\n", f"\n{published.tree.size + 1}\n")
    )
    says_no(go_judge(published.vkey, tmp_path / "receipt"), "invalid signature")


# --- openssl --------------------------------------------------------------------------------------------


def openssl(key: Path, message: Path, signature: Path) -> bool:
    command = ("openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER")
    files = ("-inkey", str(key), "-in", str(message), "-sigfile", str(signature))
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    assert ("Signature Verified Successfully" in done.stdout) == (done.returncode == 0), done
    assert not done.returncode or "Signature Verification Failure" in done.stdout, done
    return done.returncode == 0


def key_info(key: PublicKey) -> bytes:
    """DER SubjectPublicKeyInfo, as everybody else wants keys."""
    if key.scheme is Scheme.P256:
        return key.raw
    return bytes.fromhex("302a300506032b6570032100") + key.raw


def signatures_of(published: Published) -> list[tuple[RoleKey, bytes]]:
    """Each officer's key with the signature that is that officer's by its place in the envelope."""
    made = parse(published.envelope).signatures
    by_id = {member.key.key_id: member for member in published.policy.trust.keys}
    return [(by_id[one.key_id or ""], one.signature) for one in made]


def test_openssl_verifies_each_officers_signature_and_no_other_bytes(
    published: Published, tmp_path: Path
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("OPENSSL DID NOT JUDGE THE ATTESTATION: it is not there")
    key, message, signature = tmp_path / "key.der", tmp_path / "pae.bin", tmp_path / "sig.bin"
    envelope = parse(published.envelope)
    signed = pae(envelope.payload_type, envelope.payload)
    signers = signatures_of(published)
    assert len(signers) >= published.policy.trust.threshold
    for member, made in signers:
        key.write_bytes(key_info(member.key))
        message.write_bytes(signed)
        signature.write_bytes(made)
        assert openssl(key, message, signature)
        message.write_bytes(signed[:-1] + bytes([signed[-1] ^ 1]))
        assert not openssl(key, message, signature)
        message.write_bytes(envelope.payload)
        assert not openssl(key, message, signature), "the payload without its type is not what is signed"
        message.write_bytes(signed)
        signature.write_bytes(bytes([made[0] ^ 1]) + made[1:])
        assert not openssl(key, message, signature)


# --- sigstore -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sigstore(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``tests/judges/sigstore`` with sigstore's verifier installed."""
    folder = tmp_path_factory.mktemp("sigstore") / "judge"
    require_node(folder.parent)
    shutil.copytree(JUDGES / "sigstore", folder)
    done = run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=folder)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return folder


def sigstore_says(judge: Path, key: PublicKey, *bundles: bytes) -> list[str]:
    (judge / "key.der").write_bytes(key_info(key))
    paths = [judge / f"{number}.sigstore.json" for number, _ in enumerate(bundles)]
    for path, bundle in zip(paths, bundles, strict=True):
        path.write_bytes(bundle)
    done = run("node", "judge.mjs", key.key_id, "key.der", *(path.name for path in paths), folder=judge)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def changed(bundle: bytes, part: str, change: Callable[[bytes], bytes]) -> bytes:
    """The bundle with other bytes as its payload or its signature."""
    members = json.loads(bundle)
    envelope = members["dsseEnvelope"]
    holder, name = (envelope, "payload") if part == "payload" else (envelope["signatures"][0], "sig")
    holder[name] = base64.b64encode(change(base64.b64decode(holder[name]))).decode()
    return json.dumps(members).encode()


def last_bit_turned(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def require_sigstore_accepts(judge: Path, envelope: bytes, key: PublicKey, stranger: bytes) -> None:
    bundle = to_sigstore(envelope, key)
    said = sigstore_says(
        judge,
        key,
        bundle,
        changed(bundle, "payload", last_bit_turned),
        changed(bundle, "sig", lambda made: made[:10] + bytes([made[10] ^ 1]) + made[11:]),
        stranger,
    )
    assert said[0] == "accepted"
    assert said[1:3] == ["refused: signature verification failed"] * 2
    assert said[3].startswith("refused: key not found")


def test_sigstore_accepts_a_bundle_of_each_officers_signature(published: Published, sigstore: Path) -> None:
    stranger = ed25519_signer(STRANGER)
    foreign = to_sigstore(sign(b"{}", PAYLOAD_TYPE, [stranger]), stranger.public_key)
    for member, _ in signatures_of(published):
        require_sigstore_accepts(sigstore, published.envelope, member.key, foreign)


def test_sigstore_accepts_a_bundle_of_a_p256_key(published: Published, sigstore: Path) -> None:
    """The keys of hardware tokens are of this kind."""
    officer, stranger = p256_signer(derive_private_key(11, SECP256R1())), ed25519_signer(STRANGER)
    envelope = sign(parse(published.envelope).payload, PAYLOAD_TYPE, [officer])
    foreign = to_sigstore(sign(b"{}", PAYLOAD_TYPE, [stranger]), stranger.public_key)
    require_sigstore_accepts(sigstore, envelope, officer.public_key, foreign)


def test_sigstore_does_not_read_an_envelope_with_two_signatures(published: Published, sigstore: Path) -> None:
    """Why a bundle has one."""
    (first, _), (second, made) = signatures_of(published)[:2]
    members = json.loads(to_sigstore(published.envelope, first.key))
    extra = {"sig": base64.b64encode(made).decode(), "keyid": second.key.key_id}
    members["dsseEnvelope"]["signatures"].append(extra)
    (said,) = sigstore_says(sigstore, first.key, json.dumps(members).encode())
    assert said.startswith("refused: ")
