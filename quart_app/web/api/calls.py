"""Calls: send, find, open, send again; and many at once."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from quart import Response, request
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app import batches, calls, history
from quart_app.accounts import Who
from quart_app.batches import MOST_CALLS, BatchForm
from quart_app.errors import AppError, Fault, Invalid
from quart_app.forms import validate
from quart_app.forms.calls import CallForm
from quart_app.history import comparisons
from quart_app.services import Services
from quart_app.web.api import pages
from quart_app.web.api.connections import origin
from quart_app.web.bodies import answer, read_json

FILTERS = ("connection", "origin", "method", "state", "status", "since", "until", "q")


async def post_call(services: Services, who: Who, form: CallForm) -> Response:
    """Send a call; it is returned also when it failed."""
    sent = await calls.send(services, form, origin=origin(who), actor=who.actor)
    return answer(sent.view(), 201, {"Location": f"/api/calls/{sent.call['id']}"})


async def get_calls(session: AsyncSession) -> Response:
    """Find calls, newest first."""
    limit, after, filters = pages.wanted(request.args, FILTERS)
    items = await history.search(session, filters, limit=limit, after=after)
    return answer(pages.page(items, limit, items[-1]["id"] if items else None))


async def get_call(session: AsyncSession, call_id: str) -> Response:
    """Open a call."""
    return answer(await history.get(session, call_id))


async def get_diff(session: AsyncSession, call_id: str, other_id: str) -> Response:
    """What is other in another call; `ignore` (any number) takes pointers, with `*` for any one part."""
    for name in request.args:
        if name != "ignore":
            raise Invalid("invalid_query", "The query has faults.", [unknown(name)], status=422)
    return answer(await comparisons.diff(session, call_id, other_id, request.args.getlist("ignore")))


def unknown(name: str) -> Fault:
    return {"pointer": f"/{name[:64]}", "detail": "unknown parameter"}


async def get_request_body(session: AsyncSession, call_id: str) -> Response:
    """The kept bytes of a call's request."""
    return attachment(*await history.body(session, call_id, "request"), f"{call_id}-request")


async def get_response_body(session: AsyncSession, call_id: str) -> Response:
    """The kept bytes of a call's answer."""
    return attachment(*await history.body(session, call_id, "response"), f"{call_id}-response")


def attachment(content: bytes, media_type: str | None, name: str) -> Response:
    """Bytes to keep, never to show: a browser must not take an upstream's content for ours."""
    response = Response(content, content_type="application/octet-stream")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["X-Media-Type"] = (media_type or "").encode("ascii", "replace").decode()
    response.headers["Cache-Control"] = "no-store"
    return response


async def post_replay(services: Services, who: Who, call_id: str) -> Response:
    """Send a recorded call again, with changes if any are given."""
    changes = await read_json(request, optional=True)
    if not isinstance(changes, dict | None):
        raise AppError(422, "invalid_input", "Changes are an object with parts of a call.")
    sent = await calls.replay(services, call_id, changes or {}, origin=origin(who), actor=who.actor)
    return answer(sent.view(), 201, {"Location": f"/api/calls/{sent.call['id']}"})


async def post_batch(services: Services, who: Who) -> Response:
    """Send many calls; each is answered as it ends."""
    given = await read_json(request)
    if isinstance(given, dict) and isinstance(given.get("calls"), list) and len(given["calls"]) > MOST_CALLS:
        raise AppError(413, "batch_too_large", f"A batch has at most {MOST_CALLS} calls.")
    form: BatchForm = validate(BatchForm, given)
    response = Response(lines(services, form, who.actor), content_type="application/x-ndjson")
    response.timeout = None
    response.headers["Cache-Control"] = "no-store"
    return response


async def lines(services: Services, form: BatchForm, actor: str) -> AsyncIterator[bytes]:
    """A line for each call as it ends; those that end together leave together."""
    async with batches.send(services, form, actor=actor) as outcomes:
        async for ready in outcomes:
            yield b"".join(line(item) for item in ready)


def line(item: dict[str, Any]) -> bytes:
    return msgspec.json.encode(item) + b"\n"
