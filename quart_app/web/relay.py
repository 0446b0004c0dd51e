"""`/proxy/<connection>/<path>`: streams both ways with back-pressure, outside Quart's request machinery.

Both bodies pass as they come. One task owns `receive()`: it feeds the upload and ends the call when the caller has
gone, because the server drops silently what is sent after that. The end of an answer is held back until its record
is on disk, so what a caller saw whole is never lost, and until the upload is all in, as the server would wait for it.
An upstream that breaks off makes the caller's transfer break off as well: it is never given a clean end.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from quart_app import calls, connections
from quart_app.accounts import Who
from quart_app.errors import AppError, CallFailed, Invalid
from quart_app.flight import Flight
from quart_app.outbound import urls
from quart_app.outbound.client import Answer, Outgoing
from quart_app.outbound.headers import Headers, returned
from quart_app.outbound.target import Target
from quart_app.services import Services
from quart_app.web import access
from quart_app.web.problems import send_problem
from quart_app.web.transport import cut, has_left, transport_of

PREFIX = b"/proxy/"
SMALL_BODY_BYTES = 64 * 1024
DRAIN_SECONDS = 5.0
WATCH_AFTER_SECONDS = 0.1
LOOK_SECONDS = 0.5
GATEWAY = ("X-Switchboard-Source", "gateway")
UPSTREAM = (b"x-switchboard-source", b"upstream")
FOR_BROWSERS: Headers = [
    (b"content-security-policy", b"sandbox; default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


class CallerGone(Exception):
    """The caller closed its connection, or stopped reading for too long."""


class Relay:
    """Takes `/proxy/…`; passes the rest to `app`. `open_services` gives the services once they are open."""

    def __init__(self, app: Any, services: Any) -> None:
        self.app = app
        self.services = services

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not scope["raw_path"].startswith(PREFIX):
            await self.app(scope, receive, send)
            return
        caller = Caller(scope, receive, send)
        try:
            await self.relay(self.services(), caller)
        except AppError as error:
            if not caller.answered:
                await send_problem(caller.send, error, [GATEWAY], head=scope["method"] == "HEAD")
        except CallerGone:
            pass
        finally:
            caller.close()

    async def relay(self, services: Services, caller: "Caller") -> None:
        name, slash, path = caller.scope["raw_path"][len(PREFIX) :].partition(b"/")
        headers = caller.headers
        who = await access.identify(services, headers, proxied=True)
        if who is not None and who.person:
            access.check_navigation(headers)
        access.admit(access.CALL, who, headers, services.settings)
        assert who is not None
        if services.draining:
            raise AppError(503, "draining", "The server is stopping; try again in a moment.")
        target = await connections.load(services, name.decode("ascii", "replace"))
        outgoing = await self.outgoing(services, caller, target, (slash + path).decode("latin-1"))
        flight = calls.stream(services, target, outgoing, actor=who.actor)
        await self.fly(flight, caller, who)

    async def outgoing(self, services: Services, caller: "Caller", target: Target, path: str) -> Outgoing:
        """The caller's request; a small body is taken whole, so that it can be sent again after a 401."""
        scope = caller.scope
        for name, value in scope["headers"]:
            if not value.isascii():
                raise Invalid("invalid_header_value", f"The header {name.decode('latin-1')} is not ASCII.")
        length = caller.body_length()
        most = services.settings.upload_bytes
        if length is not None and length > most:
            raise too_large(most)
        url = urls.join(target.base, path, scope["query_string"].decode("latin-1"))
        headers = calls.sent_headers(scope["headers"], target)
        outgoing = Outgoing(scope["method"], url, headers, length=length)
        if length is not None and 0 < length <= SMALL_BODY_BYTES:
            outgoing.body = b"".join([piece async for piece in caller.body(most)])
        elif length != 0:
            outgoing.body = caller.body(most)
        elif b"content-length" in caller.names:
            outgoing.body = b""
        return outgoing

    async def fly(self, flight: Flight, caller: "Caller", who: Who) -> None:
        """Sends the call and passes its answer on, all of it ended at once when the caller goes."""
        work = asyncio.current_task()
        assert work is not None
        caller.watch(work, flight.services.settings.write_stall_seconds, at_once=caller.uploads)
        try:
            answer = await flight.depart()
            await self.answer(flight, answer, caller, browser=who.person)
        except asyncio.CancelledError:
            flight.abandon()
            if caller.gone:
                work.uncancel()
                raise CallerGone from None
            raise
        except BaseException:
            flight.abandon()
            if caller.refusal is not None:
                raise caller.refusal from None
            raise

    async def answer(self, flight: Flight, answer: Answer, caller: "Caller", *, browser: bool) -> None:
        headers = returned(answer.headers, browser=browser)
        headers += [(b"x-switchboard-call", flight.id.encode()), UPSTREAM]
        if browser:
            headers += FOR_BROWSERS
        start = {"type": "http.response.start", "status": answer.status, "headers": headers}
        piece = flight.take_rest()
        if piece is not None:
            await flight.land()
            await caller.send(start)
            await caller.send({"type": "http.response.body", "body": piece, "more_body": False})
            return
        await caller.send(start)
        await self.pass_on(flight, caller, answer.length)

    async def pass_on(self, flight: Flight, caller: "Caller", length: int | None) -> None:
        """Piece by piece; the last one, where Content-Length tells which it is, waits for the record."""
        left = length
        try:
            while piece := await flight.read():
                if left is not None:
                    left -= len(piece)
                    if left <= 0:
                        await flight.read()
                        await flight.land()
                await caller.send({"type": "http.response.body", "body": piece, "more_body": True})
        except CallFailed:
            caller.break_off(framed=length is not None)
            return
        await flight.land()
        await caller.send({"type": "http.response.body", "body": b"", "more_body": False})


def too_large(most: int) -> AppError:
    return AppError(413, "body_too_large", f"A body through /proxy has at most {most} bytes.")


class Caller:
    """The caller's side of one request: its headers, its body as it comes, and whether it is still there."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.names = frozenset(name for name, _ in scope["headers"])
        self.answered = False
        self.gone = False
        self.refusal: AppError | None = None
        self._receive = receive
        self._send = send
        self._pieces: asyncio.Queue[bytes | None] | None = None
        self._ended = False
        self._dropping = False
        self._loop = asyncio.get_running_loop()
        self._work: asyncio.Task[Any] | None = None
        self._watch: asyncio.Task[None] | None = None
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
                self.refusal = too_large(most)
                raise self.refusal
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

    def watch(self, work: asyncio.Task[Any], stall_seconds: float, *, at_once: bool) -> None:
        """From now on, or when the call is not over soon, the caller is watched: `work` is cancelled when it goes."""
        self._work, self._stall_seconds = work, stall_seconds
        if at_once:
            self._pieces = asyncio.Queue(2)
            self._start_watch()
        else:
            self._timer = self._loop.call_later(WATCH_AFTER_SECONDS, self._start_watch)

    def _start_watch(self) -> None:
        self._watch = asyncio.create_task(self._own_receive(), name="caller")
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

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
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    def _let_go(self) -> None:
        self.gone = True
        if self._work is not None:
            self._work.cancel()

    async def send(self, message: Any) -> None:
        self.answered = True
        if not message.get("more_body", True) and self.uploads:
            message = await self._take_in_rest(message)
        self._sending_since = self._loop.time()
        await self._send(message)
        self._sending_since = None

    async def _take_in_rest(self, last: Any) -> Any:
        """Before the end of an early answer: drops what is still being sent, for a bounded time; returns the end.

        The server waits for us to take it, and a caller that sends all before it reads would find its connection
        reset, and no answer.
        """
        await self._send(last | {"more_body": True})
        self._dropping, self._work = True, None
        if self._watch is None:
            self._start_watch()
        while self._pieces is not None and not self._pieces.empty():
            self._pieces.get_nowait()
        assert self._watch is not None
        await asyncio.wait({self._watch}, timeout=DRAIN_SECONDS)
        return {"type": "http.response.body", "body": b"", "more_body": False}

    def break_off(self, *, framed: bool) -> None:
        """Lets the caller see that the answer is not whole: the server closes the connection once we are done.

        To HTTP/1.0 that would be the end of an answer without a length, so there the connection is reset.
        """
        transport = transport_of(self._send)
        if transport is not None and not framed and self.scope["http_version"] == "1.0":
            cut(transport)

    def close(self) -> None:
        self._work = None
        if self._timer is not None:
            self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()
