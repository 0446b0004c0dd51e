"""Rows for the doctor, as the ledger, the tokens and the recorder leave them; `NOW` is when he looks."""

from collections.abc import Sequence
from typing import Any

from quart_app.doctor.facts import Facts, Use
from quart_app.models import Connection, Token, TokenExchange

NOW = 1_795_260_000.0
"""2026-11-21T11:20:00Z."""
SEALED = b"sealed"
KEY = {"scheme": "api_key", "in": "header", "name": "X-Api-Key"}


def oauth(grant: str = "authorization_code", **more: Any) -> dict[str, Any]:
    return {"scheme": "oauth2", "grant": grant, "client_id": "me", "token_url": "https://login.example/token"} | more


def connection(auth: dict[str, Any] | None = None, **more: Any) -> Connection:
    given: dict[str, Any] = {"name": "orders", "state": "ready", "state_reason": None, "updated_at": NOW - 86_400}
    return Connection(id="c", auth=auth or oauth(), **given | more)


def token(**more: Any) -> Token:
    """One of generation 3, refreshed 12 minutes ago for an hour."""
    given: dict[str, Any] = {
        "generation": 3,
        "sealed_access_token": SEALED,
        "sealed_refresh_token": SEALED,
        "refreshed_at": NOW - 720,
        "expires_at": NOW + 2880,
        "failures": 0,
    }
    return Token(connection_id="c", **given | more)


def exchange(state: str = "stored", seconds_ago: float = 720, **more: Any) -> TokenExchange:
    given: dict[str, Any] = {
        "id": "e",
        "generation": 2 if state == "stored" else 3,
        "grant_type": "refresh_token",
        "cause": "ahead",
        "owner": "host:1:1",
        "oddities": [],
        "claimed_at": NOW - seconds_ago,
        "sent_at": NOW - seconds_ago,
        "ended_at": None if state in ("claimed", "sent") else NOW - seconds_ago,
    }
    return TokenExchange(connection_id="c", connection="orders", state=state, **given | more)


def failed(failure: str, reason: str | None = None, seconds_ago: float = 60, **more: Any) -> TokenExchange:
    return exchange("failed", seconds_ago, failure=failure, reason=reason, **more)


def use(status: int | None = 200, seconds_ago: float = 300, **more: Any) -> Use:
    given: dict[str, Any] = {"id": "u", "actor": "key:shop", "origin": "proxy", "state": "done"}
    given |= {"reason": None, "detail": None}
    return Use(status=status, started_at=NOW - seconds_ago, **given | more)


def facts(
    row: Connection | None = None,
    held: Token | None = None,
    *exchanges: TokenExchange,
    uses: Sequence[Use] = (),
    unstored: bool = False,
) -> Facts:
    return Facts(NOW, row or connection(), held, exchanges, uses, unstored)
