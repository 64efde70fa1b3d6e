"""Posting a column of entries at once, with the same results as one after the other.

Some refusals do not depend on the order: a bad amount, an unknown account, two units. What is left can only
break a limit or the range of a balance. An account is **at risk** if the worst order of the rows, all its
debits first or all its credits first, could take it there. Rows that touch no account at risk are accepted in
any order; the others are judged one after the other, exactly. Nothing here is an approximation: a property
test compares it with the sequential path.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ledger.account import Limit
from ledger.amount import AMOUNT_MAX
from ledger.book import LIMITS, RESERVED, Book, post
from ledger.entry import KIND_MAX, OWN_ID, Entry, Refusal
from ledger.require import InvariantViolated
from ledger.transfers import Amounts, Record, Transfers, keys_of
from ledger.vector import Index

Codes: TypeAlias = NDArray[np.int8]
"""One per row: 0 for posted, else 1 + the place of the refusal in ``REFUSALS``."""
Mask: TypeAlias = NDArray[np.bool_]

REFUSALS = tuple(Refusal)
CODES = {refusal: np.int8(1 + place) for place, refusal in enumerate(REFUSALS)}
SAFE = 2**61
"""A balance, what is held and the sum of a column, all below this, add up within 64 bits."""
UNKNOWN = -1
DEBITS_LIMITED = np.array([limit is Limit.DEBITS_MUST_NOT_EXCEED_CREDITS for limit in LIMITS])
CREDITS_LIMITED = np.array([limit is Limit.CREDITS_MUST_NOT_EXCEED_DEBITS for limit in LIMITS])
HIGHEST = np.where(DEBITS_LIMITED, 0, np.array(AMOUNT_MAX, object))
LOWEST = np.where(CREDITS_LIMITED, 0, np.array(-AMOUNT_MAX, object))


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows as numbers: ``accounts`` ascend without repeating; ``debits`` and ``credits`` are places in it."""

    accounts: Index
    debits: Index
    credits: Index
    amounts: Amounts

    def take(self, rows: Index) -> "_Rows":
        """Some of the rows, with just the accounts that they touch."""
        places = np.unique(np.concatenate((self.debits[rows], self.credits[rows])))
        debits = np.searchsorted(places, self.debits[rows])
        credits = np.searchsorted(places, self.credits[rows])
        return _Rows(self.accounts[places], debits, credits, self.amounts[rows])


def post_columns(book: Book, transfers: Transfers) -> tuple[Book, Codes]:
    """The book after ``transfers``, and what became of each row. Whether ids are new is not looked at."""
    rows = _numbered(book, transfers)
    codes = _order_free_refusals(book, transfers, rows)
    live = np.flatnonzero(codes == 0)
    if len(live) < len(codes):
        rows = rows.take(live)
    if len(live):
        balances, codes[live] = _judge(book, rows)
        book = replace(
            book,
            size=book.size + int(np.count_nonzero(codes == 0)),
            balances=book.balances.scatter(rows.accounts, _narrowed(balances)),
        )
    return book, codes


@dataclass(frozen=True, slots=True)
class Refused:
    """Entry number ``offset`` of a record does not post."""

    offset: int
    refusal: Refusal


def post_record(book: Book, record: Record) -> Book | Refused:
    """The book after all of ``record``, or what of it is refused first."""
    if isinstance(record, Entry):
        after = post(book, record)
        return Refused(0, after) if isinstance(after, Refusal) else after
    book, codes = post_columns(book, record)
    (refused,) = np.nonzero(codes)
    return Refused(int(refused[0]), REFUSALS[codes[refused[0]] - 1]) if len(refused) else book


def fold(book: Book, record: Record) -> Book:
    """Replay a record. What was recorded had been accepted, so a refusal is a broken journal."""
    after = post_record(book, record)
    if isinstance(after, Refused):
        at = book.size + after.offset
        raise InvariantViolated(f"recorded entry {at} does not post again: {after.refusal.value}")
    return after


def _numbered(book: Book, transfers: Transfers) -> _Rows:
    find: Callable[[bytes, int], int] = book.numbers.get  # type: ignore[assignment]  # an id is its bytes
    keys = keys_of(transfers.debits) + keys_of(transfers.credits)
    numbers = np.fromiter(map(find, keys, repeat(UNKNOWN)), np.int64, len(keys))
    accounts, places = np.unique(numbers, return_inverse=True)
    return _Rows(accounts, places[: len(transfers)], places[len(transfers) :], transfers.amounts)


def _order_free_refusals(book: Book, transfers: Transfers, rows: _Rows) -> Codes:
    """The refusals that no other row can change; of several, the first in the public order."""
    codes = np.zeros(len(rows.amounts), np.int8)
    if not 0 < transfers.kind <= KIND_MAX:
        codes[:] = CODES[Refusal.ENTRY_MALFORMED]
        return codes
    unknown = rows.accounts == UNKNOWN
    known = rows.accounts[~unknown]
    units, limits = np.full(len(unknown), UNKNOWN), np.full(len(unknown), UNKNOWN)
    units[~unknown], limits[~unknown] = book.units.gather(known), book.limits.gather(known)
    reserved = limits == RESERVED
    for refusal, refused in (
        (Refusal.ENTRY_MALFORMED, (transfers.ids[:, : len(OWN_ID)] == OWN_ID[0]).all(axis=1)),
        (Refusal.AMOUNT_ZERO, rows.amounts == 0),
        (Refusal.AMOUNT_NEGATIVE, rows.amounts < 0),
        (Refusal.AMOUNT_OUT_OF_RANGE, _out_of_range(rows.amounts)),
        (Refusal.ACCOUNT_UNKNOWN, unknown[rows.debits] | unknown[rows.credits]),
        (Refusal.ENTRY_UNBALANCED, units[rows.debits] != units[rows.credits]),
        (Refusal.ACCOUNT_RESERVED, reserved[rows.debits] | reserved[rows.credits]),
    ):
        codes[refused & (codes == 0)] = CODES[refusal]
    return codes


def _out_of_range(amounts: Amounts) -> Mask:
    if amounts.dtype == np.int64:
        return np.zeros(len(amounts), np.bool_)
    return (amounts > AMOUNT_MAX).astype(np.bool_)


def _judge(book: Book, rows: _Rows) -> tuple[NDArray[Any], Codes]:
    """The balances of ``rows.accounts`` after the rows that are accepted, and which those are."""
    # One balance beyond 64 bits makes objects of all that stand near it.
    before, held = (_narrowed(column.gather(rows.accounts)) for column in (book.balances, book.held))
    rows, before, held = _exact(rows, before, held)
    codes = np.zeros(len(rows.amounts), np.int8)
    debited, credited = _sums(rows, before)
    limits = book.limits.gather(rows.accounts)
    risky = _at_risk(before + debited, before - held - credited, limits)
    if not risky.any():
        return before + debited - credited, codes
    ordered = np.flatnonzero(risky[rows.debits] | risky[rows.credits])
    codes[ordered] = _one_by_one(rows, ordered.tolist(), before, held, limits)
    accepted = codes == 0
    kept = _Rows(rows.accounts, rows.debits[accepted], rows.credits[accepted], rows.amounts[accepted])
    debited, credited = _sums(kept, before)
    return before + debited - credited, codes


def _exact(rows: _Rows, before: NDArray[Any], held: NDArray[Any]) -> tuple[_Rows, NDArray[Any], NDArray[Any]]:
    """The same numbers in 64 bits where no sum of them can leave those, else as Python integers."""
    if before.dtype == held.dtype == rows.amounts.dtype == np.int64:
        total = int(rows.amounts.max()) * len(rows.amounts)
        largest = max(int(before.max()), -int(before.min()), int(held.max()))
        if total < SAFE and largest < SAFE:
            return rows, before, held
    return replace(rows, amounts=rows.amounts.astype(object)), before.astype(object), held.astype(object)


def _narrowed(balances: NDArray[Any]) -> NDArray[Any]:
    """In 64 bits again if they fit."""
    try:
        return balances.astype(np.int64, copy=False)
    except OverflowError:
        return balances


def _sums(rows: _Rows, before: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Per account, what the rows debit and what they credit."""
    debited, credited = np.zeros_like(before), np.zeros_like(before)
    np.add.at(debited, rows.debits, rows.amounts)
    np.add.at(credited, rows.credits, rows.amounts)
    return debited, credited


def _at_risk(highest: NDArray[Any], lowest: NDArray[Any], limits: NDArray[Any]) -> Mask:
    """Which accounts a worst order, or a worst choice, of the rows could take out of their bounds."""
    if highest.dtype == np.int64:  # far from the ends of the range
        above = DEBITS_LIMITED[limits] & (highest > 0)
        below = CREDITS_LIMITED[limits] & (lowest < 0)
    else:
        above, below = highest > HIGHEST[limits], lowest < LOWEST[limits]
    at_risk: Mask = (above | below).astype(np.bool_)
    return at_risk


def _one_by_one(
    rows: _Rows, ordered: list[int], before: NDArray[Any], held: NDArray[Any], limits: NDArray[Any]
) -> list[int]:
    """The codes of the rows in ``ordered``: all that touch an account at risk, in their order."""
    balances = before.tolist()
    highest, lowest = HIGHEST[limits].tolist(), (LOWEST[limits] + held).tolist()
    last = (held - np.array(AMOUNT_MAX, object)).tolist()
    out_of_range, exceeded = int(CODES[Refusal.BALANCE_OUT_OF_RANGE]), int(CODES[Refusal.LIMIT_EXCEEDED])
    debits, credits, amounts = (
        column[ordered].tolist() for column in (rows.debits, rows.credits, rows.amounts)
    )
    codes = []
    for debited, credited, amount in zip(debits, credits, amounts, strict=True):
        if debited == credited:
            codes.append(0)
            continue
        high, low = balances[debited] + amount, balances[credited] - amount
        if high > AMOUNT_MAX or low < last[credited]:
            codes.append(out_of_range)
        elif high > highest[debited] or low < lowest[credited]:
            codes.append(exceeded)
        else:
            balances[debited], balances[credited] = high, low
            codes.append(0)
    return codes
