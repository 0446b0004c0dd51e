"""A call in flight, with real upstreams and both databases: its states, its record, and what it gives back."""

import asyncio
import base64
import dataclasses
import gzip
import hashlib
import sys
import zlib
from collections.abc import AsyncIterator
from typing import Any

import brotli
import pytest
from aiohttp import web
from sqlalchemy import text

from quart_app import calls, connections, history
from quart_app.errors import AppError, CallFailed
from quart_app.forms.calls import CallForm
from quart_app.models import Body, Call
from quart_app.outbound.limits import Limits, Queue
from quart_app.outbound.redaction.marks import MARK, MARKED
from quart_app.services import Services
from tests.flights import aim, answering, flight, fly, on_record, state_of, until_seen, until_state
from tests.outbound.upstreams import OK, WHOLE, raw, then_silence
from tests.served import free_port
from tests.tokens.kept import later
from tests.upstream import Upstream

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SECRET = "swordfish-0123456789"
BEARER = {"scheme": "bearer", "token": SECRET}


# --- states ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PURGE"])
async def test_an_unsafe_call_is_on_record_as_sending_before_the_upstream_sees_it(
    services: Services, upstream: Upstream, method: str
) -> None:
    made = flight(services, await aim(services, upstream.url), method, body=b"hello")
    seen: list[dict[str, Any]] = []

    async def look(request: web.Request) -> web.StreamResponse:
        seen.append(await on_record(services, made.id))
        return web.json_response({})

    upstream.handler = look
    await fly(made)
    assert (seen[0]["state"], seen[0]["request"]["body"]["text"], seen[0]["response"]) == ("sending", "hello", None)
    assert await state_of(services, made.id) == "done"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_a_safe_call_is_on_record_when_it_ends(services: Services, upstream: Upstream, method: str) -> None:
    made = flight(services, await aim(services, upstream.url), method)
    seen: list[str | None] = []

    async def look(request: web.Request) -> web.StreamResponse:
        seen.append(await state_of(services, made.id))
        return web.json_response({})

    upstream.handler = look
    await fly(made)
    assert seen == [None]
    assert await state_of(services, made.id) == "done"


@pytest.mark.parametrize("status", [200, 302, 404, 429, 500, 503])
async def test_an_answer_of_any_status_is_done(services: Services, upstream: Upstream, status: int) -> None:
    upstream.handler = answering(status, b"x")
    made = flight(services, await aim(services, upstream.url))
    await fly(made)
    shown = await on_record(services, made.id)
    assert (shown["state"], shown["status"], shown["reason"], shown["detail"]) == ("done", status, None, None)
    tried = {429: 3, 503: 3}.get(status, 1)
    assert [attempt["status"] for attempt in shown["attempts"]] == [status] * tried


async def test_the_record_on_disk_is_the_record_in_memory(services: Services, upstream: Upstream) -> None:
    made = flight(services, await aim(services, upstream.url, BEARER), "POST", "/x", query="a=1", body=b"hello")
    await fly(made)
    assert await on_record(services, made.id) == history.view_record(made.record)
    shown = await on_record(services, made.id)
    (attempt,) = shown["attempts"]
    assert shown["url"] == f"{upstream.url}/x?a=1"
    assert 0 < attempt["duration_seconds"] <= shown["duration_seconds"]
    assert attempt["remote_address"] == "127.0.0.1"
    assert attempt["timings"]["connect"] is not None
    assert attempt["timings"]["transfer"] is not None


async def test_a_call_that_cannot_connect_is_failed_with_its_reason(services: Services) -> None:
    made = flight(services, await aim(services, f"http://127.0.0.1:{free_port()}"), "POST", body=b"x")
    with pytest.raises(CallFailed) as raised:
        await made.depart()
    assert (raised.value.code, raised.value.status) == ("connect_failed", 502)
    assert ("X-Switchboard-Call", made.id) in raised.value.headers
    shown = await on_record(services, made.id)
    assert (shown["state"], shown["reason"], shown["status"], shown["response"]) == (
        "failed",
        "connect_failed",
        None,
        None,
    )
    assert [(attempt["status"], attempt["reason"]) for attempt in shown["attempts"]] == [(None, "connect_failed")]
    assert services.client.limits_of(made.target).taken == 0


async def test_an_answer_that_breaks_off_is_failed_and_what_came_of_it_is_kept_as_truncated(services: Services) -> None:
    async with raw(OK + b"Content-Type: text/plain\r\nContent-Length: 100\r\n\r\nhalf of it") as upstream:
        made = flight(services, await aim(services, upstream.url))
        with pytest.raises(CallFailed, match="middle of its answer"):
            await fly(made)
    shown = await on_record(services, made.id)
    assert (shown["state"], shown["reason"], shown["status"]) == ("failed", "reset", 200)
    body = shown["response"]["body"]
    assert (body["size"], body["text"], body["truncated"]) == (10, "half of it", True)
    assert services.client.limits_of(made.target).taken == 0


async def test_a_paused_connection_takes_no_call_and_leaves_no_record(services: Services, upstream: Upstream) -> None:
    await aim(services, upstream.url)
    await connections.update(services, "orders", {"state": "paused"})
    made = flight(services, await connections.load(services, "orders"), "POST", body=b"x")
    with pytest.raises(AppError) as raised:
        await made.depart()
    made.abandon()
    assert (raised.value.status, raised.value.code) == (409, "connection_paused")
    assert await state_of(services, made.id) is None
    assert upstream.seen == []


async def test_a_call_ends_once(services: Services, upstream: Upstream) -> None:
    made = flight(services, await aim(services, upstream.url))
    await fly(made)
    made.abandon()
    await made.fail("reset", "too late")
    assert await made.land()
    assert services.client.limits_of(made.target).taken == 0
    assert (await on_record(services, made.id))["state"] == "done"
    assert len((await on_record(services, made.id))["attempts"]) == 1


async def test_waiting_too_long_for_a_place_is_a_failed_call_without_an_attempt(
    services: Services, upstream: Upstream
) -> None:
    target = await aim(services, upstream.url, concurrency=1)
    slots = services.client.limits[target.id] = Limits(Queue(0.02))
    await slots.take(1)
    made = flight(services, target, "POST", body=b"x")
    with pytest.raises(CallFailed) as raised:
        await made.depart()
    assert raised.value.code == "limit_wait"
    shown = await on_record(services, made.id)
    assert (shown["state"], shown["reason"], shown["attempts"]) == ("failed", "limit_wait", [])
    assert (slots.taken, upstream.seen) == (1, [])


async def test_the_wait_for_a_place_is_told_with_the_attempt(services: Services, upstream: Upstream) -> None:
    target = await aim(services, upstream.url, concurrency=1)
    slots = services.client.limits_of(target)
    await slots.take(1)
    made = flight(services, target)
    task = asyncio.create_task(fly(made))
    await asyncio.sleep(0.05)
    slots.give()
    await task
    (attempt,) = (await on_record(services, made.id))["attempts"]
    assert attempt["waited_seconds"] >= 0.02
    assert slots.taken == 0


async def test_no_more_calls_are_in_flight_than_the_policy_says(services: Services, upstream: Upstream) -> None:
    target = await aim(services, upstream.url, concurrency=3)
    at_once = most = 0

    async def count(request: web.Request) -> web.StreamResponse:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.01)
        at_once -= 1
        return web.Response()

    upstream.handler = count
    await asyncio.gather(*(fly(flight(services, target)) for _ in range(12)))
    assert (most, services.client.limits_of(target).taken) == (3, 0)


async def test_an_answer_that_is_too_large_for_a_buffered_call_fails_it(services: Services, upstream: Upstream) -> None:
    services.settings = dataclasses.replace(services.settings, answer_bytes=1000)
    upstream.handler = answering(200, b"x" * 100_000)
    target = await aim(services, upstream.url)
    sent = await calls.send(services, CallForm(connection="orders"), origin="api", actor="test")
    assert (sent.call["state"], sent.call["reason"]) == ("failed", "too_large")
    shown = sent.view()
    assert shown == await on_record(services, sent.call["id"])
    assert shown["response"]["body"]["truncated"] is True
    assert services.client.limits_of(target).taken == 0


async def test_an_unsafe_call_that_cannot_be_put_on_record_is_not_sent(services: Services, upstream: Upstream) -> None:
    target = await aim(services, upstream.url)
    async with services.db.begin() as session:
        await session.execute(text("ALTER TABLE calls RENAME TO calls_away"))
    made, safe = flight(services, target, "POST", body=b"x"), flight(services, target)
    with pytest.raises(AppError) as raised:
        await made.depart()
    assert (raised.value.status, raised.value.code) == (503, "storage_unavailable")
    assert upstream.seen == []
    await safe.depart()
    assert await safe.land() is False
    assert len(upstream.seen) == 1
    async with services.db.begin() as session:
        await session.execute(text("ALTER TABLE calls_away RENAME TO calls"))
    assert (await until_state(services, made.id, "cancelled"))["detail"].startswith("It was not sent")
    assert await until_state(services, safe.id, "done")
    assert services.client.limits_of(target).taken == 0


# --- a caller that goes away -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_caller_that_goes_while_the_upstream_thinks_leaves_a_cancelled_record(
    services: Services, method: str
) -> None:
    async with raw(then_silence(b"")) as upstream:
        made = flight(services, await aim(services, upstream.url), method)
        task = asyncio.create_task(made.depart())
        await until_seen(upstream.heads)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert services.client.limits_of(made.target).taken == 0
        async with asyncio.timeout(1):
            await asyncio.wait(upstream.tasks)
    shown = await until_state(services, made.id, "cancelled")
    assert (shown["reason"], shown["detail"], shown["response"]) == (None, "The caller went away.", None)
    assert [attempt["reason"] for attempt in shown["attempts"]] == ["cancelled"]


async def test_a_caller_that_goes_in_the_middle_of_an_answer_leaves_what_came_of_it(services: Services) -> None:
    async with raw(then_silence(OK + b"Content-Length: 100\r\n\r\nhalf")) as upstream:
        made = flight(services, await aim(services, upstream.url))
        await made.depart()
        assert await made.read() == b"half"
        task = asyncio.create_task(made.read())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        made.abandon()
        assert services.client.limits_of(made.target).taken == 0
        async with asyncio.timeout(1):
            await asyncio.wait(upstream.tasks)
    shown = await until_state(services, made.id, "cancelled")
    assert (shown["status"], shown["response"]["body"]["size"]) == (200, 4)
    assert shown["response"]["body"]["truncated"] is True


async def test_a_caller_that_goes_while_it_waits_for_a_place_takes_none(services: Services, upstream: Upstream) -> None:
    target = await aim(services, upstream.url, concurrency=1)
    slots = services.client.limits_of(target)
    await slots.take(1)
    made = flight(services, target)
    task = asyncio.create_task(made.depart())
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    shown = await until_state(services, made.id, "cancelled")
    assert (shown["attempts"], upstream.seen, slots.taken) == ([], [], 1)
    slots.give()
    assert await fly(flight(services, target))


# --- tokens ------------------------------------------------------------------------------------------------------


class Provider:
    """A token endpoint and an API on one upstream: `at-<n>` for the n-th request; the API takes those in `good`."""

    def __init__(self, upstream: Upstream, good: set[str]) -> None:
        self.good = good
        self.issued = 0
        self.refuses = False
        self.calls: list[str] = []
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
            if self.refuses:
                return web.json_response({"error": "temporarily_unavailable"}, status=503)
            self.issued += 1
            return web.json_response({"access_token": f"at-{self.issued}-0123456789", "expires_in": 3600})
        token = request.headers["Authorization"].removeprefix("Bearer ")
        self.calls.append(token[:4])
        return web.Response(status=200 if token[:4] in self.good else 401, text=f"you sent {token}")


@pytest.mark.parametrize("body", [None, b"", b"hello"])
async def test_a_401_is_repeated_once_with_a_new_token(
    services: Services, upstream: Upstream, body: bytes | None
) -> None:
    provider = Provider(upstream, good={"at-2"})
    made = flight(services, await aim(services, upstream.url, provider.auth), "POST" if body else "GET", body=body)
    assert await fly(made) == b"you sent at-2-0123456789"
    assert (provider.calls, provider.issued) == (["at-1", "at-2"], 2)
    shown = await on_record(services, made.id)
    assert (shown["state"], shown["status"]) == ("done", 200)
    first, second = shown["attempts"]
    assert (first["status"], first["reason"], first["token_generation"]) == (401, "unauthorized", 1)
    assert (second["status"], second["reason"], second["token_generation"]) == (200, None, 2)
    assert first["started_at"] < second["started_at"]
    assert second["waited_seconds"] > 0
    told = services.vault.fingerprint("at-2-0123456789")
    assert shown["response"]["body"]["text"] == f"you sent [redacted:access_token:{told}]"
    assert [seen.body for seen in upstream.seen if seen.path != "/token"] == [body or b""] * 2
    assert services.client.limits_of(made.target).taken == 0


@pytest.mark.parametrize(("over", "calls"), [(1, 3), (2, 4), (9, 4)])
async def test_a_401_to_a_token_that_expired_on_its_way_is_repeated_with_another_new_one(
    services: Services, upstream: Upstream, over: int, calls: int
) -> None:
    """Where that goes on, only so often."""
    provider = Provider(upstream, good={f"at-{over + 2}"})

    async def slow(request: web.Request) -> web.StreamResponse:
        answer = await provider.answer(request)
        if request.path != "/token" and 1 < len(provider.calls) <= over + 1:
            later(services, 3601.0 * len(provider.calls))
        return answer

    upstream.handler = slow
    made = flight(services, await aim(services, upstream.url, provider.auth))
    await fly(made)
    assert len(provider.calls) == provider.issued == calls
    shown = await on_record(services, made.id)
    assert shown["status"] == (200 if over < 3 else 401)
    assert [attempt["token_generation"] for attempt in shown["attempts"]] == list(range(1, calls + 1))


async def test_an_api_that_always_says_401_is_asked_twice_and_its_401_passed_on(
    services: Services, upstream: Upstream
) -> None:
    provider = Provider(upstream, good=set())
    made = flight(services, await aim(services, upstream.url, provider.auth))
    assert await fly(made) == b"you sent at-2-0123456789"
    assert (provider.calls, provider.issued) == (["at-1", "at-2"], 2)
    shown = await on_record(services, made.id)
    assert (shown["state"], shown["status"]) == ("done", 401)
    assert [attempt["status"] for attempt in shown["attempts"]] == [401, 401]


async def test_the_connection_of_a_401_is_let_go_of_before_the_call_is_repeated(services: Services) -> None:
    gone, issued = asyncio.Event(), 0

    async def reply(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal issued
        if head.startswith(b"POST /token"):
            issued += 1
            content = b'{"access_token": "at-%d"}' % issued
            writer.write(OK + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(content) + content)
        elif b"at-1" in head:
            writer.write(b"HTTP/1.1 401 No\r\nContent-Length: 100\r\n\r\nhalf")
            await reader.read()
            gone.set()
        else:
            await gone.wait()
            writer.write(WHOLE)
        writer.close()

    async with raw(reply) as upstream, asyncio.timeout(5):
        auth = {
            "scheme": "oauth2",
            "grant": "client_credentials",
            "token_url": f"{upstream.url}/token",
            "client_id": "m",
        }
        assert await fly(flight(services, await aim(services, upstream.url, auth))) == b"hi"


async def test_the_time_of_a_refresh_is_no_time_of_the_attempt_before_it(
    services: Services, upstream: Upstream
) -> None:
    provider = Provider(upstream, good={"at-2"})

    async def slow_second_token(request: web.Request) -> web.StreamResponse:
        if request.path == "/token" and provider.issued == 1:
            await asyncio.sleep(0.3)
        return await provider.answer(request)

    upstream.handler = slow_second_token
    made = flight(services, await aim(services, upstream.url, provider.auth))
    await fly(made)
    first, second = (await on_record(services, made.id))["attempts"]
    assert first["duration_seconds"] < 0.25
    assert second["waited_seconds"] >= 0.28
    assert second["duration_seconds"] < 0.25


async def test_a_401_whose_refresh_fails_is_passed_on_whole(services: Services, upstream: Upstream) -> None:
    provider = Provider(upstream, good=set())
    made = flight(services, await aim(services, upstream.url, provider.auth))

    async def no_second_token(request: web.Request) -> web.StreamResponse:
        provider.refuses = provider.issued == 1
        return await provider.answer(request)

    upstream.handler = no_second_token
    assert await fly(made) == b"you sent at-1-0123456789"
    shown = await on_record(services, made.id)
    assert (shown["state"], shown["status"], len(shown["attempts"])) == ("done", 401, 1)


async def test_a_401_is_not_repeated_when_the_body_cannot_be_sent_again(services: Services, upstream: Upstream) -> None:
    provider = Provider(upstream, good={"at-2"})

    async def pieces() -> AsyncIterator[bytes]:
        yield b"once"

    made = flight(services, await aim(services, upstream.url, provider.auth), "POST", body=pieces())
    assert await fly(made) == b"you sent at-1-0123456789"
    shown = await on_record(services, made.id)
    assert (shown["status"], provider.calls) == (401, ["at-1"])
    assert shown["request"]["body"]["text"] == "once"


async def test_a_401_without_oauth_is_an_answer_like_any_other(services: Services, upstream: Upstream) -> None:
    upstream.handler = answering(401, b"no")
    assert await fly(flight(services, await aim(services, upstream.url, BEARER))) == b"no"
    assert len(upstream.seen) == 1


async def test_without_a_token_nothing_is_sent_and_the_call_is_failed(services: Services, upstream: Upstream) -> None:
    provider = Provider(upstream, good=set())
    provider.refuses = True
    made = flight(services, await aim(services, upstream.url, provider.auth), "POST", body=b"x")
    with pytest.raises(CallFailed) as raised:
        await made.depart()
    assert (raised.value.code, provider.calls) == ("token_unavailable", [])
    shown = await on_record(services, made.id)
    assert (shown["state"], shown["reason"], shown["attempts"]) == ("failed", "token_unavailable", [])
    assert services.client.limits_of(made.target).taken == 0


# --- what is kept ------------------------------------------------------------------------------------------------

ECHO = f'{{"token": "{SECRET}", "again": "{base64.b64encode(SECRET.encode()).decode()}"}}'.encode()


def shows_no_secret(shown: dict[str, Any]) -> bool:
    return not any(form in str(shown) for form in (SECRET, base64.b64encode(SECRET.encode()).decode()[:24]))


def raw_deflate(content: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-15)
    return machine.compress(content) + machine.flush()


@pytest.mark.parametrize(
    ("coding", "content"),
    [
        ("identity", ECHO),
        ("gzip", gzip.compress(ECHO)),
        ("deflate", zlib.compress(ECHO)),
        ("deflate", raw_deflate(ECHO)),
        ("gzip", gzip.compress(ECHO[:20]) + gzip.compress(ECHO[20:])),
        ("br", brotli.compress(ECHO)),
        ("zstd", zstd.compress(ECHO)),
        ("gzip, br", brotli.compress(gzip.compress(ECHO))),
    ],
    ids=["identity", "gzip", "deflate", "raw deflate", "two members", "br", "zstd", "a list"],
)
async def test_a_coded_answer_is_passed_on_as_it_is_and_recorded_in_clear_without_secrets(
    services: Services, upstream: Upstream, coding: str, content: bytes
) -> None:
    upstream.handler = answering(200, content, Content_Encoding=coding, Content_Type="application/json")
    made = flight(services, await aim(services, upstream.url, BEARER))
    assert await fly(made) == content
    shown = await on_record(services, made.id)
    body = shown["response"]["body"]
    told = services.vault.fingerprint(SECRET)
    assert body["json"] == {"token": f"[redacted:token:{told}]", "again": f"[redacted:token.base64:{told}]"}
    assert (body["size"], body["truncated"]) == (len(content), False)
    assert body["sha256"] == hashlib.sha256(content).hexdigest()
    assert shows_no_secret(shown)


@pytest.mark.parametrize("coding", ["compress", "zstd", "gzip, gzip"])
async def test_an_answer_in_an_unknown_coding_is_passed_on_and_not_kept(
    services: Services, upstream: Upstream, coding: str
) -> None:
    upstream.handler = answering(200, ECHO, Content_Encoding=coding)
    made = flight(services, await aim(services, upstream.url, BEARER))
    assert await fly(made) == ECHO
    shown = await on_record(services, made.id)
    body = shown["response"]["body"]
    assert (body["size"], body["truncated"], body.get("text"), body.get("base64")) == (len(ECHO), True, None, None)
    assert body["sha256"] == hashlib.sha256(ECHO).hexdigest()
    sent = await calls.send(services, CallForm(connection="orders"), origin="api", actor="test")
    assert sent.view()["response"]["body"]["truncated"] is True


async def test_no_secret_of_the_connection_is_on_record_wherever_it_stood(
    services: Services, upstream: Upstream
) -> None:
    upstream.handler = answering(200, ECHO, X_Echo=f"Bearer {SECRET}", Set_Cookie="sid=1")
    made = flight(
        services,
        await aim(services, upstream.url, BEARER),
        "POST",
        f"/{SECRET}",
        query=f"q={SECRET}&access_token=theirs",
        headers=[(b"x-mine", SECRET.encode()), (b"x-api-key", b"theirs")],
        body=ECHO,
    )
    await fly(made)
    shown = await on_record(services, made.id)
    assert shows_no_secret(shown)
    own, theirs = (services.vault.fingerprint(secret) for secret in (SECRET, "theirs"))
    mark = f"[redacted:token:{own}]"
    assert shown["url"] == f"{upstream.url}/{mark}?q={mark}&access_token=[redacted:caller:{theirs}]"
    caller = ["x-api-key", f"[redacted:caller:{theirs}]"]
    assert shown["request"]["headers"] == [["x-mine", mark], caller, ["authorization", f"Bearer {mark}"]]
    assert ["X-Echo", f"Bearer {mark}"] in shown["response"]["headers"]
    (cookie,) = (value for name, value in shown["response"]["headers"] if name == "Set-Cookie")
    assert MARKED.fullmatch(cookie)
    async with services.db.session() as session:
        row = await session.get(Call, made.id)
    assert row is not None
    assert row.request_exact is False


async def test_the_key_in_the_query_is_shown_as_a_mark(services: Services, upstream: Upstream) -> None:
    auth = {"scheme": "api_key", "in": "query", "name": "k", "value": SECRET}
    made = flight(services, await aim(services, upstream.url, auth), path="/x", query="a=1")
    await fly(made)
    assert upstream.seen[0].path == f"/x?a=1&k={SECRET}"
    told = f"[redacted:value:{services.vault.fingerprint(SECRET)}]"
    assert (await on_record(services, made.id))["url"] == f"{upstream.url}/x?a=1&k={told}"


async def test_bodies_are_kept_up_to_the_cap_and_measured_whole(services: Services, upstream: Upstream) -> None:
    content = b"abcdefghij" * 10_000
    upstream.handler = answering(200, content, Content_Type="text/plain")
    made = flight(services, await aim(services, upstream.url, record_bytes=15), "POST", body=content)
    assert await fly(made) == content
    shown = await on_record(services, made.id)
    for side in ("request", "response"):
        body = shown[side]["body"]
        assert (body["size"], body["text"], body["truncated"]) == (100_000, "abcdefghijabcde", True)
    assert shown["response"]["body"]["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("coding", ["identity", "gzip"])
async def test_a_secret_cut_by_the_cap_is_not_kept_in_part(services: Services, upstream: Upstream, coding: str) -> None:
    content = b"." * 1000 + SECRET.encode()
    coded = gzip.compress(content) if coding == "gzip" else content
    upstream.handler = answering(200, coded, Content_Encoding=coding, Content_Type="text/plain")
    made = flight(services, await aim(services, upstream.url, BEARER, record_bytes=1012), "POST", body=content)
    await fly(made)
    shown = await on_record(services, made.id)
    for side in ("request", "response"):
        assert MARKED.sub(MARK, shown[side]["body"]["text"]) == "." * 1000 + MARK
        assert shown[side]["body"]["truncated"] is True


async def test_a_buffered_call_shows_its_answer_whole_where_the_record_holds_less(
    services: Services, upstream: Upstream
) -> None:
    content = b'{"list": [' + b"1, " * 5_000 + b"1]}"
    upstream.handler = answering(200, content, Content_Type="application/json")
    await aim(services, upstream.url, record_bytes=100)
    sent = await calls.send(services, CallForm(connection="orders"), origin="api", actor="test")
    body = sent.view()["response"]["body"]
    assert (body["json"]["list"], body["truncated"]) == ([1] * 5_001, False)
    assert "text" not in body
    kept = (await on_record(services, sent.call["id"]))["response"]["body"]
    assert (kept["text"], kept["truncated"]) == (content[:100].decode(), True)


async def test_a_bomb_is_not_shown_as_whole(services: Services, upstream: Upstream) -> None:
    services.settings = dataclasses.replace(services.settings, answer_bytes=100_000)
    upstream.handler = answering(200, gzip.compress(b"0" * 10_000_000), Content_Encoding="gzip")
    await aim(services, upstream.url)
    sent = await calls.send(services, CallForm(connection="orders"), origin="api", actor="test")
    body = sent.view()["response"]["body"]
    assert (sent.call["state"], len(body["text"]), body["truncated"]) == ("done", 100_000, True)


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304), ("DELETE", 204), ("HEAD", 404)]
)
async def test_an_answer_that_has_no_body_has_none_on_record(
    services: Services, upstream: Upstream, method: str, status: int
) -> None:
    upstream.handler = answering(status, ETag='"1"')
    made = flight(services, await aim(services, upstream.url), method)
    assert await fly(made) == b""
    shown = await on_record(services, made.id)
    assert shown["status"] == status
    assert shown["request"]["body"] is None
    assert shown["response"]["body"] is None
    assert ["ETag", '"1"'] in shown["response"]["headers"]


async def test_an_empty_body_is_a_body(services: Services, upstream: Upstream) -> None:
    upstream.handler = answering(200, b"")
    made = flight(services, await aim(services, upstream.url), "POST", body=b"")
    await fly(made)
    shown = await on_record(services, made.id)
    for side in ("request", "response"):
        assert (shown[side]["body"]["size"], shown[side]["body"]["truncated"]) == (0, False)


async def test_no_body_is_kept_where_the_policy_says_so(services: Services, upstream: Upstream) -> None:
    made = flight(services, await aim(services, upstream.url, record_bodies=False), "POST", body=b"hello")
    assert await fly(made) == b'{"hello": "world"}'
    shown = await on_record(services, made.id)
    for side, size in (("request", 5), ("response", 18)):
        body = shown[side]["body"]
        assert (body["size"], body["truncated"]) == (size, True)
        assert not {"json", "text", "base64"} & set(body)
    async with services.db.session() as session:
        assert await session.get(Body, hashlib.sha256(b"hello").hexdigest()) is None


async def test_a_streamed_body_is_sent_as_it_comes_and_copied(services: Services, upstream: Upstream) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"piece %d;" % number

    headers = [(b"content-type", b"Text/Plain; charset=utf-8")]
    made = flight(services, await aim(services, upstream.url), "POST", body=pieces(), headers=headers)
    await fly(made)
    assert upstream.seen[0].body == b"piece 0;piece 1;piece 2;"
    body = (await on_record(services, made.id))["request"]["body"]
    assert body == {"size": 24, "media_type": "text/plain", "truncated": False, "text": "piece 0;piece 1;piece 2;"}
