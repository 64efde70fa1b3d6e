"""The ledger's tables (part 1 of the schema) and the triggers that make them append-only.

The journal is stored in segments, one row a commit group, with the bytes exactly as they were
hashed. ``requests`` has the answer that each caller got, in the same transaction. ``lease`` has the
epoch of the one writer.
"""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, String, Table, Text

from ledger.store.kinds import Kind

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = MetaData(naming_convention=NAMING)

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

lease = Table(
    "lease",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
)

APPEND_ONLY = (segments.name, requests.name)


def append_only_statements(table: str, kind: Kind) -> list[str]:
    """DDL that refuses UPDATE, DELETE and (where it exists) TRUNCATE on ``table``."""
    (key,) = metadata.tables[table].primary_key.columns.keys()
    return kind.append_only(table, key)
