"""Calls counted in order of arrival, what attempts waited for and why, ways out, the search's progress, the audit.

All rows stay. Bodies get keys that begin with the hour of the upgrade: they go when every call of before has gone.
"""

import time

from alembic import op

revision = "0002"
down_revision = "0001"

KEPT = (
    "id, connection_id, connection, origin, actor, owner, replay_of, method, url, state, reason, detail, status, "
    "started_at, duration_seconds, request_headers, request_size, request_media_type, request_truncated, "
    "request_exact, response_headers, response_size, response_media_type, response_truncated, response_sha256"
)
SQLITE_CALLS = (
    """
    CREATE TABLE calls_new (
        number INTEGER NOT NULL PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        connection_id TEXT NOT NULL,
        connection TEXT NOT NULL,
        origin TEXT NOT NULL,
        actor TEXT NOT NULL,
        owner TEXT NOT NULL,
        replay_of TEXT,
        method TEXT NOT NULL,
        url TEXT NOT NULL,
        state TEXT NOT NULL,
        reason TEXT,
        detail TEXT,
        status INTEGER,
        started_at REAL NOT NULL,
        duration_seconds REAL,
        waited_seconds REAL NOT NULL,
        request_headers TEXT NOT NULL,
        request_body TEXT,
        request_size BIGINT,
        request_media_type TEXT,
        request_truncated BOOLEAN NOT NULL,
        request_exact BOOLEAN NOT NULL,
        response_headers TEXT,
        response_body TEXT,
        response_size BIGINT,
        response_media_type TEXT,
        response_truncated BOOLEAN NOT NULL,
        response_sha256 TEXT,
        websocket TEXT
    )
    """,
    f"""
    INSERT INTO calls_new ({KEPT}, waited_seconds, request_body, response_body)
    SELECT {KEPT}, (SELECT coalesce(sum(waited_seconds), 0.0) FROM attempts WHERE call_id = calls.id),
        '{{hour}}-' || request_body, '{{hour}}-' || response_body
    FROM calls ORDER BY id
    """,
    "DROP TABLE calls",
    "ALTER TABLE calls_new RENAME TO calls",
    "CREATE INDEX calls_by_connection ON calls (connection, id)",
    "CREATE INDEX calls_open ON calls (owner) WHERE state = 'sending'",
)
POSTGRES_CALLS = (
    "ALTER TABLE calls DROP CONSTRAINT calls_pkey",
    "CREATE SEQUENCE calls_number_seq",
    "ALTER TABLE calls ADD COLUMN number BIGINT, ADD COLUMN waited_seconds DOUBLE PRECISION, ADD COLUMN websocket TEXT",
    """
    UPDATE calls SET number = counted.number, request_body = '{hour}-' || request_body,
        response_body = '{hour}-' || response_body,
        waited_seconds = (SELECT coalesce(sum(waited_seconds), 0.0) FROM attempts WHERE call_id = calls.id)
    FROM (SELECT id, row_number() OVER (ORDER BY id) AS number FROM calls) AS counted WHERE counted.id = calls.id
    """,
    "SELECT setval('calls_number_seq', (SELECT count(*) FROM calls) + 1, false)",
    "ALTER SEQUENCE calls_number_seq OWNED BY calls.number",
    """
    ALTER TABLE calls ALTER COLUMN number SET DEFAULT nextval('calls_number_seq'),
        ALTER COLUMN number SET NOT NULL, ALTER COLUMN waited_seconds SET NOT NULL,
        ADD PRIMARY KEY (number), ADD UNIQUE (id)
    """,
)
TABLES = (
    "CREATE TABLE search_progress (id INTEGER NOT NULL PRIMARY KEY, indexed_to BIGINT NOT NULL)",
    "CREATE TABLE search_left_out (number {left_out} NOT NULL PRIMARY KEY)",
    """
    CREATE TABLE audit_entries (
        number {counter} NOT NULL PRIMARY KEY,
        at {real} NOT NULL,
        actor TEXT NOT NULL,
        action TEXT NOT NULL,
        subject TEXT NOT NULL,
        detail TEXT NOT NULL,
        hash TEXT NOT NULL
    )
    """,
)


def upgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    types = {"counter": "INTEGER", "left_out": "INTEGER", "real": "REAL"}
    if not is_sqlite:
        types = {"counter": "BIGSERIAL", "left_out": "BIGINT", "real": "DOUBLE PRECISION"}
    types["hour"] = f"{int(time.time() // 3600):06x}"
    op.execute("UPDATE bodies SET hash = '{hour}-' || hash".format(**types))
    for statement in (*(SQLITE_CALLS if is_sqlite else POSTGRES_CALLS), *TABLES):
        run(statement.format(**types))
    for column in ("tls", "proxy"):
        op.execute(f"ALTER TABLE connections ADD COLUMN {column} TEXT NOT NULL DEFAULT '{{}}'")
    for column in ("wait_reason", "next_reason", "url"):
        op.execute(f"ALTER TABLE attempts ADD COLUMN {column} TEXT")


def run(statement: str) -> None:
    """As it stands: `op.execute` would take a colon for a parameter."""
    op.get_bind().exec_driver_sql(statement)
