"""`GET /api/events`: what happens, as server-sent events (WHATWG HTML §9.2), until the page or the server goes."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from quart import Response, request

from quart_app import history
from quart_app.errors import AppError
from quart_app.recorder import Record
from quart_app.services import Services

MOST_STREAMS = 64


async def get_events(services: Services) -> Response:
    """Calls and connections as they change, live."""
    if services.events.count >= MOST_STREAMS:
        raise AppError(503, "too_many_streams", f"There are {MOST_STREAMS} open event streams already.")
    if services.draining:
        raise AppError(503, "draining", "The server is stopping; try again in a moment.")
    body = b"" if request.method == "HEAD" else event_stream(services)
    response = Response(body, content_type="text/event-stream; charset=utf-8")
    response.timeout = None
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


async def event_stream(services: Services) -> AsyncIterator[bytes]:
    with services.events.listening() as events:
        yield b"retry: 2000\n\n"
        async for event in events:
            yield b": still here\n\n" if event is None else as_event(*event)


def as_event(kind: str, item: Any) -> bytes:
    if isinstance(item, Record):
        item = history.view_record(item, content=False)
    return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(item) + b"\n\n"
