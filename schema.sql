-- Switchboard's tables, authoritative for SQLite; quart_app/models.py says the same for SQLAlchemy (a test holds them equal).
-- Instants are seconds since the epoch in UTC; durations are seconds; sizes are bytes; *_json and lists are JSON text.
-- A column named sealed_* holds AES-256-GCM ciphertext (quart_app/vault.py); nothing secret stands here in clear.

-- This installation: one row. `revision` is counted up by every change of a connection, key or sign-in,
-- so that a process sees what another one changed; `sealed_canary` tells a wrong key at the start. Fingerprints have a
-- key of their own, so that marks in the history still tell when the sealing key was rotated.
CREATE TABLE installation (
    id INTEGER NOT NULL PRIMARY KEY,
    instance_id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    sealed_canary BLOB NOT NULL,
    created_at REAL NOT NULL,
    sealed_fingerprint_key BLOB
);

-- An external API: where it is, how to sign in to it, and how to treat it; `tls` and `proxy` say how it is reached.
CREATE TABLE connections (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    base_url TEXT NOT NULL,
    tags TEXT NOT NULL,
    metadata_json TEXT NOT NULL,
    auth TEXT NOT NULL,
    sealed_secrets BLOB NOT NULL,
    headers TEXT NOT NULL,
    policy TEXT NOT NULL,
    tls TEXT NOT NULL,
    proxy TEXT NOT NULL,
    state TEXT NOT NULL,
    state_reason TEXT,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL
);

-- The OAuth tokens of a connection. `generation` counts what was stored; `claim` is the one exchange that may dial the
-- token endpoint until `lease_until`, on the database's clock. A failure holds the next dial back until `retry_at`, on
-- the same clock. `sealed_spare_refresh_token` came back after its claim was lost: it is tried once, where the kept one
-- is refused. `refresh_at` is when it is refreshed ahead, `refresh_expires_at` when the refresh token ends if unused.
CREATE TABLE tokens (
    connection_id TEXT NOT NULL PRIMARY KEY REFERENCES connections (id) ON DELETE CASCADE,
    generation INTEGER NOT NULL,
    sealed_access_token BLOB,
    sealed_refresh_token BLOB,
    scope TEXT,
    expires_at REAL,
    lifetime_seconds REAL,
    refreshed_at REAL,
    claim TEXT,
    lease_until REAL,
    sent_at REAL,
    sealed_spare_refresh_token BLOB,
    refresh_at REAL,
    refresh_expires_at REAL,
    signed_in_at REAL,
    signed_in_by TEXT,
    failures INTEGER NOT NULL DEFAULT 0,
    retry_at REAL
);

-- The ledger: every exchange with a token endpoint. `generation` is the one it set out from; `owner` the process;
-- `state` goes claimed, sent, then stored, failed, or in_doubt where nobody can know what the provider did with it.
-- Instants are on the database's clock. The exchange itself is the call of the same id; `failure` is the class of
-- what went wrong, `reason` its code, `skew_seconds` how far our clock was ahead of the provider's.
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
    skew_seconds REAL,
    claimed_at REAL NOT NULL,
    sent_at REAL,
    ended_at REAL
);

-- The ledger of one connection, newest first.
CREATE INDEX token_exchanges_by_connection ON token_exchanges (connection_id, id);

-- What a stop left open.
CREATE INDEX token_exchanges_open ON token_exchanges (owner) WHERE state IN ('claimed', 'sent');

-- A sign-in at a provider that is under way (RFC 6749 §4.1): good once, in the browser that began it. SHA-256 of its
-- state, of the browser's cookie and of the nonce; the PKCE verifier sealed.
CREATE TABLE authorizations (
    state_hash TEXT NOT NULL PRIMARY KEY,
    browser_hash TEXT NOT NULL,
    connection_id TEXT NOT NULL REFERENCES connections (id) ON DELETE CASCADE,
    issuer TEXT,
    redirect_uri TEXT NOT NULL,
    nonce_hash TEXT NOT NULL,
    sealed_verifier BLOB NOT NULL,
    actor TEXT NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    used_at REAL
);

-- Somebody else's URL that is told what happens to connections. `url` is what may be shown of it: the whole, which may
-- hold a key, is sealed in `sealed_secret` with the secrets that sign.
CREATE TABLE webhooks (
    id TEXT NOT NULL PRIMARY KEY,
    url TEXT NOT NULL,
    events TEXT NOT NULL,
    allow_private BOOLEAN NOT NULL,
    sealed_secret BLOB NOT NULL,
    created_at REAL NOT NULL
);

-- One event on its way to one webhook, made in the transaction of what it tells of. `tries` lists each POST: when,
-- its status or reason, its seconds. `next_at` is when it is tried (again); who tries it moves that on first.
CREATE TABLE deliveries (
    id TEXT NOT NULL PRIMARY KEY,
    webhook_id TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    event TEXT NOT NULL,
    connection TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL,
    tries TEXT NOT NULL,
    created_at REAL NOT NULL,
    next_at REAL,
    ended_at REAL
);

-- What is due.
CREATE INDEX deliveries_due ON deliveries (next_at) WHERE state = 'pending';

-- Deliveries of one webhook, newest first.
CREATE INDEX deliveries_by_webhook ON deliveries (webhook_id, id);

-- What was sent or answered, after redaction, once per content and hour: `hash` is the hour it was kept in (hours since
-- the epoch, six hex digits), a hyphen, and the SHA-256 of the content as kept, so that what only old calls hold goes
-- hour by hour; `encoding` is identity or deflate (RFC 1950), whichever is smaller.
CREATE TABLE bodies (
    hash TEXT NOT NULL PRIMARY KEY,
    encoding TEXT NOT NULL,
    content BLOB NOT NULL
);

-- One request made through a connection, and its outcome. A size of NULL means that there was no body;
-- `request_exact` says that the kept request body is, byte for byte, the one that was sent;
-- `owner` is the process that sends, so that a later start can tell which calls a stop left open;
-- `number` counts in order of arrival, so that the search and the retention can go through them step by step;
-- `waited_seconds` is what all its waits before and between attempts come to; `websocket` counts frames and bytes.
CREATE TABLE calls (
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
);

-- History of one connection, newest first (ids are UUIDv7, so they are in order of time).
CREATE INDEX calls_by_connection ON calls (connection, id);

-- What a stop left open.
CREATE INDEX calls_open ON calls (owner) WHERE state = 'sending';

-- How far the full-text search has got: every call up to this number is in it, but for those of `search_left_out`.
-- The search itself is FTS5 tables, one for each so many numbers, made as the calls come (quart_app/history/search.py).
CREATE TABLE search_progress (
    id INTEGER NOT NULL PRIMARY KEY,
    indexed_to BIGINT NOT NULL
);

-- Calls that the search met while they were being sent; it takes them in once they have ended.
CREATE TABLE search_left_out (
    number INTEGER NOT NULL PRIMARY KEY
);

-- One exchange on the wire; a call has one or more. Timings are seconds of each phase; `waited_seconds` went before
-- it, `wait_reason` says for what; `next_reason` why another attempt followed, or why none did; `url` stands where it
-- is not the call's own (a redirect was followed).
CREATE TABLE attempts (
    call_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    status INTEGER,
    reason TEXT,
    started_at REAL NOT NULL,
    duration_seconds REAL NOT NULL,
    waited_seconds REAL NOT NULL,
    wait_reason TEXT,
    next_reason TEXT,
    url TEXT,
    dns_seconds REAL,
    connect_seconds REAL,
    tls_seconds REAL,
    first_byte_seconds REAL,
    transfer_seconds REAL,
    remote_address TEXT,
    token_generation INTEGER,
    PRIMARY KEY (call_id, number)
) WITHOUT ROWID;

-- A person.
CREATE TABLE accounts (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at REAL NOT NULL
);

-- A link that signs a browser in, once. No account means: it makes the first one.
CREATE TABLE sign_in_links (
    token_hash TEXT NOT NULL PRIMARY KEY,
    account_id TEXT REFERENCES accounts (id) ON DELETE CASCADE,
    expires_at REAL NOT NULL,
    used_at REAL
);

-- A person's browser session; the cookie's SHA-256, never the cookie.
CREATE TABLE sign_ins (
    cookie_hash TEXT NOT NULL PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    created_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    user_agent TEXT NOT NULL
);

-- A program's API key; the SHA-256 of its secret, never the secret.
CREATE TABLE keys (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    secret_hash TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL,
    revoked_at REAL
);

-- Who changed what that matters for safety, append-only: `hash` is the SHA-256 of the row and of the hash before it,
-- so that a row changed or taken out later shows. Never pruned with the calls.
CREATE TABLE audit_entries (
    number INTEGER NOT NULL PRIMARY KEY,
    at REAL NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    hash TEXT NOT NULL
);
