"""An API in trouble, for `trouble.py`: failing, hanging, or answering with a bomb. Serves until it is killed.

Started as `stormy_upstream.py PORT BOMBS`, where BOMBS is a folder of compressed bodies, one file for each coding.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from pathlib import Path

DRAWN = random.Random(11)


class Stormy:
    """Counts what it answers, and when it failed first."""

    def __init__(self, bombs: Path) -> None:
        """Remember the bodies to answer with."""
        self.bombs = {file.name: file.read_bytes() for file in bombs.iterdir()}
        self.seen = 0
        self.failures: list[float] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, request after request."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                writer.write(await self.answer(head.split(b" ", 2)[1].decode().rpartition("/")[2]))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, what: str) -> bytes:
        """The answer to a path's last part."""
        if what == "counts":
            return message(200, json.dumps({"seen": self.seen, "failures": self.failures[:100]}).encode())
        if what == "reset":
            self.seen, self.failures = 0, []
            return message(200, b"{}")
        if what in self.bombs:
            return message(200, self.bombs[what], coding=what)
        if what == "hang":
            await asyncio.sleep(3600)
        self.seen += 1
        if what == "storm" or (what == "half" and DRAWN.random() < 0.25):
            self.failures.append(time.monotonic())
            return message(503, b"")
        return message(200, b'{"id": 1042, "name": "anvil", "price": "12.50", "stock": 77}')


def message(status: int, body: bytes, coding: str = "identity") -> bytes:
    """An answer on the wire."""
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return (head + f"Content-Encoding: {coding}\r\n\r\n").encode() + body


async def main() -> None:
    """Serve on loopback."""
    stormy = Stormy(Path(sys.argv[2]))
    server = await asyncio.start_server(stormy.serve, "127.0.0.1", int(sys.argv[1]), backlog=2048)
    await server.serve_forever()


asyncio.run(main())
