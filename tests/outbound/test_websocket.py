"""A WebSocket to a real upstream: its handshake, messages, heartbeat and every way in which it ends."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from quart_app.outbound.client import Answer, AttemptFailed, Client
from quart_app.outbound.timings import Timings
from quart_app.outbound.websocket import MOST_MESSAGE_BYTES, Close, Opening, Socket, Upgraded, code_to_send
from tests.outbound.targets import get, target
from tests.sockets import SocketUpstream, echo
from tests.upstream import Upstream, raw_upstream

SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\n"


async def ask(engine: Client, url: str, opening: Opening | None = None) -> Answer:
    aim = target(url)
    made = opening or Opening(engine)
    return await made(aim, get(aim, "/chat"), aim.credential, Timings(), total_seconds=None)


@asynccontextmanager
async def opened(engine: Client, url: str, opening: Opening | None = None) -> AsyncIterator[Socket]:
    answer = await ask(engine, url, opening)
    assert isinstance(answer, Upgraded)
    assert answer.status == 101
    try:
        yield answer.socket
    finally:
        answer.close()


async def test_messages_go_both_ways_and_it_closes_in_order(engine: Client) -> None:
    async with SocketUpstream.running() as upstream:
        async with opened(engine, upstream.url) as socket:
            for message in ("", "Übung", b"", b"x" * 200_000):
                await socket.send(message)
                assert await socket.receive() == message
            await socket.close(4001, "ü" * 100)
        assert await upstream.closed() == 4001
        assert engine.limits_of(target(upstream.url)).taken == 0


async def test_what_is_not_upgraded_is_an_answer_as_any_other(engine: Client, upstream: Upstream) -> None:
    answer = await ask(engine, upstream.url)
    assert (answer.status, isinstance(answer, Upgraded)) == (200, False)
    assert await answer.read() == b'{"hello": "world"}'
    answer.close()
    assert upstream.seen[0].header("upgrade") == "websocket"


@pytest.mark.parametrize(
    ("head", "offers"),
    [
        (b"", {}),
        (b"Upgrade: websocket\r\nConnection: Upgrade\r\n", {}),
        (b"Upgrade: h2c\r\nConnection: Upgrade\r\n<accept>", {}),
        (b"Upgrade: websocket\r\nConnection: close\r\n<accept>", {}),
        (b"Upgrade: websocket\r\nConnection: Upgrade\r\n<accept>Sec-WebSocket-Protocol: b\r\n", {"protocols": ("a",)}),
        (b"Upgrade: websocket\r\nConnection: Upgrade\r\n<accept>Sec-WebSocket-Extensions: permessage-deflate\r\n", {}),
        (
            b"Upgrade: websocket\r\nConnection: Upgrade\r\n<accept>Sec-WebSocket-Extensions: another\r\n",
            {"compressed": True},
        ),
    ],
)
async def test_an_answer_101_that_is_no_handshake_is_a_failure(
    engine: Client, head: bytes, offers: dict[str, Any]
) -> None:
    async with answering(head) as url:
        with pytest.raises(AttemptFailed) as caught:
            await ask(engine, url, Opening(engine, **offers))
    assert caught.value.reason == "protocol_error"


async def test_an_answer_101_to_a_request_that_asked_for_none_is_a_failure(engine: Client) -> None:
    async with answering(b"Upgrade: websocket\r\nConnection: Upgrade\r\n<accept>") as url:
        aim = target(url)
        with pytest.raises(AttemptFailed):
            await engine.exchange(aim, get(aim), aim.credential, Timings(), total_seconds=None)


async def test_a_handshake_may_name_more_tokens_and_the_protocol_offered(engine: Client) -> None:
    head = b"Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n<accept>Sec-WebSocket-Protocol: a\r\n"
    async with answering(head) as url, opened(engine, url, Opening(engine, ("a", "b"))) as socket:
        assert socket.protocol == "a"


@asynccontextmanager
async def answering(
    head: bytes, more: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Any]] | None = None
) -> AsyncIterator[str]:
    """An upstream that answers 101 with `head`, the right Sec-WebSocket-Accept for `<accept>`, then does `more`."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        key = next((line for line in asked.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:")), b": ")
        accept = accept_of(key.partition(b": ")[2].decode())
        writer.write(SWITCHING + head.replace(b"<accept>", f"Sec-WebSocket-Accept: {accept}\r\n".encode()) + b"\r\n")
        await (more(reader, writer) if more else reader.read())

    async with raw_upstream(answer) as url:
        yield url


def accept_of(key: str) -> str:

    return base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()


SOUND = b"Upgrade: websocket\r\nConnection: Upgrade\r\n<accept>"


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "reset"),
        (b"\x82\x05hel", "reset"),
        (b"\xf2\x00", "protocol_error"),
        (b"\x81\x01\xff", "protocol_error"),
        (b"\x89\x7e\x00\x7f", "protocol_error"),
        (b"\x82\x7f" + (MOST_MESSAGE_BYTES + 1).to_bytes(8), "too_large"),
    ],
)
async def test_every_end_without_a_closing_frame_is_a_failure(engine: Client, sent: bytes, reason: str) -> None:
    async def break_off(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await writer.drain()

    async with answering(SOUND, break_off) as url, opened(engine, url) as socket:
        with pytest.raises(AttemptFailed) as caught:
            await socket.receive()
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("sent", "close"),
    [(b"\x88\x00", Close(1005)), (b"\x88\x02\x03\xe9", Close(1001)), (b"\x88\x04\x0f\xa0hi", Close(4000, "hi"))],
)
async def test_a_closing_frame_is_told_with_its_code_and_reason(engine: Client, sent: bytes, close: Close) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x89\x01p" + b"\x8a\x00" + sent)  # a ping and a pong before it, which nobody is shown
        await reader.read()

    async with answering(SOUND, say) as url, opened(engine, url) as socket:
        assert await socket.receive() == close
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await socket.receive()


async def test_nothing_is_sent_on_a_connection_that_has_ended(engine: Client) -> None:
    async def leave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with answering(SOUND, leave) as url, opened(engine, url) as socket:
        with pytest.raises(AttemptFailed) as caught:
            await socket.receive()
        assert caught.value.reason == "reset"
        with pytest.raises(AttemptFailed):
            await socket.send("hello")
        await socket.close(1000)


async def test_an_upstream_that_takes_nothing_holds_the_sender_back(engine: Client) -> None:
    async def stand_still(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)
        await reader.read(1)

    async with answering(SOUND, stand_still) as url, opened(engine, url) as socket:
        sending = asyncio.create_task(send_much(socket))
        await asyncio.sleep(0.3)
        assert not sending.done()
        sending.cancel()


async def send_much(socket: Socket) -> None:
    for _ in range(1000):
        await socket.send(b"x" * 1024**2)


async def test_a_receiver_that_takes_nothing_holds_the_upstream_back(engine: Client) -> None:
    sent = 0

    async def pour(socket: web.WebSocketResponse) -> None:
        nonlocal sent
        for _ in range(1000):
            await socket.send_bytes(b"x" * 256 * 1024)
            sent += 1

    async with SocketUpstream.running(pour) as upstream, opened(engine, upstream.url) as socket:
        await asyncio.sleep(0.5)
        held = sent
        assert held < 100
        for _ in range(1000):
            assert len(await socket.receive()) == 256 * 1024  # type: ignore[arg-type]


async def test_an_upstream_that_answers_no_ping_is_given_up(engine: Client) -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with answering(SOUND, silent) as url:
        answer = await ask(engine, url)
        assert isinstance(answer, Upgraded)
        answer.socket._heartbeat_seconds = 0.05
        with pytest.raises(AttemptFailed) as caught:
            async with asyncio.timeout(2):
                await answer.socket.heartbeat()
        assert caught.value.reason == "idle_timeout"
        answer.close()


async def test_an_upstream_that_answers_pings_is_kept_however_silent(engine: Client) -> None:
    async with SocketUpstream.running(echo) as upstream, opened(engine, upstream.url) as socket:
        socket._heartbeat_seconds = 0.05
        reading = asyncio.create_task(socket.receive())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await socket.heartbeat()
        assert not reading.done()
        reading.cancel()


async def test_compression_is_taken_where_it_was_offered(engine: Client) -> None:
    async with SocketUpstream.running() as upstream:
        async with opened(engine, upstream.url, Opening(engine, compressed=True)) as socket:
            for message in ("a" * 100_000, b"b" * 100_000):
                await socket.send(message)
                assert await socket.receive() == message
        asked = upstream.requests[0].headers
        assert asked["Sec-WebSocket-Extensions"].startswith("permessage-deflate")


async def test_a_compressed_message_has_the_same_most(engine: Client) -> None:
    async def bomb(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(b"x" * (MOST_MESSAGE_BYTES + 1))
        await socket.receive()

    async with (
        SocketUpstream.running(bomb) as upstream,
        opened(engine, upstream.url, Opening(engine, compressed=True)) as socket,
    ):
        with pytest.raises(AttemptFailed) as caught:
            await socket.receive()
        assert caught.value.reason == "too_large"


async def test_the_engine_is_what_a_library_is_told_by(engine: Client) -> None:
    """The library's own client and this one say the same in their handshakes."""
    async with SocketUpstream.running() as upstream, aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{upstream.url}/chat"), opened(engine, upstream.url):
            pass
        theirs, ours = [set(map(str.lower, request.headers)) for request in upstream.requests]
        assert ours == theirs - {"accept", "accept-encoding", "user-agent"}


@pytest.mark.parametrize(
    ("code", "sent"),
    [
        (1000, 1000),
        (1001, 1001),
        (4999, 4999),
        (1004, 1000),
        (1005, 1000),
        (1006, 1000),
        (1015, 1000),
        (5000, 1000),
        (0, 1000),
    ],
)
def test_codes_that_no_frame_carries_become_the_plain_one(code: int, sent: int) -> None:
    assert code_to_send(code) == sent
