"""One request to a token endpoint: its own times, no redirect, its answer whole, its clock compared."""

import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import pytest
from aiohttp import web

from quart_app import ledger, tokens
from quart_app.errors import CallFailed
from quart_app.models import TokenExchange
from quart_app.services import Services
from tests.sandboxed import Sandbox, connected, serving_sandbox
from tests.tokens.kept import entries, generations, on_record, outcome, row, send, told
from tests.upstream import Upstream

pytestmark = pytest.mark.parametrize("database_url", [""])


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with serving_sandbox(access_seconds=3600, grace_seconds=60) as served:
        yield served


async def only(services: Services) -> TokenExchange:
    (entry,) = await entries(services)
    return entry


async def test_a_slow_token_endpoint_gets_its_time_also_where_the_api_s_calls_get_little(
    services: Services, sandbox: Sandbox
) -> None:
    policy = {"allow_private": True, "first_byte_seconds": 0.2, "idle_seconds": 0.2}
    await connected(services, sandbox.form("refresh_token", policy=policy))
    sandbox.server.tricks.add("slow_answer", answer_delay_seconds=0.6)
    assert generations(await send(services, total_seconds=10)) == [1]
    assert sandbox.token_requests == 1


async def test_a_redirect_is_not_followed(services: Services, sandbox: Sandbox) -> None:
    await connected(services, sandbox.form("refresh_token"))
    sandbox.server.tricks.add("redirect")
    assert outcome(await send(services)) == "token_unavailable"
    assert sandbox.token_requests == 1
    assert "redirect" in ((await only(services)).detail or "")


@pytest.mark.parametrize(("trick", "skew"), [("clock_ahead", -3600), ("clock_behind", 3600), (None, 0)])
async def test_how_far_our_clock_is_ahead_is_kept(
    services: Services, sandbox: Sandbox, trick: str | None, skew: int
) -> None:
    await connected(services, sandbox.form())
    if trick:
        sandbox.server.tricks.add(trick)
    await send(services)
    found = (await only(services)).skew_seconds
    assert found is not None
    assert abs(found - skew) <= 2


@pytest.mark.parametrize(
    "date", [f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT", f"Mon, 01 Jan 2024 00:00:00 +{'9' * 20}", "x"]
)
async def test_a_date_that_is_none_costs_no_token(services: Services, upstream: Upstream, date: str) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        given = {"access_token": "a", "token_type": "Bearer", "refresh_token": "second"}
        return web.json_response(given, headers={"Date": date})

    upstream.handler = answer
    auth = {"scheme": "oauth2", "grant": "refresh_token", "token_url": f"{upstream.url}/token", "client_id": "client"}
    form = {"name": "items", "base_url": upstream.url, "policy": {"allow_private": True}}
    target = await connected(services, form | {"auth": auth | {"refresh_token": "first"}})
    assert (await tokens.refresh(services, target)).refresh_token == "second"
    assert (await only(services)).skew_seconds is None


@pytest.mark.parametrize(
    ("trick", "changes"),
    [
        ("expires_in_string", {}),
        ("extra_fields", {}),
        ("no_refresh_token", {}),
        ("", {"answer": {"expires_in": 0}}),
        ("", {"answer": {"expires_in": -1}}),
        ("", {"answer": {"expires_in": 1e20}}),
        ("", {"answer": {"expires_in": None}}),
        ("", {"answer": {"token_type": "bEaReR"}}),
    ],
)
async def test_an_odd_answer_that_has_a_token_is_used(
    services: Services, sandbox: Sandbox, trick: str, changes: dict[str, Any]
) -> None:
    await connected(services, sandbox.form("refresh_token"))
    sandbox.server.tricks.add(trick, **changes)
    assert outcome(await send(services)) == 200
    assert sandbox.token_requests == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"answer": {"access_token": "a\r\nb"}},
        {"answer": {"access_token": ""}},
        {"without": ["access_token"]},
        {"long": {"access_token": 1024 * 1024}},
        {"answer": {"token_type": "mac"}},
        {"answer": {"refresh_token": ["x"]}},
    ],
    ids=str,
)
async def test_an_answer_without_a_token_to_use_is_refused_and_nothing_of_it_is_kept(
    services: Services, sandbox: Sandbox, changes: dict[str, Any]
) -> None:
    target = await connected(services, sandbox.form("refresh_token"))
    sandbox.server.tricks.add(times=None, **changes)
    with pytest.raises(CallFailed):
        await tokens.refresh(services, target)
    assert {entry.state for entry in await entries(services)} in ({"failed"}, {"in_doubt"})
    assert sandbox.token_requests <= 3
    assert {call.status for call in await on_record(services)} == {200}
    kept = await row(services)
    assert (kept.generation, kept.sealed_access_token, kept.sealed_spare_refresh_token) == (0, None, None)


async def test_who_stood_still_after_its_note_asks_anew_before_it_sends(
    services: Services, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a process that was stopped after the note until its lease was over: the old token may be spent by then."""
    monkeypatch.setattr(ledger, "LATE_SECONDS", 0.05)
    await connected(services, sandbox.form("refresh_token"))
    path = services.db.path
    assert path is not None

    def reached(label: str) -> None:
        if label == "after_send" and not over:
            over.append(label)
            with closing(sqlite3.connect(path)) as other:
                other.execute("UPDATE tokens SET lease_until = 1.0")
                other.commit()
            time.sleep(0.1)

    over: list[str] = []
    services.reached = reached
    assert generations(await send(services)) == [1]
    assert sandbox.token_requests == 1
    assert await told(services) == [("expired", "in_doubt", "abandoned"), ("expired", "stored", None)]


async def test_who_stood_still_and_has_its_lease_yet_sends(
    services: Services, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "LATE_SECONDS", 0.05)
    await connected(services, sandbox.form("refresh_token"))
    notes: list[str] = []

    def reached(label: str) -> None:
        if label == "after_send":
            notes.append(label)
            time.sleep(0.1 if len(notes) == 1 else 0.0)

    services.reached = reached
    assert generations(await send(services)) == [1]
    assert (len(notes), sandbox.token_requests) == (2, 1)
    assert await told(services) == [("expired", "stored", None)]
