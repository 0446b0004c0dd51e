"""Webhooks as use cases: who is told of what, within whose transaction; limits, audit, nothing secret in clear."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError
from sqlalchemy import select, text

from quart_app import connections, tokens, webhooks
from quart_app.errors import AppError, CallFailed, NotFound
from quart_app.forms.connections import ConnectionForm
from quart_app.forms.webhooks import WebhookForm
from quart_app.models import AuditEntry, Delivery, Webhook
from quart_app.services import Services, open_services
from quart_app.settings import Settings
from quart_app.webhooks import MOST_WEBHOOKS
from tests.upstream import Upstream
from tests.webhooks.receiver import add, answering, listed, only, send, tell, verified

URL = "https://hooks.example.com/services/T0/key-in-path?key=in-query"


async def entries(services: Services) -> list[tuple[str, str, str]]:
    async with services.db.session() as session:
        rows = await session.scalars(select(AuditEntry).order_by(AuditEntry.number))
        return [(row.action, row.subject, row.detail) for row in rows]


async def test_only_webhooks_that_listen_to_an_event_get_it(services: Services) -> None:
    every, _ = await add(services, URL)
    one, _ = await add(services, URL, events=["recovered"])
    await tell(services, "needs_sign_in")
    await tell(services, "recovered")
    assert [row.event for row in await listed(services, every)] == ["recovered", "needs_sign_in"]
    assert [row.event for row in await listed(services, one)] == ["recovered"]
    row = await only(services, one)
    assert (row.connection, row.state, row.tries) == ("orders", "pending", [])
    assert json.loads(row.body)["data"]["reason"] == "invalid_grant"


async def test_an_event_is_told_if_and_only_if_its_transaction_commits(services: Services) -> None:
    webhook_id, _ = await add(services, URL)

    async def fail() -> None:
        async with services.db.begin() as session:
            await webhooks.enqueue(session, services, "recovered", "orders", {})
            await session.flush()
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert await listed(services, webhook_id) == []


async def test_without_a_webhook_nothing_is_written(services: Services) -> None:
    await tell(services)
    async with services.db.session() as session:
        assert await session.scalar(select(Delivery.id)) is None


async def test_removing_a_webhook_meanwhile_never_breaks_the_transaction_that_tells_it(settings: Settings) -> None:
    """It may be the one that keeps a rotated token."""
    async with open_services(settings) as one, open_services(settings) as other:
        webhook_id, _ = await add(one, URL)
        removed: asyncio.Task[None] | None = None
        async with one.db.begin() as session:
            await webhooks.enqueue(session, one, "recovered", "orders", {})
            removed = asyncio.create_task(webhooks.delete(other, webhook_id))
            await asyncio.sleep(0.2)
            assert not removed.done()
        await removed
        assert await listed(one, webhook_id) == []


async def test_at_most_so_many_webhooks_however_many_are_added_at_once(services: Services) -> None:
    for _ in range(MOST_WEBHOOKS - 1):
        await add(services, URL)
    outcomes = await asyncio.gather(*(add(services, URL) for _ in range(3)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, AppError)]
    assert [(error.status, error.code) for error in refused] == [(409, "too_many_webhooks")] * 2
    async with services.db.session() as session:
        assert len(await webhooks.page(session, limit=100)) == MOST_WEBHOOKS


async def test_the_url_and_the_secrets_are_in_the_database_only_sealed(settings: Settings) -> None:
    async with open_services(settings) as services:
        webhook_id, secret = await add(services, URL)
        secrets = ["key-in-path", "in-query", secret, await webhooks.renew_secret(services, webhook_id)]
        await webhooks.update(services, webhook_id, {"url": URL.replace("in-query", "another-query")})
        await tell(services)
        await webhooks.send_test(services, webhook_id)
        secrets.append("another-query")
        content = await everything(services)
    for one in secrets:
        assert one.removeprefix("whsec_").encode() not in content


async def everything(services: Services) -> bytes:
    """Every cell of the tables that webhooks touch; on SQLite the files as well."""
    found = b""
    async with services.db.session() as session:
        for table in ("webhooks", "deliveries", "audit_entries"):
            for row in await session.execute(text(f"SELECT * FROM {table}")):
                found += b"\n".join(bytes(cell) if isinstance(cell, bytes) else str(cell).encode() for cell in row)
    assert b"hooks.example.com" in found
    folder: Path = services.settings.data
    return found + b"".join(path.read_bytes() for path in folder.glob("switchboard.db*"))


async def test_a_change_keeps_what_it_does_not_name(services: Services) -> None:
    webhook_id, _ = await add(services, URL, allow_private=False)
    row = await webhooks.update(services, webhook_id, {"events": ["recovered"]})
    assert (row.url, row.events, row.allow_private) == ("https://hooks.example.com/services/…", ["recovered"], False)
    shown = webhooks.view(services, row)
    row = await webhooks.update(services, webhook_id, {"url": shown["url"], "events": None})
    assert webhooks.secrecy.kept(services, row).url == URL
    assert webhooks.view(services, row) == shown


async def test_a_change_is_checked_as_a_whole(services: Services) -> None:
    webhook_id, _ = await add(services, "http://127.0.0.1:9/")
    metadata = "http://169.254.169.254/"
    changes: list[dict[str, Any]] = [{"allow_private": False}, {"url": "ftp://x"}, {"events": []}, {"url": metadata}]
    for change in changes:
        with pytest.raises(ValidationError):
            await webhooks.update(services, webhook_id, change)
    async with services.db.session() as session:
        row = await webhooks.find(session, webhook_id)
        assert (row.allow_private, len(row.events)) == (True, 3)


async def test_the_audit_names_the_host_and_what_was_done_never_the_rest_of_the_url(services: Services) -> None:
    webhook_id, _ = await add(services, URL, allow_private=False)
    await webhooks.update(services, webhook_id, {"allow_private": True, "url": "https://other.example.com/key"})
    await webhooks.update(services, webhook_id, {"events": ["recovered"]})
    await webhooks.update(services, webhook_id, {"events": ["recovered"]})
    await webhooks.renew_secret(services, webhook_id)
    await webhooks.delete(services, webhook_id)
    before, after = (f"{host}.example.com ({webhook_id})" for host in ("hooks", "other"))
    assert await entries(services) == [
        ("webhook_created", before, "needs_sign_in, recovered, refresh_failed"),
        ("webhook_changed", after, "url, allow_private"),
        ("allow_private_turned_on", after, ""),
        ("webhook_changed", after, "events"),
        ("webhook_secret_renewed", after, ""),
        ("webhook_deleted", after, ""),
    ]


async def test_a_secret_is_shown_by_its_fingerprint_and_in_clear_only_where_it_is_made(services: Services) -> None:
    form = WebhookForm(url=URL)
    row, secret = await webhooks.create(services, form)
    shown = webhooks.view(services, row)
    assert shown["secret"] == {"set": True, "fingerprint": services.vault.fingerprint(secret)}
    assert webhooks.view(services, row, secret)["secret"] == shown["secret"] | {"value": secret}
    assert "key" not in f"{shown}{form!r}"


async def test_a_test_is_tried_once_and_says_that_it_is_one(services: Services, upstream: Upstream) -> None:
    upstream.handler = answering(500)
    webhook_id, secret = await add(services, upstream.url, events=["recovered"])
    await webhooks.send_test(services, webhook_id)
    await send(services)
    (seen,) = upstream.seen
    assert verified(seen, secret)["type"] == "webhook.test"
    row = await only(services, webhook_id)
    assert (row.event, row.state, row.connection) == ("test", "failed", "")


async def test_an_ended_delivery_is_sent_again_as_a_new_one(services: Services, upstream: Upstream) -> None:
    upstream.handler = answering(410, 200)
    webhook_id, secret = await add(services, upstream.url)
    await tell(services)
    failed = await only(services, webhook_id)
    with pytest.raises(AppError) as pending:
        await webhooks.send_again(services, webhook_id, failed.id)
    assert pending.value.code == "delivery_pending"
    await send(services)
    again = await webhooks.send_again(services, webhook_id, failed.id)
    await send(services)
    assert [(row.id, row.state) for row in await listed(services, webhook_id)] == [
        (again.id, "delivered"),
        (failed.id, "failed"),
    ]
    first, second = upstream.seen
    assert verified(first, secret) == verified(second, secret)
    assert first.header("webhook-id") != second.header("webhook-id")


async def test_what_is_not_there_is_said(services: Services) -> None:
    webhook_id, _ = await add(services, URL)
    other, _ = await add(services, URL)
    await tell(services)
    (row,) = await listed(services, other)
    absent: list[Any] = [
        webhooks.update(services, "x", {}),
        webhooks.renew_secret(services, "x"),
        webhooks.delete(services, "x"),
        webhooks.send_test(services, "x"),
        webhooks.send_again(services, "x", row.id),
    ]
    for work in absent:
        with pytest.raises(NotFound) as caught:
            await work
        assert caught.value.code == "unknown_webhook"
    with pytest.raises(NotFound) as caught:
        await webhooks.send_again(services, webhook_id, row.id)
    assert caught.value.code == "unknown_delivery", "one of another webhook is none of this one's"
    async with services.db.session() as session:
        assert await session.get(Webhook, webhook_id) is not None


async def test_a_connection_that_is_signed_out_and_comes_back_is_told_of_by_itself(
    services: Services, upstream: Upstream
) -> None:
    refused = False

    async def provider(request: web.Request) -> web.Response:
        if request.path != "/token":
            return web.Response(status=204)
        if refused:
            return web.json_response({"error": "invalid_grant"}, status=400)
        return web.json_response({"access_token": "at-0123456789", "token_type": "Bearer", "expires_in": 3600})

    upstream.handler = provider
    _, secret = await add(services, f"{upstream.url}/hooks", events=["needs_sign_in", "recovered"])
    auth = {"scheme": "oauth2", "grant": "refresh_token", "token_url": f"{upstream.url}/token", "client_id": "me"}
    form = {"name": "orders", "base_url": upstream.url, "auth": auth | {"refresh_token": "rt-0123456789"}}
    await connections.create(services, ConnectionForm.model_validate(form | {"policy": {"allow_private": True}}))
    await tokens.refresh(services, await connections.load(services, "orders"))
    refused = True
    with pytest.raises(CallFailed):
        await tokens.refresh(services, await connections.load(services, "orders"), forced=True)
    refused = False
    await tokens.refresh(services, await connections.load(services, "orders"), forced=True)
    await services.finish()
    await send(services)
    told = [verified(seen, secret) for seen in upstream.seen if seen.path == "/hooks"]
    assert [message["type"] for message in told] == ["connection.needs_sign_in", "connection.recovered"]
    assert [message["data"]["connection"] for message in told] == ["orders"] * 2
    assert told[0]["data"]["failure"] == "signed_out"
    assert "0123456789" not in str(told)
