"""Subject d: the ceiling. A relay on Switchboard's own server and client that does nothing but relay.

It checks no key, knows no connections, counts nothing and keeps no record, so the distance from here to
Switchboard is the price of all that. Bytes stream through in both directions, never collected.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

import aiohttp
from yarl import URL

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

UPSTREAM = os.environ["BENCH_UPSTREAM"]
HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
}
NOT_SENT = HOP_BY_HOP | {b"host"}
SET_BY_AIOHTTP = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class Relay:
    """The ASGI application; its one client lives as long as the server."""

    client: aiohttp.ClientSession

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the start and the end of the server."""
        if scope["type"] == "lifespan":
            await self.live(receive, send)
        elif scope["path"] == "/batch":
            await self.batch(scope, send)
        else:
            await self.relay(scope, receive, send)

    async def live(self, receive: Receive, send: Send) -> None:
        """Open the client at start and close it at shutdown."""
        await receive()
        self.client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=60),
            auto_decompress=False,
            skip_auto_headers=SET_BY_AIOHTTP,
        )
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.client.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def relay(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, and the answer back as it comes."""
        query = scope["query_string"]
        target = (scope["raw_path"] + b"?" + query if query else scope["raw_path"]).decode("ascii")
        async with self.client.request(
            scope["method"],
            URL(UPSTREAM + target, encoded=True),
            allow_redirects=False,
            headers=[
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in scope["headers"]
                if name not in NOT_SENT
            ],
            data=body_of(receive) if has_body(scope["headers"]) else None,
        ) as answer:
            headers = [(name, value) for name, value in answer.raw_headers if name.lower() not in HOP_BY_HOP]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            content, more = answer.content, True
            while more:
                chunk = await content.readany()
                more = not content.at_eof()
                await send({"type": "http.response.body", "body": chunk, "more_body": more})

    async def batch(self, scope: Scope, send: Send) -> None:
        """`count` calls of `path` at once: a bare gather; the answers when all are there."""
        query = parse_qs(scope["query_string"].decode("ascii"))
        url = URL(UPSTREAM + query["path"][0], encoded=True)

        async def one(index: int) -> dict[str, Any]:
            async with self.client.get(url) as answer:
                return {"index": index, "status": answer.status, "body": await answer.text()}

        answers = await asyncio.gather(*(one(index) for index in range(int(query["count"][0]))))
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answers).encode()})


def has_body(headers: Headers) -> bool:
    """Whether the request announces a body (RFC 9112 section 6)."""
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in headers)


async def body_of(receive: Receive) -> AsyncIterator[bytes]:
    """The request's body as it comes; an error if the caller goes away in the middle of it."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError("The caller went away before its body was whole.")
        more = message.get("more_body", False)
        yield message.get("body", b"")


app = Relay()
