"""/v1/echo: says what came in, with a body of any length.

Quart keeps what a view has not read yet, which is too much of a large upload. So an ASGI wrapper counts, hashes
and drops each piece of it as the server hands it over; Quart routes, checks and answers the request without it.
"""

import asyncio
import hashlib
from contextlib import suppress
from contextvars import ContextVar
from typing import cast

from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    HTTPRequestEvent,
    HTTPScope,
    Scope,
)
from quart import Quart, jsonify, request
from quart.typing import ResponseReturnValue, ResponseTypes

from quart_app.sandbox.wire import raw_headers

PATH = "/v1/echo"
TEXT_BYTES = 64 * 1024
DRAIN_SECONDS = 5


class Upload:
    """A body on its way in. Only its length, hash and first `TEXT_BYTES` (and one more) are kept."""

    def __init__(self, receive: ASGIReceiveCallable) -> None:
        self.from_server = receive
        self.size_bytes = 0
        self.digest = hashlib.sha256()
        self.head = bytearray()
        self.ended = asyncio.Event()

    async def receive(self) -> ASGIReceiveEvent:
        """What Quart gets for the server's `receive`: an empty body once the real one has ended."""
        while (message := await self.from_server())["type"] == "http.request":
            self.take(message.get("body", b""))
            if not message.get("more_body", False):
                self.ended.set()
                return HTTPRequestEvent(type="http.request", body=b"", more_body=False)
        return message

    def take(self, piece: bytes) -> None:
        self.size_bytes += len(piece)
        self.digest.update(piece)
        self.head += piece[: TEXT_BYTES + 1 - len(self.head)]

    def text(self) -> str | None:
        try:
            return self.head.decode() if len(self.head) <= TEXT_BYTES else None
        except UnicodeDecodeError:
            return None


UPLOAD: ContextVar[Upload] = ContextVar("upload")
"""The body of the request being answered, where it is one to /v1/echo."""


def take_uploads(app: Quart) -> None:
    """Wraps `app.asgi_app`: requests to /v1/echo get an `UPLOAD`, all others pass as they are."""
    wrapped = app.asgi_app

    async def asgi_app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        # anywhere in the path, as //v1/echo, http://host/v1/echo and a root_path before it lead there, too
        if scope["type"] != "http" or PATH not in scope["path"]:
            return await wrapped(scope, receive, send)
        upload = Upload(receive)
        token = UPLOAD.set(upload)
        try:
            await wrapped(scope, upload.receive, send)
        finally:
            UPLOAD.reset(token)

    # replacing the method is how Quart documents a middleware
    app.asgi_app = asgi_app  # type: ignore[method-assign]
    app.after_request(read_to_the_end)


async def read_to_the_end(response: ResponseTypes) -> ResponseTypes:
    """An `after_request` hook: lets the rest of an upload through before the answer, for a bounded time.

    So a caller who is refused while still sending gets that answer, not a reset connection.
    """
    if upload := UPLOAD.get(None):
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await upload.ended.wait()
    return response


async def any_echo(**_: str) -> ResponseReturnValue:
    """What came in, nothing hidden: path, query and headers with one character for each byte (Latin-1).

    `body_text` is null for a body over 64 KiB or not in UTF-8.
    """
    upload = UPLOAD.get()
    await upload.ended.wait()
    return jsonify(
        {
            "method": cast(HTTPScope, request.scope)["method"],
            "path": request.scope["raw_path"].decode("latin-1"),
            "query": request.scope["query_string"].decode("latin-1"),
            "headers": raw_headers(),
            "body_bytes": upload.size_bytes,
            "body_sha256": upload.digest.hexdigest(),
            "body_text": upload.text(),
        }
    )
