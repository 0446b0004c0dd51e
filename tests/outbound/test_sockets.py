"""Real sockets on loopback: who has left, and what a cut looks like from the other side."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from quart_app.outbound.sockets import cut, has_left, has_unsent, keep_alive

End = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[End, End]]:
    """Both ends of a connection."""
    accepted: asyncio.Future[End] = asyncio.get_running_loop().create_future()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set_result((reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        near = await asyncio.open_connection(host, port)
        far = await accepted
        try:
            yield near, far
        finally:
            near[1].transport.abort()
            far[1].transport.abort()


def pause(end: asyncio.StreamWriter, *, again: bool = False) -> None:
    """Stops an end from reading, or lets it read again; a writer's transport is typed as one that only writes."""
    transport: Any = end.transport
    transport.resume_reading() if again else transport.pause_reading()


async def test_one_that_is_there_has_not_left() -> None:
    async with pair() as ((_, near), (_, far)):
        far.write(b"hello")
        await asyncio.sleep(0.01)
        assert not has_left(near.transport)


@pytest.mark.parametrize("hard", [False, True], ids=["closed", "cut"])
async def test_one_that_has_left_is_seen_before_what_it_sent_is_read(*, hard: bool) -> None:
    async with pair() as ((_, near), (_, far)):
        pause(near)
        far.write(b"hello")
        await asyncio.sleep(0.01)
        if hard:
            cut(far.transport)
        else:
            far.close()
        await asyncio.sleep(0.01)
        assert has_left(near.transport)


async def test_a_connection_of_ours_that_is_closed_has_been_left() -> None:
    async with pair() as ((_, near), _):
        near.transport.abort()
        await asyncio.sleep(0)
        assert has_left(near.transport)


@pytest.mark.parametrize("size", [1, 1024**2, 64 * 1024**2])
async def test_what_the_other_side_has_not_taken_is_unsent(size: int) -> None:
    async with pair() as ((_, near), (reader, far)):
        assert not has_unsent(near.transport)
        pause(far)
        near.write(b"x" * size)
        await asyncio.sleep(0.01)
        assert has_unsent(near.transport) == (size > 1)
        pause(far, again=True)
        await reader.readexactly(size)
        await asyncio.sleep(0.01)
        assert not has_unsent(near.transport)


async def test_a_cut_is_a_reset_to_the_other_side_also_with_much_unsent() -> None:
    async with pair() as ((reader, near), (_, far)):
        pause(near)
        far.write(b"x" * 64 * 1024**2)
        assert far.transport.get_write_buffer_size()
        cut(far.transport)
        await asyncio.sleep(0.01)
        near.transport.resume_reading()  # type: ignore[attr-defined]
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_the_system_is_told_to_ask_whether_the_other_side_is_there() -> None:
    async with pair() as ((_, near), _):
        keep_alive(near.transport)
        sock = near.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
        near.transport.abort()
        await asyncio.sleep(0.01)
        keep_alive(near.transport)  # one that is gone is left alone
