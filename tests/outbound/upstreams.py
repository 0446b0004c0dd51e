"""Upstreams that send any bytes and end in any way, and what a caller of the engine does with them."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from quart_app.outbound.client import Answer, Client, Outgoing
from quart_app.outbound.target import Target
from quart_app.outbound.timings import Timings
from tests.outbound.targets import get, read_all

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
WHOLE = OK + b"Content-Length: 2\r\n\r\nhi"

Reply = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Raw:
    """A raw upstream: `url`, the `heads` of the requests it saw, and how many `connections` it took."""

    def __init__(self, reply: Reply | bytes) -> None:
        self.reply = reply
        self.url = ""
        self.heads: list[bytes] = []
        self.connections = 0
        self.tasks: set[asyncio.Task[Any]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.connections += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while not writer.is_closing():
                    self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                    await self.answer(self.heads[-1], reader, writer)
        finally:
            writer.close()

    async def answer(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(self.reply, bytes):
            writer.write(self.reply)
            await writer.drain()
            writer.close()
        else:
            await self.reply(head, reader, writer)


@asynccontextmanager
async def raw(reply: Reply | bytes, *, tls: Any = None) -> AsyncIterator[Raw]:
    """Does with each request what `reply` does, or sends it and closes. Ends when its connections have ended."""
    made = Raw(reply)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    made.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        for task in made.tasks:
            task.cancel()
        if made.tasks:
            await asyncio.wait(made.tasks, timeout=1)


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection by RST instead of FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def then_reset(content: bytes, when: asyncio.Event | None = None) -> Reply:
    """Sends and resets: at once, or when the test says that what was sent has arrived, which a reset takes back."""

    async def reply(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        if when is not None:
            await when.wait()
        reset(writer)

    return reply


def then_silence(content: bytes) -> Reply:
    async def reply(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        await reader.read()
        writer.close()

    return reply


async def keep_answering(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(WHOLE)


async def drip(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(CHUNKED)
    for _ in range(200):
        writer.write(b"1\r\nx\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def endless_hints(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for _ in range(200):
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


async def exchange(
    client: Client, aim: Target, outgoing: Outgoing | None = None, *, total_seconds: float | None = 5
) -> Answer:
    return await client.exchange(aim, outgoing or get(aim), aim.credential, Timings(), total_seconds=total_seconds)


async def fetch(client: Client, aim: Target, outgoing: Outgoing | None = None) -> tuple[int, bytes]:
    answer = await exchange(client, aim, outgoing)
    return answer.status, await read_all(answer)
