"""What the benches send: two-leg entries between accounts chosen at random, under time-ordered ids.

An id is like a UUIDv7: 48 bits of milliseconds, then random bits. That is what members are told to use, and it
is the kind that the naive design, with its index of ids, likes best.
"""

import time
from itertools import count

import numpy as np

from bench import naive
from ledger.account import Account
from ledger.batch import Batch, Transfer
from ledger.entry import Entry
from ledger.transfers import Keys, Transfers, key_column, keys_of

KIND = 1
ACCOUNTS = 10_000
AMOUNT_MAX = 10**9


class Traffic:
    """Made-up entries; the same seed gives the same accounts and amounts, and other ids."""

    def __init__(self, seed: int) -> None:
        self._dice = np.random.default_rng(seed)
        self.accounts = tuple(Account(f"bench/{number}", "USD") for number in range(ACCOUNTS))
        self._keys = key_column([account.id for account in self.accounts])
        self._requests = count()

    def opening(self) -> Batch:
        """One entry that opens all accounts."""
        entry = Entry(entry_id=bytes(16), kind=KIND, effective_ms=0, opens=self.accounts)
        return Batch(items=(entry,), request_id=self._request_id())

    def transfers(self, size: int) -> Transfers:
        """A column of entries."""
        debited, credited, amounts = self._drawn(size)
        return Transfers(
            ids=self._ids(size),
            debits=self._keys[debited],
            credits=self._keys[credited],
            amounts=amounts,
            kind=KIND,
            request_id=self._request_id(),
        )

    def single(self) -> Batch:
        """One entry alone, as a server gets it from a caller that sends one at a time."""
        (row,) = self.transfers(1).rows()
        entry_id, debited, credited, amount = row
        item = Transfer(entry_id=entry_id, kind=KIND, debited=debited, credited=credited, amount=amount)
        return Batch(items=(item,), request_id=self._request_id())

    def naive(self, size: int) -> list[naive.Transfer]:
        """As many entries as objects."""
        debited, credited, amounts = self._drawn(size)
        rows = zip(keys_of(self._ids(size)), debited, credited, amounts.tolist(), strict=True)
        return [
            naive.Transfer(entry_id, self.accounts[debit].path, self.accounts[credit].path, amount)
            for entry_id, debit, credit, amount in rows
        ]

    def _drawn(self, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Two different accounts and an amount for each."""
        debited = self._dice.integers(0, ACCOUNTS, size)
        credited = (debited + self._dice.integers(1, ACCOUNTS, size)) % ACCOUNTS
        return debited, credited, self._dice.integers(1, AMOUNT_MAX, size)

    def _ids(self, size: int) -> Keys:
        ids = self._dice.integers(0, 256, (size, 16), np.uint8)
        now_ms = time.time_ns() // 1_000_000
        ids[:, :6] = np.frombuffer(now_ms.to_bytes(6, "big"), np.uint8)
        return ids

    def _request_id(self) -> str:
        return f"bench-{next(self._requests):012}"
