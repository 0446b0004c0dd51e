"""Callers: one call and how it ended, and steady ones whose waits are measured."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from faults.harness import Bench, percentile
from faults.switchboard import Switchboard
from tests.wire import Answered, Broken, Wire


@dataclass
class Ended:
    """How a call through `/proxy` ended for its caller. `whole`: the answer came to its end."""

    status: int
    whole: bool
    seconds: float
    body: bytes
    headers: list[tuple[str, str]] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def id(self) -> str | None:
        return self.header("x-switchboard-call")

    @property
    def ours(self) -> bool:
        """Whether the gateway answered, and not the upstream."""
        return self.header("x-switchboard-source") == "gateway"

    @property
    def code(self) -> str | None:
        """The code of a problem of ours."""
        if self.header("content-type") != "application/problem+json":
            return None
        said: str = json.loads(self.body)["code"]
        return said


NOTHING = Ended(0, False, 0.0, b"")
"""No answer at all."""


async def call(
    switchboard: Switchboard,
    target: str,
    method: str = "GET",
    headers: Sequence[str] = (),
    body: bytes | None = None,
) -> Ended:
    """One call on a connection of its own, to the path under `/proxy/` that `target` is."""
    async with Wire.to(switchboard.port, switchboard.key) as wire:
        return await call_on(wire, target, method, headers, body)


async def call_on(
    wire: Wire, target: str, method: str = "GET", headers: Sequence[str] = (), body: bytes | None = None
) -> Ended:
    """One call on a connection that stays open. Status 0 stands for no answer at all."""
    began = time.monotonic()
    lengths = [] if body is None else [f"Content-Length: {len(body)}"]
    try:
        await wire.send(wire.head(method, f"/proxy/{target}", [*headers, *lengths]) + (body or b""))
        answered = await wire.answer_head()
    except (Broken, ConnectionError, TimeoutError):
        return Ended(0, False, time.monotonic() - began, b"")
    whole = await took_whole(wire, answered, method)
    return Ended(answered.status, whole, time.monotonic() - began, answered.body, answered.headers)


async def took_whole(wire: Wire, answered: Answered, method: str) -> bool:
    try:
        while piece := await wire.piece(answered, method):
            answered.body += piece
    except (Broken, TimeoutError):
        return False
    return True


def check_failure(bench: Bench, ended: Ended, what: str, *codes: str, statuses: Sequence[int] = (502, 504)) -> bool:
    """I1: a failed call is a problem+json of the gateway with one of these codes."""
    said = f"{what}: {ended.status} {ended.code} {ended.body[:120]!r}"
    return bench.check(ended.status in statuses and ended.ours and ended.code in codes, said)


# Steady callers


class Steady:
    """Callers that ask at a steady pace, each on a connection of its own, and how long each answer took."""

    def __init__(self, switchboard: Switchboard, target: str, *, callers: int, a_second: float) -> None:
        self.switchboard = switchboard
        self.target = target
        self.callers = callers
        self.pause = callers / a_second
        self.ended: list[Ended] = []
        self.begun = 0

    @asynccontextmanager
    async def asking(self) -> AsyncIterator["Steady"]:
        tasks = [asyncio.create_task(self.ask(number)) for number in range(self.callers)]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def ask(self, number: int) -> None:
        """As any client: where a connection that was kept turns out to be closed, once more on a new one."""
        await asyncio.sleep(self.pause * number / self.callers)
        wire = None
        while True:
            began = time.monotonic()
            self.begun += 1
            ended = await self.ask_on(wire) if wire is not None else NOTHING
            if ended.status == 0:
                if wire is not None:
                    wire.leave()
                wire = await self.connected()
                ended = await self.ask_on(wire)
            ended.seconds = time.monotonic() - began
            self.ended.append(ended)
            await asyncio.sleep(max(0.0, began + self.pause - time.monotonic()))

    async def connected(self) -> Wire:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.switchboard.port)
        return Wire(reader, writer, self.switchboard.key)

    async def ask_on(self, wire: Wire) -> Ended:
        ended = await call_on(wire, self.target)
        if not ended.whole:
            wire.leave()
        return ended

    def taken(self) -> list[Ended]:
        """What ended since this was asked last."""
        ended, self.ended = self.ended, []
        return ended

    async def p99_over(self, seconds: float) -> float:
        """The 99th percentile of the waits of the next seconds; infinite where a call went wrong."""
        self.taken()
        await asyncio.sleep(seconds)
        ended = self.taken()
        if not ended or any(one.status != 200 or not one.whole for one in ended):
            return float("inf")
        return percentile([one.seconds for one in ended], 99) or 0.0


async def eventually(holds: Callable[[], Any], seconds: float) -> float | None:
    """How long until something holds; None where it does not in time."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > seconds:
            return None
        await asyncio.sleep(0.005)
    return time.monotonic() - began
