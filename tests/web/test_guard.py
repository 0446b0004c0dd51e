"""What the guard passes and what it refuses, on ASGI scopes; and that no spelling of a path gets around a rule."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
from quart import Quart

from quart_app import create_app
from quart_app.settings import Settings, load_settings
from quart_app.web import ROUTES
from quart_app.web.access import METRICS, PUBLIC, SIGN_IN
from quart_app.web.guard import METHODS, Guard
from tests.upstream import Upstream
from tests.web.conftest import OWN_PAGE, Asker

HOST = (b"host", b"localhost")


@pytest.fixture
def database_url() -> str:
    """SQLite only: the guard knows no database."""
    return ""


def settings_of(**options: str) -> Settings:
    return load_settings({"data": "/nonexistent", **options}, {})


async def refusal(
    scope: dict[str, Any], settings: Settings | None = None
) -> tuple[int, str, dict[bytes, bytes]] | None:
    """What the guard answers to a scope: status, code and headers; None when it passes it on."""
    passed: list[Any] = []
    sent: list[dict[str, Any]] = []

    async def app(*_: Any) -> None:
        passed.append(True)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    whole = {"type": "http", "http_version": "1.1", "method": "GET", "raw_path": b"/healthz", "query_string": b""}
    whole |= {"headers": [HOST], "server": ("127.0.0.1", 8000)}
    await Guard(app, settings or settings_of())(whole | scope, None, send)
    if passed:
        assert not sent
        return None
    start, body = sent
    problem = msgspec.json.decode(body["body"])
    assert problem["status"] == start["status"]
    return start["status"], problem["code"], dict(start["headers"])


LONG = b"x" * 8 * 1024
REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("HTTP/2 in clear", {"http_version": "2"}, 505, "http_version_not_supported"),
    ("absolute target", {"raw_path": b"http://evil.example/"}, 400, "bad_request_target"),
    ("asterisk", {"raw_path": b"*", "method": "OPTIONS"}, 400, "bad_request_target"),
    ("no slash", {"raw_path": b"noslash"}, 400, "bad_request_target"),
    ("empty target", {"raw_path": b""}, 400, "bad_request_target"),
    ("long path", {"raw_path": b"/" + LONG}, 414, "uri_too_long"),
    ("long query", {"query_string": LONG}, 414, "uri_too_long"),
    ("a key in the query", {"query_string": b"k=sb_0123456789ab_0"}, 400, "key_in_query"),
    ("no host", {"headers": []}, 400, "host_required"),
    ("empty host", {"headers": [(b"host", b"")]}, 400, "host_required"),
    ("two hosts", {"headers": [HOST, HOST]}, 400, "duplicate_header"),
    ("host with user", {"headers": [(b"host", b"a@localhost")]}, 400, "invalid_host"),
    ("host with path", {"headers": [(b"host", b"localhost/x")]}, 400, "invalid_host"),
    ("host list", {"headers": [(b"host", b"localhost, evil.example")]}, 400, "invalid_host"),
    ("long port", {"headers": [(b"host", b"localhost:123456")]}, 400, "invalid_host"),
    ("foreign host", {"headers": [(b"host", b"evil.example")]}, 421, "misdirected_request"),
    ("rebinding host", {"headers": [(b"host", b"127.0.0.1.evil.example")]}, 421, "misdirected_request"),
    ("trailing dot", {"headers": [(b"host", b"localhost.")]}, 421, "misdirected_request"),
    ("other port", {"headers": [(b"host", b"localhost:8001")]}, 421, "misdirected_request"),
    (
        "two lengths",
        {"headers": [HOST, (b"content-length", b"1"), (b"transfer-encoding", b"chunked")]},
        400,
        "two_lengths",
    ),
    *(
        (f"two {name.decode()}", {"headers": [HOST, (name, b"1"), (name, b"1")]}, 400, "duplicate_header")
        for name in (b"content-length", b"content-type", b"authorization", b"transfer-encoding", b"expect")
    ),
    ("101 headers", {"headers": [HOST, *[(b"a", b"b")] * 100]}, 431, "too_many_headers"),
    ("32 KiB of headers", {"headers": [HOST, (b"a", b"x" * 32 * 1024)]}, 431, "headers_too_large"),
    ("expectation", {"headers": [HOST, (b"expect", b"banana")]}, 417, "expectation_failed"),
    *(
        ("method", {"method": method}, 405, "method_not_allowed")
        for method in ("TRACE", "CONNECT", "KILROY", "A" * 100)
    ),
    ("CONNECT to an authority", {"method": "CONNECT", "raw_path": b"a:443"}, 405, "method_not_allowed"),
    *(("no method", {"method": method}, 400, "invalid_method") for method in ("", "G T", "G\r\nT", "GÉT")),
]


@pytest.mark.parametrize(("what", "scope", "status", "code"), REFUSED, ids=[row[0] for row in REFUSED])
async def test_what_may_not_be_asked_is_refused_and_the_connection_closed(
    what: str, scope: dict[str, Any], status: int, code: str
) -> None:
    answer = await refusal(scope)
    assert answer is not None
    assert answer[:2] == (status, code)
    assert answer[2][b"connection"] == b"close"
    assert answer[2][b"content-type"] == b"application/problem+json"
    assert (b"allow" in answer[2]) == (status == 405)


PASSED: list[tuple[str, dict[str, Any]]] = [
    *((method, {"method": method}) for method in sorted(METHODS)),
    ("HTTP/1.0", {"http_version": "1.0"}),
    ("the longest target", {"raw_path": b"/" + LONG[:-1]}),
    ("100 headers", {"headers": [HOST, *[(b"a", b"b")] * 99]}),
    ("the most header bytes", {"headers": [HOST, (b"a", b"x" * (32 * 1024 - 14))]}),
    ("100-continue", {"headers": [HOST, (b"expect", b"100-Continue")]}),
    ("chunked", {"headers": [HOST, (b"transfer-encoding", b"chunked")]}),
    ("two cookies", {"headers": [HOST, (b"cookie", b"a=1"), (b"cookie", b"b=2")]}),
    ("a name of sb_", {"query_string": b"name=sb_orders"}),
    *(
        (host.decode(), {"headers": [(b"host", host)]})
        for host in (b"localhost:8000", b"127.0.0.1", b"127.0.0.1:8000", b"[::1]:8000", b"LocalHost:8000")
    ),
]


@pytest.mark.parametrize(("what", "scope"), PASSED, ids=[row[0] for row in PASSED])
async def test_what_is_sound_passes(what: str, scope: dict[str, Any]) -> None:
    assert await refusal(scope) is None


@pytest.mark.parametrize(
    ("options", "host", "passes"),
    [
        ({"hosts": "Switch.example, other.example:81"}, b"switch.example", True),
        ({"hosts": "Switch.example, other.example:81"}, b"switch.example:8000", True),
        ({"hosts": "Switch.example, other.example:81"}, b"other.example:81", True),
        ({"hosts": "Switch.example, other.example:81"}, b"other.example", False),
        ({"public_url": "https://switch.example/"}, b"switch.example", True),
        ({"public_url": "https://switch.example/"}, b"a.switch.example", False),
        ({"public_url": "https://switch.example:8443"}, b"switch.example:8443", True),
        ({"bind": "10.1.2.3:8000"}, b"10.1.2.3:8000", True),
        ({"bind": "0.0.0.0:8000"}, b"0.0.0.0:8000", False),
        ({"bind": "0.0.0.0:8000"}, b"10.1.2.3:8000", False),
    ],
)
async def test_settings_say_which_hosts_are_answered(options: dict[str, str], host: bytes, passes: bool) -> None:
    answer = await refusal({"headers": [(b"host", host)]}, settings_of(**options))
    assert (answer is None) == passes


async def test_a_host_that_was_refused_once_is_refused_again() -> None:
    guard_settings = settings_of()
    for _ in range(2):
        assert await refusal({"headers": [(b"host", b"evil.example")]}, guard_settings) is not None


async def test_limits_are_those_of_the_settings() -> None:
    tight = settings_of(url_bytes="10", header_bytes="20", header_count="2")
    assert await refusal({"raw_path": b"/healthz/xx"}, tight) is not None
    assert await refusal({"headers": [HOST, (b"a", b"1234567")]}, tight) is not None
    assert await refusal({"headers": [HOST, (b"a", b"1"), (b"b", b"1")]}, tight) is not None
    assert await refusal({"headers": [HOST, (b"a", b"123456")]}, tight) is None


@pytest.mark.parametrize(
    ("extensions", "said"),
    [
        ({"websocket.http.response": {}}, ["websocket.http.response.start", "websocket.http.response.body"]),
        ({}, ["websocket.close"]),
    ],
)
async def test_a_websocket_is_refused_as_a_request_is(extensions: dict[str, Any], said: list[str]) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {"type": "websocket", "http_version": "1.1", "raw_path": b"/proxy/a/", "query_string": b""}
    scope |= {"headers": [(b"host", b"evil.example")], "extensions": extensions}
    await Guard(None, settings_of())(scope, None, send)
    assert [message["type"] for message in sent] == said
    assert sent[0].get("status", 1008) in (421, 1008)


async def test_a_sound_websocket_passes() -> None:
    passed: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope["type"])

    scope: dict[str, Any] = {"type": "websocket", "http_version": "1.1", "raw_path": b"/proxy/a/", "query_string": b""}
    await Guard(app, settings_of())(scope | {"headers": [HOST]}, None, None)
    assert passed == ["websocket"]


async def test_a_refusal_of_head_has_no_body_and_says_its_length() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "HEAD",
        "raw_path": b"*",
        "query_string": b"",
        "headers": [],
    }
    await Guard(None, settings_of())(scope, None, send)
    assert sent[1]["body"] == b""
    assert int(dict(sent[0]["headers"])[b"content-length"]) > 0


SPELLINGS = (
    "/{}",
    "//{}",
    "/./{}",
    "/x/../{}",
    "/%2e/{}",
    "/%2f{}",
    "/\\{}",
    "/;/{}",
    "/proxy/../{}",
    "/static/../{}",
    "/static/0/..%2f{}",
    "/docs/..%2f..%2f{}",
)


async def ask_raw(app: Quart, method: str, target: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    """A request with its target byte for byte, which a test client would tidy up first."""
    sent: list[dict[str, Any]] = []

    ended = asyncio.Event()
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            ended.set()

    pairs = [HOST, *((name.lower().encode(), value.encode()) for name, value in headers.items())]
    path, _, query = target.partition("?")
    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "headers": pairs,
    }
    scope |= {"raw_path": path.encode(), "path": unquote(path), "query_string": query.encode(), "root_path": ""}
    scope |= {"server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 9), "extensions": {}}
    async with asyncio.timeout(5):
        await app.asgi_app(scope, receive, send)  # type: ignore[arg-type]
    answered = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], answered, b"".join(message.get("body", b"") for message in sent[1:])


async def test_no_spelling_of_a_path_gets_nobody_past_its_rule(app: Quart) -> None:
    for route in ROUTES:
        if route.rule in (PUBLIC, SIGN_IN, METRICS):  # the last is public on loopback, which is where this asks from
            continue
        path = route.path.replace("<", "").replace(">", "").lstrip("/")
        for spelling in (*SPELLINGS, "/{}/", "/{}%00", "/{};x", "/{}//", "/{}?", "/{}%3F"):
            for tail in (path, path.upper(), path.replace("a", "%61", 1), path.replace("/", "//", 1)):
                status, headers, _ = await ask_raw(app, route.method, spelling.format(tail), OWN_PAGE)
                led_away = status == 303 and headers["location"] == "/sign-in"
                assert led_away or status in (401, 404, 405), (spelling, tail)


async def test_two_slashes_in_front_change_neither_the_rule_nor_the_shape_of_an_error(program: Asker) -> None:
    html = {"Accept": "text/html"}
    for path, status in (("//api/calls", 401), ("//api/absent", 404), ("///_token_refresh", 403)):
        found, headers, _ = await ask_raw(program.app, "GET", path, html)
        assert (found, headers["content-type"]) == (status, "application/problem+json"), path
    status, headers, body = await ask_raw(program.app, "GET", "//api/calls", dict(program.headers))
    assert (status, headers["cache-control"]) == (200, "no-store")
    assert msgspec.json.decode(body) == {"items": [], "next": None}


async def test_a_path_of_the_proxy_is_the_proxys_in_one_spelling_only(program: Asker, upstream: Upstream) -> None:
    form = {"name": "orders", "base_url": upstream.url, "policy": {"allow_private": True}}
    assert (await program.post("/api/connections", json=form)).status_code == 201
    codes = {
        "not_found": (
            "//proxy/orders/x",
            "/PROXY/orders/x",
            "/%70roxy/orders/x",
            "/./proxy/orders/x",
            "/proxy%2forders/x",
        ),
        "unknown_connection": (
            "/proxy//orders/x",
            "/proxy/./orders/x",
            "/proxy/%6frders/x",
            "/proxy/orders%2fx",
            "/proxy/",
        ),
    }
    for code, paths in codes.items():
        for path in paths:
            status, _, body = await ask_raw(program.app, "GET", path, dict(program.headers))
            assert (status, msgspec.json.decode(body)["code"]) == (404, code), path
    assert upstream.seen == []
    assert (await ask_raw(program.app, "GET", "/proxy/orders//x?a=%2F", dict(program.headers)))[0] == 200
    assert upstream.seen[0].path == "//x?a=%2F"


def test_the_guard_is_in_front_of_everything(tmp_path: Path) -> None:
    outermost: Any = create_app(load_settings({"data": str(tmp_path)}, {})).asgi_app
    assert isinstance(outermost, Guard)
