"""A token in hand is not lost: not when the database fails under it, not when its claim was lost meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text, update

from quart_app import connections, ledger, rescue, tokens
from quart_app.errors import CallFailed
from quart_app.models import Token, TokenExchange
from quart_app.services import Services, open_services
from quart_app.settings import Settings
from quart_app.tokens.held import load, sealed
from quart_app.tokens.settling import settle
from tests.sandboxed import Sandbox, connected, serving_sandbox
from tests.tokens.kept import entries, eventually, generations, later, outcome, row, send, state, told

SQLITE = pytest.mark.parametrize("database_url", [""])


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Without grace: a token that is lost here is lost."""
    async with serving_sandbox(access_seconds=3600) as served:
        yield served


async def take_away(services: Services) -> None:
    """From now on no token can be written; with `put_back` it can again."""
    async with services.db.connect() as connection:
        await connection.execute(text("ALTER TABLE tokens RENAME TO tokens_away"))


async def put_back(services: Services) -> None:
    async with services.db.connect() as connection:
        await connection.execute(text("ALTER TABLE tokens_away RENAME TO tokens"))


async def fail_under(services: Services, sandbox: Sandbox) -> None:
    """A refresh whose answer comes when the database has begun to fail."""
    sandbox.server.tricks.add("slow_answer", answer_delay_seconds=0.4)
    caller = asyncio.create_task(send(services))
    await eventually(lambda: sandbox.token_requests > 0)
    await take_away(services)
    assert generations(await caller) == [1]


async def test_a_token_that_the_database_does_not_take_is_used_and_stored_when_it_does(
    services: Services, sandbox: Sandbox
) -> None:
    target = await connected(services, sandbox.form("refresh_token"))
    await fail_under(services, sandbox)
    assert tokens.unstored(services, target.id)
    (path,) = rescue.files(services.rescue.path.parent)
    assert len(rescue.key_ids(path.parent)) == 1
    assert generations(await send(services)) == [1], "it serves calls from memory"
    await put_back(services)
    await eventually(lambda: not services.unstored)
    assert (await row(services)).generation == 1
    assert rescue.key_ids(path.parent) == set()
    later(services, 3601)
    assert generations(await send(services)) == [2]
    assert sandbox.server.reuse_detections == 0


@SQLITE
async def test_readiness_says_that_a_token_waits_for_the_database(
    running: Services, client: Any, sandbox: Sandbox
) -> None:
    await connected(running, sandbox.form("refresh_token"))
    await fail_under(running, sandbox)
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    said = (await answer.get_json())["reasons"]
    assert "tokens: 1 new ones wait in their rescue slots for the database" in said
    await put_back(running)
    await eventually(lambda: not running.unstored)
    assert (await client.get("/readyz")).status_code == 200


@SQLITE
async def test_no_second_renewal_is_begun_while_a_token_waits(services: Services, sandbox: Sandbox) -> None:
    target = await connected(services, sandbox.form("refresh_token"))
    await fail_under(services, sandbox)
    later(services, 3601)
    assert outcome(await send(services)) == "token_unavailable"
    with pytest.raises(CallFailed, match="database fails"):
        await tokens.refresh(services, target, forced=True)
    assert sandbox.token_requests == 1
    await put_back(services)
    await eventually(lambda: not services.unstored)


async def test_a_stop_leaves_it_in_its_slot_and_the_next_start_stores_it(settings: Settings, sandbox: Sandbox) -> None:
    async with open_services(settings, serves=True) as services:
        await connected(services, sandbox.form("refresh_token"))
        await fail_under(services, sandbox)
        services.drain()
    async with open_services(settings, serves=True) as services:
        await put_back(services)
        await settle(services)
        assert (await row(services)).generation == 1
        assert rescue.files(settings.data / "rescue") == []
        later(services, 3601)
        assert generations(await send(services)) == [2]
    assert sandbox.server.reuse_detections == 0


@SQLITE
async def test_with_no_disk_for_the_slot_it_is_stored_all_the_same(services: Services, sandbox: Sandbox) -> None:
    await connected(services, sandbox.form("refresh_token"))
    services.rescue.prepare()
    for number in range(services.rescue.slots):
        services.rescue.put(f"0192a000-0000-7000-8000-{number:012}", b"x")
    assert generations(await send(services)) == [1]
    assert (await row(services)).generation == 1


@SQLITE
async def test_where_no_slot_can_be_made_nothing_is_spent(settings: Settings, sandbox: Sandbox) -> None:
    (settings.data).mkdir(mode=0o700)
    (settings.data / "rescue").write_text("in the way")
    async with open_services(settings, serves=True) as services:
        await connected(services, sandbox.form("refresh_token"))
        assert outcome(await send(services)) == "token_unavailable"
        await connections.update(services, "items", {"auth": sandbox.form()["auth"]})
        assert generations(await send(services)) == [2], "a grant that spends nothing needs no slot"
    assert sandbox.server.token_requests["refresh_token"] == 0


async def stored_meanwhile(services: Services, connection_id: str, *, sent_at: float) -> None:
    """As another process does that took the claim over."""
    async with services.change() as session:
        renewal = sealed(services, connection_id, "sealed_refresh_token", "another's")
        access = sealed(services, connection_id, "sealed_access_token", "another's access")
        values = {"sealed_refresh_token": renewal, "sealed_access_token": access, "generation": 1}
        await session.execute(update(Token).values(**values, sent_at=sent_at, claim=None, lease_until=None))


@pytest.mark.parametrize("newer", [True, False])
async def test_a_token_whose_claim_was_lost_is_kept_as_the_newest_or_aside(
    services: Services, sandbox: Sandbox, newer: bool
) -> None:
    target = await connected(services, sandbox.form("refresh_token"))
    sandbox.server.tricks.add("slow_answer", answer_delay_seconds=0.4)
    task = tokens.refreshing(services, target, 0, "expired")
    await eventually(lambda: sandbox.token_requests > 0)
    await stored_meanwhile(services, target.id, sent_at=1.0 if newer else 1e12)
    await task
    kept, ours = await load(services, target), sandbox.server.families[0].refresh_token
    if newer:
        assert (kept.generation, kept.refresh_token, kept.spare_refresh_token) == (2, ours, "another's")
    else:
        assert (kept.generation, kept.refresh_token, kept.spare_refresh_token) == (1, "another's", ours)
        assert "kept aside" in ((await entries(services))[0].detail or "")
    assert (await told(services))[0][1] == "stored"


@SQLITE
async def test_what_comes_for_auth_that_was_replaced_is_not_taken_for_the_new_one(
    services: Services, sandbox: Sandbox
) -> None:
    form = sandbox.form("refresh_token")
    target = await connected(services, form)
    sandbox.server.tricks.add("slow_answer", answer_delay_seconds=0.4)
    caller = asyncio.create_task(send(services))
    await eventually(lambda: sandbox.token_requests > 0)
    await connections.update(services, "items", {"auth": form["auth"] | {"refresh_token": "given-anew"}})
    assert outcome(await caller) == "token_unavailable"
    kept = await load(services, await connections.load(services, target.name))
    assert (kept.refresh_token, kept.access_token, kept.spare_refresh_token) == ("given-anew", None, None)
    assert await told(services) == [("expired", "failed", "superseded")]


async def test_what_comes_for_a_connection_that_was_deleted_is_taken_back(services: Services, sandbox: Sandbox) -> None:
    form = sandbox.form("refresh_token")
    form["auth"]["revocation_url"] = f"{sandbox.url}/oauth/revoke"
    await connected(services, form)
    sandbox.server.tricks.add("slow_answer", answer_delay_seconds=0.4)
    caller = asyncio.create_task(send(services))
    await eventually(lambda: sandbox.token_requests > 0)
    await connections.delete(services, "items")
    assert outcome(await caller) == "token_unavailable"
    await eventually(lambda: sandbox.server.families[0].revoked)
    assert await told(services) == [("expired", "failed", "deleted")]


@SQLITE
async def test_a_paused_connection_stays_paused_when_its_token_comes(services: Services, sandbox: Sandbox) -> None:
    target = await connected(services, sandbox.form("refresh_token"))
    await connections.update(services, "items", {"state": "paused"})
    await tokens.refresh(services, target, forced=True)
    assert (await state(services))[0] == "paused"


@SQLITE
async def test_how_long_a_refresh_token_lives_unused_is_kept_where_it_is_known(
    services: Services, sandbox: Sandbox
) -> None:
    form = sandbox.form("refresh_token")
    form["auth"]["refresh_token_seconds"] = 1000
    await connected(services, form)
    await send(services)
    kept = await row(services)
    assert kept.refreshed_at is not None
    assert kept.refresh_expires_at is not None
    assert kept.refresh_at is not None
    assert 990 <= kept.refresh_expires_at - kept.refreshed_at <= 1000
    assert kept.refresh_at - kept.refreshed_at <= 500


@SQLITE
async def test_one_that_was_taken_for_left_and_is_stored_after_all_has_no_reason(
    services: Services, sandbox: Sandbox
) -> None:
    target = await connected(services, sandbox.form("refresh_token"))
    sandbox.server.tricks.add("slow_answer", answer_delay_seconds=0.4)
    task = tokens.refreshing(services, target, 0, "expired")
    await eventually(lambda: sandbox.token_requests > 0)
    async with services.db.begin() as session:
        await ledger.close_left(session, services, TokenExchange.state == "sent")
    assert await told(services) == [("expired", "in_doubt", "abandoned")]
    await task
    assert await told(services) == [("expired", "stored", None)]
