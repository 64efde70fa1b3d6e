"""``clearctl`` as its users run it: in a process of its own, with or without a terminal."""

import json
import os
import pty
import subprocess
import sys
from typing import Any

from tests.serving import Served, environment

PROGRAM = (sys.executable, "-c", "from clearctl.app import main; main()")
DONE, REFUSED, WRONG_USE, UNREACHABLE = 0, 1, 2, 3


def surroundings(**settings: str) -> dict[str, str]:
    """The environment of clearctl in a test: no profiles of whoever runs it."""
    return environment() | {"CLEARCTL_CONFIG": os.devnull} | settings


def clearctl(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run clearctl to its end, without a terminal."""
    return subprocess.run(
        [*PROGRAM, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=surroundings(**settings),
        timeout=60,
    )


def as_whom(served: Served, who: str) -> tuple[str, ...]:
    """The options of somebody."""
    return "--house", served.address, "--keys", str(served.keys / "clients" / who)


def asked(served: Served, who: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Ask the served house as ``who``."""
    return clearctl(*as_whom(served, who), *arguments)


def answer(served: Served, who: str, *arguments: str) -> Any:
    """The JSON that an accepted command is answered with."""
    done = asked(served, who, "--output", "json", *arguments)
    assert done.returncode == DONE, done.stderr
    return json.loads(done.stdout)


def at_a_terminal(served: Served, who: str, *arguments: str, typing: str) -> subprocess.CompletedProcess[str]:
    """Run a command at a terminal, where somebody types a line."""
    here, there = pty.openpty()
    try:
        os.write(here, f"{typing}\n".encode())
        return subprocess.run(
            [*PROGRAM, *as_whom(served, who), *arguments],
            stdin=there,
            capture_output=True,
            text=True,
            check=False,
            env=surroundings(),
            timeout=60,
        )
    finally:
        os.close(here)
        os.close(there)
