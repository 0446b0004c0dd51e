"""Notices when the event loop stands still, and where: a thread looks at what the loop's own thread is doing."""

import asyncio
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

TICK_SECONDS = 0.25
BLOCKED_SECONDS = 1.0
UNWELL_SECONDS = 1.5
KEPT_SECONDS = 10.0
FRAMES = 8

log = structlog.get_logger()


class Watchdog:
    """`lag_seconds` is how late the loop's last tick was; `blocks` counts those that were over BLOCKED_SECONDS late."""

    def __init__(self) -> None:
        self.lag_seconds = 0.0
        self.blocks = 0
        self.blocked_seconds = 0.0
        self._due = 0.0
        self._told = False
        self._late: deque[tuple[float, float]] = deque()
        self._thread_id = 0
        self._stop = threading.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watches the loop that runs this, until the block ends."""
        loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._stop.clear()
        self._due = time.monotonic()
        self._tick(loop)
        thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._stop.is_set():
            return
        now = time.monotonic()
        self.lag_seconds = max(0.0, now - self._due)
        if self.lag_seconds > BLOCKED_SECONDS:
            self._blocked(now)
        self._due = now + TICK_SECONDS
        self._told = False
        loop.call_later(TICK_SECONDS, self._tick, loop)

    def _blocked(self, now: float) -> None:
        self.blocks += 1
        self.blocked_seconds += self.lag_seconds
        self._late.append((now, self.lag_seconds))
        if not self._told:  # the thread stood still as well: for the interpreter's lock, or all of the process did
            log.warning("loop_blocked", seconds=round(self.lag_seconds, 3), at=[])

    def _watch(self) -> None:
        """In a thread: tells the place, while the loop is still there."""
        due = time.monotonic()
        while not self._stop.wait(TICK_SECONDS):
            late = time.monotonic() - due - TICK_SECONDS
            due = time.monotonic()
            blocked = due - self._due
            if blocked > BLOCKED_SECONDS and late < BLOCKED_SECONDS and not self._told:
                self._told = True
                log.warning("loop_blocked", seconds=round(blocked, 3), at=places(self._thread_id))

    def worst_lag(self) -> float:
        """The longest stop of the last KEPT_SECONDS."""
        while self._late and self._late[0][0] < time.monotonic() - KEPT_SECONDS:
            self._late.popleft()
        return max((lag for _, lag in self._late), default=0.0)


def places(thread_id: int) -> list[str]:
    """Where a thread is, the innermost place last: files and functions only, no value of any variable."""
    frame = sys._current_frames().get(thread_id)
    found: list[str] = []
    while frame is not None and len(found) < FRAMES:
        found.append(f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return found[::-1]
