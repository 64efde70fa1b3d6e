"""What the demonstration publishes, and how a stranger checks it.

For everybody: the log (``checkpoint`` and ``tile``, which the house wrote), ``attestations``, and whom to believe, as
``policy.txt`` and as the ``trust`` root. For regulators: the whole recompute bundle of the newest attestation. For each
member, and nobody else: its part of that bundle, the proof that its cash is counted, and the receipt of what last moved
that cash.

The stranger is a process of its own that is given copies of these files, and nothing else: ``clearctl verify``.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from clearing import chart, keys
from clearing.attest.envelope import verify as verify_envelope
from clearing.attest.liabilities import LiabilityReason, LiabilityRefused, format_proof
from clearing.attest.policy import format_policy, parse_policy
from clearing.attest.recompute_bundle import RecomputeBundle, format_bundle
from clearing.attest.statement import Statement, parse
from clearing.demo.books import MEMBERS
from clearing.demo.driver import SETTLEMENT
from clearing.model.ids import MemberId, house_account
from clearing.workings import Workings
from clearing_client.offline import Check
from ledger.account import Account
from ledger.receipt import format_legs
from ledger.store.connect import Database
from ledger.store.receipts import newest_entries, receipt_of_legs
from ledger.store.tile_files import TileFiles
from ledger.tiles import CHECKPOINT

PUBLIC = ("policy.txt", "trust", "checkpoint", "tile", "attestations", "bundles", "liabilities", "receipts")
CLEARCTL = "from clearctl.app import main; main()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the stranger found, and the command that it ran."""

    ok: bool
    checks: tuple[Check, ...]
    not_checked: tuple[str, ...]
    command: tuple[str, ...]


def publish(database: Database, folder: Path, key_folder: Path) -> None:
    """Write everything but the log, which is there, to ``folder``."""
    workings = Workings(database, lambda: None, keys.read_signing_keys(key_folder).blinding)
    believed = keys.read_published(key_folder)
    (folder / "policy.txt").write_bytes(format_policy(believed.policy))
    for name in ("trust", "attestations", "bundles", "liabilities", "receipts"):
        (folder / name).mkdir(exist_ok=True)
    for number, root in believed.roots.items():
        (folder / "trust" / f"{number}.root.json").write_bytes(root)
    for record in workings.attestations():
        (folder / "attestations" / f"{record.sequence:06d}.json").write_text(
            record.envelope, encoding="utf-8"
        )
    for number, body in enumerate(workings.bodies(), start=1):
        (folder / "attestations" / f"{number:06d}.body").write_bytes(body)
    _write_workings(workings, folder)
    _write_receipts(database, folder)


def _cash() -> dict[str, Account]:
    """The cash of each member's house account."""
    return {member: chart.cash(house_account(member), SETTLEMENT.id) for member in MEMBERS}


def _write_workings(workings: Workings, folder: Path) -> None:
    size = TileFiles(folder).tree().size
    _write_bundle(folder, "whole", workings.bundle(size, None))
    for member, account in _cash().items():
        _write_bundle(folder, member, workings.bundle(size, MemberId(member)))
        try:
            proof = workings.liability(size, account.path)
        except LiabilityRefused as refused:
            if refused.reason is not LiabilityReason.NOT_COUNTED:
                raise
            continue  # a member in default is owed nothing
        (folder / "liabilities" / f"{member}.proof").write_bytes(format_proof(proof))


def _write_bundle(folder: Path, whose: str, bundle: RecomputeBundle) -> None:
    path = folder / "bundles" / f"{bundle.attestation:06d}.{whose}.txt"
    path.write_bytes(b"".join(format_bundle(bundle)))


def _write_receipts(database: Database, folder: Path) -> None:
    """What last moved the cash in each member's house account."""
    files, cash = TileFiles(folder), {account.id: member for member, account in _cash().items()}
    with database.connect() as connection:
        for account, sequence in newest_entries(connection, cash).items():
            note = (folder / CHECKPOINT).read_bytes()
            receipt = receipt_of_legs(connection, files.tree(), note, sequence, account)
            (folder / "receipts" / f"{cash[account]}.receipt").write_bytes(format_legs(receipt))


# the stranger -------------------------------------------------------------------------------------


def check(folder: Path) -> Verdict:
    """Have a process check copies of the published files, which are all that it has."""
    with TemporaryDirectory(prefix="clearing-published-") as name:
        copied = Path(name)
        for one in PUBLIC:
            source = folder / one
            if source.is_dir():
                shutil.copytree(source, copied / one)
            else:
                shutil.copy2(source, copied / one)
        arguments = ("verify", *_everything(copied))
        done = subprocess.run(  # noqa: S603  # this interpreter, and options made here
            [sys.executable, "-c", CLEARCTL, "--output", "json", *arguments],
            cwd=copied,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    found = json.loads(done.stdout)
    return Verdict(
        ok=done.returncode == 0 and found["ok"],
        checks=tuple(Check(**one) for one in found["checks"]),
        not_checked=tuple(found["not_checked"]),
        command=("clearctl", *arguments),
    )


def _everything(folder: Path) -> Iterator[str]:
    """Options that have all files in ``folder`` checked."""
    yield from ("--trust", "trust/1.root.json", "--dir", ".")
    named = {"--recompute": "bundles", "--liability": "liabilities", "--receipt": "receipts"}
    for option, name in named.items():
        for path in sorted((folder / name).iterdir()):
            yield from (option, f"{name}/{path.name}")


def attested(folder: Path) -> tuple[Statement, ...]:
    """What every attestation states, read as a stranger would read it."""
    trust = parse_policy((folder / "policy.txt").read_bytes()).trust
    envelopes = [path.read_bytes() for path in sorted((folder / "attestations").glob("*.json"))]
    return tuple(parse(verify_envelope(envelope, trust)) for envelope in envelopes)
