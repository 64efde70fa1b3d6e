"""Runs migrations on the connection that ``clearing.store.migrate`` hands over, in its one transaction."""

import warnings

from alembic import context
from sqlalchemy import Connection

from ledger.store.tables import metadata


def run(connection: Connection) -> None:
    """Bring the database to the revision that was asked for."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=True,
        compare_server_default=True,
        render_as_batch=True,  # SQLite alters a table by making it again; PostgreSQL does not mind
    )
    with warnings.catch_warnings():
        # On SQLite an index on an expression cannot be compared. Both libraries say so, and leave it out.
        warnings.filterwarnings("ignore", "Skipped unsupported reflection of expression-based index")
        warnings.filterwarnings("ignore", "autogenerate skipping metadata-specified expression-based index")
        context.run_migrations()


given = context.config.attributes.get("connection")
if not isinstance(given, Connection):
    raise SystemExit("run migrations with `clearing migrate`, which opens the database as the house does")
run(given)
