"""The book: accounts, their balances and what is held, as one immutable value.

Posting gives a new book and leaves the old one as it was, so a decision can be tried, previewed or
dropped, and a reader never sees half of a commit. Rules kept here, after those of ``entry``:

6. an opened account did not exist
7. every leg's account exists and is the account that was opened
8. what is held moves by steps alone: a HOLD puts it into the account ``holds`` of its unit (the first one opens
   it, and nothing else does), a POST pays it out of there (what is not paid goes back), a RELEASE or EXPIRE
   gives it back, each once; an entry is reversed once
9. no balance leaves ±(2^127 − 1)
10. no balance breaks its account's limit, judged once after all legs

Rules 9 and 10 hold for the balance as it is, and as it would be if all that is held of the account were given
back. So a hold lends its source no room, and what is held can be given back at any time.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from immutables import Map

from ledger.account import Account, AccountId, Limit, Side
from ledger.amount import in_range
from ledger.entry import Entry, Leg, Refusal, Step, Verb, check_entry, credit, debit
from ledger.vector import EMPTY, Vector

HOLDS_PATH = "holds"
LIMITS = tuple(Limit)
RESERVED = len(LIMITS)
"""In place of a limit in ``Book.limits``: what is held, which moves by steps alone."""


@dataclass(frozen=True, slots=True)
class Hold:
    """What an open hold keeps: ``amount`` smallest units of ``source``, meant for ``target``.

    ``expires_ms`` is the UTC time from which it is given back by itself, 0 for never.
    """

    source: Account
    target: Account
    amount: int
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Book:
    """Accounts numbered in the order of their opening, and debits − credits of each (smallest units).

    ``held`` is how much of each account open holds have set aside. ``size`` counts the entries that led here.
    ``limits`` and ``units`` repeat, as numbers, what the accounts say, so that a column of entries can be
    judged at once. Before ``due_ms`` no hold expires; it is a hint, and so is not compared.
    """

    size: int = 0
    numbers: Map[AccountId, int] = Map()
    accounts: Vector = EMPTY
    balances: Vector = EMPTY
    held: Vector = EMPTY
    limits: Vector = EMPTY
    units: Vector = EMPTY
    unit_numbers: Map[str, int] = Map()
    holds: Map[bytes, Hold] = Map()
    reversals: Map[bytes, bytes] = Map()
    due_ms: int | None = field(default=None, compare=False)

    def balance(self, account: Account) -> int:
        """Current balance, positive on the account's normal side; zero if it was never opened."""
        return account.on_normal_side(self.debit_balance(account.id))

    def debit_balance(self, account: AccountId) -> int:
        """Debits − credits of the account with this id; zero if it was never opened."""
        number = self.numbers.get(account)
        return 0 if number is None else int(self.balances[number])

    def knows(self, account: Account) -> bool:
        """Whether the account was opened."""
        return account.id in self.numbers

    def find(self, account: AccountId) -> Account | None:
        """The account with this id, or None if it was never opened."""
        number = self.numbers.get(account)
        return None if number is None else self.account(number)

    def known(self, account: AccountId) -> Account:
        """The account with this id. Raises ``KeyError`` if it was never opened."""
        return self.account(self.numbers[account])

    def account(self, number: int) -> Account:
        """The account that was opened as ``number``."""
        account: Account = self.accounts[number]
        return account

    def listed(self) -> Iterator[tuple[Account, int]]:
        """Every account with its balance on its normal side, by path and unit."""
        both = zip(self.accounts, self.balances, strict=True)
        for account, balance in sorted(both, key=lambda pair: (pair[0].path, pair[0].unit)):
            yield account, account.on_normal_side(balance)

    def debit_balances(self) -> Iterator[tuple[Account, int]]:
        """Every account with its debits − credits, in the order in which they were opened."""
        return zip(self.accounts, self.balances, strict=True)

    def trial_balance(self) -> dict[str, tuple[int, int]]:
        """Per unit: the sum of debit balances and the sum of credit balances, both positive."""
        debits, credits = [0] * len(self.unit_numbers), [0] * len(self.unit_numbers)
        for unit, balance in zip(self.units, self.balances, strict=True):
            if balance > 0:
                debits[unit] += balance
            else:
                credits[unit] -= balance
        return {name: (debits[unit], credits[unit]) for name, unit in sorted(self.unit_numbers.items())}


def book_of(balances: Iterable[tuple[Account, int]]) -> Book:
    """A book with these accounts, each once, and their debits − credits, which no entries led to."""
    listed = list(balances)
    opened = _open(Book(), [account for account, _ in listed])
    amounts = opened.balances.set_items({number: amount for number, (_, amount) in enumerate(listed)})
    return replace(opened, balances=amounts)


def holds_account(unit: str) -> Account:
    """Where held amounts of ``unit`` stand; what it owes is never less than nothing."""
    return Account(HOLDS_PATH, unit, Side.CREDIT, Limit.DEBITS_MUST_NOT_EXCEED_CREDITS)


def post(book: Book, entry: Entry) -> Book | Refusal:
    """The book after ``entry``, or the first rule that refuses it. Never half of an entry."""
    run = Run(book)
    return run.post(entry) or run.book()


class Run:
    """Entries posted one after the other, whose balances are written once, at the end: the same book as if each
    had been posted alone. After a refusal there is no book any more.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self._posted = 0
        self._opened: list[Account] = []
        self._known: dict[AccountId, tuple[int, Account]] = {}
        self._balances: dict[int, int] = {}

    def book(self) -> Book:
        """The book after all entries so far."""
        opened = self._with_opened()
        changed = opened.balances.set_items(self._balances)
        self._book = replace(opened, size=opened.size + self._posted, balances=changed)
        self._posted, self._balances = 0, {}
        return self._book

    def _with_opened(self) -> Book:
        if self._opened:
            self._book = _open(self._book, self._opened)
            self._opened = []
        return self._book

    def post(self, entry: Entry) -> Refusal | None:
        """Post one more entry; None, or the first rule that refuses it."""
        refusal = check_entry(entry) or self._open(entry.opens)
        if refusal is not None:
            return refusal
        touched = self._sum_legs(entry.legs)
        if isinstance(touched, Refusal):
            return touched
        refusal = self._step(entry) or self._check_balances(touched)
        if refusal is None:
            self._balances.update(touched)
            self._posted += 1
        return refusal

    def _open(self, opened: Sequence[Account]) -> Refusal | None:
        for account in opened:
            if self._find(account.id) is not None:
                return Refusal.ACCOUNT_EXISTS
            self._known[account.id] = (len(self._book.accounts) + len(self._opened), account)
            self._opened.append(account)
        return None

    def _sum_legs(self, legs: Sequence[Leg]) -> dict[int, int] | Refusal:
        """What the balances, by number of account, are after ``legs``."""
        touched: dict[int, int] = {}
        for leg in legs:
            found = self._find(leg.account.id)
            if found is None:
                return Refusal.ACCOUNT_UNKNOWN
            number, known = found
            if known is not leg.account and known != leg.account:
                return Refusal.ACCOUNT_DIFFERS
            before = touched.get(number)
            touched[number] = (self._balance(number) if before is None else before) + leg.amount
        return touched

    def _find(self, account: AccountId) -> tuple[int, Account] | None:
        """Number and account of an id; what was looked for once is remembered."""
        found = self._known.get(account)
        if found is None:
            number = self._book.numbers.get(account)
            if number is not None:
                found = self._known[account] = (number, self._book.account(number))
        return found

    def _account(self, number: int) -> Account:
        old = len(self._book.accounts)
        return self._book.account(number) if number < old else self._opened[number - old]

    def _balance(self, number: int) -> int:
        balance = self._balances.get(number)
        if balance is not None:
            return balance
        return int(self._book.balances[number]) if number < len(self._book.balances) else 0

    def _step(self, entry: Entry) -> Refusal | None:
        """What the entry's step makes of holds and reversals; the balances are another matter."""
        if entry.step is None:
            paths = [leg.account.path for leg in entry.legs] + [one.path for one in entry.opens]
            return Refusal.ACCOUNT_RESERVED if HOLDS_PATH in paths else None
        stepped = _step(self._with_opened(), entry, entry.step)
        if isinstance(stepped, Refusal):
            return stepped
        self._book = stepped
        return None

    def _check_balances(self, touched: dict[int, int]) -> Refusal | None:
        held, exceeded = self._book.held, False
        for number, balance in touched.items():
            kept = held[number] if number < len(held) else 0
            if not (in_range(balance) and in_range(balance - kept)):
                return Refusal.BALANCE_OUT_OF_RANGE
            limit = self._account(number).limit
            if limit is not Limit.NONE and not (limit.allows(balance) and limit.allows(balance - kept)):
                exceeded = True
        return Refusal.LIMIT_EXCEEDED if exceeded else None


def _open(book: Book, opened: Sequence[Account]) -> Book:
    """The book with ``opened``, which it does not know, in it."""
    units = book.unit_numbers
    for unit in dict.fromkeys(account.unit for account in opened):
        units = units if unit in units else units.set(unit, len(units))
    first = len(book.accounts)
    return replace(
        book,
        numbers=book.numbers.update({account.id: first + n for n, account in enumerate(opened)}),
        accounts=book.accounts.append(opened),
        balances=book.balances.append([0] * len(opened)),
        held=book.held.append([0] * len(opened)),
        limits=book.limits.append([_limit_number(account) for account in opened]),
        units=book.units.append([units[account.unit] for account in opened]),
        unit_numbers=units,
    )


def _limit_number(account: Account) -> int:
    return RESERVED if account.path == HOLDS_PATH else LIMITS.index(account.limit)


# ------------------------------------------------------------------------------------------------------ steps


def _step(book: Book, entry: Entry, step: Step) -> Book | Refusal:
    if step.verb is Verb.HOLD:
        return _hold(book, entry, step)
    if step.verb is Verb.REVERSE:
        return _reverse(book, entry, step)
    return _end_hold(book, entry, step)


def hold_legs(source: Account, amount: int) -> tuple[Leg, ...]:
    """The legs of a HOLD: ``amount`` of ``source`` is set aside."""
    return (debit(source, amount), credit(holds_account(source.unit), amount))


def is_due(hold: Hold, now_ms: int) -> bool:
    """Whether the time of ``hold`` has come."""
    return 0 < hold.expires_ms <= now_ms


def end_hold_legs(hold: Hold, paid: int) -> tuple[Leg, ...]:
    """The legs that end a hold: ``paid`` goes to its target and the rest back to its source."""
    targets = ((hold.target, paid), (hold.source, hold.amount - paid))
    held = debit(holds_account(hold.source.unit), hold.amount)
    return (held, *(credit(account, amount) for account, amount in targets if amount))


def _hold(book: Book, entry: Entry, step: Step) -> Book | Refusal:
    if not entry.legs:
        return Refusal.ENTRY_MALFORMED
    source, amount = entry.legs[0].account, entry.legs[0].amount
    target = book.find(AccountId(step.names))
    if target is None:
        return Refusal.ACCOUNT_UNKNOWN
    if HOLDS_PATH in (source.path, target.path):
        return Refusal.ACCOUNT_RESERVED
    is_hold = amount > 0 and target.unit == source.unit and entry.legs == hold_legs(source, amount)
    opens_aptly = entry.opens in ((), (holds_account(source.unit),))
    if not (is_hold and opens_aptly) or entry.entry_id in book.holds:
        return Refusal.ENTRY_MALFORMED
    hold = Hold(source, target, amount, step.expires_ms)
    holds, held = book.holds.set(entry.entry_id, hold), _held_after(book, source, amount)
    return replace(book, holds=holds, held=held, due_ms=_sooner(book.due_ms, hold))


def _held_after(book: Book, source: Account, change: int) -> Vector:
    number = book.numbers[source.id]
    return book.held.set_items({number: book.held[number] + change})


def _sooner(due_ms: int | None, hold: Hold) -> int | None:
    if not hold.expires_ms:
        return due_ms
    return hold.expires_ms if due_ms is None else min(due_ms, hold.expires_ms)


def _end_hold(book: Book, entry: Entry, step: Step) -> Book | Refusal:
    hold = book.holds.get(step.names)
    if hold is None:
        return Refusal.HOLD_NOT_OPEN
    over = is_due(hold, entry.effective_ms)
    if over and step.verb is Verb.POST:  # though nothing may have given it back yet
        return Refusal.HOLD_NOT_OPEN
    if not entry.legs or entry.opens or (step.verb is Verb.EXPIRE and not over):
        return Refusal.ENTRY_MALFORMED
    paid = -entry.legs[1].amount if step.verb is Verb.POST else 0
    if paid > hold.amount:
        return Refusal.HOLD_EXCEEDED
    if paid < 0 or entry.legs != end_hold_legs(hold, paid):
        return Refusal.ENTRY_MALFORMED
    held = _held_after(book, hold.source, -hold.amount)
    return replace(book, holds=book.holds.delete(step.names), held=held)


def _reverse(book: Book, entry: Entry, step: Step) -> Book | Refusal:
    if step.names in book.reversals:
        return Refusal.ALREADY_REVERSED
    if not entry.legs or entry.opens or any(leg.account.path == HOLDS_PATH for leg in entry.legs):
        return Refusal.NOT_REVERSIBLE
    return replace(book, reversals=book.reversals.set(step.names, entry.entry_id))
