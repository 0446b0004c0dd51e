"""Webhooks: other people's URLs that are told what happens to connections."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils import uuid7

from quart_app import audit
from quart_app.errors import AppError, NotFound
from quart_app.forms.webhooks import Event, WebhookForm, merged
from quart_app.instants import instant
from quart_app.models import Delivery, Webhook
from quart_app.services import Services
from quart_app.webhooks import deliveries, events, secrecy
from quart_app.webhooks.secrecy import Kept
from quart_app.webhooks.signatures import new_secret

MOST_WEBHOOKS = 20


async def enqueue(
    session: AsyncSession, services: Services, event: Event, connection: str, data: Mapping[str, Any]
) -> None:
    """One delivery for each webhook that listens, inside the caller's transaction: sent if and only if that commits.

    `data` has what is known of `events.DATA`. Removing a webhook waits for the transaction, so it cannot break it.
    """
    query = select(Webhook.id, Webhook.events).with_for_update(read=True, key_share=True)
    listening = [row.id for row in await session.execute(query) if event in row.events]
    if listening:
        now = services.clock()
        body = events.body(services.settings, event, connection, data, at=now)
        session.add_all([deliveries.pending(webhook_id, event, connection, body, now) for webhook_id in listening])


async def create(services: Services, form: WebhookForm, *, actor: str = "cli") -> tuple[Webhook, str]:
    """Adds a webhook: it and the secret that signs what it is sent. Raises AppError 409 `too_many_webhooks`."""
    row = Webhook(id=str(uuid7()), created_at=services.clock())
    row.events, row.allow_private = list(form.events), form.allow_private
    secret = new_secret()
    secrecy.keep(services, row, Kept(form.url, secret))
    async with services.change(drop=False) as session:
        if (await session.scalar(select(func.count()).select_from(Webhook)) or 0) >= MOST_WEBHOOKS:
            raise AppError(409, "too_many_webhooks", f"There are {MOST_WEBHOOKS} webhooks already; remove one first.")
        session.add(row)
        await note(session, services, actor, "webhook_created", row, ", ".join(row.events))
        if row.allow_private:
            await note(session, services, actor, "allow_private_turned_on", row)
    return row, secret


async def note(
    session: AsyncSession, services: Services, actor: str, action: str, row: Webhook, detail: str = ""
) -> None:
    """On the audit, by the host alone: the rest of the URL may be a key."""
    await audit.note(session, services.clock, actor, action, f"{secrecy.host_of(row)} ({row.id})", detail)


async def find(session: AsyncSession, webhook_id: str) -> Webhook:
    """Raises NotFound `unknown_webhook`."""
    row = await session.get(Webhook, webhook_id)
    if row is None:
        raise NotFound("unknown_webhook", "There is no webhook of this id.")
    return row


async def page(session: AsyncSession, *, limit: int = MOST_WEBHOOKS, after: str | None = None) -> list[Webhook]:
    """Webhooks, newest first; `after` is the id that the page before ended with."""
    query = select(Webhook).order_by(Webhook.id.desc()).limit(limit)
    if after:
        query = query.where(Webhook.id < after)
    return list(await session.scalars(query))


async def update(services: Services, webhook_id: str, change: dict[str, Any], *, actor: str = "cli") -> Webhook:
    """Changes parts of a webhook. Raises NotFound, and pydantic's ValidationError for what the change would make."""
    async with services.change(drop=False) as session:
        row = await find(session, webhook_id)
        kept = secrecy.kept(services, row)
        before = {"url": kept.url, "events": row.events, "allow_private": row.allow_private}
        form = WebhookForm.model_validate(merged(before, change, row.url), context=services.client.egress)
        changed = [name for name, value in before.items() if getattr(form, name) != value]
        row.events, row.allow_private = list(form.events), form.allow_private
        secrecy.keep(services, row, replace(kept, url=form.url))
        if changed:
            await note(session, services, actor, "webhook_changed", row, ", ".join(changed))
        if "allow_private" in changed:
            turned = "on" if row.allow_private else "off"
            await note(session, services, actor, f"allow_private_turned_{turned}", row)
    return row


async def renew_secret(services: Services, webhook_id: str, *, actor: str = "cli") -> str:
    """A new secret; for OVERLAP_SECONDS the one before signs as well. Raises NotFound."""
    async with services.change(drop=False) as session:
        row = await find(session, webhook_id)
        kept = secrecy.kept(services, row).renewed(services.clock())
        secrecy.keep(services, row, kept)
        await note(session, services, actor, "webhook_secret_renewed", row)
    return kept.secret


async def delete(services: Services, webhook_id: str, *, actor: str = "cli") -> None:
    """Removes a webhook with its deliveries, also those that wait. Raises NotFound."""
    async with services.change(drop=False) as session:
        row = await find(session, webhook_id)
        await session.delete(row)
        await note(session, services, actor, "webhook_deleted", row)


async def send_test(services: Services, webhook_id: str) -> Delivery:
    """A test event on its way to a webhook. Raises NotFound."""
    now = services.clock()
    row = deliveries.pending(
        webhook_id, events.TEST, "", events.body(services.settings, events.TEST, "", {}, at=now), now
    )
    async with services.db.begin() as session:
        await find(session, webhook_id)
        session.add(row)
    return row


async def send_again(services: Services, webhook_id: str, delivery_id: str) -> Delivery:
    """What an ended delivery said, as a new one with tries of its own. Raises NotFound, AppError 409."""
    async with services.db.begin() as session:
        await find(session, webhook_id)
        of = await session.get(Delivery, delivery_id)
        if of is None or of.webhook_id != webhook_id:
            raise NotFound("unknown_delivery", "There is no delivery of this id to this webhook.")
        if of.state == "pending":
            raise AppError(409, "delivery_pending", "This delivery is still being tried.")
        row = deliveries.pending(webhook_id, of.event, of.connection, of.body, services.clock())
        session.add(row)
    return row


def view(services: Services, row: Webhook, secret: str | None = None) -> dict[str, Any]:
    """A webhook in the form of the API; its `secret` only in the answer to what made it."""
    return {
        "id": row.id,
        "url": row.url,
        "events": row.events,
        "allow_private": row.allow_private,
        "secret": view_secret(services, secret or secrecy.kept(services, row).secret, shown=secret is not None),
        "created_at": instant(row.created_at),
    }


def view_secret(services: Services, secret: str, *, shown: bool) -> dict[str, Any]:
    made = {"set": True, "fingerprint": services.vault.fingerprint(secret)}
    return made | {"value": secret} if shown else made
