"""Plays tricks on the wire: waits, answers that are not as they should be, connections that end too soon."""

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from typing import Any, NoReturn, cast

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from quart import Quart, Response, request
from quart.typing import ResponseTypes

from quart_app.sandbox.protocol import with_query
from quart_app.sandbox.tricks import Answer, Trick
from quart_app.sandbox.wire import Problem

TRANSPORT = "sandbox.transport"
LAYERS = 8
NO_LINGER = struct.pack("ii", 1, 0)
UNASKED = Answer({}, headers={"Cache-Control": "no-store"})
"""What a trick starts from that keeps a request off."""


class Stage:
    """Where answers are given. `clock` returns seconds since the epoch; it writes `Date`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock

    async def perform(self, trick: Trick, act: Callable[[], Answer], *, delay_seconds: float = 0) -> Response:
        """The answer that `act` gives, or does not get to give, as the trick has it.

        A good answer is held back for `delay_seconds`. Does not return where the trick ends the connection.
        """
        await asyncio.sleep(trick.delay_seconds)
        answer = UNASKED if trick.keeps_off else act()
        await asyncio.sleep(trick.answer_delay_seconds + (delay_seconds if answer.is_good else 0))
        response = self.response(trick, trick.change(answer))
        match trick.ends:
            case "never":
                await gone()
            case "closed":
                transport().close()
                await gone()
            case "reset":
                reset(transport())
                await gone()
            case "cut":
                return await cut(response)
        return response

    def response(self, trick: Trick, answer: Answer) -> Response:
        content = b"" if answer.redirect_uri else trick.content(answer)
        response = Response(content, answer.status, content_type="application/json")
        if not content:
            del response.headers["Content-Type"]
        if answer.redirect_uri:
            response.headers["Location"] = with_query(answer.redirect_uri, answer.fields or {})
        response.headers.update(answer.headers)
        response.date = datetime.fromtimestamp(self.clock() + trick.skew_seconds, UTC)
        return response

    async def date(self, response: ResponseTypes) -> ResponseTypes:
        """An `after_request` hook: every answer says this clock's time (RFC 9110 §6.6.1), unless it has said one."""
        if response.date is None:
            response.date = datetime.fromtimestamp(self.clock(), UTC)
        return response


async def gone() -> NoReturn:
    """Until the client has left: the server cancels the request then."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets this event")


async def cut(response: Response) -> Response:
    """The same answer with half of its body, whereupon the connection ends."""
    content, connection = await response.get_data(as_text=False), transport()

    async def half() -> AsyncGenerator[bytes, None]:
        yield content[: len(content) // 2]
        connection.close()
        await gone()

    broken = Response(half(), response.status_code, response.headers)
    broken.headers["Content-Length"] = str(len(content))
    broken.timeout = None
    return broken


def reset(connection: Any) -> None:
    """RFC 9293 §3.10.5: at once, and never mistaken for an end."""
    sock = connection.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    connection.abort()


def transport() -> Any:
    """The transport under the request. Problem 501 where the server is not Hypercorn, which is known to have one."""
    found = cast(dict[str, Any], request.scope).get(TRANSPORT)
    if found is None:
        raise Problem(501, "Not Implemented", "Connections can be ended on Hypercorn only.")
    return found


def show_transports(app: Quart) -> None:
    """Wraps `app.asgi_app`: each request has its transport in its scope, where there is one."""
    wrapped = app.asgi_app

    async def asgi_app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        cast(dict[str, Any], scope)[TRANSPORT] = transport_of(send)
        await wrapped(scope, receive, send)

    # replacing the method is how Quart documents a middleware
    app.asgi_app = asgi_app  # type: ignore[method-assign]


def transport_of(send: Any) -> Any:
    """The transport under an ASGI `send` of Hypercorn, None under any other.

    ASGI does not show it. Such a `send` is a bound method, and each object on the way down keeps that of the next.
    """
    for _ in range(LAYERS):
        owner = getattr(send, "__self__", None)
        writer = getattr(owner, "writer", None)
        if writer is not None:
            return writer.transport
        send = getattr(owner, "send", None)
    return None
