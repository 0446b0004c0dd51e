"""The served process: how it starts, refuses to start, stops, and what it leaves on disk."""

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypercorn.config import Config
from hypercorn.protocol.http_stream import ASGIHTTPState
from hypercorn.utils import UnexpectedMessageError
from sqlalchemy import text

from quart_app import create_app
from quart_app.errors import SettingsError
from quart_app.services import open_services
from quart_app.serving import config, config_path, report, serve_app
from quart_app.settings import load_settings
from tests.served import SWITCHBOARD, Served, clean_environment, free_port
from tests.upstream import Upstream
from tests.wire import Answered, Broken, Wire

ROOT = Path(__file__).parents[1]
STOP_SECONDS = 10


def serve(data: Path, *options: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """`switchboard serve` that is expected to end by itself."""
    command = [*SWITCHBOARD, "serve", "--data", str(data), *options]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=30, env=clean_environment() | environment, check=False
    )


# Stopping


async def hanging(request: web.Request) -> web.StreamResponse:
    """`/slow` answers after a while, `/stream` never ends."""
    if request.path == "/slow":
        await asyncio.sleep(0.5)
        return web.json_response({"slow": True})
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    while True:
        await response.write(b"data: x\n\n")
        await asyncio.sleep(0.1)


async def test_sigterm_ends_open_streams_and_lets_calls_in_flight_finish(served: Served, upstream: Upstream) -> None:
    upstream.handler = hanging
    await asyncio.to_thread(served.add_connection, "api", upstream.url)
    async with (
        Wire.to(served.port, served.key) as events,
        Wire.to(served.port, served.key) as stream,
        Wire.to(served.port, served.key) as slow,
        Wire.to(served.port, served.key) as posted,
    ):
        await events.send(events.head("GET", "/api/events"))
        await stream.send(stream.head("GET", "/proxy/api/stream"))
        await slow.send(slow.head("GET", "/proxy/api/slow"))
        body = b'{"connection": "api", "method": "POST", "path": "/slow"}'
        said = ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        await posted.send(posted.head("POST", "/api/calls", said) + body)
        told, streamed = await events.answer_head(), await stream.answer_head()
        assert (told.status, streamed.status) == (200, 200)
        await all_under_way(upstream)
        began = time.monotonic()
        stopped = asyncio.create_task(asyncio.to_thread(served.stop))
        assert (await slow.answer()).body == b'{"slow": true}'
        assert (await posted.answer()).status == 201
        while await events.piece(told):  # ends in order
            pass
        with pytest.raises(Broken):
            await rest(stream, streamed)
        assert await stopped == 0
        assert time.monotonic() - began < STOP_SECONDS
    await asyncio.to_thread(served.start)
    _, page = await asyncio.to_thread(served.request, "GET", "/api/calls")
    assert {(call["origin"], call["url"].removeprefix(upstream.url)): call["state"] for call in page["items"]} == {
        ("proxy", "/stream"): "cancelled",
        ("proxy", "/slow"): "done",
        ("api", "/slow"): "done",
    }
    _, cut = await asyncio.to_thread(served.request, "GET", f"/api/calls/{streamed.header('x-switchboard-call')}")
    assert (cut["detail"], cut["status"]) == ("The server was stopped.", 200)
    log = served.log.read_text()
    assert "Traceback" not in log, log


async def all_under_way(upstream: Upstream) -> None:
    for _ in range(500):
        if len(upstream.seen) == 3:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(upstream.seen)


async def rest(wire: Wire, answered: Answered) -> None:
    while await wire.piece(answered):
        pass


def test_sigint_stops_it_as_well(served: Served) -> None:
    assert served.process is not None
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(STOP_SECONDS) == 0
    assert "Traceback" not in served.log.read_text()


CLOSED = UnexpectedMessageError(ASGIHTTPState.CLOSED, "http.response.start")


@pytest.mark.parametrize(("error", "told"), [(asyncio.CancelledError(), 0), (CLOSED, 0), (RuntimeError("odd"), 1)])
async def test_what_a_connection_leaves_that_is_cut_at_the_stop_is_not_reported(
    error: BaseException, told: int, caplog: pytest.LogCaptureFixture
) -> None:
    report(asyncio.get_running_loop(), {"message": "Task exception was never retrieved", "exception": error})
    assert len(caplog.records) == told


# Refusing to start


def test_a_second_server_on_the_same_folder_ends_at_once_and_names_the_first(served: Served) -> None:
    assert served.process is not None
    second = serve(served.data, "--bind", f"127.0.0.1:{free_port()}")
    assert second.returncode == 1
    assert f"process {served.process.pid} on {socket.gethostname()}" in second.stderr
    assert second.stderr.count("\n") == 1
    assert served.request("GET", "/readyz")[0] == 200


def test_an_address_that_cannot_be_had_is_said_in_a_sentence(served: Served, tmp_path: Path) -> None:
    for port, reason in ((served.port, "Address already in use"), (99999, "that is no address")):
        refused = serve(tmp_path / "other", "--bind", f"127.0.0.1:{port}")
        assert refused.returncode == 1
        assert refused.stderr == f"Error: Cannot listen on 127.0.0.1:{port}: {reason}.\n"
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("bind", ["0.0.0.0:1", "[::]:1", ":1", "192.0.2.7:1", "example.com:1", "localhost.x:1"])
async def test_a_bind_that_others_can_reach_is_refused(tmp_path: Path, bind: str) -> None:
    with pytest.raises(SettingsError, match="--behind-proxy"):
        await serve_app(load_settings({"data": str(tmp_path / "data"), "bind": bind}, {}))
    assert not (tmp_path / "data").exists()


def test_a_refusal_is_a_sentence_on_stderr_and_exit_code_1(tmp_path: Path) -> None:
    refused = serve(tmp_path / "data", "--bind", "0.0.0.0:1")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("Error: 0.0.0.0:1 can be reached by others")
    assert refused.stderr.count("\n") == 1


def test_behind_a_proxy_such_a_bind_is_taken(tmp_path: Path) -> None:
    served = Served(tmp_path / "data", free_port(), tmp_path / "log")
    served.start("--bind", f"0.0.0.0:{served.port}", "--behind-proxy=true")  # the last --bind holds
    assert served.stop() == 0


def test_a_wrong_key_stops_the_start_and_changes_nothing(tmp_path: Path) -> None:
    with Served.running(tmp_path / "data") as served:
        served.add_connection("api", "http://127.0.0.1:1")
    before = (tmp_path / "data" / "switchboard.db").read_bytes()
    other = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
    refused = serve(served.data, "--bind", f"127.0.0.1:{served.port}", SWITCHBOARD_SEALING_KEY=other)
    assert refused.returncode == 1
    assert "The database does not open with this key" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert other not in refused.stderr
    assert (tmp_path / "data" / "switchboard.db").read_bytes() == before
    (served.data / "switchboard.key").chmod(0o644)
    exposed = serve(served.data, "--bind", f"127.0.0.1:{served.port}")
    assert (exposed.returncode, "chmod 600" in exposed.stderr) == (1, True)


# On disk


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def test_the_folder_and_all_in_it_are_for_their_owner_only(tmp_path: Path) -> None:
    with umask(0), Served.running(tmp_path / "data") as served:
        served.add_connection("api", "http://127.0.0.1:1")
        assert mode(served.data) == 0o700
        modes = {path.name: mode(path) for path in served.data.iterdir()}
    assert modes.keys() >= {"switchboard.db", "switchboard.db-wal", "switchboard.db-shm", "switchboard.key"}
    assert modes.pop("rescue") == 0o700
    assert set(modes.values()) == {0o600}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_it_starts_without_a_link_where_nothing_can_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load_settings({"data": str(tmp_path / "data")}, {})
    async with open_services(settings) as before, before.db.begin() as session:
        trigger = "CREATE TRIGGER no BEFORE INSERT ON sign_in_links BEGIN SELECT raise(ABORT, 'full'); END"
        await session.execute(text(trigger))
    async with create_app(settings).test_app() as started:
        assert (await started.test_client().get("/healthz")).status_code == 200
    assert "nothing can be written now" in capsys.readouterr().err


# By Hypercorn itself


def test_serve_uses_hypercorn_toml_and_nothing_else() -> None:
    assert config_path() == ROOT / "hypercorn.toml"
    given, made = Config.from_toml(str(ROOT / "hypercorn.toml")), config("127.0.0.1:1234")
    assert made.bind == ["127.0.0.1:1234"]
    made.bind = given.bind
    assert shown(made) == shown(given) != shown(Config())


def shown(made: Config) -> dict[str, Any]:
    return {name: value for name, value in vars(made).items() if name != "_log"}


def test_hypercorn_serves_the_app_from_the_factory(tmp_path: Path) -> None:
    served = Served(tmp_path / "data", free_port(), tmp_path / "log")
    served.key = served.cli("key", "create", "test", "--scope=call", "--scope=read", "--scope=manage")
    hypercorn = [sys.executable, "-m", "hypercorn", "-c", "hypercorn.toml", "-b", f"127.0.0.1:{served.port}"]
    environment = clean_environment() | {"SWITCHBOARD_DATA": str(served.data), "SWITCHBOARD_BIND": f"x:{served.port}"}
    with served.log.open("wb") as log:
        command = [*hypercorn, "quart_app:create_app()"]
        served.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=ROOT)
    try:
        wait_until_ready(served)
        served.add_connection("self", "http://127.0.0.1:1")
        status, answer = served.request("GET", "/proxy/self/")
        assert (status, answer["code"]) == (502, "connect_failed")
    finally:
        assert served.stop() == 0
    log_text = served.log.read_text()
    assert "/sign-in#" in log_text
    assert "Traceback" not in log_text, log_text


def wait_until_ready(served: Served) -> None:
    for _ in range(200):
        with suppress(OSError):
            if served.request("GET", "/readyz")[0] == 200:
                return
        time.sleep(0.05)
    raise AssertionError(served.log.read_text())
