"""Receipts: what a member keeps, and shows to whoever trusts the log's key and nobody else.

An **entry receipt** proves that a leaf stands in the log. It is a C2SP tlog-proof whose ``extra`` line, which
that format leaves to the application, carries the leaf. A **leg receipt** proves one account's legs of an
entry and says nothing of the others: their amounts stay behind the salted hashes of the path.
Every line ends in newline; base64 is standard, padded and canonical; numbers have no leading zeros::

    entry receipt = "c2sp.org/tlog-proof@v1"
                    "extra " base64(leaf, 108 bytes)
                    "index " number of the leaf in the log, from 0
                    base64(hash, 32 bytes)           one line a hash, from the leaf upwards; none to 63 lines
                    an empty line
                    the checkpoint as it was signed, to the end

    leg receipt   = "ledger/leg-receipt@v1"
                    then for each leg, 1 to 1,000 of them in the order of the entry:
                        "leg " number in the entry, from 0 " " base64(leg, 48 bytes)
                        base64(hash, 32 bytes)       one line a hash, from the leg upwards; none to 63 lines
                    an empty line
                    the entry receipt

Rules kept here (attestation.md §4): nothing is believed that was not hashed to a checkpoint which a log key
signed for the expected origin; what stands in front of the checkpoint has one spelling; what ``extra`` says
counts only because the leaf must hash to the root. A leg receipt shows legs of one account, each once, and
says so by the type that :func:`verify_legs` returns. It does not prove that the account has no other legs in
the entry. Whose cosignatures a checkpoint needs besides is a matter of policy: ``signers`` and ``note`` are
there for it.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import NewType

from ledger.account import AccountId
from ledger.checkpoint import (
    VerifiedCheckpoint,
    VerifierKey,
    decode_base64,
    open_note,
    parse_checkpoint_body,
    parse_note,
)
from ledger.leaf import LEG_BYTES, Leaf, LegRecord, RecordMalformed, decode_leaf, decode_leg
from ledger.merkle import HASH_BYTES, inclusion_path, leaf_hash, tree_root, verify_inclusion
from ledger.tiles import TiledTree

PROOF_LINE = "c2sp.org/tlog-proof@v1"
LEGS_LINE = "ledger/leg-receipt@v1"
RECEIPT_BYTES_MAX = 2_000_000
PATH_MAX = 63
LEGS_SHOWN_MAX = 1_000

_EXTRA, _INDEX, _LEG = "extra ", "index ", "leg "
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


class ReceiptReason(Enum):
    """Why a receipt was refused; the values are stable."""

    TOO_LONG = "receipt_too_long"
    NOT_TEXT = "receipt_not_text"
    KIND = "receipt_kind"
    EXTRA_LINE = "receipt_extra_line"
    INDEX_LINE = "receipt_index_line"
    PATH_LINE = "receipt_path_line"
    PATH_TOO_LONG = "receipt_path_too_long"
    NO_CHECKPOINT = "receipt_without_checkpoint"
    LEG_LINE = "receipt_leg_line"
    NO_LEGS = "receipt_without_legs"
    TOO_MANY_LEGS = "receipt_with_too_many_legs"
    LEG_ORDER = "receipt_leg_order"
    NO_LEAF = "receipt_without_leaf"
    LEAF = "receipt_leaf"
    OTHER_LOG = "receipt_of_another_log"
    OTHER_TREE = "receipt_of_another_tree"
    OTHER_INDEX = "receipt_of_another_index"
    OTHER_ENTRY = "receipt_of_another_entry"
    OTHER_ACCOUNT = "receipt_of_another_account"


class ReceiptRefused(ValueError):
    """A receipt that cannot be accepted or made; ``reason`` says why."""

    def __init__(self, reason: ReceiptReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryReceipt:
    """A tlog-proof as it is written; nothing in it is verified yet. ``extra`` is the leaf, ``note`` the
    checkpoint with its signatures.

    Raises :class:`ReceiptRefused` on construction: ``INDEX_LINE``, ``PATH_LINE``, ``PATH_TOO_LONG``,
    ``NO_CHECKPOINT``.
    """

    index: int
    path: tuple[bytes, ...]
    note: bytes
    extra: bytes | None = None

    def __post_init__(self) -> None:
        _require_number(self.index, ReceiptReason.INDEX_LINE)
        _require_path(self.path)
        if not self.note:
            raise ReceiptRefused(ReceiptReason.NO_CHECKPOINT, "a receipt ends in a checkpoint")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownLeg:
    """One leg record, its number in the entry, and its path to the entry's legs root.

    Raises :class:`ReceiptRefused` on construction: ``LEG_LINE``, ``PATH_LINE``, ``PATH_TOO_LONG``.
    """

    index: int
    record: bytes
    path: tuple[bytes, ...]

    def __post_init__(self) -> None:
        _require_number(self.index, ReceiptReason.LEG_LINE)
        if len(self.record) != LEG_BYTES:
            raise ReceiptRefused(ReceiptReason.LEG_LINE, f"a leg has {LEG_BYTES} bytes")
        _require_path(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class LegReceipt:
    """Legs of an entry and the receipt of the entry; nothing in it is verified yet.

    Raises :class:`ReceiptRefused` on construction: ``NO_LEGS``, ``TOO_MANY_LEGS``, ``LEG_ORDER``.
    """

    legs: tuple[ShownLeg, ...]
    entry: EntryReceipt

    def __post_init__(self) -> None:
        if not self.legs:
            raise ReceiptRefused(ReceiptReason.NO_LEGS, "a leg receipt shows a leg")
        if len(self.legs) > LEGS_SHOWN_MAX:
            raise ReceiptRefused(
                ReceiptReason.TOO_MANY_LEGS, f"a leg receipt shows at most {LEGS_SHOWN_MAX} legs"
            )
        numbers = [leg.index for leg in self.legs]
        if numbers != sorted(set(numbers)):
            raise ReceiptRefused(ReceiptReason.LEG_ORDER, "legs stand in the order of the entry, each once")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenEntry:
    """A leaf of the log, the checkpoint that it was hashed to, and which log keys signed that."""

    leaf: Leaf
    checkpoint: VerifiedCheckpoint
    signers: tuple[VerifierKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenLegs:
    """Legs of ``account`` in a proven entry, by their number in it."""

    entry: "VerifiedEntry"
    account: AccountId
    legs: tuple[tuple[int, LegRecord], ...]

    @property
    def amount(self) -> int:
        """Sum of the legs shown, debit positive."""
        return sum(leg.amount for _, leg in self.legs)


VerifiedEntry = NewType("VerifiedEntry", ProvenEntry)
"""An entry that stands in the log. Only :func:`verify_entry` makes one."""

VerifiedLegs = NewType("VerifiedLegs", ProvenLegs)
"""Legs of one account that stand in the log. Only :func:`verify_legs` makes one."""


# --- making --------------------------------------------------------------------------------------------


def prove_entry(tree: TiledTree, index: int, note: bytes) -> EntryReceipt:
    """The receipt of the leaf at ``index`` under the checkpoint ``note``, which must be the one of ``tree``.

    Raises :class:`ReceiptRefused` (``OTHER_TREE``), and all that :class:`TiledTree` and ``parse_note`` raise.
    """
    checkpoint = parse_checkpoint_body(parse_note(note).text)
    if (checkpoint.size, checkpoint.root) != (tree.size, tree.root):
        raise ReceiptRefused(ReceiptReason.OTHER_TREE, "the checkpoint is not the one of this tree")
    return EntryReceipt(index=index, path=tree.inclusion_path(index), note=note, extra=tree.leaf(index))


def show_legs(entry: EntryReceipt, records: Sequence[bytes], account: AccountId) -> LegReceipt:
    """The receipt of all legs of ``account`` among ``records``, which are all legs of the entry.

    Raises :class:`ReceiptRefused`: ``NO_LEAF``, ``LEAF``, ``OTHER_ENTRY`` (the records are not the entry's),
    ``NO_LEGS`` (none is the account's), ``TOO_MANY_LEGS``; ``RecordMalformed`` for a record that is no leg.
    """
    hashes = [leaf_hash(record) for record in records]
    if tree_root(hashes) != _decoded(_carried(entry)).legs_root:
        raise ReceiptRefused(ReceiptReason.OTHER_ENTRY, "these are not the legs of this entry")
    shown = tuple(
        ShownLeg(index=index, record=record, path=inclusion_path(hashes, index))
        for index, record in enumerate(records)
        if decode_leg(record).account_id == account
    )
    return LegReceipt(legs=shown, entry=entry)


# --- text ----------------------------------------------------------------------------------------------


def format_entry(receipt: EntryReceipt) -> bytes:
    """The one spelling of ``receipt`` (C2SP tlog-proof)."""
    extra = [] if receipt.extra is None else [_EXTRA + _base64(receipt.extra)]
    head = [PROOF_LINE, *extra, f"{_INDEX}{receipt.index}", *map(_base64, receipt.path)]
    return _text(head) + receipt.note


def parse_entry(data: bytes) -> EntryReceipt:
    """The entry receipt in ``data``, or any other tlog-proof; nothing is verified.

    Raises :class:`ReceiptRefused`: ``TOO_LONG``, ``NO_CHECKPOINT``, ``NOT_TEXT``, ``KIND``, ``EXTRA_LINE``,
    ``INDEX_LINE``, ``PATH_LINE``, ``PATH_TOO_LONG``.
    """
    lines, note = _split(data, PROOF_LINE)
    extra = None
    if _is(lines, _EXTRA):
        extra = _bytes(lines[0].removeprefix(_EXTRA), ReceiptReason.EXTRA_LINE)
        lines = lines[1:]
    if not _is(lines, _INDEX):
        raise ReceiptRefused(ReceiptReason.INDEX_LINE, "the line that says the index is missing")
    index = _number(lines[0].removeprefix(_INDEX), ReceiptReason.INDEX_LINE)
    return EntryReceipt(index=index, path=_path(lines[1:]), note=note, extra=extra)


def is_leg_receipt(data: bytes) -> bool:
    """Whether ``data`` begins as a leg receipt does; nothing else is looked at."""
    return data.startswith(f"{LEGS_LINE}\n".encode())


def format_legs(receipt: LegReceipt) -> bytes:
    """The one spelling of ``receipt``."""
    head = [LEGS_LINE]
    for leg in receipt.legs:
        head += [f"{_LEG}{leg.index} {_base64(leg.record)}", *map(_base64, leg.path)]
    return _text(head) + format_entry(receipt.entry)


def parse_legs(data: bytes) -> LegReceipt:
    """The leg receipt in ``data``; nothing is verified.

    Raises :class:`ReceiptRefused`: all reasons of :func:`parse_entry`, ``LEG_LINE``, ``NO_LEGS``,
    ``TOO_MANY_LEGS``, ``LEG_ORDER``.
    """
    lines, rest = _split(data, LEGS_LINE)
    if lines and not _is(lines, _LEG):
        raise ReceiptRefused(ReceiptReason.LEG_LINE, "a line that says a leg is missing")
    starts = [number for number, line in enumerate(lines) if line.startswith(_LEG)]
    legs = [_shown_leg(lines[start:end]) for start, end in pairwise((*starts, len(lines)))]
    return LegReceipt(legs=tuple(legs), entry=parse_entry(rest))


def _shown_leg(lines: Sequence[str]) -> ShownLeg:
    number, _, record = lines[0].removeprefix(_LEG).partition(" ")
    return ShownLeg(
        index=_number(number, ReceiptReason.LEG_LINE),
        record=_bytes(record, ReceiptReason.LEG_LINE),
        path=_path(lines[1:]),
    )


# --- verifying -----------------------------------------------------------------------------------------


def verify_entry(receipt: EntryReceipt, *, origin: str, log_keys: Sequence[VerifierKey]) -> VerifiedEntry:
    """The entry that ``receipt`` proves to stand in the log ``origin``, which signs with ``log_keys``.

    Raises :class:`ReceiptRefused`: ``NO_LEAF``, ``LEAF``, ``OTHER_LOG``, ``OTHER_INDEX``; ``NoteRefused`` and
    ``KeyRefused`` for all reasons of ``open_note``; ``ProofRefused`` for all of ``verify_inclusion``
    (C2SP tlog-proof, whose steps 1 to 4 follow).
    """
    data = _carried(receipt)
    leaf, hashed = _decoded(data), leaf_hash(data)  # step 1
    opened = open_note(receipt.note, log_keys)  # step 2; step 3, witnesses, is for the policy of the caller
    checkpoint = opened.checkpoint
    if checkpoint.origin != origin:
        raise ReceiptRefused(ReceiptReason.OTHER_LOG, f"the checkpoint is of the log {checkpoint.origin}")
    if leaf.sequence != receipt.index:
        raise ReceiptRefused(ReceiptReason.OTHER_INDEX, f"the leaf says that it is number {leaf.sequence}")
    verify_inclusion(hashed, receipt.index, checkpoint.size, receipt.path, checkpoint.root)  # step 4
    return VerifiedEntry(ProvenEntry(leaf=leaf, checkpoint=checkpoint, signers=opened.signers))


def verify_legs(
    receipt: LegReceipt, *, account: AccountId, origin: str, log_keys: Sequence[VerifierKey]
) -> VerifiedLegs:
    """The legs of ``account`` that ``receipt`` proves. Other arguments and errors as in :func:`verify_entry`,
    and ``OTHER_ACCOUNT`` for a leg of another account; ``ProofRefused`` also for the paths of the legs.
    """
    entry = verify_entry(receipt.entry, origin=origin, log_keys=log_keys)
    leaf, legs = entry.leaf, []
    for shown in receipt.legs:
        verify_inclusion(leaf_hash(shown.record), shown.index, leaf.leg_count, shown.path, leaf.legs_root)
        leg = decode_leg(shown.record)
        if leg.account_id != account:
            raise ReceiptRefused(
                ReceiptReason.OTHER_ACCOUNT, f"leg {shown.index} is of account {leg.account_id.hex()}"
            )
        legs.append((shown.index, leg))
    return VerifiedLegs(ProvenLegs(entry=entry, account=account, legs=tuple(legs)))


def _carried(receipt: EntryReceipt) -> bytes:
    if receipt.extra is None:
        raise ReceiptRefused(ReceiptReason.NO_LEAF, "the receipt does not carry the leaf that it is about")
    return receipt.extra


def _decoded(data: bytes) -> Leaf:
    try:
        return decode_leaf(data)
    except RecordMalformed as malformed:
        raise ReceiptRefused(ReceiptReason.LEAF, str(malformed)) from None


# --- lines ---------------------------------------------------------------------------------------------


def _text(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in (*lines, "")).encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _split(data: bytes, first_line: str) -> tuple[list[str], bytes]:
    """The lines between ``first_line`` and the first empty one, and all that stands after that."""
    if len(data) > RECEIPT_BYTES_MAX:
        raise ReceiptRefused(ReceiptReason.TOO_LONG, f"a receipt has at most {RECEIPT_BYTES_MAX} bytes")
    head, _, rest = data.partition(b"\n\n")
    if not rest:
        raise ReceiptRefused(ReceiptReason.NO_CHECKPOINT, "nothing stands after an empty line")
    try:
        kind, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise ReceiptRefused(ReceiptReason.NOT_TEXT, "the lines before the empty one are ASCII") from None
    if kind != first_line:
        raise ReceiptRefused(ReceiptReason.KIND, f"this receipt starts with {first_line}")
    return lines, rest


def _is(lines: Sequence[str], word: str) -> bool:
    """Whether the next line is one of this kind."""
    return bool(lines) and lines[0].startswith(word)


def _number(text: str, reason: ReceiptReason) -> int:
    if not _NUMBER.fullmatch(text):
        raise ReceiptRefused(reason, "a number is decimal without leading zeros")
    return int(text)


def _bytes(text: str, reason: ReceiptReason) -> bytes:
    try:
        return decode_base64(text)
    except ValueError:
        raise ReceiptRefused(reason, "this line's base64 is not canonical") from None


def _path(lines: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(_bytes(line, ReceiptReason.PATH_LINE) for line in lines)


def _require_path(path: tuple[bytes, ...]) -> None:
    if len(path) > PATH_MAX:
        raise ReceiptRefused(ReceiptReason.PATH_TOO_LONG, f"a path has at most {PATH_MAX} hashes")
    if any(len(one) != HASH_BYTES for one in path):
        raise ReceiptRefused(ReceiptReason.PATH_LINE, f"every hash of a path has {HASH_BYTES} bytes")


def _require_number(number: int, reason: ReceiptReason) -> None:
    if not 0 <= number < 2**63:
        raise ReceiptRefused(reason, f"{number} is no number of an entry or of a leg")
