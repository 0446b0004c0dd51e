"""Client connections: how many are open, which of them stand idle, and who gives way when all places are taken."""

import asyncio
import time
from contextlib import suppress
from typing import Protocol

LOOK_SECONDS = 1.0


class Connection(Protocol):
    def cut(self) -> None:
        """Ends it at once."""

    def retire(self) -> None:
        """Ends it in order."""


class Clients:
    """At most `most` connections. Where all places are taken the one that stood idle longest gives way to a newcomer.

    A connection is idle until its first request has come whole, and between two requests. So those that only hold a
    place (slow headers, a flood) give way, and a caller whose call is under way never does.
    """

    def __init__(self, most: int = 0) -> None:
        """`most` 0 means any number."""
        self.most = most
        self.refused = 0
        self.closed_idle = 0
        self._busy: set[Connection] = set()
        self._idle: dict[Connection, float] = {}  # in the order in which they became so, with when
        self._watching: asyncio.Task[None] | None = None

    @property
    def open(self) -> int:
        return len(self._busy) + len(self._idle)

    @property
    def idle_count(self) -> int:
        return len(self._idle)

    def opened(self, connection: Connection) -> bool:
        """Whether a new connection may stay."""
        if self.most and self.open >= self.most and not self._make_room():
            self.refused += 1
            return False
        self._idle[connection] = time.monotonic()
        return True

    def _make_room(self) -> bool:
        oldest = next(iter(self._idle), None)
        if oldest is None:
            return False
        self.ended(oldest)
        self.closed_idle += 1
        oldest.cut()
        return True

    def watch(self, idle_seconds: float, ended: asyncio.Event) -> None:
        """From the first connection on: retires who is idle for so long, and all who are when the server has `ended`.

        One look a second at all of them: a clock for each would be set and stopped with every request.
        """
        if self._watching is None:
            self._watching = asyncio.create_task(self._retire_idle(idle_seconds, ended), name="clients")

    async def _retire_idle(self, idle_seconds: float, ended: asyncio.Event) -> None:
        while not ended.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await ended.wait()
            now = time.monotonic()
            for connection in [one for one, since in self._idle.items() if now - since >= idle_seconds]:
                self._retire(connection)
        for connection in list(self._idle):
            self._retire(connection)

    def _retire(self, connection: Connection) -> None:
        self._idle[connection] = float("inf")  # once
        connection.retire()

    def busy(self, connection: Connection) -> None:
        """A request has come whole."""
        if connection in self._idle:
            del self._idle[connection]
            self._busy.add(connection)

    def idle(self, connection: Connection) -> None:
        """An answer has gone out whole."""
        if connection in self._busy:
            self._busy.discard(connection)
            self._idle[connection] = time.monotonic()

    def ended(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        self._busy.discard(connection)

    def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
