"""The attempts of a call on real upstreams: what is sent again and waited for, where redirects go, who stops whom."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from quart_app import calls
from quart_app.calls import Sent
from quart_app.errors import CallFailed
from quart_app.forms.calls import CallForm
from quart_app.outbound.limits import Limits, Queue
from quart_app.sending.flight import Flight
from quart_app.services import Services
from tests.flights import aim, answering, flight, fly, on_record, until_seen
from tests.outbound.upstreams import raw, reset, then_silence
from tests.served import free_port
from tests.upstream import Handler, Upstream

pytestmark = pytest.mark.parametrize("database_url", [""])
"""Nothing here depends on the kind of database."""

SECRET = "swordfish-0123456789"


@pytest.fixture
async def elsewhere() -> AsyncIterator[Upstream]:
    """A second real server: another origin by its port."""
    async with Upstream.running() as server:
        yield server


def in_turn(*handlers: Handler) -> Handler:
    """The first handler answers first; the last one from then on."""
    left = list(handlers)

    async def handler(request: web.Request) -> web.StreamResponse:
        return await (left.pop(0) if len(left) > 1 else left[0])(request)

    return handler


def leading(where: str, status: int = 302) -> Handler:
    return answering(status, Location=where)  # type: ignore[no-any-return]


OK, DOWN = answering(200, b"fine"), answering(503, b"down")


async def shown(services: Services, made: Flight) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    """The call on record, and of each attempt its status, reason and next reason."""
    call = await on_record(services, made.id)
    return call, [(one["status"], one["reason"], one["next_reason"]) for one in call["attempts"]]


async def failure(made: Flight) -> CallFailed:
    with pytest.raises(CallFailed) as raised:
        await fly(made)
    return raised.value


async def send(services: Services, **form: Any) -> Sent:
    return await calls.send(services, CallForm(connection="orders", **form), origin="api", actor="test")


def nothing_is_held(services: Services, made: Flight) -> bool:
    limits = services.client.limits_of(made.target)
    return (limits.taken, limits.waiting, limits.unanswered, services.caps.overall.taken) == (0, 0, 0, 0)


# --- retries -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_an_answer_that_another_attempt_may_mend_is_tried_again(
    services: Services, upstream: Upstream, status: int
) -> None:
    upstream.handler = in_turn(answering(status, b"down"), OK)
    made = flight(services, await aim(services, upstream.url))
    assert await fly(made) == b"fine"
    call, attempts = await shown(services, made)
    assert attempts == [(status, None, "retried"), (200, None, None)]
    assert (call["state"], call["status"], call["reason"]) == ("done", 200, None)
    first, second = call["attempts"]
    assert (first["waited_seconds"], first["wait_reason"]) == (0.0, None)
    assert (0 <= second["waited_seconds"] <= 0.3, second["wait_reason"]) == (True, "backoff")
    assert call["waited_seconds"] == pytest.approx(second["waited_seconds"], abs=0.001)
    assert nothing_is_held(services, made)


async def test_after_the_last_attempt_the_answer_is_passed_on_as_it_is(services: Services, upstream: Upstream) -> None:
    upstream.handler = DOWN
    made = flight(services, await aim(services, upstream.url, attempts=2))
    assert await fly(made) == b"down"
    call, attempts = await shown(services, made)
    assert attempts == [(503, None, "retried"), (503, None, "attempts_spent")]
    assert (call["state"], call["status"], call["response"]["body"]["text"]) == ("done", 503, "down")
    assert len(upstream.seen) == 2


@pytest.mark.parametrize("status", [200, 302, 400, 404, 408, 500, 501])
async def test_another_answer_is_not_tried_again(services: Services, upstream: Upstream, status: int) -> None:
    upstream.handler = answering(status)
    made = flight(services, await aim(services, upstream.url))
    await fly(made)
    assert (await shown(services, made))[1] == [(status, None, None)]
    assert len(upstream.seen) == 1


async def test_a_refused_connection_is_tried_again(services: Services) -> None:
    made = flight(services, await aim(services, f"http://127.0.0.1:{free_port()}"))
    assert (await failure(made)).code == "connect_failed"
    retried, spent = (None, "connect_failed", "retried"), (None, "connect_failed", "attempts_spent")
    assert (await shown(services, made))[1] == [retried, retried, spent]
    assert nothing_is_held(services, made)


async def test_a_connection_that_is_reset_is_tried_again_on_record_as_often_as_the_upstream_saw_it(
    services: Services,
) -> None:
    async def reply(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(upstream.heads) < 3:
            reset(writer)
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")

    async with raw(reply) as upstream:
        made = flight(services, await aim(services, upstream.url))
        assert await fly(made) == b"fine"
        again = (None, "reset", "retried")
        assert (await shown(services, made))[1] == [again, again, (200, None, None)]
        assert len(upstream.heads) == 3


async def test_an_answer_that_broke_off_in_its_middle_is_never_tried_again(services: Services) -> None:
    async with raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf") as upstream:
        made = flight(services, await aim(services, upstream.url))
        assert (await failure(made)).code == "reset"
        assert (await shown(services, made))[1] == [(200, "reset", None)]
        assert len(upstream.heads) == 1


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_what_may_have_done_something_is_not_repeated(
    services: Services, upstream: Upstream, method: str
) -> None:
    upstream.handler = DOWN
    made = flight(services, await aim(services, upstream.url), method, body=b"hello")
    assert await fly(made) == b"down"
    assert (await shown(services, made))[1] == [(503, None, "method_unsafe")]
    assert len(upstream.seen) == 1


async def test_with_an_idempotency_key_it_is_repeated_with_the_same_key_and_body(
    services: Services, upstream: Upstream
) -> None:
    upstream.handler = in_turn(DOWN, OK)
    await aim(services, upstream.url)
    sent = await send(services, method="POST", text="hello", idempotency_key="order-7")
    assert (sent.call["status"], sent.answer) == (200, b"fine")
    assert [(seen.header("Idempotency-Key"), seen.body) for seen in upstream.seen] == [("order-7", b"hello")] * 2


async def test_the_policy_can_have_everything_repeated(services: Services, upstream: Upstream) -> None:
    upstream.handler = in_turn(DOWN, OK)
    made = flight(services, await aim(services, upstream.url, retry_unsafe=True), "POST", body=b"hello")
    assert await fly(made) == b"fine"
    assert [seen.body for seen in upstream.seen] == [b"hello"] * 2


async def test_a_streamed_body_is_never_repeated(services: Services, upstream: Upstream) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"hello"

    upstream.handler = DOWN
    made = flight(services, await aim(services, upstream.url, retry_unsafe=True), "PUT", body=pieces())
    await fly(made)
    assert (await shown(services, made))[1] == [(503, None, "body_gone")]
    assert [seen.body for seen in upstream.seen] == [b"hello"]


async def test_a_retry_gives_its_place_to_others_while_it_pauses(services: Services, upstream: Upstream) -> None:
    upstream.handler = in_turn(answering(503, Retry_After="1"), OK)
    target = await aim(services, upstream.url, concurrency=1)
    made = asyncio.create_task(fly(flight(services, target)))
    await until_seen(upstream.seen)
    await asyncio.sleep(0.1)
    assert services.client.limits_of(target).taken == 0
    assert await made == b"fine"


async def test_a_caller_that_goes_during_the_pause_sends_nothing_more(services: Services, upstream: Upstream) -> None:
    upstream.handler = answering(503, Retry_After="1")
    made = flight(services, await aim(services, upstream.url))
    task = asyncio.create_task(made.depart())
    await until_seen(upstream.seen)
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(1.2)
    assert len(upstream.seen) == 1
    _, attempts = await shown(services, made)
    assert attempts == [(503, None, None)]
    assert nothing_is_held(services, made)


# --- Retry-After and learned limits ------------------------------------------------------------------------------


async def test_retry_after_is_waited_for_and_the_wait_is_told(services: Services, upstream: Upstream) -> None:
    upstream.handler = in_turn(answering(429, Retry_After="1"), OK)
    made = flight(services, await aim(services, upstream.url))
    began = time.monotonic()
    assert await fly(made) == b"fine"
    assert 1.0 <= time.monotonic() - began < 2.5
    call, attempts = await shown(services, made)
    assert attempts == [(429, None, "retried"), (200, None, None)]
    assert (call["attempts"][1]["waited_seconds"] >= 1.0, call["attempts"][1]["wait_reason"]) == (True, "told")
    assert call["waited_seconds"] >= 1.0


async def test_a_long_retry_after_is_passed_on_at_once_and_the_next_calls_are_refused_with_its_seconds(
    services: Services, upstream: Upstream
) -> None:
    upstream.handler = answering(429, b"slow down", Retry_After="600")
    target = await aim(services, upstream.url)
    made = flight(services, target)
    assert await fly(made) == b"slow down"
    assert (await shown(services, made))[1] == [(429, None, "told_to_wait_too_long")]
    for _ in range(3):
        refused = flight(services, target)
        said = await failure(refused)
        assert (said.code, said.status) == ("limit_wait", 503)
        assert 590 <= int(dict(said.headers)["Retry-After"]) <= 600
        assert (await shown(services, refused))[1] == []
    assert len(upstream.seen) == 1


@pytest.mark.parametrize("value", ["soon", "-1", "Mon, 99 Foo 2030", "0", "Thu, 01 Jan 1970 00:00:00 GMT"])
async def test_a_storm_of_429_with_garbage_is_no_busy_loop(services: Services, upstream: Upstream, value: str) -> None:
    upstream.handler = answering(429, Retry_After=value)
    made = flight(services, await aim(services, upstream.url))
    await fly(made)
    call, attempts = await shown(services, made)
    assert len(attempts) == 3
    assert {one["wait_reason"] for one in call["attempts"][1:]} == {"backoff"}


async def test_while_told_to_wait_at_most_one_call_is_sent(services: Services, upstream: Upstream) -> None:
    upstream.handler = answering(429, Retry_After="315360000")
    target = await aim(services, upstream.url, concurrency=1)
    made = [flight(services, target) for _ in range(50)]
    ended = await asyncio.gather(*(fly(one) for one in made), return_exceptions=True)
    codes = [one.code for one in ended if isinstance(one, CallFailed)]
    assert (len(upstream.seen), codes) == (1, ["limit_wait"] * 49)


async def test_a_budget_that_is_spent_holds_all_ways_in(services: Services, upstream: Upstream) -> None:
    upstream.handler = answering(200, X_RateLimit_Limit="3", X_RateLimit_Remaining="0", X_RateLimit_Reset="900")
    target = await aim(services, upstream.url)
    await fly(flight(services, target))
    sent = await send(services)
    assert (sent.call["state"], sent.call["reason"]) == ("failed", "limit_wait")
    assert (await failure(flight(services, target))).retry_after > 890
    assert len(upstream.seen) == 1


async def test_a_429_that_gives_a_far_reset_is_passed_on_and_not_lost_to_the_wait(
    services: Services, upstream: Upstream
) -> None:
    upstream.handler = answering(429, b"no", X_Rate_Limit_Remaining="0", X_Rate_Limit_Reset="900")
    made = flight(services, await aim(services, upstream.url))
    assert await fly(made) == b"no"
    assert (await shown(services, made))[1] == [(429, None, "told_to_wait_too_long")]


async def test_a_declared_rate_counts_every_attempt(services: Services, upstream: Upstream) -> None:
    upstream.handler = in_turn(DOWN, leading("/b"), OK)
    target = await aim(services, upstream.url, per_minute=3, follow_redirects=True)
    assert await fly(flight(services, target)) == b"fine"
    assert services.client.limits_of(target).sent_last_minute() == len(upstream.seen) == 3
    assert (await failure(flight(services, target))).code == "limit_wait"


async def test_a_retry_that_finds_no_place_any_more_is_not_told_as_made(services: Services, upstream: Upstream) -> None:
    upstream.handler = DOWN
    made = flight(services, await aim(services, upstream.url, per_minute=1))
    assert (await failure(made)).code == "limit_wait"
    call, attempts = await shown(services, made)
    assert attempts == [(503, None, "told_to_wait_too_long")]
    assert (call["status"], call["reason"]) == (None, "limit_wait")


# --- time --------------------------------------------------------------------------------------------------------


async def test_the_total_time_bounds_all_attempts(services: Services, upstream: Upstream) -> None:
    upstream.handler = DOWN
    target = await aim(services, upstream.url, attempts=10)
    began = time.monotonic()
    made = flight(services, target, total_seconds=0.6)
    await fly(made)
    assert time.monotonic() - began < 1.0
    call, attempts = await shown(services, made)
    assert (call["status"], attempts[-1]) == (503, (503, None, "time_spent"))
    assert [one[2] for one in attempts[:-1]] == ["retried"] * (len(attempts) - 1)


async def test_the_total_time_bounds_an_attempt_that_hangs_and_none_follows(services: Services) -> None:
    async with raw(then_silence(b"")) as upstream:
        made = flight(services, await aim(services, upstream.url), total_seconds=0.2)
        began = time.monotonic()
        assert (await failure(made)).code == "total_timeout"
        assert time.monotonic() - began < 1.0
        assert (await shown(services, made))[1] == [(None, "total_timeout", None)]
        assert len(upstream.heads) == 1


async def test_the_total_time_bounds_the_wait_for_a_place(services: Services, upstream: Upstream) -> None:
    target = await aim(services, upstream.url, concurrency=1)
    await services.client.limits_of(target).take(1)
    made = flight(services, target, total_seconds=0.1)
    assert (await failure(made)).code == "total_timeout"
    services.client.limits_of(target).give()
    assert nothing_is_held(services, made)
    assert upstream.seen == []


# --- a new token -------------------------------------------------------------------------------------------------


class Tokens:
    """A token endpoint and an API on one upstream; the API takes the tokens in `good` and then answers as told."""

    def __init__(self, upstream: Upstream, good: set[str], *then: Handler) -> None:
        self.good = good
        self.issued = 0
        self.delay_seconds = 0.0
        self.then = in_turn(*then)
        upstream.handler = self.answer
        self.auth = {
            "scheme": "oauth2",
            "grant": "client_credentials",
            "token_url": f"{upstream.url}/token",
            "client_id": "me",
            "client_secret": "client-secret-1",
        }

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            self.issued += 1
            if self.issued > 1:
                await asyncio.sleep(self.delay_seconds)
            return web.json_response({"access_token": f"at-{self.issued}-0123456789", "expires_in": 3600})
        if request.headers["Authorization"][7:11] not in self.good:
            return web.Response(status=401)
        return await self.then(request)


async def test_a_new_token_and_retries_go_together(services: Services, upstream: Upstream) -> None:
    tokens = Tokens(upstream, {"at-2"}, DOWN, OK)
    made = flight(services, await aim(services, upstream.url, tokens.auth))
    assert await fly(made) == b"fine"
    call, attempts = await shown(services, made)
    assert attempts == [(401, "unauthorized", "new_token"), (503, None, "retried"), (200, None, None)]
    assert [one["wait_reason"] for one in call["attempts"]] == ["token", "token", "backoff"]
    assert [one["token_generation"] for one in call["attempts"]] == [1, 2, 2]
    assert (tokens.issued, nothing_is_held(services, made)) == (2, True)


async def test_an_api_that_always_says_401_costs_one_token_and_one_repetition(
    services: Services, upstream: Upstream
) -> None:
    tokens = Tokens(upstream, set(), OK)
    made = flight(services, await aim(services, upstream.url, tokens.auth))
    await fly(made)
    assert (await shown(services, made))[1] == [(401, "unauthorized", "new_token"), (401, None, None)]
    assert tokens.issued == 2


async def test_the_total_time_bounds_the_wait_for_a_new_token(services: Services, upstream: Upstream) -> None:
    tokens = Tokens(upstream, {"at-2"}, OK)
    tokens.delay_seconds = 1.0
    made = flight(services, await aim(services, upstream.url, tokens.auth), total_seconds=0.4)
    began = time.monotonic()
    assert (await failure(made)).code == "total_timeout"
    assert time.monotonic() - began < 0.9
    assert nothing_is_held(services, made)


# --- redirects ---------------------------------------------------------------------------------------------------


async def test_redirects_are_not_followed_unless_the_connection_says_so(services: Services, upstream: Upstream) -> None:
    upstream.handler = leading("/b")
    made = flight(services, await aim(services, upstream.url))
    await fly(made)
    assert (await shown(services, made))[1] == [(302, None, None)]


async def test_each_hop_is_an_attempt_on_record_with_its_url(services: Services, upstream: Upstream) -> None:
    upstream.handler = in_turn(leading("/b?x=1"), leading("c"), OK)
    bearer = {"scheme": "bearer", "token": SECRET}
    made = flight(services, await aim(services, upstream.url, bearer, follow_redirects=True), path="/a")
    assert await fly(made) == b"fine"
    call, attempts = await shown(services, made)
    assert attempts == [(302, None, "redirected"), (302, None, "redirected"), (200, None, None)]
    urls = [one["url"] for one in call["attempts"]]
    assert urls == [None, f"{upstream.url}/b?x=1", f"{upstream.url}/c"]
    assert [seen.path for seen in upstream.seen] == ["/a", "/b?x=1", "/c"]
    assert [seen.header("Authorization") for seen in upstream.seen] == [f"Bearer {SECRET}"] * 3
    assert (call["url"], call["status"]) == (f"{upstream.url}/a", 200)
    assert nothing_is_held(services, made)


AUTHS = [
    {"scheme": "bearer", "token": SECRET},
    {"scheme": "basic", "username": "me", "password": SECRET},
    {"scheme": "api_key", "in": "header", "name": "X-Team-Pass", "value": SECRET},
    {"scheme": "api_key", "in": "query", "name": "pass", "value": SECRET},
]


@pytest.mark.parametrize("auth", AUTHS, ids=["bearer", "basic", "header", "query"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_another_origin_sees_nothing_that_was_sent_in_confidence(
    services: Services, upstream: Upstream, elsewhere: Upstream, auth: dict[str, Any], status: int
) -> None:
    async def copy_query(request: web.Request) -> web.StreamResponse:
        where = f"{elsewhere.url}/b?{request.query_string}"
        return web.Response(status=status, headers={"Location": where})

    upstream.handler = copy_query
    headers = [(b"x-session-token", b"caller-secret-1"), (b"cookie", b"sid=caller-secret-1"), (b"accept", b"text/x")]
    target = await aim(services, upstream.url, auth, follow_redirects=True)
    made = flight(services, target, path="/a", query="q=1", headers=headers)
    assert await fly(made) == b'{"hello": "world"}'
    assert SECRET in str(upstream.seen) or auth["scheme"] == "basic"
    (seen,) = elsewhere.seen
    assert (seen.path, seen.header("Accept"), seen.header("Authorization")) == ("/b?q=1", "text/x", None)
    for secret in (SECRET, "caller-secret-1", "sid="):
        assert secret not in str(seen)
    call, attempts = await shown(services, made)
    assert attempts == [(status, None, "redirected"), (200, None, None)]
    assert SECRET not in str(call)


async def test_the_way_back_does_not_bring_the_credential_back(
    services: Services, upstream: Upstream, elsewhere: Upstream
) -> None:
    upstream.handler = in_turn(leading(f"{elsewhere.url}/b"), OK)
    elsewhere.handler = leading(f"{upstream.url}/c")
    bearer = {"scheme": "bearer", "token": SECRET}
    made = flight(services, await aim(services, upstream.url, bearer, follow_redirects=True))
    assert await fly(made) == b"fine"
    authorizations = [seen.header("Authorization") for seen in (*upstream.seen, *elsewhere.seen)]
    assert authorizations == [f"Bearer {SECRET}", None, None]


async def test_a_retry_begins_at_the_connection_s_own_url_with_its_credential(
    services: Services, upstream: Upstream, elsewhere: Upstream
) -> None:
    upstream.handler = leading(f"{elsewhere.url}/b")
    elsewhere.handler = in_turn(DOWN, OK)
    bearer = {"scheme": "bearer", "token": SECRET}
    made = flight(services, await aim(services, upstream.url, bearer, follow_redirects=True))
    assert await fly(made) == b"fine"
    _, attempts = await shown(services, made)
    hop = (302, None, "redirected")
    assert attempts == [hop, (503, None, "retried"), hop, (200, None, None)]
    assert [seen.header("Authorization") for seen in upstream.seen] == [f"Bearer {SECRET}"] * 2
    assert [seen.header("Authorization") for seen in elsewhere.seen] == [None] * 2


async def test_another_origin_teaches_no_limits(services: Services, upstream: Upstream, elsewhere: Upstream) -> None:
    upstream.handler = leading(f"{elsewhere.url}/b")
    elsewhere.handler = answering(429, Retry_After="600", X_RateLimit_Remaining="0", X_RateLimit_Reset="600")
    target = await aim(services, upstream.url, follow_redirects=True)
    made = flight(services, target)
    await fly(made)
    assert (await shown(services, made))[1][-1] == (429, None, "told_to_wait_too_long")
    limits = services.client.limits_of(target)
    assert (limits.held_until, limits.remaining) == (0.0, None)


async def test_five_hops_are_followed_and_the_sixth_redirect_is_the_answer(
    services: Services, upstream: Upstream
) -> None:
    upstream.handler = leading("/again")
    made = flight(services, await aim(services, upstream.url, follow_redirects=True))
    await fly(made)
    call, attempts = await shown(services, made)
    assert attempts == [(302, None, "redirected")] * 5 + [(302, None, "redirects_spent")]
    assert (call["state"], call["status"], len(upstream.seen)) == ("done", 302, 6)


async def test_303_after_a_post_is_a_get_without_the_body(services: Services, upstream: Upstream) -> None:
    upstream.handler = in_turn(leading("/done", 303), OK)
    target = await aim(services, upstream.url, follow_redirects=True)
    made = flight(services, target, "POST", body=b"hello", headers=[(b"content-type", b"text/plain")])
    assert await fly(made) == b"fine"
    first, second = upstream.seen
    assert (first.method, first.body, first.header("Content-Type")) == ("POST", b"hello", "text/plain")
    assert (second.method, second.body, second.header("Content-Type")) == ("GET", b"", None)


async def test_303_after_a_streamed_post_is_followed_too(services: Services, upstream: Upstream) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"hello"

    upstream.handler = in_turn(leading("/done", 303), OK)
    made = flight(services, await aim(services, upstream.url, follow_redirects=True), "POST", body=pieces())
    assert await fly(made) == b"fine"
    assert [(seen.method, seen.body) for seen in upstream.seen] == [("POST", b"hello"), ("GET", b"")]


async def test_307_repeats_a_body_on_the_same_origin_only(
    services: Services, upstream: Upstream, elsewhere: Upstream
) -> None:
    upstream.handler = in_turn(leading("/b", 307), leading(f"{elsewhere.url}/c", 308))
    made = flight(services, await aim(services, upstream.url, follow_redirects=True), "POST", body=b"hello")
    await fly(made)
    _, attempts = await shown(services, made)
    assert attempts == [(307, None, "redirected"), (308, None, "redirect_refused")]
    assert [(seen.method, seen.body) for seen in upstream.seen] == [("POST", b"hello")] * 2
    assert elsewhere.seen == []


async def test_a_streamed_body_cannot_follow_a_307(services: Services, upstream: Upstream) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"hello"

    upstream.handler = leading("/b", 307)
    made = flight(services, await aim(services, upstream.url, follow_redirects=True), "POST", body=pieces())
    await fly(made)
    assert (await shown(services, made))[1] == [(307, None, "body_gone")]


@pytest.mark.parametrize(
    "where",
    ["javascript:alert(1)", "http://me:pw@127.0.0.1/", "ftp://127.0.0.1/", "http://127.0.0.1:99999/", "http://["],
)
async def test_a_redirect_that_is_not_followed_is_passed_on(services: Services, upstream: Upstream, where: str) -> None:
    upstream.handler = leading(where)
    made = flight(services, await aim(services, upstream.url, follow_redirects=True))
    await fly(made)
    call, attempts = await shown(services, made)
    assert (call["state"], attempts) == ("done", [(302, None, "redirect_refused")])


async def test_a_redirect_without_a_location_is_an_answer(services: Services, upstream: Upstream) -> None:
    upstream.handler = answering(302, b"nowhere")
    made = flight(services, await aim(services, upstream.url, follow_redirects=True))
    assert await fly(made) == b"nowhere"
    assert (await shown(services, made))[1] == [(302, None, None)]


async def test_each_hop_is_checked_against_egress(services: Services, upstream: Upstream) -> None:
    upstream.handler = leading("http://169.254.169.254/latest/meta-data/")
    made = flight(services, await aim(services, upstream.url, follow_redirects=True))
    assert (await failure(made)).code == "egress_denied"
    assert (await shown(services, made))[1] == [(302, None, "redirected"), (None, "egress_denied", None)]
    assert nothing_is_held(services, made)


# --- the breaker -------------------------------------------------------------------------------------------------


async def broken(services: Services, upstream: Upstream) -> None:
    """Twenty failures, so that the breaker of `orders` opens."""
    upstream.handler = DOWN
    target = await aim(services, upstream.url, attempts=1)
    await asyncio.gather(*(fly(flight(services, target)) for _ in range(20)))
    assert services.client.limits_of(target).breaker.state == "open"
    upstream.seen.clear()


async def test_an_open_breaker_refuses_without_asking_the_upstream(services: Services, upstream: Upstream) -> None:
    await broken(services, upstream)
    upstream.handler = OK
    sent = await send(services)
    view = sent.view()
    assert (view["state"], view["reason"], view["attempts"]) == ("failed", "circuit_open", [])
    with pytest.raises(CallFailed) as raised:
        await flight(services, sent.flight.target).depart()
    assert raised.value.status == 503
    assert 25 <= int(dict(raised.value.headers)["Retry-After"]) <= 30
    assert upstream.seen == []


async def test_a_check_insists_and_an_answer_closes_the_breaker(services: Services, upstream: Upstream) -> None:
    await broken(services, upstream)
    ok, detail, _ = await calls.check(services, "orders", origin="api", actor="test")
    assert (ok, "503" in detail, len(upstream.seen)) == (False, True, 1)
    assert (await send(services)).call["reason"] == "circuit_open"
    upstream.handler = OK
    assert (await calls.check(services, "orders", origin="api", actor="test"))[0] is True
    assert (await send(services)).call["status"] == 200


async def test_answers_of_4xx_and_the_caller_s_own_impatience_open_no_breaker(
    services: Services, upstream: Upstream
) -> None:
    upstream.handler = answering(404)
    target = await aim(services, upstream.url, attempts=1)
    await asyncio.gather(*(fly(flight(services, target)) for _ in range(30)))

    async def hang(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(1)
        return web.Response()

    upstream.handler = hang
    made = [flight(services, target, total_seconds=0.05) for _ in range(70)]
    ended = await asyncio.gather(*(fly(one) for one in made), return_exceptions=True)
    assert {one.code for one in ended if isinstance(one, CallFailed)} == {"total_timeout"}
    breaker = services.client.limits_of(target).breaker
    assert (breaker.state, breaker.window.sums()) == ("closed", (30, 0, 30, 0))


async def test_a_probe_that_ran_out_of_the_caller_s_time_closes_nothing(services: Services, upstream: Upstream) -> None:
    await broken(services, upstream)

    async def hang(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.5)
        return web.Response()

    upstream.handler = hang
    target = (await send(services)).flight.target
    probe = flight(services, target, total_seconds=0.05, insists=True)
    assert (await failure(probe)).code == "total_timeout"
    assert services.client.limits_of(target).breaker.state == "open"


async def test_answers_that_break_off_open_the_breaker(services: Services) -> None:
    async with raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf") as upstream:
        target = await aim(services, upstream.url)
        await asyncio.gather(*(fly(flight(services, target)) for _ in range(20)), return_exceptions=True)
        assert services.client.limits_of(target).breaker.state == "open"


# --- storms and bulkheads ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [1.0, 0.5, 0.3], ids=["all", "half", "a third"])
async def test_a_storm_is_not_amplified_by_more_than_a_fifth(
    services: Services, upstream: Upstream, share: float
) -> None:
    served = 0

    async def stormy(request: web.Request) -> web.StreamResponse:
        nonlocal served
        served += 1
        down = int(served * share) > int((served - 1) * share)
        return web.Response(status=503 if down else 200)

    upstream.handler = stormy
    target = await aim(services, upstream.url, attempts=10)
    made = [flight(services, target) for _ in range(200)]
    ended = await asyncio.gather(*(fly(one) for one in made), return_exceptions=True)
    assert len(upstream.seen) <= 1.2 * 200
    sent = sum(len(one.record.attempts) for one in made)
    assert sent == len(upstream.seen)
    opened = services.client.limits_of(target).breaker.state == "open"
    assert opened is (share == 1.0) or share == 0.5
    assert {one.code for one in ended if isinstance(one, CallFailed)} <= {"circuit_open"}
    assert nothing_is_held(services, made[0])


async def test_a_budget_of_retries_that_is_spent_is_told(services: Services, upstream: Upstream) -> None:
    upstream.handler = DOWN
    target = await aim(services, upstream.url)
    breaker = services.client.limits_of(target).breaker
    while breaker.spend_retry() is None:
        pass
    made = flight(services, target)
    await fly(made)
    assert (await shown(services, made))[1] == [(503, None, "budget_spent")]


async def test_a_connection_that_hangs_does_not_slow_another(services: Services, upstream: Upstream) -> None:
    async with raw(then_silence(b"")) as hung:
        stuck = await aim(services, hung.url, name="stuck", concurrency=1)
        target = await aim(services, upstream.url, concurrency=1)
        waiting = [asyncio.create_task(fly(flight(services, stuck))) for _ in range(20)]
        await until_seen(hung.heads)
        began = time.monotonic()
        for _ in range(20):
            await fly(flight(services, target))
        took = time.monotonic() - began
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert took < 2.0
        assert len(hung.heads) == 1
    assert services.client.limits_of(stuck).taken == services.caps.overall.taken == 0


async def test_the_wait_for_a_place_is_bounded_and_told(services: Services, upstream: Upstream) -> None:
    target = await aim(services, upstream.url, concurrency=1)
    limits = services.client.limits[target.id] = Limits(Queue(0.05, 2))
    await limits.take(1)
    made = [flight(services, target) for _ in range(4)]
    ended = await asyncio.gather(*(fly(one) for one in made), return_exceptions=True)
    assert {one.code for one in ended if isinstance(one, CallFailed)} == {"limit_wait"}
    assert upstream.seen == []
    waits = sorted([(await on_record(services, one.id))["waited_seconds"] for one in made])
    assert (waits[1] < 0.04 < waits[2], waits[3] < 1.0) == (True, True)
    limits.give()
