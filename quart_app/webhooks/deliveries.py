"""Deliveries on record: each event on its way to a webhook, claimed, tried and settled in the database."""

from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, delete, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils import uuid7

from quart_app.instants import instant
from quart_app.models import Delivery, Webhook
from quart_app.services import Services
from quart_app.webhooks import secrecy
from quart_app.webhooks.secrecy import Kept
from quart_app.webhooks.waits import Outcome, most_tries, wait_after

CLAIM_SECONDS = 60.0
"""How long a claim holds: longer than any try. After a stop in the middle of one it is sent again after that."""

INTERRUPTED = "Switchboard stopped while this was being sent; whether it arrived is unknown."
STEP = 200
PENDING = Delivery.state == literal_column("'pending'")
NOTHING: ColumnElement[str] = literal_column("''")
"""The state as text, not as a parameter, and a webhook's id with nothing added: only so SQLite goes by the index of
what is due, and not through all that was ever sent to a webhook."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One try that is ours to make; `number` counts the delivery's tries from 0."""

    id: str
    number: int
    webhook_id: str
    event: str
    body: str
    allow_private: bool
    kept: Kept


def pending(webhook_id: str, event: str, connection: str, body: str, now: float) -> Delivery:
    return Delivery(
        id=str(uuid7()),
        webhook_id=webhook_id,
        event=event,
        connection=connection,
        body=body,
        state="pending",
        tries=[],
        created_at=now,
        next_at=now,
    )


async def due(session: AsyncSession, now: float) -> set[str]:
    """The webhooks that have something to be sent now."""
    query = select(Delivery.webhook_id + NOTHING).where(PENDING, Delivery.next_at <= now).distinct()
    return set(await session.scalars(query))


async def claim(services: Services, webhook_id: str) -> Claim | None:
    """The delivery that is due first, held for this process alone; its try is on record before anything is sent.

    Under the row's lock `next_at` moves on, so that nobody else finds it due while it is being sent.
    """
    now = services.clock()
    async with services.db.begin() as session:
        while (row := await session.scalar(first_due(webhook_id, now))) is not None:
            row.tries = [finished(one) for one in row.tries]
            if len(row.tries) >= most_tries(row.event):
                end(row, "failed", now)
                await session.flush()
                continue
            row.tries = [*row.tries, {"at": now, "status": None, "reason": None, "detail": None, "seconds": None}]
            row.next_at = now + CLAIM_SECONDS
            webhook = await session.get_one(Webhook, webhook_id)
            kept = secrecy.kept(services, webhook)
            number = len(row.tries) - 1
            return Claim(row.id, number, webhook_id, row.event, row.body, webhook.allow_private, kept)
    return None


def first_due(webhook_id: str, now: float) -> Select[Delivery]:
    query = select(Delivery).where(PENDING, Delivery.webhook_id + NOTHING == webhook_id, Delivery.next_at <= now)
    return query.order_by(Delivery.next_at, Delivery.id).limit(1).with_for_update(skip_locked=True)


def finished(one: dict[str, Any]) -> dict[str, Any]:
    """A try of before: one without an outcome was cut off by a stop."""
    if one["status"] is None and one["reason"] is None:
        return one | {"reason": "interrupted", "detail": INTERRUPTED}
    return one


async def settle(services: Services, claim: Claim, outcome: Outcome) -> str | None:
    """Writes down what came of a try, and what follows; the delivery's state, None where it was removed meanwhile."""
    now = services.clock()
    async with services.db.begin() as session:
        row = await session.get(Delivery, claim.id, with_for_update=True)
        if row is None:
            return None
        told = {"status": outcome.status, "reason": outcome.reason, "detail": outcome.detail}
        done = row.tries[claim.number] | told | {"seconds": round(outcome.seconds, 6)}
        row.tries = [done if number == claim.number else one for number, one in enumerate(row.tries)]
        if outcome.delivered:
            end(row, "delivered", now)
        elif row.state == "pending" and claim.number == len(row.tries) - 1:
            wait = wait_after(len(row.tries), row.event, outcome)
            row.next_at = None if wait is None else now + wait
            if wait is None:
                end(row, "failed", now)
        return row.state


def end(row: Delivery, state: str, now: float) -> None:
    row.state, row.next_at, row.ended_at = state, None, now


async def count_waiting(session: AsyncSession) -> int:
    """How many are not through yet, to all webhooks."""
    return await session.scalar(select(func.count()).select_from(Delivery).where(PENDING)) or 0


async def page(session: AsyncSession, webhook_id: str, *, limit: int, after: str | None = None) -> list[Delivery]:
    """Of one webhook, newest first; `after` is the id that the page before ended with."""
    query = select(Delivery).where(Delivery.webhook_id == webhook_id).order_by(Delivery.id.desc()).limit(limit)
    if after:
        query = query.where(Delivery.id < after)
    return list(await session.scalars(query))


def view(row: Delivery) -> dict[str, Any]:
    """A delivery in the form of the API; its body has no secrets in it."""
    return {
        "id": row.id,
        "webhook": row.webhook_id,
        "event": row.event,
        "connection": row.connection or None,
        "state": row.state,
        "body": msgspec.json.decode(row.body),
        "tries": [one | {"at": instant(one["at"])} for one in row.tries],
        "created_at": instant(row.created_at),
        "next_at": instant(row.next_at),
        "ended_at": instant(row.ended_at),
    }


async def prune(services: Services) -> int:
    """Takes out those that ended longer ago than calls are kept; how many there were."""
    if not services.settings.keep_days:
        return 0
    before, count = services.clock() - services.settings.keep_days * 86400, 0
    async with services.db.session() as session:
        webhooks = list(await session.scalars(select(Webhook.id)))
    for webhook_id in webhooks:
        while ids := await oldest(services, webhook_id, before):
            async with services.db.begin() as session:
                await session.execute(delete(Delivery).where(Delivery.id.in_(ids)))
            count += len(ids)
    return count


async def oldest(services: Services, webhook_id: str, before: float) -> list[str]:
    """Of the oldest STEP of a webhook those that ended before; the ids are UUIDv7, so their order is that of time."""
    query = select(Delivery.id, Delivery.ended_at).where(Delivery.webhook_id == webhook_id)
    async with services.db.session() as session:
        rows = await session.execute(query.order_by(Delivery.id).limit(STEP))
        return [row.id for row in rows if row.ended_at is not None and row.ended_at < before]
