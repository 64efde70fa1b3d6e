"""Offline verification of files, by ``clearing_client.offline``.

What is asked for is checked in this order: checkpoints kept from before, receipts, the directory of
attestations, the log; then what is held against an attestation: proofs of liabilities, recompute bundles. The log's
leaves have to lead to every tree that was found signed. What nobody asked for is said at the end.
"""

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from clearctl.tables import harmless
from clearing.attest.policy import Policy, PolicyRefused, parse_policy
from clearing.attest.recompute_bundle import MAX_BUNDLE_BYTES
from clearing.attest.statement import VerifiedStatement, format_time, parse_time
from clearing_client import sealed
from clearing_client.journaled import (
    REPORT_SIGNED,
    AttestedLeaves,
    Shown,
    Signed,
    verify_journaled,
    verify_signed,
)
from clearing_client.offline import (
    Check,
    Report,
    tiled_leaves,
    verify_attestation,
    verify_attestations,
    verify_checkpoint,
    verify_liability,
    verify_log,
    verify_receipt,
)
from ledger.account import Account
from ledger.checkpoint import Checkpoint
from ledger.tiles import CHECKPOINT, COSIGNED

NAMED_MAX = 10
"""So many failed checks are named again in the end."""
FILE_BYTES_MAX = 4_000_000
"""No file that is checked may be larger: whoever brought it chose how much of it there is."""

_NUMBERED = re.compile(r"([0-9]{6}|[1-9][0-9]{6,})\.json", re.ASCII)


class CannotVerify(Exception):
    """Something that verification needs cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be checked. ``tiles`` may be ``directory``, which has tiles of its own then. ``pinned`` is the version
    of a trust root that stands in the place of a policy; later ones are beside it or in ``directory``.

    Raises ``ValueError`` if nothing is asked for, or something that nothing else here could answer.
    """

    directory: Path | None
    tiles: Path | None
    receipts: tuple[Path, ...]
    account: Account | None
    seen: tuple[Path, ...]
    now_ms: int | None
    attestations: tuple[Path, ...] = ()
    liabilities: tuple[Path, ...] = ()
    bundles: tuple[Path, ...] = ()
    pinned: Path | None = None

    def __post_init__(self) -> None:
        one = (self.directory, self.tiles, *self.receipts, *self.attestations)
        if not any(path is not None for path in one):
            raise ValueError("say what to check: --dir, --attestation, --tiles or --receipt")
        if self.account is not None and not self.receipts and not self.liabilities:
            raise ValueError("--account speaks of receipts and liabilities: give --receipt or --liability")
        if (self.liabilities or self.bundles) and self.directory is None and not self.attestations:
            raise ValueError(
                "--liability and --recompute are held against attestations: give --dir or --attestation"
            )
        if self.now_ms is not None and self.directory is None:
            raise ValueError("--at speaks of attestations: give --dir")


def verify(policy: Path | None, asked: Asked) -> Report:
    """Check what is ``asked`` for against ``policy`` or the trust root. Raises :class:`CannotVerify`."""
    places = [] if asked.directory is None else [asked.directory / "trust"]
    trusted, root = _believed(policy, asked.pinned, places, asked.now_ms)
    reports = [root] if root is not None else []
    reports += [verify_checkpoint(trusted, f"seen {path.name}", _read(path)) for path in asked.seen]
    owner = None if asked.account is None else asked.account.id
    reports += [verify_receipt(trusted, _read(path), owner) for path in asked.receipts]
    reports += [verify_attestation(trusted, _read(path)) for path in asked.attestations]
    tiles = asked.tiles or _with_tiles(asked.directory)
    if asked.seen and tiles is None:
        raise CannotVerify("whether a log goes on from what was seen, its tiles tell: give --tiles")
    looking, of_directory, is_read = AttestedLeaves(), None, tiles is not None
    if asked.directory is not None:
        inside = tiles is not None and tiles.resolve() == asked.directory.resolve()
        of_directory = _verify_directory(trusted, asked, reports if inside else None, looking)
        reports.append(of_directory)
        tiles = None if inside else tiles
    if tiles is not None:
        note = _checkpoint(trusted, tiles)
        leaves = looking.among(_leaves(trusted, note, tiles))
        reports.append(verify_log(trusted, note, leaves, _trees(reports)))
    if is_read and asked.directory is not None and of_directory is not None:
        shown = _shown(asked.directory, of_directory.statements)
        reports.append(_journaled(shown, looking))
    reports += _held_against(asked, [one for report in reports for one in report.statements])
    return _joined(reports, left_out(trusted, asked))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A report, what officers signed of it, and the JSON that it was made of: each beside it if it is not named."""

    file: Path
    signed: Path | None = None
    source: Path | None = None

    @property
    def envelope(self) -> Path:
        """Where the envelope is."""
        return self.signed or self.file.with_name(self.file.name + sealed.SEAL_SUFFIX)

    @property
    def body(self) -> Path:
        """Where the body is of the entry that journals the envelope."""
        return self.file.with_name(self.file.name + sealed.BODY_SUFFIX)

    @property
    def json(self) -> Path | None:
        """Where the JSON is, if it is there."""
        beside = self.file.with_suffix(".json")
        return self.source or (beside if beside != self.file and beside.is_file() else None)


def verify_reports(
    policy: Path | None, pinned: Path | None, reports: Sequence[Sealed], tiles: Path | None
) -> Report:
    """Check reports against what was signed of them, and the trees that they name against the log in ``tiles``.

    Raises :class:`CannotVerify`.
    """
    trusted, root = _believed(policy, pinned, [], None)
    found = [] if root is None else [root]
    shown = []
    for one in reports:
        envelope = _read(one.envelope)
        try:
            found.append(sealed.verify_report(trusted, one.file, envelope, one.json))
        except OSError as error:
            raise CannotVerify(f"{error.filename} cannot be read: {error.strerror}") from None
        signed_ms = sealed.signed_at(trusted, envelope)
        if signed_ms is not None:
            shown.append(Signed(one.file.name, envelope, signed_ms, _read_if(one.body)))
    if tiles is None:
        return _joined(found, ["whether the log has what the reports name, and their signatures (--tiles)"])
    note, looking = _checkpoint(trusted, tiles), AttestedLeaves(REPORT_SIGNED)
    log = verify_log(trusted, note, looking.among(_leaves(trusted, note, tiles)), _trees(found))
    return _joined([*found, log, verify_signed(shown, looking)], [])


def read_policy(path: Path) -> Policy:
    """The policy in a file. Raises :class:`CannotVerify`."""
    try:
        return parse_policy(_read(path))
    except PolicyRefused as refused:
        raise CannotVerify(f"{path}: {refused}") from None


def _believed(
    policy: Path | None, pinned: Path | None, places: Sequence[Path], now_ms: int | None
) -> tuple[Policy, Report | None]:
    """Whom to believe, and what was checked to know it; later trust roots are looked for in ``places`` too."""
    if (policy is None) == (pinned is None):
        raise CannotVerify("say whom you believe: either --policy or --trust")
    if policy is not None:
        return read_policy(policy), None
    from clearctl import trusting  # noqa: PLC0415  # the extra `trust`

    try:
        chain = trusting.walk(pinned or Path(), places, time_ms("now") if now_ms is None else now_ms)
    except trusting.CannotTrust as refused:
        raise CannotVerify(str(refused)) from None
    newest = chain.newest
    versions = f"version {newest.number} from version {chain.versions[0].number}"
    detail = f"{versions}, good until {format_time(newest.expires_ms)}"
    return chain.policy, Report(checks=(Check(name="trust root", passed=True, detail=detail),))


def _held_against(asked: Asked, statements: list[VerifiedStatement]) -> Iterator[Report]:
    """What is checked against attestations whose signatures held."""
    account = None if asked.account is None else asked.account.path
    for path in asked.liabilities:
        yield verify_liability(statements, _read(path), account)
    if not asked.bundles:
        return
    try:
        from clearing_client.recomputing import verify_bundle  # noqa: PLC0415  # the extra `recompute`
    except ImportError as error:
        raise CannotVerify(
            f"--recompute needs the extra `recompute` ({error.name} is not installed)"
        ) from None
    for path in asked.bundles:
        yield verify_bundle(statements, _read(path, MAX_BUNDLE_BYTES))


def left_out(policy: Policy, asked: Asked) -> Iterator[str]:
    """What was not asked for, in sentences."""
    if asked.directory is None and not asked.attestations:
        yield "any attestation (--dir, --attestation)"
    elif asked.directory is None:
        yield "what came before and after the attestation, and whether the log has its tree (--dir)"
    if asked.directory is not None and asked.now_ms is None:
        yield "whether the newest attestation is still in force (--at now)"
    if asked.tiles is None and _with_tiles(asked.directory) is None:
        yield "whether the log's leaves lead to these roots (--tiles)"
    if not asked.seen:
        yield "whether this is the history that you or others saw before (--seen)"
    if not policy.asks_for_witnesses:
        yield "whether anybody else saw the same log: the policy names no witness"
    if (asked.directory is not None or asked.attestations) and not asked.bundles:
        yield "whether the figures follow from positions, prices and parameters (--recompute)"
    if (asked.directory is not None or asked.attestations) and not asked.liabilities:
        yield "whether a balance of yours is counted (--liability)"


def account_of(text: str) -> Account:
    """The account written ``PATH:UNIT``. Raises ``ValueError``."""
    path, colon, unit = text.rpartition(":")
    if not colon:
        raise ValueError("write PATH:UNIT, such as members/alpha/accounts/house/cash:USDC")
    return Account(path, unit)


def time_ms(at: str | None) -> int | None:
    """The time that ``at`` asks about, if any. Raises ``ValueError``."""
    if at is None:
        return None
    return time.time_ns() // 1_000_000 if at == "now" else parse_time(at)


def as_json(report: Report) -> dict[str, Any]:
    """The report for a program."""
    checks = [{"name": c.name, "passed": c.passed, "detail": c.detail} for c in report.checks]
    return {"ok": report.ok, "checks": checks, "not_checked": list(report.not_checked)}


def table(report: Report) -> Iterator[RenderableType]:
    """The report for people: every check, then the verdict."""
    rows = Table(box=None, pad_edge=False, show_header=False)
    for check in report.checks:
        mark = Text("held", style="green") if check.passed else Text("FAILED", style="bold red")
        rows.add_row(mark, harmless(check.name), harmless(check.detail))
    yield rows
    failed = [check.name for check in report.checks if not check.passed]
    if report.ok:
        yield Text(f"All {len(report.checks)} checks held.", style="bold green")
    else:
        named = ", ".join(failed[:NAMED_MAX]) + (" …" if len(failed) > NAMED_MAX else "")
        yield Text(f"{len(failed)} of {len(report.checks)} checks failed: {named}", style="bold red")
    if report.not_checked:
        yield Text("Not checked:", style="dim")
        for sentence in report.not_checked:
            yield Text(f"  {sentence}", style="dim")


def _verify_directory(
    policy: Policy, asked: Asked, others: list[Report] | None, looking: AttestedLeaves
) -> Report:
    """The attestations of the directory; with its own tiles if ``others`` are given, which these must fit too."""
    directory = asked.directory or Path()
    note = _checkpoint(policy, directory)
    return verify_attestations(
        policy,
        note,
        {int(path.stem): _read(path) for path in _numbered(directory)},
        asked.now_ms,
        leaves=None if others is None else looking.among(_leaves(policy, note, directory)),
        trees=_trees(others or []),
    )


def _numbered(directory: Path) -> list[Path]:
    """The files of the attestations, by number."""
    found = (path for path in (directory / "attestations").glob("*.json") if _NUMBERED.fullmatch(path.name))
    return sorted(found, key=lambda path: int(path.stem))


def _shown(directory: Path, statements: Sequence[VerifiedStatement]) -> list[Shown]:
    """The attestations that were opened, in order, with their files."""
    return [
        Shown(statement, _read(path), _read_if(path.with_suffix(".body")))
        for path, statement in zip(_numbered(directory), statements, strict=False)
    ]


def _journaled(shown: Sequence[Shown], looking: AttestedLeaves) -> Report:
    """Whether the attestations are those of the log; of leaves that were not read to their end nothing is said."""
    if looking.all_read:
        return verify_journaled(shown, looking.body_hashes)
    return Report(
        checks=(), not_checked=("whether the log has these attestations: it was not read to its end",)
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


def _joined(reports: list[Report], not_asked: Iterable[str]) -> Report:
    return Report(
        checks=tuple(check for report in reports for check in report.checks),
        not_checked=tuple(
            dict.fromkeys((*(one for report in reports for one in report.not_checked), *not_asked))
        ),
    )


def _read_if(path: Path) -> bytes | None:
    """A body, which has an envelope in it as text; None if it is not there."""
    return _read(path, 2 * FILE_BYTES_MAX) if path.is_file() else None


def _read(path: Path, bytes_max: int = FILE_BYTES_MAX) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(bytes_max + 1)
    except OSError as error:
        raise CannotVerify(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > bytes_max:
        raise CannotVerify(f"{path} has more than {bytes_max} bytes")
    return data
