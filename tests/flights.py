"""Calls in flight for tests: a connection to fly through, a flight to its end, its record, an upstream's answer."""

import asyncio
from typing import Any

from aiohttp import web

from quart_app import connections, history
from quart_app.forms.connections import ConnectionForm
from quart_app.models import Call
from quart_app.outbound.client import Outgoing
from quart_app.outbound.target import Target
from quart_app.outbound.urls import join
from quart_app.sending.flight import Flight
from quart_app.services import Services


async def aim(
    services: Services, base_url: str, auth: dict[str, Any] | None = None, *, name: str = "orders", **policy: Any
) -> Target:
    """The connection `orders`, ready to be called."""
    given = {"name": name, "base_url": base_url, "policy": {"allow_private": True} | policy}
    await connections.create(services, ConnectionForm.model_validate(given | ({"auth": auth} if auth else {})))
    return await connections.load(services, name)


def flight(services: Services, target: Target, method: str = "GET", path: str = "/", **more: Any) -> Flight:
    headers = more.pop("headers", [])
    total_seconds, insists = more.pop("total_seconds", 5), more.pop("insists", False)
    outgoing = Outgoing(method, join(target.base, path, more.pop("query", "")), headers, **more)
    return Flight(
        services, target, outgoing, origin="proxy", actor="test", total_seconds=total_seconds, insists=insists
    )


async def fly(made: Flight) -> bytes:
    """Flies to the end and lands; the answer's bytes."""
    await made.depart()
    answer = b""
    while piece := await made.read():
        answer += piece
    assert await made.land()
    return answer


async def on_record(services: Services, call_id: str) -> dict[str, Any]:
    async with services.db.session() as session:
        return await history.get(session, call_id)


async def state_of(services: Services, call_id: str) -> str | None:
    async with services.db.session() as session:
        row = await session.get(Call, call_id)
    return row.state if row else None


async def until_state(services: Services, call_id: str, state: str) -> dict[str, Any]:
    """The record, once it has come to that state; what is recorded without waiting takes a moment."""
    async with asyncio.timeout(5):
        while await state_of(services, call_id) != state:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return await on_record(services, call_id)


async def until_seen(upstream: Any, count: int = 1) -> None:
    async with asyncio.timeout(5):
        while len(upstream) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.002)


def answering(status: int = 200, body: bytes = b"", **headers: str) -> Any:
    """A handler; `_` in a header's name stands for `-`."""

    async def handler(request: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, body=body, headers=named)

    return handler
