"""Signing in at a provider, from the request to the stored token: once, in one browser, and only with a good answer."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from sqlalchemy import delete, select

from quart_app import authorizations, calls, connections, jobs
from quart_app.authorizations import LIFE_SECONDS, TOLD_SECONDS, Begun
from quart_app.errors import AppError, NotFound
from quart_app.forms.calls import CallForm
from quart_app.forms.connections import ConnectionForm
from quart_app.grants import UNSIGNED
from quart_app.models import AuditEntry, Authorization, Base, Call, Connection, Token, TokenExchange
from quart_app.outbound.oauth.authorization import Callback, read_callback
from quart_app.services import Services, open_services
from quart_app.settings import Settings, load_settings
from tests.browsing import code_grant, consent, query_of
from tests.sandboxed import Sandbox, connected, serving_sandbox
from tests.upstream import Upstream

SQLITE = pytest.mark.parametrize("database_url", [""])
"""Where nothing depends on the kind of database."""
OPENID = {"scope": "openid items:read"}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """It grants whatever is asked."""
    async with serving_sandbox(access_seconds=3600, auto_approve=True) as served:
        yield served


@pytest.fixture
async def items(services: Services, sandbox: Sandbox) -> Services:
    """The services, with a connection `items` to the sandbox."""
    await connected(services, code_grant(sandbox))
    return services


async def begin(services: Services, actor: str = "account:ann") -> Begun:
    return await authorizations.begin(services, "items", actor=actor)


async def answer_to(begun: Begun) -> Callback:
    return read_callback(urlsplit(await consent(begun.authorize_url)).query.encode())


async def finish(services: Services, begun: Begun, callback: Callback | None = None, name: str = "items") -> None:
    callback = callback or await answer_to(begun)
    await authorizations.finish(services, name, callback, begun.browser)


async def refused(services: Services, callback: Callback, browser: str, name: str = "items") -> AppError:
    with pytest.raises(AppError) as caught:
        await authorizations.finish(services, name, callback, browser)
    return caught.value


async def rows(services: Services, table: type[Any]) -> list[Any]:
    async with services.db.session() as session:
        return list(await session.scalars(select(table)))


async def state(services: Services) -> tuple[str, str | None]:
    (row,) = await rows(services, Connection)
    return row.state, row.state_reason


def changed(callback: Callback, **parts: str) -> Callback:
    known = {name: getattr(callback, name) for name in ("state", "code", "error", "said", "issuer")}
    return Callback(**known | parts)


async def test_a_person_signs_in_and_calls_go_out_with_the_token(items: Services, sandbox: Sandbox) -> None:
    assert await state(items) == ("needs_sign_in", UNSIGNED)
    await finish(items, await begin(items))
    assert await state(items) == ("ready", None)
    assert sandbox.server.token_requests["authorization_code"] == sandbox.token_requests == 1
    sent = await calls.send(items, CallForm(connection="items", path="/whoami"), origin="api", actor="test")
    assert (sent.call["status"], sandbox.token_requests) == (200, 1)
    (token,) = await rows(items, Token)
    assert (token.generation, token.signed_in_by) == (1, "account:ann")
    (exchange,) = await rows(items, TokenExchange)
    assert (exchange.cause, exchange.state, exchange.oddities) == ("sign_in", "stored", [])
    (entry,) = [row for row in await rows(items, AuditEntry) if row.action == "authorization_begun"]
    assert (entry.actor, entry.subject) == ("account:ann", "items")


async def test_the_refresh_token_that_came_with_it_keeps_the_connection_alive(
    items: Services, sandbox: Sandbox
) -> None:
    await finish(items, await begin(items))
    items.clock = lambda: time.time() + 3700
    sandbox.server.store.clock = items.clock
    sent = await calls.send(items, CallForm(connection="items", path="/whoami"), origin="api", actor="test")
    assert (sent.call["status"], sandbox.server.token_requests["refresh_token"]) == (200, 1)


@SQLITE
async def test_the_request_has_all_that_the_form_says_and_the_connection_s_own_redirect_uri(
    services: Services, sandbox: Sandbox
) -> None:
    more = {"resource": "https://api.example.com", "authorize_extra": {"access_type": "offline"}}
    await connected(services, code_grant(sandbox, scope="openid items:read", **more))
    begun = await begin(services)
    sent = query_of(begun.authorize_url)
    assert begun.authorize_url.startswith(f"{sandbox.url}/oauth/authorize?")
    assert sent["redirect_uri"] == begun.redirect_uri == "http://127.0.0.1:8000/oauth/callback/items"
    assert sent["state"] == begun.state
    assert (sent["scope"], sent["access_type"]) == ("openid items:read", "offline")
    assert {"nonce", "code_challenge", "resource"} < sent.keys()
    assert begun.expires_at - time.time() == pytest.approx(LIFE_SECONDS, abs=5)
    assert begun.state not in repr(begun)


async def test_what_is_kept_of_a_sign_in_opens_nothing(items: Services, sandbox: Sandbox) -> None:
    """Not the state, the cookie or the nonce as they are; the verifier sealed, and only at its place."""
    await connections.update(items, "items", {"auth": code_grant(sandbox, **OPENID)["auth"]})
    begun = await begin(items)
    (row,) = await rows(items, Authorization)
    sent = query_of(begun.authorize_url)
    kept = str([list(await items_of(items, table)) for table in Base.metadata.sorted_tables])
    for secret in (begun.state, begun.browser, sent["nonce"]):
        assert secret not in kept
    verifier = items.vault.unseal(
        row.sealed_verifier, table="authorizations", column="sealed_verifier", row=row.state_hash
    )
    assert verifier not in kept
    assert verifier.encode() not in row.sealed_verifier


async def items_of(services: Services, table: Any) -> list[Any]:
    async with services.db.session() as session:
        return list(await session.execute(select(table)))


async def test_one_answer_that_arrives_many_times_at_once_is_redeemed_once(items: Services, sandbox: Sandbox) -> None:
    begun = await begin(items)
    callback = await answer_to(begun)
    together = [authorizations.finish(items, "items", callback, begun.browser) for _ in range(8)]
    outcomes = await asyncio.gather(*together, return_exceptions=True)
    assert sorted(getattr(outcome, "code", "done") for outcome in outcomes) == ["done", *["used_state"] * 7]
    assert sandbox.token_requests == 1
    assert await state(items) == ("ready", None)
    assert (await refused(items, callback, begun.browser)).code == "used_state"


async def test_two_processes_redeem_one_answer_once(settings: Settings, sandbox: Sandbox) -> None:
    async with open_services(settings) as one, open_services(settings) as two:
        await connected(one, code_grant(sandbox))
        begun = await begin(one)
        callback = await answer_to(begun)
        work = [authorizations.finish(each, "items", callback, begun.browser) for each in (one, two) * 3]
        outcomes = await asyncio.gather(*work, return_exceptions=True)
        assert sorted(getattr(outcome, "code", "done") for outcome in outcomes) == ["done", *["used_state"] * 5]
    assert sandbox.token_requests == 1


async def test_two_sign_ins_that_one_person_began_both_succeed_in_any_order(items: Services, sandbox: Sandbox) -> None:
    first, second = await begin(items), await begin(items)
    assert first.state != second.state
    await finish(items, second)
    await finish(items, first)
    assert await state(items) == ("ready", None)
    (token,) = await rows(items, Token)
    assert (token.generation, sandbox.token_requests) == (2, 2)


async def test_two_sign_ins_that_end_at_once_leave_a_token_that_works(items: Services, sandbox: Sandbox) -> None:
    """One whose token came after another's had been stored is told so."""
    begun = [await begin(items) for _ in range(4)]
    outcomes = await asyncio.gather(*(finish(items, one) for one in begun), return_exceptions=True)
    codes = [getattr(outcome, "code", "done") for outcome in outcomes]
    assert "done" in codes
    assert set(codes) <= {"done", "changed_meanwhile"}
    assert await state(items) == ("ready", None)
    sent = await calls.send(items, CallForm(connection="items", path="/whoami"), origin="api", actor="test")
    assert (sent.call["status"], sandbox.token_requests) == (200, 4)


async def test_a_browser_that_leaves_does_not_part_the_code_from_its_token(services: Services) -> None:
    async with serving_sandbox(access_seconds=3600, auto_approve=True, token_delay_seconds=0.3) as slow:
        await connected(services, code_grant(slow))
        begun = await begin(services)
        leaving = asyncio.create_task(finish(services, begun, await answer_to(begun)))
        async with asyncio.timeout(5):
            while not slow.token_requests:  # noqa: ASYNC110 - the sandbox tells nobody
                await asyncio.sleep(0.01)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert leaving.cancelled()
        await services.finish()
    assert await state(services) == ("ready", None)


async def nothing_was_spent(services: Services, sandbox: Sandbox) -> None:
    assert sandbox.token_requests == 0
    assert [row for row in await rows(services, Call) if row.method == "POST"] == []
    assert await state(services) == ("needs_sign_in", UNSIGNED)


@pytest.mark.parametrize("given", ["", "x", "a" * 43, "a" * 5000, "ü\x01"])
async def test_a_state_that_is_not_ours_is_unknown(items: Services, sandbox: Sandbox, given: str) -> None:
    begun = await begin(items)
    said = await refused(items, changed(await answer_to(begun), state=given), begun.browser)
    assert (said.status, said.code) == (400, "unknown_state")
    await nothing_was_spent(items, sandbox)
    await finish(items, begun)


@pytest.mark.parametrize("other", ["", "wrong", "another"])
async def test_another_browser_gets_nowhere_and_spoils_nothing(items: Services, sandbox: Sandbox, other: str) -> None:
    begun = await begin(items)
    browser = (await begin(items)).browser if other == "another" else other
    callback = await answer_to(begun)
    assert (await refused(items, callback, browser)).code == "other_browser"
    await nothing_was_spent(items, sandbox)
    await finish(items, begun, callback)


async def test_an_answer_at_another_connection_s_redirect_uri_gets_nowhere_and_spoils_nothing(
    items: Services, sandbox: Sandbox
) -> None:
    await connections.create(items, ConnectionForm.model_validate(code_grant(sandbox) | {"name": "other"}))
    begun = await begin(items)
    callback = await answer_to(begun)
    assert (await refused(items, callback, begun.browser, name="other")).code == "other_connection"
    assert sandbox.token_requests == 0
    await authorizations.finish(items, "items", callback, begun.browser)


async def test_a_sign_in_is_good_for_ten_minutes(items: Services, sandbox: Sandbox) -> None:
    begun = await begin(items)
    callback = await answer_to(begun)
    items.clock = lambda: begun.expires_at
    assert (await refused(items, callback, begun.browser)).code == "expired_state"
    await nothing_was_spent(items, sandbox)
    items.clock = lambda: begun.expires_at - 1
    await finish(items, begun, callback)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"issuer": "https://evil.example"}, "wrong_issuer"),
        ({"issuer": ""}, "issuer_missing"),
        ({"code": "", "error": "access_denied", "said": "access_denied: no"}, "access_denied"),
        ({"code": "", "error": "server_error", "said": "server_error"}, "provider_refused"),
        ({"code": "", "error": "access_denied", "issuer": "https://evil.example"}, "wrong_issuer"),
    ],
)
async def test_an_answer_that_gives_no_code_of_this_provider_ends_the_sign_in_without_a_dial(
    items: Services, sandbox: Sandbox, changes: dict[str, str], code: str
) -> None:
    begun = await begin(items)
    good = await answer_to(begun)
    said = await refused(items, changed(good, **changes), begun.browser)
    assert (said.status, said.code) == (400, code)
    assert [fault["detail"] for fault in said.errors] == ([changes["said"]] if "said" in changes else [])
    await nothing_was_spent(items, sandbox)
    assert (await refused(items, good, begun.browser)).code == "used_state"


@SQLITE
async def test_an_issuer_that_says_nothing_of_itself_may_be_left_out(services: Services, sandbox: Sandbox) -> None:
    """Where the metadata does not promise it, and where no issuer is known at all."""
    endpoints = {"token_url": f"{sandbox.url}/oauth/token", "authorize_url": f"{sandbox.url}/oauth/authorize"}
    await connected(services, code_grant(sandbox, **endpoints, issuer=None))
    begun = await begin(services)
    await finish(services, begun, changed(await answer_to(begun), issuer=""))
    begun = await begin(services)
    await finish(services, begun, changed(await answer_to(begun), issuer="https://whoever.example"))
    assert await state(services) == ("ready", None)


async def test_new_auth_makes_sign_ins_that_are_under_way_void(items: Services, sandbox: Sandbox) -> None:
    begun = await begin(items)
    callback = await answer_to(begun)
    await connections.update(items, "items", {"auth": code_grant(sandbox, scope="items:read")["auth"]})
    assert (await refused(items, callback, begun.browser)).code == "unknown_state"
    await nothing_was_spent(items, sandbox)
    await finish(items, await begin(items))


@SQLITE
async def test_a_code_does_not_go_to_the_provider_of_auth_that_was_changed_at_that_moment(
    services: Services, sandbox: Sandbox, upstream: Upstream
) -> None:
    await connected(services, code_grant(sandbox, **OPENID))
    begun = await begin(services)
    callback = await answer_to(begun)
    sandbox.server.tricks.add(at="jwks", delay_seconds=0.5)
    finishing = asyncio.create_task(finish(services, begun, callback))
    async with asyncio.timeout(5):
        while not [row for row in await rows(services, Authorization) if row.used_at]:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    other = {"token_url": f"{upstream.url}/token", "authorize_url": f"{upstream.url}/authorize", "issuer": None}
    await connections.update(services, "items", {"auth": code_grant(sandbox, **other)["auth"]})
    with pytest.raises(AppError) as caught:
        await finishing
    assert (caught.value.status, caught.value.code) == (409, "changed_meanwhile")
    assert (sandbox.token_requests, upstream.seen) == (0, [])


async def test_a_change_of_something_else_does_not(items: Services) -> None:
    begun = await begin(items)
    await connections.update(items, "items", {"title": "Items"})
    await finish(items, begun)


async def test_a_connection_that_is_deleted_meanwhile_takes_its_sign_ins_along(
    items: Services, sandbox: Sandbox
) -> None:
    begun = await begin(items)
    callback = await answer_to(begun)
    await connections.delete(items, "items")
    assert await rows(items, Authorization) == []
    assert (await refused(items, callback, begun.browser)).code == "unknown_state"
    assert sandbox.token_requests == 0


async def test_a_connection_that_another_process_just_deleted_is_unknown(items: Services) -> None:
    await connections.load(items, "items")
    async with items.db.begin() as session:
        await session.execute(delete(Connection))
    with pytest.raises(NotFound):
        await begin(items)


@SQLITE
@pytest.mark.parametrize(
    ("auth", "code"),
    [
        ({"scheme": "none"}, "no_authorization"),
        ({"scheme": "bearer", "token": "t"}, "no_authorization"),
        ({"scheme": "oauth2", "grant": "client_credentials", "token_url": "http://127.0.0.1:9/t", "client_id": "c"},
         "no_authorization"),
    ],
)  # fmt: skip
async def test_only_a_connection_by_authorization_code_is_signed_in_for(
    services: Services, auth: dict[str, Any], code: str
) -> None:
    form = {"name": "items", "base_url": "http://127.0.0.1:9", "auth": auth, "policy": {"allow_private": True}}
    await connected(services, form)
    with pytest.raises(AppError) as caught:
        await begin(services)
    assert (caught.value.status, caught.value.code) == (409, code)
    assert await rows(services, Authorization) == []


@SQLITE
@pytest.mark.parametrize(
    ("document", "status", "code"),
    [
        (None, 409, "no_authorize_url"),
        ({"token_endpoint": "/t"}, 409, "no_authorize_url"),
        ({"token_endpoint": "{url}/t"}, 409, "no_authorize_url"),
        (503, 502, "provider_failed"),
    ],
)
async def test_where_nobody_knows_where_to_sign_in_it_is_said_what_to_do(
    services: Services, sandbox: Sandbox, upstream: Upstream, document: Any, status: int, code: str
) -> None:
    async def metadata(_: web.Request) -> web.Response:
        if not isinstance(document, dict):
            return web.Response(status=document or 404)
        written = {name: value.format(url=upstream.url) for name, value in document.items()}
        return web.json_response({"issuer": upstream.url} | written)

    upstream.handler = metadata
    await connected(services, code_grant(sandbox, issuer=upstream.url))
    with pytest.raises(AppError) as caught:
        await begin(services)
    assert (caught.value.status, caught.value.code) == (status, code)
    assert ("authorize_url" in caught.value.detail) == (status == 409)


@SQLITE
@pytest.mark.parametrize(
    ("trick", "status", "code"),
    [
        ("invalid_grant", 400, "code_refused"),
        ("invalid_client", 400, "client_refused"),
        ("html_ok", 502, "odd_answer"),
        ("no_access_token", 502, "odd_answer"),
        ("status_503", 502, "provider_failed"),
        ("lost_answer", 502, "provider_failed"),
        ("reset", 502, "provider_failed"),
    ],
)
async def test_an_exchange_that_fails_says_whose_trouble_it_is_and_changes_nothing(
    items: Services, sandbox: Sandbox, trick: str, status: int, code: str
) -> None:
    begun = await begin(items)
    callback = await answer_to(begun)
    sandbox.server.tricks.add(trick)
    said = await refused(items, callback, begun.browser)
    assert (said.status, said.code) == (status, code)
    assert callback.code not in said.detail
    assert sandbox.token_requests == 1, "a code is sent once, whatever came of it"
    assert await state(items) == ("needs_sign_in", UNSIGNED)
    await finish(items, await begin(items))
    assert await state(items) == ("ready", None)


@SQLITE
async def test_a_sign_in_that_fails_leaves_a_connection_that_works_as_it_is(items: Services, sandbox: Sandbox) -> None:
    await finish(items, await begin(items))
    begun = await begin(items)
    callback = await answer_to(begun)
    sandbox.server.tricks.add("invalid_grant")
    await refused(items, callback, begun.browser)
    assert await state(items) == ("ready", None)
    sent = await calls.send(items, CallForm(connection="items", path="/whoami"), origin="api", actor="test")
    assert sent.call["status"] == 200


@SQLITE
async def test_the_id_token_of_openid_connect_is_checked_and_nothing_more(services: Services, sandbox: Sandbox) -> None:
    await connected(services, code_grant(sandbox, **OPENID))
    await finish(services, await begin(services))
    assert await state(services) == ("ready", None)
    (exchange,) = await rows(services, TokenExchange)
    assert exchange.oddities == []


@SQLITE
@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"}, {"iss": "https://evil.example"}, {"aud": "they"}, {"aud": ["they", "sandbox-client"]},
        {"exp": 1}, {"iat": 32503680000},
    ],
    ids=str,
)  # fmt: skip
async def test_an_id_token_of_something_else_refuses_all_that_came_with_it(
    services: Services, sandbox: Sandbox, claims: dict[str, Any]
) -> None:
    await connected(services, code_grant(sandbox, **OPENID))
    begun = await begin(services)
    callback = await answer_to(begun)
    sandbox.server.tricks.add(claims=claims)
    said = await refused(services, callback, begun.browser)
    assert said.status == 502
    assert "ID token" in said.detail
    assert (sandbox.token_requests, (await state(services))[0]) == (1, "needs_sign_in")
    (token,) = await rows(services, Token)
    assert (token.generation, token.sealed_access_token, token.sealed_refresh_token) == (0, None, None)


@SQLITE
async def test_an_id_token_that_somebody_else_signed_is_refused(services: Services, sandbox: Sandbox) -> None:
    async with serving_sandbox() as other:
        sandbox.server.tricks.add(at="jwks", answer=other.server.signer.jwks())
        await connected(services, code_grant(sandbox, **OPENID))
        begun = await begin(services)
        said = await refused(services, await answer_to(begun), begun.browser)
    assert "not signed by the provider" in said.detail
    assert (await state(services))[0] == "needs_sign_in"


@SQLITE
async def test_without_the_provider_s_keys_no_code_is_spent(services: Services, sandbox: Sandbox) -> None:
    await connected(services, code_grant(sandbox, **OPENID))
    sandbox.server.tricks.add("status_503", at="jwks")
    begun = await begin(services)
    said = await refused(services, await answer_to(begun), begun.browser)
    assert (said.status, said.code) == (502, "provider_failed")
    await nothing_was_spent(services, sandbox)


@SQLITE
async def test_a_missing_id_token_is_an_oddity_and_no_failure(services: Services, sandbox: Sandbox) -> None:
    await connected(services, code_grant(sandbox, **OPENID))
    sandbox.server.tricks.add(without=("id_token",))
    await finish(services, await begin(services))
    assert await state(services) == ("ready", None)
    (exchange,) = await rows(services, TokenExchange)
    assert any("ID token" in oddity for oddity in exchange.oddities)


async def test_what_ended_long_ago_is_taken_away_and_the_rest_stays(items: Services) -> None:
    old = await begin(items)
    items.clock = lambda: old.expires_at + TOLD_SECONDS - 1
    fresh = await begin(items)
    assert await authorizations.prune(items) == 0
    callback = await answer_to(old)
    assert (await refused(items, callback, old.browser)).code == "expired_state"
    items.clock = lambda: old.expires_at + TOLD_SECONDS + 1
    await jobs.prune(items)
    assert (await refused(items, callback, old.browser)).code == "unknown_state"
    (left,) = await rows(items, Authorization)
    assert left.expires_at == fresh.expires_at


async def test_the_redirect_uri_is_that_of_the_public_url_and_stays_the_one_that_was_sent(
    tmp_path: Any, sandbox: Sandbox
) -> None:
    """Also where the setting is another one by the time that the browser comes back."""
    data = str(tmp_path / "public")
    async with open_services(load_settings({"data": data, "public_url": "http://localhost:8123/"}, {})) as services:
        await connected(services, code_grant(sandbox))
        begun = await begin(services)
        assert begun.redirect_uri == "http://localhost:8123/oauth/callback/items"
    async with open_services(load_settings({"data": data}, {})) as services:
        await finish(services, begun)
        assert await state(services) == ("ready", None)
