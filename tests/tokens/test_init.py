"""Tokens: one refresh per generation, whoever asks, leaves or fails; stored before it is used; never spent twice."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import select, text

from quart_app import connections, history, tokens
from quart_app.calls import Sent
from quart_app.errors import CallFailed
from quart_app.forms.connections import ConnectionForm
from quart_app.models import Attempt, Base, Call, Token
from quart_app.sandbox import DEMO
from quart_app.services import Services, open_services
from quart_app.settings import Settings
from quart_app.tokens.held import load
from quart_app.tokens.verdicts import PAUSES
from tests.sandboxed import Sandbox, connected, serving_sandbox
from tests.served import Served
from tests.tokens.kept import eventually, generations, later, recorded, row, send, state
from tests.upstream import Upstream

SQLITE = pytest.mark.parametrize("database_url", [""])
"""Where nothing depends on the kind of database."""
GRANTS = ("client_credentials", "refresh_token")


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Access tokens live for an hour there; here they expire when a test moves our clock."""
    async with serving_sandbox(access_seconds=3600) as served:
        yield served


@pytest.fixture
async def slow_sandbox() -> AsyncIterator[Sandbox]:
    """Its token endpoint rotates at once and answers 0.3 s later."""
    async with serving_sandbox(access_seconds=3600, token_delay_seconds=0.3) as served:
        yield served


def statuses(sent: list[Sent]) -> list[int]:
    return [one.call["status"] for one in sent]


@pytest.mark.parametrize("grant", GRANTS)
async def test_expired_token_is_refreshed_once_for_two_hundred_parallel_calls(
    services: Services, sandbox: Sandbox, grant: str
) -> None:
    await connected(services, sandbox.form(grant, policy={"allow_private": True, "concurrency": 200}))
    assert statuses([await send(services)]) == [200]
    later(services, 3601)
    sent = await asyncio.gather(*(send(services) for _ in range(200)))
    assert statuses(sent) == [200] * 200
    assert sandbox.token_requests == 2
    assert sandbox.server.reuse_detections == 0
    assert {tuple(generations(one)) for one in sent} == {(2,)}
    assert (await row(services)).generation == 2


@pytest.mark.parametrize("grant", GRANTS)
async def test_two_hundred_first_calls_share_the_first_token(services: Services, sandbox: Sandbox, grant: str) -> None:
    await connected(services, sandbox.form(grant))
    sent = await asyncio.gather(*(send(services) for _ in range(200)))
    assert (statuses(sent), sandbox.token_requests) == ([200] * 200, 1)


async def test_every_refresh_spends_the_newest_refresh_token(services: Services, sandbox: Sandbox) -> None:
    await connected(services, sandbox.form("refresh_token"))
    for number in range(5):
        later(services, 4000 * number)
        assert generations(await send(services)) == [number + 1]
    assert sandbox.token_requests == 5
    assert sandbox.server.reuse_detections == 0


async def test_a_caller_that_leaves_in_mid_refresh_does_not_lose_the_rotated_token(
    services: Services, slow_sandbox: Sandbox
) -> None:
    await connected(services, slow_sandbox.form("refresh_token"))
    caller = asyncio.create_task(send(services))
    await eventually(lambda: slow_sandbox.token_requests == 1)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    assert caller.cancelled()
    assert generations(await send(services)) == [1]
    assert slow_sandbox.token_requests == 1
    later(services, 3601)
    assert generations(await send(services)) == [2]
    assert slow_sandbox.server.reuse_detections == 0


async def test_a_browser_that_hangs_up_in_mid_refresh_does_not_lose_the_rotated_token(
    served: Served, slow_sandbox: Sandbox
) -> None:
    """The same through a served process and a real socket."""
    form = slow_sandbox.form("refresh_token")
    await asyncio.to_thread(served.add_connection, form.pop("name"), form.pop("base_url"), **form)
    _, writer = await asyncio.open_connection("127.0.0.1", served.port)
    head = f"GET /proxy/items/whoami HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {served.key}\r\n\r\n"
    writer.write(head.encode())
    await eventually(lambda: slow_sandbox.token_requests == 1)
    writer.close()
    await writer.wait_closed()
    status, answer = await asyncio.to_thread(served.request, "GET", "/proxy/items/whoami")
    assert (status, answer["generation"]) == (200, 1)
    assert slow_sandbox.token_requests == 1


async def test_the_end_of_the_app_waits_for_a_refresh_in_flight(settings: Settings, slow_sandbox: Sandbox) -> None:
    async with open_services(settings) as services:
        await connected(services, slow_sandbox.form("refresh_token"))
        caller = asyncio.create_task(send(services))
        await eventually(lambda: slow_sandbox.token_requests == 1)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
    async with open_services(settings) as services:
        assert generations(await send(services)) == [1]
    assert slow_sandbox.token_requests == 1


async def test_a_401_refreshes_once_and_the_call_is_repeated_once(services: Services, sandbox: Sandbox) -> None:
    await connected(services, sandbox.form("refresh_token"))
    await send(services)
    sandbox.server.access_tokens.clear()
    sent = await send(services, "/items", method="POST", json={"name": "lamp", "price_cents": 5})
    assert sent.call["status"] == 201
    attempts = [(one["number"], one["status"], one["token_generation"]) for one in sent.flight.record.attempts]
    assert attempts == [(1, 401, 1), (2, 201, 2)]
    assert sandbox.token_requests == 2
    async with services.db.session() as session:
        kept = list(await session.scalars(select(Attempt).where(Attempt.call_id == sent.call["id"])))
    assert {(one.number, one.status, one.reason, one.token_generation) for one in kept} == {
        (1, 401, "unauthorized", 1),
        (2, 201, None, 2),
    }


async def test_a_new_token_that_expires_while_its_call_waits_for_a_place_is_not_sent(services: Services) -> None:
    """The call that got 401 gives its place to one that waits, and gets it back when its new token is over."""
    async with serving_sandbox(access_seconds=1) as sandbox:
        await connected(services, sandbox.form("refresh_token", policy={"allow_private": True, "concurrency": 1}))
        await send(services)
        sandbox.server.access_tokens.clear()
        first = asyncio.create_task(send(services))
        await eventually(lambda: sandbox.server.store.refused)
        second = asyncio.create_task(send(services, "/slow", query={"seconds": "1.5"}))
        assert statuses([await first, await second]) == [200, 200]
        assert generations(await first) == [1, 3]


async def test_fifty_calls_that_get_401_at_once_share_one_refresh(services: Services, sandbox: Sandbox) -> None:
    await connected(services, sandbox.form("refresh_token"))
    await send(services)
    sandbox.server.access_tokens.clear()
    sent = await asyncio.gather(*(send(services) for _ in range(50)))
    assert (statuses(sent), sandbox.token_requests) == ([200] * 50, 2)


async def test_an_upstream_that_always_says_401_costs_one_refresh_and_one_repetition(
    services: Services, sandbox: Sandbox, upstream: Upstream
) -> None:
    async def refuse(request: web.Request) -> web.StreamResponse:
        return web.json_response({"no": "never"}, status=401)

    upstream.handler = refuse
    await connected(services, sandbox.form("refresh_token", base_url=upstream.url))
    sent = await send(services, "/")
    assert (sent.call["state"], sent.call["status"]) == ("done", 401)
    assert sent.view()["response"]["body"]["json"] == {"no": "never"}
    assert generations(sent) == [1, 2]
    assert (len(upstream.seen), sandbox.token_requests) == (2, 2)
    assert await state(services) == ("ready", None)


@SQLITE
async def test_a_token_that_came_of_a_401_is_not_got_again_for_another_but_one_that_came_otherwise_is(
    services: Services, sandbox: Sandbox
) -> None:
    target = await connected(services, sandbox.form("refresh_token"))
    await send(services)
    for expected in ([1, 2], [2]):
        sandbox.server.access_tokens.clear()
        refused = sandbox.server.store.refused
        sent = await send(services)
        assert generations(sent) == expected
        assert sandbox.server.store.refused == refused + 1
    assert (sent.call["status"], sandbox.token_requests) == (401, 2)
    await tokens.refresh(services, target, forced=True)
    sandbox.server.access_tokens.clear()
    sent = await send(services)
    assert (sent.call["status"], generations(sent), sandbox.token_requests) == (200, [3, 4], 4)


@SQLITE
async def test_a_401_that_a_refresh_cannot_cure_is_passed_on(services: Services, sandbox: Sandbox) -> None:
    await connected(services, sandbox.form("refresh_token"))
    await send(services)
    for family in sandbox.server.families:
        family.revoked = "by the provider"
    sent = await send(services)
    assert (sent.call["status"], generations(sent)) == (401, [1])
    assert (await state(services))[0] == "needs_sign_in"


@SQLITE
async def test_a_401_without_a_token_of_ours_is_an_answer(services: Services, upstream: Upstream) -> None:
    async def refuse(request: web.Request) -> web.StreamResponse:
        return web.Response(status=401)

    upstream.handler = refuse
    auth = {"scheme": "bearer", "token": "fixed"}
    await connected(
        services, {"name": "items", "base_url": upstream.url, "auth": auth, "policy": {"allow_private": True}}
    )
    assert ((await send(services)).call["status"], len(upstream.seen)) == (401, 1)


async def test_invalid_grant_asks_for_a_person_deletes_nothing_and_is_not_tried_again(
    services: Services, sandbox: Sandbox
) -> None:
    await connected(services, sandbox.form("refresh_token"))
    await send(services)
    before = await row(services)
    for family in sandbox.server.families:
        family.revoked = "by the provider"
    later(services, 3601)
    first = await asyncio.gather(*(send(services) for _ in range(20)))
    more = [await send(services) for _ in range(3)]
    assert {(one.call["state"], one.call["reason"]) for one in (*first, *more)} == {("failed", "token_unavailable")}
    assert sandbox.token_requests == 2
    name, reason = await state(services)
    assert name == "needs_sign_in"
    assert reason is not None
    assert reason.startswith("The provider no longer takes the sign-in (invalid_grant): sign in again.")
    assert more[0].call["detail"] == reason
    after = await row(services)
    assert after.generation == before.generation
    assert after.sealed_refresh_token == before.sealed_refresh_token
    assert after.sealed_access_token == before.sealed_access_token
    assert (after.claim, after.lease_until) == (None, None)


@SQLITE
async def test_a_token_that_is_still_good_is_used_while_a_person_is_asked_for(
    services: Services, sandbox: Sandbox
) -> None:
    target = await connected(services, sandbox.form("refresh_token"))
    await send(services)
    await connections.set_state(services, target, "needs_sign_in", "Sign in again.")
    later(services, 3599)
    assert statuses([await send(services)]) == [200]
    assert sandbox.token_requests == 1


@SQLITE
async def test_a_person_s_own_try_is_made_and_ends_the_asking(services: Services, sandbox: Sandbox) -> None:
    target = await connected(services, sandbox.form("refresh_token"))
    await connections.set_state(services, target, "needs_sign_in", "Sign in again.")
    target = await connections.load(services, "items")
    with pytest.raises(CallFailed, match=r"Sign in again\."):
        await tokens.refresh(services, target)
    assert (await tokens.refresh(services, target, forced=True)).generation == 1
    assert await state(services) == ("ready", None)


async def test_a_refused_client_is_an_error_of_configuration(services: Services, sandbox: Sandbox) -> None:
    form = sandbox.form()
    form["auth"]["client_secret"] = "not-the-secret"
    await connected(services, form)
    sent = [await send(services) for _ in range(3)]
    assert {one.call["reason"] for one in sent} == {"token_unavailable"}
    assert sandbox.token_requests == 1
    name, reason = await state(services)
    assert name == "config_error"
    assert reason is not None
    assert reason.startswith("The provider refused the client (invalid_client): check client id")
    form["auth"]["client_secret"] = DEMO.client_secret
    await connections.update(services, "items", {"auth": form["auth"]})
    assert statuses([await send(services)]) == [200]


class Endpoint:
    """A token endpoint of the test's own, beside an API: `answers` are given in order, the last one again and again."""

    def __init__(self, upstream: Upstream, *answers: web.Response | dict[str, Any] | float) -> None:
        self.answers = list(answers)
        self.forms: list[str] = []
        self.url = upstream.url
        upstream.handler = self.answer

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path != "/token":
            return web.json_response({"ok": True})
        self.forms.append(await request.text())
        given = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(given, float):
            await asyncio.sleep(given)
            return web.Response(status=504)
        if isinstance(given, web.Response):
            return web.Response(status=given.status, body=given.body, headers=given.headers)
        return web.json_response(given)

    def form(self, grant: str = "refresh_token") -> dict[str, Any]:
        auth = {"scheme": "oauth2", "grant": grant, "token_url": f"{self.url}/token", "client_id": "client"}
        if grant == "refresh_token":
            auth["refresh_token"] = "first-refresh"
        return {"name": "items", "base_url": f"{self.url}/v1", "auth": auth, "policy": {"allow_private": True}}


def token(text_: str, **more: Any) -> dict[str, Any]:
    return {"access_token": text_, "token_type": "Bearer", "expires_in": 100} | more


TROUBLE = [
    web.Response(status=500, text="boom"),
    web.Response(status=503, text='{"error": "temporarily_unavailable"}', content_type="application/json"),
    web.Response(status=429, text="{}", content_type="application/json", headers={"Retry-After": "9"}),
    web.Response(status=200, text="<html>maintenance</html>", content_type="text/html"),
    web.Response(status=200, text="{}", content_type="application/json"),
    web.Response(status=302, headers={"Location": "/elsewhere"}),
    web.Response(status=200, text="x" * 100_000),
    0.3,
]


def is_doubtful(trouble: Any) -> bool:
    """Whether the token may be spent after it, so that it is sent again at once."""
    return isinstance(trouble, float) or trouble.status in (200, 500)


@SQLITE
@pytest.mark.parametrize("trouble", TROUBLE, ids=lambda it: (getattr(it, "text", None) and it.text[:9]) or str(it)[:9])
async def test_trouble_of_the_token_endpoint_passes_and_a_token_that_is_still_good_is_used(
    services: Services, upstream: Upstream, trouble: Any
) -> None:
    endpoint = Endpoint(upstream, token("one"), trouble)
    await connected(services, endpoint.form())
    await send(services)
    kept = (await row(services)).sealed_refresh_token
    later(services, 95)
    assert statuses([await send(services)]) == [200]
    await eventually(lambda: len(endpoint.forms) == 2)
    await services.finish()
    assert statuses([await send(services)]) == [200]
    assert await state(services) == ("ready", None)
    assert (await row(services)).sealed_refresh_token == kept
    later(services, 101)
    failed = await asyncio.gather(*(send(services) for _ in range(5)))
    assert {one.call["reason"] for one in failed} == {"token_unavailable"}
    assert await state(services) == ("ready", None)
    assert not [seen for seen in upstream.seen if seen.path == "/elsewhere"]
    most = 2 + len(PAUSES) if is_doubtful(trouble) else 3
    assert len(endpoint.forms) <= most, "a failure is shared for a second, not repeated by each caller"


@SQLITE
async def test_a_token_endpoint_that_recovers_is_used_again_a_second_later(
    services: Services, upstream: Upstream
) -> None:
    endpoint = Endpoint(upstream, web.Response(status=503), token("one"))
    await connected(services, endpoint.form())
    assert (await send(services)).call["reason"] == "token_unavailable"
    await asyncio.sleep(tokens.COOL_DOWN_SECONDS + 0.05)
    assert statuses([await send(services)]) == [200]


@SQLITE
async def test_a_token_is_refreshed_ahead_of_its_end_without_a_caller_waiting(
    services: Services, slow_sandbox: Sandbox
) -> None:
    await connected(services, slow_sandbox.form("refresh_token"))
    await send(services)
    later(services, 3600 - 73)
    assert generations(await send(services)) == [1]
    assert slow_sandbox.token_requests == 1, "a minute and a fifth before its end is too soon"
    later(services, 3600 - 59)
    sent = await asyncio.gather(*(send(services) for _ in range(20)))
    assert {tuple(generations(one)) for one in sent} == {(1,)}
    await services.finish()
    assert slow_sandbox.token_requests == 2
    assert generations(await send(services)) == [2]


async def test_two_processes_refresh_once_between_them(settings: Settings, slow_sandbox: Sandbox) -> None:
    async with open_services(settings, serves=True) as ours, open_services(settings) as theirs:
        await connected(ours, slow_sandbox.form("refresh_token", policy={"allow_private": True, "concurrency": 100}))
        for round_ in (1, 2, 3):
            for services in (ours, theirs):
                later(services, 4000 * round_)
            sent = await asyncio.gather(*(send(services) for services in (ours, theirs) for _ in range(30)))
            assert statuses(sent) == [200] * 60
            assert {tuple(generations(one)) for one in sent} == {(round_,)}
            assert slow_sandbox.token_requests == round_
    assert slow_sandbox.server.reuse_detections == 0


async def test_a_claim_whose_lease_ran_out_is_taken_over(services: Services, sandbox: Sandbox) -> None:
    await connected(services, sandbox.form("refresh_token"))
    async with services.db.begin() as session:
        kept = (await session.scalars(select(Token))).one()
        kept.claim, kept.lease_until = "a process that is gone", time.time() + 0.2
    began = time.monotonic()
    assert generations(await send(services)) == [1]
    assert time.monotonic() - began > 0.1
    assert (await row(services)).claim is None


async def test_a_token_is_committed_before_it_is_used(services: Services, upstream: Upstream) -> None:
    answers = [token(f"access-{number}", refresh_token=f"refresh-{number}") for number in (1, 2, 3)]
    endpoint = Endpoint(upstream, *answers)
    seen: list[tuple[str, int, str]] = []

    async def api(request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            return await endpoint.answer(request)
        kept = await row(services)
        assert kept.sealed_refresh_token is not None
        place = {"table": "tokens", "column": "sealed_refresh_token", "row": kept.connection_id}
        refresh = services.vault.unseal(kept.sealed_refresh_token, **place)
        seen.append((request.headers["Authorization"], kept.generation, refresh))
        return web.json_response({})

    upstream.handler = api
    await connected(services, endpoint.form())
    for number in (1, 2, 3):
        later(services, 200 * number)
        sent = await send(services)
        assert generations(sent) == [(await row(services)).generation] == [number]
    assert seen == [(f"Bearer access-{number}", number, f"refresh-{number}") for number in (1, 2, 3)]


@SQLITE
@pytest.mark.parametrize("second", [{}, {"refresh_token": ""}, {"refresh_token": None}])
async def test_an_answer_without_a_refresh_token_keeps_the_one_there_is(
    services: Services, upstream: Upstream, second: dict[str, Any]
) -> None:
    endpoint = Endpoint(upstream, token("one", refresh_token="rotated"), token("two", **second), token("three"))
    await connected(services, endpoint.form())
    for number in (1, 2, 3):
        later(services, 200 * number)
        await send(services)
    sent = [form.rpartition("&refresh_token=")[2].partition("&")[0] for form in endpoint.forms]
    assert sent == ["first-refresh", "rotated", "rotated"]


@SQLITE
async def test_a_life_that_is_not_said_is_unknown_and_ends_with_a_401(services: Services, upstream: Upstream) -> None:
    endpoint = Endpoint(upstream, {"access_token": "one"}, {"access_token": "two"})
    await connected(services, endpoint.form())
    await send(services)
    later(services, 10_000_000)
    assert generations(await send(services)) == [1]
    assert (await row(services)).expires_at is None
    assert len(endpoint.forms) == 1


async def test_where_the_claim_cannot_be_stored_nobody_dials(services: Services, sandbox: Sandbox) -> None:
    await connected(services, sandbox.form("refresh_token"))
    await send(services)
    async with services.db.connect() as connection:
        await connection.execute(text("ALTER TABLE tokens RENAME TO tokens_away"))
    try:
        assert statuses([await send(services)]) == [200], "a token that is good needs no database"
        later(services, 3601)
        sent = await asyncio.gather(*(send(services) for _ in range(5)))
        assert {(one.call["state"], one.call["reason"]) for one in sent} == {("failed", "token_unavailable")}
        assert sandbox.token_requests == 1
    finally:
        async with services.db.connect() as connection:
            await connection.execute(text("ALTER TABLE tokens_away RENAME TO tokens"))
    await asyncio.sleep(tokens.COOL_DOWN_SECONDS + 0.05)
    assert generations(await send(services)) == [2]
    assert services.client.limits_of(await connections.load(services, "items")).taken == 0


async def test_a_connection_that_is_deleted_in_mid_refresh_is_said_to_be_gone(
    services: Services, slow_sandbox: Sandbox
) -> None:
    await connected(services, slow_sandbox.form("refresh_token"))
    caller = asyncio.create_task(send(services))
    await eventually(lambda: slow_sandbox.token_requests == 1)
    await connections.delete(services, "items")
    sent = await caller
    assert (sent.call["state"], sent.call["reason"]) == ("failed", "token_unavailable")
    assert "changed or deleted" in sent.call["detail"]


async def test_new_auth_in_mid_refresh_keeps_the_rotated_token(services: Services, slow_sandbox: Sandbox) -> None:
    form = slow_sandbox.form("refresh_token")
    await connected(services, form)
    caller = asyncio.create_task(send(services))
    await eventually(lambda: slow_sandbox.token_requests == 1)
    public = {name: value for name, value in form["auth"].items() if name not in ("client_secret", "refresh_token")}
    await connections.update(services, "items", {"auth": public | {"scope": "items:read"}})
    await caller
    later(services, 3601)
    assert statuses([await send(services)]) == [200]
    assert slow_sandbox.server.reuse_detections == 0


async def test_a_caller_whose_connection_gets_another_token_meanwhile_is_told_so(
    services: Services, slow_sandbox: Sandbox
) -> None:
    form = slow_sandbox.form("refresh_token")
    await connected(services, form)
    caller = asyncio.create_task(send(services))
    await eventually(lambda: slow_sandbox.token_requests == 1)
    await connections.update(services, "items", {"auth": form["auth"] | {"refresh_token": "given-anew"}})
    sent = await caller
    assert (sent.call["state"], sent.call["reason"]) == ("failed", "token_unavailable")
    assert "was given other auth meanwhile" in sent.call["detail"]
    kept = await row(services)
    assert (kept.generation, kept.sealed_access_token) == (1, None)
    assert await state(services) == ("ready", None)


async def test_refreshing_by_hand_joins_a_refresh_in_flight(services: Services, slow_sandbox: Sandbox) -> None:
    target = await connected(services, slow_sandbox.form("refresh_token"))
    held = await asyncio.gather(*(tokens.refresh(services, target, forced=True) for _ in range(10)))
    assert {one.generation for one in held} == {1}
    assert slow_sandbox.token_requests == 1
    assert (await tokens.refresh(services, target, forced=True)).generation == 2


@SQLITE
async def test_a_connection_without_tokens_asks_no_database(services: Services) -> None:
    form = {"name": "items", "base_url": "https://api.example.com", "auth": {"scheme": "bearer", "token": "fixed"}}
    await connections.create(services, ConnectionForm.model_validate(form))
    target = await connections.load(services, "items")
    assert await tokens.ensure_valid(services, target) is target.credential


async def test_an_exchange_is_on_record_without_what_was_exchanged(services: Services, upstream: Upstream) -> None:
    endpoint = Endpoint(upstream, token("planted-access", refresh_token="planted-refresh"), web.Response(status=500))
    form = endpoint.form()
    form["auth"] |= {"client_secret": "planted-client", "refresh_token": "planted-first"}
    target = await connected(services, form)
    await tokens.refresh(services, target)
    with pytest.raises(CallFailed):
        await tokens.refresh(services, target)
    await recorded(services)
    async with services.db.session() as session:
        kept = list(await session.scalars(select(Call).where(Call.origin == "token").order_by(Call.id)))
        shown = await history.get(session, kept[0].id)
        everything = [list(await session.execute(select(table))) for table in Base.metadata.sorted_tables]
    exchange = ("POST", f"{upstream.url}/token")
    assert [(one.method, one.url) for one in kept] == [exchange] * 4
    assert [(one.status, one.state) for one in kept] == [(200, "done"), *[(500, "done")] * 3]
    assert shown["request"]["body"]["text"] == "grant_type=refresh_token&refresh_token=[redacted]"
    assert shown["response"]["body"]["json"] == {
        "access_token": "[redacted]", "token_type": "Bearer", "expires_in": 100, "refresh_token": "[redacted]"
    }  # fmt: skip
    assert "planted" not in str(everything)
    assert "planted" not in repr(await load(services, target))


@SQLITE
async def test_an_exchange_that_reached_nobody_is_on_record_with_its_reason(services: Services) -> None:
    auth = {"scheme": "oauth2", "grant": "client_credentials", "client_id": "client", "client_secret": "secret"}
    form = {"name": "items", "base_url": "http://127.0.0.1:1", "policy": {"allow_private": True}}
    await connected(services, form | {"auth": auth | {"token_url": "http://127.0.0.1:1/token"}})
    sent = await send(services)
    assert (sent.call["reason"], sent.call["detail"]) == ("token_unavailable", "The upstream refused the connection.")
    await recorded(services)
    async with services.db.session() as session:
        kept = (await session.scalars(select(Call).where(Call.origin == "token"))).one()
    assert (kept.state, kept.reason, kept.status) == ("failed", "connect_failed", None)
