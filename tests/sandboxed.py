"""The package's own sandbox as a real upstream: served on Hypercorn, in the test's loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart

from quart_app import connections
from quart_app.forms.connections import ConnectionForm
from quart_app.outbound.target import Target
from quart_app.sandbox import DEMO, AuthorizationServer, create_sandbox
from quart_app.services import Services
from tests.served import free_port


@dataclass
class Sandbox:
    """`url` is where it is, `server` its OAuth server with all that it counts, `app` what is served."""

    url: str
    server: AuthorizationServer
    app: Quart

    @property
    def token_requests(self) -> int:
        return sum(self.server.token_requests.values())

    def form(self, grant: str = "client_credentials", **more: Any) -> dict[str, Any]:
        """A connection `items` to the sandbox's API by one of its grants."""
        auth = {
            "scheme": "oauth2",
            "grant": grant,
            "token_url": f"{self.url}/oauth/token",
            "client_id": DEMO.client_id,
            "client_secret": DEMO.client_secret,
        }
        if grant == "refresh_token":
            auth["refresh_token"] = DEMO.refresh_token
        return {"name": "items", "base_url": f"{self.url}/v1", "auth": auth, "policy": {"allow_private": True}} | more


@asynccontextmanager
async def serving_sandbox(**options: Any) -> AsyncIterator[Sandbox]:
    """`options` are those of `create_sandbox`."""
    app = create_sandbox(**options)
    config = Config()
    config.bind = [f"127.0.0.1:{free_port()}"]
    config.graceful_timeout = 0.1
    config.include_date_header = False  # the sandbox says its own, also a wrong one
    config.loglevel = "WARNING"
    stop = asyncio.Event()
    served = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait), name="sandbox")
    try:
        await listening(config.bind[0])
        yield Sandbox(f"http://{config.bind[0]}", app.extensions["oauth"], app)
    finally:
        stop.set()
        await served


async def listening(bind: str) -> None:
    host, _, port = bind.rpartition(":")
    for _ in range(200):
        with suppress(OSError):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"nothing listens on {bind}")


async def connected(services: Services, form: dict[str, Any]) -> Target:
    await connections.create(services, ConnectionForm.model_validate(form))
    return await connections.load(services, form["name"])
