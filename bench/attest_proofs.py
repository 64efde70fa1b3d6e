"""Proofs about single leaves: their size in bytes and how long one is checked, as what they are of grows.

Journals of a million and ten million entries are made up: their leaf hashes repeat every 256 leaves, so that a level
has one tile, which the reader cuts to the width that is asked for. Nothing else is different in them: paths are as
long as ever, every proof is made from tiles and checked against the root. A liability tree of a million leaves (2^20)
holds one leaf that is ours and the same stranger beside it everywhere, and shares the subtrees without ours.

The naive way, at 10,000 leaves: who has all of them makes the root again. Proofs of larger trees are held against those
of the smallest, which shows that they grow as the logarithm does.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from random import Random

from bench.attest_house import KEYS
from bench.rows import Row, held_against, microseconds, row, seconds
from bench.run import Run
from clearing.attest.liabilities import (
    Context,
    Node,
    Owed,
    SumTree,
    format_proof,
    grow,
    member_secret,
    parse_proof,
    prove,
    verify_proof,
)
from clearing.attest.statement import Liabilities
from ledger.checkpoint import Checkpoint
from ledger.merkle import (
    EMPTY_ROOT,
    HASH_BYTES,
    Frontier,
    leaf_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from ledger.tiles import TILE_WIDTH, Tile, TiledTree, parse_path

SIZES = {"10k": 10_000, "1m": 1_000_000, "10m": 10_000_000}
PROOFS = 300
NAIVE = 5
OWED_10K, OWED_1M = 10_000, 2**20
UNITS = ("TOKA", "TOKB", "USDC")
CONTEXT = Context(journal=Checkpoint(origin=KEYS.origin, size=1, root=EMPTY_ROOT), snapshot=1, units=UNITS)


def rows(run: Run) -> Iterator[Row]:
    """Inclusion and consistency at three sizes of the journal, then liabilities at two of theirs."""
    trees = {name: repeating(size) for name, size in SIZES.items()}
    run.tell("proofs of a journal")
    for kind, proofs in (("inclusion", _inclusions), ("consistency", _consistencies)):
        small: Row | None = None
        for name, tree in trees.items():
            size, checked = _checked(f"attest.{kind}_{name}", list(proofs(tree)), small)
            yield size
            yield checked
            small = small or checked
        if small is not None:
            yield _rehashed(f"{small.name}.naive", small)
    run.tell("liabilities")
    yield from _liabilities()


# --- the journal ---------------------------------------------------------------------------------------


def repeating(size: int) -> TiledTree:
    """A tree of so many leaves whose hashes repeat every 256; it takes a tile a level."""
    levels: list[Sequence[bytes]] = [[leaf_hash(bytes([number])) for number in range(TILE_WIDTH)]]
    while size >> 8 * len(levels):
        levels.append([tree_root(levels[-1])] * TILE_WIDTH)
    peaks: list[bytes] = []
    for level, hashes in enumerate(levels):
        ends = hashes[: (size >> 8 * level) % TILE_WIDTH]
        peaks = [*Frontier().extend(ends).peaks, *peaks]

    def read(path: str) -> bytes:
        tile = parse_path(path)
        if not isinstance(tile, Tile):
            raise FileNotFoundError(path)
        return tile.encode(levels[tile.level][: tile.width])

    return TiledTree(size, Frontier(size, tuple(peaks)).root(), read)


Proven = tuple[int, Callable[[], None]]
"""The bytes of a proof, and its check."""


def _inclusions(tree: TiledTree) -> Iterator[Proven]:
    dice = Random(tree.size)
    for index in (dice.randrange(tree.size) for _ in range(PROOFS)):
        path, leaf = tree.inclusion_path(index), tree.leaf_hash(index)
        check = partial(verify_inclusion, leaf, index, tree.size, path, tree.root)
        yield len(path) * HASH_BYTES, check


def _consistencies(tree: TiledTree) -> Iterator[Proven]:
    dice = Random(tree.size)
    for old in (dice.randrange(1, tree.size) for _ in range(PROOFS)):
        path, root = tree.consistency_path(old), tree.root_at(old)
        check = partial(verify_consistency, old, root, tree.size, tree.root, path)
        yield len(path) * HASH_BYTES, check


def _checked(name: str, proofs: Sequence[Proven], small: Row | None) -> tuple[Row, Row]:
    """Sizes and checks, these held against the checks of the smallest tree; one that refused would end the run."""
    sizes = [float(size) for size, _ in proofs]
    taken = [microseconds(check) for _, check in proofs]
    against = None if small is None else held_against(small)
    return (
        row(f"{name}.bytes", sizes, unit="bytes", better="lower"),
        row(name, taken, unit="µs", better="lower", baseline=against),
    )


def _rehashed(name: str, proof: Row) -> Row:
    leaves = [number.to_bytes(108, "big") for number in range(SIZES["10k"])]
    taken = [microseconds(lambda: tree_root([leaf_hash(leaf) for leaf in leaves])) for _ in range(NAIVE)]
    return row(name, taken, unit="µs", better="lower", baseline=held_against(proof))


# --- liabilities ---------------------------------------------------------------------------------------


def _liabilities() -> Iterator[Row]:
    """The tree of 10,000, held against a plain one of the same leaves; then the proof of one of its leaves."""
    owed, trees = _owed(OWED_10K), list[SumTree]()
    ours, plain = [], []
    for _ in range(NAIVE):
        ours.append(seconds(lambda: trees.append(grow(CONTEXT, owed))))
        plain.append(_plain(owed))
    peer = row("attest.liability_10k.plain", plain, unit="s", better="lower")
    yield peer
    yield row("attest.liability_10k.tree", ours, unit="s", better="lower", baseline=held_against(peer))
    small: Row | None = None
    for name, tree in (("10k", trees[0]), ("1m", among_strangers(OWED_1M))):
        *others, checked = _proven(f"attest.liability_{name}", tree, small)
        yield from (*others, checked)
        small = small or checked


def _owed(count: int) -> list[Owed]:
    secret = member_secret(KEYS.blinding, "m0")
    amounts = ({"USDC": 4 * 10**9 + number, "TOKA": 10**6} for number in range(count))
    paths = (f"members/m0/accounts/c{number}/cash" for number in range(count))
    return [Owed(account=p, secret=secret, amounts=a) for p, a in zip(paths, amounts, strict=True)]


def _plain(owed: Sequence[Owed]) -> float:
    """An RFC 6962 tree over as many leaves as long: no sums, no order, no blinded ids."""
    leaves = [number.to_bytes(32 + 16 * len(UNITS), "big") for number in range(len(owed))]
    return seconds(lambda: tree_root([leaf_hash(leaf) for leaf in leaves]))


def among_strangers(count: int) -> SumTree:
    """A tree of ``count`` leaves, a power of two, of which all but ours are alike; ours stands in the middle."""
    ours, stranger = _owed(2)
    index = place = (count - 1) // 2
    mine, other = _alone(ours), _alone(stranger)
    levels = [(other,) * index + (mine,) + (other,) * (count - index - 1)]
    while len(levels[-1]) > 1:
        index, pair = index // 2, levels[-1][index & ~1 : (index & ~1) + 2]
        mine, other = _over(*pair), _over(other, other)
        levels.append((other,) * index + (mine,) + (other,) * (len(levels[-1]) // 2 - index - 1))
    return SumTree(
        context=CONTEXT, levels=tuple(levels), leaves=(ours,) * count, numbers={ours.account: place}
    )


def _alone(owed: Owed) -> Node:
    """Its leaf."""
    return grow(CONTEXT, [owed]).top


def _over(left: Node, right: Node) -> Node:
    """The node over two, as liabilities.py writes it down; every proof is checked."""
    data = _packed(left) + _packed(right)
    sums = tuple(one + other for one, other in zip(left.sums, right.sums, strict=True))
    return Node(sums, hashlib.sha256(b"\x11" + CONTEXT.digest() + data).digest())


def _packed(node: Node) -> bytes:
    return b"".join(one.to_bytes(16, "big") for one in node.sums) + node.hash


def _proven(name: str, tree: SumTree, small: Row | None) -> list[Row]:
    """Proofs of one leaf: made, written and read, and checked; the last held against that of the smaller tree."""
    account = tree.leaves[(tree.count - 1) // 2].account
    attested = Liabilities(
        root=tree.root, leaf_count=tree.count, totals_minor=tree.totals, receivables_minor={}
    )
    written = format_proof(prove(tree, account))
    read = parse_proof(written)
    check = partial(verify_proof, read, context=CONTEXT, attested=attested, account=account)
    made, checked = (
        [microseconds(work) for _ in range(PROOFS)] for work in (partial(prove, tree, account), check)
    )
    against = None if small is None else held_against(small)
    return [
        row(f"{name}.prove", made, unit="µs", better="lower"),
        row(f"{name}.bytes", [float(len(written))], unit="bytes", better="lower"),
        row(name, checked, unit="µs", better="lower", baseline=against),
    ]
