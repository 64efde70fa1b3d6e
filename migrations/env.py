"""Runs migrations on the connection that ``clearing.store.migrate`` hands over, in its one transaction."""

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
    context.run_migrations()


given = context.config.attributes.get("connection")
if not isinstance(given, Connection):
    raise SystemExit("run migrations with `clearing migrate`, which opens the database as the house does")
run(given)
