"""Real answers of every route that gives JSON, held against the shapes that the OpenAPI document is made from."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web
from pydantic import BaseModel

from quart_app import accounts
from quart_app.services import Services
from quart_app.web import ROUTES
from quart_app.web.openapi import Route
from quart_app.web.shapes import BatchLine, CallView, ConnectionView
from tests.upstream import Upstream
from tests.web.conftest import OWN_PAGE, Asker

SHAPED = {route.view.__name__: route for route in ROUTES if route.gives}
CALL = {"connection": "orders", "method": "POST", "path": "/items?x=1", "json": {"hoge": "val"}}


def holds(shape: type[BaseModel], content: bytes) -> Any:
    return shape.model_validate_json(content, strict=True)


async def test_every_answer_has_the_shape_that_the_document_says(
    program: Asker, person: Asker, running: Services, upstream: Upstream
) -> None:
    upstream.handler = token_or_answer
    shown = await seen_from(program, upstream)
    token = await accounts.create_link(running, "admin")
    bodies: dict[str, Any] = {
        "post_sign_in": {"token": token},
        "post_connection": {"name": "second", "base_url": "https://api.example.com"},
        "patch_connection": {"title": "Orders", "auth": {"scheme": "none"}},
        "post_webhook": {"url": "https://hooks.example.com/in"},
        "patch_webhook": {"events": ["recovered"]},
        "post_call": CALL,
        "post_replay": {},
        "post_batch": {"calls": [CALL, {"connection": "absent"}, {"nope": 1}]},
    }
    last = ("patch_connection", "get_calls", "get_connections")
    for name in sorted(SHAPED, key=lambda name: last.index(name) if name in last else -1):
        route = SHAPED[name]
        path = re.sub(r"<(\w+)>", lambda found: shown[found[1]], route.path)
        path = path.replace("orders", "by-code") if name == "post_authorization" else path
        path += "?connection=orders" if name == "get_token_refresh" else ""
        asker = Asker(program.app, OWN_PAGE) if name == "post_sign_in" else person if "sign_in" in name else program
        sent = {"json": bodies[name]} if name in bodies else {}
        await check(route, await asker.ask(route.method, path, **sent))


async def seen_from(program: Asker, upstream: Upstream) -> dict[str, str]:
    """A connection with a token, and a call through it: what fills the paths in."""
    auth = {"scheme": "oauth2", "grant": "client_credentials", "token_url": f"{upstream.url}/token"}
    auth |= {"client_id": "me", "client_secret": "very-secret"}
    form = {"name": "orders", "base_url": upstream.url, "policy": {"allow_private": True}, "auth": auth}
    assert (await program.post("/api/connections", json=form)).status_code == 201
    by_code = auth | {"grant": "authorization_code", "authorize_url": f"{upstream.url}/authorize"}
    await program.post("/api/connections", json=form | {"name": "by-code", "auth": by_code})
    call = await (await program.post("/api/calls", json=CALL)).get_json()
    webhook = await (await program.post("/api/webhooks", json={"url": "https://hooks.example.com/out"})).get_json()
    return {
        "name": "orders",
        "call_id": call["id"],
        "other_id": call["id"],
        "webhook_id": webhook["id"],
        "preset_id": "github",
    }


async def token_or_answer(request: web.Request) -> web.Response:
    if request.path == "/token":
        return web.json_response({"access_token": "a-token", "token_type": "Bearer", "expires_in": 3600})
    return web.json_response({"hello": "world"}, headers={"X-A": "1"})


async def check(route: Route, answer: Any) -> None:
    content = await answer.get_data()
    assert (answer.status_code, answer.mimetype) == (route.status, route.media), f"{route.path}: {content[:300]!r}"
    assert route.gives is not None
    lines = content.splitlines() if route.gives is BatchLine else [content]
    for line in lines:
        holds(route.gives, line)
    if route.gives is BatchLine:
        assert len(lines) == 3


def text(status: int, **more: Any) -> Callable[[], web.Response]:
    return lambda: web.Response(status=status, **more)


ANSWERS: list[tuple[str, Callable[[], web.Response]]] = [
    ("GET", text(204)),
    ("GET", text(304)),
    ("HEAD", text(200)),
    ("GET", text(200)),
    ("GET", text(500, text="é")),
    ("GET", text(200, body=b"\xff\x00", content_type="image/png")),
    ("GET", text(200, body=b"{", content_type="application/json")),
    ("GET", text(200, body=b"[1e400, 123456789012345678901234567890]", content_type="application/json")),
    ("GET", text(302, headers={"Location": "http://elsewhere.example/"})),
    ("POST", text(200, body=b"\xff", content_type="text/plain")),
]


async def test_a_call_has_its_shape_whatever_the_answer_was(program: Asker, upstream: Upstream) -> None:
    form = {"name": "orders", "base_url": upstream.url, "policy": {"allow_private": True}}
    await program.post("/api/connections", json=form)
    for method, make in ANSWERS:

        async def handler(_: web.Request, make: Callable[[], web.Response] = make) -> web.Response:
            return make()

        upstream.handler = handler
        sent = await program.post("/api/calls", json={"connection": "orders", "method": method})
        shown = holds(CallView, await sent.get_data())
        assert shown.state == "done"
        opened = await (await program.get(f"/api/calls/{shown.id}")).get_data()
        assert msgspec.json.decode(opened) == msgspec.json.decode(await sent.get_data())


@pytest.mark.parametrize(
    ("policy", "reason"),
    [({"first_byte_seconds": 0.1}, "first_byte_timeout"), ({"total_seconds": 0.1}, "total_timeout")],
)
async def test_a_call_that_failed_has_its_shape(
    program: Asker, upstream: Upstream, policy: dict[str, Any], reason: str
) -> None:
    async def never(_: web.Request) -> web.Response:
        await asyncio.sleep(3)
        return web.Response()

    upstream.handler = never
    form = {"name": "orders", "base_url": upstream.url, "policy": {"allow_private": True} | policy}
    assert holds(ConnectionView, await (await program.post("/api/connections", json=form)).get_data()).state == "ready"
    sent = await program.post("/api/calls", json={"connection": "orders"})
    shown = holds(CallView, await sent.get_data())
    assert (sent.status_code, shown.state, shown.reason, shown.response) == (201, "failed", reason, None)
