"""Connections: add, change, remove, check, refresh."""

from typing import Any

from pydantic import ValidationError
from quart import Response, request
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app import calls, connections, removals, standing, tokens
from quart_app.accounts import Who
from quart_app.errors import AppError, Invalid
from quart_app.forms import invalid_input
from quart_app.forms.connections import ConnectionChange, ConnectionForm
from quart_app.instants import instant
from quart_app.outbound.auth import OAuth2
from quart_app.services import Services
from quart_app.web.api import pages
from quart_app.web.bodies import answer


async def get_connections(services: Services, session: AsyncSession) -> Response:
    """List connections, newest first."""
    limit, after, _ = pages.wanted(request.args)
    rows = await connections.page(session, limit=limit, after=after)
    items = [connections.view(services, row) for row in rows]
    return answer(pages.page(items, limit, rows[-1].id if rows else None))


async def post_connection(services: Services, who: Who, form: ConnectionForm) -> Response:
    """Add a connection."""
    row = await connections.create(services, form, actor=who.actor)
    tell(services, row.name, row.state)
    return answer(connections.view(services, row), 201, {"Location": f"/api/connections/{row.name}"})


async def get_connection(services: Services, session: AsyncSession, name: str) -> Response:
    """Show a connection."""
    return answer(await connections.show(services, session, name))


async def patch_connection(services: Services, who: Who, form: ConnectionChange, name: str) -> Response:
    """Change parts of a connection; a secret that is left out is kept."""
    try:
        row = await connections.update(services, name, form.model_dump(exclude_unset=True), actor=who.actor)
    except ValidationError as error:
        raise invalid_input(error, ConnectionForm) from None
    tell(services, row.name, row.state)
    return answer(connections.view(services, row))


async def delete_connection(services: Services, who: Who, name: str) -> Response:
    """Remove a connection with its secrets, and take its token back at the provider; its calls stay on record."""
    await removals.remove(services, name, actor=who.actor)
    tell(services, name, "deleted")
    return Response("", 204)


async def get_connection_limits(services: Services, name: str) -> Response:
    """What a connection may send now: places, rates, what the API told, breaker and retries."""
    return answer(await standing.show(services, name))


async def post_check(services: Services, who: Who, name: str) -> Response:
    """Send one call that tells whether the connection works."""
    ok, detail, sent = await calls.check(services, name, origin=origin(who), actor=who.actor)
    return answer({"ok": ok, "detail": detail, "call": sent.view()}, 201)


async def post_token_refresh(services: Services, name: str) -> Response:
    """Refresh the token now; joins a refresh in flight."""
    return answer(await refreshed(services, name))


async def get_token_refresh(services: Services) -> Response:
    """Refresh the token of a connection, by the route that the old client's page calls."""
    name = request.args.get("connection")
    if not name:
        fault: Any = {"pointer": "/connection", "detail": "is required"}
        raise Invalid("connection_required", "Name a connection: ?connection=<name>.", [fault])
    return answer(await refreshed(services, name))


async def refreshed(services: Services, name: str) -> dict[str, Any]:
    target = await connections.load(services, name)
    if not isinstance(target.auth, OAuth2):
        raise AppError(409, "no_token", "This connection has no token to refresh.")
    held = await tokens.refresh(services, target, forced=True)
    return {
        "connection": name,
        "state": "ready",
        "expires_at": instant(held.expires_at),
        "generation": held.generation,
    }


def tell(services: Services, name: str, state: str) -> None:
    """To the pages that are open."""
    services.events.publish("connection", {"name": name, "state": state})


def origin(who: Who) -> str:
    """Where a call comes from: a person's page or a program."""
    return "console" if who.person else "api"
