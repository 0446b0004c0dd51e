"""What must not work, said to a served process over a raw socket: one row for each way of getting it wrong.

Every answer is problem+json of at most 2 KiB that repeats nothing of the input (MARKER), and none is a 5xx. Where
h11 refuses below ASGI the body is empty and the connection is closed: such a row has no code.
"""

import asyncio
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypercorn.asyncio import serve

from quart_app import accounts, create_app
from quart_app.models import Key
from quart_app.services import open_services
from quart_app.serving import config
from quart_app.settings import load_settings
from tests.served import Served, free_port

MARKER = "kilroy-was-here"
MOST_BYTES = 2048
KEY_OF_THE_API = "the-real-key-of-the-api"

# --- what is sent: <host>, <key>, <read>, <revoked>, <expired> and <cookie> are filled in


def request(line: str, *headers: str, body: bytes = b"", host: bool = True, close: bool = True) -> bytes:
    lines = [
        f"{line} HTTP/1.1",
        *(["Host: <host>"] if host else []),
        *(["Connection: close"] if close else []),
        *headers,
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def get(target: str, *headers: str, key: str = "Authorization: Bearer <key>") -> bytes:
    return request(f"GET {target}", *filter(None, [key]), *headers)


def post(target: str, body: bytes | dict[str, Any], *headers: str, media: str = "application/json") -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    said = ["Authorization: Bearer <key>", f"Content-Length: {len(content)}", *headers]
    if media:
        said.append(f"Content-Type: {media}")
    return request(f"POST {target}", *said, body=content)


def call(**parts: Any) -> bytes:
    return post("/api/calls", {"connection": "echo"} | parts)


def call_with(raw: bytes) -> bytes:
    """A call with raw JSON in it."""
    return post("/api/calls", b'{"connection": "echo", "json": ' + raw + b"}")


def connection(base_url: str = "https://api.example.com", **parts: Any) -> bytes:
    return post("/api/connections", {"name": "new", "base_url": base_url} | parts)


def from_page(line: str, *headers: str) -> bytes:
    """A request as a signed-in browser sends it, with the script's own header."""
    return request(line, "Cookie: <cookie>", "X-Requested-By: switchboard", *headers)


@dataclass(frozen=True)
class Row:
    """`number` is the row of the list of bad inputs; no `code`: h11 answers below ASGI, with an empty body."""

    number: int
    what: str
    sent: bytes
    status: int
    code: str = ""
    pointers: tuple[str, ...] = ()
    says: str = ""
    headers: dict[str, str] = field(default_factory=dict)


def deep(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


CLOSED = {"connection": "close"}
OWN = "Origin: http://<host>"

JSON_ROWS = [
    Row(1, "malformed", call_with(b'{"a":'), 400, "invalid_json", says="line 1 column"),
    *(Row(2, f"{n} levels deep", post("/api/calls", deep(n)), 400, "json_too_deep") for n in (65, 2000, 100_000)),
    Row(3, "an integer of 5,000 digits", call_with(b"1" * 5000), 400, "number_out_of_range"),
    *(
        Row(4, f"2^{n}", connection(policy={"concurrency": 2**n}), 422, "out_of_range", ("/policy/concurrency",))
        for n in (63, 70)
    ),
    *(Row(5, n, call_with(n.encode()), 400, "invalid_number") for n in ("NaN", "Infinity", "-Infinity", "1e999")),
    Row(6, "the same key twice", call_with(b'{"kilroy-was-here": 1, "kilroy-was-here": 2}'), 400, "duplicate_key"),
    Row(7, "not UTF-8", call_with(b'"\xff\xfe"'), 400, "invalid_encoding"),
    *(
        Row(8, encoding, post("/api/calls", '{"connection": "echo"}'.encode(encoding)), 400, "invalid_encoding")
        for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-8-sig")
    ),
    Row(9, "half a surrogate pair", call_with(rb'"\ud800"'), 400, "invalid_unicode"),
    Row(9, "half a surrogate pair in a key", call_with(rb'{"\udfff": 1}'), 400, "invalid_unicode"),
    Row(10, "NUL", call_with(rb'"a\u0000b"'), 400, "nul_not_allowed"),
    Row(10, "NUL in a name", post("/api/connections", b'{"name": "a\\u0000"}'), 400, "nul_not_allowed"),
    Row(
        11,
        "wrong types in a call",
        call(connection=5, method=True, path=None, query=7, headers="x", total_seconds="5", idempotency_key=[]),
        422,
        "invalid_input",
        ("/connection", "/method", "/path", "/query", "/headers", "/total_seconds", "/idempotency_key"),
    ),
    Row(
        11,
        "wrong types in a connection",
        connection(
            policy={"connect_seconds": "x", "attempts": True, "record_bodies": 1, "total_seconds": None},
            tags={},
            metadata=[],
        ),
        422,
        "invalid_input",
        (
            "/policy/connect_seconds",
            "/policy/attempts",
            "/policy/record_bodies",
            "/policy/total_seconds",
            "/tags",
            "/metadata",
        ),
    ),
    Row(11, "a list for an object", post("/api/calls", b"[]"), 422, "invalid_input", ("",)),
    Row(11, "true as a query's value", call(query={"a": True}), 422, "invalid_input", ("/query/0/1",)),
    Row(12, "an unknown field", call(pathh="/"), 422, "unknown_field", ("/pathh",), "did you mean path?"),
    Row(13, "no body", post("/api/calls", b""), 400, "body_required"),
    Row(13, "no media type", post("/api/calls", b"{}", media=""), 415, "unsupported_media_type"),
    Row(13, "text", post("/api/calls", b"{}", media="text/plain"), 415, "unsupported_media_type"),
]

MESSAGE_ROWS = [
    Row(
        14,
        "a body that is said to be too large: answered before any of it is sent",
        request("POST /api/calls", "Authorization: Bearer <key>", "Content-Length: 99999999", close=False),
        413,
        "body_too_large",
        headers=CLOSED,
    ),
    Row(
        15,
        "a body too large in chunks",
        request(
            "POST /api/calls",
            "Authorization: Bearer <key>",
            "Transfer-Encoding: chunked",
            body=b"a00001\r\n" + b"x" * 0xA00001 + b"\r\n0\r\n\r\n",
        ),
        413,
        "body_too_large",
        headers=CLOSED,
    ),
    Row(
        18,
        "Content-Length and Transfer-Encoding",
        request("POST /api/calls", "Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n", close=False),
        400,
        "two_lengths",
        headers=CLOSED,
    ),
    Row(18, "TE xchunked", request("POST /api/calls", "Transfer-Encoding: xchunked"), 501),
    Row(18, "TE gzip, chunked", request("POST /api/calls", "Transfer-Encoding: gzip, chunked"), 501),
    Row(18, "two lengths", request("POST /api/calls", "Content-Length: 5", "Content-Length: 6", body=b"x" * 6), 400),
    Row(18, "a length below zero", request("POST /api/calls", "Content-Length: -1"), 400),
    Row(
        18,
        "a chunk without a size",
        request("POST /proxy/echo/x", "Authorization: Bearer <key>", "Transfer-Encoding: chunked", body=b"zz\r\n"),
        400,
    ),
    Row(19, "two Hosts", request("GET /healthz", "Host: <host>"), 400),
    Row(19, "no Host", request("GET /healthz", host=False), 400),
    Row(19, "a Host that is none", request("GET /healthz", "Host: a b@c", host=False), 400, "invalid_host"),
    Row(19, "a foreign Host", request("GET /healthz", f"Host: {MARKER}", host=False), 421, "misdirected_request"),
    Row(19, "a foreign port", request("GET /healthz", "Host: localhost:1", host=False), 421, "misdirected_request"),
    Row(20, "another server's URL", get(f"http://{MARKER}/healthz"), 400, "bad_request_target"),
    *(Row(21, target, get(target), 400, "bad_request_target") for target in ("?x", "*", "noslash")),
    *(
        Row(
            22,
            line,
            request(line),
            405,
            "method_not_allowed",
            headers={"allow": "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"},
        )
        for line in ("CONNECT kilroy-was-here:443", "CONNECT /healthz", "TRACE /healthz")
    ),
    Row(23, "an unknown method", request("KILROY /healthz"), 405, "method_not_allowed"),
    Row(23, "a method of 100 letters", request(f"{'A' * 100} /healthz"), 405, "method_not_allowed"),
    Row(23, "a method with CR in it", request("G\rT /healthz"), 400),
    Row(
        24,
        "a method that this path does not take",
        request("DELETE /api/calls", "Authorization: Bearer <key>"),
        405,
        "method_not_allowed",
        headers={"allow": "GET, HEAD, OPTIONS, POST"},
    ),
    Row(25, "an unknown path", get(f"/{MARKER}"), 404, "not_found"),
    Row(25, "an unknown path of the API", get(f"/api/{MARKER}"), 404, "not_found"),
    Row(25, "an unknown connection", get(f"/api/connections/{MARKER}"), 404, "unknown_connection"),
    Row(25, "an unknown connection of the proxy", get(f"/proxy/{MARKER}/x"), 404, "unknown_connection"),
    Row(25, "an unknown connection of a call", call(connection=MARKER), 404, "unknown_connection"),
    *(
        Row(26, f"{place}{name[:20]}", get(f"{place}{name}"), 404, code)
        for name in ("a" * 300, "%00", "echo%00", "%F0%9F%98%80", "ECHO", "caf%C3%A9", "cafe%CC%81", "echo%0A")
        for place, code in (("/api/connections/", "unknown_connection"), ("/proxy/", "unknown_connection"))
    ),
    Row(26, "a path as a name", get("/api/connections/../x"), 404, "not_found"),
    Row(26, "a path as a name of the proxy", get("/proxy/../x"), 404, "unknown_connection"),
]

PROXY_ROWS = [
    *(
        Row(27, path, get(f"/proxy/echo/a/{path}"), 400, "dot_segment")
        for path in ("..", "../b", ".", "%2e%2e", ".%2e/b", "..;/b", "%2E./", "..%2fb", "..%5cb")
    ),
    *(
        Row(30, path, get(f"/proxy/echo/{path}"), 400, "invalid_path")
        for path in (f"#{MARKER}", '"', "<kilroy-was-here>", "%zz", "a%", "\\", "?a=%zz", '?a="')
    ),
    Row(30, "a raw space", get("/proxy/echo/a b"), 400),
    Row(31, "a byte over 127 in the path", get("/proxy/echo/\xe9"), 400),
    Row(31, "a byte over 127 in the query", get("/api/calls?q=\xe9"), 400),
    Row(34, "a query of 60 KB", get(f"/proxy/echo/x?{'q' * 60_000}"), 414, "uri_too_long"),
    Row(34, "10,000 parameters", get(f"/api/calls?{'a=1&' * 10_000}"), 414, "uri_too_long"),
    Row(34, "a query of 200 KB", get(f"/api/calls?{'q' * 200_000}"), 431),
    *(
        Row(35, repr(value), call(headers={"X-Note": value}), 422, "invalid_header_value", ("/headers/0",))
        for value in ("a\r\nB: kilroy-was-here", "a\nb", "a\rb", "a\x7fb", "x" * 100_000)
    ),
    Row(35, "a connection's own", connection(headers={"X": "a\r\nB: c"}), 422, "invalid_header_value", ("/headers/X",)),
    Row(35, "NUL", call(headers={"X-Note": "a\0b"}), 400, "nul_not_allowed"),
    *(
        Row(36, repr(name[:9]), call(headers=[["X-A", "1"], [name, "1"]]), 422, "invalid_header_name", ("/headers/1",))
        for name in ("kilroy was here", "a:b", "", "é", "a\r\n", "n" * 200)
    ),
    Row(36, "500 headers", call(headers=[[f"x-{n}", "1"] for n in range(500)]), 422, "invalid_input", ("/headers",)),
    Row(36, "101 headers", get("/healthz", *(f"x-{n}: 1" for n in range(101))), 431, "too_many_headers"),
    Row(36, "40 KB of headers", get("/healthz", f"x-a: {'a' * 40_000}"), 431, "headers_too_large"),
    *(
        Row(37, f"a connection's own {name}", connection(headers={name: "x"}), 422, "invalid_header_name")
        for name in ("Host", "Content-Length", "Transfer-Encoding", "Connection", "Authorization", "Cookie")
    ),
    Row(38, "not ASCII", call(headers={"X-Note": "é"}), 422, "invalid_header_value", ("/headers/0",)),
    Row(38, "not ASCII, through the proxy", get("/proxy/echo/x", "X-Note: \xe9"), 400, "invalid_header_value"),
]

BAD_URLS = (
    "file:///etc/passwd",
    "gopher://kilroy-was-here",
    "ftp://kilroy-was-here/",
    "unix:///run/x.sock",
    "javascript:alert(1)",
    "kilroy-was-here",
    "//kilroy-was-here",
    "http:///x",
    "http://user:kilroy-was-here@example.com",
    "http://example.com/#kilroy-was-here",
    "http://example.com/?a=kilroy-was-here",
    "http://example.com:0",
    "http://example.com:99999",
    "http://example.com:kilroy-was-here",
    "http://example.com.",
    "http://ехample.com",
    f"http://{'a' * 300}.com",
    "http://[fe80::1%25eth0]",
    "http://[kilroy-was-here]",
    "http://exa mple.com",
    "http://example.com/../kilroy-was-here",
    "http://example.com\\@evil.com",
    # the forms in which loopback hides
    "http://2130706433",
    "http://0177.0.0.1",
    "http://0x7f.1",
    "http://127.1",
    "http://0",
    "http://①②⑦.0.0.1",
    "http://127。0。0。1",
    "http://localhost.",
)
OUTSIDE_RULES = (
    "http://[::]",
    "http://0.0.0.0",
    "http://169.254.169.254",
    "http://[fe80::1]",
    "http://[64:ff9b::7f00:1]",
)
INSIDE = (
    "http://127.0.0.1",
    "http://[::ffff:127.0.0.1]",
    "http://[::1]",
    "http://localhost",
    "http://10.0.0.8",
    "http://a.localhost",
)

URL_ROWS = [
    *(
        Row(39 if n < 22 else 40, url, connection(url), 422, "invalid_input", ("/base_url",))
        for n, url in enumerate(BAD_URLS)
    ),
    *(Row(40, url, connection(url), 422, "egress_denied", ("/base_url",), "egress rule ") for url in OUTSIDE_RULES),
    *(
        Row(40, url, connection(url), 422, "egress_denied", ("/policy/allow_private",), "egress rule ")
        for url in INSIDE
    ),
]

ACCESS_ROWS = [
    Row(42, "a key and a cookie", get("/api/calls", "Cookie: <cookie>"), 400, "two_credentials"),
    Row(42, "a key and a cookie, proxy", get("/proxy/echo/x", "Cookie: <cookie>"), 400, "two_credentials"),
    Row(42, "two keys", get("/api/calls", "Authorization: Bearer <key>"), 400, "duplicate_header"),
    *(
        Row(42, f"{place} {given}", get(place, key=f"Authorization: {given}"), 401, "invalid_key")
        for given in ("Bearer", "Bearer ", "Bearer kilroy-was-here", "Basic a2lscm95", "<key>", "Bearer <key> x")
        for place in ("/api/calls", "/proxy/echo/x")
    ),
    *(
        Row(42, f"a key in the query of {place}", get(f"{place}?access_token=<key>", key=""), 400, "key_in_query")
        for place in ("/api/calls", "/proxy/echo/x", "/healthz")
    ),
    *(
        Row(43, which, get("/api/calls", key=f"Authorization: Bearer <{which}>"), 401, "invalid_key")
        for which in ("revoked", "expired")
    ),
    Row(43, "wrong scope", get("/proxy/echo/x", key="Authorization: Bearer <read>"), 403, "insufficient_scope"),
    *(
        Row(44, what, from_page("POST /api/sign-ins", *headers), 403, "cross_origin")
        for what, headers in {
            "cross-site": ["Sec-Fetch-Site: cross-site", "Origin: https://kilroy-was-here"],
            "same site, other port": ["Sec-Fetch-Site: same-site", "Origin: http://127.0.0.1:1"],
            "same site, without Sec-Fetch-Site": ["Origin: http://127.0.0.1:1"],
            "no Origin": [],
            "an empty Origin": ["Origin:"],
            "Origin null": ["Origin: null"],
            "a foreign Referer": ["Referer: https://kilroy-was-here/x"],
            "foreign, though it says same-origin": ["Sec-Fetch-Site: same-origin", "Origin: https://kilroy-was-here"],
        }.items()
    ),
    *(
        Row(45, what, from_page("GET /proxy/echo/x", OWN, f"Sec-Fetch-Dest: {what}"), 403, "navigation_not_allowed")
        for what in ("document", "iframe", "script", "style", "worker", "serviceworker", "object", "image")
    ),
    Row(
        45,
        "from the address bar",
        request("GET /proxy/echo/x", "Cookie: <cookie>", "Sec-Fetch-Site: none", "Sec-Fetch-Dest: document"),
        403,
        "navigation_not_allowed",
    ),
]

STATE = "a" * 43
CALLBACK_ROWS = [
    *(
        Row(52, what, get(f"/oauth/callback/echo?{query}", key=""), status, code)
        for what, query, status, code in [
            ("nothing at all", "", 400, "state_missing"),
            ("no state", "code=kilroy-was-here", 400, "state_missing"),
            ("an unknown state", f"code=kilroy-was-here&state={STATE}", 400, "unknown_state"),
            ("a state that is none", "code=c&state=%00kilroy-was-here", 400, "unknown_state"),
            ("an error for an unknown state", f"error=kilroy-was-here&state={STATE}", 400, "unknown_state"),
            ("both code and error", f"code=c&error=access_denied&state={STATE}", 400, "code_and_error"),
            ("a parameter twice", f"code=c&code=kilroy-was-here&state={STATE}", 400, "duplicate_parameter"),
            ("a code of 5 KB", f"code={'c' * 5000}&state={STATE}", 400, "invalid_code"),
            ("a code of 10 KB", f"code={'c' * 10_000}&state={STATE}", 414, "uri_too_long"),
            ("bytes that are no text", f"code=%ff&state={STATE}", 400, "invalid_callback"),
            ("an address to return to", "return_to=//kilroy-was-here", 400, "state_missing"),
        ]
    ),
    Row(52, "POST", request("POST /oauth/callback/echo", "Content-Length: 0"), 405, "method_not_allowed"),
    *(
        Row(53, name, get(f"/oauth/done/{name}", key=""), 404, "not_found")
        for name in ("//kilroy-was-here", "%5Ckilroy-was-here", "https:kilroy-was-here", "%09%2F%2Fkilroy-was-here")
    ),
]

ROWS = [*JSON_ROWS, *MESSAGE_ROWS, *PROXY_ROWS, *URL_ROWS, *ACCESS_ROWS, *CALLBACK_ROWS]

# --- what is odd and passes: number, target under /proxy/echo, what the upstream gets

PASSED = [
    (27, "/a/%252e%252e/b", "/base/a/%252e%252e/b"),
    (28, "/a%2fb", "/base/a%2fb"),
    (28, "/a%2Fb%5Cc", "/base/a%2Fb%5Cc"),
    (29, "//evil.example/x", "/base//evil.example/x"),
    (29, "/http://evil.example", "/base/http://evil.example"),
    (29, "/@evil.example", "/base/@evil.example"),
    (32, "/%ff/%c0%ae", "/base/%ff/%c0%ae"),
    (33, "/a%0d%0aX:%20b?q=%0d%0aY:%20c", "/base/a%0d%0aX:%20b?q=%0d%0aY:%20c"),
]


class Echo(BaseHTTPRequestHandler):
    """An upstream that keeps each request's target and headers."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, list[tuple[str, str]]]]

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers.items()))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def echo() -> Iterator[tuple[str, list[tuple[str, list[tuple[str, str]]]]]]:
    Echo.seen = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", Echo.seen
        server.shutdown()
        thread.join()


@dataclass
class World:
    """A served process with a connection `echo`, and what fills the rows in."""

    served: Served
    seen: list[tuple[str, list[tuple[str, str]]]]
    names: dict[str, str]

    def ask(self, sent: bytes, *, hang_up: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer, read until the server closes."""
        for name, value in self.names.items():
            sent = sent.replace(f"<{name}>".encode(), value.encode())
        with socket.create_connection(("127.0.0.1", self.served.port), timeout=10) as wire:
            with suppress(ConnectionError):  # it may have answered and closed before the end
                wire.sendall(sent)
            if hang_up:
                return 0, {}, b""
            answer = b"".join(iter(lambda: wire.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(re.split(r": ?", line, maxsplit=1) for line in lines)
        return int(first.split()[1]), {name.lower(): value for name, value in headers.items()}, body


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("bad_inputs") / "data"
    with Served.running(folder) as served, echo() as (url, seen):
        auth = {"scheme": "api_key", "in": "header", "name": "X-Api-Key", "value": KEY_OF_THE_API}
        served.add_connection("echo", f"{url}/base", auth=auth)
        names = asyncio.run(make_keys(folder)) | {"host": f"127.0.0.1:{served.port}", "key": served.key}
        made = World(served, seen, names)
        made.names["cookie"] = sign_in(made)
        yield made


async def make_keys(folder: Path) -> dict[str, str]:
    """Keys that are not good, made beside the server as the command line makes them."""
    async with open_services(load_settings({"data": str(folder)}, {})) as services:
        names = {name: await accounts.create_key(services, name, ["read"]) for name in ("read", "revoked", "expired")}
        await accounts.revoke_key(services, names["revoked"].split("_")[1])
        async with services.change() as session:
            (await session.get_one(Key, names["expired"].split("_")[1])).expires_at = 1.0
    return names


def sign_in(world: World) -> str:
    found = re.search(r"/sign-in#(\S+)", world.served.log.read_text())
    assert found
    said = [
        f"Content-Length: {len(found[1]) + 13}",
        "Content-Type: application/json",
        "X-Requested-By: switchboard",
        OWN,
    ]
    sent = request("POST /api/sign-ins", *said, body=b'{"token": "%s"}' % found[1].encode())
    status, headers, _ = world.ask(sent)
    assert status == 201
    return headers["set-cookie"].partition(";")[0]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.number} {row.what[:40]!a}")
def test_a_bad_input_is_refused_with_its_status_and_code(world: World, row: Row) -> None:
    before = len(world.seen)
    status, headers, body = world.ask(row.sent)
    assert status == row.status, body[:500]
    assert len(world.seen) == before, "it went on to the upstream"
    if not row.code:
        assert (body, headers["connection"]) == (b"", "close")
        return
    assert headers["content-type"] == "application/problem+json"
    assert len(body) <= MOST_BYTES
    assert MARKER.encode() not in body
    problem = json.loads(body)
    assert set(problem) == {"type", "title", "status", "detail", "code", "errors", "request_id"}
    assert (problem["status"], problem["code"]) == (row.status, row.code)
    assert problem["type"].endswith(f":{row.code}")
    assert set(row.pointers) <= {fault["pointer"] for fault in problem["errors"]}
    assert row.says in body.decode()
    assert row.headers.items() <= headers.items()


def test_every_row_up_to_45_has_its_case_and_those_of_sign_ins_at_providers() -> None:
    by_themselves = {16, 17, 23, 37, 41}
    assert {row.number for row in ROWS} | {number for number, *_ in PASSED} | by_themselves == {*range(1, 46), 52, 53}


@pytest.mark.parametrize(("number", "target", "expected"), PASSED)
def test_an_odd_path_reaches_the_base_origin_byte_for_byte(
    world: World, number: int, target: str, expected: str
) -> None:
    status, _, body = world.ask(get(f"/proxy/echo{target}"))
    assert (status, body) == (200, b"ok")
    assert world.seen[-1][0] == expected


def test_16_a_body_that_ends_early_changes_nothing(world: World) -> None:
    whole = json.dumps({"name": "half", "base_url": "https://api.example.com"}).encode()
    head = ["Authorization: Bearer <key>", "Content-Type: application/json", f"Content-Length: {len(whole) + 1}"]
    world.ask(request("POST /api/connections", *head, body=whole), hang_up=True)
    status, _, _ = world.ask(get("/api/connections/half"))
    assert status == 404


async def test_17_a_body_that_is_too_slow_gets_408(tmp_path: Path) -> None:
    port = free_port()
    app = create_app(load_settings({"data": str(tmp_path / "data"), "bind": f"127.0.0.1:{port}"}, {}))
    app.config["BODY_TIMEOUT"] = 0.1
    stop = asyncio.Event()
    served = asyncio.create_task(serve(app, config(f"127.0.0.1:{port}"), shutdown_trigger=stop.wait), name="served")
    try:
        reader, writer = await connected(port)
        key = await accounts.create_key(app.extensions["services"][0], "test", ["call"])
        head = ["Content-Type: application/json", "Content-Length: 9", f"Authorization: Bearer {key}"]
        sent = request("POST /api/calls", *head, body=b"{", close=False)
        writer.write(sent.replace(b"<host>", b"localhost"))
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    finally:
        stop.set()
        await served
    head_, _, body = answer.partition(b"\r\n\r\n")
    assert head_.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in head_.lower()
    assert json.loads(body)["code"] == "request_timeout"


async def connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    for _ in range(200):
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
    raise AssertionError("it does not listen")


def test_23_a_lower_case_method_is_the_upper_case_one(world: World) -> None:
    """Hypercorn makes it so below ASGI; access is decided after that, on what is then done."""
    assert world.ask(request("get /healthz"))[0] == 200
    assert world.ask(request("get /api/calls"))[0] == 401


def test_37_what_only_switchboard_may_set_is_dropped_and_its_own_credential_wins(world: World) -> None:
    given = {
        "Host": MARKER,
        "Content-Length": "7",
        "Transfer-Encoding": "chunked",
        "Connection": "X-Api-Key, X-Hop",
        "X-Hop": MARKER,
        "Authorization": f"Bearer {MARKER}",
        "X-Api-Key": MARKER,
        "X_API_KEY": MARKER,
        "Cookie": MARKER,
        "X-Forwarded-For": MARKER,
        "Proxy-Authorization": MARKER,
        "Sec-Fetch-Site": MARKER,
        "X-Kept": "kept",
    }
    assert world.ask(call(headers=given))[0] == 201
    check_dropped(world.seen[-1][1])
    through = [f"{name}: {value}" for name, value in given.items() if name not in NOT_TO_US]
    through += ["X-Switchboard-Key: <key>", "Authorization: Bearer theirs"]
    assert world.ask(get("/proxy/echo/x", *through, key=""))[0] == 200
    check_dropped(world.seen[-1][1])


NOT_TO_US = ("Host", "Content-Length", "Transfer-Encoding", "Authorization")


def check_dropped(headers: list[tuple[str, str]]) -> None:
    names = [name.lower() for name, _ in headers]
    assert MARKER not in str(headers)
    assert ("x-kept", "kept") in [(name.lower(), value) for name, value in headers]
    assert [value for name, value in headers if name.lower().replace("_", "-") == "x-api-key"] == [KEY_OF_THE_API]
    gone = {"authorization", "cookie", "x-hop", "proxy-authorization", "x-switchboard-key", "sec-fetch-site"}
    assert not gone & set(names)


def test_41_forwarding_headers_of_a_peer_change_nothing(world: World) -> None:
    forged = [
        "X-Forwarded-For: 10.0.0.1",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: evil.example",
        "Remote-Addr: ::1",
    ]
    status, headers, _ = world.ask(get("/docs", *forged, key=""))
    assert status == 200
    assert "evil.example" not in str(headers)
    assert f"http://127.0.0.1:{world.served.port}/static/" in headers["content-security-policy"]


def test_after_all_that_the_server_is_well_and_nothing_was_unforeseen(world: World) -> None:
    assert world.served.request("GET", "/readyz")[0] == 200
    log = world.served.log.read_text()
    assert "unforeseen" not in log
    assert "Traceback" not in log
