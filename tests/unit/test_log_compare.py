"""Two copies of a log: one history, evidence of two, or what is missing to tell."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from clearctl.app import app
from clearing.attest.policy import format_policy
from clearing_client.comparing import CannotTell, Copy, compare
from ledger.checkpoint import Checkpoint, NoteRefused, checkpoint_body, parse_note, sign_note
from ledger.evidence import (
    EVIDENCE_BYTES_MAX,
    PROOF_MAX,
    Evidence,
    EvidenceReason,
    EvidenceRefused,
    format_evidence,
    parse_evidence,
    verify_evidence,
)
from ledger.leaf import LEAF_BYTES
from ledger.merkle import EMPTY_ROOT, ProofRefused, consistency_path, leaf_hash, tree_root
from ledger.tiles import TiledTree, TileReader
from tests.unit.test_offline_verifier import LOG_KEY, ORIGIN, POLICY, ed25519_key

LEAVES = [number.to_bytes(2, "big") * (LEAF_BYTES // 2) for number in range(300)]
FORKED = [*LEAVES[:100], LEAVES[0], *LEAVES[101:]]


NOTHING: dict[str, bytes] = {}


def hashes(leaves: list[bytes]) -> list[bytes]:
    return [leaf_hash(leaf) for leaf in leaves]


def note_of(leaves: list[bytes], origin: str = ORIGIN) -> bytes:
    body = checkpoint_body(Checkpoint(origin=origin, size=len(leaves), root=tree_root(hashes(leaves))))
    return sign_note(body, ORIGIN, LOG_KEY)


def tiles(leaves: list[bytes]) -> dict[str, bytes]:
    return {tile.path: data for tile, data in TiledTree(0, EMPTY_ROOT, NOTHING.__getitem__).grow(leaves)}


def reader(leaves: list[bytes]) -> TileReader:
    return tiles(leaves).__getitem__


def copy(name: str, leaves: list[bytes], *, with_tiles: bool = True) -> Copy:
    return Copy(name=name, note=note_of(leaves), read=reader(leaves) if with_tiles else None)


OLD = Copy(name="old", note=note_of(LEAVES[:150]))


# --- comparing ---------------------------------------------------------------------------------------------


def test_the_same_tree_is_the_same_and_the_larger_extends_the_smaller_in_either_order() -> None:
    assert compare(POLICY, OLD, copy("log", LEAVES[:150])).is_same
    for found in (compare(POLICY, OLD, copy("log", LEAVES)), compare(POLICY, copy("log", LEAVES), OLD)):
        assert (found.smaller, found.larger, found.sizes) == ("old", "log", (150, 300))
        assert (found.evidence, found.is_same) == (None, False)


def test_an_empty_tree_is_extended_by_any() -> None:
    assert compare(POLICY, copy("empty", [], with_tiles=False), replace(OLD, name="log")).evidence is None


def test_two_roots_of_one_size_are_evidence() -> None:
    evidence = compare(POLICY, OLD, copy("log", FORKED[:150], with_tiles=False)).evidence
    assert evidence is not None
    assert (evidence.root, evidence.proof) == (None, ())
    verify_evidence(parse_evidence(format_evidence(evidence)), POLICY.log_keys)


@pytest.mark.parametrize("size", [151, 256, 257, 300])
def test_a_larger_tree_of_another_history_is_evidence_with_its_own_root_and_proof(size: int) -> None:
    evidence = compare(POLICY, OLD, copy("log", FORKED[:size])).evidence
    assert evidence is not None
    assert parse_evidence(format_evidence(evidence)) == evidence
    found = verify_evidence(evidence, POLICY.log_keys)
    assert (found.smaller.size, found.larger.size) == (150, size)
    assert evidence.root == tree_root(hashes(FORKED[:150])) != found.smaller.root


@pytest.mark.parametrize(
    ("other", "missing"),
    [
        (copy("log", LEAVES, with_tiles=False), "the tiles of log tell: give the folder"),
        (
            Copy(name="log", note=note_of(LEAVES), read=NOTHING.__getitem__),
            "is not there: copy its tiles again",
        ),
        (
            Copy(name="log", note=note_of(LEAVES), read=reader(FORKED)),
            "root of the tree: copy its tiles again",
        ),
        (Copy(name="log", note=b"junk"), "it is no checkpoint"),
        (Copy(name="log", note=note_of(LEAVES, "else")), "is of the log else"),
        (
            Copy(name="log", note=sign_note(parse_note(note_of(LEAVES)).text, ORIGIN, ed25519_key("x"))),
            "evidence of nothing",
        ),
    ],
    ids=["no tiles", "a tile gone", "tiles of another", "no note", "another log", "unsigned"],
)
def test_what_cannot_be_told_says_what_is_missing(other: Copy, missing: str) -> None:
    for pair in ((OLD, other), (other, OLD)):
        with pytest.raises(CannotTell, match=missing):
            compare(POLICY, *pair)


# --- evidence ----------------------------------------------------------------------------------------------

FORK = Evidence(
    smaller=note_of(LEAVES[:150]),
    larger=note_of(FORKED),
    root=tree_root(hashes(FORKED[:150])),
    proof=tuple(consistency_path(hashes(FORKED), 150)),
)


def refused(reason: EvidenceReason, look: Callable[[], object]) -> None:
    with pytest.raises(EvidenceRefused) as caught:
        look()
    assert caught.value.reason is reason


def test_evidence_that_contradicts_nothing_is_refused() -> None:
    true_root = tree_root(hashes(LEAVES[:150]))
    for reason, wrong in (
        (EvidenceReason.NO_ROOT, replace(FORK, root=None, proof=())),
        (EvidenceReason.ORDER, replace(FORK, smaller=FORK.larger, larger=FORK.smaller)),
        (EvidenceReason.ORIGINS, replace(FORK, larger=note_of(LEAVES, "else"))),
        (EvidenceReason.FORM, replace(FORK, larger=note_of(FORKED[:150]))),
        (EvidenceReason.NO_CONTRADICTION, Evidence(smaller=FORK.smaller, larger=FORK.smaller)),
        (
            EvidenceReason.NO_CONTRADICTION,
            replace(
                FORK,
                larger=note_of(LEAVES),
                root=true_root,
                proof=tuple(consistency_path(hashes(LEAVES), 150)),
            ),
        ),
    ):
        refused(reason, partial(verify_evidence, wrong, POLICY.log_keys))


def test_an_honest_log_cannot_be_accused_with_a_root_that_nothing_proves() -> None:
    for wrong in (replace(FORK, larger=note_of(LEAVES)), replace(FORK, proof=FORK.proof[:-1])):
        with pytest.raises(ProofRefused):
            verify_evidence(wrong, POLICY.log_keys)


def test_what_nobody_signed_is_evidence_of_nothing() -> None:
    body = parse_note(note_of(FORKED)).text
    for forged in (sign_note(body, ORIGIN, ed25519_key("stranger")), sign_note(body, "alias", LOG_KEY)):
        with pytest.raises(NoteRefused):
            verify_evidence(replace(FORK, larger=forged), POLICY.log_keys)


def test_evidence_has_one_spelling() -> None:
    good = format_evidence(FORK)
    assert parse_evidence(good) == FORK
    assert good.decode().split("\n")[0] == "ledger/log-evidence@v1"
    refused(EvidenceReason.TOO_LONG, lambda: parse_evidence(good.ljust(EVIDENCE_BYTES_MAX + 1)))
    many = replace(FORK, proof=(bytes(32),) * (PROOF_MAX + 1))
    full = replace(FORK, proof=many.proof[1:])
    assert parse_evidence(format_evidence(full)) == full
    for wrong in (
        b"",
        good.replace(b"@v1", b"@v2"),
        good.replace(b"root ", b"Root "),
        good.replace(b"root ", b"root  "),
        good.replace(b"\nroot", b"\r\nroot"),
        good.replace(b"root ", b"\xffoot "),
        good + b"\n\n",
        good.rpartition(b"\n\n")[0],
        format_evidence(many),
        format_evidence(replace(FORK, root=bytes(31))),
    ):
        refused(EvidenceReason.FORM, partial(parse_evidence, wrong))


# --- the command -------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A policy, an old checkpoint, and two copies of the log in folders."""
    (tmp_path / "policy.txt").write_bytes(format_policy(POLICY))
    (tmp_path / "old").write_bytes(note_of(LEAVES[:150]))
    for name, leaves in (("log", LEAVES), ("fork", FORKED)):
        for path, data in tiles(leaves).items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_bytes(data)
        (tmp_path / name / "checkpoint").write_bytes(note_of(leaves))
    return tmp_path


def asked(place: Path, command: str, *arguments: str) -> Result:
    options = ["--policy", str(place / "policy.txt")]
    found = [str(place / part) if not part.startswith("--") else part for part in arguments]
    return CliRunner().invoke(
        app, ["log", command, *options, *found], env={"CLEARCTL_CONFIG": str(place / "c")}
    )


def test_one_history_ends_with_0_and_says_which_extends_which(place: Path) -> None:
    done = asked(place, "compare", "log", "old")
    assert (done.exit_code, "with 300 leaves extends" in done.output) == (0, True), done.output


def test_two_histories_end_with_1_and_the_evidence_can_be_checked_by_anybody(place: Path) -> None:
    for pair in (("old", "fork"), ("log", "fork")):
        done = asked(place, "compare", *pair, "--evidence", "kept")
        assert done.exit_code == 1, done.output
        assert "TWO HISTORIES" in done.output
        assert note_of(FORKED).decode().splitlines()[2] in done.output
        checked = asked(place, "check", "kept")
        assert (checked.exit_code, "has signed two histories" in checked.output) == (0, True), checked.output


def test_what_cannot_be_told_ends_with_2(place: Path) -> None:
    (place / "new").write_bytes(note_of(LEAVES))
    done = asked(place, "compare", "old", "new")
    assert (done.exit_code, "cannot tell" in done.output) == (2, True)


def test_evidence_that_proves_nothing_ends_with_1(place: Path) -> None:
    (place / "kept").write_bytes(format_evidence(replace(FORK, larger=FORK.smaller, root=None, proof=())))
    done = asked(place, "check", "kept")
    assert (done.exit_code, "proves nothing" in done.output) == (1, True)
