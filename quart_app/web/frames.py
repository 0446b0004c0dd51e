"""The caller's side of a WebSocket: the answer to its handshake, its messages whole, and how it closed.

Under Hypercorn this listens on the server's own protocol object as well, for what ASGI does not say: the caller's
closing code. There too each piece of a message is handed on by itself, so that one without an end fills no memory.
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any

from quart_app.outbound.sockets import cut, has_left, keep_alive
from quart_app.outbound.websocket import (
    CLOSE_SECONDS,
    DEFLATE,
    MOST_MESSAGE_BYTES,
    MOST_REASON_BYTES,
    NO_CODE,
    Close,
    code_to_send,
)
from quart_app.web.caller import Caller, CallerGone, transport_of

LENGTHS = (b"content-length", b"transfer-encoding")
REFUSED = {"type": "websocket.close", "code": 1008}


class MessageTooLarge(Exception):
    """A message of the caller's has more than MOST_MESSAGE_BYTES."""


class Plain:
    """ASGI's words for an HTTP exchange, of those for a handshake, which the server answers with a refusal at most."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self.send = send  # under this name `transport_of` finds the way on
        self._receive = receive
        self._takes_answers = "websocket.http.response" in (scope.get("extensions") or {})

    async def hear(self) -> Any:
        message = await self._receive()
        if message["type"] == "websocket.connect":
            return {"type": "http.request", "body": b"", "more_body": False}
        return {"type": "http.disconnect"} if message["type"] == "websocket.disconnect" else message

    async def say(self, message: Any) -> None:
        if self._takes_answers:
            await self.send(message | {"type": f"websocket.{message['type']}"})
        elif message["type"] == "http.response.start":
            await self.send(REFUSED)


class Asking(Caller):
    """A caller that asks for a WebSocket, until that is answered; `frames` is what it has from then on."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        plain = Plain(scope, receive, send)
        headers = [header for header in scope["headers"] if header[0] not in LENGTHS]
        super().__init__(scope | {"method": "GET", "headers": headers}, plain.hear, plain.say)
        self.frames = Frames(receive, send)
        self.ends_at: float | None = None

    @property
    def protocols(self) -> tuple[str, ...]:
        return tuple(self.scope.get("subprotocols") or ())

    @property
    def compressed(self) -> bool:
        """Whether it offers permessage-deflate (RFC 7692)."""
        return DEFLATE in self.headers.get("sec-websocket-extensions", "")


class Listener:
    """Hears what a caller's frames say, where the server has a protocol object that tells: `stream`."""

    def __init__(self, stream: Any) -> None:
        self.closed: Close | None = None
        self.ends: deque[bool] = deque()
        handshake = stream.handshake
        accept = handshake.accept

        def accepting(*arguments: Any) -> Any:
            status, headers, connection = accept(*arguments)
            events = connection.events
            connection.events = lambda: map(self._note, events())
            return status, headers, connection

        handshake.accept = accepting
        handshake.extensions = None  # a compressed message could be of any size before it is seen

    def _note(self, event: Any) -> Any:
        """Each piece of a message passes as one that is whole; `ends` tells in order which one was the last."""
        if hasattr(event, "message_finished"):
            self.ends.append(event.message_finished)
            return type(event)(data=event.data, frame_finished=True, message_finished=True)
        if hasattr(event, "code"):
            self.closed = Close(int(event.code or NO_CODE), event.reason or "")
        return event


class Frames:
    """An open WebSocket of a caller. One task sends, one receives."""

    def __init__(self, receive: Any, send: Any) -> None:
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._sending_since: float | None = None
        self._gone = False
        stream = getattr(send, "__self__", None)
        self._listener = Listener(stream) if hasattr(stream, "handshake") else None
        self._transport = transport_of(send)

    async def accept(self, headers: list[tuple[bytes, bytes]], protocol: str | None) -> None:
        await self._send({"type": "websocket.accept", "subprotocol": protocol, "headers": headers})
        if self._transport is not None:
            keep_alive(self._transport)

    async def receive(self) -> str | bytes | Close:
        """The next message whole, or the closing frame. Raises CallerGone for any other end, MessageTooLarge."""
        pieces: list[Any] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return self._left(message)
            if message["type"] != "websocket.receive":
                continue
            piece = message.get("bytes")
            pieces.append(message["text"] if piece is None else piece)
            size += len(pieces[-1])
            if size > MOST_MESSAGE_BYTES:
                raise MessageTooLarge
            if self._listener is None or self._listener.ends.popleft():
                whole: str | bytes = pieces[0] if len(pieces) == 1 else type(pieces[0])().join(pieces)
                return whole

    def _left(self, message: Any) -> Close:
        self._gone = True
        if self._listener is not None:
            if self._listener.closed is None:
                raise CallerGone
            return self._listener.closed
        if message.get("code", NO_CODE) == 1006:
            raise CallerGone
        return Close(message.get("code") or NO_CODE, message.get("reason") or "")

    async def send(self, content: str | bytes) -> None:
        """One message; waits while the caller takes nothing."""
        kind = "text" if isinstance(content, str) else "bytes"
        self._sending_since = self._loop.time()
        await self._send({"type": "websocket.send", kind: content})
        self._sending_since = None

    def stands_still(self, seconds: float) -> bool:
        """Whether the caller has taken nothing of a message for so long."""
        return self._sending_since is not None and self._loop.time() - self._sending_since > seconds

    def has_left(self) -> bool:
        """Whether the caller's connection has ended, also where messages of it are still unread."""
        return self._transport is not None and has_left(self._transport)

    async def close(self, code: int, reason: str = "") -> None:
        """Says so and gives the caller a moment to answer; then its connection is cut, with all that it still sends."""
        if not self._gone:
            said = reason.encode()[:MOST_REASON_BYTES].decode(errors="ignore")
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._send({"type": "websocket.close", "code": code_to_send(code), "reason": said})
                    await self._take_rest()
        self.cut()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._take_rest()

    async def _take_rest(self) -> None:
        """Until the server says that the caller is gone: it would wait for ever for us to take what it has."""
        while not self._gone:
            self._gone = (await self._receive())["type"] == "websocket.disconnect"

    def cut(self) -> None:
        """Ends the connection at once, if it has not ended."""
        if not self._gone and self._transport is not None:
            cut(self._transport)
