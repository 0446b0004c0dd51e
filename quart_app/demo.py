"""`switchboard demo`: the app beside a sandbox API, with three connections that work and a call through each."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from hypercorn.asyncio import serve
from quart import Quart

from quart_app import accounts, calls, connections, create_app
from quart_app.errors import NotFound, SettingsError
from quart_app.forms import validate
from quart_app.forms.calls import CallForm
from quart_app.forms.connections import ConnectionForm
from quart_app.sandbox import API_KEY_HEADER, DEMO, create_sandbox
from quart_app.services import Services, open_services
from quart_app.serving import config, serve_until_told
from quart_app.settings import Settings


async def serve_demo(settings: Settings, sandbox_bind: str) -> None:
    """Serves both until told to stop; the connections are made anew, as the sandbox forgets its tokens."""
    async with sandbox(sandbox_bind):
        async with open_services(settings) as services:
            await prepare(services, f"http://{sandbox_bind}")
        await serve_until_told(create_app(settings), settings.bind)


@asynccontextmanager
async def sandbox(bind: str) -> AsyncIterator[Quart]:
    """The sandbox API, served in this process while the block runs."""
    app = create_sandbox()
    stop = asyncio.Event()
    served = asyncio.create_task(serve(app, config(bind), shutdown_trigger=stop.wait), name="sandbox")
    try:
        await listening(bind, served)
        yield app
    finally:
        stop.set()
        with suppress(OSError):
            await served


async def listening(bind: str, served: asyncio.Task[Any]) -> None:
    host, _, port = bind.rpartition(":")
    for _ in range(100):
        await asyncio.sleep(0.05)
        if served.done():
            raise SettingsError(f"The sandbox cannot listen on {bind}: {served.exception()}")
        with suppress(OSError):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
            return
    raise SettingsError(f"The sandbox does not answer on {bind}.")


def forms(base: str) -> list[dict[str, Any]]:
    oauth = {
        "scheme": "oauth2",
        "token_url": f"{base}/oauth/token",
        "client_id": DEMO.client_id,
        "client_secret": DEMO.client_secret,
    }
    shared = {"base_url": f"{base}/v1", "policy": {"allow_private": True}, "tags": ["demo"]}
    return [
        shared
        | {
            "name": "items",
            "title": "Items, OAuth2 client credentials",
            "auth": oauth | {"grant": "client_credentials"},
        },
        shared
        | {
            "name": "items-rotating",
            "title": "Items, OAuth2 with a rotating refresh token",
            "auth": oauth | {"grant": "refresh_token", "refresh_token": DEMO.refresh_token},
        },
        shared
        | {
            "name": "items-key",
            "title": "Items, API key",
            "auth": {"scheme": "api_key", "in": "header", "name": API_KEY_HEADER, "value": DEMO.api_key},
        },
    ]


async def prepare(services: Services, base: str) -> None:
    """Connections, a call through each, and a key and a link to try more."""
    for form in forms(base):
        with suppress(NotFound):
            await connections.delete(services, form["name"])
        await connections.create(services, validate(ConnectionForm, form))
        call = CallForm(connection=form["name"], method="GET", path="/items?limit=3")
        sent = await calls.send(services, call, origin="api", actor="demo")
        say(f"  GET /items through {form['name']}: {sent.call['status'] or sent.call['reason']}")
    key = await accounts.create_key(services, "demo", ("call", "read", "manage"))
    bind = services.settings.bind
    say(f"\nFrom a program, with a key made just now:\n  export SWITCHBOARD_KEY={key}")
    say(f'  curl -H "Authorization: Bearer $SWITCHBOARD_KEY" http://{bind}/proxy/items/items')
    say(f"\nIn a terminal:\n  switchboard call items GET '/items?limit=3' --data {services.settings.data}")
    if await accounts.count(services):
        say(accounts.link_text(services.settings, await accounts.create_link(services, "admin")))


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
