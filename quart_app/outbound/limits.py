"""How many calls of a connection may be in flight at once; the others wait their turn, in order."""

import asyncio
from collections import deque

from quart_app.errors import CallFailed

WAIT_SECONDS = 10.0
WAITERS = 2000


class Slots:
    """The places of one connection. `take` returns the seconds waited; each take is followed by one `give`."""

    def __init__(self, *, wait_seconds: float = WAIT_SECONDS, waiters: int = WAITERS) -> None:
        self.taken = 0
        self._limit = 0
        self._wait_seconds = wait_seconds
        self._waiters = waiters
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self, limit: int) -> float:
        """Raises CallFailed `limit_wait` when no place came free in time, or too many wait already.

        The `limit` of the newest take holds for all that wait.
        """
        self._limit = limit
        self._admit()
        if self.taken < limit:
            self.taken += 1
            return 0.0
        if len(self._waiting) >= self._waiters:
            raise CallFailed("limit_wait", "Too many calls wait for this connection already.")
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        began = loop.time()
        try:
            async with asyncio.timeout(self._wait_seconds):
                await turn
        except TimeoutError:
            self._forget(turn)
            raise CallFailed(
                "limit_wait", f"All {limit} places of this connection were taken for {self._wait_seconds:g} s."
            ) from None
        except asyncio.CancelledError:
            self._forget(turn)
            raise
        return loop.time() - began

    def give(self) -> None:
        """Frees the place, for the one who waited longest."""
        self.taken -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self.taken < self._limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self.taken += 1
                turn.set_result(None)

    def _forget(self, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled():
            self.give()
        elif turn in self._waiting:
            self._waiting.remove(turn)
