"""What must be true of what is left when all is over: the ledger, the tokens, the database, and no secret in clear."""

import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func, select, text

from quart_app.ledger import OPEN
from quart_app.models import Connection, Token, TokenExchange
from quart_app.sandbox import DEMO, AuthorizationServer
from quart_app.services import Services, open_services
from quart_app.settings import load_settings

TOKEN = re.compile(rb"[A-Za-z0-9_-]{43,}")
LENGTH = 43
"""Of the sandbox's tokens: 256 bits in base64url."""

ASIDE = "%kept aside%"
GIVEN = (DEMO.client_secret, DEMO.refresh_token)


@dataclass(frozen=True)
class Kept:
    """A connection, and what it must have: the provider's generation and refresh token, where these are known."""

    name: str
    generation: int | None = None
    refresh_token: str | None = field(default=None, repr=False)


async def looked_over(data: Path, kept: Sequence[Kept], *, database_url: str = "") -> list[str]:
    """What does not hold in a folder and its database that no server has open."""
    found = []
    async with opened(data, database_url) as services:
        found += await open_exchanges(services)
        for one in kept:
            found += await wrong_with(services, one)
        found += await broken_pages(services)
    if left := [path.name for path in (data / "rescue").glob("*")]:
        found.append(f"rescue slots are left: {left}")
    return found


@asynccontextmanager
async def opened(data: Path, database_url: str) -> AsyncIterator[Services]:
    settings = load_settings({"data": str(data), "database_url": database_url}, {})
    async with open_services(settings) as services:
        yield services


async def open_exchanges(services: Services) -> list[str]:
    async with services.db.session() as session:
        rows = list(await session.scalars(select(TokenExchange).where(TokenExchange.state.in_(OPEN))))
        claims = list(await session.scalars(select(Token.connection_id).where(Token.claim.is_not(None))))
    return [f"{row.connection}: exchange {row.id} is still {row.state}" for row in rows] + [
        f"connection {id_} is still claimed" for id_ in claims
    ]


async def wrong_with(services: Services, kept: Kept) -> list[str]:
    """A generation for each exchange that stored one; and what the provider has, to the letter."""
    async with services.db.session() as session:
        token = (await session.scalars(select(Token).join(Connection).where(Connection.name == kept.name))).one()
        stored = select(func.count()).where(
            TokenExchange.connection_id == token.connection_id,
            TokenExchange.state == "stored",
            func.coalesce(TokenExchange.detail, "").not_like(ASIDE),
        )
        count = await session.scalar(stored)
    found = []
    if count != token.generation:
        found.append(f"{kept.name}: generation {token.generation} after {count} stored exchanges")
    if kept.generation not in (None, token.generation):
        found.append(f"{kept.name}: generation {token.generation}, the provider's is {kept.generation}")
    if kept.refresh_token not in (None, unsealed(services, token)):
        found.append(f"{kept.name}: the refresh token that is stored is not the provider's")
    return found


def unsealed(services: Services, token: Token) -> str | None:
    sealed, place = token.sealed_refresh_token, {"table": "tokens", "column": "sealed_refresh_token"}
    return None if sealed is None else services.vault.unseal(sealed, row=token.connection_id, **place)


async def broken_pages(services: Services) -> list[str]:
    if not services.db.is_sqlite:
        return []
    async with services.db.session() as session:
        said = await session.scalar(text("PRAGMA integrity_check"))
    return [] if said == "ok" else [f"the database is not whole: {said}"]


def in_clear(server: AuthorizationServer, files: Iterable[Path]) -> list[str]:
    """Files with a secret of the sandbox's in them: the client's, or any token that it ever issued."""
    tokens = {token.encode() for token in (*server.store.refresh_tokens, *server.store.access_tokens)}
    return [f"a secret is in clear in {path.name}" for path in files if holds(path.read_bytes(), tokens)]


def holds(content: bytes, tokens: set[bytes]) -> bool:
    runs = TOKEN.findall(content)
    windows = (run[start : start + LENGTH] for run in runs for start in range(len(run) - LENGTH + 1))
    return any(secret.encode() in content for secret in GIVEN) or any(window in tokens for window in windows)


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
