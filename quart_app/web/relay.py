"""`/proxy/<connection>/<path>`: streams both ways with back-pressure, outside Quart's request machinery.

Both bodies pass as they come. The end of an answer is held back until its record is on disk, so what a caller saw
whole is never lost. An upstream that breaks off makes the caller's transfer break off as well: it is never given a
clean end.
"""

import asyncio
from typing import Any

from quart_app import calls, connections
from quart_app.errors import AppError, CallFailed, Invalid
from quart_app.outbound import urls
from quart_app.outbound.client import Answer, Outgoing
from quart_app.outbound.headers import Headers, returned
from quart_app.outbound.target import Target
from quart_app.sending.flight import Flight
from quart_app.services import Services
from quart_app.web import access
from quart_app.web.access import Admission
from quart_app.web.caller import Caller, CallerGone, too_large
from quart_app.web.errors import what_to_say
from quart_app.web.problems import send_problem

PREFIX = b"/proxy/"
TOTAL = b"x-switchboard-total-seconds"
LONGEST_TOTAL_SECONDS = 86400.0
SMALL_BODY_BYTES = 64 * 1024
GATEWAY = ("X-Switchboard-Source", "gateway")
UPSTREAM = (b"x-switchboard-source", b"upstream")
FOR_BROWSERS: Headers = [
    (b"content-security-policy", b"sandbox; default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


class Relay:
    """Takes `/proxy/…`; passes the rest to `app`. `open_services` gives the services once they are open."""

    rule = access.CALL

    def __init__(self, app: Any, services: Any) -> None:
        self.app = app
        self.services = services

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not scope["raw_path"].startswith(PREFIX):
            await self.app(scope, receive, send)
            return
        await self.serve(Caller(scope, receive, send))

    async def serve(self, caller: Caller) -> None:
        """The call, or the problem that there is with it."""
        try:
            await self.relay(self.services(), caller)
        except AppError as error:
            if not caller.answered:
                await send_problem(caller.send, error, [GATEWAY], head=caller.scope["method"] == "HEAD")
        except CallerGone:
            pass
        except Exception as error:
            said = what_to_say(error, "relay")
            if not caller.answered:
                await send_problem(caller.send, said, [GATEWAY])
        finally:
            caller.close()
        if caller.uploads:
            await caller.hang_up()

    async def relay(self, services: Services, caller: Caller) -> None:
        name, slash, path = caller.scope["raw_path"][len(PREFIX) :].partition(b"/")
        headers = caller.headers
        epoch = services.caches.epoch
        who = await access.identify(services, headers, proxied=True)
        if who is not None and who.person and not self.rule.socket:
            access.check_navigation(headers)
        access.admit(self.rule, who, headers, services.settings)
        assert who is not None
        if b"via" in caller.names:
            access.check_loop(services.instance_id, [v for name, v in caller.scope["headers"] if name == b"via"])
        if services.draining:
            raise AppError(503, "draining", "The server is stopping; try again in a moment.")
        target = await connections.load(services, name.decode("ascii", "replace"))
        outgoing = await self.outgoing(services, caller, target, (slash + path).decode("latin-1"))
        total = total_seconds(caller) if TOTAL in caller.names else None
        flight = self.flight(services, target, outgoing, caller, actor=who.actor, total_seconds=total)
        await self.fly(flight, caller, Admission(services, headers, who, self.rule, epoch))

    async def outgoing(self, services: Services, caller: Caller, target: Target, path: str) -> Outgoing:
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

    def flight(self, services: Services, target: Target, outgoing: Outgoing, caller: Caller, **more: Any) -> Flight:
        return calls.stream(services, target, outgoing, **more)

    async def fly(self, flight: Flight, caller: Caller, admission: Admission) -> None:
        """Sends the call and passes its answer on, all of it ended at once when the caller goes."""
        work = asyncio.current_task()
        assert work is not None
        stall_seconds = flight.services.settings.write_stall_seconds
        caller.watch(work, stall_seconds, admission, at_once=caller.uploads)
        try:
            answer = await flight.depart()
            await self.answer(flight, answer, caller, browser=admission.who.person)
        except asyncio.CancelledError as error:
            flight.abandon(str(error))
            if caller.gone or caller.revoked:
                work.uncancel()
                raise CallerGone if caller.gone else access.withdrawn() from None
            raise
        except BaseException:
            flight.abandon("Switchboard itself failed.")
            raise

    async def answer(self, flight: Flight, answer: Answer, caller: Caller, *, browser: bool) -> None:
        headers = returned(answer.headers, browser=browser)
        if 300 <= answer.status < 400:
            headers = relocated(headers, answer, flight.target, browser=browser)
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

    async def pass_on(self, flight: Flight, caller: Caller, length: int | None) -> None:
        """Piece by piece; the last one, where Content-Length tells which it is, waits for the record."""
        left = length
        try:
            while piece := await flight.read():
                if left is not None:
                    left -= len(piece)
                    if left <= 0:
                        await flight.read()
                        await flight.land()
                        await caller.send({"type": "http.response.body", "body": piece, "more_body": False})
                        return
                await caller.send({"type": "http.response.body", "body": piece, "more_body": True})
        except CallFailed:
            await caller.break_off(framed=length is not None)
            return
        await flight.land()
        await caller.send({"type": "http.response.body", "body": b"", "more_body": False})


def relocated(headers: Headers, answer: Answer, target: Target, *, browser: bool) -> Headers:
    """A redirect's headers as they hold here: a Location below the base URL becomes one of ours.

    Any other is for programs to follow, without our credential; a browser's fetch would run after it, so it gets the
    URL under a name of which fetch knows nothing.
    """
    kept = [item for item in headers if item[0] != b"location"]
    for value in (value for name, value in answer.headers if name.lower() == b"location"):
        whole, below = urls.led_to(target.base, answer.response.url, value.decode("latin-1"))
        if below is not None:
            kept.append((b"location", f"{PREFIX.decode()}{target.name}{below}".encode("latin-1")))
        else:
            kept.append((b"x-upstream-location" if browser else b"location", whole.encode("latin-1")))
    return kept


def total_seconds(caller: Caller) -> float:
    """The total time that a caller asks for its stream. Raises Invalid."""
    try:
        seconds = float(caller.headers[TOTAL.decode()])
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST_TOTAL_SECONDS:
        raise Invalid("invalid_total_seconds", "X-Switchboard-Total-Seconds is a number of seconds, up to 86400.")
    return seconds
