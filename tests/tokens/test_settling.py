"""After a stop at any step: the token is stored, or sent again inside the grace, or the claim is free at once."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import update

from quart_app import connections, ledger, rescue, tokens
from quart_app.models import Connection
from quart_app.services import Services, open_services
from quart_app.settings import Settings
from quart_app.tokens.settling import settle
from tests.sandboxed import Sandbox, connected, serving_sandbox
from tests.tokens.kept import Killed, eventually, generations, kill_at, later, outcome, row, send, state, told

LABELS = ("after_claim", "after_send", "after_answer", "after_rescue", "after_commit")
SQLITE = pytest.mark.parametrize("database_url", [""])


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with serving_sandbox(access_seconds=3600, grace_seconds=60) as served:
        yield served


@pytest.fixture
async def strict() -> AsyncIterator[Sandbox]:
    async with serving_sandbox(access_seconds=3600) as served:
        yield served


async def killed_at(settings: Settings, sandbox: Sandbox, label: str, grant: str = "refresh_token") -> None:
    async with open_services(settings, serves=True) as services:
        await connected(services, sandbox.form(grant))
        kill_at(services, label)
        with pytest.raises(Killed):
            await send(services)


async def settled(services: Services) -> None:
    await settle(services)
    await eventually(lambda: not services.refreshes)


@pytest.mark.parametrize("label", LABELS)
async def test_killed_at_any_step_it_goes_on_by_itself(settings: Settings, sandbox: Sandbox, label: str) -> None:
    await killed_at(settings, sandbox, label)
    async with open_services(settings, serves=True) as services:
        await settled(services)
        assert (await row(services)).claim is None
        assert generations(await send(services)) == [1]
        later(services, 3601)
        assert generations(await send(services)) == [2]
        assert await state(services) == ("ready", None)
        assert not [entry for entry in await told(services) if entry[1] in ("claimed", "sent")]
    assert rescue.files(settings.data / "rescue") == []
    assert sandbox.server.reuse_detections == 0


@SQLITE
@pytest.mark.parametrize("label", [label for label in LABELS if label != "after_answer"])
async def test_without_any_grace_only_the_moment_between_answer_and_slot_loses_it(
    settings: Settings, strict: Sandbox, label: str
) -> None:
    await killed_at(settings, strict, label)
    async with open_services(settings, serves=True) as services:
        await settled(services)
        assert generations(await send(services)) == [1]
    assert strict.server.reuse_detections == 0


@SQLITE
async def test_what_is_lost_for_good_is_said_and_nothing_is_deleted(settings: Settings, strict: Sandbox) -> None:
    await killed_at(settings, strict, "after_answer")
    async with open_services(settings, serves=True) as services:
        await settled(services)
        assert (await state(services))[0] == "needs_sign_in"
        assert (await told(services))[-1] == ("settled", "failed", "lost_rotation")
        assert (await row(services)).sealed_refresh_token is not None


@SQLITE
@pytest.mark.parametrize("label", LABELS)
async def test_a_grant_that_spends_nothing_is_free_at_once(settings: Settings, strict: Sandbox, label: str) -> None:
    await killed_at(settings, strict, label, "client_credentials")
    async with open_services(settings, serves=True) as services:
        before = strict.token_requests
        await settled(services)
        assert strict.token_requests == before, "nobody asks for what no call needs"
        assert outcome(await send(services)) == 200


@SQLITE
async def test_settling_again_finds_nothing_to_do(settings: Settings, sandbox: Sandbox) -> None:
    await killed_at(settings, sandbox, "after_rescue")
    async with open_services(settings, serves=True) as services:
        for _ in range(3):
            await settled(services)
        assert (await row(services)).generation == 1
        assert sandbox.token_requests == 1


@SQLITE
async def test_a_slot_that_cannot_be_read_is_set_aside_and_said_once(settings: Settings, sandbox: Sandbox) -> None:
    await killed_at(settings, sandbox, "after_rescue")
    (path,) = rescue.files(settings.data / "rescue")
    content = bytearray(path.read_bytes())
    content[rescue.HEAD.size + 40] ^= 1
    path.write_bytes(content)
    async with open_services(settings, serves=True) as services:
        await settled(services)
        await settled(services)
        assert [one.name for one in path.parent.glob("*.unreadable")] == [path.with_suffix(".unreadable").name]
        assert generations(await send(services)) == [1], "then the old token is sent again, inside the grace"


@SQLITE
async def test_the_exchange_of_a_connection_that_is_gone_is_closed(settings: Settings, sandbox: Sandbox) -> None:
    await killed_at(settings, sandbox, "after_send")
    async with open_services(settings, serves=True) as services:
        await connections.delete(services, "items")
        await settled(services)
        assert await told(services) == [("expired", "in_doubt", "abandoned")]


@SQLITE
async def test_an_exchange_of_a_process_that_runs_is_left_to_it(settings: Settings, sandbox: Sandbox) -> None:
    async with open_services(settings, serves=True) as ours, open_services(settings) as theirs:
        target = await connected(ours, sandbox.form("refresh_token"))
        sandbox.server.tricks.add("slow_answer", answer_delay_seconds=0.5)
        task = tokens.refreshing(ours, target, 0, "asked")
        await eventually(lambda: sandbox.token_requests > 0)
        theirs.process = "another:1:1"
        await settle(theirs)
        assert (await task).generation == 1
        assert sandbox.token_requests == 1


@SQLITE
async def test_a_slot_that_cannot_be_read_takes_no_other_along(settings: Settings, strict: Sandbox) -> None:
    """As a power cut leaves one that was being cleared, before one whose token nobody else has."""
    async with open_services(settings, serves=True) as services:
        await connected(services, strict.form("refresh_token"))
        services.rescue.put("0192a000-0000-7000-8000-000000000001", bytes(500))
        kill_at(services, "after_rescue")
        with pytest.raises(Killed):
            await send(services)
    async with open_services(settings, serves=True) as services:
        await settled(services)
        assert generations(await send(services)) == [1]
    assert (strict.token_requests, strict.server.reuse_detections) == (1, 0)
    assert len(list((settings.data / "rescue").glob("*.unreadable"))) == 1


@SQLITE
async def test_the_exchange_of_a_connection_that_does_not_open_is_closed_and_holds_up_nothing(
    settings: Settings, sandbox: Sandbox
) -> None:
    await killed_at(settings, sandbox, "after_send")
    async with open_services(settings, serves=True) as services:
        async with services.change() as session:
            await session.execute(update(Connection).values(sealed_secrets=bytes(60)))
        await settled(services)
        assert await told(services) == [("expired", "in_doubt", "abandoned")]
        assert (await row(services)).claim is None


@SQLITE
async def test_a_claim_of_a_process_that_runs_is_left_to_it(settings: Settings, sandbox: Sandbox) -> None:
    async with open_services(settings, serves=True) as ours, open_services(settings) as theirs:
        target = await connected(ours, sandbox.form("refresh_token"))
        found = await ledger.standing(ours, target.id)
        assert found is not None
        await ledger.claim(ours, target, found, grant_type="refresh_token", cause="expired")
        theirs.process = "another:1:1"
        await settle(theirs)
        assert await told(ours) == [("expired", "claimed", None)]
        assert (await row(ours)).claim is not None
