"""A caller's body on its way to the upstream: copied for the record, given up when either side stands still.

The engine has no limit for a body that does not move: its own begin when all is sent. From the answer's head on,
which may come before the body's end, the answer's own limits count.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from quart_app.errors import AppError
from quart_app.records import Copy


class Upload:
    """An iterator of the body's pieces, to be sent once. `async with upload` is the time until its answer comes.

    That raises TimeoutError when either side, `awaited`, stood still.
    """

    def __init__(self, body: AsyncIterator[bytes], copy: Copy, idle_seconds: float) -> None:
        self.refusal: AppError | None = None
        self.awaited: str | None = None
        self._body = body
        self._copy = copy
        self._idle_seconds = idle_seconds
        self._timeout = asyncio.timeout(None)
        self._answered = False

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *raised: Any) -> None:
        self._answered = True
        await self._timeout.__aexit__(*raised)

    async def pieces(self) -> AsyncIterator[bytes]:
        try:
            self._await("sender")
            async for piece in self._body:
                self._copy.add(piece)
                self._await("receiver")
                yield piece
                self._await("sender")
            self._await(None)
        except AppError as error:
            self.refusal = error  # the engine, which reads this, would make a broken connection of it
            raise

    def _await(self, whom: str | None) -> None:
        """From now on the time counts of the one who is waited for."""
        self.awaited = whom
        if not self._answered:
            idle = asyncio.get_running_loop().time() + self._idle_seconds
            self._timeout.reschedule(idle if whom else None)
