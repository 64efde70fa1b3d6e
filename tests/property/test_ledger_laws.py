"""Laws of the book and of its journal, on random batches, against an auditor who adds everything up again."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st

from ledger.account import Account, Limit, Side
from ledger.book import Book, post
from ledger.columns import fold
from ledger.entry import LEGS_MAX, Entry, Leg, Refusal, credit, debit, transfer
from ledger.leaf import Sealed
from ledger.merkle import Frontier, tree_root
from ledger.seal import salts_used, seal
from ledger.store.queries import Directory, Segment
from tests.ledgers import ACCOUNTS, ALICE, BOB, KIND, MINT, NOW_MS, OF_ONE_ENTRY, SALTS, TILL

pytestmark = pytest.mark.slow

UNLIMITED = tuple(Account(path, unit) for path in ("pool/a", "pool/b") for unit in ("USD", "BTC"))
LATE = tuple(Account(f"late/{n}", "USD", Side.CREDIT, Limit.DEBITS_MUST_NOT_EXCEED_CREDITS) for n in range(3))
KNOWN = (*ACCOUNTS, *UNLIMITED)
PRETENDED = (Account(ALICE.path, ALICE.unit), Account(TILL.path, TILL.unit))
"""Accounts of the right name without the right limit."""
TOP = 2**127 - 1


class ManyLegs(tuple[Leg, ...]):
    """One leg more than an entry may have; a report of it stays readable."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"({len(self)} legs)"


TOO_MANY = ManyLegs((debit(MINT, 1),) * (LEGS_MAX + 1))
OPENING = Entry(entry_id=bytes(16), kind=KIND, effective_ms=NOW_MS, opens=KNOWN)

# --------------------------------------------------------------------------------------------- random entries

texts = st.text(max_size=5)
facts = st.recursive(
    st.none() | st.booleans() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
amounts = st.integers(1, 100) | st.integers(1, 100) | st.sampled_from([2**64, TOP // 2 + 1, TOP])
often_none = (*[()] * 12, *((one,) for one in LATE), (ALICE,), (LATE[0], LATE[0]))


@st.composite
def payments(draw: st.DrawFn) -> tuple[Leg, ...]:
    """One to three transfers, each between accounts of one unit."""
    legs: list[Leg] = []
    for _ in range(draw(st.integers(1, 3))):
        source = draw(st.sampled_from((*KNOWN * 3, LATE[0])))
        target = draw(st.sampled_from([one for one in (*KNOWN * 3, *LATE) if one.unit == source.unit]))
        legs += transfer(source, target, draw(amounts))
    return tuple(legs)


broken_legs = st.sampled_from(
    [
        (debit(MINT, 1),),
        (credit(TILL, 1),),
        TOO_MANY,
        (debit(MINT, 0), credit(ALICE, 0)),
        (debit(MINT, TOP + 1), credit(ALICE, TOP + 1)),
        (debit(MINT, 2), credit(ALICE, 1)),
        (debit(MINT, 1), credit(BOB, 1), debit(KNOWN[4], 1)),
        *((debit(one, 1), credit(MINT, 1)) for one in PRETENDED),
    ]
)
broken_fields: list[dict[str, Any]] = [
    {"entry_id": bytes(15)},
    {"kind": 0},
    {"kind": 2**16},
    {"effective_ms": -1},
    {"effective_ms": 2**63},
]
entries: st.SearchStrategy[Entry] = st.builds(
    lambda changes, **fields: replace(Entry(**fields), **changes),
    changes=st.sampled_from([*[{}] * 45, *broken_fields]),
    entry_id=st.binary(min_size=16, max_size=16),
    kind=st.integers(1, 2**16 - 1),
    effective_ms=st.integers(0, 2**63 - 1),
    legs=payments() | payments() | payments() | payments() | broken_legs | st.just(()),
    opens=st.sampled_from(often_none),
    request_id=texts,
    actor=texts,
    references=st.lists(texts, max_size=2).map(tuple),
    fact=st.none() | facts,
)
batches = st.lists(entries, max_size=12)
small = settings(max_examples=150, deadline=None)


# ------------------------------------------------------------------------------------------- a second opinion


@dataclass
class Auditor:
    """Keeps every leg that was ever posted and trusts no balance: it adds all of them up each time."""

    opened: list[Account] = field(default_factory=list)
    legs: list[Leg] = field(default_factory=list)

    def balance(self, account: Account, more: Sequence[Leg] = ()) -> int:
        return sum(leg.amount for leg in (*self.legs, *more) if leg.account.id == account.id)

    def judge(self, entry: Entry) -> Refusal | None:
        """What the public order of checks says, read off the rules one by one."""
        return next(self.objections(entry), None)

    def objections(self, entry: Entry) -> Iterator[Refusal]:
        legs, opens = entry.legs, entry.opens
        is_formed = len(entry.entry_id) == 16 and 1 <= entry.kind < 2**16 and 0 <= entry.effective_ms < 2**63
        if not is_formed:
            yield Refusal.ENTRY_MALFORMED
        if not legs and not opens and entry.fact is None:
            yield Refusal.ENTRY_EMPTY
        if len(legs) == 1:
            yield Refusal.ENTRY_ONE_LEGGED
        if len(legs) > 100_000:
            yield Refusal.ENTRY_TOO_LONG
        for leg in legs:
            if leg.amount == 0:
                yield Refusal.AMOUNT_ZERO
            if abs(leg.amount) > TOP:
                yield Refusal.AMOUNT_OUT_OF_RANGE
        if any(sum(o.amount for o in legs if o.account.unit == unit) for unit in ("USD", "BTC")):
            yield Refusal.ENTRY_UNBALANCED
        if len({one.id for one in (*self.opened, *opens)}) < len(self.opened) + len(opens):
            yield Refusal.ACCOUNT_EXISTS
        yield from self.objections_to_accounts(legs, (*self.opened, *opens))

    def objections_to_accounts(self, legs: Sequence[Leg], accounts: Sequence[Account]) -> Iterator[Refusal]:
        for leg in legs:
            if leg.account.id not in {one.id for one in accounts}:
                yield Refusal.ACCOUNT_UNKNOWN
            elif leg.account not in accounts:
                yield Refusal.ACCOUNT_DIFFERS
        after = {leg.account: self.balance(leg.account, legs) for leg in legs}
        if any(abs(balance) > TOP for balance in after.values()):
            yield Refusal.BALANCE_OUT_OF_RANGE
        if any(not account.limit.allows(balance) for account, balance in after.items()):
            yield Refusal.LIMIT_EXCEEDED

    def record(self, entry: Entry) -> None:
        self.opened += entry.opens
        self.legs += entry.legs


def opened_book() -> Book:
    book = post(Book(), OPENING)
    assert isinstance(book, Book)
    return book


def posted(batch: Sequence[Entry]) -> list[Entry]:
    """The opening, and what of ``batch`` posts after it."""
    book, kept = opened_book(), [OPENING]
    for entry in batch:
        after = post(book, entry)
        if isinstance(after, Book):
            book = after
            kept.append(entry)
    return kept


def results(batch: Sequence[Entry]) -> list[str]:
    book, found = opened_book(), []
    for entry in batch:
        after = post(book, entry)
        found.append(after.value if isinstance(after, Refusal) else "POSTED")
        book = book if isinstance(after, Refusal) else after
    return found


# ------------------------------------------------------------------------------------------------------- laws


@given(batches)
@small
def test_the_auditor_agrees_with_every_answer_and_every_balance(batch: list[Entry]) -> None:
    book, auditor = opened_book(), Auditor()
    auditor.record(OPENING)
    for entry in batch:
        after, objection = post(book, entry), auditor.judge(entry)
        event("POSTED" if objection is None else objection.value)
        if objection is not None:
            assert after is objection
            continue
        assert isinstance(after, Book)
        book = after
        auditor.record(entry)
        assert set(book.accounts) == set(auditor.opened)
        assert all(book.debit_balance(one.id) == auditor.balance(one) for one in auditor.opened)


@given(batches)
@small
def test_every_unit_balances_and_every_limit_is_kept_after_every_entry(batch: list[Entry]) -> None:
    book = opened_book()
    for entry in batch:
        after = post(book, entry)
        book = after if isinstance(after, Book) else book
        assert all(debits == credits for debits, credits in book.trial_balance().values())
        for account, balance in zip(book.accounts, book.balances, strict=True):
            assert -TOP <= balance <= TOP
            assert account.limit.allows(balance)


@given(batches)
@small
def test_posting_never_changes_the_book_that_was_posted_to(batch: list[Entry]) -> None:
    seen: list[tuple[Book, list[Account], list[int]]] = []
    book = opened_book()
    for entry in batch:
        seen.append((book, list(book.accounts), list(book.balances)))
        after = post(book, entry)
        book = after if isinstance(after, Book) else book
    for before, accounts, balances in seen:
        assert (list(before.accounts), list(before.balances)) == (accounts, balances)


def as_segment(sealed: Sealed, count: int, first: int, salt: int, root: bytes) -> Segment:
    return Segment(
        first_sequence=first,
        count=count,
        first_salt=salt,
        epoch=1,
        leaves=sealed.leaves,
        legs=sealed.legs,
        bodies=sealed.bodies,
        root=root,
    )


def recorded(groups: Sequence[Sequence[Entry]]) -> list[Segment]:
    """The groups as the journal keeps them, one segment each."""
    frontier, salts, segments = Frontier(), 0, []
    for group in groups:
        sealed = seal(group, first_sequence=frontier.size, first_salt=salts, source=SALTS)
        after = frontier.extend(sealed.leaf_hashes)
        segments.append(as_segment(sealed, len(group), frontier.size, salts, after.root()))
        frontier, salts = after, salts + salts_used(group)
    return segments


@given(batches)
@small
def test_replay_of_the_recorded_bytes_gives_the_same_entries_and_the_same_state(batch: list[Entry]) -> None:
    kept = posted(batch)
    state, directory = Book(), Directory()
    (segment,) = recorded([kept])
    replayed = list(directory.decode(segment))
    for entry in replayed:
        state = fold(state, entry)
    assert replayed == kept
    assert state == apply_all(kept)


def apply_all(kept: Sequence[Entry]) -> Book:
    book = Book()
    for entry in kept:
        after = post(book, entry)
        assert isinstance(after, Book)
        book = after
    return book


@given(batches, st.data())
@small
def test_no_grouping_changes_a_byte_of_the_journal_or_its_root(
    batch: list[Entry], data: st.DataObject
) -> None:
    kept = posted(batch)
    cuts = data.draw(
        st.sets(st.integers(1, len(kept) - 1)) if len(kept) > 1 else st.just(set()), label="cuts"
    )
    groups = [kept[start:end] for start, end in pairwise([0, *sorted(cuts), len(kept)])]
    (whole,), parts = recorded([kept]), recorded(groups)
    assert b"".join(part.leaves for part in parts) == whole.leaves
    assert b"".join(part.legs for part in parts) == whole.legs
    assert b"".join(part.bodies for part in parts) == whole.bodies
    assert parts[-1].root == whole.root == tree_root(whole.leaf_hashes())
    directory = Directory()
    assert [entry for part in parts for entry in directory.decode(part)] == kept


# ---------------------------------------------------------------------------------- are the batches any good?


def test_the_batches_meet_every_refusal_and_many_entries_post() -> None:
    shares: Counter[str] = Counter()

    @settings(max_examples=500, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
    @given(batches)
    def count(batch: list[Entry]) -> None:
        shares.update(results(batch))

    count()
    assert set(shares) == {"POSTED", *(refusal.value for refusal in OF_ONE_ENTRY)}
    assert shares["POSTED"] * 4 > shares.total(), shares
