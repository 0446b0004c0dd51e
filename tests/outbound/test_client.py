"""One exchange on the wire with real upstreams, most of which misbehave."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from quart_app.errors import REASONS
from quart_app.outbound.client import AttemptFailed, Client, Outgoing
from quart_app.outbound.target import Target
from quart_app.outbound.urls import join
from tests.outbound.certificates import self_signed, server_context
from tests.outbound.targets import get, read_all, scheme, target
from tests.outbound.test_urls import JOINED
from tests.outbound.upstreams import (
    CHUNKED,
    OK,
    WHOLE,
    Reply,
    drip,
    endless_hints,
    exchange,
    fetch,
    keep_answering,
    raw,
    then_reset,
    then_silence,
)
from tests.served import free_port


async def failure(
    client: Client, aim: Target, *, total_seconds: float | None = 5, reading: bool = False
) -> AttemptFailed:
    """How a GET fails: before its answer, or while it is being read."""
    if not reading:
        with pytest.raises(AttemptFailed) as raised:
            await exchange(client, aim, total_seconds=total_seconds)
        return raised.value
    answer = await exchange(client, aim, total_seconds=total_seconds)
    with pytest.raises(AttemptFailed) as raised:
        await read_all(answer)
    answer.close()
    return raised.value


# --- each reason, by an upstream that earns it -------------------------------------------------------------------

NOT_AN_ANSWER = {
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    "HTTP/0.9": b"<html>hello</html>",
    "HTTP/2": b"HTTP/2 200\r\n\r\n",
    "version": b"HTTP/9.9 200 OK\r\n\r\n",
    "upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    **{
        f"status {code or 'missing'}": f"HTTP/1.1 {code} X\r\nContent-Length: 0\r\n\r\n".encode()
        for code in ("0", "000", "99", "600", "999", "1000", "abc", "-1", "")
    },
    "header of 40 KB": OK + b"X: " + b"a" * 40_000 + b"\r\n\r\n",
    "5,000 headers": OK + b"".join(b"X%d: a\r\n" % number for number in range(5000)) + b"\r\n",
    "length and chunks": OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "length below zero": OK + b"Content-Length: -3\r\n\r\nabc",
    "length in words": OK + b"Content-Length: three\r\n\r\nabc",
    "length beyond all": OK + b"Content-Length: 99999999999999999999999\r\n\r\nabc",
    "NUL in a header": OK + b"X: a\0b\r\nContent-Length: 0\r\n\r\n",
    "CR in a header": OK + b"X: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
    "space in a name": OK + b"X Y: a\r\nContent-Length: 0\r\n\r\n",
    "no colon": OK + b"XYZ\r\nContent-Length: 0\r\n\r\n",
    "chunk size": CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n",
    "chunk size beyond all": CHUNKED + b"ffffffffffffffffff\r\nabc",
    "chunk longer than said": CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", NOT_AN_ANSWER)
async def test_what_is_not_http_is_a_protocol_error_and_asked_for_once(engine: Client, name: str) -> None:
    async with raw(NOT_AN_ANSWER[name]) as upstream:
        error = await failure(engine, target(upstream.url))
    assert error.reason == "protocol_error"
    assert len(upstream.heads) == 1
    assert "abc" not in error.detail


CUT_BEFORE = {"nothing": b"", "half a head": OK + b"X: a\r\n", "only 1xx": b"HTTP/1.1 103 Early Hints\r\n\r\n"}
CUT_AFTER = {
    "no body": OK + b"Content-Length: 10\r\n\r\n",
    "half a body": OK + b"Content-Length: 10\r\n\r\nabc",
    "half a chunk": CHUNKED + b"5\r\nab",
    "no last chunk": CHUNKED + b"3\r\nabc\r\n",
    "no end of the last chunk": CHUNKED + b"3\r\nabc\r\n0\r\n",
}


@pytest.mark.parametrize("content", CUT_BEFORE.values(), ids=CUT_BEFORE)
@pytest.mark.parametrize("end", ["close", "reset"])
async def test_an_upstream_that_leaves_before_its_answer_is_a_reset_and_asked_once(
    engine: Client, content: bytes, end: str
) -> None:
    async with raw(content if end == "close" else then_reset(content)) as upstream:
        error = await failure(engine, target(upstream.url))
        await asyncio.sleep(0.02)
    assert error.reason == "reset"
    assert (len(upstream.heads), upstream.connections) == (1, 1)


@pytest.mark.parametrize("content", CUT_AFTER.values(), ids=CUT_AFTER)
@pytest.mark.parametrize("end", ["close", "reset"])
async def test_an_upstream_that_leaves_in_the_middle_of_its_answer_is_a_reset(
    engine: Client, content: bytes, end: str
) -> None:
    head_is_here = asyncio.Event()
    async with raw(content if end == "close" else then_reset(content, head_is_here)) as upstream:
        answer = await exchange(engine, target(upstream.url))
        head_is_here.set()
        with pytest.raises(AttemptFailed) as raised:
            await read_all(answer)
        answer.close()
    assert raised.value.reason == "reset"
    assert len(upstream.heads) == 1


async def test_no_listener_is_a_failed_connect(engine: Client) -> None:
    error = await failure(engine, target(f"http://127.0.0.1:{free_port()}"))
    assert error.reason == "connect_failed"


async def test_a_listener_that_takes_no_more_is_a_connect_timeout(engine: Client) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(full.getsockname())
        error = await failure(engine, target(f"http://127.0.0.1:{full.getsockname()[1]}", connect_seconds=0.2))
        for one in waiting:
            one.close()
    assert error.reason == "connect_timeout"


async def test_a_name_that_does_not_resolve_is_a_failed_look_up(engine: Client) -> None:
    assert (await failure(engine, target("http://nonexistent.invalid"))).reason == "dns_failed"


async def test_silence_after_the_request_is_a_first_byte_timeout(engine: Client) -> None:
    for content in (b"", OK + b"X: half"):
        async with raw(then_silence(content)) as upstream:
            error = await failure(engine, target(upstream.url, first_byte_seconds=0.1))
        assert error.reason == "first_byte_timeout"
        assert len(upstream.heads) == 1


@pytest.mark.parametrize("content", [*CUT_AFTER.values(), OK + b"\r\nabc"], ids=[*CUT_AFTER, "no length"])
async def test_silence_in_the_answer_is_an_idle_timeout(engine: Client, content: bytes) -> None:
    async with raw(then_silence(content)) as upstream:
        aim = target(upstream.url, first_byte_seconds=5, idle_seconds=0.1)
        async with asyncio.timeout(2):
            error = await failure(engine, aim, reading=True)
    assert error.reason == "idle_timeout"


async def test_a_pause_longer_than_the_first_byte_time_is_no_idle_timeout(engine: Client) -> None:
    async def reply(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Content-Length: 2\r\n\r\n")
        await asyncio.sleep(0.4)
        writer.write(b"hi")
        await reader.read()

    async with raw(reply) as upstream:
        aim = target(upstream.url, first_byte_seconds=0.2, idle_seconds=5)
        assert await fetch(engine, aim) == (200, b"hi")


async def test_a_caller_that_reads_slowly_is_no_idle_upstream(engine: Client) -> None:
    body = b"x" * 4_000_000
    async with raw(OK + b"Content-Length: 4000000\r\n\r\n" + body) as upstream:
        answer = await exchange(engine, target(upstream.url, first_byte_seconds=5, idle_seconds=0.1))
        await asyncio.sleep(0.3)
        assert await read_all(answer) == body


async def test_a_total_time_ends_an_answer_that_never_ends(engine: Client) -> None:
    async with raw(drip) as upstream:
        error = await failure(engine, target(upstream.url), total_seconds=0.2, reading=True)
    assert error.reason == "total_timeout"


@pytest.mark.parametrize("reply", [then_silence(b""), endless_hints], ids=["silence", "endless 1xx"])
async def test_a_total_time_ends_the_wait_for_an_answer(engine: Client, reply: Reply) -> None:
    async with raw(reply) as upstream:
        error = await failure(engine, target(upstream.url), total_seconds=0.2)
    assert error.reason == "total_timeout"


async def test_a_total_time_ends_an_upload_that_is_not_taken(engine: Client) -> None:
    taken = asyncio.Event()

    async def never_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await taken.wait()
        writer.close()

    server = await asyncio.start_server(never_read, "127.0.0.1", 0)
    aim = target(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    with pytest.raises(AttemptFailed) as raised:
        await exchange(engine, aim, Outgoing("POST", join(aim.base, "/"), body=b"x" * 8_000_000), total_seconds=0.3)
    taken.set()
    server.close()
    assert raised.value.reason == "total_timeout"


async def test_tls_to_a_plain_port_fails_as_tls(engine: Client) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        error = await failure(engine, target(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
    assert error.reason == "tls_failed"


@pytest.mark.parametrize(
    ("host", "days", "trusted"), [("127.0.0.1", 1, False), ("other.example", 1, True), ("127.0.0.1", -1, True)]
)
async def test_a_certificate_that_cannot_be_trusted_ends_the_call_before_any_byte_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, days: int, trusted: bool
) -> None:
    certificate = self_signed(tmp_path, host, valid_days=days)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    client = Client()
    async with raw(WHOLE, tls=server_context(certificate)) as upstream:
        aim = target(upstream.url, scheme(scheme="bearer", token="swordfish"))
        error = await failure(client, aim)
    await client.close()
    assert (error.reason, upstream.heads) == ("tls_failed", [])


async def test_a_certificate_of_a_trusted_authority_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = self_signed(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    client = Client()
    async with raw(WHOLE, tls=server_context(certificate)) as upstream:
        assert await fetch(client, target(upstream.url)) == (200, b"hi")
    await client.close()


async def test_a_handshake_that_stalls_fails_as_tls_within_the_connect_time(engine: Client) -> None:
    async with raw(then_silence(b"")) as upstream:
        error = await failure(engine, target(upstream.url.replace("http:", "https:"), connect_seconds=0.2))
    assert error.reason == "tls_failed"
    assert "within the connect time" in error.detail


DENIED = ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "[::1]", "[::127.0.0.1]", "127.8.9.10"]


@pytest.mark.parametrize("host", DENIED)
async def test_what_may_not_be_reached_gets_no_byte_and_no_connection(engine: Client, host: str) -> None:
    async with raw(WHOLE) as upstream:
        port = upstream.url.rpartition(":")[2]
        error = await failure(engine, target(f"http://{host}:{port}", allow_private=False))
        await asyncio.sleep(0.02)
    assert (error.reason, upstream.connections) == ("egress_denied", 0)
    assert "egress rule" in error.detail
    if "0.0.0.0" not in host and "::]" not in host and "[::127" not in host:
        assert "allow_private" in error.detail


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "169.254.169.254"])
async def test_leave_for_private_addresses_is_no_leave_for_the_others(engine: Client, host: str) -> None:
    async with raw(WHOLE) as upstream:
        error = await failure(engine, target(f"http://{host}:{upstream.url.rpartition(':')[2]}"))
    assert (error.reason, upstream.connections) == ("egress_denied", 0)


async def test_a_connection_kept_for_those_with_leave_is_not_lent_to_those_without(engine: Client) -> None:
    async with raw(keep_answering) as upstream:
        assert await fetch(engine, target(upstream.url)) == (200, b"hi")
        assert (await failure(engine, target(upstream.url, allow_private=False))).reason == "egress_denied"
        assert await fetch(engine, target(upstream.url)) == (200, b"hi")
    assert (len(upstream.heads), upstream.connections) == (2, 1)


def test_every_reason_of_the_engine_has_its_upstream_here() -> None:
    source = Path(__file__).read_text()
    elsewhere = {"too_large", "token_unavailable", "circuit_open", "limit_wait"}
    assert [reason for reason in REASONS if reason not in elsewhere and f'"{reason}"' not in source] == []


# --- what goes over the wire -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "query", "shown"), JOINED)
async def test_the_request_target_goes_out_byte_for_byte(engine: Client, path: str, query: str, shown: str) -> None:
    async with raw(WHOLE) as upstream:
        aim = target(f"{upstream.url}/v1")
        await fetch(engine, aim, get(aim, path, query))
    assert upstream.heads[0].partition(b"\r\n")[0].decode() == f"GET {shown} HTTP/1.1"


async def test_nothing_is_added_to_a_request_but_its_host(engine: Client) -> None:
    async with raw(WHOLE) as upstream:
        await fetch(engine, target(upstream.url))
        host = upstream.url.removeprefix("http://").encode()
    assert upstream.heads == [b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"]


async def test_the_credential_is_added_to_headers_and_query(engine: Client) -> None:
    async with raw(keep_answering) as upstream:
        for given in ({"in": "header", "name": "X-Key"}, {"in": "cookie", "name": "sid"}, {"in": "query", "name": "k"}):
            aim = target(upstream.url, scheme(scheme="api_key", value="a b&", **given))
            await fetch(engine, aim, get(aim, "/x", "q=1"))
        await fetch(engine, aim, get(aim, "/x"))
    assert b"\r\nx-key: a b&\r\n" in upstream.heads[0].lower()
    assert b"\r\ncookie: sid=a b&\r\n" in upstream.heads[1].lower()
    assert upstream.heads[2].startswith(b"GET /x?q=1&k=a%20b%26 HTTP/1.1\r\n")
    assert upstream.heads[3].startswith(b"GET /x?k=a%20b%26 HTTP/1.1\r\n")


async def pieces(*content: bytes) -> AsyncIterator[bytes]:
    for piece in content:
        yield piece


@pytest.mark.parametrize(
    ("method", "body", "length", "framing", "arrives"),
    [
        ("GET", None, None, None, b""),
        ("OPTIONS", None, None, None, b""),
        ("POST", None, None, "content-length: 0", b""),
        ("PUT", None, None, "content-length: 0", b""),
        ("DELETE", None, None, "content-length: 0", b""),
        ("PATCH", b"", None, "content-length: 0", b""),
        ("POST", b"abc", None, "content-length: 3", b"abc"),
        ("GET", b"abc", None, "content-length: 3", b"abc"),
        ("POST", b"x" * 100_000, None, "content-length: 100000", b"x" * 100_000),
        ("POST", (b"ab", b"c"), 3, "content-length: 3", b"abc"),
        ("POST", (b"ab", b"c"), None, "transfer-encoding: chunked", b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
    ],
)
async def test_a_body_is_framed_by_its_length_where_that_is_known(
    engine: Client, method: str, body: Any, length: int | None, framing: str | None, arrives: bytes
) -> None:
    seen = b""

    async def reply(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        if arrives:
            seen = await reader.readexactly(len(arrives))
        writer.write(WHOLE)

    async with raw(reply) as upstream:
        aim = target(upstream.url)
        sent = pieces(*body) if isinstance(body, tuple) else body
        assert await fetch(engine, aim, Outgoing(method, join(aim.base, "/"), [], sent, length)) == (200, b"hi")
    head = upstream.heads[0].lower().decode()
    framings = [line for line in head.split("\r\n") if line.startswith(("content-length", "transfer-encoding"))]
    assert framings == ([framing] if framing else [])
    assert seen == arrives


async def test_an_early_answer_is_taken_while_the_body_is_still_going_out(engine: Client) -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
    async with raw(refusal) as upstream:
        aim = target(upstream.url)
        outgoing = Outgoing("POST", join(aim.base, "/"), [], pieces(*[b"x" * 65536] * 50))
        assert await fetch(engine, aim, outgoing) == (413, b"no")


# --- nothing behind our back -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(engine: Client, status: int) -> None:
    async with raw(WHOLE) as elsewhere:
        moved = f"HTTP/1.1 {status} Moved\r\nLocation: {elsewhere.url}/x\r\nContent-Length: 0\r\n\r\n".encode()
        async with raw(moved) as upstream:
            assert await fetch(engine, target(upstream.url)) == (status, b"")
    assert (len(upstream.heads), elsewhere.connections) == (1, 0)


async def test_no_cookie_is_kept(engine: Client) -> None:
    async def reply(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Set-Cookie: sid=1; Path=/\r\nContent-Length: 0\r\n\r\n")

    async with raw(reply) as upstream:
        for _ in range(2):
            await fetch(engine, target(upstream.url))
    assert len(upstream.heads) == 2
    assert b"cookie" not in b"".join(upstream.heads).lower()


async def test_the_environment_names_no_proxy_and_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password swordfish\n")
    netrc.chmod(0o600)
    async with raw(WHOLE) as proxy, raw(WHOLE) as upstream:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setenv("NETRC", str(netrc))
        client = Client()
        assert await fetch(client, target(upstream.url)) == (200, b"hi")
        await client.close()
    assert (proxy.connections, len(upstream.heads)) == (0, 1)
    assert b"authorization" not in upstream.heads[0].lower()


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST"])
async def test_a_kept_connection_that_breaks_is_not_silently_asked_again(engine: Client, method: str) -> None:
    answered = 0

    async def reply(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        answered += 1
        if answered == 1:
            writer.write(WHOLE)
        else:
            writer.close()

    async with raw(reply) as upstream:
        aim = target(upstream.url)
        await fetch(engine, aim)
        with pytest.raises(AttemptFailed) as raised:
            await exchange(engine, aim, Outgoing(method, join(aim.base, "/")))
        await asyncio.sleep(0.02)
    assert raised.value.reason == "reset"
    assert (len(upstream.heads), upstream.connections) == (2, 1)


async def test_a_connection_that_the_upstream_closed_meanwhile_is_not_used(engine: Client) -> None:
    async with raw(WHOLE) as upstream:
        aim = target(upstream.url)
        for _ in range(3):
            assert await fetch(engine, aim) == (200, b"hi")
            await asyncio.sleep(0.02)
    assert (len(upstream.heads), upstream.connections) == (3, 3)


async def test_bytes_after_an_answer_never_become_the_next_answer(engine: Client) -> None:
    async def reply(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(WHOLE + OK + b"Content-Length: 6\r\n\r\nforged")

    async with raw(reply) as upstream:
        aim = target(upstream.url)
        for _ in range(3):
            assert await fetch(engine, aim) == (200, b"hi")
            await asyncio.sleep(0.02)


async def test_an_answer_given_up_is_cut_and_its_connection_not_used_again(engine: Client) -> None:
    gone = asyncio.Event()

    async def reply(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if head.startswith(b"GET /long"):
            writer.write(OK + b"Content-Length: 1000\r\n\r\nhalf")
            await reader.read()
            gone.set()
            writer.close()
        else:
            writer.write(WHOLE)

    async with raw(reply) as upstream:
        aim = target(upstream.url)
        answer = await exchange(engine, aim, get(aim, "/long"))
        assert await answer.read() == b"half"
        answer.close()
        async with asyncio.timeout(1):
            await gone.wait()
        assert await fetch(engine, aim) == (200, b"hi")
    assert upstream.connections == 2


async def test_a_cancelled_exchange_lets_go_of_the_upstream(engine: Client) -> None:
    gone = asyncio.Event()

    async def reply(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        gone.set()
        writer.close()

    async with raw(reply) as upstream:
        task = asyncio.create_task(exchange(engine, target(upstream.url)))
        async with asyncio.timeout(1):
            while not upstream.heads:  # noqa: ASYNC110 - the upstream keeps a list, not an event
                await asyncio.sleep(0.005)
            task.cancel()
            await gone.wait()
        with pytest.raises(asyncio.CancelledError):
            await task


# --- the answer --------------------------------------------------------------------------------------------------


async def test_an_answer_comes_as_it_is_with_its_headers_and_its_coding(engine: Client) -> None:
    head = OK + b"Content-Encoding: gzip\r\nX-Name: caf\xe9\r\nx-name: two\r\nContent-Length: 4\r\n\r\n"
    async with raw(head + b"\x1f\x8b\x00\x01") as upstream:
        answer = await exchange(engine, target(upstream.url))
        assert answer.headers[:3] == ((b"Content-Encoding", b"gzip"), (b"X-Name", b"caf\xe9"), (b"x-name", b"two"))
        assert answer.length == 4
        assert await read_all(answer) == b"\x1f\x8b\x00\x01"


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("HEAD", OK + b"Content-Length: 10\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n"),
    ],
)
async def test_an_answer_without_a_body_ends_at_its_head_and_keeps_its_connection(
    engine: Client, method: str, head: bytes
) -> None:
    async def reply(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)

    async with raw(reply) as upstream:
        aim = target(upstream.url)
        for _ in range(2):
            answer = await exchange(engine, aim, Outgoing(method, join(aim.base, "/")))
            assert answer.rest() == b""
            answer.close()
    assert (len(upstream.heads), upstream.connections) == (2, 1)


async def test_a_head_answer_without_a_length_is_whole_even_when_its_connection_breaks(engine: Client) -> None:
    head_is_here = asyncio.Event()
    async with raw(then_reset(OK + b"\r\n", head_is_here)) as upstream:
        aim = target(upstream.url)
        answer = await exchange(engine, aim, Outgoing("HEAD", join(aim.base, "/")))
        head_is_here.set()
        await asyncio.sleep(0.05)
        assert answer.rest() == b""
        answer.close()


async def test_informational_answers_before_the_answer_are_passed_over(engine: Client) -> None:
    async with raw(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 3 + WHOLE) as upstream:
        assert await fetch(engine, target(upstream.url)) == (200, b"hi")


async def test_the_rest_of_an_answer_is_known_only_when_all_of_it_is_here(engine: Client) -> None:
    go_on = asyncio.Event()

    async def reply(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Content-Length: 6\r\n\r\nabc")
        await go_on.wait()
        writer.write(b"def")

    async with raw(reply) as upstream:
        answer = await exchange(engine, target(upstream.url))
        assert answer.rest() is None
        assert await answer.read() == b"abc"
        go_on.set()
        assert await read_all(answer) == b"def"
        again = await exchange(engine, target(upstream.url))
        assert await read_all(again) == b"abcdef"
    async with raw(WHOLE) as upstream:
        answer = await exchange(engine, target(upstream.url))
        await asyncio.sleep(0.02)
        assert answer.rest() == b"hi"
        answer.close()


async def test_a_slow_reader_holds_the_upstream_back(engine: Client) -> None:
    sent = 0

    async def reply(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(OK + b"Content-Length: 67108864\r\n\r\n")
        for _ in range(1024):
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async with raw(reply) as upstream:
        answer = await exchange(engine, target(upstream.url))
        await asyncio.sleep(0.2)
        answer.close()
    assert sent < 32 * 1024**2


async def test_a_target_has_one_set_of_limits(engine: Client) -> None:
    one, other = target("http://a.example"), target("http://b.example")
    assert engine.limits_of(one) is engine.limits_of(target("http://a.example"))
    assert engine.limits_of(one) is not engine.limits_of(other)
