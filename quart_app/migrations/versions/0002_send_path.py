"""Calls counted in order of arrival, what attempts waited for and why, ways out, and the audit.

What the calls and attempts of before hold stays; on SQLite their tables are built anew for the column that counts.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

CALL_COLUMNS = (
    "id, connection_id, connection, origin, actor, owner, replay_of, method, url, state, reason, detail, status, "
    "started_at, duration_seconds, request_headers, request_body, request_size, request_media_type, "
    "request_truncated, request_exact, response_headers, response_body, response_size, response_media_type, "
    "response_truncated, response_sha256"
)


def upgrade() -> None:
    for column in ("tls", "proxy"):
        op.execute(f"ALTER TABLE connections ADD COLUMN {column} TEXT NOT NULL DEFAULT '{{}}'")
    for column in ("wait_reason", "next_reason", "url"):
        op.execute(f"ALTER TABLE attempts ADD COLUMN {column} TEXT")
