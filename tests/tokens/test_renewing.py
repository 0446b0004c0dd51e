"""A renewal against a server that loses answers, refuses, fails: what is sent again, what is not, what is left."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from typing import Any

import pytest
from sqlalchemy import select, update

from quart_app import connections, ledger, tokens, webhooks
from quart_app.errors import CallFailed
from quart_app.forms.webhooks import WebhookForm
from quart_app.models import Delivery, Token
from quart_app.services import Services, open_services
from quart_app.settings import Settings
from quart_app.tokens import renewing
from quart_app.tokens.held import sealed
from tests.sandboxed import Sandbox, connected, serving_sandbox
from tests.tokens.kept import (
    NOBODY,
    Killed,
    entries,
    eventually,
    generations,
    kill_at,
    later,
    outcome,
    row,
    send,
    state,
    told,
)

SQLITE = pytest.mark.parametrize("database_url", [""])
LOST_ANSWERS = ("lost_answer", "reset", "cut")
AFTER_THE_DEED = [{"name": name, "when": "after"} for name in ("status_500", "status_502", "html_ok", "empty")]


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Takes a spent token again for a minute."""
    async with serving_sandbox(access_seconds=3600, grace_seconds=60) as served:
        yield served


@pytest.fixture
async def strict() -> AsyncIterator[Sandbox]:
    """Ends a family whose token comes back."""
    async with serving_sandbox(access_seconds=3600) as served:
        yield served


@pytest.mark.parametrize("trick", LOST_ANSWERS)
async def test_a_lost_answer_is_had_again_within_the_grace(services: Services, sandbox: Sandbox, trick: str) -> None:
    await connected(services, sandbox.form("refresh_token"))
    sandbox.server.tricks.add(trick)
    assert generations(await send(services)) == [1]
    assert [(cause, state_) for cause, state_, _ in await told(services)] == [
        ("expired", "in_doubt"), ("in_doubt", "stored")
    ]  # fmt: skip
    assert await state(services) == ("ready", None)
    assert (sandbox.server.reuse_detections, sandbox.token_requests) == (0, 2)


@SQLITE
@pytest.mark.parametrize("trick", AFTER_THE_DEED, ids=lambda it: it["name"])
async def test_a_failure_after_the_deed_is_asked_again_like_a_lost_answer(
    services: Services, sandbox: Sandbox, trick: dict[str, Any]
) -> None:
    await connected(services, sandbox.form("refresh_token"))
    sandbox.server.tricks.add(**trick)
    assert generations(await send(services)) == [1]
    assert sandbox.token_requests == 2


async def test_where_there_is_no_grace_a_lost_answer_is_named_as_what_it_is(
    services: Services, strict: Sandbox
) -> None:
    await connected(services, strict.form("refresh_token"))
    strict.server.tricks.add("lost_answer")
    assert outcome(await send(services)) == "token_unavailable"
    assert await state(services) == ("needs_sign_in", renewing.LOST)
    assert await told(services) == [("expired", "in_doubt", "reset"), ("in_doubt", "failed", "lost_rotation")]
    assert outcome(await send(services)) == "token_unavailable"
    assert strict.token_requests == 2, "a person is asked for, not the provider again"
    assert (await row(services)).sealed_refresh_token is not None


@SQLITE
@pytest.mark.parametrize(("soon_seconds", "asked"), [(10.0, 2), (0.0, 1)])
async def test_while_the_app_stops_a_lost_answer_is_had_again_only_where_it_was_lost_soon(
    services: Services, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, soon_seconds: float, asked: int
) -> None:
    monkeypatch.setattr(renewing, "SOON_SECONDS", soon_seconds)
    target = await connected(services, sandbox.form("refresh_token"))
    sandbox.server.tricks.add("lost_answer")
    services.draining = True
    with suppress(CallFailed):
        await tokens.refresh(services, target)
    assert sandbox.token_requests == asked
    assert (await entries(services))[0].state == "in_doubt"
    assert (await tokens.refresh(services, target, forced=True)).generation == asked
    assert await state(services) == ("ready", None)


@SQLITE
async def test_it_is_asked_three_times_in_all_and_then_not_for_a_while(services: Services, sandbox: Sandbox) -> None:
    await connected(services, sandbox.form("refresh_token"))
    sandbox.server.tricks.add("lost_request", times=None)
    began = time.monotonic()
    assert outcome(await send(services)) == "token_unavailable"
    assert time.monotonic() - began < 5.0, "all inside the grace of providers"
    assert sandbox.token_requests == 3
    assert {state_ for _, state_, _ in await told(services)} == {"in_doubt"}
    assert (await state(services))[0] == "ready"
    await asyncio.gather(*(send(services) for _ in range(20)))
    assert sandbox.token_requests == 3
    sandbox.server.tricks.clear()
    await eventually(lambda: not services.refreshes)
    assert generations(await send(services)) == [1]


async def test_a_pause_that_the_provider_asks_for_holds_in_every_process(settings: Settings, sandbox: Sandbox) -> None:
    async with open_services(settings, serves=True) as ours, open_services(settings) as theirs:
        await connected(ours, sandbox.form("refresh_token"))
        sandbox.server.tricks.add("status_429", headers={"Retry-After": "30"})
        assert outcome(await send(ours)) == "token_unavailable"
        sent = await send(theirs)
        assert sent.call["reason"] == "token_unavailable"
        assert "next try in 30 s" in sent.call["detail"] or "next try in 29 s" in sent.call["detail"]
        assert sandbox.token_requests == 1
        target = await connections.load(theirs, "items")
        assert (await tokens.refresh(theirs, target, forced=True)).generation == 1, "a person may try at any time"
        assert (await row(ours)).retry_at is None


async def test_a_claim_of_a_process_that_is_gone_is_taken_over_at_once(services: Services, sandbox: Sandbox) -> None:
    target = await connected(services, sandbox.form("refresh_token"))
    ours, services.process = services.process, NOBODY
    await claimed(services, target)
    services.process = ours
    began = time.monotonic()
    assert generations(await send(services)) == [1]
    assert time.monotonic() - began < renewing.TAKEOVER_SECONDS
    assert await told(services) == [("expired", "failed", "abandoned"), ("expired", "stored", None)]


@SQLITE
async def test_a_claim_of_a_process_that_lives_is_waited_for_and_watched_after_its_lease(
    services: Services, sandbox: Sandbox
) -> None:
    target = await connected(services, sandbox.form("refresh_token"))
    await claimed(services, target)
    async with services.db.begin() as session:
        await session.execute(update(Token).values(lease_until=time.time() + 0.5))
    began = time.monotonic()
    assert generations(await send(services)) == [1]
    assert time.monotonic() - began >= renewing.TAKEOVER_SECONDS


@SQLITE
async def test_who_waits_from_the_claim_s_beginning_takes_it_over_at_its_end(
    services: Services, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = await connected(services, sandbox.form("refresh_token"))
    monkeypatch.setattr(ledger, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(renewing, "TAKEOVER_SECONDS", 0.3)
    await claimed(services, target)
    assert generations(await send(services)) == [1]


@pytest.mark.parametrize("alive", [False, True])
async def test_who_takes_a_claim_over_takes_the_token_out_of_its_slot_and_asks_nobody(
    settings: Settings, strict: Sandbox, alive: bool
) -> None:
    """Its owner is gone, or stands still past its lease, between its slot and the database."""
    async with open_services(settings, serves=True) as ours, open_services(settings) as theirs:
        await connected(ours, strict.form("refresh_token"))
        kill_at(ours, "after_rescue")
        ours.process = theirs.process if alive else NOBODY
        with pytest.raises(Killed):
            await send(ours)
        async with theirs.db.begin() as session:
            await session.execute(update(Token).values(lease_until=1.0))
        assert generations(await send(theirs)) == [1]
        assert (strict.token_requests, strict.server.reuse_detections) == (1, 0)
        assert await told(theirs) == [("expired", "stored", None)]


async def test_what_another_process_got_is_used_only_while_it_is_good(settings: Settings, strict: Sandbox) -> None:
    async with open_services(settings, serves=True) as ours, open_services(settings) as theirs:
        await connected(ours, strict.form("refresh_token"))
        assert generations(await send(ours)) == [1]
        assert generations(await send(theirs)) == [1]
        later(ours, 3601)
        assert generations(await send(ours)) == [2]
        later(theirs, 3602)
        assert generations(await send(theirs)) == [2]
        later(ours, 7205)
        assert generations(await send(ours)) == [3]
        later(theirs, 10900)
        assert generations(await send(theirs)) == [4]
        assert (strict.token_requests, strict.server.reuse_detections) == (4, 0)


async def claimed(services: Services, target: Any) -> None:
    found = await ledger.standing(services, target.id)
    assert found is not None
    assert await ledger.claim(services, target, found, grant_type="refresh_token", cause="expired") is not None


@SQLITE
async def test_who_lost_the_claim_before_sending_sends_nothing_under_it(services: Services, sandbox: Sandbox) -> None:
    """As a process that was stopped between claim and dial until its lease was over."""
    await connected(services, sandbox.form("refresh_token"))
    path = services.db.path
    assert path is not None

    def reached(label: str) -> None:
        if label == "after_claim" and not over:
            over.append(label)
            with closing(sqlite3.connect(path)) as other:
                other.execute("UPDATE tokens SET lease_until = 1.0")
                other.commit()

    over: list[str] = []
    services.reached = reached
    assert generations(await send(services)) == [1]
    assert sandbox.token_requests == 1
    assert await told(services) == [("expired", "failed", "abandoned"), ("expired", "stored", None)]


@SQLITE
async def test_a_claim_that_the_database_failed_under_is_given_back_as_soon_as_that_can_be_written(
    services: Services, sandbox: Sandbox
) -> None:
    await connected(services, sandbox.form("refresh_token"))
    path = services.db.path
    assert path is not None

    def rename(before: str, after: str) -> None:
        with closing(sqlite3.connect(path)) as other:
            other.execute(f"ALTER TABLE {before} RENAME TO {after}")
            other.commit()

    services.reached = lambda label: rename("token_exchanges", "away") if label == "after_claim" else None
    assert outcome(await send(services)) == "token_unavailable"
    assert (sandbox.token_requests, (await row(services)).claim is None) == (0, False)
    services.reached = lambda label: None
    rename("away", "token_exchanges")
    await eventually(lambda: not services.tasks)
    assert (await row(services)).claim is None
    assert await told(services) == [("expired", "failed", "abandoned")]
    await eventually(lambda: not services.refreshes)
    assert generations(await send(services)) == [1]


@SQLITE
async def test_who_lost_the_claim_while_it_dialled_says_nothing_of_the_connection(
    services: Services, sandbox: Sandbox
) -> None:
    """What the provider refused it may be a token that the other one has spent by then."""
    target = await connected(services, sandbox.form("refresh_token"))
    sandbox.server.tricks.add("invalid_grant")
    path = services.db.path
    assert path is not None

    def reached(label: str) -> None:
        if label == "after_send":
            with closing(sqlite3.connect(path)) as other:
                other.execute("UPDATE tokens SET claim = 'of another'")
                other.commit()

    services.reached = reached
    with pytest.raises(CallFailed):
        await tokens.refresh(services, target)
    kept = await row(services)
    assert (kept.claim, kept.failures, kept.retry_at) == ("of another", 0, None)
    assert await state(services) == ("ready", None)
    assert await told(services) == [("asked", "failed", "invalid_grant")]


@SQLITE
async def test_a_spare_token_is_tried_once_where_the_kept_one_is_refused(services: Services, sandbox: Sandbox) -> None:
    target = await connected(services, sandbox.form("refresh_token"))
    await send(services)
    kept = await row(services)
    assert kept.sealed_refresh_token is not None
    good = services.vault.unseal(
        kept.sealed_refresh_token, table="tokens", column="sealed_refresh_token", row=target.id
    )
    async with services.change() as session:
        await session.execute(
            update(Token).values(
                sealed_spare_refresh_token=sealed(services, target.id, "sealed_spare_refresh_token", good),
                sealed_refresh_token=sealed(services, target.id, "sealed_refresh_token", "not known there"),
            )
        )
    later(services, 3601)
    assert generations(await send(services)) == [2]
    assert [(cause, state_) for cause, state_, _ in await told(services)][1:] == [
        ("expired", "failed"), ("spare", "stored")
    ]  # fmt: skip
    assert (await row(services)).sealed_spare_refresh_token is None


@SQLITE
async def test_an_exchange_is_a_row_with_its_times_and_its_call(services: Services, sandbox: Sandbox) -> None:
    await connected(services, sandbox.form("refresh_token"))
    sandbox.server.tricks.add("clock_ahead")
    await send(services)
    (entry,) = await entries(services)
    assert (entry.generation, entry.grant_type, entry.owner) == (0, "refresh_token", services.process)
    assert entry.sent_at is not None
    assert entry.ended_at is not None
    assert entry.claimed_at <= entry.sent_at <= entry.ended_at
    assert entry.skew_seconds is not None
    assert -3602 <= entry.skew_seconds <= -3598


@SQLITE
async def test_what_failed_first_is_an_event_and_so_is_the_recovery(services: Services, sandbox: Sandbox) -> None:
    form = WebhookForm.model_validate(
        {"url": "http://127.0.0.1:9/hook", "events": ["needs_sign_in", "recovered", "refresh_failed"],
         "allow_private": True}
    )  # fmt: skip
    await webhooks.create(services, form)
    target = await connected(services, sandbox.form("refresh_token"))
    await send(services)
    sandbox.server.tricks.add("status_503", times=2)
    for _ in range(2):
        with pytest.raises(CallFailed):
            await tokens.refresh(services, target, forced=True)
    await tokens.refresh(services, target, forced=True)
    sandbox.server.tricks.add("invalid_grant")
    with pytest.raises(CallFailed):
        await tokens.refresh(services, target, forced=True)
    async with services.db.session() as session:
        made = list(await session.scalars(select(Delivery.event).order_by(Delivery.id)))
    assert made == ["refresh_failed", "recovered", "needs_sign_in"]
