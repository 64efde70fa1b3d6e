"""What was, as of any sequence: balances, trial balances, entries, statements. Read from the projected rows.

``as_of`` is a number of entries: the state after the first ``as_of`` entries of the journal. It never changes,
so a page that was read once reads the same for ever. What lies beyond the projection is refused, not guessed;
what lies within does not depend on how far the projection has gone meanwhile.

Amounts and balances count smallest units and are debits − credits. Lists come in pages of at most
``PAGE_MAX``, each found by the key behind which the one before ended. Whoever makes several calls that must see
one state makes them in one ``snapshot`` (``connect.py``): the history could be made again meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, ScalarSelect, Select, select, tuple_

from ledger.account import Account, AccountId, Limit, Side
from ledger.require import require
from ledger.store.projector import NAME, VERSION, HistoryBehind
from ledger.store.tables import accounts, entries, postings, projection

PAGE_MAX = 1_000


class AccountUnknown(Exception):
    """No entry before ``as_of`` opened the account."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An account, its number in the order of opening, and the sequence of the entry that opened it."""

    number: int
    account: Account
    opened_at: int


@dataclass(frozen=True, slots=True)
class Standing:
    """An account and its balance (debits − credits)."""

    opened: Opened
    balance: int


@dataclass(frozen=True, slots=True)
class Happened:
    """An entry, without its legs and its private metadata."""

    sequence: int
    kind: int
    effective_ms: int
    entry_id: bytes


@dataclass(frozen=True, slots=True)
class Line:
    """A leg on an account: its entry, its place in it, its amount, and the account's balance after it."""

    entry: Happened
    leg: int
    amount: int
    balance: int

    @property
    def key(self) -> tuple[int, int]:
        """Behind which the next page begins."""
        return self.entry.sequence, self.leg


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A page of an account's statement: opening + amounts of the lines = closing.

    ``after`` is where the next page begins, None if there is no more.
    """

    account: Account
    opening: int
    lines: tuple[Line, ...]
    closing: int
    after: tuple[int, int] | None


def projected(connection: Connection) -> int:
    """How many entries are projected."""
    query = select(projection.c.sequence).where(projection.c.name == NAME, projection.c.version == VERSION)
    return connection.execute(query).scalar() or 0


def find_account(connection: Connection, account: AccountId, as_of: int) -> Opened:
    """The account as of ``as_of``. Raises :class:`HistoryBehind` and :class:`AccountUnknown`."""
    _require_projected(connection, as_of)
    row = connection.execute(select(accounts).where(accounts.c.id == account)).first()
    if row is None or row.opened_at >= as_of:
        raise AccountUnknown(f"account {account.hex()} was not open after {as_of} entries")
    return _opened(row)


def balance(connection: Connection, account: AccountId, as_of: int) -> int:
    """Debits − credits of ``account``. Raises :class:`HistoryBehind` and :class:`AccountUnknown`."""
    number = find_account(connection, account, as_of).number
    return _balance_before(connection, number, (as_of, 0))


def standings(
    connection: Connection, as_of: int, *, after: int = -1, limit: int = PAGE_MAX
) -> Sequence[Standing]:
    """Accounts with their balances, in the order of opening, from the one behind number ``after`` on.

    Raises :class:`HistoryBehind`, and ``ValueError`` for a limit outside 1 … ``PAGE_MAX``.
    """
    _require_page(limit)
    _require_projected(connection, as_of)
    query = (
        select(accounts, _last_balance(as_of).label("balance"))
        .where(accounts.c.number > after, accounts.c.opened_at < as_of)
        .order_by(accounts.c.number)
        .limit(limit)
    )
    return [Standing(_opened(row), row.balance or 0) for row in connection.execute(query)]


def trial_balance(connection: Connection, as_of: int) -> dict[str, tuple[int, int]]:
    """Per unit: the sum of debit balances and the sum of credit balances, both positive.

    Raises :class:`HistoryBehind`.
    """
    totals: dict[str, tuple[int, int]] = {}
    after = -1
    while page := standings(connection, as_of, after=after):
        after = page[-1].opened.number
        for one in page:
            unit = one.opened.account.unit
            debits, credits = totals.get(unit, (0, 0))
            totals[unit] = (debits + max(one.balance, 0), credits + max(-one.balance, 0))
    return dict(sorted(totals.items()))


def entries_between(
    connection: Connection,
    from_sequence: int,
    as_of: int,
    *,
    kind: int | None = None,
    account: AccountId | None = None,
    limit: int = PAGE_MAX,
) -> Sequence[Happened]:
    """Entries ``[from_sequence, as_of)``, of one kind or with legs on one account if that is asked for.

    The next page begins behind the sequence of the last. Raises :class:`HistoryBehind`,
    :class:`AccountUnknown`, and ``ValueError`` for a limit outside 1 … ``PAGE_MAX``.
    """
    _require_page(limit)
    _require_projected(connection, as_of)
    if account is not None:
        number = find_account(connection, account, as_of).number
        query = _entries_of(number, from_sequence, as_of, kind, limit)
    else:
        asked = [*_within(entries.c.sequence, from_sequence, as_of)]
        if kind is not None:
            asked.append(entries.c.kind == kind)
        query = select(entries).where(*asked).order_by(entries.c.sequence).limit(limit)
    return [
        Happened(r.sequence, r.kind, r.effective_ms, bytes(r.entry_id)) for r in connection.execute(query)
    ]


def statement(
    connection: Connection,
    account: AccountId,
    from_sequence: int,
    as_of: int,
    *,
    after: tuple[int, int] | None = None,
    limit: int = PAGE_MAX,
) -> Statement:
    """The account's legs in the entries ``[from_sequence, as_of)``, those behind the line ``after`` if given.

    The opening balance is that before the first line of this page. Raises :class:`HistoryBehind`,
    :class:`AccountUnknown`, ``ValueError`` for a limit outside 1 … ``PAGE_MAX``, and
    :class:`ledger.require.InvariantViolated` if amounts and balances do not tie.
    """
    _require_page(limit)
    opened = find_account(connection, account, as_of)
    start = (after[0], after[1] + 1) if after is not None else (from_sequence, 0)
    found = connection.execute(_lines_of(opened.number, start, as_of, limit + 1)).all()
    lines = tuple(
        Line(Happened(r.sequence, r.kind, r.effective_ms, bytes(r.entry_id)), r.leg, r.amount, r.balance)
        for r in found[:limit]
    )
    opening = reached = _balance_before(connection, opened.number, start)
    for line in lines:
        reached += line.amount
        require(reached == line.balance, f"the statement of {opened.account.path} ties at {line.key}")
    return Statement(
        account=opened.account,
        opening=opening,
        lines=lines,
        closing=reached,
        after=lines[-1].key if len(found) > limit else None,
    )


def _require_projected(connection: Connection, as_of: int) -> None:
    if as_of < 0:
        raise ValueError(f"no number of entries: {as_of}")
    position = projected(connection)
    if as_of > position:
        raise HistoryBehind(position, as_of)


def _require_page(limit: int) -> None:
    if not 1 <= limit <= PAGE_MAX:
        raise ValueError(f"a page has 1 to {PAGE_MAX} lines, not {limit}")


def _opened(row: Row[Any]) -> Opened:
    account = Account(row.path, row.unit, Side(row.side), Limit(row.limit))
    return Opened(row.number, account, row.opened_at)


def _within(sequence: ColumnElement[int], start: int, end: int) -> tuple[ColumnElement[bool], ...]:
    return sequence >= start, sequence < end


def _last_balance(as_of: int) -> ScalarSelect[int]:
    """Of each account in a query: what its last posting before ``as_of`` says, or null."""
    return (
        select(postings.c.balance)
        .where(postings.c.account == accounts.c.number, postings.c.sequence < as_of)
        .order_by(postings.c.sequence.desc(), postings.c.leg.desc())
        .limit(1)
        .correlate(accounts)
        .scalar_subquery()
    )


def _balance_before(connection: Connection, number: int, key: tuple[int, int]) -> int:
    """Balance of an account before the leg at ``key``."""
    query = (
        select(postings.c.balance)
        .where(postings.c.account == number, tuple_(postings.c.sequence, postings.c.leg) < key)
        .order_by(postings.c.sequence.desc(), postings.c.leg.desc())
        .limit(1)
    )
    return connection.execute(query).scalar() or 0


def _entries_of(number: int, from_sequence: int, as_of: int, kind: int | None, limit: int) -> Select[Any]:
    """Entries with legs on an account. An entry may have several there, and is listed once."""
    touched = select(postings.c.sequence).where(
        postings.c.account == number, *_within(postings.c.sequence, from_sequence, as_of)
    )
    if kind is not None:
        touched = touched.join(entries, entries.c.sequence == postings.c.sequence).where(
            entries.c.kind == kind
        )
    page = touched.group_by(postings.c.sequence).order_by(postings.c.sequence).limit(limit).subquery()
    return select(entries).join(page, page.c.sequence == entries.c.sequence).order_by(entries.c.sequence)


def _lines_of(number: int, start: tuple[int, int], as_of: int, limit: int) -> Select[Any]:
    behind = tuple_(postings.c.sequence, postings.c.leg) >= start
    return (
        select(postings, entries.c.kind, entries.c.effective_ms, entries.c.entry_id)
        .join(entries, entries.c.sequence == postings.c.sequence)
        .where(postings.c.account == number, behind, postings.c.sequence < as_of)
        .order_by(postings.c.sequence, postings.c.leg)
        .limit(limit)
    )
