"""WebSockets through `/proxy/<connection>/<path>`: the relay's rules for the handshake, then messages both ways.

A tunnel is one call: on record as `sending` while it is open, and settled once, with what it carried and how it closed.
The caller's closing frame waits until that is on disk, as the end of an answer does.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Literal

from quart_app.outbound.client import Answer, AttemptFailed, Outgoing
from quart_app.outbound.headers import returned
from quart_app.outbound.target import Target
from quart_app.outbound.websocket import BROKEN, MOST_MESSAGE_BYTES, Close, Opening, Upgraded
from quart_app.sending.flight import Flight
from quart_app.services import Services
from quart_app.web import access
from quart_app.web.access import Admission
from quart_app.web.caller import WITHDRAWN, Caller, CallerGone
from quart_app.web.frames import REFUSED, Asking, Frames, MessageTooLarge
from quart_app.web.relay import PREFIX, UPSTREAM, Relay

LOOK_SECONDS = 0.5
GOING_AWAY, AGAINST_RULES, TOO_LARGE, FAULT = 1001, 1008, 1009, 1011
CODE_FOR = {"protocol_error": 1002, "too_large": TOO_LARGE}
"""What an upstream is told of its own fault; of any other end that has no code, that we are going."""

Side = Literal["caller", "upstream", "switchboard"]


@dataclass(eq=False)
class Ending(Exception):
    """How a tunnel closed: by whom, with which code and words, and what its record says of it."""

    by: Side
    code: int
    said: str = ""
    state: str = "done"
    reason: str | None = None
    detail: str = ""


class Tunnels(Relay):
    """Takes the WebSockets; passes the rest to `app`."""

    rule = access.SOCKET

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
        elif scope["raw_path"].startswith(PREFIX):
            await self.serve(Asking(scope, receive, send))
        else:
            await send(REFUSED)

    def flight(self, services: Services, target: Target, outgoing: Outgoing, caller: Caller, **more: Any) -> Flight:
        assert isinstance(caller, Asking)
        opening = Opening(services.client, caller.protocols, caller.compressed)
        if more["total_seconds"] is not None:
            caller.ends_at = time.monotonic() + more["total_seconds"]
        return Flight(services, target, outgoing, origin="proxy", exchange=opening, **more)

    async def answer(self, flight: Flight, answer: Answer, caller: Caller, *, browser: bool) -> None:
        """The upstream's refusal as any answer of its; or the tunnel, until it has closed."""
        if not isinstance(answer, Upgraded):
            await super().answer(flight, answer, caller, browser=browser)
            return
        assert isinstance(caller, Asking)
        assert caller.admission is not None
        caller.close()
        caller.answered = True
        headers = [item for item in returned(answer.headers) if not item[0].startswith(b"sec-websocket-")]
        headers += [(b"x-switchboard-call", flight.id.encode()), UPSTREAM]
        await caller.frames.accept(headers, answer.socket.protocol)
        await Tunnel(flight, answer, caller.frames, caller.admission, caller.ends_at).run()


class Tunnel:
    """An open one, from the handshake on. `run` ends when it has closed and is on record."""

    def __init__(
        self, flight: Flight, answer: Upgraded, caller: Frames, admission: Admission, ends_at: float | None
    ) -> None:
        """`ends_at`, on the monotonic clock, is where the total time that was asked for is over."""
        self._flight = flight
        self._services = flight.services
        self._upstream = answer.socket
        self._caller = caller
        self._admission = admission
        self._ends_at = ends_at
        self._left_before = False
        self.sent = self.received = self.bytes_sent = self.bytes_received = 0

    async def run(self) -> None:
        flight, ending = self._flight, None
        try:
            flight.services.recorder.put(await flight.log.so_far())
            ending = await self._carry()
            code = CODE_FOR.get(ending.reason or "", GOING_AWAY) if ending.code == BROKEN else ending.code
            await self._upstream.close(code, ending.said)
        finally:
            self._note(ending)
        await self._settle(ending)
        await self._caller.close(FAULT if ending.code == BROKEN else ending.code, ending.said)

    async def _carry(self) -> Ending:
        """Both ways until it ends; where that has more than one cause, the first counts."""
        ends: list[Ending] = []

        async def until_the_end(work: Any) -> None:
            try:
                await work
            except Ending as ending:
                ends.append(ending)
                raise

        try:
            async with asyncio.TaskGroup() as group:
                for work in (self._up(), self._down(), self._heartbeat(), self._look()):
                    group.create_task(until_the_end(work))
        except* Ending:
            pass
        return ends[0]

    async def _up(self) -> None:
        """The caller's messages to the upstream; once it takes no more, `_down` hears why."""
        try:
            while not isinstance(message := await self._caller.receive(), Close):
                await self._upstream.send(message)
                self.sent += 1
                self.bytes_sent += size(message)
        except AttemptFailed:
            return
        except CallerGone:
            raise Ending("caller", BROKEN, state="cancelled") from None
        except MessageTooLarge:
            detail = f"The caller sent a message of over {MOST_MESSAGE_BYTES} bytes."
            raise Ending("switchboard", TOO_LARGE, "The message is too large.", "failed", "too_large", detail) from None
        raise Ending("caller", message.code, message.reason)

    async def _down(self) -> None:
        try:
            while not isinstance(message := await self._upstream.receive(), Close):
                self.received += 1
                self.bytes_received += size(message)
                await self._caller.send(message)
        except AttemptFailed as error:
            raise broken(error) from None
        raise Ending("upstream", message.code, message.reason)

    async def _heartbeat(self) -> None:
        try:
            await self._upstream.heartbeat()
        except AttemptFailed as error:
            raise broken(error) from None

    async def _look(self) -> None:
        """Now and then: what no message tells."""
        stall_seconds = self._services.settings.write_stall_seconds
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._services.draining:
                raise Ending("switchboard", GOING_AWAY, "The server is stopping.", "cancelled")
            if self._ends_at is not None and time.monotonic() > self._ends_at:
                said = "The call took longer than its total time."
                raise Ending("switchboard", GOING_AWAY, said, "failed", "total_timeout", said)
            if self._caller.stands_still(stall_seconds):
                self._caller.cut()
                raise Ending("caller", BROKEN, state="cancelled", detail="The caller stopped reading.")
            if self._is_left():
                raise Ending("caller", BROKEN, state="cancelled")
            if self._admission.is_in_doubt() and not await self._admission.holds():
                raise Ending("switchboard", AGAINST_RULES, WITHDRAWN, "cancelled", detail=WITHDRAWN)

    def _is_left(self) -> bool:
        """Whether the caller had gone at the last look already: what it sent before that had time to come through."""
        before, self._left_before = self._left_before, self._caller.has_left()
        return before and self._left_before

    def _note(self, ending: Ending | None) -> None:
        """What was carried and how it closed, in the form of the API."""
        self._flight.log.websocket(
            {
                "frames_sent": self.sent,
                "frames_received": self.received,
                "bytes_sent": self.bytes_sent,
                "bytes_received": self.bytes_received,
                "close_code": ending and ending.code,
                "closed_by": ending and ending.by,
            }
        )

    async def _settle(self, ending: Ending) -> None:
        if ending.state == "done":
            await self._flight.land()
        elif ending.reason is None:
            self._flight.abandon(ending.detail)
        elif ending.by == "upstream":
            await self._flight.broke_off(AttemptFailed(ending.reason, ending.detail))
        else:
            await self._flight.fail(ending.reason, ending.detail)


def broken(error: AttemptFailed) -> Ending:
    """The upstream's end without a closing frame."""
    return Ending("upstream", BROKEN, error.detail, "failed", error.reason, error.detail)


def size(message: str | bytes) -> int:
    """Bytes of a message as it travels, before any compression."""
    return len(message) if isinstance(message, bytes) or message.isascii() else len(message.encode())
