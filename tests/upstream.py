"""A real upstream on loopback: an aiohttp server whose answer a test sets, and a raw one that sends any bytes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Seen:
    """One request as it arrived: `path` is the raw target."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """The app on a port of loopback while the block runs; its URL."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server: Any = site._server
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        await runner.cleanup()


@dataclass
class Upstream:
    """`url` is where it is; `seen` every request with its body read; set `handler` to answer otherwise."""

    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    handler: Handler | None = None
    reads_body: bool = True

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator["Upstream"]:
        upstream = cls()
        app = web.Application(client_max_size=2 * 1024**3)
        app.router.add_route("*", "/{anything:.*}", upstream.answer)
        async with serving(app) as upstream.url:
            yield upstream

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read() if self.reads_body else b""
        self.seen.append(Seen(request.method, request.raw_path, list(request.headers.items()), body))
        if self.handler is not None:
            return await self.handler(request)
        return web.json_response({"hello": "world"})


@asynccontextmanager
async def raw_upstream(
    reply: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A server that does with each connection what `reply` does; yields its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reply(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
