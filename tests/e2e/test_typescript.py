"""The TypeScript example is generated, type-checked and run against a served house.

Skipped where Node, npm or its registry are not there: nothing can be said of the client then. Where they are, whatever
fails is the client's fault.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from clearing.server.services import DESCRIBED
from tests.serving import Served

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "clients" / "typescript"
NODE_MIN = 20


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )


def skip(because: str) -> NoReturn:
    pytest.skip(f"THE TYPESCRIPT CLIENT WAS NOT TESTED: {because}")


def require_node(folder: Path) -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        skip("node and npm are not there")
    major = int(run("node", "--version", folder=folder).stdout.strip().removeprefix("v").partition(".")[0])
    if major < NODE_MIN:
        skip(f"node {major} is older than {NODE_MIN}")
    version = json.loads((SOURCE / "package.json").read_text())["dependencies"]["@grpc/grpc-js"]
    wanted = "view", f"@grpc/grpc-js@{version}", "version", "--fetch-retries=0", "--fetch-timeout=20000"
    if run("npm", *wanted, folder=folder).returncode != 0:
        skip("the npm registry is not reached")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, generated and compiled in a copy of what is in the repository."""
    copied = tmp_path_factory.mktemp("checkout")
    require_node(copied)
    folder = copied / "clients" / "typescript"
    made = shutil.ignore_patterns("node_modules", "dist", "gen")
    shutil.copytree(SOURCE, folder, ignore=made)
    (copied / "generated").mkdir()
    shutil.copy(ROOT / "generated" / "image.binpb", copied / "generated")
    (copied / "clients" / "clearing_client").mkdir()
    published = "clearing_client/service_config.json"
    shutil.copy(ROOT / "clients" / published, copied / "clients" / published)
    install = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    for command in (install, ("npm", "run", "generate"), ("npm", "run", "build")):
        done = run(*command, folder=folder)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    return folder


def test_a_typescript_client_submits_a_trade_reads_an_error_and_follows_events(
    built: Path, served: Served
) -> None:
    one, two = "members/alpha/accounts/one", "members/alpha/accounts/two"
    keys = served.keys / "clients" / "member" / "alpha"
    done = run(
        *("node", "dist/example.js", served.address, str(keys), "members/alpha", one, two), folder=built
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    house, trade, refused, events = done.stdout.splitlines()
    assert house.startswith("house: testhouse, 2 instruments, ")
    assert trade.startswith("trade: members/alpha/trades/ts-")
    assert trade.endswith(" NOVATED")
    assert refused == "refused: REQUEST_INVALID: trades[0].size"
    streamed = "EventService" in {service.name for service in DESCRIBED}
    assert events.startswith("event: " if streamed else "no events: 12 ")


def test_a_typescript_client_of_a_role_that_may_not_trade_is_told_so(built: Path, served: Served) -> None:
    keys = served.keys / "clients" / "regulator" / "rita"
    done = run(
        *("node", "dist/example.js", served.address, str(keys), "members/alpha", "a", "b"), folder=built
    )
    assert done.returncode != 0
    assert "ROLE_NOT_ALLOWED" in done.stderr
