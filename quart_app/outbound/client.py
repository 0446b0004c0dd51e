"""One exchange on the wire: a request goes out, an answer comes in as a stream. Nothing is sent twice here.

aiohttp is told to follow no redirect, keep no cookie, heed no environment, decode nothing and, with the private
switch `_retry_connection`, never to send again by itself: each attempt is one the caller of this module made.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any
from urllib.parse import unquote_plus

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from quart_app.outbound.auth import Credential
from quart_app.outbound.egress import EgressDenied, socket_factory
from quart_app.outbound.headers import Headers
from quart_app.outbound.limits import Slots
from quart_app.outbound.target import Target
from quart_app.outbound.timings import TimedConnector, TimedContext, Timings, current
from quart_app.outbound.wire import PeerResponse, Wire

SEND_BUFFER_BYTES = 64 * 1024
KEEPALIVE_SECONDS = 30
DNS_CACHE_SECONDS = 10


class AttemptFailed(Exception):
    """No whole answer came. `reason` is one of `errors.REASONS`, `detail` a sentence without upstream text."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


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
    """The sessions, one per egress policy (a pooled socket was checked under its own), and the slots."""

    def __init__(self) -> None:
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._slots: dict[str, Slots] = {}
        self._tls = TimedContext.make()

    def slots(self, target: Target) -> Slots:
        found = self._slots.get(target.id)
        if found is None:
            found = self._slots[target.id] = Slots()
        return found

    async def exchange(
        self,
        target: Target,
        outgoing: Outgoing,
        credential: Credential,
        timings: Timings,
        *,
        total_seconds: float | None,
    ) -> Answer:
        """Sends once and returns when the answer's head is here; `timings` are filled on the way.

        Raises AttemptFailed.
        """
        url = outgoing.url
        if credential.query:
            url = with_credential(url, credential.query)
        headers = CIMultiDict(
            (name.decode(), value.decode("utf-8", "surrogateescape"))
            for name, value in (*outgoing.headers, *credential.headers)
        )
        body = body_of(outgoing, headers)
        return await self.request(target, outgoing.method, url, headers, body, timings, total_seconds=total_seconds)

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
    ) -> Answer:
        """The same for a URL that is whole already, such as a token endpoint. Raises AttemptFailed."""
        policy = target.policy
        current.set(timings)
        timeout = timeout_of(total_seconds, policy.connect_seconds, policy.first_byte_seconds)
        try:
            response = await self._session(policy.allow_private).request(
                method,
                url,
                headers=headers,
                data=body,
                allow_redirects=False,
                timeout=timeout,
            )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise explain(error, answering=False) from None
        timings.answered = time.perf_counter()
        assert isinstance(response, PeerResponse)
        return checked(response, timings, policy.idle_seconds)

    def _session(self, allow_private: bool) -> aiohttp.ClientSession:
        session = self._sessions.get(allow_private)
        if session is None:
            session = self._sessions[allow_private] = self._open(allow_private)
        return session

    def _open(self, allow_private: bool) -> aiohttp.ClientSession:
        connector = TimedConnector(
            limit=0,
            ssl=self._tls,
            keepalive_timeout=KEEPALIVE_SECONDS,
            ttl_dns_cache=DNS_CACHE_SECONDS,
            socket_factory=socket_factory(allow_private=allow_private),
        )
        # the factory is typed as one of aiohttp's own protocol, of which Wire is a kind
        connector._factory = partial(Wire, asyncio.get_running_loop())  # type: ignore[assignment]
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            max_line_size=16384,
            max_field_size=32768,
            response_class=PeerResponse,
        )
        session._retry_connection = False
        return session

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()


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


def checked(response: PeerResponse, timings: Timings, idle_seconds: float) -> Answer:
    """The answer, once its head is one that can be passed on; from here the idle time counts."""
    if not 200 <= response.status <= 599:
        response.close()
        raise AttemptFailed("protocol_error", f"The upstream answered with the status {response.status}.")
    protocol = response.connection.protocol if response.connection is not None else None
    if protocol is not None:
        protocol.read_timeout = idle_seconds
        if protocol.transport is not None and protocol.transport.is_reading():
            protocol.start_timeout()  # else the next piece still has the time that the first byte had
    timings.peer = response.peer
    return Answer(response, timings)


def explain(error: BaseException, *, answering: bool) -> AttemptFailed:
    """What an error of the library means, in our words: none of its text goes on."""
    denied = denied_in(error)
    if denied is not None:
        return AttemptFailed("egress_denied", f"{denied}.")
    reason, detail = next((said for kind, *said in MEANINGS if isinstance(error, kind)), UNKNOWN)
    if reason == "first_byte_timeout" and answering:
        return AttemptFailed("idle_timeout", "The upstream stopped in the middle of its answer.")
    if isinstance(error, aiohttp.ClientPayloadError) and "enough data" not in str(error.__cause__ or error):
        return AttemptFailed("protocol_error", "The upstream's answer broke off its own framing.")
    return AttemptFailed(reason, detail)


def denied_in(error: BaseException | None) -> EgressDenied | None:
    """The refusal of the socket factory, which the library wraps; also in a group of tried addresses."""
    while error is not None:
        if isinstance(error, EgressDenied):
            return error
        inner = getattr(error, "os_error", None)
        for nested in (inner, *getattr(inner, "exceptions", ()), *getattr(error, "exceptions", ())):
            if isinstance(nested, EgressDenied):
                return nested
        error = error.__cause__ or error.__context__
    return None


UNKNOWN = ["protocol_error", "The upstream's answer broke the rules of HTTP."]
MEANINGS: tuple[tuple[type[BaseException], str, str], ...] = (
    (
        aiohttp.ConnectionTimeoutError,
        "connect_timeout",
        "The upstream did not accept the connection in time.",
    ),
    (
        aiohttp.SocketTimeoutError,
        "first_byte_timeout",
        "The upstream took the request and did not answer in time.",
    ),
    (aiohttp.ClientConnectorDNSError, "dns_failed", "The upstream's host name does not resolve."),
    (aiohttp.ClientSSLError, "tls_failed", "The TLS handshake with the upstream failed."),
    (aiohttp.ServerFingerprintMismatch, "tls_failed", "The upstream's certificate is another one."),
    (aiohttp.ClientConnectorError, "connect_failed", "The upstream refused the connection."),
    (aiohttp.ServerDisconnectedError, "reset", "The upstream closed the connection without an answer."),
    (aiohttp.ClientPayloadError, "reset", "The upstream closed the connection in the middle of its answer."),
    (aiohttp.ClientResponseError, "protocol_error", "The upstream's answer is not HTTP."),
    (aiohttp.ClientOSError, "reset", "The connection to the upstream broke."),
    (TimeoutError, "total_timeout", "The call took longer than its total time."),
    (OSError, "reset", "The connection to the upstream broke."),
)
"""In order: the first kind that fits says the reason."""
