"""The ledger of token exchanges, sign-ins at providers, webhooks and their deliveries; more of what tokens know."""

from alembic import op

revision = "0003"
down_revision = "0002"

TOKEN_COLUMNS = (
    "sealed_spare_refresh_token {blob}",
    "refresh_at {real}",
    "refresh_expires_at {real}",
    "signed_in_at {real}",
    "signed_in_by TEXT",
    "failures INTEGER NOT NULL DEFAULT 0",
    "retry_at {real}",
)
TABLES = (
    """
    CREATE TABLE token_exchanges (
        id TEXT NOT NULL PRIMARY KEY,
        connection_id TEXT NOT NULL,
        connection TEXT NOT NULL,
        generation INTEGER NOT NULL,
        grant_type TEXT NOT NULL,
        cause TEXT NOT NULL,
        owner TEXT NOT NULL,
        state TEXT NOT NULL,
        failure TEXT,
        reason TEXT,
        detail TEXT,
        oddities TEXT NOT NULL,
        skew_seconds {real},
        claimed_at {real} NOT NULL,
        sent_at {real},
        ended_at {real}
    )
    """,
    "CREATE INDEX token_exchanges_by_connection ON token_exchanges (connection_id, id)",
    "CREATE INDEX token_exchanges_open ON token_exchanges (owner) WHERE state IN ('claimed', 'sent')",
    """
    CREATE TABLE authorizations (
        state_hash TEXT NOT NULL PRIMARY KEY,
        browser_hash TEXT NOT NULL,
        connection_id TEXT NOT NULL REFERENCES connections (id) ON DELETE CASCADE,
        issuer TEXT,
        redirect_uri TEXT NOT NULL,
        nonce_hash TEXT NOT NULL,
        sealed_verifier {blob} NOT NULL,
        actor TEXT NOT NULL,
        created_at {real} NOT NULL,
        expires_at {real} NOT NULL,
        used_at {real}
    )
    """,
    """
    CREATE TABLE webhooks (
        id TEXT NOT NULL PRIMARY KEY,
        url TEXT NOT NULL,
        events TEXT NOT NULL,
        allow_private BOOLEAN NOT NULL,
        sealed_secret {blob} NOT NULL,
        created_at {real} NOT NULL
    )
    """,
    """
    CREATE TABLE deliveries (
        id TEXT NOT NULL PRIMARY KEY,
        webhook_id TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
        event TEXT NOT NULL,
        connection TEXT NOT NULL,
        body TEXT NOT NULL,
        state TEXT NOT NULL,
        tries TEXT NOT NULL,
        created_at {real} NOT NULL,
        next_at {real},
        ended_at {real}
    )
    """,
    "CREATE INDEX deliveries_due ON deliveries (next_at) WHERE state = 'pending'",
    "CREATE INDEX deliveries_by_webhook ON deliveries (webhook_id, id)",
)


def upgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    types = {"real": "REAL", "blob": "BLOB"} if is_sqlite else {"real": "DOUBLE PRECISION", "blob": "BYTEA"}
    for statement in TABLES:
        op.execute(statement.format(**types))
    for column in TOKEN_COLUMNS:
        op.execute(f"ALTER TABLE tokens ADD COLUMN {column.format(**types)}")
    op.execute(f"ALTER TABLE installation ADD COLUMN sealed_fingerprint_key {types['blob']}")
