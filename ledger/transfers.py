"""Columns of two-leg entries: what a caller sends when there are thousands of them, and what is recorded.

Row ``i`` says: debit ``debits[i]``, credit ``credits[i]``, by ``amounts[i]``; everything else is the same for
all rows. It is the same entry, byte for byte in the journal, as if it had been sent alone.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ledger.account import Account, AccountId
from ledger.entry import ENTRY_ID_BYTES, Entry, transfer

Keys: TypeAlias = NDArray[np.uint8]
"""Shape (n, 16): ids of entries or of accounts."""
Amounts: TypeAlias = NDArray[Any]
"""Shape (n,), smallest units: ``int64``, or objects that are Python integers where one needs more."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Transfers:
    """Two-leg entries of one kind, one time and one origin, as columns of one length.

    As a command it may have chains: rows whose numbers are in ``linked`` stand or fall with the next row.
    What was recorded has none.

    Raises ``ValueError`` on construction if the columns are not what their types say.
    """

    ids: Keys
    debits: Keys
    credits: Keys
    amounts: Amounts
    kind: int
    effective_ms: int = 0
    request_id: str = ""
    actor: str = ""
    references: tuple[str, ...] = ()
    linked: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        keys = (len(self.amounts), ENTRY_ID_BYTES)
        if any(column.shape != keys or column.dtype != np.uint8 for column in self._key_columns()):
            raise ValueError("ids and accounts are columns of 16 bytes, as long as the column of amounts")
        if self.amounts.ndim != 1 or self.amounts.dtype not in (np.int64, object):
            raise ValueError("amounts are a column of 64-bit or Python integers")
        if self.amounts.dtype == object and not all(type(amount) is int for amount in self.amounts.tolist()):
            raise ValueError("an amount is a Python integer where 64 bits do not suffice")

    def _key_columns(self) -> tuple[Keys, Keys, Keys]:
        return self.ids, self.debits, self.credits

    def __len__(self) -> int:
        return len(self.amounts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transfers) and self._plain() == other._plain()

    __hash__ = None  # type: ignore[assignment]  # as for every container of numpy arrays

    def _plain(self) -> tuple[object, ...]:
        columns = tuple(column.tobytes() for column in self._key_columns())
        said = (self.kind, self.effective_ms, self.request_id, self.actor, self.references, self.linked)
        return (*columns, self.amounts.tolist(), said)

    def rows(self) -> Iterator[tuple[bytes, bytes, bytes, int]]:
        """Id, debited account, credited account and amount of each row."""
        columns = map(keys_of, self._key_columns())
        yield from zip(*columns, self.amounts.tolist(), strict=True)

    def copied(self) -> Self:
        """The same in memory of its own: what the caller's arrays become does not matter to it any more."""
        ids, debits, credits = (column.copy() for column in self._key_columns())
        return replace(self, ids=ids, debits=debits, credits=credits, amounts=self.amounts.copy())

    def dated(self, effective_ms: int) -> Self:
        """The same at another time."""
        return replace(self, effective_ms=effective_ms)

    def take(self, rows: "NDArray[Any] | slice") -> Self:
        """Some of the rows, in their order; all of them are this object."""
        if not isinstance(rows, slice) and len(rows) == len(self):
            return self
        ids, debits, credits = (column[rows] for column in self._key_columns())
        return replace(self, ids=ids, debits=debits, credits=credits, amounts=self.amounts[rows])


Record: TypeAlias = "Entry | Transfers"
"""What the journal records: an entry, or a column of them."""


def count(records: "Iterable[Record]") -> int:
    """How many entries ``records`` are."""
    return sum(1 if isinstance(record, Entry) else len(record) for record in records)


def entries_of(record: Record, find: Callable[[AccountId], Account]) -> Iterator[Entry]:
    """The entries that ``record`` is; ``find`` gives an account by its id."""
    if isinstance(record, Entry):
        yield record
        return
    for entry_id, debited, credited, amount in record.rows():
        yield Entry(
            entry_id=entry_id,
            kind=record.kind,
            effective_ms=record.effective_ms,
            legs=transfer(find(AccountId(debited)), find(AccountId(credited)), amount),
            request_id=record.request_id,
            actor=record.actor,
            references=record.references,
        )


def keys_of(column: Keys) -> list[bytes]:
    """The rows of a column of 16 bytes."""
    return rows_of(column)


def rows_of(matrix: NDArray[np.uint8]) -> list[bytes]:
    """The rows of a matrix of bytes, many times faster than by slicing."""
    rows: list[bytes] = np.ascontiguousarray(matrix).view(f"V{matrix.shape[1]}")[:, 0].tolist()
    return rows


def key_column(keys: "list[bytes] | bytes") -> Keys:
    """The column whose rows are ``keys``, 16 bytes each, one after the other or in a list."""
    packed = keys if isinstance(keys, bytes) else b"".join(keys)
    return np.frombuffer(packed, np.uint8).reshape(-1, ENTRY_ID_BYTES)


def amount_column(amounts: list[int]) -> Amounts:
    """The column of ``amounts``."""
    try:
        return np.array(amounts, np.int64)
    except OverflowError:
        column = np.empty(len(amounts), object)
        column[:] = amounts
        return column
