"""A WebSocket to an upstream (RFC 6455): its handshake is an exchange like any other, then messages go both ways.

Pings are answered where they arrive and go no further; one of ours, now and then, asks whether the upstream is there.
"""

import asyncio
import base64
import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
from aiohttp import http
from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.http_websocket import WSHandshakeError

from quart_app.outbound.auth import Credential
from quart_app.outbound.client import Answer, AttemptFailed, Client, Outgoing
from quart_app.outbound.headers import Headers
from quart_app.outbound.target import Target
from quart_app.outbound.timings import Timings
from quart_app.outbound.wire import PeerResponse

DEFLATE = "permessage-deflate"
MOST_MESSAGE_BYTES = 16 * 1024**2
BUFFER_BYTES = 64 * 1024
HEARTBEAT_SECONDS = 30.0
CLOSE_SECONDS = 1.5
NO_CODE, BROKEN = 1005, 1006
MOST_REASON_BYTES = 123
NEVER_SENT = (1004, NO_CODE, BROKEN, 1015)
"""Codes that say how a connection ended and stand in no frame (§7.4.1)."""


@dataclass(frozen=True, slots=True)
class Close:
    """The other side's closing frame; NO_CODE where it says none."""

    code: int
    reason: str = ""


def code_to_send(code: int) -> int:
    """The code itself where a frame may carry it, else the plain 1000."""
    return code if 1000 <= code < 5000 and code not in NEVER_SENT else 1000


class Upgraded(Answer):
    """The answer 101. What follows goes by `socket`, and there is no body."""

    def __init__(self, response: PeerResponse, timings: Timings, socket: "Socket") -> None:
        super().__init__(response, timings)
        self.socket = socket

    def close(self) -> None:
        """Cuts the connection; a closing frame goes first, by `socket.close`, where there is time for one."""
        self.response.close()


@dataclass(frozen=True)
class Opening:
    """The exchange that asks for a WebSocket; its answer is an Upgraded, or the upstream's refusal as it came.

    `protocols` are those that the caller speaks, `compressed` says that it offered permessage-deflate (RFC 7692).
    """

    client: Client
    protocols: tuple[str, ...] = ()
    compressed: bool = False

    async def __call__(
        self,
        target: Target,
        outgoing: Outgoing,
        credential: Credential,
        timings: Timings,
        *,
        total_seconds: float | None,
    ) -> Answer:
        """Raises AttemptFailed, also for a 101 that is no handshake (§4.1)."""
        key = base64.b64encode(os.urandom(16))
        asking = replace(outgoing, headers=[*outgoing.headers, *self._headers(key)])
        answer = await self.client.exchange(
            target, asking, credential, timings, total_seconds=total_seconds, upgrades=True
        )
        if answer.status != 101:
            return answer
        try:
            return Upgraded(answer.response, timings, self._socket(answer.response, key))
        except BaseException:
            answer.response.close()
            raise

    def _headers(self, key: bytes) -> Headers:
        headers = [(b"upgrade", b"websocket"), (b"connection", b"Upgrade")]
        headers += [(b"sec-websocket-version", b"13"), (b"sec-websocket-key", key)]
        if self.protocols:
            headers.append((b"sec-websocket-protocol", ", ".join(self.protocols).encode()))
        if self.compressed:
            headers.append((b"sec-websocket-extensions", http.ws_ext_gen().encode()))
        return headers

    def _socket(self, response: PeerResponse, key: bytes) -> "Socket":
        headers = response.headers
        accepted = base64.b64encode(hashlib.sha1(key + http.WS_KEY).digest()).decode()
        upgrade = {token.strip().lower() for token in headers.get("Connection", "").split(",")}
        extensions = headers.get("Sec-WebSocket-Extensions")
        protocol = headers.get("Sec-WebSocket-Protocol")
        if (
            headers.get("Upgrade", "").lower() != "websocket"
            or "upgrade" not in upgrade
            or headers.get("Sec-WebSocket-Accept") != accepted
            or (extensions and not (self.compressed and extensions.partition(";")[0].strip() == DEFLATE))
            or (protocol and protocol not in self.protocols)
        ):
            raise AttemptFailed("protocol_error", "The upstream's answer 101 is no WebSocket handshake.")
        try:
            compress, notakeover = http.ws_ext_parse(extensions)
        except WSHandshakeError:
            raise AttemptFailed("protocol_error", "The upstream chose an extension that was not offered.") from None
        return Socket(response, protocol, compress=compress, notakeover=notakeover)


class Socket:
    """An open WebSocket to an upstream. One task sends, one receives; `heartbeat` runs beside them.

    `protocol` is the one that the upstream chose.
    """

    def __init__(
        self,
        response: PeerResponse,
        protocol: str | None = None,
        *,
        compress: int = 0,
        notakeover: bool = False,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        """Takes the connection of `response` over, as the library's `ws_connect` does."""
        self.protocol = protocol
        self._response = response
        self._loop = asyncio.get_running_loop()
        self._heartbeat_seconds = heartbeat_seconds
        self._heard_at = self._loop.time()
        self._wire: Any = response.wire
        self._wire.read_timeout = None
        self._queue = WebSocketDataQueue(self._wire, BUFFER_BYTES, loop=self._loop)
        self._writer = http.WebSocketWriter(
            self._wire, self._wire.transport, use_mask=True, compress=compress, notakeover=notakeover
        )
        self._parser = http.WebSocketReader(self._queue, MOST_MESSAGE_BYTES, compress=bool(compress), decode_text=True)
        self._wire.set_parser(self._parser, self._queue, data_received_cb=self._hear)

    def _hear(self) -> None:
        self._heard_at = self._loop.time()

    async def send(self, message: str | bytes) -> None:
        """One message; waits while the upstream takes nothing. Raises AttemptFailed."""
        try:
            if isinstance(message, str):
                await self._writer.send_frame(message.encode(), aiohttp.WSMsgType.TEXT)
            else:
                await self._writer.send_frame(message, aiohttp.WSMsgType.BINARY)
        except (aiohttp.ClientError, OSError):
            raise broken_off() from None

    async def receive(self) -> str | bytes | Close:
        """The next message whole, or the closing frame. Raises AttemptFailed for any other end."""
        try:
            while True:
                kind, content, more = await self._queue.read()
                if kind is aiohttp.WSMsgType.PING:
                    await self._writer.send_frame(content, aiohttp.WSMsgType.PONG)
                elif kind is aiohttp.WSMsgType.CLOSE:
                    return Close(content or NO_CODE, more or "")
                elif kind is not aiohttp.WSMsgType.PONG:
                    message: str | bytes = content
                    return message
        except aiohttp.WebSocketError as error:
            raise broken_rules(error) from None
        except (aiohttp.EofStream, aiohttp.ClientError, OSError):
            raise broken_off() from None

    async def heartbeat(self) -> None:
        """Pings the upstream. Raises AttemptFailed for one that stays silent; else it never ends.

        While its messages wait here for a slow caller, an upstream is not heard and not suspected.
        """
        while True:
            await asyncio.sleep(self._heartbeat_seconds)
            if self._wire._reading_paused:
                self._hear()
            silence = self._loop.time() - self._heard_at
            if silence > self._heartbeat_seconds * 2:
                raise AttemptFailed("idle_timeout", f"The upstream answered no ping for {silence:.0f} seconds.")
            with suppress(TimeoutError, aiohttp.ClientError, OSError):
                async with asyncio.timeout(self._heartbeat_seconds):
                    await self._writer.send_frame(b"", aiohttp.WSMsgType.PING)

    async def close(self, code: int, reason: str = "") -> None:
        """Says so, in answer to a closing frame or first, and gives the upstream a moment to end the connection.

        What it still sends meanwhile is dropped, up to the size of a message.
        """
        left = MOST_MESSAGE_BYTES
        said = reason.encode()[:MOST_REASON_BYTES].decode(errors="ignore").encode()
        with suppress(TimeoutError, aiohttp.EofStream, aiohttp.WebSocketError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._writer.close(code_to_send(code), said)
                while left > 0:
                    kind, content, _ = await self._queue.read()
                    left -= 0 if kind is aiohttp.WSMsgType.CLOSE else len(content)


def broken_off() -> AttemptFailed:
    return AttemptFailed("reset", "The upstream broke the WebSocket off without closing it.")


def broken_rules(error: aiohttp.WebSocketError) -> AttemptFailed:
    if error.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
        return AttemptFailed("too_large", f"The upstream sent a message of over {MOST_MESSAGE_BYTES} bytes.")
    return AttemptFailed("protocol_error", "The upstream broke the rules of WebSocket.")
