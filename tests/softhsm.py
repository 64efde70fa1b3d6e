"""A token in software (SoftHSM), for tests that need a real PKCS#11 module."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

MODULES = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"),
    Path("/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so"),
)
PIN = "1234"
MISSING = "NOT TESTED: keys in PKCS#11 tokens, because SoftHSM is missing (apt-get install softhsm2)"


def module() -> Path:
    """The PKCS#11 library; the test is skipped without it, which CI does not let pass."""
    found = next((path for path in MODULES if path.exists()), None)
    if found is None or shutil.which("softhsm2-util") is None:
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    return found


@dataclass(frozen=True)
class SoftToken:
    """A token ``house`` with one P-256 key, id 2, whose PIN stands in a file."""

    folder: Path
    module: Path

    @property
    def uri(self) -> str:
        return "hsm:2?label=house"

    @property
    def pin_file(self) -> Path:
        return self.folder / "pin"

    def unplug(self) -> None:
        """Take the token away."""
        (self.folder / "tokens").rename(self.folder / "away")
        (self.folder / "tokens").mkdir()

    def plug(self) -> None:
        """Put it back."""
        (self.folder / "tokens").rmdir()
        (self.folder / "away").rename(self.folder / "tokens")


def environment_of(folder: Path) -> dict[str, str]:
    """What a process needs in its environment to find the tokens of ``folder``."""
    return {"SOFTHSM2_CONF": str(folder / "softhsm2.conf")}


def make_token(folder: Path) -> SoftToken:
    """A new token in ``folder``."""
    library = module()
    (folder / "tokens").mkdir(parents=True)
    (folder / "softhsm2.conf").write_text(
        f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    (folder / "pin").write_text(f"{PIN}\n")
    _run(folder, "--init-token", "--free", "--label", "house", "--pin", PIN, "--so-pin", "5678")
    key = folder / "key.pem"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(key)],
        check=True,
        capture_output=True,
    )
    _run(folder, "--import", str(key), "--token", "house", "--label", "risk", "--id", "02", "--pin", PIN)
    key.unlink()
    return SoftToken(folder=folder, module=library)


def _run(folder: Path, *arguments: str) -> None:
    subprocess.run(
        ["softhsm2-util", *arguments],
        env=os.environ | environment_of(folder),
        check=True,
        capture_output=True,
    )
