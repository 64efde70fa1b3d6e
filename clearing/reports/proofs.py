"""Files with which an attestation is checked; each has one row, which is all of it."""

from collections.abc import Iterable, Iterator

from clearing.attest.liabilities import Proof, format_proof
from clearing.attest.recompute_bundle import RecomputeBundle, format_bundle


def render_bundle(rows: Iterable[RecomputeBundle]) -> Iterator[bytes]:
    """The recompute bundle."""
    for bundle in rows:
        yield from format_bundle(bundle)


def render_liability(rows: Iterable[Proof]) -> Iterator[bytes]:
    """The proof that what an account is owed was counted."""
    for proof in rows:
        yield format_proof(proof)
