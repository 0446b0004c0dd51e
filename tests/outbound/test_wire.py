"""How an answer ends on its connection when it does not end well."""

import asyncio

import pytest

from quart_app.outbound.client import AttemptFailed, Client
from tests.outbound.targets import read_all, target
from tests.outbound.upstreams import CHUNKED, OK, exchange, fetch, raw, then_reset

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
