"""Alembic's entry: runs the steps on the connection it is given, inside that connection's transaction."""

from alembic import context

from quart_app.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transactional_ddl=False,
)
context.run_migrations()
