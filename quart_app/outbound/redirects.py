"""Where a redirect leads, if it may be followed (RFC 9110 §15.4). Pure.

Any change of scheme, host or port leaves everything behind that the connection or the caller sent in confidence; a
body never goes to another origin, and nothing goes from https to http.
"""

from dataclasses import replace

from yarl import URL

from quart_app.outbound.client import Outgoing
from quart_app.outbound.headers import Headers, normal
from quart_app.outbound.redact import is_sensitive

STATUSES = frozenset((301, 302, 303, 307, 308))
MOST_HOPS = 5
OF_A_BODY = frozenset((b"content-type", b"content-length", b"content-encoding", b"content-language"))


def location(headers: tuple[tuple[bytes, bytes], ...]) -> str | None:
    """The Location of an answer, None without one."""
    return next((value.decode("latin-1") for name, value in headers if name.lower() == b"location"), None)


def crosses(before: URL, after: URL) -> bool:
    return (before.scheme, before.raw_host, before.port) != (after.scheme, after.raw_host, after.port)


def follow(outgoing: Outgoing, status: int, where: str, own: frozenset[bytes]) -> Outgoing | None:
    """The request that follows a redirect, None where it must not be followed.

    `own` are the normalised names of the headers that the connection sets itself.
    """
    try:
        url = outgoing.url.join(URL(where, encoded=True)).with_fragment(None)
    except ValueError:
        return None
    if url.scheme not in ("http", "https") or not url.raw_host or url.user is not None or url.password is not None:
        return None
    if outgoing.url.scheme == "https" and url.scheme == "http":
        return None
    method = outgoing.method
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method = "GET"
    body, length = (outgoing.body, outgoing.length) if method == outgoing.method else (None, None)
    headers = outgoing.headers if body is outgoing.body else without(outgoing.headers, OF_A_BODY)
    if crosses(outgoing.url, url):
        if body is not None:
            return None
        headers = [item for item in without(headers, own) if not is_sensitive(item[0])]
    return replace(outgoing, method=method, url=url, headers=headers, body=body, length=length)


def without(headers: Headers, names: frozenset[bytes]) -> Headers:
    return [item for item in headers if normal(item[0]) not in names]
