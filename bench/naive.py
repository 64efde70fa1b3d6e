"""The naive ledger: a row a transfer, objects, ``executemany``, one transaction a batch. No hashing."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    bindparam,
    insert,
    select,
    text,
    update,
)

from ledger.store.connect import Database
from ledger.store.kinds import kind_of

_metadata = MetaData()
_accounts = Table(
    "naive_accounts",
    _metadata,
    Column("id", String, primary_key=True),
    Column("balance", Numeric(39, 0), nullable=False),
)
_transfers = Table(
    "naive_transfers",
    _metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("debit", String, nullable=False, index=True),
    Column("credit", String, nullable=False, index=True),
    Column("amount", Numeric(39, 0), nullable=False),
    Column("effective_ms", BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Transfer:
    """One transfer between two accounts."""

    id: bytes
    debit: str
    credit: str
    amount: int


class NaiveLedger:
    """Balances in a table, each batch read, changed and written back in one transaction."""

    def __init__(self, database: Database, accounts: Sequence[str]) -> None:
        self._database = database
        _metadata.create_all(database)
        with database.connect() as connection:
            connection.execute(insert(_accounts), [{"id": name, "balance": 0} for name in accounts])

    def post(self, transfers: Sequence[Transfer]) -> None:
        """Post a batch."""
        with self._database.connect() as connection:
            connection.execute(text(kind_of(connection).begin))
            touched = {name for t in transfers for name in (t.debit, t.credit)}
            rows = connection.execute(select(_accounts).where(_accounts.c.id.in_(touched)))
            balances = {row.id: int(row.balance) for row in rows}
            for transfer in transfers:
                balances[transfer.debit] += transfer.amount
                balances[transfer.credit] -= transfer.amount
            changed = (
                update(_accounts).where(_accounts.c.id == bindparam("key")).values(balance=bindparam("now"))
            )
            connection.execute(changed, [{"key": name, "now": balance} for name, balance in balances.items()])
            connection.execute(
                insert(_transfers),
                [
                    {"id": t.id, "debit": t.debit, "credit": t.credit, "amount": t.amount, "effective_ms": 0}
                    for t in transfers
                ],
            )
            connection.execute(text("COMMIT"))
