"""Liabilities: the sum tree by which a member checks that what it is owed was counted (attestation.md §6).

Rules kept here. The totals that an attestation states are the sums at the top of a Merkle tree with one leaf for
each ledger account that is owed something. A node hashes the sums of **both** children: with their sum alone
(Maxwell's form) debts of 100 and of 90 can both be shown to stand under a total of 100. Amounts are unsigned
integers of at most 2^96 − 1, of a tree of at most 2^32 leaves, so that every sum fits 128 bits; no subtree states
more than its leaves can hold. Leaves stand in the order of their blinded ids, each once; who sees a neighbour on
its path sees an id only behind a hash, and another one in every snapshot. All integers are big-endian::

    ctx           = SHA-256("clearing/liabilities@v1" 0A ‖ origin bytes u16 ‖ origin (UTF-8) ‖ snapshot u64 ‖
                    journal size u64 ‖ journal root (32) ‖ number of units u16 ‖
                    each unit: its bytes u8 ‖ unit (ASCII) ‖ cap u128)
    member secret = HMAC-SHA256(the house's blinding secret (32), member id (ASCII))
    blinded id    = HMAC-SHA256(member secret, snapshot u64 ‖ account path (ASCII))
    leaf          = SHA-256(10 ‖ ctx ‖ blinded id ‖ amounts)                  amounts, sums: u128 each,
    node          = SHA-256(11 ‖ ctx ‖ sums L ‖ hash L ‖ sums R ‖ hash R)     one a unit, in the order of ctx
    root          = SHA-256(12 ‖ ctx ‖ leaf count u64 ‖ sums ‖ hash)

The tree is split as RFC 6962 does, at the largest power of two below its size; one leaf is its own top, and the top
of no leaves is SHA-256("") with sums of zero. The snapshot is the sequence of the attestation.

A proof is text in one spelling. Every line ends in newline; base64 is standard, padded and canonical, of 32 bytes;
numbers are decimal without leading zeros; at most 2,000,000 bytes::

    "clearing/liability-proof@v1"
    "origin " origin of the journal
    "snapshot " sequence of the attestation
    "size " journal size
    "root " base64(journal root)
    "unit " unit                                   1 to 1,000 lines, ascending
    "account " ledger account path
    "secret " base64(member secret)
    "amounts " one number a unit, between single spaces
    "count " number of leaves
    "index " number of the leaf, from 0
    "node " sums as in amounts " " base64(hash)    none to 32 lines, from the leaf upwards
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from operator import add
from typing import NewType

from clearing.attest.statement import Liabilities, Statement, attested_tree
from ledger.account import PATH_LENGTH_MAX, PATH_PATTERN, UNIT_PATTERN
from ledger.checkpoint import Checkpoint, NoteRefused, decode_base64
from ledger.merkle import EMPTY_ROOT, HASH_BYTES

AMOUNT_CAP = 2**96 - 1
DEPTH_MAX = 32
LEAVES_MAX = 2**DEPTH_MAX
UNITS_MAX = 1_000
SNAPSHOT_MAX = 2**63 - 1
SECRET_BYTES = 32
PROOF_BYTES_MAX = 2_000_000
PROOF_LINE = "clearing/liability-proof@v1"

_CONTEXT_TAG = b"clearing/liabilities@v1\n"
_LEAF, _NODE, _ROOT = b"\x10", b"\x11", b"\x12"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,38}", re.ASCII)


class LiabilityReason(Enum):
    """Why a tree was not built or a proof was refused; the values are stable."""

    TOO_LONG = "liability_proof_too_long"
    NOT_TEXT = "liability_proof_not_text"
    KIND = "liability_proof_kind"
    LINE = "liability_proof_line"
    CONTEXT = "liability_context"
    UNITS = "liability_units"
    ACCOUNT = "liability_account"
    SECRET = "liability_secret"  # noqa: S105 - a reason
    AMOUNT = "liability_amount"
    COUNT = "liability_count"
    INDEX = "liability_index"
    PATH_LENGTH = "liability_path_length"
    SUM = "liability_sum"
    HASH = "liability_hash"
    COUNTED_TWICE = "liability_counted_twice"
    NOT_COUNTED = "liability_not_counted"
    OTHER_LOG = "liability_of_another_log"
    OTHER_SNAPSHOT = "liability_of_another_snapshot"
    OTHER_TREE = "liability_of_another_tree"
    OTHER_UNITS = "liability_of_other_units"
    OTHER_ACCOUNT = "liability_of_another_account"
    OTHER_COUNT = "liability_under_another_count"
    OTHER_TOTALS = "liability_under_other_totals"
    OTHER_ROOT = "liability_under_another_root"


class LiabilityRefused(ValueError):
    """A tree that cannot be built, or a proof that cannot be accepted; ``reason`` says why."""

    def __init__(self, reason: LiabilityReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


# --- values --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What every hash of a tree is bound to: the journal as it was attested, the attestation's sequence, and the
    units in the order of the amounts, ascending.

    Raises :class:`LiabilityRefused` on construction: ``CONTEXT`` (a snapshot below 1), ``UNITS``.
    """

    journal: Checkpoint
    snapshot: int
    units: tuple[str, ...]

    def __post_init__(self) -> None:
        if not 1 <= self.snapshot <= SNAPSHOT_MAX:
            raise LiabilityRefused(
                LiabilityReason.CONTEXT, f"{self.snapshot} is no sequence of an attestation"
            )
        named = all(UNIT_PATTERN.fullmatch(unit) for unit in self.units)
        ascending = all(one < other for one, other in pairwise(self.units))
        if not (1 <= len(self.units) <= UNITS_MAX and named and ascending):
            raise LiabilityRefused(LiabilityReason.UNITS, f"1 to {UNITS_MAX} units, ascending, each once")

    def digest(self) -> bytes:
        """``ctx``: SHA-256 of all this and of the cap."""
        origin, journal = self.journal.origin.encode(), self.journal
        units = [bytes([len(unit)]) + unit.encode("ascii") for unit in self.units]
        return hashlib.sha256(
            _CONTEXT_TAG
            + len(origin).to_bytes(2, "big")
            + origin
            + self.snapshot.to_bytes(8, "big")
            + journal.size.to_bytes(8, "big")
            + journal.root
            + len(units).to_bytes(2, "big")
            + b"".join(units)
            + AMOUNT_CAP.to_bytes(16, "big")
        ).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """What a ledger account is owed, by unit in smallest units, and the secret of the member whose it is.

    Raises :class:`LiabilityRefused` on construction: ``ACCOUNT``, ``SECRET``.
    """

    account: str
    secret: bytes
    amounts: Mapping[str, int]

    def __post_init__(self) -> None:
        _require_account(self.account)
        _require_secret(self.secret)


@dataclass(frozen=True, slots=True)
class Node:
    """A subtree: its sums, one a unit, and its hash."""

    sums: tuple[int, ...]
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """A tree with all its levels, the leaves first. Only :func:`sums_over` and :func:`grow` make one."""

    context: Context
    levels: tuple[tuple[Node, ...], ...]

    @property
    def count(self) -> int:
        """How many leaves there are."""
        return len(self.levels[0])

    @property
    def top(self) -> Node:
        """The node that the root is made of."""
        return self.levels[-1][0] if self.count else Node((0,) * len(self.context.units), EMPTY_ROOT)

    @property
    def root(self) -> bytes:
        """What the attestation states."""
        return _root(self.context.digest(), self.count, self.top)

    @property
    def totals(self) -> dict[str, int]:
        """The sums of all leaves by unit, in smallest units."""
        return dict(zip(self.context.units, self.top.sums, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class SumTree(Sums):
    """A tree that knows whose its leaves are: ``leaves`` in their order, and their numbers by account."""

    leaves: tuple[Owed, ...]
    numbers: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """That ``account`` is owed ``amounts``, one a unit of the context, as leaf ``index`` of ``count``; ``path`` leads
    from the leaf upwards. It is well-formed, and nothing in it is verified yet.

    Who has the secret can tell the member's leaves from others wherever it sees one: it is the member's to show.
    Raises :class:`LiabilityRefused` on construction: ``ACCOUNT``, ``SECRET``, ``AMOUNT``, ``COUNT``, ``INDEX``,
    ``PATH_LENGTH``, ``SUM``, ``HASH``.
    """

    context: Context
    account: str
    secret: bytes
    amounts: tuple[int, ...]
    count: int
    index: int
    path: tuple[Node, ...]

    def __post_init__(self) -> None:
        _require_account(self.account)
        _require_secret(self.secret)
        _require_amounts(self.amounts, len(self.context.units))
        if not 1 <= self.count <= LEAVES_MAX:
            raise LiabilityRefused(LiabilityReason.COUNT, f"a tree with a proof has 1 to {LEAVES_MAX} leaves")
        if not 0 <= self.index < self.count:
            raise LiabilityRefused(LiabilityReason.INDEX, f"no leaf {self.index} among {self.count} leaves")
        siblings = _siblings(self.index, self.count)
        if len(self.path) != len(siblings):
            raise LiabilityRefused(
                LiabilityReason.PATH_LENGTH, f"the path has {len(siblings)} nodes, not {len(self.path)}"
            )
        for node, sibling in zip(self.path, siblings, strict=True):
            _require_node(node, sibling.leaves, len(self.context.units))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenBalance:
    """What ``account`` is owed by unit, in smallest units, counted in the totals attested in ``context``."""

    context: Context
    account: str
    amounts: Mapping[str, int]


VerifiedBalance = NewType("VerifiedBalance", ProvenBalance)
"""A balance that is counted in attested totals. Only :func:`verify_proof` makes one."""


# --- secrets -------------------------------------------------------------------------------------------


def member_secret(blinding: bytes, member: str) -> bytes:
    """The secret of one member, from the house's blinding secret: it can be given away, and no other follows.

    Raises :class:`LiabilityRefused` (``SECRET``) unless ``blinding`` has 32 bytes.
    """
    _require_secret(blinding)
    return hmac.digest(blinding, member.encode("ascii"), "sha256")


def blinded_id(secret: bytes, snapshot: int, account: str) -> bytes:
    """What an account is called in one snapshot."""
    return hmac.digest(secret, snapshot.to_bytes(8, "big") + account.encode("ascii"), "sha256")


# --- the tree ------------------------------------------------------------------------------------------


def grow(context: Context, owed: Iterable[Owed]) -> SumTree:
    """The tree over ``owed``, whose order does not matter; units that are not named are owed nothing.

    Raises :class:`LiabilityRefused`: ``UNITS`` (one that the context lacks), ``AMOUNT``, ``COUNTED_TWICE``,
    ``COUNT``.
    """
    accounts = list(owed)
    named = {blinded_id(one.secret, context.snapshot, one.account): one for one in accounts}
    if not len(named) == len({one.account for one in accounts}) == len(accounts):
        raise LiabilityRefused(LiabilityReason.COUNTED_TWICE, "an account is counted twice")
    leaves = tuple(named[name] for name in sorted(named))
    return SumTree(
        context=context,
        leaves=leaves,
        levels=sums_over(context, {name: one.amounts for name, one in named.items()}).levels,
        numbers={one.account: number for number, one in enumerate(leaves)},
    )


def sums_over(context: Context, amounts: Mapping[bytes, Mapping[str, int]]) -> Sums:
    """The same tree over amounts by unit under their blinded ids, for who knows these and no secret.

    Raises :class:`LiabilityRefused`: ``UNITS``, ``AMOUNT``, ``COUNT``.
    """
    if len(amounts) > LEAVES_MAX:
        raise LiabilityRefused(LiabilityReason.COUNT, f"a tree has at most {LEAVES_MAX} leaves")
    ctx, leaves = context.digest(), []
    for name in sorted(amounts):
        ordered = _in_order(context, amounts[name])
        leaves.append(Node(ordered, _leaf(ctx, name, ordered)))
    levels = [tuple(leaves)]
    while len(levels[-1]) > 1:
        levels.append(_above(ctx, levels[-1]))
    return Sums(context=context, levels=tuple(levels))


def prove(tree: SumTree, account: str) -> Proof:
    """The proof of what ``account`` is owed. Raises :class:`LiabilityRefused` (``NOT_COUNTED``) without a leaf."""
    if account not in tree.numbers:
        raise LiabilityRefused(LiabilityReason.NOT_COUNTED, f"nothing is owed on {account}")
    index = number = tree.numbers[account]
    path = []
    for level in tree.levels[:-1]:
        if number ^ 1 < len(level):
            path.append(level[number ^ 1])
        number >>= 1
    return Proof(
        context=tree.context,
        account=account,
        secret=tree.leaves[index].secret,
        amounts=tree.levels[0][index].sums,
        count=len(tree.leaves),
        index=index,
        path=tuple(path),
    )


def context_of(statement: Statement) -> Context:
    """What the tree of a statement is bound to."""
    return Context(
        journal=attested_tree(statement.journal),
        snapshot=statement.sequence,
        units=tuple(sorted(statement.liabilities.totals_minor)),
    )


def verify_proof(proof: Proof, *, context: Context, attested: Liabilities, account: str) -> VerifiedBalance:
    """The balance of ``account`` that ``proof`` shows to be counted in what was ``attested`` in ``context``.

    Both must come from a verified statement; the account is the one that the caller knows to be its own.
    Raises :class:`LiabilityRefused` for all reasons that begin with ``OTHER``.
    """
    _require_same(proof, context, account)
    ctx = context.digest()
    name = blinded_id(proof.secret, context.snapshot, account)
    top = Node(proof.amounts, _leaf(ctx, name, proof.amounts))
    for node, sibling in zip(proof.path, _siblings(proof.index, proof.count), strict=True):
        top = _node(ctx, node, top) if sibling.is_left else _node(ctx, top, node)
    if proof.count != attested.leaf_count:
        raise LiabilityRefused(
            LiabilityReason.OTHER_COUNT, f"of {proof.count} leaves, {attested.leaf_count} are attested"
        )
    if dict(zip(context.units, top.sums, strict=True)) != dict(attested.totals_minor):
        raise LiabilityRefused(LiabilityReason.OTHER_TOTALS, "the sums are not the totals attested")
    if _root(ctx, proof.count, top) != attested.root:
        raise LiabilityRefused(LiabilityReason.OTHER_ROOT, "the path leads to another root")
    amounts = dict(zip(context.units, proof.amounts, strict=True))
    return VerifiedBalance(ProvenBalance(context=context, account=account, amounts=amounts))


def _require_same(proof: Proof, context: Context, account: str) -> None:
    found, journal = proof.context, proof.context.journal
    if journal.origin != context.journal.origin:
        raise LiabilityRefused(LiabilityReason.OTHER_LOG, f"the proof is of the log {journal.origin}")
    if found.snapshot != context.snapshot:
        raise LiabilityRefused(
            LiabilityReason.OTHER_SNAPSHOT, f"the proof is of attestation {found.snapshot}"
        )
    if journal != context.journal:
        raise LiabilityRefused(
            LiabilityReason.OTHER_TREE, f"the proof is of another journal of {journal.size} leaves"
        )
    if found.units != context.units:
        raise LiabilityRefused(LiabilityReason.OTHER_UNITS, "the proof counts other units")
    if proof.account != account:
        raise LiabilityRefused(LiabilityReason.OTHER_ACCOUNT, f"the proof is of {proof.account}")


# --- hashes --------------------------------------------------------------------------------------------


def _leaf(ctx: bytes, name: bytes, amounts: Sequence[int]) -> bytes:
    return hashlib.sha256(_LEAF + ctx + name + _u128(amounts)).digest()


def _node(ctx: bytes, left: Node, right: Node) -> Node:
    data = _NODE + ctx + _u128(left.sums) + left.hash + _u128(right.sums) + right.hash
    return Node(tuple(map(add, left.sums, right.sums)), hashlib.sha256(data).digest())


def _root(ctx: bytes, count: int, top: Node) -> bytes:
    return hashlib.sha256(_ROOT + ctx + count.to_bytes(8, "big") + _u128(top.sums) + top.hash).digest()


def _u128(amounts: Sequence[int]) -> bytes:
    return b"".join([amount.to_bytes(16, "big") for amount in amounts])


def _above(ctx: bytes, nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The level above: an unpaired last node moves up as it is (no duplication)."""
    one = iter(nodes)
    parents = [_node(ctx, left, right) for left, right in zip(one, one, strict=False)]
    return (*parents, *nodes[len(parents) * 2 :])


@dataclass(frozen=True, slots=True)
class _Sibling:
    """The subtree beside a path: on which side it stands, and how many leaves it has."""

    is_left: bool
    leaves: int


def _siblings(index: int, count: int) -> tuple[_Sibling, ...]:
    """What stands beside the path of leaf ``index`` of ``count``, from the leaf upwards (RFC 6962 §2.1.1)."""
    found = []
    while count > 1:
        split = 1 << ((count - 1).bit_length() - 1)
        if index < split:
            found.append(_Sibling(is_left=False, leaves=count - split))
            count = split
        else:
            found.append(_Sibling(is_left=True, leaves=split))
            index, count = index - split, count - split
    return tuple(reversed(found))


def _in_order(context: Context, amounts: Mapping[str, int]) -> tuple[int, ...]:
    if not amounts.keys() <= set(context.units):
        raise LiabilityRefused(LiabilityReason.UNITS, "something is owed in a unit that is not counted")
    ordered = tuple([amounts.get(unit, 0) for unit in context.units])
    _require_amounts(ordered, len(ordered))
    return ordered


# --- text ----------------------------------------------------------------------------------------------


def format_proof(proof: Proof) -> bytes:
    """The one spelling of ``proof``."""
    journal = proof.context.journal
    lines = [
        PROOF_LINE,
        f"origin {journal.origin}",
        f"snapshot {proof.context.snapshot}",
        f"size {journal.size}",
        f"root {_base64(journal.root)}",
        *(f"unit {unit}" for unit in proof.context.units),
        f"account {proof.account}",
        f"secret {_base64(proof.secret)}",
        f"amounts {_numbers(proof.amounts)}",
        f"count {proof.count}",
        f"index {proof.index}",
        *(f"node {_numbers(node.sums)} {_base64(node.hash)}" for node in proof.path),
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def parse_proof(data: bytes) -> Proof:
    """The proof in ``data``; nothing is verified.

    Raises :class:`LiabilityRefused`: ``TOO_LONG``, ``NOT_TEXT``, ``KIND``, ``LINE``, and all that :class:`Context`
    and :class:`Proof` raise.
    """
    lines = _Lines(data)
    context = _parse_context(lines)
    account = lines.take("account")
    secret = _parse_base64(lines.take("secret"))
    amounts = _parse_numbers(lines.take("amounts").split(" "))
    count, index = _parse_number(lines.take("count")), _parse_number(lines.take("index"))
    path = [_parse_node(line) for line in lines.take_all("node")]
    lines.end()
    return Proof(
        context=context,
        account=account,
        secret=secret,
        amounts=amounts,
        count=count,
        index=index,
        path=tuple(path),
    )


class _Lines:
    """The lines of a proof, read from the first to the last."""

    def __init__(self, data: bytes) -> None:
        if len(data) > PROOF_BYTES_MAX:
            raise LiabilityRefused(LiabilityReason.TOO_LONG, f"a proof has at most {PROOF_BYTES_MAX} bytes")
        try:
            kind, *self._lines = data.decode().split("\n")
        except UnicodeDecodeError:
            raise LiabilityRefused(LiabilityReason.NOT_TEXT, "a proof is UTF-8 text") from None
        if kind != PROOF_LINE:
            raise LiabilityRefused(LiabilityReason.KIND, f"a proof starts with {PROOF_LINE}")
        self._next = 0

    def take(self, word: str) -> str:
        """What the next line says, which must begin with ``word``."""
        if not self._is(word):
            raise _line(f"line {self._next + 2} must begin with {word!r}")
        self._next += 1
        return self._lines[self._next - 1].removeprefix(f"{word} ")

    def take_all(self, word: str) -> list[str]:
        """What all lines from here that begin with ``word`` say."""
        found = []
        while self._is(word):
            found.append(self.take(word))
        return found

    def end(self) -> None:
        """The last line was ended by newline, and nothing stands behind it."""
        if self._lines[self._next :] != [""]:
            raise _line(f"line {self._next + 2} does not belong to a proof")

    def _is(self, word: str) -> bool:
        return self._next < len(self._lines) and self._lines[self._next].startswith(f"{word} ")


def _parse_context(lines: _Lines) -> Context:
    origin = lines.take("origin")
    snapshot, size = _parse_number(lines.take("snapshot")), _parse_number(lines.take("size"))
    root = _parse_base64(lines.take("root"))
    try:
        journal = Checkpoint(origin=origin, size=size, root=root)
    except NoteRefused as refused:
        raise LiabilityRefused(LiabilityReason.CONTEXT, str(refused)) from None
    return Context(journal=journal, snapshot=snapshot, units=tuple(lines.take_all("unit")))


def _parse_node(text: str) -> Node:
    *sums, encoded = text.split(" ")
    return Node(_parse_numbers(sums), _parse_base64(encoded))


def _parse_numbers(texts: Sequence[str]) -> tuple[int, ...]:
    return tuple(_parse_number(text) for text in texts)


def _parse_number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise _line("a number is decimal without sign or leading zeros")
    return int(text)


def _parse_base64(text: str) -> bytes:
    try:
        return decode_base64(text)
    except ValueError:
        raise _line("the base64 of a line is not canonical") from None


def _numbers(amounts: Sequence[int]) -> str:
    return " ".join(map(str, amounts))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _line(sentence: str) -> LiabilityRefused:
    return LiabilityRefused(LiabilityReason.LINE, sentence)


# --- what must hold ------------------------------------------------------------------------------------


def _require_account(path: str) -> None:
    if len(path) > PATH_LENGTH_MAX or not PATH_PATTERN.fullmatch(path):
        raise LiabilityRefused(LiabilityReason.ACCOUNT, f"{path!r} is no path of a ledger account")


def _require_secret(secret: bytes) -> None:
    if len(secret) != SECRET_BYTES:
        raise LiabilityRefused(LiabilityReason.SECRET, f"a secret has {SECRET_BYTES} bytes")


def _require_amounts(amounts: Sequence[int], width: int) -> None:
    if len(amounts) != width or min(amounts) < 0 or max(amounts) > AMOUNT_CAP:
        raise LiabilityRefused(
            LiabilityReason.AMOUNT, f"amounts are {width} numbers from 0 to {AMOUNT_CAP}, one a unit"
        )


def _require_node(node: Node, leaves: int, width: int) -> None:
    most = leaves * AMOUNT_CAP
    if len(node.sums) != width or not all(0 <= one <= most for one in node.sums):
        raise LiabilityRefused(
            LiabilityReason.SUM, f"{leaves} leaves have {width} sums from 0 to {most}, one a unit"
        )
    if len(node.hash) != HASH_BYTES:
        raise LiabilityRefused(LiabilityReason.HASH, f"a hash has {HASH_BYTES} bytes")
