"""Offline verification of a directory of files, by ``clearing_client.offline``."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from clearing.attest.policy import PolicyRefused, parse_policy
from clearing.attest.statement import parse_time
from clearing_client.offline import Report, verify_attestations
from ledger.leaf import LEAF_BYTES, split_records

_NUMBERED = re.compile(r"[0-9]{6,}\.json", re.ASCII)


class CannotVerify(Exception):
    """Something that verification needs cannot be read."""


def verify(policy: Path, directory: Path, at: str | None) -> Report:
    """Check ``directory`` against ``policy``. Raises :class:`CannotVerify`, ``ValueError`` for a bad time."""
    now_ms = _time_ms(at)
    try:
        trusted = parse_policy(_read(policy))
    except PolicyRefused as refused:
        raise CannotVerify(f"{policy}: {refused}") from None
    found = sorted(
        path for path in (directory / "attestations").glob("*.json") if _NUMBERED.fullmatch(path.name)
    )
    leaves = directory / "leaves"
    return verify_attestations(
        trusted,
        _read(directory / "checkpoint"),
        [_read(path) for path in sorted(found, key=lambda path: int(path.stem))],
        now_ms,
        leaves=_leaves(leaves) if leaves.exists() else None,
    )


def as_json(report: Report) -> dict[str, Any]:
    """The report for a program."""
    checks = [{"name": c.name, "passed": c.passed, "detail": c.detail} for c in report.checks]
    return {"ok": report.ok, "checks": checks}


def table(report: Report) -> Iterator[RenderableType]:
    """The report for people: every check, then the verdict."""
    rows = Table(box=None, pad_edge=False, show_header=False)
    for check in report.checks:
        mark = Text("held", style="green") if check.passed else Text("FAILED", style="bold red")
        rows.add_row(mark, check.name, check.detail)
    yield rows
    failed = sum(1 for check in report.checks if not check.passed)
    if report.ok:
        yield Text(f"All {len(report.checks)} checks held.", style="bold green")
    else:
        yield Text(f"{failed} of {len(report.checks)} checks failed.", style="bold red")


def _time_ms(at: str | None) -> int | None:
    if at is None:
        return None
    return time.time_ns() // 1_000_000 if at == "now" else parse_time(at)


def _leaves(path: Path) -> tuple[bytes, ...]:
    try:
        return tuple(split_records(_read(path), LEAF_BYTES))
    except ValueError as error:
        raise CannotVerify(f"{path}: {error}") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CannotVerify(f"{path} cannot be read: {error.strerror}") from None
