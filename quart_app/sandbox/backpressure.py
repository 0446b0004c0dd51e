"""Bodies of requests that push back: what a view has not read yet stays in the caller's socket.

Quart collects a body as fast as it is sent, so a slow reader of a large upload holds all of it in memory.
Here the ASGI server is asked for more only while little is waiting; else it stops reading from the socket.
"""

import asyncio
from collections.abc import Generator
from typing import Any

from hypercorn.typing import ASGIReceiveCallable
from quart import Request, request
from quart.asgi import ASGIHTTPConnection
from quart.typing import ResponseTypes
from quart.wrappers.request import Body
from werkzeug.exceptions import RequestEntityTooLarge

BACKLOG_BYTES = 256 * 1024
DRAIN_SECONDS = 5


class BoundedBody(Body):
    """Iterated, a body may have any length; awaited whole, at most MAX_CONTENT_LENGTH (else 413)."""

    def __init__(self, expected_content_length: int | None, max_content_length: int | None) -> None:
        super().__init__(None, None)
        self.whole_bytes = max_content_length
        self.too_large = (expected_content_length or 0) > (max_content_length or float("inf"))
        self.waiting = bytearray()
        self.collected: bytes | None = None
        self.arrived = asyncio.Event()
        self.room = asyncio.Event()
        self.room.set()
        self.ended = asyncio.Event()
        self.discarding = False

    def append(self, data: bytes) -> None:
        if data and not self.discarding:
            self.waiting.extend(data)
            self.arrived.set()
            if len(self.waiting) >= BACKLOG_BYTES:
                self.room.clear()

    def set_complete(self) -> None:
        self.ended.set()
        self.arrived.set()

    async def __anext__(self) -> bytes:
        await self.arrived.wait()
        if not self.waiting:
            raise StopAsyncIteration
        data = bytes(self.waiting)
        self.clear()
        if not self.ended.is_set():
            self.arrived.clear()
        return data

    def clear(self) -> None:
        self.waiting.clear()
        self.room.set()

    def __await__(self) -> Generator[Any, None, bytes]:
        return self.whole().__await__()

    async def whole(self) -> bytes:
        """The body in one piece, also a second time. Raises RequestEntityTooLarge."""
        if self.collected is None:
            chunks = bytearray()
            while not self.too_large and (chunk := await anext(self, None)) is not None:
                chunks += chunk
                self.too_large = self.whole_bytes is not None and len(chunks) > self.whole_bytes
            if self.too_large:
                raise RequestEntityTooLarge
            self.collected = bytes(chunks)
        return self.collected

    async def discard(self) -> None:
        """Lets the rest of the body run out, for a bounded time.

        So a caller who is still sending when the answer is ready gets that answer, not a reset connection.
        """
        self.discarding = True
        self.clear()
        try:
            await asyncio.wait_for(self.ended.wait(), DRAIN_SECONDS)
        except TimeoutError:
            return


class BoundedRequest(Request):
    body_class = BoundedBody


class BoundedConnection(ASGIHTTPConnection):
    async def handle_messages(self, request: Request, receive: ASGIReceiveCallable) -> None:
        while True:
            if isinstance(request.body, BoundedBody):
                await request.body.room.wait()
            message = await receive()
            if message["type"] == "http.request":
                request.body.append(message.get("body", b""))
                if not message.get("more_body", False):
                    request.body.set_complete()
            elif message["type"] == "http.disconnect":
                return


async def read_to_the_end(response: ResponseTypes) -> ResponseTypes:
    """An `after_request` hook: whatever the view left unread is let through before the answer goes out."""
    has_body = bool(request.content_length) or "Transfer-Encoding" in request.headers
    if has_body and isinstance(request.body, BoundedBody):
        await request.body.discard()
    return response
