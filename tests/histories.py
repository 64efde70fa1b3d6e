"""Journals written straight into segments, and a second, slow history of them: a dictionary, one leg at a time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, insert, select

from ledger.account import Account
from ledger.entry import Entry
from ledger.merkle import Frontier
from ledger.seal import salts_used, seal
from ledger.store.connect import Database, transaction
from ledger.store.projector import Projector
from ledger.store.queries import read_entries
from ledger.store.tables import accounts, entries, postings, segments
from tests.ledgers import SALTS, open_database


def write_segments(database: Database, groups: Iterable[Sequence[Entry]]) -> None:
    """Append ``groups``, each as one segment, as a writer would."""
    with transaction(database) as connection:
        before = list(read_entries(connection))
        frontier, salts = Frontier(), salts_used(before)
        sequence = len(before)
        for group in groups:
            sealed = seal(group, first_sequence=sequence, first_salt=salts, source=SALTS)
            frontier = frontier.extend(sealed.leaf_hashes)
            row = {
                "first_sequence": sequence,
                "count": len(group),
                "first_salt": salts,
                "epoch": 1,
                "leaves": sealed.leaves,
                "legs": sealed.legs,
                "bodies": sealed.bodies,
                "root": frontier.root(),
            }
            connection.execute(insert(segments).values(row))
            sequence, salts = sequence + len(group), salts + salts_used(group)


def journal_at(url: str, *groups: Sequence[Entry]) -> Database:
    """The database at ``url`` with ``groups`` in its journal, and nothing projected."""
    database = open_database(url)
    write_segments(database, groups)
    return database


def project_all(database: Database, legs_max: int | None = None) -> Projector:
    """A projector that has nothing left to do."""
    projector = Projector(database)
    while projector.step(legs_max):
        pass
    return projector


@dataclass
class SlowHistory:
    """What must be projected of ``journal``."""

    journal: Sequence[Entry]
    accounts: list[tuple[Any, ...]] = field(default_factory=list)
    entries: list[tuple[Any, ...]] = field(default_factory=list)
    postings: list[tuple[Any, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        numbers: dict[Account, int] = {}
        balances: dict[Account, int] = {}
        for sequence, one in enumerate(self.journal):
            self.entries.append((sequence, one.kind, one.effective_ms, one.entry_id))
            for opened in one.opens:
                numbers[opened] = len(numbers)
                self.accounts.append(
                    (
                        numbers[opened],
                        opened.id,
                        opened.path,
                        opened.unit,
                        opened.side.value,
                        opened.limit.value,
                        sequence,
                    )
                )
            for place, leg in enumerate(one.legs):
                balances[leg.account] = balances.get(leg.account, 0) + leg.amount
                row = (numbers[leg.account], sequence, place, leg.amount, balances[leg.account])
                self.postings.append(row)
        self.postings.sort()

    def balance(self, account: Account, as_of: int) -> int:
        """Debits − credits after ``as_of`` entries."""
        return sum(leg.amount for one in self.journal[:as_of] for leg in one.legs if leg.account == account)

    def trial_balance(self, as_of: int) -> dict[str, tuple[int, int]]:
        """Per unit: sum of debit balances, sum of credit balances."""
        totals: dict[str, tuple[int, int]] = {}
        for account in (account for one in self.journal[:as_of] for account in one.opens):
            balance = self.balance(account, as_of)
            debits, credits = totals.get(account.unit, (0, 0))
            totals[account.unit] = (debits + max(balance, 0), credits + max(-balance, 0))
        return totals


def projected_rows(connection: Connection) -> tuple[list[tuple[Any, ...]], ...]:
    """Accounts, entries and postings as they are stored, in the order of their keys."""
    return tuple(
        [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key.columns))]
        for table in (accounts, entries, postings)
    )


def require_same(database: Database, journal: Sequence[Entry]) -> None:
    """What is projected is what the slow history says of ``journal``."""
    slow = SlowHistory(journal)
    with database.connect() as connection:
        assert projected_rows(connection) == (slow.accounts, slow.entries, slow.postings)
