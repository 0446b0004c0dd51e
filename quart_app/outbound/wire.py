"""What the library does not tell of a connection: whom it leads to, that an answer on it will never end, and that
something nobody asked for came on it.
"""

from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.helpers import set_exception
from aiohttp.http_exceptions import HttpProcessingError

MOST_INTERIM = 10
"""Interim answers (1xx) that may come before an answer; the library takes any number."""


class Wire(ResponseHandler):
    """One connection. An answer whose framing breaks in its middle fails: without this, its reader waits forever."""

    interim = 0

    def connection_lost(self, exc: BaseException | None) -> None:
        """A connection that ends because this process has no memory to read is not the upstream's doing."""
        payload = self._payload if isinstance(exc, MemoryError) else None
        if exc is not None and payload is not None and not payload.is_eof():
            set_exception(payload, exc)
            super().connection_lost(exc)
            set_exception(payload, exc)  # in place of what the library made of it
        else:
            super().connection_lost(exc)

    def is_connected(self) -> bool:
        """Whether it can be used again. What came while nobody asked would be taken for the next call's answer.

        It stands in the queue or the rest; of half an answer only the timer tells, which any data starts.
        """
        return super().is_connected() and not self.should_close and self._read_timeout_handle is None

    async def read(self) -> Any:
        """The next answer's head and body. Raises HttpProcessingError for too many interim ones."""
        message, payload = await super().read()
        if message.code >= 200 or message.code == 101:
            self.interim = 0
            return message, payload
        self.interim += 1
        if self.interim > MOST_INTERIM:
            raise HttpProcessingError(message="too many interim answers")
        return message, payload

    def set_exception(self, exc: Any, *cause: Any) -> None:
        """The first fault is what counts: a parser that failed once fails again at all that follows."""
        payload = self._payload
        if cause and isinstance(cause[0], MemoryError):
            exc = cause[0]
        super().set_exception(exc, *cause)
        if payload is None or payload.is_eof() or payload.exception() is not None:
            return
        if isinstance(exc, HttpProcessingError):
            set_exception(payload, aiohttp.ClientPayloadError("broken framing"))
        elif isinstance(exc, MemoryError):
            set_exception(payload, exc)


class PeerResponse(aiohttp.ClientResponse):
    """A response that knows where it came from, also after its connection went back to the pool."""

    peer: Any = None
    wire: Any = None

    def __repr__(self) -> str:
        return f"PeerResponse({self.status})"  # the library's own shows the URL, which may hold a key, also in its log

    def start(self, connection: Any) -> Any:
        self.peer = connection.transport.get_extra_info("peername")
        self.wire = connection.protocol
        return super().start(connection)

    @property
    def broken(self) -> bool:
        """Whether a body without a length, which the end of its connection ends, was ended by a reset."""
        bodiless = self.method == "HEAD" or self.status in (204, 304)
        if bodiless or "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            return False
        return isinstance(self.wire.exception(), aiohttp.ClientOSError)
