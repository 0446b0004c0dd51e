"""URLs: a connection's base, and the path and query that a caller adds to it, byte for byte.

Nothing is decoded, quoted anew or normalised on the way (RFC 3986 §6 is for comparing, not for sending), and a
joined URL can never leave its base.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from urllib.parse import SplitResult, urljoin, urlsplit

from yarl import URL

from quart_app.errors import Invalid

PATH = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/\[\]|^]|%[0-9A-Fa-f]{2})*")
QUERY = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]{}|^`\\]|%[0-9A-Fa-f]{2})*")
DOT = re.compile(r"(?:^|/|%2f|%5c)(?:\.|%2e){1,2}(?:;[^/]*)?(?=/|%2f|%5c|$)", re.IGNORECASE)
"""A dot segment as any upstream may read it: many decode `%2f` and `%5c` first and only then resolve `..`."""
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
HOST = re.compile(
    r"(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*"
)


@dataclass(frozen=True, slots=True)
class Base:
    """Where a connection's calls go: `origin` is `scheme://host[:port]`, `path` starts with `/`, ends without."""

    origin: str
    path: str
    host: str

    def __str__(self) -> str:
        return self.origin + self.path


def parse_base(text: str) -> Base:
    """A base URL: http or https, a host, no user, query or fragment. Raises ValueError with the reason."""
    if any(character <= " " or character == "\x7f" for character in text) or "\\" in text:
        raise ValueError("has a space, a control character or a backslash in it")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # whose text has the input in it
        raise ValueError("is not a URL that can be read: look at its brackets and its port") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("must start with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("must not carry a user or password; use the auth scheme basic")
    if parts.query or parts.fragment or text.endswith(("?", "#")):
        raise ValueError("must have no query and no fragment")
    literal, _, after = parts.netloc.rpartition("]")
    if literal and after and not after.startswith(":"):
        raise ValueError("has a host that is not a host name")
    host = check_host(parts.hostname or "", literal=bool(literal))
    if port == 0:
        raise ValueError("port 0 cannot be reached")
    if not PATH.fullmatch(parts.path) or DOT.search(parts.path) or "//" in parts.path:
        raise ValueError("has a path with dot segments, empty segments or characters that must be escaped")
    default = {"http": 80, "https": 443}[parts.scheme]
    shown = host if port in (None, default) else f"{host}:{port}"
    return Base(f"{parts.scheme}://{shown}", parts.path.rstrip("/"), host)


def check_host(host: str, *, literal: bool) -> str:
    if literal:
        if "%" in host:
            raise ValueError("must not have a zone in the address")
        try:
            return f"[{ip_address(host).compressed}]"
        except ValueError:
            raise ValueError("has brackets around what is no IPv6 address") from None
    if not host:
        raise ValueError("has no host")
    if host.endswith("."):
        raise ValueError("must not end its host with a dot")
    if not host.isascii():
        raise ValueError("must give an international host in its xn-- form")
    if not HOST.fullmatch(host):
        raise ValueError("has a host that is not a host name")
    if NUMBER.fullmatch(host.rpartition(".")[2]) and not is_ipv4(host):
        raise ValueError("must write an IPv4 address as four decimal numbers")  # 127.1, 0x7f.1 and 2130706433 are too
    return host


def is_ipv4(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True


def join(base: Base, path: str, query: str = "") -> URL:
    """The URL of `path` (raw, starting with `/`, or empty) and `query` (raw, without `?`) under `base`.

    Raises Invalid (400) `dot_segment`, `absolute_url_not_allowed` or `invalid_path`. `//` and encoded slashes
    stay as they are, as part of the path.
    """
    if path and not path.startswith("/"):
        if "://" in path:
            raise Invalid("absolute_url_not_allowed", "Give a path; the connection has the host.")
        path = "/" + path
    if not PATH.fullmatch(path) or not QUERY.fullmatch(query):
        raise Invalid("invalid_path", "The path or query has a character that must be percent-encoded.")
    if DOT.search(path):
        raise Invalid("dot_segment", "The path must not have . or .. segments, encoded or not.")
    text = f"{base.origin}{base.path}{path}"
    url = URL(f"{text}?{query}" if query else text, encoded=True)
    if url.raw_host != base.host.strip("[]") or not url.raw_path.startswith(base.path or "/"):
        raise Invalid("invalid_path", "The path would leave the connection's base URL.")
    return url


def led_to(base: Base, asked: URL, location: str) -> tuple[str, str | None]:
    """Where a Location in the answer to `asked` leads (RFC 9110 §10.2.2).

    As an absolute URL, and as path, query and fragment below `base` where it leads there, else None.
    """
    try:
        whole = urljoin(str(asked.with_query(None)), location)
        parts = urlsplit(whole)
        base_parts = urlsplit(base.origin)
        same = origin_of(parts) == origin_of(base_parts)
    except ValueError:
        return location, None
    rest = parts.path.removeprefix(base.path)
    below = parts.path.startswith(base.path) and rest[:1] in ("", "/")
    if not same or not below or "@" in parts.netloc or not PATH.fullmatch(rest) or DOT.search(rest):
        return whole, None
    return whole, rest + whole.partition(parts.netloc + parts.path)[2]


def origin_of(parts: SplitResult) -> tuple[str, str | None, int | None]:
    """RFC 6454 §4. Raises ValueError for a port that is none."""
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
