"""kill -9 under load: what a caller was told is on record, and nothing is left half done."""

import asyncio
import random
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.served import Served
from tests.upstream import Upstream

ROUNDS = 5
CALLERS = 6
LOAD_SECONDS = 0.5

pytestmark = pytest.mark.slow


class Caller:
    """Sends calls by all ways over one connection until the server is gone; `seen` are the ids of whole answers."""

    def __init__(self, served: Served, number: int) -> None:
        self.served = served
        self.number = number
        self.seen: list[str] = []

    def run(self) -> None:
        connection = HTTPConnection("127.0.0.1", self.served.port, timeout=10)
        try:
            for turn in range(100_000):
                self.seen.append(self.send(connection, turn + self.number))
        except (OSError, HTTPException):
            return
        finally:
            connection.close()

    def send(self, connection: HTTPConnection, turn: int) -> str:
        headers = {"Authorization": f"Bearer {self.served.key}", "Content-Type": "application/json"}
        ways = [("GET", "/proxy/api/a", b""), ("POST", "/proxy/api/b", b"{}"), ("GET", "/proxy/api/chunked", b"")]
        method, path, body = [*ways, ("POST", "/api/calls", b'{"connection":"api","method":"PUT","json":1}')][turn % 4]
        connection.request(method, path, body or None, headers)
        answer = connection.getresponse()
        content = answer.read()  # raises where it is not whole
        assert answer.status in (200, 201), content
        found = answer.getheader("X-Switchboard-Call") or (answer.getheader("Location") or "").rpartition("/")[2]
        assert found
        return found


async def answer_slowly(request: web.Request) -> web.StreamResponse:
    """Now and then slow enough to be under way when the kill comes."""
    if random.random() < 0.1:
        await asyncio.sleep(0.05)
    if request.path.endswith("chunked"):
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(3):
            await response.write(b"x" * 1000)
        return response
    return web.json_response({"padding": "x" * 500})


def load_and_kill(served: Served) -> list[str]:
    """One round: the ids that callers saw whole before the server was killed in the middle of it."""
    callers = [Caller(served, number) for number in range(CALLERS)]
    with ThreadPoolExecutor(CALLERS) as pool:
        work = [pool.submit(caller.run) for caller in callers]
        time.sleep(LOAD_SECONDS * random.uniform(0.5, 1.5))
        served.kill()
        for one in work:
            one.result()
    return [seen for caller in callers for seen in caller.seen]


def rows(data: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{data}/switchboard.db?mode=ro", uri=True)) as database:
        return database.execute(query).fetchall()


async def test_a_kill_under_load_loses_no_record_that_a_caller_was_told_of(served: Served, upstream: Upstream) -> None:
    upstream.handler = answer_slowly
    await asyncio.to_thread(served.add_connection, "api", upstream.url)
    told: set[str] = set()
    open_at_kill = 0
    for _ in range(ROUNDS):
        seen = await asyncio.to_thread(load_and_kill, served)
        assert len(seen) == len(set(seen)) > CALLERS
        told |= set(seen)
        open_at_kill += len(rows(served.data, "SELECT id FROM calls WHERE state = 'sending'"))
        await asyncio.to_thread(served.start)
        assert rows(served.data, "PRAGMA integrity_check") == [("ok",)]
        assert rows(served.data, "SELECT id FROM calls WHERE state = 'sending'") == []
    states = dict(rows(served.data, "SELECT id, state FROM calls"))
    assert told - set(states) == set()
    assert {states[one] for one in told} == {"done"}
    assert set(states.values()) <= {"done", "interrupted"}
    assert open_at_kill == list(states.values()).count("interrupted") > 0
    missing = "SELECT id FROM calls WHERE state = 'done' AND id NOT IN (SELECT call_id FROM attempts)"
    assert rows(served.data, missing) == []
    bodies = "SELECT id FROM calls WHERE response_body IS NOT NULL AND response_body NOT IN (SELECT hash FROM bodies)"
    assert rows(served.data, bodies) == []
    assert len(upstream.seen) >= len(told)
