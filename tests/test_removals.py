"""A connection taken away: its secrets are gone here whatever the provider does, and the provider is told."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import select

from quart_app import calls, connections, removals, tokens
from quart_app.errors import NotFound
from quart_app.forms.calls import CallForm
from quart_app.models import AuditEntry, Call, Connection, Token
from quart_app.removals import REVOKE_SECONDS, Removal, remove
from quart_app.services import Services
from tests.sandboxed import Sandbox, connected, serving_sandbox
from tests.upstream import Upstream

SQLITE = pytest.mark.parametrize("database_url", [""])
"""Where nothing depends on the kind of database."""


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with serving_sandbox(access_seconds=3600) as served:
        yield served


def form(sandbox: Sandbox, grant: str = "refresh_token", **auth: Any) -> dict[str, Any]:
    made = sandbox.form(grant)
    return made | {"auth": made["auth"] | {"revocation_url": f"{sandbox.url}/oauth/revoke"} | auth}


async def refreshed(services: Services, sandbox: Sandbox, **more: Any) -> None:
    target = await connected(services, form(sandbox, **more))
    await tokens.refresh(services, target)


async def rows(services: Services, table: type[Any]) -> list[Any]:
    async with services.db.session() as session:
        return list(await session.scalars(select(table)))


async def noted(services: Services) -> list[tuple[str, str, str, str]]:
    entries = await rows(services, AuditEntry)
    return [
        (entry.actor, entry.action, entry.subject, entry.detail)
        for entry in sorted(entries, key=lambda entry: int(entry.number))
        if entry.action.startswith(("token_", "connection_deleted"))
    ]


async def test_the_grant_ends_at_the_provider_and_nothing_is_left_here(services: Services, sandbox: Sandbox) -> None:
    await refreshed(services, sandbox)
    (family,) = [family for family in sandbox.server.families if family.grant == "authorization_code"]
    assert family.revoked is None
    assert await remove(services, "items", actor="account:ann") == Removal(had_token=True)
    assert family.revoked == "the client revoked it"
    assert await rows(services, Connection) == await rows(services, Token) == []
    assert await noted(services) == [
        ("account:ann", "connection_deleted", "items", ""),
        ("account:ann", "token_revoked", "items", ""),
    ]


async def test_without_a_refresh_token_the_access_token_is_taken_back(services: Services, sandbox: Sandbox) -> None:
    await refreshed(services, sandbox, grant="client_credentials")
    (token,) = sandbox.server.access_tokens
    assert await remove(services, "items", actor="cli") == Removal(had_token=True)
    assert sandbox.server.access(token) is None


async def test_it_is_the_newest_refresh_token_that_is_taken_back(services: Services, sandbox: Sandbox) -> None:
    await refreshed(services, sandbox)
    target = await connections.load(services, "items")
    for _ in range(3):
        await tokens.refresh(services, target, forced=True)
    await remove(services, "items", actor="cli")
    assert [family.revoked for family in sandbox.server.families] == ["the client revoked it"]
    assert sandbox.server.reuse_detections == 0


@SQLITE
async def test_the_revocation_is_in_the_history_without_the_token(services: Services, sandbox: Sandbox) -> None:
    await refreshed(services, sandbox)
    (token,) = await rows(services, Token)
    secret = services.vault.unseal(
        token.sealed_refresh_token, table="tokens", column="sealed_refresh_token", row=token.connection_id
    )
    await remove(services, "items", actor="cli")
    async with asyncio.timeout(5):
        while not (found := [call for call in await rows(services, Call) if call.url.endswith("/oauth/revoke")]):  # noqa: ASYNC110 - it is written beside
            await asyncio.sleep(0.01)
    (call,) = found
    assert (call.origin, call.method, call.status, call.state) == ("token", "POST", 200, "done")
    assert secret not in str(vars(call))


@SQLITE
@pytest.mark.parametrize(
    ("auth", "trick", "why"),
    [
        ({"revocation_url": None}, "", "The provider names no endpoint that revokes tokens."),
        ({}, "status_503", "The provider answered 503."),
        ({}, "invalid_client", "The provider answered 401."),
        ({}, "reset", "The connection to the upstream broke."),
        ({"revocation_url": "http://127.0.0.1:9/revoke"}, "", "connect"),
    ],
)
async def test_a_provider_that_does_not_take_it_back_keeps_nothing_here(
    services: Services, sandbox: Sandbox, auth: dict[str, Any], trick: str, why: str
) -> None:
    await refreshed(services, sandbox, **auth)
    if trick:
        sandbox.server.tricks.add(trick, at="revocation")
    removal = await remove(services, "items", actor="cli")
    assert removal.had_token
    assert why in removal.not_revoked
    assert await rows(services, Connection) == await rows(services, Token) == []
    assert (await noted(services))[-1] == ("cli", "token_not_revoked", "items", removal.not_revoked)


@SQLITE
async def test_a_provider_that_hangs_is_waited_for_briefly(
    services: Services, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert REVOKE_SECONDS == 5
    monkeypatch.setattr(removals, "REVOKE_SECONDS", 0.2)
    await refreshed(services, sandbox)
    sandbox.server.tricks.add("hang", at="revocation")
    began = time.monotonic()
    removal = await remove(services, "items", actor="cli")
    assert time.monotonic() - began < 3
    assert "did not answer" in removal.not_revoked
    assert await rows(services, Connection) == []


@SQLITE
async def test_who_leaves_meanwhile_leaves_the_provider_told_all_the_same(services: Services, sandbox: Sandbox) -> None:
    await refreshed(services, sandbox)
    sandbox.server.tricks.add(at="revocation", delay_seconds=0.3)
    leaving = asyncio.create_task(remove(services, "items", actor="cli"))
    async with asyncio.timeout(5):
        while await rows(services, Connection):  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.01)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await services.finish()
    assert [family.revoked for family in sandbox.server.families] == ["the client revoked it"]
    assert (await noted(services))[-1][1] == "token_revoked"


async def test_a_connection_that_has_no_token_just_goes(services: Services, upstream: Upstream) -> None:
    policy = {"allow_private": True}
    auth: dict[str, Any] = {"scheme": "bearer", "token": "static"}
    await connected(services, {"name": "items", "base_url": upstream.url, "auth": auth, "policy": policy})
    assert await remove(services, "items", actor="cli") == Removal()
    auth = {"scheme": "oauth2", "grant": "client_credentials", "token_url": f"{upstream.url}/token", "client_id": "me"}
    await connected(services, {"name": "items", "base_url": upstream.url, "auth": auth, "policy": policy})
    assert await remove(services, "items", actor="cli") == Removal()
    assert upstream.seen == []
    assert [action for _, action, _, _ in await noted(services)] == ["connection_deleted"] * 2
    with pytest.raises(NotFound):
        await remove(services, "items", actor="cli")


async def test_calls_of_it_stay_on_record(services: Services, sandbox: Sandbox) -> None:
    await connected(services, form(sandbox))
    sent = await calls.send(services, CallForm(connection="items", path="/whoami"), origin="api", actor="test")
    await remove(services, "items", actor="cli")
    assert sent.call["id"] in {call.id for call in await rows(services, Call)}
