"""What docs/connecting.md tells a member to type works as written, against a served house."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.test_documented_commands import indented_block
from tests.serving import Served, environment

pytestmark = pytest.mark.slow

DOCUMENT = Path(__file__).parents[2] / "docs" / "connecting.md"
DOCUMENTED = "127.0.0.1:7443"


@pytest.fixture
def member(served: Served, tmp_path: Path) -> Path:
    """A folder in which a member has put its keys."""
    (tmp_path / "keys").symlink_to(served.keys / "clients" / "member" / "alpha")
    return tmp_path


def run(member: Path, *command: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = environment() | {"PATH": path}
    done = subprocess.run(command, cwd=member, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_of_the_page_runs(served: Served, member: Path) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    assert DOCUMENTED in source
    said = run(member, sys.executable, "-c", source.replace(DOCUMENTED, served.address)).splitlines()
    assert said[0].startswith("members/alpha/accounts/house ")
    assert any(re.fullmatch(r"members/alpha/trades/[0-9a-f]{32} novated", line) for line in said)
    assert re.fullmatch(r"[0-9]+ [A-Z_]+", said[-1])


def test_buf_gets_the_house_as_the_page_says(served: Served, member: Path) -> None:
    command = indented_block("connecting.md", "buf curl").replace(DOCUMENTED, served.address)
    assert '"house": "testhouse"' in run(member, "bash", "-euc", command)
