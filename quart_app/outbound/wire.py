"""What the library does not tell of a connection: whom it leads to, and that an answer on it will never end."""

from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.helpers import set_exception
from aiohttp.http_exceptions import HttpProcessingError


class Wire(ResponseHandler):
    """One connection. An answer whose framing breaks in its middle fails: without this, its reader waits forever."""

    def set_exception(self, exc: Any, *cause: Any) -> None:
        payload = self._payload
        super().set_exception(exc, *cause)
        if isinstance(exc, HttpProcessingError) and payload is not None and not payload.is_eof():
            set_exception(payload, aiohttp.ClientPayloadError("broken framing"))


class PeerResponse(aiohttp.ClientResponse):
    """A response that knows where it came from, also after its connection went back to the pool."""

    peer: Any = None
    wire: Any = None

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
