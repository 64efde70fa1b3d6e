"""Offline verification of files, by ``clearing_client.offline``.

What is asked for is checked in this order: checkpoints kept from before, receipts, the directory of
attestations, the log. The log's leaves then have to lead to every tree that was found signed.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from clearing.attest.policy import Policy, PolicyRefused, parse_policy
from clearing.attest.statement import parse_time
from clearing_client.offline import (
    Report,
    tiled_leaves,
    verify_attestations,
    verify_checkpoint,
    verify_log,
    verify_receipt,
)
from ledger.account import Account, AccountId
from ledger.checkpoint import Checkpoint
from ledger.tiles import CHECKPOINT, COSIGNED

_NUMBERED = re.compile(r"[0-9]{6,}\.json", re.ASCII)


class CannotVerify(Exception):
    """Something that verification needs cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be checked. ``tiles`` may be ``directory``, which has tiles of its own then.

    Raises ``ValueError`` if nothing is asked for, or something that nothing else here could answer.
    """

    directory: Path | None
    tiles: Path | None
    receipts: tuple[Path, ...]
    account: AccountId | None
    seen: tuple[Path, ...]
    now_ms: int | None

    def __post_init__(self) -> None:
        if self.directory is None and self.tiles is None and not self.receipts:
            raise ValueError("say what to check: --dir, --tiles or --receipt")
        if self.account is not None and not self.receipts:
            raise ValueError("--account speaks of receipts: give --receipt")
        if self.now_ms is not None and self.directory is None:
            raise ValueError("--at speaks of attestations: give --dir")


def verify(policy: Path, asked: Asked) -> Report:
    """Check what is ``asked`` for against ``policy``. Raises :class:`CannotVerify`."""
    try:
        trusted = parse_policy(_read(policy))
    except PolicyRefused as refused:
        raise CannotVerify(f"{policy}: {refused}") from None
    reports = [verify_checkpoint(trusted, f"seen {path.name}", _read(path)) for path in asked.seen]
    reports += [verify_receipt(trusted, _read(path), asked.account) for path in asked.receipts]
    tiles = asked.tiles or _with_tiles(asked.directory)
    if asked.seen and tiles is None:
        raise CannotVerify("whether a log goes on from what was seen, its tiles tell: give --tiles")
    if asked.directory is not None:
        inside = tiles is not None and tiles.resolve() == asked.directory.resolve()
        reports.append(_verify_directory(trusted, asked.directory, asked.now_ms, reports if inside else None))
        tiles = None if inside else tiles
    if tiles is not None:
        note = _checkpoint(trusted, tiles)
        reports.append(verify_log(trusted, note, _leaves(trusted, note, tiles), _trees(reports)))
    return _joined(reports)


def account_of(text: str) -> AccountId:
    """The id of the account written ``PATH:UNIT``. Raises ``ValueError``."""
    path, colon, unit = text.rpartition(":")
    if not colon:
        raise ValueError("write PATH:UNIT, such as members/alpha/accounts/house/cash:USDC")
    return Account(path, unit).id


def time_ms(at: str | None) -> int | None:
    """The time that ``at`` asks about, if any. Raises ``ValueError``."""
    if at is None:
        return None
    return time.time_ns() // 1_000_000 if at == "now" else parse_time(at)


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


def _verify_directory(
    policy: Policy, directory: Path, now_ms: int | None, others: list[Report] | None
) -> Report:
    """The attestations in ``directory``; with its own tiles if ``others`` are given, which these must fit too."""
    found = (path for path in (directory / "attestations").glob("*.json") if _NUMBERED.fullmatch(path.name))
    note = _checkpoint(policy, directory)
    return verify_attestations(
        policy,
        note,
        [_read(path) for path in sorted(found, key=lambda path: int(path.stem))],
        now_ms,
        leaves=None if others is None else _leaves(policy, note, directory),
        trees=_trees(others or []),
    )


def _checkpoint(policy: Policy, folder: Path) -> bytes:
    """The newest checkpoint that can satisfy ``policy``: the cosigned one, if it asks for witnesses and has one."""
    cosigned = folder / COSIGNED
    return _read(cosigned if policy.asks_for_witnesses and cosigned.is_file() else folder / CHECKPOINT)


def _with_tiles(directory: Path | None) -> Path | None:
    return directory if directory is not None and (directory / "tile").is_dir() else None


def _leaves(policy: Policy, note: bytes, tiles: Path) -> Iterator[bytes]:
    def read(path: str) -> bytes:
        if not (tiles / path).is_file():
            raise LookupError(path)
        return _read(tiles / path)

    return tiled_leaves(policy, note, read)


def _trees(reports: list[Report]) -> tuple[Checkpoint, ...]:
    return tuple(tree for report in reports for tree in report.trees)


def _joined(reports: list[Report]) -> Report:
    return Report(checks=tuple(check for report in reports for check in report.checks))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CannotVerify(f"{path} cannot be read: {error.strerror}") from None
