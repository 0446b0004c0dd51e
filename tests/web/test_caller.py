"""The caller's side of the proxy: when it goes, stands still, sends too much, and what its connection lives through."""

import asyncio

import pytest
from aiohttp import web

from tests.served import Served
from tests.upstream import Upstream, raw_upstream
from tests.web.proxied import (
    SMALL_BUFFER,
    STALL_SECONDS,
    UPLOAD_BYTES,
    connect,
    is_let_go,
    is_problem,
    let_go_within,
    opened,
    record,
    reset_on_close,
    silent_upstream,
)
from tests.wire import Answered, Broken, Wire

# When the caller goes


STREAMING = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"


@pytest.mark.parametrize(("method", "reply"), [("GET", b""), ("POST", b""), ("GET", STREAMING), ("POST", STREAMING)])
async def test_a_caller_that_goes_frees_the_upstream_within_a_second(
    switchboard: Served, wire: Wire, method: str, reply: bytes
) -> None:
    async with silent_upstream(reply) as (url, accepted):
        name = await connect(switchboard, url)
        await wire.send(wire.head(method, f"/proxy/{name}/slow", ["Content-Length: 2"] if method == "POST" else []))
        await wire.send(b"{}" if method == "POST" else b"")
        sock = await accepted
        if reply:
            assert await wire.piece(await wire.answer_head()) == b"hello"
        assert not is_let_go(sock)
        wire.leave()
        await let_go_within(sock, 1)
    call = await record(switchboard, name)
    assert (call["state"], call["status"]) == ("cancelled", 200 if reply else None)


async def test_a_caller_that_goes_in_mid_upload_frees_the_upstream_within_a_second(
    switchboard: Served, wire: Wire
) -> None:
    async with silent_upstream() as (url, accepted):
        name = await connect(switchboard, url)
        await wire.send(wire.head("PUT", f"/proxy/{name}/", ["Content-Length: 100000"]) + b"x" * 1000)
        sock = await accepted
        await asyncio.sleep(0.05)
        assert not is_let_go(sock)
        wire.leave()
        await let_go_within(sock, 1)
    call = await record(switchboard, name)
    assert (call["state"], call["request"]["body"]["size"]) == ("cancelled", 1000)


async def test_a_caller_that_goes_while_the_upstream_takes_no_more_frees_it_within_a_second(
    switchboard: Served, wire: Wire
) -> None:
    async with silent_upstream() as (url, accepted):
        name = await connect(switchboard, url)
        wire.writer.write(wire.head("PUT", f"/proxy/{name}/", [f"Content-Length: {UPLOAD_BYTES}"]))
        wire.writer.write(b"x" * UPLOAD_BYTES)
        sock = await accepted
        assert await until_it_stands_still(wire)
        assert not is_let_go(sock)
        reset_on_close(wire.writer.get_extra_info("socket"))  # a close would come behind all that waits to be taken
        wire.leave()
        await let_go_within(sock, 1)
    assert (await record(switchboard, name))["state"] == "cancelled"


async def test_a_caller_that_goes_with_another_request_behind_frees_the_upstream_within_a_second(
    switchboard: Served, wire: Wire
) -> None:
    async with silent_upstream() as (url, accepted):
        name = await connect(switchboard, url)
        await wire.send(wire.head("GET", f"/proxy/{name}/") * 2)  # the server reads no further than that
        sock = await accepted
        await asyncio.sleep(0.05)
        assert not is_let_go(sock)
        wire.leave()
        await let_go_within(sock, 1)
    assert (await record(switchboard, name))["state"] == "cancelled"


async def until_it_stands_still(wire: Wire) -> int:
    """Waits until no more of what the caller sends is taken; how much still waits on its side."""
    before, waiting = -1, wire.writer.transport.get_write_buffer_size()
    while waiting != before:
        await asyncio.sleep(0.2)
        before, waiting = waiting, wire.writer.transport.get_write_buffer_size()
    return waiting


@pytest.mark.parametrize("reply", [b"", STREAMING], ids=["before the answer", "in the answer"])
async def test_a_key_revoked_while_a_call_lasts_ends_it_within_five_seconds(switchboard: Served, reply: bytes) -> None:
    key = await asyncio.to_thread(switchboard.cli, "key", "create", "robot", "--scope=call")
    async with silent_upstream(reply) as (url, accepted), Wire.to(switchboard.port, key) as wire:
        name = await connect(switchboard, url)
        await wire.send(wire.head("GET", f"/proxy/{name}/"))
        sock = await accepted
        answered = await wire.answer_head() if reply else None
        if answered is not None:
            assert await wire.piece(answered) == b"hello"
        await asyncio.to_thread(switchboard.cli, "key", "revoke", key.split("_")[1])
        await let_go_within(sock, 5)
        if answered is not None:
            with pytest.raises(Broken):
                await wire.piece(answered)
        else:
            assert is_problem(await wire.answer(), 401, "invalid_key")
    call = await record(switchboard, name)
    assert call["state"] == "cancelled"
    assert (await opened(switchboard, call["id"]))["detail"] == (
        "The caller's key or sign-in ended while the call was under way."
    )


async def test_a_caller_that_stops_reading_is_let_go(switchboard: Served, upstream: Upstream) -> None:
    gone = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
        finally:
            gone.set()

    upstream.handler = answer
    name = await connect(switchboard, upstream.url)
    async with Wire.to(switchboard.port, switchboard.key, buffer_bytes=SMALL_BUFFER) as wire:
        await wire.send(wire.head("GET", f"/proxy/{name}/"))
        await asyncio.wait_for(gone.wait(), STALL_SECONDS + 3)
        call = await record(switchboard, name)
        assert (call["state"], call["status"]) == ("cancelled", 200)
        await let_go_within(wire.writer.get_extra_info("socket"), 1)  # though it has not read all that was sent
        with pytest.raises(Broken):
            await wire.answer()


async def test_a_caller_that_reads_slowly_is_not_let_go(switchboard: Served, upstream: Upstream) -> None:
    size = 1024**2

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * size)

    upstream.handler = answer
    name = await connect(switchboard, upstream.url)
    async with Wire.to(switchboard.port, switchboard.key, buffer_bytes=SMALL_BUFFER) as wire:
        await wire.send(wire.head("GET", f"/proxy/{name}/"))
        answered = await wire.answer_head()
        left = int(answered.header("content-length") or 0)
        assert left == size
        while left:
            left -= len(await wire.reader.readexactly(min(left, 128 * 1024)))
            await asyncio.sleep(0.3)
    assert (await record(switchboard, name))["state"] == "done"


async def test_a_slow_upstream_pushes_back_on_the_uploader(switchboard: Served) -> None:
    async with (
        silent_upstream() as (url, accepted),
        Wire.to(switchboard.port, switchboard.key, buffer_bytes=SMALL_BUFFER) as wire,
    ):
        name = await connect(switchboard, url)
        wire.writer.write(wire.head("PUT", f"/proxy/{name}/", [f"Content-Length: {UPLOAD_BYTES}"]))
        wire.writer.write(b"x" * UPLOAD_BYTES)
        sock = await accepted
        assert await until_it_stands_still(wire) > UPLOAD_BYTES // 2
        reader, writer = await asyncio.open_connection(sock=sock)
        head = await reader.readuntil(b"\r\n\r\n")
        assert f"content-length: {UPLOAD_BYTES}".encode() in head.lower()
        assert (await reader.readexactly(UPLOAD_BYTES)).count(b"x") == UPLOAD_BYTES
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert (await wire.answer()).body == b"ok"
        writer.close()
    call = await record(switchboard, name)
    assert (call["state"], call["request"]["body"]["size"]) == ("done", UPLOAD_BYTES)


async def test_an_upload_that_the_upstream_stops_taking_is_given_up(switchboard: Served) -> None:
    async with (
        silent_upstream() as (url, accepted),
        Wire.to(switchboard.port, switchboard.key, buffer_bytes=SMALL_BUFFER) as wire,
    ):
        name = await connect(switchboard, url, policy={"idle_seconds": 0.3})
        wire.writer.write(
            wire.head("PUT", f"/proxy/{name}/", [f"Content-Length: {UPLOAD_BYTES}"]) + b"x" * UPLOAD_BYTES
        )
        await let_go_within(await accepted, 2)
        assert is_problem(await wire.answer(), 504, "idle_timeout")
    call = await record(switchboard, name)
    assert (call["state"], call["reason"]) == ("failed", "idle_timeout")


async def test_an_upload_that_the_caller_stops_sending_is_given_up(switchboard: Served, wire: Wire) -> None:
    async with silent_upstream() as (url, accepted):
        name = await connect(switchboard, url, policy={"idle_seconds": 0.3})
        await wire.send(wire.head("PUT", f"/proxy/{name}/", ["Content-Length: 100000"]) + b"x" * 1000)
        await let_go_within(await accepted, 2)
        answered = await wire.answer_head()
        assert is_problem(await with_body(wire, answered), 504, "idle_timeout")
    call = await opened(switchboard, answered.header("x-switchboard-call"))
    assert (call["state"], call["reason"], call["detail"]) == (
        "failed",
        "idle_timeout",
        "The sender of the upload stood still.",
    )


# Answers that come before the upload is all in


@pytest.mark.parametrize("chunked", [False, True], ids=["content_length", "chunked"])
async def test_too_large_an_upload_is_refused_and_the_caller_reads_why(
    switchboard: Served, upstream: Upstream, wire: Wire, chunked: bool
) -> None:
    name = await connect(switchboard, upstream.url)
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {UPLOAD_BYTES + 65536}"
    piece = b"x" * 65536
    await wire.send(wire.head("PUT", f"/proxy/{name}/", [length]))
    for _ in range(UPLOAD_BYTES // len(piece) + 1):  # all of it first, as simple clients do
        await wire.send(b"10000\r\n%b\r\n" % piece if chunked else piece)
    if chunked:
        await wire.send(b"0\r\n\r\n")
    answered = await wire.answer()
    assert is_problem(answered, 413, "body_too_large")
    assert upstream.seen == []
    if chunked:  # it was under way when that was seen
        call = await opened(switchboard, answered.header("x-switchboard-call"))
        assert (call["state"], call["reason"], call["status"]) == ("failed", "too_large", None)


async def test_an_upstream_that_answers_early_is_heard_by_a_caller_that_sends_all_first(
    switchboard: Served, wire: Wire
) -> None:
    async with silent_upstream(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno") as (url, _):
        name = await connect(switchboard, url)
        answered = await wire.ask("PUT", f"/proxy/{name}/", body=b"x" * (UPLOAD_BYTES // 2))
        assert (answered.status, answered.body) == (403, b"no")
        call = await opened(switchboard, answered.header("x-switchboard-call"))
        assert (call["state"], call["request"]["body"]["size"] < UPLOAD_BYTES // 2) == ("done", True)
        assert (await wire.ask("HEAD", "/proxy/nobody/")).status == 404  # the connection lives on


async def test_an_upstream_that_breaks_off_early_breaks_off_the_upload(switchboard: Served, wire: Wire) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        reset_on_close(writer.get_extra_info("socket"))
        writer.transport.abort()

    async with raw_upstream(answer) as url:
        name = await connect(switchboard, url)
        answered = await wire.ask("PUT", f"/proxy/{name}/", body=b"x" * (UPLOAD_BYTES // 2))
        assert is_problem(answered, 502, "reset")
        assert answered.header("x-switchboard-call") == (await record(switchboard, name))["id"]


async def test_a_caller_that_goes_on_sending_after_an_early_answer_is_cut_off(switchboard: Served, wire: Wire) -> None:
    await wire.send(wire.head("PUT", "/proxy/nobody/", [f"Content-Length: {UPLOAD_BYTES}"]))
    answered = await wire.answer_head()
    assert is_problem(await with_body(wire, answered), 404, "unknown_connection")
    sock, sent = wire.writer.get_extra_info("socket"), 0
    while not is_let_go(sock):
        wire.writer.write(b"x" * 1000)
        sent += 1000
        await asyncio.sleep(0.05)
    assert 0 < sent < 300_000


async def with_body(wire: Wire, answered: Answered) -> Answered:
    answered.body = await wire.piece(answered)
    return answered


async def test_an_upload_to_nowhere_is_refused_and_the_connection_lives_on(switchboard: Served, wire: Wire) -> None:
    for _ in range(3):
        assert is_problem(await wire.ask("POST", "/proxy/nobody/", body=b"x" * 300_000), 404, "unknown_connection")


# The connection to the caller


async def test_100_continue_comes_before_the_body(switchboard: Served, upstream: Upstream, wire: Wire) -> None:
    name = await connect(switchboard, upstream.url)
    for size in (5, 100_000):
        await wire.send(wire.head("POST", f"/proxy/{name}/", [f"Content-Length: {size}", "Expect: 100-continue"]))
        assert (await wire.answer_head()).status == 100
        await wire.send(b"x" * size)
        assert (await wire.answer()).status == 200
    assert [len(seen.body) for seen in upstream.seen] == [5, 100_000]
    assert upstream.seen[0].header("expect") is None


async def test_a_thousand_requests_go_through_one_connection(
    switchboard: Served, upstream: Upstream, wire: Wire
) -> None:
    name = await connect(switchboard, upstream.url)
    ids = {(await wire.ask("GET", f"/proxy/{name}/{number}")).header("x-switchboard-call") for number in range(1000)}
    assert len(ids) == 1000
    assert [seen.path for seen in upstream.seen] == [f"/v1/{number}" for number in range(1000)]


async def test_pipelined_requests_are_answered_in_order(switchboard: Served, upstream: Upstream, wire: Wire) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=request.path)

    upstream.handler = answer
    name = await connect(switchboard, upstream.url)
    await wire.send(b"".join(wire.head("GET", f"/proxy/{name}/{number}") for number in range(60)))
    assert [(await wire.answer()).body for _ in range(60)] == [f"/v1/{number}".encode() for number in range(60)]


KINDS = {
    "of a known length": (b"Content-Length: 10\r\n\r\n", b"0123456789"),
    "of a known length, in pieces": (b"Content-Length: 10\r\n\r\n01234", b"56789"),
    "chunked": (b"Transfer-Encoding: chunked\r\n\r\n", b"a\r\n0123456789\r\n0\r\n\r\n"),
    "without a body": (b"Content-Length: 0\r\n\r\n", b""),
}


@pytest.mark.parametrize(("head", "body"), KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("size", [0, 10, 100_000])
async def test_the_connection_lives_on_after_an_answer_whose_body_comes_late(
    switchboard: Served, wire: Wire, head: bytes, body: bytes, size: int
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(3):
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(size)
            writer.write(b"HTTP/1.1 200 OK\r\n" + head)
            await asyncio.sleep(0.01)
            writer.write(body)

    async with raw_upstream(answer) as url:
        name = await connect(switchboard, url)
        for _ in range(3):
            answered = await wire.ask("PUT" if size else "GET", f"/proxy/{name}/", body=b"x" * size if size else None)
            assert answered.body == (b"0123456789" if body else b"")
            call = await opened(switchboard, answered.header("x-switchboard-call"))
            assert (call["state"], call["response"]["body"]["size"]) == ("done", len(answered.body))


async def test_a_caller_may_ask_for_the_connection_to_end(switchboard: Served, upstream: Upstream, wire: Wire) -> None:
    name = await connect(switchboard, upstream.url)
    assert (await wire.ask("GET", f"/proxy/{name}/", ["Connection: close"])).status == 200
    assert await wire.is_closed()
