"""The streaming proxy, over bare sockets to a served process."""

import asyncio
import gzip
import hashlib
import json
from typing import Any
from urllib.parse import urljoin

import pytest
from aiohttp import web

from quart_app import accounts, connections
from quart_app.forms.connections import ConnectionForm
from quart_app.services import Services
from tests.served import Served
from tests.upstream import Upstream, raw_upstream
from tests.web.conftest import Asker
from tests.web.proxied import connect, is_problem, keeping_on, opened, record, reset_on_close
from tests.wire import Broken, Wire

# What goes up


TARGETS = (
    "",
    "/",
    "/items",
    "/a%2Fb%5Cc",
    "//double//slash/",
    "/%ff%C0%AE",
    "/%e2%82%ac%E2%82%AC",
    "/%252e%252e/x",
    "/a%20b+c",
    "/semi;v=1/co:lon@at,!$&'()*~",
    "/[x]|^",
    "/x?a=b?c/d&&=&a=%2B+%20",
    "/x?q={%22a%22:[1]}&p=|^`\\",
    "/x?%0d%0aX-Evil:%201",
    "/x?a=1&a=2&b",
)


@pytest.mark.parametrize("target", TARGETS)
async def test_path_and_query_go_on_byte_for_byte(
    switchboard: Served, upstream: Upstream, wire: Wire, target: str
) -> None:
    name = await connect(switchboard, upstream.url)
    answered = await wire.ask("GET", f"/proxy/{name}{target}")
    assert answered.status == 200, answered.body
    assert [seen.path for seen in upstream.seen] == [f"/v1{target}"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("body", [None, b"", b'{"hoge": "val"}'], ids=["without", "empty", "body"])
async def test_every_method_goes_on_with_its_body(
    switchboard: Served, upstream: Upstream, wire: Wire, method: str, body: bytes | None
) -> None:
    name = await connect(switchboard, upstream.url)
    answered = await wire.ask(method, f"/proxy/{name}/items", body=body)
    assert answered.status == 200
    assert answered.header("x-switchboard-source") == "upstream"
    (seen,) = upstream.seen
    assert (seen.method, seen.body) == (method, body or b"")
    assert seen.header("transfer-encoding") is None
    call = await opened(switchboard, answered.header("x-switchboard-call"))
    assert (call["method"], call["state"], call["origin"]) == (method, "done", "proxy")


DROPPED = {
    "Cookie": "a=1",
    "Proxy-Authorization": "Basic eDp5",
    "Keep-Alive": "timeout=5",
    "TE": "trailers",
    "Upgrade": "nothing/1",
    "Origin": "http://elsewhere.example",
    "Referer": "http://elsewhere.example/",
    "Forwarded": "for=1.2.3.4",
    "X-Forwarded-For": "1.2.3.4",
    "X-Forwarded-Host": "elsewhere.example",
    "X-Real-IP": "1.2.3.4",
    "Sec-Fetch-Mode": "cors",
    "Remote-Addr": "1.2.3.4",
    "X-Requested-By": "switchboard",
    "X-Switchboard-Anything": "1",
    "X-Hop": "named by Connection",
    "X-Api-Key": "the caller's own",
    "X_API_KEY": "the caller's own, spelled otherwise",
    "X-Team": "the caller's own",
}
KEPT = {
    "Accept": "application/json",
    "Accept-Encoding": "br",
    "User-Agent": "their-sdk/1",
    "If-None-Match": '"abc"',
    "Range": "bytes=0-1",
    "Idempotency-Key": "k-1",
    "Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "X-Custom": "  inner  spaces\tand tab",
}


async def test_the_callers_headers_go_on_but_those_that_are_not_the_upstreams_business(
    switchboard: Served, upstream: Upstream, wire: Wire
) -> None:
    auth = {"scheme": "api_key", "in": "header", "name": "X-Api-Key", "value": "the-connections-own"}
    name = await connect(switchboard, upstream.url, auth=auth, headers={"X-Team": "blue"})
    given = [f"{key}: {value}" for key, value in (DROPPED | KEPT).items()]
    answered = await wire.ask("GET", f"/proxy/{name}/", [*given, "Connection: keep-alive, X-Hop"])
    assert answered.status == 200, answered.body
    sent = {key.lower(): value for key, value in upstream.seen[0].headers}
    expected = {key.lower(): value.strip() for key, value in KEPT.items()}
    host = upstream.url.removeprefix("http://")
    assert sent.pop("via").startswith("1.1 sb-"), "ours, which names this installation"
    assert sent == expected | {"x-api-key": "the-connections-own", "x-team": "blue", "host": host}


async def test_a_header_given_twice_goes_on_twice_in_order(switchboard: Served, upstream: Upstream, wire: Wire) -> None:
    name = await connect(switchboard, upstream.url)
    await wire.ask("GET", f"/proxy/{name}/", ["X-Tag: one", "X-Tag: two"])
    assert [value for key, value in upstream.seen[0].headers if key.lower() == "x-tag"] == ["one", "two"]


async def test_the_key_may_stand_in_a_header_of_its_own(switchboard: Served, upstream: Upstream, wire: Wire) -> None:
    name = await connect(switchboard, upstream.url)
    headers = [f"X-Switchboard-Key: {switchboard.key}", "Authorization: Bearer the-sdks-own"]
    assert (await wire.ask("GET", f"/proxy/{name}/", headers)).status == 200
    assert upstream.seen[0].header("authorization") is None
    assert upstream.seen[0].header("x-switchboard-key") is None


# What comes down


NOT_RETURNED = {
    "Set-Cookie": "session=1",
    "Alt-Svc": 'h3=":443"',
    "Strict-Transport-Security": "max-age=1",
    "Access-Control-Allow-Origin": "*",
    "Content-Security-Policy": "default-src *",
    "X-Frame-Options": "DENY",
    "Service-Worker-Allowed": "/",
    "Clear-Site-Data": '"*"',
    "Refresh": "0; url=http://elsewhere.example",
    "Permissions-Policy": "camera=*",
    "Cross-Origin-Opener-Policy": "unsafe-none",
    "Server": "upstream/1",
    "Keep-Alive": "timeout=5",
    "Proxy-Authenticate": "Basic",
    "X-Hop": "named by Connection",
}
RETURNED = {
    "Content-Type": "application/problem+json; charset=utf-8",
    "Date": "Tue, 01 Jan 2030 00:00:00 GMT",
    "ETag": '"abc"',
    "Cache-Control": "max-age=60",
    "Location": "/v1/items/1",
    "Retry-After": "3",
    "WWW-Authenticate": 'Basic realm="theirs"',
    "X-RateLimit-Remaining": "4",
}


async def test_the_upstreams_headers_come_back_but_those_that_speak_for_our_origin(
    switchboard: Served, upstream: Upstream, wire: Wire
) -> None:
    async def answer(request: web.Request) -> web.Response:
        forged = {"X-Switchboard-Source": "gateway", "X-Switchboard-Call": "forged", "Connection": "X-Hop"}
        return web.Response(status=429, body=b"{}", headers=RETURNED | NOT_RETURNED | forged)

    upstream.handler = answer
    name = await connect(switchboard, upstream.url)
    answered = await wire.ask("GET", f"/proxy/{name}/")
    assert (answered.status, answered.body) == (429, b"{}")
    call = await record(switchboard, name)
    expected = {key.lower(): value for key, value in RETURNED.items()}
    own = {"content-length": "2", "x-switchboard-source": "upstream", "x-switchboard-call": call["id"]}
    assert sorted(answered.headers) == sorted((expected | own).items())


async def test_a_browser_gets_an_answer_that_can_not_become_a_page_of_ours(
    client: Any, app: Any, running: Services, upstream: Upstream
) -> None:
    async def answer(request: web.Request) -> web.Response:
        headers = {"WWW-Authenticate": "Basic", "Link": "</x>; rel=preload", "Location": "/elsewhere", "X-Kept": "yes"}
        return web.Response(status=401, text="<script>1</script>", content_type="text/html", headers=headers)

    upstream.handler = answer
    form = {"name": "orders", "base_url": upstream.url, "policy": {"allow_private": True}}
    assert (await client.post("/api/connections", json=form)).status_code == 201
    browser: Any = app.test_client()
    own = {"X-Requested-By": "switchboard", "Sec-Fetch-Site": "same-origin"}
    token = await accounts.create_link(running)
    assert (await browser.post("/api/sign-ins", json={"token": token}, headers=own)).status_code == 201
    answered = await browser.get("/proxy/orders/", headers=own | {"Sec-Fetch-Dest": "empty"})
    assert (answered.status_code, answered.headers["X-Kept"]) == (401, "yes")
    assert not {"WWW-Authenticate", "Link", "Location"} & set(answered.headers.keys())
    assert answered.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert answered.headers["X-Content-Type-Options"] == "nosniff"
    assert answered.headers["Cache-Control"] == "no-store"
    refused = await browser.get("/proxy/orders/", headers=own | {"Sec-Fetch-Dest": "document"})
    assert (refused.status_code, (await refused.get_json())["code"]) == (403, "navigation_not_allowed")
    assert len(upstream.seen) == 1


BODILESS = [
    ("HEAD", 200, {"Content-Length": "1234", "Content-Type": "text/plain"}),
    ("HEAD", 200, {"Transfer-Encoding": "chunked"}),
    ("GET", 204, {}),
    ("DELETE", 204, {}),
    ("GET", 304, {"ETag": '"abc"', "Content-Length": "1234"}),
]


@pytest.mark.parametrize(("method", "status", "headers"), BODILESS)
async def test_an_answer_without_a_body_ends_at_its_head(
    switchboard: Served, wire: Wire, method: str, status: int, headers: dict[str, str]
) -> None:
    head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{key}: {value}\r\n" for key, value in headers.items())

    async with raw_upstream(keeping_on(f"{head}\r\n".encode())) as url:
        name = await connect(switchboard, url)
        for _ in range(2):
            answered = await wire.ask(method, f"/proxy/{name}/")
            assert (answered.status, answered.body) == (status, b"")
            expected = headers.get("Content-Length") if status != 204 else None
            assert answered.header("content-length") == expected
            call = await opened(switchboard, answered.header("x-switchboard-call"))
            assert (call["state"], call["status"], call["response"]["body"]) == ("done", status, None)


async def test_server_sent_events_pass_one_by_one(switchboard: Served, upstream: Upstream, wire: Wire) -> None:
    following = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(5):
            await response.write(f"data: {number}\n\n".encode())
            await following.wait()
            following.clear()
        return response

    upstream.handler = answer
    name = await connect(switchboard, upstream.url)
    await wire.send(wire.head("GET", f"/proxy/{name}/stream"))
    answered = await wire.answer_head()
    assert answered.header("content-type") == "text/event-stream"
    for number in range(5):
        async with asyncio.timeout(1):
            assert await wire.piece(answered) == f"data: {number}\n\n".encode()
        following.set()
    assert await wire.piece(answered) == b""
    assert (await record(switchboard, name))["response"]["body"]["size"] == 5 * len("data: 0\n\n")


async def test_the_head_comes_before_the_first_byte_of_the_body(
    switchboard: Served, upstream: Upstream, wire: Wire
) -> None:
    seen = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await seen.wait()
        await response.write(b"late")
        return response

    upstream.handler = answer
    name = await connect(switchboard, upstream.url)
    await wire.send(wire.head("GET", f"/proxy/{name}/"))
    answered = await wire.answer_head()
    seen.set()
    assert await wire.piece(answered) == b"late"


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n"
)
UNTIL_CLOSED = b"HTTP/1.0 200 OK\r\n\r\nhello world"


@pytest.mark.parametrize("reply", [CHUNKED, UNTIL_CLOSED], ids=["chunked", "until_closed"])
async def test_an_answer_of_unknown_length_comes_whole(switchboard: Served, wire: Wire, reply: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)

    async with raw_upstream(answer) as url:
        name = await connect(switchboard, url)
        answered = await wire.ask("GET", f"/proxy/{name}/")
    assert answered.body == b"hello world"
    call = await record(switchboard, name)
    assert (call["state"], call["response"]["body"]["sha256"]) == ("done", hashlib.sha256(b"hello world").hexdigest())


async def test_gzip_passes_as_it_is_and_is_readable_on_record(
    switchboard: Served, upstream: Upstream, wire: Wire
) -> None:
    packed = gzip.compress(json.dumps({"hoge": ["val"] * 1000}).encode())

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})

    upstream.handler = answer
    name = await connect(switchboard, upstream.url)
    answered = await wire.ask("GET", f"/proxy/{name}/", ["Accept-Encoding: gzip"])
    assert answered.body == packed
    assert answered.header("content-encoding") == "gzip"
    call = await opened(switchboard, answered.header("x-switchboard-call"))
    body = call["response"]["body"]
    assert (body["json"], body["size"]) == ({"hoge": ["val"] * 1000}, len(packed))


async def test_a_chunked_upload_goes_on_in_chunks(switchboard: Served, upstream: Upstream, wire: Wire) -> None:
    name = await connect(switchboard, upstream.url)
    await wire.send(wire.head("PUT", f"/proxy/{name}/", ["Transfer-Encoding: chunked"]))
    for piece in (b"hello", b" ", b"world"):
        await wire.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    await wire.send(b"0\r\n\r\n")
    answered = await wire.answer()
    assert (answered.status, upstream.seen[0].body) == (200, b"hello world")
    assert upstream.seen[0].header("transfer-encoding") == "chunked"
    call = await opened(switchboard, answered.header("x-switchboard-call"))
    assert call["request"]["body"]["size"] == 11


# When the upstream goes


BROKEN = {
    "in the body, of a known length": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello",
    "in the body, chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "in a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhello",
    "before the body": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
    "in an SSE stream": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n"
    b"9\r\ndata: 1\n\n\r\n",
}


@pytest.mark.parametrize("hard", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("reply", BROKEN.values(), ids=BROKEN.keys())
async def test_an_upstream_that_goes_in_mid_body_breaks_the_callers_transfer(
    switchboard: Served, wire: Wire, reply: bytes, hard: bool
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await asyncio.sleep(0.05)
        if hard:
            reset_on_close(writer.get_extra_info("socket"))
            writer.transport.abort()

    async with raw_upstream(answer) as url:
        name = await connect(switchboard, url)
        with pytest.raises(Broken, match="mid-body"):
            await wire.ask("GET", f"/proxy/{name}/")
    call = await record(switchboard, name)
    assert (call["state"], call["reason"], call["status"]) == ("failed", "reset", 200)


@pytest.mark.parametrize("reply", [BROKEN["in the body, chunked"], BROKEN["in the body, of a known length"]])
async def test_to_http_1_0_a_broken_answer_is_no_clean_end_either(
    switchboard: Served, wire: Wire, reply: bytes
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await asyncio.sleep(0.05)

    async with raw_upstream(answer) as url:
        name = await connect(switchboard, url)
        await wire.send(wire.head("GET", f"/proxy/{name}/").replace(b"HTTP/1.1", b"HTTP/1.0"))
        head = await wire.answer_head()
        ended_cleanly = head.header("content-length") is None
        try:
            rest = await wire.reader.read()
        except ConnectionResetError:
            ended_cleanly = False
        else:
            assert rest == b"hello"
    assert not ended_cleanly


async def test_an_upstream_that_stops_in_mid_body_breaks_the_callers_transfer(switchboard: Served, wire: Wire) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")
        await reader.read()

    async with raw_upstream(answer) as url:
        name = await connect(switchboard, url, policy={"idle_seconds": 0.2})
        with pytest.raises(Broken, match="mid-body"):
            await wire.ask("GET", f"/proxy/{name}/")
    call = await record(switchboard, name)
    assert (call["state"], call["reason"]) == ("failed", "idle_timeout")


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\nx\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


async def test_a_stream_has_a_total_time_where_it_asks_for_one(switchboard: Served, wire: Wire) -> None:
    async with raw_upstream(drip) as url:
        name = await connect(switchboard, url)
        with pytest.raises(Broken, match="mid-body"):
            await wire.ask("GET", f"/proxy/{name}/", ["X-Switchboard-Total-Seconds: 0.4"])
    call = await record(switchboard, name)
    assert (call["state"], call["reason"]) == ("failed", "total_timeout")
    assert 0.3 < call["duration_seconds"] < 2


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon", "86401", ""])
async def test_a_total_time_that_is_none_is_refused(
    switchboard: Served, upstream: Upstream, wire: Wire, seconds: str
) -> None:
    name = await connect(switchboard, upstream.url)
    answered = await wire.ask("GET", f"/proxy/{name}/", [f"X-Switchboard-Total-Seconds: {seconds}"])
    assert is_problem(answered, 400, "invalid_total_seconds")
    assert upstream.seen == []


# What is sent again


class Tokens:
    """An API and its token endpoint: only the newest token is good, and the first never was."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.issued = 0
        upstream.handler = self.answer

    async def answer(self, request: web.Request) -> web.Response:
        if request.path == "/token":
            self.issued += 1
            return web.json_response({"access_token": f"token-{self.issued}", "token_type": "bearer"})
        good = request.headers.get("Authorization") == f"Bearer token-{max(self.issued, 2)}"
        return web.json_response({"good": good}, status=200 if good else 401)

    @property
    def bodies(self) -> list[bytes]:
        return [seen.body for seen in self.upstream.seen if seen.path != "/token"]

    def auth(self) -> dict[str, str]:
        url = f"{self.upstream.url}/token"
        given = {"token_url": url, "client_id": "me", "client_secret": "very-secret"}
        return {"scheme": "oauth2", "grant": "client_credentials", **given}


async def test_a_small_body_is_sent_again_with_a_new_token(switchboard: Served, upstream: Upstream, wire: Wire) -> None:
    tokens = Tokens(upstream)
    name = await connect(switchboard, upstream.url, auth=tokens.auth())
    answered = await wire.ask("POST", f"/proxy/{name}/", body=b"x" * 65536)
    assert answered.status == 200
    assert tokens.bodies == [b"x" * 65536] * 2
    call = await opened(switchboard, answered.header("x-switchboard-call"))
    assert [(one["status"], one["token_generation"]) for one in call["attempts"]] == [(401, 1), (200, 2)]


async def test_a_streamed_body_is_not_sent_again_but_the_next_call_has_a_new_token(
    switchboard: Served, upstream: Upstream, wire: Wire
) -> None:
    tokens = Tokens(upstream)
    name = await connect(switchboard, upstream.url, auth=tokens.auth())
    answered = await wire.ask("POST", f"/proxy/{name}/", body=b"x" * 65537)
    assert (answered.status, answered.header("x-switchboard-source")) == (401, "upstream")
    assert tokens.bodies == [b"x" * 65537]
    call = await opened(switchboard, answered.header("x-switchboard-call"))
    assert [one["status"] for one in call["attempts"]] == [401]
    for _ in range(50):
        if tokens.issued == 2:
            break
        await asyncio.sleep(0.02)
    assert (await wire.ask("POST", f"/proxy/{name}/", body=b"x" * 65537)).status == 200
    assert tokens.issued == 2


# What the gateway says itself


async def test_a_gateways_error_says_where_it_comes_from(switchboard: Served, upstream: Upstream, wire: Wire) -> None:
    name = await connect(switchboard, upstream.url)
    paused = await connect(switchboard, upstream.url)
    await asyncio.to_thread(switchboard.request, "PATCH", f"/api/connections/{paused}", {"state": "paused"})
    for target, headers, status, code in (
        ("/proxy/nobody/", [], 404, "unknown_connection"),
        ("/proxy/%2e%2e/", [], 404, "unknown_connection"),
        (f"/proxy/{name}/", ["Authorization: Bearer wrong"], 401, "invalid_key"),
        (f"/proxy/{name}/", ["Authorization: Basic eDp5"], 401, "invalid_key"),
        (f"/proxy/{name}/../x", [], 400, "dot_segment"),
        (f"/proxy/{name}/%zz", [], 400, "invalid_path"),
        (f"/proxy/{paused}/", [], 409, "connection_paused"),
    ):
        assert is_problem(await wire.ask("GET", target, headers), status, code), target
        head = await wire.ask("HEAD", target, headers)
        assert (head.status, head.body, head.header("x-switchboard-source")) == (status, b"", "gateway")
    assert upstream.seen == []
    assert (await wire.ask("GET", f"/proxy/{name}/")).status == 200  # on the same connection as all of them


FAILING = {
    "nobody listens": (None, 502, "connect_failed"),
    "no answer": (b"", 502, "reset"),
    "no HTTP": (b"SSH-2.0-nothing\r\n\r\n", 502, "protocol_error"),
    "a status that is none": (b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n", 502, "protocol_error"),
    "silence": (b"wait", 504, "first_byte_timeout"),
}


@pytest.mark.parametrize(("reply", "status", "code"), FAILING.values(), ids=FAILING.keys())
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_failed_call_is_a_gateway_error_with_its_id(
    switchboard: Served, wire: Wire, reply: bytes | None, status: int, code: str, method: str
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if reply == b"wait":
            await reader.read()
        elif reply:
            writer.write(reply)

    async with raw_upstream(answer) as url:
        there = url if reply is not None else "http://127.0.0.1:1"
        name = await connect(switchboard, there, policy={"first_byte_seconds": 0.2})
        for _ in range(2):
            answered = await wire.ask(method, f"/proxy/{name}/", body=b"{}" if method == "POST" else None)
            assert is_problem(answered, status, code)
            call = await opened(switchboard, answered.header("x-switchboard-call"))
            assert (call["state"], call["reason"], call["status"]) == ("failed", code, None)
            tried_again = method == "GET" and code in ("connect_failed", "reset")
            assert len(call["attempts"]) == (3 if tried_again else 1)


async def test_the_connections_own_query_key_wins_over_one_of_the_callers(client: Any, upstream: Upstream) -> None:
    auth = {"scheme": "api_key", "in": "query", "name": "key", "value": "own-secret-key"}
    form = {"name": "q", "base_url": upstream.url, "policy": {"allow_private": True}, "auth": auth}
    assert (await client.post("/api/connections", json=form)).status_code == 201
    assert (await client.get("/proxy/q/items?a=%2f&k%65y=theirs&b=2")).status_code == 200
    assert upstream.seen[0].path == "/items?a=%2f&b=2&key=own-secret-key"


# Loops and redirects


async def instance_of(switchboard: Served, upstream: Upstream, wire: Wire) -> str:
    """The installation's name, as an upstream sees it."""
    name = await connect(switchboard, upstream.url)
    await wire.ask("GET", f"/proxy/{name}/")
    return (upstream.seen[-1].header("via") or "").removeprefix("1.1 ")


async def test_who_sends_is_named_after_those_before(switchboard: Served, upstream: Upstream, wire: Wire) -> None:
    name = await connect(switchboard, upstream.url)
    await wire.ask("GET", f"/proxy/{name}/", ["Via: 1.0 first", "Via: 1.1 second (their proxy)"])
    sent = [value for key, value in upstream.seen[0].headers if key.lower() == "via"]
    assert sent[:2] == ["1.0 first", "1.1 second (their proxy)"]
    assert len(sent) == 3
    assert sent[2].startswith("1.1 sb-")


@pytest.mark.parametrize("form", ["1.1 {}", "1.0 other, 1.1 {}", "1.1 {} (us)", "1.1 a,1.1 {},1.1 b"])
async def test_a_request_that_came_through_here_before_is_refused(
    switchboard: Served, upstream: Upstream, wire: Wire, form: str
) -> None:
    own = await instance_of(switchboard, upstream, wire)
    seen = len(upstream.seen)
    for path in ("/proxy/any/", "/api/connections"):
        answered = await wire.ask("GET", path, [f"Via: {form.format(own)}", "Via: 1.1 last"])
        assert (answered.status, json.loads(answered.body)["code"]) == (508, "loop_detected")
    assert len(upstream.seen) == seen
    answered = await wire.ask("GET", "/api/connections", [f"Via: 1.1 {own}0"])
    assert answered.status == 200


async def test_a_connection_to_the_server_itself_is_refused(switchboard: Served, wire: Wire) -> None:
    own = {"name": "self", "base_url": switchboard.url, "policy": {"allow_private": True}}
    status, problem = await asyncio.to_thread(switchboard.request, "POST", "/api/connections", own)
    assert (status, problem["code"]) == (422, "egress_denied")
    assert "own_listener" in problem["errors"][0]["detail"]
    assert "/32:" in problem["errors"][0]["detail"]


async def redirected(upstream: Upstream, location: str, status: int = 302) -> None:
    async def redirect(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": location.format(upstream.url)})

    upstream.handler = redirect


@pytest.mark.parametrize(
    ("location", "seen"),
    [
        ("{}/v1/items/2?a=b#c", "/proxy/{}/items/2?a=b#c"),
        ("/v1/items/2", "/proxy/{}/items/2"),
        ("2", "/proxy/{}/items/2"),
        ("{}/elsewhere", None),
        ("https://login.example.com/?next=/v1", "https://login.example.com/?next=/v1"),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 201])
async def test_a_redirect_below_the_base_url_leads_back_through_the_proxy(
    switchboard: Served, upstream: Upstream, wire: Wire, location: str, seen: str | None, status: int
) -> None:
    name = await connect(switchboard, upstream.url)
    await redirected(upstream, location, status)
    answered = await wire.ask("GET", f"/proxy/{name}/items/1")
    assert answered.status == status
    untouched = location.format(upstream.url)
    assert answered.header("location") == (untouched if status == 201 or seen is None else seen.format(name))
    assert answered.header("x-upstream-location") is None
    call = await opened(switchboard, answered.header("x-switchboard-call"))
    assert ["location", untouched] in [[key.lower(), value] for key, value in call["response"]["headers"]]
    assert len(upstream.seen) == 1


@pytest.mark.parametrize(
    ("location", "seen"),
    [("/v1/items/2", "/proxy/here/items/2"), ("/elsewhere", None), ("https://login.example.com/", None)],
)
async def test_a_browser_is_not_led_away_by_a_redirect(
    person: Asker, running: Services, upstream: Upstream, location: str, seen: str | None
) -> None:
    given = {"name": "here", "base_url": f"{upstream.url}/v1", "policy": {"allow_private": True}}
    await connections.create(running, ConnectionForm.model_validate(given))
    await redirected(upstream, location)
    answered = await person.get("/proxy/here/items/1")
    assert answered.status_code == 302
    assert answered.headers.get("Location") == seen
    foreign = None if seen else urljoin(upstream.url, location)
    assert answered.headers.get("X-Upstream-Location") == foreign
