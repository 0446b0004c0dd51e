"""An upstream that speaks WebSocket, and a caller that does: the peers of a tunnel in the tests."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from tests.upstream import serving
from tests.wire import Wire

Talk = Callable[[web.WebSocketResponse], Awaitable[None]]


async def echo(socket: web.WebSocketResponse) -> None:
    """Sends back what comes until it is closed."""
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            await socket.send_str(message.data)
        else:
            await socket.send_bytes(message.data)


@dataclass
class SocketUpstream:
    """`url` is where it is; `talk` what it does with each WebSocket; `closes` how each was closed, as it saw it."""

    talk: Talk = echo
    url: str = ""
    requests: list[web.Request] = field(default_factory=list)
    closes: list[int | None] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    admits: Callable[[web.Request], bool] = lambda request: True

    @classmethod
    @asynccontextmanager
    async def running(cls, talk: Talk = echo, **options: Any) -> AsyncIterator["SocketUpstream"]:
        upstream = cls(talk, options={"max_msg_size": 64 * 1024**2} | options)
        app = web.Application()
        app.router.add_get("/{anything:.*}", upstream.answer)
        async with serving(app) as upstream.url:
            yield upstream

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if not self.admits(request):
            return web.json_response({"error": "no"}, status=401)
        socket = web.WebSocketResponse(**self.options)
        await socket.prepare(request)
        try:
            await self.talk(socket)
        finally:
            self.closes.append(socket.close_code)
        return socket

    async def closed(self) -> int | None:
        """The code of the first that closed."""
        async with asyncio.timeout(5):
            while not self.closes:  # noqa: ASYNC110 - what another program saw tells nothing by itself
                await asyncio.sleep(0.01)
        return self.closes[0]


@asynccontextmanager
async def tunnel(
    port: int, path: str, key: str = "", **options: Any
) -> AsyncIterator["aiohttp.ClientWebSocketResponse[Any]"]:
    """A caller's open WebSocket. Raises WSServerHandshakeError for a refusal."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    headers |= options.pop("headers", {})
    settings: Any = {"max_msg_size": 64 * 1024**2, "autoclose": False} | options
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        socket = await session.ws_connect(f"http://127.0.0.1:{port}{path}", headers=headers, **settings)
        try:
            yield socket
        finally:
            await socket.close()


def handshake(wire: Wire, path: str, *headers: str, key: bool = True) -> bytes:
    """A caller's request for a WebSocket, byte for byte; with the wire's key unless another is given."""
    asked = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
    asked += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *headers]
    head = wire.head("GET", path, asked)
    return head if key else head.replace(f"Authorization: Bearer {wire.key}\r\n".encode(), b"")


def frame(opcode: int, payload: bytes, *, last: bool = True) -> bytes:
    """A caller's frame (RFC 6455 §5.2), under the mask of zeros, which leaves the payload as it is."""
    first = bytes([opcode | (0x80 if last else 0)])
    size = len(payload)
    if size < 126:
        return first + bytes([0x80 | size]) + bytes(4) + payload
    if size < 65536:
        return first + b"\xfe" + size.to_bytes(2) + bytes(4) + payload
    return first + b"\xff" + size.to_bytes(8) + bytes(4) + payload
