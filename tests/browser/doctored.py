"""Connections in a running server's database whose tokens and exchanges are as a test says, as if they had come so."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import update

from quart_app import connections
from quart_app.forms import validate
from quart_app.forms.connections import ConnectionForm
from quart_app.models import Connection, Token, TokenExchange
from quart_app.services import Services, open_services
from quart_app.settings import load_settings
from tests.browser.conftest import Demo
from tests.doctor.rows import NOW

INSTANTS = ("claimed_at", "sent_at", "ended_at", "expires_at", "refresh_at", "refreshed_at", "retry_at", "signed_in_at")
SECRETS = ("access_token", "refresh_token")


def doctored(
    demo: Demo,
    name: str,
    auth: dict[str, Any],
    *exchanges: TokenExchange,
    state: str = "ready",
    held: Token | None = None,
) -> None:
    """The connection `name`. Rows are those of `tests.doctor.rows`, whose NOW is moved to now."""

    async def work() -> None:
        async with open_services(load_settings({"data": str(demo.data), "database_url": ""}, {})) as services:
            form = {"name": name, "base_url": f"{demo.sandbox_url}/v1", "auth": auth, "policy": {"allow_private": True}}
            row = await connections.create(services, validate(ConnectionForm, form))
            await put(services, row, state, held, exchanges)

    with ThreadPoolExecutor(1) as pool:  # the browser has a loop of its own in this thread
        pool.submit(asyncio.run, work()).result()


async def put(
    services: Services, row: Connection, state: str, held: Token | None, exchanges: tuple[TokenExchange, ...]
) -> None:
    async with services.change() as session:
        reason = None if state == "ready" else "A person is needed."
        change = update(Connection).where(Connection.id == row.id).values(state=state, state_reason=reason)
        await session.execute(change)
        if held is not None:
            columns = moved(services, held) | sealed(services, row, held)
            await session.execute(update(Token).where(Token.connection_id == row.id).values(**columns))
        for number, exchange in enumerate(reversed(exchanges)):
            columns = moved(services, exchange) | {"connection_id": row.id, "connection": row.name}
            session.add(TokenExchange(**columns | {"id": f"{row.id[:-2]}{number:02x}"}))


def moved(services: Services, row: Any) -> dict[str, Any]:
    """The columns that a row of NOW has, as if they were of now."""
    found = {column.name: getattr(row, column.name) for column in row.__table__.columns}
    found = {name: value for name, value in found.items() if value is not None and name != "connection_id"}
    shift = services.clock() - NOW
    return found | {name: found[name] + shift for name in INSTANTS if name in found}


def sealed(services: Services, row: Connection, held: Token) -> dict[str, bytes]:
    """The tokens that it has, sealed as the page will unseal them."""
    columns = [f"sealed_{role}" for role in SECRETS if getattr(held, f"sealed_{role}") is not None]
    return {
        name: services.vault.seal(f"a {name} of a test", table="tokens", column=name, row=row.id) for name in columns
    }
