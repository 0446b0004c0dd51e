"""The sandbox as a program of its own."""

import asyncio
import json
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from click.testing import CliRunner

from quart_app.sandbox import DEMO
from quart_app.sandbox.command import sandbox
from tests.served import SWITCHBOARD

PROGRAMS = {"switchboard": [*SWITCHBOARD, "sandbox"], "module": [sys.executable, "-m", "quart_app.sandbox"]}


@asynccontextmanager
async def running(program: str, *options: str) -> AsyncIterator[tuple[Process, str]]:
    """The program, and where it says that it is."""
    command = [*PROGRAMS[program], "--bind", "127.0.0.1:0", *options]
    process = await create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        first = (await process.stdout.readline()).decode()
        assert b"Running on http://127.0.0.1:" in await process.stderr.readline()
        yield process, first.split()[1].removesuffix("/v1,")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def asked(url: str, method: str = "GET", form: dict[str, str] | None = None, **body: Any) -> tuple[int, Any]:
    kind = "application/x-www-form-urlencoded" if form else "application/json"
    data = urlencode(form).encode() if form else json.dumps(body).encode() if body else None
    try:
        with urlopen(Request(url, data, {"Content-Type": kind}, method=method), timeout=10) as answer:
            content = answer.read()
            return answer.status, json.loads(content) if content else None
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def refreshed(url: str, token: str = DEMO.refresh_token) -> tuple[int, Any]:
    form = {"grant_type": "refresh_token", "refresh_token": token}
    form |= {"client_id": DEMO.client_id, "client_secret": DEMO.client_secret}
    return await asyncio.to_thread(asked, f"{url}/oauth/token", "POST", form)


@pytest.mark.parametrize("program", PROGRAMS)
async def test_it_runs_is_played_with_from_outside_and_stops_when_told(program: str) -> None:
    async with running(program) as (process, url):
        status, said = await asyncio.to_thread(asked, f"{url}/oauth/tricks", "PUT", tricks=["status_503"])
        assert (status, said["tricks"][0]["name"]) == (200, "status_503")
        assert (await refreshed(url))[0] == 503
        assert (await refreshed(url))[0] == 200
        process.send_signal(signal.SIGTERM)
        printed, _ = await process.communicate()
        assert process.returncode == 0
    for shown in ("X-Api-Key: sandbox-api-key", DEMO.client_secret, DEMO.refresh_token, f"curl -X PUT {url}"):
        assert shown in printed.decode()


async def test_its_options_are_the_rules_of_its_tokens() -> None:
    options = ["--access-seconds=7", "--refresh-seconds=90", "--no-rotation", "--auto-approve"]
    async with running("module", "--public-url=https://sandbox.example/") as (_, named):
        assert named == "https://sandbox.example"
    async with running("switchboard", *options) as (_, url):
        for _ in range(2):
            status, answer = await refreshed(url)
            assert (status, answer["expires_in"], answer["refresh_token_expires_in"]) == (200, 7, 90)
            assert "refresh_token" not in answer


async def test_an_address_that_cannot_be_had_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        process = await create_subprocess_exec(*PROGRAMS["module"], "--bind", bind, stdout=PIPE, stderr=PIPE)
        printed, said = await process.communicate()
    assert (process.returncode, printed) == (1, b"")
    assert said.decode().startswith(f"Error: Cannot listen on {bind}: ")


@pytest.mark.parametrize("option", ["--grace-seconds=-1", "--access-seconds=soon"])
def test_a_rule_that_is_none_is_refused(option: str) -> None:
    assert CliRunner().invoke(sandbox, [option]).exit_code == 2
