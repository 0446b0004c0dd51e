"""Client connections in floods and standing idle: a served process keeps its files for calls and the database."""

import asyncio
import json
import resource
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

import pytest
from aiohttp import web
from hypercorn.asyncio import run as worker
from hypercorn.asyncio.tcp_server import TCPServer

from quart_app import intake
from quart_app.clients import Clients
from tests.served import Served, free_port
from tests.test_recorder import eventually
from tests.upstream import Upstream
from tests.wire import Wire

FILES = 64
SLOW_HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: "


@contextmanager
def served_with(data: Path, *options: str, files: int | None = None) -> Iterator[Served]:
    served = Served(data, free_port(), data.with_suffix(".log"))
    served.key = served.cli("key", "create", "test", *(f"--scope={scope}" for scope in ("call", "read", "manage")))
    if files:
        served.command = ("sh", "-c", f'ulimit -n {files} && exec "$@"', "sh", *served.command)
    try:
        served.start(*options)
        yield served
    finally:
        if served.process is not None:
            served.stop()


@contextmanager
def flood(port: int, count: int, sent: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many connections that send a piece at most and then nothing."""
    with ExitStack() as stack:
        sockets = []
        for _ in range(count):
            sock = stack.enter_context(socket.socket())
            sock.settimeout(5)
            sock.connect(("127.0.0.1", port))
            with suppress(OSError):  # cut already
                sock.sendall(sent)
            sockets.append(sock)
        yield sockets


def send_call(served: Served) -> float:
    """One call that writes to the database before and after it is sent; the seconds it took."""
    began = time.monotonic()
    status, call = served.request("POST", "/api/calls", {"connection": "api", "method": "POST", "path": "/x"})
    assert (status, call["state"], call.get("recorded", True)) == (201, "done", True), call
    return time.monotonic() - began


def figure(served: Served, name: str) -> float:
    _, text = served.request("GET", "/metrics")
    return next(float(line.split()[-1]) for line in text.decode().splitlines() if line.startswith(f"{name} "))


def busiest_second(log: Path) -> int:
    """The most lines of log that came in one second."""
    seconds: Counter[str] = Counter()
    for line in log.read_text().splitlines():
        with suppress(ValueError, TypeError):
            seconds[json.loads(line)["timestamp"][:19]] += 1
    return max(seconds.values())


async def test_a_flood_of_connections_leaves_files_for_calls_and_the_database(
    tmp_path: Path, upstream: Upstream
) -> None:
    def work() -> None:
        with served_with(tmp_path / "data", files=FILES) as served:
            served.add_connection("api", upstream.url)
            assert figure(served, "switchboard_client_connections_limit") == FILES // intake.SHARE
            with flood(served.port, 200):
                for _ in range(20):
                    send_call(served)
                assert served.request("GET", "/readyz")[0] == 200
                assert figure(served, "process_open_fds") < FILES
                assert figure(served, "switchboard_client_connections_gave_way_total") > 100
            released = time.monotonic()
            send_call(served)
            assert time.monotonic() - released < 5
            assert len(served.request("GET", "/api/calls?limit=50")[1]["items"]) == 21
            log = served.log.read_text()
        assert busiest_second(served.log) < 100
        assert "Traceback" not in log, log

    await asyncio.to_thread(work)


@pytest.mark.parametrize("options", [(), ("--client-connections=100",)], ids=["room for all", "room for few"])
async def test_thousands_of_slow_headers_do_not_keep_good_callers_out(
    tmp_path: Path, upstream: Upstream, options: tuple[str, ...]
) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 4096:
        pytest.skip("this process may not open enough files")

    def work() -> None:
        with served_with(tmp_path / "data", *options) as served:
            served.add_connection("api", upstream.url)
            send_call(served)
            with flood(served.port, 2000, SLOW_HEAD) as slow:
                for sock in slow[-50:]:
                    sock.sendall(b"x")
                assert send_call(served) < 10  # behind thousands that knock at once
                assert max(send_call(served) for _ in range(20)) < 2
                assert served.request("GET", "/healthz")[0] == 200
            assert busiest_second(served.log) < 100

    await asyncio.to_thread(work)


async def hanging(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


async def test_where_all_callers_are_at_work_a_newcomer_is_turned_away_and_none_of_them_is(
    tmp_path: Path, upstream: Upstream
) -> None:
    with served_with(tmp_path / "data", "--client-connections=3") as served:
        await asyncio.to_thread(served.add_connection, "api", upstream.url)
        upstream.handler = hanging
        async with Wire.to(served.port, served.key) as one, Wire.to(served.port, served.key) as two:
            async with Wire.to(served.port, served.key) as three:
                for wire in (one, two, three):
                    await wire.send(wire.head("GET", "/proxy/api/x"))
                await eventually(lambda: len(upstream.seen) == 3)
                async with Wire.to(served.port, served.key) as newcomer:
                    assert await newcomer.is_closed()
                assert not any(wire.reader.at_eof() for wire in (one, two, three))
            await asyncio.to_thread(answers_soon, served)  # a place is free again


def answers_soon(served: Served) -> None:
    for _ in range(100):
        with suppress(OSError, HTTPException):
            assert served.request("GET", "/healthz")[0] == 200
            return
        time.sleep(0.05)
    raise AssertionError("no place became free")


def test_the_name_by_which_hypercorn_makes_its_connections_is_taken_over_for_a_while() -> None:
    names, clients = vars(worker), Clients()
    assert names["TCPServer"] is TCPServer
    with intake.limited(clients, 7):
        assert clients.most == 7
        assert names["TCPServer"] is not TCPServer
    assert names["TCPServer"] is TCPServer


def test_the_process_takes_all_the_files_it_may_have() -> None:
    work = (
        "import resource; from quart_app import intake; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 400));"
        "print(intake.descriptors(), resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", work], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "400 (400, 400)\n"
