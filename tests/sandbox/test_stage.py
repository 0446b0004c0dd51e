"""Tricks as a client meets them: over a real socket, on the server the sandbox really runs on."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from quart.testing import QuartClient

from quart_app.sandbox import DEMO, AuthorizationServer
from quart_app.sandbox.stage import transport_of
from quart_app.sandbox.tricks import Trick

from .conftest import Clock, Person

REFRESH = {
    "grant_type": "refresh_token",
    "refresh_token": DEMO.refresh_token,
    "client_id": DEMO.client_id,
    "client_secret": DEMO.client_secret,
}
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def asked(port: int) -> Streams:
    """A connection on which a token request was sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    form = urlencode(REFRESH)
    head = f"POST /oauth/token HTTP/1.1\r\nHost: sandbox\r\nContent-Length: {len(form)}\r\n"
    writer.write(f"{head}Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}".encode())
    return reader, writer


async def answer_of(port: int) -> tuple[int, dict[str, str], bytes]:
    reader, writer = await asked(port)
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    headers = {name.lower(): value for name, value in re.findall(r"([\w-]+): (.*)\r\n", head)}
    body = await reader.readexactly(int(headers["content-length"]))
    writer.close()
    return int(head.split(" ")[1]), headers, body


def spent(server: AuthorizationServer) -> bool:
    return server.store.refresh_tokens[DEMO.refresh_token].spent_at is not None


async def eventually(holds: Callable[[], bool]) -> None:
    for _ in range(500):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


def views() -> int:
    return sum("handle_request" in repr(task.get_coro()) for task in asyncio.all_tasks())


async def is_closed(reader: asyncio.StreamReader) -> None:
    assert await reader.read() == b""


async def is_reset(reader: asyncio.StreamReader) -> None:
    with pytest.raises(ConnectionResetError):
        await reader.read()


async def breaks_off(reader: asyncio.StreamReader) -> None:
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head)
    assert found is not None
    assert 0 < len(body) < int(found[1])
    assert b"200" in head.splitlines()[0]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("ends", "seen"), [("closed", is_closed), ("reset", is_reset)])
async def test_a_connection_ends_without_a_byte_before_or_after_the_token_is_spent(
    port: int,
    server: AuthorizationServer,
    ends: str,
    seen: Callable[[asyncio.StreamReader], Awaitable[None]],
    when: str,
) -> None:
    server.tricks.add(ends=ends, when=when)
    reader, writer = await asked(port)
    await seen(reader)
    writer.close()
    assert spent(server) is (when == "after")
    assert server.token_requests["refresh_token"] == 1
    await eventually(lambda: views() == 0)


async def test_an_answer_breaks_off_in_the_middle(port: int, server: AuthorizationServer) -> None:
    server.tricks.add("cut")
    reader, writer = await asked(port)
    await breaks_off(reader)
    writer.close()
    assert spent(server)
    await eventually(lambda: views() == 0)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_nothing_is_ever_answered_and_nothing_stays_behind_when_the_client_leaves(
    port: int, server: AuthorizationServer, when: str
) -> None:
    server.tricks.add("hang", when=when)
    reader, writer = await asked(port)
    await eventually(lambda: views() == 1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(), 0.2)
    assert spent(server) is (when == "after")
    writer.close()
    await eventually(lambda: views() == 0)


@pytest.mark.parametrize(("field", "spent_meanwhile"), [("delay_seconds", False), ("answer_delay_seconds", True)])
async def test_an_answer_is_slow_before_or_after_the_token_is_spent(
    port: int, server: AuthorizationServer, field: str, spent_meanwhile: bool
) -> None:
    server.tricks.put([Trick.model_validate({field: 0.5})])
    started = time.monotonic()
    answer = asyncio.create_task(answer_of(port))
    await eventually(lambda: server.token_requests["refresh_token"] == 1)
    assert spent(server) is spent_meanwhile
    assert (await answer)[0] == 200
    assert time.monotonic() - started >= 0.5
    assert spent(server)


@pytest.mark.parametrize(
    ("name", "status", "header", "value"),
    [
        ("status_503", 503, "retry-after", "1"),
        ("status_429", 429, "retry-after", "1"),
        ("status_502", 502, "content-type", "text/html; charset=utf-8"),
        ("redirect", 307, "location", "/oauth/token"),
        ("html_ok", 200, "content-type", "text/html; charset=utf-8"),
        ("empty", 200, "content-length", "0"),
        ("not_json", 200, "content-type", "text/plain; charset=utf-8"),
        ("json_array", 200, "content-type", "application/json"),
        ("invalid_client", 401, "content-type", "application/json"),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_answer_of_another_kind_comes_before_or_after_the_token_is_spent(
    port: int, server: AuthorizationServer, name: str, status: int, header: str, value: str, when: str
) -> None:
    server.tricks.add(name, when=when)
    found, headers, _ = await answer_of(port)
    assert (found, headers[header]) == (status, value)
    assert spent(server) is (when == "after")
    assert (await answer_of(port))[0] == (400 if when == "after" else 200)


@pytest.mark.parametrize(("name", "skew_seconds"), [("", 0), ("clock_ahead", 3600), ("clock_behind", -3600)])
async def test_a_date_is_that_of_the_sandboxs_clock_and_of_the_trick(
    port: int, server: AuthorizationServer, clock: Clock, name: str, skew_seconds: int
) -> None:
    server.tricks.add(name)
    headers = (await answer_of(port))[1]
    assert parsedate_to_datetime(headers["date"]).timestamp() == clock.now + skew_seconds


async def test_a_token_with_a_line_break_reaches_the_client_as_it_is(port: int, server: AuthorizationServer) -> None:
    server.tricks.add("token_with_newline")
    assert json.loads((await answer_of(port))[2])["access_token"] == "a\r\nX-Injected: b"


async def test_a_redirect_of_the_authorization_endpoint_is_played_with(
    person: Person, server: AuthorizationServer
) -> None:
    server.tricks.add("no_issuer")
    server.tricks.add("denied")
    assert (await person.decide(await person.ask())).keys() == {"code", "state"}
    back = await person.decide(await person.ask())
    assert (back["error"], back["state"], "code" in back) == ("access_denied", "s&=ü", False)
    assert "code" in await person.decide(await person.ask())
    server.tricks.add("status_502", at="authorization")
    form = {"transaction": await person.ask(), "decision": "approve"}
    assert (await person.client.post("/oauth/authorize", form=form)).status_code == 502


@pytest.mark.parametrize(("at", "path"), [("metadata", "/.well-known/openid-configuration"), ("jwks", "/oauth/jwks")])
async def test_what_the_server_says_of_itself_is_played_with(
    client: QuartClient, server: AuthorizationServer, at: Any, path: str
) -> None:
    server.tricks.add("status_503", at=at)
    assert [(await client.get(path)).status_code for _ in range(2)] == [503, 200]


async def test_a_revocation_is_played_with(person: Person, server: AuthorizationServer) -> None:
    server.tricks.add("status_503", at="revocation", client_id=DEMO.client_id)
    form = {"token": DEMO.refresh_token, "client_id": DEMO.client_id, "client_secret": DEMO.client_secret}
    statuses = [(await person.client.post("/oauth/revoke", form=form)).status_code for _ in range(2)]
    assert statuses == [503, 200]
    assert server.families[0].revoked == "the client revoked it"


@pytest.mark.parametrize("ends", ["closed", "reset", "cut"])
async def test_without_a_connection_to_end_that_is_said(
    client: QuartClient, server: AuthorizationServer, ends: str
) -> None:
    server.tricks.add(ends=ends, when="after")
    answer = await client.post("/oauth/token", form=REFRESH)
    assert answer.status_code == 501


def test_no_transport_is_found_under_what_is_not_a_send_of_hypercorn() -> None:
    assert transport_of(None) is None
    assert transport_of(print) is None
