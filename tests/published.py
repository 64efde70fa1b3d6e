"""What a small house publishes, as files in a folder: made in a moment, without a database, to be tampered with.

300 leaves, a full tile and a partial one; three attestations of 200, 256 and 290 leaves; a checkpoint of all; a
receipt of the entry that moves money of four accounts, and one of alice's legs in it. Keys, policy and figures are
those of ``unit/test_offline_verifier.py``.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from clearctl.app import app
from ledger.entry import Entry, credit, debit
from ledger.leaf import LEAF_BYTES, LEG_BYTES, split_records
from ledger.merkle import EMPTY_ROOT, leaf_hash, tree_root
from ledger.receipt import format_entry, format_legs, prove_entry, show_legs
from ledger.seal import seal
from ledger.tiles import TiledTree
from tests.ledgers import ALICE, BOB, MINT, OPENING, SALTS, TILL, entry, paid
from tests.unit.test_offline_verifier import GOLDEN, attest, note_at, sealed

SIZE = 300
ATTESTED = (200, 256, 290)
SPLIT = 4
"""The number of the entry in which alice has two legs among five."""
ENTRIES: tuple[Entry, ...] = (
    OPENING,
    paid(1, MINT, ALICE, 1_000),
    paid(2, MINT, BOB, 1_000),
    entry(3, fact={"note": "nothing moves"}),
    entry(4, debit(MINT, 30), credit(ALICE, 10), credit(BOB, 15), credit(ALICE, 8), debit(TILL, 3)),
    *(
        paid(number, *((ALICE, BOB) if number % 2 else (BOB, ALICE)), 1 + number % 7)
        for number in range(5, SIZE)
    ),
)
_SEALED = seal(ENTRIES, first_sequence=0, first_salt=0, source=SALTS)
LEAVES = split_records(_SEALED.leaves, LEAF_BYTES)
HASHES = [leaf_hash(leaf) for leaf in LEAVES]
_BEFORE = sum(len(one.legs) for one in ENTRIES[:SPLIT])
SPLIT_LEGS = split_records(_SEALED.legs, LEG_BYTES)[_BEFORE : _BEFORE + len(ENTRIES[SPLIT].legs)]


def tiles_of(leaves: Sequence[bytes]) -> dict[str, bytes]:
    """The files of the tree of ``leaves``, by their paths."""
    nothing: dict[str, bytes] = {}
    empty = TiledTree(0, EMPTY_ROOT, nothing.__getitem__)
    return {tile.path: data for tile, data in empty.grow(leaves)}


def tree_of(leaves: Sequence[bytes]) -> TiledTree:
    """The tree of ``leaves``."""
    return TiledTree(
        len(leaves), tree_root([leaf_hash(leaf) for leaf in leaves]), tiles_of(leaves).__getitem__
    )


def payloads_of(hashes: Sequence[bytes] = HASHES, sizes: Sequence[int] = ATTESTED) -> list[bytes]:
    """A chain of attested payloads over a history."""
    chain: list[bytes] = []
    for size in sizes:
        chain.append(attest(size, chain[-1] if chain else None, hashes))
    return chain


TREE = tree_of(LEAVES)
NOTE = note_at(SIZE, HASHES)
PAYLOADS = payloads_of()
ENVELOPES = sealed(*PAYLOADS)
ENTRY_RECEIPT = prove_entry(TREE, SPLIT, NOTE)
LEG_RECEIPT = show_legs(ENTRY_RECEIPT, SPLIT_LEGS, ALICE.id)
POLICY_TEXT = (GOLDEN / "policy.txt").read_bytes()


def named(envelopes: Sequence[bytes], first: int = 1) -> dict[str, bytes]:
    """Attestations under the names that they are published by."""
    return {f"attestations/{number:06}.json": data for number, data in enumerate(envelopes, first)}


HONEST: dict[str, bytes] = {
    "policy.txt": POLICY_TEXT,
    "checkpoint": NOTE,
    **tiles_of(LEAVES),
    **named(ENVELOPES),
    "entry.receipt": format_entry(ENTRY_RECEIPT),
    "alice.receipt": format_legs(LEG_RECEIPT),
}


@dataclass(frozen=True)
class Judged:
    """What ``clearctl verify`` answered: its exit code, and each check that failed with its sentence."""

    code: int
    failed: tuple[tuple[str, str], ...] = ()
    complaint: str = ""
    """Why nothing could be verified at all."""


def write(folder: Path, files: dict[str, bytes]) -> None:
    """The files, under ``folder``."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def verify(folder: Path, *more: str) -> Judged:
    """Run ``clearctl verify`` with the policy in ``folder``, in this process."""
    arguments = ["--output", "json", "verify", "--policy", str(folder / "policy.txt"), *more]
    done = CliRunner().invoke(app, arguments, env={"CLEARCTL_CONFIG": "/dev/null"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    if not done.stdout.startswith("{"):
        return Judged(done.exit_code, complaint=done.output)
    report = json.loads(done.stdout)
    failed = tuple((check["name"], check["detail"]) for check in report["checks"] if not check["passed"])
    assert report["ok"] is (not failed)
    assert done.exit_code == bool(failed)
    return Judged(done.exit_code, failed)
