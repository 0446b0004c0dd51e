"""One exchange on the wire: a request goes out, an answer comes in as a stream. Nothing is sent twice here.

aiohttp is told to follow no redirect, keep no cookie, heed no environment, decode nothing and, with the private
switch `_retry_connection`, never to send again by itself: each attempt is one the caller of this module made.
"""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_plus

import aiohttp
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict
from yarl import URL

from quart_app.outbound.auth import Credential
from quart_app.outbound.egress import Egress, EgressDenied
from quart_app.outbound.failures import AttemptFailed as AttemptFailed
from quart_app.outbound.failures import denied_in, explain, proxy_refused
from quart_app.outbound.headers import Headers
from quart_app.outbound.limits import Limits
from quart_app.outbound.sessions import Sessions
from quart_app.outbound.target import Target
from quart_app.outbound.timings import Timings, current
from quart_app.outbound.wire import PeerResponse

SEND_BUFFER_BYTES = 64 * 1024


@dataclass(slots=True)
class Outgoing:
    """A request as a caller wants it: `url` made by `urls.join`, header names lower-case bytes.

    A body in bytes can be sent again; an iterator of bytes goes once. `length` is its size where it is known.
    """

    method: str
    url: URL
    headers: Headers = field(default_factory=list)
    body: bytes | AsyncIterator[bytes] | None = None
    length: int | None = None


class Answer:
    """An upstream's answer whose head is here and whose body is still on its way."""

    def __init__(self, response: PeerResponse, timings: Timings) -> None:
        self.response = response
        self.status = response.status
        self.headers: tuple[tuple[bytes, bytes], ...] = response.raw_headers
        self.timings = timings

    def rest(self) -> bytes | None:
        """The rest of the body if all of it is here already, else None. Waits for nothing."""
        content = self.response.content
        if not content.is_eof() or content.exception() is not None or self.response.broken:
            return None
        return content.read_nowait()

    async def read(self) -> bytes:
        """The next piece as it came, empty at the end. Raises AttemptFailed."""
        try:
            piece = await self.response.content.readany()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise explain(error, answering=True) from None
        if not piece and self.response.broken:
            raise AttemptFailed("reset", "The upstream broke the connection in the middle of its answer.")
        return piece

    @property
    def length(self) -> int | None:
        """Content-Length, where the upstream says one."""
        return self.response.content_length

    def close(self) -> None:
        """Lets go of the upstream: kept for the next call if the answer was whole, else cut."""
        if self.response.content.is_eof():
            self.response.release()
        else:
            self.response.close()


class Client:
    """The sessions, one for each way out, and each connection's limits.

    `via` is how this app names itself to upstreams (RFC 9110 §7.6.3); `on_denied` is told of each egress refusal;
    `resolver` is for tests, which have no name server of their own.
    """

    def __init__(
        self,
        limits: Callable[[], Limits] = Limits,
        *,
        egress: Egress | None = None,
        via: str = "",
        resolver: AbstractResolver | None = None,
    ) -> None:
        self.egress = egress or Egress()
        self.limits: dict[str, Limits] = {}
        self.on_denied: Callable[[Target, EgressDenied], None] = lambda target, denied: None
        self._limits = limits
        self._via = via
        self._sessions = Sessions(self.egress, resolver)

    def limits_of(self, target: Target) -> Limits:
        found = self.limits.get(target.id)
        if found is None:
            found = self.limits[target.id] = self._limits()
        return found

    async def exchange(
        self,
        target: Target,
        outgoing: Outgoing,
        credential: Credential,
        timings: Timings,
        *,
        total_seconds: float | None,
        upgrades: bool = False,
    ) -> Answer:
        """Sends once and returns when the answer's head is here; `timings` are filled on the way.

        `upgrades` says that the answer may be 101. Raises AttemptFailed.
        """
        url = outgoing.url
        if credential.query:
            url = with_credential(url, credential.query)
        headers = CIMultiDict(
            (name.decode(), value.decode("utf-8", "surrogateescape"))
            for name, value in (*outgoing.headers, *credential.headers)
        )
        body = body_of(outgoing, headers)
        return await self.request(
            target, outgoing.method, url, headers, body, timings, total_seconds=total_seconds, upgrades=upgrades
        )

    async def request(
        self,
        target: Target,
        method: str,
        url: URL,
        headers: CIMultiDict[str],
        body: Any,
        timings: Timings,
        *,
        total_seconds: float | None,
        upgrades: bool = False,
    ) -> Answer:
        """The same for a URL that is whole already, such as a token endpoint. Raises AttemptFailed."""
        policy, way = target.policy, target.way
        current.set(timings)
        if self._via:
            headers.add("via", self._via)  # as callers spell it: the library would let another spelling replace theirs
        if way.proxy_headers and url.scheme == "http":  # https has a CONNECT of its own to tell it in
            headers.update(way.proxy_headers)
        timeout = timeout_of(total_seconds, policy.connect_seconds, policy.first_byte_seconds)
        try:
            session = self._sessions.held(way) or await self._sessions.open(way)
            response = await session.request(
                method,
                url,
                headers=headers,
                data=body,
                allow_redirects=False,
                proxy_headers=way.proxy_headers,
                timeout=timeout,
            )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self._explained(error, target, url, timings) from None
        timings.answered = time.perf_counter()
        assert isinstance(response, PeerResponse)
        if response.status == 407 and way.proxy is not None and url.scheme == "http":
            response.close()
            raise proxy_refused(407)
        return checked(response, timings, policy.idle_seconds, upgrades=upgrades)

    def _explained(self, error: Exception, target: Target, url: URL, timings: Timings) -> AttemptFailed:
        denied = denied_in(error)
        if denied is not None:
            self.on_denied(target, denied)
        return explain(error, answering=False, timings=timings, host=url.host or "")

    async def close(self) -> None:
        await self._sessions.close()


@lru_cache(maxsize=256)
def timeout_of(total: float | None, connect: float, first_byte: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total, sock_connect=connect, sock_read=first_byte)


def with_credential(url: URL, parameter: str) -> URL:
    """The URL with the connection's own parameter at its end; one of that name from the caller gives way to it."""
    name = unquote_plus(parameter.partition("=")[0])
    pieces = url.raw_query_string.split("&") if url.raw_query_string else []
    kept = [piece for piece in pieces if unquote_plus(piece.partition("=")[0]) != name]
    return URL(f"{str(url).partition('?')[0]}?{'&'.join([*kept, parameter])}", encoded=True)


def body_of(outgoing: Outgoing, headers: CIMultiDict[str]) -> Any:
    """The body as aiohttp takes it; its length goes into the headers, so that it is not sent in chunks."""
    body = outgoing.body
    if body is None:
        if outgoing.method in ("POST", "PUT", "PATCH"):
            headers["Content-Length"] = "0"
        return None
    if isinstance(body, bytes):
        headers["Content-Length"] = str(len(body))
        return body if len(body) <= SEND_BUFFER_BYTES else slices(body)
    if outgoing.length is not None:
        headers["Content-Length"] = str(outgoing.length)
    return body


async def slices(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), SEND_BUFFER_BYTES):
        yield body[start : start + SEND_BUFFER_BYTES]


def checked(response: PeerResponse, timings: Timings, idle_seconds: float, *, upgrades: bool = False) -> Answer:
    """The answer, once its head is one that can be passed on; from here the idle time counts."""
    if not 200 <= response.status <= 599 and not (upgrades and response.status == 101):
        response.close()
        raise AttemptFailed("protocol_error", f"The upstream answered with the status {response.status}.")
    protocol = response.connection.protocol if response.connection is not None else None
    if protocol is not None:
        protocol.read_timeout = idle_seconds
        if protocol.transport is not None and protocol.transport.is_reading():
            protocol.start_timeout()  # else the next piece still has the time that the first byte had
    timings.peer = response.peer
    return Answer(response, timings)
