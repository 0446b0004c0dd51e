"""Tokens that are wanted no more are taken back, and where they are not, it is said why."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from quart_app import history, tokens
from quart_app.services import Services
from tests.sandboxed import Sandbox, connected, serving_sandbox
from tests.tokens.kept import on_record

SQLITE = pytest.mark.parametrize("database_url", [""])
pytestmark = SQLITE


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with serving_sandbox() as served:
        yield served


def with_revocation(sandbox: Sandbox, grant: str = "refresh_token") -> dict[str, Any]:
    form = sandbox.form(grant)
    form["auth"]["revocation_url"] = f"{sandbox.url}/oauth/revoke"
    return form


async def test_the_refresh_token_is_taken_back_and_with_it_the_grant(services: Services, sandbox: Sandbox) -> None:
    target = await connected(services, with_revocation(sandbox))
    held = await tokens.refresh(services, target)
    assert await tokens.revoke(services, target, held.access_token, held.refresh_token) == ""
    assert sandbox.server.families[0].revoked == "the client revoked it"


async def test_an_access_token_alone_is_taken_back(services: Services, sandbox: Sandbox) -> None:
    target = await connected(services, with_revocation(sandbox, "client_credentials"))
    held = await tokens.refresh(services, target)
    assert held.access_token is not None
    assert await tokens.revoke(services, target, held.access_token, None) == ""
    assert sandbox.server.access(held.access_token) is None


async def test_why_it_was_not_is_said(services: Services, sandbox: Sandbox) -> None:
    target = await connected(services, sandbox.form("refresh_token"))
    assert await tokens.revoke(services, target, None, None) == "There was no token."
    said = await tokens.revoke(services, target, None, "token")
    assert said == "The provider names no endpoint that revokes tokens."


async def test_a_provider_that_refuses_or_is_not_there_holds_nothing_up(services: Services, sandbox: Sandbox) -> None:
    target = await connected(services, with_revocation(sandbox))
    sandbox.server.tricks.add("status_503", at="revocation")
    assert await tokens.revoke(services, target, None, "token") == "The provider answered 503."
    sandbox.server.tricks.add("lost_request", at="revocation")
    assert "closed the connection" in await tokens.revoke(services, target, None, "token")


async def test_it_is_on_record_without_the_token(services: Services, sandbox: Sandbox) -> None:
    target = await connected(services, with_revocation(sandbox))
    await tokens.revoke(services, target, None, "planted-token")
    (kept,) = await on_record(services)
    async with services.db.session() as session:
        shown = await history.get(session, kept.id)
    assert (shown["url"], shown["status"], shown["state"]) == (f"{sandbox.url}/oauth/revoke", 200, "done")
    assert shown["request"]["body"]["text"] == "token=[redacted]&token_type_hint=refresh_token"
    assert "planted" not in str(shown)
