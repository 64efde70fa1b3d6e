"""The book: accounts and their balances, as one immutable value.

Posting gives a new book and leaves the old one as it was, so a decision can be tried, previewed or
dropped, and a reader never sees half of a commit. Rules kept here, after those of ``entry``:

6. an opened account did not exist
7. every leg's account exists and is the account that was opened
8. no balance leaves ±(2^127 − 1)
9. no balance breaks its account's limit, judged once after all legs
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from immutables import Map

from ledger.account import Account, AccountId
from ledger.amount import in_range
from ledger.decision import Decision
from ledger.entry import Entry, Refusal, check_entry
from ledger.require import InvariantViolated


@dataclass(frozen=True, slots=True)
class Book:
    """Accounts by id, and debits − credits of each (smallest units of its own unit)."""

    accounts: Map[AccountId, Account] = Map()
    balances: Map[AccountId, int] = Map()

    def balance(self, account: Account) -> int:
        """Current balance, positive on the account's normal side; zero if it was never opened."""
        return account.on_normal_side(self.balances.get(account.id, 0))

    def knows(self, account: Account) -> bool:
        """Whether the account was opened."""
        return account.id in self.accounts

    def listed(self) -> Iterator[tuple[Account, int]]:
        """Every account with its balance on its normal side, by path and unit."""
        for account in sorted(self.accounts.values(), key=lambda a: (a.path, a.unit)):
            yield account, self.balance(account)

    def trial_balance(self) -> dict[str, tuple[int, int]]:
        """Per unit: the sum of debit balances and the sum of credit balances, both positive."""
        totals: dict[str, tuple[int, int]] = {}
        for account in sorted(self.accounts.values(), key=lambda a: a.unit):
            balance = self.balances.get(account.id, 0)
            debits, credits = totals.get(account.unit, (0, 0))
            totals[account.unit] = (debits + max(balance, 0), credits + max(-balance, 0))
        return totals


def post(book: Book, entry: Entry) -> Book | Refusal:
    """The book after ``entry``, or the first rule that refuses it. Never half of an entry."""
    refusal = check_entry(entry)
    if refusal is not None:
        return refusal
    accounts = _open(book.accounts, entry.opens)
    if isinstance(accounts, Refusal):
        return accounts
    return _move(Book(accounts, book.balances), entry)


def _open(
    accounts: Map[AccountId, Account], opened: tuple[Account, ...]
) -> Map[AccountId, Account] | Refusal:
    for account in opened:
        if account.id in accounts:
            return Refusal.ACCOUNT_EXISTS
        accounts = accounts.set(account.id, account)
    return accounts


def _move(book: Book, entry: Entry) -> Book | Refusal:
    touched: dict[AccountId, int] = {}
    for leg in entry.legs:
        known = book.accounts.get(leg.account.id)
        if known is None:
            return Refusal.ACCOUNT_UNKNOWN
        if known != leg.account:
            return Refusal.ACCOUNT_DIFFERS
        before = touched.get(known.id)
        if before is None:
            before = book.balances.get(known.id, 0)
        touched[known.id] = before + leg.amount
    if not all(in_range(balance) for balance in touched.values()):
        return Refusal.BALANCE_OUT_OF_RANGE
    if not all(book.accounts[account].limit.allows(balance) for account, balance in touched.items()):
        return Refusal.LIMIT_EXCEEDED
    return replace(book, balances=book.balances.update(touched))


def fold(book: Book, entry: Entry) -> Book:
    """Replay one recorded entry. What was recorded had been accepted, so a refusal is a broken journal."""
    after = post(book, entry)
    if isinstance(after, Refusal):
        raise InvariantViolated(f"recorded entry {entry.entry_id.hex()} posts again: {after.value}")
    return after


def apply(book: Book, entries: tuple[Entry, ...], now_ms: int) -> Decision[Book]:
    """Post a batch, one result per entry in the order given: ``POSTED`` or the refusal.

    This is all that the ledger alone hands to its writer. ``now_ms`` is the effective time of the
    entries, whatever the caller wrote there.
    """
    results: list[str] = []
    posted: list[Entry] = []
    for entry in entries:
        dated = replace(entry, effective_ms=now_ms)
        after = post(book, dated)
        if isinstance(after, Refusal):
            results.append(after.value)
        else:
            book = after
            posted.append(dated)
            results.append("POSTED")
    return Decision(
        state=book,
        entries=tuple(posted),
        answer=" ".join(results),
        refusals=len(entries) - len(posted),
    )
