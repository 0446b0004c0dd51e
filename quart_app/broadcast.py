"""What happens, told to whoever listens in this process: at most once each, and never waited for."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

BACKLOG = 500
SILENCE_SECONDS = 3.0


class Broadcast:
    """`publish` costs nothing while nobody listens. A listener that falls behind by BACKLOG is let go."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[tuple[str, Any] | None]] = set()

    @property
    def count(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def publish(self, kind: str, item: Any) -> None:
        for queue in list(self._listeners):
            try:
                queue.put_nowait((kind, item))
            except asyncio.QueueFull:
                self._end(queue)

    @contextmanager
    def listening(self) -> Iterator[AsyncIterator[tuple[str, Any] | None]]:
        """Events from now on as `(kind, item)`, and None after each SILENCE_SECONDS without one, until `close`."""
        queue: asyncio.Queue[tuple[str, Any] | None] = asyncio.Queue(BACKLOG)
        self._listeners.add(queue)
        try:
            yield events(queue)
        finally:
            self._listeners.discard(queue)

    def close(self) -> None:
        """Ends every listener's iteration."""
        for queue in list(self._listeners):
            self._end(queue)

    def _end(self, queue: asyncio.Queue[tuple[str, Any] | None]) -> None:
        self._listeners.discard(queue)
        while queue.full():
            queue.get_nowait()
        queue.put_nowait(None)


async def events(queue: asyncio.Queue[tuple[str, Any] | None]) -> AsyncIterator[tuple[str, Any] | None]:
    while True:
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                event = await queue.get()
        except TimeoutError:
            yield None
            continue
        if event is None:
            return
        yield event
