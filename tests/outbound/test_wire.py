"""How an answer ends on its connection when it does not end well."""

import asyncio

import pytest

from quart_app.outbound.client import AttemptFailed, Client
from quart_app.outbound.wire import MOST_INTERIM
from tests.outbound.targets import read_all, target
from tests.outbound.upstreams import CHUNKED, OK, WHOLE, exchange, fetch, raw, then_reset

HINT = b"HTTP/1.1 103 Early Hints\r\n\r\n"
LATE = ["nonsense\r\n", "zz\r\n", "3\r\nabcdef\r\n", "\r\n\r\n", "-1\r\n", "ffffffffffffffffff\r\n"]


@pytest.mark.parametrize("tail", LATE)
async def test_an_answer_whose_chunks_break_late_fails_at_once_and_does_not_hang(engine: Client, tail: str) -> None:
    head_is_here = asyncio.Event()

    async def reply(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + b"3\r\nabc\r\n")
        await head_is_here.wait()
        writer.write(tail.encode())
        await reader.read()
        writer.close()

    async with raw(reply) as upstream, asyncio.timeout(5):
        answer = await exchange(engine, target(upstream.url), total_seconds=None)
        assert await answer.read() == b"abc"
        head_is_here.set()
        with pytest.raises(AttemptFailed) as raised:
            await read_all(answer)
        answer.close()
    assert raised.value.reason == "protocol_error"


async def test_a_body_without_a_length_ends_with_its_connection_and_not_with_a_reset(engine: Client) -> None:
    async with raw(OK + b"\r\nabc") as upstream:
        assert await fetch(engine, target(upstream.url)) == (200, b"abc")
    head_is_here = asyncio.Event()
    async with raw(then_reset(OK + b"\r\nabc", head_is_here)) as upstream:
        answer = await exchange(engine, target(upstream.url))
        head_is_here.set()
        await asyncio.sleep(0.05)
        assert answer.rest() is None
        assert await answer.read() == b"abc"
        with pytest.raises(AttemptFailed) as raised:
            await answer.read()
    assert raised.value.reason == "reset"


WHOLE_EVIL = OK + b"Content-Length: 4\r\n\r\nevil"


@pytest.mark.parametrize("extra", [WHOLE_EVIL, WHOLE_EVIL[:20], b"\r\n", b"x", CHUNKED], ids=len)
@pytest.mark.parametrize("pause", [0.0, 0.02])
async def test_what_comes_after_an_answer_is_never_the_next_one(engine: Client, extra: bytes, pause: float) -> None:
    async def reply(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(WHOLE)
        await asyncio.sleep(pause)
        writer.write(extra)

    async with raw(reply) as upstream:
        for asked in range(1, 4):
            assert await fetch(engine, target(upstream.url)) == (200, b"hi")
            await asyncio.sleep(0.05)
            assert (len(upstream.heads), upstream.connections) == (asked, asked)


async def test_a_few_interim_answers_are_taken_and_an_endless_row_of_them_is_not(engine: Client) -> None:
    async with raw(HINT * MOST_INTERIM + WHOLE) as upstream:
        assert await fetch(engine, target(upstream.url)) == (200, b"hi")
    for content in (HINT * (MOST_INTERIM + 1) + WHOLE, HINT * 100_000):
        async with raw(content) as upstream:
            with pytest.raises(AttemptFailed) as raised:
                await exchange(engine, target(upstream.url), total_seconds=None)
        assert raised.value.reason == "protocol_error"
