"""Every reason a call can fail for, produced by a real server, through the API and through the proxy, and on record."""

import asyncio
import dataclasses
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from quart_app.errors import REASONS
from quart_app.services import Services
from tests.flights import answering
from tests.outbound.certificates import self_signed, server_context
from tests.outbound.upstreams import OK, Reply, raw, then_reset, then_silence
from tests.served import free_port
from tests.upstream import Upstream
from tests.web.conftest import Asker, problem_in

SQLITE = pytest.mark.parametrize("database_url", [""])
"""Nothing here depends on the kind of database."""


@dataclass
class Trouble:
    """A connection to make trouble with, and what to send through it; so many calls go before, unheeded."""

    base_url: str
    policy: dict[str, Any] = field(default_factory=dict)
    auth: dict[str, Any] = field(default_factory=lambda: {"scheme": "none"})
    form: dict[str, Any] = field(default_factory=dict)
    proxied_body: bytes | None = None
    before: int = 0


Maker = Callable[[Path], AbstractAsyncContextManager[Trouble]]


@asynccontextmanager
async def unknown_name(folder: Path) -> AsyncIterator[Trouble]:
    yield Trouble("http://nonexistent.invalid")


@asynccontextmanager
async def full_backlog(folder: Path) -> AsyncIterator[Trouble]:
    """A listener whose queue is full: the next SYN has no answer."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(full.getsockname())
        yield Trouble(f"http://127.0.0.1:{full.getsockname()[1]}", {"connect_seconds": 0.2})
        for one in waiting:
            one.close()


@asynccontextmanager
async def no_listener(folder: Path) -> AsyncIterator[Trouble]:
    yield Trouble(f"http://127.0.0.1:{free_port()}")


@asynccontextmanager
async def untrusted(folder: Path) -> AsyncIterator[Trouble]:
    async with raw(OK, tls=server_context(self_signed(folder, "127.0.0.1"))) as upstream:
        yield Trouble(upstream.url)
        assert upstream.heads == []


def replying(reply: Reply | bytes, policy: dict[str, Any] | None = None, **more: Any) -> Maker:
    @asynccontextmanager
    async def make(folder: Path) -> AsyncIterator[Trouble]:
        async with raw(reply) as upstream:
            yield Trouble(upstream.url, policy or {}, **more)

    return make


async def never_read(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Half an answer to a GET; of an upload nothing is taken."""
    if head.startswith(b"GET"):
        writer.write(OK + b"Content-Length: 100\r\n\r\nhalf")
    await asyncio.sleep(10)


def handling(status: int, before: int = 0, policy: dict[str, Any] | None = None, **headers: str) -> Maker:
    @asynccontextmanager
    async def make(folder: Path) -> AsyncIterator[Trouble]:
        async with Upstream.running() as upstream:
            upstream.handler = answering(status, b"x" * 5000, **headers)
            yield Trouble(upstream.url, policy or {}, before=before)
            assert len(upstream.seen) == max(1, before)

    return make


@asynccontextmanager
async def no_token(folder: Path) -> AsyncIterator[Trouble]:
    async with Upstream.running() as upstream:
        upstream.handler = answering(503, b"{}")
        auth = {"scheme": "oauth2", "grant": "client_credentials", "token_url": f"{upstream.url}/token"}
        yield Trouble(upstream.url, auth=auth | {"client_id": "me", "client_secret": "client-secret-1"})
        assert {seen.path for seen in upstream.seen} == {"/token"}


TROUBLES: dict[str, Maker] = {
    "egress_denied": handling(302, policy={"follow_redirects": True}, Location="http://169.254.169.254/latest/"),
    "dns_failed": unknown_name,
    "connect_timeout": full_backlog,
    "connect_failed": no_listener,
    "tls_failed": untrusted,
    "first_byte_timeout": replying(then_silence(b""), {"first_byte_seconds": 0.2}),
    "idle_timeout": replying(never_read, {"idle_seconds": 0.2}, proxied_body=b"x" * 20_000_000),
    "total_timeout": replying(then_silence(b""), form={"total_seconds": 0.2}),
    "reset": replying(then_reset(b"")),
    "protocol_error": replying(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "too_large": handling(200),
    "token_unavailable": no_token,
    "circuit_open": handling(500, before=20),
    "limit_wait": handling(429, before=1, Retry_After="600"),
}
NOT_OF_THE_PROXY = ("total_timeout", "too_large")
"""It streams without a total time and without a limit of its own."""


def test_every_reason_is_tried() -> None:
    assert set(TROUBLES) == set(REASONS)


@asynccontextmanager
async def troubled(reason: str, program: Asker, folder: Path) -> AsyncIterator[Trouble]:
    """A connection `orders` that is in trouble."""
    async with TROUBLES[reason](folder) as trouble:
        policy = {"allow_private": True} | trouble.policy
        form = {"name": "orders", "base_url": trouble.base_url, "auth": trouble.auth, "policy": policy}
        made = await program.post("/api/connections", json=form)
        assert made.status_code == 201, await made.get_data()
        for _ in range(trouble.before):
            assert (await program.get("/proxy/orders/")).status_code in (429, 500)
        yield trouble


async def check_record(program: Asker, call_id: str, reason: str) -> dict[str, Any]:
    call: dict[str, Any] = await (await program.get(f"/api/calls/{call_id}")).get_json()
    assert (call["id"], call["state"], call["reason"]) == (call_id, "failed", reason)
    assert call["detail"]
    attempted = reason not in ("token_unavailable", "circuit_open", "limit_wait")
    assert bool(call["attempts"]) is attempted
    if attempted:
        assert call["attempts"][-1]["reason"] == reason
    return call


@SQLITE
@pytest.mark.parametrize("reason", REASONS)
async def test_a_call_of_the_api_that_fails_is_returned_and_on_record_with_its_reason(
    program: Asker, running: Services, tmp_path: Path, reason: str
) -> None:
    running.settings = dataclasses.replace(running.settings, answer_bytes=1000)
    async with troubled(reason, program, tmp_path) as trouble:
        answer = await program.post("/api/calls", json={"connection": "orders"} | trouble.form)
        assert answer.status_code == 201
        call = await answer.get_json()
        assert (call["state"], call["reason"]) == ("failed", reason)
        assert await check_record(program, call["id"], reason) == call


@SQLITE
@pytest.mark.parametrize("reason", [reason for reason in REASONS if reason not in NOT_OF_THE_PROXY])
async def test_a_call_through_the_proxy_that_fails_is_a_problem_with_its_status_and_on_record(
    program: Asker, tmp_path: Path, reason: str
) -> None:
    async with troubled(reason, program, tmp_path) as trouble:
        if trouble.proxied_body is None:
            answer = await program.get("/proxy/orders/")
        else:
            body = trouble.proxied_body
            answer = await program.post("/proxy/orders/", data=body, headers={"Content-Length": str(len(body))})
        problem = await problem_in(answer, REASONS[reason], reason)
        assert answer.headers["X-Switchboard-Source"] == "gateway"
        call = await check_record(program, answer.headers["X-Switchboard-Call"], reason)
        assert call["detail"] == problem.detail
        if REASONS[reason] == 503:
            assert 1 <= int(answer.headers["Retry-After"]) <= 600
        else:
            assert "Retry-After" not in answer.headers
