"""The first schema: a new database is made from schema.sql (or the models) and starts here."""

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Nothing: what is at 0001 was made as a whole."""
