"""Deliveries on the wire, to a real receiver that checks each signature by itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from quart_app import jobs, webhooks
from quart_app.models import Webhook
from quart_app.services import Services, open_services
from quart_app.settings import Settings
from quart_app.webhooks import deliveries, secrecy, sender
from quart_app.webhooks.secrecy import Kept
from quart_app.webhooks.sender import Sender, deliver
from quart_app.webhooks.waits import MOST_TRIES, WAITS_SECONDS
from tests.outbound.upstreams import raw, reset
from tests.upstream import Upstream
from tests.webhooks.receiver import Clock, Forged, add, answering, listed, only, send, tell, told, verified

LONGEST_WAIT_SECONDS = 1.2 * WAITS_SECONDS[-1]


async def test_an_event_is_delivered_once_with_a_signature_that_verifies(
    services: Services, upstream: Upstream
) -> None:
    services.clock = clock = Clock()
    webhook_id, secret = await add(services, f"{upstream.url}/hooks/in?key=1%2F2")
    await tell(services)
    await send(services)
    await send(services)
    (seen,) = upstream.seen
    assert (seen.method, seen.path) == ("POST", "/hooks/in?key=1%2F2")
    row = await only(services, webhook_id)
    assert (row.state, row.ended_at, row.next_at) == ("delivered", clock.now, None)
    assert (seen.header("webhook-id"), seen.header("webhook-timestamp")) == (row.id, str(int(clock.now)))
    assert seen.header("content-type") == "application/json"
    assert seen.header("content-length") == str(len(seen.body))
    assert seen.body.decode() == row.body
    message = verified(seen, secret)
    assert (message["type"], message["data"]["connection"]) == ("connection.needs_sign_in", "orders")
    seen.body = seen.body.replace(b"needs_sign_in", b"recovered")
    with pytest.raises(Forged):
        verified(seen, secret)


async def test_an_error_is_tried_again_after_growing_waits_with_a_new_time_each(
    services: Services, upstream: Upstream
) -> None:
    services.clock = clock = Clock()
    upstream.handler = answering(500, 302, 404, 204)
    webhook_id, secret = await add(services, upstream.url)
    await tell(services)
    for number, wait in enumerate(WAITS_SECONDS[:3]):
        await send(services)
        row = await only(services, webhook_id)
        assert (row.state, len(row.tries)) == ("pending", number + 1)
        assert row.next_at is not None
        assert wait <= row.next_at - clock.now <= 1.2 * wait
        clock.now = row.next_at - 0.01
        await send(services)
        assert len(upstream.seen) == number + 1, "not before its time"
        clock.now = row.next_at
    await send(services)
    row = await only(services, webhook_id)
    assert (row.state, told(row, lambda one: one["status"])) == ("delivered", [500, 302, 404, 204])
    assert {seen.header("webhook-id") for seen in upstream.seen} == {row.id}
    assert len({seen.header("webhook-timestamp") for seen in upstream.seen}) == 4
    assert len({seen.body for seen in upstream.seen}) == 1
    for seen in upstream.seen:
        verified(seen, secret)


async def test_what_nobody_takes_fails_after_its_last_try_with_each_on_record(
    services: Services, capsys: pytest.CaptureFixture[str]
) -> None:
    services.clock = clock = Clock()
    webhook_id, _ = await add(services, "http://127.0.0.1:1/services/key-in-path")
    await tell(services)
    for _ in range(MOST_TRIES + 1):
        await send(services)
        clock.now += LONGEST_WAIT_SECONDS
    row = await only(services, webhook_id)
    assert (row.state, row.next_at) == ("failed", None)
    assert told(row, lambda one: (one["status"], one["reason"])) == [(None, "connect_failed")] * MOST_TRIES
    assert all("refused" in one["detail"] and one["seconds"] < 5 for one in row.tries)
    assert "key-in-path" not in capsys.readouterr().err


async def test_a_receiver_that_does_not_answer_in_time_is_let_go_and_tried_again(
    services: Services, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "TOTAL_SECONDS", 0.2)
    left = asyncio.Event()

    async def silent(_: web.Request) -> web.Response:
        await left.wait()
        return web.Response()

    upstream.handler = silent
    webhook_id, _ = await add(services, upstream.url)
    await tell(services)
    await send(services)
    left.set()
    row = await only(services, webhook_id)
    assert (row.state, row.tries[0]["reason"]) == ("pending", "total_timeout")


@pytest.mark.parametrize(
    ("status", "told_to_wait", "state", "least"), [(410, "", "failed", 0), (503, "7200", "pending", 7200.0)]
)
async def test_a_receiver_may_say_that_it_is_gone_or_when_to_come_again(
    services: Services, upstream: Upstream, status: int, told_to_wait: str, state: str, least: float
) -> None:
    services.clock = clock = Clock()
    upstream.handler = answering(status, **{"Retry-After": told_to_wait} if told_to_wait else {})
    webhook_id, _ = await add(services, upstream.url)
    await tell(services)
    await send(services)
    row = await only(services, webhook_id)
    assert (row.state, (row.next_at or clock.now) - clock.now) == (state, least)


async def test_any_2xx_counts_also_with_a_body_without_end(services: Services, upstream: Upstream) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=202)
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    upstream.handler = endless
    webhook_id, _ = await add(services, upstream.url)
    await tell(services)
    await send(services)
    row = await only(services, webhook_id)
    assert (row.state, row.tries[0]["status"]) == ("delivered", 202)


async def test_a_redirect_is_not_followed(services: Services, upstream: Upstream) -> None:
    upstream.handler = answering(307, Location=f"{upstream.url}/elsewhere")
    webhook_id, _ = await add(services, f"{upstream.url}/hooks")
    await tell(services)
    await send(services)
    assert [seen.path for seen in upstream.seen] == ["/hooks"]
    assert (await only(services, webhook_id)).state == "pending"


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest", "http://metadata.google.internal/x", "http://127.0.0.1:22/"]
)
async def test_an_address_that_may_not_be_reached_is_refused_when_it_is_dialled(services: Services, url: str) -> None:
    """The form refuses it already; what a name resolves to, and what settings allow, may change later."""
    webhook_id, _ = await add(services, "http://127.0.0.1:1/")
    async with services.db.begin() as session:
        row = await session.get_one(Webhook, webhook_id)
        secrecy.keep(services, row, Kept(url, "whsec_c2VjcmV0"))
    await tell(services)
    await send(services)
    assert (await only(services, webhook_id)).tries[0]["reason"] == "egress_denied"


async def test_without_allow_private_nothing_goes_into_the_network(services: Services, upstream: Upstream) -> None:
    webhook_id, _ = await add(services, upstream.url)
    async with services.db.begin() as session:
        (await session.get_one(Webhook, webhook_id)).allow_private = False
    await tell(services)
    await send(services)
    assert (await only(services, webhook_id)).tries[0]["reason"] == "egress_denied"
    assert upstream.seen == []


async def test_the_tries_go_on_after_a_restart(settings: Settings, upstream: Upstream) -> None:
    clock = Clock()
    upstream.handler = answering(500, 200)
    async with open_services(settings) as before:
        before.clock = clock
        webhook_id, secret = await add(before, upstream.url)
        await tell(before)
        await send(before)
    clock.now += 6
    async with open_services(settings) as after:
        after.clock = clock
        await send(after)
        row = await only(after, webhook_id)
    assert (row.state, told(row, lambda one: one["status"])) == ("delivered", [500, 200])
    assert [verified(seen, secret)["type"] for seen in upstream.seen] == ["connection.needs_sign_in"] * 2


async def test_a_stop_in_the_middle_of_a_try_leads_to_another_with_the_same_id(
    settings: Settings, upstream: Upstream
) -> None:
    clock = Clock()
    async with open_services(settings) as before:
        before.clock = clock
        webhook_id, _ = await add(before, upstream.url)
        await tell(before)
        claim = await deliveries.claim(before, webhook_id)
        assert claim is not None
        await sender.post(before, claim)  # and then it was gone
    clock.now += 60
    async with open_services(settings) as after:
        after.clock = clock
        await send(after)
        row = await only(after, webhook_id)
    assert (row.state, told(row, lambda one: one["reason"])) == ("delivered", ["interrupted", None])
    assert [seen.header("webhook-id") for seen in upstream.seen] == [row.id] * 2


async def test_several_processes_on_one_database_send_each_delivery_once(
    settings: Settings, upstream: Upstream
) -> None:
    async with open_services(settings) as one, open_services(settings) as other:
        webhook_id, _ = await add(one, upstream.url)
        for _ in range(20):
            await tell(one)
        await asyncio.gather(*(Sender(services).tick() for services in (one, other, one, other)))
        await one.finish()
        await other.finish()
        rows = await listed(one, webhook_id)
    assert {row.state for row in rows} == {"delivered"}
    assert sorted(seen.header("webhook-id") or "" for seen in upstream.seen) == sorted(row.id for row in rows)


async def test_a_slow_receiver_holds_up_nobody_elses(services: Services, upstream: Upstream) -> None:
    release = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        if request.path == "/slow":
            await release.wait()
        return web.Response()

    upstream.handler = slow
    slow_id, _ = await add(services, f"{upstream.url}/slow")
    quick_id, _ = await add(services, f"{upstream.url}/quick")
    working = Sender(services)
    await tell(services)
    await tell(services)
    await working.tick()
    async with asyncio.timeout(10):
        while working.busy != {slow_id}:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    assert {row.state for row in await listed(services, quick_id)} == {"delivered"}
    await working.tick()
    assert [seen.path for seen in upstream.seen].count("/slow") == 1, "one of a webhook at a time"
    release.set()
    await services.finish()
    assert {row.state for row in await listed(services, slow_id)} == {"delivered"}
    assert working.busy == set()


async def test_events_arrive_in_the_order_in_which_they_happened(services: Services, upstream: Upstream) -> None:
    await add(services, upstream.url)
    for event in ("needs_sign_in", "recovered", "needs_sign_in"):
        await tell(services, event)
    await send(services)
    assert [b"recovered" in seen.body for seen in upstream.seen] == [False, True, False]


async def test_nothing_more_is_begun_while_the_app_stops(services: Services, upstream: Upstream) -> None:
    webhook_id, _ = await add(services, upstream.url)
    await tell(services)
    services.drain()
    await send(services)
    assert ((await only(services, webhook_id)).state, upstream.seen) == ("pending", [])


async def test_removing_a_webhook_cancels_what_waits(services: Services, upstream: Upstream) -> None:
    services.clock = clock = Clock()
    upstream.handler = answering(500)
    webhook_id, _ = await add(services, upstream.url)
    await tell(services)
    await send(services)
    await webhooks.delete(services, webhook_id)
    clock.now += LONGEST_WAIT_SECONDS
    await send(services)
    assert len(upstream.seen) == 1
    assert await listed(services, webhook_id) == []


async def test_a_webhook_removed_while_it_is_told_ends_without_a_trace(services: Services, upstream: Upstream) -> None:
    webhook_id, _ = await add(services, upstream.url)

    async def removing(_: web.Request) -> web.Response:
        await webhooks.delete(services, webhook_id)
        return web.Response()

    upstream.handler = removing
    await tell(services)
    assert await deliver(services, webhook_id)
    assert not await deliver(services, webhook_id)
    assert await listed(services, webhook_id) == []


async def test_after_a_renewal_both_secrets_verify_for_a_day_and_then_the_new_one_only(
    services: Services, upstream: Upstream
) -> None:
    services.clock = clock = Clock()
    webhook_id, old = await add(services, upstream.url)
    new = await webhooks.renew_secret(services, webhook_id)
    await tell(services)
    await send(services)
    clock.now += 86400
    await tell(services)
    await send(services)
    soon, later = upstream.seen
    assert verified(soon, old) == verified(soon, new)
    assert verified(later, new)
    with pytest.raises(Forged):
        verified(later, old)


async def test_an_answer_that_is_cut_off_is_tried_again(services: Services) -> None:
    async def cut(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reset(writer)

    async with raw(cut) as receiver:
        webhook_id, _ = await add(services, receiver.url)
        await tell(services)
        await send(services)
    row = await only(services, webhook_id)
    assert (row.state, row.tries[0]["reason"]) == ("pending", "reset")


async def test_pages_hear_of_each_outcome(services: Services, upstream: Upstream) -> None:
    webhook_id, _ = await add(services, upstream.url)
    await tell(services)
    async with hearing(services) as heard:
        await send(services)
        async with asyncio.timeout(5):
            event = await anext(heard)
    row = await only(services, webhook_id)
    assert event == ("delivery", {"webhook": webhook_id, "id": row.id, "state": "delivered"})


@asynccontextmanager
async def hearing(services: Services) -> AsyncIterator[AsyncIterator[object]]:
    with services.events.listening() as events:
        yield events


async def test_the_loops_send_by_themselves(services: Services, upstream: Upstream) -> None:
    arrived = asyncio.Event()

    async def note(_: web.Request) -> web.Response:
        arrived.set()
        return web.Response()

    upstream.handler = note
    await add(services, upstream.url)
    async with jobs.running(services), asyncio.timeout(20):
        await tell(services)
        await arrived.wait()
