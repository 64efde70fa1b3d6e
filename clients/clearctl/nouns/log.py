"""``clearctl log``: whether two copies of a log are one history, and evidence if they are not."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from clearctl.asked import REFUSED, WRONG_USE, noun, stop
from clearctl.writing import write
from clearing.attest.policy import Policy, PolicyRefused, parse_policy
from clearing_client.comparing import CannotTell, Compared, Copy, compare
from ledger.checkpoint import NoteRefused
from ledger.evidence import Evidence, EvidenceRefused, format_evidence, parse_evidence, verify_evidence
from ledger.merkle import ProofRefused

app = noun("The log as different people were shown it: one history, or evidence that the house signed two.")

PolicyFile = Annotated[
    Path, typer.Option("--policy", help="Whose log it is: the policy file.", metavar="FILE")
]


@app.command("compare")
def compare_copies(
    context: typer.Context,
    policy: PolicyFile,
    one: Annotated[
        Path, typer.Argument(help="A checkpoint, or a folder that has checkpoint and tile/…", metavar="A")
    ],
    other: Annotated[
        Path | None, typer.Argument(help="Another; left out, it is the house that serves.", metavar="B")
    ] = None,
    evidence: Annotated[
        Path | None, typer.Option(help="Write what contradicts here, for anybody to check.", metavar="FILE")
    ] = None,
) -> None:
    """Tell whether two copies of a log are one history. Exit code 1 means that the house signed two of them.

    Exit code 2 means that it cannot be told, and what is missing.

    Example: clearctl log compare --policy policy.txt checkpoint-of-may log --evidence two-histories.txt
    """
    trusted = _policy(policy)
    try:
        with _copy(context, one) as first, _copy(context, other) as second:
            found = compare(trusted, first, second)
    except CannotTell as error:
        stop(f"cannot tell: {error}", WRONG_USE)
    if found.evidence is not None and evidence is not None:
        _write(evidence, format_evidence(found.evidence))
    write(context, _plain(found), lambda: _told(found, evidence))
    raise typer.Exit(0 if found.evidence is None else REFUSED)


@app.command()
def check(
    context: typer.Context,
    policy: PolicyFile,
    file: Annotated[Path, typer.Argument(help="What `compare` or a witness has kept.", metavar="FILE")],
) -> None:
    """Check evidence that a house signed two histories. Exit code 0 means that it did.

    Example: clearctl log check --policy policy.txt two-histories.txt
    """
    trusted = _policy(policy)
    try:
        found = verify_evidence(parse_evidence(_read(file)), trusted.log_keys)
    except (EvidenceRefused, NoteRefused, ProofRefused) as refused:
        stop(f"{file} proves nothing: {refused}", REFUSED)
    smaller, larger = found.smaller, found.larger
    if smaller.origin != trusted.origin:
        stop(f"{file} is about the log {smaller.origin}, the policy about {trusted.origin}", REFUSED)
    plain = {"origin": smaller.origin, "sizes": [smaller.size, larger.size], "twoHistories": True}
    write(context, plain, lambda: [f"{smaller.origin} has signed two histories: {_sizes(plain['sizes'])}."])


def _told(found: Compared, kept: Path | None) -> Iterator[str]:
    small, large = found.sizes
    if found.is_same:
        yield f"{found.smaller} and {found.larger} are one tree of {small} leaves."
    elif found.evidence is None:
        yield f"{found.larger} with {large} leaves extends {found.smaller} with {small}."
    else:
        yield f"THE LOG HAS TWO HISTORIES: {found.smaller} and {found.larger}, {_sizes(found.sizes)}. Both are signed:"
        yield from _notes(found.evidence)
        yield f"Written to {kept}." if kept else "Keep it with --evidence FILE: anybody can check it then."


def _notes(evidence: Evidence) -> Iterator[str]:
    for note in (evidence.smaller, evidence.larger):
        yield ""
        yield note.decode().rstrip("\n")
    yield ""


def _sizes(sizes: Any) -> str:
    small, large = sizes
    if small == large:
        return f"two roots of {small} leaves"
    return f"the first {small} of {large} leaves have another root than was signed for {small}"


def _plain(found: Compared) -> dict[str, Any]:
    evidence = found.evidence
    return {
        "smaller": found.smaller,
        "larger": found.larger,
        "sizes": list(found.sizes),
        "twoHistories": evidence is not None,
        "evidence": None if evidence is None else format_evidence(evidence).decode(),
    }


@contextmanager
def _copy(context: typer.Context, place: Path | None) -> Iterator[Copy]:
    """What stands at ``place``, or what the house shows."""
    if place is None:
        with _shown(context) as shown:
            yield shown
    elif place.is_dir():
        reader = _reader(place) if (place / "tile").is_dir() else None
        yield Copy(name=str(place), note=_read(place / "checkpoint"), read=reader)
    else:
        yield Copy(name=str(place), note=_read(place))


def _reader(folder: Path) -> Any:
    def read(path: str) -> bytes:
        if not (folder / path).is_file():
            raise LookupError(path)
        return _read(folder / path)

    return read


@contextmanager
def _shown(context: typer.Context) -> Iterator[Copy]:
    """The log as the house serves it; only here is gRPC needed."""
    from clearctl.connecting import connected  # noqa: PLC0415
    from clearing_client.errors import ClearingError  # noqa: PLC0415
    from clearinghouse.v1 import ledger_service_pb2 as pb  # noqa: PLC0415

    with connected(context) as client:

        def read(path: str) -> bytes:
            try:
                return client.ledger.GetTile(pb.GetTileRequest(path=path)).tile
            except ClearingError as error:
                if error.reason == "TILE_UNKNOWN":
                    raise LookupError(path) from None
                raise

        note = client.ledger.GetCheckpoint(pb.GetCheckpointRequest()).checkpoint
        yield Copy(name="the house", note=note, read=read)


def _policy(path: Path) -> Policy:
    try:
        return parse_policy(_read(path))
    except PolicyRefused as refused:
        stop(f"{path}: {refused}", WRONG_USE)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        stop(f"{path} cannot be read: {error.strerror}", WRONG_USE)


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        stop(f"{path} cannot be written: {error.strerror}", WRONG_USE)
