"""What the tests of the proxy share: a served process, callers on bare sockets, upstreams that misbehave."""

import asyncio
import itertools
import json
import select
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.served import Served
from tests.wire import Answered, Wire

STALL_SECONDS = 1
UPLOAD_BYTES = 64 * 1024**2
SMALL_BUFFER = 128 * 1024
STOP_SECONDS = 4.5
NUMBERS = itertools.count()

Reply = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module")
def switchboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for a module; at the end nothing may hold it up, and nothing may have surprised it."""
    folder = tmp_path_factory.mktemp("proxied")
    options = (f"--write-stall-seconds={STALL_SECONDS}", f"--upload-bytes={UPLOAD_BYTES}")
    with Served.running(folder / "data", *options) as served:
        yield served
        began = time.monotonic()
        assert served.stop() == 0
        assert time.monotonic() - began < STOP_SECONDS, "a connection or a task was left behind"
    log = served.log.read_text()
    assert "ERROR" not in log, log
    assert "Traceback" not in log, log


@pytest.fixture
async def wire(switchboard: Served) -> AsyncIterator[Wire]:
    async with Wire.to(switchboard.port, switchboard.key) as made:
        yield made


async def connect(switchboard: Served, url: str, **more: Any) -> str:
    """A connection of its own for each test; its name."""
    name = f"api{next(NUMBERS)}"
    await asyncio.to_thread(switchboard.add_connection, name, f"{url}/v1", **more)
    return name


async def record(switchboard: Served, name: str) -> Any:
    """The newest call through a connection, once it has ended."""
    for _ in range(100):
        _, page = await asyncio.to_thread(switchboard.request, "GET", f"/api/calls?connection={name}&limit=1")
        if page["items"] and page["items"][0]["state"] != "sending":
            return page["items"][0]
        await asyncio.sleep(0.02)
    raise AssertionError("no ended call is on record")


async def opened(switchboard: Served, call_id: str | None) -> Any:
    status, call = await asyncio.to_thread(switchboard.request, "GET", f"/api/calls/{call_id}")
    assert status == 200
    return call


# Upstreams


def keeping_on(reply: bytes) -> Reply:
    """An upstream that answers every request of a connection with the same bytes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(reply)

    return answer


def reset_on_close(sock: Any) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def is_let_go(sock: Any) -> bool:
    """Whether the other side has closed, told without reading."""
    if sock.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLRDHUP)
    return bool(poll.poll(0))


@asynccontextmanager
async def silent_upstream(reply: bytes = b"") -> AsyncIterator[tuple[str, "asyncio.Future[Any]"]]:
    """Takes one connection, sends `reply` and never reads: its URL, and its socket to come."""
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[Any] = loop.create_future()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)

        async def accept() -> None:
            sock, _ = await loop.sock_accept(listener)
            sock.setblocking(False)
            accepted.set_result(sock)
            await loop.sock_sendall(sock, reply)

        task = asyncio.create_task(accept())
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", accepted
        finally:
            task.cancel()
            if accepted.done():
                accepted.result().close()


async def let_go_within(sock: Any, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not is_let_go(sock):  # noqa: ASYNC110 - a socket nobody reads tells nothing by itself
            await asyncio.sleep(0.01)


# What the gateway says itself


def is_problem(answered: Answered, status: int, code: str) -> bool:
    body = json.loads(answered.body)
    said = (answered.status, body["status"], body["code"], answered.header("x-switchboard-source"))
    return said == (status, status, code, "gateway") and answered.header("content-type") == "application/problem+json"
