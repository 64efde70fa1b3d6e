"""Trust roots in files: ``1.root.json``, ``2.root.json`` and so on, in one folder or several. The extra ``trust``."""

import re
from collections.abc import Sequence
from pathlib import Path

try:
    from clearing.attest.trust import MAX_ROOT_BYTES, Chain, TrustRefused, verify_chain
except ImportError:
    from clearctl.asked import REFUSED, stop

    stop("a trust root needs the extra: pip install 'clearing-house[trust]'", REFUSED)

_NUMBERED = re.compile(r"([1-9][0-9]{0,8})\.root\.json", re.ASCII)


class CannotTrust(Exception):
    """A trust root cannot be read, or is not to be believed; the message begins with the reason."""


def walk(pinned: Path, places: Sequence[Path], now_ms: int | None) -> Chain:
    """From the ``pinned`` version to the newest one beside it or in ``places``. Raises :class:`CannotTrust`."""
    try:
        return verify_chain([read_root(path) for path in paths_from(pinned, places)], now_ms)
    except TrustRefused as refused:
        raise CannotTrust(f"{refused.reason.value}: {refused}") from None


def paths_from(pinned: Path, places: Sequence[Path]) -> list[Path]:
    """The ``pinned`` version and all later ones, by number; where two places have the same, the first counts.

    A version that is missing between them is left to be found by whoever verifies them.
    """
    found: dict[int, Path] = {}
    for place in (pinned.parent, *places):
        for path in place.glob("*.root.json"):
            matched = _NUMBERED.fullmatch(path.name)
            if matched is not None:
                found.setdefault(int(matched[1]), path)
    named = _NUMBERED.fullmatch(pinned.name)
    if named is None:
        raise CannotTrust(f"{pinned} is not named as a version is: 1.root.json")
    return [pinned, *(found[number] for number in sorted(found) if number > int(named[1]))]


def read_root(path: Path) -> bytes:
    """A version as it stands in a file. Raises :class:`CannotTrust`."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_ROOT_BYTES + 1)
    except OSError as error:
        raise CannotTrust(f"{path} cannot be read: {error.strerror}") from None
