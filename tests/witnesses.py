"""Witnesses for tests: real ``clearctl witness run`` processes, each with its key and its state in a folder."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.serving import environment

CLEARCTL = "from clearctl.app import main; main()"


@dataclass(frozen=True)
class Running:
    """A witness that answers."""

    port: int
    vkey: str
    process: "subprocess.Popen[str]"

    @property
    def url(self) -> str:
        """The submission prefix of C2SP tlog-witness."""
        return f"http://127.0.0.1:{self.port}"


def made(folder: Path, name: str, *options: str, **settings: str) -> str:
    """Make the key of the witness ``name`` in ``folder``; its vkey."""
    folder.mkdir(parents=True, exist_ok=True)
    key = str(folder / "witness.key")
    told = clearctl("witness", "init", "--key", key, "--name", name, *options, **settings)
    assert told.returncode == 0, told.stderr
    return (folder / "witness.key.vkey").read_text().strip()


def clearctl(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """``clearctl`` in a process of its own."""
    command = [sys.executable, "-c", CLEARCTL, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment() | settings)


@contextmanager
def witnessing(folder: Path, *logs: str, port: int = 0, **settings: str) -> Iterator[Running]:
    """Run the witness in ``folder`` for ``logs`` (options of the command) until the block is left."""
    options = ["--key", str(folder / "witness.key"), "--state", str(folder / "state")]
    command = [
        sys.executable,
        "-c",
        CLEARCTL,
        "witness",
        "run",
        *options,
        "--listen",
        f"127.0.0.1:{port}",
        *logs,
    ]
    with (folder / "witness.log").open("a") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment() | settings
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("witnessing "), (line, (folder / "witness.log").read_text())
        vkey = (folder / "witness.key.vkey").read_text().strip()
        yield Running(port=int(line.rpartition(":")[2]), vkey=vkey, process=process)
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stdout.close()
