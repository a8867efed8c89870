"""Alembic's entry: runs the steps on the connection that `migrate` opened."""

from alembic import context

from wattfleet_gateway.store import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # SQLite cannot change a table in place; Alembic then copies it.
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
