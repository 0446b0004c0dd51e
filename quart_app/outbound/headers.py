"""Header rules in both directions: which go on, which stop here. Names are lower-case bytes, as ASGI has them."""

import re
from collections.abc import Sequence
from functools import lru_cache

from pydantic_core import PydanticCustomError

Headers = list[tuple[bytes, bytes]]

NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}")
VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
LONGEST_VALUE = 16 * 1024

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
    r"authorization|cookie|token|secret|password|passwd|credential|api[-_]?key|signature|x-auth|session"
    r"|assertion|saml|code[-_]verifier",
    re.IGNORECASE,
)
"""Names of headers and query parameters whose values are never recorded."""


def header_name(name: str) -> str:
    """A form's validator: the name, if it can be sent. Raises PydanticCustomError `invalid_header_name`."""
    if not NAME.fullmatch(name.encode()):
        raise PydanticCustomError("invalid_header_name", "a name is letters, digits and - _ . without spaces")
    return name


def header_value(value: str) -> str:
    """A form's validator: the value, if it can be sent. Raises PydanticCustomError `invalid_header_value`."""
    if not value.isascii() or not VALUE.fullmatch(value.encode()) or len(value) > LONGEST_VALUE:
        raise PydanticCustomError("invalid_header_value", "a value is printable ASCII on one line, up to 16 KiB")
    return value


NOT_FOR_BROWSERS = frozenset((b"www-authenticate", b"authentication-info", b"link", b"cache-control", b"location"))
PLAIN_CONNECTION = (b"keep-alive", b"close")
NOTHING: frozenset[bytes] = frozenset()


def named_by_connection(headers: Sequence[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """The names that Connection headers list: hop-by-hop for this message only."""
    listed = [
        value
        for name, value in headers
        if len(name) == 10 and name.lower() == b"connection" and value.lower() not in PLAIN_CONNECTION
    ]
    if not listed:
        return NOTHING
    return frozenset(normal(part.strip()) for value in listed for part in value.split(b",")) - {b""}


def forwarded(headers: Sequence[tuple[bytes, bytes]], injected: frozenset[bytes]) -> Headers:
    """The caller's headers that go on to the upstream, in order.

    `injected` are the normalised names (`normal`) that the connection sets itself: they win, and variants
    such as `X_API_KEY` are dropped with them (CVE-2025-64484).
    """
    kept = [item for item in headers if goes_on(item[0])]
    dropped = named_by_connection(headers) | injected
    return [item for item in kept if normal(item[0]) not in dropped] if dropped else kept


@lru_cache(maxsize=4096)
def goes_on(name: bytes) -> bool:
    """Whether a request header of this name is ever forwarded, in whatever spelling."""
    spelled = normal(name)
    return spelled not in NOT_FORWARDED and not spelled.startswith(NOT_FORWARDED_PREFIXES)


def returned(headers: Sequence[tuple[bytes, bytes]], *, browser: bool = False) -> Headers:
    """The upstream's headers that go back to the caller, names in lower case.

    A browser session does not get what would make it ask for a password or fetch more.
    """
    kept = [(lowered, value) for name, value in headers if (lowered := comes_back(name))]
    hop = named_by_connection(headers)
    if hop:
        kept = [item for item in kept if normal(item[0]) not in hop]
    return [item for item in kept if item[0] not in NOT_FOR_BROWSERS] if browser else kept


@lru_cache(maxsize=4096)
def comes_back(name: bytes) -> bytes:
    """The name of an answer's header in lower case, empty for one that is never returned."""
    lowered = name.lower()
    stays = lowered in NOT_RETURNED or lowered.startswith(NOT_RETURNED_PREFIXES)
    return b"" if stays else lowered


def normal(name: bytes) -> bytes:
    """A name as comparisons see it: `X_API_KEY`, `x-api-key` and `X-Api-Key` are one."""
    return name.lower().replace(b"_", b"-")
