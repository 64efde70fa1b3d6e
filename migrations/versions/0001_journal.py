"""The journal: segments, the answers that requests got, and the lease of the one writer."""

import sqlalchemy as sa
from alembic import op

from ledger.store.kinds import kind_of
from ledger.store.tables import append_only_statements

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, and the triggers that let nobody change what was written."""
    op.create_table(
        "segments",
        sa.Column("first_sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("first_salt", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("leaves", sa.LargeBinary(), nullable=False),
        sa.Column("legs", sa.LargeBinary(), nullable=False),
        sa.Column("bodies", sa.LargeBinary(), nullable=False),
        sa.Column("root", sa.LargeBinary(32), nullable=False, comment="RFC 6962 root after this segment"),
        sa.PrimaryKeyConstraint("first_sequence", name="pk_segments"),
    )
    op.create_table(
        "requests",
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column(
            "body_hash", sa.LargeBinary(32), nullable=False, comment="SHA-256 of the command as it came"
        ),
        sa.Column("first_sequence", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("refusals", sa.Integer(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_requests"),
    )
    op.create_table(
        "lease",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_lease"),
    )
    for table in ("segments", "requests"):
        for statement in append_only_statements(table, kind_of(op.get_bind())):
            op.execute(statement)


def downgrade() -> None:
    """Refuse: nothing drops a journal."""
    raise RuntimeError("the journal is not dropped by a migration; restore a backup instead")
