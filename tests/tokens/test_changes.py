"""Auth that changes while calls and renewals are on their way: no token goes where it was not given for."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import update

from quart_app import connections, removals, tokens
from quart_app.errors import CallFailed
from quart_app.models import Token
from quart_app.outbound.oauth import Issued
from quart_app.outbound.oauth.requests import TokenRequest
from quart_app.outbound.target import Target
from quart_app.services import Services, open_services
from quart_app.settings import Settings
from quart_app.tokens.held import load
from tests.sandboxed import Sandbox, connected, serving_sandbox
from tests.tokens.kept import eventually, generations, outcome, row, send, state, told
from tests.upstream import Upstream

pytestmark = pytest.mark.parametrize("database_url", [""])
Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """The provider that the connection is changed to."""
    async with serving_sandbox(access_seconds=3600) as served:
        yield served


class Old:
    """The provider of before: `forms` is what its token endpoint was sent."""

    def __init__(self, upstream: Upstream, reply: Reply) -> None:
        self.forms: list[str] = []
        self.url = upstream.url
        self._reply = reply
        upstream.handler = self.answer

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path != "/token":
            return web.json_response({})
        self.forms.append(await request.text())
        return await self._reply(request)

    def form(self, grant: str = "refresh_token", **more: Any) -> dict[str, Any]:
        auth = {"scheme": "oauth2", "grant": grant, "token_url": f"{self.url}/token", "client_id": "client"}
        if grant == "refresh_token":
            auth["refresh_token"] = "first"
        return {"name": "items", "base_url": f"{self.url}/v1", "auth": auth | more, "policy": {"allow_private": True}}


async def give(request: web.Request) -> web.StreamResponse:
    given = {"access_token": "of the old one".replace(" ", "-"), "token_type": "Bearer", "expires_in": 100}
    return web.json_response(given | {"refresh_token": "old-refresh"})


async def break_off(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(0.3)
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def change(services: Services, sandbox: Sandbox, grant: str = "refresh_token") -> None:
    form = sandbox.form(grant)
    await connections.update(services, "items", {"auth": form["auth"], "base_url": form["base_url"]})


async def now(services: Services) -> Target:
    return await connections.load(services, "items")


@pytest.mark.parametrize("grant", ["refresh_token", "client_credentials"])
async def test_a_call_that_was_queued_before_neither_asks_the_old_provider_nor_gets_the_new_token(
    services: Services, upstream: Upstream, sandbox: Sandbox, grant: str
) -> None:
    old = Old(upstream, give)
    target = await connected(services, old.form(grant))
    await change(services, sandbox, grant)
    with pytest.raises(CallFailed, match="other auth"):
        await tokens.ensure_valid(services, target)
    assert generations(await send(services))
    with pytest.raises(CallFailed, match="other auth"):
        await tokens.ensure_valid(services, target)
    assert old.forms == []


async def test_a_process_that_does_not_know_of_the_change_yet_sends_nothing_to_the_old_provider(
    settings: Settings, upstream: Upstream, sandbox: Sandbox
) -> None:
    async with open_services(settings, serves=True) as ours, open_services(settings) as theirs:
        old = Old(upstream, give)
        await connected(ours, old.form())
        await change(theirs, sandbox)
        assert outcome(await send(ours)) == "token_unavailable"
        assert old.forms == []
        await ours.watch()
        assert generations(await send(ours)) == [2]


async def test_a_lost_answer_is_not_asked_for_again_with_the_new_token(
    services: Services, upstream: Upstream, sandbox: Sandbox
) -> None:
    old = Old(upstream, break_off)
    await connected(services, old.form())
    caller = asyncio.create_task(send(services))
    await eventually(lambda: old.forms)
    await change(services, sandbox)
    assert outcome(await caller) == "token_unavailable"
    assert len(old.forms) == 1
    assert generations(await send(services)) == [2]


async def test_a_code_of_the_old_provider_is_not_redeemed(
    services: Services, upstream: Upstream, sandbox: Sandbox
) -> None:
    old = Old(upstream, give)
    form = old.form("authorization_code", authorize_url=f"{upstream.url}/authorize")
    target = await connected(services, form)
    await change(services, sandbox)

    def fine(issued: Issued) -> Issued:
        return issued

    with pytest.raises(CallFailed, match="other auth"):
        await tokens.redeem(services, target, TokenRequest(f"{old.url}/token", (), b"code=1"), actor="ada", check=fine)
    assert (old.forms, (await load(services, await now(services))).refresh_token) == ([], sandbox_token(sandbox))


def sandbox_token(sandbox: Sandbox) -> str:
    return sandbox.server.families[0].refresh_token


async def test_a_removal_takes_the_token_back_where_it_came_from(
    services: Services, upstream: Upstream, sandbox: Sandbox
) -> None:
    old = Old(upstream, give)
    stale = await connected(services, old.form(revocation_url=f"{old.url}/token"))
    form = sandbox.form("refresh_token")
    form["auth"]["revocation_url"] = f"{sandbox.url}/oauth/revoke"
    await connections.update(services, "items", {"auth": form["auth"], "base_url": form["base_url"]})
    services.caches.of(Target)["items"] = stale
    assert (await removals.remove(services, "items", actor="test")).not_revoked == ""
    assert (old.forms, sandbox.server.families[0].revoked) == ([], "the client revoked it")


async def test_the_failure_of_a_secret_that_was_corrected_meanwhile_marks_nothing(
    services: Services, sandbox: Sandbox
) -> None:
    form = sandbox.form("refresh_token")
    await connected(services, form | {"auth": form["auth"] | {"client_secret": "wrong"}})
    sandbox.server.tricks.add("slow_request", delay_seconds=0.4)
    caller = asyncio.create_task(send(services))
    await eventually(lambda: sandbox.token_requests > 0)
    await connections.update(services, "items", {"auth": form["auth"]})
    assert outcome(await caller) == "token_unavailable"
    assert await state(services) == ("ready", None)
    assert generations(await send(services)) == [1]


async def test_a_pause_ends_for_everybody_when_its_cause_does(settings: Settings, sandbox: Sandbox) -> None:
    async with open_services(settings, serves=True) as ours, open_services(settings) as theirs:
        form = sandbox.form("refresh_token")
        await connected(ours, form)
        sandbox.server.tricks.add("status_429", headers={"Retry-After": "3600"})
        assert outcome(await send(ours)) == "token_unavailable"
        await tokens.refresh(theirs, await now(theirs), forced=True)
        await ours.watch()
        await eventually(lambda: not ours.refreshes)
        assert generations(await send(ours)) == [1]


async def test_a_clock_that_was_set_back_does_not_make_a_pause_of_hours(services: Services, sandbox: Sandbox) -> None:
    await connected(services, sandbox.form("refresh_token"))
    async with services.db.begin() as session:
        await session.execute(update(Token).values(retry_at=time.time() + 7200, failures=1))
    assert generations(await send(services)) == [1]


async def test_the_only_token_there_is_outlives_an_edit_that_does_not_concern_it(
    services: Services, sandbox: Sandbox
) -> None:
    form = sandbox.form("refresh_token")
    auth = form["auth"] | {"grant": "authorization_code", "authorize_url": f"{sandbox.url}/oauth/authorize"}
    target = await connected(services, form | {"auth": auth})
    await tokens.refresh(services, target)
    async with services.db.begin() as session:
        await session.execute(update(Token).values(sealed_refresh_token=None))
    await connections.update(services, "items", {"auth": auth | {"revocation_url": f"{sandbox.url}/oauth/revoke"}})
    assert (await row(services)).sealed_access_token is not None
    assert await state(services) == ("ready", None)


async def test_a_claim_of_another_host_is_its_own_as_long_as_another_process_has_slots_here(
    settings: Settings, sandbox: Sandbox
) -> None:
    """As `switchboard call` in another container on the same volume."""
    async with open_services(settings, serves=True) as ours, open_services(settings) as theirs:
        await connected(ours, sandbox.form("refresh_token"))
        theirs.process = "another-container:7:1"
        sandbox.server.tricks.add("slow_answer", answer_delay_seconds=0.6)
        caller = asyncio.create_task(send(theirs))
        await eventually(lambda: sandbox.token_requests > 0)
        assert generations(await send(ours)) == [1]
        await caller
        assert (sandbox.token_requests, [entry[1] for entry in await told(ours)]) == (1, ["stored"])
