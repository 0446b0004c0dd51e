"""Header rules in both directions: which go on, which stop here. Names are lower-case bytes, as ASGI has them."""

import re
from collections.abc import Iterable

Headers = list[tuple[bytes, bytes]]

NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}")
VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")

HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings")
)
"""RFC 9110 §7.6.1; `proxy-*` and what Connection names are dropped too."""

NOT_FORWARDED = HOP_BY_HOP | frozenset(
    (
        b"host",
        b"content-length",
        b"cookie",
        b"cookie2",
        b"authorization",
        b"origin",
        b"referer",
        b"forwarded",
        b"via",
        b"x-real-ip",
        b"remote-addr",
        b"expect",
        b"x-requested-by",
    )
)
NOT_FORWARDED_PREFIXES = (b"proxy-", b"x-forwarded-", b"sec-", b"x-switchboard-")

NOT_RETURNED = HOP_BY_HOP | frozenset(
    (
        b"set-cookie",
        b"set-cookie2",
        b"alt-svc",
        b"clear-site-data",
        b"strict-transport-security",
        b"public-key-pins",
        b"x-frame-options",
        b"service-worker-allowed",
        b"sourcemap",
        b"x-sourcemap",
        b"refresh",
        b"nel",
        b"report-to",
        b"reporting-endpoints",
        b"permissions-policy",
        b"origin-agent-cluster",
        b"timing-allow-origin",
        b"server-timing",
        b"server",
    )
)
NOT_RETURNED_PREFIXES = (
    b"proxy-",
    b"access-control-",
    b"content-security-policy",
    b"cross-origin-",
    b"x-switchboard-",
)

SENSITIVE = re.compile(
    r"authorization|cookie|token|secret|password|passwd|credential|api[-_]?key|apikey|signature|x-auth|session",
    re.IGNORECASE,
)
"""Names of headers and query parameters whose values are never recorded."""


def named_by_connection(headers: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """The names that Connection headers list: hop-by-hop for this message only."""
    listed = [value for name, value in headers if name == b"connection"]
    return frozenset(part.strip().lower() for value in listed for part in value.split(b",")) - {b""}


def forwarded(headers: Iterable[tuple[bytes, bytes]], injected: frozenset[bytes]) -> Headers:
    """The caller's headers that go on to the upstream, in order.

    `injected` are the normalised names (`normal`) that the connection sets itself: they win, and variants
    such as `X_API_KEY` are dropped with them (CVE-2025-64484).
    """
    headers = list(headers)
    hop = named_by_connection(headers)
    return [
        (name, value)
        for name, value in headers
        if name not in NOT_FORWARDED
        and name not in hop
        and not name.startswith(NOT_FORWARDED_PREFIXES)
        and (b"_" not in name or normal(name) not in NOT_FORWARDED)
        and normal(name) not in injected
    ]


def returned(headers: Iterable[tuple[bytes, bytes]], *, browser: bool = False) -> Headers:
    """The upstream's headers that go back to the caller, names in lower case.

    A browser session does not get what would make it ask for a password or fetch more.
    """
    lowered = [(name.lower(), value) for name, value in headers]
    hop = named_by_connection(lowered)
    kept = [
        (name, value)
        for name, value in lowered
        if name not in NOT_RETURNED and name not in hop and not name.startswith(NOT_RETURNED_PREFIXES)
    ]
    if not browser:
        return kept
    return [item for item in kept if item[0] not in (b"www-authenticate", b"link", b"cache-control", b"location")]


def normal(name: bytes) -> bytes:
    """A name as comparisons see it: `X_API_KEY`, `x-api-key` and `X-Api-Key` are one."""
    return name.lower().replace(b"_", b"-")
