"""Where the time of an attempt went, measured on real connections."""

import asyncio
import time
from pathlib import Path

import pytest

from quart_app.outbound.client import Client
from quart_app.outbound.target import Target
from quart_app.outbound.timings import Timings, span
from tests.outbound.certificates import self_signed, server_context
from tests.outbound.targets import get, read_all, target
from tests.outbound.upstreams import OK, keep_answering, raw


async def timed(client: Client, aim: Target) -> Timings:
    timings = Timings()
    await read_all(await client.exchange(aim, get(aim), aim.credential, timings, total_seconds=5))
    timings.ended = time.perf_counter()
    return timings


async def test_a_new_connection_has_a_connect_and_one_used_again_has_none(engine: Client) -> None:
    async with raw(keep_answering) as upstream:
        first, again = await timed(engine, target(upstream.url)), await timed(engine, target(upstream.url))
    dns, connect, tls, first_byte, transfer = first.spans()
    assert (dns, tls) == (None, None)
    assert connect is not None
    assert connect > 0
    assert first_byte is not None
    assert first_byte > 0
    assert transfer is not None
    assert again.spans()[:3] == (None, None, None)
    assert None not in again.spans()[3:]


async def test_a_name_has_a_look_up_that_is_no_part_of_the_connect(engine: Client) -> None:
    async with raw(keep_answering) as upstream:
        timings = await timed(engine, target(upstream.url.replace("127.0.0.1", "localhost")))
    dns, connect, _, first_byte, transfer = timings.spans()
    assert None not in (dns, connect, first_byte, transfer)
    assert sum(span or 0 for span in timings.spans()) <= timings.duration + 1e-5
    assert timings.peer[0] in ("127.0.0.1", "::1")


async def test_tls_has_a_time_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = self_signed(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    client = Client()
    async with raw(keep_answering, tls=server_context(certificate)) as upstream:
        first, again = await timed(client, target(upstream.url)), await timed(client, target(upstream.url))
    await client.close()
    _, connect, tls, _, _ = first.spans()
    assert tls is not None
    assert tls > 0
    assert connect is not None
    assert connect + tls <= first.duration
    assert again.spans()[2] is None


async def test_waiting_for_the_head_and_for_the_body_are_told_apart(engine: Client) -> None:
    async def reply(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.06)
        writer.write(OK + b"Content-Length: 2\r\n\r\nh")
        await asyncio.sleep(0.03)
        writer.write(b"i")

    async with raw(reply) as upstream:
        timings = await timed(engine, target(upstream.url))
    _, _, _, first_byte, transfer = timings.spans()
    assert first_byte is not None
    assert first_byte >= 0.055
    assert transfer is not None
    assert transfer >= 0.025
    assert timings.duration >= 0.085


async def test_times_of_calls_that_run_at_once_do_not_mix(engine: Client) -> None:
    async with raw(keep_answering) as upstream:
        all_timings = await asyncio.gather(*(timed(engine, target(upstream.url)) for _ in range(10)))
    assert upstream.connections == 10
    assert all(timings.spans()[1] is not None for timings in all_timings)
    assert all(timings.peer is not None for timings in all_timings)


async def test_an_attempt_that_ended_before_its_answer_has_no_times_after_that() -> None:
    timings = Timings()
    timings.ended = timings.started + 1.5
    assert timings.duration == 1.5
    assert timings.spans() == (None, None, None, None, None)


def test_a_span_is_never_below_zero_and_unknown_where_an_end_is_missing() -> None:
    assert span(2.0, 1.0) == 0.0
    assert span(1.0, 2.5) == 1.5
    assert span(None, 1.0) is None
    assert span(1.0, None) is None
