"""Where a redirect leads, if it may be followed (RFC 9110 §15.4). Pure.

Any change of scheme, host or port leaves everything behind that the connection or the caller sent in confidence; a
body never goes to another origin, and nothing goes from https to http.
"""

from dataclasses import replace
from urllib.parse import quote, unquote_plus

from yarl import URL

from quart_app.outbound.client import Outgoing
from quart_app.outbound.headers import Headers, normal
from quart_app.outbound.redaction.redactor import is_sensitive

STATUSES = frozenset((301, 302, 303, 307, 308))
MOST_HOPS = 5
PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
OF_A_BODY = frozenset((b"content-type", b"content-length", b"content-encoding", b"content-language"))


def location(headers: tuple[tuple[bytes, bytes], ...]) -> str | None:
    """The Location of an answer, None without one. What is no ASCII, and spaces, are escaped, nothing else is."""
    return next((quote(value, safe=PRINTABLE) for name, value in headers if name.lower() == b"location"), None)


def crosses(before: URL, after: URL) -> bool:
    return (before.scheme, before.raw_host, before.port) != (after.scheme, after.raw_host, after.port)


def follow(outgoing: Outgoing, status: int, where: str, own: frozenset[bytes], parameter: str = "") -> Outgoing | None:
    """The request that follows a redirect, None where it must not be followed.

    `own` are the normalised names of the headers that the connection sets itself, `parameter` is its `name=value` in
    the query, which an upstream may have copied into the Location.
    """
    try:
        url = outgoing.url.join(URL(where, encoded=True)).with_fragment(None)
        crossing = crosses(outgoing.url, url)
    except ValueError:  # also for a port that is none, which is read only here
        return None
    if url.scheme not in ("http", "https") or not url.raw_host or url.user is not None or url.password is not None:
        return None
    if outgoing.url.scheme == "https" and url.scheme == "http":
        return None
    method = outgoing.method
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method = "GET"
    body, length = (outgoing.body, outgoing.length) if method == outgoing.method else (None, None)
    headers = outgoing.headers if method == outgoing.method else without(outgoing.headers, OF_A_BODY)
    if crossing:
        if body is not None:
            return None
        headers = [item for item in without(headers, own) if not is_sensitive(item[0])]
        url = without_parameter(url, parameter)
    return replace(outgoing, method=method, url=url, headers=headers, body=body, length=length)


def without_parameter(url: URL, parameter: str) -> URL:
    if not parameter or not url.raw_query_string:
        return url
    pieces = [piece for piece in url.raw_query_string.split("&") if unquote_plus(piece) != unquote_plus(parameter)]
    return URL("?".join(filter(None, (str(url).partition("?")[0], "&".join(pieces)))), encoded=True)


def without(headers: Headers, names: frozenset[bytes]) -> Headers:
    return [item for item in headers if normal(item[0]) not in names]
