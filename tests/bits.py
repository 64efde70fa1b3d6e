"""The same computation on another processor, as far as one machine can show it."""

import os
import subprocess
import sys
from pathlib import Path

from numpy._core._multiarray_umath import __cpu_dispatch__  # type: ignore[import-not-found]

ROOT = Path(__file__).parents[1]


def digest_without_wide_vectors(module: str, kept: int) -> str:
    """What ``digest()`` of a test module says where numpy may use no more than the first ``kept`` groups of vector
    instructions that it can choose from.
    """
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "clients", ROOT / "generated")))
    without = {"NPY_DISABLE_CPU_FEATURES": " ".join(__cpu_dispatch__[kept:]), "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"from {module} import digest; print(digest())"],
        env=os.environ | without,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()
