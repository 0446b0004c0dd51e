"""Looks at the loop while something runs on it."""

import asyncio
import time

import psutil


class Watch:
    """How long the loop stood still at worst, in seconds, and how much memory was taken, in bytes."""

    async def __aenter__(self) -> "Watch":
        self._process = psutil.Process()
        self.worst, self.most = 0.0, 0
        self._before = self._process.memory_info().rss
        self._task = asyncio.create_task(self.look())
        await asyncio.sleep(0)
        return self

    async def look(self) -> None:
        while True:
            began = time.thread_time()
            await asyncio.sleep(0)
            self.worst = max(self.worst, time.thread_time() - began)
            self.most = max(self.most, self._process.memory_info().rss - self._before)

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
