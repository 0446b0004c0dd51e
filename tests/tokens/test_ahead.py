"""Tokens are refreshed before they expire, also where nobody uses them; and not where that keeps nothing alive."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import update

from quart_app import connections, tokens
from quart_app.errors import CallFailed
from quart_app.models import Connection, Token
from quart_app.services import Services, open_services
from quart_app.settings import Settings
from quart_app.tokens import ahead
from tests.sandboxed import Sandbox, connected, serving_sandbox
from tests.tokens.kept import eventually, generations, later, row, send, told

SQLITE = pytest.mark.parametrize("database_url", [""])


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with serving_sandbox(access_seconds=3600) as served:
        yield served


async def ticked(services: Services) -> None:
    await ahead.tick(services)
    await eventually(lambda: not services.refreshes)


async def test_an_idle_connection_is_refreshed_when_it_is_due_and_not_before(
    services: Services, sandbox: Sandbox
) -> None:
    target = await connected(services, sandbox.form("refresh_token"))
    await tokens.refresh(services, target)
    later(services, 3600 - 73)
    await ticked(services)
    assert sandbox.token_requests == 1
    later(services, 3600 - 59)
    await ticked(services)
    assert (await row(services)).generation == 2
    assert (await told(services))[-1] == ("ahead", "stored", None)
    await ticked(services)
    assert sandbox.token_requests == 2


async def test_it_is_kept_alive_for_weeks_without_a_call(services: Services, sandbox: Sandbox) -> None:
    target = await connected(services, sandbox.form("refresh_token"))
    await tokens.refresh(services, target)
    for hour in range(1, 6):
        later(services, hour * 3600 - 30)
        await ticked(services)
    later(services, 5 * 3600)
    assert generations(await send(services)) == [6]
    assert sandbox.server.reuse_detections == 0


@SQLITE
async def test_it_is_not_later_than_half_of_the_refresh_token_s_life(services: Services, sandbox: Sandbox) -> None:
    form = sandbox.form("refresh_token")
    form["auth"]["refresh_token_seconds"] = 600
    await tokens.refresh(services, await connected(services, form))
    later(services, 269)
    await ticked(services)
    assert sandbox.token_requests == 1
    later(services, 301)
    await ticked(services)
    assert sandbox.token_requests == 2


async def test_two_processes_refresh_ahead_once_between_them(settings: Settings, sandbox: Sandbox) -> None:
    async with open_services(settings, serves=True) as ours, open_services(settings) as theirs:
        await tokens.refresh(ours, await connected(ours, sandbox.form("refresh_token")))
        sandbox.server.tricks.add("slow_answer", answer_delay_seconds=0.3)
        for services in (ours, theirs):
            later(services, 3590)
        await ahead.tick(ours)
        await ahead.tick(theirs)
        await eventually(lambda: not ours.refreshes and not theirs.refreshes)
        assert sandbox.token_requests == 2
        assert (await row(theirs)).generation == 2


@SQLITE
async def test_a_grant_without_a_refresh_token_is_renewed_while_calls_use_it_only(
    services: Services, sandbox: Sandbox
) -> None:
    await connected(services, sandbox.form())
    await send(services)
    later(services, 3590)
    async with services.db.begin() as session:
        await session.execute(update(Token).values(refreshed_at=services.clock() - 10))
    await ticked(services)
    assert sandbox.token_requests == 1, "the last use was before"
    later(services, 3300)
    await send(services)
    async with services.db.begin() as session:
        await session.execute(update(Token).values(refreshed_at=services.clock() - 10))
    later(services, 3590)
    await ticked(services)
    assert sandbox.token_requests == 2


@SQLITE
@pytest.mark.parametrize("state", ["paused", "needs_sign_in", "config_error"])
async def test_nothing_is_asked_for_a_connection_that_waits_for_a_person(
    services: Services, sandbox: Sandbox, state: str
) -> None:
    target = await connected(services, sandbox.form("refresh_token"))
    await tokens.refresh(services, target)
    await connections.set_state(services, target, state, None)  # type: ignore[arg-type]  # the values are those of it
    later(services, 3600)
    await ticked(services)
    assert sandbox.token_requests == 1


@SQLITE
async def test_a_failure_is_not_repeated_each_second(services: Services, sandbox: Sandbox) -> None:
    target = await connected(services, sandbox.form("refresh_token"))
    await tokens.refresh(services, target)
    sandbox.server.tricks.add("status_503", times=None, headers={"Retry-After": "20"})
    later(services, 3590)
    for _ in range(3):
        await ahead.tick(services)
        for task in list(services.refreshes.values()):
            with pytest.raises(CallFailed):
                await task
    assert sandbox.token_requests == 2


@SQLITE
async def test_a_connection_that_does_not_open_holds_up_no_other(services: Services, sandbox: Sandbox) -> None:
    broken = await connected(services, sandbox.form() | {"name": "broken"})
    whole = await connected(services, sandbox.form("refresh_token"))
    for target in (broken, whole):
        await tokens.refresh(services, target)
    async with services.change() as session:
        await session.execute(update(Connection).where(Connection.id == broken.id).values(sealed_secrets=bytes(60)))
        await session.execute(update(Token).values(refresh_at=2.0))
        await session.execute(update(Token).where(Token.connection_id == broken.id).values(refresh_at=1.0))
    services.used[broken.id] = services.clock()
    await ticked(services)
    async with services.db.session() as session:
        assert (await session.get_one(Token, broken.id)).generation == 1
        assert (await session.get_one(Token, whole.id)).generation == 2


async def test_who_joined_one_that_left_it_to_another_process_waits_for_what_that_one_gets(
    settings: Settings, sandbox: Sandbox
) -> None:
    async with open_services(settings, serves=True) as ours, open_services(settings) as theirs:
        target = await connected(ours, sandbox.form("refresh_token"))
        await tokens.refresh(ours, target)
        sandbox.server.tricks.add("slow_answer", answer_delay_seconds=0.5)
        later(theirs, 3601)
        task = tokens.refreshing(theirs, await connections.load(theirs, "items"), 1, "expired")
        await eventually(lambda: sandbox.token_requests == 2)
        tokens.refreshing(ours, target, 1, "ahead")
        later(ours, 3601)
        assert generations(await send(ours)) == [2]
        assert ((await task).generation, sandbox.token_requests) == (2, 2)
