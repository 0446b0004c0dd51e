"""A receiver as others write one: it checks signatures by the specification, with none of the app's code."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread
from typing import Any

from aiohttp import web

from quart_app import webhooks
from quart_app.forms.webhooks import WebhookForm
from quart_app.models import Delivery
from quart_app.services import Services
from quart_app.webhooks import deliveries
from quart_app.webhooks.sender import Sender
from tests.upstream import Handler, Seen

DATA = {"state": "needs_sign_in", "reason": "invalid_grant", "detail": "It was revoked.", "failure": "signed_out"}


class Forged(Exception):
    """No signature of the message is by the secret."""


def verified(seen: Seen, secret: str) -> Any:
    """The message in what arrived. Raises Forged."""
    id_, at, given = (seen.header(f"webhook-{name}") or "" for name in ("id", "timestamp", "signature"))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, f"{id_}.{at}.".encode() + seen.body, hashlib.sha256).digest()).decode()
    if not any(hmac.compare_digest(f"v1,{expected}", one) for one in given.split(" ")):
        raise Forged
    return json.loads(seen.body)


def answering(*statuses: int, **headers: str) -> Handler:
    """One status after another, the last one from then on."""
    left = list(statuses)

    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=left.pop(0) if len(left) > 1 else left[0], headers=headers)

    return handler


@contextmanager
def receiving(status: int = 204) -> Iterator[tuple[str, "Queue[Seen]"]]:
    """A receiver in a thread of its own, for tests without a loop: its URL, and what arrives."""
    arrived: Queue[Seen] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            arrived.put(Seen("POST", self.path, list(self.headers.items()), body))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", arrived
        server.shutdown()


class Clock:
    """A clock that a test moves: instants are seconds since the epoch."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


async def add(services: Services, url: str, **more: Any) -> tuple[str, str]:
    """A webhook on loopback: its id and its secret."""
    form = WebhookForm.model_validate({"url": url, "allow_private": True} | more, context=services.client.egress)
    row, secret = await webhooks.create(services, form)
    return row.id, secret


async def tell(services: Services, event: Any = "needs_sign_in", connection: str = "orders") -> None:
    async with services.db.begin() as session:
        await webhooks.enqueue(session, services, event, connection, DATA)


async def send(services: Services) -> None:
    """Sends what is due now, and what becomes due by it."""
    await Sender(services).tick()
    await services.finish()


async def send_beside(services: Services, webhook_id: str) -> None:
    """The same where the app's own loop sends as well: until each delivery has a try that ended."""
    async with asyncio.timeout(20):
        while not all(row.tries and row.tries[-1]["seconds"] for row in await listed(services, webhook_id)):
            await send(services)


async def listed(services: Services, webhook_id: str) -> list[Delivery]:
    async with services.db.session() as session:
        return await deliveries.page(session, webhook_id, limit=500)


async def only(services: Services, webhook_id: str) -> Delivery:
    (row,) = await listed(services, webhook_id)
    return row


def told(row: Delivery, part: Callable[[dict[str, Any]], Any]) -> list[Any]:
    return [part(one) for one in row.tries]
