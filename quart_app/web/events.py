"""`GET /api/events`: what happens, as server-sent events (WHATWG HTML §9.2), until the page or the server goes."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from quart import Response, request

from quart_app import history
from quart_app.accounts import Who
from quart_app.errors import AppError
from quart_app.recorder import Record
from quart_app.services import Services
from quart_app.web.access import READ, Admission

MOST_STREAMS = 64
UNKNOWN = -1
"""The epoch of an admission that is looked at again before the first event."""


async def get_events(services: Services, who: Who) -> Response:
    """Calls and connections as they change, live."""
    if services.events.count >= MOST_STREAMS:
        raise AppError(503, "too_many_streams", f"There are {MOST_STREAMS} open event streams already.")
    if services.draining:
        raise AppError(503, "draining", "The server is stopping; try again in a moment.")
    headers = {name.lower(): value for name, value in request.headers.items()}
    admission = Admission(services, headers, who, READ, UNKNOWN, proxied=False)
    body = b"" if request.method == "HEAD" else event_stream(services, admission)
    response = Response(body, content_type="text/event-stream; charset=utf-8")
    response.timeout = None
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


async def event_stream(services: Services, admission: Admission) -> AsyncIterator[bytes]:
    """Nothing is told to a listener whose key or sign-in has ended meanwhile: its stream ends instead."""
    with services.events.listening() as events:
        yield b"retry: 2000\n\n"
        async for event in events:
            if admission.is_in_doubt() and not await admission.holds():
                return
            yield b": still here\n\n" if event is None else as_event(*event)


def as_event(kind: str, item: Any) -> bytes:
    if isinstance(item, Record):
        item = history.view_record(item, content=False)
    return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(item) + b"\n\n"
