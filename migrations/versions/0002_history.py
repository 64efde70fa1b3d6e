"""The history: accounts, entries, postings and running balances, projected from the segments.

Also: the segments' columns are kept as they are. Salted hashes do not compress, and the bodies, which do by
half, are not worth the time that a commit takes for it. And an index tells how long the journal must be without
a look at every answer.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
EXACT = sa.Numeric(39, 0).with_variant(sa.Text(), "sqlite")


def upgrade() -> None:
    """Make the projected tables, empty: the projector fills them from the journal."""
    op.create_table(
        "accounts",
        sa.Column("number", KEY, autoincrement=False, nullable=False, comment="order of opening, from 0"),
        sa.Column("id", sa.LargeBinary(16), nullable=False),
        sa.Column("path", sa.String(200), nullable=False),
        sa.Column("unit", sa.String(64), nullable=False),
        sa.Column("side", sa.String(16), nullable=False),
        sa.Column("limit", sa.String(64), nullable=False),
        sa.Column(
            "opened_at", sa.BigInteger(), nullable=False, comment="sequence of the entry that opened it"
        ),
        sa.PrimaryKeyConstraint("number", name="pk_accounts"),
        sa.UniqueConstraint("id", name="uq_accounts_id"),
    )
    op.create_table(
        "entries",
        sa.Column("sequence", KEY, autoincrement=False, nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("effective_ms", sa.BigInteger(), nullable=False),
        sa.Column("entry_id", sa.LargeBinary(16), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_entries"),
    )
    op.create_index("ix_entries_kind", "entries", ["kind", "sequence"])
    op.create_table(
        "postings",
        sa.Column("account", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("leg", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("amount", EXACT, nullable=False, comment="debit positive"),
        sa.Column("balance", EXACT, nullable=False, comment="debits - credits of the account after this leg"),
        sa.PrimaryKeyConstraint("account", "sequence", "leg", name="pk_postings"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "projection",
        sa.Column("name", sa.String(16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, comment="of the code that made the rows"),
        sa.Column("sequence", sa.BigInteger(), nullable=False, comment="entries that are there as a whole"),
        sa.Column("leg", sa.Integer(), nullable=False, comment="legs that are there of the next entry"),
        sa.PrimaryKeyConstraint("name", name="pk_projection"),
    )
    op.create_index("ix_requests_end", "requests", [sa.text("(first_sequence + count)")])
    if op.get_bind().dialect.name == "postgresql":
        for column in ("leaves", "legs", "bodies"):
            op.execute(f"ALTER TABLE segments ALTER COLUMN {column} SET STORAGE EXTERNAL")


def downgrade() -> None:
    """Drop what can be made again from the journal."""
    op.drop_index("ix_requests_end", "requests")
    for table in ("projection", "postings", "entries", "accounts"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        for column in ("leaves", "legs", "bodies"):
            op.execute(f"ALTER TABLE segments ALTER COLUMN {column} SET STORAGE EXTENDED")
