"""Attacks on what a house publishes, each as files on disk: ``clearctl verify`` ends with 1 and says what is wrong.

The attacker is a house that cheats, or whoever stands between it and the verifier. Where an attack needs the log's or
the officers' keys, the house itself attacks; the policy is the verifier's own, but may have been brought by a liar.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clearing.attest.envelope import PAYLOAD_TYPE, ed25519_signer, sign
from clearing.attest.policy import format_public_key
from clearing.attest.statement import format_time
from ledger.checkpoint import (
    NoteSignature,
    VerifierKey,
    checkpoint_body,
    format_note,
    format_vkey,
    parse_note,
    sign_note,
    verifier_key,
)
from ledger.leaf import LEAF_BYTES
from ledger.merkle import leaf_hash, tree_root
from ledger.receipt import PROOF_LINE, format_entry, format_legs
from ledger.tiles import Bundle, Tile
from tests import published
from tests.ledgers import ALICE, BOB
from tests.published import (
    ATTESTED,
    ENTRY_RECEIPT,
    ENVELOPES,
    HASHES,
    HONEST,
    LEAVES,
    LEG_RECEIPT,
    NOTE,
    PAYLOADS,
    SIZE,
    SPLIT,
    named,
    payloads_of,
    tiles_of,
)
from tests.unit.test_offline_verifier import (
    GOLDEN_STATEMENT,
    LOG_KEY,
    MINUTE_MS,
    NOON_MS,
    OPERATIONS,
    ORIGIN,
    POLICY,
    RISK,
    attest,
    checkpoint_at,
    ed25519_key,
    note_at,
    sealed,
)

MALLORY = ed25519_key("mallory")
VKEY = format_vkey(POLICY.log_keys[0])


class Files:
    """What the house published, in a folder, and what an attacker made of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        published.write(folder, HONEST)

    def put(self, **files: bytes) -> None:
        """Other bytes at a path; ``__`` stands for a slash and ``_`` for a dot."""
        self.write({name.replace("__", "/").replace("_", "."): data for name, data in files.items()})

    def write(self, files: dict[str, bytes]) -> None:
        published.write(self.folder, files)

    def data(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def edit(self, name: str, change: Callable[[bytes], bytes]) -> None:
        self.write({name: change(self.data(name))})

    def forget_tiles(self) -> None:
        """Only attestations and a checkpoint are left: proofs alone must hold."""
        for path in sorted((self.folder / "tile").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (self.folder / "tile").rmdir()

    def attested(self, envelopes: list[bytes], *, at: int) -> None:
        """These attestations, and the checkpoint of ``at`` leaves, without tiles."""
        self.forget_tiles()
        for path in (self.folder / "attestations").iterdir():
            path.unlink()
        self.write(named(envelopes))
        self.put(checkpoint=note_at(at, HASHES))

    def directory(self, *more: str) -> published.Judged:
        return published.verify(self.folder, "--dir", str(self.folder), *more)

    def log(self, *more: str) -> published.Judged:
        return published.verify(self.folder, "--tiles", str(self.folder), *more)

    def receipt(self, name: str = "entry.receipt", *more: str) -> published.Judged:
        return published.verify(self.folder, "--receipt", str(self.folder / name), *more)

    def seen(self, note: bytes) -> published.Judged:
        self.put(kept=note)
        return self.log("--seen", str(self.folder / "kept"))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def refused(judged: published.Judged, check: str, says: str) -> None:
    """Exactly this check failed, with this sentence."""
    assert judged.code == 1, judged
    assert [name for name, _ in judged.failed] == [check], judged
    assert says in judged.failed[0][1], judged


def first_refused(judged: published.Judged, check: str, says: str) -> None:
    """This check failed, and what is built on it."""
    assert judged.code == 1, judged
    refused(replace(judged, failed=judged.failed[:1]), check, says)


def not_begun(judged: published.Judged, says: str) -> None:
    """Nothing was verified, for this reason."""
    assert (judged.code, judged.failed) == (1, ()), judged
    assert says in judged.complaint


def test_what_the_house_published_holds_before_it_is_attacked(files: Files) -> None:
    assert files.directory("--at", format_time(NOON_MS + 2 * MINUTE_MS)) == published.Judged(0)
    assert files.log() == published.Judged(0)
    assert files.receipt() == published.Judged(0)
    assert files.receipt("alice.receipt", "--account", "clients/alice:USD") == published.Judged(0)
    assert files.seen(note_at(250, HASHES)) == published.Judged(0)


# --- roots, indices and paths ------------------------------------------------------------------------------


def test_a_swapped_root_in_the_checkpoint_is_refused(files: Files) -> None:
    other = base64.b64encode(tree_root(HASHES[:-1])).decode()
    origin, size, _, *rest = NOTE.decode().split("\n")
    files.put(checkpoint="\n".join((origin, size, other, *rest)).encode())
    refused(files.log(), "checkpoint", "the signature of house.example/journal does not hold")


def test_a_swapped_root_that_the_house_itself_signed_is_refused(files: Files) -> None:
    forged = [*HASHES[:7], leaf_hash(b"never happened"), *HASHES[8:]]
    files.put(checkpoint=note_at(SIZE, forged))
    first_refused(files.log(), f"journal at {SIZE}", "does not hash to the root of the tree")
    files.forget_tiles()
    files.put(checkpoint=note_at(ATTESTED[-1], forged))
    refused(files.directory(), "extension", "two trees of the same size have different roots")


def test_a_swapped_root_in_an_attestation_is_refused(files: Files) -> None:
    members = json.loads(PAYLOADS[1])
    members["predicate"]["journal"]["rootHash"] = tree_root(HASHES[:255]).hex()
    files.write(named(sealed(json.dumps(members).encode()), first=2))
    first_refused(files.directory(), "attestation 2 statement", "$.subject: is not the checkpoint")


@pytest.mark.parametrize("index", [SPLIT - 1, SPLIT + 1])
def test_an_index_that_is_off_by_one_is_refused(files: Files, index: int) -> None:
    files.put(entry_receipt=format_entry(replace(ENTRY_RECEIPT, index=index)))
    refused(files.receipt(), "receipt entry", f"the leaf says that it is number {SPLIT}")


def test_an_index_that_is_off_by_one_with_a_leaf_that_agrees_is_refused(files: Files) -> None:
    """The leaf says its own number, so a lie about the index needs another leaf."""
    leaf = LEAVES[SPLIT][:12] + (SPLIT + 1).to_bytes(8, "big") + LEAVES[SPLIT][20:]
    files.put(entry_receipt=format_entry(replace(ENTRY_RECEIPT, index=SPLIT + 1, extra=leaf)))
    refused(files.receipt(), "receipt entry", "the inclusion path leads to another root")


def test_the_number_of_a_leg_that_is_off_by_one_is_refused(files: Files) -> None:
    first, second = LEG_RECEIPT.legs
    files.put(
        alice_receipt=format_legs(replace(LEG_RECEIPT, legs=(replace(first, index=first.index - 1), second)))
    )
    refused(files.receipt("alice.receipt"), "receipt legs", "the inclusion path leads to another root")


def test_an_index_beyond_the_tree_is_refused(files: Files) -> None:
    leaf = LEAVES[SPLIT][:12] + SIZE.to_bytes(8, "big") + LEAVES[SPLIT][20:]
    files.put(entry_receipt=format_entry(replace(ENTRY_RECEIPT, index=SIZE, extra=leaf)))
    refused(files.receipt(), "receipt entry", f"leaf {SIZE} does not exist in a tree of {SIZE} leaves")


def test_a_truncated_path_is_refused(files: Files) -> None:
    for path in (ENTRY_RECEIPT.path[:-1], ENTRY_RECEIPT.path[1:], ()):
        files.put(entry_receipt=format_entry(replace(ENTRY_RECEIPT, path=path)))
        refused(files.receipt(), "receipt entry", f"a path of {len(path)} hashes does not fit these sizes")


def test_a_path_with_a_hash_more_is_refused(files: Files) -> None:
    path = (*ENTRY_RECEIPT.path, ENTRY_RECEIPT.path[-1])
    files.put(entry_receipt=format_entry(replace(ENTRY_RECEIPT, path=path)))
    refused(files.receipt(), "receipt entry", f"a path of {len(path)} hashes does not fit these sizes")


def test_a_truncated_proof_of_consistency_is_refused(files: Files) -> None:
    second = attest(ATTESTED[1], PAYLOADS[0], HASHES)
    members = json.loads(second)
    proof = members["predicate"]["journal"]["consistency"]
    members["predicate"]["journal"]["consistency"] = proof[:-1]
    files.attested([ENVELOPES[0], *sealed(json.dumps(members).encode())], at=ATTESTED[1])
    refused(
        files.directory(),
        "attestation 2 consistency",
        f"a path of {len(proof) - 1} hashes does not fit these sizes",
    )


def test_a_duplicated_last_leaf_is_refused(files: Files) -> None:
    """Where trees are padded with copies of the last leaf, both logs would have one root."""
    twice = [*LEAVES, LEAVES[-1]]
    body = checkpoint_body(replace(checkpoint_at(SIZE, HASHES), size=SIZE + 1))
    files.write(tiles_of(twice))
    files.put(checkpoint=sign_note(body, ORIGIN, LOG_KEY))
    first_refused(files.log(), f"journal at {SIZE + 1}", "does not hash to the root of the tree")


def test_a_last_leaf_that_the_house_signed_twice_is_the_number_it_says_only_once(files: Files) -> None:
    """Signed with a root of its own, the copy stands in the log and still proves no second entry."""
    tree = published.tree_of([*LEAVES, LEAVES[-1]])
    note = sign_note(
        checkpoint_body(replace(checkpoint_at(1), size=tree.size, root=tree.root)), ORIGIN, LOG_KEY
    )
    copy = replace(ENTRY_RECEIPT, index=SIZE, extra=LEAVES[-1], path=tree.inclusion_path(SIZE), note=note)
    files.put(entry_receipt=format_entry(copy))
    refused(files.receipt(), "receipt entry", f"the leaf says that it is number {SIZE - 1}")


# --- trailing bytes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [b"\n", b" ", b"\x00", b"x"])
def test_trailing_bytes_behind_a_checkpoint_are_refused(files: Files, more: bytes) -> None:
    files.put(checkpoint=NOTE + more)
    assert files.log().code == 1
    assert files.log().failed[0][0] == "checkpoint"


@pytest.mark.parametrize("name", ["entry.receipt", "alice.receipt"])
@pytest.mark.parametrize("more", [b"\n", b" ", b"\x00", b"x"])
def test_trailing_bytes_behind_a_receipt_are_refused(files: Files, name: str, more: bytes) -> None:
    files.edit(name, lambda data: data + more)
    judged = files.receipt(name)
    assert (judged.code, judged.failed[0][0]) == (1, "receipt entry")


@pytest.mark.parametrize("more", [b"{}", b"\x00", b",", ENVELOPES[0]])
def test_trailing_bytes_behind_an_attestation_are_refused(files: Files, more: bytes) -> None:
    files.edit("attestations/000003.json", lambda data: data + more)
    first_refused(files.directory(), "attestation 3 signatures", "Extra data")


def test_trailing_bytes_behind_a_signed_statement_are_refused(files: Files) -> None:
    files.write(named(sealed(PAYLOADS[2] + b"{}"), first=3))
    first_refused(files.directory(), "attestation 3 statement", "Extra data")


@pytest.mark.parametrize(
    "tile",
    [Tile(0, 0), Tile(0, 1, SIZE - 256), Tile(1, 0, 1), Bundle(0), Bundle(1, SIZE - 256)],
    ids=lambda t: t.path,
)
def test_trailing_bytes_behind_a_tile_are_refused_by_its_name(files: Files, tile: Tile | Bundle) -> None:
    files.edit(tile.path, lambda data: data + b"\x00")
    first_refused(files.log(), f"journal at {SIZE}", f"{tile.path}: has")


# --- keys and signatures -----------------------------------------------------------------------------------


def test_a_key_id_that_collides_with_the_logs_is_refused(files: Files) -> None:
    """A line under the log's name and key id that another key made: the key id is a hint, the key decides."""
    checkpoint = replace(checkpoint_at(SIZE, HASHES), root=bytes(32))
    forged = parse_note(sign_note(checkpoint_body(checkpoint), ORIGIN, MALLORY))
    (line,) = forged.signatures
    pretending = NoteSignature(name=ORIGIN, key_id=POLICY.log_keys[0].key_id, signature=line.signature)
    files.put(checkpoint=format_note(replace(forged, signatures=(pretending,))))
    refused(files.log(), "checkpoint", "the signature of house.example/journal does not hold")
    honest = parse_note(NOTE)
    for lines in ((pretending, *honest.signatures), (*honest.signatures, pretending)):
        files.put(checkpoint=format_note(replace(honest, signatures=lines)))
        refused(files.log(), "checkpoint", "the signature of house.example/journal does not hold")


def test_two_log_keys_whose_ids_collide_are_refused(files: Files) -> None:
    """Found in two seconds: four bytes are not many. Whose signature a line is could not be told."""
    keys = [Ed25519PrivateKey.from_private_bytes(seed.to_bytes(32, "big")) for seed in (12_793, 53_680)]
    one, other = (verifier_key(ORIGIN, key) for key in keys)
    assert (one.key_id, one.raw == other.raw) == (other.key_id, False)
    files.edit(
        "policy.txt", lambda text: text + f"log {format_vkey(one)}\nlog {format_vkey(other)}\n".encode()
    )
    not_begun(files.log(), "two trusted keys share a name and a key id")


def test_a_key_under_the_id_of_another_is_refused(files: Files) -> None:
    mallory = format_vkey(verifier_key(ORIGIN, MALLORY))
    name, _, key = mallory.split("+", 2)
    files.edit(
        "policy.txt",
        lambda text: text.replace(VKEY.encode(), f"{name}+{POLICY.log_keys[0].key_id.hex()}+{key}".encode()),
    )
    not_begun(files.log(), "line 2: the key id of house.example/journal is")


def signatures_changed(
    envelope: bytes, change: Callable[[list[dict[str, str]]], list[dict[str, str]]]
) -> bytes:
    members = json.loads(envelope)
    members["signatures"] = change(members["signatures"])
    return json.dumps(members).encode()


@pytest.mark.parametrize("alias", [OPERATIONS.public_key.key_id, "another name", ""])
def test_one_key_under_two_aliases_is_counted_once(files: Files, alias: str) -> None:
    alone = sign(PAYLOADS[2], PAYLOAD_TYPE, [RISK])
    twice = signatures_changed(alone, lambda made: [made[0], {**made[0], "keyid": alias}])
    files.write(named([twice], first=3))
    first_refused(files.directory(), "attestation 3 signatures", "1 trusted keys signed (risk), 2 are needed")


def test_one_key_in_two_roles_of_the_policy_is_refused(files: Files) -> None:
    risk = format_public_key(RISK.public_key)
    files.edit("policy.txt", lambda text: text + f"signer treasury {risk}\n".encode())
    not_begun(files.directory(), "the role treasury or its key stands here again")


def test_one_log_key_under_two_names_of_the_policy_is_refused(files: Files) -> None:
    alias = format_vkey(replace(POLICY.log_keys[0], name="witness.example"))
    files.edit("policy.txt", lambda text: text + f"log {alias}\n".encode())
    not_begun(files.directory(), "one public key stands twice among the trusted keys")


@pytest.mark.parametrize("key_id", [{}, {"keyid": ""}], ids=["without", "empty"])
def test_an_envelope_without_key_ids_is_accepted(files: Files, key_id: dict[str, str]) -> None:
    """The key id is no part of what is signed: who needs it can be lied to (DSSE v1.0.2)."""
    for number, envelope in enumerate(ENVELOPES, 1):
        bare = signatures_changed(envelope, lambda made: [{"sig": one["sig"], **key_id} for one in made])
        files.write(named([bare], first=number))
    assert files.directory() == published.Judged(0)


def test_signatures_over_the_payload_without_its_type_are_refused(files: Files) -> None:
    keys = (ed25519_key("risk"), ed25519_key("compliance"))
    made = [{"sig": base64.b64encode(key.sign(PAYLOADS[2])).decode()} for key in keys]
    files.write(named([signatures_changed(ENVELOPES[2], lambda _: made)], first=3))
    first_refused(files.directory(), "attestation 3 signatures", "0 trusted keys signed")


def test_signatures_of_another_attestation_are_refused(files: Files) -> None:
    borrowed = json.loads(ENVELOPES[0])["signatures"]
    files.write(named([signatures_changed(ENVELOPES[2], lambda _: borrowed)], first=3))
    first_refused(files.directory(), "attestation 3 signatures", "0 trusted keys signed")


LOW_ORDER = (
    bytes(32),
    (1).to_bytes(32, "little"),
    (2**255 - 20).to_bytes(32, "little"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
)


@pytest.mark.parametrize("raw", LOW_ORDER, ids=lambda raw: raw[:2].hex())
def test_an_officers_key_of_low_order_is_refused(files: Files, raw: bytes) -> None:
    """Such a key accepts signatures that nobody made."""
    risk = format_public_key(RISK.public_key)
    low = "ed25519:" + base64.b64encode(raw).decode()
    files.edit("policy.txt", lambda text: text.replace(risk.encode(), low.encode()))
    not_begun(files.directory(), "the key of risk: this Ed25519 key is a point of low order")


@pytest.mark.parametrize("raw", LOW_ORDER, ids=lambda raw: raw[:2].hex())
def test_a_log_key_of_low_order_is_refused(files: Files, raw: bytes) -> None:
    low = object.__new__(VerifierKey)
    for name, value in (("name", ORIGIN), ("type", POLICY.log_keys[0].type), ("raw", raw)):
        object.__setattr__(low, name, value)
    files.edit("policy.txt", lambda text: text.replace(VKEY.encode(), format_vkey(low).encode()))
    not_begun(files.log(), "line 2: this Ed25519 key is a point of low order")


# --- JSON that others might read otherwise --------------------------------------------------------------------


@pytest.mark.parametrize("number", ["1", "1.0", "-0", "1e3"])
def test_a_json_number_in_a_statement_is_refused(files: Files, number: str) -> None:
    payload = PAYLOADS[2].replace(b'"sequence":"3"', f'"sequence":{number}'.encode())
    files.write(named(sealed(payload), first=3))
    first_refused(files.directory(), "attestation 3 statement", "$.predicate.sequence: is a JSON number")


def test_a_duplicate_member_of_a_statement_is_refused(files: Files) -> None:
    payload = PAYLOADS[2].replace(b'"sequence":"3"', b'"sequence":"3","sequence":"4"')
    files.write(named(sealed(payload), first=3))
    first_refused(
        files.directory(), "attestation 3 statement", "the member 'sequence' stands twice in one object"
    )


@pytest.mark.parametrize("name", ["payload", "payloadType", "signatures"])
def test_a_duplicate_member_of_an_envelope_is_refused(files: Files, name: str) -> None:
    """A reader that takes the first one and a reader that takes the last one would see two attestations."""
    other = json.loads(ENVELOPES[0])[name]
    files.edit(
        "attestations/000003.json", lambda data: b"{" + f'"{name}":{json.dumps(other)},'.encode() + data[1:]
    )
    first_refused(
        files.directory(), "attestation 3 signatures", f"the member '{name}' stands twice in one object"
    )


def test_a_duplicate_member_spelled_with_an_escape_is_refused(files: Files) -> None:
    files.edit(
        "attestations/000003.json",
        lambda data: data.replace(b'{"payload"', b'{"p\\u0061yload":"e30=","payload"'),
    )
    first_refused(
        files.directory(), "attestation 3 signatures", "the member 'payload' stands twice in one object"
    )


# --- the chain of attestations ----------------------------------------------------------------------------------


def test_reordered_attestations_are_refused(files: Files) -> None:
    files.write(named([ENVELOPES[0], ENVELOPES[2], ENVELOPES[1]]))
    first_refused(files.directory(), "attestation 2 chain", "number 3 stands after number 1")


def test_a_missing_attestation_is_refused(files: Files) -> None:
    (files.folder / "attestations/000002.json").unlink()
    first_refused(files.directory(), "attestation 3 chain", "number 3 stands after number 1")


def test_an_attestation_that_stands_twice_is_refused(files: Files) -> None:
    files.write(named([ENVELOPES[2]], first=4))
    first_refused(files.directory(), "attestation 4 chain", "number 3 stands after number 3")


def test_a_second_attestation_of_the_same_number_is_refused(files: Files) -> None:
    """Signed by the same officers, with other figures: what follows names the first one."""
    more = replace(GOLDEN_STATEMENT.calls, count=GOLDEN_STATEMENT.calls.count + 1)
    other = attest(ATTESTED[1], PAYLOADS[0], HASHES, calls=more)
    files.write(named(sealed(other), first=2))
    refused(files.directory(), "attestation 3 chain", "previous is not the SHA-256 of the payload before")


def test_a_stale_attestation_is_refused(files: Files) -> None:
    until = GOLDEN_STATEMENT.valid_until_ms
    assert files.directory("--at", format_time(until - 1)) == published.Judged(0)
    refused(
        files.directory("--at", format_time(until)), "freshness", f"it was valid until {format_time(until)}"
    )


def test_an_attestation_of_the_future_is_refused(files: Files) -> None:
    early = files.directory("--at", format_time(NOON_MS))
    refused(early, "freshness", "which is still to come")


# --- one log, two histories ----------------------------------------------------------------------------------------


def test_a_checkpoint_that_goes_back_is_refused(files: Files) -> None:
    newest = files.data("checkpoint")
    files.write(tiles_of(LEAVES[:250]))
    files.put(checkpoint=note_at(250, HASHES))
    refused(files.seen(newest), f"journal at {SIZE}", "the journal ends after 250 leaves")


def test_a_checkpoint_before_the_last_attestation_is_refused(files: Files) -> None:
    files.put(checkpoint=note_at(ATTESTED[-1] - 1, HASHES))
    files.forget_tiles()
    refused(files.directory(), "extension", "fewer than the 290 attested")


@pytest.mark.parametrize("size", [100, 256, SIZE])
def test_a_split_view_is_refused(files: Files, size: int) -> None:
    """The house showed somebody else another history, and signed it: here is the checkpoint that was kept."""
    forged = [*HASHES[:50], leaf_hash(b"for your eyes only"), *HASHES[51:]]
    refused(files.seen(note_at(size, forged)), f"journal at {size}", "the leaves hash to another root")


def test_a_split_view_inside_a_receipt_is_refused(files: Files) -> None:
    """The receipt holds by itself; only the log tells that it was made for one member alone."""
    view = published.tree_of([*LEAVES[:-1], bytes(LEAF_BYTES)])
    note = sign_note(checkpoint_body(replace(checkpoint_at(1), size=SIZE, root=view.root)), ORIGIN, LOG_KEY)
    files.put(entry_receipt=format_entry(replace(ENTRY_RECEIPT, path=view.inclusion_path(SPLIT), note=note)))
    assert files.receipt() == published.Judged(0)
    both = files.log("--receipt", str(files.folder / "entry.receipt"))
    refused(both, f"journal at {SIZE}", "the leaves hash to another root")


def test_a_split_view_of_attestations_is_refused(files: Files) -> None:
    forged = [*HASHES[:50], leaf_hash(b"for your eyes only"), *HASHES[51:]]
    files.write(named(sealed(*payloads_of(forged))))
    judged = files.directory()
    assert judged.failed == tuple(
        (name, "the leaves hash to another root") for name in (f"journal at {size}" for size in ATTESTED)
    )


# --- another house ---------------------------------------------------------------------------------------------------


def test_the_replay_of_another_houses_statement_is_refused(files: Files) -> None:
    """Two houses with the same officers: what they signed for one says nothing of the other."""
    theirs = replace(GOLDEN_STATEMENT.journal, origin="other.example/journal")
    first = attest(
        ATTESTED[0],
        None,
        HASHES,
        journal=replace(theirs, tree_size=200, previous_tree_size=0, consistency=()),
    )
    files.write(named(sealed(first)))
    first_refused(files.directory(), "attestation 1 statement", "speaks of the log other.example/journal")


def test_the_replay_of_a_statement_that_other_officers_signed_is_refused(files: Files) -> None:
    strangers = [ed25519_signer(MALLORY), ed25519_signer(ed25519_key("marvin"))]
    files.write(named([sign(PAYLOADS[2], PAYLOAD_TYPE, strangers)], first=3))
    first_refused(files.directory(), "attestation 3 signatures", "0 trusted keys signed (none), 2 are needed")


def test_the_replay_of_another_houses_checkpoint_is_refused(files: Files) -> None:
    """Signed with this log's key under its name, and of another log."""
    theirs = replace(checkpoint_at(SIZE, HASHES), origin="other.example/journal")
    files.put(checkpoint=sign_note(checkpoint_body(theirs), ORIGIN, LOG_KEY))
    refused(files.log(), "checkpoint", "speaks of the log other.example/journal")


def test_the_replay_of_another_houses_receipt_is_refused(files: Files) -> None:
    theirs = replace(checkpoint_at(SIZE, HASHES), origin="other.example/journal")
    note = sign_note(checkpoint_body(theirs), ORIGIN, LOG_KEY)
    files.put(entry_receipt=format_entry(replace(ENTRY_RECEIPT, note=note)))
    refused(files.receipt(), "receipt entry", "the checkpoint is of the log other.example/journal")


def test_an_attestation_of_another_issuer_in_the_chain_is_refused(files: Files) -> None:
    files.write(named(sealed(attest(ATTESTED[2], PAYLOADS[1], HASHES, issuer="other.example")), first=3))
    refused(files.directory(), "attestation 3 chain", "other.example issued it, house.example the one before")


# --- legs -----------------------------------------------------------------------------------------------------------


def test_legs_of_another_account_are_refused(files: Files) -> None:
    judged = files.receipt("alice.receipt", "--account", f"{BOB.path}:{BOB.unit}")
    refused(judged, "receipt legs", f"is of account {ALICE.id.hex()}")


def test_a_leg_that_is_shown_twice_is_refused(files: Files) -> None:
    head, proof = files.data("alice.receipt").split(PROOF_LINE.encode())
    kind, *lines = head.decode().rstrip("\n").split("\n")
    half = len(lines) // 2
    twice = "\n".join((kind, *lines[:half], *lines[:half])) + "\n\n"
    files.put(alice_receipt=twice.encode() + PROOF_LINE.encode() + proof)
    refused(files.receipt("alice.receipt"), "receipt", "legs stand in the order of the entry, each once")


def test_a_leg_of_another_amount_is_refused(files: Files) -> None:
    first, second = LEG_RECEIPT.legs
    richer = first.record[:32] + (-1_000_000).to_bytes(16, "big", signed=True)
    files.put(alice_receipt=format_legs(replace(LEG_RECEIPT, legs=(replace(first, record=richer), second))))
    refused(files.receipt("alice.receipt"), "receipt legs", "the inclusion path leads to another root")


def test_an_entry_receipt_does_not_pass_for_one_of_legs(files: Files) -> None:
    judged = files.receipt("entry.receipt", "--account", "clients/alice:USD")
    refused(judged, "receipt legs", "the receipt is of an entry and shows no legs")
