"""In front of everything: what may be asked at all. An ASGI middleware, so that no request slips past it.

It refuses before Quart or the relay look at a request: targets that are no path (RFC 9112 §3.2), messages of two
lengths (§6.1, request smuggling), foreign Host names (DNS rebinding), and what is too long.
"""

import re
from collections.abc import Sequence
from typing import Any

from quart_app.errors import AppError, Invalid
from quart_app.settings import Settings
from quart_app.web.frames import Plain
from quart_app.web.problems import send_problem

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
VERSIONS = frozenset(("1.0", "1.1"))
"""Hypercorn takes HTTP/2 in clear to whoever asks for it (h2c), also past a front proxy that looks at requests."""
KEY = re.compile(rb"sb_[0-9a-f]{12}_[0-9a-f]")
SINGLE = frozenset((b"host", b"content-length", b"content-type", b"authorization", b"transfer-encoding", b"expect"))
MOST_SPELLINGS = 1000

Headers = Sequence[tuple[bytes, bytes]]


class Guard:
    """Passes to `app` what is sound; answers the rest itself, and closes the connection where it must."""

    def __init__(self, app: Any, settings: Settings) -> None:
        self.app = app
        self.settings = settings
        self.names = allowed_names(settings)
        self.hosts: set[tuple[bytes | None, int | None]] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket"):
            method = scope.get("method", "GET")  # a WebSocket's handshake has no other
            try:
                self.check(scope, method)
            except AppError as error:
                say = send if scope["type"] == "http" else Plain(scope, receive, send).say
                await send_problem(say, error, [("Connection", "close")], head=method == "HEAD")
                return
        await self.app(scope, receive, send)

    def check(self, scope: Any, method: str) -> None:
        """Raises AppError for what may not be asked."""
        headers: Headers = scope["headers"]
        if scope["http_version"] not in VERSIONS:
            raise AppError(505, "http_version_not_supported", "This server speaks HTTP/1.1.")
        if method not in METHODS:
            raise method_refused(method)
        self.check_target(scope["raw_path"], scope["query_string"])
        if len(headers) > self.settings.header_count:
            raise AppError(431, "too_many_headers", f"There are more than {self.settings.header_count} headers.")
        host, seen, size = None, set(), 0
        for name, value in headers:
            size += len(name) + len(value)
            if name in SINGLE:
                if name in seen:
                    raise Invalid("duplicate_header", f"The header {name.decode()} is there twice.")
                seen.add(name)
                if name == b"host":
                    host = value
        if size > self.settings.header_bytes:
            raise AppError(431, "headers_too_large", f"The headers are over {self.settings.header_bytes} bytes.")
        if b"content-length" in seen and b"transfer-encoding" in seen:
            raise Invalid("two_lengths", "A message has either Content-Length or Transfer-Encoding.")
        port = scope["server"][1] if scope.get("server") else None
        if (host, port) not in self.hosts:
            self.check_host(host, port)
        if b"expect" in seen and any(name == b"expect" and value.lower() != b"100-continue" for name, value in headers):
            raise AppError(417, "expectation_failed", "Only 100-continue can be expected.")

    def check_target(self, path: bytes, query: bytes) -> None:
        if len(path) + len(query) > self.settings.url_bytes:
            raise AppError(414, "uri_too_long", f"The request target is longer than {self.settings.url_bytes} bytes.")
        if not path.startswith(b"/"):
            raise Invalid("bad_request_target", "The request target must be a path that starts with a slash.")
        if b"sb_" in query and KEY.search(query):
            raise Invalid("key_in_query", "Never put a key into a URL, which is written down on its way: revoke it.")

    def check_host(self, host: bytes | None, port: int | None) -> None:
        """A Host on the list, with the port it came in by or none, is remembered; any other is refused."""
        if not host:
            raise Invalid("host_required", "A request must have one Host header.")
        found = re.fullmatch(rb"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?", host)
        if found is None:
            raise Invalid("invalid_host", "The Host header is not a host name.")
        name = found[1].decode().lower()
        own = found[2] is None or port is None or int(found[2]) == port
        if not (name in self.names and own) and host.decode().lower() not in self.names:
            raise AppError(421, "misdirected_request", "This server does not answer to this Host name.")
        if len(self.hosts) < MOST_SPELLINGS:
            self.hosts.add((host, port))


def method_refused(method: str) -> AppError:
    if not TOKEN.fullmatch(method):
        return Invalid("invalid_method", "The method is not a token.")
    error = AppError(405, "method_not_allowed", "This method is not taken here.")
    error.headers.append(("Allow", ", ".join(sorted(METHODS))))
    return error


def allowed_names(settings: Settings) -> frozenset[str]:
    """Every host name that is answered: loopback, the bind, the public URL and the settings' list.

    A name stands for itself and for the port a request came in by; one with a port in it stands for just that.
    """
    bound = settings.bind.rpartition(":")[0].lower()
    names = {"localhost", "127.0.0.1", "[::1]", *settings.hosts}
    if bound not in ("0.0.0.0", "[::]", ""):
        names.add(bound)
    public = settings.public_url.partition("://")[2].partition("/")[0].lower()
    if public:
        names |= {public, public.partition(":")[0]}
    return frozenset(names)
