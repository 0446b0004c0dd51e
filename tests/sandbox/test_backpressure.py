"""Uploads and downloads over a real socket, on the server the sandbox really runs on."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator

import pytest
from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart

from quart_app.sandbox import API_KEY_HEADER, DEMO
from quart_app.sandbox.backpressure import BACKLOG_BYTES, BoundedBody

CHUNK = b"x" * 65_536
SIGNED = f"Host: sandbox\r\n{API_KEY_HEADER}: {DEMO.api_key}\r\n"


@pytest.fixture
async def port(app: Quart) -> AsyncIterator[int]:
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.accesslog = config.errorlog = None
    config.graceful_timeout = 0.5
    sockets = config.create_sockets()
    sockets.insecure_sockets[0].listen()
    found: int = sockets.insecure_sockets[0].getsockname()[1]
    config.bind = [f"fd://{sockets.insecure_sockets[0].detach()}"]
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(app, config, shutdown_trigger=stop.wait))
        yield found
        stop.set()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
    return int(head.split(" ")[1]), await reader.readexactly(length)


async def test_path_and_query_arrive_as_they_were_sent(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    target = "/v1/echo//a/%2e%2E/%2f/%C3%A4;x=1?a=1&a=%zz&&b+c"
    writer.write(f"GET {target} HTTP/1.1\r\n{SIGNED}\r\n".encode())
    status, body = await read_answer(reader)
    seen = json.loads(body)
    assert (status, f"{seen['path']}?{seen['query']}") == (200, target)
    writer.close()


async def test_head_of_a_large_answer_has_the_length_and_no_body(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"HEAD /v1/large?bytes={8 * 1024**3} HTTP/1.1\r\n{SIGNED}Connection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert b"content-length: 8589934592" in head.lower()
    assert body == b""
    writer.close()


async def test_a_large_upload_is_hashed_whole(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"PUT /v1/echo HTTP/1.1\r\n{SIGNED}Content-Length: {400 * len(CHUNK)}\r\n\r\n".encode())
    for _ in range(400):
        writer.write(CHUNK)
        await writer.drain()
    status, body = await read_answer(reader)
    assert status == 200
    assert json.loads(body)["body_sha256"] == hashlib.sha256(CHUNK * 400).hexdigest()
    writer.close()


async def test_a_caller_who_is_still_sending_gets_the_401_and_the_server_goes_on(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"PUT /v1/echo HTTP/1.1\r\nHost: sandbox\r\nContent-Length: {100 * len(CHUNK)}\r\n\r\n"
    writer.write(head.encode() + CHUNK * 100)
    await writer.drain()
    assert (await read_answer(reader))[0] == 401
    writer.write(f"GET /v1/whoami HTTP/1.1\r\n{SIGNED}\r\n".encode())
    assert (await read_answer(reader))[0] == 200
    writer.close()


async def test_a_reader_who_stops_stops_the_sandbox(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=65_536)
    size_bytes = 64 * 1024**2
    writer.write(f"GET /v1/large?bytes={size_bytes} HTTP/1.1\r\n{SIGNED}\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(0.2)
    received = 0
    while received < size_bytes:
        received += len(await reader.read(65_536))
    assert received == size_bytes
    writer.close()


async def test_a_body_asks_for_no_more_while_enough_is_waiting() -> None:
    body = BoundedBody(None, 10)
    body.append(b"x" * (BACKLOG_BYTES - 1))
    assert body.room.is_set()
    body.append(b"x")
    assert not body.room.is_set()
    assert len(await anext(body)) == BACKLOG_BYTES
    assert body.room.is_set()
    body.set_complete()
    assert [chunk async for chunk in body] == []
