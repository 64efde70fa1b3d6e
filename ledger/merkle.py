"""The log tree: RFC 6962 §2.1, SHA-256, proofs checked as RFC 9162 §2.1.3.2 and §2.1.4.2 say.

Rules kept here (attestation.md §1): the empty root is SHA-256 of nothing, a leaf is SHA-256(00‖data), a
node SHA-256(01‖left‖right), split at the largest power of two strictly below the size; nothing is padded,
nothing is duplicated. Every hash is 32 bytes. Inclusion needs ``0 ≤ index < size`` and a path of exactly
the right length. Consistency refuses an old size of zero; equal sizes need equal roots and an empty path.
A verification returns nothing or raises :class:`ProofRefused`: no caller can forget to look at a bool.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
LEAF_PREFIX = b"\x00"
NODE_PREFIX = b"\x01"

_sha256 = hashlib.sha256


class ProofReason(Enum):
    """Why a tree, a frontier or a proof was refused; the values are stable."""

    HASH_LENGTH = "hash_length"
    INDEX_OUT_OF_RANGE = "index_out_of_range"
    OLD_SIZE_ZERO = "old_size_zero"
    SIZES_REVERSED = "sizes_reversed"
    PATH_LENGTH = "path_length"
    ROOT_MISMATCH = "root_mismatch"
    OLD_ROOT_MISMATCH = "old_root_mismatch"
    FRONTIER_SHAPE = "frontier_shape"


class ProofRefused(ValueError):
    """A proof, or the tree it was asked of, that cannot be accepted; ``reason`` says why."""

    def __init__(self, reason: ProofReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


def leaf_hash(data: bytes) -> bytes:
    """Hash of one leaf's bytes: SHA-256(00‖data), 32 bytes (RFC 6962 §2.1)."""
    return _sha256(LEAF_PREFIX + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256(01‖left‖right), 32 bytes (RFC 6962 §2.1).

    Both arguments are trusted to be 32 bytes: this is the innermost call, its callers check.
    """
    return _sha256(NODE_PREFIX + left + right).digest()


def tree_root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Root over all ``leaf_hashes`` in order, :data:`EMPTY_ROOT` for none (RFC 6962 §2.1).

    Raises :class:`ProofRefused` (``HASH_LENGTH``) if a hash is not 32 bytes.
    """
    _require_hashes(leaf_hashes)
    return _root(leaf_hashes)


@dataclass(frozen=True, slots=True)
class Frontier:
    """All a growing tree has to remember: ``size`` leaves, and the root of each perfect subtree.

    ``peaks`` stand from left to right, largest first, one for each bit set in ``size`` (the compact
    range [0, size)). A frontier never changes; appending returns another one.
    Raises :class:`ProofRefused` if ``peaks`` do not fit ``size``.
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.peaks) != self.size.bit_count():
            raise ProofRefused(
                ProofReason.FRONTIER_SHAPE,
                f"a frontier of {self.size} leaves cannot have {len(self.peaks)} peaks",
            )
        _require_hashes(self.peaks)

    def append(self, leaf_hash: bytes) -> "Frontier":
        """The frontier with one more leaf; raises :class:`ProofRefused` if the hash is not 32 bytes."""
        _require_hashes((leaf_hash,))
        node, carry, peaks = leaf_hash, self.size, list(self.peaks)
        while carry & 1:
            node, carry = node_hash(peaks.pop(), node), carry >> 1
        return Frontier(size=self.size + 1, peaks=(*peaks, node))

    def extend(self, leaf_hashes: Iterable[bytes]) -> "Frontier":
        """The frontier with all ``leaf_hashes`` appended in order, one hash per node that becomes complete.

        Raises :class:`ProofRefused` (``HASH_LENGTH``) if a hash is not 32 bytes.
        """
        nodes = list(leaf_hashes)
        _require_hashes(nodes)
        size = self.size + len(nodes)
        old, new = list(self.peaks), []
        for level in range(size.bit_length()):
            if self.size >> level & 1:
                nodes.insert(0, old.pop())
            if len(nodes) & 1:
                new.append(nodes.pop())
            nodes = _pairs(nodes)
        return Frontier(size=size, peaks=tuple(reversed(new)))

    def root(self) -> bytes:
        """Root of the tree over all leaves so far; :data:`EMPTY_ROOT` when there are none."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root


def inclusion_path(leaf_hashes: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Audit path of the leaf at ``index``, from the leaf upwards (RFC 6962 §2.1.1).

    Raises :class:`ProofRefused`: ``HASH_LENGTH``, ``INDEX_OUT_OF_RANGE``.
    """
    (path,) = inclusion_paths(leaf_hashes, [index])
    return path


def inclusion_paths(leaf_hashes: Sequence[bytes], indices: Sequence[int]) -> list[tuple[bytes, ...]]:
    """Audit paths of several leaves, for little more than that of one. Errors as in :func:`inclusion_path`."""
    _require_hashes(leaf_hashes)
    for index in indices:
        _require_index(index, len(leaf_hashes))
    paths: list[list[bytes]] = [[] for _ in indices]
    nodes: Sequence[bytes] = leaf_hashes
    level = 0
    while len(nodes) > 1:
        for path, index in zip(paths, indices, strict=True):
            sibling = index >> level ^ 1
            if sibling < len(nodes):
                path.append(nodes[sibling])
        nodes, level = _parents(nodes), level + 1
    return [tuple(path) for path in paths]


def consistency_path(leaf_hashes: Sequence[bytes], size1: int) -> tuple[bytes, ...]:
    """Proof that the tree over ``leaf_hashes`` extends the one over its first ``size1`` (RFC 6962 §2.1.2).

    Empty when ``size1`` is the whole size. Raises :class:`ProofRefused`: ``HASH_LENGTH``,
    ``OLD_SIZE_ZERO``, ``SIZES_REVERSED``.
    """
    _require_hashes(leaf_hashes)
    _require_sizes(size1, len(leaf_hashes))
    path = []
    start, end = 0, len(leaf_hashes)
    while size1 < end:
        split = start + _split(end - start)
        if size1 <= split:
            path.append(_root(leaf_hashes[split:end]))
            end = split
        else:
            path.append(_root(leaf_hashes[start:split]))
            start = split
    if start:
        path.append(_root(leaf_hashes[start:end]))
    return tuple(reversed(path))


def verify_inclusion(leaf_hash: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Return if ``path`` shows that ``leaf_hash`` is leaf ``index`` of the tree ``(size, root)``.

    Raises :class:`ProofRefused`: ``HASH_LENGTH``, ``INDEX_OUT_OF_RANGE``, ``PATH_LENGTH``,
    ``ROOT_MISMATCH`` (RFC 9162 §2.1.3.2, whose steps 1 to 5 follow).
    """
    _require_hashes((leaf_hash, root, *path))
    _require_index(index, size)  # step 1
    fn, sn, computed = index, size - 1, leaf_hash  # steps 2 and 3
    for sibling in path:  # step 4
        if sn == 0:
            raise _path_length(len(path))
        if fn & 1 or fn == sn:
            computed = node_hash(sibling, computed)
            fn, sn = _past_left_edges(fn, sn)
        else:
            computed = node_hash(computed, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:  # step 5
        raise _path_length(len(path))
    if computed != root:
        raise ProofRefused(ProofReason.ROOT_MISMATCH, "the inclusion path leads to another root")


def verify_consistency(size1: int, root1: bytes, size2: int, root2: bytes, path: Sequence[bytes]) -> None:
    """Return if ``path`` shows that the tree ``(size2, root2)`` extends the tree ``(size1, root1)``.

    Raises :class:`ProofRefused`: ``HASH_LENGTH``, ``OLD_SIZE_ZERO``, ``SIZES_REVERSED``, ``PATH_LENGTH``,
    ``OLD_ROOT_MISMATCH``, ``ROOT_MISMATCH`` (RFC 9162 §2.1.4.2, whose steps 1 to 7 follow).
    """
    _require_hashes((root1, root2, *path))
    _require_sizes(size1, size2)
    if size1 == size2:
        _require_same_tree(root1, root2, path)
        return
    if not path:  # step 1
        raise _path_length(0)
    hashes = (root1, *path) if size1.bit_count() == 1 else tuple(path)  # step 2
    fn, sn = _past_perfect_subtree(size1 - 1, size2 - 1)  # steps 3 and 4
    old = new = hashes[0]  # step 5
    for sibling in hashes[1:]:  # step 6
        if sn == 0:
            raise _path_length(len(path))
        if fn & 1 or fn == sn:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            fn, sn = _past_left_edges(fn, sn)
        else:
            new = node_hash(new, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:  # step 7
        raise _path_length(len(path))
    _require_roots(old, root1, new, root2)


def _past_left_edges(fn: int, sn: int) -> tuple[int, int]:
    """Up to the level of the next sibling on the left: shift both until ``fn`` is odd or zero."""
    while fn and not fn & 1:
        fn, sn = fn >> 1, sn >> 1
    return fn, sn


def _past_perfect_subtree(fn: int, sn: int) -> tuple[int, int]:
    """Past the perfect subtree that ends at leaf ``fn``, whose root both trees share."""
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    return fn, sn


def _root(leaf_hashes: Sequence[bytes]) -> bytes:
    """:func:`tree_root` of hashes that were checked before."""
    if not leaf_hashes:
        return EMPTY_ROOT
    nodes = leaf_hashes
    while len(nodes) > 1:
        nodes = _parents(nodes)
    return nodes[0]


def _parents(nodes: Sequence[bytes]) -> list[bytes]:
    """The level above: pairs are hashed, an unpaired last node moves up as it is (no duplication)."""
    parents = _pairs(nodes)
    if len(nodes) & 1:
        parents.append(nodes[-1])
    return parents


def _pairs(nodes: Sequence[bytes]) -> list[bytes]:
    """Hashes of nodes 0‖1, 2‖3, …; an unpaired last node is left out. The hot loop of every bulk append."""
    one = iter(nodes)
    return [_sha256(NODE_PREFIX + left + right).digest() for left, right in zip(one, one, strict=False)]


def _split(size: int) -> int:
    """The largest power of two strictly below ``size``, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def _require_hashes(hashes: Sequence[bytes]) -> None:
    for one in hashes:
        if len(one) != HASH_BYTES:
            raise ProofRefused(ProofReason.HASH_LENGTH, f"every hash of the tree must be {HASH_BYTES} bytes")


def _require_index(index: int, size: int) -> None:
    if not 0 <= index < size:
        raise ProofRefused(
            ProofReason.INDEX_OUT_OF_RANGE, f"leaf {index} does not exist in a tree of {size} leaves"
        )


def _require_sizes(size1: int, size2: int) -> None:
    if size1 < 1:
        raise ProofRefused(ProofReason.OLD_SIZE_ZERO, "nothing can be proven from an empty old tree")
    if size2 < size1:
        raise ProofRefused(
            ProofReason.SIZES_REVERSED, f"a tree of {size2} leaves cannot extend one of {size1}"
        )


def _require_same_tree(root1: bytes, root2: bytes, path: Sequence[bytes]) -> None:
    if path:
        raise _path_length(len(path))
    if root1 != root2:
        raise ProofRefused(ProofReason.ROOT_MISMATCH, "two trees of the same size have different roots")


def _require_roots(old: bytes, root1: bytes, new: bytes, root2: bytes) -> None:
    if old != root1:
        raise ProofRefused(ProofReason.OLD_ROOT_MISMATCH, "the consistency path leads to another old root")
    if new != root2:
        raise ProofRefused(ProofReason.ROOT_MISMATCH, "the consistency path leads to another new root")


def _path_length(count: int) -> ProofRefused:
    return ProofRefused(ProofReason.PATH_LENGTH, f"a path of {count} hashes does not fit these sizes")
