"""A streamed body on its way: copied, sent once, given up when either side stands still."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from quart_app.errors import AppError, CallFailed
from quart_app.records import Copy
from quart_app.sending.upload import Upload
from quart_app.services import Services
from tests.flights import aim, flight, fly, on_record
from tests.outbound.upstreams import raw, then_silence
from tests.upstream import Upstream

SQLITE = pytest.mark.parametrize("database_url", [""])


async def pieces_of(*pieces: bytes, pause: float = 0.0) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
        await asyncio.sleep(pause)


async def taken(upload: Upload, pause: float = 0.0) -> bytes:
    content = b""
    async with upload:
        async for piece in upload.pieces():
            content += piece
            await asyncio.sleep(pause)
    return content


async def test_the_body_passes_as_it_is_and_its_start_is_copied() -> None:
    copy = Copy(6)
    assert await taken(Upload(pieces_of(b"hello", b" ", b"world"), copy, 1.0)) == b"hello world"
    assert (copy.content, copy.size, copy.whole) == (b"hello ", 11, False)


@pytest.mark.parametrize(("sender", "receiver"), [(0.5, 0.0), (0.0, 0.5)])
async def test_a_side_that_stands_still_ends_it_and_is_named(sender: float, receiver: float) -> None:
    upload = Upload(pieces_of(b"a", b"b", pause=sender), Copy(6), 0.05)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await taken(upload, receiver)
    assert time.monotonic() - began < 0.4
    assert upload.awaited == ("sender" if sender else "receiver")


async def test_a_slow_body_that_keeps_moving_takes_the_time_it_takes() -> None:
    upload = Upload(pieces_of(*[b"x"] * 10, pause=0.03), Copy(100), 0.2)
    assert await taken(upload, 0.01) == b"x" * 10
    assert upload.awaited is None


async def test_a_refusal_of_the_caller_is_kept_for_who_sends() -> None:
    async def too_much() -> AsyncIterator[bytes]:
        yield b"x"
        raise AppError(413, "too_large", "Too much.")

    upload = Upload(too_much(), Copy(10), 1.0)
    with pytest.raises(AppError):
        await taken(upload)
    assert upload.refusal is not None
    assert upload.refusal.status == 413


@SQLITE
async def test_a_body_too_large_on_its_way_is_the_caller_s_413_and_on_record(
    services: Services, upstream: Upstream
) -> None:
    async def too_much() -> AsyncIterator[bytes]:
        yield b"x"
        raise AppError(413, "body_too_large", "The body is larger than allowed.")

    made = flight(services, await aim(services, upstream.url), "POST", body=too_much())
    with pytest.raises(AppError) as raised:
        await made.depart()
    assert (raised.value.status, raised.value.code) == (413, "body_too_large")
    assert ("X-Switchboard-Call", made.id) in raised.value.headers
    shown = await on_record(services, made.id)
    assert (shown["state"], shown["reason"], shown["detail"]) == (
        "failed",
        "too_large",
        "The body is larger than allowed.",
    )


@SQLITE
@pytest.mark.parametrize("who", ["sender", "receiver"])
async def test_an_upload_that_stands_still_is_an_idle_timeout(services: Services, who: str) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        if who == "sender":
            await asyncio.sleep(5)
        while True:
            yield b"x" * 1_000_000

    async def never_read(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)

    async with raw(never_read) as upstream:
        made = flight(services, await aim(services, upstream.url, idle_seconds=0.2), "POST", body=body())
        began = time.monotonic()
        with pytest.raises(CallFailed) as raised:
            await made.depart()
    assert time.monotonic() - began < 3
    assert (raised.value.code, who in raised.value.detail) == ("idle_timeout", True)


@SQLITE
async def test_a_body_goes_on_while_its_answer_already_comes(services: Services) -> None:
    """An echo: each piece comes back before the next one leaves."""

    async def echo(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while (size := int(await reader.readline(), 16)) > 0:
            writer.write(b"%x\r\n%s\r\n" % (size, (await reader.readexactly(size + 2))[:-2]))
        writer.write(b"0\r\n\r\n")

    async with raw(echo) as upstream:
        made = flight(services, await aim(services, upstream.url), "POST", body=pieces_of(*[b"hello"] * 5, pause=0.05))
        assert await fly(made) == b"hello" * 5
    shown = await on_record(services, made.id)
    assert (shown["state"], shown["request"]["body"]["text"]) == ("done", "hello" * 5)


@SQLITE
async def test_an_answer_before_the_body_is_whole_ends_both(services: Services) -> None:
    async with raw(then_silence(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")) as upstream:
        made = flight(services, await aim(services, upstream.url), "POST", body=pieces_of(*[b"x"] * 1000, pause=0.02))
        assert await fly(made) == b"no"
    shown = await on_record(services, made.id)
    assert (shown["state"], shown["status"]) == ("done", 413)
