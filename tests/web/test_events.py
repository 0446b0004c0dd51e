"""Server-sent events: a call arrives live, and the stream ends when the server stops."""

import asyncio
import json
import socket
import time
from contextlib import ExitStack, asynccontextmanager
from typing import Any

from aiohttp import web

from quart_app import accounts
from quart_app.services import Services
from quart_app.web.events import MOST_STREAMS, as_event
from quart_app.web.shapes import CallView
from tests.served import Served
from tests.upstream import Upstream
from tests.web.conftest import Asker, KeyMaker, problem_in


@asynccontextmanager
async def listening(asker: Asker) -> Any:
    """An open event stream: a function that gives its next event."""
    async with asker.app.test_client().request("/api/events", headers=asker.headers) as stream:
        await stream.send_complete()
        pending = b""

        async def next_event() -> tuple[str, Any]:
            nonlocal pending
            while b"\n\n" not in pending:
                async with asyncio.timeout(5):
                    pending += await stream.receive()
            block, _, pending = pending.partition(b"\n\n")
            lines = dict(line.split(": ", 1) for line in block.decode().splitlines())
            return lines.get("event", ""), json.loads(lines["data"]) if "data" in lines else lines

        assert await next_event() == ("", {"retry": "2000"})
        yield next_event
        await stream.disconnect()


async def test_a_call_arrives_live_as_lists_show_it(program: Asker, upstream: Upstream) -> None:
    form = {"name": "orders", "base_url": upstream.url, "policy": {"allow_private": True}}
    await program.post("/api/connections", json=form)
    async with listening(program) as next_event:
        await program.post("/api/calls", json={"connection": "orders", "method": "PUT", "json": {"a": "secret text"}})
        kinds = [await next_event(), await next_event()]
    calls = [CallView.model_validate(item) for kind, item in kinds if kind == "call"]
    assert [call.state for call in calls] == ["sending", "done"], "an unsafe call is told before it leaves"
    listed = (await (await program.get("/api/calls")).get_json())["items"][0]
    assert kinds[-1] == ("call", listed)
    assert "secret text" not in str(kinds), "an event has no content"


async def test_a_listener_whose_key_was_revoked_is_told_nothing_more(
    program: Asker, key_of: KeyMaker, running: Services
) -> None:
    reader = await key_of("read")
    async with reader.app.test_client().request("/api/events", headers=reader.headers) as stream:
        await stream.send_complete()
        assert await stream.receive() == b"retry: 2000\n\n"
        key_id = reader.headers["Authorization"].split("_")[1]
        await accounts.revoke_key(running, key_id)
        running.events.publish("connection", {"name": "orders"})
        async with asyncio.timeout(5):
            assert await stream.receive() == b""


async def test_a_connection_that_needs_attention_is_told(program: Asker, upstream: Upstream) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"error": "invalid_client"}, status=401)

    upstream.handler = refuse
    auth = {"scheme": "oauth2", "grant": "client_credentials", "token_url": f"{upstream.url}/token"}
    auth |= {"client_id": "me", "client_secret": "very-secret"}
    form = {"name": "orders", "base_url": upstream.url, "policy": {"allow_private": True}, "auth": auth}
    assert (await program.post("/api/connections", json=form)).status_code == 201
    async with listening(program) as next_event:
        assert (await program.post("/api/connections/orders/token-refreshes")).status_code == 502
        heard = [await next_event() for _ in range(2)]
    assert ("connection", {"name": "orders", "state": "config_error"}) in heard


async def test_every_listener_hears_and_one_that_left_is_forgotten(program: Asker, running: Services) -> None:
    async with listening(program) as first, listening(program) as second:
        assert running.events.count == 2
        running.events.publish("connection", {"name": "a", "state": "ready"})
        assert await first() == await second() == ("connection", {"name": "a", "state": "ready"})
    for _ in range(100):
        if running.events.count == 0:
            break
        await asyncio.sleep(0.01)
    assert running.events.count == 0


async def test_there_are_only_so_many_streams(program: Asker, running: Services) -> None:
    with ExitStack() as stack:
        for _ in range(MOST_STREAMS):
            stack.enter_context(running.events.listening())
        await problem_in(await program.get("/api/events"), 503, "too_many_streams")


async def test_the_stream_ends_when_the_server_drains(program: Asker, running: Services) -> None:
    client = program.app.test_client()
    async with client.request("/api/events", headers=program.headers) as stream:
        await stream.send_complete()
        assert await stream.receive() == b"retry: 2000\n\n"
        running.events.close()
        answer = await asyncio.wait_for(stream.as_response(), 5)
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["X-Accel-Buffering"] == "no"


async def test_no_text_of_a_call_can_break_out_of_its_event() -> None:
    event = as_event("connection", {"name": "a\n\nevent: call\r\ndata: {}"})
    assert event.count(b"\n") == 3
    assert b"\r" not in event


def test_at_sigterm_an_open_stream_ends_cleanly_and_the_server_is_gone_soon(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as wire:
        head = f"GET /api/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {served.key}\r\n\r\n"
        wire.sendall(head.encode())
        answer = b""
        while b"retry: 2000\n\n" not in answer:
            answer += wire.recv(4096)
        began = time.monotonic()
        assert served.stop() == 0
        answer += b"".join(iter(lambda: wire.recv(4096), b""))
    assert answer.endswith(b"0\r\n\r\n"), "the end of a chunked body: a clean end"
    assert time.monotonic() - began < 5
