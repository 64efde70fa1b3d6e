"""Attestations: every row of ``make bench ONLY=attest``. ``ONLY=attest.proofs`` limits it to one part."""

from collections.abc import Mapping

from bench import attest_build, attest_proofs, attest_verify
from bench.run import Part

PARTS: Mapping[str, Part] = {
    "attest.build": attest_build.rows,
    "attest.verify": attest_verify.rows,
    "attest.proofs": attest_proofs.rows,
}
