"""Where and on what a run was made."""

import os
import platform
import subprocess
import tempfile
from pathlib import Path

from bench.rows import seconds

FSYNC_ROUNDS = 200


def commit() -> str:
    """The commit that is measured, with ``+`` when the tree differs from it."""
    head = _git("rev-parse", "--short", "HEAD")
    return head + ("+" if _git("status", "--porcelain") else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def description() -> str:
    """Processor, cores and Python."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def load() -> float:
    """How many processes wanted a core at a time, in the last fifteen minutes; the bench is one or two of them."""
    return os.getloadavg()[2]


def fsync_per_s() -> float:
    """Appends of 4 KiB, each followed by fdatasync: the floor under every durable commit."""
    with tempfile.TemporaryDirectory() as folder, Path(folder, "file").open("wb", buffering=0) as file:

        def work() -> None:
            for _ in range(FSYNC_ROUNDS):
                file.write(bytes(4096))
                os.fdatasync(file.fileno())

        return FSYNC_ROUNDS / seconds(work)
