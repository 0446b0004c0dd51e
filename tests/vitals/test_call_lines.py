"""The log of calls: one line for each that ended, with its id, in one write for a group, and nothing of its content."""

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from msgspec import structs
from quart import Quart

from quart_app.broadcast import Broadcast
from quart_app.recorder import Record
from quart_app.records import BLANK
from quart_app.services import Services, listening
from quart_app.settings import Settings
from quart_app.vitals.call_lines import Line, log_calls, log_lost, sentence
from quart_app.vitals.meters import Meters
from tests.served import Served, clean_environment, free_port
from tests.upstream import Upstream
from tests.web.conftest import Asker
from tests.web.conftest import key_of as key_of
from tests.web.conftest import program as program


def record(**more: Any) -> Record:
    call = {"id": "1", "connection": "orders", "origin": "api", "method": "GET", "url": "http://x/secret"}
    ended = {"state": "done", "status": 200, "duration_seconds": 0.25}
    return Record(BLANK | call | ended | more, [{}, {}])


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    return [event for event in events if event["event"] == "call"]


def test_a_line_has_what_happened_and_no_url(capsys: pytest.CaptureFixture[str]) -> None:
    log_calls([record(), record(id="2", state="sending")])
    [line] = lines(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info",
        "event": "call",
        "id": "1",
        "connection": "orders",
        "origin": "api",
        "method": "GET",
        "status": 200,
        "state": "done",
        "reason": None,
        "duration_seconds": 0.25,
        "attempts": 2,
        "waited_seconds": 0.0,
    }


def test_a_call_whose_record_is_lost_has_a_line_that_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    log_lost([record(state="failed", status=None, reason="reset")])
    [line] = lines(capsys)
    assert (line["level"], line["recorded"], line["reason"]) == ("error", False, "reset")


def test_a_person_at_a_terminal_reads_a_sentence() -> None:
    line = Line(
        timestamp="2026-01-01T10:11:12.123456Z",
        level="info",
        event="call",
        id="0190",
        connection="orders",
        origin="proxy",
        method="GET",
        status=503,
        state="done",
        reason=None,
        duration_seconds=1.5,
        attempts=3,
        waited_seconds=1.25,
    )
    assert sentence(line) == "10:11:12 call orders GET 503 (proxy; 1.500 s, 3 attempts, 1.2 s waited) 0190"
    gone = structs.replace(line, status=None, reason="reset", attempts=1, waited_seconds=0, recorded=False)
    assert sentence(gone) == "10:11:12 call orders GET reset (proxy; 1.500 s, its record is lost) 0190"


async def test_every_call_of_the_server_has_one_line_with_the_id_of_its_record(
    app: Quart, running: Services, program: Asker, upstream: Upstream, capsys: pytest.CaptureFixture[str]
) -> None:
    form = {"name": "orders", "base_url": upstream.url, "policy": {"allow_private": True}}
    assert (await program.post("/api/connections", json=form)).status_code == 201
    capsys.readouterr()
    proxied = await program.get("/proxy/orders/a?token=secret")
    sent = await program.post("/api/calls", json={"connection": "orders", "method": "POST", "path": "/b"})
    found = {line["id"]: line for line in lines(capsys)}
    assert set(found) == {proxied.headers["X-Switchboard-Call"], (await sent.get_json())["id"]}
    assert {line["origin"] for line in found.values()} == {"proxy", "api"}
    assert "secret" not in json.dumps(list(found.values()))


async def test_above_the_level_info_calls_have_no_line_and_lost_ones_still_have(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    listener = listening(replace(settings, log_level="warning"), Broadcast(), Meters(), serves=True)
    listener.written([record()])
    assert lines(capsys) == []
    listener.lost([record()])
    assert len(lines(capsys)) == 1


async def test_a_command_beside_the_server_logs_no_calls(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    listener = listening(settings, Broadcast(), Meters(), serves=False)
    listener.written([record()])
    listener.lost([record()])
    assert lines(capsys) == []


CALLS = 600


@contextmanager
def writing_to(data: Path, stderr: int) -> Iterator[Served]:
    """A server whose stderr is this file descriptor."""
    served = Served(data, free_port(), data.with_suffix(".log"))
    served.key = served.cli("key", "create", "test", "--scope=call", "--scope=read", "--scope=manage")
    command = [*served.command, "--data", str(data), "--bind", f"127.0.0.1:{served.port}"]
    served.process = subprocess.Popen(command, stderr=stderr, env=clean_environment())
    try:
        eventually(lambda: served.request("GET", "/readyz")[0] == 200)
        yield served
    finally:
        assert served.stop() == 0


def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(200):
        with suppress(OSError):
            if condition():
                return
        time.sleep(0.05)
    raise AssertionError


def send_batches(served: Served, base_url: str) -> None:
    served.add_connection("api", base_url, policy={"attempts": 1, "concurrency": 64})
    body = json.dumps({"calls": [{"connection": "api", "path": "/x"}] * CALLS}).encode()
    headers = {"Authorization": f"Bearer {served.key}", "Content-Type": "application/json"}
    for _ in range(4):
        with urlopen(Request(f"{served.url}/api/batches", body, headers), timeout=60) as answer:
            assert answer.read().count(b'"state":"done"') == CALLS


async def test_a_log_that_nobody_reads_stops_neither_calls_nor_the_server(tmp_path: Path, upstream: Upstream) -> None:
    def work() -> bytes:
        reader, writer = os.pipe()
        try:
            with writing_to(tmp_path / "data", writer) as served:
                os.close(writer)
                send_batches(served, upstream.url)  # some 700 KB of log, into a pipe that holds 64
                assert served.request("GET", "/healthz")[0] == 200
                seen = b""
                while b"log_suppressed" not in seen:  # read at last: what was kept, and how much was not
                    seen += os.read(reader, 65536)
                return seen
        finally:
            os.close(reader)

    seen = (await asyncio.to_thread(work)).decode()
    events = [json.loads(line) for line in seen[seen.index('{"time') :].splitlines()[:-1] if line.startswith("{")]
    assert 500 < len([event for event in events if event["event"] == "call"]) < 4 * CALLS


async def test_a_log_whose_reader_has_gone_stops_neither_calls_nor_the_server(
    tmp_path: Path, upstream: Upstream
) -> None:
    def work() -> None:
        reader, writer = os.pipe()
        with writing_to(tmp_path / "data", writer) as served:
            os.close(writer)
            os.close(reader)
            send_batches(served, upstream.url)
            assert served.request("GET", "/healthz")[0] == 200

    await asyncio.to_thread(work)
