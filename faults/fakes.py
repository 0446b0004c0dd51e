"""Upstreams on bare sockets that do whatever a fault asks of them, and count what reaches them."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
WHOLE = OK + b"Content-Length: 2\r\n\r\nhi"


def answer(body: bytes, status: int = 200, *headers: str) -> bytes:
    """A whole answer."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Asked:
    """A request as it came; `number` counts the requests of this fake from 1."""

    number: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Peer:
    """The other side of one connection to a fake."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    sent: int = 0

    async def send(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()
        self.sent += len(content)

    async def until_left(self) -> None:
        """Takes what still comes until the other side goes."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass

    def reset(self) -> None:
        """Ends the connection by RST instead of FIN."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Reply = Callable[[Asked, Peer], Awaitable[None]]


@dataclass
class Fake:
    """`url` is where it is, `seen` what was asked of it; `open` connections it has now, `busy` on some of them."""

    reply: Reply
    url: str = ""
    port: int = 0
    seen: list[Asked] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    busy: int = 0
    taken_bytes: int = 0
    at_accept: Callable[[Peer], Awaitable[bool]] | None = None
    """Runs before anything is read; False ends the connection there."""
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        peer = Peer(reader, writer)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                if self.at_accept is not None and not await self.at_accept(peer):
                    return
                while not writer.is_closing():
                    await self.answer(await self.take(peer), peer)
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()

    async def answer(self, asked: Asked, peer: Peer) -> None:
        self.busy += 1
        try:
            await self.reply(asked, peer)
        finally:
            self.busy -= 1

    async def take(self, peer: Peer) -> Asked:
        """The next request, whole."""
        head = (await peer.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.taken_bytes += len(head)
        first, *lines = head.rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        method, path, _ = first.split(" ")
        asked = Asked(len(self.seen) + 1, method, path, headers, b"")
        self.seen.append(asked)
        if int(headers.get("content-length", 0)):
            asked.body = await peer.reader.readexactly(int(headers["content-length"]))
        return asked

    def count(self, path: str) -> int:
        """How many requests had this path."""
        return sum(asked.path == path for asked in self.seen)


@asynccontextmanager
async def fake(reply: Reply | bytes, *, tls: Any = None, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Fake]:
    """A fake that does with each request what `reply` does, or answers with those bytes and closes."""

    async def say(asked: Asked, peer: Peer) -> None:
        await peer.send(reply)  # type: ignore[arg-type]  # only where it is bytes
        peer.writer.close()

    made = Fake(say if isinstance(reply, bytes) else reply)
    server = await asyncio.start_server(made.serve, host, port, ssl=tls, backlog=1024, limit=1024 * 1024)
    made.port = server.sockets[0].getsockname()[1]
    made.url = f"{'https' if tls else 'http'}://{host}:{made.port}"
    try:
        yield made
    finally:
        server.close()
        for task in list(made._tasks):
            task.cancel()
        if made._tasks:
            await asyncio.wait(list(made._tasks), timeout=1)
