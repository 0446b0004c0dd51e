"""A code for the first tokens: sent once, on the ledger, and what it replaces counts no more."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from quart_app import connections, tokens
from quart_app.errors import CallFailed
from quart_app.outbound.client import AttemptFailed
from quart_app.outbound.oauth import GrantFailed, Issued
from quart_app.outbound.oauth.requests import TokenRequest, renewal
from quart_app.outbound.target import Target
from quart_app.services import Services
from quart_app.tokens.discovery import endpoints
from quart_app.tokens.held import load
from tests.sandboxed import Sandbox, connected, serving_sandbox
from tests.tokens.kept import entries, eventually, generations, row, send, state, told

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
