"""Verifying attestations as anybody does: files in, a report out; and what it takes to start the verifier.

``attest.envelope`` is the opening of one envelope with three signatures, beside securesystemslib on the same bytes. A
chain is of attestations each of which extends the journal of the one before.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from securesystemslib.dsse import Envelope as PeerEnvelope
from securesystemslib.signer._key import Key, SSlibKey

from bench.attest_build import stated
from bench.attest_house import KEYS, POLICY, TRUST, attested_house
from bench.rows import Row, held_against, microseconds, row, seconds
from bench.run import Run
from clearing.attest.envelope import PAYLOAD_TYPE, open_envelope, sign
from clearing.attest.policy import format_policy
from clearing.attest.signer import sign_checkpoint
from clearing.attest.statement import Statement, build, payload_digest
from clearing_client.offline import verify_attestations
from ledger.merkle import consistency_path, leaf_hash, tree_root

ACCOUNTS = 100
CHAIN = 100
LEAVES = 100
"""By so many leaves the journal grows from one attestation to the next."""
VERIFIED = {1: 100, CHAIN: 7}
ENVELOPES = 300
STARTED = 9
CLEARCTL = "from clearctl.app import main; main()"
ED25519_BYTES = 32
HASHES = [leaf_hash(number.to_bytes(8, "big")) for number in range(CHAIN * LEAVES)]


def rows(run: Run) -> Iterator[Row]:
    """One envelope, one attestation, a hundred, and processes that verify one."""
    run.tell(f"a chain of {CHAIN} attestations")
    with run.stores.fresh("sqlite") as store, attested_house(store, ACCOUNTS) as house:
        envelopes = chain(stated(house.state), CHAIN)
    yield from _envelope(envelopes[0])
    first: Row | None = None
    for count, times in VERIFIED.items():
        measured = _verified(envelopes[:count], times, first)
        first = first or measured
        yield measured
    run.tell("starting verifiers")
    yield from _started(envelopes[0])


def chain(statement: Statement, count: int) -> list[bytes]:
    """So many envelopes that follow one another and state the same figures."""
    envelopes: list[bytes] = []
    for number in range(1, count + 1):
        old, size = (number - 1) * LEAVES, number * LEAVES
        journal = replace(
            statement.journal,
            tree_size=size,
            root_hash=tree_root(HASHES[:size]),
            previous_tree_size=old,
            consistency=consistency_path(HASHES[:size], old) if old else (),
        )
        payload = build(replace(statement, journal=journal, sequence=number))
        envelopes.append(sign(payload, PAYLOAD_TYPE, KEYS.officers))
        statement = replace(statement, previous=payload_digest(payload))
    return envelopes


def note_over(count: int) -> bytes:
    """The checkpoint after so many attestations of a chain."""
    size = count * LEAVES
    return sign_checkpoint(KEYS, size, tree_root(HASHES[:size]))


def _envelope(envelope: bytes) -> Iterator[Row]:
    """Ours and the peer's, in turns, each from the bytes. The peer goes by key ids, which ours does not believe."""
    keys = [_peer_key(one.public_key.raw, one.public_key.key_id) for one in KEYS.officers]

    def judge() -> None:
        PeerEnvelope.from_dict(json.loads(envelope)).verify(keys, TRUST.threshold)

    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(ENVELOPES):
        ours.append(microseconds(partial(open_envelope, envelope, TRUST)))
        theirs.append(microseconds(judge))
    peer = row("attest.envelope.securesystemslib", theirs, unit="µs", better="lower")
    yield peer
    yield row("attest.envelope", ours, unit="µs", better="lower", baseline=held_against(peer))


def _peer_key(raw: bytes, key_id: str) -> Key:
    is_ed25519 = len(raw) == ED25519_BYTES
    public = Ed25519PublicKey.from_public_bytes(raw) if is_ed25519 else load_der_public_key(raw)
    return SSlibKey.from_crypto(public, keyid=key_id)


def _verified(envelopes: Sequence[bytes], times: int, first: Row | None) -> Row:
    note, reports = note_over(len(envelopes)), set[bool]()

    def verify() -> None:
        reports.add(verify_attestations(POLICY, note, envelopes, None).ok)

    taken = [microseconds(verify) for _ in range(times)]
    return row(
        f"attest.verify_{len(envelopes)}",
        taken,
        unit="µs",
        better="lower",
        baseline=None if first is None else held_against(first),
        error=None if reports == {True} else "a check failed",
    )


def _started(envelope: bytes) -> Iterator[Row]:
    """Processes in turns: Python alone, Python with gRPC, the verifier asked for its help and for an attestation."""
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder)
        (files / "attestations").mkdir()
        (files / "attestations" / "000001.json").write_bytes(envelope)
        (files / "checkpoint").write_bytes(note_over(1))
        (files / "policy").write_bytes(format_policy(POLICY))
        asked = ["verify", "--policy", str(files / "policy"), "--dir", folder]
        programs = {
            "attest.verifier_start.python": ["-c", "pass"],
            "attest.verifier_start.grpc": ["-c", "import grpc"],
            "attest.verifier_start.help": ["-c", CLEARCTL, "verify", "--help"],
            "attest.verifier_start": ["-c", CLEARCTL, *asked],
        }
        taken: dict[str, list[float]] = {name: [] for name in programs}
        for _ in range(1 + STARTED):
            for name, arguments in programs.items():
                taken[name].append(seconds(partial(_run, arguments)))
    bare: Row | None = None
    for name, samples in taken.items():
        against = None if bare is None else held_against(bare)
        measured = row(name, samples[1:], unit="s", better="lower", baseline=against)
        bare = bare or measured
        yield measured


def _run(arguments: Sequence[str]) -> None:
    """A process that must end well; what it writes is not looked at."""
    path = {"PYTHONPATH": os.pathsep.join(one for one in sys.path if one)}
    subprocess.run([sys.executable, *arguments], env=os.environ | path, capture_output=True, check=True)
