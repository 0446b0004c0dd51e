"""From schema 0001 by way of 0002: a token that was kept is kept, and knows of no failure."""

from quart_app.db import Database
from quart_app.migrations import prepare
from quart_app.models import Token
from tests.migrations.test_0002_send_path import insert, make_first, run

CONNECTION = {
    "id": "1", "name": "items", "title": "Items", "base_url": "https://api.example.com", "tags": "[]",
    "metadata_json": "{}", "auth": "{}", "headers": "{}", "policy": "{}", "state": "ready",
    "state_reason": None, "created_at": 1.0, "updated_at": 1.0,
}  # fmt: skip


async def test_a_token_stays_and_starts_without_failures(empty_db: Database) -> None:
    await make_first(empty_db)
    blob = "x'6869'" if empty_db.is_sqlite else "'\\x6869'"
    connection = insert("connections", **CONNECTION, sealed_secrets=0).replace(", 0)", f", {blob})")
    token = insert("tokens", connection_id="1", generation=7, expires_at=5.0, sealed_refresh_token=0)
    await run(empty_db, connection, token.replace(", 0)", f", {blob})"))
    await prepare(empty_db)
    async with empty_db.session() as session:
        kept = await session.get_one(Token, "1")
    assert (kept.generation, kept.sealed_refresh_token, kept.failures, kept.retry_at) == (7, b"hi", 0, None)
