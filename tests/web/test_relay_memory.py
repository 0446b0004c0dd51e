"""What passes through the proxy does not stay: hundreds of megabytes through a process whose memory is watched."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from quart_app.sandbox import API_KEY_HEADER, DEMO
from tests.served import Served, clean_environment, free_port

MIB = 1024**2
UPLOAD_BYTES = 300 * MIB
DOWNLOAD_BYTES = 1024 * MIB
MOST_GROWTH_BYTES = 40 * MIB
PIECE = b"x" * 256 * 1024

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    """The upstream, a process of its own so that its memory is not counted."""
    port = free_port()
    command = [sys.executable, "-m", "quart_app.sandbox", "--bind", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=clean_environment())
    try:
        for _ in range(200):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def switchboard(tmp_path_factory: pytest.TempPathFactory, sandbox: str) -> Iterator[Served]:
    with Served.running(tmp_path_factory.mktemp("memory") / "data") as served:
        auth = {"scheme": "api_key", "in": "header", "name": API_KEY_HEADER, "value": DEMO.api_key}
        served.add_connection("sandbox", sandbox, auth=auth)
        upload(served, 4 * MIB)
        download(served, 4 * MIB)
        yield served


def ask(switchboard: Served, sock: socket.socket, line: str, *headers: str) -> Any:
    """Sends a request's head; the file to read its answer from."""
    lines = [f"{line} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {switchboard.key}", *headers]
    sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    return sock.makefile("rb", buffering=MIB)


def head(answer: Any) -> dict[str, str]:
    assert answer.readline().split()[1] == b"200"
    lines = iter(lambda: answer.readline().decode().strip(), "")
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def upload(switchboard: Served, size: int) -> None:
    with socket.create_connection(("127.0.0.1", switchboard.port), 30) as sock:
        answer = ask(switchboard, sock, "POST /proxy/sandbox/echo", f"Content-Length: {size}")
        for _ in range(size // len(PIECE)):
            sock.sendall(PIECE)
        content = answer.read(int(head(answer)["content-length"]))
    assert f'"body_bytes":{size}'.encode() in content.replace(b" ", b"")


def download(switchboard: Served, size: int) -> None:
    with socket.create_connection(("127.0.0.1", switchboard.port), 30) as sock:
        answer = ask(switchboard, sock, f"GET /proxy/sandbox/large?bytes={size}")
        assert head(answer)["content-length"] == str(size)
        into, left = bytearray(MIB), size
        while left and (got := answer.readinto(into)):
            left -= got
    assert left == 0


def high_water_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


@contextmanager
def no_growth(switchboard: Served) -> Iterator[None]:
    """The most memory that the process ever held during the block, over what it held before.

    Root can start the high-water mark anew (proc(5)); for others it goes on from the most that was held so far.
    """
    assert switchboard.process is not None
    process = psutil.Process(switchboard.process.pid)
    with suppress(PermissionError):
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")
    before = high_water_bytes(process.pid)
    yield
    peak = high_water_bytes(process.pid)
    assert peak >= process.memory_info().rss
    assert peak - before < MOST_GROWTH_BYTES, f"grew by {(peak - before) / MIB:.0f} MiB"


def test_a_large_upload_leaves_memory_alone(switchboard: Served) -> None:
    with no_growth(switchboard):
        upload(switchboard, UPLOAD_BYTES)
    assert newest(switchboard)["request"]["body"]["size"] == UPLOAD_BYTES


def test_a_large_download_leaves_memory_alone(switchboard: Served) -> None:
    with no_growth(switchboard):
        download(switchboard, DOWNLOAD_BYTES)
    assert newest(switchboard)["response"]["body"]["size"] == DOWNLOAD_BYTES


def newest(switchboard: Served) -> Any:
    status, page = switchboard.request("GET", "/api/calls?limit=1")
    assert status == 200
    assert page["items"][0]["state"] == "done"
    return page["items"][0]
