"""The ledger's tables (part 1 of the schema) and the triggers that make them append-only.

The journal is stored in segments, one row a commit group, with the bytes exactly as they were
hashed. ``requests`` has the answer that each caller got, in the same transaction. ``lease`` has the
epoch of the one writer.

``accounts``, ``entries`` and ``postings`` are the history: what the segments say, as rows that SQL can
find. ``projection`` says how far they go. They follow the journal and can be made again from it
(``projector.py``), so no trigger protects them: ``verify_history.py`` compares them with it.
"""

from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.types import TypeEngine

from ledger.store.kinds import Kind

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = MetaData(naming_convention=NAMING)

Key = BigInteger().with_variant(Integer(), "sqlite")
"""A key that counts up. On SQLite it is the row id itself, not one more index beside it."""


class Exact(TypeDecorator[int]):
    """An integer of up to 39 digits, every one of them kept.

    SQLite has no such number (SQLAlchemy's ``Numeric`` would make a float of it), so there it is decimal text.
    """

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = Numeric
    cache_ok: bool | None = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """NUMERIC(39,0), or TEXT on SQLite."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else Numeric(39, 0))

    def process_bind_param(self, value: int | None, dialect: Dialect) -> Any:
        """As the driver takes it. Making a Decimal does not round, only reckoning with it would."""
        if value is None:
            return None
        return str(value) if dialect.name == "sqlite" else Decimal(value)

    def process_result_value(self, value: Any, _dialect: Dialect) -> int | None:
        """As an integer again. Raises ``ValueError`` for a text that is none."""
        return None if value is None else int(value)


segments = Table(
    "segments",
    metadata,
    Column("first_sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("count", Integer, nullable=False),
    Column("first_salt", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("leaves", LargeBinary, nullable=False),
    Column("legs", LargeBinary, nullable=False),
    Column("bodies", LargeBinary, nullable=False),
    Column("root", LargeBinary(32), nullable=False, comment="RFC 6962 root after this segment"),
)

requests = Table(
    "requests",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("body_hash", LargeBinary(32), nullable=False, comment="SHA-256 of the command as it came"),
    Column("first_sequence", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    Column("refusals", Integer, nullable=False),
    Column("answer", Text, nullable=False),
)

# How long the journal must be for every answer to have its entries: found without reading all answers.
Index("ix_requests_end", requests.c.first_sequence + requests.c.count)

lease = Table(
    "lease",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
)

accounts = Table(
    "accounts",
    metadata,
    Column("number", Key, primary_key=True, autoincrement=False, comment="order of opening, from 0"),
    Column("id", LargeBinary(16), nullable=False, unique=True),
    Column("path", String(200), nullable=False),
    Column("unit", String(64), nullable=False),
    Column("side", String(16), nullable=False),
    Column("limit", String(64), nullable=False),
    Column("opened_at", BigInteger, nullable=False, comment="sequence of the entry that opened it"),
)

entries = Table(
    "entries",
    metadata,
    Column("sequence", Key, primary_key=True, autoincrement=False),
    Column("kind", Integer, nullable=False),
    Column("effective_ms", BigInteger, nullable=False),
    Column("entry_id", LargeBinary(16), nullable=False),
    Index(None, "kind", "sequence"),
)

postings = Table(
    "postings",
    metadata,
    Column("account", BigInteger, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("leg", Integer, primary_key=True, autoincrement=False),
    Column("amount", Exact, nullable=False, comment="debit positive"),
    Column("balance", Exact, nullable=False, comment="debits - credits of the account after this leg"),
    sqlite_with_rowid=False,
)

projection = Table(
    "projection",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("version", Integer, nullable=False, comment="of the code that made the rows"),
    Column("sequence", BigInteger, nullable=False, comment="entries that are there as a whole"),
    Column("leg", Integer, nullable=False, comment="legs that are there of the next entry"),
)

PROJECTED = (postings, entries, accounts)
"""What the projector writes, and nobody else."""

APPEND_ONLY = (segments.name, requests.name)


def append_only_statements(table: str, kind: Kind) -> list[str]:
    """DDL that refuses UPDATE, DELETE and (where it exists) TRUNCATE on ``table``."""
    (key,) = metadata.tables[table].primary_key.columns.keys()
    return kind.append_only(table, key)
