"""Recomputing what a house attested, from a bundle that it gave out. Needs the extra ``recompute``.

The bundle's lines are held against the attestation first; then every figure that they allow is computed again with the
house's own functions, which this machine runs (attestation.md §9).
"""

from collections.abc import Sequence

from clearing.attest.recompute import recompute
from clearing.attest.recompute_bundle import BundleRefused, open_bundle, parse_bundle
from clearing.attest.statement import VerifiedStatement
from clearing_client.offline import Check, Report, stated_by


def verify_bundle(statements: Sequence[VerifiedStatement], data: bytes) -> Report:
    """Recompute the attestation that the bundle in ``data`` names, one of ``statements``. Raises nothing."""
    try:
        bundle = parse_bundle(data)
        statement = stated_by(statements, bundle.attestation)
        opened = open_bundle(bundle, statement.sequence, statement.inputs)
        found = recompute(statement, opened)
    except (BundleRefused, LookupError) as refused:
        return Report(checks=(Check(name="recompute inputs", passed=False, detail=str(refused)),))
    lines = f"{len(bundle.lines)} of {bundle.count} lines are among the attested inputs"
    inputs = Check(
        name="recompute inputs", passed=True, detail=f"{lines} of attestation {statement.sequence}"
    )
    again = (
        Check(name=f"recompute {one.name}", passed=one.agrees, detail=one.detail) for one in found.findings
    )
    return Report(checks=(inputs, *again), not_checked=found.not_recomputed)
