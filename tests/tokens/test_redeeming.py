"""A code for the first tokens: sent once, on the ledger, and what it replaces counts no more."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from quart_app import connections, grants, tokens
from quart_app.errors import CallFailed
from quart_app.outbound.client import AttemptFailed
from quart_app.outbound.oauth import GrantFailed, Issued
from quart_app.outbound.oauth.requests import TokenRequest, renewal
from quart_app.outbound.target import Target
from quart_app.services import Services, open_services
from quart_app.settings import Settings
from quart_app.tokens.discovery import endpoints
from quart_app.tokens.held import load
from quart_app.tokens.settling import settle
from tests.sandboxed import Sandbox, connected, serving_sandbox
from tests.tokens.kept import Killed, entries, eventually, generations, kill_at, row, send, state, told

SQLITE = pytest.mark.parametrize("database_url", [""])


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with serving_sandbox(access_seconds=3600) as served:
        yield served


def fine(issued: Issued) -> Issued:
    return issued


async def request_of(services: Services, target: Target, sandbox: Sandbox) -> TokenRequest:
    """Good for tokens once, as a code's is; which grant it is of makes no difference here."""
    token = sandbox.server.families[0].refresh_token
    auth: Any = target.auth
    return renewal(auth, await endpoints(services, target), token, now=services.clock())


async def test_the_connection_is_ready_with_what_came(services: Services, sandbox: Sandbox) -> None:
    target = await connected(services, sandbox.form("refresh_token"))
    await connections.set_state(services, target, "needs_sign_in", "Sign in.")
    target = await connections.load(services, "items")
    request = await request_of(services, target, sandbox)
    held = await tokens.redeem(services, target, request, actor="ada", check=fine)
    assert held.generation == 1
    assert await state(services) == ("ready", None)
    kept = await row(services)
    assert (kept.signed_in_by, kept.signed_in_at is None) == ("ada", False)
    (entry,) = await entries(services)
    assert (entry.cause, entry.grant_type, entry.state) == ("sign_in", "authorization_code", "stored")
    assert generations(await send(services)) == [1]


@SQLITE
async def test_a_check_that_fails_stores_nothing(services: Services, sandbox: Sandbox) -> None:
    target = await connected(services, sandbox.form("refresh_token"))

    def refuse(issued: Issued) -> Issued:
        raise GrantFailed("The ID token is another's.", failure="odd_answer")

    with pytest.raises(GrantFailed, match="another's"):
        await tokens.redeem(services, target, await request_of(services, target, sandbox), actor="ada", check=refuse)
    assert ((await row(services)).generation, (await row(services)).sealed_access_token) == (0, None)
    assert (await told(services))[0][0:2] == ("sign_in", "failed")


@SQLITE
async def test_a_lost_answer_is_not_asked_for_again(services: Services, sandbox: Sandbox) -> None:
    target = await connected(services, sandbox.form("refresh_token"))
    request = await request_of(services, target, sandbox)
    sandbox.server.tricks.add("lost_answer")
    with pytest.raises(AttemptFailed):
        await tokens.redeem(services, target, request, actor="ada", check=fine)
    assert sandbox.token_requests == 1
    assert await told(services) == [("sign_in", "in_doubt", "reset")]


async def test_a_renewal_that_was_under_way_counts_no_more(services: Services, sandbox: Sandbox) -> None:
    target = await connected(services, sandbox.form("refresh_token"))
    sandbox.server.tricks.add("slow_answer", answer_delay_seconds=0.6)
    renewing = tokens.refreshing(services, target, 0, "expired")
    await eventually(lambda: sandbox.token_requests > 0)
    request = await request_of(services, target, sandbox)
    held = await tokens.redeem(services, target, request, actor="ada", check=fine)
    with pytest.raises(CallFailed, match="signed in anew"):
        await renewing
    assert (await load(services, target)).refresh_token == held.refresh_token
    assert sorted(await told(services)) == [("expired", "failed", "superseded"), ("sign_in", "stored", None)]


@SQLITE
async def test_a_browser_that_leaves_does_not_cut_it_off(services: Services, sandbox: Sandbox) -> None:
    target = await connected(services, sandbox.form("refresh_token"))
    request = await request_of(services, target, sandbox)
    sandbox.server.tricks.add("slow_answer", answer_delay_seconds=0.3)
    leaving = asyncio.create_task(tokens.redeem(services, target, request, actor="ada", check=fine))
    await eventually(lambda: sandbox.token_requests > 0)
    leaving.cancel()
    await services.finish()
    assert (await row(services)).generation == 1


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_one_that_fails_while_another_one_is_stored_holds_neither_up(
    settings: Settings, sandbox: Sandbox
) -> None:
    """Both write to the audit and close exchanges of the connection: in one order, or PostgreSQL has to kill one."""
    async with open_services(settings, serves=True) as services:
        target = await connected(services, sandbox.form("refresh_token"))
        sandbox.server.tricks.add("invalid_grant")
        request = await request_of(services, target, sandbox)
        async with services.change() as session:
            failing = asyncio.create_task(tokens.redeem(services, target, request, actor="ada", check=fine))
            await eventually(lambda: sandbox.server.tricks.staged[0].played)
            await asyncio.sleep(0.3)
            await grants.supersede(session, services, target.id)
        with pytest.raises(GrantFailed):
            await failing
        assert await told(services) == [("sign_in", "failed", "superseded")]


@SQLITE
async def test_a_stop_before_it_is_stored_costs_no_second_sign_in_where_there_is_no_refresh_token_either(
    settings: Settings, sandbox: Sandbox
) -> None:
    async with open_services(settings, serves=True) as services:
        target = await connected(services, sandbox.form("refresh_token"))
        request = await request_of(services, target, sandbox)
        sandbox.server.tricks.add("no_refresh_token")
        kill_at(services, "after_rescue")
        with pytest.raises(Killed):
            await tokens.redeem(services, target, request, actor="ada", check=fine)
    async with open_services(settings, serves=True) as services:
        await settle(services)
        assert await told(services) == [("sign_in", "stored", None)]
        assert generations(await send(services)) == [1]
    assert sandbox.token_requests == 1
