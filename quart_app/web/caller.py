"""The caller's side of a proxied call: its body as it comes, whether it is still there, and an end it cannot misread.

One task owns `receive()`: it feeds the upload and ends the call when the caller has gone, because the server drops
silently what is sent after that. It also keeps taking: the server queues ten messages for us, then waits for room, and
until it has some it neither sees that a caller has gone nor ends an answer.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from quart_app.errors import AppError
from quart_app.outbound.sockets import cut, has_left
from quart_app.web.access import Admission

DRAIN_SECONDS = 5.0
WATCH_AFTER_SECONDS = 0.1
LOOK_SECONDS = 0.5
LAYERS = 8
WITHDRAWN = "The caller's key or sign-in ended while the call was under way."
END = {"type": "http.response.body", "body": b"", "more_body": False}


class CallerGone(Exception):
    """The caller closed its connection, or stopped reading for too long."""


def too_large(most: int) -> AppError:
    return AppError(413, "body_too_large", f"A body through /proxy has at most {most} bytes.")


def transport_of(send: Any) -> Any:
    """The transport under an ASGI `send` of Hypercorn, None under any other.

    ASGI does not show it. Such a `send` is a bound method, and each object on the way down keeps that of the next.
    """
    for _ in range(LAYERS):
        owner = getattr(send, "__self__", None)
        writer = getattr(owner, "writer", None)
        if writer is not None:
            return writer.transport
        send = getattr(owner, "send", None)
    return None


class Caller:
    """The caller's side of one request: its headers, its body as it comes, and whether it is still there."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.names = frozenset(name for name, _ in scope["headers"])
        self.answered = False
        self.gone = False
        self.revoked = False
        self.admission: Admission | None = None
        self._receive = receive
        self._send = send
        self._pieces: asyncio.Queue[bytes | None] | None = None
        self._ended = False
        self._dropping = False
        self._over = False
        self._loop = asyncio.get_running_loop()
        self._work: asyncio.Task[Any] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sending_since: float | None = None
        self._stall_seconds = 0.0

    def body_length(self) -> int | None:
        """Bytes of the body: 0 for none, None for one whose length only its end will tell."""
        if b"transfer-encoding" in self.names:
            return None
        return int(self.headers.get("content-length", 0))

    async def body(self, most: int) -> AsyncIterator[bytes]:
        """The body's pieces. Raises AppError 413 past `most` bytes, CallerGone when the caller goes."""
        size = 0
        while (piece := await self._next_piece()) is not None:
            size += len(piece)
            if size > most:
                raise too_large(most)
            yield piece

    async def _next_piece(self) -> bytes | None:
        if self._pieces is not None:
            return await self._pieces.get()
        while not self._ended:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.gone = self._ended = True
                raise CallerGone
            self._ended = not message.get("more_body", False)
            if message.get("body"):
                piece: bytes = message["body"]
                return piece
        return None

    @property
    def uploads(self) -> bool:
        """Whether more of the body is to come while the call is under way."""
        return not self._ended and self.body_length() != 0

    def watch(
        self, work: asyncio.Task[Any], stall_seconds: float, admission: Admission | None = None, *, at_once: bool
    ) -> None:
        """From now on, or when the call is not over soon, the caller is watched: `work` is cancelled when it goes.

        So it is when the `admission` holds no more, and `revoked` tells the one from the other.
        """
        self._work, self._stall_seconds, self.admission = work, stall_seconds, admission
        if at_once:
            self._pieces = asyncio.Queue(2)
            self._start_watch()
        else:
            self._timer = self._loop.call_later(WATCH_AFTER_SECONDS, self._start_watch)

    def _start_watch(self) -> asyncio.Task[None]:
        self._watch = asyncio.create_task(self._own_receive(), name="caller")
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)
        return self._watch

    async def _own_receive(self) -> None:
        while (message := await self._receive())["type"] != "http.disconnect":
            if self._ended:
                continue
            self._ended = not message.get("more_body", False)
            if self._pieces is not None and not self._dropping:
                if message.get("body"):
                    await self._pieces.put(message["body"])
                if self._ended:
                    await self._pieces.put(None)
            if self._dropping and self._ended:
                return
        self._ended = True
        if not self._over:
            self._let_go()

    def _look(self) -> None:
        """Now and then: lets go of a caller that has taken nothing for too long, or went while nobody read."""
        stalled = self._sending_since is not None and self._loop.time() - self._sending_since > self._stall_seconds
        transport = transport_of(self._send)
        if transport is not None and (stalled or has_left(transport)):
            cut(transport)
            self._let_go()
        elif stalled:
            self._let_go()
        elif self._asking is None and self.admission is not None and self.admission.is_in_doubt():
            self._asking = asyncio.create_task(self._ask_again(self.admission), name="admission")
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    async def _ask_again(self, admission: Admission) -> None:
        self.revoked = not await admission.holds()
        self._asking = None
        if self.revoked and self._work is not None:
            transport = transport_of(self._send)
            if self.answered and transport is not None:
                cut(transport)  # else a long answer would only seem to be slow
            self._work.cancel(WITHDRAWN)

    def _let_go(self) -> None:
        self.gone = True
        if self._work is not None:
            self._work.cancel()

    async def send(self, message: Any) -> None:
        self.answered = True
        ends = not message.get("more_body", True)
        if ends and self.uploads:
            await self._send(message | {"more_body": True})
            await self._take_in_rest()
            message = END
        if ends and self.uploads:
            return
        self._over = ends  # the server says that a caller has gone also when all is done
        self._sending_since = self._loop.time()
        await self._send(message)
        self._sending_since = None

    async def _take_in_rest(self) -> None:
        """Before the end of an early answer: drops what is still being sent, for a bounded time.

        The server waits for us to take it, and a caller that sends all before it reads would find its connection
        reset, and no answer.
        """
        self._dropping, self._work = True, None
        watch = self._watch or self._start_watch()
        while self._pieces is not None and not self._pieces.empty():
            self._pieces.get_nowait()
        await asyncio.wait({watch}, timeout=DRAIN_SECONDS)

    async def hang_up(self) -> None:
        """With an upload unfinished nothing can follow: cuts the connection, and takes what the server has for us.

        It would wait for ever for us to take that, and keep the connection for as long.
        """
        transport = transport_of(self._send)
        if transport is not None:
            cut(transport)
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while (await self._receive())["type"] != "http.disconnect":
                    pass

    async def break_off(self, *, framed: bool) -> None:
        """Lets the caller see that the answer is not whole: the server closes the connection once we are done.

        To HTTP/1.0 that would be the end of an answer without a length, so there the connection is reset.
        """
        transport = transport_of(self._send)
        if transport is not None and not framed and self.scope["http_version"] == "1.0":
            cut(transport)
            await asyncio.sleep(0)  # first, because the server would end it in order

    def close(self) -> None:
        """Ends the watch, and leaves no circle behind: a task's last error holds its frame, and that this caller."""
        tasks, timer = (self._watch, self._asking), self._timer
        self._work = self._watch = self._asking = self._timer = None
        if timer is not None:
            timer.cancel()
        for task in tasks:
            if task is not None:
                task.cancel()
