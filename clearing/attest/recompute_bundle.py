"""The recompute bundle: the lines that an attestation's figures were computed from, as a file (attestation.md §9).

Text, every line ended by newline, no other spelling of anything; hash lines are base64 of 32 bytes::

    bundle = "clearing-house/recompute-bundle@v1" LF
             "attestation " number of the attestation LF
             "lines " how many lines there are in all LF
             *( "blinded " path of an account of the ledger " " its blinded id, 64 hex digits LF )
             LF
             1*( "line " index " " salt, 32 hex digits " " text of the line LF
                 *( hash LF ) )

A whole bundle has all lines and no hashes; it names the blinded ids of the liabilities too, so that their tree can be
made again. In a part each line has its path (RFC 6962 §2.1.1) to the attested root; there is nothing else to believe.
"""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from typing import NewType

from clearing.attest.statement import Inputs
from ledger.checkpoint import decode_base64
from ledger.merkle import HASH_BYTES, ProofRefused, leaf_hash, tree_root, verify_inclusion

FIRST_LINE = "clearing-house/recompute-bundle@v1"
SALT_BYTES = 16
MAX_BUNDLE_BYTES = 2**30
MAX_LINES = 2**24
MAX_PATH = 32

_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
_BLINDED = re.compile(r"blinded ([a-z0-9_./-]{1,200}) ([0-9a-f]{64})", re.ASCII)
_LINE = re.compile(r"line (0|[1-9][0-9]{0,8}) ([0-9a-f]{32}) ([\x20-\x7e]+)", re.ASCII)


class BundleReason(Enum):
    """Why a recompute bundle was refused; the values are stable."""

    TOO_LONG = "bundle_too_long"
    NOT_TEXT = "bundle_not_text"
    KIND = "bundle_kind"
    HEADER = "bundle_header"
    BLINDED_LINE = "bundle_blinded_line"
    LINE = "bundle_line"
    ORDER = "bundle_order"
    PATH = "bundle_path"
    EMPTY = "bundle_empty"
    MIXED = "bundle_neither_whole_nor_part"
    OTHER_INPUTS = "bundle_of_other_inputs"
    OTHER_ATTESTATION = "bundle_of_another_attestation"
    CONTENT = "bundle_content"


class BundleRefused(ValueError):
    """A bundle that cannot be accepted; ``reason`` says why."""

    def __init__(self, reason: BundleReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class BundleLine:
    """One line: where it stands among all, its salt, its text; in a part of a bundle its path as well."""

    index: int
    salt: bytes
    text: str
    path: tuple[bytes, ...] = ()

    @property
    def leaf(self) -> bytes:
        """What is hashed."""
        return self.salt + self.text.encode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecomputeBundle:
    """A bundle as it is written; nothing in it is verified yet. ``count``: how many lines there are in all.

    Raises :class:`BundleRefused` on construction: ``EMPTY``, ``ORDER`` (indices rise and stay below ``count``),
    ``MIXED`` (a whole bundle has no paths, a part has no blinded ids).
    """

    attestation: int
    count: int
    lines: tuple[BundleLine, ...]
    blinded: Mapping[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.lines:
            raise BundleRefused(BundleReason.EMPTY, "a bundle has a line")
        indices = [line.index for line in self.lines]
        rises = all(one < next_ for one, next_ in pairwise(indices))
        if not rises or not 0 <= indices[0] <= indices[-1] < self.count <= MAX_LINES:
            raise BundleRefused(BundleReason.ORDER, "lines stand in the order of all, each once")
        if self.is_whole and any(line.path for line in self.lines) and self.count > 1:
            raise BundleRefused(BundleReason.MIXED, "a bundle with all lines has no paths")
        if not self.is_whole and self.blinded:
            raise BundleRefused(BundleReason.MIXED, "a part of a bundle names no blinded ids")

    @property
    def is_whole(self) -> bool:
        """Whether all lines are there."""
        return len(self.lines) == self.count


VerifiedBundle = NewType("VerifiedBundle", RecomputeBundle)
"""A bundle whose lines are those that were attested. Only :func:`open_bundle` makes one."""


def format_bundle(bundle: RecomputeBundle) -> Iterator[bytes]:
    """The one spelling of ``bundle``, a piece at a time."""
    head = [FIRST_LINE, f"attestation {bundle.attestation}", f"lines {bundle.count}"]
    head += [f"blinded {path} {bundle.blinded[path].hex()}" for path in sorted(bundle.blinded)]
    yield _text([*head, ""])
    for line in bundle.lines:
        hashes = [base64.b64encode(one).decode() for one in line.path]
        yield _text([f"line {line.index} {line.salt.hex()} {line.text}", *hashes])


def parse_bundle(data: bytes) -> RecomputeBundle:
    """The bundle in ``data``; nothing is verified.

    Raises :class:`BundleRefused`: ``TOO_LONG``, ``NOT_TEXT``, ``KIND``, ``HEADER``, ``BLINDED_LINE``, ``LINE``,
    ``PATH``, and all reasons of :class:`RecomputeBundle`.
    """
    head, rest = _split(data)
    if len(head) < 3:
        raise BundleRefused(BundleReason.HEADER, "the lines attestation and lines are missing")
    blinded: dict[str, bytes] = {}
    for text in head[3:]:
        found = _BLINDED.fullmatch(text)
        if found is None or (blinded and found[1] <= next(reversed(blinded))):
            raise BundleRefused(BundleReason.BLINDED_LINE, "blinded ids stand in the order of their paths")
        blinded[found[1]] = bytes.fromhex(found[2])
    return RecomputeBundle(
        attestation=_header(head[1], "attestation "),
        count=_header(head[2], "lines "),
        lines=tuple(_lines(rest)),
        blinded=blinded,
    )


def open_bundle(bundle: RecomputeBundle, sequence: int, inputs: Inputs) -> VerifiedBundle:
    """The bundle, whose lines are among those that attestation number ``sequence`` commits to as ``inputs``.

    Raises :class:`BundleRefused`: ``OTHER_ATTESTATION``, ``OTHER_INPUTS``.
    """
    if bundle.attestation != sequence:
        raise BundleRefused(
            BundleReason.OTHER_ATTESTATION, f"it is of attestation {bundle.attestation}, not of {sequence}"
        )
    if bundle.count != inputs.count:
        raise BundleRefused(
            BundleReason.OTHER_INPUTS, f"it speaks of {bundle.count} lines, {inputs.count} were attested"
        )
    hashes = [leaf_hash(line.leaf) for line in bundle.lines]
    if bundle.is_whole:
        if tree_root(hashes) != inputs.root:
            raise BundleRefused(BundleReason.OTHER_INPUTS, "its lines do not hash to the attested root")
        return VerifiedBundle(bundle)
    for line, hashed in zip(bundle.lines, hashes, strict=True):
        try:
            verify_inclusion(hashed, line.index, bundle.count, line.path, inputs.root)
        except ProofRefused as refused:
            raise BundleRefused(BundleReason.OTHER_INPUTS, f"line {line.index}: {refused}") from None
    return VerifiedBundle(bundle)


def _text(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def _split(data: bytes) -> tuple[list[str], list[str]]:
    """The lines before and after the empty one."""
    if len(data) > MAX_BUNDLE_BYTES:
        raise BundleRefused(BundleReason.TOO_LONG, f"a bundle has at most {MAX_BUNDLE_BYTES} bytes")
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        raise BundleRefused(BundleReason.NOT_TEXT, "a bundle is ASCII text") from None
    head, blank, rest = text.partition("\n\n")
    lines = head.split("\n")
    if lines[0] != FIRST_LINE:
        raise BundleRefused(BundleReason.KIND, f"a bundle starts with {FIRST_LINE}")
    if not blank or not rest.endswith("\n"):
        raise BundleRefused(BundleReason.HEADER, "lines stand behind an empty one, each ended by newline")
    return lines, rest[:-1].split("\n")


def _header(text: str, word: str) -> int:
    number = text.removeprefix(word)
    if not text.startswith(word) or not _NUMBER.fullmatch(number):
        raise BundleRefused(BundleReason.HEADER, f"a line that says {word.strip()} is missing")
    return int(number)


def _lines(texts: Sequence[str]) -> Iterator[BundleLine]:
    found: BundleLine | None = None
    path: list[bytes] = []
    for text in texts:
        if text.startswith("line "):
            if found is not None:
                yield BundleLine(found.index, found.salt, found.text, tuple(path))
            found, path = _line(text), []
        elif found is None:
            raise BundleRefused(BundleReason.LINE, "a line begins with the word line")
        else:
            path.append(_hash(text, len(path)))
    if found is not None:
        yield BundleLine(found.index, found.salt, found.text, tuple(path))


def _line(text: str) -> BundleLine:
    found = _LINE.fullmatch(text)
    if found is None:
        raise BundleRefused(BundleReason.LINE, "a line is written: line, index, salt, text")
    return BundleLine(int(found[1]), bytes.fromhex(found[2]), found[3])


def _hash(text: str, before: int) -> bytes:
    try:
        data = decode_base64(text)
    except ValueError:
        data = b""
    if len(data) != HASH_BYTES or before >= MAX_PATH:
        raise BundleRefused(BundleReason.PATH, f"a path has at most {MAX_PATH} hashes of {HASH_BYTES} bytes")
    return data
