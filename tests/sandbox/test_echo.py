"""Uploads and downloads over a real socket, on the server the sandbox really runs on; uploads in flat memory."""

import asyncio
import hashlib
import json
import tracemalloc

import pytest
from hypercorn.typing import ASGIReceiveEvent, HTTPDisconnectEvent, HTTPRequestEvent
from quart import Quart
from quart.testing import QuartClient

from quart_app.sandbox import API_KEY_HEADER, DEMO, echo
from quart_app.sandbox.echo import TEXT_BYTES, Upload

from .conftest import KEY

CHUNK = b"x" * 65_536
SIGNED = f"Host: sandbox\r\n{API_KEY_HEADER}: {DEMO.api_key}\r\n"


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


async def test_an_upload_of_any_length_is_kept_as_its_length_hash_and_first_text_only() -> None:
    left = 2_000

    async def receive() -> ASGIReceiveEvent:
        nonlocal left
        left -= 1
        return HTTPRequestEvent(type="http.request", body=bytes(65_536), more_body=left > 0)

    upload = Upload(receive)
    tracemalloc.start()
    try:
        assert await upload.receive() == {"type": "http.request", "body": b"", "more_body": False}
        assert tracemalloc.get_traced_memory()[1] < 512 * 1024
    finally:
        tracemalloc.stop()
    assert (left, upload.size_bytes, len(upload.head), upload.text()) == (0, 2_000 * 65_536, TEXT_BYTES + 1, None)
    assert upload.digest.hexdigest() == hashlib.sha256(bytes(2_000 * 65_536)).hexdigest()


async def test_a_refused_caller_who_stops_sending_gets_the_401_after_a_while(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(echo, "DRAIN_SECONDS", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"PUT /v1/echo HTTP/1.1\r\nHost: sandbox\r\nContent-Length: 10\r\n\r\nx")
    assert (await asyncio.wait_for(read_answer(reader), 3))[0] == 401
    writer.close()


async def test_a_caller_who_goes_away_ends_the_request(app: Quart, client: QuartClient) -> None:
    connection = client.request("/v1/echo", method="PUT", headers=KEY)
    async with asyncio.timeout(3), connection:
        await connection.send(b"x")
        await connection.disconnect()
    assert await (await connection.as_response()).get_data(as_text=False) == b""
    passed_on = Upload(gone)
    assert await passed_on.receive() == await gone()
    assert not passed_on.ended.is_set()


async def gone() -> ASGIReceiveEvent:
    return HTTPDisconnectEvent(type="http.disconnect")


@pytest.mark.parametrize("target", ["//v1/echo", "/%76%31/echo/", "http://sandbox/v1/echo/a", "/v1/echo/a//v1/echo"])
async def test_whatever_is_routed_to_echo_has_its_body_read(port: int, target: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"PUT {target} HTTP/1.1\r\n{SIGNED}Content-Length: 2\r\n\r\nhi".encode())
    status, body = await read_answer(reader)
    assert (status, json.loads(body)["body_text"]) == (200, "hi")
    writer.close()
