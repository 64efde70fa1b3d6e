"""What entries say, as columns: one array or list a field, and no object for each leg.

The segments' bytes are taken as they are, in an order of operations that lets a hundred thousand legs
through in the time in which a few thousand could be decoded one by one. Nothing is rounded: amounts and
balances are 64-bit integers where all of a run provably fit, and Python's own everywhere else.

Hashes are not looked at here: ``verify.py`` does that. What contradicts itself is refused all the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ledger.account import Account, AccountId
from ledger.leaf import RecordMalformed, decode_body, split_bodies
from ledger.store.queries import Segment

Integers: TypeAlias = NDArray[np.int64]
Amounts: TypeAlias = NDArray[Any]
"""Of 64-bit integers, or of Python's own if one of them may not fit."""

INT64_MAX = 2**63 - 1

_LEAF = np.dtype(
    [
        ("magic", "V4"),
        ("kind", ">u2"),
        ("flags", ">u2"),
        ("legs", ">u4"),
        ("sequence", ">u8"),
        ("effective_ms", ">u8"),
        ("entry_id", "V16"),
        ("hashes", "V64"),
    ]
)
_LEG = np.dtype([("salt", "V16"), ("account", "V16"), ("high", ">i8"), ("low", ">u8")])


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Entries that follow each other. Legs stand in the order of the journal."""

    first: int
    """Sequence of the first entry."""
    kinds: list[int]
    effective_ms: list[int]
    entry_ids: list[bytes]
    leg_ends: Integers
    """For each entry, how many legs it and those before it have in this run."""
    opened: list[tuple[int, Account]]
    """Accounts, each behind the sequence of the entry that opened it."""
    first_account: int
    """Number of the first of them; they count up."""
    account: Integers
    """For each leg: the number of its account."""
    sequence: Integers
    leg: Integers
    """For each leg: its place in its entry, from 0."""
    amount: Amounts
    """For each leg, debit positive."""
    balance: Amounts
    """For each leg: debits − credits of its account after it."""

    @property
    def end(self) -> int:
        """Sequence after the last entry."""
        return self.first + len(self.kinds)


@dataclass(slots=True)
class Unfolding:
    """Turns segments into columns, each run on the accounts and balances that the one before left."""

    numbers: dict[AccountId, int] = field(default_factory=dict)
    """Of accounts, in the order in which they were opened, from 0."""
    balances: list[int] = field(default_factory=list)
    """By account number: debits − credits."""

    def unfold(self, segments: Sequence[Segment], *, sequence: int, leg: int = 0) -> Run | None:
        """The entries of ``segments`` from ``sequence`` on, of which the first lacks its first ``leg`` legs.

        Segments follow each other without a gap, and the first has that entry. None if there are no more.
        Raises :class:`RecordMalformed`, after which this object is of no use.
        """
        if not segments:
            return None
        first = segments[0].first_sequence
        leaves = _records(_LEAF, [one.leaves for one in segments])
        if not np.array_equal(leaves["sequence"], np.arange(first, first + len(leaves))):
            raise RecordMalformed("leaves do not count up from the place of their segment")
        counts = leaves["legs"].astype(np.int64)
        legs = _records(_LEG, [one.legs for one in segments])
        if counts.sum() != len(legs):
            raise RecordMalformed(f"{counts.sum()} legs are counted and {len(legs)} are held")
        skipped = sequence - first
        if skipped < 0:
            raise RecordMalformed(f"no segment has entry {sequence}; the next one starts at {first}")
        if skipped >= len(leaves):
            return None
        before = int(counts[:skipped].sum()) + leg
        return self._run(leaves[skipped:], legs[before:], _openings(segments, sequence, leg), leg)

    def _run(
        self, leaves: NDArray[Any], legs: NDArray[Any], opened: list[tuple[int, Account]], leg: int
    ) -> Run:
        first_account = len(self.balances)
        for _, one in opened:
            if self.numbers.setdefault(one.id, len(self.balances)) != len(self.balances):
                raise RecordMalformed(f"account {one.id.hex()} is opened twice")
            self.balances.append(0)
        ids = leaves["entry_id"].tobytes()
        counts = leaves["legs"].astype(np.int64)
        counts[0] -= leg
        ends = np.cumsum(counts)
        place = np.arange(len(legs)) - np.repeat(ends - counts, counts)
        place[: counts[0]] += leg
        account, amount = self._accounts(legs), _amounts(legs)
        return Run(
            first=int(leaves["sequence"][0]),
            kinds=leaves["kind"].tolist(),
            effective_ms=leaves["effective_ms"].tolist(),
            entry_ids=[ids[at : at + 16] for at in range(0, len(ids), 16)],
            leg_ends=ends,
            opened=opened,
            first_account=first_account,
            account=account,
            sequence=np.repeat(leaves["sequence"].astype(np.int64), counts),
            leg=place,
            amount=amount,
            balance=self._running(account, amount),
        )

    def _accounts(self, legs: NDArray[Any]) -> Integers:
        # A dictionary is exact where two ids agree in their first bytes, which whoever opens accounts can bring
        # about, and in one go it is as fast as a search in arrays.
        ids = legs["account"].tobytes()
        try:
            found = [self.numbers[AccountId(ids[at : at + 16])] for at in range(0, len(ids), 16)]
        except KeyError as error:
            raise RecordMalformed(
                f"a leg names account {error.args[0].hex()}, which no entry opened"
            ) from None
        return np.array(found, dtype=np.int64)

    def _running(self, account: Integers, amount: Amounts) -> Amounts:
        """The balance of each leg's account after it."""
        if not len(account):
            return amount
        order = np.argsort(account, kind="stable")
        ranked = account[order]
        starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))
        holders: list[int] = ranked[starts].tolist()
        opening = [self.balances[number] for number in holders]
        if amount.dtype != object and max(map(abs, opening)) + _sum_at_most(amount) > INT64_MAX:
            amount = amount.astype(object)
        moved = amount[order]
        # Sums over several accounts may overflow 64 bits and wrap around; each account's own wraps back.
        total = np.cumsum(moved)
        base = np.array(opening, dtype=moved.dtype) - (total[starts] - moved[starts])
        ends = np.append(starts[1:], len(ranked))
        running = total + np.repeat(base, ends - starts)
        for number, closing in zip(holders, running[ends - 1].tolist(), strict=True):
            self.balances[number] = closing
        balance: Amounts = np.empty_like(running)
        balance[order] = running
        return balance


def _records(record: np.dtype[Any], columns: Sequence[bytes]) -> NDArray[Any]:
    if any(len(column) % record.itemsize for column in columns):
        raise RecordMalformed(f"a column is no whole number of {record.itemsize}-byte records")
    return np.frombuffer(b"".join(columns), record)


def _amounts(legs: NDArray[Any]) -> Amounts:
    high, low = legs["high"].astype(np.int64), legs["low"].astype(np.uint64)
    narrow: Amounts = low.view(np.int64)
    if np.array_equal(high, narrow >> 63):
        return narrow
    wide: Amounts = high.astype(object) * 2**64 + low.astype(object)
    return wide


def _sum_at_most(amount: Integers) -> int:
    """No less than the sum of all magnitudes. Halves are summed, since neither whole sum nor |−2^63| need fit."""
    return (int(np.abs(amount >> 32).sum()) + len(amount)) << 32


def _openings(segments: Sequence[Segment], sequence: int, leg: int) -> list[tuple[int, Account]]:
    """What the entries from ``sequence`` on open; an entry of which legs were seen has opened its own."""
    if not any(_may_open(one) for one in segments):
        return []
    after = sequence + 1 if leg else sequence
    return [
        (number, account)
        for number, body in chain.from_iterable(map(_bodies, segments))
        if number >= after
        for account in decode_body(body).opens
    ]


def _bodies(segment: Segment) -> Iterator[tuple[int, bytes]]:
    """The bodies that may open accounts, each behind its sequence."""
    if _may_open(segment):
        for number, body in enumerate(split_bodies(segment.bodies), segment.first_sequence):
            if not _opens_nothing(body, 1):
                yield number, body


def _may_open(segment: Segment) -> bool:
    return not _opens_nothing(segment.bodies, segment.count)


def _opens_nothing(bodies: bytes, count: int) -> bool:
    """Whether ``count`` bodies certainly open no account; seen without parsing them.

    Each body has the key ``opens`` at its top once. A fact may have one as well, or a text that looks like it,
    so the answer is sure only if there are no more keys than bodies, and nothing stands behind any.
    """
    keys = bodies.count(b'"opens":')
    return keys == count == bodies.count(b'"opens":[]')
