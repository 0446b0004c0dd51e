"""WebSockets through the proxy, from a real caller to a real upstream, by a server as it is served."""

import asyncio
import json
import re
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from aiohttp import web

from tests.served import Served, free_port
from tests.sockets import SocketUpstream, echo, frame, handshake, tunnel
from tests.upstream import Upstream, raw_upstream
from tests.web.proxied import (
    STALL_SECONDS,
    connect,
    is_let_go,
    is_problem,
    let_go_within,
    opened,
    record,
    silent_upstream,
)
from tests.wire import Answered, Wire

MIB = 1024**2
TEXT, BINARY, CONTINUED, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
TOO_LARGE = 16 * MIB + 1


async def ended(switchboard: Served, name: str) -> Any:
    """The one call through a connection, once it has ended, as it is shown."""
    return await opened(switchboard, (await record(switchboard, name))["id"])


def how(call: Any) -> tuple[Any, ...]:
    """How a tunnel's call ended, in short."""
    carried = call["websocket"]
    return call["state"], call["reason"], carried["close_code"], carried["closed_by"]


# What passes


async def test_messages_of_both_kinds_come_back_as_they_went(switchboard: Served) -> None:
    async with SocketUpstream.running() as upstream:
        name = await connect(switchboard, upstream.url)
        async with tunnel(switchboard.port, f"/proxy/{name}/chat?room=1", switchboard.key) as socket:
            for text in ("hello", "", "Übung 🙂"):
                await socket.send_str(text)
                assert await socket.receive_str() == text
            for content in (b"", bytes(range(256)), b"x" * 100_000):
                await socket.send_bytes(content)
                assert await socket.receive_bytes() == content
            await socket.close(code=4000, message=b"enough")
        assert await upstream.closed() == 4000
        assert upstream.requests[0].raw_path == "/v1/chat?room=1"
    call = await ended(switchboard, name)
    assert (call["method"], call["status"], call["origin"], len(call["attempts"])) == ("GET", 101, "proxy", 1)
    assert (call["state"], call["response"]["body"]) == ("done", None)
    size = len("hello" + "Übung 🙂".encode().decode("latin-1")) + 256 + 100_000
    assert call["websocket"] == {
        "frames_sent": 6,
        "frames_received": 6,
        "bytes_sent": size,
        "bytes_received": size,
        "close_code": 4000,
        "closed_by": "caller",
    }


async def test_a_message_in_many_fragments_arrives_whole_with_pings_between_them(
    switchboard: Served, wire: Wire
) -> None:
    async with SocketUpstream.running() as upstream:
        name = await connect(switchboard, upstream.url)
        await wire.send(handshake(wire, f"/proxy/{name}/"))
        assert (await wire.answer_head()).status == 101
        content = bytes(range(256)) * 40 * 1024  # 10 MiB
        for start in range(0, len(content), 64 * 1024):
            await wire.send(frame(BINARY if not start else CONTINUED, content[start : start + 64 * 1024], last=False))
            await wire.send(frame(PING, b"there?"))
        await wire.send(frame(CONTINUED, b""))
        came = b""
        pongs = 0
        while len(came) < len(content):
            kind, piece = await read_frame(wire)
            pongs += kind == PONG and piece == b"there?"
            came += piece if kind == BINARY else b""
        assert came == content
        assert pongs == 160
        await wire.send(frame(CLOSE, b"\x03\xe8"))
        assert await read_frame(wire) == (CLOSE, b"\x03\xe8")
    call = await ended(switchboard, name)
    assert how(call) == ("done", None, 1000, "caller")
    assert (call["websocket"]["frames_sent"], call["websocket"]["bytes_received"]) == (1, 10 * MIB)


async def read_frame(wire: Wire) -> tuple[int, bytes]:
    """One frame of a server: never masked, never in fragments here."""
    async with asyncio.timeout(10):
        first, length = await wire.reader.readexactly(2)
        assert first & 0x80
        if length == 126:
            length = int.from_bytes(await wire.reader.readexactly(2))
        elif length == 127:
            length = int.from_bytes(await wire.reader.readexactly(8))
        return first & 0x0F, await wire.reader.readexactly(length)


async def test_an_upstreams_pings_are_answered_while_the_caller_is_silent(switchboard: Served) -> None:
    async def ping_first(socket: web.WebSocketResponse) -> None:
        await socket.ping(b"there?")
        message = await socket.receive()
        await socket.send_str(f"{message.type.name} {message.data.decode()}")
        await socket.close()

    async with SocketUpstream.running(ping_first, autoping=False) as upstream:
        name = await connect(switchboard, upstream.url)
        async with tunnel(switchboard.port, f"/proxy/{name}/", switchboard.key) as socket:
            assert await socket.receive_str() == "PONG there?"


@pytest.mark.parametrize(
    ("chosen", "offered", "extension"),
    [("b", ("a", "b"), 0), (None, (), 0), (None, ("x",), 0), (None, (), 15)],
)
async def test_the_protocol_chosen_comes_back_and_compression_is_offered_where_the_caller_does(
    switchboard: Served, chosen: str | None, offered: tuple[str, ...], extension: int
) -> None:
    async with SocketUpstream.running(protocols=("b", "c")) as upstream:
        name = await connect(switchboard, upstream.url)
        path = f"/proxy/{name}/"
        async with tunnel(switchboard.port, path, switchboard.key, protocols=offered, compress=extension) as socket:
            await socket.send_str("a" * 10_000)
            assert await socket.receive_str() == "a" * 10_000
            assert socket.protocol == chosen
        asked = upstream.requests[0].headers
        assert asked.get("Sec-WebSocket-Protocol") == (", ".join(offered) or None)
        assert ("Sec-WebSocket-Extensions" in asked) == bool(extension)


# How it closes


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "bye"), (3999, "ü" * 61), (4999, "x")])
async def test_an_upstreams_closing_code_and_reason_reach_the_caller(
    switchboard: Served, code: int, reason: str
) -> None:
    async def close(socket: web.WebSocketResponse) -> None:
        await socket.send_str("last words")
        await socket.close(code=code, message=reason.encode())

    async with SocketUpstream.running(close) as upstream:
        name = await connect(switchboard, upstream.url)
        async with tunnel(switchboard.port, f"/proxy/{name}/", switchboard.key) as socket:
            assert await socket.receive_str() == "last words"
            message = await socket.receive()
            assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, code, reason)
            call = await record(switchboard, name)  # on record before the caller is told
    assert (call["state"], call["status"]) == ("done", 101)
    assert how(await opened(switchboard, call["id"])) == ("done", None, code, "upstream")


@pytest.mark.parametrize(
    ("payload", "code", "seen"),
    [(b"", 1005, 1000), (b"\x03\xe9", 1001, 1001), (b"\x13\x87why", 4999, 4999), (b"\x0b\xb8", 3000, 3000)],
)
async def test_a_callers_closing_code_reaches_the_upstream(
    switchboard: Served, wire: Wire, payload: bytes, code: int, seen: int
) -> None:
    async with SocketUpstream.running() as upstream:
        name = await connect(switchboard, upstream.url)
        await wire.send(handshake(wire, f"/proxy/{name}/"))
        assert (await wire.answer_head()).status == 101
        await wire.send(frame(CLOSE, payload))
        assert await upstream.closed() == seen
    assert how(await ended(switchboard, name)) == ("done", None, code, "caller")


async def test_an_upstream_that_breaks_off_is_a_failed_call_and_an_error_to_the_caller(switchboard: Served) -> None:
    async def break_off(socket: web.WebSocketResponse) -> None:
        await socket.send_str("half of")
        assert socket._req is not None
        assert socket._req.transport is not None
        socket._req.transport.abort()

    async with SocketUpstream.running(break_off) as upstream:
        name = await connect(switchboard, upstream.url)
        async with tunnel(switchboard.port, f"/proxy/{name}/", switchboard.key) as socket:
            assert await socket.receive_str() == "half of"
            message = await socket.receive()
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1011)
    call = await ended(switchboard, name)
    assert how(call) == ("failed", "reset", 1006, "upstream")
    assert call["attempts"][0]["reason"] == "reset"


async def test_an_upstream_that_breaks_the_rules_is_a_protocol_error(switchboard: Served) -> None:
    async def broken(socket: web.WebSocketResponse) -> None:
        assert socket._req is not None
        transport: Any = socket._req.transport
        transport.write(b"\xf1\x00")  # reserved bits set
        await socket.receive()

    async with SocketUpstream.running(broken) as upstream:
        name = await connect(switchboard, upstream.url)
        async with tunnel(switchboard.port, f"/proxy/{name}/", switchboard.key) as socket:
            assert (await socket.receive()).data == 1011
    assert how(await ended(switchboard, name)) == ("failed", "protocol_error", 1006, "upstream")


async def test_a_caller_that_vanishes_frees_the_upstream(switchboard: Served, wire: Wire) -> None:
    async with SocketUpstream.running() as upstream:
        name = await connect(switchboard, upstream.url)
        await wire.send(handshake(wire, f"/proxy/{name}/"))
        assert (await wire.answer_head()).status == 101
        await wire.send(frame(TEXT, b"hello"))
        await read_frame(wire)
        wire.leave()
        assert await upstream.closed() == 1001
    call = await ended(switchboard, name)
    assert how(call) == ("cancelled", None, 1006, "caller")
    assert call["detail"] == "The caller went away."
    assert call["websocket"]["frames_sent"] == 1


async def test_a_caller_that_breaks_the_rules_is_let_go(switchboard: Served, wire: Wire) -> None:
    async with SocketUpstream.running() as upstream:
        name = await connect(switchboard, upstream.url)
        await wire.send(handshake(wire, f"/proxy/{name}/"))
        assert (await wire.answer_head()).status == 101
        await wire.send(b"\xf1\x80\0\0\0\0")
        assert await upstream.closed() == 1002
    assert how(await ended(switchboard, name)) == ("done", None, 1002, "caller")


async def test_a_caller_that_stops_reading_holds_the_upstream_back_and_is_let_go(
    switchboard: Served,
) -> None:
    sent = 0

    async def pour(socket: web.WebSocketResponse) -> None:
        nonlocal sent
        while True:
            await socket.send_bytes(b"x" * 64 * 1024)
            sent += 64 * 1024

    async with (
        SocketUpstream.running(pour) as upstream,
        Wire.to(switchboard.port, switchboard.key, buffer_bytes=64 * 1024) as wire,
    ):
        name = await connect(switchboard, upstream.url)
        await wire.send(handshake(wire, f"/proxy/{name}/"))
        assert (await wire.answer_head()).status == 101
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        began = time.monotonic()
        call = await ended(switchboard, name)
        assert time.monotonic() - began < STALL_SECONDS + 5
        assert how(call) == ("cancelled", None, 1006, "caller")
        assert call["detail"] == "The caller stopped reading."
        assert sent < 32 * MIB


async def test_messages_have_a_most_on_either_side(switchboard: Served, wire: Wire) -> None:
    async def much(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(b"x" * TOO_LARGE)
        await socket.receive()

    async with SocketUpstream.running(much) as upstream:
        name = await connect(switchboard, upstream.url)
        async with tunnel(switchboard.port, f"/proxy/{name}/", switchboard.key) as socket:
            assert (await socket.receive()).data == 1011
    assert how(await ended(switchboard, name)) == ("failed", "too_large", 1006, "upstream")
    async with SocketUpstream.running() as upstream:
        name = await connect(switchboard, upstream.url)
        await wire.send(handshake(wire, f"/proxy/{name}/"))
        assert (await wire.answer_head()).status == 101
        for start in range(0, TOO_LARGE, 64 * 1024):
            await wire.send(frame(CONTINUED if start else TEXT, b"x" * 64 * 1024, last=False))
        assert (await read_frame(wire))[1][:2] == (1009).to_bytes(2)
        assert await upstream.closed() == 1009
    assert how(await ended(switchboard, name)) == ("failed", "too_large", 1009, "switchboard")


async def test_a_total_time_ends_a_tunnel_where_one_was_asked_for(switchboard: Served) -> None:
    async with SocketUpstream.running() as upstream:
        name = await connect(switchboard, upstream.url)
        headers = {"X-Switchboard-Total-Seconds": "0.5"}
        async with tunnel(switchboard.port, f"/proxy/{name}/", switchboard.key, headers=headers) as socket:
            assert (await socket.receive(timeout=5)).data == 1001
    assert how(await ended(switchboard, name)) == ("failed", "total_timeout", 1001, "switchboard")


async def test_an_open_tunnel_outlives_every_idle_time_and_is_shown_as_under_way(switchboard: Served) -> None:
    async with SocketUpstream.running() as upstream:
        policy = {"idle_seconds": 0.2, "first_byte_seconds": 0.2, "total_seconds": 0.2}
        name = await connect(switchboard, upstream.url, policy=policy)
        async with tunnel(switchboard.port, f"/proxy/{name}/", switchboard.key) as socket:
            await asyncio.sleep(1)
            _, page = await asyncio.to_thread(switchboard.request, "GET", f"/api/calls?connection={name}")
            assert [(call["state"], call["status"]) for call in page["items"]] == [("sending", None)]
            await socket.send_str("still here")
            assert await socket.receive_str() == "still here"
    assert how(await ended(switchboard, name)) == ("done", None, 1000, "caller")


# Who may, and what is refused before it opens


async def refused(wire: Wire, path: str, *headers: str) -> Answered:
    await wire.send(handshake(wire, path, *headers))
    return await wire.answer()


@pytest.mark.parametrize(
    ("status", "headers"), [(401, {"WWW-Authenticate": "Bearer"}), (403, {"X-Why": "because"}), (404, {}), (200, {})]
)
async def test_an_upstreams_refusal_is_passed_on_as_any_answer(
    switchboard: Served, wire: Wire, upstream: Upstream, status: int, headers: dict[str, str]
) -> None:
    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.json_response({"error": "no"}, status=status, headers=headers)

    upstream.handler = refuse
    name = await connect(switchboard, upstream.url)
    answered = await refused(wire, f"/proxy/{name}/chat")
    assert (answered.status, json.loads(answered.body)) == (status, {"error": "no"})
    assert answered.header("x-switchboard-source") == "upstream"
    assert all(answered.header(key.lower()) == value for key, value in headers.items())
    call = await opened(switchboard, answered.header("x-switchboard-call"))
    assert (call["state"], call["status"], call["websocket"]) == ("done", status, None)
    assert call["response"]["body"]["json"] == {"error": "no"}


async def test_what_the_gateway_refuses_is_a_problem_as_in_any_call(switchboard: Served) -> None:
    name = await connect(switchboard, "http://127.0.0.1:9")
    reader = await asyncio.to_thread(switchboard.cli, "key", "create", "reader", "--scope=read")
    own = f"http://127.0.0.1:{switchboard.port}"
    for path, headers, status, code in (
        (f"/proxy/{name}/", [], 502, "connect_failed"),
        ("/proxy/unknown/", [], 404, "unknown_connection"),
        (f"/proxy/{name}/", ["Authorization: Bearer sb_0"], 401, "invalid_key"),
        (f"/proxy/{name}/", [f"Authorization: Bearer {reader}"], 403, "insufficient_scope"),
        (f"/proxy/{name}/", ["Authorization: Bearer"], 401, "invalid_key"),
        (f"/proxy/{name}/", ["X-Switchboard-Key: x"], 401, "invalid_key"),
        (f"/proxy/{name}/?key={switchboard.key}", [], 400, "key_in_query"),
        (f"/proxy/{name}/{'x' * 9000}", [], 414, "uri_too_long"),
        (f"/proxy/{name}/", [f"X-{number}: 1" for number in range(100)], 431, "too_many_headers"),
    ):
        async with Wire.to(switchboard.port, switchboard.key) as wire:
            answered = await refused(wire, path, *headers)
            assert (answered.status, json.loads(answered.body)["code"]) == (status, code)
            assert answered.header("content-type") == "application/problem+json"
    for path, headers, status in (
        (f"/proxy/{name}/", ["Host: evil.example", f"Origin: {own}"], 421),
        ("/api/events", [], 403),
        ("/", [], 403),
    ):
        async with Wire.to(switchboard.port, switchboard.key) as wire:
            assert (await refused(wire, path, *headers)).status == status, path


async def test_an_upstream_that_is_no_websocket_server_at_heart_is_a_protocol_error(
    switchboard: Served, wire: Wire
) -> None:
    async def accepts_wrongly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: bm90IHRoZSBrZXk=\r\n\r\n"
        )
        await reader.read()

    async with raw_upstream(accepts_wrongly) as url:
        name = await connect(switchboard, url)
        assert is_problem(await refused(wire, f"/proxy/{name}/"), 502, "protocol_error")


async def cookie_of(switchboard: Served) -> str:
    """The sign-in cookie of a person."""
    name = f"ann{time.monotonic_ns()}"
    link = await asyncio.to_thread(switchboard.cli, "account", "create", name)
    found = re.search(r"#(\S+)", link)
    assert found is not None
    origin = switchboard.url
    headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin", "X-Requested-By": "switchboard"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{origin}/api/sign-ins", json={"token": found[1]}, headers=headers) as answer,
    ):
        assert answer.status == 201
        return answer.headers["Set-Cookie"].partition(";")[0]


async def test_a_persons_browser_may_from_our_own_page_only(switchboard: Served) -> None:
    cookie = await cookie_of(switchboard)
    own = switchboard.url
    host = f"Host: {own.removeprefix('http://')}"
    async with SocketUpstream.running() as upstream:
        name = await connect(switchboard, upstream.url)
        path = f"/proxy/{name}/"
        for headers, status in (
            ([f"Origin: {own}"], 101),
            ([f"Origin: {own}", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Dest: websocket"], 101),
            ([], 403),
            (["Sec-Fetch-Site: same-origin"], 403),
            (["Origin: null"], 403),
            (["Origin: https://evil.example"], 403),
            ([f"Origin: {own}.evil.example"], 403),
            ([f"Origin: {own}", "Sec-Fetch-Site: cross-site"], 403),
            ([f"Origin: {own}", "Sec-Fetch-Site: same-site"], 403),
            (["Origin: http://127.0.0.1:9", "X-Requested-By: switchboard"], 403),
            ([f"Referer: {own}/", "X-Requested-By: switchboard"], 403),
        ):
            async with Wire.to(switchboard.port, switchboard.key) as wire:
                await wire.send(handshake(wire, path, host, f"Cookie: {cookie}", *headers, key=False))
                answered = await wire.answer_head()
                assert answered.status == status, headers
        seen = upstream.requests[0].headers
        assert not {"Cookie", "Origin", "Authorization"} & set(seen)
        async with Wire.to(switchboard.port, switchboard.key) as wire:
            answered = await refused(wire, path, host, f"Cookie: {cookie}", f"Origin: {own}")
            assert is_problem(answered, 400, "two_credentials")


async def test_the_connections_credential_goes_in_and_never_on_record(switchboard: Served) -> None:
    async with SocketUpstream.running() as upstream:
        for auth, where in (
            ({"scheme": "bearer", "token": "very-secret-token"}, "Authorization"),
            ({"scheme": "api_key", "in": "query", "name": "key", "value": "very-secret-token"}, None),
        ):
            name = await connect(switchboard, upstream.url, auth=auth)
            protocols = ("a", "bearer.callers-own-secret")
            async with tunnel(switchboard.port, f"/proxy/{name}/", switchboard.key, protocols=protocols) as socket:
                await socket.send_str("very-secret-token")
                await socket.receive_str()
            request = upstream.requests[-1]
            assert "very-secret-token" in (request.headers[where] if where else request.raw_path)
            assert switchboard.key not in str(request.headers)
            call = await ended(switchboard, name)
            assert "very-secret-token" not in str(call)
            assert "callers-own-secret" not in str(call)
    stored = (switchboard.data / "switchboard.db").read_bytes() + switchboard.log.read_bytes()
    assert b"very-secret-token" not in stored
    assert b"callers-own-secret" not in stored


async def test_a_token_that_the_handshake_finds_refused_is_renewed_once(switchboard: Served) -> None:
    issued = 0

    async def talk(socket: web.WebSocketResponse) -> None:
        await echo(socket)

    async with SocketUpstream.running(talk) as upstream, Upstream.running() as provider:

        async def issue(_: web.Request) -> web.StreamResponse:
            nonlocal issued
            issued += 1
            return web.json_response({"access_token": f"token-{issued}-0123456789", "expires_in": 3600})

        provider.handler = issue
        upstream.admits = lambda request: "token-2" in request.headers["Authorization"]
        auth = {
            "scheme": "oauth2",
            "grant": "client_credentials",
            "token_url": f"{provider.url}/token",
            "client_id": "me",
            "client_secret": "client-secret-1",
        }
        name = await connect(switchboard, upstream.url, auth=auth)
        async with tunnel(switchboard.port, f"/proxy/{name}/", switchboard.key) as socket:
            await socket.send_str("hello")
            assert await socket.receive_str() == "hello"
    _, page = await asyncio.to_thread(switchboard.request, "GET", f"/api/calls?connection={name}&origin=proxy")
    call = await opened(switchboard, page["items"][0]["id"])
    assert [attempt["status"] for attempt in call["attempts"]] == [401, 101]
    assert (how(call), issued) == (("done", None, 1000, "caller"), 2)


# While it is open


async def test_a_key_revoked_while_a_tunnel_is_open_ends_it_within_five_seconds(switchboard: Served) -> None:
    key = await asyncio.to_thread(switchboard.cli, "key", "create", "robot", "--scope=call")
    async with SocketUpstream.running() as upstream:
        name = await connect(switchboard, upstream.url)
        async with tunnel(switchboard.port, f"/proxy/{name}/", key) as socket:
            await socket.send_str("hello")
            await socket.receive_str()
            await asyncio.to_thread(switchboard.cli, "key", "revoke", key.split("_")[1])
            message = await socket.receive(timeout=5)
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1008)
        assert await upstream.closed() == 1008
    call = await ended(switchboard, name)
    assert how(call) == ("cancelled", None, 1008, "switchboard")
    assert call["detail"] == "The caller's key or sign-in ended while the call was under way."


async def test_another_key_revoked_leaves_a_tunnel_alone(switchboard: Served) -> None:
    key = await asyncio.to_thread(switchboard.cli, "key", "create", "robot", "--scope=call")
    async with SocketUpstream.running() as upstream:
        name = await connect(switchboard, upstream.url)
        async with tunnel(switchboard.port, f"/proxy/{name}/", switchboard.key) as socket:
            await asyncio.to_thread(switchboard.cli, "key", "revoke", key.split("_")[1])
            await asyncio.sleep(2)
            await socket.send_str("hello")
            assert await socket.receive_str() == "hello"


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_server_that_stops_closes_its_tunnels_and_one_that_dies_tells_of_them_later(
    tmp_path: Path, end: str
) -> None:
    with Served.running(tmp_path / "data") as served:
        async with SocketUpstream.running() as upstream:
            await asyncio.to_thread(served.add_connection, "chat", upstream.url)
            async with AsyncExitStack() as stack:
                sockets = [
                    await stack.enter_async_context(tunnel(served.port, "/proxy/chat/", served.key)) for _ in range(5)
                ]
                await sockets[0].send_str("hello")
                await sockets[0].receive_str()
                if end == "kill":
                    await asyncio.to_thread(served.kill)
                else:
                    began = time.monotonic()
                    stopped = asyncio.create_task(asyncio.to_thread(served.stop))
                    assert [(await socket.receive(timeout=5)).data for socket in sockets] == [1001] * 5
                    for socket in sockets:
                        await socket.close()
                    assert await stopped == 0
                    assert time.monotonic() - began < 5
                    assert upstream.closes == [1001] * 5
        await asyncio.to_thread(served.start)
        _, page = await asyncio.to_thread(served.request, "GET", "/api/calls")
        log = served.log.read_text()
        assert "Traceback" not in log, log
    said = "interrupted" if end == "kill" else "cancelled"
    assert [call["state"] for call in page["items"]] == [said] * 5


@pytest.mark.slow
async def test_two_hundred_tunnels_at_once_take_little_memory(tmp_path: Path) -> None:
    with Served.running(tmp_path / "data") as served:
        assert served.process is not None
        process = psutil.Process(served.process.pid)
        async with SocketUpstream.running() as upstream, AsyncExitStack() as stack:
            policy = {"concurrency": 1000}
            await asyncio.to_thread(served.add_connection, "chat", upstream.url, policy=policy)
            async with tunnel(served.port, "/proxy/chat/", served.key) as socket:
                await talk_a_while(socket)
            before = process.memory_info().rss
            sockets = [
                await stack.enter_async_context(tunnel(served.port, "/proxy/chat/", served.key)) for _ in range(200)
            ]
            await asyncio.gather(*map(talk_a_while, sockets))
            first = process.memory_info().rss
            for _ in range(3):
                await asyncio.gather(*map(talk_a_while, sockets))
            assert process.memory_info().rss - first < 16 * MIB
            assert first - before < 100 * MIB
            print(
                f"200 tunnels: {(first - before) / MIB:.0f} MiB, then {(process.memory_info().rss - first) / MIB:.0f}"
            )


async def talk_a_while(socket: "aiohttp.ClientWebSocketResponse[Any]") -> None:
    for _ in range(10):
        await socket.send_bytes(b"x" * 32 * 1024)
        assert len(await socket.receive_bytes()) == 32 * 1024


async def test_a_caller_that_goes_before_the_handshake_is_answered_frees_the_upstream(
    switchboard: Served, wire: Wire
) -> None:
    async with silent_upstream() as (url, accepted):
        name = await connect(switchboard, url)
        await wire.send(handshake(wire, f"/proxy/{name}/"))
        sock = await accepted
        await asyncio.sleep(0.05)
        assert not is_let_go(sock)
        wire.leave()
        await let_go_within(sock, 1)
    call = await ended(switchboard, name)
    assert (call["state"], call["status"], call["websocket"]) == ("cancelled", None, None)


async def test_an_upstream_that_is_not_there_is_told_before_it_opens(switchboard: Served, wire: Wire) -> None:
    name = await connect(switchboard, f"http://127.0.0.1:{free_port()}")
    answered = await refused(wire, f"/proxy/{name}/")
    assert is_problem(answered, 502, "connect_failed")
    call = await opened(switchboard, answered.header("x-switchboard-call"))
    assert (call["state"], call["reason"], call["websocket"]) == ("failed", "connect_failed", None)
