"""What deploy/ tells a machine to run is there to be run."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from clearing.cli import app
from clearing.main import DRAIN_S

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "clearing.service"
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text().replace("\\\n", "")


def unit() -> configparser.ConfigParser:
    read = configparser.ConfigParser(strict=False, interpolation=None)
    read.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's names have capitals
    read.read(UNIT)
    return read


def instruction(name: str) -> list[str]:
    """The JSON form of an instruction: no shell stands between the machine and the house."""
    (found,) = re.findall(rf"^{name}\s+(\[.*\])$", DOCKERFILE, re.MULTILINE)
    words: list[str] = json.loads(found)
    return words


def require_command(words: list[str]) -> None:
    """``words`` are a command of ``clearing`` and options that it has."""
    assert Path(words[0]).name == "clearing"
    group = typer.main.get_command(app)
    command = group.commands[words[1]]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words[2:] if word.startswith("--")} <= known
    command.make_context(words[1], words[2:], resilient_parsing=False)


def test_the_unit_runs_a_command_that_exists() -> None:
    require_command(shlex.split(unit()["Service"]["ExecStart"]))


def test_the_container_runs_a_command_that_exists() -> None:
    require_command(instruction("ENTRYPOINT") + instruction("CMD"))


def test_the_unit_waits_longer_than_the_house_drains_and_starts_it_again_after_a_bug() -> None:
    service = unit()["Service"]
    assert int(service["TimeoutStopSec"]) > 2 * DRAIN_S
    assert service["Restart"] == "on-failure"
    assert (service["DynamicUser"], service["ProtectSystem"]) == ("yes", "strict")


def test_the_container_is_not_run_by_root_and_checks_the_port_that_it_opens() -> None:
    (user,) = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert user.partition(":")[0] not in {"root", "0"}
    metrics = instruction("CMD")[instruction("CMD").index("--metrics-listen") + 1]
    assert f"http://{metrics}/metrics" in DOCKERFILE


def test_every_file_that_the_container_is_built_from_is_there() -> None:
    named = re.findall(r"--constraint (\S+)", DOCKERFILE)
    assert named
    assert all((ROOT / name).exists() for name in named)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    program = tmp_path / "clearing"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    copy = tmp_path / "clearing.service"
    copy.write_text(UNIT.read_text().replace("/opt/clearing/bin/clearing", str(program)))
    command = ["systemd-analyze", "verify", "--man=no", str(copy)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    complaints = [line for line in found.stderr.splitlines() if "clearing" in line]
    assert (found.returncode, complaints) == (0, []), found.stderr
